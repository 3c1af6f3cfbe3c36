"""``python -m fuzz``: all targets, or those that are named, for a bounded time in all."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fuzz.drive import has_atheris
from fuzz.targets import TARGETS

FOUND = Path(__file__).parent / "found"
GRACE = 120


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the targets one after the other.

    :returns: the exit status: 1 if a promise was broken.
    """
    parser = argparse.ArgumentParser(prog="fuzz", description="Gives the readers of what strangers send made-up bytes.")
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together (600)")
    parser.add_argument("--driver", choices=("atheris", "hypothesis"), help="atheris where it is installed")
    parser.add_argument(
        "--findings", default=str(FOUND), help="where inputs that break a promise are kept (fuzz/found)"
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (all)")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.targets if name not in TARGETS]
    if unknown:
        parser.error(f"there is no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    names = options.targets or list(TARGETS)
    driver = options.driver or ("atheris" if has_atheris() else "hypothesis")
    each = max(1, options.seconds // len(names))
    why = "" if driver == "atheris" or options.driver else " (atheris is not installed)"
    print(f"under {driver}{why}: {len(names)} targets, {each} s each", flush=True)
    broken = []
    for name in names:
        command = [sys.executable, "-m", "fuzz.drive", name, str(each), options.findings, driver]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=each + GRACE, check=False)
            status, said = done.returncode, done.stdout + done.stderr
        except subprocess.TimeoutExpired as late:
            status, said = 1, f"it does not end\n{late.stderr!r:.5000}"
        print(f"{name}: {'well' if not status else 'BROKEN'}; {_figures(said)}", flush=True)
        if status:
            broken.append(name)
            kept = [line for line in said.splitlines() if not line.startswith(("INFO: ", "WARNING: "))]
            print("\n".join(kept)[-6000:], flush=True)
    return 1 if broken else 0


def _figures(said: str) -> str:
    for line in said.splitlines():
        if line.startswith("stat::number_of_executed_units:"):
            return f"{line.split()[-1]} inputs"
        if line.endswith(" inputs"):
            return line
    return "no figures"


if __name__ == "__main__":
    sys.exit(main())
