"""``vmproxy simulate``: the options, and the reactor run that plays a fleet until it is stopped.

SIGUSR1 migrates every VM once, at once. The reactor is imported only when the command runs.
"""

from __future__ import annotations

import argparse
import signal
import sys
from types import FrameType

from vmproxy.sim.fleet import MIXED, URI_FORMS, Fleet, Plan
from vmproxy.sim.interfaces import HostSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="the concentrator to connect to (default: %(default)s)")
    add("--port", type=int, default=13370, help="its port for ESXi hosts (default: %(default)s)")
    add("--tls", action="store_true", help="TLS from the first byte, as with telnets://; certificates are not verified")
    add("--service-uri", default="vmproxy", metavar="URI", help="the service URI of the VMs (default: %(default)s)")
    add(
        "--uri-form",
        choices=(*URI_FORMS, MIXED),
        default="word",
        help="how hosts send its word; url, url-port and word-port as the ESXi Host Client does (default: %(default)s)",
    )
    add("--dial", action="store_true", help="direction client: VMs want to be connected to the service URI")
    add("-n", "--vms", type=_count, default=4, metavar="N", help="how many VMs (default: %(default)s)")
    add("--names", default="", metavar="NAME,NAME..", help="names of the first VMs")
    add("--ports-per-vm", type=_count, default=1, metavar="N", help="serial ports of each VM (default: %(default)s)")
    add("--ports-alike", action="store_true", help="without labels: nothing tells the ports of a VM apart")
    add("--copies", type=_number, default=0, metavar="N", help="copies of the first N VMs, with the same VC UUID")
    add("--seed", default="0", help="the same seed makes the same UUIDs (default: %(default)s)")
    add("--connect-rate", type=_positive, default=100.0, metavar="N", help="connections per second (default: 100)")
    add(
        "--vmotion-every", type=_seconds, default=0.0, metavar="SECONDS", help="average time between migrations of a VM"
    )
    add("--abort-share", type=_share, default=0.0, metavar="SHARE", help="share of migrations to abort, 0 to 1")
    add("--switchover", type=_seconds, default=0.0, metavar="SECONDS", help="time from PEER-OK to COMPLETE")
    add(
        "--chatter",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="average time between log lines of an idle guest",
    )
    add(
        "--boot-speed",
        type=_seconds,
        default=1.0,
        metavar="FACTOR",
        help="speed of the boot: 2 is twice as fast, 0 at once",
    )
    add("--report", type=_seconds, default=0.0, metavar="SECONDS", help="time between summaries")
    add("--duration", type=_seconds, default=0.0, metavar="SECONDS", help="stop after this time")


def run(args: argparse.Namespace) -> int:
    """Simulate until SIGINT, SIGTERM, or the end of ``--duration``.

    :returns: the exit status: 1 if not one VM could ever connect.
    """
    from twisted.internet import reactor as installed
    from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
    from twisted.internet.interfaces import IReactorCore, IReactorTime
    from twisted.internet.task import LoopingCall

    from vmproxy.sim.link import tls_options

    reactor = IReactorCore(installed)
    clock = IReactorTime(installed)
    endpoint = HostnameEndpoint(installed, args.host, args.port)
    fleet = Fleet(plan(args), wrapClientTLS(tls_options(), endpoint) if args.tls else endpoint, clock)

    def say(line: str) -> None:
        print(line, flush=True)

    def migrate_all(_signal: int, _frame: FrameType | None) -> None:
        installed.callFromThread(fleet.migrate_all)  # type: ignore[attr-defined]

    report = LoopingCall(lambda: say(fleet.summary()))
    if args.report:
        report.start(args.report, now=False)
    if args.duration:
        clock.callLater(args.duration, reactor.stop)
    end: list[str] = []

    def stopping() -> None:
        end.append(fleet.summary())  # while all are still connected
        if report.running:
            report.stop()
        fleet.stop()

    reactor.addSystemEventTrigger("before", "shutdown", stopping)
    previous = signal.signal(signal.SIGUSR1, migrate_all)
    try:
        reactor.callWhenRunning(fleet.start)
        reactor.run()
    finally:
        signal.signal(signal.SIGUSR1, previous)
    for line in end:
        say(line)
    if fleet.counters.opened:
        return 0
    why = fleet.counters.last_error or "no answer yet"
    print(f"not one VM could connect to {args.host}:{args.port}: {why}", file=sys.stderr)
    return 1


def plan(args: argparse.Namespace) -> Plan:
    """Turn the options into what to simulate."""
    return Plan(
        vms=args.vms,
        ports=args.ports_per_vm,
        names=tuple(name for name in args.names.split(",") if name),
        seed=args.seed,
        copies=args.copies,
        service=args.service_uri,
        alike=args.ports_alike,
        uri_form=args.uri_form,
        connect_rate=args.connect_rate,
        vmotion_every=args.vmotion_every,
        boot_speed=args.boot_speed,
        chatter=args.chatter,
        settings=HostSettings(
            abort_share=args.abort_share, direction="C" if args.dial else "S", switchover=args.switchover
        ),
    )


def _number(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < 1e9:
        raise argparse.ArgumentTypeError("must not be negative")
    return number


def _positive(text: str) -> float:
    number = _seconds(text)
    if not number:
        raise argparse.ArgumentTypeError("must be more than 0")
    return number


def _share(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError("must be between 0 and 1")
    return number
