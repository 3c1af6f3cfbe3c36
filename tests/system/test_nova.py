"""OpenStack Nova's own code against a daemon: the port that it makes, and the end of the log that it reads.

Nova is installed into an environment of its own, or that of ``NOVA_PYTHON`` is taken.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.daemon import Daemon, eventually
from tests.support.host import FakeVM

MOST = 102_400  # that Nova reads
SIZE = 256 * 1024  # of a file of the log

SCRIPT = """
import base64, json, sys, types
from unittest import mock
import nova.conf, nova.privsep
from nova.virt.vmwareapi import driver, vm_util
nova.privsep.sys_admin_pctxt.set_client_mode(False)
wanted = json.load(sys.stdin)
for name, value in wanted["options"].items():
    nova.conf.CONF.set_override(name, value, "vmware")
class Factory:
    def create(self, kind):
        return types.SimpleNamespace()
backing = vm_util.create_serial_port_spec(Factory()).device.backing
instance = types.SimpleNamespace(uuid=wanted["uuid"])
data = driver.VMwareVCDriver.get_console_output(mock.Mock(), None, instance)
json.dump({"direction": backing.direction, "service": backing.serviceURI, "proxy": backing.proxyURI,
           "data": base64.b64encode(data).decode()}, sys.stdout)
"""


@pytest.fixture(scope="module")
def nova(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python that has Nova."""
    if given := os.environ.get("NOVA_PYTHON"):
        return given
    folder = tmp_path_factory.mktemp("nova") / "env"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = [str(folder / "bin" / "pip"), "install", "--quiet", "nova", "oslo.vmware"]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"Nova cannot be installed here: {done.stderr[-300:]}")
    return str(folder / "bin" / "python")


@pytest.mark.soak
def test_nova_makes_a_port_and_reads_the_end_of_the_log(
    nova: str, make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon(f'[log]\nfile = "{{uuid_hex}}"\nrotate-size = {SIZE}\n')
    options = {
        "serial_port_service_uri": "vmproxy",
        "serial_port_proxy_uri": f"telnet://127.0.0.1:{daemon.vm_port}",
        "serial_log_dir": str(daemon.log_dir),
    }

    def asked(vm: FakeVM) -> tuple[dict[str, str], bytes]:
        done = subprocess.run(
            [nova, "-c", SCRIPT],
            input=json.dumps({"options": options, "uuid": str(vm.uuid)}),
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        return found, base64.b64decode(found["data"])

    vm = FakeVM(daemon.vm_port, "nova01")
    made, before = asked(vm)
    assert before == b""
    assert made["direction"] == "server"
    assert urlsplit(made["proxy"]).port == daemon.vm_port
    vm.uri = made["service"]
    vm.connect()
    file = daemon.log_dir / vm.uuid.hex
    said = b""
    for part in range(40):
        if part % 10 == 5:
            vm.migrate(b"%016d" % part)  # while it talks
        data = b"".join(b"%02d %06d %s\n" % (part, number, b"." * 50) for number in range(300))
        vm.connected.say(data)
        said += data
        eventually(partial(_is_written, file, said), "it is written")
        if part % 4 == 0:
            _, end = asked(vm)
            # What rotation has put aside, Nova does not look at.
            assert said.endswith(end)
            live = file.stat().st_size if file.exists() else 0
            assert len(end) == min(live, MOST)
    assert any(daemon.log_dir.glob(f"{vm.uuid.hex}.1*")), "it was never rotated"
    vm.close()


def _is_written(file: Path, said: bytes) -> bool:
    """Whether the log ends so, or what was just put aside of it."""
    found = (one for one in (file, file.with_name(f"{file.name}.1")) if one.exists())
    return any(one.read_bytes()[-60:] == said[-60:] for one in found)
