"""An update rule that nobody wrote down here, read off what its optimizer does: the operations of one step, as lines.

Two steps are recorded; what is the same in both is a number, what is not must be a power of a hyperparameter by the
step count. Whether the lines are the rule is not taken on trust: the caller runs them beside torch.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from handgrad.compare.diagnosis.rules.recipes import Line, Recipe
from handgrad.compare.foundation.torch_internals import DispatchMode, operation_name

ALIASES = {"detach", "alias", "view", "clone", "_to_copy", "contiguous", "lift_fresh", "expand", "reshape", "copy"}
# the operation → the line's right side; {0}, {1}, {2} are its arguments
FORMULAS = {
    "mul": "({0}) * ({1})", "div": "({0}) / ({1})", "neg": "-({0})", "sqrt": "sqrt({0})", "rsqrt": "1 / sqrt({0})",
    "reciprocal": "1 / ({0})", "abs": "abs({0})", "sign": "sign({0})", "sgn": "sign({0})", "square": "({0}) ** 2",
    "pow": "({0}) ** ({1})", "maximum": "maximum({0}, {1})", "minimum": "minimum({0}, {1})", "tanh": "tanh({0})",
    "sigmoid": "1 / (1 + exp(-({0})))", "exp": "exp({0})", "log": "log({0})", "clamp": "clip({0}, {1}, {2})",
    "clamp_min": "maximum({0}, {1})", "clamp_max": "minimum({0}, {1})", "where": "where({0}, {1}, {2})",
    "gt": "({0}) > ({1})", "lt": "({0}) < ({1})", "ge": "({0}) >= ({1})", "le": "({0}) <= ({1})",
    "linalg_vector_norm": "sqrt((({0}) ** 2).sum())", "norm": "sqrt((({0}) ** 2).sum())", "sum": "({0}).sum()",
    "mean": "({0}).mean()", "addcmul": "({0}) + ({value}) * (({1}) * ({2}))",
    "addcdiv": "({0}) + ({value}) * (({1}) / ({2}))", "add": "({0}) + ({alpha}) * ({1})",
    "sub": "({0}) - ({alpha}) * ({1})", "rsub": "({1}) - ({0})", "lerp": "(1 - ({2})) * ({0}) + ({2}) * ({1})",
    "fill": "0 * ({0}) + ({1})", "zero": "0 * ({0})", "zeros_like": "0 * ({0})", "ones_like": "0 * ({0}) + 1",
}  # fmt: skip
APART = ("sign(", "tanh(", "clip(")  # what keeps a line of its own: a quantity with a meaning
UNLIKE = 1.2345678912345  # times the learning rate: the one that the lines are read off at


def read_off(optimizer: Callable[[list[Any], float], Any], theta: np.ndarray, lr: float) -> Recipe | None:
    """The lines of its second and third step, where they are the same; None where they cannot be had.

    They are read off at another learning rate than this one, which no other number of the rule is by chance.
    """
    odd = lr * UNLIKE
    p = torch.nn.Parameter(torch.from_numpy(theta.copy()))
    made = optimizer([p], odd)
    if len(made.param_groups) != 1:
        return None
    hyper = _hyperparameters(made.param_groups[0])
    rng, steps = np.random.default_rng(0), list[_Recorder]()
    for t in (1, 2, 3):
        p.grad = torch.from_numpy(rng.normal(0, 1, theta.shape)).to(p.dtype)
        before = _arrays(made.state[p], p)
        with _Recorder({"theta": p, "g": p.grad, **before}, hyper, t) as recorder:
            made.step()
        recorder.kept_for_the_next(before, _arrays(made.state[p], p))
        steps.append(recorder)
    names = {_name(k): k for k, v in made.state[p].items() if isinstance(v, torch.Tensor) and v.shape == p.shape}
    lines = _agreed(steps[1], steps[2])
    if not lines:
        return None
    tidy = tuple(Line(text, _purpose(text, names)) for text in _tidied(lines, {"theta", *names}))
    hyper |= {"lr": lr} if hyper.get("lr") == odd else {}
    return Recipe(tidy, hyper, names, dict.fromkeys(names, 0.0))


def _arrays(state: Any, p: Any) -> dict[str, Any]:
    return {_name(k): v for k, v in state.items() if isinstance(v, torch.Tensor) and v.shape == p.shape}


def _agreed(one: _Recorder, other: _Recorder) -> list[tuple[str, str]] | None:
    """The lines of two steps with what every number of theirs is in both."""
    if not (one.understood and other.understood and one.lines == other.lines):
        return None
    both = zip(one.numbers, other.numbers, strict=True)
    numbers = [next((text for text in here if text in there), "") for here, there in both]
    if "" in numbers:
        return None
    lines = [(name, re.sub(r"NUMBER(\d+)_", lambda m: numbers[int(m[1])], right)) for name, right in one.lines]
    new = {right: f"new_{name}" for name, right in lines if re.fullmatch(r"a\d+", right)}  # kept for the next step
    return [(new.get(name, name), re.sub(r"\ba\d+\b", lambda m: new.get(m[0], m[0]), right)) for name, right in lines]


def _name(key: Any) -> str:
    return re.sub(r"\W", "_", str(key))


def _hyperparameters(group: dict[str, Any]) -> dict[str, float]:
    found = {}
    for k, v in group.items():
        if isinstance(v, (int, float)) and not isinstance(v, bool):
            found[k] = float(v)
        elif k == "betas":
            found |= {f"beta{i}": float(b) for i, b in enumerate(v, 1)}
    return found


def _purpose(text: str, names: dict[str, str]) -> str:
    name = text.partition(" = ")[0]
    return "step" if name == "theta" else f"state {name}" if name in names else f"value {name}"


class _Recorder(DispatchMode):
    """Writes down what is done with the parameter, its gradient and its state, an assignment an operation."""

    def __init__(self, named: dict[str, Any], hyper: dict[str, float], t: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names = {v.data_ptr(): name for name, v in named.items()}
        self.hyper, self.t, self.understood = hyper, t, True
        self.lines: list[tuple[str, str]] = []  # (what is assigned to, the right side)
        self.numbers: list[list[str]] = []  # what each may be; NUMBER0_ stands for the first in the lines
        self.kept: list[Any] = list(named.values())  # so that no memory is used twice

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        known = [isinstance(a, torch.Tensor) and a.data_ptr() in self.names for a in args]
        name = operation_name(op)
        texts = [self._text(a) for a in args] if any(known) else []
        result = op(*args, **kwargs)
        self.kept.append(result)
        if not any(known) or not isinstance(result, torch.Tensor):
            return result
        if name in ALIASES or name.rstrip("_") == "copy":
            source = texts[1] if name == "copy_" and len(texts) > 1 else texts[0]
            if name == "copy_":
                self._assign(self.names.get(args[0].data_ptr(), ""), source)
            elif result.data_ptr() not in self.names:
                self._assign(self._new(result), source)
            return result
        formula = FORMULAS.get(name.rstrip("_"))
        if formula is None or (name.startswith("div") and kwargs.get("rounding_mode")):
            self.understood = False
            return result
        extra = {k: self._text(kwargs.get(k, 1)) for k in ("alpha", "value")}
        right = formula.format(*texts, "None", "None", **extra)
        self.understood = self.understood and "unknown" not in right
        there = args[0] if name.endswith("_") else kwargs.get("out")
        self._assign(self._new(result) if there is None else self.names.get(there.data_ptr(), ""), right)
        return result

    def kept_for_the_next(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Results that the optimizer keeps as its state, where it does not write into the old ones."""
        for name, v in after.items():
            made = self.names.get(v.data_ptr(), "")
            if name in before and made != name:
                self._assign(name if made else "", made)

    def _new(self, result: Any) -> str:
        self.names[result.data_ptr()] = f"a{len(self.lines)}"
        return self.names[result.data_ptr()]

    def _assign(self, name: str, right: str) -> None:
        self.understood = self.understood and bool(name)
        self.lines.append((name, right))

    def _text(self, a: Any) -> str:
        if isinstance(a, torch.Tensor):
            if a.data_ptr() in self.names:
                return self.names[a.data_ptr()]
            return self._text(float(a)) if a.numel() == 1 else "unknown"
        if isinstance(a, (int, float)) and not isinstance(a, bool):
            self.numbers.append(list(dict.fromkeys(_number(float(a), self.hyper, self.t))))
            return f"NUMBER{len(self.numbers) - 1}_"
        return str(a)


def _number(v: float, hyper: dict[str, float], t: int) -> Iterator[str]:
    """What a number may be in the hyperparameters' terms: -lr, 1 - beta1, 1 - beta1 ** t; or as it stands."""
    if v in (0.0, 1.0, -1.0, 2.0, 0.5):
        yield f"{v:g}"
    yield from (text for text, value in _terms(hyper, t) if math.isclose(v, value, rel_tol=1e-13))
    if hyper.get("lr"):
        yield from _with_lr(v, hyper["lr"])
    yield repr(v)
    for form, power in (("{:g} ** t", v), ("1 - {:g} ** t", 1 - v), ("sqrt(1 - {:g} ** t)", 1 - v * v)):
        if 0 < power < 1 and t > 1:
            root = power ** (1 / t)
            if math.isclose(root, float(f"{root:.4g}"), rel_tol=1e-12):
                yield form.format(root)


def _terms(hyper: dict[str, float], t: int) -> Iterator[tuple[str, float]]:
    """What a number of a rule may be, the plainest first."""
    used = {k: v for k, v in hyper.items() if v not in (0.0, 1.0)}
    yield from used.items()
    yield from ((f"-{k}", -v) for k, v in used.items())
    yield from ((f"1 - {k}", 1 - v) for k, v in used.items())
    lr = used.pop("lr", 0.0)
    for k, v in used.items():
        if lr:
            yield from ((f"lr * {k}", lr * v), (f"-lr * {k}", -lr * v), (f"1 - lr * {k}", 1 - lr * v))
        if 0 < v < 1 and t > 1:
            power = 1 - v**t
            yield from ((f"{k} ** t", v**t), (f"1 - {k} ** t", power), (f"sqrt(1 - {k} ** t)", power**0.5))
            yield from ((f"lr / (1 - {k} ** t)", lr / power), (f"-lr / (1 - {k} ** t)", -lr / power))


def _with_lr(v: float, lr: float) -> Iterator[str]:
    """The learning rate times a round number, or 1 minus that."""
    for form, times in (("lr * {:g}", v / lr), ("1 - lr * {:g}", (1 - v) / lr)):
        round_one = float(f"{times:.4g}")
        if math.isclose(times, round_one, rel_tol=1e-11) and abs(round_one) > 1e-6:
            yield form.format(round_one)


def _tidied(lines: list[tuple[str, str]], lasting: set[str]) -> list[str]:
    """The lines with what is used once put in its place, and several assignments to the state in a row as one."""
    work = [(name, ast.unparse(ast.parse(_simple(right)))) for name, right in lines]
    k = 0
    while k < len(work):
        name, right = work[k]
        later = next((j for j in range(k + 1, len(work)) if _uses(name, work[j][1]) or work[j][0] == name), None)
        gone = later is None and name not in lasting
        if later is not None and _may_move(work, k, later, lasting):
            there, text = work[later]
            work[later] = (there, ast.unparse(ast.parse(_simple(re.sub(rf"\b{name}\b", f"({right})", text)))))
            gone = True
        if gone:
            work.pop(k)
        k = 0 if gone else k + 1
    return [f"{name} = {right}" for name, right in work]


def _may_move(work: list[tuple[str, str]], k: int, later: int, lasting: set[str]) -> bool:
    """Whether line k may be put into the later one, the first that uses it: used there once, and nowhere after."""
    name, right = work[k]
    there, text = work[later]
    if len(re.findall(rf"\b{name}\b", text)) != 1 or name == "theta":
        return False
    if (name in lasting and not (there == name and later == k + 1)) or right.startswith(APART):
        return False
    if any(_uses(work[j][0], right) for j in range(k + 1, later)):
        return False
    after = [j for j in range(later + 1, len(work)) if _uses(name, work[j][1])]
    again = there == name or not after
    return again or any(work[j][0] == name for j in range(later, after[0]))


def _uses(name: str, right: str) -> bool:
    return re.search(rf"\b{name}\b", right) is not None


def _simple(text: str) -> str:
    """Without the factors 1 and the double signs of the general formulas."""
    text = re.sub(r"\+ \(-(\d[\w.]*)\) \* ", r"- (\1) * ", text)
    text = text.replace("(1) * ", "").replace("+ (-1) * ", "- ").replace("- (-1) * ", "+ ")
    text = re.sub(r"\(?1 - \(1 - (\w+)\)\)?", r"(\1)", text)
    return re.sub(r"\+ \(-([^()]*)\) \* ", r"- (\1) * ", text)
