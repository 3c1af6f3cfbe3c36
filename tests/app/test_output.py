"""The daemon's own log: levels, and what the journal is told."""

from __future__ import annotations

import os
from io import StringIO
from pathlib import Path

import pytest
from constantly import NamedConstant  # type: ignore[import-untyped]  # it has no types
from twisted.logger import Logger, LogLevel, LogPublisher

from vmproxy.app.output import JournalObserver, Output, is_journal


def said(output: Output, stream: StringIO, namespace: str, *levels: NamedConstant) -> list[str]:
    """The levels, of some, of which a line is written."""
    logger = Logger(namespace, observer=LogPublisher(output.observer))
    for level in levels:
        logger.emit(level, "{word}", word=level.name)
    return [line.split()[-1] for line in stream.getvalue().splitlines()]


ALL = (LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error, LogLevel.critical)


@pytest.mark.parametrize("level", ["debug", "info", "warn", "error"])
def test_what_is_below_the_level_is_not_said(level: str) -> None:
    stream = StringIO()
    output = Output(stream, {})
    output.set_level(level)
    names = [one.name for one in ALL]
    assert said(output, stream, "vmproxy.log.writer", *ALL) == names[names.index(level) :]


@pytest.mark.parametrize(("level", "first"), [("debug", 0), ("info", 2), ("warn", 2), ("error", 3)])
def test_twisteds_older_events_are_said_if_something_is_wrong(level: str, first: int) -> None:
    stream = StringIO()
    output = Output(stream, {})
    output.set_level(level)
    assert said(output, stream, "log_legacy", *ALL) == [one.name for one in ALL[first:]]


def test_the_end_of_the_reactor_is_no_news() -> None:
    stream = StringIO()
    output = Output(stream, {})
    logger = Logger("twisted.internet.base", observer=LogPublisher(output.observer))
    for text in ("Received SIGTERM, shutting down.", "Main loop terminated."):
        logger.info(text)
    assert [line.partition("] ")[2] for line in stream.getvalue().splitlines()] == ["Received SIGTERM, shutting down."]


def test_a_level_counts_from_when_it_is_set() -> None:
    stream = StringIO()
    output = Output(stream, {})
    output.set_level("error")
    assert said(output, stream, "vmproxy", LogLevel.info) == []
    output.set_level("info")
    assert said(output, stream, "vmproxy", LogLevel.info) == ["info"]


def test_the_journal_gets_priorities_and_no_time() -> None:
    stream = StringIO()
    logger = Logger("vmproxy", observer=JournalObserver(stream))
    for level in ALL:
        logger.emit(level, "line of {word}", word=level.name)
    assert stream.getvalue() == (
        "<7>line of debug\n<6>line of info\n<4>line of warn\n<3>line of error\n<2>line of critical\n"
    )


def test_each_line_of_a_traceback_has_the_priority() -> None:
    stream = StringIO()
    logger = Logger("vmproxy", observer=JournalObserver(stream))
    try:
        raise ValueError("<7>no\nsecond")
    except ValueError:
        logger.failure("it failed")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "<2>it failed"
    assert len(lines) > 3
    assert all(line.startswith("<2>") for line in lines)


def test_an_event_without_text_is_a_line() -> None:
    stream = StringIO()
    JournalObserver(stream)({"log_level": LogLevel.warn, "log_format": ""})
    assert stream.getvalue() == "<4>\n"


def test_a_stream_that_systemd_named_is_the_journal(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as stream, (tmp_path / "other").open("w") as other:
        status = os.fstat(stream.fileno())
        environment = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert is_journal(stream, environment)
        assert not is_journal(other, environment)


@pytest.mark.parametrize("value", ["", "8", "8:", "a:b", "8:9:10", "8:99999999999"])
def test_a_stream_is_no_journal_without_a_variable_that_says_so(tmp_path: Path, value: str) -> None:
    with (tmp_path / "stream").open("w") as stream:
        assert not is_journal(stream, {"JOURNAL_STREAM": value})
        assert not is_journal(stream, {})
    assert not is_journal(StringIO(), {"JOURNAL_STREAM": "1:2"})
