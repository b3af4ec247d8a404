"""A bound holds: no standard-model evaluation, of the same inputs or of any within their errors, lies outside it.

The reference is the same NumPy code in extended precision. Half of a bound must cover the distance of NumPy's own
result from it, because the other half belongs to the other side.
"""

import zlib

import numpy as np
import pytest

from handgrad.compare.rounding import choices as rounding_choices
from handgrad.compare.rounding import functions as rounding_functions
from handgrad.compare.rounding import products as rounding_products
from handgrad.compare.rounding import rules as rounding_rules
from handgrad.compare.rounding import sums as rounding_sums
from handgrad.compare.rounding.bounded import Bounded, Precision

EXTENDED = np.finfo(np.longdouble).eps < np.finfo(np.float64).eps
DTYPES = [np.float32, np.float64] if EXTENDED else [np.float32]
WIDE = np.longdouble if EXTENDED else np.float64


def normal(rng, n):
    return rng.normal(size=n)


def nasty(rng, n, decades):
    """Zeros, whole numbers, close pairs, and every magnitude there is."""
    x = rng.choice([-1, 1], n) * 10.0 ** rng.uniform(-decades, decades, n)
    x[rng.random(n) < 0.1] = 0
    x[rng.random(n) < 0.1] = 1
    whole = rng.random(n) < 0.1
    x[whole] = rng.integers(-5, 6, n)[whole]
    near = rng.random(n) < 0.2
    x[near] = 1 + rng.integers(-4, 5, n)[near] * 2.0**-22
    return x


def drawn(rng, dtype, shape, domain):
    n = int(np.prod(shape))
    decades = {np.float32: 37, np.float64: 300}[dtype]
    kinds = {
        "any": lambda: nasty(rng, n, decades),
        "some": lambda: np.where(rng.random(n) < 0.15, 0, rng.normal(size=n) * 10.0 ** rng.uniform(-3, 3, n)),
        "positive": lambda: np.abs(nasty(rng, n, decades)),
        "exponent": lambda: rng.normal(size=n) * rng.choice([1e-9, 1, 30], n),
        "unit": lambda: np.clip(rng.uniform(-1, 1, n) ** rng.choice([1, 9], n), -0.999, 0.999),
        "layer": lambda: rng.normal(size=n),
        "beyond": lambda: 1 + np.abs(rng.normal(size=n)) * 10.0 ** rng.uniform(-6, 3, n),
    }
    return kinds[domain]().reshape(shape).astype(dtype)


def check(f, inputs, rng, precision, relative_slack=2.0**-12):
    """f on Bounded inputs, exact and with errors, against f in extended precision. AssertionError if unsound."""
    with np.errstate(all="ignore"):
        plain = f(*inputs)
        exact = f(*[x.astype(WIDE) for x in inputs])
        got = f(*[Bounded(x, None, precision) for x in inputs])
        value, error = parts(got)
        assert np.array_equal(value, plain, equal_nan=True), "another value than NumPy's"
        assert np.asarray(value).dtype == np.asarray(plain).dtype
        inside(value, exact, error / 2, relative_slack, "own rounding")
        for size in (2.0**-45, 1e-6, 1e-2, 1.5):
            errors = [error_for(rng, x, size) for x in inputs]
            value, error = parts(f(*[Bounded(x, e, precision) for x, e in zip(inputs, errors, strict=True)]))
            assert np.array_equal(value, plain, equal_nan=True)
            for draw in range(6):
                moved = []
                for x, e in zip(inputs, errors, strict=True):
                    t = rng.choice([-1, 1], x.shape) if draw < 3 else rng.uniform(-1, 1, x.shape)
                    moved.append(x.astype(WIDE) + (t if draw else np.sign(t) * 0) * e.astype(WIDE))
                inside(value, f(*moved), error, relative_slack, f"inputs off by {size}")


def parts(result):
    """Value and error, which must be an array of the right kind."""
    if not isinstance(result, Bounded):
        return result, np.zeros(np.shape(result))
    error = np.zeros(result.shape) if result.error is None else result.error
    assert type(error) is np.ndarray
    assert error.dtype == np.float64
    assert error.shape == result.value.shape
    assert not np.any(np.isnan(error)), "NaN for a bound"
    assert np.all(error >= 0), "a negative bound"
    return result.value, error


def error_for(rng, x, size):
    e = np.abs(x.astype(np.float64)) * size * rng.uniform(0.25, 1, x.shape)  # well above the reference's own rounding
    e[rng.random(x.shape) < 0.3] = 0
    loose = (rng.random(x.shape) < 0.1) & (np.abs(x) < 2)
    return np.where(loose, size, e)


def inside(value, exact, bound, slack, what):
    value, exact = np.asarray(value).astype(WIDE), np.asarray(exact).astype(WIDE)
    apart = np.abs(value - exact)
    apart = np.where((value == exact) | np.isnan(exact) | (np.isnan(value) & ~np.isfinite(bound)), 0, apart)
    # a reference beyond the working range is an overflow there
    largest = np.finfo(np.float64).max
    apart = np.where(np.isinf(value) & (np.abs(exact) > np.finfo(np.float32).max) & (np.sign(value) == np.sign(exact)),
                     0, apart)  # fmt: skip
    bad = ~(apart <= bound.astype(WIDE) * (1 + slack)) & ~((np.abs(exact) > largest) & ~np.isfinite(value))
    at = np.flatnonzero(bad)[:1]
    assert not at.size, (
        f"{what}: value {value.ravel()[at]}, reference {exact.ravel()[at]}, apart {apart.ravel()[at]}, "
        f"bound {np.asarray(bound).ravel()[at]}, {bad.sum()} of {bad.size}"
    )


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_softmax(z):
    z = z - np.max(z, axis=1, keepdims=True)
    return z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))


def layer_norm(x, g, b):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * g + b


def rms_norm(x, g, b):
    return x / (np.mean(x**2, axis=-1, keepdims=True) + 1e-6) ** 0.5 * g + b


def batch_norm_backward(x, dy, g):
    n = x.shape[0]
    r = x - x.mean(axis=0)
    s = 1 / np.sqrt((r * r).mean(axis=0) + 1e-5)
    h = r * s
    d = dy * g
    return s / n * (n * d - d.sum(axis=0) - h * (d * h).sum(axis=0))


def attention(q, k, v):
    scores = np.einsum("nqd,nkd->nqk", q, k) / np.sqrt(q.shape[-1])
    future = np.triu(np.ones(scores.shape[1:], bool), 1)
    return softmax(np.where(future, -np.inf, scores)) @ v


def adam(theta, g, m, v):
    m = 0.9 * m + (1 - 0.9) * g
    v = 0.999 * abs(v) + (1 - 0.999) * g**2
    return theta - 1e-3 * (m / (1 - 0.9**3)) / (np.sqrt(v / (1 - 0.999**3)) + 1e-8)


def into(ufunc, a, b):
    y = a * 1
    ufunc.at(y, np.array([0, 2, 2]), b)
    return y


def written(function, a, *args, **kwargs):
    y = a * 1
    function(y, *args, **kwargs)
    return y


def eliminated(a, b):
    """A⁻¹ b and det A in extended precision."""
    a, b, det, n = a.copy(), b.copy(), WIDE(1), len(a)
    for k in range(n):
        pivot = k + int(np.argmax(np.abs(a[k:, k])))
        if pivot != k:
            a[[k, pivot]], b[[k, pivot]], det = a[[pivot, k]], b[[pivot, k]], -det
        det = det * a[k, k]
        b[k], a[k] = b[k] / a[k, k], a[k] / a[k, k]
        for i in range(n):
            if i != k:
                b[i], a[i] = b[i] - a[i, k] * b[k], a[i] - a[i, k] * a[k]
    return b, det


def of_matrices(function, wide):
    """np.linalg, which has no extended precision, and what stands for it there."""
    return lambda *args: wide(*args) if args[0].dtype == np.longdouble else function(*args)


inverse = of_matrices(np.linalg.inv, lambda a: eliminated(a, np.eye(len(a), dtype=WIDE))[0])
solution = of_matrices(np.linalg.solve, lambda a, b: eliminated(a, b)[0])
determinant = of_matrices(np.linalg.det, lambda a: eliminated(a, a)[1])
log_determinant = of_matrices(lambda a: np.linalg.slogdet(a)[1], lambda a: np.log(np.abs(eliminated(a, a)[1])))

V, M = (40,), (4, 5)
UFUNCS = {
    "add": (np.add, "any any"), "subtract": (np.subtract, "any any"), "multiply": (np.multiply, "any any"),
    "divide": (np.divide, "any any"), "square": (np.square, "any"), "reciprocal": (np.reciprocal, "any"),
    "sqrt": (np.sqrt, "positive"), "cbrt": (np.cbrt, "any"), "exp": (np.exp, "exponent"), "exp2": (np.exp2, "exponent"),
    "expm1": (np.expm1, "exponent"), "log": (np.log, "positive"), "log2": (np.log2, "positive"),
    "log10": (np.log10, "positive"), "log1p": (np.log1p, "unit"), "log1p of any": (np.log1p, "positive"),
    "tanh": (np.tanh, "any"), "sinh": (np.sinh, "exponent"), "cosh": (np.cosh, "exponent"),
    "arctan": (np.arctan, "any"), "arcsinh": (np.arcsinh, "any"), "sin": (np.sin, "exponent"),
    "cos": (np.cos, "exponent"), "tan": (np.tan, "exponent"), "arcsin": (np.arcsin, "unit"),
    "arccos": (np.arccos, "unit"), "arccosh": (lambda x: np.arccosh(1 + x), "positive"),
    "arctanh": (np.arctanh, "unit"),
    "arccosh near 1": (np.arccosh, "beyond"), "arctan2": (np.arctan2, "some some"),
    "logaddexp2": (np.logaddexp2, "exponent exponent"), "deg2rad": (np.deg2rad, "some"),
    "radians": (np.radians, "some"), "rad2deg": (np.rad2deg, "some"), "degrees": (np.degrees, "some"),
    "copysign": (np.copysign, "some some"),
    "hypot": (np.hypot, "some some"), "logaddexp": (np.logaddexp, "exponent exponent"),
    "power": (np.power, "positive exponent"), "float_power": (np.float_power, "positive exponent"),
    "cube": (lambda x: x**3, "any"), "root": (lambda x: x**0.5, "positive"), "inverse cube": (lambda x: x**-3, "some"),
    "third root": (lambda x: x ** (1 / 3), "positive"), "growth": (lambda x: 0.999**x, "exponent"),
    "square by power": (lambda x: x**2, "any"), "one": (lambda x: x**0, "any"),
    "constant": (lambda x: 0.1 * x + 1 / 3, "any"), "half": (lambda x: x * 0.5, "any"),
    "sixteenth": (lambda x: x / 16, "any"),
    "heaviside": (lambda x: np.heaviside(x, 0.5), "some"),
    "large integer": (lambda x: x * (2**24 + 1), "some"),
} | {
    f.__name__: (f, "any any")
    for f in (np.maximum, np.minimum, np.fmax, np.fmin, np.greater, np.greater_equal, np.less, np.less_equal, np.equal,
              np.not_equal, np.logical_and, np.logical_or, np.logical_xor)
} | {
    f.__name__: (f, "some")
    for f in (np.absolute, np.fabs, np.negative, np.positive, np.conjugate, np.sign, np.floor, np.ceil, np.rint,
              np.trunc, np.logical_not, np.signbit, np.isfinite, np.isnan, np.isinf)
}  # fmt: skip
SHAPED = {
    "broadcast": (lambda a, b: a * b[:, np.newaxis] + b[0], "any any", [M, (4,)]),
    "broadcast max": (lambda a, b: np.maximum(a, b), "any any", [M, (5,)]),
    "broadcast where": (lambda a, b: np.where(a > 0, b, 0.0), "some some", [M, (5,)]),
    "sum": (lambda a: a.sum(), "any", [V]),
    "sum of rows": (lambda a: np.sum(a, axis=(0, 2), keepdims=True), "some", [(3, 4, 5)]),
    "mean": (lambda a: np.mean(a, axis=0), "some", [(7, 3)]),
    "mean of one": (lambda a: np.mean(a, axis=0), "some", [(1, 3)]),
    "var": (lambda a: a.var(axis=1), "some", [M]),
    "sample std": (lambda a: np.std(a, ddof=1, keepdims=True), "some", [V]),
    "norm": (lambda a: np.linalg.norm(a, axis=-1, keepdims=True), "some", [M]),
    "Frobenius norm": (lambda a: np.linalg.norm(a), "some", [M]),
    "prod": (lambda a: np.prod(a, axis=1), "some", [M]),
    "prod of nasty": (lambda a: a.prod(), "any", [(4,)]),
    "cumsum": (lambda a: a.cumsum(axis=1), "some", [M]),
    "max": (lambda a: a.max(axis=1), "any", [M]),
    "maximum.reduce": (lambda a: np.maximum.reduce(a), "any", [M]),
    "add.reduce": (lambda a: np.add.reduce(a), "some", [M]),
    "matmul": (lambda a, b: a @ b, "some some", [M, (5, 3)]),
    "matmul of nasty": (lambda a, b: a @ b, "any any", [(2, 3), (3, 2)]),
    "matmul 1-D": (lambda a, b: a @ b, "some some", [(5,), (5,)]),
    "matmul 4-D": (lambda a, b: a @ np.swapaxes(b, -1, -2), "some some", [(2, 1, 3, 4), (2, 2, 3, 4)]),
    "dot": (np.dot, "some some", [M, (5,)]),
    "inner": (np.inner, "some some", [M, (3, 5)]),
    "outer": (np.outer, "any any", [(3,), (4,)]),
    "subtract.outer": (np.subtract.outer, "any any", [(3,), (4,)]),
    "tensordot": (lambda a, b: np.tensordot(a, b, ([1, 2], [0, 1])), "some some", [(3, 4, 5), (4, 5, 2)]),
    "einsum of three": (lambda a, b, c: np.einsum("ij,jk,ik->i", a, b, c), "some some some", [M, (5, 3), (4, 3)]),
    "einsum with ellipsis": (lambda a, b: np.einsum("...i,...i", a, b), "some some", [(2, 3, 4), (3, 4)]),
    "einsum of the diagonal": (lambda a: np.einsum("ii->i", a), "any", [(3, 3)]),
    "einsum, the trace": (lambda a: np.einsum("ii", a), "some", [(3, 3)]),
    "trace": (np.trace, "some", [(3, 3)]),
    "clip": (lambda a: np.clip(a, 1e-7, 0.7), "any", [V]),
    "where": (lambda a, b: np.where(a > b, a * 2, b * 3), "some some", [V, V]),
    "mask times": (lambda a, b: (a > 0) * b, "some any", [V, V]),
    "pad": (lambda a: np.pad(a, ((1, 1), (0, 2))), "any", [M]),
    "pad by reflection": (lambda a: np.pad(a, 1, mode="reflect"), "any", [M]),
    "concatenate": (lambda a: np.concatenate([a, -np.ones((1, 5), np.int8), a[:1]]), "any", [M]),
    "cumprod": (lambda a: np.cumprod(a, axis=1), "some", [M]),
    "amax": (lambda a: np.amax(a, 0, None, True), "any", [M]),
    "max from": (lambda a: np.max(a, axis=1, initial=0.5, where=np.arange(5) > 1), "any", [M]),
    "sum from": (lambda a: np.sum(a, axis=1, initial=3.0, where=np.arange(5) > 1), "some", [M]),
    "sort": (lambda a: np.sort(a, axis=0), "any", [M]),
    "median": (lambda a: np.median(a, axis=1, keepdims=True), "some", [(4, 6)]),
    "median of all": (lambda a: np.median(a), "any", [M]),
    "ptp": (lambda a: np.ptp(a, axis=1), "some", [M]),
    "maximum.accumulate": (lambda a: np.maximum.accumulate(a, axis=1), "any", [M]),
    "weighted average": (lambda a, b: np.average(a, 0, abs(b) + 1), "some some", [M, (4,)]),
    "1-norm": (lambda a: np.linalg.norm(a, ord=1, axis=1), "some", [M]),
    "max-norm": (lambda a: np.linalg.norm(a, ord=np.inf, axis=1), "any", [M]),
    "diff": (lambda a: np.diff(a, 2, axis=0), "some", [M]),
    "vdot": (np.vdot, "some some", [M, M]),
    "vecdot": (lambda a, b: np.vecdot(a, b), "some some", [M, M]),
    "kron": (np.kron, "some some", [(2, 3), (3, 2)]),
    "cross": (np.cross, "some some", [(4, 3), (4, 3)]),
    "convolve": (lambda a, b: np.convolve(a, b, "same"), "some some", [(7,), (3,)]),
    "correlate": (lambda a, b: np.correlate(a, b, "full"), "some some", [(7,), (3,)]),
    "trace of stacks": (lambda a: np.trace(a, axis1=1, axis2=2), "some", [(2, 3, 3)]),
    "select": (lambda a, b: np.select([a > b, a < -b], [a, b * 2], 0.5), "some some", [V, V]),
    "nan_to_num": (np.nan_to_num, "any", [V]),
    "nansum": (lambda a: np.nansum(a, axis=0), "some", [M]),
    "sinc": (np.sinc, "layer", [V]),
    "insert": (lambda a, b: np.insert(a, 2, b, axis=0), "any any", [M, (5,)]),
    "append": (lambda a, b: np.append(a, b[None], axis=0), "any any", [M, (5,)]),
    "block": (lambda a: np.block([[a, a[:, :1]], [np.zeros((1, 6), a.dtype)]]), "any", [M]),
    "meshgrid": (lambda a, b: np.stack(np.meshgrid(a, b)), "any any", [(3,), (4,)]),
    "broadcast_arrays": (lambda a, b: np.broadcast_arrays(a, b)[1] * 1, "any any", [M, (5,)]),
    "compress": (lambda a: np.compress([True, False, True], a, axis=0) + a.compress([0, 1], axis=0)[0], "some", [M]),
    "diagflat": (lambda a: np.diagflat(a), "any", [(4,)]),
    "std with dtype and out": (lambda a: np.std(a, 0, None, None, 1), "some", [M]),
    "prod with dtype and out": (lambda a: np.prod(a, 0, None, None), "some", [M]),
    "cumsum with dtype and out": (lambda a: np.cumsum(a, axis=0, dtype=None, out=None), "some", [M]),
    "maximum.at": (lambda a, b: into(np.maximum, a, b), "any any", [M, (3, 5)]),
    "minimum.at": (lambda a, b: into(np.minimum, a, b), "any any", [M, (3, 5)]),
    "into out": (lambda a, b: np.dot(a, b, out=np.zeros_like(a[:, 0])), "some some", [M, (5,)]),
    "clip into out": (lambda a: np.clip(a, -0.5, 2, out=np.zeros_like(a)), "any", [M]),
    "copyto": (lambda a, b: written(np.copyto, a, b, where=np.arange(5) > 1), "any any", [M, M]),
    "fill_diagonal": (lambda a, b: written(np.fill_diagonal, a, b[0]), "any any", [(4, 4), (1,)]),
    "put": (lambda a, b: written(np.put, a, [1, 7], b), "any any", [M, (2,)]),
    "sorted in place": (lambda a: written(lambda t: t.sort(axis=0), a), "any", [M]),
    "plus zeros": (lambda a, b: (a + np.zeros_like(a)) * b - 0 * b, "some some", [V, V]),
    "times ones": (lambda a, b: a * np.ones_like(a) / np.where(b > 0, 1, b), "some some", [V, V]),
    "its own maximum": (lambda a: (a * 3 == np.max(a * 3, axis=1, keepdims=True)) * a, "layer", [M]),
    "inv": (inverse, "layer", [(4, 4)]), "inv of nasty": (inverse, "some", [(3, 3)]),
    "solve": (solution, "layer layer", [(5, 5), (5,)]), "solve for columns": (solution, "layer some", [(3, 3), (3, 2)]),
    "det": (determinant, "layer", [(4, 4)]), "det of nasty": (determinant, "some", [(3, 3)]),
    "slogdet": (lambda a: log_determinant(a + 4 * np.eye(4, dtype=a.dtype)), "unit", [(4, 4)]),
    "softmax": (softmax, "layer", [M]),
    "softmax, saturated": (softmax, "exponent", [M]),
    "log-softmax": (log_softmax, "exponent", [M]),
    "layer norm": (layer_norm, "layer layer layer", [M, (5,), (5,)]),
    "RMS norm": (rms_norm, "layer layer layer", [M, (5,), (5,)]),
    "batch norm backward": (batch_norm_backward, "layer layer layer", [(6, 3), (6, 3), (3,)]),
    "attention": (attention, "layer layer layer", [(2, 3, 4), (2, 3, 4), (2, 3, 4)]),
    "Adam": (adam, "some some some some", [V, V, V, V]),
}  # fmt: skip
CASES = SHAPED | {name: (f, domains, [V] * len(domains.split())) for name, (f, domains) in UFUNCS.items()}


def run(name, dtype, draws=3):
    f, domains, shapes = CASES[name]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for _ in range(draws):
        inputs = [drawn(rng, dtype, s, d) for s, d in zip(shapes, domains.split(), strict=True)]
        check(f, inputs, rng, Precision.of(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_no_evaluation_lies_outside_the_bound(name, dtype):
    run(name, dtype)


def test_every_rule_for_a_ufunc_is_among_the_cases():
    covered = {f for f, _ in UFUNCS.values()}
    exact_only = {np.floor_divide, np.fmod, np.remainder, np.invert, np.bitwise_and, np.bitwise_or, np.bitwise_xor}
    assert set(rounding_rules.RULES) - covered - exact_only == {np.heaviside}  # a case of its own


# --- what the other side may do differently ------------------------------------------------------------------


def fused(a, b, c, dtype):
    return (a.astype(WIDE) * b.astype(WIDE) + c.astype(WIDE)).astype(dtype)


OTHER_WAYS = {
    "order of summation": (lambda a, b: np.sum(a * b), lambda a, b, t: np.cumsum((a * b)[::-1], dtype=t)[-1]),
    "mean by the reciprocal": (lambda a, b: np.mean(a), lambda a, b, t: np.sum(a) * t(1 / a.size)),
    "order of multiplication": (lambda a, b: a * b * 0.3, lambda a, b, t: a * (b * t(0.3))),
    "fused multiply-add": (lambda a, b: a * b - b, lambda a, b, t: fused(a, b, -b, t)),
    "division by the reciprocal": (lambda a, b: a / b, lambda a, b, t: a * (1 / b)),
    "powers by multiplication": (lambda a, b: a**7, lambda a, b, t: a * a * a * a * a * a * a),
    "roots by the library": (lambda a, b: abs(a) ** 0.5, lambda a, b, t: np.exp2(np.log2(abs(a.astype(WIDE))) / 2)),
    "a constant, rounded once or twice": (lambda a, b: a * 0.1, lambda a, b, t: a / t(10)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", OTHER_WAYS)
def test_the_freedom_of_the_other_side_is_within_the_bound(way, dtype):
    manual, other = OTHER_WAYS[way]
    rng = np.random.default_rng(1)
    for _ in range(20):
        a, b = (drawn(rng, dtype, (33,), "some") + dtype(1e-4) for _ in range(2))
        ours = manual(*(Bounded(x, None, Precision.of(dtype)) for x in (a, b)))
        assert np.all(np.abs(ours.value.astype(WIDE) - other(a, b, dtype)) <= ours.error)


def test_an_infinity_that_both_sides_must_have_is_exact():
    p = Precision.of(np.float64)
    x = Bounded(np.array([0.0, 1.0, np.inf]), np.array([0.0, 1e-9, 0.0]), p)
    with np.errstate(all="ignore"):
        assert np.log(x).error[0] == 0
        assert np.maximum(np.log(x), -100).error[0] == 0  # BCELoss of a saturated probability
        assert (-1 / x).error[0] == 0
        assert (x - Bounded(np.array(3.0), np.array(1e-9), p)).error[2] == 0  # a masked score less the row's maximum
        assert Bounded(np.array([1e308]), None, p).__mul__(10).error[0] == np.inf  # an overflow is not
    scores = np.where(np.array([[True, False]]), Bounded(np.ones((1, 2)), np.full((1, 2), 1e-9), p), -np.inf)
    assert np.all(softmax(scores).error < 1e-7)


def test_gamma_beyond_its_range_leaves_a_sum_of_zeros_exact():
    p = Precision.of(np.float16)
    x = Bounded(np.zeros((4000, 2), np.float16), None, p)
    x = Bounded(np.concatenate([x.value[:, :1], x.value[:, :1] + np.float16(1e-3)], axis=1), None, p)
    total = x.sum(axis=0)
    assert total.error[0] == 0
    assert total.error[1] == np.inf


@pytest.mark.parametrize("constant", [0.0, 0.5, -2.0, 1 / 16, 1 + 2.0**-10, np.inf, -np.inf])
def test_a_constant_that_float16_holds_is_exact(constant):
    assert rounding_functions.operand(Precision.of(np.float16), constant) == (constant, None)


@pytest.mark.parametrize("constant", [0.1, 1 / 3, 1 + 2.0**-11, 1e6, 2**12 + 1])
def test_any_other_constant_is_charged_a_rounding_on_both_sides(constant):
    p = Precision.of(np.float16)
    assert rounding_functions.operand(p, constant) == (constant, 2 * p.unit * constant)


# --- planted bugs: the check above must notice each ------------------------------------------------------------


def forgets_the_cross_term(p, v, a, b):
    return rounding_rules.rounding(p, v) + abs(a[0]) * (0 if b[1] is None else b[1]) + abs(b[0]) * (
        0 if a[1] is None else a[1]
    )  # fmt: skip


def takes_the_smaller_error(p, v, *operands):
    errors = [e for _, e in operands if e is not None]
    return np.minimum(*errors) if len(errors) == 2 else errors[0].copy() if errors else None


def one_sided(rule):
    return lambda p, v, *operands: rule(p, v, *operands) - p.unit * np.abs(v)


def by_the_slope_at_x(p, v, x):
    return rounding_rules.rounding(p, v, 8) + (0 if x[1] is None else np.exp(x[0]) * x[1])


def takes_its_chosen_side(p, condition, x, y):
    (c, _), (vx, ex), (vy, ey) = (rounding_functions.operand(p, item) for item in (condition, x, y))
    return rounding_functions.settled(p, np.where(c, vx, vy), None if ex is None else np.where(c, ex, ey))


RULES, SUMS = rounding_rules.RULES, rounding_functions.ARITHMETIC
PLANTED = {
    "a product without its cross term": ("multiply", RULES, np.multiply, forgets_the_cross_term),
    "a product that does not round": ("multiply", RULES, np.multiply, lambda p, v, a, b: rounding_rules.carried(a, b)),
    "a sum that rounds on one side only": ("add", RULES, np.add, one_sided(RULES[np.add])),
    "max by the smaller error": ("maximum", RULES, np.maximum, takes_the_smaller_error),
    "exp by the slope at x": ("exp", RULES, np.exp, by_the_slope_at_x),
    "a comparison that is always sure": ("greater", RULES, np.greater, lambda p, v, a, b: None),
    "a choice that is always sure": ("where", SUMS, np.where, takes_its_chosen_side),
    "a sum without rounding": ("sum", rounding_sums, "accumulated", lambda p, n, absolute: 0 * absolute),
    "a product of matrices without rounding": ("matmul", rounding_products, "accumulated", lambda p, n, a: 0 * a),
    "a product of matrices without the errors": ("matmul", rounding_products, "carried", lambda a, b, product: None),
    "a bound of another shape": ("mean", SUMS, np.mean, lambda p, x, axis: Bounded(x.value.mean(axis), x.error, p)),
    "a value of its own": ("sum", SUMS, np.sum, lambda p, x: Bounded(np.float64(0), None, p)),
    "a NaN for a bound": ("sqrt", RULES, np.sqrt, lambda p, v, x: np.full(v.shape, np.nan) * np.inf),
    "an inverse that is exact": ("inv", SUMS, np.linalg.inv, lambda p, a: Bounded(np.linalg.inv(a.value), None, p)),
    "a determinant without the errors": (
        "det", SUMS, np.linalg.det, lambda p, a: Bounded(np.linalg.det(a.value), np.asarray(1e-14), p)
    ),
    "sorted errors that stay where they were": ("sort", SUMS, np.sort, lambda p, x, axis: Bounded(
        np.sort(x.value, axis), x.error, p)),
    "a division that does not round": (
        "divide", RULES, np.divide, lambda p, v, a, b: None if a[1] is None else a[1] / abs(b[0])
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", PLANTED)
def test_the_check_notices(bug, monkeypatch):
    case, place, key, broken = PLANTED[bug]
    if isinstance(place, dict):
        monkeypatch.setitem(place, key, broken)
    else:
        monkeypatch.setattr(place, key, broken)
    if "NaN" in bug:  # `settled` would mend it
        monkeypatch.setattr(rounding_functions, "settled", lambda p, v, error, f=None: Bounded(v, error, p))
    with pytest.raises(AssertionError):
        run(case, DTYPES[-1], 10)


def test_the_check_notices_an_argmax_that_rounding_decides():
    x = Bounded(np.array([1.0, 1.0 + 1e-12]), np.array([1e-9, 0]), Precision.of(np.float64))
    for decides in (np.argmax, np.argmin, np.argsort, lambda a: np.any(a - 1), lambda a: bool(a[0] > a[1])):
        with pytest.raises(rounding_functions.NoRoundingRule):
            decides(x)
    assert np.argmax(x * np.array([1, 2])) == 1
    assert rounding_choices.undecided((np.ones(2), np.zeros(2))) is None
