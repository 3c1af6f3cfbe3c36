"""The tables of the configuration: rules, consoles, destinations."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class TestRules:
    def test_every_problem_is_told_with_the_number_of_its_rule(
        self, wrong: Callable[..., list[str]], tmp_path: Path
    ) -> None:
        problems = wrong(
            """
            [[rule]]
            who = []
            may = ["read", "write"]
            on = "*"
            [[rule]]
            who = "*"
            on = ["uuid:"]
            allow = true
            [[console]]
            on = ["*"]
            write = "all"
            record-input = 1
            message = 3
            replay = -1
            force-reason = "yes"
            sequences = { a = "<wait 9>" }
            [[console]]
            """
        )
        assert [problem.removeprefix(f"{tmp_path}/vmproxy.toml:") for problem in problems] == [
            '3: rule 1: who: is empty; give operators, "@groups" or "*"',
            "4: rule 1: may: 'read' is not a right; there are see, spy, write, force, raw, many, admin",
            "6: rule 2: may: is missing; give rights of see, spy, write, force, raw, many, admin",
            "8: rule 2: on: 'uuid:' selects nothing; write a glob such as 'web*', 'uuid:564d*' or 'tag:team=blue'",
            "9: rule 2: allow: there is no such setting; there are who, may, on, idle-write, idle-disconnect",
            """12: console 1: write: 'all' is neither "one" nor "shared\"""",
            "13: console 1: record-input: 1 is neither true nor false",
            "14: console 1: message: this is not a text of at most 4096 characters",
            "15: console 1: replay: -1 is not a number of lines from 0 to 100000",
            "16: console 1: force-reason: 'yes' is neither true nor false",
            "17: console 1: sequences: <wait 9>: 5 seconds at most",
            '18: console 2: on: is missing; give globs such as "web*", "uuid:564d*" or "tag:team=blue"',
        ]

    @pytest.mark.parametrize("text", ["rule = 1", "[rule]\nwho = '*'", "rule = ['x']"])
    def test_rules_are_written_in_double_brackets(self, only_problem: Callable[..., str], text: str) -> None:
        assert "rule: write [[rule]], in double brackets, for each" in only_problem(text)


class TestDial:
    def test_without_any_nothing_may_be_dialled(self, read: Callable[..., Any]) -> None:
        assert read("").dial.rules == ()

    def test_rules_are_read(self, read: Callable[..., Any]) -> None:
        found = read('[[dial]]\nto = ["10.0.0.0/8", "*.example.com"]\nports = [23, "4000-4099"]\nverify = false')
        (rule,) = found.dial.rules
        assert rule.names == ("*.example.com",)
        assert [str(network) for network in rule.networks] == ["10.0.0.0/8"]
        assert (rule.ports, rule.verify, rule.authorities) == (((23, 23), (4000, 4099)), False, None)

    def test_every_problem_is_told_with_the_number_of_its_rule(
        self, wrong: Callable[..., list[str]], tmp_path: Path
    ) -> None:
        problems = wrong(
            """
            [[dial]]
            to = "*"
            [[dial]]
            to = ["10.*"]
            ports = [0]
            ca = "/nowhere.pem"
            """
        )
        assert [problem.removeprefix(f"{tmp_path}/vmproxy.toml:") for problem in problems] == [
            '2: dial 1: ports: is missing; give ports such as [4000, "5000-5010"], or ["*"] for any',
            "5: dial 2: to: '10.*' is not an address; write a network, such as 10.0.0.0/8",
            '6: dial 2: ports: \'0\' is neither a port from 1 to 65535, nor a range such as "5000-5010", nor "*"',
            "7: dial 2: ca: '/nowhere.pem' cannot be read (No such file or directory)",
        ]

    def test_another_content_of_a_file_of_authorities_is_another_setting(
        self, read: Callable[..., Any], tmp_path: Path
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([])
        start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
        found = []
        for number in (1, 2):
            certificate = (
                x509.CertificateBuilder(name, name, key.public_key(), number, start, start + datetime.timedelta(1))
                .sign(key, hashes.SHA256())
                .public_bytes(serialization.Encoding.PEM)
            )
            (tmp_path / "ca.pem").write_bytes(certificate)
            found.append(read(f'[[dial]]\nto = "*"\nports = "*"\nca = "{tmp_path}/ca.pem"').dial)
        assert found[0] != found[1]

    @pytest.mark.parametrize("text", ["dial = 1", "[dial]\nto = '*'", "dial = ['x']"])
    def test_rules_are_written_in_double_brackets(self, only_problem: Callable[..., str], text: str) -> None:
        assert "dial: write [[dial]], in double brackets, for each" in only_problem(text)

    def test_a_misspelt_one_is_told(self, only_problem: Callable[..., str]) -> None:
        assert "did you mean [[dial]]?" in only_problem("[[dail]]\nto = '*'")
