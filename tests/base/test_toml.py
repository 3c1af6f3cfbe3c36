"""The lines of a TOML file's keys, against tomllib, which knows what keys there are."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from vmproxy.base.toml import KeyPath, TomlFile
from vmproxy.errors import ConfigError

TEXT = """\
top = 1 # [no.table]
"quoted \\" key" = '''
[no.table]
''' # two lines

[vm]
listen = [
    "tcp:1", # "
    { a = 1, b.c = [2,
        3] },
]
dotted.key = 1979-05-27 07:32:00

[[rule]]
who = \"\"\"a""\"\"\"
[[rule]]
  may = [ ]
[[rule.inner]]
x = 1
[rule.table]
y = 2
[a.'b.c'.d]
"""


@each(
    ("path", "line"),
    [
        (("top",), 1),
        (('quoted " key',), 2),
        (("vm",), 6),
        (("vm", "listen"), 7),
        (("vm", "listen", 0), 8),
        (("vm", "listen", 1), 9),
        (("vm", "listen", 1, "a"), 9),
        (("vm", "listen", 1, "b", "c"), 9),
        (("vm", "listen", 1, "b", "c", 1), 10),
        (("vm", "dotted"), 12),
        (("vm", "dotted", "key"), 12),
        (("rule",), 14),
        (("rule", 0), 14),
        (("rule", 0, "who"), 15),
        (("rule", 0, "may"), 14),  # it is missing: the line of its table
        (("rule", 1), 16),
        (("rule", 1, "may"), 17),
        (("rule", 1, "inner", 0, "x"), 19),
        (("rule", 1, "table", "y"), 21),
        (("a", "b.c", "d"), 22),
        (("none",), None),
        ((), None),
    ],
)
def test_lines(path: KeyPath, line: int | None) -> None:
    assert TomlFile(TEXT.encode(), "x").line(path) == line
    assert TomlFile(TEXT.replace("\n", "\r\n").encode(), "x").line(path) == line


def test_a_file_of_a_windows_editor_is_read_and_utf_16_is_named() -> None:
    file = TomlFile(b"\xef\xbb\xbfa = 1\r\nb = 2\r\n", "f")
    assert (file.table, file.line(("a",)), file.line(("b",))) == ({"a": 1, "b": 2}, 1, 2)
    with pytest.raises(ConfigError) as caught:
        TomlFile("a = 1".encode("utf-16"), "f")
    assert str(caught.value) == "f: not a TOML file: it is UTF-16; save it as UTF-8"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a = 1\n\nb = \n", "x:3: not a TOML file: "),
        (b"a = 1\na = 2\n", "x:2: not a TOML file: "),
        (b"\xff", "x: not a TOML file: "),
        (b"a = " + b"[" * 5000, "x: not a TOML file: "),
        (b"a = " + b"1" * 5000, "x: not a TOML file: "),
    ],
    ids=["no value", "twice", "no UTF-8", "deep", "long"],
)
def test_a_file_that_is_not_toml(data: bytes, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TomlFile(data, "x")
    assert str(caught.value).startswith(said)


def paths(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """The path of everything in what tomllib has read."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from paths(item, (*path, key))


KEYS = st.sampled_from(["a", "b-1", "'x.y'", '"q\\"#"', "12", '""'])
STRINGS = st.one_of(
    st.text("a#[]{}'\"=,.\n \\", max_size=8).map(json.dumps),
    st.text('a#[]{}"=,. \\', max_size=8).map(lambda text: f"'{text}'"),
    st.text("a#[]{}'=\n ", max_size=8).map(lambda text: f'"""{text}"""'),
    st.text('a#[]{}"=\n \\', max_size=8).map(lambda text: f"'''{text}'''"),
    st.sampled_from(['""""x"""""', "'''''y''''", '"""\\\n\\""""', '""', "''"]),
)
SCALARS = st.one_of(
    STRINGS, st.sampled_from(["1", "-0.5e+3", "true", "inf", "1979-05-27T07:32:00Z", "1979-05-27 07:32:00"])
)
SPACES = st.sampled_from(["", " ", "\n", " # ] }\n"])


def arrays(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    items = st.lists(st.tuples(SPACES, values, SPACES).map("".join), max_size=3)
    return st.tuples(items, st.sampled_from(["", ","])).map(
        lambda both: f"[{','.join(both[0])}{both[1] if both[0] else ''}]"
    )


def dotted() -> st.SearchStrategy[str]:
    return st.lists(KEYS, min_size=1, max_size=3).flatmap(
        lambda keys: st.sampled_from([".", " . "]).map(lambda dot: dot.join(keys))
    )


def inline(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.lists(st.tuples(dotted(), values).map(lambda pair: f"{pair[0]} = {pair[1]}"), max_size=3)
    return pairs.map(lambda pairs: "{ " + " , ".join(pairs) + " }")


VALUES = st.recursive(SCALARS, lambda values: st.one_of(arrays(values), inline(values)), max_leaves=6)
STATEMENTS = st.one_of(
    dotted().map(lambda key: f"[{key}]"),
    dotted().map(lambda key: f"[[ {key} ]] # x"),
    st.tuples(dotted(), VALUES).map(lambda pair: f"  {pair[0]} ={pair[1]}"),
    st.sampled_from(["", "# comment = ["]),
)


@given(st.lists(STATEMENTS, max_size=12))
def test_every_key_that_tomllib_finds_has_a_line_with_it_and_nothing_else_has_one(statements: list[str]) -> None:
    kept: list[str] = []
    for statement in statements:  # what would contradict what stands before it is left out
        try:
            tomllib.loads("\n".join([*kept, statement]))
        except ValueError:
            continue
        kept.append(statement)
    text = "\n".join(kept)
    found = TomlFile(text.encode(), "x").lines
    assert set(found) == set(paths(tomllib.loads(text)))
    rows = text.split("\n")
    for path, line in found.items():
        last = path[-1]
        if isinstance(last, str):
            assert last.replace('"', '\\"') in rows[line - 1]


@given(st.text("ab=[]{}.,\"'\n #1\\", max_size=30))
def test_whatever_tomllib_accepts_has_its_lines(text: str) -> None:
    try:
        table = tomllib.loads(text)
    except ValueError:
        return
    assert set(TomlFile(text.encode(), "x").lines) == set(paths(table))
