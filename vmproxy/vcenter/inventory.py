"""What vCenter says about VMs: values, and their file, from which a restart has them before vCenter answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from vmproxy.access.labels import LABELS_LIMIT, VALUE_LIMIT, Pair, is_key
from vmproxy.base.new_file import new_file
from vmproxy.base.sanitize import safe_word, visible

VMS_LIMIT = 200_000
FILE_LIMIT = 256 * 1024 * 1024
OWN = ("datacenter", "folder", "cluster", "esx", "power", "note", "gone")
"""Keys of labels that are vCenter's own: no tag and no custom attribute may be called so."""


@dataclass(frozen=True, slots=True)
class VM:
    """One VM.

    :ivar uuid: the VC UUID (``instanceUuid``), as a number; ``bios`` the BIOS UUID.
    """

    uuid: int
    bios: int
    labels: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Inventory:
    """All VMs of a vCenter.

    :ivar vms: by the VC UUID.
    :ivar gone: since when VMs are gone that it had, seconds since the epoch, by the VC UUID.
    """

    vms: Mapping[int, VM] = field(default_factory=dict)
    gone: Mapping[int, float] = field(default_factory=dict)
    _bios: Mapping[int, VM] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_bios", {vm.bios: vm for vm in self.vms.values()})

    def of_bios(self, uuid: int) -> VM | None:
        """The VM with a BIOS UUID, which need not be its alone."""
        return self._bios.get(uuid)

    def followed_by(self, vms: Iterable[VM], now: float, has_console: Callable[[int], bool]) -> Inventory:
        """The inventory after another reading.

        :param has_console: whether a VM has a console here; of others that are gone nothing is kept.
        """
        found = {vm.uuid: vm for vm in vms}
        gone = (uuid for uuid in (*self.gone, *self.vms) if uuid not in found and has_console(uuid))
        return Inventory(found, {uuid: self.gone.get(uuid, now) for uuid in gone})

    def without(self, gone: Iterable[int]) -> Inventory:
        """The same without VMs that are gone, and whose consoles are forgotten."""
        left = dict(self.gone)
        for uuid in gone:
            left.pop(uuid, None)
        return Inventory(self.vms, left)


def label(key: str, value: str) -> Pair | None:
    """A label of a text that people have given; None if there is nothing to say. Blanks in a key become dashes."""
    word = safe_word(key, 64)
    text = visible(" ".join(value.split()), VALUE_LIMIT)
    return (word, text) if text and is_key(word) else None


def named_by_people(pairs: Iterable[tuple[str, str]]) -> tuple[Pair, ...]:
    """The labels of tags and custom attributes: none has a key of vCenter's own."""
    found = (label(key, value) for key, value in pairs)
    kept = dict.fromkeys(pair for pair in found if pair is not None and pair[0].casefold() not in OWN)
    return tuple(kept)[: LABELS_LIMIT - len(OWN)]


def read_file(path: Path) -> Inventory:
    """The inventory as it was written last; an empty one if there is none. Waits for the disk.

    :raises OSError, ValueError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            kept: Any = json.loads(file.read(FILE_LIMIT))
    except FileNotFoundError:
        return Inventory()
    try:
        vms = [VM(int(one[0], 16), int(one[1], 16), tuple((str(k), str(v)) for k, v in one[2])) for one in kept["vms"]]
        return Inventory({vm.uuid: vm for vm in vms}, {int(k, 16): float(v) for k, v in kept["gone"].items()})
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(str(error)) from None


def write_file(path: Path, inventory: Inventory) -> None:
    """Write an inventory; waits for the disk."""
    vms = [[f"{vm.uuid:032x}", f"{vm.bios:032x}", vm.labels] for vm in inventory.vms.values()]
    gone = {f"{uuid:032x}": at for uuid, at in inventory.gone.items()}
    with new_file(path) as file:
        json.dump({"vms": vms, "gone": gone}, file)


def number(text: str | None) -> int:
    """A UUID as a number; 0 if there is none."""
    try:
        return UUID(text or "").int
    except ValueError:
        return 0
