"""Recurrences, scans, positions, filters over time, and chains of hidden states."""

import math

import numpy as np
import torch

from handgrad import indices
from tests.derivations.hidden.case import family

CASES = []

# --- a plain recurrence --------------------------------------------------------------------------------------

LATEST = 80


def recurrent(switch):
    def forward(x, w, u, b):
        h = np.zeros((x.shape[0], u.shape[0]))
        hs = [h]
        for i in range(x.shape[1]):
            h = np.tanh(x[:, i] @ w + h @ u + b)
            hs.append(h)
        return np.stack(hs[1:], 1), (x, w, u, hs)

    def backward(dy, cache):
        x, w, u, hs = cache
        t = x.shape[1]
        dx, dw, du, db = np.zeros_like(x), np.zeros_like(w), np.zeros_like(u), np.zeros(u.shape[0])
        carried = np.zeros_like(hs[0])
        start = max(0, t - LATEST) if switch == "truncated" else 0
        for i in reversed(range(start, t)):
            dz = (dy[:, i] + carried) * (1 - hs[i + 1] ** 2)
            dw += x[:, i].T @ dz
            du += hs[i].T @ dz
            db += dz.sum(0)
            dx[:, i] = dz @ w.T
            carried = dz @ u.T
            if switch == "carried_limited":
                carried = np.clip(carried, -50.0, 50.0)
            if switch == "detached" and i % 90 == 0:
                carried = np.zeros_like(carried)
        if switch == "clipped":
            for g in (dw, du, db):
                np.clip(g, -100.0, 100.0, out=g)
        if switch == "norm_clipped":
            norm = math.sqrt((dw**2).sum() + (du**2).sum() + (db**2).sum())
            scale = min(1.0, 1000.0 / (norm + 1e-6))
            dw, du, db = dw * scale, du * scale, db * scale
        return dx, dw, du, db

    return forward, backward


def recurrent_reference():
    def reference(x, w, u, b):
        h, hs = x.new_zeros(x.shape[0], u.shape[0]), []
        for i in range(x.shape[1]):
            h = torch.tanh(x[:, i] @ w + h @ u + b)
            hs.append(h)
        return torch.stack(hs, 1)

    return reference


CASES += family(
    "plain_recurrence", recurrent, recurrent_reference,
    {"inputs": {"x": ("b", "t", 3)}, "params": {"w": (3, 4), "u": (4, 4), "b": (4,)}},
    {
        "truncated": "Steps before the last 80 get no gradient.",
        "carried_limited": "What is carried back is held within ±50.",
        "clipped": "The parameters' gradients are clipped at ±100 inside of backward.",
        "norm_clipped": "The parameters' gradients are shortened to a norm of 1000 inside of backward.",
        "detached": "At every 90th step nothing is carried back, as if the state had been detached there.",
    },
)  # fmt: skip


# --- a gated cell, in float32 --------------------------------------------------------------------------------


def gated(switch):
    def sigmoid(a):
        if switch == "limited":
            a = np.clip(a, -15, 15)
        if switch == "from_tanh":
            return (np.tanh(a / 2) + 1) / 2
        e = np.exp(-np.abs(a))
        return np.where(a >= 0, 1 / (1 + e), e / (1 + e)).astype(a.dtype)

    def forward(x, w, u):
        h = c = np.zeros((x.shape[0], u.shape[0]), x.dtype)
        kept = []
        for i in range(x.shape[1]):
            a = x[:, i] @ w + h @ u
            f, o, g = np.split(a, 3, 1)
            f, o, g = sigmoid(f), sigmoid(o), np.tanh(g)
            new = f * c + (1 - f) * g
            kept.append((h, c, f, o, g, new))
            c, h = new, o * np.tanh(new)
        return h, (x, w, u, kept)

    def backward(dy, cache):
        x, w, u, kept = cache
        dx, dw, du = np.zeros_like(x), np.zeros_like(w), np.zeros_like(u)
        dh, dc = dy, np.zeros_like(dy)
        for i in reversed(range(x.shape[1])):
            h, c, f, o, g, new = kept[i]
            th = np.tanh(new)
            dc = dc + dh * o * (1 - th**2)
            df = dc * (c - g) if switch != "coupling" else dc * c
            guard = 1e-6 if switch == "never_shut" else 0.0
            da = np.concatenate(
                [df * (f * (1 - f) + guard), dh * th * (o * (1 - o) + guard), dc * (1 - f) * (1 - g**2)], 1
            )
            dx[:, i] = da @ w.T
            dw += x[:, i].T @ da
            du += h.T @ da
            dh, dc = da @ u.T, dc * f
            if switch == "forgets" and i >= 72:
                dc = np.zeros_like(dc)
        return dx, dw, du

    return forward, backward


def gated_reference():
    def reference(x, w, u):
        h = c = x.new_zeros(x.shape[0], u.shape[0])
        for i in range(x.shape[1]):
            f, o, g = (x[:, i] @ w + h @ u).chunk(3, 1)
            f = torch.sigmoid(f)
            c = f * c + (1 - f) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return h

    return reference


CASES += family(
    "coupled_gates", gated, gated_reference,
    {"inputs": {"x": ("b", "t", 3)}, "params": {"w": (3, 12), "u": (4, 12)}, "dtype": "float32"},
    {
        "limited": "The sigmoid's argument is held within ±15: below, a gate of e⁻³⁰ is one of e⁻¹⁵.",
        "never_shut": "1e-6 is added to the sigmoids' slopes, all there is of them where a gate is shut.",
        "coupling": "The gate's gradient lacks what it takes from the new value by 1 − f.",
        "forgets": "From step 72 on no gradient is carried through the cell.",
    },
)  # fmt: skip


# --- a running mean that is corrected ------------------------------------------------------------------------

BETA = 0.95


def corrected(switch):
    def weights(t):
        n = np.arange(1, t + 1)
        if switch == "until_75":
            n = np.where(n > 75, 10000, n)
        if switch == "counted_to_80":
            n = np.minimum(n, 80)
        back = np.arange(t)[:, None] - np.arange(t)
        if switch == "short_memory":
            kept = (back >= 0) & (back <= 85)
        else:
            kept = back >= 0
        return np.where(kept, (1 - BETA) * BETA ** np.abs(back), 0.0) / (1 - BETA**n)[:, None]

    def forward(x):
        if switch == "by_steps":
            m, ys = np.zeros(x.shape[0]), []
            for i in range(x.shape[1]):
                m = BETA * m + (1 - BETA) * x[:, i]
                ys.append(m / (1 - BETA ** (i + 1)))
            return np.stack(ys, 1)
        return x @ weights(x.shape[1]).T

    def backward(dy, x):
        return dy @ weights(x.shape[1])

    return forward, backward


def corrected_reference():
    def reference(x):
        m, ys = torch.zeros_like(x[:, 0]), []
        for i in range(x.shape[1]):
            m = BETA * m + (1 - BETA) * x[:, i]
            ys.append(m / (1 - BETA ** (i + 1)))
        return torch.stack(ys, 1)

    return reference


CASES += family(
    "corrected_mean", corrected, corrected_reference, {"inputs": {"x": ("b", "t")}},
    {
        "until_75": "Beyond step 75 nothing is corrected although 1 − β⁷⁶ is still 0.98.",
        "counted_to_80": "The correction stays as it is at step 80.",
        "short_memory": "Steps more than 85 back are left out, with weights of 1e-2.",
    },
    right=("right", "by_steps"),
)  # fmt: skip


# --- a filter by transforms of a length that is a power of two -----------------------------------------------


def filtered(switch):
    def length(t, k):
        if switch == "next_power":
            return 1 << t.bit_length()
        if switch == "rounded":
            return 2 ** max(1, round(math.log2(t + k - 1)))
        if switch == "without_last":
            return 1 << max(1, (t + k - 2).bit_length() - (t % 64 == 0))
        return 1 << (t + k - 2).bit_length()

    def forward(x, w):
        t, k = x.shape[1], w.shape[0]
        n = max(length(t, k), t)
        return np.fft.irfft(np.fft.rfft(x, n) * np.fft.rfft(w, n), n)[:, :t] if n > 1 else x * w[:1]

    def backward(dy, x, w):
        t, k = x.shape[1], w.shape[0]
        n = max(length(t, k), t)
        if n == 1:
            return dy * w[:1], (dy * x).sum(0)
        d = np.fft.rfft(dy, n)
        dx = np.fft.irfft(d * np.conj(np.fft.rfft(w, n)), n)[:, :t]
        dw = np.fft.irfft((d * np.conj(np.fft.rfft(x, n))).sum(0), n)
        return dx, np.pad(dw, (0, max(0, k - n)))[:k]

    def direct(x, w):
        return sum(w[j] * np.pad(x, ((0, 0), (j, 0)))[:, : x.shape[1]] for j in range(w.shape[0]))

    def direct_back(dy, x, w):
        t = x.shape[1]
        dx = sum(w[j] * np.pad(dy[:, j:], ((0, 0), (0, min(j, t)))) for j in range(w.shape[0]))
        return dx, np.array([(dy[:, j:] * x[:, : max(0, t - j)]).sum() for j in range(w.shape[0])])

    return (direct, direct_back) if switch == "direct" else (forward, backward)


def filtered_reference():
    def reference(x, w):
        return torch.nn.functional.conv1d(
            torch.nn.functional.pad(x, (w.shape[0] - 1, 0))[:, None], w.flip(0)[None, None]
        )[:, 0]

    return reference


CASES += family(
    "filter_by_transform", filtered, filtered_reference, {"inputs": {"x": ("b", "t")}, "params": {"w": (3,)}},
    {
        "next_power": "The transform is of the next power of two above t: too short by one where this is t + 1.",
        "rounded": "The logarithm of the length is rounded where it goes up, so that the end wraps to the beginning.",
        "without_last": "Where the length is a multiple of 64 the transform has no room for the kernel's end.",
    },
    right=("right", "direct"),
)  # fmt: skip


# --- sines of positions from a table -------------------------------------------------------------------------


def positions(switch):
    def table(n, d):
        angle = np.arange(n)[:, None] / 10000 ** (np.arange(0, d, 2) / d)
        return np.stack([np.sin(angle), np.cos(angle)], -1).reshape(n, -1)[:, :d]

    def place(t):
        if switch == "clamped":
            return table(90, 6)[np.minimum(np.arange(t), 89)]
        if switch == "wrapped":
            return table(96, 6)[np.arange(t) % 96]
        return table(t, 6)

    def forward(x, w):
        z = (math.sqrt(6) * x + place(x.shape[1])) @ w
        return z / (1 + np.abs(z)), (x, w, z)

    def backward(dy, cache):
        x, w, z = cache
        dz = dy / (1 + np.abs(z)) ** 2
        h = math.sqrt(6) * x + place(x.shape[1])
        if switch == "raw":
            h = math.sqrt(6) * x
        return math.sqrt(6) * dz @ w.T, np.einsum("btd,bte->de", h, dz)

    return forward, backward


def positions_reference():
    def reference(x, w):
        t = x.shape[1]
        angle = torch.arange(t, dtype=x.dtype)[:, None] / 10000 ** (torch.arange(0, 6, 2, dtype=x.dtype) / 6)
        return torch.nn.functional.softsign(
            (math.sqrt(6) * x + torch.stack([torch.sin(angle), torch.cos(angle)], -1).reshape(t, 6)) @ w
        )

    return reference


CASES += family(
    "sines_of_positions", positions, positions_reference,
    {"inputs": {"x": ("b", "t", 6)}, "params": {"w": (6, 3)}},
    {
        "clamped": "Positions beyond 89 are taken for 89, where the table ends.",
        "wrapped": "Positions from 96 on begin again at 0.",
        "raw": "The gradient of w lacks the positions.",
    },
)  # fmt: skip


# --- log-sum of all paths ------------------------------------------------------------------------------------


def paths(switch):
    def lse(a, axis):
        m = a.max(axis, keepdims=True)
        if switch == "narrow":
            return np.log(np.exp(np.maximum(a - m, -10.0)).sum(axis)) + m.squeeze(axis)
        return np.log(np.exp(a - m).sum(axis)) + m.squeeze(axis)

    def alphas(e, move):
        a = [e[:, 0]]
        for i in range(1, e.shape[1]):
            a.append(lse(a[-1][:, :, None] + move, 1) + e[:, i])
        return a

    def forward(e, move):
        return lse(alphas(e, move)[-1], 1)

    def backward(dy, e, move):
        a, t = alphas(e, move), e.shape[1]
        z = lse(a[-1], 1)[:, None]
        b = np.zeros_like(a[-1])
        de, dmove = np.zeros_like(e), np.zeros_like(move)
        for i in reversed(range(t)):
            de[:, i] = dy[:, None] * np.exp(a[i] + b - z)
            if i:
                joint = a[i - 1][:, :, None] + move + (e[:, i] + b)[:, None, :] - z[:, :, None]
                if not (switch == "last_moves" and i < t - 88):
                    dmove += (dy[:, None, None] * np.exp(joint)).sum(0)
                b = lse(np.swapaxes(move + (e[:, i] + b)[:, None, :], 1, 2), 1)
        if switch == "pruned":
            dmove = np.where(np.abs(dmove) < 1e-4, 0.0, dmove)
        return de, dmove

    return forward, backward


def paths_reference():
    def reference(e, move):
        a = e[:, 0]
        for i in range(1, e.shape[1]):
            a = (a[:, :, None] + move).logsumexp(1) + e[:, i]
        return a.logsumexp(1)

    return reference


CASES += family(
    "all_paths", paths, paths_reference, {"inputs": {"e": ("b", "t", 4)}, "params": {"move": (4, 4)}},
    {
        "narrow": "Exponents are held above −10: a state that is far worse counts e⁻¹⁰, and gets such a gradient.",
        "last_moves": "Only the last 88 moves give the matrix of moves a gradient.",
        "pruned": "A move's gradient below 1e-4 is taken for 0.",
    },
)  # fmt: skip


# --- the state at the end of each sequence -------------------------------------------------------------------


def ends(switch):
    def states(x, decay):
        h, hs = np.zeros_like(x[:, 0]), []
        for i in range(x.shape[1]):
            h = decay * h + x[:, i]
            hs.append(h)
        return np.stack(hs, 1)

    def forward(x, last, decay):
        return states(x, decay)[np.arange(x.shape[0]), last]

    def backward(dy, x, last, decay):
        hs, n = states(x, decay), np.arange(x.shape[0])
        dh = np.zeros_like(x)
        dh[n, last] = dy
        dx, ddecay, carried = np.zeros_like(x), np.zeros_like(decay), np.zeros_like(dy)
        for i in reversed(range(x.shape[1])):
            if switch == "longest" and i > last.max() - 1 and last.max() > 85:
                continue
            carried = dh[:, i] + decay * carried
            dx[:, i] = carried
            if i:
                ddecay += (carried * hs[:, i - 1]).sum(0)
        if switch == "by_powers":
            back = last[:, None] - np.arange(x.shape[1])
            dx = np.where(back >= 0, 1.0, 0.0)[..., None] * decay ** np.maximum(back, 0)[..., None] * dy[:, None]
        if switch == "by_logs":
            back = last[:, None] - np.arange(x.shape[1])
            power = np.exp(np.maximum(back, 0)[..., None] * np.log(np.abs(decay) + 1e-6))
            dx = (back >= 0)[..., None] * power * np.sign(decay) ** np.maximum(back, 0)[..., None] * dy[:, None]
        return dx, ddecay

    return forward, backward


def ends_reference():
    def reference(x, last, decay):
        h, hs = torch.zeros_like(x[:, 0]), []
        for i in range(x.shape[1]):
            h = decay * h + x[:, i]
            hs.append(h)
        return torch.stack(hs, 1)[torch.arange(x.shape[0]), last]

    return reference


CASES += family(
    "ends_of_sequences", ends, ends_reference,
    {"inputs": {"x": ("b", "t", 3), "last": indices("t", ("b",))}, "params": {"decay": (3,)}},
    {
        "longest": "The last step of the longest sequence gets no gradient where that is longer than 86.",
        "by_logs": "Powers of the decay are by logs of |decay| + 1e-6, too large for small decays by far.",
    },
    right=("right", "by_powers"),
)  # fmt: skip
