"""Runs one target for a while, in a process of its own: under atheris where that is installed, else under hypothesis.

What breaks a promise is written to the folder of findings, and the process ends with status 1.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

LARGEST = 8192
PER_ROUND = 500


def has_atheris() -> bool:
    """Whether atheris can be used here."""
    return importlib.util.find_spec("atheris") is not None


def keep(folder: Path, given: bytes) -> Path:
    """Put what broke a promise with the findings."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(given).hexdigest()[:16]
    path.write_bytes(given)
    return path


def under_atheris(name: str, seconds: int, findings: Path) -> None:
    """Run a target under atheris; the process ends with it."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["vmproxy"]):
        import fuzz.targets
    from fuzz.seeds import SEEDS, WORDS

    target = fuzz.targets.TARGETS[name]
    with tempfile.TemporaryDirectory() as scratch:
        corpus = Path(scratch, "corpus")
        corpus.mkdir()
        for number, seed in enumerate(SEEDS[name]):
            (corpus / f"seed{number}").write_bytes(seed)
        words = Path(scratch, "words")  # libFuzzer takes no empty one
        words.write_text("".join(f'"{_spelled(word)}"\n' for word in WORDS.get(name, [b"\xff"])))
        findings.mkdir(parents=True, exist_ok=True)

        def once(given: bytes) -> None:
            try:
                target(given)
            except Exception:
                print(f"kept as {keep(findings, given)}", flush=True)
                raise

        arguments = [
            sys.argv[0],
            f"-max_total_time={seconds}",
            f"-max_len={LARGEST}",
            f"-dict={words}",
            f"-artifact_prefix={scratch}/",
            "-timeout=20",
            "-rss_limit_mb=2048",
            "-print_final_stats=1",
            "-verbosity=1",
            str(corpus),
        ]
        atheris.Setup(arguments, once)
        atheris.Fuzz()


def _spelled(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def mutated(random: Random, seeds: list[bytes], words: list[bytes]) -> bytes:
    """A seed, or two, with some changes."""
    data = bytearray(random.choice(seeds))
    if random.random() < 0.2:
        other = random.choice(seeds)
        data[random.randrange(len(data) + 1) :] = other[random.randrange(len(other) + 1) :]
    for _ in range(random.choice((0, 1, 1, 2, 3, 5, 8))):
        at = random.randrange(len(data) + 1)
        match random.randrange(6):
            case 0:
                data[at:at] = random.choice(words) if words else b"\0"
            case 1:
                data[at : at + random.randrange(8)] = b""
            case 2:
                data[at : at + 1] = bytes(
                    (random.choice((0, 1, 10, 13, 27, 127, 240, 250, 255, random.randrange(256))),)
                )
            case 3:
                data[at:at] = data[at : at + random.randrange(64)] * random.choice((1, 1, 2, 20))
            case 4:
                data[at : at + 4] = random.choice((0, 1, 2**31, 2**32 - 1)).to_bytes(4, "big")
            case _:
                data[at:at] = random.randbytes(random.randrange(16))
    return bytes(data[:LARGEST])


def under_hypothesis(name: str, seconds: float, findings: Path, target: Callable[[bytes], None]) -> int:
    """Run a target on what hypothesis makes up from the seeds.

    :returns: how many inputs were tried.
    :raises Exception: what the target raised, on the smallest input that was found to raise it.
    """
    from hypothesis import HealthCheck, given, seed, settings
    from hypothesis import strategies as st

    from fuzz.seeds import SEEDS, WORDS

    seeds, words = SEEDS[name], WORDS.get(name, [])
    inputs = st.one_of(
        st.randoms(use_true_random=False).map(lambda random: mutated(random, seeds, words)),
        st.binary(max_size=512),
    )
    tried = 0
    failed = b""
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:

        @seed(number)
        @settings(
            max_examples=PER_ROUND,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,  # else two faults in one round are an ExceptionGroup, which is no finding
        )
        @given(inputs)
        def one_round(data: bytes) -> None:
            nonlocal tried, failed
            if time.monotonic() > end and not failed:
                return
            tried += 1
            try:
                target(data)
            except Exception:
                failed = data  # the last that failed is the smallest
                raise

        try:
            one_round()
        except Exception:
            print(f"kept as {keep(findings, failed)}", flush=True)
            raise
        number += 1
    return tried


def main(arguments: list[str]) -> int:
    """``NAME SECONDS FOLDER atheris|hypothesis``."""
    name, seconds, folder, driver = arguments
    findings = Path(folder) / name
    if driver == "atheris":
        under_atheris(name, int(seconds), findings)
        return 0
    from fuzz.targets import TARGETS

    try:
        tried = under_hypothesis(name, float(seconds), findings, TARGETS[name])
    except Exception:
        traceback.print_exc()
        return 1
    print(f"{tried} inputs")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
