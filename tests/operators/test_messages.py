"""The words that operators read."""

from __future__ import annotations

import pytest

from tests.support.cases import each
from tests.support.fakes import EPOCH, FakeRemoteEnd
from tests.support.ssh import SSHWorld
from vmproxy.console import notices
from vmproxy.console.notices import (
    Alerted,
    Demoted,
    FarEndDown,
    FarEndUp,
    GuestBreak,
    InputLost,
    InputRecorded,
    Joined,
    Kicked,
    Left,
    LineDown,
    LineUp,
    LogFailed,
    LoggingOff,
    LoggingOn,
    LogRecovered,
    Message,
    Notice,
    Promoted,
    Shares,
    ShuttingDown,
    TookOver,
)
from vmproxy.operators.messages import banner, far_line, notice_text, short_span, state_line
from vmproxy.operators.visible import VisibleConsoles

WORDS: list[tuple[Notice, str]] = [
    (LineDown("connection lost to esx03", EPOCH), "[-- web01: line down (connection lost to esx03) 22:13:20Z --]"),
    (LineUp("esx04", 0.44, True), "[-- web01: line up (esx04, vMotion) after 0.4 s --]"),
    (FarEndUp("tcp://far:1", "10.1.2.3"), "[-- web01: connected to tcp://far:1 (10.1.2.3) --]"),
    (FarEndDown("tcp://far:1", "gone\x1b", 2.04), "[-- web01: tcp://far:1 is down (gone\\x1b); again in 2.0 s --]"),
    (LineUp("esx04", None, False), "[-- web01: line up (esx04) --]"),
    (LineUp("esx04", 3700, False), "[-- web01: line up (esx04) after 1h01m --]"),
    (Joined("bob@10.1.2.9", True), "[-- bob@10.1.2.9 attached --]"),
    (Joined("bob@10.1.2.9", False), "[-- bob@10.1.2.9 attached (spy) --]"),
    (Left("bob@10.1.2.9"), "[-- bob@10.1.2.9 detached --]"),
    (Demoted("bob"), "[forced to `spy' mode by bob]"),
    (Demoted("bob", "it\x1b[2J hangs"), "[forced to `spy' mode by bob: it\\x1b[2J hangs]"),
    (Promoted(), "[attached]"),
    (Shares("bob@10.1.2.9"), "[-- bob@10.1.2.9 writes too --]"),
    (TookOver("carol@10.1.2.8", "bob@10.1.2.9"), "[-- carol@10.1.2.8 took over from bob@10.1.2.9 --]"),
    (Kicked("bob", ""), "[-- disconnected by bob --]"),
    (Kicked("bob", "maintenance"), "[-- disconnected by bob: maintenance --]"),
    (Message("bob", "reboot?\x07"), "[-- message from bob: reboot?\\x07 --]"),
    (Message("bob", "5 minutes", to_all=True), "[-- message from bob to all: 5 minutes --]"),
    (InputRecorded(True), "[-- what is typed is recorded from now on --]"),
    (InputRecorded(False), "[-- what is typed is no longer recorded --]"),
    (LoggingOff("bob"), "[-- log: turned off by bob; NOT being recorded --]"),
    (LoggingOn("bob", 1200), "[-- log: turned on by bob, 1.2 kB not recorded --]"),
    (Alerted("critical", "panic", "Kernel\x1b"), "[-- alert: critical, panic: Kernel\\x1b --]"),
    (GuestBreak(), "[-- web01: the guest sent a break --]"),
    (InputLost(1200), "[-- 1.2 kB of input not delivered: web01 is gone --]"),
    (
        LogFailed("No space left on device"),
        "[-- log: cannot write: No space left on device; NOT being recorded --]",
    ),
    (LogRecovered(118_400), "[-- log: recording again, 118.4 kB lost --]"),
    (LogRecovered(0), "[-- log: recording again, nothing lost --]"),
    (ShuttingDown(), "[-- console server shutting down --]"),
]


@each(("notice", "text"), WORDS)
def test_every_notice_has_its_words(notice: Notice, text: str) -> None:
    assert notice_text(notice, "web01") == text


def test_no_kind_of_notice_is_without_words() -> None:
    kinds = {k for k in vars(notices).values() if isinstance(k, type) and issubclass(k, Notice) and k is not Notice}
    assert kinds == {type(notice) for notice, _ in WORDS}
    with pytest.raises(TypeError):
        notice_text(Notice(), "web01")


def test_quiet_silences_what_is_only_nice_to_know() -> None:
    essential = (
        Demoted,
        Promoted,
        LogFailed,
        LogRecovered,
        ShuttingDown,
        InputLost,
        Kicked,
        Message,
        LoggingOff,
        InputRecorded,
    )
    assert all(kind.essential for kind in essential)
    assert not any(k.essential for k in (LineDown, LineUp, FarEndDown, FarEndUp, Joined, Left, GuestBreak))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0032, "3 ms"), (0.1, "0.1 s"), (59.94, "59.9 s"), (60, "1m00s"), (3671, "1h01m")]
)
def test_spans(seconds: float, text: str) -> None:
    assert short_span(seconds) == text


def test_the_state_says_since_when_and_why(w: SSHWorld) -> None:
    link = w.vm()
    console = w.console()
    assert state_line(console, EPOCH + 75) == "up 1m15s, from 10.1.2.3"
    w.directory.lost(console, link, "connection lost")
    assert state_line(console, EPOCH + 75) == "down since 2023-11-14 22:13:20Z (connection lost)"


def test_the_state_of_a_far_end_is_told_where_it_is_not_there(w: SSHWorld) -> None:
    w.vm()
    console = w.console()
    far = FakeRemoteEnd(since=EPOCH + 60)
    console.set_remote(far)
    assert state_line(console, EPOCH + 75) == "up 1m15s, from 10.1.2.3"
    assert far_line(far) == "tcp://far:1, up at 10.1.2.4 since 2023-11-14 22:14:20Z"
    far.state, far.reason, far.again = "down", "closed by the far end", EPOCH + 90
    assert state_line(console, EPOCH + 75) == "up 1m15s, from 10.1.2.3, far end down (closed by the far end)"
    assert far_line(far) == ("tcp://far:1, down (closed by the far end) since 2023-11-14 22:14:20Z, again at 22:14:50Z")


def test_the_banner_says_when_nothing_is_recorded(w: SSHWorld) -> None:
    w.vm()
    console = w.console()
    view = VisibleConsoles(w.directory, lambda: w.directory.policy.grants("alice"))
    assert banner(console, view, EPOCH).endswith("logging to web01.log")
    console.log.problem = "No space left on device"
    assert banner(console, view, EPOCH).endswith("NOT being recorded: No space left on device")
    console.log.problem = ""
    console.set_logging(False, "bob")
    assert banner(console, view, EPOCH).endswith("NOT being recorded: turned off")
