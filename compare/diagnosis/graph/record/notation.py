"""Operations of a trace as short formulas, as people write them: x · σ(x), not aten.mul.Tensor."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch

from handgrad.compare.diagnosis.graph.record.node import Node, is_ref
from handgrad.compare.diagnosis.graph.record.operations import (
    ALONG,
    BOUNDED,
    COMPARED,
    INFIX,
    MOVES,
    SILENT,
    SPLITTING,
    TURNS,
)
from handgrad.compare.diagnosis.graph.record.trace import Trace
from handgrad.compare.foundation.torch_internals import arguments, tree_leaves

LONGEST = 48  # characters of a formula; what is inside becomes … beyond that
# Names of operations as they are said.
SAID = {
    "_scaled_dot_product_flash_attention_for_cpu": "attention", "native_layer_norm": "layer_norm",
    "native_batch_norm": "batch_norm", "native_group_norm": "group_norm", "max_pool2d_with_indices": "max_pool",
    "max_pool3d_with_indices": "max_pool", "nll_loss_forward": "nll_loss", "linalg_vector_norm": "norm",
    "linalg_inv_ex": "inverse", "convolution": "conv", "log_sigmoid_forward": "log_sigmoid", "_softmax": "softmax",
    "_log_softmax": "log_softmax", "avg_pool2d": "avg_pool", "_prelu_kernel": "prelu", "clamp_min": "max",
    "_cdist_forward": "cdist", "amax": "max", "amin": "min",
}  # fmt: skip
ATOM = 9  # how tightly a name binds
TIGHT = {"·": 2, "@": 3, "/": 2, "+": 1, "−": 1}


class Written(NamedTuple):
    """A formula, how tightly its outermost operation binds, and whether it ends in ᵀ."""

    text: str
    tight: int = ATOM
    turned: bool = False

    def inside(self, tight: int) -> str:
        """In parentheses where something binds more tightly."""
        return f"({self.text})" if self.tight < tight else self.text


HIDDEN = Written("…")


def number(v: float) -> str:
    """A number, as a root or a fraction where it is one."""
    short = f"{v:.4g}"
    if float(short) == v:
        return short
    for value, words in ((math.sqrt(2 / math.pi), "√(2/π)"), (1 / math.sqrt(2 * math.pi), "1/√(2π)")):
        if math.isclose(v, value, rel_tol=1e-15):
            return words
    roots = (v * v, "√{}"), (1 / (v * v) if v else 0.0, "1/√{}")
    for power, form in (*roots, (1 / v if v else 0.0, "1/{}")):
        n = round(power)
        if 1 < n < 10000 and math.isclose(power, n, rel_tol=1e-14):
            return ("−" if v < 0 and (power, form) in roots else "") + form.format(n)
    return short


def constant(v: Any) -> str:
    """A number by its value, another constant by its shape."""
    if isinstance(v, (int, float)):
        return number(v)
    if not isinstance(v, torch.Tensor):
        return "a constant"
    if v.numel() == 1:
        return number(float(v))
    if v.dim() == 2 and v.shape[0] == v.shape[1] and torch.equal(v.double(), torch.eye(len(v), dtype=torch.double)):
        return "I"
    kind = "mask" if v.dtype == torch.bool or bool(((v == 0) | (v == 1)).all()) else "constant"
    return f"[{'×'.join(map(str, v.shape))} {kind}]"


def spoken(node: Node) -> str:
    """The name of an operation as it is said: log_softmax, not _log_softmax."""
    return SAID.get(node.operation, node.operation.strip("_"))


def called(trace: Trace, index: int) -> str:
    """The textbook's name for an operation's result, or its formula."""
    return trace.nodes[index].name or formula(trace, index)


def formula(trace: Trace, index: int) -> str:
    """The operation as a formula of the inputs, shortened to what fits; what is inside is called by its name."""

    def shortest() -> str:
        for depth in (6, 4, 3, 2, 1):
            text = _formula(trace, index, depth, nested=False).text
            if len(text) <= LONGEST:
                break
        return text

    return trace.once(("formula", index), shortest)


def beside(trace: Trace, index: int, right: int) -> str:
    """What a result is called where it stands for another one: never the same name, though the short ones may be."""
    name = called(trace, index)
    if name != called(trace, right):
        return name
    here, there = trace.nodes[index], trace.nodes[right]
    if here.place == there.place and here.op is there.op:
        return f"that of {'a later' if index > right else 'an earlier'} turn of the loop"
    whole = _formula(trace, index, 9, nested=False).text
    return whole if whole != _formula(trace, right, 9, nested=False).text else f"another {name}"


def _formula(trace: Trace, index: int, depth: int, nested: bool = True) -> Written:
    """Inside another formula, a name stands for an operation that has one."""
    node = trace.nodes[index]
    name, args = node.operation, node.args
    if node.name and (nested or node.op is None):
        return Written(node.name)
    if node.op is None:
        return Written(constant(node.value)) if node.item is None else _part(trace, node, depth)
    one = name == "mul" and isinstance(args[1], (int, float)) and args[1] == 1  # of 1 / p, in torch
    if name in SILENT or (one and depth):
        return _formula(trace, node.sources()[0], depth)
    if name in TURNS:
        return _transposed(trace, index, depth)
    if depth == 0:
        return HIDDEN
    if name in INFIX or name in COMPARED:
        return _infix(trace, node, depth)
    if name == "rsub":
        return Written(f"{_argument(trace, args[1], depth, 1)} − {_argument(trace, args[0], depth, 2)}", 1)
    if name == "arange":
        return Written(f"arange({', '.join(map(str, args))})")
    if name == "neg":
        return Written(f"−{_argument(trace, args[0], depth, 2)}", 2)
    if name == "reciprocal":
        return Written(f"1 / {_argument(trace, args[0], depth, 3)}", 2)
    if name == "pow":
        return Written("^".join(_argument(trace, a, depth, ATOM) for a in args[:2]), 4)
    if name in ("slice", "select"):
        return Written(f"{_argument(trace, args[0], depth, ATOM)}{_indexed(node)}")
    inside = [_argument(trace, a, depth, 0) for a in tree_leaves(args, is_leaf=is_ref) if is_ref(a)]
    if name in BOUNDED | {"threshold"}:
        inside += [f"{a:g}" for a in args[1:] if isinstance(a, (int, float))]
    if name in ALONG and len(args) > 1 and isinstance(args[1], (int, list, tuple)):
        axes = args[1] if isinstance(args[1], (list, tuple)) else [args[1]]
        inside.append(f"axis {', '.join(map(str, axes))}")
    return Written(f"{spoken(node)}({', '.join(inside)})")


def _infix(trace: Trace, node: Node, depth: int) -> Written:
    sign = {**INFIX, **COMPARED}[node.operation]
    tight = TIGHT.get(sign, 0)
    left = _argument(trace, node.args[0], depth, tight)
    right = _argument(trace, node.args[1], depth, tight + (sign in "−/@"))
    if left == right:
        left, right = (f"{text}{indices(trace, node, k)}" for k, text in enumerate((left, right)))
    return Written(f"{left} {sign} {right}", tight)


def indices(trace: Trace, node: Node, place: int) -> str:
    """_i and _j of one quantity that is broadcast along different axes, as in ŷ_i − ŷ_j; nothing elsewhere."""
    along = []
    if node.operation not in INFIX or len({called(trace, s) for s in node.sources()}) > 1:
        return ""
    for s in node.sources():
        source = trace.nodes[s]
        narrow = trace.source(source) if source.operation == "expand" else source
        shape = (1,) * (node.value.dim() - narrow.value.dim()) + tuple(narrow.value.shape)
        along.append({k for k, n in enumerate(shape) if n > 1})
    only = sorted(along[0] ^ along[1]) if len(along) == 2 else []
    return "_" + "".join("ijkl"[k] for k, axis in enumerate(only[:4]) if axis in along[place]) if only else ""


def _transposed(trace: Trace, index: int, depth: int) -> Written:
    """What is turned, with one ᵀ however often: an einsum turns and reshapes its arguments, and back again."""
    node, last_two = trace.nodes[index], False
    while node.operation in MOVES and not node.name:
        last_two ^= _turns_the_last_two(node)
        node = trace.source(node)
    one, other = (trace.nodes[i].value.squeeze() for i in (node.index, index))
    turned = one.shape != other.shape or not torch.equal(one, other)
    if one.dim() < other.dim():  # split, as into heads, which are moved to the front: that is no ᵀ
        turned = last_two
    inner = _formula(trace, node.index, depth)
    return inner if not turned or inner.turned or inner is HIDDEN else Written(f"{inner.inside(ATOM)}ᵀ", turned=True)


def _turns_the_last_two(node: Node) -> bool:
    if node.operation not in TURNS:
        return False
    size = node.value.dim()
    order = list(range(size))
    if node.operation == "permute":
        order = [a % size for a in node.args[1]]
    elif size > 1:
        a, b = (k % size for k in (node.args[1:3] if node.operation == "transpose" else (0, 1)))
        order[a], order[b] = order[b], order[a]
    return order[-2:] == [size - 1, size - 2]


def _indexed(node: Node) -> str:
    """[:, 0:3] of a slice, [:, 2] of a single index."""
    axis, *ends = node.args[1:] if len(node.args) > 1 else (0, 0)
    single = node.operation == "select"
    axis = axis % max(node.value.dim() + single, 1)
    if single:
        return f"[{':, ' * axis}{ends[0]}]"
    first, last = (*ends, None, None)[:2]
    end = "" if last is None or last > 1 << 40 else last
    return f"[{':, ' * axis}{first or ''}:{end}]"


def _part(trace: Trace, node: Node, depth: int) -> Written:
    """One of the several results of an operation."""
    source = trace.source(node)
    if source.operation in SPLITTING:
        return Written(f"{_formula(trace, source.sources()[0], depth).text}[part {(node.item or 0) + 1}]")
    return _formula(trace, source.index, depth)


def _argument(trace: Trace, a: Any, depth: int, tight: int) -> str:
    return _formula(trace, a.index, depth - 1).inside(tight) if is_ref(a) else constant(a)


def role(node: Node, place: int) -> str:
    """What an argument is called by its operation, where it has several and they are not written beside a sign."""
    if node.op is None or node.operation in INFIX or len(node.sources()) < 2 or place < 0:
        return ""
    names = [a.name for a, given in zip(arguments(node.op), node.args, strict=False) if is_ref(given)]
    return f", its {names[place]}," if place < len(names) and names[place] not in ("self", "other") else ""
