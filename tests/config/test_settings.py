"""The configuration: defaults, values, and what is said of wrong ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.cases import each
from vmproxy.access.policy import Policy
from vmproxy.alerts.watch import AlertSettings
from vmproxy.auth.keyring import AccountSettings
from vmproxy.auth.limits import LoginLimits
from vmproxy.base.addresses import network
from vmproxy.config import settings
from vmproxy.console.duplicates import DuplicatePolicy
from vmproxy.console.newcomers import ConsoleLimits
from vmproxy.log.rotation import RotationPolicy
from vmproxy.log.settings import LogSettings
from vmproxy.operators.operator import OperatorSettings
from vmproxy.ssh.algorithms import Algorithms
from vmproxy.ssh.settings import SSHSettings
from vmproxy.vm.admission import AdmissionLimits
from vmproxy.vm.certificates import TLSSettings
from vmproxy.vm.settings import ClientWord, Encryption, VMSettings


def toml(key: str, value: str) -> str:
    section, dot, name = key.partition(".")
    return f"[{section}]\n{name} = {value}\n" if dot else f"{key} = {value}\n"


class TestDefaults:
    def test_without_a_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        found = settings.load(None, {})
        assert found == settings.Config(
            state_dir=tmp_path / "var",
            audit_file=tmp_path / "var" / "audit.jsonl",
            vm=VMSettings(
                listen=("tcp:13370",),
                tls_listen=(),
                tls=TLSSettings(pairs=(), minimum="1.2", client_ca=None),
                encryption=Encryption.OFFER,
                handshake_timeout=20.0,
                service_uri=("vmproxy", "vSPC.py", "vmware-vspc"),
                client_word=ClientWord.REFUSE,
                com_port=True,
                keep_idle=300,
                identify_timeout=30.0,
                vmotion_timeout=300.0,
                limits=AdmissionLimits(networks=None, connections=0, per_address=0, per_second=1000),
                duplicates=DuplicatePolicy(policy="replace", bits4=24, bits6=64),
                trace=(),
            ),
            ssh=SSHSettings(
                listen=("tcp:2222",),
                accounts=AccountSettings(None, ("~/.ssh/authorized_keys", "~/.ssh/*.pub")),
                limits=LoginLimits(in_all=200, per_address=100, per_operator=250),
                login_timeout=60.0,
                keepalive=30.0,
                operators=OperatorSettings(escape=b"\x05c", quiet=False, message=""),
            ),
            log=LogSettings(
                dir=tmp_path / "var" / "log",
                file="{uuid}.log",
                open_files=4096,
                plain=False,
                rotation=RotationPolicy(size=0, age=0.0, keep=10, compress=True, console_total=0, folder_total=0),
            ),
            policy=Policy(),
            alerts=AlertSettings(None, tmp_path / "var" / "alerts.jsonl"),
        )

    def test_an_empty_file_says_the_same_as_none(self, read: Callable[..., Any]) -> None:
        assert read("") == settings.load(None, {})

    def test_nothing_is_made_on_the_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        settings.load(None, {})
        assert list(tmp_path.iterdir()) == []

    def test_it_cannot_be_changed_afterwards(self, read: Callable[..., Any]) -> None:
        found = read("")
        with pytest.raises(dataclasses.FrozenInstanceError):
            found.vm.keep_idle = 1
        with pytest.raises(dataclasses.FrozenInstanceError):
            found.vm = None


class TestValues:
    def test_every_setting_is_taken_from_the_file(self, read: Callable[..., Any], tmp_path: Path) -> None:
        found = read(
            f"""
            state-dir = "{tmp_path}/state"
            audit-file = "{tmp_path}/audit"
            [vm]
            listen = ["tcp:1", "tcp6:2:interface=\\\\:\\\\:1"]
            service-uri = "one"
            client-word = "serve"
            com-port = false
            keep-idle = 0
            identify-timeout = 1
            vmotion-timeout = 3600
            trace = ["10.1.2.3"]
            vmotions-per-minute = 77
            consoles = 66
            new-consoles-per-minute = 55
            tls-listen = "tcp:3"
            certificates = [{{ certificate = "{tmp_path}/vm.crt", key = "{tmp_path}/vm.key" }}]
            encryption = "require"
            client-ca = "{tmp_path}/ca.crt"
            tls-minimum = "1.3"
            handshake-timeout = 2.5
            networks = "10.0.0.0/8"
            connections = 9
            connections-per-address = 8
            connects-per-second = 7
            second-connection = "replace"
            same-network-ipv4 = 16
            same-network-ipv6 = 48
            [ssh]
            listen = "unix:/run/vmproxy.sock"
            authorized-keys = ["/etc/keys"]
            login-timeout = 2.5
            operators-file = "{tmp_path}/operators.toml"
            connections = 7
            connections-per-address = 3
            connections-per-operator = 4
            keepalive = 0
            ciphers = "aes128-ctr"
            macs = ["hmac-sha2-256"]
            kex = "curve25519-sha256,ecdh-sha2-nistp256"
            host-key-algorithms = "^rsa-sha2-512"
            banner = "keep out"
            escape = "^]q"
            quiet = true
            message = "be kind"
            [log]
            dir = "{tmp_path}/logs"
            file = "{{name}}/{{port}}.log"
            open-files = 2
            plain = true
            rotate-size = "64 MiB"
            rotate-age = "7d"
            keep = 3
            compress = false
            console-total = "1.5GB"
            folder-total = 7
            [alerts]
            watch-file = "{tmp_path}/watch.toml"
            file = "{tmp_path}/alerts"
            """
        )
        assert found == settings.Config(
            tmp_path / "state",
            tmp_path / "audit",
            VMSettings(
                ("tcp:1", "tcp6:2:interface=\\:\\:1"),
                ("tcp:3",),
                TLSSettings(((tmp_path / "vm.crt", tmp_path / "vm.key"),), "1.3", tmp_path / "ca.crt"),
                Encryption.REQUIRE,
                2.5,
                ("one",),
                ClientWord.SERVE,
                False,
                0,
                1.0,
                3600.0,
                77,
                AdmissionLimits((network("10.0.0.0/8"),), 9, 8, 7),
                DuplicatePolicy("replace", 16, 48),
                ("10.1.2.3",),
                ConsoleLimits(66, 55),
            ),
            SSHSettings(
                ("unix:/run/vmproxy.sock",),
                AccountSettings(tmp_path / "operators.toml", ("/etc/keys",)),
                LoginLimits(7, 3, 4),
                2.5,
                0.0,
                Algorithms(
                    (b"aes128-ctr",),
                    (b"hmac-sha2-256",),
                    (b"curve25519-sha256", b"ecdh-sha2-nistp256"),
                    (b"rsa-sha2-512", b"ssh-ed25519", b"rsa-sha2-256"),
                ),
                "keep out",
                OperatorSettings(b"\x1dq", True, "be kind"),
            ),
            LogSettings(
                tmp_path / "logs",
                "{name}/{port}.log",
                2,
                True,
                RotationPolicy(64 * 2**20, 7 * 86400.0, 3, False, 1_500_000_000, 7),
            ),
            Policy(),
            alerts=AlertSettings(tmp_path / "watch.toml", tmp_path / "alerts"),
        )

    def test_rules_and_consoles(self, read: Callable[..., Any]) -> None:
        found = read(
            """
            [[rule]]
            who = "alice"
            may = ["write"]
            on = ["web*"]
            [[console]]
            on = "*"
            write = "shared"
            """
        )
        assert [str(rule) for rule in found.policy.rules] == ["rule 1: alice may see, spy, write on web*"]
        assert [section.values for section in found.policy.sections] == [(("shared", True),)]

    def test_logs_stand_in_the_state_folder_unless_told_otherwise(
        self, read: Callable[..., Any], tmp_path: Path
    ) -> None:
        assert read(f'state-dir = "{tmp_path}/s"').log.dir == tmp_path / "s" / "log"
        assert read(f'state-dir = "{tmp_path}/s"\n[log]\ndir = ""').log.dir == tmp_path / "s" / "log"

    def test_a_folder_may_be_given_by_home_or_relative(
        self, read: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        assert read('state-dir = "~/s"').state_dir == tmp_path / "s"
        assert read('state-dir = "s"').state_dir == tmp_path / "s"

    @pytest.mark.parametrize(
        "endpoint",
        [
            "tcp:13370",
            "tcp:0",
            "tcp:13370:interface=127.0.0.1:backlog=100",
            "tcp6:13370",
            "tcp6:13370:interface=\\\\:\\\\:1",
            "unix:/run/vmproxy.sock",
            "unix:/run/vmproxy.sock:mode=660",
            "systemd:domain=INET:index=0",  # outside of systemd its socket is not there, which says nothing
            "systemd:domain=UNIX:index=1",
        ],
    )
    def test_endpoints(self, read: Callable[..., Any], endpoint: str) -> None:
        for section in ("vm", "ssh"):
            found = read(f'[{section}]\nlisten = ["{endpoint}"]')
            assert getattr(found, section).listen == (endpoint.replace("\\\\", "\\"),)


# For every setting, values that are just allowed, and values that are not and what must be said of them.
ALLOWED = [
    ("vm.keep-idle", ["0", "1", "32767"]),
    ("vm.identify-timeout", ["1", "1.0", "3600"]),
    ("vm.trace", ["[]", '"web01"', '["10.1.2.3", "web 01"]']),
    ("vm.vmotion-timeout", ["1", "0.1e1", "3600.0"]),
    ("vm.vmotions-per-minute", ["1", "1000000"]),
    ("vm.consoles", ["1", "1000000"]),
    ("vm.new-consoles-per-minute", ["0", "1000000"]),
    ("vm.certificates", ["[]", '"vm.pem"', '["a.pem", { certificate = "b.crt", key = "b.key" }]']),
    ("vm.encryption", ['"off"', '"offer"']),
    ("vm.client-ca", ['""']),
    ("vm.tls-minimum", ['"1.0"', '"1.1"', '"1.2"', '"1.3"']),
    ("vm.handshake-timeout", ["1", "3600"]),
    ("vm.networks", ['"10.0.0.0/8"', '["192.0.2.1", "2001:db8::/32", "::1"]', '["0.0.0.0/0"]']),
    ("vm.connections", ["0", "1", "1_000_000"]),
    ("vm.connections-per-address", ["0", "1", "1_000_000"]),
    ("vm.connects-per-second", ["0", "1", "1_000_000"]),
    ("vm.second-connection", ['"replace"', '"refuse"', '"same-network"']),
    ("vm.same-network-ipv4", ["1", "32"]),
    ("vm.same-network-ipv6", ["1", "128"]),
    ("ssh.login-timeout", ["1", "3600"]),
    ("log.open-files", ["2", "1_000_000"]),
    ("vm.client-word", ['"refuse"', '"serve"']),
    ("vm.com-port", ["true", "false"]),
    ("vm.service-uri", ['"x"', '["x"]', '["*"]', '["a b", "ü"]']),
    ("ssh.authorized-keys", ['"x"', '["x", "~/y", "/z/*.pub"]']),
    ("log.file", ['"{uuid_hex}"', '"{name}.log"', '"{name}/{port}.log"', '"a{{b}}{uuid}"', '"x/{uuid}.{port}.log"']),
    ("log.dir", ['""', '"."', '"not/there/yet"']),
    ("state-dir", ['"."', '"/not/there/yet"']),
    ("audit-file", ['""', '"x.jsonl"', '"~/x"']),
    ("alerts.watch-file", ['""', '"x.toml"', '"~/x"']),
    ("alerts.file", ['""', '"x.jsonl"', '"~/x"']),
    ("log-level", ['"debug"', '"info"', '"warn"', '"error"']),
    ("ssh.operators-file", ['""', '"/not/there/yet"']),
    ("ssh.connections", ["1", "1_000_000"]),
    ("ssh.connections-per-address", ["1", "1_000_000"]),
    ("ssh.connections-per-operator", ["1", "1_000"]),
    ("ssh.keepalive", ["0", "0.5", "3600"]),
    ("ssh.ciphers", ['"aes128-ctr"', '["aes256-ctr", "aes128-ctr"]', '"-*-ctr"', '"^aes128-gcm@openssh.com"']),
    ("ssh.macs", ['"hmac-sha2-512-etm@openssh.com, hmac-sha2-512"', '"-hmac-sha2-???"', '"+hmac-sha2-256"']),
    ("ssh.kex", ['"+ecdh-sha2-nistp256,ecdh-sha2-nistp384"', '"ecdh-sha2-nistp521"', '"-diffie-hellman-*"']),
    ("ssh.host-key-algorithms", ['"rsa-sha2-256"', '"-ssh-ed25519"', '["^rsa-sha2-512"]']),
    ("ssh.escape", ['"^Ec"', '"^ec"', '"^]q"', '"^_~"']),
    ("ssh.quiet", ["true", "false"]),
    ("ssh.banner", ['""', '"Authorized use only.\\nAll is recorded."']),
    ("ssh.message", ['""', '"two\\nlines"']),
    ("vcenter.server", ['""']),
    ("vcenter.user", ['""', '"vmproxy@vsphere.local"']),
    ("vcenter.password-file", ['""', '"secret"']),
    ("vcenter.ca-file", ['""', '"ca.pem"']),
    ("vcenter.every", ["30", '"5m"', '"1d"']),
    ("vcenter.tags", ["true", "false"]),
    ("vcenter.rules", ["[]", '"folder"', '["folder", "Team"]']),
    ("vcenter.forget-gone", ["0", '"7d"']),
    ("web.oidc.issuer", ['""']),
    ("web.oidc.client-id", ['""', '"vmproxy"']),
    ("web.oidc.client-secret-file", ['""', '"secret"']),
    ("web.oidc.scopes", ['"openid"', '["openid", "profile"]']),
    ("web.oidc.claim", ['"sub"']),
    ("web.oidc.ca-file", ['""', '"ca.pem"']),
    ("web.oidc.label", ['"Log in"']),
    ("web.listen", ["[]", '"tcp:8080:interface=127.0.0.1"', '"unix:/run/web.sock"']),
    ("web.certificates", ["[]", '"web.pem"', '[{ certificate = "b.crt", key = "b.key" }]']),
    ("web.public-url", ['""', '"https://consoles.example.org"', '"http://[::1]:8080/"']),
    ("web.trusted-proxies", ["[]", '"10.1.2.3"', '["10.1.0.0/16", "2001:db8::/32"]']),
    ("web.proxy-user-header", ['""']),
    ("web.client-ca", ['""', '"/not/there/yet"']),
    ("web.session-idle", ["0", '"2h"']),
    ("web.session-longest", ["1", '"12h"']),
    ("web.connections", ["1", "100_000"]),
    ("web.connections-per-operator", ["1", "100_000"]),
    ("web.metrics-listen", ["[]", '"tcp:9100"']),
    ("web.metrics-from", ["[]", '"10.1.2.3"']),
    ("web.metrics-consoles", ["[]", '"web*"', '["uuid:564d*", "query:team=blue"]']),
    ("web.console-log-from", ["[]", '["10.1.0.0/16"]']),
    ("log.plain", ["true", "false"]),
    ("log.rotate-size", ["0", "1000", '"100 MB"', '"1gib"', '"0.5k"', '"7"']),
    ("log.rotate-age", ["0", "3600", '"90s"', '"12h"', '"7d"', '"2 w"']),
    ("log.keep", ["0", "999"]),
    ("log.compress", ["true", "false"]),
    ("log.console-total", ["0", '"1 TB"']),
    ("log.folder-total", ["0", '"1 TB"']),
    ("ldap.servers", ["[]"]),
    ("ldap.start-tls", ["true", "false"]),
    ("ldap.ca-file", ['""', '"ca.pem"']),
    ("ldap.user-dn", ['""', '"uid={name}"']),
    ("ldap.base", ['""', '"dc=com"']),
    ("ldap.filter", ['"(uid={name})"']),
    ("ldap.bind-dn", ['""']),
    ("ldap.password-file", ['""']),
    ("pam.service", ['""', '"vmproxy"', '"other-2.x"']),
]


WITH_OTHERS = {"vm.listen", "vm.tls-listen", "ssh.listen", "web.tls-listen"}
"""Settings of which some values go only with others."""

REFUSED = [
    ("vcenter.server", ["1", '"https://vc"', '"vc:0"', '"vc:70000"', '"vc x"'], "not a server"),
    ("vcenter.user", ["1"], "not a string"),
    ("vcenter.password-file", ["1", "[]"], "not the path of a file"),
    ("vcenter.ca-file", ["1", "[]"], "not the path of a file"),
    ("vcenter.every", ["29", '"2d"', '"soon"'], ""),
    ("vcenter.tags", ["1"], "neither true nor false"),
    ("vcenter.rules", ["1", '["a b"]'], ""),
    ("vcenter.forget-gone", ["-1", '"soon"'], "not a span of time"),
    ("web.oidc.issuer", ["1", '"http://login.example.com"', '"login"', '"https://a@b"'], "not a"),
    ("web.oidc.client-id", ["1"], "not a string"),
    ("web.oidc.client-secret-file", ["1"], "not the path of a file"),
    ("web.oidc.scopes", ["1", "[]"], ""),
    ("web.oidc.claim", ["1", '""'], "not a string"),
    ("web.oidc.ca-file", ["1"], "not the path of a file"),
    ("web.oidc.label", ["1"], "not a text"),
    ("web.listen", ['"8080"', "8080", '["tcp:x"]'], "is not"),
    ("web.tls-listen", ['"8443"', "8443", '"ssl:8443"'], ""),
    ("web.certificates", ["1", '""', "[[]]"], 'such as ["web.pem"]'),
    ("web.public-url", ["1", '"x"', '"https://x/y"', '"ftp://x"', '"https://x:0"'], "such as https://"),
    ("web.trusted-proxies", ['"proxy"', "1"], "such as"),
    ("web.proxy-user-header", ["1", '"a b"', '"ü"'], "such as X-Remote-User"),
    ("web.client-ca", ["1", "[]"], "not the path of a file"),
    ("web.session-idle", ["-1", '"soon"', "true"], 'such as "12h"'),
    ("web.session-longest", ["-1", '"soon"', "0"], '"12h"'),
    ("web.connections", ["0", "100_001", "true"], "a whole number from 1 to 100000"),
    ("web.connections-per-operator", ["0", "100_001"], "a whole number from 1 to 100000"),
    ("web.metrics-listen", ['"9100"', "9100"], "such as"),
    ("web.metrics-from", ['"host"', "1"], "such as"),
    ("web.metrics-consoles", ["1", '[""]'], "such as"),
    ("web.console-log-from", ['"host"', "1"], "such as"),
    ("vm.keep-idle", ["-1", "32768", "1.5", '"300"', "true", "[]"], "a whole number from 0 to 32767"),
    ("vm.identify-timeout", ["0", "0.99", "3600.1", '"30"', "true", "nan", "inf", "-inf"], "seconds from 1 to 3600"),
    ("vm.trace", ["1", '[""]', "[true]"], "no address and no name"),
    ("vm.vmotion-timeout", ["0", "3601", '"1"', "false", "nan", "1979-05-27"], "seconds from 1 to 3600"),
    ("vm.consoles", ["0", "1000001", "1.5"], "a whole number from 1 to 1000000"),
    ("vm.new-consoles-per-minute", ["-1", "1000001"], "a whole number from 0 to 1000000"),
    ("vm.vmotions-per-minute", ["0", "-1", "1.5", "1000001"], "a whole number from 1 to 1000000"),
    ("vm.tls-listen", ['"13371"', "13371", '["tcp:x"]'], 'such as ["tcp:13370"]'),
    ("vm.certificates", ["1", '""', "[[]]", '[{ key = "vm.key" }]'], 'such as ["vm.pem"]'),
    ("vm.encryption", ['""', '"yes"', "true", "[]"], "none of off, offer, require"),
    ("vm.client-ca", ["1", "[]"], "not the path of a file"),
    ("vm.tls-minimum", ["1.2", '"1"', '"SSLv3"', '"TLSv1.2"'], "none of 1.0, 1.1, 1.2, 1.3"),
    ("vm.handshake-timeout", ["0", "3601", '"10"', "true"], "seconds from 1 to 3600"),
    (
        "vm.networks",
        ["[]", "10", '""', '["10.0.0.1/8"]', '["host"]', '["10.0.0.0/33"]', '["10.0.0.0/8", "x"]', "[7]", "{a=1}"],
        'such as ["10.1.0.0/16"',
    ),
    ("vm.connections", ["-1", "1_000_001", '"1"', "true"], "a whole number from 0 to 1000000"),
    ("vm.connections-per-address", ["-1", "1.5"], "a whole number from 0 to 1000000"),
    ("vm.connects-per-second", ["-1", "1.5"], "a whole number from 0 to 1000000"),
    ("vm.second-connection", ['"Refuse"', "true", '""', "[]", "{a=1}"], "none of replace, refuse, same-network"),
    ("vm.same-network-ipv4", ["0", "33"], "a whole number from 1 to 32"),
    ("vm.same-network-ipv6", ["0", "129"], "a whole number from 1 to 128"),
    ("ssh.login-timeout", ["0", "3601", '""', "true", "[60]"], "seconds from 1 to 3600"),
    ("log.open-files", ["1", "1_000_001", "2.0", "true"], "a whole number from 2 to 1000000"),
    ("vm.client-word", ['""', '"yes"', "true", "[]"], "none of refuse, serve"),
    ("vm.com-port", ["0", "1", '"yes"', "[]"], "neither true nor false"),
    ("vm.service-uri", ["[]", '""', '[""]', '["a?b"]', "7", "[7]", "true", "{a=1}"], 'such as ["vmproxy"]'),
    ("ssh.authorized-keys", ["[]", '""', '[""]', "[1]", "1", "[[]]"], 'such as ["~/.ssh/authorized_keys"]'),
    (
        "vm.listen",
        ["[]", '""', "13370", '"13370"', '["tcp"]', '"tcp:http"', '"tcp:1:nonsense=2"', '"carrier:pigeon"', "[[]]"],
        'such as ["tcp:13370"]',
    ),
    ("ssh.listen", ["[]", "22", '"localhost:22"', '["tcp:22", "tcp:"]'], 'such as ["tcp:13370"]'),
    ("log.file", ['""', "7", "[]"], "'{uuid}.log'"),
    ("log.file", ['"console.log"', '"{port}.log"', '"{{uuid}}.log"'], "it must hold {uuid}, {uuid_hex} or {name}"),
    ("log.file", ['"{vm}"', '"{}"', '"{uuid.hex}"', '"{name!r}"', '"{uuid:>9}"', '"{0}{uuid}"'], "only {uuid}, "),
    ("log.file", ['"{uuid"', '"uuid}"'], "a literal brace is written twice"),
    (
        "log.file",
        ['"/var/{uuid}"', '"../{uuid}"', '"a/../../{uuid}"', '"{uuid}/"', '"{uuid}\\u0000"'],
        "inside the log",
    ),
    ("log.file", ['"by-name/{uuid}"', '"./by-name/{uuid}.log"', '"{uuid}.events"'], "taken"),
    ("state-dir", ['""', "1", "[]"], "not the path of a folder"),
    ("log.dir", ["1", "false"], "not the path of a folder"),
    ("audit-file", ["1", "[]", "false"], "not the path of a file"),
    ("alerts.watch-file", ["1", "[]", "false"], "not the path of a file"),
    ("alerts.file", ["1", "[]", "false"], "not the path of a file"),
    ("audit-file", ['"/"', '"."'], "is a folder"),
    ("ssh.operators-file", ["1", "[]"], "not the path of a file"),
    ("ssh.connections", ["0", "1_000_001", '"1"'], "a whole number from 1 to 1000000"),
    ("ssh.connections-per-address", ["0", "true"], "a whole number from 1 to 1000000"),
    ("ssh.connections-per-operator", ["0", "1_001"], "a whole number from 1 to 1000"),
    ("ssh.keepalive", ["-1", "3601", '"30"', "nan"], "seconds from 0 to 3600"),
    ("ssh.ciphers", ['""', "[]", "1", "[1]", '"' + "x," * 3000 + '"'], "neither names such as"),
    ("ssh.ciphers", ['"aes128-cbc"', '"+3des-cbc"', '"none"', '"aes256-ctr,"', '["^", "x"]'], "there is no cipher"),
    ("ssh.ciphers", ['"-*"', '"-*-ctr,*openssh.com"'], "leaves no cipher"),
    ("ssh.ciphers", ['"aes128-gcm"'], "did you mean aes128-gcm@openssh.com?"),
    ("ssh.macs", ['"hmac-sha1"', '"^hmac-md5"', '"+"'], "there is no MAC"),
    ("ssh.kex", ['"diffie-hellman-group14-sha1"', '"+kex-strict-s-v00@openssh.com"'], "there is no key exchange"),
    ("ssh.host-key-algorithms", ['"ssh-rsa"', '"+ecdsa-sha2-nistp256"', '"-*"'], "no host key algorithm"),
    ("ssh.escape", ['""', '"c"', '"^E"', '"^Ecc"', '"^1c"', '"^Mc"', '"^Sc"', '"^E "', '"^Eü"', "7"], "such as ^Ec"),
    ("ssh.quiet", ["0", '"no"'], "neither true nor false"),
    ("ssh.banner", ["1", "[]", '"' + "x" * 5000 + '"'], "at most 4096 characters"),
    ("ssh.message", ["1", "[]", '"' + "x" * 5000 + '"'], "at most 4096 characters"),
    ("log-level", ['"warning"', '""', "1"], "none of debug, info, warn, error"),
    ("log.plain", ["1"], "neither true nor false"),
    ("log.rotate-size", ["-1", "1.5", "true", '"big"', '"1 XB"', '"-1k"', '""', '"1 MBit"'], 'such as "100 MB"'),
    ("log.rotate-age", ["-1", "true", "nan", "inf", '"1 month"', '"d"', '"-1d"', '""'], 'such as "12h"'),
    ("log.keep", ["1000", "-1", "1.0"], "a whole number from 0 to 999"),
    ("log.compress", ["1"], "neither true nor false"),
    ("log.console-total", ['"much"', "-1"], 'such as "100 MB"'),
    ("log.folder-total", ['"much"', "-1"], 'such as "100 MB"'),
    (
        "ldap.servers",
        ["1", '""', '["ldap"]', '"http://ldap"', '"ldaps://a@b"', '"ldaps://b/x"', '"ldaps://b:x"', '"ldaps://[b"'],
        "",
    ),
    ("ldap.start-tls", ["1"], "neither true nor false"),
    ("ldap.ca-file", ["1", "[]"], "not the path of a file"),
    ("ldap.user-dn", ["1", '"uid=x"'], ""),
    ("ldap.base", ["1"], "not a string"),
    ("ldap.filter", ["1", '""', '"(uid=x)"'], ""),
    ("ldap.bind-dn", ["1"], "not a string"),
    ("ldap.password-file", ["1", '"/"'], ""),
    ("pam.service", ["1", '"/etc"', '"a b"', '"."'], "not the name of a file in /etc/pam.d"),
]


class TestChecks:
    @each(("key", "values"), ALLOWED)
    def test_what_is_allowed_is_taken(self, read: Callable[..., Any], key: str, values: list[str]) -> None:
        for value in values:
            read(toml(key, value))

    @each(("key", "values", "right"), REFUSED)
    def test_what_is_not_is_told_by_file_and_key_with_what_would_be_right(
        self, only_problem: Callable[..., str], tmp_path: Path, key: str, values: list[str], right: Any
    ) -> None:
        for value in values:
            problem = only_problem(toml(key, value))
            line = 2 if "." in key else 1
            assert problem.startswith(f"{tmp_path}/vmproxy.toml:{line}: {key}: "), value
            assert right in problem, value

    def test_every_setting_has_its_cases_here(self) -> None:
        keys = set(settings.SETTINGS)
        assert {key for key, _, _ in REFUSED} == keys
        assert {key for key, _ in ALLOWED} | WITH_OTHERS == keys

    @pytest.mark.parametrize("policy", ["refuse", "same-network"])
    def test_who_may_not_be_replaced_has_to_be_probed(
        self, read: Callable[..., Any], only_problem: Callable[..., str], policy: str
    ) -> None:
        problem = only_problem(f'[vm]\nkeep-idle = 0\nsecond-connection = "{policy}"\n')
        assert f"vm.second-connection: {policy!r} needs vm.keep-idle" in problem
        read('[vm]\nkeep-idle = 0\nsecond-connection = "replace"\n')

    @pytest.mark.parametrize("key", ["state-dir", "log.dir"])
    def test_a_file_in_the_place_of_a_folder(self, only_problem: Callable[..., str], tmp_path: Path, key: str) -> None:
        (tmp_path / "file").write_text("")
        assert "is there but is not a folder" in only_problem(toml(key, f'"{tmp_path}/file"'))

    @pytest.mark.parametrize("key", ["state-dir", "log.dir"])
    @pytest.mark.parametrize("value", ["~no-such-user-here/x", "x" * 300, "a\\u0000b"])
    def test_a_folder_that_cannot_be_is_a_problem_and_not_a_traceback(
        self, only_problem: Callable[..., str], key: str, value: str
    ) -> None:
        assert f": {key}: " in only_problem(toml(key, f'"{value}"'))

    @pytest.mark.parametrize(
        "endpoint",
        ["ssl:443", "ssl:443:privateKey=/not/there.pem", "ssl:443:privateKey={file}", "ssl:443:privateKey=/"],
    )
    def test_an_endpoint_whose_certificate_cannot_be_read_is_a_problem_and_not_a_traceback(
        self, only_problem: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "nonsense.pem").write_text("no certificate")
        text = endpoint.format(file=tmp_path / "nonsense.pem")
        assert ": ssh.listen: " in only_problem(toml("ssh.listen", f'"{text}"'))

    @pytest.mark.parametrize("endpoint", ["tcp:65536", "tcp:-1", "tcp6:99999"])
    def test_a_port_that_no_tcp_has(self, only_problem: Callable[..., str], endpoint: str) -> None:
        assert ": vm.listen: " in only_problem(toml("vm.listen", f'"{endpoint}"'))

    @pytest.mark.parametrize("endpoint", ["systemd:rubbish=1", "systemd:"])
    def test_a_systemd_endpoint_that_means_nothing(self, only_problem: Callable[..., str], endpoint: str) -> None:
        assert ": vm.listen: " in only_problem(toml("vm.listen", f'"{endpoint}"'))

    def test_each_wrong_item_of_a_list_is_named(self, only_problem: Callable[..., str]) -> None:
        problem = only_problem('[vm]\nlisten = ["tcp:1", "tcp:x", "y:2"]')
        assert "'tcp:x'" in problem
        assert "'y:2'" in problem
        assert "'tcp:1'" not in problem


class TestUnknownKeys:
    @pytest.mark.parametrize(
        ("text", "told", "nearest"),
        [
            ("[vm]\nlissen = 1", "vm.lissen", "vm.listen"),
            ("[vm]\nkeep_idle = 1", "vm.keep_idle", "vm.keep-idle"),
            ("[vm]\ncomport = true", "vm.comport", "vm.com-port"),
            ("[log]\nopenfiles = 3", "log.openfiles", "log.open-files"),
            ("[ssh]\nauthorized_keys = []", "ssh.authorized_keys", "ssh.authorized-keys"),
            ("state_dir = 'x'", "state_dir", "state-dir"),
            ("statedir = 'x'", "statedir", "state-dir"),
            # In the wrong section, or in none.
            ("[ssh]\nvmotion-timeout = 3", "ssh.vmotion-timeout", "vm.vmotion-timeout"),
            ("[log]\nservice-uri = []", "log.service-uri", "vm.service-uri"),
            ("[vm]\nopen-files = 3", "vm.open-files", "log.open-files"),
            ("[vm]\nstate-dir = 'x'", "vm.state-dir", "state-dir"),
            ("login-timeout = 3", "login-timeout", "ssh.login-timeout"),
            # A section of another name.
            ("[logs]\ndir = 'x'", "logs", "[log]"),
            ("[vms]\nlisten = 1", "vms", "[vm]"),
        ],
    )
    def test_the_nearest_known_key_is_named(
        self, only_problem: Callable[..., str], tmp_path: Path, text: str, told: str, nearest: str
    ) -> None:
        problem = only_problem(text)
        line = 1 if text.startswith(f"[{told}]") or not text.startswith("[") else 2
        assert problem == (f"{tmp_path}/vmproxy.toml:{line}: {told}: there is no such setting; did you mean {nearest}?")

    @pytest.mark.parametrize("text", ["[vm]\nqqqqqqqq = 1", "qqqqqqqq = 1", "[qqqqqqqq]\nzzzz = 1"])
    def test_nothing_is_suggested_where_nothing_is_near(self, only_problem: Callable[..., str], text: str) -> None:
        problem = only_problem(text)
        assert problem.endswith(": there is no such setting")

    @pytest.mark.parametrize("text", ['vm = "tcp:1"', "ssh = 2222", "[[log]]\ndir = 'x'", "vm = []"])
    def test_a_section_that_is_written_as_a_setting(self, wrong: Callable[..., list[str]], text: str) -> None:
        name = text.strip("[").partition(" ")[0].partition("]")[0]
        assert any(f"{name}: this is a section; write [{name}]" in problem for problem in wrong(text))

    def test_a_table_inside_a_section(self, only_problem: Callable[..., str]) -> None:
        assert "vm.listen" in only_problem("[vm.listen]\nx = 1")
        assert "vm.extra: there is no such setting" in only_problem("[vm.extra]\nx = 1")
