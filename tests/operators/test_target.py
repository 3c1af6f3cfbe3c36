"""What a user name or a command asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from vmproxy.auth.user_name import claimed_operator
from vmproxy.operators.target import BadTarget, Target, from_user, parse


def test_a_name_alone_is_a_console_attached_to_in_the_usual_way() -> None:
    assert parse("web01") == Target("web01")


@each(
    ("text", "wanted"),
    [
        ("web01,ro", Target("web01", read_only=True)),
        ("web01,force", Target("web01", force=True)),
        ("web01,quiet,replay=7", Target("web01", quiet=True, replay=7)),
        ("web01,port=2", Target("web01", port="2")),
        ("web01,replay=0", Target("web01", replay=0)),
        ("web01,join", Target("web01", join=True)),
        ("web01,escape=^]q", Target("web01", escape=b"\x1dq")),
        ("web01,ro,port=2,replay=7,quiet,escape=C-ec", Target("web01", True, False, "2", 7, True, False, b"\x05c")),
        ("web01,force,reason=it hangs, and bob sleeps", Target("web01", force=True, reason="it hangs, and bob sleeps")),
        ("web01 , ro ", Target("web01", read_only=True)),
        ("VM (old)", Target("VM (old)")),
    ],
)
def test_options_follow_the_name(text: str, wanted: Target) -> None:
    assert parse(text) == wanted


@pytest.mark.parametrize("name", ["Smith, John", "a,B", "rack 3, slot 4", "x,,ro2!"])
def test_a_comma_that_begins_no_option_belongs_to_the_name(name: str) -> None:
    assert parse(name).console == name
    assert parse(name + ",ro") == Target(name, read_only=True)


@each(
    "text",
    [
        "web01,rw",
        "web01,ro=1",
        "web01,replay",
        "web01,replay=",
        "web01,replay=-1",
        "web01,replay=100001",
        "web01,replay=\u0663",  # a decimal digit, but not one of ours
        "web01,port=",
        "web01,ro,force",
        "web01,ro,join",
        "web01,force,join",
        "web01,join=1",
        "web01,escape",
        "web01,escape=",
        "web01,escape=^M.",
        "web01,reason=why",
        "web01,force,reason=",
        "web01,force,reason",
    ],
)
def test_what_is_no_option_is_refused_with_the_reason(text: str) -> None:
    with pytest.raises(BadTarget):
        parse(text)


def test_a_number_too_long_for_python_is_refused_like_any_other_wrong_one() -> None:
    # int() raises a ValueError of its own for more than 4,300 digits.
    with pytest.raises(BadTarget):
        parse("web01,replay=" + "9" * 5000)


def test_an_unknown_option_is_shown_without_its_control_characters() -> None:
    with pytest.raises(BadTarget) as caught:
        parse("web01,ro=\x1b[2J")
    assert "\x1b" not in str(caught.value)


@each(
    ("user", "claimed", "wanted"),
    [
        ("web01", None, Target("web01")),
        ("alice", None, None),
        ("alice:web01", "alice", Target("web01")),
        ("alice+web01,ro", "alice", Target("web01", read_only=True)),
        ("bob:web01", "bob", Target("web01")),
        ("alice:", "alice", None),
        ("alice:a:b", "alice", Target("a:b")),
        ("web01,port=a:b", None, Target("web01", port="a:b")),
        ("", None, None),
    ],
)
def test_a_user_name_holds_a_claim_a_target_or_both(user: str, claimed: str | None, wanted: Target | None) -> None:
    assert claimed_operator(user) == claimed
    assert from_user(user, "alice") == wanted


@given(st.text())
def test_whatever_is_asked_for_is_understood_or_refused_in_words_that_can_be_shown(text: str) -> None:
    refusal = ""
    try:
        assert isinstance(parse(text), Target)
        from_user(text, "alice")
    except BadTarget as error:
        refusal = str(error)
    assert refusal.isprintable()


def test_a_list_of_nothing_but_commas_is_a_name() -> None:
    assert parse("," * 60_000).console == "," * 60_000
