"""What one rule does in a line that another rule does in its own way, and gradients of other steps than this one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from handgrad.compare.diagnosis.rules.edit import LineEdit, rewritten
from handgrad.compare.diagnosis.rules.recipes import Recipe

# Lines of the rule, and the same lines as the other rule has them, as regular expressions.
LINES = {
    "no look-ahead": (r"d = g \+ momentum \* b$", "d = b"),
    "look-ahead": (r"(b = g if .*\ntheta = theta - lr \*) b$", r"\1 (g + momentum * b)"),
    "first gradient dampened": (r"b = g if t == 1 else (.*)$", r"b = \1"),
    "momentum as an average": (r"b = g if .*$", "b = momentum * b + (1 - momentum) * g"),
    "gradient for the moment": (r"(theta = .*) m_hat ", r"\1 g "),
    "not centred": (r"d = g / \(sqrt\(c\) \+ eps\)$", "d = g / (sqrt(v) + eps)"),
    "eps before the correction": (
        r"(theta = .* / )\(sqrt\(v_hat\) \+ eps\)$", r"\1((sqrt(v) + eps) / sqrt(1 - beta2 ** t))",
    ),
}  # fmt: skip
# What stands before the first line; `total` and `last` are kept from step to step.
GRADIENTS = {
    "never zeroed": "g = total = g + (total if t > 1 else 0)",
    "previous gradient too": "g, last = g + (last if t > 1 else 0), g",
    "previous gradient": "g, last = (last if t > 1 else 0 * g), g",
}


def of_another_rule(recipe: Recipe) -> Iterator[LineEdit]:
    """A line as another rule has it, or another gradient."""
    texts = [line.text for line in recipe.lines]
    for kind, (here, there) in LINES.items():
        others = re.sub(here, there, "\n".join(texts), flags=re.MULTILINE).split("\n")
        changed = {i: other for i, (text, other) in enumerate(zip(texts, others, strict=True)) if other != text}
        if changed:
            yield rewritten(kind, changed)
    for kind, before in GRADIENTS.items():
        yield rewritten(kind, {0: f"{before}\n{texts[0]}"})
