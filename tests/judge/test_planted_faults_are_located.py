"""A fault anywhere in the hand-written training is reported at its own stage and tensor, and at no other.

Every fault is a subclass of the right layer, loss, network or update rule with one line wrong. It is planted at one
place of a network at a time, and a few judged steps are run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from handgrad import data, manual
from handgrad.compare.run import experiment
from handgrad.compare.run.experiment import Experiment, Sides
from handgrad.compare.run.health import Stopped
from handgrad.compare.run.lockstep import Lockstep

STEPS = 4
Found = set[tuple[str, str]]  # (stage without the class name, tensor)


def off(x: Any) -> Any:
    """One element off by a relative 1e-11, far below what a loss curve or allclose would show."""
    values = getattr(x, "value", x)  # of a Bounded, when it is judged
    nudge = np.ones(x.shape, x.dtype)
    nudge.flat[np.abs(values).argmax()] += 1e-11
    return x * nudge


def single(x: Any) -> Any:
    """Every element rounded to float32 on the way."""
    return x.astype(np.float32).astype(x.dtype)


# --- faulty Linear layers -----------------------------------------------------------------------------------


class LinearForward(manual.Linear):
    def forward(self, params, x):
        z, a = super().forward(params, x)
        return self.wrong(z, params, x), a


class LinearInput(manual.Linear):
    def input_gradient(self, params, cache, dy):
        return self.wrong(super().input_gradient(params, cache, dy), params, dy)


class LinearWeight(manual.Linear):
    def parameter_gradients(self, params, cache, dy):
        right = super().parameter_gradients(params, cache, dy)
        return right | {"weight": self.wrong(right["weight"], cache, dy)}


class LinearBias(manual.Linear):
    def parameter_gradients(self, params, cache, dy):
        right = super().parameter_gradients(params, cache, dy)
        return right | {"bias": self.wrong(right["bias"], cache, dy)}


class LinearNoBiasGradient(manual.Linear):
    def parameter_gradients(self, params, cache, dy):
        return {"weight": super().parameter_gradients(params, cache, dy)["weight"]}


def variant(base: type, wrong: Callable[..., Any]) -> type:
    """A subclass of `base` whose `wrong` makes the wrong result of the right one."""
    return dataclass(frozen=True)(type(base.__name__, (base,), {"wrong": lambda self, *args: wrong(*args)}))


FORWARD = {
    "sign flipped": lambda z, params, x: -z,
    "doubled": lambda z, params, x: 2 * z,
    "no bias": lambda z, params, x: z - params["bias"],
    "bias twice": lambda z, params, x: z + params["bias"],
    "bias to the wrong rows": lambda z, params, x: z - params["bias"] + params["bias"][::-1],
    "examples in another order": lambda z, params, x: z[::-1],
    "one element off": lambda z, params, x: off(z),
    "rounded to float32": lambda z, params, x: single(z),
    "transposed": lambda z, params, x: z.T,
}
INPUT = {
    "sign flipped": lambda dx, params, dy: -dx,
    "doubled": lambda dx, params, dy: 2 * dx,
    "lost": lambda dx, params, dy: 0 * dx,
    "averaged": lambda dx, params, dy: dx / len(dy),
    "examples in another order": lambda dx, params, dy: dx[::-1],
    "one element off": lambda dx, params, dy: off(dx),
    "rounded to float32": lambda dx, params, dy: single(dx),
}
WEIGHT = {
    "sign flipped": lambda dW, a, dy: -dW,
    "doubled": lambda dW, a, dy: 2 * dW,
    "lost": lambda dW, a, dy: 0 * dW,
    "averaged": lambda dW, a, dy: dW / len(dy),
    "transposed": lambda dW, a, dy: dW.T,
    "wrong batch axis": lambda dW, a, dy: dy[::-1].T @ a,
    "first example only": lambda dW, a, dy: dy[:1].T @ a[:1],
    "last example forgotten": lambda dW, a, dy: dy[:-1].T @ a[:-1],
    "one element off": lambda dW, a, dy: off(dW),
    "rounded to float32": lambda dW, a, dy: single(dW),
}
BIAS = {
    "sign flipped": lambda db, a, dy: -db,
    "doubled": lambda db, a, dy: 2 * db,
    "zero": lambda db, a, dy: 0 * db,
    "averaged": lambda db, a, dy: dy.mean(axis=0),
    "summed over the wrong axis": lambda db, a, dy: dy.sum(axis=1),
    "one number for all": lambda db, a, dy: dy.sum(keepdims=True)[0],
    "one element off": lambda db, a, dy: off(db),
}


@dataclass(frozen=True)
class Fault:
    """A fault, where it goes, and where it must be reported."""

    name: str
    plant: Callable[[Sides], Sides]
    expected: Found

    def __str__(self) -> str:
        return self.name


def replaced(layer: manual.Layer, kind: type) -> manual.Layer:
    """A layer of another class with the same hyperparameters."""
    return kind(**{f.name: getattr(layer, f.name) for f in dataclasses.fields(layer)})


def in_layer(index: int, kind: type) -> Callable[[Sides], Sides]:
    """Put the faulty class in the place of layer `index`."""

    def plant(sides: Sides) -> Sides:
        layers = list(sides.network.layers)
        layers[index] = replaced(layers[index], kind)
        return sides._replace(network=dataclasses.replace(sides.network, layers=tuple(layers)))

    return plant


def linear_faults() -> list[Fault]:
    """Every fault of a Linear layer at each of the three."""
    faults = []
    for i in (0, 2, 4):
        stages = (
            (LinearForward, FORWARD, "forward", f"{i}.output"),
            (LinearInput, INPUT if i else {}, "input gradient", f"∂J/∂{i}.input"),  # nobody wants that of the first
            (LinearWeight, WEIGHT, "parameter gradients", f"{i}.weight"),
            (LinearBias, BIAS, "parameter gradients", f"{i}.bias"),
        )
        for base, wrongs, stage, tensor in stages:
            faults += [
                Fault(f"{i} {tensor} {name}", in_layer(i, variant(base, wrong)), {(f"{i} · {stage}", tensor)})
                for name, wrong in wrongs.items()
            ]
        missing = {(f"{i} · parameter gradients", f"{i}.bias")}
        faults.append(Fault(f"{i}.bias missing", in_layer(i, LinearNoBiasGradient), missing))
    return faults


# --- running one ----------------------------------------------------------------------------------------------


def run(fault: Fault | None, dataset: data.Dataset, **settings: Any) -> Lockstep:
    """A few judged steps with the fault in place."""
    settings = {"batch_size": 16, "max_steps": STEPS, "epochs": 9, "initialization": "torch"} | settings

    def build(*args: Any) -> Sides:
        sides = experiment.build(*args)
        return fault.plant(sides) if fault else sides

    lockstep = Lockstep(Experiment(**settings), dataset, build)
    with np.errstate(all="ignore"):  # a doubled forward may well blow up
        try:
            lockstep.run()
        except Stopped:
            assert lockstep.judge.disagreements
    return lockstep


def found(lockstep: Lockstep) -> Found:
    """Where the disagreements are; layers by number, since a planted class has a name of its own."""
    where = set()
    for d in lockstep.judge.disagreements:
        parts = d.stage.split(" · ")
        where.add((" · ".join((parts[0], parts[2])) if len(parts) == 3 else parts[0], d.tensor))
    return where


def assert_located(fault: Fault, lockstep: Lockstep) -> None:
    """The fault is reported where it is, and in the first step, and in words that say where."""
    assert found(lockstep) == fault.expected
    first = lockstep.judge.disagreements[0]
    line = str(first).splitlines()[0]
    assert line.startswith(f"step {first.step}, {first.stage}, {first.tensor}: ")
    assert ("allowed" in line and "manual" in line and "torch" in line) or "beside torch's" in line or "raises" in line
    assert not [note for d in lockstep.judge.disagreements for note in d.notes if "no diagnosis" in note]


SQUARE = {"sizes": (16, 16, 16, 16)}


def test_no_fault_no_disagreement(digits: data.Dataset, square: data.Dataset) -> None:
    assert found(run(None, digits)) == set()
    assert found(run(None, square, **SQUARE)) == set()


@pytest.mark.parametrize("fault", linear_faults(), ids=str)
def test_a_faulty_linear_layer(fault: Fault, digits: data.Dataset) -> None:
    assert_located(fault, run(fault, digits))


class Transposed(manual.Linear):
    """A square weight used the wrong way round, which no shape gives away."""

    def forward(self, params, x):
        return x @ params["weight"] + params["bias"], x


class TransposedBack(manual.Linear):
    def input_gradient(self, params, cache, dy):
        return dy @ params["weight"].T


class TransposedGradient(manual.Linear):
    def parameter_gradients(self, params, cache, dy):
        return super().parameter_gradients(params, cache, dy) | {"weight": cache.T @ dy}


SQUARE_FAULTS = [
    Fault(f"{i} {kind.__name__}", in_layer(i, kind), {(f"{i} · {stage}", tensor)})
    for i in (0, 2, 4)
    for kind, stage, tensor in (
        (Transposed, "forward", f"{i}.output"),
        (TransposedBack, "input gradient", f"∂J/∂{i}.input"),
        (TransposedGradient, "parameter gradients", f"{i}.weight"),
    )
    if not (i == 0 and kind is TransposedBack)
]


@pytest.mark.parametrize("fault", SQUARE_FAULTS, ids=str)
def test_a_transposed_weight_of_a_square_layer(fault: Fault, square: data.Dataset) -> None:
    assert_located(fault, run(fault, square, **SQUARE))


@pytest.mark.parametrize("fault", [f for f in SQUARE_FAULTS if f.name[0] != "2"], ids=str)
def test_a_transposed_weight_that_does_not_even_fit(fault: Fault, digits: data.Dataset) -> None:
    lockstep = run(fault, digits)
    assert found(lockstep) == fault.expected
    assert lockstep.progress.step < STEPS


def test_code_that_raises_is_reported_where_it_raises(digits: data.Dataset) -> None:
    fault = Fault("", in_layer(4, Transposed), {("4 · forward", "4.output")})
    lockstep = run(fault, digits)
    assert found(lockstep) == fault.expected
    assert "the manual code raises ValueError: matmul" in str(lockstep.judge.disagreements[0])


def test_a_step_that_cannot_be_made_ends_the_run(digits: data.Dataset) -> None:
    def build(*args: Any) -> Sides:
        return in_layer(4, Transposed)(experiment.build(*args))

    with pytest.raises(Stopped, match="the manual side cannot go on: ValueError: matmul"):
        Lockstep(Experiment(max_steps=3), digits, build).run()


# --- activations ----------------------------------------------------------------------------------------------


def activation_fault(name: str, index: int, base: type, method: str, wrong: Callable[..., Any]) -> Fault:
    kind = dataclass(frozen=True)(type(base.__name__, (base,), {method: wrong}))
    stage, tensor = ("forward", f"{index}.output") if method == "forward" else ("input gradient", f"∂J/∂{index}.input")
    return Fault(f"{index} {base.__name__} {name}", in_layer(index, kind), {(f"{index} · {stage}", tensor)})


def with_cache(kind: type, wrong: Callable[[Any], Any]) -> Callable[..., Any]:
    """A forward whose output is wrong, and whose cache is what the class caches: for σ and tanh the wrong output."""

    def forward(self, params, x):
        right, cache = kind.forward(self, params, x)
        y = wrong(right)
        return y, (y if cache is right else cache)

    return forward


def activation_faults(activation: str) -> list[Fault]:
    kind = type(experiment.pairs.ACTIVATIONS[activation].manual())
    wrongs: dict[str, tuple[str, Callable[..., Any]]] = {
        "forward sign": ("forward", with_cache(kind, lambda y: -y)),
        "forward one off": ("forward", with_cache(kind, off)),
        "forward float32": ("forward", with_cache(kind, single)),
        "doubled": ("input_gradient", lambda self, p, c, dy: 2 * kind.input_gradient(self, p, c, dy)),
        "sign": ("input_gradient", lambda self, p, c, dy: -kind.input_gradient(self, p, c, dy)),
        "one off": ("input_gradient", lambda self, p, c, dy: off(kind.input_gradient(self, p, c, dy))),
    }
    if activation != "identity":
        wrongs["missing g'(z)"] = ("input_gradient", lambda self, p, c, dy: dy * 1)
        wrongs["lost upstream"] = ("input_gradient", lambda self, p, c, dy: kind.input_gradient(self, p, c, 0 * dy + 1))
    if activation in ("relu", "leaky-relu"):
        wrongs["g' the other way round"] = ("input_gradient", lambda self, p, c, dy: np.where(c > 0, 0, dy))
    if activation == "leaky-relu":
        wrongs["slope forgotten"] = ("input_gradient", lambda self, p, c, dy: np.where(c > 0, dy, 0))
    if activation == "sigmoid":
        wrongs["g' at a, not z"] = (
            "input_gradient",
            lambda self, p, c, dy: dy * manual.activations.logistic(c) * (1 - manual.activations.logistic(c)),
        )
        wrongs["half of g'"] = ("input_gradient", lambda self, p, c, dy: dy * c)
    if activation == "tanh":
        wrongs["g' at a, not z"] = ("input_gradient", lambda self, p, c, dy: dy * (1 - np.tanh(c) ** 2))
        wrongs["1 − a"] = ("input_gradient", lambda self, p, c, dy: dy * (1 - c))
    return [activation_fault(name, i, kind, method, wrong) for i in (1, 3) for name, (method, wrong) in wrongs.items()]


@pytest.mark.parametrize(
    ("activation", "fault"),
    [(name, fault) for name in experiment.pairs.ACTIVATIONS for fault in activation_faults(name)],
    ids=str,
)
def test_a_faulty_activation(activation: str, fault: Fault, digits: data.Dataset) -> None:
    assert_located(fault, run(fault, digits, activation=activation))


# --- losses -----------------------------------------------------------------------------------------------------


def loss_faults(name: str) -> list[Fault]:
    kind = type(experiment.pairs.LOSSES[name].manual())

    def forward(wrong: Callable[[Any, Any], Any]) -> dict[str, Any]:
        def method(self, output, target):
            J, cache = kind.forward(self, output, target)
            return wrong(J, output), cache

        return {"forward": method}

    def gradient(wrong: Callable[[Any], Any]) -> dict[str, Any]:
        return {"gradient": lambda self, cache: wrong(kind.gradient(self, cache))}

    value, slope = {("loss", "J")}, {("loss gradient", "∂J/∂ŷ")}
    table: list[tuple[str, dict[str, Any], Found]] = [
        ("J sign flipped", forward(lambda J, output: -J), value),
        ("J doubled", forward(lambda J, output: 2 * J), value),
        ("J lost its 1/N", forward(lambda J, output: J * len(output)), value),
        ("J off by 1e-11", forward(lambda J, output: J * (1 + 1e-11)), value),
        ("J without its last example", forward(lambda J, output: J * (1 - 1 / len(output))), value),
        ("gradient sign flipped", gradient(lambda g: -g), slope),
        ("gradient doubled", gradient(lambda g: 2 * g), slope),
        ("gradient lost its 1/N", gradient(lambda g: g * len(g)), slope),
        ("gradient with 1/N twice", gradient(lambda g: g / len(g)), slope),
        ("gradient of the mean over outputs", gradient(lambda g: g / g.shape[1]), slope),
        ("gradient one element off", gradient(off), slope),
        ("gradient rounded to float32", gradient(single), slope),
    ]

    def plant(methods: dict[str, Any]) -> Callable[[Sides], Sides]:
        faulty = dataclass(frozen=True)(type(kind.__name__, (kind,), methods))
        return lambda sides: sides._replace(loss=faulty())

    return [Fault(f"{name}: {what}", plant(methods), expected) for what, methods, expected in table]


@pytest.mark.parametrize(
    ("loss", "fault"), [(name, fault) for name in experiment.pairs.LOSSES for fault in loss_faults(name)], ids=str
)
def test_a_faulty_loss(loss: str, fault: Fault, digits: data.Dataset) -> None:
    assert_located(fault, run(fault, digits, loss=loss))


# --- wiring -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FaultyNetwork(manual.Network):
    """A network whose backward hands layer `at` a wrong δ, or assembles ∇ in the wrong order."""

    at: int = 0
    what: str = ""

    def backward(self, theta, caches, delta):
        deltas, grads = [delta], []
        for i in range(len(self.layers) - 1, -1, -1):
            layer, params, cache = self.layers[i], self.views(theta)[i], caches[i]
            wrong = i == self.at
            handed = deltas[-2] if wrong and self.what == "parameters get the δ of the layer above" else delta
            handed = -handed if wrong and self.what == "parameters get −δ" else handed
            grads.append(layer.parameter_gradients(params, cache, handed))
            if i:
                handed = 2 * delta if wrong and self.what == "input gets 2δ" else delta
                result = layer.input_gradient(params, cache, handed)
                delta = delta if wrong and self.what == "result thrown away" else result
                deltas.append(delta)
        order = grads if self.what == "∇ back to front" else grads[::-1]
        return deltas[::-1], np.concatenate([g.ravel() for grad in order for g in grad.values()])


def network(at: int, what: str) -> Callable[[Sides], Sides]:
    return lambda sides: sides._replace(network=FaultyNetwork(sides.network.layers, at, what))


def parameter_gradients(i: int) -> Found:
    return {(f"{i} · parameter gradients", f"{i}.weight"), (f"{i} · parameter gradients", f"{i}.bias")}


WIRING = [
    *(Fault(f"{i}: parameters get −δ", network(i, "parameters get −δ"), parameter_gradients(i)) for i in (0, 2, 4)),
    *(
        Fault(f"{i}: input gets 2δ", network(i, "input gets 2δ"), {(f"{i} · input gradient", f"∂J/∂{i}.input")})
        for i in (1, 2, 3, 4)
    ),
    Fault(  # layers 1 and 2 have 16 units each, so that no shape gives this away
        "2: δ of the layer above",
        network(2, "parameters get the δ of the layer above"),
        parameter_gradients(2),
    ),
    Fault(
        "3: result thrown away",
        network(3, "result thrown away"),
        parameter_gradients(2) | {("2 · input gradient", "∂J/∂2.input")},
    ),
    Fault(
        "1: result thrown away",
        network(1, "result thrown away"),
        parameter_gradients(0),
    ),
    Fault("∇ back to front", network(-1, "∇ back to front"), {("update", "theta")}),
]


@pytest.mark.parametrize("fault", WIRING, ids=str)
def test_faulty_wiring(fault: Fault, digits: data.Dataset) -> None:
    assert_located(fault, run(fault, digits))


# --- optimizers -------------------------------------------------------------------------------------------------


def rule_fault(name: str, optimizer: str, options: dict[str, Any], update: Any, tensors: str) -> tuple[Any, ...]:
    kind = type(experiment.Experiment(optimizer=optimizer, optimizer_options=options).rule())
    faulty = dataclass(frozen=True)(type(kind.__name__, (kind,), {"update": lambda self, *a: update(kind, self, *a)}))
    expected = {("update", tensor) for tensor in tensors.split()}
    plant = lambda sides: sides._replace(optimizer=faulty(**options))  # noqa: E731
    return optimizer, options, Fault(f"{optimizer} {name}", plant, expected)


def uphill(kind, self, theta, grad, state, rate):
    new, state = kind.update(self, theta, grad, state, rate)
    return theta - (new - theta), state


def twice_the_rate(kind, self, theta, grad, state, rate):
    return kind.update(self, theta, grad, state, 2 * rate)


def nothing_learnt(kind, self, theta, grad, state, rate):
    return theta * 1, kind.update(self, theta, grad, state, rate)[1]


def one_weight_forgotten(kind, self, theta, grad, state, rate):
    new, state = kind.update(self, theta, grad, state, rate)
    return np.where(np.arange(len(theta)) == 12345, theta, new), state


def stale_gradient(kind, self, theta, grad, state, rate):
    before = state.get("before", grad)
    new, kept = kind.update(self, theta, before, state, rate)
    return new, kept | {"before": grad}


def no_momentum(kind, self, theta, grad, state, rate):
    return theta - rate * grad, kind.update(self, theta, grad, state, rate)[1]


def momentum_not_kept(kind, self, theta, grad, state, rate):
    new, kept = kind.update(self, theta, grad, state, rate)
    return new, {name: state.get(name, value) for name, value in kept.items()}


def dampened_at_once(kind, self, theta, grad, state, rate):
    return kind.update(self, theta, grad, state or {"momentum_buffer": 0 * theta}, rate)


def no_weight_decay(kind, self, theta, grad, state, rate):
    return kind.update(dataclasses.replace(self, weight_decay=0.0), theta, grad, state, rate)


def step_not_counted(kind, self, theta, grad, state, rate):
    new, kept = kind.update(self, theta, grad, state, rate)
    return new, kept | {"step": state["step"]}


def no_bias_correction(kind, self, theta, grad, state, rate):
    kept = kind.update(self, theta, grad, state, rate)[1]
    return theta - rate * kept["exp_avg"] / (np.sqrt(kept["exp_avg_sq"]) + self.eps), kept


def eps_within_the_root(kind, self, theta, grad, state, rate):
    kept = kind.update(self, theta, grad, state, rate)[1]
    if "square_avg" in kept:
        return theta - rate * grad / np.sqrt(kept["square_avg"] + self.eps), kept
    m, v = kept["exp_avg"] / (1 - self.beta1 ** kept["step"]), kept["exp_avg_sq"] / (1 - self.beta2 ** kept["step"])
    return theta - rate * m / np.sqrt(v + self.eps), kept


def decay_in_the_gradient(kind, self, theta, grad, state, rate):
    return manual.Adam.update(self, theta, grad, state, rate)


RULES = [
    rule_fault("uphill", "sgd", {}, uphill, "theta"),
    rule_fault("twice the rate", "sgd", {}, twice_the_rate, "theta"),
    rule_fault("learns nothing", "sgd", {}, nothing_learnt, "theta"),
    rule_fault("forgets a weight", "sgd", {}, one_weight_forgotten, "theta"),
    rule_fault("stale gradient", "sgd", {}, stale_gradient, "before"),
    rule_fault("no momentum", "sgd", {"momentum": 0.9}, no_momentum, "theta"),
    rule_fault("momentum not kept", "sgd", {"momentum": 0.9}, momentum_not_kept, "momentum_buffer"),
    rule_fault(
        "dampened at once", "sgd", {"momentum": 0.9, "dampening": 0.5}, dampened_at_once, "theta momentum_buffer"
    ),
    rule_fault("no weight decay", "sgd", {"weight_decay": 0.01}, no_weight_decay, "theta"),
    rule_fault("uphill", "adam", {}, uphill, "theta"),
    rule_fault("forgets a weight", "adam", {}, one_weight_forgotten, "theta"),
    rule_fault("step not counted", "adam", {}, step_not_counted, "step"),
    rule_fault("no bias correction", "adam", {}, no_bias_correction, "theta"),
    rule_fault("eps within the root", "adam", {}, eps_within_the_root, "theta"),
    rule_fault("no weight decay", "adam", {"weight_decay": 0.01}, no_weight_decay, "theta exp_avg exp_avg_sq"),
    rule_fault("no weight decay", "adamw", {}, no_weight_decay, "theta"),
    rule_fault("decay in the gradient", "adamw", {}, decay_in_the_gradient, "theta exp_avg exp_avg_sq"),
    rule_fault("uphill", "rmsprop", {}, uphill, "theta"),
    rule_fault("eps within the root", "rmsprop", {}, eps_within_the_root, "theta"),
    rule_fault("momentum not kept", "rmsprop", {"momentum": 0.9}, momentum_not_kept, "square_avg step momentum_buffer"),
]


@pytest.mark.parametrize(("optimizer", "options", "fault"), RULES, ids=str)
def test_a_faulty_update_rule(optimizer: str, options: dict[str, Any], fault: Fault, digits: data.Dataset) -> None:
    settings = {"optimizer": optimizer, "optimizer_options": options, "learning_rate": 0.01}
    assert_located(fault, run(fault, digits, **settings))


class FaultyCosine(manual.Cosine):
    def __call__(self, step):
        return super().__call__(step + 1)


def test_a_faulty_schedule(digits: data.Dataset) -> None:
    def plant(sides: Sides) -> Sides:
        return sides._replace(schedule=FaultyCosine(sides.schedule.learning_rate, sides.schedule.steps))

    fault = Fault("a step too far", plant, {("learning rate", "η")})
    assert_located(fault, run(fault, digits, schedule="cosine"))


# --- how a fault is found, whatever the mode ---------------------------------------------------------------------


@pytest.mark.parametrize("resync", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_fault_is_located_in_every_mode(resync: bool, dtype: str, digits: data.Dataset) -> None:
    fault = Fault(
        "", in_layer(2, variant(LinearWeight, lambda dW, a, dy: -dW)), {("2 · parameter gradients", "2.weight")}
    )
    assert_located(fault, run(fault, digits, resync=resync, dtype=dtype))


def test_two_faults_are_both_reported(digits: data.Dataset) -> None:
    first = in_layer(0, variant(LinearWeight, lambda dW, a, dy: -dW))
    second = in_layer(
        3, dataclass(frozen=True)(type("ReLU", (manual.ReLU,), {"input_gradient": lambda s, p, c, dy: dy * 1}))
    )
    both = Fault(
        "both",
        lambda sides: second(first(sides)),
        {("0 · parameter gradients", "0.weight"), ("3 · input gradient", "∂J/∂3.input")},
    )
    assert found(run(both, digits)) == both.expected


def test_a_fault_of_one_step_is_found_in_that_step(digits: data.Dataset) -> None:
    class Late(manual.SGD):
        def update(self, theta, grad, state, rate):
            return super().update(theta, grad, state, rate if rate < 0.05 else rate * (1 + 1e-9))

    late = Fault("", lambda sides: sides._replace(optimizer=Late()), {("update", "theta")})
    lockstep = run(late, digits, schedule="one-cycle", max_steps=12)
    assert found(lockstep) == late.expected
    rates = [lockstep.sides.schedule(step) for step in range(12)]
    assert lockstep.judge.disagreements[0].step == next(step for step, rate in enumerate(rates) if rate >= 0.05) > 0


def test_a_rule_that_changes_what_it_is_given(digits: data.Dataset) -> None:
    """It would fool a judge that looks only at results; it is caught as it writes."""

    class InPlace(manual.SGD):
        def update(self, theta, grad, state, rate):
            theta -= rate * grad
            return theta, state

    in_place = Fault("", lambda sides: sides._replace(optimizer=InPlace()), {("update", "theta")})
    lockstep = run(in_place, digits)
    assert found(lockstep) == in_place.expected
    assert "the manual code raises ValueError: assignment destination is read-only" in str(
        lockstep.judge.disagreements[0]
    )
