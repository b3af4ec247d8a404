"""What is said of a path that is left out or has a factor: its operation, or the name that papers have for it."""

from __future__ import annotations

from handgrad.compare.diagnosis.graph.factors import MISSING, SIGN, Name
from handgrad.compare.diagnosis.graph.record.node import JUMP, Edge
from handgrad.compare.diagnosis.graph.record.notation import called, formula, indices, role
from handgrad.compare.diagnosis.graph.record.trace import Trace

ROOTS = {"sqrt", "linalg_vector_norm", "std", "norm"}
WIDENS = {"expand", "unsqueeze", "view", "clamp_min"}
# Which rule of differentiation has a term for each argument of an operation.
RULES = {
    **dict.fromkeys(("mul", "mm", "bmm"), " (a term of the product rule)"),
    "div": " (a term of the quotient rule)",
    **dict.fromkeys(("add", "sub"), " (a term of the sum)"),
}
POWERS = {2: "the square ", 3: "the cube "}


def with_factor(trace: Trace, edge: Edge, factor: Name, either: bool, often: str) -> str:
    """The path along an edge that is left out or has the wrong sign; otherwise just the path."""
    way = path(trace, edge, either)
    if factor == SIGN:
        return f"{way} has the wrong sign{often}"
    if factor != MISSING:
        loss = next((call.loss for call in trace.calls if call.at == edge[0]), formula(trace, edge[0]))
        return f"{f'the path through {loss}' if edge[1] == JUMP else way}{often}"
    if lost := _power_lost(trace, edge):
        return f"{lost}{often}"
    if name := _named_term(trace, edge):
        return f"{name} is missing: {called(trace, edge[2])} is held constant in {formula(trace, edge[0])}{often}"
    rule = RULES.get(trace.nodes[edge[0]].operation, "")
    return f"{way} is missing: it is held constant there{rule}{often}"


def path(trace: Trace, edge: Edge, either: bool = False) -> str:
    """The path along an edge; one of two that give the same numbers, if so."""
    node = trace.nodes[edge[0]]
    index, names = indices(trace, node, edge[1]), [called(trace, s) for s in node.sources()]
    alike = not index and len(names) == 2 and names[0] == names[1] and edge[1] >= 0
    which = ("one of the two " if either else ("the first ", "the second ")[edge[1]]) if alike else ""
    return f"the path through {which}{called(trace, edge[2])}{index}{role(node, edge[1])} in {formula(trace, edge[0])}"


def _named_term(trace: Trace, edge: Edge) -> str:
    """What papers call the term of an edge; empty where they do not."""
    operation, inside = trace.nodes[edge[0]].operation, trace.nodes[edge[2]]
    while inside.operation in WIDENS:
        inside = trace.source(inside)
    if operation == "sub" and inside.operation == "mean" and edge[1] == 1:
        return "the centring term"
    of_softmax = inside.operation == "sum" and trace.source(inside).operation == "exp"
    root = operation == "div" and edge[1] == 1 and (inside.operation in ROOTS or of_softmax)
    inverse = operation == "mul" and inside.operation in ("rsqrt", "reciprocal")
    return "the projection term" if root or inverse else ""


def _power_lost(trace: Trace, edge: Edge) -> str:
    """For a path left out of a product of equal factors: its derivative lacks a part of its number."""
    base, whole = _as_power(trace, edge[0])
    _, part = _as_power(trace, edge[2]) if edge[2] != base else (base, 1)
    if trace.nodes[edge[0]].operation != "mul" or whole < 2:
        return ""
    left = whole - part
    what = f"the factor {whole} of {POWERS.get(whole, '')}{formula(trace, edge[0])} is"
    return f"{what} lost in its derivative" if left == 1 else f"{what} {left} in its derivative"


def _as_power(trace: Trace, index: int) -> tuple[int, int]:
    """The quantity and the exponent that a product of equal factors is."""
    node = trace.nodes[index]
    if node.operation != "mul" or len(node.sources()) != 2:
        return index, 1
    (a, m), (b, n) = (_as_power(trace, s) for s in node.sources())
    return (a, m + n) if a == b else (index, 1)
