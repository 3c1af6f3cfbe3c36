"""How large everything is: in full, and quickly, to see that the bench works."""

from __future__ import annotations

from dataclasses import dataclass

KEPT_OPEN = 9000
"""How many files the reference keeps open: each of its connections has one, as long as there are descriptors."""


@dataclass(frozen=True)
class Sizes:
    """The sizes; seconds, lines a second, MiB."""

    storms: tuple[int, ...] = (2000, 16000)
    arrivals: int = 4000
    arrival_seconds: float = 3.0
    idle: int = 16000
    idle_seconds: float = 8.0
    talking: int = 1000
    rate: int = 20_000
    rate_seconds: float = 6.0
    ramp_from: int = 14_000
    ramp_first: float = 1.5
    ramp_factor: float = 1.1
    ramp_steps: int = 24
    ramp_seconds: float = 1.5
    many: int = 10_000
    bulk: tuple[tuple[int, int, int], ...] = ((10, 1024, 128), (1000, 1024, 128))  # machines, MiB of text, of binary
    moves: int = 200
    move_seconds: float = 10.0
    background: int = 5000
    crowd: int = 16_000
    new_files: int = 1000
    keys: int = 400
    viewers: int = 200
    viewer_seconds: float = 10.0
    viewer_rate: int = 100
    stalled_mib: int = 64
    web_viewers: int = 500
    web_rate: int = 164  # 16 KiB
    web_silent: int = 10
    web_idle: int = 990
    web_idle_rounds: float = 2.0  # of pings
    web_storms: int = 5
    web_pages: int = 20
    tail_rate: int = 5000
    tail_seconds: float = 8.0
    replay_mib: int = 64
    replays: int = 7
    known: int = 16_000
    starts: int = 3
    requests: int = 21
    seek_mib: int = 1024
    secure: int = 1500
    secure_bulk: tuple[int, int] = (10, 512)  # machines, MiB
    secure_seconds: float = 5.0

    def problem(self, descriptors: int) -> str:
        """Why a process with so many descriptors is not enough; empty where it is."""
        logs = min(self.many, KEPT_OPEN)
        beside = int(self.arrivals * self.arrival_seconds) + self.talking
        needed = max(*self.storms, beside, self.idle, self.crowd, self.many + logs, self.known, self.secure) + 900
        if descriptors >= needed:
            return ""
        return f"a process needs {needed} descriptors here and may have {descriptors} (ulimit -Hn); --quick needs fewer"


FULL = Sizes()
QUICK = Sizes(
    storms=(100,),
    arrivals=400,
    arrival_seconds=0.3,
    idle=100,
    idle_seconds=0.1,
    talking=20,
    rate=1000,
    rate_seconds=0.3,
    ramp_from=500,
    ramp_steps=2,
    ramp_seconds=0.2,
    many=40,
    bulk=((2, 4, 1),),
    moves=40,
    move_seconds=0.3,
    background=500,
    crowd=60,
    new_files=20,
    keys=10,
    viewers=3,
    viewer_seconds=0.2,
    stalled_mib=1,
    web_viewers=6,
    web_silent=2,
    web_idle=10,
    web_idle_rounds=0.01,
    web_storms=1,
    web_pages=2,
    tail_rate=500,
    tail_seconds=0.3,
    replay_mib=1,
    replays=2,
    known=100,
    starts=1,
    requests=3,
    seek_mib=2,
    secure=60,
    secure_bulk=(2, 4),
    secure_seconds=0.1,
)
