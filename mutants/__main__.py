"""``python -m mutants``: faults one at a time, each with the tests of its module; which were not noticed.

The same seed chooses the same faults of the same sources. Each worker has a copy of the checkout of its own, with
everything compiled: to compile the tests takes longer than to run those of a module.
"""

from __future__ import annotations

import argparse
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from mutants.guards import EQUIVALENT, GUARDS
from mutants.mutate import Mutant, mutants

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("vmproxy", "tests", "twisted", "etc", "docs", "setup.cfg", "README.rst", "Makefile", "newsfragments")
# A fault may make a loop without an end, which the processor's time tells whatever else the machine does; or a wait.
PROCESSOR_SECONDS = 200
TIMEOUT = 1800
LIMITED = ("sh", "-c", f'ulimit -t {PROCESSOR_SECONDS} && exec "$@"', "sh")


class Case(NamedTuple):
    """A fault in a module."""

    module: str
    mutant: Mutant

    def __str__(self) -> str:
        return f"{self.module}:{self.mutant.line}: {' '.join(self.mutant.what.split())[:150]}"


def chosen(count: int, seed: int, modules: Iterable[str] = GUARDS) -> list[Case]:
    """Faults, at most one in a line, spread over the modules in proportion to what there is to choose from."""
    luck = random.Random(seed)  # noqa: S311 - a sample
    lines: dict[tuple[str, int], list[Mutant]] = {}
    for module in modules:
        for one in mutants((ROOT / module).read_text("utf-8")):
            if (module, " ".join(one.what.split())) not in EQUIVALENT:
                lines.setdefault((module, one.line), []).append(one)
    places = luck.sample(sorted(lines), min(count, len(lines)))
    return [Case(module, luck.choice(lines[module, line])) for module, line in sorted(places)]


class Worker:
    """Tries faults in a copy of the checkout."""

    def __init__(self, folder: Path, source: Path = ROOT) -> None:
        self.folder = folder
        folder.mkdir()
        for name in COPIED:
            if (source / name).is_dir():
                shutil.copytree(source / name, folder / name)
            else:
                shutil.copy2(source / name, folder / name)

    def run(self, tests: Sequence[str]) -> bool:
        """Whether the tests pass."""
        command = [*LIMITED, sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist"]
        environment = {**os.environ, "CI": "true", "PYTHONPATH": str(self.folder)}
        try:
            done = subprocess.run(  # noqa: S603 - our own tests
                [*command, "--hypothesis-profile=quick", "-m", "not (slow or alone or soak)", *tests],
                cwd=self.folder,
                env=environment,
                capture_output=True,
                timeout=TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def survives(self, case: Case) -> bool:
        """Whether the tests of a module pass with a fault in it: first those of its own, then the others."""
        path = self.folder / case.module
        before = path.read_text("utf-8")
        path.write_text(case.mutant.applied(before), "utf-8")
        try:
            return all(self.run([tests]) for tests in GUARDS[case.module])
        finally:
            path.write_text(before, "utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Try faults.

    :returns: the exit status: 1 if fewer than 95 of 100 were noticed, or the tests fail without a fault.
    """
    parser = argparse.ArgumentParser(prog="mutants", description="Makes small faults and runs the tests.")
    parser.add_argument("--count", type=int, default=100, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other faults (%(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--list", action="store_true", help="show the faults and run nothing")
    options = parser.parse_args(arguments)
    cases = chosen(options.count, options.seed)
    if options.list:
        print("\n".join(map(str, cases)))
        return 0
    waiting: queue.SimpleQueue[Case | None] = queue.SimpleQueue()
    for case in [*cases, *[None] * options.workers]:
        waiting.put(case)
    survived: list[Case] = []

    def work(worker: Worker) -> None:
        while (case := waiting.get()) is not None:
            if worker.survives(case):
                survived.append(case)
                print(f"NOT NOTICED {case}", flush=True)
            else:
                print(f"noticed {case}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        first = Worker(Path(folder, "0"))
        for tests in sorted({tests[0] for tests in GUARDS.values()}):
            if not first.run([tests]):
                print(f"{tests} fails without any fault")
                return 1
        workers = [first, *(Worker(Path(folder, str(number)), first.folder) for number in range(1, options.workers))]
        threads = [threading.Thread(target=work, args=(worker,)) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(f"{len(cases) - len(survived)} of {len(cases)} were noticed")
    for case in sorted(survived, key=str):
        print(f"  not: {case}")
    return int(len(survived) > len(cases) * 0.05)


if __name__ == "__main__":
    sys.exit(main())
