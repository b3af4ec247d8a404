"""The last step: an edit of a recipe in words, with a paper's letters."""

from __future__ import annotations

import ast
import re
from typing import Any

from handgrad.compare.diagnosis.rules.edit import LineEdit
from handgrad.compare.diagnosis.rules.expressions import target
from handgrad.compare.diagnosis.rules.kinds import EXPRESSIONS, LINES
from handgrad.compare.diagnosis.rules.recipes import ROUNDED, Line, Recipe

LETTERS = {
    "theta": "θ", "beta1": "β₁", "beta2": "β₂", "eps": "ε", "alpha": "α", "rho": "ρ", "m_hat": "m̂", "v_hat": "v̂",
    "weight_decay": "weight decay", "mu": "μ", "d_max": "the limit d", "eps1": "ε₁", "eps2": "ε₂",
    "lambd": "λ", "eta": "η",
}  # fmt: skip


def sentence(edit: LineEdit, recipe: Recipe) -> str:
    """What went wrong."""
    details = {name: _shown(v) for name, v in edit.details.items()}
    line = edit.details.get("line")
    if isinstance(line, Line):
        details["purpose"] = line.purpose
    if edit.kind in EXPRESSIONS:
        where = f" in {details['where']}," if details["where"] else ""
        words = f"{EXPRESSIONS[edit.kind].phrase}{where} in {{line}} ({{purpose}})".format(**details)
    else:
        one = details.get("one")
        details["in_one"] = f" in {one!r}" if one else ""
        details["weight"] = details.get("weight") or "β"
        words = LINES[edit.kind].phrase.format(**details)
    for name in dict.fromkeys(re.findall(r"\ba\d+\b", words)):  # a value that has no name but that of the reader
        made = next(line.text for line in recipe.lines if target(line) == name)
        words += "" if made in words else f", with {made}"
    return re.sub("|".join(rf"\b{name}\b" for name in LETTERS), lambda m: LETTERS[m[0]], words)


def _shown(v: Any) -> Any:
    """A line in quotation marks, an expression as it stands, both without the roundings to float32."""
    if isinstance(v, Line):
        return repr(_shown(v.text))
    return ast.unparse(_Wide().visit(ast.parse(v))) if isinstance(v, str) and ROUNDED in v else v


class _Wide(ast.NodeTransformer):
    """x for narrow(x)."""

    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        return node.args[0] if isinstance(node.func, ast.Name) and node.func.id == ROUNDED else node
