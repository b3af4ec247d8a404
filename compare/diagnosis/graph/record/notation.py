"""Operations of a trace as short formulas: x · σ(x), not aten.mul.Tensor."""

from __future__ import annotations

import math
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.record.trace import Node, Trace, is_ref
from handgrad.compare.foundation.torch_internals import arguments, operation_name, tree_leaves

OF_ANOTHER = (
    "it is the gradient of the reference with one change: "  # a right gradient, of a function that is not the reference
)
LONGEST = 48  # characters of a formula; what is inside becomes … beyond that

INFIX = {"add": "+", "sub": "−", "mul": "·", "div": "/", "mm": "@", "bmm": "@", "matmul": "@"}
COMPARED = {"gt": ">", "lt": "<", "ge": "≥", "le": "≤", "eq": "=", "ne": "≠"}
SILENT = {
    "view", "_unsafe_view", "reshape", "expand", "clone", "unsqueeze", "squeeze", "detach", "alias", "contiguous",
    "lift_fresh", "_to_copy",
}  # fmt: skip
# What is made of a shape alone.
MADE = {"full", "full_like", "zeros_like", "ones_like", "empty_like", "fill", "new_zeros", "new_ones", "scalar_tensor"}
TURNS = {"t", "permute", "transpose"}
PLAIN = {
    "_scaled_dot_product_flash_attention_for_cpu": "attention", "native_layer_norm": "layer_norm",
    "native_batch_norm": "batch_norm", "native_group_norm": "group_norm", "max_pool2d_with_indices": "max_pool",
    "max_pool3d_with_indices": "max_pool", "nll_loss_forward": "nll_loss", "linalg_vector_norm": "norm",
    "linalg_inv_ex": "inverse", "convolution": "conv", "log_sigmoid_forward": "log_sigmoid", "_softmax": "softmax",
    "_log_softmax": "log_softmax", "avg_pool2d": "avg_pool", "_prelu_kernel": "prelu", "clamp_min": "max",
    "_cdist_forward": "cdist", "amax": "max", "amin": "min",
}  # fmt: skip
ALONG = {"sum", "mean", "amax", "amin", "max", "min", "prod", "cumsum", "logsumexp", "_softmax", "_log_softmax", "flip"}
TIGHT = {"·": 2, "@": 3, "/": 2, "+": 1, "−": 1}


def number(v: float) -> str:
    """A number, as a root or a fraction where it is one."""
    short = f"{v:.4g}"
    if float(short) == v:
        return short
    for value, words in ((math.sqrt(2 / math.pi), "√(2/π)"), (1 / math.sqrt(2 * math.pi), "1/√(2π)")):
        if math.isclose(v, value, rel_tol=1e-15):
            return words
    for power, form in ((v * v, "√{}"), (1 / (v * v) if v else 0.0, "1/√{}"), (1 / v if v else 0.0, "1/{}")):
        n = round(power)
        if 1 < n < 10000 and math.isclose(power, n, rel_tol=1e-14):
            return ("−" if v < 0 and "√" in form else "") + form.format(n)
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


def operation(node: Node) -> str:
    """The plain name of an operation: mul, sigmoid; empty for an input."""
    return "" if node.op is None else operation_name(node.op)


def spoken(node: Node) -> str:
    """The name of an operation as it is said: log_softmax, not _log_softmax."""
    name = operation(node)
    return PLAIN.get(name, name.strip("_"))


def formula(trace: Trace, index: int) -> str:
    """The operation as a formula of the inputs, shortened to what fits; what is inside is called by its name."""
    if index not in trace.formulas:
        for depth in (6, 4, 3, 2, 1):
            trace.formulas[index] = _formula(trace, index, depth, nested=False)[0]
            if len(trace.formulas[index]) <= LONGEST:
                break
    return trace.formulas[index]


def _formula(trace: Trace, index: int, depth: int, nested: bool = True) -> tuple[str, int]:
    """The formula, and how tightly its outermost operation binds; inside another, a name stands for it."""
    node = trace.nodes[index]
    if node.name and (nested or node.op is None):
        return node.name, 9
    if node.op is None:
        return _part(trace, node, depth) if node.item is not None else (constant(node.value), 9)
    name = operation(node)
    if name in SILENT:
        return _formula(trace, node.sources()[0], depth)
    if name in TURNS:
        return _transposed(trace, index, depth)
    if depth == 0:
        return "…", 9
    if name == "mul" and isinstance(node.args[1], (int, float)) and node.args[1] == 1:  # of 1 / p, in torch
        return _formula(trace, node.sources()[0], depth)
    if name in INFIX or name in COMPARED:
        sign = {**INFIX, **COMPARED}[name]
        tight = TIGHT.get(sign, 0)
        left, right = (_argument(trace, a, depth, tight + (k and sign in "−/@")) for k, a in enumerate(node.args[:2]))
        if left == right:
            left, right = (f"{text}{indices(trace, node, k)}" for k, text in enumerate((left, right)))
        return f"{left} {sign} {right}", tight
    if name == "rsub":
        left, right = _argument(trace, node.args[1], depth, 1), _argument(trace, node.args[0], depth, 2)
        return f"{left} − {right}", 1
    if name == "arange":
        return f"arange({', '.join(map(str, node.args))})", 9
    if name == "neg":
        return f"−{_argument(trace, node.args[0], depth, 2)}", 2
    if name == "reciprocal":
        return f"1 / {_argument(trace, node.args[0], depth, 3)}", 2
    if name == "pow":
        return f"{_argument(trace, node.args[0], depth, 9)}^{_argument(trace, node.args[1], depth, 9)}", 4
    if name in ("slice", "select"):
        return f"{_argument(trace, node.args[0], depth, 9)}{_indexed(node, name)}", 9
    inside = [_argument(trace, a, depth, 0) for a in tree_leaves(node.args, is_leaf=is_ref) if is_ref(a)]
    if name in ("hardtanh", "clamp", "clamp_min", "clamp_max", "threshold"):
        inside += [f"{a:g}" for a in node.args[1:] if isinstance(a, (int, float))]
    if name in ALONG and len(node.args) > 1 and isinstance(node.args[1], (int, list, tuple)):
        axes = node.args[1] if isinstance(node.args[1], (list, tuple)) else [node.args[1]]
        inside.append(f"axis {', '.join(map(str, axes))}")
    return f"{spoken(node)}({', '.join(inside)})", 9


def indices(trace: Trace, node: Node, place: int) -> str:
    """_i and _j of one quantity that is broadcast along different axes, as in ŷ_i − ŷ_j; nothing elsewhere."""
    along = []
    if operation(node) not in INFIX or len({called(trace, s) for s in node.sources()}) > 1:
        return ""
    for s in node.sources():
        source = trace.nodes[s]
        narrow = trace.nodes[source.sources()[0]] if operation(source) == "expand" else source
        shape = (1,) * (node.value.dim() - narrow.value.dim()) + tuple(narrow.value.shape)
        along.append({k for k, n in enumerate(shape) if n > 1})
    only = sorted(along[0] ^ along[1]) if len(along) == 2 else []
    return "_" + "".join("ijkl"[k] for k, axis in enumerate(only[:4]) if axis in along[place]) if only else ""


def _transposed(trace: Trace, index: int, depth: int) -> tuple[str, int]:
    """What is turned, with one ᵀ however often: an einsum turns and reshapes its arguments, and back again."""
    node, last_two = trace.nodes[index], False
    while operation(node) in SILENT | TURNS and not node.name:
        last_two ^= _turns_the_last_two(node)
        node = trace.nodes[node.sources()[0]]
    one, other = (trace.nodes[i].value.squeeze() for i in (node.index, index))
    turned = one.shape != other.shape or not torch.equal(one, other)
    if one.dim() < other.dim():  # split, as into heads, which are moved to the front: that is no ᵀ
        turned = last_two
    text, tight = _formula(trace, node.index, depth)
    if not turned or text == "…" or (text.endswith("ᵀ") and tight == 9):
        return text, tight
    return (f"({text})ᵀ" if tight < 9 else f"{text}ᵀ"), 9


def _turns_the_last_two(node: Node) -> bool:
    if operation(node) not in TURNS:
        return False
    size = node.value.dim()
    order = list(range(size))
    if operation(node) == "permute":
        order = [a % size for a in node.args[1]]
    elif size > 1:
        a, b = (k % size for k in (node.args[1:3] if operation(node) == "transpose" else (0, 1)))
        order[a], order[b] = order[b], order[a]
    return order[-2:] == [size - 1, size - 2]


def _indexed(node: Node, name: str) -> str:
    """[:, 0:3] of a slice, [:, 2] of a single index."""
    axis, *ends = node.args[1:] if len(node.args) > 1 else (0, 0)
    size = node.op is not None and node.value.dim() + (name == "select")
    axis = axis % max(int(size), 1)
    if name == "select":
        return f"[{':, ' * axis}{ends[0]}]"
    first, last = (*ends, None, None)[:2]
    end = "" if last is None or last > 1 << 40 else last
    return f"[{':, ' * axis}{first or ''}:{end}]"


def _part(trace: Trace, node: Node, depth: int) -> tuple[str, int]:
    """One of the several results of an operation."""
    source = trace.nodes[node.sources()[0]]
    if operation(source) in ("split", "unsafe_split", "split_with_sizes", "chunk", "unbind", "unsafe_chunk"):
        return f"{_formula(trace, source.sources()[0], depth)[0]}[part {(node.item or 0) + 1}]", 9
    return _formula(trace, source.index, depth)


def _argument(trace: Trace, a: Any, depth: int, tight: int) -> str:
    if is_ref(a):
        text, own = _formula(trace, a.index, depth - 1)
        return f"({text})" if own < tight else text
    return constant(a)


def called(trace: Trace, index: int) -> str:
    """The textbook's name for an operation's result, or its formula."""
    return trace.nodes[index].name or formula(trace, index)


def beside(trace: Trace, index: int, right: int) -> str:
    """What a result is called where it stands for another one: never the same name, though the short ones may be."""
    name = called(trace, index)
    if name != called(trace, right):
        return name
    here, there = trace.nodes[index], trace.nodes[right]
    if here.place == there.place and here.op is there.op:
        return f"that of {'a later' if index > right else 'an earlier'} turn of the loop"
    whole = _formula(trace, index, 9, nested=False)[0]
    return whole if whole != _formula(trace, right, 9, nested=False)[0] else f"another {name}"


def silent(node: Node) -> bool:
    """Whether an operation only moves numbers about, and is not written in a formula."""
    return operation(node) in SILENT | TURNS


def role(node: Node, place: int) -> str:
    """What an argument is called by its operation, where it has several and they are not written beside a sign."""
    if node.op is None or operation(node) in INFIX or len(node.sources()) < 2:
        return ""
    names = [a.name for a in arguments(node.op)]
    places = [k for k, a in enumerate(node.args) if is_ref(a)]
    return (
        f", its {names[places[place]]},"
        if place < len(places) and names[places[place]] not in ("self", "other")
        else ""
    )
