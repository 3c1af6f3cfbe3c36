"""No object is changed from another file: what a class has is assigned to in its own file, by its own methods.

Read from the source. An attribute counts as a class's own where the class lists it, annotates it, or assigns it to
``self``; and an assignment as one from outside where its object is not ``self`` and no class of the same file has such
an attribute. The type of an object is not known: two classes with an attribute of one name are taken for each other.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import vmproxy

ROOT = Path(vmproxy.__file__).parent

# Attributes of Twisted's own objects, which some class of ours happens to have as well.
OF_TWISTED = {"avatar", "clock", "factory", "protocol", "socket", "transport", "wall"}

# Files with records that others of their package fill in: of each there are thousands.
RECORDS = {"log/file_state.py": "log/", "log/file_pool.py": "log/"}

# What is wrong today, by the name of the attribute. This list may only shrink.
ASSIGNED: set[str] = set()


def declared(tree: ast.AST) -> set[str]:
    """The attributes of the classes of a file."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                found.add(name)
            case ast.Assign(targets=[ast.Name(id="__slots__")], value=value):
                found.update(part.value for part in ast.walk(value) if isinstance(part, ast.Constant))
            case ast.ClassDef(body=body):
                found.update(
                    part.target.id
                    for part in body
                    if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
                )
    return {name for name in found if isinstance(name, str)}


def assigned(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The attributes of other objects than ``self`` that a file assigns to, or deletes, with the lines."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                continue
            case ast.Attribute(attr=name, ctx=ast.Store() | ast.Del()):
                yield node.lineno, name
            case ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[owner, ast.Constant(value=str(name)), *_]):
                if not (isinstance(owner, ast.Name) and owner.id in ("self", "cls")):
                    yield node.lineno, name


def from_outside(sources: dict[str, str]) -> list[tuple[str, int, str]]:
    """The assignments from other files: file, line, attribute."""
    own, changes = {}, {}
    for file, source in sources.items():
        tree = ast.parse(source)
        own[file], changes[file] = declared(tree), list(assigned(tree))
    everywhere = set().union(*own.values()) - OF_TWISTED
    for file in own:
        own[file] = own[file].union(*(own.get(record, ()) for record, who in RECORDS.items() if file.startswith(who)))
    return [
        (file, line, name)
        for file, found in changes.items()
        for line, name in found
        if name in everywhere and name not in own[file]
    ]


def test_no_class_is_assigned_to_from_another_file() -> None:
    found = from_outside({str(path.relative_to(ROOT)): path.read_text("utf-8") for path in ROOT.rglob("*.py")})
    new = [f"{file}, line {line}: {name}" for file, line, name in found if name not in ASSIGNED]
    assert new == [], "give the class a method"
    assert {name for _, _, name in found} == ASSIGNED, "take it out of the list"


def test_the_test_sees_them() -> None:
    sources = {
        "lamp.py": "class Lamp:\n    __slots__ = ('on',)\n    colour: str\n\n    def __init__(self): self.watt = 3\n",
        "same.py": "class Shade:\n    def __init__(self): self.tint = 0\n\ndef paint(shade): shade.tint = 1\n",
        "other.py": "\n".join(
            [
                "lamp.on = True",
                "room.lamp.watt += 1",
                "lamp.colour, rest = 'red', ()",
                "del lamp.on",
                "setattr(lamp, 'watt', 4)",
                "lamp.unknown = 1",
                "print(lamp.on)",
            ]
        ),
    }
    assert sorted(from_outside(sources)) == [
        ("other.py", line, name) for line, name in [(1, "on"), (2, "watt"), (3, "colour"), (4, "on"), (5, "watt")]
    ]
