"""The fuzzer's targets: every seed and every finding passes, a broken promise is noticed, and both drivers run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fuzz
from fuzz import targets
from fuzz.drive import has_atheris, mutated, under_hypothesis
from fuzz.seeds import SEEDS, WORDS
from fuzz.targets import TARGETS
from tests.support.cases import each
from tests.support.properties import examples
from vmproxy.auth import certificates, revocation
from vmproxy.auth.authorized_keys import parse_authorized_keys
from vmproxy.wire.telnet import Scanner

FOUND = Path(fuzz.__file__).parent / "found"
ROOT = FOUND.parents[1]
FINDINGS = sorted(path for path in FOUND.glob("*/*") if path.is_file())


def test_every_target_has_seeds_and_nothing_else_has() -> None:
    assert set(SEEDS) == set(TARGETS)
    assert set(WORDS) <= set(TARGETS)
    assert {path.parent.name for path in FINDINGS} <= set(TARGETS)


@each("name", TARGETS)
def test_what_was_found_once_and_every_seed_passes(name: str) -> None:
    for given_bytes in SEEDS[name] + [path.read_bytes() for path in FINDINGS if path.parent.name == name]:
        TARGETS[name](given_bytes)


@pytest.mark.parametrize("name", TARGETS)
@given(random=st.randoms(use_true_random=False), noise=st.binary(max_size=200))
@examples(60)
def test_what_is_made_up_from_the_seeds_passes(name: str, random: Random, noise: bytes) -> None:
    TARGETS[name](mutated(random, SEEDS[name], WORDS.get(name, [])))
    TARGETS[name](noise)


def test_the_seeds_get_far() -> None:
    # A target that refuses its seeds at the door would find nothing behind it.
    accepted = []
    for seed in SEEDS["certificate"]:
        blob = targets.signed(seed[1:]) if seed[0] & 1 else seed[1:]
        trusted = {targets.authority_blob()}
        try:
            accepted.append(
                certificates.check_certificate(
                    blob, trusted, revocation.Revoked(), targets.ADDRESS, targets.NOW
                ).principals
            )
        except certificates.BadCertificate:
            continue
    assert accepted == [("alice", "bob")] * 3
    lists = [revocation.parse_revoked(seed, "x") for seed in SEEDS["revoked"]]
    assert [found.everything for found in lists] == ["", "", ""]
    assert [len(parse_authorized_keys(seed, "x")) for seed in SEEDS["authorized-keys"]] == [1, 1, 0]


def test_a_scanner_with_a_fault_is_found_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    good = Scanner.feed

    def loses(self: Scanner, data: bytes) -> object:
        # A fault that only shows when an IAC is the last byte of a read.
        return good(self, data[:-1] if data.endswith(b"\xff") and len(data) > 1 else data)

    monkeypatch.setattr(Scanner, "feed", loses)
    with pytest.raises(AssertionError):
        under_hypothesis("telnet", 60, tmp_path / "telnet", TARGETS["telnet"])
    (kept,) = (tmp_path / "telnet").iterdir()
    with pytest.raises(AssertionError):
        TARGETS["telnet"](kept.read_bytes())


def test_a_name_that_reaches_a_log_line_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def raw(text: str, _limit: int = 0) -> str:
        return text

    seed = SEEDS["certificate"][3].replace(b"force-command", b"force\x1b[31m-mm")
    monkeypatch.setattr(certificates, "visible", raw)
    with pytest.raises(AssertionError, match="not printable"):
        TARGETS["certificate"](seed)


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["hypothesis", *(["atheris"] if has_atheris() else [])])
def test_the_drivers_run_and_say_which_it_is(driver: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", "--seconds=1", f"--driver={driver}", f"--findings={tmp_path}", "comport"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"under {driver}" in done.stdout
    assert "comport: well; " in done.stdout
    assert "no figures" not in done.stdout
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_unknown_target_is_an_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", "nonsense"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert "there is no target nonsense; there are telnet, " in done.stderr
