"""How much float64 code rounds, measured beside what is wider: where float32 tells nothing of it.

The manual side is run in NumPy's longdouble, whose unit is 2⁻¹¹ of float64's where the processor has it. Torch has
nothing wider, so of it random rounding is measured.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from handgrad.compare.judge.sides import Arrays, Sides, is_float
from handgrad.compare.judge.torch_rounding import TorchRounding
from handgrad.compare.rounding.model import Precision


def roundings(sides: Sides, inputs: Arrays, draws: int) -> Arrays:
    """The largest rounding of each element over so many draws: of both sides, and of the element itself; float64.

    ValueError where there is nothing wider than float64, or where random rounding cannot be made of the reference.
    """
    if np.finfo(np.longdouble).eps >= np.finfo(np.float64).eps:
        raise ValueError("float32 tells nothing of these inputs, and this machine has nothing wider than float64")
    of_torch = TorchRounding(sides, inputs)
    of_torch.draw(draws)
    if not of_torch.noise:
        raise ValueError("float32 tells nothing of these inputs, and the reference does not run with random rounding")
    found = {
        name: noise + Precision.of(np.float64).unit * np.abs(of_torch.in_parts[name])
        for name, noise in of_torch.noise.items()
    }
    most: Arrays = {}
    for near in _neighbours(inputs, draws):
        with np.errstate(all="ignore"):
            low = sides.manual(near)
            high = sides.manual({k: x.astype(np.longdouble) if is_float(x) else x for k, x in near.items()})
            for name in found:
                if name in low and np.shape(low[name]) == np.shape(high[name]) == np.shape(found[name]):
                    apart = np.abs(np.subtract(low[name], high[name], dtype=np.longdouble)).astype(np.float64)
                    most[name] = np.fmax(most.get(name, 0.0), np.where(np.isfinite(apart), apart, 0.0))
    return {name: s + most.get(name, 0.0) for name, s in found.items()}


def _neighbours(inputs: Arrays, draws: int) -> Iterator[Arrays]:
    """The inputs and others a few units in the last place nearer to zero; arrays without an axis stay arrays."""
    rng = np.random.default_rng(0)
    for _ in range(draws):
        yield {
            name: np.asarray(x * (1 - rng.integers(0, 17, np.shape(x)) * 2.0**-52)) if is_float(x) else x
            for name, x in inputs.items()
        }
