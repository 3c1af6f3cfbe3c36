"""The JSON schemas of the TOML files: they accept what vmproxy accepts, and find what it finds."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # its stubs are a package of their own
import pytest

from tests.support.cases import each
from vmproxy.cli.main import main
from vmproxy.config.json_schema import SCHEMAS

ETC = Path(__file__).resolve().parents[2] / "etc"


def problems(name: str, table: Any) -> list[str]:
    found = jsonschema.Draft7Validator(SCHEMAS[name]()).iter_errors(table)
    return sorted(f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in found)


@pytest.mark.parametrize("name", SCHEMAS)
def test_they_are_schemas_and_those_in_etc_are_these(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMAS[name]())
    assert main(["schema", name]) == 0
    assert capsys.readouterr().out == (ETC / f"{name}.schema.json").read_text(), f"vmproxy schema {name} makes it anew"


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_samples_fit_and_name_them(name: str) -> None:
    text = (ETC / f"{name}.toml").read_text()
    assert text.startswith(f"#:schema ./{name}.schema.json\n")
    assert problems(name, tomllib.loads(text)) == []


def examples(text: str) -> list[str]:
    """The examples of a sample that stand behind a #, each table alone."""
    blocks: list[list[str]] = []
    for line in text.splitlines():
        if re.match(r"# \[\[?[a-z.]+\]\]?$", line):
            blocks.append([line[2:]])
        elif blocks and blocks[-1] and re.match(r"# [a-z-]+ = ", line):
            blocks[-1].append(line[2:])
        elif blocks and blocks[-1]:
            blocks.append([])
    return ["\n".join(block) for block in blocks if block]


def test_the_examples_fit() -> None:
    found = examples((ETC / "vmproxy.toml").read_text())
    assert len(found) >= 10
    assert {match for example in found for match in re.findall(r"^\[\[?(\w+)", example)} == {
        "rule",
        "console",
        "group",
        "action",
        "dial",
    }
    for example in found:
        assert problems("vmproxy", tomllib.loads(example)) == [], example
    operators = re.sub(r"(?m)^#(?=[a-z-]+ = |\[)", "", (ETC / "operators.toml").read_text())
    table = tomllib.loads(operators)
    assert table["operators"]
    assert problems("operators", table) == []


@each(
    ("name", "text", "problem"),
    [
        ("vmproxy", "vm.keep-idle = true", "vm.keep-idle: True is not of type 'integer'"),
        ("vmproxy", "vm.keep-idle = 99999", "99999 is greater than the maximum"),
        ("vmproxy", "vm.keepidle = 1", "('keepidle' was unexpected)"),
        ("vmproxy", 'vm.encryption = "yes"', "'yes' is not one of ['off', 'offer', 'require']"),
        ("vmproxy", '[[rule]]\nwho = "a"\non = "*"', "'may' is a required property"),
        ("vmproxy", '[[rule]]\nwho = "a"\non = "*"\nmay = ["rule"]', "is not valid under any of the given schemas"),
        ("vmproxy", '[[action]]\nname = "a"\nrun = "/x"\nright = "see"', "'see' is not one of"),
        ("vmproxy", '[[console]]\nwrite = "shared"', "is not valid under any of the given schemas"),
        ("operators", '[operators.a]\nkey = "x"', "'key' was unexpected"),
        ("watch", '[[watch]]\nname = "a"\nseverity = "bad"', "'bad' is not one of"),
    ],
)
def test_what_is_wrong_is_found(name: str, text: str, problem: str) -> None:
    assert any(problem in one for one in problems(name, tomllib.loads(text))), problems(name, tomllib.loads(text))


def test_settings_are_described() -> None:
    form = SCHEMAS["vmproxy"]()
    keep_idle = form["properties"]["vm"]["properties"]["keep-idle"]
    assert keep_idle == {
        "type": "integer",
        "minimum": 0,
        "maximum": 32767,
        "description": "seconds, as the hosts' serialN.keepIdle; 0 is off",
        "default": 300,
    }
    assert not re.search(r":\w+:`|``", json.dumps(form))
