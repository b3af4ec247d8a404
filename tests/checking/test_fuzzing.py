"""Random shapes, dtypes, strides and values: no crash, no warning, no false verdict; and a planted fault is seen.

A small repeatable profile runs in the suite; `make fuzz` runs the same tests over many more examples.
"""

from __future__ import annotations

import re
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from handgrad import check, data, manual
from handgrad.compare.checking import check as checking
from handgrad.compare.checking.draws import Draw, Drawn
from handgrad.compare.judge.names import parameter
from handgrad.compare.judge.sides import Arrays, LayerSides, LossSides
from handgrad.compare.judge.trajectories import TrajectorySides
from handgrad.compare.pairs.table import ACTIVATIONS, LOSSES, OPTIMIZERS, SCHEDULES
from handgrad.compare.run.experiment import Experiment
from handgrad.compare.run.lockstep import Lockstep

EXAMPLES = settings.default.max_examples if settings.default else 100  # the suite's profile: see conftest.py


def examples(share: float) -> settings:
    """So many of the profile's examples; training runs cost more than single stages."""
    return settings(max_examples=max(1, round(EXAMPLES * share)), suppress_health_check=list(HealthCheck))


# --- arrays -----------------------------------------------------------------------------------------------------------

DTYPES = st.sampled_from(["float64", "float32"])
LARGEST = {"float64": 1e30, "float32": 1e6}  # such that no product or sum of a few of them overflows


def numbers(dtype: str, low: float | None = None, high: float | None = None) -> st.SearchStrategy[float]:
    """Finite numbers: small and large, 0 and −0, subnormal, or within [low, high]."""
    low, high = -LARGEST[dtype] if low is None else low, LARGEST[dtype] if high is None else high
    width = 64 if dtype == "float64" else 32
    anything = st.floats(float(np.float32(low)), float(np.float32(high)), width=width)
    special = [v for v in (0.0, -0.0, 1.0, -1.0, 0.5, float(np.finfo(dtype).tiny)) if low <= v <= high]
    ordinary = st.floats(max(low, -4), min(high, 4), width=32)
    return st.one_of(ordinary, st.sampled_from(special), anything)


def arrays(draw: Any, dtype: str, shape: tuple[int, ...], **within: float) -> np.ndarray:
    """An array of the dtype and shape, laid out in one of the ways NumPy knows."""
    return laid_out(draw, draw(hnp.arrays(dtype, shape, elements=numbers(dtype, **within))))


def laid_out(draw: Any, x: np.ndarray) -> np.ndarray:
    """The same numbers in another layout: Fortran order, every second of a wider array, backwards, or read-only."""
    layout = draw(st.sampled_from(["C", "F", "every second", "backwards", "read-only"]))
    if layout == "F":
        x = np.asfortranarray(x)
    elif layout == "every second":
        x = np.repeat(x, 2, axis=-1)[..., ::2]
    elif layout == "backwards":
        x = x[::-1].copy()[::-1]
    elif layout == "read-only":
        x = x.copy()
        x.flags.writeable = False
    event(layout)
    return x


def assert_agrees(sides: Any, inputs: Arrays) -> None:
    before = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in inputs.items()}
    report = checking.run("fuzzed", Drawn(sides, [Draw("draw", inputs)]))
    assert not report.differing, f"{sides}\n{inputs}\n{report}"
    for name, value in before.items():
        assert np.array_equal(value, inputs[name]), f"{name} has been changed"


def assert_differs(sides: Any, inputs: Arrays) -> None:
    assert checking.run("fuzzed", Drawn(sides, [Draw("draw", inputs)])).differing, f"{sides}\n{inputs}"


SIZE = st.integers(1, 6)


# --- layers -----------------------------------------------------------------------------------------------------------


@st.composite
def linear(draw: Any) -> tuple[manual.Layer, Any, Arrays]:
    dtype, n, i, o, bias = draw(DTYPES), draw(SIZE), draw(SIZE), draw(SIZE), draw(st.booleans())
    limit = np.sqrt(LARGEST[dtype])
    within = {"low": -limit, "high": limit}
    inputs = {parameter("weight"): arrays(draw, dtype, (o, i), **within)}
    if bias:
        inputs[parameter("bias")] = arrays(draw, dtype, (o,), **within)
    inputs |= {"x": arrays(draw, dtype, (n, i), **within), "dy": arrays(draw, dtype, (n, o), **within)}
    return manual.Linear(i, o, bias), nn.Linear(i, o, bias), inputs


@st.composite
def activation(draw: Any) -> tuple[manual.Layer, Any, Arrays]:
    pair = ACTIVATIONS[draw(st.sampled_from(list(ACTIVATIONS)))]
    dtype, shape = draw(DTYPES), (draw(SIZE), draw(SIZE))
    return pair.manual(), pair.torch(), {"x": arrays(draw, dtype, shape), "dy": arrays(draw, dtype, shape)}


@examples(1)
@given(st.one_of(linear(), activation()))
def test_no_layer_is_called_wrong(case: tuple[manual.Layer, Any, Arrays]) -> None:
    layer, reference, inputs = case
    assert_agrees(LayerSides(layer, reference), inputs)


class Wrong(manual.Layer):
    """The right layer but for one factor in its input gradient."""

    def __init__(self, layer: manual.Layer) -> None:
        object.__setattr__(self, "layer", layer)

    def forward(self, params: Any, x: Any) -> Any:
        return self.layer.forward(params, x)  # type: ignore[attr-defined]

    def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
        return (1 + 2.0**-10) * self.layer.input_gradient(params, cache, dy)  # type: ignore[attr-defined]

    def parameter_gradients(self, params: Any, cache: Any, dy: Any) -> Any:
        return self.layer.parameter_gradients(params, cache, dy)  # type: ignore[attr-defined]


@examples(0.1)
@given(activation())
def test_a_thousandth_too_much_is_called_wrong(case: tuple[manual.Layer, Any, Arrays]) -> None:
    layer, reference, inputs = case
    x, dy = (np.abs(inputs[k]) for k in ("x", "dy"))
    assume(dy.min() > 1e-30)  # not lost in underflow
    assume(x.max() < 4)  # nor a slope of 1 − 1²
    assume((inputs["x"] > 0).any())  # nor all on the flat side
    assert_differs(LayerSides(Wrong(layer), reference), inputs)


# --- losses -----------------------------------------------------------------------------------------------------------


@st.composite
def loss(draw: Any) -> tuple[manual.Loss, Any, Arrays]:
    name = draw(st.sampled_from(list(LOSSES)))
    pair, dtype, shape = LOSSES[name], draw(DTYPES), (draw(SIZE), draw(SIZE))
    limit = np.sqrt(LARGEST[dtype])
    within = {"low": 0, "high": 1} if pair.output == "sigmoid" else {"low": -limit, "high": limit}
    output = arrays(draw, dtype, shape, **within)
    if pair.target == "class":
        target = laid_out(draw, draw(hnp.arrays(np.int64, shape[:1], elements=st.integers(0, shape[1] - 1))))
    elif "bce" in name:
        target = arrays(draw, dtype, shape, low=0, high=1)
    else:
        target = arrays(draw, dtype, shape, low=-limit, high=limit)
    return pair.manual(), pair.torch(), {"output": output, "target": target}


@examples(1)
@given(loss())
def test_no_loss_is_called_wrong(case: tuple[manual.Loss, Any, Arrays]) -> None:
    ours, reference, inputs = case
    assert_agrees(LossSides(ours, reference), inputs)


# --- update rules and schedules ---------------------------------------------------------------------------------------

HYPERPARAMETERS: dict[str, st.SearchStrategy[Any]] = {
    "momentum": st.sampled_from([0.0, 0.5, 0.9, 0.99]),
    "dampening": st.sampled_from([0.0, 0.1, 0.5]),
    "weight_decay": st.sampled_from([0.0, 1e-4, 0.1]),
    "nesterov": st.booleans(),
    "beta1": st.sampled_from([0.0, 0.5, 0.9, 0.99]),
    "beta2": st.sampled_from([0.0, 0.5, 0.9, 0.999, 0.9999]),
    "eps": st.sampled_from([1e-8, 1e-4, 1e-2]),
    "alpha": st.sampled_from([0.0, 0.5, 0.9, 0.99]),
    "centered": st.booleans(),
}


@st.composite
def rule(draw: Any) -> tuple[str, dict[str, Any]]:
    name = draw(st.sampled_from(list(OPTIMIZERS)))
    options = {option: draw(HYPERPARAMETERS[option]) for option in OPTIMIZERS[name].options}
    if options.get("nesterov"):
        options |= {"momentum": 0.9, "dampening": 0.0}
    if options.get("centered"):  # α = 0 leaves v − m² = g² − g·g, of which torch's fused multiply-add makes √(−ε), NaN
        options["alpha"] = max(options["alpha"], 0.5)
    return name, options


@st.composite
def trajectory(draw: Any) -> tuple[TrajectorySides, Arrays]:
    name, options = draw(rule())
    dtype, size, steps = draw(DTYPES), draw(SIZE), draw(st.integers(1, 4))
    pair = OPTIMIZERS[name]
    sides = TrajectorySides(pair.manual(**options), lambda params, rate: pair.torch(params, rate, **options))
    inputs = {
        "theta": arrays(draw, dtype, (size,), low=-1e3, high=1e3),
        "grads": arrays(draw, dtype, (steps, size), low=-1e3, high=1e3),
        "learning rate": draw(st.sampled_from([1e-4, 0.01, 0.1, 1.0])),
    }
    return sides, inputs


@examples(0.7)
@given(trajectory())
def test_no_update_rule_is_called_wrong(case: tuple[TrajectorySides, Arrays]) -> None:
    assert_agrees(*case)


@examples(0.3)
@given(st.sampled_from(list(SCHEDULES)), st.integers(10, 200), st.integers(1, 40), st.floats(1e-6, 10))
def test_no_schedule_is_called_wrong(name: str, steps: int, per_epoch: int, rate: float) -> None:
    pair = SCHEDULES[name]
    ours = pair.manual(rate, steps, per_epoch)
    check(ours, lambda optimizer: pair.torch(optimizer, rate, steps, per_epoch), steps=steps, accept={"undecided"})


# --- the command's own runs -------------------------------------------------------------------------------------------


@st.composite
def run(draw: Any) -> tuple[Experiment, data.Dataset]:
    pixels, classes, n = draw(SIZE), draw(SIZE), draw(st.integers(2, 12))
    name, options = draw(rule())

    def part(count: int) -> data.Digits:
        images = draw(hnp.arrays(np.uint8, (count, pixels)))
        labels = draw(hnp.arrays(np.int64, count, elements=st.integers(0, classes - 1)))
        return data.Digits(laid_out(draw, images), labels)

    experiment = Experiment(
        sizes=(pixels, *draw(st.lists(SIZE, max_size=2)), classes),
        activation=draw(st.sampled_from(list(ACTIVATIONS))),
        loss=draw(st.sampled_from(list(LOSSES))),
        optimizer=name,
        optimizer_options=options,
        learning_rate=draw(st.sampled_from([1e-3, 0.01, 0.1])),
        schedule=draw(st.sampled_from(list(SCHEDULES))),
        batch_size=draw(st.integers(1, n)),
        max_steps=draw(st.integers(10, 12)),
        epochs=100,
        dtype=draw(DTYPES),
        resync=draw(st.booleans()),
        seed=draw(st.integers(0, 2**32)),
    )
    return experiment, data.Dataset("fuzzed", part(n), part(2), classes)


@examples(0.4)
@given(run())
def test_no_run_disagrees(case: tuple[Experiment, data.Dataset]) -> None:
    experiment, dataset = case
    lockstep = Lockstep(experiment, dataset)
    lockstep.run()
    assert lockstep.judge.disagreements == [], f"{experiment}\n{lockstep.judge.disagreements[0]}"
    assert lockstep.progress.step == lockstep.steps - 1


# --- what a person gives to check -------------------------------------------------------------------------------------


@examples(0.3)
@given(st.data())
def test_any_array_of_numbers_is_taken_as_it_is(source: st.DataObject) -> None:
    dtype = source.draw(st.sampled_from(["<f8", ">f8", "<f4", ">f4", "<f2", ">f2"]))
    run_in = source.draw(DTYPES)
    shape = (source.draw(SIZE), source.draw(SIZE))
    x = source.draw(hnp.arrays(dtype, shape, elements=st.floats(-4, 4, width=16)))
    x = laid_out(source.draw, x)
    before = x.copy()
    check(manual.Tanh(), nn.Tanh(), x=x, dtype=run_in, accept={"undecided"})
    assert np.array_equal(x, before)
    assert x.dtype == before.dtype


# --- idx files --------------------------------------------------------------------------------------------------------

STEMS = ("train", "t10k")
NAMES = [f"{stem}-{kind}-ubyte" for stem in STEMS for kind in ("images-idx3", "labels-idx1")]


def content(file: str) -> bytes:
    count = 3 if file.startswith("train") else 2
    if "labels" in file:
        return struct.pack(">2I", 2049, count) + bytes(range(count))
    return struct.pack(">4I", 2051, count, 28, 28) + bytes(i % 251 for i in range(count * 784))


@st.composite
def damaged(draw: Any, whole: bytes) -> bytes:
    kind = draw(st.sampled_from(["cut", "grown", "bits", "header", "hole", "other"]))
    if kind == "cut":
        return whole[: draw(st.integers(0, len(whole) - 1))]
    if kind == "grown":
        return whole + draw(st.binary(min_size=1, max_size=9))
    if kind == "hole":
        start = draw(st.integers(0, len(whole) - 1))
        return whole[:start] + whole[start + draw(st.integers(1, 9)) :]
    if kind == "other":
        return draw(st.binary(max_size=40))
    changed = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        changed[draw(st.integers(0, min(15, len(whole) - 1) if kind == "header" else len(whole) - 1))] = draw(
            st.integers(0, 255)
        )
    return bytes(changed)


@examples(1)
@given(st.data())
def test_an_idx_file_is_read_as_it_is_or_refused_in_one_line(source: st.DataObject) -> None:
    name = source.draw(st.sampled_from(NAMES))
    changed = source.draw(damaged(content(name)))
    with tempfile.TemporaryDirectory() as folder:
        for file in NAMES:
            (Path(folder) / file).write_bytes(changed if file == name else content(file))
        refusal = ""
        try:
            digits = data.load("mnist", Path(folder))
        except data.DataError as problem:
            refusal = str(problem)
    if refusal:
        event("refused")
        assert re.fullmatch(rf".*/{name.split('-')[0]}-.*: expected .*, found .*; .*", refusal)  # and so one line
        return
    event("read")
    part = digits.train if name.startswith("train") else digits.test
    size = len(content(name))
    assert len(changed) == size, "a file of another size has been read"
    header, body = (8, part.labels.astype(np.uint8)) if "labels" in name else (16, part.images)
    assert changed[:header] == content(name)[:header]
    assert changed[header:] == body.tobytes()
    assert digits.train.labels.max() < digits.classes


@examples(0.2)
@given(st.sampled_from([f"{name}.gz" for name in NAMES]), st.binary(max_size=200))
def test_a_packed_file_that_is_not_the_original_is_refused(name: str, changed: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for file in NAMES:
            shipped = Path(data.__file__).parent / "MNIST" / "raw" / f"{file}.gz"
            (Path(folder) / shipped.name).symlink_to(shipped)
        (Path(folder) / name).unlink()
        (Path(folder) / name).write_bytes(changed)
        with pytest.raises(data.DataError, match=r"expected md5 .*, found md5 .* put a good copy in its place"):
            data.load("mnist", Path(folder))
        assert not list(Path(folder).glob("*-ubyte"))
