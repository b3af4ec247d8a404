"""Objects with a state that goes on over many calls."""

import numpy as np
import torch
from torch import nn

from handgrad import stateful
from tests.derivations.hidden.case import family

CASES = []


# --- a memory of the last sixteen steps ----------------------------------------------------------------------

KEPT = 16


class Memory:
    def __init__(self, switch):
        self.switch = switch
        self.w, self.dw = np.zeros((4, 4)), None
        self.kept, self.count = np.zeros((KEPT, 4)), np.zeros(1)

    def forward(self, x):
        self.x = x
        filled = int(min(self.count[0], KEPT))
        self.old = self.kept[KEPT - filled :]
        if self.switch == "first_kept" and filled == KEPT:
            self.old = self.kept[: KEPT - len(x)]
        mean = np.concatenate([self.old, x]).mean(0)
        if self.switch == "as_if_full":
            mean = np.concatenate([self.old, x]).sum(0) / min(filled + len(x), KEPT)
        self.size = filled + len(x)
        self.mean = mean
        self.kept = np.concatenate([self.kept, x])[-KEPT:]
        self.count = self.count + len(x)
        if self.switch == "stays_full":
            self.count = np.minimum(self.count, KEPT)
        return (x - mean) @ self.w

    def backward(self, dy):
        self.dw = (self.x - self.mean).T @ dy
        d = dy @ self.w.T
        n = len(self.x) if self.switch == "own_size" else self.size
        return d - d.sum(0) / n


class MemoryReference(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(4, 4))
        self.register_buffer("kept", torch.zeros(KEPT, 4))
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x):
        filled = int(min(self.count.item(), KEPT))
        old = self.kept[KEPT - filled :].clone()
        mean = torch.cat([old, x]).mean(0)
        self.kept.copy_(torch.cat([self.kept, x])[-KEPT:].detach())
        self.count.add_(len(x))
        return (x - mean) @ self.w


CASES += family(
    "memory_of_sixteen", lambda switch: stateful(lambda: Memory(switch), {"w": "dw"}, state=["kept", "count"]),
    MemoryReference, {"x": (5, 4)},
    {
        "as_if_full": "Once the memory is nearly full, old and new rows are more than 16, but divided by 16.",
        "stays_full": "The count of rows seen stops at 16 where it goes on.",
        "own_size": "The gradient through the mean is divided by the batch's rows, not by those of the memory too.",
        "first_kept": "Once the memory is full its newest rows are left out of the mean.",
    },
)  # fmt: skip


# --- a mean whose memory grows longer with the calls ---------------------------------------------------------


class Shadow:
    def __init__(self, switch):
        self.switch = switch
        self.gain, self.dgain = np.ones(4), None
        self.mean, self.calls = np.zeros(4), np.zeros(1)

    def forward(self, x):
        self.calls = self.calls + 1
        n = self.calls[0]
        decay = (1 + n) / (10 + n)
        if self.switch != "no_limit":
            decay = min(decay, {"half": 0.5}.get(self.switch, 0.4))
        self.mean = decay * self.mean + (1 - decay) * x.mean(0)
        self.x = x
        return self.gain * x

    def backward(self, dy):
        self.dgain = (dy * self.x).sum(0)
        return self.gain * dy


class ShadowReference(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(4))
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls.add_(1)
        n = self.calls.item()
        decay = min((1 + n) / (10 + n), 0.4)
        self.mean.copy_(decay * self.mean + (1 - decay) * x.detach().mean(0))
        return self.gain * x


CASES += family(
    "longer_memory", lambda switch: stateful(lambda: Shadow(switch), {"gain": "dgain"}, state=["mean", "calls"]),
    ShadowReference, {"x": (6, 4)},
    {
        "no_limit": "From the sixth call on the decay goes on to grow, where it stays at 0.4.",
        "half": "From the sixth call on the decay grows to 0.5, where it stays at 0.4.",
    },
)  # fmt: skip


# --- a queue of sixteen rows to be told apart from -----------------------------------------------------------


class Queue:
    def __init__(self, switch):
        self.switch = switch
        self.w, self.dw = np.zeros((4, 3)), None
        self.queue, self.pointer = np.zeros((KEPT, 3)), np.zeros(1)

    def forward(self, x):
        self.x, self.seen = x, self.queue
        z = x @ self.w
        logits = z @ self.queue.T
        z = z[-KEPT:]
        start = int(self.pointer[0])
        places = start + np.arange(len(z))
        new = self.queue.copy()
        if self.switch == "rest_lost":
            inside = places < KEPT
            new[places[inside]] = z[inside]
        elif self.switch == "starts_over" and places[-1] >= KEPT:
            places = np.arange(len(z))
            new[places] = z
        else:
            new[places % KEPT] = z
        self.queue = new
        self.pointer = np.array([(places[-1] + 1) % KEPT], dtype=float)
        return logits

    def backward(self, dy):
        dz = dy @ (self.queue if self.switch == "queue_after" else self.seen)
        self.dw = self.x.T @ dz
        return dz @ self.w.T


class QueueReference(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(4, 3))
        self.register_buffer("queue", torch.zeros(KEPT, 3))
        self.register_buffer("pointer", torch.zeros(1))

    def forward(self, x):
        z = x @ self.w
        logits = z @ self.queue.clone().T
        z = z[-KEPT:]
        places = (int(self.pointer.item()) + torch.arange(len(z))) % KEPT
        self.queue[places] = z.detach()
        self.pointer.copy_((places[-1:] + 1) % KEPT)
        return logits


CASES += family(
    "queue_of_sixteen", lambda switch: stateful(lambda: Queue(switch), {"w": "dw"}, state=["queue", "pointer"]),
    QueueReference, {"x": (5, 4)},
    {
        "rest_lost": "What goes beyond the queue's end is lost, where it goes on at its beginning.",
        "starts_over": "A batch that does not fit before the queue's end is put at its beginning as a whole.",
        "queue_after": "The gradient is taken by the queue as it is after the new rows were put into it.",
    },
)  # fmt: skip
