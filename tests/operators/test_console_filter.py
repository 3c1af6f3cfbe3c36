"""Filters of consoles by name and by columns."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from tests.support.fakes import FakeLink, FakeViewer
from tests.support.ssh import SSHWorld
from vmproxy.console.alert_marks import AlertMarks
from vmproxy.operators.console_filter import COLUMNS, ConsoleFilter, begins_column
from vmproxy.operators.visible import VisibleConsoles


def view_of(w: SSHWorld, *rules: tuple[str, str, str]) -> VisibleConsoles:
    if rules:
        w.rules(*rules)
    return VisibleConsoles(w.directory, lambda: w.directory.policy.grants("alice", ()))


@each(
    ("text", "name", "fits"),
    [
        ("web", "web", True),
        ("state:up", "", True),
        ("STATE:U web", "web", True),
        ("state:down", "", False),
        ("state:down,up", "", True),
        ("state: web", "web", True),
        ("host:10.0", "", True),
        ("host:10.*.1", "", True),
        ("host:10.9", "", False),
        ("tag:team=web", "", True),
        ("tag:TEAM", "", True),
        ("tag:team=db", "", False),
        ("uri:vmproxy", "", True),
        ("uuid:564d0001", "", True),
        ("uuid:564D0001-0000", "", True),
        ("uuid:0001", "", False),
        ("who:bob", "", True),
        ("writer:bob", "", True),
        ("writer:carol", "", False),
        ("who:carol writer:bob", "", True),
        ("alerts:crit", "", True),
        ("alerts:warning", "", False),
        ("state:up host:10.9", "", False),
        ("xstate:up", "xstate:up", True),
        ("a:b c", "a:b c", True),
    ],
)
def test_words_about_columns(w: SSHWorld, text: str, name: str, fits: bool) -> None:
    link = FakeLink("10.0.0.1")
    w.claim("web01", UUID("564d0001-0000-0000-0000-000000000000"), "1", link=link, uri="vmproxy?team=web&x")
    console = w.console("web01")
    console.viewers.attach(FakeViewer("bob@10.1.2.9"), write=True)
    console.viewers.attach(FakeViewer("carol@10.1.2.9"), write=False)
    console.set_alerts(AlertMarks(1, 0, 2))
    read = ConsoleFilter.read(text)
    assert read.name == name
    assert read.fits(view_of(w), console) is fits


def test_alerts_are_found_by_those_who_may_know_of_them(w: SSHWorld) -> None:
    w.vm("web01")
    w.console("web01").set_alerts(AlertMarks(1, 0, 0))
    assert not ConsoleFilter.read("alerts:critical").fits(view_of(w, ("alice", "see", "*")), w.console("web01"))
    assert ConsoleFilter.read("alerts:critical").fits(view_of(w, ("alice", "spy", "*")), w.console("web01"))


@given(st.lists(st.sampled_from([*COLUMNS, ":", " ", ",", "*", "?", "[", "web", "\\", "日"]), max_size=12).map("".join))
def test_anything_that_is_typed_is_a_filter(text: str) -> None:
    read = ConsoleFilter.read(text)
    assert len(read.name) <= len(text)
    assert len(read.columns) <= text.count(":")


def test_a_colon_belongs_to_the_filter_behind_a_column_only() -> None:
    assert begins_column("state")
    assert begins_column("web Host")
    assert not begins_column("")
    assert not begins_column("state ")
    assert not begins_column("estate")


def test_who_writes_beside_the_writer_is_found_as_one_who_writes(w: SSHWorld) -> None:
    w.use_policy(None, [{"on": ["*"], "write": "shared"}])
    w.vm("web01")
    for name in ("bob", "carol"):
        w.console().viewers.attach(FakeViewer(f"{name}@10.1.2.9"), write=True, join=True)
    assert ConsoleFilter.read("writer:bob").fits(view_of(w), w.console())
    assert ConsoleFilter.read("writer:carol").fits(view_of(w), w.console())


def test_to_ask_who_is_there_leaves_nothing_with_thousands_of_consoles_on_which_nobody_is(w: SSHWorld) -> None:
    w.vm("web01")
    view = view_of(w)
    for text in ("who:bob", "writer:bob"):
        assert not ConsoleFilter.read(text).fits(view, w.console())
    for command in ("list", "list --sort viewers", "list --json", "list -u", "who", "broadcast hello"):
        assert w.login().run(command).status == 0
    assert w.console()._viewers is None
