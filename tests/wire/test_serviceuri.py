"""Service URIs: what stands before the question mark, and labels of ports that are safe in a file name."""

from __future__ import annotations

import re
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.cases import each
from vmproxy.wire.serviceuri import label, matches, parse

LABEL_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
any_text = st.text(st.characters(), max_size=80)  # lone surrogates too


@each(
    ("uri", "service", "query"),
    [
        ("vmproxy", "vmproxy", ()),
        ("", "", ()),
        ("?", "", ()),
        ("vmproxy?", "vmproxy", ()),
        ("vmproxy?port=console", "vmproxy", (("port", "console"),)),
        ("vmproxy?port=1&log=no", "vmproxy", (("port", "1"), ("log", "no"))),
        ("vmproxy?port=a&port=b", "vmproxy", (("port", "a"), ("port", "b"))),
        ("vmproxy?port", "vmproxy", (("port", ""),)),
        ("vmproxy?port=", "vmproxy", (("port", ""),)),
        ("vmproxy?&&port=1&", "vmproxy", (("port", "1"),)),
        ("vmproxy?port=a%20b+c", "vmproxy", (("port", "a b c"),)),
        ("vmproxy?a=b=c", "vmproxy", (("a", "b=c"),)),
        ("vmproxy?a?b=c", "vmproxy", (("a?b", "c"),)),
        ("vmproxy?a=1;port=2", "vmproxy", (("a", "1;port=2"),)),
        ("telnet://:1234?port=x", "", (("port", "x"),)),
        # As the ESXi Host Client sends it, which takes nothing but URLs.
        ("telnet://vmproxy", "vmproxy", ()),
        ("telnet://vmproxy:13370", "vmproxy", ()),
        ("vmproxy:13370", "vmproxy", ()),
        ("telnet://vmproxy/", "vmproxy", ()),
        ("TELNET://vmproxy:1", "vmproxy", ()),
        ("telnets://vmproxy:13371/", "vmproxy", ()),
        ("telnet://vmproxy?port=2", "vmproxy", (("port", "2"),)),
        ("telnet://vmproxy:13370?port=2", "vmproxy", (("port", "2"),)),
        ("telnet://vmproxy:13370/?port=2", "vmproxy", (("port", "2"),)),
        ("vmproxy:13370?port=2", "vmproxy", (("port", "2"),)),
        ("vSPC.py:23", "vSPC.py", ()),
        # Blanks around it do not count.
        (" vmproxy ", "vmproxy", ()),
        ("\tvmproxy\r\n", "vmproxy", ()),
        (" telnet://vmproxy:13370?port=2 ", "vmproxy", (("port", "2"),)),
        ("vmproxy ?port=2", "vmproxy", (("port", "2"),)),
        ("telnet:// vmproxy :13370", "vmproxy", ()),
        # What is none of these stands as it is.
        ("http://vmproxy", "http://vmproxy", ()),
        ("vmproxy:port", "vmproxy:port", ()),
        ("vmproxy:123456", "vmproxy:123456", ()),
        ("vm proxy", "vm proxy", ()),
        ("vm%70roxy", "vm%70roxy", ()),
    ],
)
def test_a_uri_is_a_service_and_the_pairs_of_its_query(
    uri: str, service: str, query: tuple[tuple[str, str], ...]
) -> None:
    parsed = parse(uri)
    assert (parsed.service, parsed.query) == (service, query)


@each(
    "name",
    ["console", "1", "0", "a-b_c", "Serial-2", "_", "_-", "x" * 32, LABEL_CHARACTERS[:32], "A" + LABEL_CHARACTERS[33:]],
)
def test_a_usable_label_names_the_port(name: str) -> None:
    assert parse(f"vmproxy?port={name}").port == name


@each(
    "value",
    [
        "",
        "-",
        "--help",
        "x" * 33,
        ".",
        "..",
        "../../etc/passwd",
        "a/b",
        "a\\b",
        "a b",
        "a+b",
        "a:b",
        "a@b",
        "\na",
        "a\0",
        "\x1b[2J",
        "a;b",
        "$(id)",
        "\u00e9",
        "\uff11",  # a digit to str.isdigit, not to us
        "\u017f",  # matches [a-z] where case is ignored
        "\u202eabc",
        "%2e",
    ],
)
def test_a_label_that_is_not_usable_names_no_port(value: str) -> None:
    assert parse(f"vmproxy?port={value}").port is None
    assert parse(f"vmproxy?port={quote(value)}").port is None


def test_a_percent_encoded_label_is_decoded_once() -> None:
    assert parse("vmproxy?port=%63onsole").port == "console"
    assert parse("vmproxy?port=%2563onsole").port is None


@pytest.mark.parametrize("uri", ["vmproxy", "vmproxy?log=no", "vmproxy?Port=1", "vmproxy?port%00=1", "vmproxy?xport=1"])
def test_without_port_in_the_query_no_port_is_named(uri: str) -> None:
    assert parse(uri).port is None


def test_the_first_port_of_a_query_counts_even_where_it_is_not_usable() -> None:
    assert parse("vmproxy?port=a&port=b").port == "a"
    assert parse("vmproxy?port=..&port=b").port is None
    assert parse("vmproxy?x=1&port=a").port == "a"


@given(name=st.text(LABEL_CHARACTERS, min_size=1, max_size=32), service=st.text(max_size=20))
def test_every_usable_label_comes_back(name: str, service: str) -> None:
    service = service.replace("?", "")
    name = name.lstrip("-") or "x"
    parsed = parse(f"{service}?port={name}")
    assert (parsed.service, parsed.port) == (parse(service).service, name)


@given(st.one_of(any_text, any_text.map(lambda value: "vmproxy?port=" + value)))
@example("?port=a\n")
@example("\ud800?port=\udcff&%ff=%")
@example("?" + "&" * 4000)
@example("?port=1" + "&a=b" * 1000)
def test_any_text_at_all_can_be_parsed_and_its_port_is_safe(uri: str) -> None:
    parsed = parse(uri)
    assert parsed.literal == uri.strip().split("?")[0].strip()
    assert parsed.bare == (parsed.service == parsed.literal)
    assert parsed.service in parsed.literal
    assert parsed.port is None or re.fullmatch(rf"[{LABEL_CHARACTERS}]{{1,32}}", parsed.port, re.ASCII)


def test_the_number_of_pairs_in_a_query_is_bounded() -> None:
    assert len(parse("vmproxy?" + "&".join(["a=b"] * 32)).query) == 32
    flooded = parse("vmproxy?" + "&".join(["a=b"] * 33))
    assert (flooded.service, flooded.query) == ("vmproxy", ())


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=20))
def test_a_url_encoded_query_is_read_back(pairs: list[tuple[str, str]]) -> None:
    assert parse("vmproxy?" + urlencode(pairs)).query == tuple(pairs)


@each(
    ("uri", "accepted", "expected"),
    [
        ("vmproxy", ["vmproxy"], True),
        ("vmproxy?port=1", ["vmproxy"], True),
        ("vmproxy", ["vSPC.py", "vmproxy"], True),
        ("vmproxy", [], False),
        ("VMproxy", ["vmproxy"], False),
        ("vmproxy", ["VMPROXY"], False),
        ("vmproxy ", ["vmproxy"], True),
        ("telnet://vmproxy:13370", ["vmproxy"], True),
        ("telnet://VMproxy:13370", ["vmproxy"], False),
        ("telnet://vmproxy:13370?port=1", ["telnet://vmproxy:13370"], True),  # what was a way out before
        ("vmprox", ["vmproxy"], False),
        ("vmproxy2", ["vmproxy"], False),
        ("vmproxy", ["vmproxy?port=1"], False),
        ("vm%70roxy", ["vmproxy"], False),
        ("", ["vmproxy"], False),
        ("anything", ["*"], True),
        ("", ["*"], True),
        ("anything", ["vmproxy", "*"], True),
        # A star is special in the configuration alone, and alone there.
        ("*", ["vmproxy"], False),
        ("*?port=1", ["vmproxy"], False),
        ("vmproxy", ["vm*"], False),
        ("vm*", ["vm*"], True),
    ],
)
def test_a_service_matches_its_exact_word_or_a_star(uri: str, accepted: list[str], expected: bool) -> None:
    assert matches(parse(uri), accepted) is expected


def test_the_accepted_words_may_be_any_iterable() -> None:
    assert matches(parse("vmproxy"), frozenset({"vmproxy", "other"}))
    assert matches(parse("vmproxy"), iter(["other", "vmproxy"]))


@given(any_text, st.text(min_size=1, max_size=10))
def test_only_the_word_itself_matches(uri: str, word: str) -> None:
    parsed = parse(uri)
    assert matches(parsed, [word]) == (word in ("*", parsed.service, parsed.literal))
    plain = word.split("?")[0].strip()
    assert matches(parse(plain + "?" + uri), [plain])


@each(
    ("uri", "accepted", "expected"),
    [
        ("console", ["*"], "console"),
        ("telnet://debug:13370", ["*"], "debug"),
        ("console", ["vmproxy", "*"], "console"),
        ("vmproxy", ["*"], None),  # the words that are agreed on name no port
        ("vSPC.py", ["*"], None),
        ("site", ["site", "*"], None),
        ("console", ["console"], None),
        ("a b", ["*"], None),
        ("../x", ["*"], None),
        ("", ["*"], None),
        ("x" * 33, ["*"], None),
    ],
)
def test_a_word_is_the_label_of_its_port_where_any_word_is_accepted(
    uri: str, accepted: list[str], expected: str | None
) -> None:
    assert label(parse(uri), accepted) == expected
