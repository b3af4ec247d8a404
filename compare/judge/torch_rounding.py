"""How far torch's own formula rounds on the very numbers at hand: random rounding of every operation it makes.

Torch may compute the same function by a formula that cancels where the manual one does not, as
(1 − y) z + log(1 + e^−z) does for a z far below 0. Monte Carlo arithmetic (Vignes 1993; Parker 1997) measures that
without a reference: each operation's result is moved by one unit in the last place, up or down by chance, and
what becomes of torch's outputs is what rounding can do to them. Of a sum or a matrix product, which rounds inside
too, the operands are moved as well, and so are the constants of the reference and of an optimizer: 0.1 stands for a
real number that had to be rounded. Only torch's code runs, so nothing that is wrong in the manual code can enlarge it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.foundation.patience import Endless, as_long_as
from handgrad.compare.foundation.threads import torch_threads
from handgrad.compare.foundation.torch_internals import (
    DispatchMode,
    is_in_place,
    tree_leaves,
    tree_map,
)
from handgrad.compare.judge.parts import in_parts
from handgrad.compare.judge.sides import Arrays, Sides, is_float
from handgrad.compare.rounding.model import Precision, is_short, lost_digit

LARGE, FEW = 1 << 12, 4  # a result of so many numbers is large, and so many of them are looked up first
DISTANCE = "_euclidean_dist"  # of torch.cdist for more than 25 rows: x² + y² − 2xy, of which the root is taken
STEPS = ("sign", "sgn", "floor", "ceil", "round", "trunc", "frac", "floor_divide")  # float results of a choice
# What makes of whole numbers either whole ones, exactly, or others: exp and tanh may round to one.
OF_WHOLE = ("add", "sub", "rsub", "mul", "div", "sum", "cumsum", "neg", "remainder", "fmod")


class PythonNumber(float):
    """A number of which every result of arithmetic is `rounded`: what an optimizer works out before torch sees it."""

    def __new__(cls, value: float, rounded: Callable[[float], float]) -> PythonNumber:
        number = super().__new__(cls, value)
        number.rounded = rounded
        return number

    rounded: Callable[[float], float]


def _with_rounding(name: str) -> Any:
    """float's own operation of this name, its result rounded."""
    operation = getattr(float, name)

    def rounded(self: PythonNumber, *others: Any) -> Any:
        result = operation(self, *others)
        return PythonNumber(self.rounded(result), self.rounded) if isinstance(result, float) else result

    return rounded


for _name in ("add", "sub", "mul", "truediv", "pow"):
    for _side in ("", "r"):
        setattr(PythonNumber, f"__{_side}{_name}__", _with_rounding(f"__{_side}{_name}__"))


class RandomRounding(DispatchMode):
    """Runs torch's operations in float64 with each result moved by one ulp at random, fused ones taken apart.

    A result whose every number stood already among the operands, but for its sign, was chosen and not computed, and
    is left alone: views, maxima, masks. So is what is exact: a rounding to a whole number, of which an index may be
    made, and sums and products of such that are whole. `choices` collects the results of comparisons, of roundings to
    whole numbers and of signs: a run in which one of them is another has jumped, and says nothing of rounding.
    `largest` is the largest finite number among all operands and results.
    """

    def __init__(self, seed: int | None, most: float = math.inf) -> None:
        """Without a seed nothing is moved. After more than `most` operations it raises Endless."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.generator = None if seed is None else torch.Generator().manual_seed(seed)
        self.chance = random.Random(seed)  # of Python's numbers: torch's generator would come by here
        self.choices: list[torch.Tensor] = []
        self.distances: list[torch.Tensor] = []
        self.largest = 0.0
        self.operations, self.most = 0, most

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        if self.operations > self.most:
            raise Endless
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__.rstrip("_")
        with self:
            result = in_parts(func, name, args, kwargs)
        if result is not NotImplemented:
            self.distances += [result] if name == DISTANCE else []
            return result
        args, kwargs = tree_map(self._rounded, (args, kwargs))
        operands = [leaf for leaf in tree_leaves((args, kwargs)) if _is_real(leaf) or isinstance(leaf, float)]
        result = func(*args, **kwargs)
        self.largest = max(self.largest, *map(_largest, tree_leaves((operands, result))), 0.0)
        if not self._is_of_a_distance(name, args):
            self.choices += [
                t.clone()
                for t in tree_leaves(result)
                if isinstance(t, torch.Tensor) and (not t.is_floating_point() or _is_step(name, kwargs))
            ]
        computed = [t for t in tree_leaves(result) if _is_real(t) and not all_among(t, operands)]
        if self.generator is None or not computed or _is_exact(name, operands, computed, kwargs):
            return result
        if is_in_place(func):
            computed[0].copy_(self._moved(computed[0]))
            return result
        if torch.Tag.pointwise not in func.tags:
            result = func(*tree_map(self._moved, args), **tree_map(self._moved, kwargs))
        return tree_map(self._moved, result)

    def meet(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer's constants are the same at each of its steps, so they are moved before the first."""
        if self.generator is not None:
            for group in optimizer.param_groups:
                group |= {k: tree_map(self._counted, v) for k, v in group.items() if k != "params"}

    def _is_of_a_distance(self, name: str, args: Any) -> bool:
        """Whether torch asks if its own distance is 0, so as not to divide by it: that is rounding, and no choice."""
        return name == "eq" and any(_same_memory(args[0], d) for d in self.distances)

    def _counted(self, x: Any) -> Any:
        """The same, of which also what Python makes is rounded at random; anything else as it is."""
        return PythonNumber(self._rounded(x), self._rounded) if isinstance(x, float) else x

    def _rounded(self, x: Any) -> Any:
        """A Python number that stands for a real one, up or down by its rounding; anything else as it is."""
        if self.generator is None or not isinstance(x, float) or is_short(x):
            return x
        off = max(math.ulp(x), float(lost_digit(Precision.of(np.float64), x)) if math.isfinite(x) else 0.0)
        return x + self.chance.choice((-off, off))

    def _moved(self, t: Any) -> Any:
        """Each number of a float64 tensor up or down by one ulp; 0 and ∞, and anything else, as they are."""
        if not _is_real(t):
            return t
        up = torch.randint(0, 2, t.shape, generator=self.generator, dtype=torch.bool)
        infinity = torch.full_like(t, torch.inf)
        return torch.where((t == 0) | t.isinf(), t, torch.nextafter(t, torch.where(up, infinity, -infinity)))


def _is_exact(name: str, operands: list[Any], computed: list[torch.Tensor], kwargs: Any) -> bool:
    """Whether nothing is rounded: by a choice, or where whole numbers make whole ones that float64 holds."""
    if _is_step(name, kwargs):
        return not kwargs.get("decimals")
    return name in OF_WHOLE and all(map(_is_whole, (*operands, *computed)))


def _is_step(name: str, kwargs: Any) -> bool:
    return name in STEPS or bool(kwargs.get("rounding_mode"))


def _is_whole(x: Any) -> bool:
    """Whether a number, or each of a tensor's, is whole, and of a size that float64 counts to one by one."""
    x = torch.as_tensor(x, dtype=torch.float64)
    return bool(((x == x.round()) & (x.abs() < 2.0**53)).all())


def _is_real(t: Any) -> bool:
    """A float32 tensor among float64 ones is a counter, such as an optimizer's step."""
    return isinstance(t, torch.Tensor) and t.dtype == torch.float64


def all_among(t: torch.Tensor, operands: list[Any]) -> bool:
    """Whether each number of t is 0 or, but for its sign, one of the operands: numbers, and tensors of them.

    A view has its operand's memory. Of a large result a few numbers are looked up first: one that is not among the
    operands settles it without the sorting that the rest needs.
    """
    tensors = [o for o in operands if isinstance(o, torch.Tensor)]
    if any(_same_memory(o, t) for o in tensors if o.numel()):
        return True
    if t.numel() > LARGE:
        numbers = [o for o in operands if not isinstance(o, torch.Tensor)]
        for value in t.reshape(-1)[:: t.numel() // FEW].abs().tolist():
            alone = value == 0 or any(abs(number) == value for number in numbers)
            if not alone and not any(bool((o.abs() == value).any()) for o in tensors):
                return False
    found = torch.cat([t.new_zeros(1), *(torch.as_tensor(o, dtype=t.dtype).reshape(-1).abs() for o in operands)])
    return bool(torch.isin(t.abs(), found).all())


def _same_memory(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _largest(x: Any) -> float:
    """The largest finite magnitude of a float64 tensor, or of a number; 0 for anything else."""
    if not _is_real(x) or not x.numel():
        return abs(x) if isinstance(x, float) and math.isfinite(x) else 0.0
    low, high = torch.aminmax(x.detach())
    largest = max(-float(low), float(high))
    if not math.isfinite(largest):
        magnitude = x.detach().abs()
        largest = float(torch.where(torch.isfinite(magnitude), magnitude, 0.0).max())
    return largest


class DefaultFloat64(TorchFunctionMode):
    """Makes what torch would make in its default dtype, float32, in float64, in this thread alone.

    Torch's own default dtype is that of all threads.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in MAKERS and kwargs.get("dtype") in (None, torch.float32):
            made = func(*args, **kwargs)
            if made.dtype == torch.float32 and not any(isinstance(a, torch.Tensor) for a in tree_leaves(args)):
                return func(*args, **{**kwargs, "dtype": torch.float64})
            return made
        return func(*args, **kwargs)


# What makes a tensor of plain numbers.
MAKERS = {
    torch.tensor, torch.as_tensor, torch.scalar_tensor, torch.empty, torch.zeros, torch.ones, torch.full, torch.eye,
    torch.arange, torch.linspace, torch.logspace,
}  # fmt: skip


def in_default_float64(sides: Sides, inputs: Arrays) -> Arrays:
    """Torch's results where float64 is its default dtype; nothing where the reference does not run so."""
    try:
        with DefaultFloat64():
            return sides.torch(inputs)
    except Exception as error:
        swallowed(error, "the reference in default float64")
        return {}


class TorchRounding:
    """What rounding does to torch's own results, by output name; nothing where the reference does not run in this way.

    noise     how far random rounding has moved each element so far, float64
    finite    in how many of the `draws` so far it was finite
    in_parts  the results where fused operations are replaced by their parts and nothing is moved
    largest   the largest number that came up on the way
    """

    def __init__(self, sides: Sides, inputs: Arrays, most: float = math.inf) -> None:
        """`most` operations are looked at: a reference that waits for a small number may never end."""
        self.sides, self.inputs, self.draws, self.most = sides, inputs, 0, most
        try:
            self.in_parts, reference = self._run(None)
        except (Exception, Endless) as error:
            swallowed(error, "the reference in parts")
            self.in_parts, reference = {}, RandomRounding(None)
        self.choices, self.largest = reference.choices, reference.largest
        self.most = as_long_as(reference.operations)
        self.noise = {name: np.zeros(np.shape(y)) for name, y in self.in_parts.items() if is_float(np.asarray(y))}
        self.finite = {name: np.zeros(np.shape(y), int) for name, y in self.noise.items()}

    @torch_threads(1)
    def _run(self, seed: int | None) -> tuple[Arrays, RandomRounding]:
        with RandomRounding(seed, self.most) as mode:
            return self.sides.torch(self.inputs), mode

    def draw(self, draws: int) -> None:
        """Go on until so many random roundings have been made."""
        for seed in range(self.draws, draws if self.noise else 0):
            try:
                there, mode = self._run(seed)
            except (Exception, Endless) as error:  # a root of what rounding makes negative: it says nothing
                swallowed(error, "the reference under random rounding")
                continue
            for name, count in self.finite.items():
                count += np.isfinite(there[name])
            if len(mode.choices) != len(self.choices) or not all(map(torch.equal, mode.choices, self.choices)):
                continue
            for name, most in self.noise.items():
                with np.errstate(all="ignore"):
                    change = np.abs(np.subtract(there[name], self.in_parts[name], dtype=np.float64))
                np.maximum(most, np.where(np.isfinite(change), change, 0.0), out=most)
        self.draws = max(self.draws, draws)
