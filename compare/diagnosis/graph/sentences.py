"""An explanation in words, with what it leaves of the difference."""

from __future__ import annotations

from handgrad.compare.diagnosis.cause import Cause
from handgrad.compare.diagnosis.graph import paths
from handgrad.compare.diagnosis.graph.details import Key
from handgrad.compare.diagnosis.graph.draw import Draw
from handgrad.compare.diagnosis.graph.edits.edit import InForm, ReferenceEdit
from handgrad.compare.diagnosis.graph.edits.kinds_of_operations import OPERATIONS
from handgrad.compare.diagnosis.graph.edits.kinds_of_steps import STEPS
from handgrad.compare.diagnosis.graph.factor_kinds import FACTORS, WHOLES
from handgrad.compare.diagnosis.graph.factors import FITTED, MISSING, NONE, SIGN, Name
from handgrad.compare.diagnosis.graph.fields import OPERATION, STEP
from handgrad.compare.diagnosis.graph.hypothesis import FactoredEdit
from handgrad.compare.diagnosis.graph.place import Fields, Place
from handgrad.compare.diagnosis.graph.record.node import Edge
from handgrad.compare.diagnosis.graph.record.notation import called, formula, number
from handgrad.compare.diagnosis.graph.record.operations import AVERAGE_POOLS
from handgrad.compare.diagnosis.graph.record.trace import Trace
from handgrad.compare.diagnosis.regions import near_one

# A right gradient, of a function that is not the reference.
OF_ANOTHER = "it is the gradient of the reference with one change: "
IN_EVERY_TURN = ", in every turn of the loop"
TOGETHER = {"δ exchanged", "weights of a mixture", "one turn only"}  # of several edges, but not of a loop's turns


def of_an_edit(draw: Draw, part: FactoredEdit, fitted: float, either: bool, residual: float) -> Cause:
    """An edit of the derivation with its factor, on one draw."""
    trace, edge, factor = draw.trace, part.edges[0], part.factor
    often = IN_EVERY_TURN if len(part.edges) > 1 and part.key[0] not in TOGETHER else ""
    if part.is_path:
        text = paths.with_factor(trace, edge, factor, either, often)
    else:
        edit = None if part.key[0] in TOGETHER else draw.edit(edge, part.keys[0])
        text = f"{step_in_words(trace, edge, part.key, None if edit is None else edit.inside)}{often}"
    constant = ""
    if factor == FITTED:
        constant = f"a constant factor of {near_one(fitted)}"
    elif factor not in (NONE, MISSING) and not (part.is_path and factor == SIGN):
        constant = factor_in_words(trace, factor)
    phrase = f"{text}: {constant}" if constant and part.key[0] not in TOGETHER else text
    return Cause(part.key[0], phrase, formula(trace, edge[0]), constant, residual)


def step_in_words(trace: Trace, edge: Edge, key: Key, inside: InForm | None) -> str:
    """An edit of a step, by its kind and details."""
    said = "" if inside is None else " and ".join(operation_in_words(inside.form, edit) for edit in inside.edits)
    return Place(trace, trace.nodes[edge[0]], dict(key[1]), edge, said).filled(STEPS[key[0]].phrase, STEP)


def operation_in_words(trace: Trace, edit: ReferenceEdit) -> str:
    """An edit of an operation, or of several."""
    place = Place(trace, trace.nodes[edit.at], dict(edit.details), changed=list(edit.changes))
    return place.filled(OPERATIONS[edit.kind].phrase, OPERATION)


def of_the_reference(
    trace: Trace, edit: ReferenceEdit, target: str, often: bool, fitted: float | None, residual: float
) -> Cause:
    """Another reference: its output, or its gradient by the target."""
    phrase = _of_the_reference(trace, edit, often, fitted)
    where = formula(trace, edit.at)
    return Cause(edit.kind, f"{OF_ANOTHER if target else ''}{phrase}", where, residual=residual)


def _of_the_reference(trace: Trace, edit: ReferenceEdit, often: bool, fitted: float | None) -> str:
    if fitted is not None and edit.number is not None:
        details = {**dict(edit.details), "fitted": f"{fitted:.10g}", "right": f"{edit.number[1]:.10g}"}
        return Place(trace, trace.nodes[edit.at], details).filled(OPERATIONS["fitted number"].phrase, OPERATION)
    return operation_in_words(trace, edit) + (IN_EVERY_TURN if often else "")


def of_a_carried_one(
    trace: Trace, edit: ReferenceEdit, shown: bool, whole: bool, often: bool, fitted: float | None, residual: float
) -> Cause:
    """An edit of the forward pass, and what the gradient has to do with it."""
    how = "the gradient is of that function" if whole else "its values are put into the right derivative"
    phrase = f"{_of_the_reference(trace, edit, often, fitted)}{', as in the output' if shown else ''}: {how}"
    return Cause(edit.kind, phrase, formula(trace, edit.at), residual=residual)


def of_the_whole(trace: Trace, kind: str, index: int, residual: float) -> Cause:
    """A quantity before the whole gradient."""
    name = called(trace, index)
    return Cause(kind, WHOLES[kind].phrase.format(quantity=name), name, residual=residual)


def of_a_factor(trace: Trace, name: Name, residual: float) -> Cause:
    """A factor before the whole gradient."""
    words = factor_in_words(trace, name)
    return Cause(name.kind, words, constant=words, residual=residual)


def factor_in_words(trace: Trace, name: Name) -> str:
    """A factor by its name."""
    details = dict(name.details)
    words = Place(trace, trace.nodes[details.get("node", 0)], details).filled(FACTORS[name.kind].phrase, FACTOR)
    return f"{words}, and {FACTORS[SIGN.kind].phrase}" if name.signed else words


def _lost(p: Place) -> str:
    return f" (a {p.details['lost']} is missing)" if p.details["lost"] else ""


FACTOR: Fields = {
    "number": lambda p: number(p.details["number"]),
    "other": lambda p: number(p.details["other"]),
    "size": lambda p: f"{p.details['size']:g}",
    "large": lambda p: "large" if p.details["lost"] else "small",
    "divided": lambda p: "not divided by" if p.details["lost"] else "divided by",
    "lost": _lost,
    "constant": lambda p: "division by" if p.details["divides"] else "constant",
    "multiplied": lambda p: "divided by" if p.details["divides"] else "multiplied with",
    "of_what": lambda p: (
        "the size of the window" if p.node.operation in AVERAGE_POOLS else "the number of elements of the mean"
    ),
}
