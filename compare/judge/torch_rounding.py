"""How far torch's own formula rounds on the very numbers at hand: random rounding of every operation it makes.

Torch may compute the same function by a formula that cancels where the manual one does not, as
(1 − y) z + log(1 + e^−z) does for a z far below 0. Monte Carlo arithmetic (Vignes 1993; Parker 1997) measures that
without a reference: each operation's result is moved by one unit in the last place, up or down by chance, and
what becomes of torch's outputs is what rounding can do to them. Of a sum or a matrix product, which rounds inside
too, the operands are moved as well. Only torch's code runs, so nothing that is wrong in the manual code can
enlarge it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch._decomp import decomposition_table
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from compare.judge.sides import Arrays, Sides, is_float

DRAWS = 16
STEPS = ("sign", "sgn", "floor", "ceil", "round", "trunc", "frac")  # float results of a choice


class RandomRounding(TorchDispatchMode):
    """Runs torch's operations in float64 with each result moved by one ulp at random, fused ones taken apart.

    A result whose every number stood already among the operands, but for its sign, was chosen and not computed, and
    is left alone: views, maxima, masks. `choices` collects the results of comparisons, of roundings to whole numbers
    and of signs: a run in which one of them is another has jumped, and says nothing of rounding.
    """

    def __init__(self, seed: int | None) -> None:
        """Without a seed nothing is moved."""
        super().__init__()
        self.generator = None if seed is None else torch.Generator().manual_seed(seed)
        self.choices: list[torch.Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in decomposition_table:
            with self:
                result = decomposition_table[func](*args, **kwargs)
            if result is not NotImplemented:
                return result
        operands = [leaf for leaf in tree_leaves((args, kwargs)) if _is_real(leaf) or isinstance(leaf, float)]
        result = func(*args, **kwargs)
        self.choices += [
            t.clone()
            for t in tree_leaves(result)
            if isinstance(t, torch.Tensor)
            and (not t.is_floating_point() or func.overloadpacket.__name__.rstrip("_") in STEPS)
        ]
        computed = [t for t in tree_leaves(result) if _is_real(t) and not all_among(t, operands)]
        if self.generator is None or not computed:
            return result
        if torch.Tag.inplace in func.tags:
            computed[0].copy_(self._moved(computed[0]))
            return result
        if torch.Tag.pointwise not in func.tags:
            result = func(*tree_map(self._moved, args), **tree_map(self._moved, kwargs))
        return tree_map(self._moved, result)

    def _moved(self, t: Any) -> Any:
        """Each number of a float64 tensor up or down by one ulp; 0, and anything else, as it is."""
        if not _is_real(t):
            return t
        up = torch.randint(0, 2, t.shape, generator=self.generator, dtype=torch.bool)
        infinity = torch.full_like(t, torch.inf)
        return torch.where(t == 0, t, torch.nextafter(t, torch.where(up, infinity, -infinity)))


def _is_real(t: Any) -> bool:
    """A float32 tensor among float64 ones is a counter, such as an optimizer's step."""
    return isinstance(t, torch.Tensor) and t.dtype == torch.float64


def all_among(t: torch.Tensor, operands: list[Any]) -> bool:
    """Whether each number of t is 0 or, but for its sign, one of the operands: numbers, and tensors of them."""
    found = torch.cat([t.new_zeros(1), *(torch.as_tensor(o, dtype=t.dtype).reshape(-1).abs() for o in operands)])
    return bool(torch.isin(t.abs(), found).all())


def rounding_of_torch(sides: Sides, inputs: Arrays) -> tuple[Arrays, Arrays]:
    """Per output and element: how far random rounding moves torch's result, float64; and the result taken apart.

    Both are empty where the twin does not run in this way. The second is what torch computes without moving
    anything, its fused operations replaced by their parts.
    """
    try:
        here, choices = _run(sides, inputs, None)
        noise = {name: np.zeros(np.shape(y)) for name, y in here.items() if is_float(np.asarray(y))}
        for seed in range(DRAWS):
            there, others = _run(sides, inputs, seed)
            if len(others) != len(choices) or not all(map(torch.equal, others, choices)):
                continue
            for name, most in noise.items():
                with np.errstate(all="ignore"):
                    change = np.abs(np.subtract(there[name], here[name], dtype=np.float64))
                np.maximum(most, np.where(np.isfinite(change), change, 0.0), out=most)
    except Exception:
        return {}, {}
    return noise, here


def _run(sides: Sides, inputs: Arrays, seed: int | None) -> tuple[Arrays, list[torch.Tensor]]:
    with RandomRounding(seed) as mode:
        return sides.torch(inputs), mode.choices
