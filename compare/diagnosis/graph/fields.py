"""What the {fields} of a phrase stand for: formulas and names, worked out when a phrase asks for them."""

from __future__ import annotations

from typing import Any

from handgrad.compare.diagnosis.graph import paths
from handgrad.compare.diagnosis.graph.edits.backward.sums import sums_to_one
from handgrad.compare.diagnosis.graph.formulas.elementwise import FORMULAS
from handgrad.compare.diagnosis.graph.place import Fields, Place
from handgrad.compare.diagnosis.graph.record.node import Node, is_ref
from handgrad.compare.diagnosis.graph.record.notation import constant, formula, number, spoken
from handgrad.compare.diagnosis.graph.record.operations import COMPARED
from handgrad.compare.foundation.torch_internals import arguments

CALLED = {"eps": "ε", "negative_slope": "the negative slope", "self": "", "other": "", "value": "the constant"}
NEAR = 3  # operations from a part of a loss's output to what tells its scale
# How a part of the output may have been meant, by what is done with it.
AS_A_LOGARITHM = {"2 · {}": " (as where log σ is read for log σ²)", "½ · {}": " (as where log σ² is read for log σ)"}
AS_A_SCALE = {"({})²": " (as where σ is read for σ²)", "√({})": " (as where σ² is read for σ)"}


def _of(p: Place) -> str:
    return f"in the derivative of {p.here if p.here != p.at else f'{spoken(p.node)}({p.at})'} by {p.at}"


def _minus(p: Place) -> str:
    if " " in p.at:
        return f"−({p.at})"
    return p.at[1:] if p.at.startswith("−") else f"−{p.at}"


def _divides(p: Place) -> bool:
    return p.node.operation == "div" and p.details["argument"] == 1


def _complement(p: Place) -> str:
    """1 − b; and where b is 1 − a, a."""
    node = p.trace.nodes[p.source]
    one_minus = node.operation == "rsub" and node.args[1] == 1
    if node.operation == "sub" and len(node.sources()) == 2:
        first = p.trace.source(node)
        one_minus = first.index not in p.trace.variable and bool((first.value == 1).all())
    return p.called(node.sources()[-1]) if one_minus else f"1 − {p.what}"


def _another_up(p: Place) -> str:
    """δ of a later operation lacks a factor, where that is all that is done in between."""
    index, here = p.details["other"], p.node.index
    later = p.trace.nodes[index]
    if index > here and later.operation == "mul" and here in later.sources() and len(later.sources()) == 2:
        factor = later.sources()[later.sources()[0] == here]
        return f"δ lacks the factor {p.called(factor)} (that of {p.called(index)} stands for it)"
    return f"δ of {p.called(index)} stands where that of {p.here} belongs"


def _weights(p: Place) -> str:
    name, value = p.called(p.details["other"]), p.trace.nodes[p.details["other"]].value
    return name if sums_to_one(value) else f"exp({name})"


def _axes(p: Place) -> str:
    return ", ".join(map(str, p.details["axes"]))


def _reduced_axes(p: Place) -> str:
    every = len(p.details["axes"]) == p.trace.nodes[p.edge[2]].value.dim()
    return "everything" if every else f"axis {_axes(p)}"


STEP: Fields = {
    "at": lambda p: p.at,
    "of": _of,
    "path": lambda p: paths.path(p.trace, p.edge),
    "inside": lambda p: p.inside,
    "minus": _minus,
    "letters": lambda p: f"with z = {p.at}{f', y = {p.here}' if FORMULAS[p.details['formula']].of_y else ''}",
    "the_factor": lambda p: "the division by" if _divides(p) else "the factor",
    "root_for_it": lambda p: (
        f"the division is by the root of {p.what}, not by" if _divides(p) else f"the root of {p.what} stands for"
    ),
    "complement": _complement,
    "axes": _reduced_axes,
    "another_up": _another_up,
    "one": lambda p: formula(p.trace, p.details["one"]),
    "two": lambda p: formula(p.trace, p.details["two"]),
    "late": lambda p: formula(p.trace, p.details["late"]),
    "weights": _weights,
    "kept": lambda p: "".join(f", but on the path through {p.called(e[2])}" for e in p.details["kept"]),
}


def _plain(p: Place) -> Any:
    """The plain argument in question."""
    place = p.details["place"]
    return p.node.kwargs[place] if isinstance(place, str) else p.node.args[place]


def _argument_name(p: Place) -> str:
    place = p.details["place"]
    name = place if isinstance(place, str) else arguments(p.node.op)[place].name
    return CALLED.get(name, name) or "the constant"


def _subject(p: Place) -> str:
    """A number with its name, where it has one."""
    if "place" in p.details:
        name = _argument_name(p)
        return name if name == CALLED["eps"] else f"{name} {number(_plain(p))}"
    source = p.trace.nodes[p.source]
    v = float(source.value)
    return source.name if source.name == number(v) or v.is_integer() else f"{source.name} = {number(v)}"


def _one_off(p: Place, how: str, by: str) -> str:
    """A number that is one off; of a quantity with a name, K + 1 for K."""
    name = p.trace.nodes[p.source].name if "argument" in p.details else ""
    if name and name != number(float(p.trace.nodes[p.source].value)):
        return f"{name} {by} stands for {name}"
    return f"{_subject(p)} is one too {how}"


def _rest(p: Place) -> str:
    """What is left out of a sum or a product of two."""
    others = [p.called(s) for q, s in enumerate(p.node.sources()) if q != p.details["kept"]]
    numbers = [number(a) for a in (*p.node.args, *p.node.kwargs.values()) if isinstance(a, (int, float))]
    return (*others, *numbers, "")[0]


def _the_factor(p: Place) -> str:
    numbers = [constant(a) for a in p.node.args if not is_ref(a)]
    what = numbers[0] if numbers else p.argument(1 - p.details["argument"])
    return f"the {'factor' if p.node.operation == 'mul' else 'division by'} {what}"


def _name(p: Place) -> str:
    return str(p.details.get("name") or p.called(p.node.index))


def _hint(p: Place) -> str:
    near = {p.node.index}
    for _ in range(NEAR):
        near |= {n.index for n in p.trace.nodes if near & set(n.sources())}
    done, form = {p.trace.nodes[k].operation for k in near}, p.details["form"]
    as_a_scale = AS_A_SCALE.get(form, "") if done & {"log", "div", "reciprocal"} else ""
    return AS_A_LOGARITHM.get(form, "") if "exp" in done else as_a_scale


def _power(node: Node) -> str:
    return "square" if node.operation != "pow" or list(node.args[1:]) == [2] else "power"


def _mean_of(p: Place) -> float:
    return p.trace.source(p.node).value.numel() / max(p.node.value.numel(), 1)


OPERATION: Fields = {
    "first": lambda p: p.argument(0),
    "second": lambda p: p.argument(1),
    "not_what": lambda p: p.argument(1 - p.details["argument"]),
    "subject": _subject,
    "one_larger": lambda p: _one_off(p, "large", "+ 1"),
    "one_smaller": lambda p: _one_off(p, "small", "− 1"),
    "argument_name": _argument_name,
    "value": lambda p: number(_plain(p)),
    "number": lambda p: number(p.details["number"]),
    "constant": lambda p: p.trace.nodes[p.source].name or constant(p.trace.nodes[p.source].value),
    "axes": _axes,
    "right_axes": lambda p: ", ".join(map(str, p.details["right"])),
    "shape": lambda p: "×".join(map(str, p.details["shape"])),
    "sign": lambda p: COMPARED[p.node.operation],
    "other_sign": lambda p: COMPARED[p.details["instead"]],
    "rest": _rest,
    "n": lambda p: f"{_mean_of(p):g}",
    "size": lambda p: p.trace.source(p.node).value.shape[p.node.args[1][p.details["axis"]]],
    "the_factor": _the_factor,
    "term": lambda p: p.called(p.trace.nodes[p.source].sources()[p.details["term"]]),
    "of_what": lambda p: p.details["function"].format(p.what),
    "name": _name,
    "of_name": lambda p: p.details["form"].format(_name(p)),
    "hint": _hint,
    "a": lambda p: number(p.details["a"]),
    "b": lambda p: number(p.details["b"]),
    "several": lambda p: " and ".join(dict.fromkeys(map(p.called, p.changed))),
    "last": lambda p: formula(p.trace, p.changed[-1]),
    "other_factor": lambda p: p.called(p.trace.nodes[p.changed[-1]].sources()[1 - p.details["argument"]]),
    "first_power": lambda p: _power(p.node),
    "last_power": lambda p: _power(p.trace.nodes[p.changed[-1]]),
    "moved_to": lambda p: p.called(next(s for s in p.node.sources() if s in p.trace.variable)),
}
