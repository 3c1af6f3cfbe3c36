"""``vmproxy make-cert``, what ``vmproxy check`` says of certificates, and the settings that go with them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from vmproxy.cli import main
from vmproxy.config.settings import load
from vmproxy.errors import ConfigError
from vmproxy.vm import certificates
from vmproxy.vm.certificates import TLSSettings

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        status = main.main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def pem(tmp_path: Path, run: Run) -> Path:
    assert run("make-cert", tmp_path / "vm.pem", "--name", "proxy.example.com", "--kind", "ecdsa")[0] == 0
    return tmp_path / "vm.pem"


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_it_makes_what_can_be_used_and_says_how(tmp_path: Path, run: Run, kind: str) -> None:
    file = tmp_path / "vm.pem"
    names = ("--name", "proxy.example.com", "--name", "10.1.2.3", "--name", "::1")
    status, out, err = run("make-cert", file, *names, "--kind", kind, "--tls-port", 4433)
    assert (status, err) == (0, "")
    assert file.stat().st_mode & 0o777 == 0o600
    credentials = certificates.load(TLSSettings(((file, file),)))
    assert credentials is not None
    (certificate,) = credentials.certificates
    assert certificate.names == ("proxy.example.com", "10.1.2.3", "::1")
    assert f"  telnets://proxy.example.com:4433#thumbprint={certificate.thumbprint}\n" in out
    assert f"  telnet://proxy.example.com:13370#thumbprint={certificate.thumbprint}\n" in out
    config = tmp_path / "vmproxy.toml"
    config.write_text("\n".join(re.findall(r"^  (\[vm\]|certificates = .*|tls-listen = .*)$", out, re.MULTILINE)))
    assert load(config, {}).vm.tls.pairs == ((file, file),)
    assert load(config, {}).vm.tls_listen == ("tcp:4433",)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl command")
def test_openssl_agrees_on_the_thumbprint_and_the_names(pem: Path, run: Run) -> None:
    command = ["openssl", "x509", "-in", str(pem), "-noout", "-fingerprint", "-sha1", "-ext", "subjectAltName"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    credentials = certificates.load(TLSSettings(((pem, pem),)))
    assert credentials is not None
    assert f"={credentials.certificates[0].thumbprint}\n" in done.stdout
    assert "DNS:proxy.example.com" in done.stdout


def test_an_address_of_ipv6_stands_in_brackets(tmp_path: Path, run: Run) -> None:
    _, out, _ = run("make-cert", tmp_path / "vm.pem", "--name", "2001:db8::1", "--kind", "ecdsa")
    assert "telnets://[2001:db8::1]:13371#thumbprint=" in out


def test_a_file_that_is_there_is_not_touched(pem: Path, run: Run) -> None:
    before = pem.read_bytes()
    status, out, err = run("make-cert", pem, "--name", "x", "--kind", "ecdsa")
    assert (status, out) == (1, "")
    assert err == f"{pem}: it is there already; give another name, or --force to replace it\n"
    assert pem.read_bytes() == before
    status, out, err = run("make-cert", pem, "--name", "x", "--kind", "ecdsa", "--force")
    assert (status, err) == (0, "")
    assert pem.read_bytes() != before
    assert pem.stat().st_mode & 0o777 == 0o600
    assert list(pem.parent.glob("*.new")) == []


@pytest.mark.parametrize("name", ["", "a b", "a/b", "-x", "a..b", "ü.example.com", "x" * 64, "a\x1b", "10.1.2.3.4:1"])
def test_a_name_that_is_none(tmp_path: Path, run: Run, name: str) -> None:
    status, out, err = run("make-cert", tmp_path / "vm.pem", f"--name={name}", "--kind", "ecdsa")
    assert (status, out) == (1, "")
    assert "is neither a DNS name nor an address" in err
    assert "\x1b" not in err
    assert not (tmp_path / "vm.pem").exists()


@pytest.mark.parametrize("days", [0, -1, 36501])
def test_a_time_that_is_none(tmp_path: Path, run: Run, days: int) -> None:
    status, _, err = run("make-cert", tmp_path / "vm.pem", "--name", "x", f"--days={days}")
    assert (status, err) == (1, "--days is a number from 1 to 36500\n")


# check


def configured(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "vmproxy.toml"
    file.write_text(f'state-dir = "{tmp_path}/state"\n[vm]\n{text}\n')
    return file


def test_check_says_what_hosts_are_shown(tmp_path: Path, pem: Path, run: Run) -> None:
    file = configured(tmp_path, f'certificates = ["{pem}"]')
    status, out, err = run("check", file)
    assert (status, err) == (0, "")
    first, second, *_ = out.splitlines()
    assert re.fullmatch(rf"{pem}: for proxy\.example\.com, until \d{{4}}-\d\d-\d\d, #thumbprint=(..:){{19}}..", first)
    assert second == f"{file}: nothing is wrong with it"


@pytest.mark.parametrize("setting", ['certificates = ["{}"]', 'certificates = ["{pem}"]\nclient-ca = "{}"'])
def test_check_reads_the_files(tmp_path: Path, pem: Path, run: Run, setting: str) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("broken")
    broken.chmod(0o600)
    status, out, err = run("check", configured(tmp_path, setting.format(broken, pem=pem)))
    assert (status, out) == (1, "")
    key = "client-ca" if "client-ca" in setting else "certificates"
    assert f": vm.{key}: {broken}: no certificate in PEM form" in err


def test_check_warns(tmp_path: Path, pem: Path, run: Run) -> None:
    text = f'certificates = ["{pem}"]\nclient-ca = "{pem}"\ntls-minimum = "1.1"'
    status, _, err = run("check", configured(tmp_path, text))
    assert status == 0
    assert "TLS 1.1 is allowed towards hosts" in err
    assert "without TLS they need none" in err
    assert run("check", configured(tmp_path, f'{text}\nencryption = "require"'))[2].count("\n") == 1


# The settings.


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(configured(tmp_path, text), {})
    return [re.sub(f"^{tmp_path}/vmproxy.toml:[0-9]+: ", "", problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ('"a.pem"', [("a.pem", "a.pem")]),
        ('["a.pem", "b.pem"]', [("a.pem", "a.pem"), ("b.pem", "b.pem")]),
        ('[{ certificate = "a.crt", key = "a.key" }, "b.pem"]', [("a.crt", "a.key"), ("b.pem", "b.pem")]),
        ("[]", []),
    ],
)
def test_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, found: list[tuple[str, str]]
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load(configured(tmp_path, f"certificates = {given}"), {})
    assert config.vm.tls.pairs == tuple((tmp_path / one, tmp_path / other) for one, other in found)


@pytest.mark.parametrize(
    "given",
    [
        "1",
        '[""]',
        "[1]",
        "{ certificate = 'a' }",
        '[{ certificate = "a", key = 1 }]',
        '[{ certificate = "a", k = "b" }]',
    ],
)
def test_certificates_that_are_none(tmp_path: Path, given: str) -> None:
    (only,) = problems(tmp_path, f"certificates = {given}")
    assert only.startswith("vm.certificates: ")
    assert 'give files such as ["vm.pem"]' in only


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('tls-listen = ["tcp:13371"]', "vm.tls-listen"),
        ('encryption = "require"', "vm.encryption"),
        ('client-ca = "ca.crt"', "vm.client-ca"),
    ],
)
def test_what_needs_a_certificate(tmp_path: Path, text: str, key: str) -> None:
    (only,) = problems(tmp_path, text)
    assert only == f"{key}: this needs a certificate in vm.certificates; `vmproxy make-cert' makes one"
    load(configured(tmp_path, f'{text}\ncertificates = ["vm.pem"]'), {})


def test_somewhere_vms_must_connect(tmp_path: Path) -> None:
    (only,) = problems(tmp_path, "listen = []")
    assert only.startswith("vm.listen: no VM could connect")
    load(configured(tmp_path, 'listen = []\ntls-listen = ["tcp:13371"]\ncertificates = ["vm.pem"]'), {})


@pytest.mark.parametrize("key", ["listen", "tls-listen"])
def test_tls_is_not_the_endpoints_business(tmp_path: Path, key: str) -> None:
    (only,) = problems(tmp_path, f'{key} = ["ssl:13371:privateKey=x"]\ncertificates = ["vm.pem"]')
    assert "give a tcp: endpoint in vm.tls-listen and the certificate in vm.certificates" in only


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [("encryption", '"on"', "none of off, offer, require"), ("tls-minimum", "1.2", "none of 1.0, 1.1, 1.2, 1.3")],
)
def test_words_that_are_none_of_these(tmp_path: Path, key: str, value: str, words: str) -> None:
    (only,) = problems(tmp_path, f"{key} = {value}")
    assert only.startswith(f"vm.{key}: ")
    assert words in only
