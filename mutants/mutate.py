"""Faults that a person could make, at one place of a module: what there is to choose from, and how it is written.

A fault is one changed node of the syntax tree: a comparison turned round or off by one, ``and`` for ``or``, a condition
negated, a statement left out, another constant, no result. What only tells (docstrings, log lines, messages of errors,
annotations) is left alone, and so are constants of the module: tests name the same constants.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_TELLS = ("_log.", "warn", "info", "log_", "tell", "report", "visible")


Way = tuple[tuple[str, int | None], ...]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A fault.

    :ivar line: where it is; ``what`` says what is changed.
    """

    line: int
    what: str
    way: Way  # to the node, from the root of the tree
    put: str  # what the other node is, as ast.dump() writes it
    node: ast.AST = field(compare=False, repr=False)

    def applied(self, source: str) -> str:
        """The module with the fault."""
        tree = ast.parse(source)
        _replace(tree, self.way, self.node)
        return ast.unparse(ast.fix_missing_locations(tree))


def mutants(source: str) -> list[Mutant]:
    """Every fault that can be made in a module, in the order of its lines."""
    found = [
        Mutant(getattr(node, "lineno", 0), what, way, ast.dump(put), put)
        for way, node in _walk(ast.parse(source), ())
        for what, put in _faults(node)
    ]
    return sorted(found, key=lambda one: (one.line, one.what))


def _walk(node: ast.AST, way: Way) -> Iterator[tuple[Way, ast.AST]]:
    if isinstance(node, ast.Module):
        for place, one in enumerate(node.body):
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from _walk(one, (("body", place),))
        return
    if way and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield way, node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "args", "type_params", "bases"):
            continue
        children: list[tuple[int | None, Any]] = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
        for index, child in children:
            if isinstance(child, ast.AST) and not _only_tells(child):
                yield from _walk(child, (*way, (name, index)))


def _only_tells(node: ast.AST) -> bool:
    match node:
        case ast.Expr(value=ast.Constant()) | ast.JoinedStr():
            return True
        case ast.Expr(value=ast.Call(func=func)) | ast.Call(func=func):
            return any(word in ast.unparse(func) for word in _TELLS)
        case ast.Assign(targets=[ast.Name(id="__slots__")]):
            return True
    return False


def _faults(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    made: Any
    match node:
        case ast.Compare(ops=[op]):
            for other in _COMPARISONS[type(op)]:
                made = copy.deepcopy(node)
                made.ops = [other()]
                yield f"{ast.unparse(node)} -> {ast.unparse(made)}", made
        case ast.BoolOp(op=op):
            made = copy.deepcopy(node)
            made.op = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield f"{ast.unparse(node)} -> {ast.unparse(made)}", made
            for index in range(len(node.values)):
                kept = [copy.deepcopy(one) for at, one in enumerate(node.values) if at != index]
                less = kept[0] if len(kept) == 1 else ast.BoolOp(copy.deepcopy(op), kept)
                yield f"without {ast.unparse(node.values[index])}", less
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield f"{ast.unparse(node)} -> {ast.unparse(operand)}", copy.deepcopy(operand)
        case ast.If(test=test) | ast.While(test=test) if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            made = copy.deepcopy(node)
            made.test = ast.UnaryOp(ast.Not(), made.test)
            yield f"if {ast.unparse(test)} -> if not", made
        case ast.Constant(value=bool(value)):
            yield f"{value} -> {not value}", ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield f"{value} -> {value + 1}", ast.Constant(value + 1)
        case ast.BinOp(op=ast.Add() | ast.Sub() as op, right=right) if not isinstance(right, ast.JoinedStr):
            made = copy.deepcopy(node)
            made.op = ast.Sub() if isinstance(op, ast.Add) else ast.Add()
            yield f"{ast.unparse(node)} -> {ast.unparse(made)}", made
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and not value.value):
            yield f"{ast.unparse(node)} -> return None", ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise() | ast.Continue() | ast.Break() | ast.Delete():
            yield f"without {ast.unparse(node)}", ast.Pass()
        case ast.Return(value=None):
            yield "without return", ast.Pass()
        case ast.Assign(targets=[ast.Attribute()]):
            yield f"without {ast.unparse(node)}", ast.Pass()


def _replace(tree: ast.AST, way: Way, put: ast.AST) -> None:
    for name, index in way[:-1]:
        value = getattr(tree, name)
        tree = value if index is None else value[index]
    name, index = way[-1]
    put = copy.deepcopy(put)
    if index is None:
        setattr(tree, name, put)
    else:
        getattr(tree, name)[index] = put
