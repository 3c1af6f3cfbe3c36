"""The wheel on a clean machine, and the checkout's own environment as ``make`` makes it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.support.daemon import ROOT, environment
from vmproxy.web.assets import Assets

pytestmark = pytest.mark.slow

# A python3 that makes environments from what is installed here, so that pip has nothing to download.
PYTHON = """#!/bin/sh
case "$*" in *"-m venv"*) ;; *) exec {python} "$@";; esac
echo made >> made
{python} -m venv --without-pip .venv
echo {packages} > "$(echo .venv/lib/python*/site-packages)"/installed.pth
"""
# Debian's, without python3-venv: the interpreter is linked, then pip cannot be put there.
WITHOUT_VENV = """#!/bin/sh
case "$*" in *"-m venv"*) ;; *) exec {python} "$@";; esac
mkdir -p .venv/bin
ln -s {python} .venv/bin/python
echo "The virtual environment was not created successfully because ensurepip is not available." >&2
exit 1
"""


def run(*command: str, cwd: Path, timeout: float = 300, **env: str) -> subprocess.CompletedProcess[str]:
    """Run something to its end, with nothing of the checkout on the path, as if no make ran this."""
    ours = ("PYTHONPATH", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    clean = {name: value for name, value in environment().items() if name not in ours}
    return subprocess.run(
        command, cwd=cwd, env=clean | env, capture_output=True, text=True, timeout=timeout, check=False
    )


def copy_of_the_checkout(folder: Path) -> Path:
    """A copy: what is built there leaves nothing behind here."""
    for part in ("vmproxy", "twisted", "etc", "share"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
    for part in ("Makefile", "setup.cfg", "pyproject.toml", "README.rst", "LICENSE"):
        shutil.copy(ROOT / part, folder)
    return folder


def test_the_plugin_works_from_a_wheel_outside_the_checkout(tmp_path: Path) -> None:
    source = copy_of_the_checkout(tmp_path / "source")
    built = run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(tmp_path), str(source), cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("vmproxy-*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    binaries = tmp_path / "venv" / "bin"

    def installed(*command: str) -> subprocess.CompletedProcess[str]:
        return run(str(binaries / command[0]), *command[1:], cwd=tmp_path)

    pip = installed("python", "-m", "pip", "install", "--disable-pip-version-check", str(wheel))
    assert pip.returncode == 0, pip.stderr
    # From the wheel alone, as pipx puts it on the path.
    assert "--ssh-listen" in installed("vmproxy", "run", "--help").stdout
    assert "Operators connect to" in ran_for_a_moment(str(binaries / "vmproxy"), tmp_path)
    usage = installed("twistd", "vmproxy", "--help")
    assert usage.returncode == 0
    assert "--vm-listen" in usage.stdout
    assert installed("vmproxy", "--version").stdout.startswith("vmproxy ")
    # The pages come along, and what `make web' has brought.
    script = "from vmproxy.web.assets import *; one = Assets.load(); print(*one.names()); print(*one.missing)"
    names, missing = installed("python", "-c", script).stdout.splitlines()
    assert set(names.split()) == set(Assets.load().names())
    assert set(missing.split()) == set(Assets.load().missing)
    sample = tmp_path / "venv" / "share" / "vmproxy" / "vmproxy.toml"
    assert installed("vmproxy", "check", str(sample)).returncode == 0


def ran_for_a_moment(vmproxy: str, folder: Path) -> str:
    """What the concentrator says until it is ready."""
    options = ("--state-dir", str(folder / "state"), "--vm-listen=tcp:0:interface=127.0.0.1")
    clean = {name: value for name, value in environment().items() if name != "PYTHONPATH"}
    with subprocess.Popen(
        [vmproxy, "run", *options, "--ssh-listen=tcp:0:interface=127.0.0.1"],
        cwd=folder,
        env=clean,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if "  State: " in line:
                process.terminate()
    assert process.returncode == 0, said
    return said


class Checkout:
    """A copy of the checkout, and the python3 with which its environment is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = copy_of_the_checkout(folder / "checkout")
        self.environment = self.folder / ".venv"
        self._python = folder / "python3"
        self.python(PYTHON)

    def python(self, script: str | None) -> None:
        """Take another python3, or have none."""
        if script is None:
            self._python.unlink()
            return
        packages = sysconfig.get_path("purelib")
        self._python.write_text(script.format(python=sys.executable, packages=packages))
        self._python.chmod(0o755)

    def make(self) -> subprocess.CompletedProcess[str]:
        """``make`` the environment that ``make run`` needs."""
        return run("make", f"PYTHON={self._python}", ".venv/installed", cwd=self.folder)

    @property
    def made(self) -> int:
        """The number of environments that were made."""
        made = self.folder / "made"
        return len(made.read_text().splitlines()) if made.exists() else 0


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_vmproxy_and_twistd_of_the_environment_work_from_anywhere(checkout: Checkout, tmp_path: Path) -> None:
    made = checkout.make()
    assert made.returncode == 0, made.stderr
    version = run(str(checkout.environment / "bin" / "vmproxy"), "--version", cwd=tmp_path)
    assert version.stdout.startswith("vmproxy "), version.stderr
    # twistd itself comes by pip, which has nothing to do here
    found = "import twisted.plugins.vmproxy_plugin as p, vmproxy; print(p.__file__, vmproxy.__file__)"
    files = run(str(checkout.environment / "bin" / "python"), "-c", found, cwd=tmp_path)
    assert [Path(name).is_relative_to(checkout.folder) for name in files.stdout.split()] == [True, True], files


def test_what_takes_long_says_so_in_lines_that_fit_a_terminal(checkout: Checkout) -> None:
    said = checkout.make().stdout.splitlines()
    assert said[0] == "Making a virtual environment in .venv ..."
    assert said[1].startswith("Installing into .venv; this takes up to a minute .")
    assert max(map(len, said)) < 80


def test_a_whole_environment_is_left_alone(checkout: Checkout) -> None:
    assert checkout.make().returncode == 0
    os.utime(checkout.folder / "setup.cfg")  # so that pip is asked again
    assert checkout.make().returncode == 0
    assert checkout.made == 1


def test_without_the_package_that_makes_environments_it_is_named_and_the_next_make_repairs(checkout: Checkout) -> None:
    for script in (None, WITHOUT_VENV):
        checkout.python(script)
        failed = checkout.make()
        assert failed.returncode
        assert "install python3-venv" in failed.stderr
    checkout.python(PYTHON)
    assert checkout.make().returncode == 0
    assert (checkout.environment / "bin" / "vmproxy").exists()


def test_an_environment_without_pip_is_made_anew(checkout: Checkout) -> None:
    binaries = checkout.environment / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)  # as a python3 without python3-venv leaves it
    (binaries / "leftover").touch()
    made = checkout.make()
    assert made.returncode == 0, made.stderr
    assert not (binaries / "leftover").exists()


def test_an_environment_whose_interpreter_is_gone_is_made_anew(checkout: Checkout) -> None:
    binaries = checkout.environment / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to("/usr/lib/no-such-python")
    assert checkout.make().returncode == 0


def test_an_interrupted_installation_is_made_anew(checkout: Checkout) -> None:
    assert checkout.make().returncode == 0
    (checkout.environment / "unfinished").touch()  # as a pip leaves it that was killed
    assert checkout.make().returncode == 0
    assert checkout.made == 2
    assert not (checkout.environment / "unfinished").exists()
