"""The catalogue of planted faults, and what a check says of one of them."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks import (
    catalogue_adam,
    catalogue_linear,
    catalogue_losses,
    catalogue_norms,
    catalogue_optimizers,
    catalogue_steps,
    catalogue_tiny,
)
from benchmarks.catalogue_base import LOSS, OPTIMIZER, STEP, Fault
from handgrad.compare.checking import check as checking
from handgrad.compare.foundation.validation import choose
from handgrad.compare.judge.sides import Arrays, Sides
from handgrad.compare.run.experiment import CHOICES

ROOMS = (
    catalogue_linear, catalogue_norms, catalogue_losses, catalogue_tiny, catalogue_optimizers, catalogue_adam,
    catalogue_steps,
)  # fmt: skip

# Faults that give the same numbers as the right derivation, and so are none: not counted.
EQUIVALENT: tuple[tuple[str, str], ...] = (
    ("ReLU: z ≥ 0 for z > 0", "differs at z = 0 only, where no derivative exists; torch takes 0 there"),
    ("ReLU: mask from the activation, [a > 0]", "a > 0 exactly where z > 0"),
    ("LeakyReLU: mask from the activation", "for a slope above 0 the activation has the sign of z"),
    ("identity: derivative at the activation", "g' is 1 everywhere"),
    ("softmax: the row's maximum not subtracted", "the same function; differs only where exp overflows"),
    ("softmax cross-entropy: gradient through the maximum", "softmax does not change when a row is shifted"),
    ("LayerNorm: mean of x not subtracted in the projection", "x̂ is centred, so Σ_k x̂_k μ = 0"),
    ("SGD: dampening with a momentum of 0", "there is no buffer to dampen"),
    ("SGD without momentum: weight decay decoupled", "θ − η(∇ + λθ) = (1 − ηλ)θ − η∇"),
    ("Adam: sign of the gradient in v", "v holds g², and (−g)² = g²"),
)


def catalogue() -> list[Fault]:
    """Every fault; each has its own name."""
    faults = [fault for room in ROOMS for fault in room.faults()]
    names = [fault.name for fault in faults]
    assert len(set(names)) == len(names), [n for n in names if names.count(n) > 1]
    return faults


def sides_and_inputs(fault: Fault) -> tuple[Sides, dict[str, Arrays]]:
    """The two sides of a fault, with nothing kept from an earlier call, and the draws, as `check` makes them."""
    fault = copy.deepcopy(fault)
    real = choose("dtype", "float64", CHOICES["dtype"])
    a = dict(fault.arguments)
    if fault.kind == OPTIMIZER:
        return checking.rule_inputs(fault.ours, fault.reference, a["theta"], a["learning_rate"], a["steps"], real, 0)
    if fault.kind == LOSS:
        return checking.loss_inputs(fault.ours, fault.reference, a["output"], a["target"], real, 0)
    return checking.layer_inputs(fault.ours, fault.reference, a["x"], None, None, real, 0)


Causes = dict[str, tuple[str, ...]]


def said_of(fault: Fault) -> Causes:
    """What this project says: every tensor that differs, with its causes."""
    if fault.kind == STEP:
        return {d.tensor: d.causes for d in catalogue_steps.judge(fault.ours())}
    report = checking.run(fault.name, *sides_and_inputs(fault))
    said: Causes = {}
    for finding in report.findings:
        if not finding.agrees:
            name = "theta" if finding.tensor.startswith("theta after") else finding.tensor
            said[name] = tuple(dict.fromkeys((*said.get(name, ()), *finding.phrases)))
    return said


@dataclass(frozen=True)
class Score:
    """How well a fault was found."""

    caught: bool
    located: bool  # every faulty tensor and no other
    named: bool  # every cause of every tensor
    wrong: tuple[str, ...]  # causes named that are none


def score(fault: Fault, said: Causes) -> Score:
    """Compare what was said with what is so."""
    wrong, named = [], True
    for tensor, wanted in fault.causes.items():
        given = said.get(tensor, ())
        named &= all(any(_has(cause, words) for cause in given) for words in wanted)
        wrong += [f"{tensor}: {c}" for c in given if not any(_has(c, words) for words in wanted)]
    wrong += [f"{tensor}: {c}" for tensor in said.keys() - fault.causes.keys() for c in said[tensor]]
    return Score(bool(said), said.keys() == fault.causes.keys(), named, tuple(wrong))


def _has(cause: str, words: str) -> bool:
    """Whether one of the alternatives is in the cause; .* stands for anything in between."""
    return any(re.search(re.escape(w).replace(r"\.\*", ".*"), cause) for w in words.split("|"))


def scores(faults: list[Fault], say: Callable[[Fault], Causes] = said_of) -> Iterator[tuple[Fault, Score, Any]]:
    """Every fault with its score and what was said."""
    for fault in faults:
        said = say(fault)
        yield fault, score(fault, said), said
