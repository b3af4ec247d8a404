"""A person's functions compiled over again, so that every comparison and call in them is seen while they run.

A function's code object is exchanged for one that is made of its source, with the methods of a recorder (`seen.Seen`)
in the place of comparisons, tests and calls. Only where the source gives exactly the code that runs: otherwise the code
runs as it is, and nothing is seen of it.
"""

from __future__ import annotations
import __future__

import ast
import copy
import functools
import linecache
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge.seen import OPERATORS

RECORDER = "__handgrad_seen__"  # the name under which rebuilt code finds the recorder
AS_IT_IS = (ast.Assert, ast.Raise, ast.JoinedStr, ast.AsyncFunctionDef)
NOT_FINITE = {"isnan", "isfinite", "isinf", "isneginf", "isposinf"}  # no draw has such numbers
FUTURE = functools.reduce(int.__or__, (getattr(__future__, n).compiler_flag for n in __future__.all_feature_names))


class Site(NamedTuple):
    """A place in a person's source."""

    file: str
    line: int
    text: str


class _Place(NamedTuple):
    file: str
    node: ast.expr
    text: str


_places: list[_Place] = []  # by number; every part of a file is compiled once


def site(number: int) -> Site:
    """Where the site of this number is, and how it is written."""
    place = _places[number]
    text = ast.get_source_segment(place.text, place.node) or ""
    return Site(Path(place.file).name, place.node.lineno, " ".join(text.split()))


def watched(code: CodeType) -> CodeType:
    """The code with a recorder in it; the code itself where its source is not known, or is of another code."""
    try:
        return _watched(code.co_filename, "".join(linecache.getlines(code.co_filename)), code)
    except Exception as problem:  # of a source that is none
        swallowed(problem, "the look at a derivation's source")
        return code


@functools.lru_cache(4096)
def _watched(file: str, text: str, code: CodeType) -> CodeType:
    statement = next((s for s in _statements(text) if _begins(s) <= code.co_firstlineno <= (s.end_lineno or 0)), None)
    if statement is None:
        return code
    return _pairs(file, text, _begins(statement), code.co_flags & FUTURE).get(code, code)


@functools.lru_cache(64)
def _statements(text: str) -> list[ast.stmt]:
    return ast.parse(text).body


def _imports(statement: ast.stmt) -> bool:
    if isinstance(statement, (ast.If, ast.Try, ast.With)):
        return any(isinstance(n, (ast.Import, ast.ImportFrom)) for n in ast.walk(statement))
    return isinstance(statement, (ast.Import, ast.ImportFrom))


def _begins(statement: ast.stmt) -> int:
    return min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", []))])


@functools.lru_cache(1024)
def _pairs(file: str, text: str, line: int, flags: int) -> dict[CodeType, CodeType]:
    """Every code object inside the statement at this line, with the one that is watched."""

    def compiled(change: bool) -> CodeType:
        # what is imported decides how Python compiles a call
        body = [s for s in _statements(text) if _begins(s) == line or _imports(s)]
        tree = ast.Module(body, [])
        if change:  # of a copy: a file is parsed once
            tree = ast.fix_missing_locations(_Watching(file, text).visit(copy.deepcopy(tree)))
        return compile(tree, file, "exec", flags, dont_inherit=True)

    return dict(_together(compiled(False), compiled(True)))


def _together(old: CodeType, new: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    yield old, new
    inner = [[c for c in code.co_consts if isinstance(c, CodeType)] for code in (old, new)]
    if [c.co_name for c in inner[0]] == [c.co_name for c in inner[1]]:
        for pair in zip(*inner, strict=True):
            yield from _together(*pair)


class _Watching(ast.NodeTransformer):
    """Puts the recorder's methods in the place of comparisons, tests and calls."""

    def __init__(self, file: str, text: str) -> None:
        self.file, self.text = file, text

    def visit(self, node: ast.AST) -> Any:
        """The node, changed; what refuses an input, and text, as it is."""
        return node if isinstance(node, AS_IT_IS) else super().visit(node)

    def _number(self, node: ast.expr, count: int = 1) -> ast.expr:
        _places.extend([_Place(self.file, _at(node), self.text)] * count)
        return ast.Constant(len(_places) - count)

    def _recorded(self, method: str, node: ast.expr, *args: ast.expr) -> ast.expr:
        recorder = ast.Name(RECORDER, ast.Load())
        return ast.copy_location(ast.Call(ast.Attribute(recorder, method, ast.Load()), list(args), []), node)

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        ops = [type(op).__name__ for op in node.ops]
        if not set(ops) <= OPERATORS.keys():
            return self._parts(node)
        number = self._number(node, len(ops))
        operands = [self.visit(v) for v in (node.left, *node.comparators)]
        if len(ops) == 1:
            return self._recorded("compare", node, number, ast.Constant(ops[0]), *operands)
        return self._recorded("chain", node, number, ast.Tuple([ast.Constant(op) for op in ops], ast.Load()), *operands)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        if isinstance(node.op, (ast.FloorDiv, ast.Mod)):
            op = ast.Constant(type(node.op).__name__)
            return self._recorded("step", node, self._number(node), op, self.visit(node.left), self.visit(node.right))
        number = self._number(node) if _is_mask(node) else None
        new = self._parts(node)
        return new if number is None else self._recorded("mask", node, number, new)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == RECORDER:
            return self._parts(node)
        number = self._number(node)
        new = self._parts(node)
        if isinstance(node.func, (ast.Name, ast.Attribute)):
            node.func = self._recorded("call", node.func, number, node.func)
        return new

    def visit_If(self, node: ast.If) -> ast.stmt:
        if all(isinstance(s, ast.Raise) for s in node.body):  # what it refuses has no gradient
            node.orelse = [self.visit(s) for s in node.orelse]
            return node
        node.test = self._tested(node.test)
        return self._parts(node)

    def visit_While(self, node: ast.While) -> ast.stmt:
        node.test = self._tested(node.test)
        return self._parts(node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        node.test = self._tested(node.test)
        return self._parts(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        node.values = [self._tested(v) for v in node.values]
        return self._parts(node)

    def visit_comprehension(self, node: ast.comprehension) -> ast.comprehension:
        node.ifs = [self._tested(v) for v in node.ifs]
        return self._parts(node)

    def _tested(self, node: ast.expr) -> ast.expr:
        """A computed number in the place of a truth value is a site; what is compared or called is seen as it is."""
        if not isinstance(node, (ast.BinOp, ast.Call, ast.Subscript)) or _mentions(node, NOT_FINITE):
            return node
        inner = list(ast.walk(node))
        if any(isinstance(n, (ast.comprehension, ast.Lambda, ast.NamedExpr, ast.Starred)) for n in inner):
            return node
        called = {id(n.func) for n in inner if isinstance(n, ast.Call)}
        names = {n.id: n for n in inner if isinstance(n, ast.Name) and id(n) not in called}
        loaded: list[ast.expr] = [ast.copy_location(ast.Name(name, ast.Load()), node) for name in names]
        return self._recorded("test", node, self._number(node), node, ast.Tuple(loaded, ast.Load()))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        node.decorator_list = [self.visit(d) for d in node.decorator_list]
        node.args = self.visit(node.args)
        node.body = [self.visit(s) for s in node.body]
        return node

    def visit_arguments(self, node: ast.arguments) -> ast.arguments:
        node.defaults = [self.visit(d) for d in node.defaults]
        node.kw_defaults = [d if d is None else self.visit(d) for d in node.kw_defaults]
        return node

    def _parts(self, node: Any) -> Any:
        return self.generic_visit(node)


def _at(node: ast.expr) -> ast.expr:
    """The place of a node, which itself is changed."""
    return ast.copy_location(ast.Constant(None), node)


def _is_mask(node: ast.expr) -> bool:
    """Whether an expression is a comparison, or made of such by & and *."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitAnd, ast.Mult)):
        return _is_mask(node.left) and _is_mask(node.right)
    return isinstance(node, ast.Compare)


def _is_call_of(f: ast.expr, names: set[str]) -> bool:
    return getattr(f, "attr", getattr(f, "id", "")) in names


def _mentions(node: ast.expr, names: set[str]) -> bool:
    return any(_is_call_of(n, names) for n in ast.walk(node) if isinstance(n, (ast.Name, ast.Attribute)))
