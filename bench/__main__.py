"""``python -m bench [MODE...]``: run the modes, print the tables."""

from __future__ import annotations

import argparse
import functools
import gc
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import peer, report
from bench.measure import Run
from bench.modes import MODES, NEED_THE_WIRE_ONLY, ON_EVERY_PLACE
from bench.servers import BenchError, Daemon, Reference, Server, cores, make_operator_key
from bench.sizes import FULL, QUICK, Sizes

MEMORY = Path("/dev/shm")
DISK = Path("/var/tmp")
KINDS = ("reference", "vmproxy")


class Starter:
    """Starts runs of one server, each in a folder of its own."""

    def __init__(
        self, kind: str, make: Callable[[Path, Path | None], Server], base: Path, sizes: Sizes, keys: Path
    ) -> None:
        """:param make: makes the server, which writes to the first and has the second for a certificate."""
        self._make = make
        self._base = base
        self.kind = kind
        self.sizes = sizes
        self.keys = keys
        self._count = 0

    def __call__(self, certificate: Path | None = None) -> Run:
        self._count += 1
        return Run(self.kind, self._make(self._base / str(self._count), certificate), self.sizes)


class Bench:
    """What the runs have in common."""

    def __init__(self, options: argparse.Namespace, base: Path, core: set[int]) -> None:
        """:param base: a folder for keys, removed by whoever made it; ``core`` that of the servers."""
        self.sizes: Sizes = QUICK if options.quick else FULL
        self._peers: dict[str, list[str]] = dict(options.peer)
        self.results = report.Results(report.Machine.here(), options.quick, not options.mode, tuple(self._peers))
        self.status = 0
        self._repeat: int = options.repeat or (1 if options.quick else 3)
        self._modes: list[str] = options.mode or list(MODES)
        folders = (
            options.log_dir or [folder for folder in (MEMORY, DISK) if folder.is_dir()][: 1 if options.quick else 2]
        )
        self._places = {_filesystem(folder): folder for folder in folders}
        self._keys = base
        self._core = core

    def run(self) -> None:
        """Run everything; what is found is in :attr:`results`."""
        problem = self.sizes.problem(self.results.machine.descriptors)
        if problem:
            raise BenchError(problem)
        make_operator_key(self._keys)
        first = next(iter(self._places))
        for number in range(self._repeat):
            for mode in self._modes:
                for place in self._places:
                    if place == first or mode in ON_EVERY_PLACE:
                        # Turn by turn, so that what changes slowly on the machine is nobody's advantage.
                        kinds = [*KINDS, *(self._peers if mode in NEED_THE_WIRE_ONLY else ())]
                        for kind in kinds if number % 2 == 0 else kinds[::-1]:
                            self._one(mode, place, kind, number)

    def _server(self, kind: str, folder: Path, certificate: Path | None) -> Server:
        if kind == "vmproxy":
            return Daemon(folder, self._core, self._keys, certificate)
        if kind == "reference":
            return Reference(folder, self._core, certificate)
        return peer.Peer(folder, self._core, self._peers[kind])

    def _one(self, mode: str, place: str, kind: str, number: int) -> None:
        print(f"{mode}, logs on {place}, {kind}, run {number + 1}:", end=" ", file=sys.stderr, flush=True)
        began = time.monotonic()
        base = Path(tempfile.mkdtemp(prefix="vmproxy-bench-", dir=self._places[place]))
        start = Starter(kind, functools.partial(self._server, kind), base, self.sizes, self._keys)
        try:
            for key, sample in MODES[mode](start).items():
                self.results.add(f"{key}@{place}", kind, sample)
                for problem in sample.problems:
                    print(f"\n  {key}: {problem}", end="", file=sys.stderr)
        except (BenchError, OSError) as error:
            self.results.failures.append(f"{mode}, logs on {place}, {kind}: {error}")
            self.status = 1
            print(f"FAILED: {error}", end=" ", file=sys.stderr)
        finally:
            shutil.rmtree(base, ignore_errors=True)
            gc.collect()
        print(f"{time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)


def _filesystem(folder: Path) -> str:
    """What a folder is on: ``tmpfs``, ``ext4``."""
    best, kind = "", "disk"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, name, *_ = line.split()
        if folder.resolve().is_relative_to(point) and len(point) >= len(best):
            best, kind = point, name
    return kind


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="How fast vmproxy is. See bench/README.md.")
    parser.add_argument("mode", nargs="*", help=f"what to measure; all of it without: {', '.join(MODES)}")
    parser.add_argument("--quick", action="store_true", help="sizes so small that it only shows that the bench works")
    parser.add_argument("--repeat", type=int, metavar="N", help="runs of each; the median counts (3; with --quick 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was found there, too")
    parser.add_argument(
        "--log-dir",
        type=Path,
        action="append",
        metavar="DIR",
        help=f"where logs are written; may be given more than once ({MEMORY} and {DISK})",
    )
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="measure another concentrator too, where machines are all that is needed; the command has {port} where it"
        " is told where to listen, and {folder} for what it writes; may be given more than once",
    )
    options = parser.parse_args()
    peers: dict[str, list[str]] = {}
    for text in options.peer:
        try:
            peers |= [peer.parse(text, (*KINDS, *peers))]
        except ValueError as error:
            parser.error(f"--peer: {error}")
    options.peer = peers
    for mode in options.mode:
        if mode not in MODES:
            parser.error(f"{mode}: no such mode; there are {', '.join(MODES)}")
    for folder in options.log_dir or []:
        if not folder.is_dir():
            parser.error(f"{folder}: no such folder")
    if options.repeat is not None and options.repeat < 1:
        parser.error("--repeat: at least 1")
    return options


def main() -> int:
    """Run; :returns: 0 unless something could not be measured."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is cleaned up
    base = Path(tempfile.mkdtemp(prefix="vmproxy-bench-keys-"))
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the modules of an installation are compiled
    usable = os.sched_getaffinity(0)
    server_core, load_core = cores()
    bench = Bench(options, base, server_core)
    others = report.Others()
    gc.disable()  # a pause here would be measured as the server's
    try:
        os.sched_setaffinity(0, load_core)
        bench.run()
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbench: interrupted; this is what there is", file=sys.stderr)
        bench.status = 130
    finally:
        os.sched_setaffinity(0, usable)
        shutil.rmtree(base, ignore_errors=True)
    bench.results.others = others.share
    print(report.table(bench.results))
    if options.json is not None:
        options.json.write_text(json.dumps(report.as_json(bench.results), indent=1) + "\n")
    return bench.status


if __name__ == "__main__":
    sys.exit(main())
