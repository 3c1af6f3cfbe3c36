"""One check of a password by PAM, as a program of its own.

``pam_helper SERVICE`` reads a name, a zero byte and the password from standard input. Its exit status is the answer:
:data:`RIGHT`, :data:`WRONG`, or another one with the reason on standard error. It imports nothing of vmproxy, as it
begins at each check.
"""

from __future__ import annotations

import sys

RIGHT, WRONG, BROKEN = 0, 10, 11
LIMIT = 4096
# What PAM says of a wrong password, an unknown name, and an account that may not log in now (security/_pam_types.h):
# PERM_DENIED, AUTH_ERR, USER_UNKNOWN, MAXTRIES, NEW_AUTHTOK_REQD, ACCT_EXPIRED, AUTHTOK_EXPIRED.
REFUSALS = frozenset({6, 7, 10, 11, 12, 13, 27})


def main() -> int:
    """Check one password.

    :returns: the exit status.
    """
    import pamela

    name, _, secret = sys.stdin.buffer.read(LIMIT).partition(b"\0")
    try:
        pamela.authenticate(name.decode(), secret.decode(), service=sys.argv[1], resetcred=0)
    except UnicodeDecodeError:
        return WRONG
    except pamela.PAMError as error:
        if error.errno in REFUSALS:
            return WRONG
        print(f"{sys.argv[1]}: {error}", file=sys.stderr)
        return BROKEN
    return RIGHT


if __name__ == "__main__":
    sys.exit(main())
