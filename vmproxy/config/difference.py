"""What another configuration would change, for people; and the configuration in force, for those outside the daemon."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from vmproxy.base.sanitize import visible
from vmproxy.config.settings import Config, ConfigFile, differences, parse_config
from vmproxy.errors import ConfigError

IN_FORCE = "in-force.json"
"""The file in the state folder that holds the configuration in force."""

_SHOWN = 200


def changes(old: ConfigFile, new: ConfigFile) -> Iterator[str]:
    """The changes, a line each, those that wait for a restart last."""
    for restart in (False, True):
        for key in differences(old.config, new.config, restart):
            wait = " (at the next start)" if restart else ""
            yield f"{key}: {_written(old, key)} -> {_written(new, key)}{wait}"
        if not restart:
            yield from _tables(old, new)


def _written(file: ConfigFile, key: str) -> str:
    value: Any = file.file.table
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return "default"
        value = value[part]
    return visible(json.dumps(value, default=str, ensure_ascii=False), _SHOWN)


def _tables(old: ConfigFile, new: ConfigFile) -> Iterator[str]:
    for name, same in (
        ("rule", old.config.policy.rules == new.config.policy.rules),
        ("console", old.config.policy.sections == new.config.policy.sections),
        ("group", old.config.policy.groups == new.config.policy.groups),
        ("dial", old.config.dial == new.config.dial),
        ("action", old.config.actions == new.config.actions),
    ):
        if same:
            continue
        before, after = ([_shown(one) for one in file.file.table.get(name, [])] for file in (old, new))
        # Not ndiff: it compares the letters of all tables that differ, minutes for some hundred.
        for kind, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
            if kind != "equal":
                yield from (f"[[{name}]] removed: {one}" for one in before[a:b])
                yield from (f"[[{name}]] added: {one}" for one in after[c:d])


def _shown(table: Mapping[str, Any]) -> str:
    return visible(json.dumps(table, default=str, ensure_ascii=False), _SHOWN)


def write_in_force(config: Config, now: float) -> None:
    """Write down the configuration in force; waits for the disk.

    :param now: seconds since the epoch.
    :raises OSError: if it cannot be written.
    """
    path = config.state_dir / IN_FORCE
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"at": now, **asdict(config.source)}) + "\n", "utf-8")
    new.replace(path)


def read_in_force(state_dir: Path) -> tuple[ConfigFile, float]:
    """The configuration in force, and since when; waits for the disk.

    :raises ConfigError: if it is not known.
    """
    path = state_dir / IN_FORCE
    try:
        found = json.loads(path.read_bytes())
        return parse_config(found["toml"].encode(), found["name"], found["options"]), float(found["at"])
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ConfigError([f"{path}: it is damaged"]) from None
