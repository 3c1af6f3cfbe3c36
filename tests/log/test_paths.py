"""Log names: whatever the template and the VM's name, a file inside the folder that belongs to one console."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from tests.support.consoles import HOSTILE_NAMES
from tests.support.fakes import VM_A, VM_B
from vmproxy.log.files import LogFiles
from vmproxy.log.paths import BadTemplate, check_template, folded, log_path

A8, B8 = VM_A.hex[:8], VM_B.hex[:8]


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("{uuid}.log", f"{VM_A}.log"),
        ("{uuid_hex}", VM_A.hex),
        ("{name}.log", "VM-old.log"),
        ("{name}-{port}.log", "VM-old-1.log"),
        ("{name}/{uuid}/{port}.log", f"VM-old/{VM_A}/1.log"),
        ("instances/{uuid}/console.log", f"instances/{VM_A}/console.log"),
    ],
)
def test_fields_are_filled_in(template: str, path: Path) -> None:
    check_template(template)
    assert log_path(template, VM_A, "1", "VM (old)", ()) == path


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("{uuid}.log", f"{VM_A}.2.log"),
        ("{uuid_hex}", f"{VM_A.hex}-2"),  # what ends in .2 would be the second old log of the first port
        ("x/{name}.log", "x/web.2.log"),
        ("{name}.{port}.log", "web.2.log"),
        ("{port}/{name}.log", "2/web.log"),
    ],
)
def test_another_port_than_the_first_gets_a_name_of_its_own(template: str, path: str) -> None:
    assert log_path(template, VM_A, "2", "web", ()) == path


@pytest.mark.parametrize(
    ("template", "literal"),
    [
        ("{{x}}-{uuid}.log", f"{{x}}-{VM_A}.log"),
        ("{{uuid}}-{name}.log", "{uuid}-web.log"),
        ("{{{name}}}.log", "{web}.log"),
        ("{uuid}}}.log", f"{VM_A}}}.log"),
    ],
)
def test_a_doubled_brace_is_a_literal_one(template: str, literal: str) -> None:
    check_template(template)
    assert log_path(template, VM_A, "1", "web", ()) == literal


def test_a_literal_port_in_braces_does_not_tell_ports_apart() -> None:
    template = "{{port}}-{name}.log"
    check_template(template)
    assert log_path(template, VM_A, "1", "web", ()) != log_path(template, VM_A, "2", "web", ())


def test_two_vms_of_one_name_do_not_share_a_file() -> None:
    first = log_path("{name}.log", VM_A, "1", "web", ())
    assert log_path("{name}.log", VM_B, "1", "web", {first}) == f"web~{B8}.log"


def test_not_even_two_whose_uuids_begin_alike() -> None:
    other = UUID(VM_A.hex[:8] + "f" * 24)
    taken = {"web.log"}
    taken.add(log_path("{name}.log", VM_A, "1", "web", taken))
    taken.add(log_path("{name}.log", other, "1", "web", taken))
    assert len(taken) == 3


def test_no_name_looks_like_one_that_was_told_apart_by_its_uuid() -> None:
    assert "~" not in log_path("{name}.log", VM_A, "1", f"web~{B8}", ())


def test_a_vm_without_a_usable_name_gets_one_from_its_uuid() -> None:
    for name in ("", "..", "///", "\0", "\udcff"):
        assert log_path("{name}.log", VM_A, "1", name, ()) == f"vm-{A8}.log"


@each("template", ["{name}", "{name}.log", "{uuid}.{name}", "{name}/{port}", "x/{name}.{port}"])
@each("name", [*HOSTILE_NAMES, "by-name", "web.events", "web.log.events", "events"])
def test_no_name_leaves_the_folder_or_takes_what_is_taken(template: str, name: str) -> None:
    check_template(template)
    for port in ("1", "2"):
        path = PurePosixPath(log_path(template, VM_A, port, name, ()))
        assert not path.is_absolute()
        assert not {"..", "."} & set(path.parts)
        assert os.path.normpath(path) == str(path)
        assert all(0 < len(os.fsencode(piece)) + len(".events") <= 255 for piece in path.parts)
        assert str(path).isprintable()
        # The links have a folder of their own, and what ends in .events is the trail of another log.
        assert path.parts[0] != "by-name"
        assert path.suffix != ".events"


@each("template", ["{name}", "{name}.log", "{uuid}.{name}", "x/{name}.{port}", "{uuid_hex}"])
@each("name", ["web", "web.log", "web.txt", "web.events"])
def test_a_name_cannot_make_a_log_of_what_belongs_to_another(template: str, name: str) -> None:
    for more in ("", ".1", ".999", ".2.gz", ".events.3", ".events.2.gz", ".txt.4", ".txt", ".gz.tmp"):
        _nothing_is_shared(template, name + more)


def _nothing_is_shared(template: str, name: str) -> None:
    taken: set[str] = set()
    victims = [(VM_A, "1", "web"), (VM_A, "2", "web"), (VM_A, "3", "web.log")]
    paths = []
    for uuid, port, called in [*victims, (VM_B, "1", name), (VM_B, "2", name)]:
        paths.append(log_path(template, uuid, port, called, taken))
        taken.add(paths[-1])
    assert len(taken) == 5
    files = [kind for path in paths for kind in LogFiles(Path(path)).kinds]
    assert len({*files}) == len(files)
    # Nor can any of them be one of those that rotation makes of another.
    numbered = re.compile(r"(.+?)(?:\.[0-9]+)?(?:\.gz)?(?:\.tmp)?")
    for path in paths:
        match = numbered.fullmatch(path)
        assert match is not None
        assert match[1] == path


@pytest.mark.parametrize("template", ["{uuid}.1", "{name}.txt", "{uuid}.gz", "x/{name}.tmp", "{uuid}.events"])
def test_a_template_that_makes_logs_look_like_old_ones_is_refused(template: str) -> None:
    with pytest.raises(BadTemplate, match="taken"):
        check_template(template)


def test_a_name_cannot_make_a_log_of_another_logs_trail() -> None:
    # The VM would write the other one's events.
    victim = log_path("{name}", VM_A, "1", "web", ())
    attacker = log_path("{name}", VM_B, "1", "web.events", {victim})
    assert attacker != f"{victim}.events"


@given(
    st.lists(
        st.tuples(
            st.sampled_from([VM_A, VM_B, UUID(A8 + "0" * 24)]), st.sampled_from(["1", "2", "a"]), st.text(max_size=8)
        ),
        max_size=12,
        unique_by=lambda key: key[:2],
    ),
    st.sampled_from(["{name}.log", "{name}", "{name}.{port}", "{uuid}.log", "logs/{name}/{uuid}"]),
)
def test_no_two_consoles_share_a_file_or_a_trail(consoles: list[Any], template: str) -> None:
    taken: set[str] = set()
    for uuid, port, name in consoles:
        path = log_path(template, uuid, port, name, taken)
        assert path not in taken
        assert f"{path}.events" not in taken
        taken.add(path)


@pytest.mark.parametrize("template", ["{", "}", "{uuid", "{uuid}{", "{uuid}{x", "{uuid}{name!z}"])
def test_a_template_that_cannot_be_read_is_refused(template: str) -> None:
    with pytest.raises(BadTemplate):
        check_template(template)


@given(st.text(alphabet="{}uidnameport_hex./-\0 ~", max_size=30) | st.text(max_size=20))
def test_a_template_is_refused_or_works(template: str) -> None:
    template += "{uuid}"
    try:
        check_template(template)
    except BadTemplate:
        return
    path = PurePosixPath(log_path(template, VM_A, "1", "web", ()))
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert str(VM_A) in str(path)


def test_names_that_differ_in_case_only_have_files_that_differ_in_more() -> None:
    # A log folder on a file system that does not tell them apart would mix the bytes of two VMs.
    taken = {"Web01.log", folded("Web01.log")}
    for name in ("web01", "WEB01", "Web01"):
        path = log_path("{name}.log", VM_B, "1", name, taken)
        assert folded(path) not in taken
        assert path == f"{name}~{VM_B.hex[:8]}.log"


@given(st.uuids(), st.sampled_from(["1", "2", "con"]), st.lists(st.sampled_from(["{}.log", "{}.2.log", "{}~.log"])))
def test_the_short_way_of_the_usual_template_leads_to_the_same_path(uuid: UUID, port: str, others: list[str]) -> None:
    taken = {other.format(uuid) for other in others}
    assert log_path("{uuid}.log", uuid, port, "web", taken) == log_path("./{uuid}.log", uuid, port, "web", taken)
