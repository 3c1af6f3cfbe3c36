"""The SSH user name, taken apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmproxy.auth.user_name import BadUserName, claimed_operator, target_text


@pytest.mark.parametrize("user", [":web01", "+web01"])
def test_an_empty_claim_is_no_claim_but_an_error(user: str) -> None:
    with pytest.raises(BadUserName):
        claimed_operator(user)


@given(st.text())
def test_a_user_name_claims_nobody_or_says_whom_in_front_of_its_target(text: str) -> None:
    if text[:1] in (":", "+"):
        with pytest.raises(BadUserName):
            claimed_operator(text)
        return
    claimed = claimed_operator(text)
    if claimed is None:
        assert target_text(text, "") == text
    else:
        assert text[: len(claimed)] == claimed
        assert target_text(text, "alice") == text[len(claimed) + 1 :]
