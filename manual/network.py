"""A stack of layers over one flat parameter vector θ: fold forward, fold back.

Because θ is one vector and the layers see views of it, w ← w − η∇J is one line, a checkpoint is one array,
and comparing two networks is one subtraction.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from handgrad.manual.layer import Array, Cache, Layer, Params

__all__ = ["Network"]


@dataclass(frozen=True)
class Network:
    """Layers applied one after the other, as in torch.nn.Sequential."""

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("Network takes at least one layer, got none")

    @cached_property
    def layout(self) -> dict[str, tuple[slice, tuple[int, ...]]]:
        """Where each parameter lies in θ: {"0.weight": (slice, shape), …}, keys and order as torch's state_dict."""
        layout, start = {}, 0
        for i, params in enumerate(self._draw(np.random.default_rng(0))):
            for name, value in params.items():
                layout[f"{i}.{name}"] = (slice(start, start + value.size), value.shape)
                start += value.size
        return layout

    @cached_property
    def _slots(self) -> list[list[tuple[str, slice, tuple[int, ...]]]]:
        """The layout by layer: for each of its parameters the name, where it lies in θ, and its shape."""
        slots: list[list[tuple[str, slice, tuple[int, ...]]]] = [[] for _ in self.layers]
        for key, (where, shape) in self.layout.items():
            i, name = key.split(".", 1)
            slots[int(i)].append((name, where, shape))
        return slots

    @cached_property
    def size(self) -> int:
        """The number of parameters."""
        return max((where.stop for where, _ in self.layout.values()), default=0)

    def init(self, rng: np.random.Generator, dtype: type[np.floating] = np.float64) -> Array:
        """Draw θ (size,). The draws are float64 and then rounded, so one seed gives one network in any dtype."""
        drawn = [value.ravel() for params in self._draw(rng) for value in params.values()]
        return np.concatenate([*drawn, np.empty(0)]).astype(dtype)

    def _draw(self, rng: np.random.Generator) -> Iterator[Params]:
        return (layer.init(rng) for layer in self.layers)

    def views(self, theta: Array) -> list[Params]:
        """θ (size,) → each layer's parameters, as views of θ in their own shapes."""
        if theta.shape != (self.size,):
            raise ValueError(f"θ must have shape ({self.size},), one number per parameter, got {theta.shape}")
        views: list[Params] = []
        for slots in self._slots:  # loops, because a comprehension for each layer costs more than its views
            params: Params = {}
            for name, where, shape in slots:
                params[name] = theta[where].reshape(shape)
            views.append(params)
        return views

    def forward(self, theta: Array, x: Array) -> tuple[list[Array], list[Cache]]:
        """x (N, in) → the output of every layer, the last one being ŷ, and every layer's cache."""
        outputs, caches = [], []
        for layer, params in zip(self.layers, self.views(theta), strict=True):
            x, cache = layer.forward(params, x)
            outputs.append(x)
            caches.append(cache)
        return outputs, caches

    def predict(self, theta: Array, x: Array) -> Array:
        """x (N, in) → ŷ (N, outputs)."""
        return self.forward(theta, x)[0][-1]

    def backward(self, theta: Array, caches: list[Cache], delta: Array) -> tuple[list[Array], Array]:
        """δ = ∂J/∂ŷ → ∂J/∂(output of every layer), first layer first, and ∇ = ∂J/∂θ (size,)."""
        deltas, grads, params = [delta], [], self.views(theta)
        for i in range(len(self.layers) - 1, -1, -1):
            grads.append(self.layers[i].parameter_gradients(params[i], caches[i], delta))
            if i:  # nobody needs ∂J/∂(the data)
                delta = self.layers[i].input_gradient(params[i], caches[i], delta)
                deltas.append(delta)
        flat = [g.ravel() for grad in grads[::-1] for g in grad.values()]
        grad = np.concatenate(flat) if flat else np.empty(0, theta.dtype)  # (size,)
        return deltas[::-1], grad
