"""The layers: imports go one way, downwards, and nothing happens at import.

Read from the source and not from what happens to be loaded, so that an import inside a function or for types only
counts as well: what a module knows of is what its reader has to know of.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vmproxy

ROOT = Path(vmproxy.__file__).parent

HELPERS = {"vmproxy", "vmproxy.errors", "vmproxy.text", "vmproxy.deadlines", "vmproxy.clocks", "vmproxy.addresses"}
HELPERS |= {"vmproxy.refusals"}
CONSOLE = {*HELPERS, "vmproxy.console.*", "vmproxy.wire.*"}
BELOW_SERVICE = {*CONSOLE, "vmproxy.vm.*", "vmproxy.ssh.*", "vmproxy.values", "vmproxy.config", "vmproxy.welcome"}
BELOW_SERVICE |= {"vmproxy.descriptors", "vmproxy.listeners"}

# What the modules of each part may import of ours, from the bottom to the top. A star stands for all of a package.
MAY_IMPORT: dict[str, set[str]] = {
    "vmproxy": set(),
    "vmproxy.errors": set(),
    "vmproxy.text": set(),
    "vmproxy.deadlines": set(),
    "vmproxy.clocks": set(),
    "vmproxy.refusals": set(),
    "vmproxy.addresses": {"vmproxy.errors", "vmproxy.text"},
    "vmproxy.descriptors": set(),
    "vmproxy.listeners": {*HELPERS, "vmproxy.descriptors"},
    "vmproxy.notify": set(),
    "vmproxy.privileges": set(),
    "vmproxy.handed": HELPERS,
    "vmproxy.wire": {"vmproxy.errors", "vmproxy.wire.*"},
    "vmproxy.console": CONSOLE,
    "vmproxy.vm": {*CONSOLE, "vmproxy.vm.*"},
    "vmproxy.ssh": {*CONSOLE, "vmproxy.ssh.*"},
    "vmproxy.sim": {"vmproxy.errors", "vmproxy.wire.*", "vmproxy.sim.*"},
    "vmproxy.values": {*HELPERS, "vmproxy.console.rules", "vmproxy.console.lognames", "vmproxy.ssh.escape"},
    "vmproxy.config": {
        *HELPERS,
        "vmproxy.values",
        "vmproxy.console.access",
        "vmproxy.console.rules",
        "vmproxy.console.claims",
        "vmproxy.vm.dialrules",
        "vmproxy.vm.dialtables",
    },
    "vmproxy.welcome": {*CONSOLE, "vmproxy.vm.*", "vmproxy.ssh.*", "vmproxy.config"},
    "vmproxy.service": {*BELOW_SERVICE, "vmproxy.notify", "vmproxy.privileges", "vmproxy.handed"},
    "vmproxy.tap": {*BELOW_SERVICE, "vmproxy.service"},
    "vmproxy.demo": {*BELOW_SERVICE, "vmproxy.sim.*"},
    "vmproxy.check": BELOW_SERVICE,
    "vmproxy.makecert": {*HELPERS, "vmproxy.vm.*"},
    "vmproxy.cli": {*BELOW_SERVICE, "vmproxy.sim.*", "vmproxy.demo", "vmproxy.check", "vmproxy.makecert"},
    "vmproxy.__main__": {"vmproxy.cli"},
}
MAY_HAVE_THE_REACTOR = {"vmproxy.tap", "vmproxy.sim.command"}


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported(tree: ast.AST, module: str, package: bool) -> Iterator[tuple[ast.stmt, str]]:
    """Every module that a module imports, in full, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                kept = parts[: len(parts) - node.level + (1 if package else 0)]
                base = ".".join([*kept, base] if base else kept)
            for alias in node.names:
                # ``from vmproxy import config`` imports a module, ``from vmproxy.config import load`` a name of one.
                whole = f"{base}.{alias.name}"
                yield node, whole if whole in MODULES or whole == "twisted.internet.reactor" else base


def part(module: str) -> str:
    """The key of MAY_IMPORT that a module falls under."""
    pieces = module.split(".")
    return ".".join(pieces[:2])


def climbs(module: str, source: str, package: bool = False) -> list[str]:
    """The imports of a module that its place does not allow."""
    allowed = MAY_IMPORT[part(module)]
    found = []
    for node, name in imported(ast.parse(source), module, package):
        if name.partition(".")[0] != "vmproxy" or name in allowed:
            continue
        if f"{part(name)}.*" not in allowed:
            found.append(f"{module}, line {node.lineno}: imports {name}, which is not below it")
    return found


def reactor_imports(module: str, source: str) -> list[str]:
    """The imports of the reactor that are not allowed: in any other module, or outside of a function."""
    tree = ast.parse(source)
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    return [
        f"{module}, line {node.lineno}: imports the reactor"
        for node, name in imported(tree, module, False)
        if name == "twisted.internet.reactor" and (module not in MAY_HAVE_THE_REACTOR or id(node) not in inside)
    ]


def work(source: str) -> list[str]:
    """What a module does when it is imported, beyond saying what there is."""
    found = []
    for node in ast.parse(source).body:
        match node:
            case ast.Import() | ast.ImportFrom() | ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                continue
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                called = {ast.unparse(c.func) for c in ast.walk(node) if isinstance(c, ast.Call)}
                if not called & {"open", "print", "input", "exec", "eval", "__import__"} and not any(
                    name.startswith(("os.", "socket.", "subprocess.", "threading.", "signal.")) for name in called
                ):
                    continue
            case ast.Expr(value=ast.Constant(value=str())):
                continue
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                continue
            case ast.If(test=test) if ast.unparse(test) == "__name__ == '__main__'":
                continue
        found.append(f"line {node.lineno}: {ast.unparse(node).splitlines()[0]}")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_downwards(module):
    path = MODULES[module]
    assert climbs(module, path.read_text("utf-8"), path.name == "__init__.py") == []


@pytest.mark.parametrize("module", MODULES)
def test_the_reactor_is_imported_only_where_the_process_is_started_and_only_then(module):
    assert reactor_imports(module, MODULES[module].read_text("utf-8")) == []


@pytest.mark.parametrize("module", [module for module in MODULES if module != "vmproxy.__main__"])
def test_nothing_is_done_at_import(module):
    assert work(MODULES[module].read_text("utf-8")) == []


def test_every_part_has_its_place():
    assert {part(module) for module in MODULES} == set(MAY_IMPORT)


def test_no_place_is_above_itself():
    # The table itself must go one way: no two parts may import each other.
    def reaches(one: str, other: str) -> bool:
        return any(name in (other, f"{other}.*") for name in MAY_IMPORT[one])

    pairs = [(a, b) for a in MAY_IMPORT for b in MAY_IMPORT if a < b and reaches(a, b) and reaches(b, a)]
    assert pairs == []


def test_the_command_and_what_is_below_it_load_without_a_reactor_or_a_thread():
    # What uses conch is left out: conch imports the reactor itself, when its user authentication is imported.
    names = [
        module
        for module in MODULES
        if part(module) not in ("vmproxy.ssh", "vmproxy.service", "vmproxy.tap", "vmproxy.__main__")
    ]
    assert "vmproxy.cli" in names
    script = (
        "import importlib, sys, threading\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "assert 'twisted.internet.reactor' not in sys.modules\n"
        "assert threading.active_count() == 1\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# The checks themselves can fail.


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("vmproxy.errors", "from vmproxy.text import visible"),
        ("vmproxy.wire.telnet", "import vmproxy.text"),
        ("vmproxy.wire.telnet", "from ..console import console"),
        ("vmproxy.console.pen", "from vmproxy.ssh.session import SessionChannel"),
        ("vmproxy.console.pen", "from vmproxy import config"),
        ("vmproxy.console.pen", "def late():\n    import vmproxy.vm.hub"),
        ("vmproxy.console.pen", "if TYPE_CHECKING:\n    from vmproxy.vm.hub import Hub"),
        ("vmproxy.vm.hub", "from vmproxy.ssh import session"),
        ("vmproxy.ssh.session", "from vmproxy.vm.hub import Hub"),
        ("vmproxy.sim.vm", "from vmproxy.console.trail import event"),
        ("vmproxy.sim.vm", "from vmproxy.text import visible"),
        ("vmproxy.config", "from vmproxy.console.directory import Directory"),
        ("vmproxy.service", "from vmproxy.sim.fleet import Fleet"),
    ],
)
def test_an_import_that_climbs_is_found(module, source):
    assert len(climbs(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("vmproxy.ssh.session", "from twisted.internet import reactor\n"),
        ("vmproxy.ssh.session", "def f():\n    from twisted.internet import defer, reactor as r\n"),
        ("vmproxy.ssh.session", "import twisted.internet.reactor\n"),
        ("vmproxy.ssh.session", "from twisted.internet.reactor import callLater\n"),
        ("vmproxy.tap", "from twisted.internet import reactor\n"),
    ],
)
def test_an_import_of_the_reactor_is_found(module, source):
    assert len(reactor_imports(module, source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "print('hello')",
        "for x in y: pass",
        "x = open('f')",
        "x = os.stat('/')",
        "with a: pass",
        "try:\n    x = 1\nfinally: y",
    ],
)
def test_work_at_import_is_found(source):
    assert len(work(source)) == 1
