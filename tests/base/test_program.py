"""Programs that are run: what they get, how they end, and that none is left behind."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from tests.support.daemon import eventually
from vmproxy.base import program
from vmproxy.base.program import Programs


def script(folder: Path, text: str) -> str:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_it_gets_arguments_environment_and_input_and_no_shell_in_between(tmp_path: Path) -> None:
    text = f'(echo "$# $2 $VMPROXY_LINE $(pwd) ${{SECRET-none}}"; cat) > {tmp_path}/out'
    words = [script(tmp_path, text)]
    os.environ["SECRET"] = "x"
    try:
        env = {"PATH": os.environ["PATH"], "VMPROXY_LINE": "$(reboot); `x` ä"}
        assert Programs().run([*words, "a b", "*"], b"input\n", env, 10).problem == ""
    finally:
        del os.environ["SECRET"]
    assert (tmp_path / "out").read_text() == "2 * $(reboot); `x` ä / none\ninput\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("echo 'no such team' >&2; echo more >&2; exit 3", "status 3: no such team"),
        ("exit 1", "status 1"),
        ("kill -KILL $$", "signal 9"),
        ("exit 0", ""),
        ("exec 0<&-; head -c 10000000 /dev/zero; head -c 10000000 /dev/zero >&2", ""),
    ],
)
def test_how_it_ends_is_told(tmp_path: Path, text: str, problem: str) -> None:
    # Input that it does not read is no problem, and what it writes holds it up nowhere.
    assert (
        Programs().run([script(tmp_path, text)], b"x" * 1_000_000, {"PATH": os.environ["PATH"]}, 20).problem == problem
    )


def test_one_that_cannot_be_run_is_told(tmp_path: Path) -> None:
    assert (
        Programs().run([f"{tmp_path}/no"], b"", {}, 1).problem == f"cannot run {tmp_path}/no: No such file or directory"
    )


def test_one_that_hangs_is_ended_with_all_that_it_has_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "KILL_SECONDS", 0.1)
    text = f"trap '' TERM; sleep 1000 & echo $! > {tmp_path}/pid; while :; do sleep 1000; done"
    env = {"PATH": os.environ["PATH"]}
    assert Programs().run([script(tmp_path, text)], b"x", env, 0.3).problem == "not done within 0.3 s"
    pid = int((tmp_path / "pid").read_text())
    eventually(lambda: not is_running(pid), "what it has started is gone")


def test_one_that_leaves_something_behind_is_not_waited_for(tmp_path: Path) -> None:
    text = f"sleep 1000 & echo $! > {tmp_path}/pid"
    assert Programs().run([script(tmp_path, text)], b"", {"PATH": os.environ["PATH"]}, 20).problem == ""
    os.kill(int((tmp_path / "pid").read_text()), 9)


def test_at_the_stop_all_are_killed_and_none_begins(tmp_path: Path) -> None:
    programs, ended = Programs(), list[str]()
    words = [script(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 1000")]
    env = {"PATH": os.environ["PATH"]}
    thread = threading.Thread(target=lambda: ended.append(programs.run(words, b"", env, 1000).problem))
    thread.start()
    eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "it runs")
    began = time.monotonic()
    programs.stop()
    thread.join()
    assert ended == ["signal 9"]
    assert time.monotonic() - began < 20
    assert programs.run(words, b"", env, 1).problem == "vmproxy stops"


def test_what_it_writes_is_kept_where_that_is_wanted(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"]}
    output = bytearray()
    words = [script(tmp_path, "echo one; echo two >&2; cat; exit 3")]
    assert Programs().run(words, b"three\n", env, 10, output).problem == "status 3"
    assert output == b"one\ntwo\nthree\n"
    output = bytearray()
    words = [script(tmp_path, "head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2")]
    assert Programs().run(words, b"", env, 20, output).problem == ""
    assert output == bytes(program.OUTPUT_LIMIT)
