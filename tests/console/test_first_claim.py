"""The first claim of a VM goes a shorter way than others, and leads to what the long way leads to."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.consoles import HOSTILE_NAMES, World, trail
from tests.support.fakes import VM_A, VM_B, VM_C, FakeLink
from tests.support.properties import examples
from vmproxy.console.newcomers import ConsoleLimits
from vmproxy.console.registry import ConsoleIdentity, ConsoleRegistry
from vmproxy.errors import VMProxyError

identities = st.builds(
    ConsoleIdentity,
    st.sampled_from([VM_A, VM_B, VM_C]),
    st.sampled_from([None, "1", "2", "console"]),
    st.sampled_from(["vmproxy", "vmproxy?port=console", "other"]),
    st.sampled_from(["", "web01", "web01", *HOSTILE_NAMES]),
    st.just(None) | st.just(lambda console: console.log.event("dialled")),
    st.sampled_from([None, VM_A, VM_B]),
    st.sampled_from([None, "other"]),
    st.sampled_from([None, VM_C]),
    st.sampled_from(["", "", "BIOS UUID"]),
)
steps = st.lists(st.tuples(identities, st.sampled_from(["10.0.0.1", "10.0.0.2"]), st.booleans()), max_size=8)


def outcome(folder: Path, script: list[tuple[ConsoleIdentity, str, bool]]) -> list[Any]:
    world = World(folder)
    world.directory.use_limits(ConsoleLimits(most=3))
    seen: list[Any] = []
    for identity, host, leaves in script:
        link = FakeLink(host)
        try:
            console = world.directory.claim(identity, link)
        except VMProxyError as error:
            seen.append(str(error))
            continue
        seen += [console.info(), console.vc_uuid, world.directory.names.alias(console), link.calls]
        if leaves:
            world.lose(console)
        world.tick(1)
    world.store.flush()
    seen += [trail(console.log) for console in world.directory]
    links = folder / "logs" / "by-name"
    seen.append(sorted((link.name, str(link.readlink())) for link in links.glob("*")) if links.exists() else [])
    seen.append((folder / "state" / "consoles.jsonl").read_text())
    world.stop()
    return seen


@given(script=steps)
@examples(100)
def test_a_first_claim_is_as_any_other(script: list[tuple[ConsoleIdentity, str, bool]]) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        short = outcome(Path(one), script)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ConsoleRegistry, "_is_first", lambda self, identity: False)
            assert outcome(Path(two), script) == short


def test_the_short_way_is_taken_for_a_new_vm_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[UUID] = []
    first = ConsoleRegistry._claim_first

    def claim(self: ConsoleRegistry, identity: ConsoleIdentity, link: Any) -> Any:
        taken.append(identity.uuid)
        return first(self, identity, link)

    monkeypatch.setattr(ConsoleRegistry, "_claim_first", claim)
    world.lose(world.claim("web", VM_A))
    world.claim("web", VM_A)
    world.claim("db", VM_B)
    assert taken == [VM_A, VM_B]
