"""The configuration: one TOML file, read into frozen dataclasses.

Every setting stands once, in :data:`SETTINGS`, with its default, its check, and what would be right. All that is wrong
with a file is found and told at once, by key; an unknown key is an error too, with the nearest known one, because a
misspelt setting that is silently ignored is worse than a daemon that does not start.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IReactorCore

from vmproxy.console.lognames import BadTemplate, check_template
from vmproxy.errors import ConfigError


@dataclass(frozen=True, slots=True)
class VMConfig:
    """``[vm]``: the side of the hosts."""

    listen: tuple[str, ...]
    service_uri: tuple[str, ...]
    com_port: bool
    keep_idle: int
    identify_timeout: float
    vmotion_timeout: float


@dataclass(frozen=True, slots=True)
class SSHConfig:
    """``[ssh]``: the side of the operators."""

    listen: tuple[str, ...]
    authorized_keys: tuple[str, ...]
    login_timeout: float


@dataclass(frozen=True, slots=True)
class LogConfig:
    """``[log]``: the VMs' logs."""

    dir: Path
    file: str
    open_files: int


@dataclass(frozen=True, slots=True)
class Config:
    """All settings."""

    state_dir: Path
    vm: VMConfig
    ssh: SSHConfig
    log: LogConfig


class _Wrong(Exception):
    """A value that will not do; the text says what would."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    :ivar check: turns what TOML gives into what the program uses, or raises :class:`_Wrong`.
    :ivar option: the command line option that overrides it, if there is one.
    """

    key: str
    default: Any
    check: Callable[[Any], Any]
    option: str = field(default="")


def _endpoint(value: Any) -> str:
    if not isinstance(value, str):
        raise _Wrong(f"{value!r} is not a string")
    try:
        serverFromString(_NO_REACTOR, value)
    except Exception as error:  # an endpoint's parser raises whatever comes its way
        # A systemd: endpoint looks for its socket at once; outside of systemd that fails and says nothing.
        if not (value.startswith("systemd:") and isinstance(error, LookupError) and not _bad_systemd(value)):
            raise _Wrong(f"{value!r} is no endpoint ({error})") from None
    match = re.match(r"tcp[46]?:(?:port=)?(-?\d+)", value)
    if match and not 0 <= int(match[1]) <= 65535:
        raise _Wrong(f"{value!r}: a port is a number from 0 to 65535")
    return value


def _bad_systemd(value: str) -> bool:
    words = [word.partition("=")[0] for word in value.split(":")[1:]]
    return "domain" not in words or not {"index", "name"} & set(words)


class _NoReactor:
    """Stands for the reactor while endpoint strings are only parsed."""


_NO_REACTOR: IReactorCore = _NoReactor()  # type: ignore[assignment]


def _list_of(check: Callable[[Any], str], what: str, may_be_empty: bool = False) -> Callable[[Any], tuple[str, ...]]:
    def checked(value: Any) -> tuple[str, ...]:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list | tuple) or not (items or may_be_empty):
            raise _Wrong(f"{value!r} is not a list; give {what}")
        good, wrong = [], []
        for item in items:
            try:
                good.append(check(item))
            except _Wrong as error:
                wrong.append(str(error))
        if wrong:
            raise _Wrong(f"{'; '.join(wrong)}; give {what}")
        return tuple(good)

    return checked


def _word(value: Any) -> str:
    if not isinstance(value, str) or not value or "?" in value:
        raise _Wrong(f"{value!r} is no service")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _Wrong(f"{value!r} is not a file name")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Wrong(f"{value!r} is neither true nor false")
    return value


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def checked(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _Wrong(f"{value!r} is not a whole number from {low} to {high}")
        return value

    return checked


def _seconds(low: float, high: float) -> Callable[[Any], float]:
    def checked(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise _Wrong(f"{value!r} is not a number of seconds from {low:g} to {high:g}")
        return float(value)

    return checked


def _folder(value: Any) -> Path:
    if not isinstance(value, str) or not value:
        raise _Wrong(f"{value!r} is not the path of a folder")
    try:
        path = Path(value).expanduser().absolute()
        if path.exists() and not path.is_dir():
            raise _Wrong(f"{value!r} is there but is not a folder")
    except (OSError, RuntimeError, ValueError) as error:
        raise _Wrong(f"{value!r} cannot be a folder ({error})") from None
    if "\0" in value:
        raise _Wrong(f"{value!r} cannot be a folder (it holds a NUL)")
    return path


def _template(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _Wrong(f"{value!r} is no template for file names, such as '{{uuid}}.log'")
    try:
        check_template(value)
    except BadTemplate as error:
        raise _Wrong(f"{value!r}: {error}") from None
    return value


_ENDPOINTS = _list_of(_endpoint, 'endpoints such as ["tcp:13370"], ["tcp6:13370"] or ["unix:/run/vmproxy.sock"]')

SETTINGS: tuple[Setting, ...] = (
    Setting("state-dir", "var", _folder, "state-dir"),
    Setting("vm.listen", ["tcp:13370"], _ENDPOINTS, "vm-listen"),
    Setting(
        "vm.service-uri",
        ["vmproxy", "vSPC.py", "vmware-vspc"],
        _list_of(_word, 'words without "?" such as ["vmproxy"], or ["*"] for any'),
        "service-uri",
    ),
    Setting("vm.com-port", True, _flag),
    Setting("vm.keep-idle", 300, _whole(0, 32767)),
    Setting("vm.identify-timeout", 30, _seconds(1, 3600)),
    Setting("vm.vmotion-timeout", 60, _seconds(1, 3600)),
    Setting("ssh.listen", ["tcp:2222"], _ENDPOINTS, "ssh-listen"),
    Setting(
        "ssh.authorized-keys",
        ["~/.ssh/authorized_keys", "~/.ssh/*.pub"],
        _list_of(_text, 'files of public keys such as ["~/.ssh/authorized_keys"]'),
    ),
    Setting("ssh.login-timeout", 60, _seconds(1, 3600)),
    Setting("log.dir", "", lambda value: _folder(value) if value != "" else None, "log-dir"),
    Setting("log.file", "{uuid}.log", _template),
    Setting("log.open-files", 256, _whole(2, 1_000_000)),
)
"""Every setting; ``log.dir`` is ``log`` in the state folder where it is empty."""

_BY_KEY = {setting.key: setting for setting in SETTINGS}
_SECTIONS = {key.partition(".")[0] for key in _BY_KEY if "." in key}


def load(path: Path | None, options: Mapping[str, str | list[str]]) -> Config:
    """Read the configuration.

    :param path: the file; None for the defaults.
    :param options: what the command line says instead, by option name.
    :raises ConfigError: with every problem found.
    """
    problems: list[str] = []
    where = str(path) if path is not None else "the defaults"
    given: dict[str, Any] = {}
    if path is not None:
        try:
            given = _flatten(tomllib.loads(path.read_bytes().decode("utf-8")), where, problems)
        except OSError as error:
            raise ConfigError([f"{path}: {error.strerror}"]) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError([f"{path}: not a TOML file: {error}"]) from None
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        source, value = where + ": " + setting.key, given.get(setting.key, setting.default)
        if setting.option and setting.option in options:
            source, value = f"--{setting.option}", options[setting.option]
        try:
            values[setting.key] = setting.check(value)
        except _Wrong as wrong:
            problems.append(f"{source}: {wrong}")
    if problems:
        raise ConfigError(problems)
    return _build(values)


def _flatten(table: dict[str, Any], where: str, problems: list[str]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if key in _SECTIONS and not isinstance(value, dict):
            problems.append(f"{where}: {key}: this is a section; write [{key}] and its settings below")
        elif key in _SECTIONS:
            flat.update({f"{key}.{inner}": item for inner, item in value.items()})
        else:
            flat[key] = value
    for key in flat:
        if key not in _BY_KEY:
            problems.append(f"{where}: {key}: there is no such setting{_nearest(key)}")
    return flat


def _nearest(key: str) -> str:
    known = [*_BY_KEY, *(f"[{section}]" for section in _SECTIONS)]
    near = difflib.get_close_matches(key, known, 1, 0.6)
    if not near:  # perhaps it stands in the wrong section
        last = key.rpartition(".")[2]
        near = [k for k in _BY_KEY if k.rpartition(".")[2] == last] or difflib.get_close_matches(last, known, 1, 0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _build(v: dict[str, Any]) -> Config:
    return Config(
        state_dir=v["state-dir"],
        vm=VMConfig(
            listen=v["vm.listen"],
            service_uri=v["vm.service-uri"],
            com_port=v["vm.com-port"],
            keep_idle=v["vm.keep-idle"],
            identify_timeout=v["vm.identify-timeout"],
            vmotion_timeout=v["vm.vmotion-timeout"],
        ),
        ssh=SSHConfig(
            listen=v["ssh.listen"],
            authorized_keys=v["ssh.authorized-keys"],
            login_timeout=v["ssh.login-timeout"],
        ),
        log=LogConfig(
            dir=v["log.dir"] or v["state-dir"] / "log",
            file=v["log.file"],
            open_files=v["log.open-files"],
        ),
    )
