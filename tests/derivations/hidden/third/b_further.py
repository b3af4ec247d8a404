"""Products, pooled powers, decaying attention, transposed convolutions, and maps of the plane."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.derivations.hidden.case import family

CASES = []

# --- products of rows ----------------------------------------------------------------------------------------


def product(switch):
    def others(x):
        ahead = np.cumprod(np.concatenate([np.ones_like(x[:, :1]), x[:, :-1]], 1), 1)
        behind = np.cumprod(np.concatenate([np.ones_like(x[:, :1]), x[:, :0:-1]], 1), 1)[:, ::-1]
        return ahead * behind

    def forward(x):
        if switch == "by_logs":
            return np.exp(np.log(np.abs(x) + 1e-12).sum(1)) * np.sign(x).prod(1)
        return x.prod(1)

    def backward(dy, x):
        if switch in ("by_logs", "quotient"):
            return (dy * x.prod(1))[:, None] / np.where(np.abs(x) > 1e-12, x, 1e-12)
        if switch == "small_left_out":
            return dy[:, None] * np.where(np.abs(x) > 1e-6, others(x), 0.0)
        if switch == "one_by_one":
            return dy[:, None] * np.stack([np.delete(x, i, 1).prod(1) for i in range(x.shape[1])], 1)
        return dy[:, None] * others(x)

    return forward, backward


CASES += family(
    "product_of_rows", product, lambda: lambda x: x.prod(1), {"inputs": {"x": ("b", "t")}},
    {
        "by_logs": "1e-12 is added to magnitudes under the logarithm, and the gradient of a 0 is 0.",
        "quotient": "The gradient is the product over the number, which for a 0 is 0 and not the others' product.",
        "small_left_out": "Numbers below 1e-6 get no gradient.",
    },
    right=("right", "one_by_one"),
)  # fmt: skip


# --- a mean of powers, with a learned exponent ---------------------------------------------------------------

LEAST = 1e-6


def powers(switch):
    def forward(x, p):
        c = np.maximum(x, 1e-5 if switch == "larger_floor" else LEAST)
        m = (c**p).mean(1)
        return m ** (1 / p), (x, p, c, m)

    def backward(dy, cache):
        x, p, c, m = cache
        y = m ** (1 / p)
        dm = dy * y / (m * p)
        dx = dm[:, None] * p * c ** (p - 1) / x.shape[1] * (x > LEAST)
        if switch == "passes":
            dx = dm[:, None] * p * c ** (p - 1) / x.shape[1]
        dp = dm * (c**p * np.log(c)).mean(1) - dy * y * np.log(m) / p**2
        if switch == "guarded_log":
            dp = dm * (c**p * np.log(c + 1e-6)).mean(1) - dy * y * np.log(m + 1e-6) / p**2
        if switch == "root_constant":
            dp = dm * (c**p * np.log(c)).mean(1)
        return dx, dp.sum(keepdims=True).reshape(1)

    def whole(x, raw):
        e = np.exp(-np.abs(raw))
        s = np.where(raw >= 0, 1, e) / (1 + e)
        y, cache = forward(x, 1 + 2 * s)
        return y, (cache, s)

    def whole_back(dy, cache):
        inner, s = cache
        dx, dp = backward(dy, inner)
        return dx, dp * 2 * s * (1 - s)

    return whole, whole_back


def powers_reference():
    def reference(x, raw):
        p = 1 + 2 * torch.sigmoid(raw)
        return x.clamp(min=LEAST).pow(p).mean(1) ** (1 / p)

    return reference


CASES += family(
    "mean_of_powers", powers, powers_reference, {"inputs": {"x": ("b", "t")}, "params": {"raw": (1,)}},
    {
        "larger_floor": "Numbers are held above 1e-5 where it is 1e-6.",
        "passes": "Numbers below 1e-6 get the gradient of 1e-6.",
        "guarded_log": "1e-6 is added under the logarithms in the exponent's gradient.",
        "root_constant": "The exponent's gradient lacks that of the root.",
    },
)  # fmt: skip


# --- attention with decay, in parallel and in chunks ---------------------------------------------------------

CHUNK = 75


def decaying(switch):
    decay = 0.97

    def weights(n):
        back = np.arange(n)[:, None] - np.arange(n)
        return np.where(back >= 0, decay ** np.abs(back), 0.0)

    def parallel(q, k, v):
        return (q @ np.swapaxes(k, 1, 2) * weights(q.shape[1])) @ v

    def forward(q, k, v):
        state, ys = np.zeros((q.shape[0], q.shape[2], v.shape[2])), []
        for i in range(0, q.shape[1], CHUNK):
            a, c, e = (z[:, i : i + CHUNK] for z in (q, k, v))
            n = a.shape[1]
            into = decay ** (np.arange(n) + (0 if switch == "one_step_less" else 1))[:, None]
            ys.append(parallel(a, c, e) + into * (a @ state))
            left = decay ** (n - 1 - np.arange(n))[:, None]
            state = decay**n * state + np.swapaxes(left * c, 1, 2) @ e
        return np.concatenate(ys, 1)

    def backward(dy, q, k, v):
        w = weights(q.shape[1])
        if switch == "own_chunk":
            at = np.arange(q.shape[1]) // CHUNK
            w = w * (at[:, None] == at)
        s = q @ np.swapaxes(k, 1, 2) * w
        ds = dy @ np.swapaxes(v, 1, 2) * w
        return ds @ k, np.swapaxes(ds, 1, 2) @ q, np.swapaxes(s, 1, 2) @ dy

    return (parallel if switch == "parallel" else forward), backward


def decaying_reference():
    def reference(q, k, v):
        back = torch.arange(q.shape[1])[:, None] - torch.arange(q.shape[1])
        return (q @ k.mT * torch.where(back >= 0, 0.97 ** back.abs().to(q.dtype), 0.0)) @ v

    return reference


CASES += family(
    "attention_with_decay", decaying, decaying_reference,
    {"inputs": {"q": ("b", "t", 3), "k": ("b", "t", 3), "v": ("b", "t", 2)}},
    {
        "one_step_less": "What a chunk of 75 takes over from the one before has decayed by a step too few.",
        "own_chunk": "No gradient goes from a chunk of 75 steps into the one before.",
    },
    right=("right", "parallel"),
)  # fmt: skip


# --- a transposed convolution --------------------------------------------------------------------------------


def spread(switch):
    def forward(x, w):
        n, c, t = x.shape
        y = np.zeros((n, w.shape[1], 2 * (t - 1) + 3))
        for i in range(t):
            y[:, :, 2 * i : 2 * i + 3] += np.einsum("nc,cdk->ndk", x[:, :, i], w)
        return y

    def inserted(x, w):
        n, c, t = x.shape
        z = np.zeros((n, c, 2 * t + 3))
        z[:, :, 2 : 2 * t + 2 : 2] = x
        view = np.lib.stride_tricks.sliding_window_view(z, 3, 2)
        return np.einsum("nctk,cdk->ndt", view, w[:, :, ::-1])[:, :, : 2 * t + 1]

    def backward(dy, x, w):
        t = x.shape[2]
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        for i in range(t):
            part = dy[:, :, 2 * i : 2 * i + 3]
            if switch == "flipped":
                part = part[:, :, ::-1]
            dx[:, :, i] = np.einsum("ndk,cdk->nc", part, w)
            part = dy[:, :, 2 * i : 2 * i + 3]
            if switch == "up_to_90" and i >= 90:
                continue
            dw += np.einsum("nc,ndk->cdk", x[:, :, i], part)
        return dx, dw

    return (inserted if switch == "inserted" else forward), backward


CASES += family(
    "transposed_convolution", spread, lambda: lambda x, w: F.conv_transpose1d(x, w, stride=2),
    {"inputs": {"x": ("n", 2, "t")}, "params": {"w": (2, 3, 3)}},
    {
        "flipped": "dx takes the taps from behind: alike for symmetric kernels only.",
        "up_to_90": "Steps from 90 on give the kernel no gradient.",
    },
    right=("right", "inserted"),
)  # fmt: skip


# --- a map of the plane --------------------------------------------------------------------------------------


def plane(switch):
    def forward(z, a):
        return (z - a) / (1 + np.abs(z) ** 2 + np.abs(a) ** 2)

    def backward(dy, z, a):
        n = 1 + np.abs(z) ** 2 + np.abs(a) ** 2
        y = (z - a) / n
        if switch == "not_real":
            dn = -(np.conj(y) * dy) / n
        elif switch == "other_conjugate":
            dn = -(y * dy).real / n
        elif switch == "only_near":
            dn = np.where(n < 2500, -(np.conj(y) * dy).real / n, 0)
        else:
            dn = -(np.conj(y) * dy).real / n
        dz = dy / n + 2 * z * dn
        da = -dy / n + (0 if switch == "a_constant" else 2 * a * dn)
        return dz, da.sum(0)

    return forward, backward


def plane_reference():
    def reference(z, a):
        return (z - a) / (1 + z.abs().square() + a.abs().square())

    return reference


CASES += family(
    "map_of_the_plane", plane, plane_reference,
    {"inputs": {"z": ("n", 3)}, "params": {"a": (3,)}, "dtype": "complex128"},
    {
        "not_real": "The real part of ȳ dy is not taken: alike where all is real.",
        "other_conjugate": "Re(y dy) is there where Re(ȳ dy) belongs: alike where all is real.",
        "only_near": "Where 1 + |z|² + |a|² is beyond 2500 the divisor is held constant.",
        "a_constant": "The divisor's dependence on a is left out.",
    },
)  # fmt: skip
