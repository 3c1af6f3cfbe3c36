"""Lines that match: found once for all watches, where they are to be looked for, however many there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.consoles import World
from tests.support.fakes import VM_B
from tests.support.requirements import expressions
from vmproxy.access.policy_file import parse_policy
from vmproxy.alerts import line_watcher
from vmproxy.alerts.alert import Finding
from vmproxy.alerts.line_watcher import COUNTED, LineWatcher
from vmproxy.alerts.watch import Watch
from vmproxy.alerts.watch_file import parse_watches
from vmproxy.alerts.watch_set import PARTS_KEPT, Plan, WatchSet
from vmproxy.app.alert_service import console_of
from vmproxy.console.console import Console

pytestmark = expressions


def watches(text: str) -> tuple[Watch, ...]:
    return parse_watches(text.encode(), "")


LINUX = watches("""
[[watch]]
name = "panic"
match = ["Kernel panic", "^BUG: "]
not = "sysrq"
[[watch]]
name = "oom"
match = "out of memory"
ignore-case = true
""")


class Watched(World):
    """A world whose consoles are watched."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.found: list[Finding] = []
        self.more = self.unseen = 0
        self.watcher = LineWatcher(self.clock.seconds, console_of, lambda call: call(), self.take)
        self.store.line_feed.subscribe(self.watcher, self.watcher.may_match)

    def take(self, found: list[Finding], more: int, unseen: int) -> None:
        self.found += found
        self.more += more
        self.unseen += unseen

    def say(self, console: Console, data: bytes) -> list[tuple[str, bytes]]:
        """A console prints something; :returns: what is found in it."""
        before = len(self.found)
        console.feed(data)
        self.store.flush()
        return [(one.watch.name, one.line) for one in self.found[before:]]


@pytest.fixture
def w(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_lines_are_found_as_they_are_shown(w: Watched) -> None:
    w.watcher.use(Plan(LINUX))
    console = w.claim("web01")
    data = b"Kernel panic by sysrq\r\n\x1b[31mKernel\x1b[0m panic - not syncing\r\nb\r\nOut of Memory: Killed\r\n"
    assert w.say(console, data) == [("panic", b"Kernel panic - not syncing"), ("oom", b"Out of Memory: Killed")]
    offsets = [one.offset for one in w.found]
    assert [data[offset : offset + 4] for offset in offsets] == [b"\x1b[31", b"Out "]
    assert w.say(console, b"not a BUG: x\nBUG") == []
    w.clock.advance(60)
    assert w.say(console, b": soft lockup\n") == [("panic", b"BUG: soft lockup")]
    assert w.found[-1].console is console


def test_a_console_has_one_alert_of_a_watch_in_its_quiet_time(w: Watched) -> None:
    w.watcher.use(Plan(LINUX))
    console, other = w.claim("web01"), w.claim("db01", VM_B)
    assert len(w.say(console, b"BUG: 1\nBUG: 2\nBUG: 3\nout of memory\n")) == 2
    assert w.say(console, b"BUG: 4\n") == []
    assert len(w.say(other, b"BUG: 1\n")) == 1
    w.clock.advance(60)
    assert w.say(console, b"BUG: 5\n") == [("panic", b"BUG: 5")]
    assert w.found[-1].repeated == 3
    w.clock.advance(60)
    w.say(console, b"BUG: 6\n")
    assert w.found[-1].repeated == 0


def test_only_consoles_that_a_watch_is_about_are_looked_at(w: Watched) -> None:
    w.watcher.use(
        Plan(
            watches("""
        [[watch]]
        name = "web"
        on = ["web*"]
        match = "x"
        [[watch]]
        name = "blue"
        on = "query:team=blue"
        match = "y"
        [[watch]]
        name = "silent"
        silent = "1m"
        """)
        )
    )
    web, db = w.claim("web01"), w.claim("db01", VM_B)
    assert not w.watcher.wants(db.log.file)
    assert (w.say(web, b"x y\n"), w.say(db, b"x y\n")) == ([("web", b"x y")], [])
    w.directory.rename(db, "web02")
    assert w.say(db, b"x y\n") == [("web", b"x y")]
    w.lose(db)
    w.claim("web02", VM_B, uri="vmproxy?team=blue")
    assert w.say(db, b"x y\n") == [("blue", b"x y")]
    w.watcher.use(Plan([]))
    assert not w.watcher.wants(web.log.file)


def test_what_is_the_same_after_a_reload_stays_quiet(w: Watched) -> None:
    w.watcher.use(Plan(LINUX))
    console = w.claim("web01")
    w.say(console, b"BUG: 1\n")
    w.watcher.use(Plan(watches('[[watch]]\nname = "other"\nmatch = "BUG"')))
    assert w.say(console, b"BUG: 2\n") == [("other", b"BUG: 2")]
    w.watcher.use(Plan(LINUX[::-1]))
    assert w.say(console, b"BUG: 3\nout of memory\n") == [("oom", b"out of memory")]


def test_a_flood_of_lines_that_match_hides_nothing_and_is_not_looked_at(w: Watched) -> None:
    w.watcher.use(Plan(LINUX))
    console = w.claim("web01")
    flood = b"out of memory\n" * (3 * COUNTED)
    assert w.say(console, flood) == [("oom", b"out of memory")]
    looked: list[bytes] = []
    about = WatchSet.about
    WatchSet.about = lambda self, line: (looked.append(line), about(self, line))[1]
    try:
        assert w.say(console, flood + b"Kernel panic\n" + flood) == [("panic", b"Kernel panic")]
    finally:
        WatchSet.about = about
    assert len(looked) <= COUNTED + 1
    w.clock.advance(60)
    assert w.say(console, b"out of memory\n") == [("oom", b"out of memory")]
    assert COUNTED - 2 <= w.found[-1].repeated <= 2 * COUNTED


def test_what_waits_for_the_reactor_is_bounded(w: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_watcher, "WAITING", 2)
    calls: list[Callable[[], object]] = []
    watcher = LineWatcher(w.clock.seconds, console_of, calls.append, w.take)
    w.store.line_feed.unsubscribe(w.watcher)
    w.store.line_feed.subscribe(watcher, watcher.may_match)
    watcher.use(Plan(watches("".join(f'[[watch]]\nname = "{n}"\nmatch = "x"\n' for n in range(5)))))
    w.say(w.claim("web01"), b"x\n")
    watcher.skipped(w.console.log.file, 7)
    assert len(calls) == 1
    calls[0]()
    assert (len(w.found), w.more, w.unseen) == (2, 3, 7)


def test_consoles_that_the_same_watches_are_about_share_what_is_looked_for(w: Watched) -> None:
    plan = Plan(watches("".join(f'[[watch]]\nname = "{n}"\non = "team{n:03}-*"\nmatch = "x"\n' for n in range(200))))
    for number in range(2):
        for team in range(200):
            w.claim(f"team{team:03}-{number}", UUID(int=2 * team + number))
    choices = [plan.choice(console.log.file, console_of) for console in w.directory]
    assert len(choices) == 400
    assert len(set(map(id, choices))) == 200


def test_what_vms_print_cannot_have_more_and_more_kept(w: Watched) -> None:
    plan = Plan(watches("".join(f'[[watch]]\nname = "{n}"\nmatch = "e{n}q"\n' for n in range(60))))
    w.watcher.use(plan)
    console, flood = w.claim("web01"), b"e%dq\n" * (COUNTED + 1)
    for number in range(60):
        assert w.say(console, flood % ((number,) * (COUNTED + 1))) == [(str(number), b"e%dq" % number)]
    assert 1 < len(plan._parts) <= PARTS_KEPT
    w.clock.advance(60)
    parts = list(plan._parts)
    assert len(w.say(console, b"e1q\ne7q\n")) == 2  # all of them are looked for again
    assert list(plan._parts) == parts


def test_a_watch_by_label_follows_the_labels(tmp_path: Path) -> None:
    w = Watched(tmp_path)
    w.watcher.use(Plan(watches('[[watch]]\nname = "x"\non = "tag:team=web"\nmatch = "panic"\nquiet = "1s"')))
    console = w.claim("web01")
    assert w.say(console, b"panic\n") == []
    policy, problems = parse_policy(None, None, [{"on": ["web01"], "labels": {"team": "web"}}])
    assert problems == []
    w.directory.use(policy)
    assert w.say(console, b"panic\n") == [("x", b"panic")]
    told = w.claim("db01", VM_B, uri="vmproxy?team=web")
    assert w.say(told, b"panic\n") == [("x", b"panic")]
