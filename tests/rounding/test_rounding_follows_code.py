"""What a researcher writes in NumPy: `Bounded` follows it with a sound bound, or says cleanly that it cannot."""

import math
from typing import NamedTuple

import numpy as np
import pytest

from handgrad.compare.rounding import functions as rounding_functions
from handgrad.compare.rounding.bounded import Bounded, NoRoundingRule, Precision
from handgrad.compare.rounding.functions import plain
from tests.rounding.test_rounding_is_sound import DTYPES, check, drawn, softmax

ROOT = np.sqrt(2 / np.pi)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(float(ROOT) * (x + 0.044715 * x**3)))


def silu_backward(x, dy):
    s = 1 / (1 + np.exp(-x))
    return dy * (s + x * s * (1 - s))


def softmax_backward(z, dy):
    p = softmax(z)
    return p * (dy - np.sum(dy * p, axis=-1, keepdims=True))


def relu_by_mask(x, dy):
    dx = dy.copy()
    dx[x < 0] = 0
    return dx


def layer_norm_backward(x, dy):
    mean, var = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
    h = (x - mean) / np.sqrt(var + 1e-5)
    return (dy - dy.mean(axis=1, keepdims=True) - h * np.mean(dy * h, axis=1, keepdims=True)) / np.sqrt(var + 1e-5)


def batch_norm_images(x):
    mean = np.mean(x, axis=(0, 2, 3))
    return (x - mean[None, :, None, None]) / np.sqrt(np.var(x, axis=(0, 2, 3)) + 1e-5)[:, None, None]


def convolution_by_windows(x, w):
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), axis=(2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, w, optimize=True)


def convolution_by_columns(x, w):
    n, height, width = x.shape[0], *x.shape[2:]
    columns = [x[:, :, i : i + 3, j : j + 3].reshape(n, -1) for i in range(height - 2) for j in range(width - 2)]
    out = np.stack(columns, axis=1) @ w.reshape(len(w), -1).T
    return out.transpose(0, 2, 1).reshape(n, len(w), height - 2, width - 2)


def convolution_by_loops(x, w):
    out = np.zeros_like(x[:, :2])
    for i in range(x.shape[2] - 2):
        for j in range(x.shape[3] - 2):
            out[:, :, i, j] += np.tensordot(x[:, :, i : i + 3, j : j + 3], w, axes=([1, 2, 3], [1, 2, 3]))
    return out


def convolution_input_gradient(dy, w):
    dx = np.zeros_like(np.pad(dy[:, :1], ((0, 0), (0, 0), (1, 1), (1, 1))))
    for i in range(3):
        for j in range(3):
            dx[:, :, i : i + dy.shape[2], j : j + dy.shape[3]] += np.einsum("nohw,oc->nchw", dy, w[:, :1, i, j])
    return dx


def embedding_gradient(table, dy):
    d = np.zeros_like(table)
    np.add.at(d, np.array([0, 2, 2, 1]), dy)
    return d


def lstm_cell(z, c):
    i, f, g, o = np.split(z, 4, axis=1)
    c = 1 / (1 + np.exp(-f)) * c + 1 / (1 + np.exp(-i)) * np.tanh(g)
    return np.concatenate([1 / (1 + np.exp(-o)) * np.tanh(c), c], axis=1)


def gru_over_time(x, W, U):
    h = np.zeros_like(x[0])
    states = []
    for t in range(len(x)):
        gates = 1 / (1 + np.exp(-(x[t] @ W + h @ U)))
        h = (1 - gates) * h + gates * np.tanh(x[t])
        states.append(h)
    return np.stack(states)


def cosine_similarity(a, b):
    return (a * b).sum(-1) / np.maximum(np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1), 1e-8)


def attention_heads(q, k, v):
    n, t, d = q.shape
    q, k, v = (x.reshape(n, t, 2, d // 2).swapaxes(1, 2) for x in (q, k, v))
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(q.shape[-1])
    scores[:, :, np.triu(np.ones((t, t), bool), 1)] = -np.inf
    return (softmax(scores) @ v).swapaxes(1, 2).reshape(n, t, d)


def outer_loop(x, dy):
    dW = np.zeros_like(np.outer(dy[0], x[0]))
    for n in range(len(x)):
        dW += np.outer(dy[n], x[n])
    return dW


def per_sample(x, W):
    return np.stack([W @ x[n] for n in range(len(x))]) + np.stack([np.dot(W, row) for row in x])


def python_sum(x):
    return sum(x[n] * 2 for n in range(len(x))) / len(x)


def huber(r):
    return np.where(np.abs(r) < 1, 0.5 * r * r, np.abs(r) - 0.5).mean()


def rotary(x):
    half = x.shape[-1] // 2
    angle = np.arange(x.shape[0], dtype=x.dtype)[:, None] / 4
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)], axis=-1)


def bilinear(x, W, y):
    return np.einsum("ni, oij, nj -> no", x, W, y)


def group_norm(x):
    g = x.reshape(x.shape[0], 2, -1)
    g = (g - g.mean(-1, keepdims=True)) / g.std(-1, keepdims=True)
    return g.reshape(x.shape)


def left_arrays(x):
    a = np.linspace(-1, 1, 20, dtype=x.dtype if x.dtype != np.longdouble else np.longdouble).reshape(4, 5)
    return (a * x - a) @ (a.T @ x) + (a / 2 - x)


def sign_and_square(x):
    return np.sign(x) * np.square(x) - np.clip(x, -0.5, 0.5) + np.flip(x, -1) + np.cumsum(x, axis=0)


def safe_division(a, b):
    out = np.zeros_like(a)
    np.divide(a, b, out=out, where=b > 0)
    return out


def running_slices(x):
    y = x.copy()
    y[1:] += x[:-1]
    y[:, 0] *= 3
    y[:, -1] = 0
    y -= y.mean()
    y /= 7
    return y


def reparameterized(mu, log_var):
    return mu + np.exp(0.5 * log_var) * 0.3, -0.5 * np.sum(1 + log_var - mu**2 - np.exp(log_var), axis=1)


def gram(x):
    return x.T @ x - np.inner(x.T, x.T) * 0.5 + np.diag(x[0]) + np.tril(np.multiply.outer(x[0], x[0]))


IMAGE, KERNEL, M = (2, 2, 4, 4), (2, 2, 3, 3), (4, 5)
FOLLOWED = {
    gelu: [M], silu_backward: [M, M], softmax_backward: [M, M], relu_by_mask: [M, M], layer_norm_backward: [M, M],
    batch_norm_images: [IMAGE], convolution_by_windows: [IMAGE, KERNEL], convolution_by_columns: [IMAGE, KERNEL],
    convolution_by_loops: [IMAGE, KERNEL], convolution_input_gradient: [IMAGE, KERNEL], embedding_gradient: [(3, 5), M],
    lstm_cell: [(3, 8), (3, 2)], gru_over_time: [(3, 2, 4), (4, 4), (4, 4)], cosine_similarity: [M, M],
    attention_heads: [(2, 3, 4)] * 3, outer_loop: [(4, 3), (4, 2)], per_sample: [M, (3, 5)],
    python_sum: [M], huber: [M],
    rotary: [(3, 4)], bilinear: [(4, 3), (2, 3, 5), (4, 5)], group_norm: [(2, 4, 3)], left_arrays: [M],
    sign_and_square: [M], safe_division: [M, M], running_slices: [M], gram: [M],
    lambda m, s: reparameterized(m, s)[1]: [M, M],
    lambda x: np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0): [M],
    lambda x: np.logaddexp(0, x): [M],
    lambda x: abs(x) ** 0.5 / 3 + 2**x - (-x) ** 3: [M],
    lambda x: np.maximum.reduce(x, axis=1) - np.add.reduce(x, axis=-1): [M],
    lambda x, y: x @ y + y @ x.T @ np.ones(4): [(4, 5), (5,)],
    lambda x: x.dot(x.T).trace() + x.min() - x.sum(0, keepdims=True).max(): [M],
    lambda x: np.where(np.isnan(x), 0, np.roll(x, 1, axis=0)).reshape(2, -1)[:, ::2].squeeze().T: [M],
    lambda x: np.take_along_axis(x, np.array([[0], [1], [0], [2]]), axis=1) * np.repeat(x, 2, axis=1): [M],
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("f", FOLLOWED, ids=lambda f: f.__name__)
def test_followed_with_a_sound_bound(f, dtype):
    follow(f, FOLLOWED[f], dtype)


def follow(f, shapes, dtype):
    rng = np.random.default_rng(3)
    check(f, [drawn(rng, dtype, shape, "layer") for shape in shapes], rng, Precision.of(dtype))


PLANTED = {
    "elements move without their errors": (
        lambda x: np.flip(x) - x,
        "_moved",
        lambda x, func: Bounded(func(x.value), None, x.precision),
    ),
    "an array joined without its error": (
        lstm_cell,
        ("ARITHMETIC", np.concatenate),
        lambda p, arrays, axis=0: Bounded(np.concatenate([a.value for a in arrays], axis), None, p),
    ),
    "np.add.at that forgets what it adds": (
        embedding_gradient,
        "add_at",
        lambda p, ufunc, target, index, new: ufunc.at(target.value, index, new.value),
    ),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_bound_that_does_not_follow_is_noticed(bug, monkeypatch):
    f, place, broken = PLANTED[bug]
    if isinstance(place, tuple):
        monkeypatch.setitem(getattr(rounding_functions, place[0]), place[1], broken)
    else:
        monkeypatch.setattr(rounding_functions, place, broken)
    with pytest.raises(AssertionError):
        follow(f, FOLLOWED.get(f, [M]), DTYPES[-1])


def max_pool(x, dy):
    windows = x.reshape(x.shape[0], -1, 2)
    index = np.argmax(windows, axis=-1)[..., None]
    dx = np.zeros_like(windows)
    np.put_along_axis(dx, index, dy[..., None], axis=-1)
    return np.concatenate([np.take_along_axis(windows, index, axis=-1), dx], axis=-1)


def cross_entropy(logits, target):
    z = logits - logits.max(1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    d = np.exp(log_p)
    d[np.arange(len(target)), target] -= 1
    return -log_p[np.arange(len(target)), target].mean(), d / len(target)


def test_an_argmax_is_followed_where_no_rounding_decides_it():
    p = Precision.of(np.float64)
    x, dy = np.random.default_rng(0).normal(size=(3, 8)), np.ones((3, 4))
    for e in (None, np.full(x.shape, 1e-9)):
        assert np.array_equal(max_pool(Bounded(x, e, p), Bounded(dy, None, p)).value, max_pool(x, dy))
    with pytest.raises(NoRoundingRule, match="rounding decides"):
        max_pool(Bounded(x, np.full(x.shape, 0.5), p), Bounded(dy, None, p))


def test_fancy_indices_are_followed():
    p = Precision.of(np.float64)
    z, target = np.random.default_rng(0).normal(size=(4, 5)), np.array([0, 4, 2, 2])
    J, d = cross_entropy(Bounded(z, None, p), target)
    want_J, want_d = cross_entropy(z, target)
    assert J.value == want_J
    assert np.array_equal(d.value, want_d)
    assert np.all(d.error < 1e-14)


def refused_table():
    p = Precision.of(np.float64)
    b = Bounded(np.arange(1.0, 13).reshape(3, 4), np.full((3, 4), 1e-9), p)
    s, k = b[0, 0], np.zeros((3, 4))
    return {
        "np.array of scalars": lambda: np.array([s, s]), "np.array of rows": lambda: np.array([b[0], b[1]]),
        "np.asarray": lambda: np.asarray(b), "ascontiguousarray": lambda: np.ascontiguousarray(b),
        "sum of a list": lambda: np.sum([b, b], axis=0), "exp of a list": lambda: np.exp([b, b]),
        "float": lambda: float(s), "int": lambda: int(s), "round": lambda: round(s), "math.erf": lambda: math.erf(s),
        "tolist": lambda: b.tolist(), "flat": lambda: b.flat,
        "vectorize": lambda: np.vectorize(math.erf)(b), "a list's index": lambda: [1, 2][s], "range": lambda: range(s),
        "fill zeros by item": lambda: k.__setitem__((0, 0), s), "fill zeros by row": lambda: k.__setitem__(0, b[0]),
        "zeros +=": lambda: k.__iadd__(b), "full": lambda: np.full((2,), s), "np.float64": lambda: np.float64(s),
        "as_strided": lambda: np.lib.stride_tricks.as_strided(b, (2, 2)), "copyto": lambda: np.copyto(k, b),
        "matrix norm": lambda: np.linalg.norm(b, 2),
        "spectral norm": lambda: np.linalg.norm(b, 2, (0, 1)), "Cholesky": lambda: np.linalg.cholesky(b[:, :3]),
        "einsum by lists": lambda: np.einsum(b, [0, 1]), "divmod": lambda: divmod(b, 2), "modulo": lambda: b % 2,
        "floor division": lambda: b // 2, "None": lambda: b == None, "string": lambda: b == "x",  # noqa: E711
        "object": lambda: b + object(), "frexp": lambda: np.frexp(b),
        "apply_along_axis": lambda: np.apply_along_axis(np.sum, 0, b),
        "pad by mean": lambda: np.pad(b, 1, mode="mean"), "astype int": lambda: b.astype(int),
        "complex": lambda: b * 1j, "branch": lambda: bool(b[0, 0] > 1), "while": lambda: bool((b > 1).any()),
        "rounded mask": lambda: b[b > 1], "concatenate of lists": lambda: np.concatenate([[b[0]], [b[1]]]),
        "reduceat": lambda: np.add.reduceat(b, [0, 1]), "mean where": lambda: b.mean(where=k > 0),
        "ufunc where without out": lambda: np.sqrt(b, where=k > 0), "allclose": lambda: np.allclose(b, b),
        "array_equal": lambda: np.array_equal(b, b), "where of one": lambda: np.where(b - 1),
        "sum by a Bounded axis": lambda: np.sum(k, axis=s), "mean into out": lambda: b.mean(0, out=k[0]),
        "interp": lambda: np.interp(b, [0, 1], [0, 1]),
    }  # fmt: skip


@pytest.mark.parametrize("code", refused_table())
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_refused_by_name_and_not_by_accident(code):
    with pytest.raises(NoRoundingRule):
        refused_table()[code]()


def test_an_unknown_attribute_is_an_attribute_error():
    x = Bounded(np.ones(2))
    with pytest.raises(AttributeError, match="sizes"):
        x.sizes  # noqa: B018
    assert f"{x.sum():.1f}" == "2.0"


def test_mistakes_that_numpy_reports_stay_the_errors_of_numpy():
    x = Bounded(np.ones((2, 3)))
    for mistake in (lambda: x @ x, lambda: x + np.ones(2), lambda: x.reshape(5), lambda: np.concatenate([x, x[0]])):
        with pytest.raises(ValueError):  # noqa: PT011
            mistake()
    for mistake in (lambda: x[5], lambda: x.sum(axis=4), lambda: np.mean(x, axis=2)):
        with pytest.raises(IndexError):  # AxisError is one
            mistake()


class Cache(NamedTuple):
    x: object
    more: dict


def test_plain_finds_the_bounded_arrays_in_any_cache():
    import dataclasses

    Record = dataclasses.make_dataclass("Record", ["x", "n"], frozen=True)
    x = Bounded(np.ones(2), np.ones(2))
    got = plain(Cache(x, {"a": [x, (x, 1)], "b": Record(x, 3)}))
    assert type(got) is Cache
    assert all(type(a) is np.ndarray for a in (got.x, got.more["a"][0], got.more["a"][1][0], got.more["b"].x))


def test_a_masked_number_is_zero_exactly() -> None:
    """0 · x and 0 / x are 0 on both sides, so that a comparison with 0 after a mask is decided."""
    x = Bounded(np.array([1.5, -2.0, 0.25]), np.array([1e-16, 1e-16, 1e-16]))
    mask = np.array([0.0, 1.0, 0.0])
    for masked in (x * mask, mask * x, mask / x, np.maximum(x * mask, 0.0)):
        assert (masked.value == np.where(mask, masked.value, 0)).all()
        assert masked.error[0] == masked.error[2] == 0
    assert (x * mask).error[1] > 0
    slope = np.where(np.maximum(x * mask, 0.0) > 0, 7.0, 3.0)
    error = 0.0 if not isinstance(slope, Bounded) or slope.error is None else slope.error
    assert np.max(error) == 0


def test_a_zero_that_may_be_another_number_is_none() -> None:
    zero = Bounded(np.array([0.0]), np.array([1e-16]))
    assert (zero * np.array([2.0])).error[0] >= 2e-16
    small = Bounded(np.array([1e-200]))
    assert (small * small).error[0] > 0  # underflow
