"""``[log]``: the files that are written about VMs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmproxy.base import values
from vmproxy.base.schema import InvalidValue, group, setting
from vmproxy.log.paths import BadTemplate, check_template
from vmproxy.log.rotation import RotationPolicy


def _template(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidValue(f"{value!r} is not a template for file names, such as '{{uuid}}.log'")
    try:
        check_template(value)
    except BadTemplate as error:
        raise InvalidValue(f"{value!r}: {error}") from None
    return value


_FOLDER = Path("log")


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is written, and where.

    :ivar dir: the folder of the logs; where it is relative, in the state folder.
    :ivar file: the template of the logs' names.
    :ivar open_files: how many files may be open at once.
    :ivar plain: whether there is a log of plain text beside each log.
    """

    dir: Path = setting(values.or_empty(values.folder, _FOLDER), _FOLDER, option="log-dir", restart=True)
    file: str = setting(_template, "{uuid}.log", restart=True)
    open_files: int = setting(values.whole(2, 1_000_000), 4096, restart=True)
    plain: bool = setting(values.flag, False)
    rotation: RotationPolicy = group(RotationPolicy, keep=10, compress=True)
