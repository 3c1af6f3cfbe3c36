"""The layers: imports go one way, downwards, in no circle, and nothing happens at import.

Read from the source and not from what happens to be loaded, so that an import inside a function or for types only
counts as well: what a module knows of is what its reader has to know of.
"""

from __future__ import annotations

import ast
import gc
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import vmproxy
from tests.support.cases import each

ROOT = Path(vmproxy.__file__).parent
PROJECT = ROOT.parent

# From the bottom to the top: a package imports itself and what stands in a row above its own.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("base",),
    ("wire",),
    ("log",),
    ("access",),
    ("auth",),
    ("console",),
    ("alerts",),
    ("operators",),
    ("vm", "ssh", "web", "cluster", "hooks", "vcenter"),
    ("config",),
    ("app",),
    ("tap",),
    ("cli",),
    ("__main__",),
)
# What does not follow from the order.
ONLY = {"sim": {"errors", "wire"}, "": set[str]()}
ALSO = {"cli": {"sim"}}
NEVER = {"console": {"auth"}, "auth": {"log"}}

# No terminal, no client: what is below the fronts can be used by any front.
FRONT_LIBRARIES = ("twisted.conch", "twisted.web", "twisted.internet.ssl", "twisted.protocols.tls", "OpenSSL")
WITHOUT_FRONT_LIBRARIES = {"base", "wire", "log", "access", "auth", "console", "alerts", "operators"}

MAY_HAVE_THE_REACTOR = {"vmproxy.tap", "vmproxy.cli.simulate"}

GENDERED = re.compile(r"\b(?:he|him|his|himself|she|her|hers|herself)\b", re.IGNORECASE)

# What is wrong today. These lists may only shrink.
CLIMBING: set[str] = set()
CIRCLES: set[str] = set()
WITH_FRONT_LIBRARIES: set[str] = set()
WITH_PRIVATE_NAMES: set[str] = set()
WITH_GENDER: set[str] = set()


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()
SOURCES = {module: path.read_text("utf-8") for module, path in MODULES.items()}


@cache
def parsed(source: str) -> ast.Module:
    return ast.parse(source)


@pytest.fixture(scope="module", autouse=True)
def _forgotten() -> Iterator[None]:
    """Half a million objects: no collection of garbage goes through them, neither here nor in later tests."""
    gc.disable()
    yield
    parsed.cache_clear()
    imported.cache_clear()
    gc.enable()


@cache
def imported(source: str, module: str, package: bool) -> list[tuple[ast.stmt, str]]:
    """Every module that a module imports, in full, wherever the import stands."""
    return list(imports(parsed(source), module, package))


def imports(tree: ast.AST, module: str, package: bool) -> Iterator[tuple[ast.stmt, str]]:
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
                # ``from vmproxy import tap`` imports a module, ``from vmproxy.tap import Options`` a name of one.
                whole = f"{base}.{alias.name}"
                yield node, whole if whole in MODULES or whole == "twisted.internet.reactor" else base


def is_package(module: str) -> bool:
    return MODULES[module].name == "__init__.py"


def part(module: str) -> str:
    """The package, or the file beside the packages, that a module is in; nothing for the root itself."""
    return [*module.split("."), ""][1]


def below(name: str) -> set[str]:
    """The parts that a part may import beside itself. Everything may import the root, for the version."""
    if name in ONLY:
        return ONLY[name]
    found = {""}
    for row in LAYERS:
        if name in row:
            return (found - NEVER.get(name, set())) | ALSO.get(name, set())
        found.update(row)
    raise AssertionError(f"{name} has no place in LAYERS")


def climbs(module: str, source: str, package: bool = False) -> list[str]:
    """The imports of a module that its place does not allow."""
    own = part(module)
    allowed = below(own) | {own}
    return [
        f"{module}: imports {name}"
        for _node, name in imported(source, module, package)
        if name.partition(".")[0] == "vmproxy" and part(name) not in allowed
    ]


def front_libraries(module: str, source: str, package: bool = False) -> list[str]:
    """The imports of a module below the fronts that only a front may have."""
    if part(module) not in WITHOUT_FRONT_LIBRARIES:
        return []
    return [
        f"{module}: imports {name}"
        for _node, name in imported(source, module, package)
        if name.startswith(FRONT_LIBRARIES)
    ]


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import each other, by however many steps (Tarjan's algorithm)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        number[module] = low[module] = len(number)
        stack.append(module)
        for other in graph.get(module, ()):
            if other not in number:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], number[other])
        if low[module] == number[module]:
            at = stack.index(module)
            group = stack[at:]
            del stack[at:]
            if len(group) > 1 or module in graph.get(module, ()):
                found.append(sorted(group))

    for module in graph:
        if module not in number:
            visit(module)
    return found


def reactor_imports(module: str, source: str) -> list[str]:
    """The imports of the reactor that are not allowed: in any other module, or outside of a function."""
    if "reactor" not in source:
        return []
    tree = parsed(source)
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    return [
        f"{module}, line {node.lineno}: imports the reactor"
        for node, name in imported(source, module, False)
        if name == "twisted.internet.reactor" and (module not in MAY_HAVE_THE_REACTOR or id(node) not in inside)
    ]


def work(source: str) -> list[str]:
    """What a module does when it is imported, beyond saying what there is."""
    found = []
    for node in parsed(source).body:
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
            case ast.Try(body=[ast.Import()], handlers=[ast.ExceptHandler(type=ast.Name(id="ImportError"))]):
                continue  # what need not be installed
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                continue
            case ast.If(test=test) if ast.unparse(test) == "__name__ == '__main__'":
                continue
        found.append(f"line {node.lineno}: {ast.unparse(node).splitlines()[0]}")
    return found


def defined_names(source: str) -> set[str]:
    """The names with an underscore that a module defines itself: functions, attributes of ``self``, fields, slots."""
    found = set()
    for node in ast.walk(parsed(source)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.alias(asname=str(name)):
                found.add(name)
            case ast.Assign(targets=[ast.Name(id="__slots__")], value=value):
                found.update(part.value for part in ast.walk(value) if isinstance(part, ast.Constant))
    return {name for name in found if isinstance(name, str) and name.startswith("_")}


def private_names(source: str, ours: set[str]) -> set[str]:
    """The attributes with an underscore that a module uses and that nothing of ours defines: a library's own."""
    used = set()
    for node in ast.walk(parsed(source)):
        match node:
            case ast.Attribute(attr=name):
                used.add(str(name))
            case ast.Call(func=ast.Name(id="getattr" | "setattr" | "hasattr"), args=[_, ast.Constant(value=name), *_]):
                used.add(str(name))
    return {name for name in used if name.startswith("_") and not name.endswith("__")} - ours


def gendered(path: Path) -> bool:
    return GENDERED.search(path.read_text("utf-8")) is not None


def prose() -> list[Path]:
    """Everything that people read: code, documentation, samples."""
    found = [path for folder in ("vmproxy", "bench", "fuzz", "twisted") for path in (PROJECT / folder).rglob("*.py")]
    found += [*(PROJECT / "docs").rglob("*.rst"), *(PROJECT / "etc").iterdir(), *PROJECT.glob("*.rst")]
    return sorted(path for path in found if path.is_file())


def test_imports_go_downwards() -> None:
    found = {line for module, source in SOURCES.items() for line in climbs(module, source, is_package(module))}
    assert found == CLIMBING


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = {
        module: {
            name
            for _node, name in imported(source, module, is_package(module))
            if name in MODULES and not module.startswith(f"{name}.")
        }
        for module, source in SOURCES.items()
    }
    assert {module for circle in circles(graph) for module in circle} == CIRCLES


def test_what_is_below_the_fronts_knows_no_library_of_a_front() -> None:
    found = {line for module, source in SOURCES.items() for line in front_libraries(module, source, is_package(module))}
    assert found == WITH_FRONT_LIBRARIES


def test_private_names_of_twisted_are_in_one_file_and_of_pyopenssl_in_another() -> None:
    ours = {name for source in SOURCES.values() for name in defined_names(source)}
    found = {f"{module}: {name}" for module, source in SOURCES.items() for name in private_names(source, ours)}
    assert {
        line for line in found if not line.startswith(("vmproxy.base.compat:", "vmproxy.vm.openssl:"))
    } == WITH_PRIVATE_NAMES


def test_nobody_is_he_or_she() -> None:
    assert {str(path.relative_to(PROJECT)) for path in prose() if gendered(path)} == WITH_GENDER


def test_the_reactor_is_imported_only_where_the_process_is_started_and_only_then() -> None:
    assert [line for module, source in SOURCES.items() for line in reactor_imports(module, source)] == []


def test_nothing_is_done_at_import() -> None:
    found = {module: work(source) for module, source in SOURCES.items() if module != "vmproxy.__main__"}
    assert {module: lines for module, lines in found.items() if lines} == {}


def test_every_part_has_its_place() -> None:
    placed = {name for row in LAYERS for name in row} | set(ONLY)
    assert {part(module) for module in MODULES} <= placed


def test_the_command_and_what_is_below_it_load_without_a_reactor_or_a_thread() -> None:
    # What uses conch is left out: conch imports the reactor itself, when its user authentication is imported.
    names = [module for module in MODULES if part(module) not in ("ssh", "app", "tap", "__main__", "operators", "auth")]
    assert "vmproxy.cli.main" in names
    script = (
        "import importlib, sys, threading\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "assert 'twisted.internet.reactor' not in sys.modules\n"
        "assert threading.active_count() == 1\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# The checks themselves can fail.


@each(
    ("module", "source"),
    [
        ("vmproxy.errors", "from vmproxy.base.sanitize import visible"),
        ("vmproxy.base.clock", "from vmproxy.wire import telnet"),
        ("vmproxy.wire.telnet", "from ..console import console"),
        ("vmproxy.log.store", "from vmproxy.console.console import Console"),
        ("vmproxy.access.policy", "from vmproxy.auth.keyring import Keyring"),
        ("vmproxy.auth.keyring", "from vmproxy.console.console import Console"),
        ("vmproxy.operators.visible", "from vmproxy.ssh import session"),
        ("vmproxy.vm.frontend", "from vmproxy.ssh import session"),
        ("vmproxy.ssh.session", "from vmproxy.vm.frontend import VMFrontend"),
        ("vmproxy.config.settings", "from vmproxy.app.service import VMProxyService"),
        ("vmproxy.app.service", "from vmproxy.sim.fleet import Fleet"),
    ],
)
def test_an_import_that_climbs_is_found(module: str, source: str) -> None:
    assert len(climbs(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("vmproxy.operators.visible", "from twisted.conch.ssh.keys import Key"),
        ("vmproxy.auth.keyring", "def late():\n    import twisted.conch.ssh.keys"),
        ("vmproxy.log.store", "from twisted.internet.ssl import Certificate"),
    ],
)
def test_a_library_of_a_front_is_found(module: str, source: str) -> None:
    assert len(front_libraries(module, source)) == 1


def test_a_circle_is_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"f"}, "f": {"e"}, "g": {"g"}}
    assert sorted(circles(graph)) == [["a", "b", "c"], ["e", "f"], ["g"]]


@pytest.mark.parametrize(
    "source", ["transport._tempDataBuffer = []", "self._kex.x", "getattr(reactor, '_selectables', {})"]
)
def test_a_private_name_is_found(source: str) -> None:
    assert len(private_names(source, defined_names(source))) == 1


def test_names_of_ours_are_not_private_to_others() -> None:
    source = "class A:\n    __slots__ = ('_a',)\n    def _b(self): self._c = self._b, self._a, self.__class__"
    assert private_names(source, defined_names(source)) == set()


@pytest.mark.parametrize("text", ["what he does", "Side.HIM", "by himself,"])
def test_a_pronoun_is_found(text: str) -> None:
    assert GENDERED.search(text)


@pytest.mark.parametrize("text", ["the", "heritage", "there", "this", "ache"])
def test_a_word_is_no_pronoun(text: str) -> None:
    assert not GENDERED.search(text)


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
def test_an_import_of_the_reactor_is_found(module: str, source: str) -> None:
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
def test_work_at_import_is_found(source: str) -> None:
    assert len(work(source)) == 1
