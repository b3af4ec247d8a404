"""One line of a recipe with one thing changed on the right of its = sign."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from handgrad.compare.diagnosis.rules.change import earlier
from handgrad.compare.diagnosis.rules.recipes import Line, Recipe

MATH = {"sqrt", "abs", "sign", "maximum", "where", "clip", "tanh", "exp", "log", "minimum", "narrow"}
Made = tuple[int, str, str]  # how unlikely, the words, and what stands there instead


def of_expression(recipe: Recipe, text: str) -> Iterator[Made]:
    """(how unlikely, the words, the changed line) of every change."""
    statement = ast.parse(text).body[0]
    assert isinstance(statement, ast.Assign)
    around = {id(inner): outer for outer in ast.walk(statement.value) for inner in ast.iter_child_nodes(outer)}
    names = [node.id for node in ast.walk(statement.value) if isinstance(node, ast.Name)]
    for node in ast.walk(statement.value):
        if isinstance(node, ast.expr):
            assert node.end_col_offset is not None
            before, after = text[: node.col_offset], text[node.end_col_offset :]
            several = isinstance(node, ast.Name) and names.count(node.id) > 1 and id(node) in around
            where = f" in {ast.unparse(around[id(node)])}," if several else ""  # which of its places
            for complexity, words, instead in _of_node(recipe, node):
                yield complexity, words + where, f"{before}({instead}){after}"


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
        yield from _of_call(ast.unparse(node.func), node.args)
    elif isinstance(node, ast.IfExp):
        yield 11, f"the case {ast.unparse(node.test)} is left out", ast.unparse(node.orelse)
        yield 12, f"the case {ast.unparse(node.test)} is taken always", ast.unparse(node.body)
        yield from _of_a_case(ast.unparse(node.test), node.body, ast.unparse(node.orelse))
    elif isinstance(node, ast.Name) and node.id not in MATH:
        yield from _of_name(recipe, node.id)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        for other in (2 * node.value, node.value / 2, node.value + 1):
            yield 13, f"{other:g} stands where {node.value:g} belongs", repr(other)
        for other in literals(recipe):
            if other != node.value:
                yield 12, f"{other:g} stands where {node.value:g} belongs", repr(other)


def literals(recipe: Recipe) -> list[float]:
    """The numbers between 0 and 1 that stand in a rule without a name, which may be taken for each other."""
    found: dict[float, None] = {}
    for line in recipe.lines:
        for node in ast.walk(ast.parse(line.text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, float) and 0 < node.value < 1:
                found.setdefault(node.value)
    return list(found)


def _of_sum(node: ast.BinOp, left: str, right: str) -> Iterator[Made]:
    plus = isinstance(node.op, ast.Add)
    counts = not plus and left == "t" and right == "1"
    words = f"the {'term' if plus else 'subtracted term'} {right} is left out"
    yield 10, "the count of steps is one too large: t stands where t - 1 belongs" if counts else words, left
    yield 11, f"the term {left} is left out", right if plus else f"-({right})"
    if not plus:
        yield 11, f"{right} stands where {left} - {right} belongs", right
    yield 10, f"the sign of {right} is wrong", f"{left} {'-' if plus else '+'} ({right})"
    root = node.left
    if plus and isinstance(root, ast.Call) and ast.unparse(root.func) == "sqrt":
        yield 10, f"{right} stands inside the root", f"sqrt({ast.unparse(root.args[0])} + {right})"


def _of_product(left: str, right: str) -> Iterator[Made]:
    yield 10, f"the factor {left} is left out", right
    yield 10, f"the factor {right} is left out", left
    yield 12, f"divided by {right}, not multiplied with it,", f"({left}) / ({right})"
    yield 12, f"the factor {left} is applied twice", f"({left}) * ({left}) * ({right})"
    yield 12, f"the factor {right} is applied twice", f"({left}) * ({right}) * ({right})"


def _of_terms(node: ast.BinOp, left: str, right: str) -> Iterator[Made]:
    """A factor of a sum that only one of its terms has."""
    for sums, factor in ((node.left, right), (node.right, left)):
        if isinstance(sums, ast.BinOp) and isinstance(sums.op, (ast.Add, ast.Sub)):
            a, b = ast.unparse(sums.left), ast.unparse(sums.right)
            sign = "+" if isinstance(sums.op, ast.Add) else "-"
            yield 11, f"the factor {factor} is left out before {b}", f"({a}) * ({factor}) {sign} ({b})"
            yield 11, f"the factor {factor} is left out before {a}", f"({a}) {sign} ({b}) * ({factor})"


def _of_quotient(left: str, right: str) -> Iterator[Made]:
    yield 10, f"the division by {right} is left out", left
    yield 11, f"multiplied with {right}, not divided by it,", f"({left}) * ({right})"
    yield 12, f"the root of {right} stands where {right} belongs", f"({left}) / sqrt({right})"
    yield 12, f"divided by {right} twice", f"({left}) / ({right}) / ({right})"
    yield 12, f"{left} / {right} is inverted", f"({right}) / ({left})"
    yield 12, f"1 / {right} stands where {left} / {right} belongs", f"1 / ({right})"


def _of_a_case(test: str, body: ast.expr, otherwise: str) -> Iterator[Made]:
    """A factor that one case has, in the other case too."""
    if isinstance(body, ast.BinOp) and isinstance(body.op, ast.Mult):
        for factor in (ast.unparse(body.left), ast.unparse(body.right)):
            words = f"the factor {factor} is taken always, not only where {test},"
            yield 11, words, f"{ast.unparse(body)} if {test} else ({otherwise}) * {factor}"


def _of_power(base: str, exponent: str) -> Iterator[Made]:
    yield 11, f"{base} stands where {base} ** {exponent} belongs", base
    if exponent == "2":
        yield 11, f"|{base}|, not its square, stands", f"abs({base})"
    elif exponent == "t":
        for by in ("- 1", "+ 1"):
            words = f"the step count is off: {base} ** (t {by}) stands where {base} ** t belongs"
            yield 11, words, f"{base} ** (t {by})"
        yield 12, f"{base} * t stands where {base} ** t belongs", f"{base} * t"
        yield 12, f"{base} / t stands where {base} ** t belongs", f"{base} / t"


def _of_call(name: str, arguments: list[ast.expr]) -> Iterator[Made]:
    args = [ast.unparse(a) for a in arguments]
    if name == "sqrt":
        yield 10, f"the root of {args[0]} is not taken", args[0]
        if args[0].endswith(" + eps"):
            yield 10, "eps stands outside the root", f"sqrt({args[0].removesuffix(' + eps')}) + eps"
    elif name in ("abs", "sign"):
        yield 11, f"{name} of {args[0]} is not taken", args[0]
    elif name == "maximum":
        for a in args:
            yield 11, f"the maximum is left out: {a} stands for it", a
        yield 12, f"the sum of {args[0]} and {args[1]} stands for their maximum", f"{args[0]} + {args[1]}"
    elif name in ("where", "clip"):
        for a in args[1:] if name == "where" else args[:1]:
            yield 11, f"{name} is left out: {a} stands for it", a


def _of_name(recipe: Recipe, name: str) -> Iterator[Made]:
    arrays = dict.fromkeys(["theta", "g", *recipe.state, *map(target, recipe.lines)])
    if name in arrays:
        for other in arrays:
            if other != name:
                yield 12, f"{other} stands where {name} belongs", other
        if "lr" in recipe.hyper and name not in ("theta", "g"):
            yield 13, f"{name} is multiplied by the learning rate before it stands", f"lr * {name}"
        for state in recipe.state:
            words = f"{state} of the step before stands where {name} belongs"
            yield 12 if state == name else 13, words, earlier(state)
        if name in recipe.state:
            for beta in (k for k in recipe.hyper if k.startswith("beta")):
                words = f"{name} is bias-corrected where it should not be: {name} / (1 - {beta} ** t) stands for it"
                yield 12, words, f"{name} / (1 - {beta} ** t)"
            yield 13, f"{name} / t stands where {name} belongs", f"{name} / t"
        return
    for other in recipe.hyper:
        if other != name and recipe.hyper[other] not in (0.0, recipe.hyper.get(name)):
            yield 12, f"{other} stands where {name} belongs", other
    if name != "t":
        yield 11, f"1 - {name} stands where {name} belongs", f"1 - {name}"
        yield 12, f"{name} is squared", f"{name} ** 2"
        yield 12, f"the root of {name} stands", f"sqrt({name})"
