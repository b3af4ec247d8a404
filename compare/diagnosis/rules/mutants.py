"""Every line of a recipe with one thing changed, as it goes wrong when a paper is put into code."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from compare.diagnosis.rules.recipes import Line, Recipe

MATH = {"sqrt", "abs", "sign", "maximum", "where", "clip"}
SIGNS = {ast.Add: "+", ast.Sub: "−", ast.Mult: "·", ast.Div: "/", ast.Pow: "**"}


Units = list[Any]  # the compiled lines of a rule; None for one that is left out


class Change(NamedTuple):
    """A change of a recipe: the lines that it touches, for pairs; how unlikely it is; the words; and itself."""

    touches: frozenset[str]
    complexity: int
    words: str
    apply: Callable[[Units, dict[str, Any]], None]  # changes both in place


LETTERS = {
    "theta": "θ", "beta1": "β₁", "beta2": "β₂", "eps": "ε", "alpha": "α", "rho": "ρ", "m_hat": "m̂", "v_hat": "v̂",
    "weight_decay": "weight decay", "mu": "μ", "lambd": "λ", "eta": "η",
}  # fmt: skip


def worded(change: Change) -> str:
    """Its words, in a paper's letters."""
    return re.sub("|".join(rf"\b{name}\b" for name in LETTERS), lambda m: LETTERS[m[0]], change.words)


def compiled(text: str) -> Any:
    """A line, ready to be run."""
    return compile(text, "<recipe>", "exec")


def units(recipe: Recipe) -> Units:
    """The right lines."""
    return [compiled(line.text) for line in recipe.lines]


def changes(recipe: Recipe) -> Iterator[Change]:
    """All of them."""
    for i, line in enumerate(recipe.lines):
        for complexity, words, text in of_expression(recipe, line.text):
            words = f"{words} in {line.text!r} ({line.purpose})"
            yield Change(frozenset({f"line {i}"}), complexity, words, _instead(i, text))
        yield from _of_line(recipe, i, line)
    yield from _of_several(recipe)
    yield from _of_numbers(recipe)
    yield from _of_gradient(recipe)


def of_expression(recipe: Recipe, text: str) -> Iterator[tuple[int, str, str]]:
    """(complexity, words, the line) with one thing changed on the right of the = sign."""
    count = len(list(ast.walk(_value(text))))
    for k in range(count):
        made = list(_of_node(recipe, list(ast.walk(_value(text)))[k]))
        for j in range(len(made)):
            statement = ast.parse(text).body[0]
            assert isinstance(statement, ast.Assign)
            old = list(ast.walk(statement.value))[k]
            complexity, words, make = made[j]
            statement.value = _Replace(old, make(old)).visit(statement.value)
            yield complexity, words, ast.unparse(ast.fix_missing_locations(statement))


def _value(text: str) -> ast.expr:
    statement = ast.parse(text).body[0]
    assert isinstance(statement, ast.Assign)
    return statement.value


def _instead(i: int, text: str) -> Callable[[Units, dict[str, Any]], None]:
    code = compiled(text)

    def apply(lines: Units, hyper: dict[str, Any]) -> None:
        lines[i] = code

    return apply


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> Any:
        return self.new if node is self.old else self.generic_visit(node)


Made = tuple[int, str, Callable[[Any], ast.expr]]


def _of_node(recipe: Recipe, node: ast.AST) -> Iterator[Made]:
    if isinstance(node, ast.BinOp):
        yield from _of_operation(node)
    elif isinstance(node, ast.Call):
        yield from _of_call(node)
    elif isinstance(node, ast.IfExp):
        yield 11, f"the case {_text(node.test)} is left out", lambda n: n.orelse
        yield 12, f"the case {_text(node.test)} is taken always", lambda n: n.body
    elif isinstance(node, ast.Name) and node.id not in MATH:
        yield from _of_name(recipe, node)
    elif isinstance(node, ast.Constant):
        for other in (2 * node.value, node.value / 2, node.value + 1):
            yield 13, f"{other:g} stands where {node.value:g} belongs", lambda n, other=other: ast.Constant(other)


def _text(node: ast.AST) -> str:
    return ast.unparse(node)


def _call(name: str, *args: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), list(args), [])


def _of_operation(node: ast.BinOp) -> Iterator[Made]:
    left, right = _text(node.left), _text(node.right)
    if isinstance(node.op, (ast.Add, ast.Sub)):
        sign = "term" if isinstance(node.op, ast.Add) else "subtracted term"
        yield 10, f"the {sign} {right} is left out", lambda n: n.left
        yield (
            11,
            f"the term {left} is left out",
            lambda n: n.right if isinstance(n.op, ast.Add) else ast.UnaryOp(ast.USub(), n.right),
        )
        yield 11, f"{left} is left out and {right} is not subtracted", lambda n: n.right
        opposite = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        yield 10, f"the sign of {right} is wrong", lambda n: ast.BinOp(n.left, opposite, n.right)
        root = node.left
        if isinstance(node.op, ast.Add) and isinstance(root, ast.Call) and _text(root.func) == "sqrt":
            yield (
                10,
                f"{right} stands inside the root",
                lambda n: _call("sqrt", ast.BinOp(n.left.args[0], ast.Add(), n.right)),
            )
    elif isinstance(node.op, ast.Mult):
        yield 10, f"the factor {left} is left out", lambda n: n.right
        yield 10, f"the factor {right} is left out", lambda n: n.left
        yield 12, f"divided by {right}, not multiplied with it,", lambda n: ast.BinOp(n.left, ast.Div(), n.right)
        yield 12, f"the factor {left} is applied twice", lambda n: ast.BinOp(n.left, ast.Mult(), n)
        yield 12, f"the factor {right} is applied twice", lambda n: ast.BinOp(n, ast.Mult(), n.right)
    elif isinstance(node.op, ast.Div):
        yield 10, f"the division by {right} is left out", lambda n: n.left
        yield 11, f"multiplied with {right}, not divided by it,", lambda n: ast.BinOp(n.left, ast.Mult(), n.right)
        yield (
            12,
            f"the root of {right} stands where {right} belongs",
            lambda n: ast.BinOp(n.left, ast.Div(), _call("sqrt", n.right)),
        )
        yield 12, f"divided by {right} twice", lambda n: ast.BinOp(n, ast.Div(), n.right)
        yield (
            12,
            f"1 / {right} stands where {left} / {right} belongs",
            lambda n: ast.BinOp(ast.Constant(1), ast.Div(), n.right),
        )
    elif isinstance(node.op, ast.Pow):
        base = _text(node.left)
        yield 11, f"{base} stands where {_text(node)} belongs", lambda n: n.left
        if right == "2":
            yield 11, f"|{base}|, not its square, stands", lambda n: _call("abs", n.left)
        elif right == "t":
            for by, op in (("− 1", ast.Sub()), ("+ 1", ast.Add())):
                words = f"the step count is off: {base} ** (t {by}) stands where {base} ** t belongs"
                yield 11, words, lambda n, op=op: ast.BinOp(n.left, ast.Pow(), ast.BinOp(n.right, op, ast.Constant(1)))
            yield 12, f"{base} · t stands where {base} ** t belongs", lambda n: ast.BinOp(n.left, ast.Mult(), n.right)
            yield 12, f"{base} / t stands where {base} ** t belongs", lambda n: ast.BinOp(n.left, ast.Div(), n.right)


def _of_call(node: ast.Call) -> Iterator[Made]:
    name, args = _text(node.func), [_text(a) for a in node.args]
    if name == "sqrt":
        yield 10, f"the root of {args[0]} is not taken", lambda n: n.args[0]
        inside = node.args[0]
        if isinstance(inside, ast.BinOp) and isinstance(inside.op, ast.Add) and _text(inside.right) == "eps":
            words = "eps stands outside the root"
            yield 10, words, lambda n: ast.BinOp(_call("sqrt", n.args[0].left), ast.Add(), n.args[0].right)
    elif name in ("abs", "sign"):
        yield 11, f"{name} of {args[0]} is not taken", lambda n: n.args[0]
    elif name == "maximum":
        yield 11, f"the maximum is left out: {args[0]} stands for it", lambda n: n.args[0]
        yield 11, f"the maximum is left out: {args[1]} stands for it", lambda n: n.args[1]
        words = f"the sum of {args[0]} and {args[1]} stands for their maximum"
        yield 12, words, lambda n: ast.BinOp(n.args[0], ast.Add(), n.args[1])
    elif name in ("where", "clip"):
        for k in (1, 2) if name == "where" else (0,):
            yield 11, f"{name} is left out: {args[k]} stands for it", lambda n, k=k: n.args[k]


def _of_name(recipe: Recipe, node: ast.Name) -> Iterator[Made]:
    made = [_target(line) for line in recipe.lines]
    arrays = dict.fromkeys(["theta", "g", *recipe.state, *made])
    if node.id in arrays:
        for other in arrays:
            if other != node.id:
                yield 12, f"{other} stands where {node.id} belongs", lambda n, other=other: ast.Name(other, ast.Load())
        if node.id in recipe.state:
            yield (
                13,
                f"{node.id} / t stands where {node.id} belongs",
                lambda n: ast.BinOp(n, ast.Div(), ast.Name("t", ast.Load())),
            )
        return
    for other in recipe.hyper:
        if other != node.id and recipe.hyper[other] not in (0.0, recipe.hyper.get(node.id)):
            yield 12, f"{other} stands where {node.id} belongs", lambda n, other=other: ast.Name(other, ast.Load())
    if node.id == "t":
        return
    yield 11, f"1 − {node.id} stands where {node.id} belongs", lambda n: ast.BinOp(ast.Constant(1), ast.Sub(), n)
    yield 12, f"{node.id} is squared", lambda n: ast.BinOp(n, ast.Pow(), ast.Constant(2))
    yield 12, f"the root of {node.id} stands", lambda n: _call("sqrt", n)


def _target(line: Line) -> str:
    return line.text.partition(" = ")[0]


def _of_line(recipe: Recipe, i: int, line: Line) -> Iterator[Change]:
    """A line left out, at another place, or whose result is kept where it should not be."""
    count, name = len(recipe.lines), _target(line)
    touched = frozenset({f"line {i}"})

    def left_out(lines: Units, hyper: Any) -> None:
        lines[i] = None

    yield Change(touched, 10, f"the {line.purpose} is left out: {line.text!r}", left_out)
    for j in range(count):
        if j == i or (j == i + 1 and not _meet(recipe.lines[i], recipe.lines[j])):
            continue

        def moved(lines: Units, hyper: Any, j: int = j) -> None:
            lines.insert(j, lines.pop(i))

        after = recipe.lines[j].text
        words = f"the {line.purpose} comes {'after' if j > i else 'before'} {after!r}: {line.text!r}"
        yield Change(frozenset({f"line {k}" for k in range(count)}), 11, words, moved)
    for state in recipe.state:
        if state == name or name in recipe.state or name in ("theta", "g"):
            continue

        def kept(lines: Units, hyper: Any, code: Any = compiled(f"{state} = {name}")) -> None:
            lines.append(code)

        yield Change(touched, 12, f"{name} is kept as {state} for the next step ({line.purpose})", kept)


def _meet(a: Line, b: Line) -> bool:
    return _target(a) in b.text or _target(b) in a.text


def _of_several(recipe: Recipe) -> Iterator[Change]:
    """The same slip in every line that invites it, and the orders of steps that papers and libraries differ in."""
    texts = [line.text for line in recipe.lines]
    for words, change in (
        ("the step count is one behind: t − 1 stands where t belongs (no correction where that is 0)", _one_behind),
        ("the step count is one ahead: t + 1 stands where t belongs", lambda s: re.sub(r"\bt\b", "(t + 1)", s)),
        ("β · t stands where β ** t belongs", lambda s: re.sub(r"\*\* t\b", "* t", s)),
        ("β / t stands where β ** t belongs", lambda s: re.sub(r"\*\* t\b", "/ t", s)),
        ("β stands where β ** t belongs", lambda s: re.sub(r" \*\* t\b", "", s)),
        ("the bias corrections are left out", lambda s: re.sub(r" / \(1 - beta\d \*\* t\)", "", s)),
        ("the gains 1 − β are left out", lambda s: re.sub(r"\(1 - (beta\d|rho|alpha)\) \* ", "", s)),
        (
            "β and 1 − β are swapped",
            lambda s: re.sub(r"(beta\d|rho|alpha) \* (.+) \+ \(1 - \1\)", r"(1 - \1) * \2 + \1", s),
        ),
    ):
        changed = {i: compiled(c) for i, s in enumerate(texts) if (c := change(s)) != s}
        if len(changed) > 1:
            yield Change(frozenset(f"line {i}" for i in changed), 11, words, _all_instead(changed))
    at = {_target(line): i for i, line in enumerate(recipe.lines)}
    if at.keys() >= {"d", "b"} and texts[at["d"]].startswith("d = g / "):
        changed = {
            at["d"]: compiled("b = momentum * b + g"),
            at["b"]: compiled(texts[at["d"]].replace("g /", "b /", 1)),
        }
        changed[at["theta"]] = compiled("theta = theta - lr * d")
        words = "the momentum is taken of the gradient, before it is scaled"
        yield Change(frozenset(f"line {i}" for i in changed), 11, words, _all_instead(changed))


def _one_behind(text: str) -> str:
    return re.sub(r"\((1 - beta\d \*\* )t\)", r"((\1(t - 1)) or 1)", text)


def _all_instead(changed: dict[int, Any]) -> Callable[[Units, dict[str, Any]], None]:
    def apply(lines: Units, hyper: dict[str, Any]) -> None:
        for i, code in changed.items():
            lines[i] = code

    return apply


def _of_numbers(recipe: Recipe) -> Iterator[Change]:
    """Hyperparameters with other values, everywhere."""
    text = " ".join(line.text for line in recipe.lines)
    used = [k for k in recipe.hyper if k in text and recipe.hyper[k] != 0]
    for k in used:
        v = recipe.hyper[k]
        tried = {v}
        for complexity, words, other in (
            (10, "left out (taken as 0)", 0.0), (10, "left out (taken as 1)", 1.0), (10, "doubled", 2 * v), (10, "halved", v / 2),
            (11, "squared: applied twice", v * v), (11, "one minus itself", 1 - v), (10, "of the wrong sign", -v),
        ):  # fmt: skip
            if other in tried:
                continue
            tried.add(other)
            yield Change(frozenset({k}), complexity, f"{k} is {words}", _with(k, other))
        for other in used:
            if other > k and recipe.hyper[other] != v:

                def swapped(lines: Units, hyper: dict[str, Any], a: str = k, b: str = other) -> None:
                    hyper[a], hyper[b] = hyper[b], hyper[a]

                yield Change(frozenset({k, other}), 11, f"{k} and {other} are swapped", swapped)


def _with(name: str, value: float) -> Callable[..., None]:
    def apply(lines: Units, hyper: dict[str, Any]) -> None:
        hyper[name] = value

    return apply


def numbers(recipe: Recipe) -> Iterator[tuple[str, Callable[[float], Change]]]:
    """Every hyperparameter that is used, with a function that makes the change to a value."""
    text = " ".join(line.text for line in recipe.lines)
    for name, right in recipe.hyper.items():
        if name in text:

            def change(value: float, name: str = name, right: float = right) -> Change:
                return Change(frozenset({name}), 13, f"{name} is {value:g}, not {right:g}", _with(name, value))

            yield name, change


def _of_gradient(recipe: Recipe) -> Iterator[Change]:
    """Another gradient at the start."""
    for complexity, words, text in (
        (11, "the gradient is clipped to ±1", "g = clip(g, -1, 1)"),
        (12, "the gradient is clipped to ±½", "g = clip(g, -0.5, 0.5)"),
        (12, "the gradient's norm is clipped to 1", "g = g / maximum(1, sqrt((g ** 2).sum()))"),
        (12, "the gradient is divided by its norm", "g = g / sqrt((g ** 2).sum())"),
        (12, "the sign of the gradient stands for the gradient", "g = sign(g)"),
        (12, "the gradient is divided by the number of parameters", "g = g / g.size"),
    ):

        def first(lines: Units, hyper: Any, code: Any = compiled(text)) -> None:
            lines.insert(0, code)

        yield Change(
            frozenset({"gradient", *(f"line {k}" for k in range(len(recipe.lines)))}), complexity, words, first
        )
