"""A whole network as one layer, so that `check` can put it beside a whole torch module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from handgrad import manual
from handgrad.manual import Array, Params


@dataclass(frozen=True)
class WholeNetwork(manual.Layer):
    """y = f(x; θ), the parameters by the keys of torch's state_dict: {"0.weight": …}."""

    network: manual.Network

    def init(self, rng: np.random.Generator) -> Params:
        return self._named(self.network.init(rng))

    def forward(self, params: Params, x: Array) -> tuple[Array, Any]:
        outputs, caches = self.network.forward(self._flat(params), x)
        return outputs[-1], caches

    def input_gradient(self, params: Params, cache: Any, dy: Array) -> Array:
        theta = self._flat(params)
        deltas, _ = self.network.backward(theta, cache, dy)
        return self.network.layers[0].input_gradient(self.network.views(theta)[0], cache[0], deltas[0])

    def parameter_gradients(self, params: Params, cache: Any, dy: Array) -> Params:
        return self._named(self.network.backward(self._flat(params), cache, dy)[1])

    def _flat(self, params: Params) -> Array:
        return np.concatenate([params[key].ravel() for key in self.network.layout])

    def _named(self, theta: Array) -> Params:
        return {key: theta[where].reshape(shape) for key, (where, shape) in self.network.layout.items()}
