"""Grids, windows, graphs, sets of points, and simulations."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from handgrad import indices
from tests.derivations.hidden.case import family

CASES = []

# --- springs in a periodic box -------------------------------------------------------------------------------

BOX = 10.0


def springs(switch):
    def image(d):
        if switch == "one_box":
            return np.where(d > BOX / 2, d - BOX, np.where(d < -BOX / 2, d + BOX, d))
        if switch == "remainder":
            return np.fmod(d, BOX)
        if switch == "upper_only":
            return np.where(d > BOX / 2, d - BOX * np.round(d / BOX), d)
        return d - BOX * np.round(d / BOX)

    def forward(x):
        d = image(x[:, :, None] - x[:, None])
        return 0.25 * (d**2).sum((1, 2, 3))

    def backward(dy, x):
        d = image(x[:, :, None] - x[:, None])
        if switch == "unwrapped_force":
            d = np.where(np.abs(d) < 4.9, d, x[:, :, None] - x[:, None])
        return dy[:, None, None] * d.sum(2)

    return forward, backward


def springs_reference():
    def reference(x):
        d = x[:, :, None] - x[:, None]
        d = d - BOX * torch.round(d / BOX)
        return 0.25 * d.square().sum((1, 2, 3))

    return reference


CASES += family(
    "periodic_springs", springs, springs_reference, {"inputs": {"x": ("b", "n", 3)}},
    {
        "one_box": "Distances are taken back by one box, which is not enough for points more than 1.5 boxes apart.",
        "remainder": "The remainder is taken, which lies within ±10 and not ±5.",
        "upper_only": "Distances below −5 are not wrapped, and counted at full length.",
        "unwrapped_force": "Pairs nearly half a box apart are pulled along the straight line.",
    },
)  # fmt: skip


# --- soft repulsion with a cutoff ----------------------------------------------------------------------------

CUT = 30.0


def repulsion(switch):
    def parts(x):
        d = x[:, None] - x[None]
        r2 = (d**2).sum(-1) + 1.0
        near = r2 < CUT**2
        np.fill_diagonal(near, False)
        return d, r2, near

    def forward(x):
        d, r2, near = parts(x)
        shift = 0.0 if switch == "not_shifted" else 1 / CUT
        if switch == "all_pairs":
            near = ~np.eye(len(x), dtype=bool)
        return np.where(near, 1 / np.sqrt(r2) - shift, 0.0).sum(1)

    def backward(dy, x):
        d, r2, near = parts(x)
        f = np.where(near, -(r2**-1.5), 0.0)
        if switch == "all_pairs":
            f = np.where(np.eye(len(x), dtype=bool), 0.0, -(r2**-1.5))
        both = dy[:, None] + dy[None]
        if switch == "newton_lost":
            both = np.where(np.arange(len(x))[:, None] < 75, both, dy[:, None] + 0 * both)
        return ((both * f)[..., None] * d).sum(1)

    return forward, backward


def repulsion_reference():
    def reference(x):
        r2 = (x[:, None] - x[None]).square().sum(-1) + 1
        near = (r2 < CUT**2) & ~torch.eye(len(x), dtype=torch.bool)
        return torch.where(near, r2.rsqrt() - 1 / CUT, 0.0).sum(1)

    return reference


CASES += family(
    "cut_repulsion", repulsion, repulsion_reference, {"inputs": {"x": ("n", 3)}},
    {
        "not_shifted": "The energy is not shifted, so that it jumps at the cutoff.",
        "all_pairs": "Pairs further apart than 30 count as well, with negative energies.",
        "newton_lost": "From the 76th particle on the force that it exerts on others' energies is left out.",
    },
)  # fmt: skip


# --- heat over 60 steps, in float32 --------------------------------------------------------------------------

STEPS = 60


def heat(switch):
    def lap(u):
        return np.roll(u, 1, -1) + np.roll(u, -1, -1) - 2 * u

    def forward(u, k):
        a, us = 0.02 / (1 + k * k), []
        for _ in range(STEPS):
            us.append(u)
            u = u + a * lap(u) - 0.05 * np.tanh(u)
        return u, (us, a, k)

    def backward(dy, cache):
        us, a, k = cache
        du, da = dy, np.zeros_like(k)
        for i in reversed(range(STEPS)):
            u = us[i]
            if not (switch == "first_steps" and i < 3):
                da = da + (du * lap(u)).sum(keepdims=True).reshape(1)
            th = np.tanh(u)
            slope = 1 - th**2
            if switch == "later_state" and i == 0:
                slope = 1 - np.tanh(us[1]) ** 2
            if switch == "no_decay" and i % 59 == 0:
                slope = 0 * slope
            du = du + lap(a * du) - 0.05 * slope * du
        if switch == "constant_in_k":
            return du, -2 * k * a * a * da
        return du, -2 * k * a / (1 + k * k) * da

    return forward, backward


def heat_reference():
    def reference(u, k):
        a = 0.02 / (1 + k * k)
        for _ in range(STEPS):
            u = u + a * (u.roll(1, -1) + u.roll(-1, -1) - 2 * u) - 0.05 * torch.tanh(u)
        return u

    return reference


CASES += family(
    "heat_on_a_ring", heat, heat_reference,
    {"inputs": {"u": ("b", "n")}, "params": {"k": (1,)}, "dtype": "float32"},
    {
        "first_steps": "The first three of 60 steps give the conductivity no gradient.",
        "later_state": "The first step's slope is taken at the state after it.",
        "no_decay": "The first and the last step's cooling is left out in backward.",
        "constant_in_k": "The factor a is squared where a / (1 + k²) belongs, a factor 50 too small.",
    },
)  # fmt: skip


# --- orbits by leapfrog --------------------------------------------------------------------------------------


def orbit(switch):
    h, n = 0.1, 25

    def force(x):
        r2 = (x * x).sum(-1, keepdims=True) + 1.0
        return -x / r2**1.5

    def force_back(g, x):
        r2 = (x * x).sum(-1, keepdims=True) + 1.0
        if switch == "central_only":
            return -g / r2**1.5
        if switch == "near_only":
            return -g / r2**1.5 + np.where(r2 < 400, 3 / r2**2.5, 0.0) * x * (x * g).sum(-1, keepdims=True)
        return -g / r2**1.5 + 3 * x * (x * g).sum(-1, keepdims=True) / r2**2.5

    def forward(x, v):
        xs = [x]
        for i in range(n):
            v = v + h / 2 * force(x)
            x = x + h * v
            v = v + (h if switch == "last_half" and i == n - 1 else h / 2) * force(x)
            xs.append(x)
        return (x, v), xs

    def backward(dx, dv, xs):
        for i in reversed(range(n)):
            dx = dx + h / 2 * force_back(dv, xs[i + 1])
            dv = dv + h * dx
            if switch == "wrong_place":
                dx = dx + h / 2 * force_back(dv, xs[i + 1])
            else:
                dx = dx + h / 2 * force_back(dv, xs[i])
        return dx, dv

    return forward, backward


def orbit_reference():
    def force(x):
        return -x / (x.square().sum(-1, keepdim=True) + 1) ** 1.5

    def reference(x, v):
        for _ in range(25):
            v = v + 0.05 * force(x)
            x = x + 0.1 * v
            v = v + 0.05 * force(x)
        return x, v

    return reference


CASES += family(
    "orbits", orbit, orbit_reference, {"inputs": {"x": ("n", 2), "v": ("n", 2)}},
    {
        "central_only": "The force's derivative lacks what comes from the distance.",
        "near_only": "Further out than 20 the force's derivative lacks what comes from the distance.",
        "wrong_place": "The first half kick's derivative is taken at the end of the step.",
        "last_half": "The last half kick is a whole one in the forward pass.",
    },
)  # fmt: skip


# --- local maxima --------------------------------------------------------------------------------------------


def peaks(switch):
    def windows(x):
        p = np.pad(x, ((0, 0), (1, 1)), constant_values=-np.inf)
        return np.lib.stride_tricks.sliding_window_view(p, 3, 1)

    def forward(x):
        m = windows(x).max(-1)
        keep = x == m
        if switch == "positive":
            p = np.pad(x, ((0, 0), (1, 1)))
            keep = x == np.lib.stride_tricks.sliding_window_view(p, 3, 1).max(-1)
        if switch == "strict":
            keep &= (windows(x) == m[..., None]).sum(-1) == 1
        return np.where(keep, x * x, 0.1 * x), (x, keep)

    def backward(dy, cache):
        x, keep = cache
        if switch == "low_peaks":
            return dy * np.where(keep, 2 * np.abs(x), 0.1)
        if switch == "held":
            return dy * np.where(keep, np.clip(2 * x, -300, 300), 0.1)
        return dy * np.where(keep, 2 * x, 0.1)

    return forward, backward


def peaks_reference():
    def reference(x):
        keep = x == F.max_pool1d(x[:, None], 3, 1, 1)[:, 0]
        return torch.where(keep, x * x, 0.1 * x)

    return reference


CASES += family(
    "local_maxima", peaks, peaks_reference, {"inputs": {"x": ("b", "n")}},
    {
        "positive": "The ends are padded with 0 where −∞ belongs: a peak below 0 at an end is not found.",
        "strict": "A plateau has no maxima where all of it has.",
        "low_peaks": "A maximum below 0 gets the gradient of the wrong sign: 2|x| where 2x belongs.",
        "held": "The slope at a maximum is held within ±300.",
    },
)  # fmt: skip


# --- attention over edges ------------------------------------------------------------------------------------


def edges(switch):
    def parts(x, src, dst, a):
        n = x.shape[0]
        s = x[src] @ a[0] + x[dst] @ a[1]
        if switch == "one_maximum":
            top = s.max()
        elif switch == "no_maximum":
            top = 0.0
        else:
            m = np.full(n, -np.inf)
            np.maximum.at(m, dst, s)
            top = m[dst]
        e = np.exp(s - top)
        z = np.zeros(n)
        np.add.at(z, dst, e)
        return e / (z[dst] + (1e-16 if switch != "right" else 0.0))

    def forward(x, src, dst, a):
        p = parts(x, src, dst, a)
        y = np.zeros_like(x)
        np.add.at(y, dst, p[:, None] * x[src])
        return y

    def backward(dy, x, src, dst, a):
        p = parts(x, src, dst, a)
        dp = (dy[dst] * x[src]).sum(-1)
        mean = np.zeros(x.shape[0])
        np.add.at(mean, dst, dp * p)
        ds = p * (dp - mean[dst])
        if switch == "twice":
            ds = np.where(np.bincount(dst, minlength=len(x))[dst] > 20, p * dp, ds)
        dx = np.zeros_like(x)
        np.add.at(dx, src, p[:, None] * dy[dst] + ds[:, None] * a[0])
        np.add.at(dx, dst, ds[:, None] * a[1])
        return dx, np.stack([ds @ x[src], ds @ x[dst]])

    return forward, backward


def edges_reference():
    def reference(x, src, dst, a):
        s = x[src] @ a[0] + x[dst] @ a[1]
        m = torch.full((len(x),), -torch.inf, dtype=x.dtype).scatter_reduce(0, dst, s.detach(), "amax")
        e = torch.exp(s - m[dst])
        z = torch.zeros(len(x), dtype=x.dtype).index_add(0, dst, e)
        return torch.zeros_like(x).index_add(0, dst, (e / z[dst])[:, None] * x[src])

    return reference


CASES += family(
    "attention_over_edges", edges, edges_reference,
    {"inputs": {"x": ("n", 3), "src": indices("n", ("e",)), "dst": indices("n", ("e",))}, "params": {"a": (2, 3)}},
    {
        "one_maximum": "One maximum is taken off for all nodes: those with far lower scores underflow to 0/1e-16.",
        "no_maximum": "No maximum is taken off: scores beyond 709 overflow, and those below −40 vanish in 1e-16.",
        "twice": "A node with more than 20 edges lacks the mean in the gradient of its softmax.",
    },
)  # fmt: skip


# --- how far two sets of points are apart --------------------------------------------------------------------


def farthest(switch):
    def parts(a, b):
        d = ((a[:, :, None] - b[:, None]) ** 2).sum(-1)
        near = d.min(2)
        return d, near, near.max(1)

    def forward(a, b):
        return parts(a, b)[2]

    def backward(dy, a, b):
        d, near, far = parts(a, b)
        w = (near == far[:, None]).astype(float)
        w /= w.sum(1, keepdims=True)
        u = (d == near[..., None]).astype(float)
        if switch != "not_shared":
            u /= u.sum(2, keepdims=True)
        g = dy[:, None, None] * w[..., None] * u
        if switch == "limited":
            g = g * np.minimum(1.0, 2500.0 / np.maximum(d, 1e-9))
        diff = 2 * g[..., None] * (a[:, :, None] - b[:, None])
        return diff.sum(2), -diff.sum(1)

    return forward, backward


def farthest_reference():
    def reference(a, b):
        return (a[:, :, None] - b[:, None]).square().sum(-1).amin(2).amax(1)

    return reference


CASES += family(
    "farthest_of_nearest", farthest, farthest_reference, {"inputs": {"a": ("b", "n", 2), "b": ("b", "m", 2)}},
    {
        "not_shared": "Points of the other set that are equally near each get all of the gradient.",
        "limited": "Sets that are more than 50 apart get a gradient that is shortened.",
    },
)  # fmt: skip


# --- between the pixels --------------------------------------------------------------------------------------


def sampled(switch):
    def parts(v, at):
        n = v.shape[1]
        p = np.clip(at, 0, n - 1)
        i = np.clip(np.floor(p).astype(int), 0, n - 2) if switch == "last_but_one" else np.floor(p).astype(int)
        j = np.minimum(i + 1, n - 1)
        return p - i, i, j

    def forward(v, at):
        f, i, j = parts(v, at)
        return np.take_along_axis(v, i, 1) * (1 - f) + np.take_along_axis(v, j, 1) * f

    def backward(dy, v, at):
        f, i, j = parts(v, at)
        rows = np.arange(len(v))[:, None]
        dv = np.zeros_like(v)
        if switch == "overwritten":
            dv[rows, i] += dy * (1 - f)
        else:
            np.add.at(dv, (rows, i), dy * (1 - f))
        np.add.at(dv, (rows, j), dy * f)
        dat = dy * (np.take_along_axis(v, j, 1) - np.take_along_axis(v, i, 1))
        inside = (at > 0) & (at < v.shape[1] - 1)
        if switch == "beyond_end_is_flat":
            inside = at > 0
        if switch == "to_80":
            inside &= at < 80
        return dv, dat * inside

    return forward, backward


def sampled_reference():
    def reference(v, at):
        n = v.shape[1]
        p = at.clamp(0, n - 1)
        i = p.detach().floor().long()
        j = (i + 1).clamp(max=n - 1)
        f = p - i
        return v.gather(1, i) * (1 - f) + v.gather(1, j) * f

    return reference


CASES += family(
    "between_pixels", sampled, sampled_reference, {"inputs": {"v": ("b", "n"), "at": ("b", "m")}},
    {
        "overwritten": "Places in the same cell overwrite each other's gradient.",
        "to_80": "Places beyond 80 get no gradient, however long the line.",
    },
    right=("right", "beyond_end_is_flat"),
)  # fmt: skip
