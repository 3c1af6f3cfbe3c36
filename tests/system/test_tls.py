"""Hosts with real TLS against the real daemon: ``telnets://``, the switch inside ``telnet://``, and other certificates
while VMs are connected."""

from __future__ import annotations

import contextlib
import re
import resource
import shutil
import socket
import ssl
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import PATIENCE, ROOT, TWISTD, Client, Daemon, environment, eventually
from tests.support.host import FakeVM, HostConnection
from tests.support.tls_host import TLSVM, SwitchingHostConnection, trusting
from vmproxy.cli import main
from vmproxy.vm.certificates import TLSSettings, load

LISTEN = 'tls-listen = ["tcp:0:interface=127.0.0.1"]\n'
EVERYTHING = bytes(range(256))


@pytest.fixture
def pem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    return make_pem(tmp_path / "vm.pem", "localhost")


def make_pem(path: Path, *names: str) -> Path:
    """Make a certificate as people do."""
    path.unlink(missing_ok=True)
    words = [word for name in names for word in ("--name", name)]
    assert main.main(["make-cert", str(path), "--kind", "ecdsa", *words]) == 0
    return path


def with_tls(*pems: Path, more: str = "") -> str:
    files = ", ".join(f'"{pem}"' for pem in pems)
    return f"[vm]\n{LISTEN}certificates = [{files}]\n{more}"


def tls_port(daemon: Daemon) -> int:
    return int(re.findall(r"With TLS from the start, to +127\.0\.0\.1:(\d+)", daemon.said())[-1])


@pytest.fixture
def make_tls_vm() -> Iterator[Callable[..., TLSVM]]:
    """Connects VMs over TLS, from the start, or by switching."""
    vms: list[TLSVM] = []

    def make(daemon: Daemon, pem: Path, name: str = "web01", switching: bool = False) -> TLSVM:
        port = daemon.vm_port if switching else tls_port(daemon)
        vm = TLSVM(port, name, trusting(pem), switching)
        vms.append(vm)
        vm.connect()
        return vm

    yield make
    for vm in vms:
        vm.close()


def lines(word: str, count: int) -> bytes:
    return b"".join(b"%s %d\r\n" % (word.encode(), n) for n in range(count))


def recorded(daemon: Daemon, wanted: bytes, name: str = "web01") -> None:
    """Wait until this, and nothing else, is in the log."""

    def there() -> bool:
        found = daemon.log(name).read_bytes() if daemon.log(name).exists() else b""
        assert wanted.startswith(found), (found[-200:], len(found), len(wanted))
        return found == wanted

    eventually(there, f"the log of {name} is complete")


@pytest.mark.parametrize("switching", [False, True])
def test_a_console_behind_tls(
    make_daemon: Callable[..., Daemon], make_tls_vm: Callable[..., TLSVM], pem: Path, switching: bool
) -> None:
    daemon = make_daemon(with_tls(pem, more='encryption = "require"\n'))
    vm = make_tls_vm(daemon, pem, switching=switching)
    vm.connected.say(EVERYTHING * 4)
    recorded(daemon, EVERYTHING * 4)
    client = Client(daemon.ssh("-W", "web01:1", "127.0.0.1"))
    try:
        eventually(lambda: daemon.status("web01")["writer"], "the operator has the pen")
        client.type(EVERYTHING * 4)
        vm.connected.wait_data(EVERYTHING * 4)
    finally:
        client.close()
    vm.connected.say(b"last words")
    recorded(daemon, EVERYTHING * 4 + b"last words")
    daemon.stop()
    vm.connected.wait_closed()


@pytest.mark.parametrize("switching", [False, True])
def test_nothing_is_lost_in_migrations_behind_tls(
    make_daemon: Callable[..., Daemon], make_tls_vm: Callable[..., TLSVM], pem: Path, switching: bool
) -> None:
    daemon = make_daemon(with_tls(pem, more='encryption = "require"\n'))
    vm = make_tls_vm(daemon, pem, switching=switching)
    said = b""
    for round_ in range(4):
        data = lines(f"host {round_}", 3000)
        vm.connected.say(data)
        said += data
        source = vm.connected
        source.sub(40, bytes((255, round_)))
        pair = source.wait_sub(41)
        destination = vm.open()
        destination.negotiate()
        destination.sub(44, pair)
        destination.wait_sub(45)
        with daemon.standing_still():  # it finds all that at once: rests of the source, its end, COMPLETE, what follows
            data = lines(f"last words {round_}", 300)
            source.say(data)
            source.close()
            destination.sub(46, bytes((255, round_)))
            destination.say(b"here I am\r\n")
            said += data + b"here I am\r\n"
        vm.line = destination
    recorded(daemon, said)
    assert [e["event"] for e in daemon.events("web01")].count("vmotion-complete") == 4


@pytest.mark.parametrize(("encryption", "may"), [("offer", True), ("off", False)])
def test_a_vm_may_leave_tls_in_a_vmotion_only_where_it_is_offered_and_not_relied_on(
    make_daemon: Callable[..., Daemon], make_tls_vm: Callable[..., TLSVM], pem: Path, encryption: str, may: bool
) -> None:
    daemon = make_daemon(with_tls(pem, more=f'encryption = "{encryption}"\n'))
    vm = make_tls_vm(daemon, pem)
    vm.connected.sub(40, b"1234")
    pair = vm.connected.wait_sub(41)
    arriving = HostConnection(daemon.vm_port)
    try:
        arriving.negotiate()
        arriving.sub(44, pair)
        if may:
            assert arriving.wait_sub(45) == b"1234"
        else:
            eventually(lambda: "PEER refused: it has no TLS" in daemon.said(), "it is refused")
            vm.connected.sub(48)
            vm.connected.say(b"still here")
            recorded(daemon, b"still here")
    finally:
        arriving.close()


def test_the_simulator_behind_tls(make_daemon: Callable[..., Daemon], pem: Path) -> None:
    daemon = make_daemon(with_tls(pem))
    command = [sys.executable, "-m", "vmproxy", "simulate", "--tls", "--port", str(tls_port(daemon)), "--vms", "4"]
    options = ["--boot-speed", "0", "--chatter", "0.05", "--vmotion-every", "0.5", "--report", "0.2"]
    with subprocess.Popen(
        command + options, env=environment(), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as simulator:
        assert simulator.stdout is not None
        try:
            found = next((line for line in simulator.stdout if re.search(r"4/4 connected.* [1-9]\d* done", line)), "")
        finally:
            simulator.terminate()
    assert found
    # Numbered lines would show what is lost; that it is up, by vMotion, shows that it came through.
    daemon.says("by vMotion")
    assert "complaints" not in daemon.said()


# Certificates.


def served_by(port: int, pem: Path, name: str = "localhost") -> bool:
    """Whether a host that trusts this certificate alone is content."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as below:
        try:
            trusting(pem).wrap_socket(below, server_hostname=name).close()
        except ssl.SSLCertVerificationError:
            return False
    return True


def test_certificates_change_while_vms_are_connected(
    make_daemon: Callable[..., Daemon], make_tls_vm: Callable[..., TLSVM], pem: Path, tmp_path: Path
) -> None:
    daemon = make_daemon(with_tls(pem))
    port = tls_port(daemon)
    old = tmp_path / "old.pem"
    shutil.copy(pem, old)
    early = make_tls_vm(daemon, pem, "early")
    make_pem(pem, "localhost")
    daemon.reload(with_tls(pem))
    daemon.says("changed: the certificates shown to hosts")
    assert (served_by(port, pem), served_by(port, old)) == (True, False)

    new = pem.read_text()
    pem.write_text(new[:200])
    daemon.reload(with_tls(pem), "the configuration stays as it was")
    daemon.says(f"{pem}: no certificate in PEM form")
    pem.write_text(old.read_text().partition("-----BEGIN PRIVATE")[0] + new[new.index("-----BEGIN PRIVATE") :])
    daemon.reload(with_tls(pem), "this is not the private key of")
    assert (served_by(port, tmp_path / "old.pem"), served_by(port, make_copy(tmp_path, new))) == (False, True)

    early.connected.say(b"connected all the time")
    recorded(daemon, b"connected all the time", "early")
    make_tls_vm(daemon, make_copy(tmp_path, new), "late")
    assert [event["event"] for event in daemon.events("early")] == ["up", "name"]
    problems = daemon.audited("reload-failed", count=2)
    assert [str(pem) in str(event["problems"]) for event in problems] == [True, True]


def make_copy(folder: Path, text: str) -> Path:
    (folder / "copy.pem").write_text(text)
    return folder / "copy.pem"


def test_the_certificate_that_is_asked_for_by_name(
    make_daemon: Callable[..., Daemon], pem: Path, tmp_path: Path
) -> None:
    other = make_pem(tmp_path / "other.pem", "proxy.example.com", "*.lab.example.com")
    daemon = make_daemon(with_tls(pem, other))
    port = tls_port(daemon)
    assert served_by(port, pem)
    assert served_by(port, other, "proxy.example.com")
    assert served_by(port, other, "a.lab.example.com")
    switching = SwitchingHostConnection(daemon.vm_port, trusting(other), "proxy.example.com")
    try:
        switching.identify(uuid.uuid4(), "web01")
    finally:
        switching.close()


def test_hosts_may_have_to_show_a_certificate(
    make_daemon: Callable[..., Daemon], make_tls_vm: Callable[..., TLSVM], pem: Path, tmp_path: Path
) -> None:
    daemon = make_daemon(with_tls(pem, more=f'client-ca = "{pem}"\n'))
    daemon.says("without TLS they need none")  # vm.listen is there, and TLS is but offered
    assert served_by(tls_port(daemon), pem)  # under TLS 1.3 a host learns afterwards that it was not
    eventually(lambda: "TLS failed: peer did not return a certificate" in daemon.said(), "it is said why")
    assert daemon.running


def test_what_is_put_behind_start_is_not_believed(
    make_daemon: Callable[..., Daemon], make_tls_vm: Callable[..., TLSVM], pem: Path
) -> None:
    daemon = make_daemon(with_tls(pem, more='encryption = "require"\n'))
    liar = HostConnection(daemon.vm_port)  # collects what a man in the middle would put in
    sent: list[bytes] = []
    liar.raw = sent.append  # type: ignore[assignment]  # replaced
    liar.sub(0, bytes(range(90)))
    liar.sub(70, b"Svmproxy")
    liar.sub(80, uuid.uuid4().bytes.hex(" ").encode())
    liar.sub(82, b"smuggled")
    liar.close()
    host = SwitchingHostConnection(daemon.vm_port, trusting(pem), behind_start=b"".join(sent) + b"smuggled output")
    try:
        host.identify(uuid.uuid4(), "honest")
        host.say(b"honest output")
        recorded(daemon, b"honest output", "honest")
    finally:
        host.close()
    assert b"smuggled" not in daemon.run("list").stdout


# Handshakes that come to nothing.


def half_done(port: int, context: ssl.SSLContext) -> socket.socket:
    """A connection that has said its first words of a handshake, and nothing after that."""
    connected = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    out = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost").do_handshake()
    connected.sendall(out.read())
    return connected


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3000:
        pytest.skip(f"a process may have {hard} descriptors at most here (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_a_thousand_half_done_handshakes_keep_nobody_out(
    make_daemon: Callable[..., Daemon], make_tls_vm: Callable[..., TLSVM], pem: Path
) -> None:
    daemon = make_daemon(with_tls(pem, more="handshake-timeout = 6\n"))
    port, context = tls_port(daemon), trusting(pem)
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(half_done(port, context)) for _ in range(1000)]
        vm = make_tls_vm(daemon, pem)
        vm.connected.say(b"I got in")
        recorded(daemon, b"I got in")
        for connected in waiting:  # each is told our half of the handshake, and closed in the end
            with contextlib.suppress(ConnectionResetError):
                while connected.recv(65536):
                    pass
        vm.connected.say(b", and stay")
        recorded(daemon, b"I got in, and stay")
    daemon.says("the TLS handshake was not completed in time")


def test_a_host_that_is_dead_is_noticed_behind_tls_too(
    make_daemon: Callable[..., Daemon], make_tls_vm: Callable[..., TLSVM], pem: Path
) -> None:
    daemon = make_daemon(with_tls(pem, more="keep-idle = 300\n"))
    port = tls_port(daemon)
    vm = make_tls_vm(daemon, pem)
    here = vm.connected._socket.getsockname()[1]

    def probed() -> bool:
        # The kernel's table: the daemon's end of the connection, and which timer runs for it (2 is keepalive).
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        mine = [row for row in rows if (int(row[1][9:], 16), int(row[2][9:], 16)) == (port, here)]
        return bool(mine) and mine[0][5].startswith("02:")

    eventually(probed, "the connection has a keepalive timer")


# Old hosts, other clients.


def test_old_versions_are_warned_about(make_daemon: Callable[..., Daemon], pem: Path) -> None:
    daemon = make_daemon(with_tls(pem, more='tls-minimum = "1.0"\n'))
    daemon.says("TLS 1.0 is allowed towards hosts (vm.tls-minimum): it can be broken")
    daemon.reload(with_tls(pem))
    before = len(daemon.said())
    daemon.reload(with_tls(pem))
    assert "TLS 1.0" not in daemon.said()[before:]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl command")
def test_what_openssl_sees(make_daemon: Callable[..., Daemon], pem: Path) -> None:
    daemon = make_daemon(with_tls(pem))

    def see(*options: str) -> str:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{tls_port(daemon)}", "-CAfile", str(pem)]
        done = subprocess.run(
            [*command, *options], input=b"", capture_output=True, timeout=PATIENCE, check=False, cwd=daemon.folder
        )
        return (done.stdout + done.stderr).decode(errors="replace")

    old = "ALL:@SECLEVEL=0"
    assert "Verify return code: 0 (ok)" in see("-tls1_2")
    assert "TLSv1.3" in see()
    assert "Cipher is (NONE)" in see("-tls1_1", "-cipher", old)
    assert "Cipher is (NONE)" in see("-tls1_2", "-cipher", "AES128-SHA:AES256-GCM-SHA384:ECDHE-ECDSA-AES256-SHA")
    credentials = load(TLSSettings(((pem, pem),)))
    assert credentials is not None
    shown = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", see(), re.DOTALL)
    assert shown is not None
    seen = subprocess.run(
        ["openssl", "x509", "-noout", "-fingerprint", "-sha1"],
        input=shown[0],
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stdout.strip().rpartition("=")[2] == credentials.thumbprints()[0]


def test_who_comes_in_clear_where_it_is_tls_is_told_so(make_daemon: Callable[..., Daemon], pem: Path) -> None:
    daemon = make_daemon(with_tls(pem))
    with socket.create_connection(("127.0.0.1", tls_port(daemon)), timeout=PATIENCE) as stranger:
        stranger.sendall(b"\xff\xfb\x25\xff\xfb\xe8")
        with contextlib.suppress(ConnectionResetError):
            while stranger.recv(65536):
                pass
    eventually(lambda: "TLS failed: " in daemon.said(), "it is said that this was no TLS")


def test_tls_is_required_from_a_reload_on(
    make_daemon: Callable[..., Daemon], make_vm: Callable[..., FakeVM], make_tls_vm: Callable[..., TLSVM], pem: Path
) -> None:
    daemon = make_daemon(with_tls(pem))
    early = make_vm(daemon, "early")
    eventually(lambda: daemon.status("early"), "it is known")
    daemon.reload(with_tls(pem, more='encryption = "require"\n'))
    daemon.says("changed: vm.encryption")
    # It answers nothing: who says that it does not do AUTHENTICATION is closed, perhaps before it has asked.
    with socket.create_connection(("127.0.0.1", daemon.vm_port), timeout=PATIENCE) as late:
        late.sendall(b"\xff\xfa\xe8\x46Svmproxy\xff\xf0")
        heard = b""
        while b"\xff\xfa\xe8\x49\xff\xf0" not in heard:  # WONT-PROXY
            data = late.recv(4096)
            assert data
            heard += data
    make_tls_vm(daemon, pem, "other", switching=True)
    early.connected.say(b"here all the time")
    recorded(daemon, b"here all the time", "early")
    assert (daemon.status("early")["encrypted"], daemon.status("other")["encrypted"]) == (False, True)


def test_a_certificate_that_cannot_be_used_ends_the_start(tmp_path: Path, pem: Path) -> None:
    pem.chmod(0o644)
    config = tmp_path / "vmproxy.toml"
    config.write_text(f'state-dir = "{tmp_path}/state"\n[vm]\nlisten = []\n{LISTEN}certificates = ["{pem}"]\n')
    command = [sys.executable, "-c", TWISTD, "-n", "--pidfile=", "vmproxy", "--config", str(config)]
    done = subprocess.run(
        command, env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 1
    assert f"{pem}: everybody may read this private key; chmod o= it" in done.stdout + done.stderr


def test_tls_comes_and_goes_at_reloads(
    make_daemon: Callable[..., Daemon], make_tls_vm: Callable[..., TLSVM], make_vm: Callable[..., FakeVM], pem: Path
) -> None:
    daemon = make_daemon()
    plain = make_vm(daemon, "plain")
    daemon.reload(with_tls(pem))
    port = int(re.findall(r"vm\.tls-listen is now 127\.0\.0\.1:(\d+)", daemon.said())[-1])
    vm = TLSVM(port, "web01", trusting(pem)).connect()
    try:
        daemon.reload("")
        with pytest.raises(ConnectionRefusedError):
            HostConnection(port)
        vm.connected.say(b"here all the time")
        recorded(daemon, b"here all the time")
        plain.connected.say(b"I too")
        recorded(daemon, b"I too", "plain")
    finally:
        vm.close()
