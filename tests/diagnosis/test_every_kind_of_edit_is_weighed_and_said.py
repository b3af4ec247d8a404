"""Every kind of edit has a likelihood and a phrase, is made somewhere, and is said without a gap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import optim
from torch.nn import functional

from handgrad.compare.diagnosis.graph.another_function import EditableDraw
from handgrad.compare.diagnosis.graph.draw import Draw
from handgrad.compare.diagnosis.graph.edits.edit import RIGHT, ReferenceEdit, StepEdit
from handgrad.compare.diagnosis.graph.edits.kinds_of_operations import OPERATIONS
from handgrad.compare.diagnosis.graph.edits.kinds_of_steps import STEPS
from handgrad.compare.diagnosis.graph.factor_kinds import FACTORS
from handgrad.compare.diagnosis.graph.factors import factors, own_factors
from handgrad.compare.diagnosis.graph.record.recorder import record
from handgrad.compare.diagnosis.graph.record.trace import Trace
from handgrad.compare.diagnosis.graph.sentences import factor_in_words, operation_in_words, step_in_words
from handgrad.compare.diagnosis.rules.kinds import EXPRESSIONS, LINES
from handgrad.compare.diagnosis.rules.lines import edits
from handgrad.compare.diagnosis.rules.recipes import recipe_of
from handgrad.compare.diagnosis.rules.sentences import sentence
from handgrad.compare.judge.case import Case

S = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)  # a deviation of the reference's own
M = torch.tensor([[True, False, True, True], [True, True, False, True], [False, True, True, True]])


def loop(x: Any, W: Any) -> Any:
    h = x[0] * 0
    for t in range(3):
        h = torch.tanh(x[t] + h @ W)
    return h


def gates(x: Any, A: Any, B: Any) -> Any:
    return torch.sqrt(1 - torch.sigmoid(x @ A) ** 2) * torch.tanh(x @ B) + torch.nn.functional.silu(x @ A) * (x @ B)


# name → (function, shapes of x and of the parameters, how far it is taken apart)
REFERENCES: dict[str, tuple[Callable[..., Any], dict[str, tuple[int, ...]], int]] = {
    "functions": (
        lambda x: torch.exp(x) + torch.sigmoid(x) * torch.relu(x.detach()) + x.clamp(-1, 1) + functional.leaky_relu(x),
        {"x": (3, 4)}, 0,
    ),
    "power": (lambda x, p: (x * x + 1) ** p, {"x": (3, 4), "p": (1,)}, 0),
    "choice": (lambda x: torch.where(M, 2 * torch.log(x * x + 1e-3), x / 3), {"x": (3, 4)}, 0),
    "softmax": (
        lambda x, Q, K: torch.softmax(torch.where(M[:, :3], x @ Q @ (x @ K).T / 2, -torch.inf), -1) @ x,
        {"x": (3, 4), "Q": (4, 4), "K": (4, 4)}, 0,
    ),
    "attention": (
        lambda q, k: functional.scaled_dot_product_attention(q, k, k, is_causal=True) / 3**0.5,
        {"q": (1, 2, 5, 4), "k": (1, 2, 5, 4)}, 0,
    ),
    "compared": (
        lambda x: torch.where(-x > 0.3, 0.3 * x, 0.7 * x) + 0.3 * (x - 0.7 * x).abs(), {"x": (3, 4)}, 0,
    ),
    "largest of a softmax": (lambda x: torch.softmax(x.topk(3).values, -1), {"x": (3, 5)}, 0),
    "sums": (
        lambda x: (x - x.mean(1, True)) / x.sum((0, 2), True) + x.amax(1, True) / x.mean((0, 1)),
        {"x": (3, 4, 5)}, 0,
    ),
    "log-softmax": (lambda x: torch.log_softmax(x, 1) + 1.7 * x.logsumexp(1, keepdim=True), {"x": (3, 4)}, 1),
    "normalised": (
        lambda x, g: g * (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True) + 1e-5) - x / x.norm(),
        {"x": (3, 4), "g": (4,)}, 1,
    ),
    "running": (lambda x: (x / S).cumsum(1) * torch.arange(1.0, 5.0).cos(), {"x": (3, 4)}, 0),
    "looked up": (
        lambda x, E: functional.embedding(torch.tensor([0, 2, 2]), E, padding_idx=0) * x + 1.7 * E,
        {"x": (3, 4), "E": (3, 4)}, 0,
    ),
    "one-hot": (lambda x, E: torch.eye(3, dtype=x.dtype)[[0, 2, 2]] @ E + x, {"x": (3, 4), "E": (3, 4)}, 0),
    "a column": (lambda x, w: x * (x @ w)[:, None], {"x": (3, 4), "w": (4,)}, 0),
    "convolution": (
        lambda x, W: functional.conv2d(x, W, stride=2, padding=1, groups=2), {"x": (2, 4, 5, 5), "W": (4, 2, 3, 3)}, 0,
    ),
    "sequence": (lambda x, W: functional.conv1d(functional.pad(x, (2, 0)), W), {"x": (2, 3, 6), "W": (3, 3, 3)}, 0),
    "average pool": (
        lambda x: functional.avg_pool2d(x, 3, 2, 1) + functional.avg_pool2d(x, 2), {"x": (1, 2, 4, 4)}, 0,
    ),
    "uncounted pool": (lambda x: functional.avg_pool2d(x, 3, 3, 1, False, False), {"x": (1, 2, 6, 6)}, 0),
    "max pool": (lambda x: functional.max_pool2d(x, 3, 2), {"x": (1, 2, 7, 7)}, 0),
    "enlarged": (lambda x: functional.interpolate(x, scale_factor=2), {"x": (1, 2, 3, 3)}, 0),
    "loop": (loop, {"x": (3, 2, 4), "W": (4, 4)}, 0),
    "gates": (gates, {"x": (3, 4), "A": (4, 4), "B": (4, 4)}, 0),
}  # fmt: skip


def recorded(name: str) -> Trace:
    function, shapes, depth = REFERENCES[name]
    rng = np.random.default_rng(0)
    leaves = {k: torch.from_numpy(rng.uniform(0.1, 1, s)).requires_grad_() for k, s in shapes.items()}
    trace = record(lambda: function(*leaves.values()), leaves, depth)
    assert trace is not None
    trace.upstream = torch.from_numpy(rng.normal(size=tuple(trace.upstream.shape)))
    return trace


def a_case(trace: Trace) -> Case:
    x = trace.nodes[0].value.numpy()
    gradient = np.ones(x.shape)
    return Case("input gradient", {"x": x}, gradient, gradient, gradient)


@pytest.fixture(scope="module")
def made() -> dict[str, tuple[Trace, list[StepEdit], list[ReferenceEdit]]]:
    found = {}
    for name in REFERENCES:
        trace = recorded(name)
        case = a_case(trace)
        steps = [e for target in trace.inputs for d in [Draw(case, trace, target, {})] for e in d.edits(d.flows)]
        found[name] = trace, steps, list(EditableDraw(case, trace, next(iter(trace.inputs))).edits.values())
    return found


def test_every_edit_is_said_without_a_gap(made: Any) -> None:
    for trace, steps, operations in made.values():
        said = [step_in_words(trace, e.edge, e.key, e.inside) for e in steps]
        said += [operation_in_words(trace, e) for e in operations]
        assert all(text and "{" not in text and "None" not in text for text in said)


def test_every_kind_of_edit_is_made_somewhere(made: Any) -> None:
    steps = {e.kind for _, many, _ in made.values() for e in many}
    operations = {e.kind for _, _, many in made.values() for e in many}
    # those of several steps together, of a loss, and of a fit are made elsewhere
    elsewhere = {"δ exchanged", "one turn only", "weights of a mixture", "form of a loss"}
    assert set(STEPS) - steps == elsewhere
    of_losses = {"read as", "weights exchanged", "arguments exchanged", "logarithms exchanged", "power inside"}
    of_losses |= {"power outside", "another count", "complement"}
    assert set(OPERATIONS) - operations == of_losses | {"fitted number"}


def test_a_likelier_kind_is_preferred(made: Any) -> None:
    for _, steps, operations in made.values():
        assert all(e.complexity == STEPS[e.kind].tier == 0 for e in steps if e.kind == RIGHT)
        assert all(e.complexity >= STEPS[e.kind].tier > 0 for e in steps if e.kind != RIGHT and e.inside is None)
        assert all(e.complexity >= OPERATIONS[e.kind].tier > 0 for e in operations)


def test_every_factor_is_said_without_a_gap(made: Any) -> None:
    seen = set()
    for trace, _, _ in made.values():
        case = a_case(trace)
        for name, _ in (*factors(case, trace).items(), *own_factors(trace, next(iter(trace.inputs)))):
            seen.add(name.kind)
            text = factor_in_words(trace, name)
            assert text
            assert "{" not in text
    assert seen == set(FACTORS)


RULES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("Adam", {"weight_decay": 0.1}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
    ("NAdam", {}),
    ("RAdam", {}),
    ("Adamax", {}),
    ("Adadelta", {}),
    ("Adagrad", {"lr_decay": 0.1}),
    ("RMSprop", {"centered": True, "momentum": 0.8}),
    ("Rprop", {}),
    ("Adafactor", {}),
]


def test_every_edit_of_a_rule_is_made_and_said() -> None:
    kinds = set()
    for kind, options in RULES:
        recipe = recipe_of(getattr(optim, kind)([torch.nn.Parameter(torch.zeros(3))], lr=0.03, **options))
        assert recipe is not None
        for edit in edits(recipe):
            kinds.add(edit.kind)
            text = sentence(edit, recipe)
            assert text
            assert "{" not in text
            assert "narrow" not in text
    assert {*EXPRESSIONS, *LINES} - kinds == {"fitted number", "other weights"}  # of rules that are read off
