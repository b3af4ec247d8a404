"""Objects that keep something from call to call."""

from __future__ import annotations

import numpy as np
import torch

from handgrad import stateful
from tests.derivations.hidden.case import family

CASES = []

# --- scaled by the first batch --------------------------------------------------------------------------------


class FirstBatch:
    """y = (x − shift) scale · gain; shift and scale are those of the first batch, and stay."""

    def __init__(self, switch):
        self.switch = switch
        self.gain = np.ones(4)
        self.shift, self.scale = np.zeros(4), np.ones(4)
        self.begun = False

    def forward(self, x):
        if not self.begun or self.switch == "every_batch":
            self.shift = x.mean(0)
            self.scale = 1 / (np.sqrt(((x - x.mean(0)) ** 2).mean(0)) + 0.1)
        elif self.switch == "scale_goes_on":
            self.scale = 1 / (np.sqrt(((x - self.shift) ** 2).mean(0)) + 0.1)
        self.begun = True
        self.z = (x - self.shift) * self.scale
        return self.z * self.gain

    def backward(self, dy):
        self.dgain = (dy * self.z).sum(0)
        if self.switch == "shift_differentiated":
            return (dy - dy.mean(0)) * self.gain * self.scale
        return dy * self.gain * self.scale


class FirstBatchOfTorch(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(4, dtype=torch.float64))
        self.register_buffer("shift", torch.zeros(4, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(4, dtype=torch.float64))
        self.begun = False

    def forward(self, x):
        if not self.begun:
            with torch.no_grad():
                self.shift = x.mean(0)
                self.scale = 1 / (((x - self.shift) ** 2).mean(0).sqrt() + 0.1)
            self.begun = True
        return (x - self.shift) * self.scale * self.gain


CASES += family(
    "scaled_by_the_first_batch",
    lambda switch: stateful(lambda: FirstBatch(switch), {"gain": "dgain"}, state=["shift", "scale"]),
    FirstBatchOfTorch, {"x": (6, 4)},
    {
        "every_batch": "Shift and scale are those of every batch, where those of the first one stay.",
        "scale_goes_on": "The scale is that of every batch, where that of the first one stays.",
        "shift_differentiated": "The gradient passes through the mean of the batch, which is held constant.",
    },
)  # fmt: skip

# --- the range that was seen --------------------------------------------------------------------------------


class Range:
    """y = (x − low)/(high − low + 1), held within 0 and 1; low and high are the least and largest so far."""

    def __init__(self, switch):
        self.switch = switch
        self.low, self.high = np.full(3, np.inf), np.full(3, -np.inf)
        if switch == "from_zero":
            self.low, self.high = np.zeros(3), np.zeros(3)

    def forward(self, x):
        low, high = x.min(0), x.max(0)
        if self.switch != "last_batch":
            low, high = np.minimum(low, self.low), np.maximum(high, self.high)
        if self.switch == "low_of_batch":
            low = x.min(0)
        self.low, self.high = low, high
        return (x - low) / (high - low + 1)

    def backward(self, dy):
        return dy / (self.high - self.low + 1)


class RangeOfTorch(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("low", torch.full((3,), torch.inf, dtype=torch.float64))
        self.register_buffer("high", torch.full((3,), -torch.inf, dtype=torch.float64))

    def forward(self, x):
        with torch.no_grad():
            self.low = torch.minimum(self.low, x.amin(0))
            self.high = torch.maximum(self.high, x.amax(0))
        return (x - self.low) / (self.high - self.low + 1)


CASES += family(
    "range_seen", lambda switch: stateful(lambda: Range(switch), state=["low", "high"]), RangeOfTorch, {"x": (7, 3)},
    {
        "from_zero": "The range begins at 0, so that it holds 0 even where no number is near it.",
        "last_batch": "The range is that of the last batch, not of all so far.",
        "low_of_batch": "The least is that of the last batch, where the largest is that of all so far.",
    },
)  # fmt: skip

# --- a weight over its largest singular value -----------------------------------------------------------------


class Spectral:
    """y = x Wᵀ/σ, σ = uᵀ W v after one round of the power method from the u that is kept."""

    def __init__(self, switch):
        self.switch = switch
        self.weight = np.ones((3, 4))
        self.u = np.array([0.6, 0.0, 0.8])

    def forward(self, x):
        u = self.u
        if self.switch == "from_the_start":
            u = np.array([0.6, 0.0, 0.8])
        v = u @ self.weight
        v = v / np.sqrt((v * v).sum())
        u = self.weight @ v
        if self.switch != "not_kept":
            self.u = u / np.sqrt((u * u).sum())
        self.used, self.v = u / np.sqrt((u * u).sum()), v
        self.sigma = self.used @ self.weight @ v
        self.x = x
        return x @ self.weight.T / self.sigma

    def backward(self, dy):
        g = dy.T @ self.x
        outer = np.outer(self.used, self.v)
        through = (g * self.weight).sum() / self.sigma
        if self.switch == "sigma_constant":
            through = 0.0
        self.dweight = (g - through * outer) / self.sigma
        return dy @ self.weight / self.sigma


class SpectralOfTorch(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3, 4, dtype=torch.float64))
        self.register_buffer("u", torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64))

    def forward(self, x):
        with torch.no_grad():
            v = self.u @ self.weight
            v = v / torch.sqrt((v * v).sum())
            u = self.weight @ v
            self.u = u / torch.sqrt((u * u).sum())
        return x @ self.weight.T / (self.u @ self.weight @ v)


CASES += family(
    "spectral_norm", lambda switch: stateful(lambda: Spectral(switch), {"weight": "dweight"}, state=["u"]),
    SpectralOfTorch, {"x": (5, 4)},
    {
        "from_the_start": "Every call begins from the first u, where it goes on from the one that is kept.",
        "sigma_constant": "The largest singular value is held constant in the gradient.",
    },
)  # fmt: skip

# --- drawn towards a centre that follows ----------------------------------------------------------------------


class Centre:
    """y = x − centre, and the centre moves by a fifth of the way to the batch's mean; the first one is that mean."""

    def __init__(self, switch):
        self.switch = switch
        self.centre, self.calls = np.zeros(4), 0

    def forward(self, x):
        share = 0.2 if self.calls or self.switch == "from_zero" else 1.0
        if self.switch == "average_of_all":
            share = 1 / (self.calls + 1) if self.calls < 5 else 0.2
        y = x - self.centre
        self.centre = self.centre + share * (x.mean(0) - self.centre)
        self.calls += 1
        return x - self.centre if self.switch == "after_the_move" else y

    def backward(self, dy):
        return 1.0 * dy


class CentreOfTorch(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("centre", torch.zeros(4, dtype=torch.float64))
        self.calls = 0

    def forward(self, x):
        y = x - self.centre
        with torch.no_grad():
            self.centre = self.centre + (0.2 if self.calls else 1.0) * (x.mean(0) - self.centre)
        self.calls += 1
        return y


CASES += family(
    "following_centre", lambda switch: stateful(lambda: Centre(switch), state=["centre"]), CentreOfTorch, {"x": (5, 4)},
    {
        "from_zero": "The first batch moves the centre by a fifth from 0, where the centre becomes its mean.",
        "average_of_all": "The second to fourth batches move the centre by 1/k, where they move it by a fifth.",
        "after_the_move": "The centre is moved before it is taken off, where it is taken off first.",
    },
)  # fmt: skip
