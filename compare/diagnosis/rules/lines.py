"""Every edit of a recipe: of an expression, a line, a number, the gradient; see `expressions` and `several`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from handgrad.compare.diagnosis.rules.edit import LineEdit, Units, at, compiled, rewritten, with_hyper
from handgrad.compare.diagnosis.rules.expressions import literals, of_expressions, target
from handgrad.compare.diagnosis.rules.other_rules import of_another_rule
from handgrad.compare.diagnosis.rules.recipes import Line, Recipe
from handgrad.compare.diagnosis.rules.several import of_several

# What stands for a hyperparameter, given its value and the learning rate.
OF_A_NUMBER: dict[str, Callable[[float, float], float]] = {
    "as 0": lambda v, lr: 0.0,
    "as 1": lambda v, lr: 1.0,
    "doubled": lambda v, lr: 2 * v,
    "halved": lambda v, lr: v / 2,
    "squared": lambda v, lr: v * v,
    "complement": lambda v, lr: 1 - v,
    "negative": lambda v, lr: -v,
    "times lr": lambda v, lr: v * lr,
    "over lr": lambda v, lr: v / (lr or 1.0),
}
# What is done to the gradient before the first line.
OF_THE_GRADIENT = {
    "clipped to 1": "g = clip(g, -1, 1)",
    "clipped to a half": "g = clip(g, -0.5, 0.5)",
    "norm clipped": "g = g / maximum(1, sqrt((g ** 2).sum()))",
    "divided by its norm": "g = g / sqrt((g ** 2).sum())",
    "sign of the gradient": "g = sign(g)",
    "averaged": "g = g / g.size",
}


def units(recipe: Recipe) -> Units:
    """The right lines."""
    return [compiled(line.text) for line in recipe.lines]


def edited(recipe: Recipe, together: Iterable[LineEdit]) -> tuple[Units, dict[str, Any]]:
    """The lines and the hyperparameters with some edits."""
    lines, hyper = units(recipe), dict(recipe.hyper)
    for edit in together:
        edit.apply(lines, hyper)
    return lines, hyper


def edits(recipe: Recipe) -> Iterator[LineEdit]:
    """All of them; of several that are as likely, the first is named."""
    yield from of_another_rule(recipe)
    for i, line in enumerate(recipe.lines):
        yield from of_expressions(recipe, i, line)
        yield from _of_line(recipe, i, line)
        yield from _throughout(recipe, i, line)
    yield from of_several(recipe)
    yield from _of_numbers(recipe)
    everything = at(*range(len(recipe.lines))) | {"gradient"}
    for kind, text in OF_THE_GRADIENT.items():
        yield LineEdit.of(kind, everything, partial(_inserted, 0, compiled(text)))


def _inserted(i: int, code: Any, lines: Units, hyper: dict[str, Any]) -> None:
    lines.insert(i, code)


def _moved(i: int, j: int, lines: Units, hyper: dict[str, Any]) -> None:
    lines.insert(j, lines.pop(i))


def _left_out(i: int, lines: Units, hyper: dict[str, Any]) -> None:
    lines[i] = None


def _of_line(recipe: Recipe, i: int, line: Line) -> Iterator[LineEdit]:
    """A line left out, at another place, or whose result is kept where it should not be."""
    name, everything = target(line), at(*range(len(recipe.lines)))
    yield LineEdit.of("line left out", at(i), partial(_left_out, i), line=line)
    for j, other in enumerate(recipe.lines):
        if j != i and (j != i + 1 or _meet(line, other)):
            kind = "line after" if j > i else "line before"
            yield LineEdit.of(kind, everything, partial(_moved, i, j), line=line, other=other)
    for j, other in enumerate(recipe.lines[i + 1 :], i + 1):
        if re.search(rf"\b{target(other)}\b", line.text.partition("= ")[2]):
            again = partial(_inserted, j + 1, compiled(line.text))
            yield LineEdit.of("line again", everything, again, line=line, other=other)
    for state in recipe.state:
        if state != name and name not in (*recipe.state, "theta", "g"):
            kept = partial(_inserted, len(recipe.lines), compiled(f"{state} = {name}"))
            yield LineEdit.of("kept as state", at(i), kept, line=line, a=name, b=state)


def _throughout(recipe: Recipe, i: int, line: Line) -> Iterator[LineEdit]:
    """Another hyperparameter, or another weight of an average, everywhere in one line."""
    left, _, right = line.text.partition(" = ")
    for name, value in recipe.hyper.items():
        for other, v in recipe.hyper.items():
            if other != name and v not in (0.0, value) and len(re.findall(rf"\b{name}\b", right)) > 1:
                text = f"{left} = " + re.sub(rf"\b{name}\b", other, right)
                yield rewritten("other throughout", {i: text}, a=name, b=other, line=line)
    some = literals(recipe)
    rest = {a: b for a in some for b in some if abs(b - (1 - a)) < 1e-12}
    averages = [a for a in some if a > 0.5 and a in rest]
    for a in averages:
        for b in averages:
            if a != b and repr(a) in right:
                text = re.sub(r"\d*\.\d+", partial(_weight, {a: b, rest[a]: rest[b]}), right)
                shares = {"a": f"{a:g}", "rest": f"{1 - a:g}", "b": f"{b:g}", "other_rest": f"{1 - b:g}"}
                yield rewritten("other weights", {i: f"{left} = {text}"}, **shares, line=line)


def _weight(instead: dict[float, float], number: re.Match[str]) -> str:
    return repr(instead.get(float(number[0]), float(number[0])))


def _meet(a: Line, b: Line) -> bool:
    return target(a) in b.text or target(b) in a.text


def _of_numbers(recipe: Recipe) -> Iterator[LineEdit]:
    """Hyperparameters with other values, everywhere."""
    text = " ".join(line.text for line in recipe.lines)
    used = [k for k in recipe.hyper if k in text and recipe.hyper[k] != 0]
    for k in used:
        v = recipe.hyper[k]
        tried = {v}
        for kind, change in OF_A_NUMBER.items():
            other = change(v, recipe.hyper.get("lr", 1.0))
            if other not in tried:
                tried.add(other)
                yield LineEdit.of(kind, frozenset({k}), with_hyper({k: other}), a=k)
        for name in used:
            if name > k and recipe.hyper[name] != v:
                swapped = with_hyper({k: recipe.hyper[name], name: v})
                yield LineEdit.of("numbers swapped", frozenset({k, name}), swapped, a=k, b=name)


def with_number(name: str, value: float, right: float) -> LineEdit:
    """A hyperparameter with another value that was fitted."""
    shown = {"a": name, "b": f"{value:g}", "right": f"{right:g}"}
    return LineEdit.of("fitted number", frozenset({name}), with_hyper({name: value}), **shown)


def numbers(recipe: Recipe) -> list[str]:
    """Every hyperparameter that is used."""
    text = " ".join(line.text for line in recipe.lines)
    return [name for name in recipe.hyper if name in text]
