"""The same edit in every line that invites it, and the orders of steps that papers and libraries differ in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations, product
from typing import Any

from handgrad.compare.diagnosis.rules.edit import LineEdit, rewritten, starting, with_hyper
from handgrad.compare.diagnosis.rules.expressions import literals, target
from handgrad.compare.diagnosis.rules.recipes import DECAY, DECOUPLED, Recipe

Rewrite = Callable[[str], str]
WEIGHTS = r"(beta\d|rho|alpha)"


def of_several(recipe: Recipe) -> Iterator[LineEdit]:
    """All of them."""
    texts = [line.text for line in recipe.lines]
    for kind, change in IN_EVERY_LINE.items():
        changed = _rewritten(texts, change)
        if len(changed) > 1:
            yield rewritten(kind, changed)
    for kind, details, change in IN_A_LINE:
        every = _rewritten(texts, change)
        if every:
            yield _in_some(kind, details, texts, every)
        for i in every if len(every) > 1 else ():
            yield _in_some(kind, details, texts, {i: every[i]})
    for kind, here, there in (("decoupled", DECAY, DECOUPLED), ("coupled", DECOUPLED, DECAY)):
        if here in recipe.lines:
            yield rewritten(kind, {texts.index(here.text): there.text})
    yield from _of_starts(recipe, texts)
    yield from _exchanged(recipe, texts)
    yield from _other_orders(recipe, texts)


def _rewritten(texts: list[str], change: Rewrite) -> dict[int, str]:
    return {i: c for i, s in enumerate(texts) if (c := change(s)) != s}


def _in_some(kind: str, details: dict[str, Any], texts: list[str], some: dict[int, str]) -> LineEdit:
    """In every line of the kind, or in one, which is then told, with the weight of its average."""
    one = texts[min(some)] if len(some) == 1 else ""
    weight = re.search(rf"1 - {WEIGHTS}\b", one)
    return rewritten(kind, some, **details, one=one, weight=weight[1] if weight else "")


def _other_orders(recipe: Recipe, texts: list[str]) -> Iterator[LineEdit]:
    """Momentum before or after the scaling; the largest of the raw or of the corrected second moments."""
    at = {target(line): i for i, line in enumerate(recipe.lines)}
    if at.keys() >= {"d", "b"} and texts[at["d"]].startswith("d = g / "):
        changed = {at["d"]: "b = momentum * b + g", at["b"]: texts[at["d"]].replace("g /", "b /", 1)}
        yield rewritten("momentum of the gradient", {**changed, at["theta"]: "theta = theta - lr * d"})
    if "v_max" in at:
        changed = {at["v_max"]: "v_max = maximum(v_max, v / (1 - beta2 ** t))", at["v_hat"]: "v_hat = v_max"}
        yield rewritten("largest of the corrected", changed)


def _of_starts(recipe: Recipe, texts: list[str]) -> Iterator[LineEdit]:
    """Another number in the state at the start, and an average that starts with its first number."""
    for state, right in recipe.starts.items():
        for other in (0.0, 1.0):
            if other != right:
                begun, shown = with_hyper({starting(state): other}), {"b": f"{other:g}", "right": f"{right:g}"}
                yield LineEdit.of("starts elsewhere", frozenset({starting(state)}), begun, a=state, **shown)
    for i, line in enumerate(recipe.lines):
        average = re.fullmatch(r"(\w+) = (\w+) \* \1 \+ \(1 - \2\) \* (.+)", line.text)
        if average and average[1] in recipe.state:
            first = f"{average[1]} = {average[3]} if t == 1 else {line.text.partition(' = ')[2]}"
            yield rewritten("starts with the first", {i: first}, a=average[1], b=average[3], line=line)


def _exchanged(recipe: Recipe, texts: list[str]) -> Iterator[LineEdit]:
    """A hyperparameter of one line and that of another exchanged, as β₁ and β₂ of the two bias corrections."""
    values: dict[str, Any] = {**recipe.hyper, **{repr(v): v for v in literals(recipe)}}
    for a, b in combinations(values, 2):
        if values[a] == values[b]:
            continue
        one, other = (rf"\b{re.escape(name)}\b" for name in (a, b))
        has_one, has_other = ({i for i, s in enumerate(texts) if re.search(name, s)} for name in (one, other))
        for i in sorted(has_one & has_other):
            both = re.sub("OTHER", b, re.sub(other, a, re.sub(one, "OTHER", texts[i])))
            yield rewritten("exchanged in a line", {i: both}, a=a, b=b, line=recipe.lines[i])
        for i, j in product(sorted(has_one - has_other), sorted(has_other - has_one)):
            made = {i: re.sub(one, b, texts[i]), j: re.sub(other, a, texts[j])}
            yield rewritten("exchanged", made, a=a, b=b, line=recipe.lines[i], other=recipe.lines[j])


def _shares_swapped(text: str) -> str:
    """Of an average whose weight makes its first number the whole: there it stays so."""
    swapped = re.sub(r"\(1 - (\w+)\) \* (\w+) \+ \1 \* (.+)", r"\1 * \2 + (1 - \1) * \3", text)
    return text if swapped == text else f"{swapped} if t > 1 else {text.partition(' = ')[2]}"


def _sub(pattern: str, instead: str) -> Rewrite:
    return partial(re.sub, pattern, instead)


# What goes wrong in every line of a kind, where there are several.
IN_EVERY_LINE: dict[str, Rewrite] = {
    "step count behind": _sub(r"\((1 - beta\d \*\* )t\)", r"((\1(t - 1)) or 1)"),
    "step count ahead": _sub(r"\bt\b", "(t + 1)"),
    "times the step count": _sub(r"\*\* t\b", "* t"),
    "over the step count": _sub(r"\*\* t\b", "/ t"),
    "no step count": _sub(r" \*\* t\b", ""),
    "no bias corrections": _sub(r" / \(1 - beta\d \*\* t\)", ""),
    "no momentum schedule": _sub(r" \* \(1 - 0\.5 \* 0\.96 \*\* .*\)$", ""),
    "no gains": _sub(rf"\(1 - {WEIGHTS}\) \* ", ""),
}
# What goes wrong in one line or in every line of the kind: (the kind of edit, its details, the line rewritten).
IN_A_LINE: tuple[tuple[str, dict[str, Any], Rewrite], ...] = (
    ("weights swapped", {}, _sub(rf"{WEIGHTS} \* (.+) \+ \(1 - \1\)", r"(1 - \1) * \2 + \1")),
    ("shares swapped", {}, _shares_swapped),
    ("step count behind later", {}, _sub(r"\*\* t\)", "** max(t - 1, 1))")),
    ("eps outside the roots", {}, _sub(r"sqrt\((\w+) \+ eps\)", r"(sqrt(\1) + eps)")),
    ("rectified early", {}, lambda s: s.replace("rho > 5", "rho > 4")),
    (
        "not corrected where not adapted", {},
        lambda s: s.replace("m_hat * (r * l if rho > 5 else 1)", "(m_hat * r * l if rho > 5 else m)"),
    ),
    *(
        ("average for a sum", {"b": b}, _sub(r"^(\w+) = \1 \+ (g \*\* 2)$", rf"\1 = {b} * \1 + (1 - {b}) * \2"))
        for b in (0.9, 0.95, 0.99, 0.999)
    ),
)  # fmt: skip
