"""What may be wrong with an update rule: the same rule, run with one thing or two things changed.

The rules of torch.optim are written once more here, with a switch for every known slip. A slip, or a pair
of them, is named only if the whole trajectory that it gives is the manual side's, within rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import torch

from handgrad.compare.diagnosis.cause import Cause, joined
from handgrad.compare.diagnosis.regions import near_one, single_element
from handgrad.compare.diagnosis.rules.search import wrong_lines
from handgrad.compare.judge.case import Case, Output
from handgrad.compare.judge.sides import Arrays, bounded
from handgrad.compare.rounding.bounded import Bounded, Precision

Settings = dict[str, Any]
Slips = dict[str, dict[str, Any]]

STATE_NAMES = ("momentum_buffer", "exp_avg", "exp_avg_sq", "square_avg", "grad_avg")

# name → the settings it changes; a value may be a function of the right settings
SLIPS: Slips = {
    "the sign is flipped: the step climbs": {"rate_factor": -1.0},
    "the learning rate is left out (taken as 1)": {"rate": 1.0},
    "the learning rate is applied twice": {"rate": lambda s: s["rate"] ** 2},
    "a factor ½ too much in the step": {"rate_factor": 0.5},
    "a factor 2 too much in the step": {"rate_factor": 2.0},
    "the gradient is never zeroed: it is the sum of all so far": {"gradients": "all"},
    "the gradient of the previous step is still in it": {"gradients": "last two"},
    "it is the gradient of one step ago": {"gradients": "late"},
    "the weight decay is missing": {"decay": 0.0},
    "the weight decay is doubled": {"decay": lambda s: 2 * s["decay"]},
    "the weight decay is halved": {"decay": lambda s: s["decay"] / 2},
    "the weight decay has the wrong sign": {"decay": lambda s: -s["decay"]},
    "the weight decay is coupled (in the gradient) instead of decoupled": {"decoupled": False},
    "the weight decay is decoupled instead of coupled (in the gradient)": {"decoupled": True},
    "the decoupled weight decay is not multiplied by the learning rate": {"decay_rate": 1.0},
    "the momentum is missing": {"momentum": 0.0, "nesterov": False},
    "the momentum is dampened by 1 − μ": {"dampening": lambda s: s["momentum"]},
    "the dampening is missing": {"dampening": 0.0},
    "the first gradient is dampened too": {"first_dampened": True},
    "Nesterov's look-ahead is missing": {"nesterov": False},
    "a Nesterov look-ahead too much": {"nesterov": True},
    "the bias correction is missing": {"correct1": "none", "correct2": "none"},
    "the bias correction of m is missing": {"correct1": "none"},
    "the bias correction of v is missing": {"correct2": "none"},
    "the bias correction uses β instead of βᵗ": {"correct1": "beta", "correct2": "beta"},
    "the step count is one behind in the bias correction": {"count_shift": -1},
    "the step count is one ahead in the bias correction": {"count_shift": 1},
    "ε stands inside the root": {"eps_inside": True},
    "ε is missing": {"eps": 0.0},
    "ε is added before the bias correction of v": {"eps_early": True},
    "β₁ and β₂ are swapped": {"beta1": lambda s: s["beta2"], "beta2": lambda s: s["beta1"]},
    "β₁ is missing: the gradient stands where m belongs": {"beta1": 0.0, "correct1": "none"},
    "1 − β₁ is missing: m is a sum": {"gain1": 1.0},
    "1 − β₂ is missing: v is a sum": {"gain2": 1.0},
    "the square of the gradient is missing in v": {"square": "absolute"},
    "the root of v is missing": {"root": False},
    "the centring is missing": {"centered": False},
    "a centring too much": {"centered": True},
    "the momentum of the step is missing": {"momentum": 0.0},
    "α and 1 − α are swapped": {"beta2": lambda s: 1 - s["beta2"]},
}


def explain_update(sides: Any, cases: Sequence[Case]) -> tuple[Cause, ...]:
    """The slips that explain an output of a `TrajectorySides` or of an `OptimizerSides` in every case.

    They must also give every other output of the same trajectory, those that agree included, where these are at
    hand; a slip that does nothing to this output is then not a cause of it.
    """
    cases = [_as_trajectory(c) for c in cases if c.manual.shape == c.torch.shape]
    if not cases or (single_element(list(cases)) is not None and len(cases[0].beside) < 2):
        return ()
    right = settings_of(sides, cases[0].inputs)
    return (
        (_known(right, cases, 1) if right else ())
        or wrong_lines(sides, cases, 1)
        or (_known(right, cases, 2) if right else ())
        or wrong_lines(sides, cases, 2)
    )


def _known(right: Settings, cases: Sequence[Case], size: int) -> tuple[Cause, ...]:
    """So many of the slips below that explain the cases together."""
    slips = _slips(cases[0])
    tried = {names: _residual(right, slips, names, cases) for names in combinations(slips, size)}
    found = {names: residual for names, residual in tried.items() if residual <= 1}
    if not found:
        return ()
    reduced = {_felt(right, slips, names, cases[0]): residual for names, residual in found.items()}
    second = "α" if right["kind"] == "rmsprop" else "β₂"  # what the rule calls the weight of v
    said = [
        [Cause("known slip", name.replace("β₂", second), residual=residual) for name in names]
        for names, residual in reduced.items()
    ]
    also = tuple(joined(causes) for causes in said[1:4])
    return tuple(replace(cause, alternatives=also) for cause in said[0])


def _slips(case: Case) -> Slips:
    """The known slips, and a constant factor in the step or in the gradient, as the largest first step has it."""
    slips = dict(SLIPS)
    name = next((n for n in case.beside if n.startswith("theta after")), case.output)
    ours = case.beside.get(name, case)
    start = case.inputs["theta"]
    if name.startswith("theta") and ours.torch.shape == start.shape:
        k = int(np.abs(ours.torch - start).argmax())
        moved = ours.torch.flat[k] - start.flat[k]
        factor = (ours.manual.flat[k] - start.flat[k]) / moved if moved else 1.0
        if np.isfinite(factor) and factor not in (0.0, 1.0) and abs(factor) < 1e6:
            spread = float(np.broadcast_to(ours.allowed, start.shape).flat[k] / abs(moved * factor))
            name = f"a constant factor of {near_one(float(factor))} in the step"
            slips[name] = {"rate_factor": float(factor), "factor_spread": spread}
    return slips


def _felt(right: Settings, slips: Slips, names: tuple[str, ...], case: Case) -> tuple[str, ...]:
    """Those of the slips without which this output would be another one."""
    if len(names) == 1:
        return names

    def result(chosen: tuple[str, ...]) -> Any:
        return simulate(_with(right, slips, chosen), case.inputs, case.output)

    with np.errstate(all="ignore"):
        guess = result(names)
        kept = [n for n in names if not np.array_equal(result(tuple(m for m in names if m != n)), guess)]
    return tuple(kept) or names


def _as_trajectory(case: Case) -> Case:
    """A single update as the last step of a trajectory whose earlier steps are behind it."""
    if "grads" in case.inputs:
        return case
    grads = [case.inputs["grad"]] if case.previous is None else [case.previous, case.inputs["grad"]]
    return replace(case, inputs={**case.inputs, "grads": np.stack(grads), "behind": len(grads) - 1})


def settings_of(sides: Any, inputs: Arrays) -> Settings | None:
    """The hyperparameters of the torch side, in the terms used here; None for a rule not known here."""
    optimizer = sides.optimizer([torch.nn.Parameter(torch.zeros(1))], inputs["learning rate"])
    group, kind = optimizer.param_groups[0], type(optimizer).__name__
    if kind not in ("SGD", "Adam", "AdamW", "RMSprop") or group.get("amsgrad") or group.get("maximize"):
        return None
    beta1, beta2 = group.get("betas", (0.0, group.get("alpha", 0.0)))
    return {
        "kind": "adam" if kind.startswith("Adam") else kind.lower(),
        "rate": float(group["lr"]),
        "rate_factor": 1.0,
        "factor_spread": 0.0,  # the relative error of the factor, where it is fitted
        "gradients": "now",
        "decay": group["weight_decay"],
        "decoupled": kind == "AdamW" or bool(group.get("decoupled_weight_decay")),
        "decay_rate": None,
        "momentum": group.get("momentum", 0.0),
        "dampening": group.get("dampening", 0.0),
        "first_dampened": False,
        "nesterov": group.get("nesterov", False),
        "beta1": beta1,
        "beta2": beta2,
        "correct1": "power",
        "correct2": "power",
        "count_shift": 0,
        "eps": group.get("eps", 0.0),
        "eps_inside": False,
        "eps_early": False,
        "gain1": None,
        "gain2": None,
        "square": "square",
        "root": True,
        "centered": group.get("centered", False),
    }


def _with(right: Settings, slips: Slips, names: tuple[str, ...]) -> Settings:
    """The settings with these slips."""
    wrong = dict(right)
    for name in names:
        wrong |= {k: v(right) if callable(v) else v for k, v in slips[name].items()}
    return wrong


def _residual(right: Settings, slips: Slips, names: tuple[str, ...], cases: Sequence[Case]) -> float:
    """What the rule with these slips leaves of the difference, as a fraction of the bound, at worst."""
    wrong = _with(right, slips, names)
    if wrong == right or (len(names) == 2 and slips[names[0]].keys() & slips[names[1]].keys()):
        return np.inf
    worst = 0.0
    for case in cases:
        for output in dict.fromkeys((case.output, *case.beside)):
            together = case.beside.get(output, Output(case.manual, case.torch, case.allowed))
            worst = max(worst, _left(wrong, case.inputs, output, together, needed=output == case.output))
            if not worst <= 1:
                return np.inf
    return worst


def _left(settings: Settings, inputs: Arrays, name: str, output: Output, needed: bool) -> float:
    """What is left of one output; 0 for one that the rule as written here does not have, unless it is needed."""
    few = slice(0, 8)  # most slips are ruled out by a few elements
    first = {k: v[..., few] if isinstance(v, np.ndarray) else v for k, v in inputs.items()}
    with np.errstate(all="ignore"):
        guess = simulate(settings, first, name)
        if guess is None or np.shape(guess) != output.manual[few].shape:
            return np.inf if needed else 0.0
        if not np.allclose(guess, output.manual[few], rtol=1e-4, atol=0):
            return np.inf
        precision = Precision.of(output.manual.dtype)
        exact = simulate(settings, bounded(inputs, precision), name)
        if not isinstance(exact, Bounded):
            return np.inf
        error = 0 if exact.error is None else exact.error
        room = error + output.allowed
        if name.startswith("theta"):
            room = room + settings["factor_spread"] * np.abs(exact.value - inputs["theta"])
        ratio = np.abs(exact.value - output.manual) / room
    return float(ratio.max()) if np.isfinite(ratio).all() else np.inf


def simulate(s: Settings, inputs: Arrays, output: str) -> Any:
    """The named output of the rule with these settings; None where it has no such output."""
    theta, grads, behind = inputs["theta"], inputs["grads"], inputs.get("behind", 0)
    state = {k: inputs[k] for k in STATE_NAMES if k in inputs}
    done = inputs.get("step", 0) - behind
    for k in range(behind, len(grads)):
        theta, state = _update(s, theta, _gradient(s, grads, k), state, done + k + 1)
        if output == f"theta after step {k + 1}":
            return theta
    return theta if output == "theta" else state.get(output)


def _gradient(s: Settings, grads: Any, k: int) -> Any:
    g = grads[k]
    if s["gradients"] == "last two" and k:
        g = g + grads[k - 1]
    elif s["gradients"] == "late":
        g = grads[k - 1] if k else grads[0] * 0
    elif s["gradients"] == "all":
        for j in range(k):
            g = g + grads[j]
    return g


def _update(s: Settings, theta: Any, g: Any, state: dict[str, Any], t: int) -> tuple[Any, dict[str, Any]]:
    rate = s["rate"] * s["rate_factor"]
    if s["decay"]:
        if s["decoupled"]:
            theta = theta * (1 - (s["decay_rate"] or s["rate"]) * s["decay"])
        else:
            g = g + s["decay"] * theta
    step: Callable[..., Any] = {"sgd": _sgd, "adam": _adam, "rmsprop": _rmsprop}[s["kind"]]
    direction, state = step(s, g, state, t)
    return theta - rate * direction, state


def _sgd(s: Settings, g: Any, state: dict[str, Any], t: int) -> tuple[Any, dict[str, Any]]:
    if not s["momentum"]:
        return g, state
    if state or s["first_dampened"]:
        b = (1 - s["dampening"]) * g + s["momentum"] * state.get("momentum_buffer", 0.0)
    else:
        b = g
    return (g + s["momentum"] * b if s["nesterov"] else b), {"momentum_buffer": b}


def _second_moment(s: Settings, g: Any, state: dict[str, Any], name: str) -> Any:
    gain = 1 - s["beta2"] if s["gain2"] is None else s["gain2"]
    squared = g * g if s["square"] == "square" else np.abs(g)
    return gain * squared + (s["beta2"] * state[name] if state else 0)


def _adam(s: Settings, g: Any, state: dict[str, Any], t: int) -> tuple[Any, dict[str, Any]]:
    gain = 1 - s["beta1"] if s["gain1"] is None else s["gain1"]
    m = gain * g + s["beta1"] * state.get("exp_avg", 0.0)
    v = _second_moment(s, g, state, "exp_avg_sq")
    count = t + s["count_shift"]
    corrections = []
    for how, beta in ((s["correct1"], s["beta1"]), (s["correct2"], s["beta2"])):
        corrections.append({"none": 1.0, "beta": 1 - beta, "power": 1 - beta**count}[how])
    m_hat, v_hat = (x / c if c else x * np.inf for x, c in zip((m, v), corrections, strict=True))
    if s["eps_early"]:
        denominator = (np.sqrt(v) + s["eps"]) / np.sqrt(corrections[1])
    else:
        denominator = _denominator(s, v_hat)
    return m_hat / denominator, {"exp_avg": m, "exp_avg_sq": v}


def _rmsprop(s: Settings, g: Any, state: dict[str, Any], t: int) -> tuple[Any, dict[str, Any]]:
    v = _second_moment(s, g, state, "square_avg")
    new = {"square_avg": v}
    spread = v
    if s["centered"]:
        new["grad_avg"] = (1 - s["beta2"]) * g + s["beta2"] * state.get("grad_avg", 0)
        spread = v - new["grad_avg"] * new["grad_avg"]
    d = g / _denominator(s, spread)
    if s["momentum"]:
        d = d + s["momentum"] * state.get("momentum_buffer", 0)
        new["momentum_buffer"] = d
    return d, new


def _denominator(s: Settings, v: Any) -> Any:
    if not s["root"]:
        return v + s["eps"]
    return np.sqrt(v + s["eps"]) if s["eps_inside"] else np.sqrt(v) + s["eps"]
