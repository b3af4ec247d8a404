"""What does a check cost as sizes grow: one that passes, one that fails, beside gradcheck and assert_close?

    python -m benchmarks.speed.scale_of_check                # small and middle sizes, a few minutes
    python -m benchmarks.speed.scale_of_check --largest      # and the large ones

The unit is both sides' own time: a forward and a backward pass of each, once. Every other number is CPU time, that of
child processes included, over this unit, in the same run: a check that passes; the same with a planted fault (the
gradient averaged over the batch, the softmax's projection left out, the kernel not turned, a path of the cell left
out), with its cause and its script; `torch.autograd.gradcheck`, slow and fast; and `torch.testing.assert_close` of the
forward pass and all gradients. Memory is the largest resident size that the passing check adds to what was there. A
peer that would take more than a minute, as its own smaller size foretells, or more than 1 GiB, is left out.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from benchmarks.speed.timing import table
from handgrad import CheckFailed, Report, check
from handgrad.compare.foundation import threads

PATIENCE, ROOM = 60.0, 1 << 30  # seconds and bytes for a peer
BATCH = 64


class Size(NamedTuple):
    """A derivation of one size: forward, backward right and wrong, the reference, and the shapes it is given."""

    name: str
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    wrong: Callable[..., Any]
    reference: Callable[..., torch.Tensor]
    x: tuple[int, ...]
    params: dict[str, tuple[int, ...]]


def linear(n: int) -> Size:
    """A layer of n units."""

    def backward(dy: Any, x: Any, weight: Any, bias: Any) -> Any:
        return {"x": dy @ weight, "weight": dy.T @ x, "bias": dy.sum(0)}

    def wrong(dy: Any, x: Any, weight: Any, bias: Any) -> Any:
        return backward(dy, x, weight, bias) | {"bias": dy.mean(0)}

    shapes = {"weight": (n, n), "bias": (n,)}
    return Size(
        f"Linear {n}",
        lambda x, weight, bias: x @ weight.T + bias,
        backward,
        wrong,
        functional.linear,
        (BATCH, n),
        shapes,
    )


def attention(tokens: int) -> Size:
    """One head of 64 dimensions that attends to its own input."""
    scale = 1 / 8

    def weights(x: Any) -> Any:
        s = x @ x.T * scale
        e = np.exp(s - s.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    def backward(dy: Any, x: Any, projected: bool = True) -> Any:
        p = weights(x)
        dp = dy @ x.T
        ds = p * (dp - (dp * p).sum(-1, keepdims=True)) if projected else p * dp
        return p.T @ dy + (ds @ x + ds.T @ x) * scale

    return Size(
        f"attention {tokens}", lambda x: weights(x) @ x, backward, lambda dy, x: backward(dy, x, projected=False),
        lambda x: torch.softmax(x @ x.T * scale, -1) @ x, (tokens, 64), {},
    )  # fmt: skip


def convolution(side: int) -> Size:
    """Eight 3×3 kernels over two images of three channels."""

    def windows(x: Any) -> Any:
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        n = x.shape[-1]
        return [(i, j, padded[:, :, i : i + n, j : j + n]) for i in range(3) for j in range(3)]

    def forward(x: Any, kernel: Any) -> Any:
        return sum(np.einsum("oc,nchw->nohw", kernel[:, :, i, j], part) for i, j, part in windows(x))

    def backward(dy: Any, x: Any, kernel: Any, turned: bool = True) -> Any:
        back = kernel[:, :, ::-1, ::-1] if turned else kernel
        dx = sum(np.einsum("oc,nohw->nchw", back[:, :, i, j], part) for i, j, part in windows(dy))
        rows = [[np.einsum("nohw,nchw->oc", dy, windows(x)[3 * i + j][2]) for j in range(3)] for i in range(3)]
        return {"x": dx, "kernel": np.moveaxis(np.stack([np.stack(row, -1) for row in rows], -2), (0, 1), (0, 1))}

    return Size(
        f"3×3 convolution {side}²", forward, backward, lambda dy, x, kernel: backward(dy, x, kernel, turned=False),
        lambda x, kernel: functional.conv2d(x, kernel, padding=1), (2, 3, side, side), {"kernel": (8, 3, 3, 3)},
    )  # fmt: skip


def lstm(steps: int) -> Size:
    """A cell of 8 units over the steps of a batch of four sequences."""
    units = 8

    def sigmoid(z: Any) -> Any:
        return 1 / (1 + np.exp(-z))

    def run(x: Any, U: Any, W: Any) -> Any:
        h = c = x[:, 0, :units] * 0
        kept = []
        for t in range(x.shape[1]):
            z = x[:, t] @ U.T + h @ W.T
            i, f, o = (sigmoid(z[:, k * units : (k + 1) * units]) for k in range(3))
            g = np.tanh(z[:, 3 * units :])
            kept.append((h, c, i, f, o, g))
            c = f * c + i * g
            h = o * np.tanh(c)
        return h, c, kept

    def backward(dy: Any, x: Any, U: Any, W: Any, whole: bool = True) -> Any:
        _, c, kept = run(x, U, W)
        dh, dc, dU, dW, dx = dy, dy * 0, U * 0, W * 0, []
        for t in range(x.shape[1] - 1, -1, -1):
            h, before, i, f, o, g = kept[t]
            dc = dc + dh * o * (1 - np.tanh(c) ** 2)
            parts = [
                dc * g * i * (1 - i),
                dc * before * f * (1 - f),
                dh * np.tanh(c) * o * (1 - o),
                dc * i * (1 - g**2),
            ]
            if not whole:
                parts[0] = parts[0] * 0
            dz = np.concatenate(parts, 1)
            dU, dW = dU + dz.T @ x[:, t], dW + dz.T @ h
            dx.append(dz @ U)
            dh, dc, c = dz @ W, dc * f, before
        return {"x": np.stack(dx[::-1], 1), "U": dU, "W": dW}

    def reference(x: torch.Tensor, U: torch.Tensor, W: torch.Tensor) -> torch.Tensor:
        h = c = x[:, 0, :units] * 0
        for t in range(x.shape[1]):
            i, f, o, g = (x[:, t] @ U.T + h @ W.T).split(units, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return h

    return Size(
        f"LSTM {steps} steps", lambda x, U, W: run(x, U, W)[0], backward,
        lambda dy, x, U, W: backward(dy, x, U, W, whole=False), reference,
        (4, steps, units), {"U": (4 * units, units), "W": (4 * units, units)},
    )  # fmt: skip


SIZES: list[tuple[Callable[[int], Size], tuple[int, ...], tuple[int, ...]]] = [
    (linear, (64, 256, 1024), (4096,)),
    (attention, (16, 64, 256), (1024, 2048)),
    (convolution, (16, 64), (128, 224)),
    (lstm, (1, 4, 16), (64,)),
]


def cpu() -> float:
    """Seconds of CPU of this process and of its children."""
    here, there = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return here.ru_utime + here.ru_stime + there.ru_utime + there.ru_stime


def cost(run: Callable[[], Any]) -> float:
    """Seconds of CPU."""
    started = cpu()
    run()
    return cpu() - started


def unit(size: Size, arrays: dict[str, Any]) -> float:
    """Both sides' own time, the mean of as many as fill a tenth of a second."""
    x, dy, params = arrays["x"], arrays["dy"], {k: arrays[k] for k in size.params}

    def once() -> None:
        size.forward(x, **params)
        size.backward(dy, x, **params)
        leaves = [torch.from_numpy(v).requires_grad_() for v in (x, *params.values())]
        torch.autograd.grad(size.reference(*leaves), leaves, torch.from_numpy(dy))

    once()
    count, started = 0, time.process_time()
    while (spent := time.process_time() - started) < 0.1:
        once()
        count += 1
    return spent / count


def peers(size: Size, arrays: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """gradcheck of the reference, slow and fast, and assert_close of both sides."""
    leaves = [torch.from_numpy(arrays[k]).requires_grad_() for k in ("x", *size.params)]

    def close() -> None:
        y = size.reference(*leaves)
        gradients = torch.autograd.grad(y, leaves, torch.from_numpy(arrays["dy"]))
        params = {k: arrays[k] for k in size.params}
        ours = size.backward(arrays["dy"], arrays["x"], **params)
        ours = list(ours.values()) if isinstance(ours, dict) else [ours]
        torch.testing.assert_close(torch.from_numpy(size.forward(arrays["x"], **params)), y.detach())
        torch.testing.assert_close([torch.from_numpy(np.ascontiguousarray(g)) for g in ours], list(gradients))

    return {
        "gradcheck": lambda: torch.autograd.gradcheck(size.reference, leaves),
        "gradcheck, fast": lambda: torch.autograd.gradcheck(size.reference, leaves, fast_mode=True),
        "assert_close": close,
    }


def put(size: Size, backward: Callable[..., Any]) -> Report:
    """What check says."""
    try:
        return check((size.forward, backward), size.reference, x=size.x, params=size.params)
    except CheckFailed as failure:
        return failure.report


def rows(largest: bool) -> Iterator[list[str]]:
    """A row for every size."""
    rng = np.random.default_rng(0)
    for kind, plain, large in SIZES:
        before: dict[str, tuple[float, int]] = {}
        for n in plain + (large if largest else ()):
            size = kind(n)
            arrays = {"x": rng.normal(size=size.x), **{k: rng.normal(size=s) for k, s in size.params.items()}}
            arrays["dy"] = rng.normal(size=np.shape(size.forward(arrays["x"], **{k: arrays[k] for k in size.params})))
            one, numbers = unit(size, arrays), sum(v.size for v in arrays.values())
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            reports: list[Report] = []
            passing = cost(lambda size=size, reports=reports: reports.append(put(size, size.backward)))  # type: ignore[misc]
            assert reports[0].agrees, reports[0]
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
            failing = cost(lambda size=size, reports=reports: reports.append(put(size, size.wrong)))  # type: ignore[misc]
            assert not reports[1].agrees
            within = "yes" if failing <= 3 * passing + 2 else "NO"
            row = [size.name, f"{1e3 * one:.3g}", f"{passing:.2f}", f"{passing / one:.0f}", f"{failing:.2f}", within]
            row += [str(sum(bool(f.causes) for f in reports[1].findings if f.differs)), str(len(str(reports[1])))]
            for name, peer in peers(size, arrays).items():
                spent, fewer = before.get(name, (0.0, numbers))
                # a derivative by every number, each as long as them all, and two Jacobians of them
                jacobians = 16 * numbers * arrays["dy"].size if name == "gradcheck" else 0
                if spent * (numbers / fewer) ** 2 > PATIENCE or jacobians > ROOM:
                    row.append("left out")
                    before[name] = spent * (numbers / fewer) ** 2, numbers
                    continue
                before[name] = cost(peer), numbers
                row.append(f"{before[name][0] / one:.0f}")
            yield [*row, f"{memory / 1024:.0f}"]


def main(arguments: list[str] | None = None) -> int:
    """Print a row as soon as it is known, and the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--largest", action="store_true", help="the large sizes, too")
    asked = parser.parse_args(arguments)
    threads.limit()
    header = [
        "", "unit, ms", "passes, s", "÷ unit", "fails, s", "≤ 3 × + 2 s", "causes", "characters",
        "gradcheck ÷ unit", "fast", "assert_close", "memory, MiB",
    ]  # fmt: skip
    made = []
    for row in rows(asked.largest):
        made.append(row)
        print(" · ".join(row), file=sys.stderr, flush=True)
    print(table(header, made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
