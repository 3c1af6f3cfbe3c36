"""PAM: the passwords of operators, checked by a service of the system.

Modules of PAM are foreign code that may block for ever, change the process, or end it: each check has a process of its
own (:mod:`vmproxy.auth.pam_helper`), which is killed when its time is over. Waits, and is for a thread.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmproxy.auth import pam_helper
from vmproxy.auth.passwords import CannotCheck
from vmproxy.base import values
from vmproxy.base.program import Programs
from vmproxy.base.sanitize import visible
from vmproxy.base.schema import InvalidValue, setting
from vmproxy.errors import ConfigError

SECONDS = 15.0
_SERVICE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


def _service(value: Any) -> str:
    if not isinstance(value, str) or not _SERVICE.fullmatch(value):
        raise InvalidValue(f"{visible(repr(value), 80)} is not the name of a file in /etc/pam.d")
    return value


@dataclass(frozen=True, slots=True)
class PAMSettings:
    """PAM.

    :ivar service: the file in ``/etc/pam.d`` that says how passwords are checked; empty for no PAM.
    """

    service: str = setting(values.or_empty(_service, ""), "")

    def usable(self) -> PAM | None:
        """PAM with this service; None if there is none.

        :raises ConfigError: if a package is not installed.
        """
        if not self.service:
            return None
        if importlib.util.find_spec("pamela") is None:
            raise ConfigError(["pam.service: PAM needs the package pamela: install vmproxy[pam]"])
        return PAM(self.service)


class PAM:
    def __init__(self, service: str) -> None:
        self._service = service
        self._programs = Programs()

    def check(self, name: str, secret: bytes) -> bool:
        """Whether the service accepts a password for an account that may log in.

        :raises CannotCheck: if the check does not end in time, or breaks off.
        """
        if not name or not secret or b"\0" in name.encode() + secret:
            return False
        output = bytearray()
        # -I: nothing that the environment or the folder says counts.
        words = [sys.executable, "-I", str(Path(pam_helper.__file__)), self._service]
        ended = self._programs.run(words, name.encode() + b"\0" + secret, os.environ, SECONDS, output)
        if ended.status in (pam_helper.RIGHT, pam_helper.WRONG):
            return ended.status == pam_helper.RIGHT
        why = output.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise CannotCheck(f"PAM cannot check passwords: {visible(why, 200) or ended.problem}")

    def stop(self) -> None:
        """Break off the checks that run now; on any thread."""
        self._programs.stop()
