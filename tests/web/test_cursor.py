"""Cursors: there and back, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.consoles import World
from tests.support.fakes import VM_B
from vmproxy.log.place import Place
from vmproxy.web.cursor import BadCursor, cursor_of, place_of


@pytest.mark.parametrize("offset", [0, 1, 4096, 10**15])
def test_a_cursor_is_the_place_that_it_was_made_for(world: World, offset: int) -> None:
    console = world.claim()
    cursor = cursor_of(console, offset)
    assert place_of(cursor, console) == (console.log.file.run, offset)
    assert cursor.replace("-", "").replace("_", "").isalnum()  # it needs no escapes in an address


def test_a_cursor_of_another_console_or_port_is_refused(world: World) -> None:
    console = world.claim()
    for other in (world.claim("db01", VM_B), world.claim(port="2")):
        with pytest.raises(BadCursor):
            place_of(cursor_of(other, 17), console)


@given(st.integers(0, 35), st.sampled_from("A_9-=%é\n"))
def test_a_letter_that_was_changed_is_noticed(at: int, letter: str) -> None:
    class Log:
        def place(self, offset: int) -> Place:
            return Place("0123456789ab", offset)

    class Known:
        uuid, port, log = VM_B, "1", Log()

    cursor = cursor_of(Known, 123456)  # type: ignore[arg-type]  # what is asked of a console
    changed = cursor[:at] + letter + cursor[at + 1 :]
    for text in (changed, cursor[:at], cursor + letter):
        if text != cursor:
            with pytest.raises(BadCursor):
                place_of(text, Known)  # type: ignore[arg-type]  # as above
