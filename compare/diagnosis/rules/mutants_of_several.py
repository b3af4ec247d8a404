"""The same slip in every line that invites it, and the orders of steps that papers and libraries differ in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations, product
from typing import Any

from handgrad.compare.diagnosis.rules.change import Change, Units, compiled, starting
from handgrad.compare.diagnosis.rules.expressions import literals, target
from handgrad.compare.diagnosis.rules.recipes import DECAY, DECOUPLED, Recipe


def of_several(recipe: Recipe) -> Iterator[Change]:
    """The same slip in every line that invites it, and the orders of steps that papers and libraries differ in."""
    texts = [line.text for line in recipe.lines]
    for words, change in (
        ("the step count is one behind: t − 1 stands where t belongs (no correction where that is 0)", _one_behind),
        ("the step count is one ahead: t + 1 stands where t belongs", lambda s: re.sub(r"\bt\b", "(t + 1)", s)),
        ("β · t stands where β ** t belongs", lambda s: re.sub(r"\*\* t\b", "* t", s)),
        ("β / t stands where β ** t belongs", lambda s: re.sub(r"\*\* t\b", "/ t", s)),
        ("β stands where β ** t belongs", lambda s: re.sub(r" \*\* t\b", "", s)),
        ("the bias corrections are left out", lambda s: re.sub(r" / \(1 - beta\d \*\* t\)", "", s)),
        (
            "the momentum schedule is left out: μ stays β₁",
            lambda s: re.sub(r" \* \(1 - 0\.5 \* 0\.96 \*\* .*\)$", "", s),
        ),
        ("the gains 1 − β are left out", lambda s: re.sub(r"\(1 - (beta\d|rho|alpha)\) \* ", "", s)),
    ):
        changed = {i: compiled(c) for i, s in enumerate(texts) if (c := change(s)) != s}
        if len(changed) > 1:
            yield Change(frozenset(f"line {i}" for i in changed), 11, words, _all_instead(changed))
    for words, rewritten in OF_A_LINE:
        every = {i: c for i, s in enumerate(texts) if (c := rewritten(s)) != s}
        for some in (every, *({i: c} for i, c in every.items() if len(every) > 1)):
            if some:
                where = f" in {texts[min(some)]!r}" if len(some) == 1 else ""
                weight = re.search(r"1 - (beta\d|rho|alpha)\b", texts[min(some)])
                said = words.replace("β", weight[1]) if weight and len(some) == 1 else words
                made = {i: compiled(c) for i, c in some.items()}
                yield Change(frozenset(f"line {i}" for i in some), 12, said + where, _all_instead(made))
    yield from _of_decays(recipe, texts)
    yield from _of_starts(recipe, texts)
    yield from _exchanged(recipe, texts)
    at = {target(line): i for i, line in enumerate(recipe.lines)}
    if at.keys() >= {"d", "b"} and texts[at["d"]].startswith("d = g / "):
        changed = {
            at["d"]: compiled("b = momentum * b + g"),
            at["b"]: compiled(texts[at["d"]].replace("g /", "b /", 1)),
        }
        changed[at["theta"]] = compiled("theta = theta - lr * d")
        words = "the momentum is taken of the gradient, before it is scaled"
        yield Change(frozenset(f"line {i}" for i in changed), 11, words, _all_instead(changed))
    if "v_max" in at:
        changed = {
            at["v_max"]: compiled("v_max = maximum(v_max, v / (1 - beta2 ** t))"),
            at["v_hat"]: compiled("v_hat = v_max"),
        }
        words = "the largest second moment is taken of the bias-corrected ones, not of the raw ones"
        yield Change(frozenset(f"line {i}" for i in changed), 11, words, _all_instead(changed))


def _of_decays(recipe: Recipe, texts: list[str]) -> Iterator[Change]:
    """The weight decay in the gradient, or apart from it."""
    for here, there, words in (
        (DECAY, DECOUPLED, "the weight decay is decoupled instead of coupled (in the gradient)"),
        (DECOUPLED, DECAY, "the weight decay is coupled (in the gradient) instead of decoupled"),
    ):
        if here in recipe.lines:
            i = texts.index(here.text)
            yield Change(frozenset({f"line {i}"}), 10, words, _all_instead({i: compiled(there.text)}))


def _of_starts(recipe: Recipe, texts: list[str]) -> Iterator[Change]:
    """Another number in the state at the start, and an average that starts with its first number."""
    for state, right in recipe.starts.items():
        for other in (0.0, 1.0):
            if other != right:

                def begun(lines: Units, hyper: dict[str, Any], name: str = starting(state), v: float = other) -> None:
                    hyper[name] = v

                words = f"{state} starts at {other:g}, not at {right:g}"
                yield Change(frozenset({starting(state)}), 11, words, begun)
    for i, text in enumerate(texts):
        average = re.fullmatch(r"(\w+) = (\w+) \* \1 \+ \(1 - \2\) \* (.+)", text)
        if average and average[1] in recipe.state:
            first = compiled(f"{average[1]} = {average[3]} if t == 1 else {text.partition(' = ')[2]}")
            words = f"{average[1]} starts with the first {average[3]}, not with an average of it and 0: {text!r}"
            yield Change(frozenset({f"line {i}"}), 12, words, _all_instead({i: first}))


def _exchanged(recipe: Recipe, texts: list[str]) -> Iterator[Change]:
    """A hyperparameter of one line and that of another exchanged, as β₁ and β₂ of the two bias corrections."""
    values: dict[str, Any] = {**recipe.hyper, **{repr(v): v for v in literals(recipe)}}
    for a, b in combinations(values, 2):
        if values[a] == values[b]:
            continue
        one, other = (rf"\b{re.escape(name)}\b" for name in (a, b))
        here = [i for i, s in enumerate(texts) if re.search(one, s) and not re.search(other, s)]
        there = [i for i, s in enumerate(texts) if re.search(other, s) and not re.search(one, s)]
        for i, s in enumerate(texts):
            if re.search(one, s) and re.search(other, s):
                both = re.sub("OTHER", b, re.sub(other, a, re.sub(one, "OTHER", s)))
                words = f"{a} and {b} are exchanged in {s!r}"
                yield Change(frozenset({f"line {i}"}), 12, words, _all_instead({i: compiled(both)}))
        for i, j in product(here, there):
            made = {i: re.sub(one, b, texts[i]), j: re.sub(other, a, texts[j])}
            words = f"{a} and {b} are exchanged in {texts[i]!r} and {texts[j]!r}"
            changed = {k: compiled(text) for k, text in made.items()}
            yield Change(frozenset(f"line {k}" for k in made), 11, words, _all_instead(changed))


def _swapped(text: str) -> str:
    return re.sub(r"(beta\d|rho|alpha) \* (.+) \+ \(1 - \1\)", r"(1 - \1) * \2 + \1", text)


def _shares_swapped(text: str) -> str:
    """Of an average whose weight makes its first number the whole: there it stays so."""
    swapped = re.sub(r"\(1 - (\w+)\) \* (\w+) \+ \1 \* (.+)", r"\1 * \2 + (1 - \1) * \3", text)
    return text if swapped == text else f"{swapped} if t > 1 else {text.partition(' = ')[2]}"


def _averaged(beta: float, text: str) -> str:
    return re.sub(r"^(\w+) = \1 \+ (g \*\* 2)$", rf"\1 = {beta} * \1 + (1 - {beta}) * \2", text)


# What goes wrong in one line or in every line of the kind: (words, the line rewritten).
OF_A_LINE: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("β and 1 − β are swapped", _swapped),
    ("the shares of the old and the new are swapped, but for the first step,", _shares_swapped),
    ("the step count is one behind from the second step on", lambda s: re.sub(r"\*\* t\)", "** max(t - 1, 1))", s)),
    ("ε stands outside the roots", lambda s: re.sub(r"sqrt\((\w+) \+ eps\)", r"(sqrt(\1) + eps)", s)),
    ("the rectification starts at a length of 4, not 5", lambda s: s.replace("rho > 5", "rho > 4")),
    (
        "the bias correction of the first moment is left out where the step is not adapted",
        lambda s: s.replace("m_hat * (r * l if rho > 5 else 1)", "(m_hat * r * l if rho > 5 else m)"),
    ),
    *((f"a moving average with {b} stands for the sum", partial(_averaged, b)) for b in (0.9, 0.95, 0.99, 0.999)),
)


def _one_behind(text: str) -> str:
    return re.sub(r"\((1 - beta\d \*\* )t\)", r"((\1(t - 1)) or 1)", text)


def _all_instead(changed: dict[int, Any]) -> Callable[[Units, dict[str, Any]], None]:
    def apply(lines: Units, hyper: dict[str, Any]) -> None:
        for i, code in changed.items():
            lines[i] = code

    return apply
