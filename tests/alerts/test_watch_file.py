"""Files of watches: what is right is read, and everything that is wrong is told by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cases import each
from tests.support.requirements import expressions
from vmproxy.alerts.watch import Severity
from vmproxy.alerts.watch_file import PATTERNS_LIMIT, WATCHES_LIMIT, doubts, parse_watches, read_watches
from vmproxy.base.troubles import Kind
from vmproxy.errors import ConfigError

pytestmark = expressions


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_watches(text.encode(), "w.toml")
    return caught.value.problems


def test_a_watch_has_what_is_written_and_defaults() -> None:
    first, second, third = parse_watches(
        b"""
[[watch]]
name = "panic"
on = ["web*", "uuid:50*"]
match = ["Kernel panic", '^BUG: \\d+']
not = "sysrq"
severity = "critical"
quiet = "10m"
context = 5
run = ["/usr/local/bin/page", "--team", "linux"]
webhook = "https://alerts.example.com/x?y=1"
[[watch]]
name = "dead"
silent = "10m"
[[watch]]
name = "operations"
itself = ["log", "certificate"]
""",
        "w.toml",
    )
    assert (first.match, first.unless) == (("Kernel panic", r"^BUG: \d+"), ("sysrq",))
    assert [selector.text for selector in first.on] == ["web*", "uuid:50*"]
    assert (first.severity, first.quiet, first.context) == (Severity.CRITICAL, 600.0, 5)
    assert (first.run, first.timeout) == (("/usr/local/bin/page", "--team", "linux"), 30.0)
    assert first.webhook == "https://alerts.example.com/x?y=1"
    assert "example.com" not in repr(first)
    assert (second.silent, second.severity, second.quiet, second.match) == (600.0, Severity.WARNING, 60.0, ())
    assert third.itself == {Kind.LOG, Kind.CERTIFICATE}
    assert parse_watches(b'[[watch]]\nname = "x"\nitself = "*"', "")[0].itself == set(Kind)
    assert read_watches(None) == parse_watches(b"", "") == ()


def test_everything_that_is_wrong_is_told_by_line() -> None:
    told = problems("""top = 1
[[watch]]
name = "a b"
match = "("
[[watch]]
name = "two"
match = "x"
silent = "1m"
quiet = 0
[[watch]]
name = "three"
severity = "grave"
run = ["page"]
webhook = "ftp://x/"
mach = "x"
[[watch]]
match = "x"
not = ""
context = 21
[[watch]]
name = "two"
itself = "everything"
[[watch]]
name = "nothing"
not = "x"
""")
    text = "\n".join(told)
    for place, what in (
        (1, "nothing but [[watch]]"),
        (3, "'a b' is not a name"),
        (4, "(: no such pattern"),
        (8, "silent: does not go with match"),
        (9, "quiet: 0 is not a time from 1 s to a week"),
        (12, "'grave' is none of info, warning, critical"),
        (13, "whole path"),
        (14, "not an address"),
        (15, "no such setting; did you mean match?"),
        (16, "name: is missing"),
        (18, "not: '' is not a string"),
        (19, "21 is not a number of lines from 0 to 20"),
        (22, "itself: 'everything' is none of *, log"),
        (24, "needs one of match"),
        (25, "not: is of no use without match"),
    ):
        assert any(line.startswith(f"w.toml:{place}: ") and what in line for line in told), f"{place} {what}\n{text}"


@each(
    "url",
    [
        "https://user:secret@x/",
        "https://",
        "https://x y/",
        "https://ä/",
        "https://x:0/",
        "https://x:99999/",
        "https://[::1/",
        "//x/",
        "https://x/\x7f",
        "https://" + 2000 * "x",
        7,
    ],
)
def test_what_is_no_address_is_refused(url: object) -> None:
    shown = f'"{url}"' if isinstance(url, str) else url
    assert problems(f'[[watch]]\nname = "w"\nmatch = "x"\nwebhook = {shown}'.replace("\x7f", "\\u007f"))


def test_watches_together_are_bounded() -> None:
    def some(count: int, patterns: int = 1) -> str:
        return "".join(f'[[watch]]\nname = "w{n}"\nmatch = {patterns * ["x"]}\n' for n in range(count))

    assert len(parse_watches(some(WATCHES_LIMIT).encode(), "")) == WATCHES_LIMIT
    assert "at most 500 watches" in problems(some(WATCHES_LIMIT + 1))[0]
    assert "at most 1000 expressions" in problems(some(PATTERNS_LIMIT // 50 + 1, 50))[0]
    assert "at most 50" in problems(some(1, 51))[0]
    assert "another watch w" in problems('[[watch]]\nname="w"\nmatch="x"\n' * 2)[0]
    costly = "".join(f'[[watch]]\nname = "w{n}"\nmatch = "(a{{{n},600}})"\n' for n in range(1, 60))
    assert "too costly" in problems(costly)[0]


def test_what_will_not_work_is_doubted(tmp_path: Path) -> None:
    path, program = tmp_path / "watch.toml", tmp_path / "page"
    path.write_text(
        f'[[watch]]\nname = "w"\nmatch = "x"\nrun = "{program}"\n'
        '[[watch]]\nname = "v"\nmatch = "x"\nwebhook = "http://127.0.0.1/"'
    )
    path.chmod(0o640)
    watches = read_watches(path)
    missing, clear = doubts(watches, path)
    assert str(program) in missing
    assert "watch v" in clear
    program.touch(0o755)
    path.chmod(0o662)
    writable, _ = doubts(watches, path)
    assert "may write it" in writable


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"alerts.watch-file: .*No such file"):
        read_watches(tmp_path / "no")
    large = tmp_path / "large"
    large.write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    with pytest.raises(ConfigError, match="larger than 4 MiB"):
        read_watches(large)
