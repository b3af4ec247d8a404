"""Every line of a recipe with one thing changed, as it goes wrong when a paper is put into code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from handgrad.compare.diagnosis.rules.change import Change, Units, compiled
from handgrad.compare.diagnosis.rules.expressions import literals, of_expression, target
from handgrad.compare.diagnosis.rules.mutants_of_several import of_several
from handgrad.compare.diagnosis.rules.other_rules import of_another_rule
from handgrad.compare.diagnosis.rules.recipes import Line, Recipe

LETTERS = {
    "theta": "θ", "beta1": "β₁", "beta2": "β₂", "eps": "ε", "alpha": "α", "rho": "ρ", "m_hat": "m̂", "v_hat": "v̂",
    "weight_decay": "weight decay", "mu": "μ", "d_max": "the limit d", "eps1": "ε₁", "eps2": "ε₂",
    "lambd": "λ", "eta": "η",
}  # fmt: skip


def worded(change: Change, recipe: Recipe) -> str:
    """Its words, in a paper's letters, without the roundings to float32 that torch has of its own."""
    words = change.words
    for name in dict.fromkeys(re.findall(r"\ba\d+\b", words)):  # a value that has no name but that of the reader
        line = next(line.text for line in recipe.lines if target(line) == name)
        words += "" if line in words else f", with {line}"
    while "narrow(" in words:
        words, before = re.sub(r"narrow\(((?:[^()]|\([^()]*\))*)\)", r"\1", words), words
        if words == before:
            break
    return re.sub("|".join(rf"\b{name}\b" for name in LETTERS), lambda m: LETTERS[m[0]], words)


def units(recipe: Recipe) -> Units:
    """The right lines."""
    return [compiled(line.text) for line in recipe.lines]


def changed(recipe: Recipe, together: Iterable[Change]) -> tuple[Units, dict[str, Any]]:
    """The lines and the hyperparameters with some changes."""
    lines, hyper = units(recipe), dict(recipe.hyper)
    for change in together:
        change.apply(lines, hyper)
    return lines, hyper


def changes(recipe: Recipe) -> Iterator[Change]:
    """All of them; of several that are as likely, the first is named."""
    yield from of_another_rule(recipe)
    for i, line in enumerate(recipe.lines):
        for complexity, words, text in of_expression(recipe, line.text):
            words = f"{words} in {line.text!r} ({line.purpose})"
            yield Change(frozenset({f"line {i}"}), complexity, words, _instead(i, text))
        yield from _of_line(recipe, i, line)
        yield from _throughout(recipe, i, line)
    yield from of_several(recipe)
    yield from _of_numbers(recipe)
    yield from _of_gradient(recipe)


def _instead(i: int, text: str) -> Callable[[Units, dict[str, Any]], None]:
    code = compiled(text)

    def apply(lines: Units, hyper: dict[str, Any]) -> None:
        lines[i] = code

    return apply


def _of_line(recipe: Recipe, i: int, line: Line) -> Iterator[Change]:
    """A line left out, at another place, or whose result is kept where it should not be."""
    count, name = len(recipe.lines), target(line)
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
    for j in range(i + 1, count):
        if not re.search(rf"\b{target(recipe.lines[j])}\b", line.text.partition("= ")[2]):
            continue

        def again(lines: Units, hyper: Any, j: int = j) -> None:
            lines.insert(j + 1, lines[i])

        words = f"the {line.purpose} is worked out again after {recipe.lines[j].text!r}: {line.text!r}"
        yield Change(frozenset({f"line {k}" for k in range(count)}), 12, words, again)
    for state in recipe.state:
        if state == name or name in recipe.state or name in ("theta", "g"):
            continue

        def kept(lines: Units, hyper: Any, text: str = f"{state} = {name}") -> None:
            lines.append(compiled(text))

        yield Change(touched, 12, f"{name} is kept as {state} for the next step ({line.purpose})", kept)


def _throughout(recipe: Recipe, i: int, line: Line) -> Iterator[Change]:
    """Another hyperparameter, or another weight of an average, everywhere in one line."""
    right = line.text.partition(" = ")[2]
    for name, value in recipe.hyper.items():
        for other, v in recipe.hyper.items():
            if other != name and v not in (0.0, value) and len(re.findall(rf"\b{name}\b", right)) > 1:
                text = f"{target(line)} = " + re.sub(rf"\b{name}\b", other, right)
                words = f"{other} stands for {name} throughout {line.text!r} ({line.purpose})"
                yield Change(frozenset({f"line {i}"}), 11, words, _instead(i, text))
    some = literals(recipe)
    averages = [a for a in some if a > 0.5 and any(abs(b - (1 - a)) < 1e-12 for b in some)]
    for a in averages:
        for b in averages:
            if a != b and repr(a) in right:
                text = f"{target(line)} = " + _weighed(right, {a: b, _other_of(some, a): _other_of(some, b)})
                words = f"the weights {b:g} and {1 - b:g} stand for {a:g} and {1 - a:g} in {line.text!r}"
                yield Change(frozenset({f"line {i}"}), 11, words, _instead(i, text))


def _other_of(some: list[float], a: float) -> float:
    return next(b for b in some if abs(b - (1 - a)) < 1e-12)


def _weighed(right: str, instead: dict[float, float]) -> str:
    return re.sub(r"\d*\.\d+", lambda m: repr(instead.get(float(m[0]), float(m[0]))), right)


def _meet(a: Line, b: Line) -> bool:
    return target(a) in b.text or target(b) in a.text


def _of_numbers(recipe: Recipe) -> Iterator[Change]:
    """Hyperparameters with other values, everywhere."""
    text = " ".join(line.text for line in recipe.lines)
    used = [k for k in recipe.hyper if k in text and recipe.hyper[k] != 0]
    for k in used:
        v = recipe.hyper[k]
        tried = {v}
        for complexity, words, other in (
            (10, "left out (taken as 0)", 0.0),
            (10, "left out (taken as 1)", 1.0),
            (10, "doubled", 2 * v),
            (10, "halved", v / 2),
            (11, "squared: applied twice", v * v),
            (11, f"one minus itself: {k} and 1 − {k} are swapped", 1 - v),
            (10, "of the wrong sign", -v),
            (12, "multiplied by the learning rate, which does not belong", v * recipe.hyper.get("lr", 1.0)),
            (12, "divided by the learning rate, which does not belong", v / (recipe.hyper.get("lr") or 1.0)),
        ):
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

        def first(lines: Units, hyper: Any, text: str = text) -> None:
            lines.insert(0, compiled(text))

        yield Change(
            frozenset({"gradient", *(f"line {k}" for k in range(len(recipe.lines)))}), complexity, words, first
        )
