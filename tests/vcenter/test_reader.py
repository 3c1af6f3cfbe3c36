"""A reading of a vCenter: what becomes labels, in pages, and what is said when it cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.fakes import VM_A, VM_B
from tests.support.tls import write_pem
from tests.support.vcenter import PAGE, FakeVCenter, SomeVM
from vmproxy.config.settings import parse_config
from vmproxy.errors import VMProxyError
from vmproxy.vcenter.reader import read
from vmproxy.vcenter.settings import VCenterSettings


@pytest.fixture
def vcenter(tmp_path: Path) -> Iterator[FakeVCenter]:
    one = FakeVCenter(write_pem(tmp_path / "vc.pem", "127.0.0.1"))
    yield one
    one.close()


def settings(vcenter: FakeVCenter, tmp_path: Path) -> VCenterSettings:
    password = tmp_path / "password"
    password.write_text("pass\n")
    return VCenterSettings(f"127.0.0.1:{vcenter.port}", "vmproxy", password, tmp_path / "vc.pem")


def test_everything_that_is_known_is_a_label(vcenter: FakeVCenter, tmp_path: Path) -> None:
    vcenter.vms = {
        "vm-1": SomeVM(VM_A, note="Call\nAlice \u202e", custom={1: "Team A", 2: "stolen", 9: "unknown"}),
        "vm-2": SomeVM(VM_B, power="poweredOff", folder="group-v1"),
        "vm-3": SomeVM(VM_B, template=True),
    }
    vcenter.tags = {
        "t1": ("Role", "web", ["vm-1"]),
        "t2": ("Role", "db", ["vm-1", "vm-2"]),
        "t3": ("power", "x", ["vm-1"]),
    }
    first, second = read(settings(vcenter, tmp_path))
    assert (first.uuid, first.bios) == (VM_A.int, 0xB105)
    assert first.labels == (
        ("datacenter", "Bonn"),
        ("folder", "Prod/Web"),
        ("cluster", "Blue / Green"),
        ("esx", "esx01.example"),
        ("power", "on"),
        ("note", "Call Alice \\u202e"),
        ("Owner", "Team A"),
        ("Role", "web"),
        ("Role", "db"),
    )
    assert second.labels[-2:] == (("power", "off"), ("Role", "db"))
    assert ("folder", "") not in second.labels
    assert vcenter.sessions == 0
    assert vcenter.asked.count("DELETE session") == 1


def test_vms_are_asked_for_in_pages(vcenter: FakeVCenter, tmp_path: Path) -> None:
    vcenter.vms = {f"vm-{n}": SomeVM(VM_A.__class__(int=n + 1)) for n in range(3 * PAGE + 1)}
    assert len(read(replace(settings(vcenter, tmp_path), tags=False))) == 3 * PAGE + 1
    assert vcenter.asked.count("ContinueRetrievePropertiesEx") >= 3
    assert not [one for one in vcenter.asked if " " in one]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"password": "other"}, "the user or the password is wrong"),
        ({"ca_file": None}, "its certificate is not trusted"),
        ({"server": "127.0.0.1:1"}, "Connection refused"),
        ({"password_file": Path("/nowhere/password")}, "No such file"),
        ({"tags": True}, "the REST API answers 404"),
        ({"nonsense": True}, "it answers something else than a vCenter"),
    ],
)
def test_what_goes_wrong_is_said(
    vcenter: FakeVCenter, tmp_path: Path, changed: dict[str, object], problem: str
) -> None:
    given = settings(vcenter, tmp_path)
    vcenter.tags = None
    vcenter.nonsense = "nonsense" in changed
    if "password" in changed:
        vcenter.password = "other"
    elif not vcenter.nonsense:
        given = replace(given, **changed)  # type: ignore[arg-type]  # each of its own kind
    with pytest.raises(VMProxyError, match=problem):
        read(given)
    assert vcenter.sessions == 0


def test_settings() -> None:
    found = parse_config(b'[vcenter]\nserver = "vc.example:8443"\nrules = "Folder"\nevery = 1', "x", {})
    assert sorted(one.partition(": ")[2] for one in found.problems) == [
        "vcenter.every: 1 is not a time from 30 s to a day",
        "vcenter.password-file: is needed with vcenter.server",
        "vcenter.user: is needed with vcenter.server",
    ]
    assert found.config.vcenter.address == ("vc.example", 8443)
    assert found.config.vcenter.rules == ("folder",)
    assert parse_config(b'vcenter.server = "a b"', "x", {}).problems
