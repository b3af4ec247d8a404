"""Convolutions and pooling: strides, windows, transforms, sizes that leave something over."""

import numpy as np
import torch.nn.functional as F

from tests.derivations.hidden.case import family

CASES = []


# --- strided, in one dimension -------------------------------------------------------------------------------


def strided(switch):
    def forward(x, weight):
        k, w = weight.shape[-1], x.shape[-1]
        m = (w - k) // 2 + 1
        first = (w - k) % 2 if switch == "from_the_end" else 0
        cols = np.stack([x[:, :, first + j : first + j + 2 * m - 1 : 2] for j in range(k)], -1)
        return np.einsum("ncmk,dck->ndm", cols, weight), (x, weight, cols)

    def backward(dy, cache):
        x, weight, cols = cache
        (n, d, m), k = dy.shape, weight.shape[-1]
        wide = np.zeros((n, d, 2 * m - 1 + 2 * (k - 1)), dy.dtype)
        wide[:, :, k - 1 : k - 1 + 2 * m - 1 : 2] = dy
        reach = 2 * (m - 1) + k
        dx = sum(np.einsum("ndw,dc->ncw", wide[:, :, j : j + reach], weight[:, :, k - 1 - j]) for j in range(k))
        over = x.shape[-1] - reach
        pad = ((0, 0), (0, 0), (over, 0) if switch == "padded_in_front" else (0, over))
        return {"x": np.pad(dx, pad), "weight": np.einsum("ncmk,ndm->dck", cols, dy)}

    def scattered_back(dy, cache):
        x, weight, cols = cache
        dx, m = np.zeros_like(x), dy.shape[-1]
        for j in range(weight.shape[-1]):
            dx[:, :, j : j + 2 * m - 1 : 2] += np.einsum("ndm,dc->ncm", dy, weight[:, :, j])
        return dx, np.tensordot(dy, cols, ((0, 2), (0, 2)))

    return forward, (scattered_back if switch == "scattered" else backward)


CASES += family(
    "strided_convolution", strided, lambda: lambda x, weight: F.conv1d(x, weight, stride=2),
    {"inputs": {"x": ("n", "c", "w")}, "params": {"weight": ("d", "c", 3)}},
    {
        "padded_in_front": "Where the last element is in no window (even widths) dx is shifted by one.",
        "from_the_end": "The windows end at the last element where they begin at the first; apart for even widths.",
    },
    right=("right", "scattered"),
)  # fmt: skip


# --- two dimensions, by columns ------------------------------------------------------------------------------


def by_columns(switch):
    def places(h, w):
        i, j = np.meshgrid(np.arange(h - 2), np.arange(w - 2), indexing="ij")
        a, b = np.meshgrid(np.arange(3), np.arange(3), indexing="ij")
        rows = i.reshape(-1, 1) + a.reshape(1, -1)
        columns = j.reshape(-1, 1) + b.reshape(1, -1)
        return rows, columns

    def flat(h, w, pitch):
        rows, columns = places(h, w)
        return rows * pitch + columns

    def forward(x, weight):
        n, c, h, w = x.shape
        cols = x.reshape(n, c, h * w)[:, :, flat(h, w, h if switch == "both_pitches" else w)]
        y = np.einsum("ncpk,dck->ndp", cols, weight.reshape(*weight.shape[:2], 9))
        return y.reshape(n, -1, h - 2, w - 2), (x, weight, cols)

    def backward(dy, cache):
        x, weight, cols = cache
        n, c, h, w = x.shape
        g = dy.reshape(n, dy.shape[1], -1)
        dcols = np.einsum("ndp,dck->ncpk", g, weight.reshape(*weight.shape[:2], 9))
        dx = np.zeros((n, c, h * w), x.dtype)
        np.add.at(dx, (slice(None), slice(None), flat(h, w, h if switch != "right" else w)), dcols)
        dx = dx.reshape(x.shape)
        return {"x": dx, "weight": np.einsum("ncpk,ndp->dck", cols, g).reshape(weight.shape)}

    return forward, backward


CASES += family(
    "convolution_by_columns", by_columns, lambda: lambda x, weight: F.conv2d(x, weight),
    {"inputs": {"x": (2, 3, 6, 6)}, "params": {"weight": (4, 3, 3, 3)}},
    {
        "pitch": "dx is added at i·h + j where the flat index is i·w + j; alike for squares only.",
        "both_pitches": "Forward and backward have the height as the length of a row; alike for squares only.",
    },
)  # fmt: skip


# --- short kernels directly, long signals by transform -------------------------------------------------------

LONG = 48


def by_transform(switch):
    def correlate(x, weight):
        """Σ_c Σ_j x[c, t + j] w[d, c, j]"""
        t, k = x.shape[-1], weight.shape[-1]
        m = t - k + 1
        if t < LONG and switch != "always":
            return sum(np.einsum("nct,dc->ndt", x[:, :, j : j + m], weight[:, :, j]) for j in range(k))
        size = t + k - 1
        fx, fw = np.fft.rfft(x, size), np.fft.rfft(weight, size)
        if switch != "not_conjugated":
            fw = np.conj(fw)
        return np.fft.irfft(np.einsum("ncf,dcf->ndf", fx, fw), size)[..., :m].astype(x.dtype)

    def forward(x, weight):
        return correlate(x, weight)

    def backward(dy, x, weight):
        m, k = dy.shape[-1], weight.shape[-1]
        if m < LONG - k + 1 and switch != "always":
            padded = np.pad(dy, ((0, 0), (0, 0), (k - 1, k - 1)))
            turned = np.swapaxes(weight, 0, 1)[:, :, ::-1]
            dx = sum(np.einsum("ndt,cd->nct", padded[:, :, j : j + m + k - 1], turned[:, :, j]) for j in range(k))
        else:
            size = m if switch == "wraps" else m + k - 1
            f = np.einsum("ndf,dcf->ncf", np.fft.rfft(dy, size), np.fft.rfft(weight, size))
            dx = np.fft.irfft(f, size).astype(x.dtype)
            dx = np.pad(dx, ((0, 0), (0, 0), (0, m + k - 1 - size)))
        dw = np.stack([np.einsum("ndm,ncm->dc", dy, x[:, :, j : j + m]) for j in range(k)], -1)
        return {"x": dx, "weight": dw}

    return forward, backward


CASES += family(
    "convolution_by_transform", by_transform, lambda: lambda x, weight: F.conv1d(x, weight),
    {"inputs": {"x": ("n", "c", "t")}, "params": {"weight": ("d", "c", 4)}},
    {
        "not_conjugated": "From 48 steps on the kernel runs backwards: a convolution where a correlation belongs.",
        "wraps": "From 48 steps on the end of dx is wrapped around to its beginning.",
    },
    right=("right", "always"),
)  # fmt: skip


# --- three taps, two outputs a tile, four products -----------------------------------------------------------


def tiles(switch):
    def minimal(x, g):
        """Correlation with three taps by four products for two outputs."""
        m = x.shape[-1] - 2
        x = np.pad(x, ((0, 0), (0, 0), (0, m % 2)))
        a, b, c, d = (x[..., j : j + x.shape[-1] - 3 : 2] for j in range(4))
        half = (g[..., 0] + g[..., 2]) / 2
        p = np.einsum("nct,dc->ndt", a - c, g[..., 0])
        q = np.einsum("nct,dc->ndt", b + c, half + g[..., 1] / 2)
        r = np.einsum("nct,dc->ndt", c - b, half - g[..., 1] / 2)
        s = np.einsum("nct,dc->ndt", b - d, g[..., 2])
        y = np.stack([p + q + r, q - r - s], -1)
        return y.reshape(*y.shape[:2], -1)[..., :m]

    def direct(x, g):
        m = x.shape[-1] - 2
        return sum(np.einsum("nct,dc->ndt", x[..., j : j + m], g[..., j]) for j in range(3))

    run = direct if switch == "direct" else minimal

    def forward(x, weight):
        return run(x, weight)

    def backward(dy, x, weight):
        wide = np.pad(dy, ((0, 0), (0, 0), (2, 2)))
        dx = run(wide, np.swapaxes(weight, 0, 1)[:, :, ::-1])
        m = dy.shape[-1]
        return dx, np.stack([np.einsum("ndt,nct->dc", dy, x[..., j : j + m]) for j in range(3)], -1)

    return forward, backward


CASES += family(
    "three_taps", tiles, lambda: lambda x, weight: F.conv1d(x, weight),
    {"inputs": {"x": ("n", "c", "t")}, "params": {"weight": ("d", "c", 3)}}, {}, right=("minimal", "direct"),
)  # fmt: skip


# --- averages of windows, the last one cut off ---------------------------------------------------------------


def averages(switch):
    def windows(w):
        m = -(-(w - 3) // 2) + 1
        return [(2 * i, min(2 * i + 3, w)) for i in range(m)]

    def forward(x):
        spans = windows(x.shape[-1])
        if switch == "divides_by_three":
            return np.stack([x[..., a:b].sum(-1) / 3 for a, b in spans], -1)
        return np.stack([x[..., a:b].mean(-1) for a, b in spans], -1)

    def backward(dy, x):
        dx = np.zeros_like(x)
        for i, (a, b) in enumerate(windows(x.shape[-1])):
            if switch == "cut_left_out" and b - a < 3:
                continue
            by = 3 if switch in ("divides_by_three", "backward_by_three") else b - a
            dx[..., a:b] += dy[..., i : i + 1] / by
        return dx

    def matrix(w):
        return np.array([[float(a <= j < b) / (b - a) for j in range(w)] for a, b in windows(w)])

    if switch == "matrix":
        return (lambda x: x @ matrix(x.shape[-1]).T.astype(x.dtype),
                lambda dy, x: dy @ matrix(x.shape[-1]).astype(x.dtype))  # fmt: skip
    return forward, backward


CASES += family(
    "average_pooling", averages, lambda: lambda x: F.avg_pool1d(x, 3, 2, ceil_mode=True), {"x": ("n", "c", "w")},
    {
        "divides_by_three": "A last window that is cut off is divided by 3 where it has two elements (even widths).",
        "backward_by_three": "The gradient of a last window that is cut off is divided by 3, not by its two elements.",
        "cut_left_out": "A last window that is cut off gets no gradient.",
    },
    right=("right", "matrix"),
)  # fmt: skip


# --- maxima of windows that overlap --------------------------------------------------------------------------


def maxima(switch):
    def forward(x):
        w = x.shape[-1]
        m = (w - 3) // 2 + 1
        spans = [x[..., 2 * i : 2 * i + 3] for i in range(m)]
        at = np.stack([2 * i + s.argmax(-1) for i, s in enumerate(spans)], -1)
        return np.take_along_axis(x, at, -1), (x, at)

    def backward(dy, cache):
        x, at = cache
        dx = np.zeros_like(x)
        n, c, m = dy.shape
        if switch == "flat":
            places = np.arange(n * c)[:, None] * x.shape[-1] + at.reshape(n * c, m)
            return np.bincount(places.ravel(), dy.ravel(), x.size).reshape(x.shape).astype(x.dtype)
        if switch == "in_two_halves":  # windows of one half do not overlap: the even ones, then the odd ones
            for half in (0, 1):
                part = np.zeros_like(x)
                np.put_along_axis(part, at[..., half::2], dy[..., half::2], -1)
                dx = dx + part
            return dx
        np.add.at(dx, (np.arange(n)[:, None, None], np.arange(c)[:, None], at), dy)
        return dx

    return forward, backward


CASES += family(
    "max_pooling", maxima, lambda: lambda x: F.max_pool1d(x, 3, 2), {"x": ("n", "c", "w")},
    {},
    right=("right", "flat", "in_two_halves"),
)  # fmt: skip


# --- to a given number of outputs ----------------------------------------------------------------------------

OUT = 4


def adaptive(switch):
    def spans(w):
        if switch == "equal_parts":
            return [(i * (w // OUT), (i + 1) * (w // OUT)) for i in range(OUT)]
        if switch == "no_overlap":
            return [(i * w // OUT, (i + 1) * w // OUT) for i in range(OUT)]
        return [(i * w // OUT, -(-(i + 1) * w // OUT)) for i in range(OUT)]

    def forward(x):
        return np.stack([x[..., a:b].mean(-1) for a, b in spans(x.shape[-1])], -1)

    def backward(dy, x):
        dx, w = np.zeros_like(x), x.shape[-1]
        for i, (a, b) in enumerate(spans(w)):
            dx[..., a:b] += dy[..., i : i + 1] / (w / OUT if switch == "mean_length" else b - a)
        return dx

    return forward, backward


CASES += family(
    "adaptive_pooling", adaptive, lambda: lambda x: F.adaptive_avg_pool1d(x, OUT), {"x": (2, 3, 8)},
    {
        "equal_parts": "Widths that 4 does not divide lose what is left over: every part has w // 4 elements.",
        "no_overlap": "The parts end at the floor where they end at the ceiling; apart where 4 does not divide w.",
        "mean_length": "The gradient is divided by w/4 where the part's own length belongs.",
    },
)  # fmt: skip


# --- windows as views ----------------------------------------------------------------------------------------


def views(switch):
    def windows(x):
        n, c, t = x.shape
        if switch == "own_strides":
            strides = (c * t * x.itemsize, t * x.itemsize, x.itemsize, x.itemsize)
        else:
            strides = (*x.strides, x.strides[-1])
        return np.lib.stride_tricks.as_strided(x, (n, c, t - 2, 3), strides)

    def forward(x, weight):
        return np.einsum("nctk,dck->ndt", windows(x), weight)

    def backward(dy, x, weight):
        dx = np.zeros(x.shape, x.dtype)
        for k in range(3):
            dx[..., k : k + dy.shape[-1]] += np.einsum("ndt,dc->nct", dy, weight[..., k])
        return dx, np.einsum("nctk,ndt->dck", windows(x), dy)

    return forward, backward


CASES += family(
    "windows_as_views", views, lambda: lambda x, weight: F.conv1d(x, weight),
    {"inputs": {"x": ("n", "c", "t")}, "params": {"weight": ("d", "c", 3)}},
    {"own_strides": "The windows' strides are those of a contiguous array: wrong for a transposed view."},
)  # fmt: skip


# --- linear interpolation ------------------------------------------------------------------------------------


def stretched(switch):
    def rows(w):
        """The matrix that stretches to seven."""
        at = np.maximum((np.arange(7) + 0.5) * w / 7 - 0.5, 0)
        if switch == "fixed_centre" and w > 7:
            at = np.arange(7) * (w - 1) / 6
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, w - 1)
        found = np.zeros((7, w))
        np.add.at(found, (np.arange(7), low), 1 - (at - low))
        np.add.at(found, (np.arange(7), high), at - low)
        return found

    return (lambda x: x @ rows(x.shape[-1]).T.astype(x.dtype), lambda dy, x: dy @ rows(x.shape[-1]).astype(x.dtype))


CASES += family(
    "stretching", stretched, lambda: lambda x: F.interpolate(x, size=7, mode="linear"), {"x": (2, 3, 5)},
    {"fixed_centre": "Longer inputs than outputs are sampled with aligned corners."},
)  # fmt: skip

