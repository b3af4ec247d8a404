"""Special sizes, parameters, rows, indices, targets and memory: a planted fault for each, and the right one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from handgrad import check, constant, indices, mask
from handgrad.compare.checking.outcome import Outcome

DIFFERS, UNDECIDED = Outcome.DIFFERS, Outcome.UNDECIDED
Case = tuple[Callable[[bool], Any], Any, dict[str, Any], Outcome]


def put(ours: Any, reference: Any, **given: Any) -> Any:
    return check(ours, reference, explain="off", raises=False, **given)


def spread(dy: Any, x: Any) -> Any:
    return np.ones_like(x) * dy[..., None]


def scaled_mean(wrong: Callable[[int], Any]) -> Any:
    """The mean of the last axis, of which the gradient is divided by `wrong` number."""
    return lambda x: x.mean(-1), lambda dy, x: spread(dy, x) / wrong(x.shape[-1])


def of_last(x: Any) -> Any:
    return x.mean(-1)


def square(wrong: bool) -> Any:
    def back(dy: Any, x: Any, w: Any) -> Any:
        dw = dy.T @ x
        return dy @ w, dw.T if wrong and w.shape[0] == w.shape[1] else dw

    return lambda x, w: x @ w.T, back


def oblong(wrong: bool) -> Any:
    def back(dy: Any, x: Any) -> Any:
        h, w = x.shape[-2:]
        return np.ones_like(x) * dy[..., None, None] / (h * h if wrong else h * w)

    return lambda x: x.mean((-1, -2)), back


def hardest(wrong: bool) -> Any:
    def both(output: Any, target: Any) -> Any:
        d = output - target
        n = len(d) // 10
        k = max(1, n + (wrong and len(d) % 10 > 0 and n > 0))
        chosen = np.argsort(-(d * d).mean(-1))[:k]
        g = np.zeros_like(d)
        g[chosen] = 2 * d[chosen] / (k * d.shape[1])
        return (d[chosen] ** 2).mean(), g

    return both


def hardest_of_torch(output: Any, target: Any) -> Any:
    return torch.topk(((output - target) ** 2).mean(-1), max(1, len(output) // 10)).values.mean()


def gate(wrong: bool) -> Any:
    def back(dy: Any, x: Any, up: Any) -> Any:
        return dy * up, (dy * x).sum(0) * (np.any(up) if wrong else 1.0)

    return lambda x, up: x * up, back


def length(wrong: bool) -> Any:
    def back(dy: Any, x: Any) -> Any:
        size = np.sqrt((x * x).sum(-1, keepdims=True))
        return dy[..., None] * x / (size if wrong else np.where(size > 0, size, 1.0))

    return lambda x: np.sqrt((x * x).sum(-1)), back


def largest_row(wrong: bool) -> Any:
    def back(dy: Any, x: Any, w: Any) -> Any:
        y = x[:, None] * w
        ties = y == y.max(1, keepdims=True)
        share = ties if wrong else ties / ties.sum(1, keepdims=True)
        return (dy[:, None] * share * w).sum(1), (dy[:, None] * share * x[:, None]).sum(0)

    return lambda x, w: (x[:, None] * w).max(1), back


def conjugate(wrong: bool) -> Any:
    def back(dy: Any, z: Any, w: Any) -> Any:
        dz, dw = dy * w.conj(), (dy * z.conj()).sum(0)
        return dz, dw.real + 0j if wrong and not np.any(w.imag) else dw

    return lambda z, w: z * w, back


def table(wrong: bool) -> Any:
    def back(dy: Any, ids: Any, rows: Any) -> Any:
        g = np.zeros_like(rows)
        np.add.at(g, ids, dy)
        if not wrong:
            g[1] = 0
        return {"rows": g}

    return lambda ids, rows: rows[ids], back


def negative(wrong: bool) -> Any:
    def back(dy: Any, ids: Any, rows: Any) -> Any:
        g = np.zeros_like(rows)
        np.add.at(g, np.maximum(ids, 0) if wrong else ids, dy)
        return {"rows": g}

    return lambda ids, rows: rows[ids], back


def kept(wrong: bool) -> Any:
    def part(keep: Any) -> Any:
        return (~keep != 0 if wrong else keep == 0) if keep.dtype != bool else ~keep

    return (
        lambda x, keep: np.where(part(keep), 0.0, x),
        lambda dy, x, keep: {"x": np.where(part(keep), 0.0, dy)},
    )


def groups(wrong: bool) -> Any:
    def counts(ids: Any) -> Any:
        n = np.bincount(ids, minlength=3)[:3]
        return n if wrong else np.maximum(n, 1)

    def forward(x: Any, ids: Any) -> Any:
        sums = np.zeros((3, x.shape[1]), x.dtype)
        np.add.at(sums, ids, x)
        return sums / counts(ids)[:, None]

    return forward, lambda dy, x, ids: {"x": (dy / counts(ids)[:, None])[ids]}


def groups_of_torch(x: Any, ids: Any) -> Any:
    sums = torch.zeros((3, x.shape[1]), dtype=x.dtype).index_add(0, ids, x)
    return sums / torch.bincount(ids, minlength=3).clamp(min=1)[:, None]


def pairs(wrong: bool) -> Any:
    def both(output: Any, target: Any) -> Any:
        above = (target[:, None] >= target) & ~np.eye(len(target), dtype=bool)
        if not wrong:
            above &= target[:, None] != target
        n = above.sum()
        return -(above * (output[:, None] - output)).sum() / n, (above.sum(0) - above.sum(1)) / n

    return both


def pairs_of_torch(output: Any, target: Any) -> Any:
    above = target[:, None] > target
    return -(above * (output[:, None] - output)).sum() / above.sum()


def divergence(wrong: bool) -> Any:
    def both(output: Any, target: Any) -> Any:
        with np.errstate(all="ignore"):
            entropy = target * np.log(target if wrong else np.where(target > 0, target, 1.0))
        return (entropy - target * output).sum(), -target

    return both


def probabilities(rng: np.random.Generator) -> Any:
    p = rng.uniform(0.1, 1, (4, 3))
    return p / p.sum(-1, keepdims=True)


def views(wrong: bool) -> Any:
    def windows(x: Any) -> Any:
        n, t = x.shape
        strides = (t * x.itemsize, x.itemsize, x.itemsize) if wrong else (*x.strides, x.strides[-1])
        return np.lib.stride_tricks.as_strided(x, (n, t - 1, 2), strides)

    def back(dy: Any, x: Any) -> Any:
        dx = np.zeros_like(x)
        dx[:, :-1] += dy
        dx[:, 1:] += dy
        return dx

    return lambda x: windows(x).sum(-1), back


CASES: dict[str, Case] = {
    "an even size": (
        lambda w: scaled_mean(lambda t: t + (w and t % 2 == 0 and t > 20)), of_last, {"x": ("n", "t")}, DIFFERS,
    ),
    "beyond 64": (lambda w: scaled_mean(lambda t: min(t, 64) if w else t), of_last, {"x": ("n", "t")}, DIFFERS),
    "one": (lambda w: scaled_mean(lambda t: max(t, 2) if w else t), of_last, {"x": ("n", "t")}, DIFFERS),
    "a square": (square, lambda x, w: x @ w.T, {"inputs": {"x": ("n", "d")}, "params": {"w": ("e", "d")}}, DIFFERS),
    "an oblong": (oblong, lambda x: x.mean((-1, -2)), {"x": (2, 3, 6, 6)}, UNDECIDED),
    "a width beside a name": (
        lambda w: scaled_mean(lambda t: min(t, 32) if w else t), of_last, {"x": ("n", 12)}, UNDECIDED,
    ),
    "the hardest tenth": (hardest, hardest_of_torch, {"output": (6, 5), "target": (6, 5)}, DIFFERS),
    "a parameter of zeros": (gate, lambda x, up: x * up, {"inputs": {"x": ("n", 3)}, "params": {"up": (3,)}}, DIFFERS),
    "a row of zeros": (length, lambda x: torch.linalg.vector_norm(x, dim=-1), {"x": ("n", 3)}, UNDECIDED),
    "parameters alike": (
        largest_row, lambda x, w: (x[:, None] * w).amax(1), {"inputs": {"x": (5, 3)}, "params": {"w": (2, 3)}}, DIFFERS,
    ),
    "real parameters": (
        conjugate, lambda z, w: z * w,
        {"inputs": {"z": ("n", 3)}, "params": {"w": (3,)}, "dtype": "complex128"}, DIFFERS,
    ),
    "padding": (
        table, lambda ids, rows: functional.embedding(ids, rows, padding_idx=1),
        {"inputs": {"ids": indices(3000, ("n",)), "rows": (3000, 2)}}, DIFFERS,
    ),
    "a negative index": (
        negative, lambda ids, rows: rows[ids], {"inputs": {"ids": indices("v", ("n",)), "rows": ("v", 2)}},
        Outcome.UNDECIDED,
    ),
    "a mask of 0 and 1": (
        kept, lambda x, keep: torch.where(keep == 0, 0.0, x),
        {"inputs": {"x": ("n", "t"), "keep": mask(("n", "t"))}}, UNDECIDED,
    ),
    "an empty group": (
        groups, groups_of_torch, {"inputs": {"x": (6, 2), "ids": np.array([0, 0, 1, 1, 2, 2])}}, UNDECIDED,
    ),
    "targets that tie": (pairs, pairs_of_torch, {"output": ("n",), "target": ("n",)}, DIFFERS),
    "a probability of 0": (
        divergence, lambda o, t: (torch.xlogy(t, t) - t * o).sum(),
        {"output": (4, 3), "target": probabilities}, UNDECIDED,
    ),
    "transposed memory": (views, lambda x: x[:, :-1] + x[:, 1:], {"x": ("n", "t")}, DIFFERS),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_fault_that_only_such_a_draw_shows(name: str) -> None:
    make, reference, given, outcome = CASES[name]
    report = put(make(True), reference, **given)
    assert report.outcome is outcome, str(report)


@pytest.mark.parametrize("name", CASES)
def test_the_right_one_does_not_differ(name: str) -> None:
    make, reference, given, _ = CASES[name]
    report = put(make(False), reference, **given)
    assert report.outcome is not Outcome.DIFFERS, str(report)


def test_a_refusal_at_widths_that_nobody_asked_for_is_no_difference() -> None:
    def forward(x: Any) -> Any:
        return x.reshape(-1, 2, 4).sum((1, 2))

    report = put((forward, lambda dy, x: spread(dy, x)), lambda x: x.sum(-1), x=(4, 8))
    assert report.outcome is not Outcome.DIFFERS, str(report)


def test_rows_that_two_inputs_share() -> None:
    def pair(wrong: bool) -> Any:
        def back(dy: Any, a: Any, b: Any) -> Any:
            d = a - b
            size = np.sqrt((d * d).sum(-1, keepdims=True))
            g = dy[:, None] * d / (size if wrong else np.where(size > 0, size, 1.0))
            return {"a": g}

        return lambda a, b: np.sqrt(((a - b) ** 2).sum(-1)), back

    given = {"inputs": {"a": ("n", 3), "b": constant(("n", 3))}}

    def reference(a: Any, b: Any) -> Any:
        return torch.linalg.vector_norm(a - b, dim=-1)

    assert put(pair(False), reference, **given).outcome is not DIFFERS
    gaps = put(pair(True), reference, **given).gaps
    assert any("NaN or ∞ in 12 elements where torch has numbers" in gap for gap in gaps), gaps
