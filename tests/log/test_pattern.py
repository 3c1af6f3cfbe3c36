"""Patterns: what is refused, which lines match, and what is left of them without google-re2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.daemon import ROOT, environment
from tests.support.requirements import expressions
from vmproxy.log import pattern as module
from vmproxy.log.pattern import PATTERN_LIMIT, SPANS, BadPattern, Pattern, PatternSet


@expressions
@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("a(", "missing"),
        ("a)", "unexpected"),
        ("a)(b", "unexpected"),
        ("*", "repetition"),
        (r"(a)\1", "escape"),
        ("(?=a)", "perl"),
        ("[b-a]", "range"),
        ("(.{0,1000}a){9}b", "repetition"),
        ("(.{0,100}a){9}b", "costly"),
        ("", "1 to 1000"),
        ("x" * (PATTERN_LIMIT + 1), "1 to 1000"),
        ("\udcff", "UTF-8"),
        ("\x1b[31m(", "missing"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused_with_a_reason(
    pattern: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadPattern, match=reason) as caught:
        Pattern(pattern)
    assert str(caught.value).isprintable()
    assert capfd.readouterr() == ("", "")


@given(st.text(max_size=30), st.booleans(), st.booleans(), st.binary(max_size=100))
def test_any_pattern_is_refused_or_finds_lines(text: str, ignore_case: bool, fixed: bool, data: bytes) -> None:
    try:
        pattern = Pattern(text, ignore_case, fixed)
    except BadPattern:
        return
    end = -1
    for match in pattern.lines(data):
        assert end < match.start <= match.place <= match.end <= len(data)
        assert b"\n" not in data[match.start : match.end]
        end = match.end


@given(st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), min_size=1, max_size=5), st.binary(max_size=20))
def test_a_fixed_text_is_found_as_it_stands(text: str, data: bytes) -> None:
    pattern = Pattern(text, fixed=True)
    assert len(list(pattern.lines(b"x\n" + text.encode() + b"\r\ny"))) == 1 + (text in "x") + (text in "y")
    assert bool(list(pattern.lines(data))) == (text.encode() in data)


@expressions
@pytest.mark.parametrize(
    "pattern", ["(x+x+)+y", "(a|a)*b", "(.*)*=", "(a?){200}a{200}", "(.{0,50}(a|e|o).{0,50}(q|z)){2}"]
)
def test_patterns_that_python_would_never_finish(pattern: str) -> None:
    compiled = Pattern(pattern)
    for data in (b"x" * 100_000, b"a" * 100_000, b"aeo " * 20_000):
        assert len(list(compiled.lines(data))) <= 1


@expressions
@pytest.mark.parametrize(
    ("data", "starts"),
    [(b"hay\r\n\r\nb\r\n", [5]), (b"\r\nb\r\n", [0]), (b"\n\nb\n", [0, 1]), (b"b\r\n", []), (b"b\r\r\n\n", [4])],
)
def test_an_empty_line_is_not_the_end_of_another(data: bytes, starts: list[int]) -> None:
    assert [match.start for match in Pattern("^$").lines(data)] == starts


# Without google-re2.


def test_without_re2_plain_text_is_found_and_expressions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "re2", None)
    for text in ("login: ", "a-b_c/d'e", "caf\xe9"):
        assert [match.start for match in Pattern(text).lines(b"x\n" + text.encode() + b"\r\n")] == [2]
    for text in ("a.b", "^a", "a$", "[a]", "(a)", "a|b", "a*", "a+", "a?", "a{2}", "\\d"):
        with pytest.raises(BadPattern, match="google-re2, which is not installed; plain text"):
            Pattern(text)
        assert [match.start for match in Pattern(text, fixed=True).lines(b"aab\n" + text.encode())] == [4]
    with pytest.raises(BadPattern, match="UTF-8"):
        Pattern("\udcff")


def test_without_re2_capitals_are_ignored_from_a_to_z(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "re2", None)
    data = b"login:\nLOGIN:\nLoGiN:\n\xc3\x89t\xc3\xa9\n"
    assert len(list(Pattern("Login:", ignore_case=True).lines(data))) == 3
    assert len(list(Pattern("Login:").lines(data))) == 0
    assert len(list(Pattern("T\xe9", ignore_case=True, fixed=True).lines(data))) == 1


def test_without_re2_a_set_finds_what_any_of_its_texts_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "re2", None)
    patterns = PatternSet([("panic", False), ("BUG:", True)])
    data = b"fine\na bug: here\nkernel panic, a BUG:\n"
    assert patterns.find(data) == (5, 16)
    assert patterns.find(data, 17) == (17, 37)
    assert patterns.find(data, 38) is None
    assert [patterns.which(line) for line in data.splitlines()] == [[], [1], [0, 1]]
    assert (patterns.any(data), patterns.any(b"fine\n")) == (True, False)
    with pytest.raises(BadPattern, match="google-re2"):
        PatternSet([("a.b", False)])


@expressions
def test_a_small_set_has_memory_for_the_largest_program() -> None:
    patterns = PatternSet([(f"(ab){{985}}{number}", False) for number in range(10)], small=True)
    assert sum(one.programsize for one in patterns._single) > 0.98 * module._PROGRAMS_LIMIT
    line = b"ab" * 985 + b"3"
    assert patterns._set.Match(line) == [3]
    assert not patterns.any(line[1:])


@expressions
@given(
    st.text(st.sampled_from("ab\r\n.A"), min_size=1, max_size=4),
    st.binary() | st.text("abA.\r\n").map(str.encode),
    st.booleans(),
)
@example("b\n", b"b\n", False)
def test_plain_text_is_found_where_re2_finds_it(text: str, data: bytes, ignore_case: bool) -> None:
    with_re2 = Pattern(text, ignore_case, fixed=True)
    without = Pattern(text, ignore_case, fixed=True)
    without._search = module._Plain(text, ignore_case).search
    assert list(without.lines(data)) == list(with_re2.lines(data))
    assert [*map(list, map(without.spans, data.splitlines()))] == [*map(list, map(with_re2.spans, data.splitlines()))]


def test_of_a_line_that_matches_everywhere_only_the_first_matches_are_told() -> None:
    assert len(list(Pattern("a").spans(b"a" * 1000))) == SPANS
    assert list(Pattern("a", fixed=True).spans(b"-" * 1000 + b"a")) == [(1000, 1001)]


def test_a_server_without_re2_says_so(tmp_path: Path) -> None:
    (tmp_path / "re2.py").write_text("raise ImportError('no wheel')")
    (tmp_path / "vmproxy.toml").write_text("")
    script = """
from vmproxy.cli.main import main
from vmproxy.operators.commands.registry import COMMANDS
from vmproxy.operators.commands.help import details
print(details(COMMANDS["search"]), details(COMMANDS["expect"]))
main(["check", "vmproxy.toml"])
"""
    path = f"{tmp_path}:{ROOT}"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**environment(), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    said = " ".join(done.stdout.split())
    assert said.count("PATTERN plain text (regular expressions need google-re2, which is not installed)") == 2
    assert "search, expect and watches find plain text only: regular expressions need google-re2" in said


@expressions
@given(
    lines=st.lists(st.sampled_from([b"", b"a", b"ab", b"b", b"needle"])),
    ends=st.sampled_from([b"\n", b"\r\n"]),
    pattern=st.sampled_from(["a", "^$", "b$", "^a", "x*", "needle"]),
)
def test_lines_with_tidy_ends_take_a_shorter_way_to_the_same(lines: list[bytes], ends: bytes, pattern: str) -> None:
    data = ends.join(lines)
    assert list(Pattern(pattern).lines(data, tidy=True)) == list(Pattern(pattern).lines(data))
