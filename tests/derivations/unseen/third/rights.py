"""Right derivations in unusual but equal forms. `from rights import RIGHTS`: each has name, kind, ours(), twin(), kwargs.

    check(right.ours(), right.twin(), **right.kwargs, name=right.name)

The switch-less versions of all families are right as well: case.right() of every case.
"""
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .losses import Loss
from .rules import Rule


@dataclass(frozen=True)
class Right:
    name: str
    kind: str
    ours_of: Any
    twin_of: Any
    kwargs: dict = field(hash=False)

    def ours(self):
        return self.ours_of()

    def twin(self):
        return self.twin_of()


RIGHTS = []


def right(kind, make_twin, **kwargs):
    def take(build):
        RIGHTS.append(Right(f"{build.__name__} ({kwargs.get('dtype', 'float64')})", kind, build, make_twin, kwargs))
        return build
    return take


def scaled(shape, scale, shift=0.0):
    return lambda rng: scale * rng.normal(size=shape) + shift


def both(kind, make_twin, **kwargs):
    """In float64 and in float32."""
    def take(build):
        right(kind, make_twin, **kwargs)(build)
        return right(kind, make_twin, **kwargs, dtype="float32")(build)
    return take


# ---------------------------------------------------------------- activations


@both("layer", lambda: lambda x: torch.softmax(x, 1), x=(4, 7))
def softmax_by_differences():
    def forward(x):
        return 1 / np.exp(x[:, None, :] - x[:, :, None]).sum(axis=2)

    def backward(dy, x):
        y = forward(x)
        return (y[:, :, None] * (np.eye(7, dtype=x.dtype) - y[:, None, :]) @ dy[:, :, None])[:, :, 0]

    return forward, backward


@right("layer", lambda: lambda x: torch.softmax(x, 1), x=scaled((5, 6), 30.0))
def softmax_by_logaddexp_saturated():
    def forward(x):
        return np.exp(x - np.logaddexp.reduce(x, axis=1, keepdims=True))

    def backward(dy, x):
        y = forward(x)
        return y * dy - y * np.einsum("nk,nk->n", y, dy)[:, None]

    return forward, backward


@both("layer", lambda: torch.sigmoid, x=(3, 5))
def sigmoid_by_tanh():
    def forward(x):
        return (1 + np.tanh(x / 2)) / 2

    def backward(dy, x):
        return dy / (np.exp(x / 2) + np.exp(-x / 2)) ** 2

    return forward, backward


@right("layer", lambda: F.softplus, x=(3, 5))
def softplus_by_logaddexp():
    def forward(x):
        return np.logaddexp(0, x)

    def backward(dy, x):
        return dy * np.exp(x - np.logaddexp(0, x))

    return forward, backward


@both("layer", lambda: F.silu, x=(4, 6))
def silu_by_output():
    def forward(x):
        return x / (1 + np.exp(-x))

    def backward(dy, x):
        y = forward(x)
        s = 1 / (1 + np.exp(-x))
        return dy * (y + s * (1 - y))

    return forward, backward


@right("layer", lambda: F.mish, x=(4, 6))
def mish_by_polynomials_of_exp():
    def forward(x):
        e = np.exp(x)
        n = e * (e + 2)
        return x * n / (n + 2)

    def backward(dy, x):
        e = np.exp(x)
        w = 4 * (x + 1) + 4 * e**2 + e**3 + e * (4 * x + 6)
        return dy * e * w / (2 * e + e**2 + 2) ** 2

    return forward, backward


@right("layer", lambda: lambda x: F.elu(x, alpha=1.5), x=(4, 6))
def elu_by_expm1():
    def forward(x):
        return np.maximum(x, 0) + 1.5 * np.expm1(np.minimum(x, 0))

    def backward(dy, x):
        return np.where(x > 0, dy, dy * 1.5 * np.exp(np.minimum(x, 0)))

    return forward, backward


@right("layer", lambda: torch.tanh, x=scaled((3, 4), 1e-5))
def tanh_by_expm1_tiny():
    def forward(x):
        e = np.expm1(2 * x)
        return e / (e + 2)

    def backward(dy, x):
        return dy / np.cosh(x) ** 2

    return forward, backward


@right("layer", lambda: lambda x: F.leaky_relu(x, 0.25), x=(4, 5))
def leaky_relu_by_maximum():
    def forward(x):
        return np.maximum(x, 0.25 * x)

    def backward(dy, x):
        return dy * (0.25 + 0.75 * (x > 0))

    return forward, backward


@right("layer", lambda: nn.GLU(dim=1), x=(3, 8))
def glu_by_split():
    def forward(x):
        a, b = np.split(x, 2, axis=1)
        return a / (1 + np.exp(-b))

    def backward(dy, x):
        a, b = np.split(x, 2, axis=1)
        s = 1 / (1 + np.exp(-b))
        return np.hstack([dy * s, dy * a * np.exp(-b) * s * s])

    return forward, backward


# ---------------------------------------------------------------- normalisations


@right("layer", lambda: lambda x, g, b: F.layer_norm(x, (6,), g, b, 1e-5), x=(4, 6), params=dict(g=(6,), b=(6,)))
def layer_norm_by_projection_matrix():
    def normal(x):
        c = x - x.mean(axis=1, keepdims=True)
        return c, np.sqrt((c**2).mean(axis=1, keepdims=True) + 1e-5)

    def forward(x, g, b):
        c, s = normal(x)
        return c * (g / s) + b

    def backward(dy, x, g, b):
        c, s = normal(x)
        h = c / s
        P = np.eye(6) - 1 / 6 - h[:, :, None] * h[:, None, :] / 6
        return {"x": np.einsum("nij,nj->ni", P, dy * g) / s, "g": np.einsum("ni,ni->i", dy, h), "b": dy.sum(axis=0)}

    return forward, backward


@right("layer", lambda: lambda x, g: F.layer_norm(x, (5,), g, None, 1e-3), x=(4, 5), params=dict(g=(5,)))
def layer_norm_by_moments():
    def forward(x, g):
        m, q = x.mean(axis=1, keepdims=True), (x * x).mean(axis=1, keepdims=True)
        return g * (x - m) / np.sqrt(q - m * m + 1e-3)

    def backward(dy, x, g):
        m, q = x.mean(axis=1, keepdims=True), (x * x).mean(axis=1, keepdims=True)
        r = (q - m * m + 1e-3) ** -0.5
        u = dy * g
        dr = (u * (x - m)).sum(axis=1, keepdims=True)
        dq = dr * -0.5 * r**3
        dm = -(u * r).sum(axis=1, keepdims=True) - 2 * m * dq
        return {"x": u * r + dm / 5 + dq * 2 * x / 5, "g": (dy * (x - m) * r).sum(axis=0)}

    return forward, backward


@both("layer", lambda: lambda x, g: F.rms_norm(x, (6,), g, 1e-6), x=(4, 6), params=dict(g=(6,)))
def rms_norm_by_quotient():
    def forward(x, g):
        return g * x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-6)

    def backward(dy, x, g):
        q = (x * x).mean(axis=-1, keepdims=True) + 1e-6
        u = dy * g
        dx = (u * q - x * (u * x).mean(axis=-1, keepdims=True)) / q**1.5
        return {"x": dx, "g": (dy * x / np.sqrt(q)).sum(axis=0)}

    return forward, backward


@right("layer", lambda: lambda x, g, b: F.batch_norm(x, None, None, g, b, training=True, eps=1e-4), x=scaled((6, 4), 1.0), params=dict(g=(4,), b=(4,)))
def batch_norm_as_affine_map():
    def forward(x, g, b):
        a = g / np.sqrt(x.var(axis=0) + 1e-4)
        return a * (x - x.mean(axis=0)) + b

    def backward(dy, x, g, b):
        N, v, m = len(x), x.var(axis=0) + 1e-4, x.mean(axis=0)
        cov = (dy * (x - m)).sum(axis=0)
        dx = g / (N * np.sqrt(v)) * (N * dy - dy.sum(axis=0) - (x - m) * cov / v)
        return {"x": dx, "g": cov / np.sqrt(v), "b": dy.sum(axis=0)}

    return forward, backward


@right("layer", lambda: lambda x: F.normalize(x, dim=1), x=scaled((4, 5), 1e4))
def l2_normalise_large():
    def forward(x):
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    def backward(dy, x):
        n2 = np.einsum("ni,ni->n", x, x)[:, None]
        return (dy * n2 - x * (x * dy).sum(axis=1, keepdims=True)) / (n2 * np.sqrt(n2))

    return forward, backward


# ---------------------------------------------------------------- attention, convolution, recurrence


def plain_attention(x, K, V):
    return F.scaled_dot_product_attention(x[None], K[None], V[None])[0]


@both("layer", lambda: plain_attention, x=(4, 3), params=dict(K=(5, 3), V=(5, 6)))
def attention_as_flash():
    c = 3**-0.5

    def weights(x, K):
        s = (x * c) @ K.T
        return np.exp(s - s.max(axis=1, keepdims=True))

    def forward(x, K, V):
        e = weights(x, K)
        return e @ V / e.sum(axis=1)[:, None]

    def backward(dy, x, K, V):
        e = weights(x, K)
        total = e.sum(axis=1)[:, None]
        p = e / total
        delta = (dy * (e @ V / total)).sum(axis=1)[:, None]
        ds = p * (dy @ V.T - delta) * c
        return {"x": ds @ K, "K": ds.T @ x, "V": p.T @ dy}

    return forward, backward


@right("layer", lambda: lambda x, W, b: F.conv1d(x, W, b, stride=2), x=(2, 3, 9), params=dict(W=(5, 3, 4), b=(5,)))
def conv_as_banded_matrix():
    def band(W):
        M = np.zeros((5, 3, 3, 9))
        for o in range(3):
            M[:, o, :, 2 * o : 2 * o + 4] = W
        return M.reshape(15, 27)

    def forward(x, W, b):
        return (x.reshape(len(x), 27) @ band(W).T).reshape(len(x), 5, 3) + b[:, None]

    def backward(dy, x, W, b):
        flat = dy.reshape(len(dy), 15)
        G = (flat.T @ x.reshape(len(x), 27)).reshape(5, 3, 3, 9)
        dW = sum(G[:, o, :, 2 * o : 2 * o + 4] for o in range(3))
        return {"x": (flat @ band(W)).reshape(x.shape), "W": dW, "b": dy.sum(axis=(0, 2))}

    return forward, backward


def scan_twin(x, a):
    h, out = 0, []
    for t in range(6):
        h = a * h + x[:, t]
        out.append(h)
    return torch.stack(out, 1)


@right("layer", lambda: scan_twin, x=(3, 6, 2), params=dict(a=np.array([0.9, -0.5])))
def linear_scan_as_toeplitz():
    lag = np.arange(6)[:, None] - np.arange(6)[None, :]

    def kernel(a):
        return np.where(lag[..., None] >= 0, a ** np.maximum(lag, 0)[..., None], 0.0)

    def forward(x, a):
        return np.einsum("tsd,nsd->ntd", kernel(a), x)

    def backward(dy, x, a):
        slope = np.where(lag[..., None] > 0, lag[..., None] * a ** np.maximum(lag - 1, 0)[..., None], 0.0)
        return {"x": np.einsum("tsd,ntd->nsd", kernel(a), dy), "a": np.einsum("tsd,ntd,nsd->d", slope, dy, x)}

    return forward, backward


@right("layer", lambda: lambda x: torch.cumsum(x, 1), x=(3, 7))
def cumsum_backwards_by_total():
    def forward(x):
        return np.cumsum(x, axis=1)

    def backward(dy, x):
        return dy.sum(axis=1, keepdims=True) - np.cumsum(dy, axis=1) + dy

    return forward, backward


def gru_twin(x, h, W, U):
    n = torch.tanh(x @ W.T)
    z = torch.sigmoid(x @ U.T)
    return (1 - z) * n + z * h


@both("layer", lambda: gru_twin, x=(4, 3), params=dict(h=(5,), W=(5, 3), U=(5, 3)))
def gated_step_by_interpolation():
    def forward(x, h, W, U):
        n, z = np.tanh(x @ W.T), 1 / (1 + np.exp(-(x @ U.T)))
        return n + z * (h - n)

    def backward(dy, x, h, W, U):
        n, z = np.tanh(x @ W.T), 1 / (1 + np.exp(-(x @ U.T)))
        dn = (dy - dy * z) * (1 - n) * (1 + n)
        dz = dy * (h - n) * (z - z * z)
        return {"x": np.hstack([dn, dz]) @ np.vstack([W, U]), "h": np.einsum("no,no->o", dy, z), "W": dn.T @ x, "U": dz.T @ x}

    return forward, backward


@right("layer", lambda: lambda x: F.max_pool1d(x, 3), x=(2, 4, 9))
def max_pool_by_argmax():
    def forward(x):
        return x.reshape(*x.shape[:2], 3, 3).max(axis=-1)

    def backward(dy, x):
        w = x.reshape(*x.shape[:2], 3, 3)
        hot = np.arange(3) == w.argmax(axis=-1)[..., None]
        return (hot * dy[..., None]).reshape(x.shape)

    return forward, backward


def rope_twin(x):
    t = torch.arange(5, dtype=x.dtype)[:, None] * torch.tensor([1.0, 0.1, 0.01], dtype=x.dtype)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * t.cos() - b * t.sin(), a * t.sin() + b * t.cos()], -1).flatten(-2)


@right("layer", lambda: rope_twin, x=(3, 5, 6))
def rope_by_rotation_matrices():
    t = np.arange(5)[:, None] * np.array([1.0, 0.1, 0.01])
    R = np.stack([np.stack([np.cos(t), -np.sin(t)], -1), np.stack([np.sin(t), np.cos(t)], -1)], -2)

    def forward(x):
        return np.einsum("tkij,ntkj->ntki", R, x.reshape(len(x), 5, 3, 2)).reshape(x.shape)

    def backward(dy, x):
        return np.einsum("tkij,ntki->ntkj", R, dy.reshape(len(x), 5, 3, 2)).reshape(x.shape)

    return forward, backward


# ---------------------------------------------------------------- linear algebra, kernels, graphs


@right("layer", lambda: lambda x, c: torch.exp(-0.5 * ((x[:, None] - c) ** 2).sum(-1)), x=(4, 3), params=dict(c=(5, 3)))
def rbf_by_expanded_square():
    def forward(x, c):
        return np.exp(x @ c.T - 0.5 * (x * x).sum(axis=1)[:, None] - 0.5 * (c * c).sum(axis=1))

    def backward(dy, x, c):
        w = dy * forward(x, c)
        return {"x": w @ c - w.sum(axis=1)[:, None] * x, "c": w.T @ x - w.sum(axis=0)[:, None] * c}

    return forward, backward


@right("layer", lambda: lambda x, w: F.cosine_similarity(x, w[None], dim=1), x=(5, 4), params=dict(w=(4,)))
def cosine_by_product_of_norms():
    def forward(x, w):
        return x @ w / (np.sqrt((x * x).sum(axis=1)) * math.sqrt(w @ w))

    def backward(dy, x, w):
        nx2, nw2 = (x * x).sum(axis=1), w @ w
        f = dy / np.sqrt(nx2 * nw2)
        s = x @ w
        return {"x": f[:, None] * (w - x * (s / nx2)[:, None]), "w": f @ x - (f @ s) * w / nw2}

    return forward, backward


@both("layer", lambda: lambda x, W, b: F.linear(x, W, b), x=scaled((6, 4), 1e-6), params=dict(W=(3, 4), b=(3,)))
def linear_as_homogeneous_tiny():
    def forward(x, W, b):
        return np.hstack([x, np.ones_like(x[:, :1])]) @ np.hstack([W, b[:, None]]).T

    def backward(dy, x, W, b):
        G = dy.T @ np.hstack([x, np.ones_like(x[:, :1])])
        return {"x": dy @ W, "W": G[:, :-1], "b": G[:, -1]}

    return forward, backward


@right("layer", lambda: lambda x, A: torch.einsum("ni,ij,nj->n", x, A, x), x=scaled((5, 4), 1e5), params=dict(A=(4, 4)))
def quadratic_form_by_symmetric_part():
    def forward(x, A):
        return ((x @ ((A + A.T) / 2)) * x).sum(axis=1)

    def backward(dy, x, A):
        return {"x": dy[:, None] * (x @ (A + A.T)), "A": np.einsum("n,ni,nj->ij", dy, x, x)}

    return forward, backward


@right("layer", lambda: lambda x, E: F.embedding(torch.tensor([[1, 3, 3], [0, 1, 5]]), E).sum(1) + x, x=lambda rng: rng.normal(size=(2, 4)), params=dict(E=(6, 4)))
def embedding_bag_as_counts():
    counts = np.array([[0, 1, 0, 2, 0, 0], [1, 1, 0, 0, 0, 1]], dtype=float)

    def forward(x, E):
        return counts @ E + x

    def backward(dy, x, E):
        return {"x": dy, "E": counts.T @ dy}

    return forward, backward


EDGES = np.array([[0, 1], [1, 2], [2, 0], [3, 1], [4, 3], [0, 4]])


def graph_twin(x, W):
    A = torch.zeros(5, 5, dtype=x.dtype)
    A[EDGES[:, 1], EDGES[:, 0]] = 1
    return A / A.sum(1, keepdim=True) @ x @ W


@right("layer", lambda: graph_twin, x=lambda rng: rng.normal(size=(5, 3)), params=dict(W=(3, 4)))
def graph_mean_by_edge_list():
    source, goal = EDGES.T
    share = 1 / np.bincount(goal, minlength=5)[goal]

    def forward(x, W):
        z, y = x @ W, np.zeros((5, 4), dtype=x.dtype)
        np.add.at(y, goal, share[:, None] * z[source])
        return y

    def backward(dy, x, W):
        dz = np.zeros((5, 4), dtype=x.dtype)
        np.add.at(dz, source, share[:, None] * dy[goal])
        return {"x": dz @ W.T, "W": x.T @ dz}

    return forward, backward


@right("layer", lambda: lambda x: torch.logsumexp(x, 1), x=(4, 5, 3))
def logsumexp_by_pairs():
    def forward(x):
        return np.logaddexp.reduce(x, axis=1)

    def backward(dy, x):
        return dy[:, None] * np.exp(x - np.logaddexp.reduce(x, axis=1)[:, None])

    return forward, backward


@right("layer", lambda: lambda x, V: 0.5 * ((x @ V) ** 2 - (x**2) @ (V**2)).sum(1), x=(4, 5), params=dict(V=(5, 3)))
def factorisation_by_pairs():
    i, j = np.triu_indices(5, 1)

    def forward(x, V):
        return (x[:, i] * x[:, j]) @ (V[i] * V[j]).sum(axis=1)

    def backward(dy, x, V):
        G = V @ V.T * (1 - np.eye(5))
        X = np.einsum("n,ni,nj->ij", dy, x, x) * (1 - np.eye(5))
        return {"x": dy[:, None] * (x @ G), "V": X @ V}

    return forward, backward


# ---------------------------------------------------------------- losses


def loss(make_twin, **kwargs):
    return right("loss", make_twin, **kwargs)


@loss(lambda: nn.CrossEntropyLoss(), output=(6, 4), target="class")
def cross_entropy_by_differences():
    def value(o, t):
        own = o[np.arange(len(o)), t]
        return np.log(np.exp(o - own[:, None]).sum(axis=1)).mean()

    def slope(o, t):
        e = np.exp(o - o.max(axis=1, keepdims=True))
        hot = np.arange(o.shape[1]) == t[:, None]
        return (e - hot * e.sum(axis=1, keepdims=True)) / (e.sum(axis=1, keepdims=True) * len(o))

    return Loss(value, slope)


@loss(lambda: nn.CrossEntropyLoss(label_smoothing=0.1), output=(6, 5), target="class", dtype="float32")
def smoothed_cross_entropy_in_two_parts():
    def logs(o):
        return o - np.logaddexp.reduce(o, axis=1, keepdims=True)

    def value(o, t):
        p = logs(o)
        return -(0.9 * p[np.arange(len(o)), t].mean() + 0.1 * p.mean())

    def slope(o, t):
        g = np.exp(logs(o)) - o.dtype.type(0.1 / o.shape[1])
        g[np.arange(len(o)), t] -= o.dtype.type(0.9)
        return g / len(o)

    return Loss(value, slope)


@loss(lambda: nn.BCEWithLogitsLoss(), output=scaled((5, 3), 10.0), target=lambda rng: rng.random((5, 3)))
def bce_by_maximum():
    def value(o, t):
        return (np.maximum(o, 0) - o * t + np.log1p(np.exp(-np.abs(o)))).mean()

    def slope(o, t):
        return (0.5 * np.tanh(0.5 * o) + 0.5 - t) / o.size

    return Loss(value, slope)


@loss(lambda: nn.HuberLoss(delta=1.25), output=(5, 4), target=(5, 4))
def huber_by_clipping():
    def value(o, t):
        e = o - t
        c = np.clip(e, -1.25, 1.25)
        return (c * (e - c / 2)).mean()

    def slope(o, t):
        return np.clip(o - t, -1.25, 1.25) / o.size

    return Loss(value, slope)


@loss(lambda: lambda o, t: (F.softplus(-2 * (o - t)) + (o - t) - math.log(2)).mean(), output=(4, 6), target=(4, 6))
def log_cosh_by_logaddexp():
    def value(o, t):
        e = o - t
        return (np.logaddexp(e, -e) - math.log(2)).mean()

    def slope(o, t):
        return np.tanh(o - t) / o.size

    return Loss(value, slope)


@loss(lambda: nn.KLDivLoss(reduction="batchmean"), output=lambda rng: np.log(rng.dirichlet(np.ones(4), 5)), target=lambda rng: rng.dirichlet(np.ones(4), 5))
def kl_by_ratio():
    def value(o, t):
        return np.einsum("nk,nk->", t, np.log(t / np.exp(o))) / len(o)

    def slope(o, t):
        return -t / len(o)

    return Loss(value, slope)


@loss(lambda: nn.PoissonNLLLoss(), output=lambda rng: rng.normal(size=(5, 3)), target=lambda rng: rng.poisson(3.0, (5, 3)).astype(float))
def poisson_by_exp():
    def value(o, t):
        return (np.exp(o).sum() - (t * o).sum()) / o.size

    def slope(o, t):
        return np.expm1(o) / o.size + (1 - t) / o.size

    return Loss(value, slope)


@loss(lambda: nn.SoftMarginLoss(), output=lambda rng: rng.normal(size=(6, 2)), target=lambda rng: np.sign(rng.normal(size=(6, 2))))
def soft_margin_by_logaddexp():
    def value(o, t):
        return np.logaddexp(0, -t * o).mean()

    def slope(o, t):
        return -t / (1 + np.exp(t * o)) / o.size

    return Loss(value, slope)


def info_nce_twin(o, t):
    return F.cross_entropy(F.normalize(o, dim=1) @ F.normalize(t, dim=1).T / 0.3, torch.arange(len(o)))


@loss(lambda: info_nce_twin, output=(5, 3), target=(5, 3))
def info_nce_by_attraction_and_repulsion():
    def parts(o, t):
        n = np.linalg.norm(o, axis=1, keepdims=True)
        b = t / np.linalg.norm(t, axis=1, keepdims=True)
        s = o / n @ b.T / 0.3
        return n, b, s, np.exp(s - np.logaddexp.reduce(s, axis=1, keepdims=True))

    def value(o, t):
        s = parts(o, t)[2]
        return (np.logaddexp.reduce(s, axis=1) - np.diagonal(s)).mean()

    def slope(o, t):
        n, b, _, p = parts(o, t)
        g = (p @ b - b) / (0.3 * len(o))
        return g / n - o * (g * o).sum(axis=1, keepdims=True) / n**3

    return Loss(value, slope)


@loss(lambda: nn.MSELoss(), output=(4, 3), target=(4, 3), dtype="float32")
def mse_by_norm():
    def value(o, t):
        return np.linalg.norm(o - t) ** 2 / o.size

    def slope(o, t):
        return 2 / o.size * o - 2 / o.size * t

    return Loss(value, slope)


# ---------------------------------------------------------------- update rules


def rule(make_twin, **kwargs):
    return right("rule", make_twin, **kwargs)


@rule(lambda: lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9), theta=(50,))
def sgd_buffer_in_units_of_steps():
    def update(theta, grad, state, lr):
        step = 0.9 * state["step_taken"] - lr * grad
        return theta + step, {"step_taken": step}

    return Rule(lambda theta: {"step_taken": np.zeros_like(theta)}, update)


@rule(lambda: lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.8, nesterov=True, weight_decay=0.01), theta=(50,), learning_rate=0.1)
def nesterov_by_two_parts():
    def update(theta, grad, state, lr):
        g = grad + 0.01 * theta
        return theta - lr * (1 + 0.8) * g - lr * 0.64 * state["v"], {"v": 0.8 * state["v"] + g}

    return Rule(lambda theta: {"v": np.zeros_like(theta)}, update)


@rule(lambda: lambda p, lr: torch.optim.Adam(p, lr=lr, eps=1e-4), theta=(60,))
def adam_with_folded_corrections():
    def update(theta, grad, state, lr):
        t = state["t"] + 1
        m = state["m"] + 0.1 * (grad - state["m"])
        v = state["v"] + (1 - 0.999) * (grad**2 - state["v"])
        k = math.sqrt(1 - 0.999**t)
        return theta - lr * k / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-4 * k), {"m": m, "v": v, "t": t}

    return Rule(lambda theta: {"m": np.zeros_like(theta), "v": np.zeros_like(theta), "t": 0}, update)


@rule(lambda: lambda p, lr: torch.optim.AdamW(p, lr=lr, betas=(0.8, 0.9), weight_decay=0.3), theta=(60,))
def adamw_by_unnormalised_sums():
    def update(theta, grad, state, lr):
        t = state["t"] + 1
        a, b = 0.8 * state["a"] + grad, 0.9 * state["b"] + grad * grad
        mean, square = 0.2 * a / (1 - 0.8**t), 0.1 * b / (1 - 0.9**t)
        return theta - lr * (0.3 * theta + mean / (np.sqrt(square) + 1e-8)), {"a": a, "b": b, "t": t}

    return Rule(lambda theta: {"a": np.zeros_like(theta), "b": np.zeros_like(theta), "t": 0}, update)


@rule(lambda: lambda p, lr: torch.optim.RMSprop(p, lr=lr, alpha=0.95, centered=True, eps=1e-3), theta=(40,))
def rmsprop_by_running_variance():
    def update(theta, grad, state, lr):
        d = grad - state["mean"]
        mean = state["mean"] + 0.05 * d
        var = 0.95 * (state["var"] + 0.05 * d * d)
        return theta - lr * grad / (np.sqrt(var) + 1e-3), {"mean": mean, "var": var}

    return Rule(lambda theta: {"mean": np.zeros_like(theta), "var": np.zeros_like(theta)}, update)


@rule(lambda: lambda p, lr: torch.optim.Adagrad(p, lr=lr, lr_decay=0.1), theta=(40,), learning_rate=0.2)
def adagrad_by_reciprocal_rate():
    def update(theta, grad, state, lr):
        s = state["s"] + np.square(grad)
        return theta - grad / ((1 / lr + 0.1 * state["t"] / lr) * (np.sqrt(s) + 1e-10)), {"s": s, "t": state["t"] + 1}

    return Rule(lambda theta: {"s": np.zeros_like(theta), "t": 0}, update)


@rule(lambda: lambda p, lr: torch.optim.Adadelta(p, lr=lr, rho=0.9, eps=1e-4), theta=(40,), learning_rate=1.0)
def adadelta_by_one_root():
    def update(theta, grad, state, lr):
        s = 0.9 * state["s"] + 0.1 * grad**2
        ratio = (state["d"] + 1e-4) / (s + 1e-4)
        return theta - lr * np.sqrt(ratio) * grad, {"s": s, "d": 0.9 * state["d"] + 0.1 * ratio * grad**2}

    return Rule(lambda theta: {"s": np.zeros_like(theta), "d": np.zeros_like(theta)}, update)


@rule(lambda: lambda p, lr: torch.optim.Rprop(p, lr=lr), theta=(40,))
def rprop_by_signs():
    def update(theta, grad, state, lr):
        size = np.full_like(theta, lr) if state["size"] is None else state["size"]
        s = np.sign(grad)
        turn = s * state["sign"]
        size = np.minimum(np.maximum(size * np.choose((turn + 1).astype(int), [0.5, 1.0, 1.2]), 1e-6), 50)
        s = s * (turn >= 0)
        return theta - s * size, {"sign": s, "size": size}

    return Rule(lambda theta: {"sign": np.zeros_like(theta), "size": None}, update)
