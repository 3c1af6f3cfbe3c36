"""What is on the disk of a log and of all that rotation made of it."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

from tests.support.consoles import World
from vmproxy.log.store import ConsoleLog


def write(world: World, log: ConsoleLog, data: bytes) -> None:
    log.append(data)
    world.store.flush()


def say(world: World, log: ConsoleLog, *pieces: bytes) -> None:
    """Write pieces, a second after each other; what is due is done in between."""
    for piece in pieces:
        write(world, log, piece)
        world.tick(1)


def content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def segments(path: Path) -> list[Path]:
    """The files of a log, or of a trail, oldest first, the live one last; of two of one number, that as it was."""
    found: dict[int, Path] = {}
    for file in path.parent.glob(f"{path.name}.*"):
        number = file.name.removeprefix(f"{path.name}.").removesuffix(".gz")
        if number.isdecimal() and (file.suffix != ".gz" or int(number) not in found):
            found[int(number)] = file
    return [found[number] for number in sorted(found, reverse=True)] + ([path] if path.exists() else [])


def whole(path: Path) -> bytes:
    return b"".join(content(file) for file in segments(path))


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def set_time(path: Path, at: float) -> None:
    os.utime(path, (at, at))


def _raise(number: int) -> int:
    raise OSError(number, os.strerror(number))


def in_order(path: Path) -> None:
    """Each segment's marks fit its bytes, wherever its trail is."""
    for file in segments(path):
        number = file.name.removeprefix(path.name).removesuffix(".gz")
        for suffix in ("", ".gz") if number else ("",):
            beside = path.with_name(f"{path.name}.events{number}{suffix}")
            if beside.exists():
                lines = [json.loads(line) for line in content(beside).splitlines()]
                size = len(content(file))
                shift = 0
                for line in lines:
                    shift = line["offset"] - line["byte"] if line["event"] == "format" else shift
                    assert 0 <= line["offset"] - shift <= size
