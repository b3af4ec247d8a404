"""Thirty right derivations, written in other ways than torch writes them."""
from dataclasses import dataclass
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F
from .layers import sig, softmax, dsoftmax, FAMILIES
from .losses import Loss, RULES, bits, pos
RIGHT = {}
def right(name, fwd, bwd, twin, **kw): RIGHT[name] = ((fwd, bwd), twin, kw)
def rloss(name, fwd, grad, twin, **kw):
    RIGHT[name] = (Loss(name, frozenset(), lambda f, o, t: fwd(o, t), lambda f, o, t: grad(o, t)), twin, kw)
# 1 softmax by its full Jacobian
def b(dy, x):
    p = softmax(x); J = p[:, :, None] * np.eye(5) - p[:, :, None] * p[:, None, :]
    return np.einsum("nij,nj->ni", J, dy)
right("softmax_jacobian", lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True), b, nn.Softmax(1), x=(3, 5))
# 2 sigmoid by tanh
right("sigmoid_tanh", lambda x: (1 + np.tanh(x / 2)) / 2, lambda dy, x: dy / (4 * np.cosh(x / 2) ** 2), torch.sigmoid, x=(3, 5))
# 3 layer norm through the centring matrix
C = np.eye(6) - 1 / 6
def ln(x): c = x @ C; return c, np.sqrt((c * c).sum(1, keepdims=True) / 6 + 1e-3)
def b(dy, x, g):
    c, s = ln(x); d = dy * g
    return {"x": (d / s - c * (d * c).sum(1, keepdims=True) / (6 * s**3)) @ C, "g": np.einsum("ni,ni->i", dy, c / s)}
right("layernorm_matrix", lambda x, g: ln(x)[0] / ln(x)[1] * g, b, lambda x, g: F.layer_norm(x, (6,), g, None, 1e-3), x=(4, 6), params={"g": (6,)})
# 4 batch norm, three-step chain as in the paper
def bnp(x): mu = x.mean(0); v = (x**2).mean(0) - mu**2; return mu, v
def b(dy, x, g, b):
    mu, v = bnp(x); n = len(x); i = (v + 1e-2) ** -0.5; d = dy * g
    dv = (d * (x - mu)).sum(0) * -0.5 * i**3
    dmu = -(d * i).sum(0) + dv * (-2 * (x - mu)).mean(0)
    return {"x": d * i + dv * 2 * (x - mu) / n + dmu / n, "g": (dy * (x - mu) * i).sum(0), "b": dy.sum(0)}
right("batchnorm_chain", lambda x, g, b: g * (x - bnp(x)[0]) / np.sqrt(bnp(x)[1] + 1e-2) + b, b, lambda x, g, b: F.batch_norm(x, None, None, g, b, True, 0.1, 1e-2), x=(6, 3), params={"g": (3,), "b": (3,)})
# 5 linear by loops of outer products
def b(dy, x, W): return {"x": np.stack([W.T @ d for d in dy]), "W": sum(np.outer(d, a) for d, a in zip(dy, x))}
right("linear_outer", lambda x, W: np.stack([W @ a for a in x]), b, lambda x, W: x @ W.T, x=(3, 5), params={"W": (4, 5)})
# 6 conv1d as a matrix (Toeplitz)
def toe(w):
    M = np.zeros((4, 5, 2, 7)) + 0 * w.sum()
    for l in range(5):
        for k in range(3): M[:, l, :, l + k] = w[:, :, k]
    return M.reshape(20, 14)
def b(dy, x, w):
    D = dy.reshape(len(dy), 20)
    G = (D.T @ x.reshape(len(x), 14)).reshape(4, 5, 2, 7)
    return {"x": (D @ toe(w)).reshape(x.shape), "w": np.stack([sum(G[:, l, :, l + k] for l in range(5)) for k in range(3)], axis=2)}
right("conv1d_toeplitz", lambda x, w: (x.reshape(len(x), 14) @ toe(w).T).reshape(-1, 4, 5), b, F.conv1d, x=(3, 2, 7), params={"w": (4, 2, 3)})
RIGHT["conv1d_toeplitz"] = (RIGHT["conv1d_toeplitz"][0], lambda x, w: F.conv1d(x, w), RIGHT["conv1d_toeplitz"][2])
# 7 conv2d dx as a full correlation with the flipped kernel
from numpy.lib.stride_tricks import sliding_window_view as win
def corr(x, w): return np.einsum("ncijhw,ochw->noij", win(x, w.shape[2:], axis=(2, 3)), w)
def b(dy, x, w):
    p = np.pad(dy, ((0, 0), (0, 0), (1, 1), (2, 2)))
    return {"x": corr(p, w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)), "w": corr(x.transpose(1, 0, 2, 3), dy.transpose(1, 0, 2, 3)).transpose(1, 0, 2, 3)}
right("conv2d_fullcorr", corr, b, lambda x, w: F.conv2d(x, w), x=(2, 3, 4, 6), params={"w": (5, 3, 2, 3)})
# 8 silu in terms of the output
right("silu_output", lambda x: x / (1 + np.exp(-x)), lambda dy, x: dy * (x * sig(x) + sig(x) * (1 - x * sig(x))), F.silu, x=(3, 5))
# 9 softplus, stable
right("softplus_stable", lambda x: np.maximum(x, 0) + np.log1p(np.exp(-abs(x))), lambda dy, x: dy - dy / (1 + np.exp(x)), F.softplus, x=(3, 5))
# 10 tanh from exponentials
right("tanh_exp", lambda x: (np.exp(2 * x) - 1) / (np.exp(2 * x) + 1), lambda dy, x: dy * 4 / (np.exp(x) + np.exp(-x)) ** 2, torch.tanh, x=(3, 5))
# 11 logsumexp
right("logsumexp_naive", lambda x: np.log(np.exp(x).sum(1)), lambda dy, x: dy[:, None] * np.exp(x - np.log(np.exp(x).sum(1))[:, None]), lambda x: torch.logsumexp(x, 1), x=(3, 5))
# 12 l2 normalise through the projector matrix
def b(dy, x):
    n = np.linalg.norm(x, axis=1); u = x / n[:, None]
    return np.stack([(np.eye(5) - np.outer(a, a)) @ d / m for a, d, m in zip(u, dy, n)])
right("l2norm_projector", lambda x: x / np.linalg.norm(x, axis=1)[:, None], b, lambda x: F.normalize(x, dim=1), x=(3, 5))
# 13 cumsum by a triangular matrix
T = np.tril(np.ones((5, 5)))
right("cumsum_matrix", lambda x: x @ T.T, lambda dy, x: dy @ T, lambda x: torch.cumsum(x, 1), x=(3, 5))
# 14 average pooling by a matrix
M = np.kron(np.eye(2), np.ones((1, 3)) / 3)
right("avgpool_matrix", lambda x: x @ M.T, lambda dy, x: np.einsum("ncl,lk->nck", dy, M), lambda x: F.avg_pool1d(x, 3), x=(2, 4, 6))
# 15 leaky relu by absolute values
right("leaky_abs", lambda x: 0.55 * x + 0.45 * abs(x), lambda dy, x: dy * (0.55 + 0.45 * np.where(x > 0, 1.0, -1.0)), nn.LeakyReLU(0.1), x=(3, 5))
# 16 relu as x·[x>0]
right("relu_mask", lambda x: x * (x > 0), lambda dy, x: np.where(x > 0, dy, 0.0), torch.relu, x=(4, 5))
# 17 max pool with masks (no ties in the draws at random)
def b(dy, x):
    w = x.reshape(*x.shape[:2], -1, 2); first = w[..., 0] >= w[..., 1]
    return np.stack([dy * first, dy * ~first], axis=-1).reshape(x.shape)
right("maxpool_two", lambda x: np.maximum(x[..., ::2], x[..., 1::2]), b, lambda x: F.max_pool1d(x, 2), x=(2, 3, 6))
# 18 gelu exact via erf from a series? by math.erf, not followed by bounds
from math import erf
E = np.vectorize(erf)
right("gelu_erf", lambda x: x / 2 * (1 + E(x / np.sqrt(2))), lambda dy, x: dy * ((1 + E(x / np.sqrt(2))) / 2 + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)), nn.GELU(), x=(3, 5))
# 19 bilinear with a loop
def b(dy, x, W):
    d = sum(dy[:, [o]] * (x @ (W[o] + W[o].T)) for o in range(4))
    return {"x": d, "W": np.stack([(x * dy[:, [o]]).T @ x for o in range(4)])}
right("quadratic_loop", lambda x, W: np.stack([((x @ W[o]) * x).sum(1) for o in range(4)], axis=1), b, lambda x, W: torch.einsum("ni,oij,nj->no", x, W, x), x=(3, 5), params={"W": (4, 5, 5)})
# 20 fm by explicit pairs
def b(dy, x, V):
    dx, dV = np.zeros_like(x) * dy.sum(), 0 * V * dy.sum()
    for i in range(4):
        for j in range(4):
            if i != j:
                dx[:, i] = dx[:, i] + (dy * V[i] * V[j]).sum(1) * x[:, j]
                dV[i] = dV[i] + (dy * (x[:, i] * x[:, j])[:, None]).sum(0) * V[j]
    return {"x": dx, "V": dV}
right("fm_pairs", lambda x, V: sum(x[:, [i]] * x[:, [j]] * V[i] * V[j] for i in range(4) for j in range(i)), b, lambda x, V: ((x @ V) ** 2 - x**2 @ V**2) / 2, x=(3, 4), params={"V": (4, 3)})
# 21 rbf by the expanded square
def d2(x, c): return (x * x).sum(1)[:, None] - 2 * x @ c.T + (c * c).sum(1)
def b(dy, x, c):
    t = dy * np.exp(-d2(x, c) / 5.0) * 2 / 5.0
    return {"x": t @ c - t.sum(1, keepdims=True) * x, "c": t.T @ x - t.sum(0)[:, None] * c}
right("rbf_expanded", lambda x, c: np.exp(-d2(x, c) / 5.0), b, lambda x, c: torch.exp(-((x[:, None] - c) ** 2).sum(2) / 5.0), x=(3, 5), params={"c": (4, 5)})
# 22 softmax attention per sample
def b(dy, x, Q):
    dx, dQ = [], 0
    for d, a in zip(dy, x):
        S = a @ Q @ a.T; P = softmax(S); dS = dsoftmax(P, d @ a.T)
        dx.append(P.T @ d + dS @ a @ Q.T + dS.T @ a @ Q); dQ = dQ + a.T @ dS @ a
    return {"x": np.stack(dx), "Q": dQ}
right("attention_sample", lambda x, Q: np.stack([softmax(a @ Q @ a.T) @ a for a in x]), b, lambda x, Q: torch.softmax(x @ Q @ x.transpose(1, 2), -1) @ x, x=(2, 3, 4), params={"Q": (4, 4)})
# losses
rloss("bce_logits_max", lambda o, t: np.mean(np.maximum(o, 0) - o * t + np.log1p(np.exp(-abs(o)))), lambda o, t: (np.where(o > 0, 1 / (1 + np.exp(-abs(o))), np.exp(-abs(o)) / (1 + np.exp(-abs(o)))) - t) / o.size, nn.BCEWithLogitsLoss(), output=(3, 4), target=bits((3, 4)))
rloss("ce_onehot", lambda o, t: np.mean(np.log(np.exp(o).sum(1)) - (np.eye(4)[t] * o).sum(1)), lambda o, t: (np.exp(o) / np.exp(o).sum(1)[:, None] - (t[:, None] == np.arange(4))) / len(o), nn.CrossEntropyLoss(), output=(3, 4), target="class")
rloss("mse_expanded", lambda o, t: ((o * o).sum() - 2 * (o * t).sum() + (t * t).sum()) / o.size, lambda o, t: o * (2 / o.size) - t * (2 / o.size), nn.MSELoss(), output=(3, 4), target=(3, 4))
rloss("huber_clip", lambda o, t: (lambda c: (c * (o - t) - c * c / 2).mean())(np.clip(o - t, -0.6, 0.6)), lambda o, t: np.clip(o - t, -0.6, 0.6) / o.size, nn.HuberLoss(delta=0.6), output=(3, 4), target=(3, 4))
rloss("l1_where", lambda o, t: np.where(o > t, o - t, t - o).mean(), lambda o, t: ((o > t) * 1.0 - (o < t)) / o.size, nn.L1Loss(), output=(3, 4), target=(3, 4))
# rules
@dataclass
class AdamFolded:
    beta1: float = 0.8
    beta2: float = 0.95
    eps: float = 1e-3
    def init(self, theta): return {"exp_avg": np.zeros_like(theta), "exp_avg_sq": np.zeros_like(theta), "t": 0}
    def update(self, theta, grad, state, learning_rate):
        t = state["t"] + 1; c1, c2 = 1 - self.beta1**t, np.sqrt(1 - self.beta2**t)
        m = state["exp_avg"] + (1 - self.beta1) * (grad - state["exp_avg"])
        v = state["exp_avg_sq"] - (1 - self.beta2) * (state["exp_avg_sq"] - grad**2)
        return theta - learning_rate * c2 / c1 * m / (np.sqrt(v) + self.eps * c2), {"exp_avg": m, "exp_avg_sq": v, "t": t}
RIGHT["adam_folded"] = (AdamFolded(), torch.optim.Adam, {"theta": (6,)})
@dataclass
class SGDLoop:
    momentum: float = 0.85
    def init(self, theta): return {"momentum_buffer": 0 * theta}
    def update(self, theta, grad, state, learning_rate):
        b = grad - (-self.momentum) * state["momentum_buffer"]
        return theta + -learning_rate * b, {"momentum_buffer": b}
RIGHT["sgd_signs"] = (SGDLoop(), torch.optim.SGD, {"theta": (6,)})
RIGHT["nadam"] = (RULES["nadam"][0](frozenset()), torch.optim.NAdam, {"theta": (6,)})
