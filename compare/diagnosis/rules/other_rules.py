"""What one rule does in a line that another rule does in its own way, and gradients of other steps than this one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from handgrad.compare.diagnosis.rules.change import Change, Units, compiled
from handgrad.compare.diagnosis.rules.recipes import Recipe

# (how unlikely, the words, lines of the rule, the same lines as the other rule has them), as regular expressions
LINES = (
    (10, "Nesterov's look-ahead is missing", r"d = g \+ momentum \* b$", "d = b"),
    (10, "a look-ahead too much, as in Nesterov's rule", r"(b = g if .*\ntheta = theta - lr \*) b$",
     r"\1 (g + momentum * b)"),
    (10, "the first gradient is dampened too", r"b = g if t == 1 else (.*)$", r"b = \1"),
    (11, "the momentum is an average, as Adam's first moment: dampened by 1 − μ, in the first step too",
     r"b = g if .*$", "b = momentum * b + (1 - momentum) * g"),
    (10, "the gradient stands where the first moment belongs", r"(theta = .*) m_hat ", r"\1 g "),
    (10, "the centring is missing", r"d = g / \(sqrt\(c\) \+ eps\)$", "d = g / (sqrt(v) + eps)"),
    (11, "ε is added before the bias correction of the second moment", r"(theta = .* / )\(sqrt\(v_hat\) \+ eps\)$",
     r"\1((sqrt(v) + eps) / sqrt(1 - beta2 ** t))"),
)  # fmt: skip
# What stands before the first line; `total` and `last` are kept from step to step.
GRADIENTS = (
    (10, "the gradient is never zeroed: it is the sum of all so far", "g = total = g + (total if t > 1 else 0)"),
    (11, "the gradient of the previous step is still in it", "g, last = g + (last if t > 1 else 0), g"),
    (11, "it is the gradient of one step ago", "g, last = (last if t > 1 else 0 * g), g"),
)


def of_another_rule(recipe: Recipe) -> Iterator[Change]:
    """A line as another rule has it, or another gradient."""
    texts = [line.text for line in recipe.lines]
    for complexity, words, here, there in LINES:
        others = re.sub(here, there, "\n".join(texts), flags=re.MULTILINE).split("\n")
        changed = {i: other for i, (text, other) in enumerate(zip(texts, others, strict=True)) if other != text}
        if changed:
            yield _change(complexity, words, changed)
    for complexity, words, before in GRADIENTS:
        yield _change(complexity, words, {0: f"{before}\n{texts[0]}"})


def _change(complexity: int, words: str, instead: dict[int, str]) -> Change:
    code = {i: compiled(text) for i, text in instead.items()}

    def apply(lines: Units, hyper: dict[str, Any]) -> None:
        for i, line in code.items():
            lines[i] = line

    return Change(frozenset(f"line {i}" for i in code), complexity, words, apply)
