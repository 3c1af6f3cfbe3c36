"""Access rules: who may do what where, the first that fits decides; and what is particular about a console."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from tests.support.consoles import World, trail
from tests.support.fakes import VM_A, VM_B, FakeViewer
from vmproxy.access.console_options import USUAL, parse_sequence
from vmproxy.access.labels import NO_LABELS, Labels
from vmproxy.access.policy import EVERYTHING, Policy, Right
from vmproxy.access.policy_file import parse_policy
from vmproxy.access.selector import BadRule, Selector
from vmproxy.console.console import Console
from vmproxy.console.notices import InputRecorded


@pytest.fixture
def w(tmp_path: Path) -> World:
    return World(tmp_path)


def policy(*rules: tuple[str, str, str], consoles: object = None) -> Policy:
    tables = [{"who": who.split(), "may": may.split(), "on": on.split()} for who, may, on in rules]
    found, problems = parse_policy(tables, consoles)
    assert problems == []
    return found


class TestRights:
    @each(
        ("right", "words"),
        [
            (Right.SEE, "see"),
            (Right.SPY, "see spy"),
            (Right.WRITE, "see spy write"),
            (Right.FORCE, "see spy write force"),
            (Right.RAW, "see spy write raw"),
            (Right.ADMIN, "see spy write force raw many admin"),
            (Right.FORCE | Right.RAW, "see spy write force raw"),
            (Right.NONE, ""),
        ],
    )
    def test_a_right_includes_lesser_ones(self, right: Right, words: str) -> None:
        assert right.closure().words == words.split()


class TestSelectors:
    @pytest.mark.parametrize(
        ("text", "selects"),
        [
            ("*", True),
            ("web01", True),
            ("WEB*", True),
            ("?eb0[1-3]", True),
            ("web", False),
            ("name:web*", True),
            ("web01.1", True),
            ("web01.2", False),
            (f"uuid:{VM_A}", True),
            (f"uuid:{str(VM_A).upper()}", True),
            ("uuid:0123*", True),
            ("uuid:9*", False),
            ("uuid:web01", False),
            ("query:team=blue", True),
            ("query:TEAM=*", True),
            ("query:port=1", True),
            ("query:team=blue&port=1", False),
            ("query:team", False),
            ("query:*", True),
            ("other:web01", False),
        ],
    )
    def test_globs(self, w: World, text: str, selects: bool) -> None:
        console = w.claim("Web01", uri="vmproxy?team=Blue&port=1")
        assert Selector(text).selects(console) is selects

    def test_a_name_that_looks_like_a_selector_is_reached_with_name_before_it(self, w: World) -> None:
        console = w.claim("uuid:x")
        assert not Selector("uuid:x").selects(console)
        assert Selector("name:uuid:x").selects(console)

    def test_without_a_query_none_fits(self, w: World) -> None:
        assert not Selector("query:team=blue").selects(w.claim("team=blue"))

    @pytest.mark.parametrize("text", ["", "name:", "uuid:", "query:"])
    def test_one_that_selects_nothing(self, text: str) -> None:
        with pytest.raises(BadRule, match="selects nothing"):
            Selector(text)

    @given(st.text(max_size=60), st.text(max_size=60))
    def test_no_glob_and_no_name_breaks_it(self, glob: str, name: str) -> None:
        console = Console.__new__(Console)
        console.name, console.port, console.uri, console.uuid = name, "1", name, VM_A
        console._labels, console._context = None, NoContext()  # type: ignore[assignment]  # no more is asked for
        try:
            selector = Selector(glob)
        except BadRule:
            return
        assert selector.selects(console) in (True, False)


class NoContext:
    policy = Policy()

    def labels_of(self, console: Console) -> Labels:
        return NO_LABELS


class TestRules:
    def test_without_rules_everybody_may_do_everything(self, w: World) -> None:
        assert Policy().grants("anybody").rights(w.claim()) == EVERYTHING
        found, problems = parse_policy(None, None)
        assert (found.grants("anybody").rights(w.claim()), problems) == (EVERYTHING, [])

    def test_with_none_that_fits_nobody_may_do_anything(self, w: World) -> None:
        found, _ = parse_policy([], None)
        assert found.grants("anybody").rights(w.claim()) == Right.NONE

    def test_the_first_that_fits_decides(self, w: World) -> None:
        found = policy(("alice", "spy", "web*"), ("alice", "admin", "*"), ("*", "see", "*"))
        web, db = w.claim("web01"), w.claim("db01", VM_B)
        assert found.grants("alice").rights(web) == Right.SPY.closure()
        assert found.grants("alice").rights(db) == EVERYTHING
        assert found.grants("bob").rights(web) == Right.SEE

    def test_an_empty_list_of_rights_hides(self, w: World) -> None:
        found = policy(("*", "", "vault*"), ("*", "write", "*"))
        assert found.grants("alice").rights(w.claim("vault01")) == Right.NONE
        assert Right.WRITE in found.grants("alice").rights(w.claim("web01", VM_B))

    def test_groups(self, w: World) -> None:
        found = policy(("@kernel @ops", "write", "*"))
        console = w.claim()
        assert Right.WRITE in found.grants("alice", ("ops",)).rights(console)
        assert found.grants("alice", ("sales",)).rights(console) == Right.NONE
        assert found.grants("kernel").rights(console) == Right.NONE  # a name is no group

    def test_an_operator_whose_name_looks_like_a_group_is_none(self, w: World) -> None:
        assert policy(("@ops", "write", "*")).grants("ops").rights(w.claim()) == Right.NONE

    def test_the_rule_that_decides_is_told(self, w: World) -> None:
        found = policy(("bob", "spy", "*"), ("@ops alice", "force raw", "web* uuid:564d*"))
        rule = found.grants("alice").decides(w.claim("web01"))
        assert str(rule) == "rule 2: @ops, alice may see, spy, write, force, raw on web*, uuid:564d*"
        assert found.grants("alice").decides(w.claim("db", VM_B)) is None


class TestOptions:
    def test_without_sections_all_consoles_share_the_usual(self, w: World) -> None:
        assert w.claim().options is USUAL

    def test_of_each_value_the_first_section_that_fits_counts(self, w: World) -> None:
        sections = [
            {"on": "web01", "write": "shared", "replay": 5},
            {"on": ["web*"], "write": "one", "message": "careful\x1b[31m\nplease"},
            {"on": "*", "replay": 7, "force-reason": True, "record-input": True},
        ]
        w.directory.use(policy(consoles=sections))
        one, two, db = w.claim("web01"), w.claim("web02", VM_B), w.claim("db", UUID(int=7))
        assert (one.options.shared, one.options.replay, one.options.force_reason) == (True, 5, True)
        assert one.options.message == "careful\\x1b[31m\nplease"
        assert (two.options.shared, two.options.replay) == (False, 7)
        assert (db.options.message, db.options.record_input) == ("", True)

    def test_consoles_of_one_kind_share_what_is_said_of_them(self, w: World) -> None:
        w.directory.use(policy(consoles=[{"on": "web*", "replay": 1}]))
        assert w.claim("web01").options is w.claim("web02", VM_B).options

    def test_a_new_name_brings_other_options(self, w: World) -> None:
        w.directory.use(policy(consoles=[{"on": "web*", "replay": 1}]))
        console = w.claim("db")
        assert console.options.replay is None
        w.directory.rename(console, "web01")
        assert console.options.replay == 1

    def test_a_replay_of_no_lines_is_one(self, w: World) -> None:
        w.directory.use(policy(consoles=[{"on": "web*", "replay": 0}]))
        assert w.claim("web01").options.replay == 0

    def test_a_new_policy_counts_for_consoles_that_are_there(self, w: World) -> None:
        console = w.claim("web01")
        w.directory.use(policy(consoles=[{"on": "*", "record-input": True}]))
        assert console.options.record_input
        w.directory.use(Policy())
        assert console.options is USUAL

    def test_everybody_at_the_console_is_told_that_input_is_recorded(self, w: World) -> None:
        console, viewer = w.claim("web01"), FakeViewer()
        console.viewers.attach(viewer, write=True)
        w.directory.use(policy(consoles=[{"on": "*", "record-input": True}]))
        w.directory.use(Policy())
        assert viewer.told(InputRecorded) == [InputRecorded(True), InputRecorded(False)]
        assert viewer.calls == ["rules changed", "rules changed"]
        w.store.flush()
        assert [event["on"] for event in trail(console.log, "input-recording")] == [True, False]


class TestSequences:
    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("", ()),
            ("root\r", (b"root\r",)),
            ("<break>s", (None, b"s")),
            ("a<break><wait 0.5>b", (b"a", None, 0.5, b"b")),
            ("<brake>", (b"<brake>",)),
            ("ü", ("ü".encode(),)),
        ],
    )
    def test_parts(self, text: str, parts: tuple[object, ...]) -> None:
        assert parse_sequence(text) == parts

    @pytest.mark.parametrize("text", ["<wait 5.1>", "<wait 1.2.3>", "<wait .>"])
    def test_a_wait_that_cannot_be(self, text: str) -> None:
        with pytest.raises(BadRule):
            parse_sequence(text)

    @pytest.mark.parametrize(
        "value", ["x", {"a": 1}, {"a": "x" * 5000}, {str(n): "x" for n in range(65)}, {"a": "<wait 6>"}]
    )
    def test_sequences_that_cannot_be(self, value: object) -> None:
        _, problems = parse_policy(None, [{"on": "*", "sequences": value}])
        assert len(problems) == 1
        assert str(problems[0]).startswith("console 1: sequences: ")


@dataclass
class SomeConsole:
    uuid: UUID
    port: str
    name: str
    uri: str
    labels: Labels


GLOBS = st.sampled_from(
    [
        "web*",
        "*",
        "*1",
        "web01.1",
        "*.2",
        "db?",
        "uuid:0123*",
        "uuid:*5",
        "query:team=blue",
        "query:*",
        "[w]eb*",
        "w*b*",
        "tag:team=web",
        "tag:team",
    ]
)
MAY = st.sampled_from([[], ["see"], ["write"], ["admin"]])


@given(
    written=st.lists(st.tuples(st.lists(GLOBS, min_size=1, max_size=3), MAY), max_size=6),
    name=st.one_of(st.sampled_from(["web01", "WEB", "db1", "", "web01.1", "w\nb"]), st.text(max_size=4)),
    port=st.sampled_from(["1", "2", "kgdb"]),
    uri=st.sampled_from(["vmproxy", "vmproxy?team=blue", "vmproxy?a&team=BLUE"]),
    labels=st.sampled_from([NO_LABELS, Labels([("team", "web")]), Labels([("team", "x")], [("role", "y")])]),
)
def test_the_first_rule_that_selects_a_console_decides(
    written: list[tuple[list[str], list[str]]], name: str, port: str, uri: str, labels: Labels
) -> None:
    rules = [{"who": "*", "may": may, "on": on} for on, may in written]
    found, problems = parse_policy(rules, None)
    assert problems == []
    console = SomeConsole(VM_A, port, name, uri, labels)
    grants = found.grants("alice")
    expected = next((rule for rule in found.rules if rule.selects(console)), None)
    assert grants.decides(console) is expected
    assert grants.see(console) is (Right.SEE in grants.rights(console))
    assert grants.see(console) or not grants.see_all


def test_a_table_alone_is_for_all_consoles(w: World) -> None:
    found, problems = parse_policy(None, {"forget-after": "90d", "write": "shared"})
    assert problems == []
    assert found.forgets
    assert found.options(w.claim()).forget_after == 90 * 86400
    assert not parse_policy(None, {"write": "shared"})[0].forgets
    wrong: list[dict[str, object]] = [{"forget-after": "soon"}, {"forget": 1}, {"on": []}]
    assert [len(parse_policy(None, table)[1]) for table in wrong] == [1, 1, 1]
