"""Operations of a trace as short formulas: x · σ(x), not aten.mul.Tensor."""

from __future__ import annotations

from typing import Any

from torch.utils._pytree import tree_leaves

from compare.diagnosis.trace import Node, Ref, Trace

LONGEST = 48  # characters of a formula; what is inside becomes … beyond that

INFIX = {"add": "+", "sub": "−", "mul": "·", "div": "/", "mm": "@", "bmm": "@", "matmul": "@"}
COMPARED = {"gt": ">", "lt": "<", "ge": "≥", "le": "≤", "eq": "=", "ne": "≠"}
SILENT = {
    "view", "_unsafe_view", "reshape", "expand", "clone", "unsqueeze", "squeeze", "detach", "alias", "contiguous",
    "lift_fresh", "_to_copy", "slice", "select", "split", "unsafe_split", "split_with_sizes", "chunk", "unbind",
}  # fmt: skip
TIGHT = {"·": 2, "@": 2, "/": 2, "+": 1, "−": 1}


def operation(node: Node) -> str:
    """The plain name of an operation: mul, sigmoid; empty for an input."""
    return "" if node.op is None else str(node.op._schema.name).partition("::")[2]


def formula(trace: Trace, index: int) -> str:
    """The operation as a formula of the inputs, shortened to what fits."""
    for depth in (6, 4, 3, 2, 1):
        text = _formula(trace, index, depth)[0]
        if len(text) <= LONGEST:
            return text
    return text


def _formula(trace: Trace, index: int, depth: int) -> tuple[str, int]:
    """The formula, and how tightly its outermost operation binds."""
    node = trace.nodes[index]
    if node.op is None:
        return _formula(trace, node.sources()[0], depth) if node.item is not None else (node.name, 9)
    name = operation(node)
    if name in SILENT or (name in ("t", "permute", "transpose") and depth < 2):
        return _formula(trace, node.sources()[0], depth)
    if depth == 0:
        return "…", 9
    if name in INFIX or name in COMPARED:
        sign = {**INFIX, **COMPARED}[name]
        tight = TIGHT.get(sign, 0)
        left, right = (_argument(trace, a, depth, tight + (k and sign in "−/")) for k, a in enumerate(node.args[:2]))
        return f"{left} {sign} {right}", tight
    if name in ("t", "permute", "transpose"):
        return f"{_argument(trace, node.args[0], depth, 9)}ᵀ", 9
    if name == "neg":
        return f"−{_argument(trace, node.args[0], depth, 2)}", 2
    if name == "reciprocal":
        return f"1 / {_argument(trace, node.args[0], depth, 3)}", 2
    if name == "pow":
        return f"{_argument(trace, node.args[0], depth, 9)}^{_argument(trace, node.args[1], depth, 9)}", 3
    inside = [_argument(trace, a, depth, 0) for a in tree_leaves(node.args, is_leaf=_is_ref) if _is_ref(a)]
    if name in ("hardtanh", "clamp", "clamp_min", "clamp_max", "threshold"):
        inside += [f"{a:g}" for a in node.args[1:] if isinstance(a, (int, float))]
    return f"{name}({', '.join(inside)})", 9


def _is_ref(x: Any) -> bool:
    return isinstance(x, Ref)


def _argument(trace: Trace, a: Any, depth: int, tight: int) -> str:
    if _is_ref(a):
        text, own = _formula(trace, a.index, depth - 1)
        return f"({text})" if own < tight else text
    return f"{a:.4g}" if isinstance(a, (int, float)) else "a constant"
