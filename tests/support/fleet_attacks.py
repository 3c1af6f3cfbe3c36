"""What operators and VMs do with what knows all consoles: labels, alerts, lines of many, watches."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from twisted.conch.ssh.common import NS

from tests.support.daemon import Daemon, eventually
from tests.support.host import FakeVM
from tests.support.turns import MeasuredDaemon, SSHSocket, Steps, at_once
from vmproxy.alerts.alert import Alert
from vmproxy.alerts.watch import Severity

ALERTS = 10_000
OPEN_EACH = 10
GROUPS = "".join(
    f'[[group]]\non = ["*{n}", "vm{n}*", "clone*"]\nlabels = {{ team = "t{n}", role = ["a{n}", "b{n}"], k{n} = "v" }}\n'
    for n in range(10)
)
# Expressions for which other matchers take for ever; the receiver of what is found never answers.
WATCHES = "".join(
    f"[[watch]]\nname = 'w{n}'\nmatch = ['(x+x+)+y{n}', '^(a|a?)+$', '(.*){{0,9}}z{{1,50}}q']\n"
    "quiet = '1s'\nwebhook = 'HOOK'\n"
    for n in range(30)
)
HARD = (b"x" * 400 + b" " + b"a" * 70 + b"! zzzq\r\n") * 100


@contextlib.contextmanager
def silent_receiver(folder: Path) -> Iterator[str]:
    """Somebody who takes connections and says nothing; :returns: the setting of the watches."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        path = folder / "watch.toml"
        path.write_text(WATCHES.replace("HOOK", f"http://127.0.0.1:{listener.getsockname()[1]}/"))
        path.chmod(0o600)
        yield f'[alerts]\nwatch-file = "{path}"\n'


def write_alerts(daemon: Daemon) -> None:
    """Write the book of a daemon that has thousands of alerts, :data:`OPEN_EACH` of each of the first consoles."""
    lines = [json.dumps({"next": ALERTS + 1})]
    for number in range(1, ALERTS + 1):
        uuid = UUID(int=1 + number // OPEN_EACH)
        alert = Alert(number, float(number), "w1", Severity.WARNING, uuid, "1", "clone", "10.1.2.3", "x" * 400)
        lines.append(json.dumps(alert.kept()))
    daemon.state.joinpath("alerts-kept.json").write_text("\n".join(lines) + "\n")


def acknowledgements(daemon: MeasuredDaemon, size: int) -> Steps:
    """Many look at thousands of alerts and follow them; then all are acknowledged at once."""
    with contextlib.ExitStack() as stack:
        following = [stack.enter_context(contextlib.closing(SSHSocket(daemon))) for _ in range(4 * size)]
        client = stack.enter_context(contextlib.closing(SSHSocket(daemon)))
        for one in following:
            (channel,) = one.sessions(1, 1 << 30)
            one.sendPacket(98, channel + NS(b"exec") + b"\0" + NS(b"alerts -f"))
            one.flush()

        def look(number: int) -> None:
            with contextlib.closing(SSHSocket(daemon)) as one:
                one.run(("alerts -a --json", "alerts")[number % 2])

        yield
        at_once(2 * size, look)
        client.run("ack * --note 'all of them'")
        yield


def tails(daemon: MeasuredDaemon, size: int) -> Steps:
    """Many look at the lines of all consoles, with expressions, while VMs print."""
    vms = [FakeVM(daemon.vm_port, f"talking{number}").connect() for number in range(4 * size)]
    with contextlib.ExitStack() as stack:
        for number in range(4 * size):
            client = stack.enter_context(contextlib.closing(SSHSocket(daemon)))
            (channel,) = client.sessions(1, 1 << 30)
            command = b"tail --match '(x+x+)+y|a{1,60}!' --not 'q%d$' -C 20 -i" % number
            client.sendPacket(98, channel + NS(b"exec") + b"\0" + NS(command))
            client.flush()
        yield
        at_once(len(vms), lambda number: vms[number].connected.say(HARD * 5 * size))
        for vm in vms:
            wanted = len(HARD) * 5 * size
            eventually(lambda vm=vm, n=wanted: len(daemon.logged(vm.name)) >= n, "it is there", daemon.patience)
        yield
    for vm in vms:
        vm.close()
