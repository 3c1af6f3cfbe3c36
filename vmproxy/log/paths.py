"""Where a console's log stands in the log folder: the template, and what keeps two consoles apart.

Whatever the template and however hostile the VM's name, the path stays inside the folder and belongs to one console.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from functools import cache
from pathlib import PurePosixPath
from string import Formatter
from uuid import UUID

from vmproxy.base.sanitize import safe_word
from vmproxy.base.uuids import spelled
from vmproxy.errors import VMProxyError

FIELDS = ("uuid", "uuid_hex", "name", "port")

# What the other files of a log end in: its trail, its plain text, and what rotation makes of all of them.
_TAKEN = re.compile(r"\.(events|txt|gz|tmp|[0-9]+)")


_VALUES: dict[str, Callable[[UUID, str, str], str]] = {
    "uuid": lambda uuid, port, name: spelled(uuid),
    "uuid_hex": lambda uuid, port, name: uuid.hex,
    "name": lambda uuid, port, name: safe_word(name) or f"vm-{uuid.hex[:8]}",
    "port": lambda uuid, port, name: port,
}


class BadTemplate(VMProxyError):
    """A template that cannot be used; the text says why."""


def check_template(template: str) -> None:
    """See whether a template for log file names can be used.

    :raises BadTemplate: if not.
    """
    try:
        fields = [name for _, name, spec, conversion in Formatter().parse(template) if name is not None]
        plain = all(not spec and not conversion for _, _, spec, conversion in Formatter().parse(template))
    except ValueError as error:
        raise BadTemplate(f"{error}; a literal brace is written twice") from None
    unknown = [name for name in fields if name not in FIELDS]
    if unknown or not plain:
        raise BadTemplate(f"only {', '.join('{' + f + '}' for f in FIELDS)} can stand in braces")
    if not set(fields) & {"uuid", "uuid_hex", "name"}:
        raise BadTemplate("it must hold {uuid}, {uuid_hex} or {name}, or all consoles would share one file")
    path = PurePosixPath(template)
    if path.is_absolute() or ".." in path.parts or template.endswith("/") or "\0" in template:
        raise BadTemplate("it must be the name of a file inside the log folder")
    if path.parts[0] == "by-name" or _TAKEN.fullmatch(path.suffix):
        raise BadTemplate("by-name/, *.events, *.txt, *.gz, *.tmp and *.1, *.2 ... are taken")


def log_path(template: str, uuid: UUID, port: str, name: str, taken: Container[str]) -> str:
    """The path of a console's log, relative to the log folder.

    :param taken: the paths of other consoles, and the same as :func:`folded`: some file systems do not tell ``Web.log``
        from ``web.log``.
    :returns: the template filled in. Where it does not tell ports apart, those but the first get ``.PORT`` before the
        suffix ``.log``, or ``-PORT`` at the end where there is none; where another console has that path (two VMs of
        one name), or another one's trail or old logs would have it, the UUID's first digits are added too.
    """
    if template == "{uuid}.log" and port == "1" and (path := f"{spelled(uuid)}.log") not in taken:
        return path  # nothing of it needs a look, and a storm of new VMs asks for thousands
    path = _normal(template).format(
        **{field: _VALUES[field](uuid, port, name) for field in template_fields(template)},
    )
    if port != "1" and "port" not in template_fields(template):
        # Without a suffix, what ends in .2 is the second of the old logs.
        path = _add(path, f".{port}" if _suffix(path) == ".log" else f"-{port}")
    if is_reserved(path) or (_suffix(path) == ".log" and not template.endswith(".log")):
        # Of the latter, the plain text would be that of the log which has no suffix.
        path = f"{path}~{uuid.hex[:8]}"
    if path.startswith("by-name/"):
        path = f"by-name~{uuid.hex[:8]}/{path.removeprefix('by-name/')}"
    if _is_taken(path, taken):
        path = _add(path, f"~{uuid.hex[:8]}")
    if _is_taken(path, taken):
        path = _add(path, f"-{uuid.hex[8:]}")
    return path


@cache
def _normal(template: str) -> str:
    return str(PurePosixPath(template))


@cache
def template_fields(template: str) -> frozenset[str]:
    """The names that stand in a template's braces."""
    return frozenset(name for _, name, _, _ in Formatter().parse(template) if name is not None)


def folded(path: str) -> str:
    """A path as a file system has it that does not tell capitals from small letters."""
    return path.casefold()


def _is_taken(path: str, taken: Container[str]) -> bool:
    return path in taken or folded(path) in taken


def is_reserved(path: str) -> bool:
    """Whether a log must not have this path: it is that of the links, or of what belongs to another log."""
    return path == "by-name" or _TAKEN.fullmatch(_suffix(path)) is not None


def _suffix(path: str) -> str:
    # As pathlib has it, which would take longer than all else that is done for a new VM.
    name = path.rpartition("/")[2]
    at = name.rfind(".")
    return name[at:] if 0 < at < len(name) - 1 else ""


def _add(path: str, addition: str) -> str:
    if _suffix(path) == ".log":
        return path.removesuffix(".log") + addition + ".log"
    return path + addition
