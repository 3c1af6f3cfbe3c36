"""The configuration: one TOML file, read into the settings classes of all layers.

All that is wrong with the file is told at once, by line and key.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from vmproxy.access.policy import Policy
from vmproxy.access.policy_file import parse_policy
from vmproxy.alerts.watch import AlertSettings
from vmproxy.auth.ldap import LDAPSettings
from vmproxy.auth.pam import PAMSettings
from vmproxy.base import values
from vmproxy.base.schema import Problem, label, read, section, setting, settings_of, told
from vmproxy.base.toml import KeyPath, TomlFile
from vmproxy.errors import ConfigError
from vmproxy.log.settings import LogSettings
from vmproxy.operators.action import Action, parse_actions
from vmproxy.ssh.settings import SSHSettings
from vmproxy.vcenter.settings import VCenterSettings
from vmproxy.vm.outbound.rules import DialRules
from vmproxy.vm.outbound.rules_file import parse_dial
from vmproxy.vm.settings import VMSettings
from vmproxy.web.settings import WebSettings

_AUDIT = Path("audit.jsonl")
LOG_LEVEL = "info"
_TABLES = ("rule", "console", "group", "dial", "action")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a configuration comes from.

    :ivar name: the file, or what stands for it.
    :ivar options: what the command line said instead.
    """

    name: str = "the defaults"
    toml: str = ""
    options: Mapping[str, str | list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Config:
    """All settings.

    :ivar state_dir: the folder of host keys and known consoles.
    :ivar audit_file: where it is relative, in the state folder.
    :ivar log_level: of the daemon's own log, the lowest that is said.
    :ivar policy: rules, settings of single consoles, and groups.
    :ivar actions: programs that operators may have run.
    :ivar dial: destinations that VMs may be connected to.
    """

    state_dir: Path = setting(values.folder, Path("var"), option="state-dir", restart=True)
    audit_file: Path = setting(values.or_empty(values.file, _AUDIT), _AUDIT, restart=True)
    vm: VMSettings = section(VMSettings)
    ssh: SSHSettings = section(SSHSettings)
    log: LogSettings = section(LogSettings)
    policy: Policy = field(default_factory=Policy)
    dial: DialRules = field(default_factory=DialRules)
    actions: tuple[Action, ...] = ()
    log_level: str = setting(values.one_of(("debug", "info", "warn", "error")), LOG_LEVEL)
    alerts: AlertSettings = section(AlertSettings)
    vcenter: VCenterSettings = section(VCenterSettings)
    ldap: LDAPSettings = section(LDAPSettings)
    pam: PAMSettings = section(PAMSettings)
    web: WebSettings = section(WebSettings)
    source: Source = field(default_factory=Source, compare=False, repr=False)


SETTINGS = settings_of(Config)
"""Every setting, by key, such as ``vm.listen``."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A configuration that has been read, right or wrong.

    :ivar config: what it says, with defaults in place of what is wrong.
    :ivar problems: lines for people, with file and line.
    """

    file: TomlFile
    config: Config
    problems: list[str]

    def place(self, key: str) -> str:
        """``FILE:LINE`` of a setting; the file alone if it is not there."""
        line = self.file.line(tuple(key.split(".")))
        return f"{self.file.name}:{line}" if line else self.file.name


def load(path: Path | None, options: Mapping[str, str | list[str]]) -> Config:
    """Read the configuration.

    :param path: the file; None for the defaults.
    :param options: what the command line says instead, by option name.
    :raises ConfigError: with every problem found.
    """
    found = read_config(path, options)
    if found.problems:
        raise ConfigError(found.problems)
    return found.config


def read_config(path: Path | None, options: Mapping[str, str | list[str]]) -> ConfigFile:
    """Read the configuration, with every problem found; see :func:`load`.

    :raises ConfigError: if there is no such file, or it is not TOML.
    """
    if path is None:
        return parse_config(b"", Source().name, options)
    try:
        return parse_config(path.read_bytes(), str(path), options)
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from None


def parse_config(data: bytes, name: str, options: Mapping[str, str | list[str]]) -> ConfigFile:
    """Parse the configuration; see :func:`read_config`.

    :param name: the file's name, for problems.
    :raises ConfigError: if it is not TOML.
    """
    file = TomlFile(data, name)
    overridden = {key: one.option for key, one in SETTINGS.items() if one.option in options}
    for key, option in overridden.items():
        place, _, name = key.rpartition(".")
        table = file.table.setdefault(place, {}) if place else file.table
        if isinstance(table, dict):
            table[name] = options[option]
    problems: list[Problem] = []
    policy, wrong = parse_policy(*(file.table.get(name) for name in ("rule", "console", "group")))
    dial, wrong_dial = parse_dial(file.table.get("dial"))
    actions, wrong_actions = parse_actions(file.table.get("action"))
    config = read(
        Config, file.table, problems, nearest=_nearest, also=_TABLES, policy=policy, dial=dial, actions=actions
    )
    by_option = [problem for problem in problems if label(problem.path) in overridden]
    found = [f"--{overridden[label(problem.path)]}: {problem.text}" for problem in by_option]
    found += told(
        [problem for problem in (*problems, *wrong, *wrong_dial, *wrong_actions) if problem not in by_option], file
    )
    assert config is not None, "nothing is required"
    state = config.state_dir.absolute()
    log = replace(config.log, dir=state / config.log.dir)
    alerts = replace(config.alerts, file=state / config.alerts.file)
    source = Source(name, data.decode(), options)
    config = replace(
        config, state_dir=state, audit_file=state / config.audit_file, log=log, alerts=alerts, source=source
    )
    return ConfigFile(file, config, found)


def differences(old: Config, new: Config, restart: bool) -> list[str]:
    """The keys of the settings that are not the same in two configurations.

    :param restart: whether those that need a restart are meant, or those that count at once.
    """
    return [key for key, one in SETTINGS.items() if one.restart is restart and one.of(old) != one.of(new)]


def _nearest(place: KeyPath) -> str:
    key = label(place)
    shown = {known: known for known in SETTINGS}
    shown |= {name: f"[{name}]" for name in {known.partition(".")[0] for known in SETTINGS if "." in known}}
    shown |= {name: f"[[{name}]]" for name in _TABLES}
    known = sorted(shown)
    near = difflib.get_close_matches(key, known, 1, 0.6)
    if not near:  # perhaps it is in the wrong section
        last = key.rpartition(".")[2]
        near = [one for one in SETTINGS if one.rpartition(".")[2] == last] or difflib.get_close_matches(
            last, known, 1, 0.5
        )
    return f"; did you mean {shown[near[0]]}?" if near else ""
