"""Recurrences: through time, with a carried state, as scans; objects that keep running numbers."""

import numpy as np
import torch
from torch import nn

from handgrad import stateful
from tests.derivations.hidden.case import family

CASES = []


def sigmoid(x):
    return 0.5 * (1 + np.tanh(0.5 * x))


# --- a plain recurrent layer ---------------------------------------------------------------------------------

WINDOW = 16


def plain(switch):
    def forward(x, h0, wx, wh):
        hs = [h0]
        for t in range(x.shape[1]):
            hs.append(np.tanh(x[:, t] @ wx + hs[-1] @ wh))
        return np.stack(hs[1:], 1), (x, hs, wx, wh)

    def backward(dy, cache):
        x, hs, wx, wh = cache
        steps = x.shape[1]
        dx, dwx, dwh = np.zeros_like(x), np.zeros_like(wx), np.zeros_like(wh)
        dh = np.zeros_like(hs[0])
        for t in reversed(range(steps)):
            if switch == "window" and (steps - 1 - t) % WINDOW == 0:
                dh = np.zeros_like(dh)
            da = (dy[:, t] + dh) * (1 - hs[t + 1] ** 2)
            dx[:, t] = da @ wx.T
            dwx += x[:, t].T @ da
            if not (switch == "one_step" and steps == 1):
                dwh += hs[t].T @ da
            dh = da @ wh.T
            if switch == "clipped":
                dh = np.clip(dh, -100, 100)
        return {"x": dx, "h0": dh, "wx": dwx, "wh": dwh}

    return forward, backward


def plain_reference():
    def reference(x, h0, wx, wh):
        h, hs = h0, []
        for t in range(x.shape[1]):
            h = torch.tanh(x[:, t] @ wx + h @ wh)
            hs.append(h)
        return torch.stack(hs, 1)

    return reference


CASES += family(
    "recurrent_layer", plain, plain_reference,
    {"inputs": {"x": ("n", "t", 4), "h0": ("n", 5)}, "params": {"wx": (4, 5), "wh": (5, 5)}},
    {
        "window": "Gradients stop after 16 steps back: longer sequences get truncated gradients.",
        "one_step": "For a sequence of one step dwh is 0, although h0 is multiplied by wh.",
        "clipped": "The gradient that is handed back through time is clipped at ±100.",
    },
)  # fmt: skip


# --- a layer that carries its hidden state from call to call -------------------------------------------------


class Carrying:
    def __init__(self, switch):
        self.switch = switch
        self.w, self.u = np.zeros((4, 5)), np.zeros((5, 5))
        self.dw = self.du = None
        self.h = np.zeros((3, 5))

    def forward(self, x):
        start = np.zeros_like(self.h) if self.switch == "starts_anew" else self.h
        self.x, self.hs = x, [start]
        for t in range(x.shape[1]):
            self.hs.append(np.tanh(x[:, t] @ self.w + self.hs[-1] @ self.u))
        self.h = self.hs[-1]
        return np.stack(self.hs[1:], 1)

    def backward(self, dy):
        dx, dh = np.zeros_like(self.x), 0.0
        self.dw, self.du = np.zeros_like(self.w), np.zeros_like(self.u)
        for t in reversed(range(dy.shape[1])):
            da = (dy[:, t] + dh) * (1 - self.hs[t + 1] ** 2)
            dx[:, t] = da @ self.w.T
            self.dw += self.x[:, t].T @ da
            if t > 0 or self.switch != "carried_left_out":
                self.du += self.hs[t].T @ da
            dh = da @ self.u.T
        return dx


class CarryingReference(nn.Module):
    def __init__(self):
        super().__init__()
        self.w, self.u = nn.Parameter(torch.zeros(4, 5)), nn.Parameter(torch.zeros(5, 5))
        self.register_buffer("h", torch.zeros(3, 5))

    def forward(self, x):
        h, hs = self.h.clone(), []
        for t in range(x.shape[1]):
            h = torch.tanh(x[:, t] @ self.w + h @ self.u)
            hs.append(h)
        self.h.copy_(h.detach())
        return torch.stack(hs, 1)


CASES += family(
    "carried_state", lambda switch: stateful(lambda: Carrying(switch), {"w": "dw", "u": "du"}, state=["h"]),
    CarryingReference, {"x": (3, 6, 4)},
    {
        "starts_anew": "Every call starts from zeros where it goes on from the hidden state of the last call.",
        "carried_left_out": "du lacks the product with the hidden state that was carried in from the last call.",
    },
)  # fmt: skip


# --- a mean that runs along ----------------------------------------------------------------------------------


class Centring:
    def __init__(self, switch):
        self.switch = switch
        self.gain, self.dgain = np.ones(5), None
        self.running_mean = np.zeros(5)

    def forward(self, x):
        mean = x.mean(0)
        self.centred = x - mean
        if self.switch == "old_kept":
            self.running_mean = self.running_mean + 0.1 * mean
        elif self.switch == "old_lost":
            self.running_mean = 0.1 * mean
        else:
            self.running_mean = 0.9 * self.running_mean + 0.1 * mean
        return self.gain * self.centred

    def backward(self, dy):
        self.dgain = (dy * self.centred).sum(0)
        g = self.gain * dy
        return g - g.mean(0)


class CentringReference(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(5))
        self.register_buffer("running_mean", torch.zeros(5))

    def forward(self, x):
        mean = x.mean(0)
        self.running_mean.copy_(0.9 * self.running_mean + 0.1 * mean.detach())
        return self.gain * (x - mean)


CASES += family(
    "running_mean", lambda switch: stateful(lambda: Centring(switch), {"gain": "dgain"}, state=["running_mean"]),
    CentringReference, {"x": (6, 5)},
    {
        "old_kept": "The running mean so far is not multiplied by 0.9; nothing shows while it is 0.",
        "old_lost": "The running mean so far is lost: each call leaves 0.1 of its own mean.",
    },
)  # fmt: skip


# --- a convolution that streams: what came before is kept ----------------------------------------------------


class Streaming:
    def __init__(self, switch):
        self.switch = switch
        self.w, self.dw = np.zeros((3, 4)), None
        self.context = np.zeros((2, 2, 4))  # n, the two steps before, channels

    def forward(self, x):
        before = np.zeros_like(self.context) if self.switch == "forgets" else self.context
        self.long = np.concatenate([before, x], 1)
        self.context = self.long[:, -2:]
        t = x.shape[1]
        return sum(self.long[:, k : k + t] * self.w[k] for k in range(3))

    def backward(self, dy):
        t = dy.shape[1]
        long = np.concatenate([0 * self.long[:, :2], self.long[:, 2:]], 1) if self.switch == "own_steps" else self.long
        self.dw = np.stack([(long[:, k : k + t] * dy).sum((0, 1)) for k in range(3)])
        dlong = np.zeros_like(self.long)
        for k in range(3):
            dlong[:, k : k + t] += dy * self.w[k]
        return dlong[:, 2:]


class StreamingReference(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(3, 4))
        self.register_buffer("context", torch.zeros(2, 2, 4))

    def forward(self, x):
        long = torch.cat([self.context.clone(), x], 1)
        self.context.copy_(long[:, -2:].detach())
        return sum(long[:, k : k + x.shape[1]] * self.w[k] for k in range(3))


CASES += family(
    "streaming_convolution", lambda switch: stateful(lambda: Streaming(switch), {"w": "dw"}, state=["context"]),
    StreamingReference, {"x": (2, 6, 4)},
    {
        "forgets": "The steps that were kept of the last call are not used: each call begins after zeros.",
        "own_steps": "dw leaves out what the kept steps of the last call contribute.",
    },
)  # fmt: skip


# --- a linear recurrence with a decay, as a loop, a scan, a ratio of products --------------------------------


def decaying(switch):
    def loop(a, u):
        h, hs = np.zeros_like(u[:, 0]), []
        for t in range(u.shape[1]):
            h = a * h + u[:, t]
            hs.append(h)
        return np.stack(hs, 1)

    def scan(a, u):
        """In rounds, each of which reaches twice as far back."""
        far, a_far, h = 1, np.broadcast_to(a, u.shape[-1:]), u
        for _ in range(4 if switch == "four_rounds" else int(u.shape[1]).bit_length()):
            before = np.concatenate([np.zeros_like(h[:, :far]), h[:, :-far]], 1)[:, : u.shape[1]]
            h, a_far, far = h + a_far * before, a_far * a_far, 2 * far
        return h

    def ratio(a, u):
        p = np.cumprod(np.broadcast_to(a, u.shape[1:]), 0)
        return p * np.cumsum(u / p, 1)

    run = {"scan": scan, "four_rounds": scan, "ratio": ratio}.get(switch, loop)

    def forward(x, decay):
        return run(decay, x), (x, decay)

    def backward(dy, cache):
        x, decay = cache
        h = run(decay, x)
        g = run(decay, dy[:, ::-1])[:, ::-1]  # ∂J/∂h, from the end
        if switch == "ends_left_out":  # as of a window of 12 steps
            return {"x": g, "decay": (g[:, 1:12] * h[:, :11][:, : g.shape[1] - 1]).sum((0, 1))}
        return {"x": g, "decay": (g[:, 1:] * h[:, :-1]).sum((0, 1))}

    return forward, backward


def decaying_reference():
    def reference(x, decay):
        h, hs = torch.zeros_like(x[:, 0]), []
        for t in range(x.shape[1]):
            h = decay * h + x[:, t]
            hs.append(h)
        return torch.stack(hs, 1)

    return reference


CASES += family(
    "decaying_sum", decaying, decaying_reference,
    {"inputs": {"x": ("n", "t", 5)}, "params": {"decay": (5,)}},
    {
        "four_rounds": "The scan makes four rounds: beyond 16 steps what lies further back is left out.",
        "ratio": "Divides by products of the decay: NaN where a decay is 0, where the sum is x itself.",
        "ends_left_out": "The decay's gradient sums over the first twelve steps only.",
    },
    right=("right", "scan"),
)  # fmt: skip


# --- an LSTM whose cell is held within limits ----------------------------------------------------------------

LIMIT = 50.0


def gates(switch):
    def forward(x, w, b):
        n, steps, d = x.shape
        h = c = np.zeros((n, d), x.dtype)
        kept = []
        for t in range(steps):
            z = np.concatenate([x[:, t], h], 1)
            i, f, o, g = np.split(z @ w + b, 4, 1)
            i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), np.tanh(g)
            free = f * c + i * g
            new = free if switch == "unlimited" else np.clip(free, -LIMIT, LIMIT)
            kept.append((z, i, f, o, g, c, free, new))
            c, h = new, o * np.tanh(new)
        return np.concatenate([h, c], 1), (x, w, kept)

    def backward(dy, cache):
        x, w, kept = cache
        d = x.shape[-1]
        dh, dc = dy[:, :d], dy[:, d:]
        dx, dw, db = np.zeros_like(x), 0.0, 0.0
        for t in reversed(range(len(kept))):
            z, i, f, o, g, c, free, new = kept[t]
            th = np.tanh(new)
            dc = dc + dh * o * (1 - th**2)
            if switch not in ("unlimited", "straight_through"):
                dc = dc * (np.abs(free) <= LIMIT)
            da = np.concatenate([
                dc * g * i * (1 - i), dc * c * f * (1 - f), dh * th * o * (1 - o), dc * i * (1 - g**2)
            ], 1)  # fmt: skip
            dw, db, dz = dw + z.T @ da, db + da.sum(0), da @ w.T
            dx[:, t], dh, dc = dz[:, :d], dz[:, d:], dc * f
        return {"x": dx, "w": dw, "b": db}

    return forward, backward


def gates_reference():
    def reference(x, w, b):
        n, steps, d = x.shape
        h = c = x.new_zeros(n, d)
        for t in range(steps):
            i, f, o, g = (torch.cat([x[:, t], h], 1) @ w + b).chunk(4, 1)
            c = (f.sigmoid() * c + i.sigmoid() * g.tanh()).clamp(-LIMIT, LIMIT)
            h = o.sigmoid() * c.tanh()
        return torch.cat([h, c], 1)

    return reference


CASES += family(
    "limited_cell", gates, gates_reference,
    {"inputs": {"x": ("n", "t", 3)}, "params": {"w": (6, 12), "b": (12,)}},
    {
        "straight_through": "Where a cell is held at ±50 the gradient passes as if it were not.",
        "unlimited": "The cell is not held within ±50, which takes more than 50 steps to tell.",
    },
)  # fmt: skip


# --- entropic matching: thirty rounds, unrolled --------------------------------------------------------------

ROUNDS = 30


def matching(switch):
    def logsum(a, axis):
        m = a.max(axis, keepdims=True)
        return m + np.log(np.exp(a - m).sum(axis, keepdims=True))

    def forward(cost):
        s, kept = -cost, []
        for k in range(ROUNDS):
            axis = 1 + k % 2
            s = s - logsum(s, axis)
            kept.append((axis, s))
        return np.exp(s), (kept, s)

    def backward(dy, cache):
        kept, s = cache
        ds = dy * np.exp(s)
        for axis, after in reversed(kept):
            ds = ds - np.exp(after) * ds.sum(axis, keepdims=True)
        return -ds

    return forward, backward


def matching_reference():
    def reference(cost):
        s = -cost
        for k in range(ROUNDS):
            s = s.log_softmax(1 + k % 2)
        return s.exp()

    return reference


CASES += family("entropic_matching", matching, matching_reference, {"x": ("n", "i", "j")}, {}, right=("right",))
