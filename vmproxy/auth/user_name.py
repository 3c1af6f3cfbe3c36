"""The SSH user name: ``[OPERATOR:]TARGET[,OPTION...]``, taken apart at the first colon or plus sign."""

from __future__ import annotations

import re

from vmproxy.errors import VMProxyError

_PREFIXED = re.compile(r"([^:+,]*)[:+](.*)", re.DOTALL)


class BadUserName(VMProxyError):
    """A user name that means nothing; the text says why."""


def claimed_operator(user: str) -> str | None:
    """The operator whom a user name claims; None if it names only a console, or only an operator: the key decides.

    :raises BadUserName: if the operator's name is empty.
    """
    match = _PREFIXED.fullmatch(user)
    if match is None:
        return None
    if not match[1]:
        raise BadUserName("there is no operator's name before the colon")
    return match[1]


def target_text(user: str, operator: str) -> str:
    """The target in a user name; empty if there is none.

    :param operator: the operator who has logged in with it.
    """
    match = _PREFIXED.fullmatch(user)
    if match is not None:
        return match[2]
    return "" if user == operator else user
