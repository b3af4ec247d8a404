"""Wrong derivations, written blind. CASES are wrong, RIGHTS are the same code with no switch on."""
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np
import torch
import torch.nn.functional as F


@dataclass
class Case:
    name: str
    kind: str
    ours: Callable[[], Any]
    twin: Callable[[], Any]
    kwargs: dict
    differ: set
    truth: str


CASES: list = []
RIGHTS: list = []
OUT, DX, LOSS, DL = "output", "input gradient", "loss", "loss gradient"


def G(*names):
    return {f"gradient of {n}" for n in names}


def family(name, kind, make, twin, kwargs, faults):
    RIGHTS.append(Case(f"{name}/right", kind, lambda: make(frozenset()), twin, dict(kwargs), set(), ""))
    for switch, differ, truth in faults:
        on = frozenset(switch.split("+"))
        CASES.append(Case(f"{name}/{switch}", kind, lambda on=on: make(on), twin, dict(kwargs), set(differ), truth))


def sig(z):
    return 1 / (1 + np.exp(-z))


def softmax(z, axis=-1):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


# ------------------------------------------------------------------ LayerNorm
def layernorm(on):
    eps = 1e-5

    def forward(x, weight, bias):
        xc = x - x.mean(-1, keepdims=True)
        var = (xc**2).sum(-1, keepdims=True) / (x.shape[-1] - 1 if "ddof" in on else x.shape[-1])
        rstd = 1 / (np.sqrt(var) + eps) if "eps_outside" in on else 1 / np.sqrt(var + eps)
        xhat = xc * rstd
        y = xhat * weight + bias
        return y, (xhat, rstd, weight, y)

    def backward(dy, cache):
        xhat, rstd, weight, y = cache
        g = dy * weight
        inner = dy if "no_gain_in_projection" in on else g
        dx = rstd * (g - g.mean(-1, keepdims=True) - xhat * (inner * xhat).mean(-1, keepdims=True))
        dw = (dy * (y if "y_for_xhat" in on else xhat)).sum((0, 1))
        return {"x": dx, "weight": dw, "bias": dy.sum((0, 1))}
    return forward, backward


family("layernorm", "layer", layernorm, lambda: lambda x, weight, bias: F.layer_norm(x, (7,), weight, bias, 1e-5),
       dict(x=(5, 4, 7), params={"weight": (7,), "bias": (7,)}), [
    ("ddof", {OUT, DX} | G("weight"), "The variance divides by D − 1 (unbiased) where layer norm divides by D."),
    ("eps_outside", {OUT, DX} | G("weight"), "Epsilon is added to the standard deviation, outside the square root, not to the variance."),
    ("no_gain_in_projection", {DX}, "The projection term uses dy where dy times the gain belongs: mean(dy·x̂) instead of mean(dy·γ·x̂)."),
    ("y_for_xhat", G("weight"), "The gain's gradient multiplies dy by the layer's output y instead of the normalised input x̂ (wrong cached value)."),
])


# ------------------------------------------------------------------ causal self-attention
def attention(on):
    def forward(x, Wq, Wk, Wv):
        Q, K, V = x @ Wq.T, x @ Wk.T, x @ Wv.T
        c = 1 / np.sqrt(x.shape[-1] if "scale_by_model_width" in on else Q.shape[-1])
        S = c * Q @ K.swapaxes(1, 2)
        T = x.shape[1]
        keep = np.tril(np.ones((T, T), bool))
        P = softmax(np.where(keep, S, -np.inf))
        if "mask_after_softmax" in on:
            P = np.where(keep, softmax(S), 0.0)
        return P @ V, (x, Q, K, V, P, c, Wq, Wk, Wv)

    def backward(dy, cache):
        x, Q, K, V, P, c, Wq, Wk, Wv = cache
        dV = P.swapaxes(1, 2) @ dy
        dP = dy @ V.swapaxes(1, 2)
        dS = P * (dP - (dP * P).sum(1 if "softmax_sum_axis" in on else 2, keepdims=True))
        dQ = c * dS @ K
        dK = c * (dS if "dk_untransposed" in on else dS.swapaxes(1, 2)) @ Q
        if "dk_unscaled" in on:
            dK = dK / c
        dx = dQ @ Wq + dK @ Wk
        if "no_value_path" not in on:
            dx = dx + dV @ Wv
        dW = lambda d: np.einsum("nto,nti->oi", d, x)
        return {"x": dx, "Wq": dW(dQ), "Wk": dW(dK), "Wv": dW(dV)}
    return forward, backward


def attention_twin():
    def f(x, Wq, Wk, Wv):
        Q, K, V = x @ Wq.T, x @ Wk.T, x @ Wv.T
        S = Q @ K.transpose(1, 2) / Wq.shape[0] ** 0.5
        keep = torch.tril(torch.ones(x.shape[1], x.shape[1], dtype=torch.bool))
        return torch.softmax(S.masked_fill(~keep, -torch.inf), -1) @ V
    return f


family("attention", "layer", attention, attention_twin,
       dict(x=(3, 5, 4), params={"Wq": (6, 4), "Wk": (6, 4), "Wv": (7, 4)}), [
    ("scale_by_model_width", {OUT, DX} | G("Wq", "Wk", "Wv"), "The scores are scaled by 1/√(model width) = 1/√4 where 1/√(key width) = 1/√6 belongs."),
    ("mask_after_softmax", {OUT, DX} | G("Wq", "Wk", "Wv"), "The causal mask zeroes the weights after the softmax, so the rows no longer sum to 1; it belongs before, as −∞."),
    ("dk_untransposed", {DX} | G("Wk"), "The keys' gradient uses dS where its transpose over the two time axes belongs."),
    ("dk_unscaled+no_value_path", {DX} | G("Wk"), "Two faults: the 1/√d is forgotten in the keys' gradient, and the input gradient leaves out the path through the values."),
    ("softmax_sum_axis", {DX} | G("Wq", "Wk"), "The softmax derivative sums dP·P over the query axis instead of over the key axis."),
])


# ------------------------------------------------------------------ SwiGLU
def swiglu(on):
    def forward(x, W1, W2, W3):
        z1, z3 = x @ W1.T, x @ W3.T
        if "gate_swapped" in on:
            z1, z3 = z3, z1
        s = sig(z1)
        h = z1 * s * z3
        return h @ W2.T, (x, z1, z3, s, h, W1, W2, W3)

    def backward(dy, cache):
        x, z1, z3, s, h, W1, W2, W3 = cache
        dh = dy @ W2
        ds = s * (1 - s) if "sigmoid_derivative" in on else s + z1 * s * (1 - s)
        dz1 = dh * z3 * ds
        dz3 = dh * (z1 if "pre_activation_gate" in on else z1 * s)
        if "gate_swapped" in on:
            dz1, dz3 = dz3, dz1
        dW2 = dy.T @ (z1 * s if "dw2_no_up" in on else h)
        return {"x": dz1 @ W1 + dz3 @ W3, "W1": dz1.T @ x, "W2": dW2, "W3": dz3.T @ x}
    return forward, backward


family("swiglu", "layer", swiglu, lambda: lambda x, W1, W2, W3: (F.silu(x @ W1.T) * (x @ W3.T)) @ W2.T,
       dict(x=(6, 4), params={"W1": (7, 4), "W2": (5, 7), "W3": (7, 4)}), [
    ("gate_swapped", {OUT, DX} | G("W1", "W2", "W3"), "The SiLU is applied to the up projection W3 and not to the gate projection W1: the two branches are swapped."),
    ("sigmoid_derivative", {DX} | G("W1"), "The sigmoid's derivative σ(1−σ) is used where the SiLU's σ + zσ(1−σ) belongs."),
    ("pre_activation_gate+dw2_no_up", {DX} | G("W3", "W2"), "Two faults: the up branch's gradient multiplies by the gate's pre-activation z instead of silu(z), and the down projection's uses silu(z1) without the product with the up branch."),
])


# ------------------------------------------------------------------ tanh RNN
def rnn(on):
    def forward(x, Wx, Wh, b):
        h = np.zeros((x.shape[0], Wh.shape[0]), x.dtype)
        hs, zs = [h], []
        for t in range(x.shape[1]):
            z = x[:, t] @ Wx.T + h @ Wh.T + b
            h = np.tanh(z)
            zs.append(z)
            hs.append(h)
        return np.stack(hs[1:], 1), (x, hs, zs, Wx, Wh)

    def backward(dy, cache):
        x, hs, zs, Wx, Wh = cache
        dx, dWx, dWh, db = np.zeros_like(x), np.zeros_like(Wx), np.zeros_like(Wh), np.zeros_like(Wh[0])
        carry = 0.0
        for t in reversed(range(x.shape[1])):
            dh = dy[:, t] + carry
            dz = dh * (1 - (zs[t] if "square_of_z" in on else hs[t + 1]) ** 2)
            dx[:, t] = dz @ Wx
            dWx += dz.T @ x[:, t]
            dWh += dz.T @ hs[t + 1 if "current_state" in on else t]
            if "bias_last_step" in on:
                db = dz.sum(0) if t == x.shape[1] - 1 else db
            else:
                db = db + dz.sum(0)
            carry = 0.0 if "no_carry" in on else dz @ (Wh.T if "wh_transposed" in on else Wh)
        return {"x": dx, "Wx": dWx, "Wh": dWh, "b": db}
    return forward, backward


def rnn_twin():
    def f(x, Wx, Wh, b):
        h, out = x.new_zeros(x.shape[0], Wh.shape[0]), []
        for t in range(x.shape[1]):
            h = torch.tanh(x[:, t] @ Wx.T + h @ Wh.T + b)
            out.append(h)
        return torch.stack(out, 1)
    return f


family("rnn", "layer", rnn, rnn_twin, dict(x=(4, 5, 3), params={"Wx": (6, 3), "Wh": (6, 6), "b": (6,)}), [
    ("no_carry", {DX} | G("Wx", "Wh", "b"), "Nothing is carried back through the recurrence: ∂J/∂h_t holds only its own step's dy."),
    ("current_state", G("Wh"), "The recurrent weight's gradient uses h_t where the previous state h_{t−1} belongs (off by one step)."),
    ("wh_transposed", {DX} | G("Wx", "Wh", "b"), "The gradient carried to the previous step goes through Whᵀ where Wh belongs (dz Wh)."),
    ("bias_last_step+current_state", G("b", "Wh"), "Two faults: the bias's gradient keeps the last step only instead of the sum over steps, and the recurrent weight's uses h_t for h_{t−1}."),
])


# ------------------------------------------------------------------ causal depthwise convolution
def conv(on):
    def shift(x, k):  # x[t - k], zeros before the start
        y = np.zeros_like(x)
        y[:, k:] = x[:, :x.shape[1] - k]
        return y

    def back(x, k):   # x[t + k]
        y = np.zeros_like(x)
        y[:, :x.shape[1] - k] = x[:, k:]
        return y

    def forward(x, K):
        return sum(shift(x, k) * K[:, k] for k in range(K.shape[1])), (x, K)

    def backward(dy, cache):
        x, K = cache
        move = shift if "same_direction" in on else back
        dx = sum(move(dy, k) * K[:, k] for k in range(K.shape[1]))
        dK = np.stack([(dy * shift(x, k)).sum((0, 1)) for k in range(K.shape[1])], 1)
        return {"x": dx, "K": dK[:, ::-1] if "taps_flipped" in on else dK}
    return forward, backward


def conv_twin():
    def f(x, K):
        xp = F.pad(x.transpose(1, 2), (K.shape[1] - 1, 0))
        return F.conv1d(xp, K.flip(1)[:, None, :], groups=K.shape[0]).transpose(1, 2)
    return f


family("causal_conv", "layer", conv, conv_twin, dict(x=(5, 7, 4), params={"K": (4, 3)}), [
    ("same_direction", {DX}, "The input gradient shifts dy forward in time, as the forward does with x; it must read dy at t + k, not t − k."),
    ("taps_flipped", G("K"), "The kernel's gradient comes out with its taps in reversed order."),
])


# ------------------------------------------------------------------ rotary embedding
def rope(on):
    def cs(x):
        T, D = x.shape[1], x.shape[2]
        i = np.arange(D // 2)
        angle = np.arange(T)[:, None] * 10000.0 ** (-(i if "exponent" in on else 2 * i) / D)
        return np.cos(angle), np.sin(angle)

    def turn(x, c, s):
        h = x.shape[-1] // 2
        a, b = x[..., :h], x[..., h:]
        return np.concatenate([a * c - b * s, b * c + a * s], -1)

    def forward(x):
        return turn(x, *cs(x))

    def backward(dy, x):
        c, s = cs(x)
        return turn(dy, c, s if "not_inverted" in on else -s)
    return forward, backward


def rope_twin():
    def f(x):
        T, D = x.shape[1], x.shape[2]
        h = D // 2
        freq = 10000.0 ** (-torch.arange(0, D, 2, dtype=x.dtype) / D)
        ang = torch.arange(T, dtype=x.dtype)[:, None] * freq
        a, b = x[..., :h], x[..., h:]
        return torch.cat([a * ang.cos() - b * ang.sin(), b * ang.cos() + a * ang.sin()], -1)
    return f


family("rope", "layer", rope, rope_twin, dict(x=(3, 5, 8)), [
    ("not_inverted", {DX}, "The backward rotates dy by +angle, as the forward does; the transpose of a rotation is the rotation by −angle."),
    ("exponent", {OUT, DX}, "The frequencies are 10000^(−i/D) where 10000^(−2i/D) belongs."),
])


# ------------------------------------------------------------------ squeeze and excitation
def se(on):
    def forward(x, W1, W2):
        s = x.mean(2)
        r = np.maximum(s @ W1.T, 0)
        g = sig(r @ W2.T)
        return x * g[:, :, None], (x, s, r, g, W1, W2)

    def backward(dy, cache):
        x, s, r, g, W1, W2 = cache
        dg = (dy * x).mean(2) if "mean_over_length" in on else (dy * x).sum(2)
        du = dg * g * (1 - g)
        dr = (du @ W2) * (1 if "no_relu_mask" in on else r > 0)
        ds = dr @ W1
        dx = dy * g[:, :, None]
        if "no_gate_path" not in on:
            dx = dx + ds[:, :, None] / (1 if "pool_not_divided" in on else x.shape[2])
        return {"x": dx, "W1": dr.T @ s, "W2": du.T @ r}
    return forward, backward


family("squeeze_excite", "layer", se,
       lambda: lambda x, W1, W2: x * torch.sigmoid(torch.relu(x.mean(2) @ W1.T) @ W2.T)[:, :, None],
       dict(x=(3, 5, 7), params={"W1": (4, 5), "W2": (5, 4)}), [
    ("no_gate_path", {DX}, "The gate is held constant: the path from x through the pooled gate is left out of the input gradient."),
    ("pool_not_divided", {DX}, "The gradient through the average pool is not divided by the length."),
    ("mean_over_length+no_relu_mask", {DX} | G("W1", "W2"), "Two faults: the gate's gradient averages dy·x over the length where it must sum, and the ReLU's mask is missing in the excitation."),
])


# ------------------------------------------------------------------ weight-normalised linear
def weightnorm(on):
    def forward(x, v, g, b):
        n = np.sqrt((v**2).sum(1, keepdims=True))
        W = g[:, None] * v / n
        return x @ W.T + b, (x, v, g, n, W)

    def backward(dy, cache):
        x, v, g, n, W = cache
        dW = dy.T @ x
        u = v / n
        dg = (dW * (v if "dg_unnormalised" in on else u)).sum(1)
        dv = g[:, None] / n * dW
        if "norm_constant" not in on:
            inner = (dW * (v if "projection_unnormalised" in on else u)).sum(1, keepdims=True)
            dv = dv - g[:, None] / n * u * inner
        return {"x": dy @ W, "v": dv, "g": dg, "b": dy.sum(0)}
    return forward, backward


family("weightnorm", "layer", weightnorm,
       lambda: lambda x, v, g, b: x @ (g[:, None] * v / v.norm(dim=1, keepdim=True)).T + b,
       dict(x=(6, 4), params={"v": (5, 4), "g": (5,), "b": (5,)}), [
    ("norm_constant", G("v"), "‖v‖ is held constant in v's gradient: the projection term is missing."),
    ("dg_unnormalised+projection_unnormalised", G("g", "v"), "Two faults: g's gradient uses v where v/‖v‖ belongs, and so does the inner product of v's projection term."),
])


# ------------------------------------------------------------------ LoRA
def lora(on):
    alpha = 8.0

    def forward(x, W, A, B):
        scale = alpha / A.shape[0]
        u = x @ A.T
        return x @ W.T + scale * u @ B.T, (x, u, W, A, B, scale)

    def backward(dy, cache):
        x, u, W, A, B, scale = cache
        du = scale * dy @ B
        dx = dy @ W
        if "no_adapter_path" not in on:
            dx = dx + du @ A
        dA = du.T @ x
        return {"x": dx, "W": dy.T @ x, "A": dA / scale if "a_unscaled" in on else dA, "B": scale * dy.T @ u}
    return forward, backward


family("lora", "layer", lora, lambda: lambda x, W, A, B: x @ W.T + 8.0 / 3 * (x @ A.T) @ B.T,
       dict(x=(6, 5), params={"W": (4, 5), "A": (3, 5), "B": (4, 3)}), [
    ("no_adapter_path+a_unscaled", {DX} | G("A"), "Two faults: the input gradient leaves out the adapter's path, and A's gradient lacks the factor α/r."),
])


# ------------------------------------------------------------------ learned exponential moving average
def ema(on):
    def forward(x, a):
        al = sig(a)
        h, hs = np.zeros_like(x[:, 0]), []
        for t in range(x.shape[1]):
            hs.append(h)
            h = al * h + (1 - al) * x[:, t]
        return np.stack(hs[1:] + [h], 1), (x, np.stack(hs, 1), al)

    def backward(dy, cache):
        x, prev, al = cache
        dx, dal, carry = np.zeros_like(x), 0.0, 0.0
        for t in reversed(range(x.shape[1])):
            dh = dy[:, t] + carry
            dx[:, t] = (1 - al) * dh
            dal = dal + (dh * (prev[:, t] - (0 if "no_input_part" in on else x[:, t]))).sum(0)
            carry = al * dh
        return {"x": dx, "a": dal if "no_sigmoid" in on else dal * al * (1 - al)}
    return forward, backward


def ema_twin():
    def f(x, a):
        al = torch.sigmoid(a)
        h, out = torch.zeros_like(x[:, 0]), []
        for t in range(x.shape[1]):
            h = al * h + (1 - al) * x[:, t]
            out.append(h)
        return torch.stack(out, 1)
    return f


family("ema", "layer", ema, ema_twin, dict(x=(4, 6, 5), params={"a": (5,)}), [
    ("no_input_part", G("a"), "The decay's gradient forgets that α also stands in (1 − α)x_t: −x_t is missing."),
    ("no_sigmoid", G("a"), "The gradient stops at α = σ(a): the factor α(1 − α) is missing."),
])


# ------------------------------------------------------------------ BatchNorm2d, training mode
def batchnorm(on):
    eps = 1e-5

    def forward(x, weight, bias):
        ax = (0, 2, 3)
        m = x.mean(ax, keepdims=True)
        rstd = 1 / np.sqrt(x.var(ax, keepdims=True) + eps)
        xhat = (x - m) * rstd
        return xhat * weight[:, None, None] + bias[:, None, None], (xhat, rstd, weight)

    def backward(dy, cache):
        xhat, rstd, weight = cache
        ax = 0 if "batch_axis_only" in on else (0, 2, 3)
        g = dy * weight[:, None, None]
        sign = -1 if "projection_sign" in on else 1
        dx = g - g.mean(ax, keepdims=True) - sign * xhat * (g * xhat).mean(ax, keepdims=True)
        db = dy.mean((0, 2, 3)) if "bias_mean" in on else dy.sum((0, 2, 3))
        return {"x": dx * rstd, "weight": (dy * xhat).sum((0, 2, 3)), "bias": db}
    return forward, backward


family("batchnorm2d", "layer", batchnorm,
       lambda: lambda x, weight, bias: F.batch_norm(x, None, None, weight, bias, training=True, eps=1e-5),
       dict(x=(6, 3, 4, 5), params={"weight": (3,), "bias": (3,)}), [
    ("batch_axis_only", {DX}, "The two means in the input gradient run over the batch only; they must run over batch, height and width."),
    ("projection_sign+bias_mean", {DX} | G("bias"), "Two faults: the projection term's sign is wrong, and the bias's gradient is a mean where the sum belongs."),
])


# ------------------------------------------------------------------ radial basis functions
def rbf(on):
    def forward(x, C, s):
        d = x[:, None] - C
        r2 = (d**2).sum(2)
        k = np.exp(-s * r2)
        return k, (d, r2, k, s)

    def backward(dy, cache):
        d, r2, k, s = cache
        w = dy * k
        dd = -(1 if "no_two" in on else 2) * (w * s)[:, :, None] * d
        return {"x": dd.sum(1), "C": (1 if "center_sign" in on else -1) * dd.sum(0),
                "s": -(w * r2).sum(0)}
    return forward, backward


family("rbf", "layer", rbf, lambda: lambda x, C, s: torch.exp(-s * ((x[:, None] - C) ** 2).sum(2)),
       dict(x=(6, 3), params={"C": (5, 3), "s": (5,)}), [
    ("no_two", {DX} | G("C"), "The factor 2 from the square is missing in the derivative of the distance."),
    ("center_sign", G("C"), "The centres' gradient has the input's sign: the −1 of ∂(x − c)/∂c is missing."),
])


# ------------------------------------------------------------------ cosine classifier
def cosine(on):
    tau = 5.0

    def forward(x, W):
        nx, nw = np.sqrt((x**2).sum(1, keepdims=True)), np.sqrt((W**2).sum(1, keepdims=True))
        xh, wh = x / nx, W / nw
        return tau * xh @ wh.T, (xh, wh, nx, nw)

    def backward(dy, cache):
        xh, wh, nx, nw = cache
        gx, gw = tau * dy @ wh, tau * dy.T @ xh
        dx = (gx - xh * (gx * xh).sum(1, keepdims=True)) / nx
        px = (gw * wh).mean(1, keepdims=True) if "projection_mean" in on else (gw * wh).sum(1, keepdims=True)
        return {"x": dx, "W": (gw - wh * px) / nw}
    return forward, backward


family("cosine", "layer", cosine, lambda: lambda x, W: 5.0 * F.normalize(x, dim=1) @ F.normalize(W, dim=1).T,
       dict(x=(6, 5), params={"W": (4, 5)}), [
    ("projection_mean", G("W"), "The projection onto ŵ averages g·ŵ over the features where the sum (a dot product) belongs."),
])


# ================================================================== losses
class Loss:
    def __init__(self, on):
        self._on = on


class SmoothCE(Loss):
    def forward(self, output, target):
        e, K = 0.1, output.shape[1]
        N = len(output)
        hot = np.eye(K)[target]
        q = (1 - e) * hot + e / K
        if "k_minus_one" in self._on:
            q = (1 - e) * hot + e / (K - 1) * (1 - hot)
        p = softmax(output)
        z = output - output.max(1, keepdims=True)
        logp = z - np.log(np.exp(z).sum(1, keepdims=True))
        return -(q * logp).sum() / N, (p, hot if "hard_target" in self._on else q)

    def gradient(self, cache):
        p, q = cache
        return (p - q) / len(p)


family("smooth_ce", "loss", SmoothCE, lambda: torch.nn.CrossEntropyLoss(label_smoothing=0.1),
       dict(output=(6, 5), target="class"), [
    ("k_minus_one", {LOSS, DL}, "The smoothing mass ε is spread over the K − 1 wrong classes; torch spreads it over all K."),
    ("hard_target", {DL}, "The gradient subtracts the one-hot target where the smoothed target belongs."),
])


class Huber(Loss):
    def forward(self, output, target):
        d, e = 0.7, output - target
        a = np.abs(e)
        lin = d * (a - d / 2)
        return np.where(a <= d, e**2 / 2, lin).mean(), e

    def gradient(self, e):
        d = 0.7
        g = np.where(np.abs(e) <= d, e, np.sign(e) * (1 if "slope_one" in self._on else d))
        return g / (len(e) if "batch_only" in self._on else e.size)


family("huber", "loss", Huber, lambda: torch.nn.HuberLoss(delta=0.7), dict(output=(7, 4), target=(7, 4)), [
    ("slope_one", {DL}, "In the linear branch the gradient is ±1 where ±δ belongs."),
    ("batch_only", {DL}, "The gradient is divided by the batch size only; the loss is a mean over all N·D elements."),
])


class Clip(Loss):
    def forward(self, output, target):
        N = len(output)
        n = np.sqrt((output**2).sum(1, keepdims=True))
        a, b = output / n, target / np.sqrt((target**2).sum(1, keepdims=True))
        S = a @ b.T / 0.5
        R, C = softmax(S, 1), softmax(S, 0)
        i = np.arange(N)
        return -(np.log(R[i, i]).mean() + np.log(C[i, i]).mean()) / 2, (a, b, n, R, C)

    def gradient(self, cache):
        a, b, n, R, C = cache
        N = len(a)
        I = np.eye(N)
        dS = (R - I) / N if "rows_twice" in self._on else ((R - I) + (C - I)) / (2 * N)
        g = dS @ b / (1 if "no_temperature" in self._on else 0.5)
        if "norm_constant" in self._on:
            return g / n
        return (g - a * (g * a).sum(1, keepdims=True)) / n


def clip_twin():
    def f(output, target):
        S = F.normalize(output, dim=1) @ F.normalize(target, dim=1).T / 0.5
        i = torch.arange(len(S))
        return (F.cross_entropy(S, i) + F.cross_entropy(S.T, i)) / 2
    return f


family("clip", "loss", Clip, clip_twin, dict(output=(6, 4), target=(6, 4)), [
    ("rows_twice", {DL}, "The gradient takes only the row direction's softmax; the column direction (target to output) is forgotten."),
    ("no_temperature+norm_constant", {DL}, "Two faults: 1/τ is forgotten in the gradient, and the embedding's norm is held constant."),
])


class Distill(Loss):
    def forward(self, output, target):
        T = 3.0
        q, p = softmax(target / T), softmax(output / T)
        kl = p * np.log(p / q) if "reversed" in self._on else q * np.log(q / p)
        return T**2 * kl.sum() / len(output), (p, q)

    def gradient(self, cache):
        p, q = cache
        T = 3.0
        return (T**2 if "inner_t" in self._on else T) * (p - q) / len(p)


family("distill", "loss", Distill,
       lambda: lambda output, target: 9.0 * F.kl_div(F.log_softmax(output / 3.0, 1), F.softmax(target / 3.0, 1), reduction="batchmean"),
       dict(output=(6, 5), target=(6, 5)), [
    ("inner_t", {DL}, "The inner derivative 1/T of softmax(z/T) is forgotten: T² where T belongs."),
    ("reversed", {LOSS}, "The forward computes KL(student‖teacher) instead of KL(teacher‖student)."),
])


class Dice(Loss):
    def forward(self, output, target):
        p = sig(output)
        inter, den = (p * target).sum(), p.sum() + target.sum()
        if "no_two" in self._on:
            return 1 - (inter + 1) / (den + 1), (p, target, inter, den)
        return 1 - (2 * inter + 1) / (den + 1), (p, target, inter, den)

    def gradient(self, cache):
        p, t, inter, den = cache
        dp = -2 * t / (den + 1)
        if "denominator_constant" not in self._on:
            dp = dp + (2 * inter + 1) / (den + 1) ** 2
        return dp if "no_sigmoid" in self._on else dp * p * (1 - p)


def dice_twin():
    def f(output, target):
        p = torch.sigmoid(output)
        return 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)
    return f


def draw(rng):
    return rng.normal(size=(7, 5))


def bits(rng):
    return (rng.random((7, 5)) < 0.4).astype(float)


family("dice", "loss", Dice, dice_twin, dict(output=draw, target=bits), [
    ("denominator_constant", {DL}, "The denominator is held constant: the quotient rule's second term is missing."),
    ("no_two", {LOSS}, "The forward lacks the factor 2 on the intersection."),
])


class Focal(Loss):
    def forward(self, output, target):
        p = sig(output)
        pt = np.where(target == 1, p, 1 - p)
        return (-((1 - pt) ** 2) * np.log(pt)).mean(), (pt, target)

    def gradient(self, cache):
        pt, t = cache
        d = -((1 - pt) ** 2) / pt
        if "modulator_constant" not in self._on:
            d = d + 2 * (1 - pt) * np.log(pt)
        return d * pt * (1 - pt) * np.where(t == 1, 1, 1 if "no_flip" in self._on else -1) / pt.size


def focal_twin():
    def f(output, target):
        p = torch.sigmoid(output)
        pt = torch.where(target == 1, p, 1 - p)
        return (-((1 - pt) ** 2) * torch.log(pt)).mean()
    return f


family("focal", "loss", Focal, focal_twin, dict(output=draw, target=bits), [
    ("modulator_constant", {DL}, "The focusing factor (1 − p_t)² is held constant in the gradient."),
])


class GaussianNLL(Loss):
    def forward(self, output, target):
        D = target.shape[1]
        mu, s = output[:, :D], output[:, D:]
        e = target - mu
        return 0.5 * (s + e**2 * np.exp(-s)).mean(), (e, s)

    def gradient(self, cache):
        e, s = cache
        w = np.exp(-s / 2) if "std_for_variance" in self._on else np.exp(-s)
        dmu = -e * w
        ds = 0.5 * (1 - e**2 * np.exp(-s))
        return np.concatenate([dmu, ds], 1) / e.size


family("gaussian_nll", "loss", GaussianNLL,
       lambda: lambda output, target: 0.5 * (output[:, 3:] + (target - output[:, :3]) ** 2 * torch.exp(-output[:, 3:])).mean(),
       dict(output=(7, 6), target=(7, 3)), [
    ("std_for_variance", {DL}, "The mean's gradient divides the error by the standard deviation exp(s/2) where the variance exp(s) belongs."),
])


# ================================================================== update rules
@dataclass
class Adam:
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def init(self, theta):
        return {"m": np.zeros_like(theta), "v": np.zeros_like(theta), "t": 0}

    def update(self, theta, grad, state, learning_rate):
        on, t = self._on, state["t"] + 1
        m = self.beta1 * state["m"] + (1 - self.beta1) * grad
        v = self.beta2 * state["v"] + (1 - self.beta2) * grad**2
        mh, vh = m / (1 - self.beta1**t), v / (1 - self.beta2**t)
        if "second_uncorrected" in on:
            vh = v
        theta = theta - learning_rate * mh / (np.sqrt(vh) + self.eps)
        return theta, {"m": mh if "corrected_stored" in on else m, "v": v, "t": t}


@dataclass
class AdamW:
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.99
    eps: float = 1e-8

    def init(self, theta):
        return {"m": np.zeros_like(theta), "v": np.zeros_like(theta), "t": 0}

    def update(self, theta, grad, state, learning_rate):
        t = state["t"] + 1
        if "coupled" in self._on:
            grad = grad + self.weight_decay * theta
        m = self.beta1 * state["m"] + (1 - self.beta1) * grad
        v = self.beta2 * state["v"] + (1 - self.beta2) * grad**2
        step = learning_rate * (m / (1 - self.beta1**t)) / (np.sqrt(v / (1 - self.beta2**t)) + self.eps)
        if "coupled" not in self._on:
            theta = theta - learning_rate * self.weight_decay * theta
        return theta - step, {"m": m, "v": v, "t": t}


@dataclass
class Nesterov:
    momentum: float = 0.9
    nesterov: bool = True

    def init(self, theta):
        return {"u": np.zeros_like(theta)}

    def update(self, theta, grad, state, learning_rate):
        u = self.momentum * state["u"] + grad
        look = state["u"] if "old_buffer" in self._on else u
        return theta - learning_rate * (grad + self.momentum * look), {"u": u}


@dataclass
class Damped:
    momentum: float = 0.8
    dampening: float = 0.3

    def init(self, theta):
        return {"u": np.zeros_like(theta), "t": 0}

    def update(self, theta, grad, state, learning_rate):
        first = state["t"] == 0 and "damped_first" not in self._on
        u = self.momentum * state["u"] + (1 if first else 1 - self.dampening) * grad
        return theta - learning_rate * u, {"u": u, "t": state["t"] + 1}


@dataclass
class RMSprop:
    alpha: float = 0.9
    eps: float = 1e-3

    def init(self, theta):
        return {"v": np.zeros_like(theta)}

    def update(self, theta, grad, state, learning_rate):
        v = self.alpha * state["v"] + (1 - self.alpha) * grad**2
        den = np.sqrt(v + self.eps) if "eps_inside" in self._on else np.sqrt(v) + self.eps
        return theta - learning_rate * grad / den, {"v": v}


@dataclass
class Adadelta:
    rho: float = 0.9
    eps: float = 1e-6

    def init(self, theta):
        return {"v": np.zeros_like(theta), "d": np.zeros_like(theta)}

    def update(self, theta, grad, state, learning_rate):
        v = self.rho * state["v"] + (1 - self.rho) * grad**2
        step = np.sqrt(state["d"] + self.eps) / np.sqrt(v + self.eps) * grad
        kept = learning_rate * step if "scaled_accumulator" in self._on else step
        return theta - learning_rate * step, {"v": v, "d": self.rho * state["d"] + (1 - self.rho) * kept**2}


@dataclass
class Adagrad:
    lr_decay: float = 0.1
    eps: float = 1e-10

    def init(self, theta):
        return {"v": np.zeros_like(theta), "t": 0}

    def update(self, theta, grad, state, learning_rate):
        t = state["t"] + 1
        v = state["v"] + grad**2
        lr = learning_rate / (1 + (t if "decay_at_t" in self._on else t - 1) * self.lr_decay)
        return theta - lr * grad / (np.sqrt(v) + self.eps), {"v": v, "t": t}


def rule(cls):
    def make(on):
        r = cls()
        r._on = on
        return r
    return make


TH = {"theta"}
family("adam", "rule", rule(Adam), lambda: torch.optim.Adam, dict(theta=(30,)), [
    ("second_uncorrected", TH, "The second moment is not bias-corrected: v is used where v/(1 − β₂ᵗ) belongs."),
    ("corrected_stored", TH, "The bias-corrected first moment is stored as the running one, so the correction compounds from step to step."),
])
family("adamw", "rule", rule(AdamW), lambda: torch.optim.AdamW, dict(theta=(30,)), [
    ("coupled", TH, "Weight decay is added to the gradient (L2, as in Adam) instead of being applied to θ directly."),
])
family("nesterov", "rule", rule(Nesterov), lambda: torch.optim.SGD, dict(theta=(30,)), [
    ("old_buffer", TH, "The Nesterov step looks ahead with the previous momentum buffer instead of the updated one."),
])
family("damped", "rule", rule(Damped), lambda: torch.optim.SGD, dict(theta=(30,)), [
    ("damped_first", TH, "Dampening is applied to the first gradient too; torch starts the buffer at the gradient itself."),
])
family("rmsprop", "rule", rule(RMSprop), lambda: torch.optim.RMSprop, dict(theta=(30,)), [
    ("eps_inside", TH, "Epsilon stands inside the square root; it is added to the root."),
])
family("adadelta", "rule", rule(Adadelta), lambda: torch.optim.Adadelta, dict(theta=(30,)), [
    ("scaled_accumulator", TH, "The accumulator of squared updates stores the step already scaled by the learning rate; it must hold the unscaled step."),
])
family("adagrad", "rule", rule(Adagrad), lambda: torch.optim.Adagrad, dict(theta=(30,)), [
    ("decay_at_t", TH, "The learning-rate decay uses t where t − 1 belongs: the first step is already decayed."),
])
