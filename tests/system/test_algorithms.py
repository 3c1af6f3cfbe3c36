"""The real OpenSSH client, with every algorithm that it has in common with the daemon."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.daemon import PATIENCE, Daemon, eventually
from tests.support.host import FakeVM, HostConnection
from vmproxy.ssh.algorithms import HOST_KEYS
from vmproxy.ssh.key_exchange import METHODS
from vmproxy.ssh.packets import CIPHERS, MACS

# What ssh-audit's guide for OpenSSH clients sets, what a client in FIPS mode has, and AEAD ciphers alone.
POLICIES = {
    "hardened": (
        "KexAlgorithms=curve25519-sha256,curve25519-sha256@libssh.org,diffie-hellman-group18-sha512,"
        "diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512",
        "Ciphers=aes256-gcm@openssh.com,aes128-gcm@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr",
        "MACs=hmac-sha2-512-etm@openssh.com,hmac-sha2-256-etm@openssh.com,umac-128-etm@openssh.com",
        "HostKeyAlgorithms=ssh-ed25519,rsa-sha2-512,rsa-sha2-256",
    ),
    "FIPS": (
        "KexAlgorithms=diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512",
        "Ciphers=aes256-gcm@openssh.com,aes256-ctr,aes128-gcm@openssh.com,aes128-ctr",
        "MACs=hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512",
        "HostKeyAlgorithms=rsa-sha2-256,rsa-sha2-512",
    ),
    "AEAD only": (
        "Ciphers=chacha20-poly1305@openssh.com,aes256-gcm@openssh.com",
        "MACs=umac-128-etm@openssh.com",
    ),
}
SIZE = 200_000


def known(what: str) -> list[str]:
    done = subprocess.run(["ssh", "-Q", what], capture_output=True, text=True, timeout=PATIENCE, check=True)
    return done.stdout.split()


def combinations() -> Iterator[tuple[str, ...]]:
    """Options of a client: each key exchange, each cipher with each MAC, each host key, and the policies."""
    yield from (policy for name, policy in POLICIES.items())
    yield from ((f"KexAlgorithms={name}",) for name in map(bytes.decode, METHODS) if name in known("kex"))
    yield from ((f"HostKeyAlgorithms={name.decode()}",) for name in HOST_KEYS)
    for cipher, kind in CIPHERS.items():
        for mac in [b"umac-64@openssh.com"] if kind.authenticates else MACS:
            yield f"Ciphers={cipher.decode()}", f"MACs={mac.decode()}"


def test_openssh_logs_in_with_every_algorithm_and_every_policy_and_changes_keys_meanwhile(
    make_daemon: Callable[..., Daemon], make_vm: Callable[..., FakeVM], keys: Path
) -> None:
    daemon = make_daemon('[ssh]\nkex = "+ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521"\n')
    rsa = (keys / "ssh_host_rsa_key.pub").read_text()
    with (daemon.folder / "known_hosts").open("a") as file:
        file.write(f"[127.0.0.1]:{daemon.ssh_port} {rsa}")
    vm: HostConnection = make_vm(daemon).connected
    said = b"".join(b"%019d\n" % number for number in range(SIZE // 20))
    vm.say(said)
    eventually(lambda: daemon.logged("web01") == said, "the log has it")
    failed = []
    for options in combinations():
        chosen = [word for option in (*options, "RekeyLimit=64K") for word in ("-o", option)]
        line = daemon.ssh(*chosen, "127.0.0.1", "--", "log", "web01")
        done = subprocess.run(line, capture_output=True, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
        if done.returncode or done.stdout != said:
            failed.append((options, done.returncode, len(done.stdout), done.stderr))
    assert failed == []
    assert daemon.run("version").returncode == 0
