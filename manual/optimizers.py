"""w ← w − η∇J and its relatives: pure functions of (θ, ∇, state), with torch.optim's semantics to the letter.

An optimizer has `init(theta)`, which returns the state before the first step, and
`update(theta, grad, state, learning_rate)`, which returns the new θ and the new state. State arrays are flat
like θ and carry torch's names. η comes in from outside, because schedules change it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from handgrad.manual.layer import Array

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop"]

State = dict[str, Any]


@dataclass(frozen=True)
class Optimizer:
    """The protocol of an optimizer, stated above."""

    def init(self, theta: Array) -> State:
        """The state before the first step."""
        return {}

    def update(self, theta: Array, grad: Array, state: State, learning_rate: float) -> tuple[Array, State]:
        """θ, ∇ (size,) → the new θ (size,) and the new state; nothing that comes in is changed."""
        raise NotImplementedError(f"{type(self).__name__} has no update(theta, grad, state, learning_rate)")


def require_within(owner: str, low: float, high: float, **values: float) -> None:
    """Raise ValueError unless low ≤ value < high for every named hyperparameter."""
    for name, value in values.items():
        if not isinstance(value, (int, float, np.number)):
            raise ValueError(f"{owner}: {name} must be a number, got {value!r}")
        if not (low <= value < high and np.isfinite(value)):
            raise ValueError(f"{owner}: {name} must lie in [{low:g}, {high:g}), got {value!r}")


def require_same_shape(owner: Optimizer, theta: Array, grad: Array) -> None:
    """Raise ValueError unless θ and ∇ have one shape: broadcasting would silently make another update."""
    if theta.shape != grad.shape:
        raise ValueError(
            f"{type(owner).__name__} takes θ and ∇ of one shape, got {theta.shape} and {grad.shape}: "
            "reshape the gradient (nothing is broadcast)"
        )


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent, with momentum (Polyak 1964) or Nesterov's look-ahead (Sutskever et al. 2013, torch's form).

    State, with momentum only: momentum_buffer (size,), absent before the first step, whose buffer is the
    gradient itself, undampened.
    """

    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        require_within("SGD", 0, np.inf, momentum=self.momentum, weight_decay=self.weight_decay)
        require_within("SGD", -np.inf, np.inf, dampening=self.dampening)
        if self.nesterov and (self.momentum <= 0 or self.dampening != 0):
            raise ValueError(
                "SGD: nesterov=True needs momentum above 0 and dampening 0, "
                f"got momentum={self.momentum!r}, dampening={self.dampening!r}"
            )

    def update(self, theta: Array, grad: Array, state: State, learning_rate: float) -> tuple[Array, State]:
        require_same_shape(self, theta, grad)
        mu, tau, lambda_ = self.momentum, self.dampening, self.weight_decay
        g = grad + lambda_ * theta if lambda_ else grad  # g = ∇ + λθ
        if mu:
            b = mu * state["momentum_buffer"] + (1 - tau) * g if state else g  # b ← μb + (1 − τ)g
            state = {"momentum_buffer": b}
            g = g + mu * b if self.nesterov else b
        return theta - learning_rate * g, state  # θ ← θ − ηg


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adaptive moments (Kingma and Ba 2015, algorithm 1). Weight decay, if any, is added to the gradient.

    State: step, the number of updates made, an int; exp_avg (size,), m; exp_avg_sq (size,), v.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        owner = type(self).__name__
        require_within(owner, 0, 1, beta1=self.beta1, beta2=self.beta2)
        require_within(owner, 0, np.inf, eps=self.eps, weight_decay=self.weight_decay)

    def init(self, theta: Array) -> State:
        return {"step": 0, "exp_avg": np.zeros_like(theta), "exp_avg_sq": np.zeros_like(theta)}

    def update(self, theta: Array, grad: Array, state: State, learning_rate: float) -> tuple[Array, State]:
        require_same_shape(self, theta, grad)
        g = grad + self.weight_decay * theta if self.weight_decay else grad  # g = ∇ + λθ
        return self.descend(theta, g, state, learning_rate)

    def descend(self, theta: Array, g: Array, state: State, learning_rate: float) -> tuple[Array, State]:
        """The part that Adam and AdamW share: θ ← θ − η m̂ / (√v̂ + ε)."""
        t = state["step"] + 1
        m = state["exp_avg"]
        m = m + (1 - self.beta1) * (g - m)  # m ← β₁m + (1 − β₁)g, as a step from m towards g
        v = self.beta2 * state["exp_avg_sq"] + (1 - self.beta2) * (g * g)  # v ← β₂v + (1 − β₂)g²
        m_hat = m / (1 - self.beta1**t)  # m̂ = m / (1 − β₁ᵗ)
        v_hat = v / (1 - self.beta2**t)  # v̂ = v / (1 − β₂ᵗ)
        theta = theta - learning_rate * m_hat / (np.sqrt(v_hat) + self.eps)
        return theta, {"step": t, "exp_avg": m, "exp_avg_sq": v}


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with the weight decay decoupled from the gradient (Loshchilov and Hutter 2019, algorithm 2)."""

    weight_decay: float = 0.01

    def update(self, theta: Array, grad: Array, state: State, learning_rate: float) -> tuple[Array, State]:
        require_same_shape(self, theta, grad)
        theta = theta * (1 - learning_rate * self.weight_decay)  # θ ← (1 − ηλ)θ
        return self.descend(theta, grad, state, learning_rate)


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """The gradient over the root of its running mean square (Hinton, Coursera lecture 6e), in torch's form.

    `centered` takes off the squared running mean (Graves 2013, eq. 38–45). ε stands outside the root.
    State: step, the number of updates made, an int; square_avg, and grad_avg when centered, momentum_buffer
    with momentum; each (size,).
    """

    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False

    def __post_init__(self) -> None:
        require_within("RMSprop", 0, 1, alpha=self.alpha)
        require_within("RMSprop", 0, np.inf, eps=self.eps, weight_decay=self.weight_decay, momentum=self.momentum)

    def init(self, theta: Array) -> State:
        names = ["square_avg"]
        names += ["grad_avg"] if self.centered else []
        names += ["momentum_buffer"] if self.momentum else []
        return {"step": 0, **{name: np.zeros_like(theta) for name in names}}

    def update(self, theta: Array, grad: Array, state: State, learning_rate: float) -> tuple[Array, State]:
        require_same_shape(self, theta, grad)
        alpha, mu = self.alpha, self.momentum
        g = grad + self.weight_decay * theta if self.weight_decay else grad  # g = ∇ + λθ
        v = alpha * state["square_avg"] + (1 - alpha) * (g * g)  # v ← αv + (1 − α)g²
        new = {"step": state["step"] + 1, "square_avg": v}
        if self.centered:
            m = state["grad_avg"]
            m = m + (1 - alpha) * (g - m)  # m ← αm + (1 − α)g, as a step from m towards g
            new["grad_avg"] = m
            v = v - m * m
        d = g / (np.sqrt(v) + self.eps)
        if mu:
            d = mu * state["momentum_buffer"] + d  # b ← μb + g / (√v + ε)
            new["momentum_buffer"] = d
        return theta - learning_rate * d, new  # θ ← θ − ηd
