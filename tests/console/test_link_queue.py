"""The queue of a console's links: the output of one after the other, whatever is lost in which order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from vmproxy.console.interfaces import ILink
from vmproxy.console.link_queue import LINKS_IN_LINE, LinkQueue


class Connection:
    """A link that writes down what it is told."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.told: list[str] = []
        self.done: Callable[[], None] | None = None
        self.held = False

    def serve(self, console: object) -> None:
        self.told.append("serve")

    def wait(self, console: object) -> None:
        self.told.append("wait")

    def hold_output(self, on: bool) -> None:
        self.held = on

    def retire(self, done: Callable[[], None]) -> None:
        self.told.append("retire")
        self.done = done

    def close(self, reason: str) -> None:
        self.told.append("close")


class Served:
    """A console, as far as its queue of links looks at it."""

    link: object = None


class Line:
    """A queue with links, each of which took over from the one before."""

    def __init__(self, count: int) -> None:
        self.console = Served()
        self.queue: LinkQueue[Served] = LinkQueue(self.console)
        self.links: list[Connection] = []
        for number in range(count):
            self.follow(Connection(str(number)))

    def follow(self, link: Connection) -> None:
        before = self.console.link
        self.console.link = link
        self.queue.add(cast(ILink[Any], link))
        if before is not None:
            self.queue.read_out(cast(ILink[Any], before), close=True)
        self.links.append(link)

    @property
    def names(self) -> list[str]:
        return [cast(Connection, link).name for link in self.queue.all]


def test_the_first_is_read_out_and_the_others_wait() -> None:
    line = Line(3)
    assert [link.told for link in line.links] == [["serve", "retire"], ["wait"], ["wait"]]


def test_each_has_its_turn_when_the_one_before_is_read_out() -> None:
    line = Line(3)
    first, second, third = line.links
    assert first.done is not None
    first.done()
    assert (first.told[-1], second.told, third.told) == ("close", ["wait", "serve", "retire"], ["wait"])
    assert second.done is not None
    second.done()
    assert third.told == ["wait", "serve"]
    assert line.names == ["2"]


def test_one_that_is_lost_while_it_waits_keeps_its_place_and_nothing_happens_to_the_one_being_read_out() -> None:
    line = Line(3)
    first, second, third = line.links
    line.queue.gone(cast(ILink[Any], second))  # its last words come when it is its turn
    assert line.names == ["0", "1", "2"]
    assert (second.told, third.told) == (["wait"], ["wait"])
    assert first.done is not None
    first.done()
    assert second.told == ["wait", "serve", "retire"]
    assert third.told == ["wait"]


@pytest.mark.parametrize("more", [0, 1, 5])
def test_too_many_in_line_cost_the_first_ones(more: int) -> None:
    line = Line(LINKS_IN_LINE + more)
    assert line.names == [link.name for link in line.links[more:]]
    assert [link.name for link in line.links if "close" in link.told] == [link.name for link in line.links[:more]]
    assert line.links[more].told[-2:] == ["serve", "retire"]


def test_the_last_words_of_one_that_never_served_come_in_its_turn() -> None:
    line, lost = Line(0), Connection("lost")
    line.queue.last_words(cast(ILink[Any], lost))
    assert (lost.told, line.names) == (["serve", "retire"], ["lost"])
    line.follow(Connection("next"))
    assert line.links[0].told == ["wait"]
    assert lost.done is not None
    lost.done()
    assert (line.links[0].told, line.names) == (["wait", "serve"], ["next"])
    second = Connection("second")
    line.queue.last_words(cast(ILink[Any], second))
    assert (second.told, line.names) == ([], ["next", "second"])


def test_only_the_first_is_held_while_the_log_is_behind() -> None:
    line = Line(2)
    first, second = line.links
    line.queue.log_behind(True)
    assert (first.held, second.held) == (True, False)
    assert first.done is not None
    first.done()
    assert (first.held, second.held) == (False, True)
    line.queue.log_behind(False)
    assert not second.held
