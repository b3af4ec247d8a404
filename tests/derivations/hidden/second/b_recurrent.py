"""Recurrences, long iterations, sequences with repeated labels."""

import numpy as np
import torch
import torch.nn.functional as F

from handgrad import indices
from tests.derivations.hidden.case import family

CASES = []


# --- a causal convolution of three taps, 32 steps apart ------------------------------------------------------

APART = 32


def dilated(switch):
    def back(a, steps):
        return np.concatenate([np.zeros_like(a[:, :steps]), a[:, : max(a.shape[1] - steps, 0)]], 1)

    def ahead(a, steps):
        return np.concatenate([a[:, steps:], np.zeros_like(a[:, : min(steps, a.shape[1])])], 1)

    far = 3 * APART if switch == "doubled" else 2 * APART

    def forward(x, w):
        return back(x, far) @ w[0] + back(x, APART) @ w[1] + x @ w[2]

    def backward(dy, x, w):
        dx = ahead(dy, APART) @ w[1].T + dy @ w[2].T
        if switch != "two_taps":
            dx = dx + ahead(dy, far) @ w[0].T
        first = APART if switch == "one_shift" else far
        dw = [np.einsum("nti,nto->io", back(x, first), dy), np.einsum("nti,nto->io", back(x, APART), dy)]
        dw.append(np.einsum("nti,nto->io", x, dy))
        if switch == "nearest":
            dw[0] = np.einsum("nti,nto->io", x[:, : max(x.shape[1] - far, 0)], dy[:, : max(x.shape[1] - far, 0)])
        return {"x": dx, "w": np.stack(dw)}

    return forward, backward


def dilated_reference():
    def reference(x, w):
        return F.conv1d(F.pad(x.mT, (2 * APART, 0)), w.permute(2, 1, 0), dilation=APART).mT

    return reference


CASES += family(
    "taps_far_apart", dilated, dilated_reference, {"inputs": {"x": ("b", "t", 3)}, "params": {"w": (3, 3, 4)}},
    {
        "doubled": "The third tap is 96 steps back where it is 64.",
        "two_taps": "The third tap, 64 steps back, hands no gradient to x.",
        "one_shift": "The third tap's gradient has x 32 steps back where it is 64.",
        "nearest": "The third tap's gradient has x and dy at the same step, not 64 apart.",
    },
)  # fmt: skip


# --- the loss of an alignment with blanks --------------------------------------------------------------------

NONE = -1e30


def alignment(switch):
    def lattice(labels):
        path = np.zeros((len(labels), 2 * labels.shape[1] + 1), int)
        path[:, 1::2] = labels + 1
        skip = np.zeros(path.shape, bool)
        skip[:, 2:] = path[:, 2:] != 0
        if switch != "skips_repeats":
            skip[:, 2:] &= path[:, 2:] != path[:, :-2]
        return path, skip

    def shifted(a, by):
        return np.concatenate([np.full_like(a[:, :by], NONE), a[:, :-by]], 1)

    def alphas(lp, skip):
        a = np.full_like(lp[0], NONE)
        a[:, :2] = lp[0, :, :2]
        found = [a]
        for step in lp[1:]:
            two = np.where(skip, shifted(a, 2), NONE)
            a = np.logaddexp(np.logaddexp(a, shifted(a, 1)), two) + step
            found.append(a)
        return np.stack(found)

    def forward(z, labels):
        top = z.max(-1, keepdims=True)
        logp = z - top - np.log(np.exp(z - top).sum(-1, keepdims=True))
        path, skip = lattice(labels)
        lp = np.stack([np.take_along_axis(step, path, 1) for step in logp])
        alpha = alphas(lp, skip)
        total = np.logaddexp(alpha[-1, :, -1], alpha[-1, :, -2])
        # from the end: the reversed path, which may skip what the path may
        turned = np.zeros_like(skip)
        turned[:, 2:] = skip[:, ::-1][:, :-2] if switch != "skips_repeats" else skip[:, 2:]
        beta = alphas(lp[::-1, :, ::-1], turned)[::-1, :, ::-1]
        return -total, (logp, lp, path, alpha, beta, total)

    def backward(dy, cache):
        logp, lp, path, alpha, beta, total = cache
        at = np.exp(alpha + beta - lp - total[:, None])
        post = np.zeros_like(logp)
        rows = np.arange(path.shape[0])[:, None]
        for t in range(len(post)):
            if switch == "labels_once":
                post[t, rows, path[:, 1::2]] = at[t][:, 1::2]
                post[t, :, 0] = at[t][:, ::2].sum(1)
            else:
                np.add.at(post[t], (rows, path), at[t])
        return {"z": dy[:, None] * (np.exp(logp) - post)}

    return forward, backward


def alignment_reference():
    def reference(z, labels):
        steps, n, _ = z.shape
        lengths = [torch.full((n,), k, dtype=torch.long) for k in (steps, labels.shape[1])]
        return F.ctc_loss(z.log_softmax(-1), labels + 1, *lengths, blank=0, reduction="none")

    return reference


CASES += family(
    "alignment_with_blanks", alignment, alignment_reference,
    {"inputs": {"z": (10, "b", 31), "labels": indices(30, ("b", 4))}},
    {
        "skips_repeats": "Between two equal labels the blank may be skipped, so that 'aa' is read where 'a' stands.",
        "labels_once": "A label that occurs twice has the gradient of one of its places.",
    },
)  # fmt: skip


# --- a fixed point that is iterated --------------------------------------------------------------------------

ROUNDS = 40


def equilibrium(switch):
    def forward(x, w):
        zs = [np.zeros_like(x)]
        for _ in range(ROUNDS):
            zs.append(np.tanh(0.05 * zs[-1] @ w + x))
        return zs[-1], (x, w, zs)

    def backward(dy, cache):
        x, w, zs = cache
        if switch == "unrolled":
            dx, dw, g = np.zeros_like(x), np.zeros_like(w), dy
            for before, z in zip(zs[-2::-1], zs[:0:-1], strict=True):
                da = g * (1 - z**2)
                dx, dw = dx + da, dw + 0.05 * before.T @ da
                g = 0.05 * da @ w.T
            return {"x": dx, "w": dw}
        z = zs[-1]
        slope = 1 - z**2
        if switch == "last_round":
            da = dy * slope
            return {"x": da, "w": 0.05 * zs[-2].T @ da}
        g, total = dy, dy
        for _ in range({"ten_terms": 10}.get(switch, ROUNDS - 1)):
            g = 0.05 * (g * slope) @ w.T
            total = total + g
        return {"x": total * slope, "w": 0.05 * z.T @ (total * slope)}

    return forward, backward


def equilibrium_reference():
    def reference(x, w):
        z = torch.zeros_like(x)
        for _ in range(ROUNDS):
            z = torch.tanh(0.05 * z @ w + x)
        return z

    return reference


CASES += family(
    "forty_rounds", equilibrium, equilibrium_reference, {"inputs": {"x": ("b", 4)}, "params": {"w": (4, 4)}},
    {
        "implicit": "The gradient is that of the fixed point, which large weights do not reach in 40 rounds.",
        "ten_terms": "The series of the gradient is cut after ten terms, too few for large weights.",
        "last_round": "The gradient is that of the last round alone.",
    },
    right=("unrolled",),
)  # fmt: skip


# --- a differential equation ---------------------------------------------------------------------------------

STEPS, H = 16, 1 / 16


def ode(switch):
    def slope(y, w):
        return np.tanh(y @ w)

    def stages(y, w, h):
        k1 = slope(y, w)
        k2 = slope(y + h / 2 * k1, w)
        k3 = slope(y + h / 2 * k2, w)
        return k1, k2, k3, slope(y + h * k3, w)

    def forward(y, w):
        ys = [y]
        for _ in range(STEPS):
            k1, k2, k3, k4 = stages(ys[-1], w, H)
            ys.append(ys[-1] + H / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
        return ys[-1], (ys, w)

    def pull(k, g, y, w):
        """Of one slope: its gradient by y, and that by w."""
        da = g * (1 - k**2)
        return da @ w.T, y.T @ da

    def exact(dy, cache):
        ys, w = cache
        g, dw = dy, np.zeros_like(w)
        for y in ys[-2::-1]:
            k1, k2, k3, k4 = stages(y, w, H)
            d4, w4 = pull(k4, H / 6 * g, y + H * k3, w)
            d3, w3 = pull(k3, H / 3 * g + H * d4, y + H / 2 * k2, w)
            d2, w2 = pull(k2, H / 3 * g + H / 2 * d3, y + H / 2 * k1, w)
            d1, w1 = pull(k1, H / 6 * g + H / 2 * d2, y, w)
            g, dw = g + d1 + d2 + d3 + d4, dw + w1 + w2 + w3 + w4
        return {"y": g, "w": dw}

    def adjoint(dy, cache):
        ys, w = cache
        g, dw, y = dy, np.zeros_like(w), ys[-1]
        for n in range(STEPS):
            start = ys[STEPS - n] if switch == "adjoint_kept" else y

            def both(y, g):
                k = slope(y, w)
                dy, dw = pull(k, g, y, w)
                return k, dy, dw

            a1 = both(start, g)
            a2 = both(start - H / 2 * a1[0], g + H / 2 * a1[1])
            a3 = both(start - H / 2 * a2[0], g + H / 2 * a2[1])
            a4 = both(start - H * a3[0], g + H * a3[1])
            move = [H / 6 * (p + 2 * q + 2 * r + s) for p, q, r, s in zip(a1, a2, a3, a4, strict=True)]
            y, g, dw = start - move[0], g + move[1], dw + move[2]
        return {"y": g, "w": dw}

    return forward, (exact if switch == "right" else adjoint)


def ode_reference():
    def reference(y, w):
        for _ in range(STEPS):
            k1 = torch.tanh(y @ w)
            k2 = torch.tanh((y + H / 2 * k1) @ w)
            k3 = torch.tanh((y + H / 2 * k2) @ w)
            k4 = torch.tanh((y + H * k3) @ w)
            y = y + H / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return y

    return reference


CASES += family(
    "runge_kutta", ode, ode_reference, {"inputs": {"y": ("b", 3)}, "params": {"w": (3, 3)}, "dtype": "float32"},
    {
        "adjoint": "The adjoint equation is solved backwards, which is not the gradient of these sixteen steps.",
        "adjoint_kept": "The adjoint equation, from the kept states, is not the gradient of these sixteen steps.",
    },
)  # fmt: skip


# --- a diagonal recurrence of complex numbers ----------------------------------------------------------------

CHUNK = 64


def spiral(switch):
    def scan(lam, u, carried=True):
        h, hs = np.zeros_like(u[:, 0]), []
        for t in range(u.shape[1]):
            if t % CHUNK == 0 and not carried:
                h = np.zeros_like(h)
            h = lam * h + u[:, t]
            hs.append(h)
        return np.stack(hs, 1)

    def forward(x, decay, turn):
        lam = np.exp(-np.exp(decay) + 1j * turn)
        h = scan(lam, x + 0j, switch != "starts_anew")
        return h.real, (x, decay, lam, h)

    def backward(dy, cache):
        _, decay, lam, h = cache
        if switch == "truncated":
            g = np.concatenate([scan(np.conj(lam), (dy + 0j)[:, i : i + CHUNK][:, ::-1])[:, ::-1]
                                for i in range(0, dy.shape[1], CHUNK)], 1)  # fmt: skip
        else:
            g = scan(np.conj(lam), (dy + 0j)[:, ::-1], switch != "starts_anew")[:, ::-1]
        dlam = (np.conj(h[:, :-1]) * g[:, 1:]).sum((0, 1))
        through = np.conj(lam) * dlam
        ddecay = -(through * np.exp(decay)).real
        if switch == "held":  # a decay that has gone to 0 or 1
            ddecay = ddecay * (np.abs(decay) < 8)
        return {"x": g.real, "decay": ddecay, "turn": through.imag}

    def kernel(x, decay, turn):
        t = np.arange(x.shape[1])
        back = t[:, None] - t
        size = np.exp(-np.exp(decay) * np.maximum(back, 0)[..., None]) * (back >= 0)[..., None]
        return np.einsum("ijd,bjd->bid", size * np.cos(turn * back[..., None]), x)

    def kernel_back(dy, x, decay, turn):
        t = np.arange(x.shape[1])
        back = (t[:, None] - t)[..., None]
        size = np.exp(-np.exp(decay) * np.maximum(back, 0)) * (back >= 0)
        cos, sin = np.cos(turn * back), np.sin(turn * back)
        each = np.einsum("bid,bjd->ijd", dy, x) * size * back
        return {"x": np.einsum("ijd,bid->bjd", size * cos, dy), "decay": -(each * cos).sum((0, 1)) * np.exp(decay),
                "turn": -(each * sin).sum((0, 1))}  # fmt: skip

    return (kernel, kernel_back) if switch == "as_convolution" else (forward, backward)


def spiral_reference():
    def reference(x, decay, turn):
        lam = torch.exp(torch.complex(-decay.exp(), turn))
        h, ys = torch.zeros_like(x[:, 0]) + 0j, []
        for t in range(x.shape[1]):
            h = lam * h + x[:, t]
            ys.append(h.real)
        return torch.stack(ys, 1)

    return reference


CASES += family(
    "spiral", spiral, spiral_reference, {"inputs": {"x": ("b", "t", 3)}, "params": {"decay": (3,), "turn": (3,)}},
    {
        "starts_anew": "Every 64 steps the state starts from 0 again.",
        "truncated": "Gradients do not pass from one chunk of 64 steps to the one before.",
        "held": "A decay parameter below −8, where nearly nothing decays, gets no gradient.",
    },
    right=("right", "as_convolution"),
)  # fmt: skip
