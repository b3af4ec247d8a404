"""Wrong derivations of layers."""
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .common import registrar

LAYERS = []
family = registrar("layer", LAYERS)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(s, axis=-1):
    e = np.exp(s - s.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


# ---------------------------------------------------------------- attention


def mha_twin(x, Wq, Wk, Wv, Wo):
    T = x.shape[0]
    q, k, v = [(x @ W.T).reshape(T, 2, 3).transpose(0, 1) for W in (Wq, Wk, Wv)]
    o = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return o.transpose(0, 1).reshape(T, 6) @ Wo.T


@family(lambda: mha_twin, dict(x=(5, 4), params=dict(Wq=(6, 4), Wk=(6, 4), Wv=(6, 4), Wo=(7, 6))),
    ("width_scale", "y x Wq Wk Wv Wo", "The scores are divided by the square root of the model width 6 instead of the head width 3, forward and backward."),
    ("mask_after", "y x Wq Wk Wv Wo", "The causal mask is applied after the softmax by multiplication, so that the rows no longer sum to one; the backward is the usual softmax formula on these masked weights."),
    ("merge", "y Wo", "The heads are merged without moving the head axis back first (a plain reshape of (H, T, d)), in the forward pass and in the gradient of Wo."),
    ("jacobian_axis", "x Wq Wk", "In the softmax derivative the sum of p·dp runs over the queries instead of the keys."),
    ("no_scale_dk no_query_path", "x Wk", "The keys' gradient lacks 1/sqrt(d), and the input gradient leaves out the query path."),
)
def causal_mha(f):
    H, d = 2, 3
    scale = 1 / math.sqrt(H * d if "width_scale" in f else d)

    def split(z):
        return z.reshape(len(z), H, d).transpose(1, 0, 2)

    def join(z):
        return z.transpose(1, 0, 2).reshape(z.shape[1], H * d)

    def run(x, Wq, Wk, Wv):
        q, k, v = split(x @ Wq.T), split(x @ Wk.T), split(x @ Wv.T)
        s = q @ k.transpose(0, 2, 1) * scale
        allowed = np.tril(np.ones((len(x), len(x)), dtype=bool))
        p = softmax(s) * allowed if "mask_after" in f else softmax(np.where(allowed, s, -np.inf))
        o = p @ v
        return q, k, v, p, o.reshape(len(x), H * d) if "merge" in f else join(o)

    def forward(x, Wq, Wk, Wv, Wo):
        return run(x, Wq, Wk, Wv)[-1] @ Wo.T

    def backward(dy, x, Wq, Wk, Wv, Wo):
        q, k, v, p, o = run(x, Wq, Wk, Wv)
        do = split(dy @ Wo)
        dp = do @ v.transpose(0, 2, 1)
        ds = p * (dp - (p * dp).sum(axis=-2 if "jacobian_axis" in f else -1, keepdims=True))
        dq = join(ds @ k * scale)
        dk = join(ds.transpose(0, 2, 1) @ q * (1 if "no_scale_dk" in f else scale))
        dv = join(p.transpose(0, 2, 1) @ do)
        dx = dk @ Wk + dv @ Wv
        if "no_query_path" not in f:
            dx = dx + dq @ Wq
        return {"x": dx, "Wq": dq.T @ x, "Wk": dk.T @ x, "Wv": dv.T @ x, "Wo": dy.T @ o}

    return forward, backward


def linear_attention_twin(x, K, V):
    q, k = F.elu(x) + 1, F.elu(K) + 1
    return q @ (k.T @ V) / (q @ k.sum(0))[:, None]


@family(lambda: linear_attention_twin, dict(x=(4, 3), params=dict(K=(5, 3), V=(5, 7))),
    ("den_constant", "x K", "The normalising denominator of linear attention is held constant in the gradients of queries and keys."),
    ("mean_keys", "y x K V", "The normaliser uses the mean of φ(k) over the keys instead of the sum, forward and backward alike."),
    ("elu_slope dv_unnormalised", "x V", "The derivative of elu + 1 at the queries is taken as exp(z) for positive z too, and the gradient of the values is not divided by the normaliser."),
)
def linear_attention(f):
    def phi(z):
        return np.where(z > 0, z + 1, np.exp(np.minimum(z, 0)))

    def dphi(z):
        return np.where(z > 0, 1.0, np.exp(np.minimum(z, 0)))

    def total(k):
        return k.mean(axis=0) if "mean_keys" in f else k.sum(axis=0)

    def forward(x, K, V):
        q, k = phi(x), phi(K)
        return q @ (k.T @ V) / (q @ total(k))[:, None]

    def backward(dy, x, K, V):
        q, k = phi(x), phi(K)
        kv, z = k.T @ V, (q @ total(k))[:, None]
        y = q @ kv / z
        dnum = dy / z
        dz = -(dy * y).sum(axis=1, keepdims=True) / z
        if "den_constant" in f:
            dz = 0 * dz
        dq = dnum @ kv.T + dz * total(k)
        dk = V @ dnum.T @ q + (dz * q).sum(axis=0) / (len(K) if "mean_keys" in f else 1)
        dV = k @ (q.T @ (dy if "dv_unnormalised" in f else dnum))
        return {"x": dq * (np.exp(x) if "elu_slope" in f else dphi(x)), "K": dk * dphi(K), "V": dV}

    return forward, backward


def rope_twin(x):
    T, D = x.shape
    t = torch.arange(T, dtype=x.dtype)[:, None] * 100.0 ** (-torch.arange(D // 2, dtype=x.dtype) * 2 / D)
    a, b = x[:, : D // 2], x[:, D // 2 :]
    return torch.cat([a * t.cos() - b * t.sin(), a * t.sin() + b * t.cos()], 1)


@family(lambda: rope_twin, dict(x=(5, 8)),
    ("same_rotation", "x", "The gradient is rotated by +θ like the input, although the transposed rotation turns by −θ."),
    ("half_exponent", "y x", "The frequencies are base^(−i/d) instead of base^(−2i/d)."),
    ("interleaved", "y x", "The pairs that are rotated are neighbours (2i, 2i+1) instead of (i, i + d/2)."),
)
def rope(f):
    def angles(x):
        T, D = x.shape
        position = np.arange(T) + (1 if "from_one" in f else 0)
        return position[:, None] * 100.0 ** (-np.arange(D // 2) * (1 if "half_exponent" in f else 2) / D)

    def turn(x, t):
        h = x.shape[1] // 2
        if "interleaved" in f:
            a, b = x[:, 0::2], x[:, 1::2]
            return np.stack([a * np.cos(t) - b * np.sin(t), a * np.sin(t) + b * np.cos(t)], axis=2).reshape(x.shape)
        a, b = x[:, :h], x[:, h:]
        return np.concatenate([a * np.cos(t) - b * np.sin(t), a * np.sin(t) + b * np.cos(t)], axis=1)

    def forward(x):
        return turn(x, angles(x))

    def backward(dy, x):
        return turn(dy, angles(x) if "same_rotation" in f else -angles(x))

    return forward, backward


def qk_norm_twin(x, K, V, log_scale):
    q = x * torch.rsqrt((x * x).sum(1, keepdim=True) + 1e-6)
    k = K * torch.rsqrt((K * K).sum(1, keepdim=True) + 1e-6)
    return torch.softmax(log_scale.exp() * (q @ k.T), 1) @ V


@family(lambda: qk_norm_twin, dict(x=(4, 3), params=dict(K=(5, 3), V=(5, 6), log_scale=(1,))),
    ("no_exp", "log_scale", "The gradient is taken for the scale itself, not for its logarithm: the factor exp(log_scale) is missing."),
    ("k_axis", "y x K V log_scale", "The keys are normalised over the key axis (columns) instead of over their features."),
    ("no_exp q_norm_constant", "x log_scale", "The queries' norm is held constant, and the factor exp(log_scale) is missing in the gradient of log_scale."),
)
def qk_norm_attention(f):
    def unit(z, axis):
        n = np.sqrt((z * z).sum(axis=axis, keepdims=True) + 1e-6)
        return z / n, n

    def run(x, K, log_scale):
        q, nq = unit(x, 1)
        k, nk = unit(K, 0 if "k_axis" in f else 1)
        c = q @ k.T
        return q, nq, k, nk, c, softmax(np.exp(log_scale) * c)

    def forward(x, K, V, log_scale):
        return run(x, K, log_scale)[-1] @ V

    def backward(dy, x, K, V, log_scale):
        q, nq, k, nk, c, p = run(x, K, log_scale)
        dp = dy @ V.T
        ds = p * (dp - (p * dp).sum(axis=1, keepdims=True))
        dlog = np.array([(ds * c).sum()]) * (1 if "no_exp" in f else np.exp(log_scale))
        ds = ds * np.exp(log_scale)
        dq, dk = ds @ k, ds.T @ q
        dx = dq / nq if "q_norm_constant" in f else (dq - q * (q * dq).sum(axis=1, keepdims=True)) / nq
        dK = (dk - k * (k * dk).sum(axis=0 if "k_axis" in f else 1, keepdims=True)) / nk
        return {"x": dx, "K": dK, "V": p.T @ dy, "log_scale": dlog}

    return forward, backward


REL = 2


def relative_twin(x, B):
    d = torch.arange(6)[None, :] - torch.arange(4)[:, None]
    return torch.softmax(x + B[d.clamp(-REL, REL) + REL], -1)


@family(lambda: relative_twin, dict(x=(3, 4, 6), params=dict(B=(5,))),
    ("overwrite", "B", "Entries of the bias table that are used several times get only the last contribution (assignment by index instead of accumulation)."),
    ("query_minus_key", "y x B", "The relative distance is taken as query minus key instead of key minus query."),
)
def relative_bias_softmax(f):
    d = np.arange(6)[None, :] - np.arange(4)[:, None]
    index = np.clip(-d if "query_minus_key" in f else d, -REL, REL) + REL

    def forward(x, B):
        return softmax(x + B[index])

    def backward(dy, x, B):
        p = softmax(x + B[index])
        ds = p * (1 - p) * dy if "sigmoid_like" in f else p * (dy - (dy * p).sum(axis=-1, keepdims=True))
        summed = ds.mean(axis=0) if "batch_mean" in f else ds.sum(axis=0)
        dB = np.zeros_like(B)
        if "overwrite" in f:
            dB[index] = summed
        else:
            np.add.at(dB, index, summed)
        return {"x": ds, "B": dB}

    return forward, backward


# ---------------------------------------------------------------- normalisations


@dataclass(frozen=True)
class GroupNorm:
    faults: frozenset
    groups: int = 2
    channels: int = 6
    eps: float = 1e-5

    def init(self, rng):
        return {"weight": rng.normal(size=self.channels), "bias": rng.normal(size=self.channels)}

    def _stats(self, x):
        f = self.faults
        N, C, L = x.shape
        g = x.reshape(N, self.groups, C // self.groups, L)
        axes = (3,) if "per_channel" in f else (2, 3)
        mean = g.mean(axis=axes, keepdims=True)
        var = g.var(axis=axes, keepdims=True, ddof=1 if "unbiased" in f else 0)
        r = 1 / np.sqrt(var + self.eps)
        return ((g - mean) * r).reshape(x.shape), r, axes

    def forward(self, params, x):
        h, _, _ = self._stats(x)
        return h * params["weight"][:, None] + params["bias"][:, None], x

    def input_gradient(self, params, x, dy):
        f = self.faults
        h, r, axes = self._stats(x)
        shape = (x.shape[0], self.groups, -1, x.shape[2])
        dh = (dy * params["weight"][:, None]).reshape(shape)
        h = h.reshape(shape)
        m1 = dh.mean(axis=axes, keepdims=True)
        m2 = (dh * h).mean(axis=axes, keepdims=True)
        if "unbiased" in f:
            n = h.shape[2] * h.shape[3]
            m2 = m2 * n / (n - 1)
        if "no_mean_path" in f:
            m1 = 0
        if "dy_in_mean" in f:
            m1 = dy.reshape(shape).mean(axis=axes, keepdims=True)
        return ((dh - m1 - h * m2) * r).reshape(x.shape)

    def parameter_gradients(self, params, x, dy):
        h, _, _ = self._stats(x)
        return {"weight": (dy * (x if "raw_x" in self.faults else h)).sum(axis=(0, 2)), "bias": dy.sum(axis=(0, 2))}


@family(lambda: nn.GroupNorm(2, 6).double(), dict(x=(3, 6, 5)),
    ("per_channel", "y x weight", "Mean and variance are taken per channel (instance norm) instead of over all channels of the group."),
    ("unbiased", "y x weight", "The variance is divided by n − 1 instead of n, consistently in both passes."),
    ("dy_in_mean", "x", "In the input gradient the subtracted mean is that of dy, where it should be that of dy · weight."),
    ("no_mean_path raw_x", "x weight", "The path through the mean is missing in the input gradient, and the gradient of the weight multiplies by the raw input instead of the normalised one."),
)
def group_norm(f):
    return GroupNorm(faults=f)


def batch_norm_twin(x, gain, shift):
    return F.batch_norm(x, None, None, gain, shift, training=True, eps=1e-3)


@family(lambda: batch_norm_twin, dict(x=(4, 3, 5), params=dict(gain=(3,), shift=(3,))),
    ("eps_outside", "y x gain", "Epsilon is added to the standard deviation instead of to the variance under the root (the backward follows)."),
    ("gain_batch_mean", "gain shift", "The gradients of gain and shift are averaged over the batch axis."),
    ("half_var", "x", "The variance path of the input gradient has the wrong constant: the factor 2 of the square is lost, so it is half as large."),
)
def batch_norm_train(f):
    def stats(x):
        axes = (0,) if "batch_axis_only" in f else (0, 2)
        c = x - x.mean(axis=axes, keepdims=True)
        var = (c * c).mean(axis=axes, keepdims=True)
        s = np.sqrt(var) + 1e-3 if "eps_outside" in f else np.sqrt(var + 1e-3)
        return axes, c, var, s

    def forward(x, gain, shift):
        _, c, _, s = stats(x)
        return gain[:, None] * c / s + shift[:, None]

    def backward(dy, x, gain, shift):
        axes, c, var, s = stats(x)
        dh = dy * gain[:, None]
        ds = -(dh * c).mean(axis=axes, keepdims=True) / s**2
        dvar = ds / (np.sqrt(var) if "eps_outside" in f else s)
        if "half_var" in f:
            dvar = dvar / 2
        if "std_constant" in f:
            dvar = 0 * dvar
        dx = dh / s - (dh / s).mean(axis=axes, keepdims=True) + dvar * c
        over = (lambda z: z.mean(axis=0).sum(axis=-1)) if "gain_batch_mean" in f else (lambda z: z.sum(axis=(0, 2)))
        return {"x": dx, "gain": over(dy * c / s), "shift": over(dy)}

    return forward, backward


def grn_twin(x, gamma, beta):
    g = torch.sqrt((x * x).sum(1, keepdim=True) + 1e-6)
    return gamma * (x * (g / (g.mean(-1, keepdim=True) + 1e-3))) + beta + x


@family(lambda: grn_twin, dict(x=(3, 4, 5), params=dict(gamma=(5,), beta=(5,))),
    ("mean_constant", "x", "The mean of the channel norms in the denominator is held constant."),
    ("gamma_plain_x", "gamma", "The gradient of gamma is dy · x without the response factor."),
)
def global_response_norm(f):
    axis = -1 if "norm_axis" in f else 1

    def run(x):
        g = np.sqrt((x * x).sum(axis=axis, keepdims=True) + 1e-6)
        m = g.mean(axis=1 if axis == -1 else -1, keepdims=True) + 1e-3
        return g, m

    def forward(x, gamma, beta):
        g, m = run(x)
        return gamma * (x * (g / m)) + beta + x

    def backward(dy, x, gamma, beta):
        g, m = run(x)
        dxn = dy * gamma
        dn = (dxn * x).sum(axis=axis, keepdims=True)
        other = 1 if axis == -1 else -1
        dg = dn / m
        if "mean_constant" not in f:
            dg = dg - (dn * g).sum(axis=other, keepdims=True) / m**2 / x.shape[other]
        dx = dxn * g / m + dg * x / g
        if "no_residual" not in f:
            dx = dx + dy
        dgamma = dy * x if "gamma_plain_x" in f else dy * x * g / m
        return {"x": dx, "gamma": dgamma.sum(axis=(0, 1)), "beta": dy.sum(axis=(0, 1))}

    return forward, backward


def weight_norm_twin(x, v, g, b):
    return x @ (g[:, None] * v / v.norm(dim=1, keepdim=True)).T + b


@family(lambda: weight_norm_twin, dict(x=(4, 3), params=dict(v=(5, 3), g=(5,), b=(5,))),
    ("frobenius", "y x v g", "The direction is divided by the norm of the whole matrix instead of the norm of each row."),
    ("raw_v", "g", "The gradient of g uses v instead of the unit vector v/‖v‖."),
    ("no_projection dx_without_norm", "x v", "The norm of v is held constant in the gradient of v, and the input gradient multiplies by g·v without dividing by the norm."),
)
def weight_norm_linear(f):
    def norm(v):
        return np.sqrt((v * v).sum(axis=None if "frobenius" in f else 1, keepdims=True))

    def forward(x, v, g, b):
        return x @ (g[:, None] * v / norm(v)).T + b

    def backward(dy, x, v, g, b):
        n = norm(v)
        u = v / n
        dw = dy.T @ x
        du = dw if "no_gain" in f else g[:, None] * dw
        dv = du / n
        if "no_projection" not in f:
            dv = dv - u * (u * du).sum(axis=None if "frobenius" in f else 1, keepdims=True) / n
        dg = (dw * (v if "raw_v" in f else u)).sum(axis=1)
        w = g[:, None] * (v if "dx_without_norm" in f else u)
        return {"x": dy @ w, "v": dv, "g": dg, "b": dy.sum(axis=0)}

    return forward, backward


# ---------------------------------------------------------------- gates and activations


def swiglu_twin(x, W1, W2, W3):
    return (F.silu(x @ W1.T) * (x @ W2.T)) @ W3.T


@family(lambda: swiglu_twin, dict(x=(4, 3), params=dict(W1=(5, 3), W2=(5, 3), W3=(6, 5))),
    ("silu_product_rule", "x W1", "The derivative of SiLU lacks the term σ(z): only z·σ(z)(1−σ(z)) is kept."),
    ("branches_swapped", "y x W1 W2 W3", "SiLU is applied to the linear branch W2 instead of the gate W1."),
    ("no_gate_path pre_activation", "x W3", "The input gradient lacks the gate's path, and the gradient of W3 uses the gate before its activation."),
)
def swiglu(f):
    def run(x, W1, W2):
        a, b = x @ W1.T, x @ W2.T
        if "branches_swapped" in f:
            a, b = b, a
        return a, b, sigmoid(a)

    def forward(x, W1, W2, W3):
        a, b, s = run(x, W1, W2)
        return (a * s * b) @ W3.T, (x, W1, W2, W3, a, b, s)

    def backward(dy, cache):
        x, W1, W2, W3, a, b, s = cache
        dh = dy @ W3
        slope = a * s * (1 - s) + (0 if "silu_product_rule" in f else s)
        da, db = dh * b * slope, dh * a * s
        if "branches_swapped" in f:
            da, db = db, da
        dx = db @ W2
        if "no_gate_path" not in f:
            dx = dx + da @ W1
        hidden = a * b if "pre_activation" in f else a * s * b
        return {"x": dx, "W1": da.T @ x, "W2": db.T @ x, "W3": dy.T @ hidden}

    return forward, backward


def snake_twin(x, alpha):
    return x + torch.sin(alpha * x) ** 2 / alpha


@family(lambda: snake_twin, dict(x=(4, 5), params=dict(alpha=np.array([0.7, -1.3, 2.1, 0.4, 1.6]))),
    ("alpha_one_path", "alpha", "The gradient of alpha has only the path through 1/alpha; the path through sin(alpha x) is missing."),
    ("no_two alpha_sign", "x alpha", "The factor 2 of sin² is lost in the input gradient, and the 1/alpha² term of the gradient of alpha has the wrong sign."),
)
def snake(f):
    def forward(x, alpha):
        return x + np.sin(alpha * x) ** 2 / alpha

    def backward(dy, x, alpha):
        s, c = np.sin(alpha * x), np.cos(alpha * x)
        dx = dy * (1 + (1 if "no_two" in f else 2) * s * c * (alpha if "double_alpha" in f else 1))
        inner = 0 if "alpha_one_path" in f else 2 * s * c * x / alpha
        outer = s * s / alpha**2
        da = inner + outer if "alpha_sign" in f else inner - outer
        return {"x": dx, "alpha": (dy * da).sum(axis=0)}

    return forward, backward


def prelu_twin(x, a):
    return F.prelu(x, a)


@family(lambda: prelu_twin, dict(x=(3, 4, 5), params=dict(a=(4,))),
    ("both_sides", "a", "The gradient of the slope sums dy·x over all elements, not only over the negative ones."),
    ("dy_mask", "x", "In the input gradient the mask is taken from the sign of dy instead of the sign of x."),
)
def prelu(f):
    def forward(x, a):
        return np.where(x > 0, x, a[:, None] * x)

    def backward(dy, x, a):
        slope = np.where((dy if "dy_mask" in f else x) > 0, 1.0, 0.0 if "relu_grad" in f else a[:, None] + 0 * x)
        return {"x": dy * slope, "a": (dy * (x if "both_sides" in f else np.minimum(x, 0))).sum(axis=(0, 2))}

    return forward, backward


@family(lambda: lambda x: F.gelu(x, approximate="tanh"), dict(x=(4, 6)),
    ("no_three", "x", "The derivative of 0.044715 x³ is taken as 0.044715 x²: the factor 3 is missing."),
    ("pi_half", "y x", "The constant is sqrt(π/2) instead of sqrt(2/π), in both passes."),
    ("digits", "y x", "The constant is mistyped: 0.044175 instead of 0.044715, in both passes."),
)
def gelu_tanh(f):
    c = math.sqrt(math.pi / 2) if "pi_half" in f else math.sqrt(2 / math.pi)

    cubic = 0.044175 if "digits" in f else 0.044715

    def forward(x):
        return 0.5 * x * (1 + np.tanh(c * (x + cubic * x**3)))

    def backward(dy, x):
        t = np.tanh(c * (x + cubic * x**3))
        inner = c * (1 + (1 if "no_three" in f else 3) * cubic * x**2)
        return dy * (0.5 * (1 + t) + (1 if "no_half" in f else 0.5) * x * (1 - t**2) * inner)

    return forward, backward


# ---------------------------------------------------------------- convolution and pooling


@dataclass(frozen=True)
class Conv1d:
    faults: frozenset
    stride: int = 2
    padding: int = 1
    dilation: int = 2

    def init(self, rng):
        return {"weight": rng.normal(size=(4, 2, 3)), "bias": rng.normal(size=4)}

    def _columns(self, x):
        """(N, C, K, out)"""
        p, s, d = self.padding, self.stride, self.dilation
        if "swapped" in self.faults:
            s, d = 1, 2
        xp = np.pad(x, ((0, 0), (0, 0), (p, p)))
        out = (xp.shape[2] - d * 2 - 1) // s + 1
        if "swapped" in self.faults:
            out = (xp.shape[2] - self.dilation * 2 - 1) // self.stride + 1
        start = np.arange(out) * s
        return np.stack([xp[:, :, start + k * d] for k in range(3)], axis=2)

    def forward(self, params, x):
        w = params["weight"]
        if "flipped" in self.faults:
            w = w[:, :, ::-1]
        return np.einsum("ock,nckl->nol", w, self._columns(x)) + params["bias"][:, None], x

    def input_gradient(self, params, x, dy):
        f, w = self.faults, params["weight"]
        p, s, d = self.padding, self.stride, self.dilation
        dxp = np.zeros((x.shape[0], x.shape[1], x.shape[2] + 2 * p), dtype=dy.dtype)
        for k in range(3):
            for t in range(dy.shape[2]):
                at = t * s + (k * d if "no_dilation" not in f else k)
                value = dy[:, :, t] @ w[:, :, k]
                if "last_wins" in f:
                    dxp[:, :, at] = value
                else:
                    dxp[:, :, at] = dxp[:, :, at] + value
        if "crop" in f:
            return dxp[:, :, : x.shape[2]]
        return dxp[:, :, p : p + x.shape[2]]

    def parameter_gradients(self, params, x, dy):
        db = dy.sum(axis=0).mean(axis=-1) if "bias_position_mean" in self.faults else dy.sum(axis=(0, 2))
        return {"weight": np.einsum("nol,nckl->ock", dy, self._columns(x)), "bias": db}


@family(lambda: nn.Conv1d(2, 4, 3, stride=2, padding=1, dilation=2).double(), dict(x=(3, 2, 11)),
    ("no_dilation", "x", "The input gradient scatters the kernel taps without the dilation."),
    ("last_wins", "x", "Overlapping windows overwrite one another in the input gradient instead of adding up."),
    ("flipped crop", "y x", "The kernel is flipped in the forward pass, and the input gradient is cropped wrongly, shifted by the padding."),
)
def conv1d(f):
    return Conv1d(faults=f)


def causal_depthwise_twin(x, w):
    z = F.conv1d(F.pad(x.transpose(1, 2), (2, 0)), w[:, None, :], groups=4).transpose(1, 2)
    return F.silu(z)


@family(lambda: causal_depthwise_twin, dict(x=(2, 7, 4), params=dict(w=(4, 3))),
    ("anticausal", "y x w", "The padding is put at the end, so that the output sees the future instead of the past."),
    ("dx_correlates", "x", "The input gradient correlates in the causal direction again instead of the transposed one."),
    ("silu_at_output", "x w", "The derivative of SiLU is taken at its output instead of at the pre-activation."),
)
def causal_depthwise_conv(f):
    def shifted(x, k):
        """x delayed by k steps, zeros before."""
        T = x.shape[1]
        if "anticausal" in f:
            return np.concatenate([x[:, k:], np.zeros_like(x[:, :k])], axis=1)
        return np.concatenate([np.zeros_like(x[:, :k]), x[:, : T - k]], axis=1)

    def pre(x, w):
        if "anticausal" in f:
            return sum(w[:, k] * shifted(x, k) for k in range(3))
        return sum(w[:, 2 - k] * shifted(x, k) for k in range(3))

    def forward(x, w):
        z = pre(x, w)
        return z * sigmoid(z)

    def backward(dy, x, w):
        z = pre(x, w)
        if "silu_at_output" in f:
            z = z * sigmoid(z)
        s = sigmoid(z)
        dz = dy * (s + z * s * (1 - s))
        T = x.shape[1]
        dx, dw = 0, []
        for k in range(3):
            tap = w[:, k] if "anticausal" in f else w[:, 2 - k]
            ahead = np.concatenate([dz[:, k:], np.zeros_like(dz[:, :k])], axis=1)
            behind = np.concatenate([np.zeros_like(dz[:, :k]), dz[:, : T - k]], axis=1)
            dx = dx + tap * (behind if ("anticausal" in f or "dx_correlates" in f) else ahead)
            dw.append((dz * shifted(x, k)).sum(axis=(0, 1)))
        order = dw if "anticausal" in f else dw[::-1]
        return {"x": dx, "w": np.stack(order, axis=1)}

    return forward, backward


def gem_twin(x, p):
    return (x**p).mean(-1) ** (1 / p)


@family(lambda: gem_twin, dict(x=lambda rng: rng.uniform(0.2, 2.0, (3, 4, 7)), params=dict(p=np.array([2.7]))),
    ("no_root_path", "p", "The gradient of p lacks the path through the outer exponent 1/p, that is the term −log(mean)/p²."),
    ("sum_not_mean", "y x p", "The powers are summed instead of averaged before the root."),
    ("no_outer", "x", "The outer power's derivative is forgotten: the factor mean^(1/p − 1) is missing in the input gradient."),
)
def gem_pool(f):
    def pooled(x, p):
        return (x**p).sum(axis=-1, keepdims=True) / (1 if "sum_not_mean" in f else x.shape[-1])

    def forward(x, p):
        return (pooled(x, p) ** (1 / p))[..., 0]

    def backward(dy, x, p):
        m = pooled(x, p)
        L = 1 if ("sum_not_mean" in f or "no_count" in f) else x.shape[-1]
        n = 1 if "sum_not_mean" in f else x.shape[-1]
        d = dy[..., None]
        outer = 1 if "no_outer" in f else m ** (1 / p - 1)
        dx = d * outer * x ** (p - 1) / L
        y = m ** (1 / p)
        dp = (x**p * np.log(x)).sum(axis=-1, keepdims=True) / n / m / p
        if "no_root_path" not in f:
            dp = dp - np.log(m) / p**2
        return {"x": dx, "p": np.array([(d * y * dp).sum()])}

    return forward, backward


def attention_pool_twin(x, w):
    T = x.shape[1]
    lengths = torch.arange(x.shape[0]) % (T - 1) + 2
    s = (x @ w).masked_fill(torch.arange(T)[None, :] >= lengths[:, None], -float("inf"))
    return (torch.softmax(s, 1)[..., None] * x).sum(1)


@family(lambda: attention_pool_twin, dict(x=(3, 5, 4), params=dict(w=(4,))),
    ("no_score_path", "x", "The input gradient treats the pooling weights as constants: the path through the scores is missing."),
    ("padding_zero", "y x w", "Padded positions get the score 0 instead of −∞, so they still take part in the softmax."),
    ("jacobian_unweighted", "x w", "In the softmax derivative the plain mean of dp is subtracted instead of the p-weighted one."),
)
def attention_pool(f):
    def weights(x, w):
        T = x.shape[1]
        pad = np.arange(T)[None, :] >= (np.arange(len(x)) % (T - 1) + 2)[:, None]
        return softmax(np.where(pad, 0.0 if "padding_zero" in f else -np.inf, x @ w), axis=1), pad

    def forward(x, w):
        return np.einsum("nt,ntd->nd", weights(x, w)[0], x)

    def backward(dy, x, w):
        p, pad = weights(x, w)
        dp = np.einsum("nd,ntd->nt", dy, x)
        centre = dp.mean(axis=1, keepdims=True) if "jacobian_unweighted" in f else (p * dp).sum(axis=1, keepdims=True)
        ds = p * (dp - centre)
        if "padding_zero" in f:
            ds = np.where(pad, 0, ds)
        dx = p[..., None] * dy[:, None, :]
        if "no_score_path" not in f:
            dx = dx + ds[..., None] * w
        return {"x": dx, "w": np.einsum("nt,ntd->d", ds, x)}

    return forward, backward


@family(lambda: lambda x: F.avg_pool1d(x, 3, stride=2, padding=1, count_include_pad=False), dict(x=(2, 4, 9)),
    ("count_pad_backward", "x", "The input gradient divides by 3 at the borders, where the window holds only two elements."),
    ("stride_one", "x", "The gradient is spread back as if the stride were 1 instead of 2."),
)
def avg_pool(f):
    def windows(L):
        starts = range(-1, L + 1 - 3 + 1, 2)
        return [(max(s, 0), min(s + 3, L)) for s in starts]

    def forward(x):
        return np.stack([x[:, :, a:b].sum(axis=-1) / (3 if "count_pad" in f else b - a) for a, b in windows(x.shape[2])], axis=2)

    def backward(dy, x):
        dx = np.zeros(x.shape, dtype=dy.dtype)
        for t, (a, b) in enumerate(windows(x.shape[2])):
            n = 3 if ("count_pad" in f or "count_pad_backward" in f) else b - a
            if "stride_one" in f:
                a, b = max(t - 1, 0), max(t - 1, 0) + (b - a)
            dx[:, :, a:b] = dx[:, :, a:b] + dy[:, :, t, None] / n
        return dx

    return forward, backward


# ---------------------------------------------------------------- recurrence and scans


def rnn_twin(x, W, U, b, h0):
    h, out = h0.expand(len(x), -1), []
    for t in range(x.shape[1]):
        h = torch.tanh(x[:, t] @ W.T + h @ U.T + b)
        out.append(h)
    return torch.stack(out, 1)


@family(lambda: rnn_twin, dict(x=(3, 5, 2), params=dict(W=(4, 2), U=(4, 4), b=(4,), h0=(4,))),
    ("u_transposed", "x W U b h0", "The state's gradient is sent back through Uᵀ: the recurrent matrix is transposed the wrong way."),
    ("no_time", "x W U b h0", "No gradient flows back through time: each step sees only its own output."),
    ("slope_of_pre", "x W U b h0", "tanh is differentiated as 1 − z² with the pre-activation z instead of the output."),
    ("same_state overwritten_bias", "U b", "The recurrent weights' gradient uses h_t for h_(t−1), and the bias gradient keeps only one time step."),
)
def rnn_bptt(f):
    def run(x, W, U, b, h0):
        h = [np.broadcast_to(h0, (len(x), 4))]
        z = []
        for t in range(x.shape[1]):
            z.append(x[:, t] @ W.T + h[-1] @ U.T + b)
            h.append(np.tanh(z[-1]))
        return z, h

    def forward(x, W, U, b, h0):
        z, h = run(x, W, U, b, h0)
        return np.stack(h[1:], axis=1), (x, W, U, b, z, h)

    def backward(dy, cache):
        x, W, U, b, z, h = cache
        dW, dU, db = 0 * W, 0 * U, 0 * b
        dx = [None] * x.shape[1]
        dh = np.zeros_like(dy[:, 0])
        for t in reversed(range(x.shape[1])):
            total = dy[:, t] + (0 if "no_time" in f else dh)
            dz = total * (1 - (z[t] if "slope_of_pre" in f else h[t + 1]) ** 2)
            dx[t] = dz @ W
            dW = dW + dz.T @ x[:, t]
            dU = dU + dz.T @ h[t + 1 if "same_state" in f else t]
            db = dz.sum(axis=0) if "overwritten_bias" in f else db + dz.sum(axis=0)
            dh = dz @ (U.T if "u_transposed" in f else U)
        return {"x": np.stack(dx, axis=1), "W": dW, "U": dU, "b": db, "h0": dh.sum(axis=0)}

    return forward, backward


def mingru_twin(x, Wz, Wh):
    z, c = torch.sigmoid(x @ Wz.T), x @ Wh.T
    h, out = torch.zeros_like(z[:, 0]), []
    for t in range(x.shape[1]):
        h = (1 - z[:, t]) * h + z[:, t] * c[:, t]
        out.append(h)
    return torch.stack(out, 1)


@family(lambda: mingru_twin, dict(x=(2, 6, 3), params=dict(Wz=(4, 3), Wh=(4, 3))),
    ("gates_swapped", "y x Wz Wh", "The update gate is swapped: z keeps the old state and 1 − z takes the candidate."),
    ("carry_z", "x Wz Wh", "The state's gradient is carried back with z instead of 1 − z."),
    ("no_old_state sigmoid_once", "x Wz", "The gate's gradient uses the candidate alone instead of candidate minus old state, and the sigmoid's derivative is taken as z instead of z(1 − z)."),
)
def min_gru(f):
    def run(x, Wz, Wh):
        z, c = sigmoid(x @ Wz.T), x @ Wh.T
        h = [np.zeros_like(z[:, 0])]
        for t in range(x.shape[1]):
            u, v = (z[:, t], 1 - z[:, t]) if "gates_swapped" in f else (1 - z[:, t], z[:, t])
            h.append(u * h[-1] + v * c[:, t])
        return z, c, h

    def forward(x, Wz, Wh):
        return np.stack(run(x, Wz, Wh)[2][1:], axis=1)

    def backward(dy, x, Wz, Wh):
        z, c, h = run(x, Wz, Wh)
        carry = np.zeros_like(dy[:, 0])
        da, dc = [], []
        for t in reversed(range(x.shape[1])):
            dh = dy[:, t] + carry
            zt = z[:, t]
            old = 0 if "no_old_state" in f else h[t]
            slope = zt if "sigmoid_once" in f else zt * (1 - zt)
            if "gates_swapped" in f:
                da.append(dh * (old - c[:, t]) * slope)
                dc.append(dh * (1 - zt))
                carry = dh * zt
            else:
                da.append(dh * (c[:, t] - old) * slope)
                dc.append(dh * zt)
                carry = dh * (zt if "carry_z" in f else 1 - zt)
        da, dc = np.stack(da[::-1], axis=1), np.stack(dc[::-1], axis=1)
        return {"x": da @ Wz + dc @ Wh, "Wz": np.einsum("nto,nti->oi", da, x), "Wh": np.einsum("nto,nti->oi", dc, x)}

    return forward, backward


def ssm_twin(x, A_log, B, C, D, dt_bias):
    dt = F.softplus(dt_bias)[:, None]
    a, b = torch.exp(-torch.exp(A_log) * dt), dt * B
    h, out = torch.zeros(len(x), 3, 4, dtype=x.dtype), []
    for t in range(x.shape[1]):
        h = a * h + b * x[:, t, :, None]
        out.append((h * C).sum(-1) + D * x[:, t])
    return torch.stack(out, 1)


@family(lambda: ssm_twin, dict(x=(2, 5, 3), params=dict(A_log=(3, 4), B=(3, 4), C=(3, 4), D=(3,), dt_bias=(3,))),
    ("dt_through_a_only", "dt_bias", "The step size's gradient runs through exp(A·dt) only; its path through dt·B is missing."),
    ("euler_b", "y x A_log B C dt_bias", "The input matrix is not discretised: B is used instead of dt·B, in both passes."),
    ("no_skip a_not_log", "x A_log", "The skip path D·x is left out of the input gradient, and the gradient of A_log lacks the factor −exp(A_log)."),
)
def diagonal_ssm(f):
    def run(x, A_log, B, dt_bias):
        dt = np.log1p(np.exp(dt_bias))[:, None]
        a = np.exp(-np.exp(A_log) * dt)
        b = B + 0 * dt if "euler_b" in f else dt * B
        h = [np.zeros((len(x), 3, 4), dtype=x.dtype)]
        for t in range(x.shape[1]):
            h.append(a * h[-1] + b * x[:, t, :, None])
        return dt, a, b, h

    def forward(x, A_log, B, C, D, dt_bias):
        h = run(x, A_log, B, dt_bias)[-1]
        return np.stack([(h[t + 1] * C).sum(axis=-1) + D * x[:, t] for t in range(x.shape[1])], axis=1)

    def backward(dy, x, A_log, B, C, D, dt_bias):
        dt, a, b, h = run(x, A_log, B, dt_bias)
        dh = np.zeros_like(h[0])
        da, db, dC, dx = 0 * A_log, 0 * B, 0 * C, [None] * x.shape[1]
        for t in reversed(range(x.shape[1])):
            d = dy[:, t, :, None]
            dC = dC + (d * h[t + 1]).sum(axis=0)
            dh = dh * a + d * C
            da = da + (dh * h[t + 1 if "new_state" in f else t]).sum(axis=0)
            db = db + (dh * x[:, t, :, None]).sum(axis=0)
            dx[t] = (dh * b).sum(axis=-1)
        dx = np.stack(dx, axis=1)
        if "no_skip" not in f:
            dx = dx + D * dy
        dA = da * a * dt * (1 if "a_not_log" in f else -np.exp(A_log))
        ddt = (da * a * -np.exp(A_log)).sum(axis=1)
        if not f & {"dt_through_a_only", "euler_b"}:
            ddt = ddt + (db * B).sum(axis=1)
        dB = db if "euler_b" in f else db * dt
        return {"x": dx, "A_log": dA, "B": dB, "C": dC, "D": (dy * x).sum(axis=(0, 1)),
                "dt_bias": ddt * (1 if "no_softplus" in f else sigmoid(dt_bias))}

    return forward, backward


def rglru_twin(x, lam, w):
    r = torch.sigmoid(w * x)
    a = torch.exp(-2.0 * F.softplus(lam) * r)
    h, out = torch.zeros_like(x[:, 0]), []
    for t in range(x.shape[1]):
        h = a[:, t] * h + torch.sqrt(1 - a[:, t] ** 2) * x[:, t]
        out.append(h)
    return torch.stack(out, 1)


@family(lambda: rglru_twin, dict(x=(3, 5, 4), params=dict(lam=(4,), w=(4,))),
    ("no_sqrt_path", "x lam w", "The decay's gradient lacks its path through the input scale sqrt(1 − a²)."),
    ("linear_scale", "y x lam w", "The input is scaled by 1 − a instead of sqrt(1 − a²), in both passes."),
)
def rg_lru(f):
    def run(x, lam, w):
        r = sigmoid(w * x)
        sp = np.log1p(np.exp(lam))
        a = np.exp(-2.0 * sp * r)
        s = 1 - a if "linear_scale" in f else np.sqrt(1 - a**2)
        h = [np.zeros_like(x[:, 0])]
        for t in range(x.shape[1]):
            h.append(a[:, t] * h[-1] + s[:, t] * x[:, t])
        return r, sp, a, s, h

    def forward(x, lam, w):
        return np.stack(run(x, lam, w)[-1][1:], axis=1)

    def backward(dy, x, lam, w):
        r, sp, a, s, h = run(x, lam, w)
        carry = np.zeros_like(dy[:, 0])
        da, dx = [], []
        for t in reversed(range(x.shape[1])):
            dh = dy[:, t] + carry
            ds = dh * x[:, t]
            through = -ds if "linear_scale" in f else -ds * a[:, t] / s[:, t]
            da.append(dh * h[t] + (0 if "no_sqrt_path" in f else through))
            dx.append(dh * s[:, t])
            carry = dh * a[:, t]
        da, dx = np.stack(da[::-1], axis=1), np.stack(dx[::-1], axis=1)
        dr = da * a * -2.0 * sp
        dg = dr * r * (1 - r)
        if "gate_skipped" not in f:
            dx = dx + dg * w
        return {"x": dx, "lam": (da * a * -2.0 * r).sum(axis=(0, 1)) * sigmoid(lam), "w": (dg * x).sum(axis=(0, 1))}

    return forward, backward


# ---------------------------------------------------------------- embeddings, experts, graphs


def ids_of(x):
    N, T = x.shape[:2]
    return (np.arange(N * T).reshape(N, T) * 5 % 11) % 7


def embedding_twin(x, E, P):
    return F.embedding(torch.as_tensor(ids_of(x)), E, padding_idx=0) * 2.0 + P + x


@family(lambda: embedding_twin, dict(x=(3, 5, 4), params=dict(E=(7, 4), P=(5, 4))),
    ("scale_all", "y", "The positional embedding is scaled by sqrt(d) as well in the forward pass."),
    ("pad_learns no_scale_back", "E", "The padding row gets a gradient, and the factor sqrt(d) is missing in the embedding's gradient."),
)
def token_embedding(f):
    def forward(x, E, P):
        return (E[ids_of(x)] + P) * 2.0 + x if "scale_all" in f else E[ids_of(x)] * 2.0 + P + x

    def backward(dy, x, E, P):
        ids, dE = ids_of(x), np.zeros_like(E)
        part = dy if "no_scale_back" in f else dy * 2.0
        if "overwrite" in f:
            dE[ids.ravel()] = part.reshape(-1, 4)
        else:
            np.add.at(dE, ids.ravel(), part.reshape(-1, 4))
        if "pad_learns" not in f:
            dE[0] = 0
        return {"x": dy, "E": dE, "P": dy.sum(axis=0)}

    return forward, backward


def moe_twin(x, G, W):
    top, index = (x @ G.T).topk(2, dim=1)
    p = torch.zeros(len(x), 4, dtype=x.dtype).scatter(1, index, torch.softmax(top, 1))
    return torch.einsum("ne,noe->no", p, torch.einsum("ni,eoi->noe", x, W))


@family(lambda: moe_twin, dict(x=lambda rng: rng.normal(size=(6, 3)), params=dict(G=(4, 3), W=(4, 5, 3))),
    ("softmax_first", "y x G W", "The two largest of the softmax over all experts are used without renormalising; the softmax should run over the chosen two."),
    ("unweighted_experts", "W", "The experts' gradient is not weighted with the gate probabilities of the chosen experts, only masked."),
)
def top2_moe(f):
    def gates(x, G):
        s = x @ G.T
        chosen = s >= np.sort(s, axis=1)[:, -2:-1]
        p = softmax(s) if "softmax_first" in f else softmax(np.where(chosen, s, -np.inf))
        return p, chosen

    def forward(x, G, W):
        p, chosen = gates(x, G)
        return np.einsum("ne,eoi,ni->no", p * chosen, W, x)

    def backward(dy, x, G, W):
        p, chosen = gates(x, G)
        used = p * chosen
        out = np.einsum("eoi,ni->neo", W, x)
        dp = np.einsum("no,neo->ne", dy, out) * chosen
        ds = p * (dp - (p * dp).sum(axis=1, keepdims=True))
        dx = np.einsum("ne,no,eoi->ni", used, dy, W)
        if "no_gate_path" not in f:
            dx = dx + ds @ G
        weight = chosen * 1.0 if "unweighted_experts" in f else used
        return {"x": dx, "G": ds.T @ x, "W": np.einsum("ne,no,ni->eoi", weight, dy, x)}

    return forward, backward


ADJACENCY = np.array([[0, 1, 0, 0, 1, 0], [1, 0, 1, 0, 0, 0], [0, 0, 0, 1, 0, 1],
                      [0, 0, 1, 0, 0, 0], [1, 1, 0, 1, 0, 0], [0, 0, 0, 1, 0, 0]], dtype=float)


def gcn_twin(x, W, b):
    a = torch.as_tensor(ADJACENCY, dtype=x.dtype) + torch.eye(6, dtype=x.dtype)
    d = a.sum(1).rsqrt()
    return torch.relu(d[:, None] * a * d @ x @ W + b)


@family(lambda: gcn_twin, dict(x=lambda rng: rng.normal(size=(6, 3)), params=dict(W=(3, 4), b=(4,))),
    ("no_loops", "y x W b", "The self-loops are forgotten: A is normalised instead of A + I."),
    ("not_transposed no_relu_bias", "x b", "The input gradient propagates with Â instead of Âᵀ on a directed graph, and the bias gradient lacks the ReLU mask."),
)
def gcn(f):
    def propagator():
        a = ADJACENCY if "no_loops" in f else ADJACENCY + np.eye(6)
        d = a.sum(axis=1)
        return a / d[:, None] if "random_walk" in f else a / np.sqrt(np.outer(d, d))

    def forward(x, W, b):
        return np.maximum(propagator() @ x @ W + b, 0)

    def backward(dy, x, W, b):
        P = propagator()
        dz = dy * (P @ x @ W + b > 0)
        dx = (P if "not_transposed" in f else P.T) @ dz @ W.T
        return {"x": dx, "W": (P @ x).T @ dz, "b": (dy if "no_relu_bias" in f else dz).sum(axis=0)}

    return forward, backward


def gat_twin(x, W, a, c):
    h = x @ W.T
    e = F.leaky_relu((h @ a)[:, None] + (h @ c)[None, :], 0.2)
    mask = torch.as_tensor(ADJACENCY + np.eye(6)) > 0
    return torch.softmax(e.masked_fill(~mask, -float("inf")), 1) @ h


@family(lambda: gat_twin, dict(x=lambda rng: rng.normal(size=(6, 3)), params=dict(W=(4, 3), a=(4,), c=(4,))),
    ("roles", "y x W a c", "The vectors of receiver and sender are swapped in the scores, in both passes alike."),
    ("column_softmax", "y x W a c", "The attention is normalised over the receiving nodes instead of over each node's neighbours."),
    ("no_leaky", "x W a c", "The derivative of the leaky ReLU is forgotten."),
)
def gat(f):
    axis = 0 if "column_softmax" in f else 1

    def run(x, W, a, c):
        h = x @ W.T
        if "roles" in f:
            a, c = c, a
        e = (h @ a)[:, None] + (h @ c)[None, :]
        s = np.where(e > 0, e, 0.2 * e)
        return h, e, softmax(np.where(ADJACENCY + np.eye(6) > 0, s, -np.inf), axis=axis)

    def forward(x, W, a, c):
        h, _, p = run(x, W, a, c)
        return p @ h

    def backward(dy, x, W, a, c):
        h, e, p = run(x, W, a, c)
        dp = dy @ h.T
        ds = p * (dp - (p * dp).sum(axis=axis, keepdims=True))
        de = ds if "no_leaky" in f else ds * np.where(e > 0, 1, 0.2)
        row, column = de.sum(axis=1), de.sum(axis=0)
        dh = p.T @ dy
        first, second = (c, a) if "roles" in f else (a, c)
        if "values_only" not in f:
            dh = dh + np.outer(row, first) + np.outer(column, second)
        da, dc = h.T @ row, h.T @ column
        if "roles" in f:
            da, dc = dc, da
        return {"x": dh @ W, "W": dh.T @ x, "a": da, "c": dc}

    return forward, backward


# ---------------------------------------------------------------- kernels, interactions, blocks


def rbf_twin(x, centre, log_gamma):
    return torch.exp(-log_gamma.exp() * ((x[:, None] - centre) ** 2).sum(-1))


@family(lambda: rbf_twin, dict(x=(4, 3), params=dict(centre=(5, 3), log_gamma=(5,))),
    ("not_squared", "y x centre log_gamma", "The kernel uses the distance instead of its square, in both passes."),
    ("no_two centre_sign", "x centre", "The factor 2 of the squared distance is missing in both gradients, and the gradient of the centres has the wrong sign besides."),
)
def rbf_layer(f):
    def run(x, centre, log_gamma):
        d = x[:, None] - centre
        r = (d * d).sum(axis=-1)
        if "not_squared" in f:
            r = np.sqrt(r)
        return d, r, np.exp(-np.exp(log_gamma) * r)

    def forward(x, centre, log_gamma):
        return run(x, centre, log_gamma)[-1]

    def backward(dy, x, centre, log_gamma):
        d, r, y = run(x, centre, log_gamma)
        dr = -dy * y * np.exp(log_gamma)
        if "not_squared" in f:
            g = (dr / r)[..., None] * d
        else:
            g = (1 if "no_two" in f else 2) * dr[..., None] * d
        return {"x": g.sum(axis=1), "centre": g.sum(axis=0) * (1 if "centre_sign" in f else -1), "log_gamma": (dr * r).sum(axis=0)}

    return forward, backward


def student_twin(x, mu):
    q = (1 + ((x[:, None] - mu) ** 2).sum(-1) / 3) ** -2.0
    return q / q.sum(1, keepdim=True)


@family(lambda: student_twin, dict(dtype="float32", x=(4, 3), params=dict(mu=(5, 3))),
    ("no_normaliser", "x mu", "The normaliser is held constant in both gradients."),
    ("exponent", "x mu", "The exponent (α+1)/2 = 2 of the Student kernel is lost when it is differentiated."),
)
def student_assignment(f):
    axis = 0 if "axis" in f else 1

    def run(x, mu):
        d = x[:, None] - mu
        base = 1 + (d * d).sum(axis=-1) / 3
        q = base**-2.0
        return d, base, q, q.sum(axis=axis, keepdims=True)

    def forward(x, mu):
        _, _, q, total = run(x, mu)
        return q / total

    def backward(dy, x, mu):
        d, base, q, total = run(x, mu)
        p = q / total
        dq = dy / total if "no_normaliser" in f else (dy - (dy * p).sum(axis=axis, keepdims=True)) / total
        dbase = dq * -(1 if "exponent" in f else 2) * base**-3.0
        g = dbase[..., None] * 2 * d / 3
        return {"x": g.sum(axis=1), "mu": -g.sum(axis=0)}

    return forward, backward


def fm_twin(x, w, V):
    return x @ w + 0.5 * ((x @ V) ** 2 - (x**2) @ (V**2)).sum(1)


@family(lambda: fm_twin, dict(x=(4, 6), params=dict(w=(6,), V=(6, 3))),
    ("no_half", "y", "The factor ½ of the pairwise term is missing in the forward pass."),
    ("self_pairs", "x V", "The gradients do not take off the self-interaction x_i²·V_i² (the diagonal pairs)."),
)
def factorisation_machine(f):
    def forward(x, w, V):
        pairs = (x @ V) ** 2 - (x**2) @ (V if "sum_of_squares" in f else V**2)
        return x @ w + (1 if "no_half" in f else 0.5) * pairs.sum(axis=1)

    def backward(dy, x, w, V):
        d = dy[:, None]
        s = x @ V
        dx, dV = w + s @ V.T, x.T @ (d * s)
        if "self_pairs" not in f:
            dx = dx - x * (V**2).sum(axis=1)
            dV = dV - V * (d * x**2).sum(axis=0)[:, None]
        return {"x": d * dx, "w": x.T @ dy, "V": dV}

    return forward, backward


def cross_twin(x, w, b):
    return x * (x @ w)[:, None] + b + x


@family(lambda: cross_twin, dict(dtype="float32", x=(4, 5), params=dict(w=(5,), b=(5,))),
    ("first_factor", "x", "The input gradient differentiates x·(xᵀw) only through the first factor."),
    ("elementwise_w", "w", "The gradient of w is dy·x² element by element, without the inner product (dy·x) of the row."),
)
def cross_layer(f):
    def forward(x, w, b):
        return x * (x @ w)[:, None] + b + x

    def backward(dy, x, w, b):
        inner = (dy * x).sum(axis=1, keepdims=True)
        dx = dy * (x @ w)[:, None]
        if "no_identity" not in f:
            dx = dx + dy
        if "first_factor" not in f:
            dx = dx + inner * w
        dw = (dy * x * x).sum(axis=0) if "elementwise_w" in f else (inner * x).sum(axis=0)
        return {"x": dx, "w": dw, "b": dy.sum(axis=0)}

    return forward, backward


def se_twin(x, W1, W2):
    return x * torch.sigmoid(torch.relu(x.mean(2) @ W1.T) @ W2.T)[..., None]


@family(lambda: se_twin, dict(x=(3, 4, 6), params=dict(W1=(2, 4), W2=(4, 2))),
    ("mean_as_sum", "x", "The squeeze's mean is sent back without dividing by the number of positions."),
    ("gate_sum_missing", "W1 W2 x", "The gate's gradient is the mean over the positions of dy·x instead of the sum."),
    ("no_squeeze_path no_relu", "x W1", "The input gradient treats the channel weights as constants, and the ReLU is forgotten in the gradient of W1."),
)
def squeeze_excite(f):
    def run(x, W1, W2):
        m = x.mean(axis=2)
        z = m @ W1.T
        r = np.maximum(z, 0)
        return m, z, r, sigmoid(r @ W2.T)

    def forward(x, W1, W2):
        return x * run(x, W1, W2)[-1][..., None]

    def backward(dy, x, W1, W2):
        m, z, r, s = run(x, W1, W2)
        ds = (dy * x).mean(axis=2) if "gate_sum_missing" in f else (dy * x).sum(axis=2)
        da = ds * s * (1 - s)
        dz = da @ W2 if "no_relu" in f else da @ W2 * (z > 0)
        dx = dy * s[..., None]
        if "no_squeeze_path" not in f:
            dx = dx + (dz @ W1)[..., None] / (1 if "mean_as_sum" in f else x.shape[2])
        return {"x": dx, "W1": dz.T @ m, "W2": da.T @ r}

    return forward, backward


def squash_twin(x):
    n = (x * x).sum(-1, keepdim=True)
    return n / (1 + n) * x / torch.sqrt(n + 1e-6)


@family(lambda: squash_twin, dict(x=(3, 4, 5)),
    ("one_plus_length", "y x", "The squashing factor is n/(1+‖s‖) with the length instead of its square in the denominator."),
)
def capsule_squash(f):
    axis = 1 if "wrong_axis" in f else -1

    def scale(x):
        """Scale c(n) and its derivative by n = ‖s‖²."""
        n = (x * x).sum(axis=axis, keepdims=True)
        r = np.sqrt(n + 1e-6)
        if "one_plus_length" in f:
            below, dbelow = 1 + r, 0.5 / r
        else:
            below, dbelow = 1 + n, 1
        return n / (below * r), 1 / (below * r) - n * dbelow / (below**2 * r) - 0.5 * n / (below * r**3)

    def forward(x):
        return scale(x)[0] * x

    def backward(dy, x):
        c, dc = scale(x)
        if "length_constant" in f:
            return dy * c
        return dy * c + 2 * x * dc * (dy * x).sum(axis=axis, keepdims=True)

    return forward, backward


def planar_twin(x, u, w, b):
    a = torch.tanh(x @ w + b)
    logdet = torch.log(torch.abs(1 + (1 - a**2) * (u @ w)))
    return torch.cat([x + a[:, None] * u, logdet[:, None]], 1)


@family(lambda: planar_twin, dict(x=(5, 3), params=dict(u=np.array([0.6, -0.3, 0.8]), w=np.array([0.5, 0.9, 0.4]), b=(1,))),
    ("second_derivative", "x w b", "tanh'' is taken as −2a instead of −2a(1 − a²)."),
    ("det_sign", "y u w x b", "The determinant is taken as 1 − tanh'·uᵀw, with a minus, in both passes."),
)
def planar_flow(f):
    sign = -1 if "det_sign" in f else 1

    def forward(x, u, w, b):
        a = np.tanh(x @ w + b)
        return np.concatenate([x + a[:, None] * u, np.log(np.abs(1 + sign * (1 - a**2) * (u @ w)))[:, None]], axis=1)

    def backward(dy, x, u, w, b):
        a = np.tanh(x @ w + b)
        k = u @ w
        dz, dl = dy[:, :-1], dy[:, -1]
        slope = 1 - a**2
        ddet = dl / (1 + sign * slope * k) * sign
        dslope, dk = ddet * k, ddet * slope
        second = -2 * a if "second_derivative" in f else -2 * a * slope
        ds = dz @ u * slope + (0 if "slope_constant" in f else dslope * second)
        du = a @ dz + dk.sum() * w
        dw = ds @ x + (0 if "no_dot_path" in f else dk.sum() * u)
        return {"x": dz + ds[:, None] * w, "u": du, "w": dw, "b": np.array([ds.sum()])}

    return forward, backward


def midpoint_twin(x, W):
    h = 0.3
    return x + h * torch.tanh((x + h / 2 * torch.tanh(x @ W.T)) @ W.T)


@family(lambda: midpoint_twin, dict(x=(4, 3), params=dict(W=(3, 3))),
    ("full_step", "y x W", "The inner step goes the whole step h instead of h/2."),
    ("w_once", "W", "The gradient of W counts only its use in the second slope; the first use is forgotten."),
    ("w_transposed", "x", "The input gradient multiplies by Wᵀ at the last matrix product, a transposed matrix."),
)
def midpoint_step(f):
    h = 0.3
    inner = h if "full_step" in f else h / 2

    def run(x, W):
        k1 = np.tanh(x @ W.T)
        m = x + inner * k1
        return k1, m, np.tanh(m @ W.T)

    def forward(x, W):
        k1, m, k2 = run(x, W)
        return x + h * k2, {"x": x, "W": W, "k1": k1, "m": m, "k2": k2}

    def backward(dy, cache):
        x, W, k1, m, k2 = (cache[name] for name in ("x", "W", "k1", "m", "k2"))
        d2 = h * dy * (1 - k2**2)
        dm = d2 @ W
        d1 = inner * dm * (1 - k1**2)
        if "euler_back" in f:
            d1 = 0 * d1
        dW = d2.T @ m + (0 if "w_once" in f else d1.T @ x)
        return {"x": dy + dm + d1 @ (W.T if "w_transposed" in f else W), "W": dW}

    return forward, backward


def reparameterised_twin(x, log_var, W):
    noise = torch.as_tensor(np.sin(np.arange(x.numel()) * 1.7).reshape(x.shape), dtype=x.dtype)
    return (x + torch.exp(0.5 * log_var) * noise) @ W.T


@family(lambda: reparameterised_twin, dict(x=(4, 3), params=dict(log_var=(3,), W=(5, 3))),
    ("variance", "y log_var W", "The noise is scaled with the variance exp(log_var) instead of the standard deviation, in both passes."),
    ("mean_only", "W", "The gradient of W uses the mean instead of the sampled latent vector."),
)
def reparameterisation(f):
    power = 1.0 if "variance" in f else 0.5

    def latent(x, log_var):
        noise = np.sin(np.arange(x.size) * 1.7).reshape(x.shape)
        return np.exp(power * log_var) * noise

    def forward(x, log_var, W):
        return (x + latent(x, log_var)) @ W.T

    def backward(dy, x, log_var, W):
        dz = dy @ W
        e = latent(x, log_var)
        return {"x": dz, "log_var": (1 if "no_half" in f else power) * (dz * e).sum(axis=0),
                "W": dy.T @ (x if "mean_only" in f else x + e)}

    return forward, backward


def lse_pool_twin(x, t):
    return torch.logsumexp(t * x, 1) / t - math.log(5) / t


@family(lambda: lse_pool_twin, dict(x=(3, 5, 4), params=dict(t=np.array([1.3]))),
    ("t_inner_only", "t", "The gradient of the sharpness has only its path inside the exponentials; the 1/t in front is held constant."),
    ("extra_t", "x", "The input gradient keeps the inner factor t although the 1/t in front cancels it."),
)
def log_mean_exp_pool(f):
    def forward(x, t):
        m = (t * x).max(axis=1, keepdims=True)
        s = np.log(np.exp(t * x - m).sum(axis=1)) + m[:, 0]
        return s / t if "no_log_n" in f else (s - math.log(5)) / t

    def backward(dy, x, t):
        m = (t * x).max(axis=1, keepdims=True)
        e = np.exp(t * x - m)
        p = e / e.sum(axis=1, keepdims=True)
        y = (np.log(e.sum(axis=1)) + m[:, 0] - math.log(5)) / t
        dt = (p * x).sum(axis=1) / t
        if "t_inner_only" not in f:
            dt = dt - y / t
        return {"x": dy[:, None] * p * (t if "extra_t" in f else 1), "t": np.array([(dy * dt).sum()])}

    return forward, backward
