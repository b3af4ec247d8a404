"""Linear algebra, spectra, complex numbers, long computations."""

import numpy as np
import torch

from tests.derivations.hidden.case import family

CASES = []


def swap(a):
    return np.swapaxes(a, -1, -2)


# --- determinants --------------------------------------------------------------------------------------------


def determinant(switch):
    def cofactors(a):
        one, two, three = a[..., 0, :], a[..., 1, :], a[..., 2, :]

        def cross(u, v):
            (a1, a2, a3), (b1, b2, b3) = np.moveaxis(u, -1, 0), np.moveaxis(v, -1, 0)
            return np.stack([a2 * b3 - a3 * b2, a3 * b1 - a1 * b3, a1 * b2 - a2 * b1], -1)

        return np.stack([cross(two, three), cross(three, one), cross(one, two)], -2)

    def forward(a):
        c = cofactors(a)
        return (a[..., 0, :] * c[..., 0, :]).sum(-1), (a, c)

    def backward(dy, cache):
        a, c = cache
        det = (a[..., 0, :] * c[..., 0, :]).sum(-1)
        if switch == "zero_if_singular":
            fine = np.abs(det) > 1e-12
            safe = np.where(fine[..., None, None], a, np.eye(3, dtype=a.dtype))
            return np.where(fine[..., None, None], (dy * det)[..., None, None] * swap(np.linalg.inv(safe)), 0)
        return dy[..., None, None] * c

    return forward, backward


CASES += family(
    "determinant", determinant,
    lambda: lambda a: (a[..., 0, :] * torch.linalg.cross(a[..., 1, :], a[..., 2, :])).sum(-1),
    {"x": ("n", 3, 3)},
    {"zero_if_singular": "A singular matrix gets the gradient 0 where it is the matrix of cofactors."},
)  # fmt: skip


# --- least squares by the pseudoinverse ----------------------------------------------------------------------


def least_squares(switch):
    def inverse(a):
        m, n = a.shape
        if m >= n:
            return np.linalg.solve(a.T @ a, a.T)
        return np.linalg.solve(a @ a.T, a).T

    def by_parts(a):
        u, s, vt = np.linalg.svd(a, full_matrices=False)
        return (vt.T / s) @ u.T

    run = by_parts if switch == "by_singular_values" else inverse

    def forward(a, b):
        return run(a) @ b

    def backward(dy, a, b):
        p = run(a)
        x, g = p @ b, p.T @ dy
        da = -np.outer(g, x)
        if switch != "no_residual":
            da = da + np.outer(b - a @ x, p @ g)
        if switch != "no_null_space":
            da = da + np.outer(p.T @ x, dy - p @ (a @ dy))
        return {"a": da, "b": g}

    return forward, backward


CASES += family(
    "pseudoinverse", least_squares, lambda: lambda a, b: torch.linalg.pinv(a) @ b,
    {"inputs": {"a": (7, 3), "b": (7,)}},
    {"no_null_space": "The term of the null space is left out: 0 for tall matrices, not for wide ones."},
    right=("right", "by_singular_values"),
)  # fmt: skip


# --- systems of equations, drawn symmetric -------------------------------------------------------------------


def positive(rng):
    a = rng.normal(size=(4, 4))
    return a @ a.T / 4 + np.eye(4)


def system(switch):
    def forward(a, b):
        return np.linalg.solve(a, b), np.linalg.slogdet(a)[1]

    def backward(dx, dlog, a, b):
        x = np.linalg.solve(a, b)
        g = np.linalg.solve(a if switch == "not_transposed" else a.T, dx)
        inverse = np.linalg.inv(a)
        return {"a": dlog * (inverse if switch == "log_not_transposed" else inverse.T) - np.outer(g, x), "b": g}

    def eliminated(a, b):
        """By elimination without exchanges, which a positive matrix does not need."""
        u, log = np.concatenate([a, b[:, None]], 1), 0.0
        for k in range(len(b)):
            log = log + np.log(np.abs(u[k, k]))
            row = u[k] / u[k, k]
            u = u - u[:, k : k + 1] * row
            u[k] = row
        return u[:, -1], np.asarray(log)

    return (eliminated if switch == "eliminated" else forward), backward


def system_reference():
    return lambda a, b: (torch.linalg.solve(a, b), torch.linalg.slogdet(a).logabsdet)


CASES += family(
    "system_and_logdet", system, system_reference, {"inputs": {"a": positive, "b": (4,)}},
    {
        "not_transposed": "The gradient solves with A where Aᵀ belongs: alike for symmetric matrices only.",
        "log_not_transposed": "The gradient of log det A is A⁻¹ where A⁻ᵀ belongs: alike for symmetric ones only.",
    },
    right=("right", "eliminated"),
)  # fmt: skip


# --- powers of a spectrum ------------------------------------------------------------------------------------


def spectrum(switch):
    def weights(t):
        w = np.full(t // 2 + 1, 2.0)
        w[0] = 1
        if t % 2 == 0 and switch != "last_doubled":
            w[-1] = 1
        return w

    def forward(x):
        f = np.fft.rfft(x)
        return (f.real**2 + f.imag**2).astype(x.dtype), (x, f)

    def backward(dy, cache):
        x, f = cache
        t = x.shape[-1]
        if switch == "odd_length":
            return np.fft.irfft(dy * f * 2 * t / weights(t), 2 * (f.shape[-1] - 1) + 1)[..., :t].astype(x.dtype)
        if switch == "by_sums":
            k, at = np.arange(t // 2 + 1)[:, None], np.arange(t)
            angle = 2 * np.pi * (k * at % t) / t
            return (2 * ((dy * f.real) @ np.cos(angle) - (dy * f.imag) @ np.sin(angle))).astype(x.dtype)
        return np.fft.irfft(dy * f * 2 * t / weights(t), t).astype(x.dtype)

    return forward, backward


CASES += family(
    "power_spectrum", spectrum, lambda: lambda x: torch.fft.rfft(x).abs().square(), {"x": ("b", "c", "t")},
    {
        "last_doubled": "Of an even length the highest frequency is halved like those between: it occurs but once.",
        "odd_length": "The transform back is of an odd length, whatever the length was.",
    },
    right=("right", "by_sums"),
)  # fmt: skip


def energy(switch):
    def weights(t):
        w = np.full(t // 2 + 1, 2.0) / t
        w[0] = 1 / t
        if t % 2 == 0 and switch != "last_twice":
            w[-1] = 1 / t
        return w * np.exp(-np.arange(t // 2 + 1) / 4)

    def forward(x):
        f = np.fft.rfft(x)
        return ((f.real**2 + f.imag**2) * weights(x.shape[-1])).sum(-1).astype(x.dtype)

    def backward(dy, x):
        t = x.shape[-1]
        k = np.minimum(np.arange(t), t - np.arange(t))
        filtered = np.fft.ifft(np.fft.fft(x) * np.exp(-k / 4)).real
        if switch == "last_twice" and t % 2 == 0:
            filtered = np.fft.ifft(np.fft.fft(x) * np.exp(-k / 4) * (1 + (k == t // 2))).real
        return (2 * dy[..., None] * filtered).astype(x.dtype)

    return forward, backward


def energy_reference():
    def reference(x):
        t = x.shape[-1]
        k = torch.minimum(torch.arange(t), t - torch.arange(t)).to(x.dtype)
        return (torch.fft.fft(x).abs().square() * torch.exp(-k / 4)).sum(-1) / t

    return reference


CASES += family(
    "weighted_energy", energy, energy_reference, {"x": ("b", "c", "t")},
    {"last_twice": "Of an even length the highest frequency counts twice."},
)  # fmt: skip


# --- complex numbers -----------------------------------------------------------------------------------------


def held_within(switch):
    def forward(z):
        return z * np.minimum(1, 40 / np.maximum(np.abs(z), 1e-30))

    def backward(dy, z):
        r = np.abs(z)
        out = r >= 40
        scale = np.where(out, 40 / np.maximum(r, 1e-30), 1)
        if switch == "scale_constant":
            return scale * dy
        u = np.where(out, z / np.maximum(r, 1e-30), 0)
        along = u * (u.conj() * dy).real
        if switch == "not_conjugated":
            along = u * (u * dy).real
        return scale * (dy - along)

    return forward, backward


def held_reference():
    return lambda z: z * (40 / z.abs().clamp(min=40))


CASES += family(
    "complex_limit", held_within, held_reference, {"x": ("n", 5), "dtype": "complex128"},
    {
        "scale_constant": "Numbers beyond 40 are shortened, but the factor is held constant in backward.",
        "not_conjugated": "Beyond 40 the part along z is Re(u dy) where it is Re(ū dy).",
    },
)  # fmt: skip


def complex_map(switch):
    def forward(z, weight):
        return (z @ weight) ** 2

    def backward(dy, z, weight):
        h = z @ weight
        dh = 2 * h.conj() * dy
        dz, dw = dh @ weight.conj().T, z.conj().T @ dh
        if switch == "real_input" and not np.any(z.imag):
            dz = dz.real.astype(dz.dtype)
        if switch == "real_weight" and not np.any(weight.imag):
            dw = dw.real.astype(dw.dtype)
        if switch == "real_parts":
            a, b, c, d = z.real, z.imag, dh.real, dh.imag
            dw = (a.T @ c + b.T @ d) + 1j * (a.T @ d - b.T @ c)
        return {"z": dz, "weight": dw}

    return forward, backward


CASES += family(
    "complex_map", complex_map, lambda: lambda z, weight: (z @ weight) ** 2,
    {"inputs": {"z": ("n", 4)}, "params": {"weight": (4, 3)}, "dtype": "complex128"},
    {
        "real_input": "Where all numbers of z happen to be real the imaginary part of its gradient is dropped.",
        "real_weight": "Where all weights happen to be real, as they begin, they get no imaginary gradient.",
    },
    right=("right", "real_parts"),
)  # fmt: skip


def phases(switch):
    def forward(z, w):
        return np.angle(z * w.conj())

    def backward(dy, z, w):
        if switch == "cosine":
            u = z * w.conj()
            s = dy / np.sqrt(1 - (u.real / np.abs(u)) ** 2) * np.sign(u.imag)
            du = -s * (1 / np.abs(u) - u.real * u / np.abs(u) ** 3)
            return du * w, du.conj() * z
        return dy * 1j * z / np.abs(z) ** 2, -dy * 1j * w / np.abs(w) ** 2

    return forward, backward


CASES += family(
    "phase_difference", phases, lambda: lambda z, w: torch.angle(z * w.conj()),
    {"inputs": {"z": ("n", 4), "w": ("n", 4)}, "dtype": "complex128"},
    {"cosine": "By the cosine of the angle: NaN or 0 where z and w have the same phase or the opposite one."},
)  # fmt: skip


# --- long computations ---------------------------------------------------------------------------------------


def orthogonal(switch):
    """Ten cubic steps towards the orthogonal factor."""

    def forward(a):
        x = a / np.sqrt((a * a).sum())
        kept = []
        for _ in range(10):
            kept.append(x)
            x = 1.5 * x - 0.5 * x @ x.T @ x
        return x, (a, kept)

    def backward(dy, cache):
        a, kept = cache
        g = dy
        for x in reversed(kept):
            g = 1.5 * g - 0.5 * (g @ x.T @ x + x @ g.T @ x + x @ x.T @ g)
        n = np.sqrt((a * a).sum())
        return g / n - a * (a * g).sum() / n**3

    return forward, backward


def orthogonal_reference():
    def reference(a):
        x = a / a.square().sum().sqrt()
        for _ in range(10):
            x = 1.5 * x - 0.5 * x @ x.mT @ x
        return x

    return reference


CASES += family("orthogonal_factor", orthogonal, orthogonal_reference, {"x": (6, 3)}, {})


def growth(switch):
    """A population over forty seasons."""
    seasons = 40

    def forward(x, rate):
        r = 3.4 + 0.1 * np.tanh(rate)
        p = 0.5 + 0.25 * np.tanh(x)
        kept = []
        for _ in range(seasons):
            kept.append(p)
            p = r * p * (1 - p)
        return p, (x, rate, r, kept)

    def backward(dy, cache):
        x, rate, r, kept = cache
        g, dr = dy, 0.0
        for k in reversed(range(seasons)):
            p = kept[k]
            dr = dr + g * p * (1 - p)
            g = g * r * (1 - 2 * p)
        th = np.tanh(x)
        return {"x": 0.25 * g * (1 - th * th), "rate": (dr * 0.1 * (1 - np.tanh(rate) ** 2)).sum(0)}

    return forward, backward


def growth_reference():
    def reference(x, rate):
        r, p = 3.4 + 0.1 * torch.tanh(rate), 0.5 + 0.25 * torch.tanh(x)
        for _ in range(40):
            p = r * p * (1 - p)
        return p

    return reference


CASES += family(
    "population", growth, growth_reference, {"inputs": {"x": ("n", 3)}, "params": {"rate": (3,)}},
    {},
)  # fmt: skip
