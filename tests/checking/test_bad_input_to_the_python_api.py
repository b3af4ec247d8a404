"""Whatever a person may hand to the Python API is answered in one line: what was expected, what came, the remedy.

The command line's own rows are in test_bad_input_is_answered_in_one_line.py.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from handgrad import CheckFailed, UsageError, check, data, manual
from handgrad.compare.run.experiment import Experiment
from handgrad.compare.run.lockstep import Lockstep

X = np.random.default_rng(0).normal(size=(3, 4))
NAN, INF = float("nan"), float("inf")
SQUARE: Any = (lambda x: x**2, lambda dy, x: 2 * x * dy)
SCALED: Any = (lambda x, g: x * g, lambda dy, x, g: {"x": dy * g, "g": (dy * x).sum(0)})


def square(x: Any) -> Any:
    return x**2


def scaled(x: Any, g: Any) -> Any:
    return x * g


def of_x(**options: Any) -> Callable[[], Any]:
    return lambda: check(SQUARE, square, **{"x": (3, 4), **options})


def of_g(g: Any) -> Callable[[], Any]:
    return lambda: check(SCALED, scaled, x=(3, 4), params={"g": g})


def of_reference(reference: Any, ours: Any = SQUARE) -> Callable[[], Any]:
    return lambda: check(ours, reference, x=(3, 4))


def of_loss(**options: Any) -> Callable[[], Any]:
    arguments = {"output": (3, 4), "target": (3, 4), **options}
    return lambda: check(manual.MeanSquaredError(), nn.MSELoss(), **arguments)


def of_classes(target: Any) -> Callable[[], Any]:
    return lambda: check(manual.SoftmaxCrossEntropy(), nn.CrossEntropyLoss(), output=(3, 4), target=target)


def of_rule(**options: Any) -> Callable[[], Any]:
    return lambda: check(manual.SGD(), torch.optim.SGD, **{"theta": (3,), **options})


def constant(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)


def fails(*_: Any) -> Any:
    raise KeyError("gone")


CHECKS: dict[str, tuple[Callable[[], Any], str]] = {
    # what x is
    "NaN in x": (of_x(x=np.array([1.0, NAN])), "x must be finite in float64, but 1 of 2 elements are not: replace"),
    "∞ in x": (of_x(x=np.array([1.0, INF, -INF])), "x must be finite in float64, but 2 of 3 elements are not: replace"),
    "beyond float32": (of_x(x=np.array([1e300]), dtype="float32"), "x must be finite in float32, but 1 of 1 elements"),
    "whole numbers": (
        of_x(x=np.arange(4)),
        "there must be an input of floating-point numbers, got none: nothing has a",
    ),
    "booleans": (of_x(x=np.array([True])), "there must be an input of floating-point numbers, got none: nothing has a"),
    "objects": (of_x(x=np.array([1.0, None])), "x must be floating-point numbers, got object: convert them to float"),
    "words": (of_x(x=np.array(["1"])), "x must be floating-point numbers, got <U1: convert them to float first"),
    "a word": (
        of_x(x="(3, 4)"),
        "x must be a shape such as (4, 8), an array, or a function of a generator, got '(3, 4)",
    ),
    "a mask": (of_x(x=np.ma.masked_array(X, X > 0)), "x must be an array without a mask, got a masked one: fill it"),
    "ragged rows": (of_x(x=[[1.0, 2.0], [3.0]]), "x must have rows of one length, got others: "),
    "a function that raises": (of_x(x=fails), "x must be made by its function, but that raises KeyError: 'gone': mend"),
    "a function of nothing": (of_x(x=lambda rng: None), "x must be floating-point numbers, got object: convert them"),
    # its shape
    "half a shape": (
        of_x(x=(4, 8.0)),
        "x must be a shape such as (4, 8), an array, or a function of a generator, got (4",
    ),
    "a negative shape": (of_x(x=(-4, 8)), "x must have a shape of whole numbers of at least 1, got (-4, 8): choose an"),
    "no examples": (of_x(x=(0, 8)), "x must have at least one element, got shape (0, 8): give it some"),
    "an empty array": (of_x(x=np.empty((3, 0))), "x must have at least one element, got shape (3, 0): give it some"),
    "an absurd shape": (
        of_x(x=(10**7, 10**7)),
        "GB of this machine, but 16 arrays of shape (10000000, 10000000), for x,",
    ),
    "an absurd number": (of_x(x=10**15), "take 128,000,000 GB: use a smaller shape"),
    # what goes with it
    "dy of whole numbers": (of_x(dy=np.ones((3, 4), int)), "dy must be floating-point numbers, got int64: nothing has"),
    "dy would broadcast": (
        of_x(dy=np.ones((1, 4))),
        "dy must have the output's shape (3, 4), got (1, 4): give it that",
    ),
    "NaN in dy": (
        of_x(dy=np.full((3, 4), NAN)),
        "dy must be finite in float64, but 12 of 12 elements are not: replace",
    ),
    "whole parameters": (
        of_g(np.arange(4)),
        "g must be floating-point numbers, got int64: nothing has a derivative by",
    ),
    "NaN in weights": (of_g(np.full(4, NAN)), "g must be finite in float64, but 4 of 4 elements are not: replace them"),
    "no parameters": (of_g((0,)), "g must have at least one element, got shape (0,): give it some"),
    "absurd parameters": (of_g((10**15,)), "take 128,000,000 GB: use a smaller shape"),
    "parameters in a list": (
        of_x(params=[4]),
        "params must be a dictionary of shapes or arrays by name, got list: write",
    ),
    "another dtype": (
        of_x(dtype=np.float32),
        "dtype must be one of float64, float32, complex128, complex64, got <class 'numpy.float32'>: choose",
    ),
    "a list for dtype": (
        of_x(dtype=["float32"]),
        "dtype must be one of float64, float32, complex128, complex64, got ['float32']",
    ),
    "seed below 0": (of_x(seed=-1), "seed must be a whole number of at least 0, got -1: choose another"),
    "seed None": (of_x(seed=None), "seed must be a whole number of at least 0, got None: choose another"),
    "target beside x": (
        of_x(target=(3,)),
        "target= goes with output=, got it beside x=: leave it out, or give output=",
    ),
    "dy beside theta": (
        of_rule(dy=(3,)),
        "dy= goes with x= or inputs=, got it beside theta=: leave it out, or give x=",
    ),
    "params beside a loss": (
        of_loss(params={"a": 1.0}),
        "params= goes with x= or inputs=, got it beside output=: leave it out, or",
    ),
    "two kinds": (
        of_x(theta=(3,)),
        "exactly one of x= or inputs= (a layer or a function), output= (a loss) and theta= (an update rule), got x, th",
    ),
    # the reference
    "a class for a reference": (
        of_reference(nn.ReLU),
        "the torch reference must be an instance, got the class ReLU: write ReLU(…)",
    ),
    "no reference": (
        of_reference(None),
        "the torch reference must be a module, a function of tensors or, for an update rule, a class of ",
    ),
    "an optimizer for a class": (
        lambda: check(manual.SGD(), torch.optim.SGD([torch.ones(1)], lr=0.1), theta=(3,)),
        "for an update rule, a class of torch.optim, got SGD: give one of these",
    ),
    "other names": (
        of_reference(nn.Linear(4, 4)),
        "the reference's parameters must have the manual side's names and shapes, but torch has {'weight': (4, 4)",
    ),
    "other shapes": (
        of_reference(nn.Linear(4, 3), manual.Linear(4, 2)),
        "but torch has {'weight': (3, 4), 'bias': (3,)} and the manual side {'weight': (2, 4), 'bias': (2,)}: rename",
    ),
    "a reference that raises": (
        of_reference(fails),
        "must accept the manual side's inputs and parameters, but it raised KeyError",
    ),
    "a reference of arrays": (
        of_reference(lambda x: x.detach().numpy()),
        "it must return tensors, alone or in a tuple or a dictionary, got ndarray: change the ref",
    ),
    "a reference of whole numbers": (
        of_reference(lambda x: x.long()),
        "must return floating-point numbers, got torch.int64: nothing",
    ),
    "dropout is on": (
        of_reference(nn.Dropout()),
        "the torch reference must be deterministic, but its output differs between two",
    ),
    "a reference that changes x": (of_reference(lambda x: x.mul_(x)), "in-place operation"),
    "a reference that changes x behind autograd's back": (
        of_reference(lambda x: x.data.mul_(2) * x),
        "a reference must not change its inputs, but it writes into x in place: clone it first",
    ),
    "a loss that changes the target": (
        lambda: check(
            manual.MeanSquaredError(), lambda o, t: ((o - t.mul_(2)) ** 2).mean(), output=(3, 4), target=(3, 4)
        ),
        "a reference must not change its inputs, but it writes into target in place: clone it first",
    ),
    # our own side
    "a class for a layer": (
        of_reference(nn.ReLU(), manual.ReLU),
        "an instance of a layer, got the class ReLU: write ReLU(…)",
    ),
    "a class for a loss": (
        lambda: check(manual.MeanSquaredError, nn.MSELoss(), output=(3, 4), target=(3, 4)),
        "check takes an instance of a loss, got the class MeanSquaredError: write MeanSquaredError(…)",
    ),
    "a class for a rule": (
        lambda: check(manual.SGD, torch.optim.SGD, theta=(3,)),
        "check takes an instance of an update rule, got the class SGD: write SGD(…)",
    ),
    "no layer": (
        of_reference(nn.ReLU(), None),
        "a layer must have forward(params, x) and input_gradient(params, cache, dy)",
    ),
    "one function": (
        of_reference(square, (square,)),
        "or be a pair (forward, backward) of functions, or stateful(…), got square",
    ),
    # losses
    "no target": (
        of_loss(target=None),
        "a loss needs target=: a shape, an array, a function of a generator, or 'class'",
    ),
    "a target that broadcasts": (
        of_loss(target=(3, 1)),
        "target must have the output's shape (3, 4), got (3, 1): reshape it (nothing is broadcast)",
    ),
    "NaN in the target": (
        of_loss(target=np.full((3, 4), NAN)),
        "target must be finite in float64, but 12 of 12 elemen",
    ),
    "whole outputs": (
        of_loss(output=np.ones((3, 4), int)),
        "output must be floating-point numbers, got int64: nothing",
    ),
    "an empty batch": (
        of_loss(output=(0, 4), target=(0, 4)),
        "output must have at least one element, got shape (0, 4)",
    ),
    "a class too large": (
        of_classes(np.array([0, 1, 9])),
        "IndexError: Target 9 is out of bounds.: change the reference, or",
    ),
    "a class below 0": (
        of_classes(np.array([0, 1, -1])),
        "IndexError: Target -1 is out of bounds.: change the reference, or",
    ),
    "another word": (of_classes("klass"), "target must be a shape, an array, a function or 'class', got 'klass'"),
    "one row": (
        lambda: check(manual.SoftmaxCrossEntropy(), nn.CrossEntropyLoss(), output=(4,), target="class"),
        "output must have a row of numbers for each example beside target='class', got shape (4,): make it (N, ",
    ),
    # update rules and schedules
    "θ in rows": (
        of_rule(theta=(3, 4)),
        "theta must be one flat vector, or tensors by name, got shape (3, 4): flatten it",
    ),
    "whole θ": (of_rule(theta=np.arange(3)), "theta must be floating-point numbers, got int64: nothing has a deriv"),
    "NaN in θ": (
        of_rule(theta=np.array([NAN])),
        "theta must be finite in float64, but 1 of 1 elements are not: replace",
    ),
    "no steps": (of_rule(steps=0), "steps must be a whole number of at least 1, got 0: choose another"),
    "half a step": (of_rule(steps=2.5), "steps must be a whole number of at least 1, got 2.5: choose another"),
    "absurd steps": (of_rule(steps=10**15), "for a gradient a step, take 384,000,000 GB: use a smaller shape"),
    "η is NaN": (of_rule(learning_rate=NAN), "learning rate must be a finite number above 0, got nan: choose another"),
    "η is a word": (of_rule(learning_rate="0.1"), "learning rate must be a finite number above 0, got 0.1: choose an"),
    "no steps of a schedule": (
        lambda: check(manual.Constant(0.1), constant, steps=0),
        "steps must be a whole number of at least 1, got 0: choose another",
    ),
    "a scheduler that raises": (
        lambda: check(manual.Constant(0.1), fails, steps=3),
        "the torch reference must make a scheduler of an optimizer, but it raised KeyError: 'gone': write a function",
    ),
}


@pytest.mark.parametrize("row", CHECKS)
def test_check_refuses_in_one_line(row: str) -> None:
    call, says = CHECKS[row]
    started = time.perf_counter()
    with pytest.raises(UsageError, match=re.escape(says)) as problem:
        call()
    assert "\n" not in str(problem.value)
    assert time.perf_counter() - started < 10


def changes_x(dy: Any, x: Any) -> Any:
    x *= 3
    return x * dy


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "raises": (
        of_reference(square, (fails, SQUARE[1])),
        "the derivation raises KeyError: 'gone' (test_bad_input_to_the_pyt",
    ),
    "returns None": (
        of_reference(square, (lambda x: None, SQUARE[1])),
        "returns NoneType for the output where an array bel",
    ),
    "returns a list": (
        of_reference(square, (SQUARE[0], lambda dy, x: dy.tolist())),
        "returns list for the input gradient where an",
    ),
    "returns a tensor": (
        of_reference(square, (lambda x: torch.ones(3), SQUARE[1])),
        "returns Tensor for the output where an",
    ),
    "returns whole numbers": (
        of_reference(square, (lambda x: x.astype(int), SQUARE[1])),
        "the manual side returns int64; its values are judged as float64",
    ),
    "returns complex numbers": (
        of_reference(square, (lambda x: x**2 + 0j, SQUARE[1])),
        "the manual side returns complex128 for the output where floating-point numbers belong",
    ),
    "changes its argument": (of_reference(square, (SQUARE[0], changes_x)), "the derivation writes into x in place"),
    "returns NaN": (of_reference(square, (SQUARE[0], lambda dy, x: dy * NAN)), "manual nan, torch"),
    "returns ∞": (of_reference(square, (lambda x: x + INF, SQUARE[1])), "manual inf, torch"),
    "would broadcast": (
        of_reference(square, (SQUARE[0], lambda dy, x: (dy * x)[:1])),
        "shape (1, 4) beside torch's (3, 4)",
    ),
    "a schedule that raises": (
        lambda: check(fails, constant, steps=3),
        "the schedule raises KeyError at step 0: 'gone'",
    ),
    "a schedule of NaN": (
        lambda: check(lambda step: NAN, constant, steps=3),
        "the schedule must give a finite number of at least 0, but gives nan at step 0",
    ),
    "a schedule below 0": (lambda: check(lambda step: 1.0 - step, constant, steps=3), "but gives -1.0 at step 2"),
    "a schedule of nothing": (
        lambda: check(lambda step: None, constant, steps=3),
        "the schedule raises TypeError at ste",
    ),
}


@pytest.mark.parametrize("row", WRONG)
def test_a_derivation_that_misbehaves_differs(row: str) -> None:
    call, says = WRONG[row]
    with pytest.raises(CheckFailed, match=re.escape(says)):
        call()


def test_any_layout_is_taken_and_left_as_it_was() -> None:
    read_only = X.copy()
    read_only.flags.writeable = False
    layouts = {
        "Fortran": np.asfortranarray(X), "every second": np.repeat(X, 2, axis=1)[:, ::2], "backwards": X[::-1],
        "big-endian": X.astype(">f8"), "read-only": read_only, "repeated": np.broadcast_to(X[0], (3, 4)),
        "float16": X.astype(np.float16), "long double": X.astype(np.longdouble), "memory map": X.view(np.memmap),
    }  # fmt: skip
    for name, x in layouts.items():
        before = x.copy()
        assert check(manual.Linear(4, 2), nn.Linear(4, 2), x=x).agrees, name
        assert np.array_equal(x, before), name
        with pytest.raises(CheckFailed):
            check((SQUARE[0], lambda dy, x: x * dy), square, x=x)
    big = np.array([0, 3, 1], ">i8")
    assert check(manual.SoftmaxCrossEntropy(), nn.CrossEntropyLoss(), output=(3, 4), target=big).agrees
    assert big.dtype == np.dtype(">i8")


IMAGES, LABELS = np.zeros((3, 784), np.uint8), np.zeros(3, np.int64)


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        (
            np.full((3, 784), NAN),
            LABELS,
            "images: expected uint8 (N, pixels) with N >= 1, found float64 (3, 784); give",
        ),
        (IMAGES.astype(int), LABELS, "images: expected uint8 (N, pixels) with N >= 1, found int64 (3, 784); give each"),
        (IMAGES.reshape(3, 28, 28), LABELS, "images: expected uint8 (N, pixels) with N >= 1, found uint8 (3, 28, 28);"),
        (
            IMAGES[:0],
            LABELS[:0],
            "images: expected uint8 (N, pixels) with N >= 1, found uint8 (0, 784); give each image",
        ),
        (IMAGES, np.zeros(4, int), "labels: expected a whole number for each of 3 images, found int64 (4,); give one"),
        (IMAGES, np.zeros(3), "labels: expected a whole number for each of 3 images, found float64 (3,); give one"),
        (
            IMAGES,
            np.zeros((3, 1), int),
            "labels: expected a whole number for each of 3 images, found int64 (3, 1); give",
        ),
    ],
)
def test_digits_that_are_none(images: Any, labels: Any, says: str) -> None:
    with pytest.raises(data.DataError, match=re.escape(says)):
        data.Digits(images, labels)


@pytest.mark.parametrize("wrong", [-1, 10, 2**40])
def test_labels_outside_the_classes(wrong: int) -> None:
    part = data.Digits(IMAGES, LABELS)
    with pytest.raises(
        data.DataError, match=f"mine, test: expected labels from 0 to 9, found {wrong} at index 2; corr"
    ):
        data.Dataset("mine", part, data.Digits(IMAGES, np.array([0, 9, wrong])), 10)


def test_images_of_two_sizes() -> None:
    parts = data.Digits(IMAGES, LABELS), data.Digits(IMAGES[:, :9], LABELS)
    with pytest.raises(
        data.DataError, match="mine: expected images of one size, found 784 pixels in train and 9 in test"
    ):
        data.Dataset("mine", *parts, 10)


def test_digits_in_any_layout_train_alike(digits: data.Dataset) -> None:
    d = digits.train
    wide = np.repeat(d.images, 2, axis=1)[:, ::2]
    layouts = [d, data.Digits(np.asfortranarray(d.images), d.labels.astype(">i2")), data.Digits(wide, d.labels)]
    ends = []
    for part in layouts:
        run = Lockstep(Experiment(max_steps=3), data.Dataset("d", part, digits.test, 10))
        run.run()
        assert run.judge.disagreements == []
        ends.append(run.theta)
    assert np.array_equal(ends[0], ends[1])
    assert np.array_equal(ends[0], ends[2])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"sizes": 5},
            "sizes must be two or more whole numbers of at least 1, input first, output last, got 5: choose",
        ),
        (
            {"sizes": "784-10"},
            "sizes must be two or more whole numbers of at least 1, input first, output last, got '784",
        ),
        ({"sizes": (784, 10**400, 10)}, "sizes must be two or more whole numbers of at least 1, input first, output"),
        ({"epochs": 10**19}, "epochs must be a whole number of at least 1 and at most 1000000000000000000, got 1000"),
        ({"learning_rate": "0.1"}, "learning rate must be a finite number above 0, got 0.1: choose another"),
        ({"learning_rate": None}, "learning rate must be a finite number above 0, got None: choose another"),
        ({"learning_rate": True}, "learning rate must be a finite number above 0, got True: choose another"),
        ({"learning_rate": 10**400}, "learning rate must be a finite number above 0, got 1000"),
        ({"device": None}, "device must be cpu, or cuda where torch sees a GPU, got None: choose one"),
        (
            {"device": torch.device("cpu")},
            "device must be cpu, or cuda where torch sees a GPU, got device(type='cpu'): c",
        ),
        (
            {"optimizer_options": None},
            "optimizer options must be a dictionary of numbers by name, got None: write {'mo",
        ),
        ({"optimizer_options": ["momentum"]}, "optimizer options must be a dictionary of numbers by name, got ['mome"),
        ({"optimizer_options": {"momentum": "0.9"}}, "SGD: momentum must be a number, got '0.9'"),
        ({"optimizer_options": {"dampening": NAN}}, "SGD: dampening must lie in [-inf, inf), got nan"),
        ({"optimizer_options": {"nesterov": "yes"}}, "nesterov must be True or False, got 'yes': choose one"),
        ({"resync": "yes"}, "resync must be True or False, got 'yes': choose one"),
        (
            {"activation": ["relu"]},
            "activation must be one of relu, leaky-relu, sigmoid, tanh, identity, got ['relu']: c",
        ),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)) as problem:
        Experiment(**settings)
    assert "\n" not in str(problem.value)


def test_settings_in_numbers_of_numpy_are_taken() -> None:
    e = Experiment(sizes=[np.int64(784), 10], seed=np.int64(3), learning_rate=np.float32(0.5))  # type: ignore[arg-type]
    assert (e.sizes, e.seed, e.learning_rate) == ((784, 10), 3, 0.5)
    assert {type(v) for v in (*e.sizes, e.seed, e.learning_rate)} == {int, float}


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: manual.SoftmaxCrossEntropy().forward(np.zeros((2, 3)), np.array([0, -1])),
            "classes from 0 to 2 beside",
        ),
        (
            lambda: manual.SoftmaxCrossEntropy().forward(np.zeros((2, 3)), np.array([0, 3])),
            "classes from 0 to 2 beside",
        ),
        (lambda: manual.SoftmaxCrossEntropy().forward(np.zeros((0, 3)), np.zeros(0, int)), "one or more classes from"),
        (
            lambda: manual.SoftmaxCrossEntropy().forward(np.zeros(3), np.zeros(3, int)),
            "takes one integer class per row",
        ),
        (
            lambda: manual.MeanSquaredError().forward(np.zeros((0, 3)), np.zeros((0, 3))),
            "takes at least one example, got",
        ),
        (
            lambda: manual.SGD().update(np.zeros(3), np.zeros((3, 1)), {}, 0.1),
            "SGD takes θ and ∇ of one shape, got (3,)",
        ),
        (
            lambda: manual.AdamW().update(np.zeros(3), np.zeros(1), {}, 0.1),
            "AdamW takes θ and ∇ of one shape, got (3,)",
        ),
        (
            lambda: manual.RMSprop(weight_decay=0.1).update(np.zeros(3), np.zeros(1), {}, 0.1),
            "RMSprop takes θ and ∇ of",
        ),
        (lambda: manual.Adam(weight_decay=0.1).update(np.zeros(3), np.zeros(1), {}, 0.1), "Adam takes θ and ∇ of one"),
        (lambda: data.scale(IMAGES, int), "scale: expected a float dtype, got int64; choose float64 or float32"),
        (lambda: data.load(["mnist"]), "expected a data set among mnist, fashion-mnist, kmnist, got ['mnist']; choose"),  # type: ignore[arg-type]
        (lambda: data.batch_order(10, 2.5, 0, 0), "expected batch size to be a whole number, got 2.5; choose one"),  # type: ignore[arg-type]
        (lambda: data.batch_order(10, 2, "a", 0), "expected seed to be a whole number, got 'a'; choose one"),  # type: ignore[arg-type]
    ],
)
def test_the_packages_below_refuse_too(call: Callable[[], Any], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)) as problem:
        call()
    assert "\n" not in str(problem.value)
