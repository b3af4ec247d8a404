"""The gradients and learning rates of a trajectory on which update rules that look alike come apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from handgrad.compare.checking.draws import away_from_zero

# Where ε stands, and whether there is one, shows where the gradient is below it; a sign of 0 where it is 0. Numbers
# whose squares float32 still holds.
SMALL = (1e-15, 1e-12, 1e-9, 1e-7, 0.0, 1e-4, 1e-9)
# Clipping shows where gradients are large, a running maximum where they shrink again.
LARGE = (1.0, 1e3, 3e4, 1e6, 30.0, 1.0, 1e-3, 0.0)
SCALES = (1e-3, 0.0, 1.0, 1e-6, 10.0)  # of the elements of θ
NORMS = 0.03, 3.0  # of the elements of the smallest and the largest tensor
RATES = (0.7, 0.3, 0.3, 1.3, 1.3, 1.3, 0.9)  # times the rate, at each step; no power of 2
STAY, FLIP = range(8, 11), range(11, 14)  # steps at which signs stay, or flip
AGAINST = 0.03, 1.1  # times what has come so far, and against it: the sign of an average turns somewhere between
ZEROS = 1 / 8  # of the gradients are 0


def opposed_gradients(rng: np.random.Generator, steps: int, size: int) -> np.ndarray:
    """(steps, size): two in three against the sum so far, by shares of it that lie close together between `AGAINST`."""
    found = away_from_zero(rng, (steps, size))
    against = [k for k in range(steps) if k % 3]
    shares = iter(rng.permutation(np.geomspace(*AGAINST, len(against) * size)).reshape(len(against), size))
    total = np.zeros(size)
    for k in range(steps):
        if k in against:
            found[k] = -next(shares) * total
        total += found[k]
    return found


def small_gradients(rng: np.random.Generator, steps: int, size: int) -> np.ndarray:
    """(steps, size): from far below every ε up, some 0, one element's always, and all of one step."""
    found = away_from_zero(rng, (steps, size)) * np.resize(SMALL, steps)[:, None]
    found *= 10.0 ** rng.uniform(-0.5, 0.5, (steps, size))
    if size > 1:
        found[0, 0] = 0
        found[rng.random((steps, size)) < ZEROS] = 0
    if size > 2:
        found[:, -1] = 0
    return found


def large_gradients(rng: np.random.Generator, steps: int, size: int) -> np.ndarray:
    """(steps, size): soon a million, and small again; signs that stay and that flip; some 0, and all of one step."""
    found = away_from_zero(rng, (steps, size))
    found[: len(LARGE)] *= np.array(LARGE)[:steps, None]
    k = np.arange(steps)
    stays, flips = np.isin(k, STAY), np.isin(k, FLIP)
    signs = rng.choice([-1.0, 1.0], size)
    found[stays] = np.abs(found[stays]) * signs
    found[flips] = np.abs(found[flips]) * signs * (-1.0) ** k[flips, None]
    if size > 1:
        found[rng.random((steps, size)) < ZEROS] = 0
    if size > 2:  # always the same sign, and always the other one
        found[:, 0] = np.abs(found[:, 0])
        found[:, 1] = np.abs(found[:, 1]) * (-1.0) ** k
    return found


def lasting_gradients(rng: np.random.Generator, steps: int, size: int) -> np.ndarray:
    """(steps, size): signs that stay from step to step, that flip at each, and that do so now and then; 0 nowhere."""
    k = np.arange(steps)
    signs = np.stack([np.ones(steps), (-1.0) ** k, (-1.0) ** (k // 7)], 1)
    return np.abs(away_from_zero(rng, (steps, size))) * signs[:, np.arange(size) % 3]


def tensor_gradients(rng: np.random.Generator, steps: int, sizes: Sequence[int]) -> np.ndarray:
    """(steps, sum of sizes): of tensors whose norms differ, each in another order at another step; some are below 1."""
    scales = np.geomspace(*NORMS, len(sizes))
    found = [
        [rng.normal(0, 1, n) * s for n, s in zip(sizes, rng.permutation(scales), strict=True)] for _ in range(steps)
    ]
    return np.stack([np.concatenate(row) for row in found])


def not_finite_gradients(rng: np.random.Generator, steps: int, size: int, kinds: Sequence[float]) -> np.ndarray:
    """(steps, size): at every second step some elements are of these kinds, one after the other."""
    found = away_from_zero(rng, (steps, size))
    for k in range(1, steps, 2):
        found[k, k // 2 % size :: 3] = kinds[k // 2 % len(kinds)]
    return found


def changing_rates(rate: float, steps: int) -> tuple[float, ...]:
    """A learning rate for every step: it changes soon, and then stays for a while."""
    shares = np.resize(RATES, min(steps, len(RATES))).tolist() + [RATES[-1]] * max(0, steps - len(RATES))
    shares = [share if k % 20 < 13 else 0.3 for k, share in enumerate(shares)]
    return tuple(rate * share for share in shares)
