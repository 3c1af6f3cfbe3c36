"""Advice: what is allowed and works, and is to be decided before production."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from vmproxy.access.policy import EVERYBODY
from vmproxy.auth.keyring import PERMISSIONS, Keyring
from vmproxy.config.settings import Config
from vmproxy.vm.settings import Encryption


class Advice(NamedTuple):
    """One decision.

    :ivar key: the setting, or the table, that it is about.
    :ivar text: how it is now, and what else there is.
    """

    key: str
    text: str


def advise(config: Config, keyring: Keyring | None) -> Iterator[Advice]:
    """The decisions that a configuration leaves open; waits for the disk.

    :param keyring: who may log in, if that is known.
    """
    accounts = config.ssh.accounts
    if keyring is not None and not (keyring.owners or keyring.has_passwords or keyring.authorities):
        yield Advice("ssh.operators-file", "nobody may log in: name a file with operators and their keys")
    elif accounts.operators_file is None:
        yield Advice(
            "ssh.operators-file", "there is one operator, who has every key; with a file, each has their own account"
        )
    elif os.stat(accounts.operators_file).st_uid != 0:
        yield Advice(
            "ssh.operators-file",
            f"{accounts.operators_file} is not root's; if the daemon's account owns it, the daemon could change who"
            f" may log in: {PERMISSIONS}",
        )
    if config.policy.rules == (EVERYBODY,):
        yield Advice("[[rule]]", "there are no rules: every operator may do everything on every console")
    if not config.vm.tls.pairs:
        yield Advice(
            "vm.certificates", "no TLS: what consoles say can be read on the network; `vmproxy make-cert' makes one"
        )
    elif config.vm.listen and config.vm.encryption is not Encryption.REQUIRE:
        yield Advice("vm.encryption", 'hosts may connect without TLS; "require" believes nothing that is said in clear')
    if config.vm.limits.networks is None:
        yield Advice("vm.networks", "any machine may connect as a host and show a console: name the hosts' networks")
    elif config.vm.tls.pairs and config.vm.tls.client_ca is None and config.vm.encryption is Encryption.REQUIRE:
        yield Advice("vm.client-ca", "hosts show no certificates: any machine in these networks may show a console")
    rotation = config.log.rotation
    if not rotation.rotates and not rotation.console_total and not rotation.folder_total:
        yield Advice(
            "log.rotate-size", "logs grow without bound: set it (100 MB), or have logrotate do it; see log.folder-total"
        )
    if config.state_dir.name == "var" and config.state_dir.parent == type(config.state_dir).cwd():
        yield Advice("state-dir", "relative: it is another folder if vmproxy is started elsewhere; /var/lib/vmproxy")
