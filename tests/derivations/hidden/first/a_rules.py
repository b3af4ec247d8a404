"""Update rules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tests.derivations.hidden.case import family

CASES = []

# --- Rprop ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rprop:
    switch: str

    def init(self, theta):
        return {"prev": np.zeros_like(theta), "step_size": None}

    def update(self, theta, grad, state, learning_rate):
        size = state["step_size"]
        size = np.full_like(theta, learning_rate) if size is None else size
        sign = np.sign(grad * state["prev"])
        size = size * np.where(sign > 0, 1.2, np.where(sign < 0, 0.5, 1.0))
        least, most = 1e-6, 50.0
        if self.switch == "most_5":
            most = 5.0
        if self.switch != "no_most":
            size = np.minimum(size, most)
        if self.switch != "no_least":
            size = np.maximum(size, least)
        used = np.where(sign < 0, 0.0, grad)
        return theta - np.sign(used) * size, {"prev": used, "step_size": size}


CASES += family(
    "rprop", Rprop, lambda: torch.optim.Rprop, {"theta": (3,), "learning_rate": 0.02},
    {
        "no_most": "A step size may grow beyond 50, where it is held.",
        "most_5": "Step sizes are held at 5, not at 50.",
        "no_least": "A step size may shrink below 0.000001, where it is held.",
    },
)  # fmt: skip

# --- a trust ratio for every tensor ---------------------------------------------------------------------------


class TrustSGD(torch.optim.Optimizer):
    """θ ← θ − η r (g + λ θ), r = ‖θ‖/‖g + λ θ‖ and 1 where either is 0; tensors of one axis as they are, without λ."""

    def __init__(self, parameters, lr, decay=0.01):
        super().__init__(parameters, {"lr": lr, "decay": decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim < 2:
                    p -= group["lr"] * p.grad
                    continue
                u = p.grad + group["decay"] * p
                a, b = p.norm(), u.norm()
                ratio = torch.where((a > 0) & (b > 0), a / torch.where(b > 0, b, 1.0), 1.0)
                p -= group["lr"] * ratio * u


@dataclass(frozen=True)
class Trust:
    switch: str

    def init(self, theta):
        return {}

    def update(self, theta, grad, state, learning_rate):
        new = {}
        for name, t in theta.items():
            g = grad[name]
            plain = name in ("b", "bias") if self.switch == "by_name" else t.ndim < 2
            if self.switch == "matrices_alone":
                plain = t.ndim != 2
            if plain:
                new[name] = t - learning_rate * g
                continue
            u = g + 0.01 * t
            a, b = np.sqrt((t * t).sum()), np.sqrt((u * u).sum())
            ratio = a / np.where(b > 0, b, 1.0)
            if self.switch != "zero_stays":
                ratio = np.where((a > 0) & (b > 0), ratio, 1.0)
            new[name] = t - learning_rate * ratio * u
        return new, state


CASES += family(
    "trust_ratio", Trust, lambda: TrustSGD, {"theta": {"W": (4, 3), "b": (3,)}},
    {
        "zero_stays": "A tensor that starts at 0 has ratio 0 and never moves, where the ratio is then 1.",
        "by_name": "Tensors are spared by the names b and bias; others of one axis, as a gain, are scaled and decayed.",
        "matrices_alone": "Kernels of four axes are left out of scaling and decay, where only vectors are.",
    },
)  # fmt: skip

# --- clipping by the norm of the whole gradient ---------------------------------------------------------------


class ClippedMomentum(torch.optim.SGD):
    """The gradient of all parameters together is scaled down to norm 1 where it is longer."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, lr=lr, momentum=0.9)

    def step(self, closure=None):
        parameters = [p for group in self.param_groups for p in group["params"]]
        total = torch.sqrt(sum((p.grad**2).sum() for p in parameters))
        for p in parameters:
            p.grad = p.grad * torch.clamp(1 / torch.where(total > 0, total, 1.0), max=1.0)
        return super().step(closure)


@dataclass(frozen=True)
class Clipped:
    switch: str

    def init(self, theta):
        return {name: np.zeros_like(t) for name, t in theta.items()}

    def update(self, theta, grad, state, learning_rate):
        squares = {name: (g * g).sum() for name, g in grad.items()}
        total = sum(squares.values())
        new, velocities = {}, {}
        for name, g in grad.items():
            square = squares[name] if self.switch == "each_alone" else total
            if self.switch == "largest":
                square = max(squares.values(), key=float)
            velocities[name] = 0.9 * state[name] + g / np.sqrt(np.maximum(square, 1.0))
            new[name] = theta[name] - learning_rate * velocities[name]
        return new, velocities


CASES += family(
    "clipped_momentum", Clipped, lambda: ClippedMomentum, {"theta": {"W": (4, 3)}},
    {
        "each_alone": "Each tensor is clipped by its own norm, not by that of all tensors together.",
        "largest": "All tensors are clipped by the largest of their norms, not by that of all together.",
    },
)  # fmt: skip

# --- Adam that passes over numbers that are not finite --------------------------------------------------------


class FiniteAdam(torch.optim.Adam):
    """Elements of the gradient that are not finite count as 0."""

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = torch.nan_to_num(p.grad, nan=0.0, posinf=0.0, neginf=0.0)
        return super().step(closure)


@dataclass(frozen=True)
class Finite:
    switch: str

    def init(self, theta):
        return {"t": 0, "m": np.zeros_like(theta), "v": np.zeros_like(theta)}

    def update(self, theta, grad, state, learning_rate):
        g = grad
        if self.switch == "nan_alone":
            g = np.where(g == g, g, 0.0)
        elif self.switch == "largest_number":
            g = np.minimum(np.maximum(np.where(g == g, g, 0.0), -1e30), 1e30)
        else:
            g = np.where(np.abs(g) < np.inf, g, 0.0)
        t = state["t"] + 1
        m, v = 0.9 * state["m"] + 0.1 * g, 0.999 * state["v"] + 0.001 * g * g
        if self.switch == "keeps_moments":
            m, v = np.where(g == grad, m, state["m"]), np.where(g == grad, v, state["v"])
        step = learning_rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        return theta - step, {"t": t, "m": m, "v": v}


CASES += family(
    "finite_adam", Finite, lambda: FiniteAdam, {"theta": (6,)},
    {
        "nan_alone": "Infinite elements of the gradient are kept, where they are to count as 0.",
        "largest_number": "Infinite elements become the largest number, where they are to count as 0.",
        "keeps_moments": "Where the gradient is not finite the moments stay, where they are to decay as for 0.",
    },
)  # fmt: skip

# --- an average of the iterates -------------------------------------------------------------------------------


class Averaged(torch.optim.Optimizer):
    """z ← z − η g; θ ← θ + c (z − θ) with c = 1/(t + 1), but never below 1/100."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["t"], state["z"] = torch.zeros((), dtype=torch.float64), p.clone()
                state["t"] += 1
                state["z"] -= group["lr"] * p.grad
                share = torch.clamp(1 / (state["t"] + 1), min=0.01).to(p.dtype)
                p += share * (state["z"] - p)


@dataclass(frozen=True)
class Average:
    switch: str

    def init(self, theta):
        return {"t": 0, "z": theta}

    def update(self, theta, grad, state, learning_rate):
        t = state["t"] + 1
        z = state["z"] - learning_rate * grad
        least = {"no_least": 0.0, "thousandth": 0.001, "fiftieth": 0.02}.get(self.switch, 0.01)
        share = np.maximum(1 / (t + 1), least)
        if self.switch == "as_mixture":
            return (1 - share) * theta + share * z, {"t": t, "z": z}
        return theta + share * (z - theta), {"t": t, "z": z}


CASES += family(
    "averaged_iterates", Average, lambda: Averaged, {"theta": (5,)},
    {
        "no_least": "The share of the newest iterate falls below 1/100 after 99 steps, where it stays.",
        "thousandth": "The share of the newest iterate goes on to fall to 1/1000, where it stays at 1/100.",
        "fiftieth": "The share of the newest iterate stays at 1/50, where it goes on to fall to 1/100.",
    },
    right=("right", "as_mixture"),
)  # fmt: skip

# --- momentum, centred by rows --------------------------------------------------------------------------------


class CentredSGD(torch.optim.SGD):
    """Of a gradient with more than one axis the mean over all but the first is taken off."""

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim > 1:
                    p.grad = p.grad - p.grad.mean(tuple(range(1, p.ndim)), keepdim=True)
        return super().step(closure)


@dataclass(frozen=True)
class Centred:
    switch: str
    momentum: float = 0.9

    def init(self, theta):
        return {name: np.zeros_like(t) for name, t in theta.items()}

    def update(self, theta, grad, state, learning_rate):
        new, velocities = {}, {}
        for name, g in grad.items():
            if self.switch == "last_axis" and g.ndim > 1:
                g = g - g.mean(-1, keepdims=True)
            elif self.switch == "matrices_alone" and g.ndim == 2:
                g = g - g.mean(1, keepdims=True)
            elif self.switch == "by_rows" and g.ndim > 1:
                rows = g.reshape(len(g), -1)
                g = (rows - np.einsum("ij->i", rows)[:, None] / rows.shape[1]).reshape(g.shape)
            elif self.switch == "right" and g.ndim > 1:
                g = g - g.mean(tuple(range(1, g.ndim)), keepdims=True)
            velocities[name] = self.momentum * state[name] + g
            new[name] = theta[name] - learning_rate * velocities[name]
        return new, velocities


CASES += family(
    "centred_sgd", Centred, lambda: CentredSGD, {"theta": {"W": (4, 3), "b": (3,)}},
    {
        "last_axis": "The mean is over the last axis alone, of a kernel not over its channels and places.",
        "matrices_alone": "Kernels of four axes are not centred.",
    },
    right=("right", "by_rows"),
)  # fmt: skip

# --- a momentum that is made orthogonal -----------------------------------------------------------------------


class Orthogonal(torch.optim.Optimizer):
    """Momentum whose matrix is brought near an orthogonal one by three steps of Newton and Schulz."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                state["m"] = 0.9 * state.get("m", torch.zeros_like(p)) + p.grad
                x = state["m"].reshape(len(p), -1)
                rows, columns = x.shape
                x = x / (torch.sqrt((x * x).sum()) + 1e-3)
                for _ in range(3):
                    x = 1.5 * x - 0.5 * (x @ x.T) @ x
                p -= group["lr"] * max(1.0, rows / columns) ** 0.5 * x.reshape(p.shape)


@dataclass(frozen=True)
class Orthogonalised:
    switch: str

    def init(self, theta):
        return {name: np.zeros_like(t) for name, t in theta.items()}

    def update(self, theta, grad, state, learning_rate):
        new, kept = {}, {}
        for name, g in grad.items():
            kept[name] = 0.9 * state[name] + g
            last = self.switch == "flattened_to_the_last"
            x = kept[name].reshape(-1, g.shape[-1]) if last else kept[name].reshape(len(g), -1)
            rows, columns = x.shape
            x = x / (np.sqrt((x * x).sum()) + 1e-3)
            for _ in range(3):
                x = x @ (1.5 * np.eye(columns) - 0.5 * x.T @ x) if self.switch == "from_the_right" else (
                    1.5 * x - 0.5 * (x @ x.T) @ x
                )
            scale = rows / columns if self.switch == "wide_scaled_too" else max(1.0, rows / columns)
            new[name] = theta[name] - learning_rate * np.sqrt(scale) * x.reshape(g.shape)
        return new, kept


CASES += family(
    "orthogonal_momentum", Orthogonalised, lambda: Orthogonal, {"theta": {"W": (6, 3)}},
    {
        "wide_scaled_too": "A matrix that is wider than high is scaled by √(rows/columns), where it is left as it is.",
        "flattened_to_the_last": "A kernel is made a matrix by its last axis, where its first one has the rows.",
    },
    right=("right", "from_the_right"),
)  # fmt: skip

# --- velocities in the units of θ -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Velocity:
    switch: str
    momentum: float = 0.9

    def init(self, theta):
        return {"velocity": np.zeros_like(theta), "before": None}

    def update(self, theta, grad, state, learning_rate):
        if self.switch == "right":
            velocity = self.momentum * state["velocity"] + grad
            return theta - learning_rate * velocity, {"velocity": velocity, "before": None}
        before = learning_rate if state["before"] is None else state["before"]
        velocity = self.momentum * (learning_rate / before) * state["velocity"] + learning_rate * grad
        return theta - velocity, {"velocity": velocity, "before": learning_rate}


CASES += family(
    "velocity", Velocity, lambda: torch.optim.SGD, {"theta": (5,)},
    {"rescaled": "The velocity is rescaled by the ratio of learning rates, which divides by a rate of 0."},
)  # fmt: skip
