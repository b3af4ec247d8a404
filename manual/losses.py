"""J(ŷ, y) and ∂J/∂ŷ. The loss owns the 1/N: every gradient further back is then a plain sum over the batch.

A loss has `forward(output, target)`, which returns J, a number of shape (), and a cache, and `gradient(cache)`,
which returns ∂J/∂ŷ with the shape of the output. All of them are finite for any finite output.
"""

from dataclasses import dataclass

import numpy as np

from handgrad.manual.activations import logistic
from handgrad.manual.layer import Array, Cache

__all__ = [
    "BinaryCrossEntropy",
    "BinaryCrossEntropyWithLogits",
    "HalfSquaredError",
    "Loss",
    "MeanSquaredError",
    "PerceptronCriterion",
    "SoftmaxCrossEntropy",
]

# What torch.nn.BCELoss never divides by less than: 1e−12, but written in float32 whatever the dtype of the numbers.
LEAST_VARIANCE = float(np.float32(1e-12))


@dataclass(frozen=True)
class Loss:
    """The protocol of a loss, stated above."""

    def forward(self, output: Array, target: Array) -> tuple[Array, Cache]:
        """output (N, K) and its target → J, shape (), and a cache."""
        raise NotImplementedError(f"{type(self).__name__} has no forward(output, target)")

    def gradient(self, cache: Cache) -> Array:
        """→ ∂J/∂ŷ (N, K)."""
        raise NotImplementedError(f"{type(self).__name__} has no gradient(cache)")


def require_same_shape(owner: Loss, output: Array, target: Array) -> None:
    """Raise ValueError unless the shapes are equal: broadcasting would silently give another loss; and unless N ≥ 1."""
    if not len(output):
        raise ValueError(f"{type(owner).__name__} takes at least one example, got shape {output.shape}: give it some")
    if output.shape != target.shape:
        raise ValueError(
            f"{type(owner).__name__} takes output and target of one shape, got {output.shape} and "
            f"{target.shape}: reshape the target (nothing is broadcast)"
        )


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """J = 1/(NK) Σ_nk (ŷ_nk − y_nk)²: the mean over every number, as torch.nn.MSELoss takes it."""

    def forward(self, output: Array, target: Array) -> tuple[Array, Array]:
        require_same_shape(self, output, target)
        r = output - target  # r_nk = ŷ_nk − y_nk                     (N, K)
        return (r * r).mean(), r  # ()

    def gradient(self, cache: Array) -> Array:
        r = cache
        return 2 * r / r.size  # ∂J/∂ŷ_nk = 2 (ŷ_nk − y_nk) / (NK)


@dataclass(frozen=True)
class HalfSquaredError(Loss):
    """J = 1/N Σ_n ½ Σ_k (ŷ_nk − y_nk)²: summed over outputs, so that the 2 cancels and no K appears."""

    def forward(self, output: Array, target: Array) -> tuple[Array, Array]:
        require_same_shape(self, output, target)
        r = output - target  # r_nk = ŷ_nk − y_nk                     (N, K)
        return (r * r).sum() / (2 * len(r)), r  # ()

    def gradient(self, cache: Array) -> Array:
        r = cache
        return r / len(r)  # ∂J/∂ŷ_nk = (ŷ_nk − y_nk) / N


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """J = −1/(NK) Σ_nk [y log p + (1 − y) log(1 − p)], on probabilities p = ŷ in [0, 1].

    As in torch.nn.BCELoss a logarithm is never taken to be below −100, and the denominator of the gradient
    never below `LEAST_VARIANCE`; both keep a saturated p finite. On logits use `BinaryCrossEntropyWithLogits`.
    """

    def forward(self, output: Array, target: Array) -> tuple[Array, tuple[Array, Array]]:
        require_same_shape(self, output, target)
        p, y = output, target
        with np.errstate(divide="ignore"):  # log 0 = −∞ is meant, and is cut off at −100
            log_p = np.maximum(np.log(p), -100)
            log_q = np.maximum(np.log1p(-p), -100)  # q = 1 − p
        return -(y * log_p + (1 - y) * log_q).mean(), (p, y)  # ()

    def gradient(self, cache: tuple[Array, Array]) -> Array:
        p, y = cache
        # ∂J/∂p_nk = (p_nk − y_nk) / (p_nk (1 − p_nk)) / (NK)
        return (p - y) / np.maximum(p * (1 - p), LEAST_VARIANCE) / p.size


@dataclass(frozen=True)
class BinaryCrossEntropyWithLogits(Loss):
    """Binary cross-entropy of p = σ(ŷ), written in ŷ so that nothing saturates; torch.nn.BCEWithLogitsLoss.

    −[y log σ(ŷ) + (1 − y) log(1 − σ(ŷ))] = max(ŷ, 0) − ŷ y + log(1 + e^−|ŷ|)
    """

    def forward(self, output: Array, target: Array) -> tuple[Array, tuple[Array, Array]]:
        require_same_shape(self, output, target)
        z, y = output, target
        losses = np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))  # (N, K)
        return losses.mean(), (z, y)  # ()

    def gradient(self, cache: tuple[Array, Array]) -> Array:
        z, y = cache
        return (logistic(z) - y) / z.size  # ∂J/∂ŷ_nk = (σ(ŷ_nk) − y_nk) / (NK)


@dataclass(frozen=True)
class PerceptronCriterion(Loss):
    """J = 1/(NK) Σ_nk ([ŷ_nk > 0] − y_nk) ŷ_nk: how far on the wrong side each mistaken ŷ lies; targets 0 and 1.

    It is max(0, ŷ) − ŷ y, the first two terms of `BinaryCrossEntropyWithLogits`. Its gradient is the error of the
    thresholded output, so that gradient descent on it is the perceptron's learning rule (Rosenblatt 1958; Bishop
    2006, eq. 4.54). ŷ = 0 counts as class 0, where torch's relu has the derivative 0.
    """

    def forward(self, output: Array, target: Array) -> tuple[Array, tuple[Array, Array]]:
        require_same_shape(self, output, target)
        z, y = output, target
        return (np.maximum(z, 0) - z * y).mean(), (z, y)  # ()

    def gradient(self, cache: tuple[Array, Array]) -> Array:
        z, y = cache
        return np.where(z > 0, 1 - y, -y) / z.size  # ∂J/∂ŷ_nk = ([ŷ_nk > 0] − y_nk) / (NK)


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """J = −1/N Σ_n log p_n,y_n with p = softmax(ŷ), on logits; the target is the class, an integer (N,).

    log p_nk = ŷ_nk − log Σ_j exp ŷ_nj. Subtracting the row's maximum first changes nothing and keeps every
    exponent at or below 0 (torch.nn.CrossEntropyLoss).
    """

    def forward(self, output: Array, target: Array) -> tuple[Array, tuple[Array, Array]]:
        if output.ndim != 2 or target.shape != output.shape[:1] or target.dtype.kind not in "iu":
            raise ValueError(
                f"SoftmaxCrossEntropy takes one integer class per row, so a target of shape "
                f"{output.shape[:1]}, got {target.dtype} {target.shape}: pass class numbers, not one-hot rows"
            )
        N, K = output.shape
        one_hot = target[:, np.newaxis] == np.arange(K)  # [k = y_n]              (N, K)
        if not (N and np.count_nonzero(one_hot) == N):
            raise ValueError(
                f"SoftmaxCrossEntropy takes one or more classes from 0 to {K - 1} beside {K} outputs, got "
                f"{np.unique(target)}: correct the target, or widen the last layer"
            )
        shifted = output - output.max(axis=1, keepdims=True)  # (N, K)
        e = np.exp(shifted)  # (N, K)
        total = e.sum(axis=1, keepdims=True)  # Σ_j exp ŷ_nj, shifted     (N, 1)
        log_p = shifted[one_hot] - np.log(total)[:, 0]  # log p_n,y_n     (N,)
        return log_p.sum() / -N, (e / total, one_hot)  # J = −1/N Σ_n log p_n,y_n      ()

    def gradient(self, cache: tuple[Array, Array]) -> Array:
        p, one_hot = cache
        return (p - one_hot) / len(p)  # ∂J/∂ŷ_nk = (p_nk − [k = y_n]) / N
