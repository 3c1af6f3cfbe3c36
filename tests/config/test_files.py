"""The files that the configuration names, the command line, and the names of settings."""

from __future__ import annotations

import ast
import dataclasses
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmproxy.base.schema import settings_of
from vmproxy.config import settings
from vmproxy.errors import ConfigError


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    sources = (Path(__file__).resolve().parents[2] / "vmproxy").rglob("*.py")
    return {str(path): ast.parse(path.read_text("utf-8")) for path in sources}


class TestFiles:
    def test_all_problems_are_told_at_once(self, wrong: Callable[..., list[str]]) -> None:
        problems = wrong(
            """
            state-dri = "x"
            [vm]
            listen = 1
            keep-idle = -1
            colour = "red"
            [ssh]
            login-timeout = 0
            [log]
            file = "x"
            open-files = 1
            """,
            log_dir=0,
        )
        for key in (
            "state-dri", "vm.listen", "vm.keep-idle", "vm.colour", "ssh.login-timeout", "log.file", "log.open-files",
        ):  # fmt: skip
            assert sum(f": {key}: " in problem for problem in problems) == 1
        assert sum(problem.startswith("--log-dir: ") for problem in problems) == 1
        assert len(problems) == 8
        assert not any("\n" in problem for problem in problems)

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"vmproxy\.toml: No such file or directory"):
            settings.load(tmp_path / "vmproxy.toml", {})

    def test_a_folder_instead_of_a_file(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="Is a directory"):
            settings.load(tmp_path, {})

    @pytest.mark.parametrize(
        "content",
        [
            b"[vm\n",
            b"x = ",
            b"a = 1\na = 2\n",
            b"\xff\xfe",
            b"\x00",
            b"[vm]\n[vm]\n",
            b"a = " + b"[" * 5000,
            b"a = " + b"1" * 5000,
        ],
        ids=["open bracket", "no value", "twice", "no UTF-8", "NUL", "section twice", "deep", "long number"],
    )
    def test_a_file_that_is_no_toml(self, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / "vmproxy.toml"
        file.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            settings.load(file, {})
        assert re.match(f"{file}(:[12])?: not a TOML file: ", str(caught.value))

    @given(st.binary(max_size=200))
    def test_no_file_makes_it_raise_anything_else(self, content: bytes) -> None:
        with tempfile.NamedTemporaryFile(suffix=".toml") as file:
            file.write(content)
            file.flush()
            with suppress(ConfigError):
                settings.load(Path(file.name), {})


class TestCommandLine:
    def test_it_overrides_the_file(self, read: Callable[..., Any], tmp_path: Path) -> None:
        found = read(
            'state-dir = "/a"\n[vm]\nlisten = "tcp:1"\nservice-uri = "a"\n[ssh]\nlisten = "tcp:2"\n[log]\ndir = "/b"',
            state_dir=str(tmp_path / "s"),
            log_dir=str(tmp_path / "l"),
            vm_listen=["tcp:3", "tcp:4"],
            ssh_listen=["tcp:5"],
            service_uri=["b"],
        )
        assert found.state_dir == tmp_path / "s"
        assert found.log.dir == tmp_path / "l"
        assert found.vm.listen == ("tcp:3", "tcp:4")
        assert found.ssh.listen == ("tcp:5",)
        assert found.vm.service_uri == ("b",)

    def test_a_problem_with_it_names_the_option(self, only_problem: Callable[..., str]) -> None:
        assert only_problem("", vm_listen=["tcp:x"]).startswith("--vm-listen: 'tcp:x' is not an endpoint")

    def test_a_wrong_value_in_the_file_does_not_matter_where_it_is_overridden(self, read: Callable[..., Any]) -> None:
        assert read("[vm]\nlisten = 7", vm_listen=["tcp:3"]).vm.listen == ("tcp:3",)

    def test_what_it_does_not_say_stays_as_the_file_says(self, read: Callable[..., Any]) -> None:
        assert read("[vm]\nkeep-idle = 7", vm_listen=["tcp:3"]).vm.keep_idle == 7

    def test_the_daemons_options_are_those_that_the_settings_name(self) -> None:
        from vmproxy.tap import Options

        options = Options()
        lists = ["--vm-listen=tcp:1", "--vm-listen=tcp:2", "--ssh-listen=tcp:3", "--service-uri=u"]
        options.parseOptions(["--state-dir=/s", "--log-dir=/l", *lists])
        overrides = options.overrides()
        assert set(overrides) == {setting.option for setting in settings.SETTINGS.values() if setting.option}
        found = settings.load(None, overrides)
        assert found.vm.listen == ("tcp:1", "tcp:2")
        assert found.state_dir == Path("/s")

    def test_without_options_nothing_is_overridden(self) -> None:
        from vmproxy.tap import Options

        options = Options()
        options.parseOptions([])
        assert options.overrides() == {}


class TestNames:
    """A setting is named where it is defined, where it is used, and where it is documented."""

    def classes(self) -> set[str]:
        found, new = set(), {settings.Config}
        while new:
            found |= new
            new = {type(getattr(one(), inner.name)) for one in new for inner in dataclasses.fields(one)} - found
            new = {one for one in new if dataclasses.is_dataclass(one) and settings_of(one)}
        return {one.__name__ for one in found}

    def test_no_setting_is_copied_from_one_class_to_another(self, trees: dict[str, ast.Module]) -> None:
        names = self.classes() - {"Config"}
        assert {"VMSettings", "SSHSettings", "LogSettings", "RotationPolicy", "TLSSettings"} <= names
        copies = [
            f"{path}:{node.lineno}: {ast.unparse(node)}"
            for path, tree in trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in names
            and (node.args or node.keywords)
        ]
        assert copies == []

    def test_every_setting_is_defined_once(self, trees: dict[str, ast.Module]) -> None:
        calls = [
            (ast.unparse(node.target), node.value)
            for tree in trees.values()
            for node in ast.walk(tree)
            if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call)
        ]
        defined = Counter(
            next((one.value.value for one in call.keywords if one.arg == "key"), name.replace("_", "-"))  # type: ignore[attr-defined]  # looked at on purpose
            for name, call in calls
            if ast.unparse(call.func) == "setting"
        )
        keys = Counter(name.rpartition(".")[2] for name in settings.SETTINGS)
        # Of an operator or a console there may be another value; a watch has a quiet time.
        for name in ("quiet", "quiet", "escape", "message", "session-idle"):
            keys[name] += 1
        assert {name: defined[name] for name in keys} == dict(keys)
