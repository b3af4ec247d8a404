"""One line of a recipe with one thing changed on the right of its = sign."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from handgrad.compare.diagnosis.rules.edit import LineEdit, earlier, rewritten
from handgrad.compare.diagnosis.rules.recipes import Line, Recipe

MATH = {"sqrt", "abs", "sign", "maximum", "where", "clip", "tanh", "exp", "log", "minimum", "narrow"}
Made = tuple[str, dict[str, str], str]  # the kind of edit, its details, and what stands there instead


def of_expressions(recipe: Recipe, i: int, line: Line) -> Iterator[LineEdit]:
    """Every edit of one line."""
    text = line.text
    statement = ast.parse(text).body[0]
    assert isinstance(statement, ast.Assign)
    around = {inner: outer for outer in ast.walk(statement.value) for inner in ast.iter_child_nodes(outer)}
    names = [node.id for node in ast.walk(statement.value) if isinstance(node, ast.Name)]
    for node in ast.walk(statement.value):
        if isinstance(node, ast.expr):
            assert node.end_col_offset is not None
            before, after = text[: node.col_offset], text[node.end_col_offset :]
            several = isinstance(node, ast.Name) and names.count(node.id) > 1 and node in around
            where = ast.unparse(around[node]) if several else ""  # which of its places
            for kind, details, instead in _of_node(recipe, node):
                yield rewritten(kind, {i: f"{before}({instead}){after}"}, **details, where=where, line=line)


def target(line: Line) -> str:
    """What a line assigns to."""
    return line.text.partition(" = ")[0]


def _of_node(recipe: Recipe, node: ast.expr) -> Iterator[Made]:
    if isinstance(node, ast.BinOp):
        left, right = ast.unparse(node.left), ast.unparse(node.right)
        if isinstance(node.op, (ast.Add, ast.Sub)):
            yield from _of_sum(node, left, right)
        elif isinstance(node.op, ast.Mult):
            yield from _of_product(left, right)
            yield from _of_terms(node, left, right)
        elif isinstance(node.op, ast.Div):
            yield from _of_quotient(left, right)
        elif isinstance(node.op, ast.Pow):
            yield from _of_power(left, right)
    elif isinstance(node, ast.Call):
        yield from _of_call(ast.unparse(node.func), [ast.unparse(a) for a in node.args])
    elif isinstance(node, ast.IfExp):
        test, body, otherwise = (ast.unparse(part) for part in (node.test, node.body, node.orelse))
        yield "case left out", {"a": test}, otherwise
        yield "case always", {"a": test}, body
        if isinstance(node.body, ast.BinOp) and isinstance(node.body.op, ast.Mult):
            for factor in (ast.unparse(node.body.left), ast.unparse(node.body.right)):
                yield "factor always", {"a": factor, "b": test}, f"{body} if {test} else ({otherwise}) * {factor}"
    elif isinstance(node, ast.Name) and node.id not in MATH:
        yield from _of_name(recipe, node.id)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        for other in (2 * node.value, node.value / 2, node.value + 1):
            yield "other number", {"a": f"{node.value:g}", "b": f"{other:g}"}, repr(other)
        for other in literals(recipe):
            if other != node.value:
                yield "number of the rule", {"a": f"{node.value:g}", "b": f"{other:g}"}, repr(other)


def literals(recipe: Recipe) -> list[float]:
    """The numbers between 0 and 1 that stand in a rule without a name, which may be taken for each other."""
    found: dict[float, None] = {}
    for line in recipe.lines:
        for node in ast.walk(ast.parse(line.text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, float) and 0 < node.value < 1:
                found.setdefault(node.value)
    return list(found)


def _of_sum(node: ast.BinOp, left: str, right: str) -> Iterator[Made]:
    plus, both = isinstance(node.op, ast.Add), {"a": left, "b": right}
    if plus:
        yield "last term left out", both, left
    else:
        yield "step count late" if (left, right) == ("t", "1") else "subtracted term left out", both, left
    yield "first term left out", both, right if plus else f"-({right})"
    if not plus:
        yield "difference left out", both, right
    yield "wrong sign", both, f"{left} {'-' if plus else '+'} ({right})"
    root = node.left
    if plus and isinstance(root, ast.Call) and ast.unparse(root.func) == "sqrt":
        yield "inside the root", both, f"sqrt({ast.unparse(root.args[0])} + {right})"


def _of_product(left: str, right: str) -> Iterator[Made]:
    yield "factor left out", {"a": left}, right
    yield "factor left out", {"a": right}, left
    yield "divided", {"a": right}, f"({left}) / ({right})"
    yield "factor twice", {"a": left}, f"({left}) * ({left}) * ({right})"
    yield "factor twice", {"a": right}, f"({left}) * ({right}) * ({right})"


def _of_terms(node: ast.BinOp, left: str, right: str) -> Iterator[Made]:
    """A factor of a sum that only one of its terms has."""
    for sums, factor in ((node.left, right), (node.right, left)):
        if isinstance(sums, ast.BinOp) and isinstance(sums.op, (ast.Add, ast.Sub)):
            a, b = ast.unparse(sums.left), ast.unparse(sums.right)
            sign = "+" if isinstance(sums.op, ast.Add) else "-"
            yield "factor of one term", {"a": factor, "b": b}, f"({a}) * ({factor}) {sign} ({b})"
            yield "factor of one term", {"a": factor, "b": a}, f"({a}) {sign} ({b}) * ({factor})"


def _of_quotient(left: str, right: str) -> Iterator[Made]:
    both = {"a": left, "b": right}
    yield "division left out", both, left
    yield "multiplied", both, f"({left}) * ({right})"
    yield "divided by the root", both, f"({left}) / sqrt({right})"
    yield "divided twice", both, f"({left}) / ({right}) / ({right})"
    yield "quotient inverted", both, f"({right}) / ({left})"
    yield "numerator left out", both, f"1 / ({right})"


def _of_power(base: str, exponent: str) -> Iterator[Made]:
    both = {"a": base, "b": exponent}
    yield "power left out", both, base
    if exponent == "2":
        yield "absolute for a square", both, f"abs({base})"
    elif exponent == "t":
        for by in ("- 1", "+ 1"):
            yield "step count off", {**both, "by": by}, f"{base} ** (t {by})"
        for sign in "*/":
            yield "no power of the step count", {**both, "by": sign}, f"{base} {sign} t"


def _of_call(name: str, args: list[str]) -> Iterator[Made]:
    if name == "sqrt":
        yield "root left out", {"a": args[0]}, args[0]
        if args[0].endswith(" + eps"):
            yield "eps outside the root", {}, f"sqrt({args[0].removesuffix(' + eps')}) + eps"
    elif name in ("abs", "sign"):
        yield "function left out", {"a": name, "b": args[0]}, args[0]
    elif name == "maximum":
        for a in args:
            yield "choice left out", {"a": "the maximum", "b": a}, a
        yield "sum for a maximum", {"a": args[0], "b": args[1]}, f"{args[0]} + {args[1]}"
    elif name in ("where", "clip"):
        for a in args[1:] if name == "where" else args[:1]:
            yield "choice left out", {"a": name, "b": a}, a


def _of_name(recipe: Recipe, name: str) -> Iterator[Made]:
    arrays = dict.fromkeys(["theta", "g", *recipe.state, *map(target, recipe.lines)])
    if name not in arrays:
        yield from _of_a_hyperparameter(recipe, name)
        return
    for other in arrays:
        if other != name:
            yield "other array", {"a": name, "b": other}, other
    if "lr" in recipe.hyper and name not in ("theta", "g"):
        yield "times the learning rate", {"a": name}, f"lr * {name}"
    for state in recipe.state:
        kind = "of the step before" if state == name else "state of the step before"
        yield kind, {"a": name, "b": state}, earlier(state)
    if name in recipe.state:
        for beta in (k for k in recipe.hyper if k.startswith("beta")):
            yield "bias-corrected", {"a": name, "b": beta}, f"{name} / (1 - {beta} ** t)"
        yield "divided by the step count", {"a": name}, f"{name} / t"


def _of_a_hyperparameter(recipe: Recipe, name: str) -> Iterator[Made]:
    for other in recipe.hyper:
        if other != name and recipe.hyper[other] not in (0.0, recipe.hyper.get(name)):
            yield "other hyperparameter", {"a": name, "b": other}, other
    if name != "t":
        yield "one minus it", {"a": name}, f"1 - {name}"
        yield "squared here", {"a": name}, f"{name} ** 2"
        yield "its root", {"a": name}, f"sqrt({name})"
