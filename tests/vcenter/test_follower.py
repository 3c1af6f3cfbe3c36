"""Labels of consoles by a vCenter: taken, kept, and taken away; and what is done when it cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from twisted.internet.defer import execute

from tests.support.consoles import World
from tests.support.fakes import VM_A, VM_B
from vmproxy.access.policy import Right
from vmproxy.access.policy_file import parse_policy
from vmproxy.base.troubles import Kind, Trouble, Troubles
from vmproxy.errors import VMProxyError
from vmproxy.vcenter.follower import AGAIN, LONGEST, PATIENCE, VCenterFollower
from vmproxy.vcenter.inventory import VM, Inventory
from vmproxy.vcenter.settings import VCenterSettings

SETTINGS = VCenterSettings("vc.example", "u", Path("/p"), every=300.0, rules=("folder",))
WEB = VM(VM_A.int, VM_A.int + 1, (("folder", "Web"), ("power", "on")))


class Followed(World):
    """A world with a vCenter that says what a test wants."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        self.vms: list[VM] | VMProxyError = [WEB]
        self.read = 0
        self.audited: list[tuple[str, dict[str, object]]] = []
        self.troubles: list[Trouble] = []
        troubles = Troubles()
        troubles.take(self.troubles.append)
        self.follower = VCenterFollower(
            self.clock,
            self.directory,
            troubles,
            lambda event, **fields: self.audited.append((event, fields)),
            folder / "vcenter.json",
            execute,
            self._reads,
        )

    def _reads(self, settings: VCenterSettings) -> list[VM]:
        self.read += 1
        if isinstance(self.vms, VMProxyError):
            raise self.vms
        return self.vms

    def go(self, seconds: float = 0) -> None:
        self.clock.advance(seconds)
        for _ in range(5):
            self.clock.advance(0)


@pytest.fixture
def w(tmp_path: Path) -> Followed:
    return Followed(tmp_path)


def test_consoles_have_the_labels_of_their_vms(w: Followed) -> None:
    web, other = w.claim("web01"), w.claim("x", VM_B)
    w.follower.use(SETTINGS)
    w.go()
    assert web.labels.pairs == WEB.labels
    assert web.labels.given == ("folder=web",)
    assert not other.labels
    w.vms = [VM(VM_B.int, 0, (("folder", "Db"),)), WEB]
    w.go(300)
    assert str(other.labels) == "folder=Db"
    late = w.claim("late", VM_A, port="2")
    assert late.labels is web.labels or late.labels.pairs == web.labels.pairs
    w.follower.use(VCenterSettings())
    w.go()
    assert not web.labels


def test_a_vm_without_a_vc_uuid_is_found_by_its_bios_uuid(w: Followed) -> None:
    console = w.claim("web01", VM_A.__class__(int=VM_A.int + 1))
    console.set_vc_uuid(None, "BIOS UUID")
    w.follower.use(SETTINGS)
    w.go()
    assert console.labels.pairs == WEB.labels


def test_rules_by_labels_apply_as_soon_as_vcenter_says_so(w: Followed) -> None:
    console = w.claim("web01")
    rules = [{"who": "*", "may": ["spy"], "on": ["tag:folder=web"]}, {"who": "*", "may": ["see"], "on": ["tag:power"]}]
    policy, problems = parse_policy(rules, None)
    assert problems == []
    w.directory.use(policy)
    grants = policy.grants("alice")
    assert w.directory.names.seen_by(grants).beginning("w", 9) == []
    w.follower.use(SETTINGS)
    w.go()
    assert w.directory.names.seen_by(grants).beginning("w", 9) == [console]
    assert grants.rights(console) == Right.SPY.closure()
    w.vms = [VM(VM_A.int, 0, (("folder", "Db"), ("power", "on")))]  # of power, rules know nothing
    w.go(300)
    assert w.directory.names.seen_by(grants).beginning("w", 9) == []


def test_a_vm_that_is_gone_is_marked_and_forgotten_where_that_is_wanted(w: Followed) -> None:
    console, never = w.claim("web01"), w.claim("standalone", VM_B)
    w.follower.use(VCenterSettings("vc.example", "u", Path("/p"), every=300.0, forget_gone=3600.0))
    w.go()
    w.vms = []
    w.go(300)
    assert str(console.labels) == "gone"
    assert not never.labels
    w.lose(console)
    w.lose(never)
    w.go(3000)
    assert not console.forgotten
    w.go(900)
    assert console.forgotten
    assert not never.forgotten
    assert [(event, fields["who"], fields["console"]) for event, fields in w.audited] == [
        ("forget", "vcenter", "web01")
    ]
    assert not w.follower.inventory.gone


def test_nothing_is_forgotten_by_what_was_kept(w: Followed) -> None:
    console = w.claim("web01")
    w.lose(console)
    settings = VCenterSettings("vc.example", "u", Path("/p"), every=300.0, forget_gone=3600.0)
    w.follower.inventory = Inventory({}, {VM_A.int: w.directory.wall() - 86400})
    w.vms = VMProxyError("it is away")
    w.follower.use(settings)
    w.go()
    assert str(console.labels) == "gone"
    assert not console.forgotten
    w.vms = []
    w.go(AGAIN)
    assert console.forgotten


def test_many_that_are_gone_are_forgotten_in_few_steps(w: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    consoles = [w.claim(f"vm{number}", UUID(int=number)) for number in range(1, 51)]
    w.vms = [VM(console.uuid.int, 0, ()) for console in consoles]
    w.follower.use(VCenterSettings("vc.example", "u", Path("/p"), every=300.0, forget_gone=300.0))
    w.go()
    w.vms = []
    w.go(300)
    for console in consoles:
        w.lose(console)
    made: list[Inventory] = []
    real = Inventory.__post_init__
    monkeypatch.setattr(Inventory, "__post_init__", lambda self: (made.append(self), real(self))[1])
    w.go(300)
    assert all(console.forgotten for console in consoles)
    assert len(made) == 2
    assert not w.follower.inventory.gone


def test_of_vms_without_a_console_nothing_is_kept_when_they_are_gone(w: Followed) -> None:
    w.claim("web01")
    w.vms = [WEB, VM(VM_B.int, 0, ())]
    w.follower.use(SETTINGS)
    w.go()
    w.vms = []
    w.go(300)
    assert list(w.follower.inventory.gone) == [VM_A.int]


def test_one_that_is_gone_and_up_stays(w: Followed) -> None:
    console = w.claim("web01")
    w.follower.use(VCenterSettings("vc.example", "u", Path("/p"), every=300.0, forget_gone=60.0))
    w.go()
    w.vms = []
    for _ in range(4):
        w.go(300)
    assert not console.forgotten
    w.vms = [WEB]
    w.go(300)
    assert console.labels.pairs == WEB.labels


def test_a_vcenter_that_is_away_takes_no_labels_away_and_is_told(w: Followed) -> None:
    console = w.claim("web01")
    w.follower.use(SETTINGS)
    w.go()
    w.vms = VMProxyError("it is away")
    w.go(300)
    assert w.troubles == []
    for n in range(PATIENCE - 1):
        w.go(AGAIN * 2**n)
    assert [(one.kind, one.text) for one in w.troubles] == [(Kind.VCENTER, "labels are not up to date: it is away")]
    assert console.labels.pairs == WEB.labels
    before = w.read
    for _ in range(20):
        w.go(LONGEST)
    assert 15 <= w.read - before <= 20 + PATIENCE + 5
    w.vms = [VM(VM_A.int, 0, (("folder", "New"),))]
    w.go(LONGEST)
    assert str(console.labels) == "folder=New"


def test_a_restart_has_what_was_read_before_vcenter_answers(w: Followed, tmp_path: Path) -> None:
    w.claim("web01")
    w.claim("gone", VM_B)
    w.vms = [WEB, VM(VM_B.int, 0, (("folder", "x"),))]
    w.follower.use(SETTINGS)
    w.go()
    w.vms = [WEB]
    w.go(300)
    w.follower.stop()
    w.store.flush()
    w.stop()
    again = Followed(tmp_path)
    again.vms = VMProxyError("away")
    again.follower.load()
    again.follower.use(SETTINGS)
    again.go()
    assert {console.name: str(console.labels) for console in again.directory} == {
        "web01": "folder=Web power=on",
        "gone": "gone",
    }


@pytest.mark.parametrize("text", ["", "{", "[]", '{"vms": [1], "gone": {}}', '{"vms": [], "gone": 1}'])
def test_a_damaged_file_is_no_obstacle(w: Followed, tmp_path: Path, text: str) -> None:
    (tmp_path / "vcenter.json").write_text(text)
    w.follower.load()
    assert not w.follower.inventory.vms


def test_nothing_is_read_without_a_server_nor_after_the_end(w: Followed) -> None:
    w.follower.use(VCenterSettings())
    w.go(1000)
    assert w.read == 0
    w.follower.use(SETTINGS)
    w.follower.stop()
    w.go(1000)
    assert w.read == 0
