"""Labels: who gives them, who may rely on them, and what they select."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID
from weakref import ref

import pytest

from tests.support.cases import each
from tests.support.consoles import World
from tests.support.fakes import VM_A, VM_B
from vmproxy.access.groups import Group, Groups
from vmproxy.access.labels import LABELS_LIMIT, Labels, told_by
from vmproxy.access.policy import Policy, Right
from vmproxy.access.policy_file import parse_policy
from vmproxy.access.selector import Selector
from vmproxy.auth.tokens import make
from vmproxy.console.info import Facts


@pytest.fixture
def w(tmp_path: Path) -> World:
    return World(tmp_path)


def policy(*groups: dict[str, Any], on: list[str] | None = None, options: Any = None) -> Policy:
    rules = None if on is None else [{"who": "*", "may": ["write"], "on": on}]
    found, problems = parse_policy(rules, options, list(groups))
    assert problems == []
    return found


WEB = {"on": ["web*"], "labels": {"team": "Web", "role": ["proxy", "cache"]}}


class TestGroups:
    def test_a_group_gives_labels_to_what_it_selects(self, w: World) -> None:
        web, db = w.claim("Web01"), w.claim("db01", VM_B)
        w.directory.use(policy(WEB))
        assert web.labels.pairs == (("team", "Web"), ("role", "proxy"), ("role", "cache"))
        assert str(web.labels) == "team=Web role=proxy role=cache"
        assert web.labels.fields() == {"team": ["Web"], "role": ["proxy", "cache"]}
        assert not db.labels

    @pytest.mark.parametrize(
        ("on", "fits"),
        [
            ("Web01", True),
            ("name:web01", True),
            ("web01.1", True),
            ("web01.2", False),
            ("web0", False),
            (f"uuid:{str(VM_A).upper()}", True),
            ("uuid:0123*", True),
            (f"uuid:{VM_B}", False),
            ("query:site=b*", True),
            ("*", True),
        ],
    )
    def test_by_name_by_uuid_and_by_glob(self, w: World, on: str, fits: bool) -> None:
        """What is looked up selects what a glob would."""
        console = w.claim("web01", uri="vmproxy?site=bonn")
        w.directory.use(policy({"on": [on], "labels": {"x": "1"}}))
        assert ("x=1" in console.labels.given) is fits is Selector(on).selects(console)

    def test_a_further_port_has_the_labels_of_its_name(self, w: World) -> None:
        console = w.claim("web01", port="2")
        w.directory.use(policy({"on": ["web01.2"], "labels": {"x": "1"}}, {"on": ["web01"], "labels": {"y": "1"}}))
        assert console.labels.given == ("x=1", "y=1")

    def test_of_each_key_the_first_group_counts(self, w: World) -> None:
        console = w.claim("web01")
        w.directory.use(policy({"on": ["web01"], "labels": {"team": "a"}}, WEB))
        assert console.labels.given == ("team=a", "role=proxy", "role=cache")

    def test_consoles_of_the_same_groups_share_their_labels(self, w: World) -> None:
        one, other = w.claim("web01"), w.claim("web02", VM_B)
        w.directory.use(policy(WEB))
        assert one.labels is other.labels

    def test_a_new_name_a_new_query_and_other_groups_count_at_once(self, w: World) -> None:
        console = w.claim("db01", uri="vmproxy?a=1")
        w.directory.use(policy(WEB))
        assert console.labels.all == ("a=1",)
        w.directory.rename(console, "web01")
        assert console.labels.given == ("team=web", "role=proxy", "role=cache")
        w.claim("web01", port="1", uri="vmproxy?a=2")
        assert console.labels.all[-1] == "a=2"
        w.directory.use(policy())
        assert console.labels.all == ("a=2",)

    def test_nothing_is_worked_out_until_somebody_asks(self, w: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """A storm of VMs costs no look at groups."""
        w.directory.use(policy(WEB, {"on": ["x*"], "labels": {"a": "b"}}, on=["tag:team=web"]))
        asked: list[object] = []
        monkeypatch.setattr(Groups, "labels", lambda self, console: asked.append(console) or ())
        console = w.claim("web01")
        w.lose(console)
        w.claim("web01")
        assert asked == []
        assert console.labels.pairs == ()
        assert asked == [console]

    @each(
        ("table", "problem"),
        [
            ({"on": ["web*"]}, "group 1: labels: is missing; give labels such as"),
            ({"labels": {"a": "b"}}, "group 1: on: is missing; give globs"),
            ({"on": ["tag:a"], "labels": {"a": "b"}}, "a group gives labels, and cannot select by them"),
            ({"on": ["*"], "labels": {}}, "give labels such as"),
            ({"on": ["*"], "labels": {"a b": "x"}}, "'a b': a key has letters, digits"),
            ({"on": ["*"], "labels": {"a": "x\x1b[m"}}, "is not the value of a label"),
            ({"on": ["*"], "labels": {"a": " x"}}, "is not the value of a label"),
            ({"on": ["*"], "labels": {"a": "x" * 200}}, "is not the value of a label"),
            ({"on": ["*"], "labels": {"a": []}}, "is empty"),
            ({"on": ["*"], "labels": {"a": [str(n) for n in range(65)]}}, "at most 64 labels"),
            ({"on": ["*"], "lables": {"a": "b"}}, "did you mean labels?"),
        ],
    )
    def test_what_is_wrong_is_told(self, table: dict[str, Any], problem: str) -> None:
        _, problems = parse_policy(None, None, [table])
        assert any(problem in str(one) for one in problems), problems


class TestTold:
    @pytest.mark.parametrize(
        ("uri", "labels"),
        [
            ("vmproxy", ()),
            ("vmproxy?team=web&x", (("team", "web"), ("x", ""))),
            ("vmproxy?port=2&team=web", (("team", "web"),)),
            ("vmproxy?a=%1b[2J", (("a", "\\x1b[2J"),)),
            ("vmproxy?%1b=a&a%20b=c&=d", ()),
            ("vmproxy?" + "&".join("a=b" for _ in range(40)), ()),
        ],
    )
    def test_labels_of_a_service_uri(self, uri: str, labels: tuple[tuple[str, str], ...]) -> None:
        assert told_by(uri) == labels

    def test_they_are_bounded_and_given_ones_come_first(self) -> None:
        labels = Labels([("g", str(n)) for n in range(60)], [("t", str(n)) for n in range(60)])
        assert len(labels.pairs) == LABELS_LIMIT
        assert len(labels.given) == 60

    def test_a_label_that_is_given_hides_the_same_that_is_told(self, w: World) -> None:
        console = w.claim("web01", uri="vmproxy?TEAM=db&site=bonn")
        w.directory.use(policy(WEB))
        assert console.labels.all == ("team=web", "role=proxy", "role=cache", "site=bonn")


class TestSources:
    """Groups come before a vCenter, and that before the service URI."""

    def test_of_a_key_the_first_source_counts(self, w: World) -> None:
        console = w.claim("web01", uri="vmproxy?esx=liar&site=bonn")
        trusted = (("TEAM", "db"), ("folder", "Prod"))
        labels = policy(WEB).labels(console, (("esx", "esx1"), ("esx", "esx2")), trusted)
        assert labels.given == ("team=web", "role=proxy", "role=cache", "folder=prod")
        assert labels.all == (*labels.given, "esx=esx1", "esx=esx2", "site=bonn")

    def test_a_rule_does_not_take_the_label_of_a_later_source(self, w: World) -> None:
        found = policy(WEB, on=["tag:team=db"])
        w.directory.use(found)
        console = w.claim("web01")
        w.directory.use_facts(lambda _: Facts((("team", "db"),)))
        w.directory.relabel(console)
        assert found.grants("alice").rights(console) == Right.NONE

    def test_a_label_that_rules_take_no_more_takes_the_console_away(self, w: World) -> None:
        console = w.claim("web01")
        w.directory.use(policy(on=["tag:team=web"]))
        grants, label = w.directory.policy.grants("alice"), (("team", "web"),)
        w.directory.use_facts(lambda _: Facts(label))
        w.directory.relabel(console)
        assert list(w.directory.names.seen_by(grants)) == [console]
        w.directory.use_facts(lambda _: Facts((), label))
        w.directory.relabel(console)
        assert list(w.directory.names.seen_by(grants)) == []

    def test_nothing_is_kept_of_labels_that_no_console_has_any_more(self, w: World) -> None:
        w.directory.use(policy(WEB, on=["tag:team=web"]))
        console, grants = w.claim("web01"), w.directory.policy.grants("alice")
        before = []
        for number in range(3):
            console.set_uri(f"vmproxy?site=s{number}")
            assert grants.rights(console) == Right.WRITE.closure()
            before.append(ref(console.labels))
        assert [labels() is not None for labels in before] == [False, False, True]


class TestSelecting:
    @pytest.mark.parametrize(
        ("glob", "selects"),
        [
            ("tag:team=web", True),
            ("tag:TEAM=W*", True),
            ("tag:team", True),
            ("tag:te", False),
            ("tag:te*", True),
            ("tag:role=cache", True),
            ("tag:web", False),
            ("tag:*", True),
            ("tag:site=bonn", True),
            ("tag:flag", True),
        ],
    )
    def test_globs_take_all_labels(self, w: World, glob: str, selects: bool) -> None:
        console = w.claim("web01", uri="vmproxy?site=bonn&flag")
        w.directory.use(policy(WEB))
        assert Selector(glob).selects(console) is selects

    def test_what_a_host_tells_grants_nothing(self, w: World) -> None:
        liar, web = w.claim("x", VM_B, uri="vmproxy?team=web"), w.claim("web01")
        found = policy(WEB, on=["tag:team=web"], options=[{"on": ["tag:team=web"], "write": "shared"}])
        w.directory.use(found)
        grants = found.grants("alice")
        assert grants.rights(web) == Right.WRITE.closure()
        assert grants.rights(liar) == Right.NONE
        assert grants.decides(liar) is None
        assert [found.options(console).shared for console in (web, liar)] == [True, False]
        assert Selector("tag:team=web").selects(liar)
        token, _ = make("alice", "ci", "write", ["tag:team=web"], 60.0, 0.0)
        assert [token.restriction.selects(console) for console in (web, liar)] == [True, False]

    def test_the_first_rule_decides_among_labels_names_and_uuids(self, w: World) -> None:
        web, other = w.claim("web01"), w.claim("web02", VM_B)
        for on, may in [
            (["tag:team=web"], ["web*"]),
            (["tag:team=a", "tag:team=web"], ["tag:team"]),
            (["web01", "tag:team=x"], [f"uuid:{VM_A}"]),
        ]:
            rules = [{"who": "*", "may": ["spy"], "on": on}, {"who": "*", "may": ["see"], "on": may}]
            found, problems = parse_policy(rules, None, [{"on": ["web01"], "labels": {"team": "web"}}])
            assert problems == []
            w.directory.use(found)
            assert found.grants("alice").rights(web) == Right.SPY.closure()
            expected = next((rule.may for rule in found.rules if rule.selects(other)), Right.NONE)
            assert found.grants("alice").rights(other) == expected

    def test_fifty_rules_by_label_look_at_each_set_of_labels_once(
        self, w: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rules = [{"who": "*", "may": ["see"], "on": [f"tag:team=t{n}"]} for n in range(50)]
        found, _ = parse_policy(rules, None, [{"on": ["vm*"], "labels": {"team": "t49"}}])
        w.directory.use(found)
        consoles = [w.claim(f"vm{n}", UUID(int=n + 1)) for n in range(20)]
        looks: list[Selector] = []
        real = Selector.selects
        monkeypatch.setattr(
            Selector, "selects", lambda self, c: (self.kind == "tag" and looks.append(self)) or real(self, c)
        )
        grants = found.grants("alice")
        assert all(grants.see(console) for console in consoles)
        assert len(looks) == 50


def test_groups_are_compared_by_what_they_say() -> None:
    one = Group((Selector("a"),), (("x", ("1",)),))
    assert Groups([one]) == Groups([one]) != Groups()
    assert Policy(groups=Groups([one])) != Policy()
