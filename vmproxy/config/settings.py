"""The configuration: one TOML file, read into frozen dataclasses.

Every setting stands once, in :data:`SETTINGS`, with its default, its check, and what would be right. All that is wrong
with a file is found and told at once, by key; an unknown key is an error too, with the nearest known one, because a
misspelt setting that is silently ignored is worse than a daemon that does not start.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vmproxy.access.policy import Policy
from vmproxy.access.policy_file import parse_policy
from vmproxy.base.addresses import Network
from vmproxy.config import values
from vmproxy.config.values import Wrong
from vmproxy.console.duplicates import POLICIES, REPLACE, Newcomers
from vmproxy.errors import ConfigError
from vmproxy.vm.outbound.rules import DialRules
from vmproxy.vm.outbound.rules_file import parse_dial


@dataclass(frozen=True, slots=True)
class VMConfig:
    """``[vm]``: the side of the hosts."""

    listen: tuple[str, ...]
    service_uri: tuple[str, ...]
    com_port: bool
    keep_idle: int
    identify_timeout: float
    vmotion_timeout: float
    tls_listen: tuple[str, ...]
    certificates: tuple[tuple[Path, Path], ...]
    encryption: str
    client_ca: Path | None
    tls_minimum: str
    handshake_timeout: float
    networks: tuple[Network, ...]
    connections: int
    connections_per_address: int
    connects_per_second: int
    second_connection: str
    same_network_ipv4: int
    same_network_ipv6: int

    @property
    def newcomers(self) -> Newcomers:
        """What holds for a second connection of a console."""
        return Newcomers(self.second_connection, self.same_network_ipv4, self.same_network_ipv6)


@dataclass(frozen=True, slots=True)
class SSHConfig:
    """``[ssh]``: the side of the operators."""

    listen: tuple[str, ...]
    operators_file: Path | None
    authorized_keys: tuple[str, ...]
    login_timeout: float
    connections: int
    connections_per_address: int
    connections_per_operator: int
    keepalive: float
    escape: bytes
    quiet: bool
    message: str


@dataclass(frozen=True, slots=True)
class LogConfig:
    """``[log]``: the VMs' logs."""

    dir: Path
    file: str
    open_files: int
    plain: bool
    rotate_size: int
    rotate_age: float
    keep: int
    compress: bool
    console_total: int
    folder_total: int


@dataclass(frozen=True, slots=True)
class Config:
    """All settings."""

    state_dir: Path
    audit_file: Path
    vm: VMConfig
    ssh: SSHConfig
    log: LogConfig
    policy: Policy
    dial: DialRules = field(default_factory=DialRules)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    :ivar check: turns what TOML gives into what the program uses, or raises :class:`Wrong`.
    :ivar option: the command line option that overrides it, if there is one.
    :ivar live: whether a change counts without a restart.
    """

    key: str
    default: Any
    check: Callable[[Any], Any]
    option: str = ""
    live: bool = False

    def of(self, config: Config) -> Any:
        """The setting's value in a configuration."""
        return value_of(config, self.key)


_SUCH_AS = 'endpoints such as ["tcp:13370"], ["tcp6:13370"] or ["unix:/run/vmproxy.sock"]'
_ENDPOINTS = values.list_of(values.endpoint, _SUCH_AS)
_VM_ENDPOINTS = values.list_of(values.vm_endpoint, _SUCH_AS, may_be_empty=True)

SETTINGS: tuple[Setting, ...] = (
    Setting("state-dir", "var", values.folder, "state-dir"),
    Setting("audit-file", "", values.file),
    Setting("vm.listen", ["tcp:13370"], _VM_ENDPOINTS, "vm-listen", live=True),
    Setting("vm.tls-listen", [], _VM_ENDPOINTS, live=True),
    Setting("vm.certificates", [], values.certificates, live=True),
    Setting("vm.encryption", "offer", values.one_of(("off", "offer", "require")), live=True),
    Setting("vm.client-ca", "", values.file, live=True),
    Setting("vm.tls-minimum", "1.2", values.one_of(("1.0", "1.1", "1.2", "1.3")), live=True),
    Setting("vm.handshake-timeout", 20, values.seconds(1, 3600), live=True),
    Setting(
        "vm.service-uri",
        ["vmproxy", "vSPC.py", "vmware-vspc"],
        values.list_of(values.word, 'words without "?" such as ["vmproxy"], or ["*"] for any'),
        "service-uri",
        live=True,
    ),
    Setting("vm.com-port", True, values.flag, live=True),
    Setting("vm.keep-idle", 300, values.whole(0, 32767), live=True),
    Setting("vm.identify-timeout", 30, values.seconds(1, 3600), live=True),
    Setting("vm.vmotion-timeout", 60, values.seconds(1, 3600), live=True),
    Setting("vm.networks", ["0.0.0.0/0", "::/0"], values.networks, live=True),
    Setting("vm.connections", 0, values.whole(0, 1_000_000), live=True),
    Setting("vm.connections-per-address", 0, values.whole(0, 1_000_000), live=True),
    Setting("vm.connects-per-second", 1000, values.whole(0, 1_000_000), live=True),
    Setting("vm.second-connection", "replace", values.one_of(POLICIES), live=True),
    Setting("vm.same-network-ipv4", 24, values.whole(1, 32), live=True),
    Setting("vm.same-network-ipv6", 64, values.whole(1, 128), live=True),
    Setting("ssh.listen", ["tcp:2222"], _ENDPOINTS, "ssh-listen", live=True),
    Setting(
        "ssh.authorized-keys",
        ["~/.ssh/authorized_keys", "~/.ssh/*.pub"],
        values.list_of(values.text, 'files of public keys such as ["~/.ssh/authorized_keys"]'),
    ),
    Setting("ssh.operators-file", "", values.file),
    Setting("ssh.login-timeout", 60, values.seconds(1, 3600), live=True),
    Setting("ssh.connections", 200, values.whole(1, 1_000_000), live=True),
    Setting("ssh.connections-per-address", 20, values.whole(1, 1_000_000), live=True),
    Setting("ssh.connections-per-operator", 250, values.whole(1, 1_000), live=True),
    Setting("ssh.keepalive", 30, values.seconds(0, 3600), live=True),
    Setting("ssh.escape", "^Ec", values.escape, live=True),
    Setting("ssh.quiet", False, values.flag, live=True),
    Setting("ssh.message", "", values.message, live=True),
    Setting("log.dir", "", lambda value: values.folder(value) if value != "" else None, "log-dir"),
    Setting("log.file", "{uuid}.log", values.template),
    Setting("log.open-files", 4096, values.whole(2, 1_000_000)),
    Setting("log.plain", False, values.flag, live=True),
    Setting("log.rotate-size", 0, values.size, live=True),
    Setting("log.rotate-age", 0, values.span, live=True),
    Setting("log.keep", 10, values.whole(0, 999), live=True),
    Setting("log.compress", True, values.flag, live=True),
    Setting("log.console-total", 0, values.size, live=True),
    Setting("log.folder-total", 0, values.size, live=True),
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
            given = tomllib.loads(path.read_bytes().decode("utf-8"))
        except OSError as error:
            raise ConfigError([f"{path}: {error.strerror}"]) from None
        except (ValueError, RecursionError) as error:  # a number of thousands of digits is a plain ValueError
            raise ConfigError([f"{path}: not a TOML file: {error}"]) from None
    policy, wrong = parse_policy(given.pop("rule", None), given.pop("console", None))
    dial, wrong_dial = parse_dial(given.pop("dial", None))
    problems += [f"{where}: {problem}" for problem in (*wrong, *wrong_dial)]
    given = _flatten(given, where, problems)
    found: dict[str, Any] = {}
    for setting in SETTINGS:
        source, value = where + ": " + setting.key, given.get(setting.key, setting.default)
        if setting.option and setting.option in options:
            source, value = f"--{setting.option}", options[setting.option]
        try:
            found[setting.key] = setting.check(value)
        except Wrong as error:
            problems.append(f"{source}: {error}")
    problems += [f"{where}: {problem}" for problem in _contradictions(found)]
    if found.get("vm.keep-idle") == 0 and found.get("vm.second-connection") not in (None, REPLACE):
        problems.append(
            f"{where}: vm.second-connection: {found['vm.second-connection']!r} needs vm.keep-idle, or the VMs of a host"
            ' that lost power could never come back; give "replace", or a keep-idle such as 300'
        )
    if problems:
        raise ConfigError(problems)
    return _build(found, policy, dial)


def value_of(config: Config, key: str) -> Any:
    """The value of the setting with a key, in a configuration."""
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name.replace("-", "_"))
    return value


def with_value(config: Config, key: str, value: Any) -> Config:
    """The same configuration with another value of the setting with a key, which stands in a section."""
    section, _, name = key.replace("-", "_").partition(".")
    changed: Any = replace(getattr(config, section), **{name: value})
    return replace(config, **{section: changed})


def differences(old: Config, new: Config, live: bool) -> list[str]:
    """The keys of the settings that are not the same in two configurations.

    :param live: whether those that count at once are meant, or those that need a restart.
    """
    return [s.key for s in SETTINGS if s.live is live and s.of(old) != s.of(new)]


def _contradictions(v: dict[str, Any]) -> list[str]:
    # A setting that is wrong by itself is not there.
    found = []
    if v.get("vm.listen") == () and v.get("vm.tls-listen") == ():
        found.append('vm.listen: no VM could connect; give this, or vm.tls-listen, endpoints such as ["tcp:13370"]')
    if v.get("vm.certificates") == ():
        needy = {
            "vm.tls-listen": bool(v.get("vm.tls-listen")),
            'vm.encryption = "require"': v.get("vm.encryption") == "require",
            "vm.client-ca": bool(v.get("vm.client-ca")),
        }
        found += [
            f"{key}: this needs a certificate in vm.certificates; `vmproxy make-cert' makes one"
            for key, need in needy.items()
            if need
        ]
    return found


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
    known = [*_BY_KEY, *(f"[{section}]" for section in _SECTIONS), "[[rule]]", "[[console]]", "[[dial]]"]
    near = difflib.get_close_matches(key, known, 1, 0.6)
    if not near:  # perhaps it stands in the wrong section
        last = key.rpartition(".")[2]
        near = [k for k in _BY_KEY if k.rpartition(".")[2] == last] or difflib.get_close_matches(last, known, 1, 0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _build(v: dict[str, Any], policy: Policy, dial: DialRules) -> Config:
    return Config(
        state_dir=v["state-dir"],
        audit_file=v["audit-file"] or v["state-dir"] / "audit.jsonl",
        policy=policy,
        dial=dial,
        vm=VMConfig(
            listen=v["vm.listen"],
            service_uri=v["vm.service-uri"],
            com_port=v["vm.com-port"],
            keep_idle=v["vm.keep-idle"],
            identify_timeout=v["vm.identify-timeout"],
            vmotion_timeout=v["vm.vmotion-timeout"],
            tls_listen=v["vm.tls-listen"],
            certificates=v["vm.certificates"],
            encryption=v["vm.encryption"],
            client_ca=v["vm.client-ca"],
            tls_minimum=v["vm.tls-minimum"],
            handshake_timeout=v["vm.handshake-timeout"],
            networks=v["vm.networks"],
            connections=v["vm.connections"],
            connections_per_address=v["vm.connections-per-address"],
            connects_per_second=v["vm.connects-per-second"],
            second_connection=v["vm.second-connection"],
            same_network_ipv4=v["vm.same-network-ipv4"],
            same_network_ipv6=v["vm.same-network-ipv6"],
        ),
        ssh=SSHConfig(
            listen=v["ssh.listen"],
            operators_file=v["ssh.operators-file"],
            authorized_keys=v["ssh.authorized-keys"],
            login_timeout=v["ssh.login-timeout"],
            connections=v["ssh.connections"],
            connections_per_address=v["ssh.connections-per-address"],
            connections_per_operator=v["ssh.connections-per-operator"],
            keepalive=v["ssh.keepalive"],
            escape=v["ssh.escape"],
            quiet=v["ssh.quiet"],
            message=v["ssh.message"],
        ),
        log=LogConfig(
            dir=v["log.dir"] or v["state-dir"] / "log",
            file=v["log.file"],
            open_files=v["log.open-files"],
            plain=v["log.plain"],
            rotate_size=v["log.rotate-size"],
            rotate_age=v["log.rotate-age"],
            keep=v["log.keep"],
            compress=v["log.compress"],
            console_total=v["log.console-total"],
            folder_total=v["log.folder-total"],
        ),
    )
