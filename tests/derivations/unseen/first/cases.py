"""Wrong and right derivations, written before any diagnosis was seen. make(f) with f="" is right; f names faults joined by +."""
import math
from dataclasses import dataclass
import numpy as np
import torch
import torch.nn.functional as F

WRONG, RIGHT = [], []


def fam(kind, name, make, twin, kw, faults, alts=()):
    for a in ("", *alts):
        RIGHT.append(dict(kind=kind, name=f"{name}[{a or 'right'}]", make=lambda a=a: make(a), twin=twin, kw=kw))
    for f, tensors, truth in faults:
        WRONG.append(dict(kind=kind, name=f"{name}[{f}]", fam=name, make=lambda f=f: make(f), fixed=lambda: make(""), twin=twin, kw=kw,
                          tensors=tensors, truth=truth, two="+" in f))


def sig(z):
    return 1 / (1 + np.exp(-z))


def smax(z, axis=-1):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def H(f):
    s = f.split("+")
    return lambda k: k in s


# ------------------------------------------------------------------ layers
def scaled_linear(f):
    h = H(f)
    def fwd(x, W, b): return x @ W.T / math.sqrt(x.shape[1]) + b
    def bwd(dy, x, W, b):
        s = 1 / math.sqrt(x.shape[1])
        return {"x": dy @ W * (s * s if h("scale twice") else s), "W": dy.T @ x * (1 if h("dW no scale") else s),
                "b": dy.sum(0) * (s if h("b scaled") else 1)}
    return fwd, bwd
fam("layer", "scaled linear", scaled_linear, lambda x, W, b: F.linear(x, W) / math.sqrt(x.shape[1]) + b, dict(x=(5, 4), params={"W": (3, 4), "b": (3,)}),
    [("dW no scale", "W", "the factor 1/sqrt(d) is missing in dW"), ("scale twice", "x", "1/sqrt(d) applied twice in dx"),
     ("b scaled", "b", "db wrongly multiplied by 1/sqrt(d)"), ("dW no scale+scale twice", "W x", "two: dW lacks 1/sqrt(d); dx has it twice")])


def quad(f):
    h = H(f)
    def fwd(x, A): return np.einsum("ni,kij,nj->nk", x, A, x)
    def bwd(dy, x, A):
        S = A if h("only A") else 2 * A if h("2A") else A + np.swapaxes(A, 1, 2)
        dA = np.einsum("nk,ni,nj->kij", dy, x, x)
        return {"x": np.einsum("nk,kij,nj->ni", dy, S, x), "A": 2 * dA if h("2dA") else dA}
    return fwd, bwd
fam("layer", "quadratic form", quad, lambda x, A: torch.einsum("ni,kij,nj->nk", x, A, x), dict(x=(4, 3), params={"A": (2, 3, 3)}),
    [("only A", "x", "dx uses A x only; A^T x (second product-rule term) is missing"), ("2A", "x", "dx takes A as symmetric: 2A instead of A + A^T"),
     ("2dA", "A", "dA counted twice (factor 2)")])


def gated_prod(f):
    h = H(f)
    def fwd(x, U, V): return (x @ U) * (x @ V)
    def bwd(dy, x, U, V):
        u, v = x @ U, x @ V
        dx = (dy * v) @ U.T + (0 if h("one path") else (dy * u) @ V.T)
        return {"x": dx, "U": x.T @ (dy * (u if h("swap") else v)), "V": x.T @ (dy * u)}
    return fwd, bwd
fam("layer", "product of two linears", gated_prod, lambda x, U, V: (x @ U) * (x @ V), dict(x=(4, 3), params={"U": (3, 5), "V": (3, 5)}),
    [("one path", "x", "dx lacks the path through V (product rule)"), ("swap", "U", "dU multiplied by xU instead of xV (own factor instead of the other)"),
     ("one path+swap", "x U", "two: dx lacks the path through V; dU uses own factor")])


def conv1d(f, stride=1):
    h = H(f)
    p = 1
    def fwd(x, W, b):
        N, C, T = x.shape
        K = W.shape[2]
        xp = np.concatenate([np.zeros((N, C, p)), x, np.zeros((N, C, p))], axis=2)
        T2 = (T + 2 * p - K) // stride + 1
        return np.stack([np.einsum("nck,ock->no", xp[:, :, t * stride:t * stride + K], W) for t in range(T2)], axis=2) + b[:, None]
    def bwd(dy, x, W, b):
        N, C, T = x.shape
        K = W.shape[2]
        xp = np.concatenate([np.zeros((N, C, p)), x, np.zeros((N, C, p))], axis=2)
        dxp, dW = 0 * xp, 0 * W
        Wb = W[:, :, ::-1] if h("flip") else W
        for t in range(dy.shape[2]):
            s = t if h("no stride") else t * stride
            dxp[:, :, s:s + K] += np.einsum("no,ock->nck", dy[:, :, t], Wb)
            dW += np.einsum("no,nck->ock", dy[:, :, t], xp[:, :, t * stride:t * stride + K])
        o = 0 if h("shift") else p
        if h("dW flip"):
            dW = dW[:, :, ::-1]
        db = dy.sum(0).mean(1) if h("b mean over time") else dy.sum((0, 2))
        return {"x": dxp[:, :, o:o + T], "W": dW, "b": db}
    return fwd, bwd
fam("layer", "conv1d", conv1d, lambda x, W, b: F.conv1d(x, W, b, padding=1), dict(x=(2, 3, 6), params={"W": (4, 3, 3), "b": (4,)}),
    [("flip", "x", "the kernel is reversed along its length in dx"), ("shift", "x", "padding not cut off at the front in dx: shifted by one"),
     ("dW flip", "W", "dW reversed along the kernel axis"), ("b mean over time", "b", "db averaged over the length instead of summed"),
     ("flip+b mean over time", "x b", "two: kernel reversed in dx; db averaged over length")])
fam("layer", "conv1d stride 2", lambda f: conv1d(f, 2), lambda x, W, b: F.conv1d(x, W, b, padding=1, stride=2), dict(x=(2, 2, 7), params={"W": (3, 2, 3), "b": (3,)}),
    [("no stride", "x", "dx scatters with stride 1 instead of 2")])


def softmax_l(f):
    h = H(f)
    def fwd(x): return smax(x)
    def bwd(dy, x):
        y = smax(x)
        if h("diag"): return y * (1 - y) * dy
        if h("no y"): return y * (dy - dy.sum(1, keepdims=True))
        if h("batch axis"): return y * (dy - (dy * y).sum(0, keepdims=True))
        if h("mean"): return y * (dy - (dy * y).mean(1, keepdims=True))
        if h("jac"): return np.einsum("ni,nij->nj", dy, y[:, :, None] * np.eye(y.shape[1]) - y[:, :, None] * y[:, None, :])
        return y * (dy - (dy * y).sum(1, keepdims=True))
    return fwd, bwd
fam("layer", "softmax", softmax_l, lambda x: torch.softmax(x, 1), dict(x=(4, 5)),
    [("diag", "x", "only the diagonal of the softmax Jacobian, y(1-y)dy; off-diagonal missing"), ("no y", "x", "inner sum lacks y: sum(dy) instead of sum(dy*y)"),
     ("batch axis", "x", "projection summed over the batch axis instead of the classes"), ("mean", "x", "projection averaged instead of summed over the classes")], alts=["jac"])


def soft_temp(f):
    h = H(f)
    def fwd(x, tau): return smax(x / tau)
    def bwd(dy, x, tau):
        y = smax(x / tau)
        dz = y * (dy - (dy * y).sum(1, keepdims=True))
        dx = dz if h("no 1/tau") else dz / tau
        dt = -(dz * x).sum() / (tau if h("tau once") else tau ** 2)
        return {"x": dx, "tau": np.reshape(-dt if h("sign") else dt, (1,))}
    return fwd, bwd
fam("layer", "softmax learned temperature", soft_temp, lambda x, tau: torch.softmax(x / tau, 1),
    dict(x=(4, 5), params={"tau": np.array([1.7])}),
    [("no 1/tau", "x", "dx lacks 1/tau"), ("tau once", "tau", "d tau divided by tau instead of tau^2"), ("sign", "tau", "sign of d tau"),
     ("no 1/tau+sign", "x tau", "two: dx lacks 1/tau; sign of d tau")])


def attn(f):
    h = H(f)
    def parts(x, Wq, Wk, Wv):
        q, k, v = x @ Wq, x @ Wk, x @ Wv
        s = q @ np.swapaxes(k, 1, 2) / math.sqrt(q.shape[2])
        m = np.triu(np.ones((x.shape[1],) * 2), 1).astype(bool)
        p = smax(np.where(m, -1e30, s))
        return q, k, v, p
    def fwd(x, Wq, Wk, Wv):
        q, k, v, p = parts(x, Wq, Wk, Wv)
        return p @ v
    def bwd(dy, x, Wq, Wk, Wv):
        q, k, v, p = parts(x, Wq, Wk, Wv)
        T = lambda a: np.swapaxes(a, 1, 2)
        dv = (p if h("PT") else T(p)) @ dy
        dp = dy @ T(v)
        ds = p * dp if h("no proj") else p * (dp - (dp * p).sum(1 if h("axis") else 2, keepdims=True))
        sc = 1 / math.sqrt(q.shape[2])
        dq = ds @ k * (1 if h("q no scale") else sc)
        dk = (ds if h("ST") else T(ds)) @ q * sc
        dx = dq @ Wq.T + dk @ Wk.T + (0 if h("no v path") else dv @ Wv.T)
        w = lambda d: np.einsum("nti,ntj->ij", x, d)
        return {"x": dx, "Wq": w(dk if h("qk swap") else dq), "Wk": w(dq if h("qk swap") else dk), "Wv": w(dv)}
    return fwd, bwd
fam("layer", "causal attention", attn, lambda x, Wq, Wk, Wv: F.scaled_dot_product_attention(x @ Wq, x @ Wk, x @ Wv, is_causal=True),
    dict(x=(2, 4, 3), params={"Wq": (3, 3), "Wk": (3, 3), "Wv": (3, 3)}),
    [("q no scale", "x Wq", "dQ lacks 1/sqrt(d)"), ("PT", "x Wv", "dV uses P instead of P^T"), ("ST", "x Wk", "dK uses dS instead of dS^T"),
     ("no proj", "x Wq Wk", "softmax backward lacks the projection term"), ("axis", "x Wq Wk", "softmax projection summed over queries instead of keys"),
     ("no v path", "x", "dx lacks the path through V"), ("qk swap", "Wq Wk", "dWq and dWk swapped"), ("PT+q no scale", "x Wv Wq", "two: dV uses P not P^T; dQ lacks 1/sqrt(d)")])


def layernorm(f, eps=1e-5):
    h = H(f)
    def st(x):
        mu = x.mean(1, keepdims=True)
        xc = x - mu
        D = x.shape[1]
        v = (xc ** 2).sum(1, keepdims=True) / (D - 1 if h("unbiased all") else D)
        s = 1 / (np.sqrt(v) + eps) if h("eps out fwd") else 1 / np.sqrt(v + eps)
        return xc, v, s
    def fwd(x, g, b):
        xc, v, s = st(x)
        return xc * s * g + b
    def bwd(dy, x, g, b):
        xc, v, s = st(x)
        if h("unbiased bwd"): s = 1 / np.sqrt(v * x.shape[1] / (x.shape[1] - 1) + eps)
        D = x.shape[1]
        xh = xc * s
        d = dy * g
        if h("no gamma"): d = dy
        m1 = d.mean(1, keepdims=True)
        m2 = (d * xh).mean(1, keepdims=True)
        if h("gamma outside means"): m1, m2 = dy.mean(1, keepdims=True), (dy * xh).mean(1, keepdims=True)
        if h("no mean"): m1 = 0
        if h("no var"): m2 = 0
        if h("sum"): m2 = (d * xh).sum(1, keepdims=True)
        if h("xc"): dx = s * (d - m1 - xc * m2)
        elif h("unbiased all"): dx = s * (d - m1 - xh * (d * xh).sum(1, keepdims=True) / (D - 1))
        elif h("long"):
            dvar = (d * xc).sum(1, keepdims=True) * -0.5 * s ** 3
            dmu = -(d * s).sum(1, keepdims=True) - 2 * dvar * xc.mean(1, keepdims=True)
            dx = d * s + dvar * 2 * xc / D + dmu / D
        elif h("var2"):
            dvar = (d * xc).sum(1, keepdims=True) * -0.5 * s ** 3
            dx = d * s + dvar * xc / D - (d * s).mean(1, keepdims=True)
        else: dx = s * (d - m1 - xh * m2)
        return {"x": dx, "g": (dy * (x if h("dg x") else xc if h("dg xc") else xh)).sum(0), "b": dy.mean(0) if h("b mean") else dy.sum(0)}
    return fwd, bwd
fam("layer", "LayerNorm", layernorm, lambda x, g, b: F.layer_norm(x, x.shape[1:], g, b), dict(x=(4, 6), params={"g": (6,), "b": (6,)}),
    [("no mean", "x", "mean path dropped"), ("no var", "x", "variance path dropped"), ("no gamma", "x", "gamma missing in dx"),
     ("gamma outside means", "x", "gamma missing inside both means (mean(dy) instead of mean(dy*gamma))"), ("sum", "x", "variance path summed instead of averaged (1/D missing)"),
     ("xc", "x", "variance path multiplied by x-mean instead of xhat (1/sigma missing in that term)"), ("var2", "x", "factor 2 of d(x-mu)^2 missing in the variance path"),
     ("dg x", "g", "dgamma uses x instead of xhat"), ("dg xc", "g", "dgamma uses x - mean, not divided by sigma"), ("unbiased bwd", "x g", "backward uses unbiased variance"),
     ("eps out fwd", "o x g", "eps added outside the square root"), ("no mean+dg xc", "x g", "two: mean path dropped; dgamma lacks 1/sigma"),
     ("no mean+b mean", "x b", "two: mean path dropped; dbeta averaged over the batch")], alts=["long"])


def rmsnorm(f, eps=1e-5):
    h = H(f)
    def fwd(x, w): return x / np.sqrt((x * x).mean(1, keepdims=True) + eps) * w
    def bwd(dy, x, w):
        e = 0.1 * 0 if h("no eps") else eps
        r = np.sqrt((x * x).mean(1, keepdims=True) + e)
        D = x.shape[1]
        d = dy * w
        dot = ((dy if h("no w in proj") else d) * x).sum(1, keepdims=True)
        t = x * dot / (r ** (2 if h("r2") else 3)) / (1 if h("no D") else D)
        return {"x": d / r + t if h("plus") else d / r - t, "w": (dy * x).sum(0) if h("w no r") else (dy * x / r).sum(0)}
    return fwd, bwd
fam("layer", "RMSNorm", rmsnorm, lambda x, w: F.rms_norm(x, x.shape[1:], w, 1e-5), dict(x=(4, 6), params={"w": (6,)}),
    [("no eps", "x w", "eps missing in the backward"), ("no w in proj", "x", "w missing inside the projection"), ("r2", "x", "projection divided by r^2 instead of r^3"),
     ("no D", "x", "1/D missing in the projection"), ("plus", "x", "sign of the projection"), ("w no r", "w", "dw lacks the division by the rms")])


def batchnorm(f, eps=1e-5):
    h = H(f)
    def fwd(x, g, b):
        v = x.var(0, ddof=1) if h("unbiased fwd") else x.var(0)
        return (x - x.mean(0)) / np.sqrt(v + eps) * g + b
    def bwd(dy, x, g, b):
        N = x.shape[0]
        xc = x - x.mean(0)
        s = 1 / np.sqrt((xc ** 2).mean(0) + eps)
        xh = xc * s
        d = dy * g
        if h("const"): dx = d * s
        elif h("N-1"): dx = s * (d - d.mean(0) - xh * (d * xh).sum(0) / (N - 1))
        elif h("features"): dx = s * (d - d.mean(1, keepdims=True) - xh * (d * xh).mean(1, keepdims=True))
        elif h("no var"): dx = s * (d - d.mean(0))
        elif h("sign"): dx = s * (d - d.mean(0) + xh * (d * xh).mean(0))
        elif h("no s"): dx = d - d.mean(0) - xh * (d * xh).mean(0)
        elif h("N form"): dx = g * s / N * (N * dy - dy.sum(0) - xh * (dy * xh).sum(0))
        elif h("N missing"): dx = g * s * (N * dy - dy.sum(0) - xh * (dy * xh).sum(0))
        else: dx = s * (d - d.mean(0) - xh * (d * xh).mean(0))
        return {"x": dx, "g": (dy * xh).sum(0), "b": dy.sum(0)}
    return fwd, bwd
fam("layer", "BatchNorm", batchnorm, lambda x, g, b: F.batch_norm(x, None, None, g, b, training=True), dict(x=(6, 3), params={"g": (3,), "b": (3,)}),
    [("const", "x", "batch statistics treated as constants (eval-mode backward)"), ("N-1", "x", "1/(N-1) instead of 1/N in the variance path"),
     ("features", "x", "means taken over the features instead of the batch"), ("no var", "x", "variance path dropped"), ("sign", "x", "sign of the variance path"),
     ("no s", "x", "factor 1/sigma missing"), ("N missing", "x", "the leading 1/N missing: N times too large"), ("unbiased fwd", "o", "forward normalises by the unbiased variance")], alts=["N form"])


def groupnorm(f, G=2, eps=1e-5):
    h = H(f)
    def fwd(x, g, b):
        N, C, T = x.shape
        z = x.reshape(N, G, -1)
        xh = ((z - z.mean(2, keepdims=True)) / np.sqrt(z.var(2, keepdims=True) + eps)).reshape(N, C, T)
        return xh * g[:, None] + b[:, None]
    def bwd(dy, x, g, b):
        N, C, T = x.shape
        z = x.reshape(N, G, -1)
        s = 1 / np.sqrt(z.var(2, keepdims=True) + eps)
        xh = (z - z.mean(2, keepdims=True)) * s
        d = (dy * g[:, None])
        if h("per channel"):
            xhc = xh.reshape(N, C, T)
            sc = np.repeat(s, C // G, axis=1)
            dx = sc * (d - d.mean(2, keepdims=True) - xhc * (d * xhc).mean(2, keepdims=True))
        else:
            d = d.reshape(N, G, -1)
            m = C // G if h("m channels") else z.shape[2]
            dx = (s * (d - d.sum(2, keepdims=True) / m - xh * (d * xh).sum(2, keepdims=True) / m)).reshape(N, C, T)
        xh = xh.reshape(N, C, T)
        return {"x": dx, "g": (dy * xh).sum(0).mean(1) if h("g mean T") else (dy * xh).sum((0, 2)), "b": dy.sum((0, 2))}
    return fwd, bwd
fam("layer", "GroupNorm", groupnorm, lambda x, g, b: F.group_norm(x, 2, g, b), dict(x=(2, 4, 3), params={"g": (4,), "b": (4,)}),
    [("per channel", "x", "means in the backward taken per channel instead of per group"), ("m channels", "x", "means divided by C/G instead of C/G*T"),
     ("g mean T", "g", "dgamma averaged over the length instead of summed")])


def weightnorm(f):
    h = H(f)
    def fwd(x, v, g): return x @ (g * v / np.sqrt((v * v).sum(1, keepdims=True))).T
    def bwd(dy, x, v, g):
        n = np.sqrt((v * v).sum(1, keepdims=True))
        vh = v / n
        dW = dy.T @ x
        pr = (dW * vh).sum(1, keepdims=True)
        dv = (1 if h("no g") else g) / n * (dW - (0 if h("no proj") else vh * pr))
        if h("no norm"): dv = g * (dW - vh * pr)
        if h("v proj"): dv = g / n * (dW - v * pr)
        return {"x": dy @ (v if h("x raw v") else g * vh), "v": dv, "g": (dW * (v if h("g raw")else vh)).sum(1, keepdims=True)}
    return fwd, bwd
fam("layer", "weight norm", weightnorm, lambda x, v, g: x @ torch._weight_norm(v, g, 0).T, dict(x=(5, 4), params={"v": (3, 4), "g": (3, 1)}),
    [("no proj", "v", "projection missing in dv (norm treated as constant)"), ("no g", "v", "dv lacks g"), ("no norm", "v", "dv lacks 1/||v||"),
     ("v proj", "v", "projection along v with only one 1/||v|| (unnormalised v once)"), ("g raw", "g", "dg uses v instead of v/||v||"), ("x raw v", "x", "dx uses v instead of g v/||v||")])


def gelu_tanh(f):
    h = H(f)
    c = math.sqrt(2 / math.pi)
    def fwd(x): return 0.5 * x * (1 + np.tanh(c * (x + 0.044715 * x ** 3)))
    def bwd(dy, x):
        t = np.tanh(c * (x + 0.044715 * x ** 3))
        inner = c * (1 + (1 if h("no 3") else 3) * 0.044715 * x ** 2)
        if h("no c"): inner = inner / c
        if h("1-t"): return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t) * inner)
        if h("no first"): return dy * (0.5 * x * (1 - t * t) * inner)
        if h("no half"): return dy * (0.5 * (1 + t) + x * (1 - t * t) * inner)
        return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner)
    return fwd, bwd
fam("layer", "GELU tanh", gelu_tanh, lambda x: F.gelu(x, approximate="tanh"), dict(x=(3, 5)),
    [("no 3", "x", "factor 3 of d(x^3) missing in the inner derivative"), ("no c", "x", "sqrt(2/pi) missing in the inner derivative"), ("1-t", "x", "1-tanh instead of 1-tanh^2"),
     ("no half", "x", "factor 1/2 missing in the second product-rule term")])


def gelu(f):
    h = H(f)
    def unused(z):
        from scipy.special import erf as e
        return e(z)
    def fwd(x): return 0.5 * x * (1 + torch_erf(x / math.sqrt(2)))
    def bwd(dy, x):
        Phi = 0.5 * (1 + torch_erf(x if h("no sqrt2") else x / math.sqrt(2)))
        phi = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
        if h("no phi"): return dy * Phi
        if h("pdf norm"): return dy * (Phi + x * phi * math.sqrt(2 * math.pi) / math.sqrt(math.pi))
        if h("exp"): return dy * (Phi + x * np.exp(-x * x) / math.sqrt(2 * math.pi))
        return dy * (Phi + x * phi)
    return fwd, bwd
def torch_erf(z):
    z = np.asarray(z)
    return torch.erf(torch.from_numpy(np.ascontiguousarray(z))).numpy()
fam("layer", "GELU", gelu, lambda x: F.gelu(x), dict(x=(3, 5)),
    [("no phi", "x", "product-rule term x*phi(x) missing"), ("pdf norm", "x", "density normalised by sqrt(pi) instead of sqrt(2 pi)"), ("exp", "x", "exp(-x^2) instead of exp(-x^2/2)"),
     ("no sqrt2", "x", "erf(x) instead of erf(x/sqrt 2) in the backward")])


def swish(f):
    h = H(f)
    def fwd(x, beta): return x * sig(beta * x)
    def bwd(dy, x, beta):
        s = sig(beta * x)
        b = 1 if h("no beta") else beta
        dx = dy * (s + b * x * s * (1 - s))
        if h("y for x"): dx = dy * s * (1 + beta * (x * s) * (1 - s))
        if h("no 1-s"): dx = dy * (s + beta * x * s)
        db = dy * (x if h("x once") else x * x) * s * (1 - s)
        return {"x": dx, "beta": np.reshape(db.sum(1).mean() if h("beta mean") else db.sum(), (1,))}
    return fwd, bwd
fam("layer", "swish with beta", swish, lambda x, beta: x * torch.sigmoid(beta * x), dict(x=(3, 5), params={"beta": np.array([1.3])}),
    [("no beta", "x", "beta missing in the second term"), ("y for x", "x", "output y used in place of x in the second term"), ("no 1-s", "x", "sigmoid derivative taken as s instead of s(1-s)"),
     ("x once", "beta", "dbeta has x instead of x^2"), ("beta mean", "beta", "dbeta averaged over the batch"), ("no beta+x once", "x beta", "two: beta missing in dx; dbeta has x instead of x^2")])


def softplus(f, B=2.0):
    h = H(f)
    def fwd(x): return np.log1p(np.exp(-np.abs(B * x))) / B + np.maximum(x, 0)
    def bwd(dy, x):
        if h("no beta"): return dy * sig(x)
        if h("times beta"): return dy * B * sig(B * x)
        if h("from y"): return dy * (1 - np.exp(-B * fwd(x)))
        if h("from y no beta"): return dy * (1 - np.exp(-fwd(x)))
        return dy * sig(B * x)
    return fwd, bwd
fam("layer", "softplus beta=2", softplus, lambda x: F.softplus(x, beta=2.0), dict(x=(3, 5)),
    [("no beta", "x", "sigmoid(x) instead of sigmoid(2x)"), ("times beta", "x", "extra factor beta: 1/beta forgotten"), ("from y no beta", "x", "1-exp(-y) instead of 1-exp(-beta y)")], alts=["from y"])


def elu(f, a=1.5):
    h = H(f)
    def fwd(x): return np.where(x > 0, x, a * (np.exp(np.minimum(x, 0)) - 1))
    def bwd(dy, x):
        e = np.exp(np.minimum(x, 0))
        if h("y"): return dy * np.where(x > 0, 1, a * (e - 1))
        if h("no a"): return dy * np.where(x > 0, 1, e)
        if h("y plus 1"): return dy * np.where(x > 0, 1, a * (e - 1) + 1)
        if h("from y"): return dy * np.where(x > 0, 1, fwd(x) + a)
        return dy * np.where(x > 0, 1, a * e)
    return fwd, bwd
fam("layer", "ELU alpha=1.5", elu, lambda x: F.elu(x, alpha=1.5), dict(x=(3, 6)),
    [("y", "x", "negative side: y instead of y + alpha"), ("no a", "x", "negative side lacks alpha"), ("y plus 1", "x", "negative side: y + 1 instead of y + alpha")], alts=["from y"])


def hardswish(f):
    h = H(f)
    def fwd(x): return x * np.clip(x + 3, 0, 6) / 6
    def bwd(dy, x):
        mid = (x + 3) / 6 if h("x plus 3") else x / 3 if h("x/3") else (2 * x + 3) / 6
        return dy * np.where(x <= -3, 0, np.where(x >= 3, 0 if h("zero above") else 1, mid))
    return fwd, bwd
fam("layer", "hardswish", hardswish, lambda x: F.hardswish(x), dict(x=lambda rng: 3 * rng.standard_normal((3, 7))),
    [("x plus 3", "x", "product rule: second term x/6 missing in the middle"), ("x/3", "x", "constant 1/2 missing in the middle"), ("zero above", "x", "zero slope above 3 instead of 1")])


def prelu(f):
    h = H(f)
    def fwd(x, a): return np.where(x > 0, x, a * x)
    def bwd(dy, x, a):
        dx = dy * np.where(x > 0, a, 1) if h("swapped") else dy * np.where(x > 0, 1, 1 if h("slope 1") else a)
        da = dy * x if h("no mask") else dy * np.where(x > 0, 0, np.abs(x) if h("abs") else x)
        if h("da a"): da = da * a
        return {"x": dx, "a": da.sum(0)}
    return fwd, bwd
fam("layer", "PReLU", prelu, lambda x, a: F.prelu(x, a), dict(x=(5, 4), params={"a": (4,)}),
    [("swapped", "x", "the branches are swapped"), ("no mask", "a", "da not masked to x<0"), ("abs", "a", "da uses |x| instead of x (sign)"), ("da a", "a", "da has an extra factor a"),
     ("swapped+no mask", "x a", "two: branches swapped in dx; da not masked")])


def glu(f):
    h = H(f)
    def fwd(x):
        a, b = np.split(x, 2, axis=1)
        return a * sig(b)
    def bwd(dy, x):
        a, b = np.split(x, 2, axis=1)
        s = sig(b)
        da, db = dy * s, dy * (1 if h("no a") else a) * (s if h("s") else s * (1 - s))
        return np.concatenate([db, da] if h("order") else [da, db], axis=1)
    return fwd, bwd
fam("layer", "GLU", glu, lambda x: F.glu(x, 1), dict(x=(4, 6)),
    [("order", "x", "the two halves of dx are swapped"), ("no a", "x", "gate's half lacks a"), ("s", "x", "gate's half: s instead of s(1-s)")])


def swiglu(f):
    h = H(f)
    def fwd(x, W, V, O): return ((x @ W) * sig(x @ W) * (x @ V)) @ O
    def bwd(dy, x, W, V, O):
        u, v = x @ W, x @ V
        s = sig(u)
        dh = dy @ O.T
        ds = s if h("silu' is s") else s * (1 + u * (1 - s))
        du = dh * v * ds
        if h("no v"): du = dh * ds
        dv = dh * (u if h("pre") else u * s)
        dO = (u * v if h("O pre") else u * s * v).T @ dy
        return {"x": du @ W.T + (0 if h("one") else dv @ V.T), "W": x.T @ du, "V": x.T @ dv, "O": dO}
    return fwd, bwd
fam("layer", "SwiGLU", swiglu, lambda x, W, V, O: (F.silu(x @ W) * (x @ V)) @ O, dict(x=(4, 3), params={"W": (3, 5), "V": (3, 5), "O": (5, 2)}),
    [("silu' is s", "x W", "SiLU derivative without the x*s*(1-s) term"), ("no v", "x W", "the gate's gradient lacks the value factor"), ("pre", "x V", "dV uses the pre-activation instead of silu"),
     ("one", "x", "dx lacks the path through V"), ("O pre", "O", "dO uses pre-activation u*v"), ("silu' is s+O pre", "x W O", "two: SiLU derivative lacks a term; dO uses the pre-activation")])


def gru(f, I=3, K=2):
    h_ = H(f)
    def parts(xx, W, U, b):
        x, hp = xx[:, :I], xx[:, I:]
        a, c = x @ W.T + b, hp @ U.T
        r, z = sig(a[:, :K] + c[:, :K]), sig(a[:, K:2 * K] + c[:, K:2 * K])
        cn = c[:, 2 * K:]
        n = np.tanh(a[:, 2 * K:] + r * cn)
        return x, hp, r, z, n, cn
    def fwd(xx, W, U, b):
        x, hp, r, z, n, cn = parts(xx, W, U, b)
        return (1 - z) * n + z * hp
    def bwd(dy, xx, W, U, b):
        x, hp, r, z, n, cn = parts(xx, W, U, b)
        dn = dy * (z if h_("z for 1-z") else 1 - z)
        dan = dn * (n * (1 - n) if h_("sigmoid' for tanh'") else 1 - n * n)
        dz = dy * ((n - hp) if h_("z sign") else (hp - n))
        daz = dz * z * (1 - z)
        dr = dan * (hp if h_("r uses h") else cn)
        dar = dr * (1 if h_("r no sig'") else r * (1 - r))
        dcn = dan * (1 if h_("no r in U") else r)
        da = np.concatenate([daz, dar, dan] if h_("gates swapped") else [dar, daz, dan], axis=1)
        dc = np.concatenate([dar, daz, dcn], axis=1)
        dh = dc @ U + (0 if h_("no direct") else dy * z)
        return {"x": np.concatenate([(np.concatenate([dar, daz, dan], axis=1) if h_("gates swapped") else da) @ W, dh], axis=1), "W": da.T @ x, "U": dc.T @ hp, "b": da.sum(0)}
    return fwd, bwd
fam("layer", "GRU cell", gru, lambda x, W, U, b: torch.gru_cell(x[:, :3], x[:, 3:], W, U, b, torch.zeros_like(b)), dict(x=(4, 5), params={"W": (6, 3), "U": (6, 2), "b": (6,)}),
    [("z for 1-z", "x W U b", "candidate gets z instead of 1-z"), ("sigmoid' for tanh'", "x W U b", "tanh derivative of the candidate taken as n(1-n)"), ("z sign", "x W U b", "sign of the update gate's gradient (n-h instead of h-n)"),
     ("r no sig'", "x W U b", "reset gate lacks its sigmoid derivative"), ("no r in U", "x U", "U_n's gradient and the state's lack the factor r"), ("no direct", "x", "state's gradient lacks the direct path z"),
     ("gates swapped", "W b", "r and z blocks swapped in dW and db")])


def lstm(f, I=3, K=2):
    h_ = H(f)
    def parts(xx, W, b):
        xh, c = xx[:, :I + K], xx[:, I + K:]
        a = xh @ W.T + b
        i, fo, g, o = sig(a[:, :K]), sig(a[:, K:2 * K]), np.tanh(a[:, 2 * K:3 * K]), sig(a[:, 3 * K:])
        c2 = fo * c + i * g
        return xh, c, i, fo, g, o, c2
    def fwd(xx, W, b):
        xh, c, i, fo, g, o, c2 = parts(xx, W, b)
        return np.concatenate([o * np.tanh(c2), c2], axis=1)
    def bwd(dy, xx, W, b):
        xh, c, i, fo, g, o, c2 = parts(xx, W, b)
        dh, dc2 = dy[:, :K], dy[:, K:]
        t = np.tanh(c2)
        dc = dc2 + (0 if h_("no h path") else dh * (1 if h_("no o") else o) * (1 - (c2 if h_("c for tanh c") else t) ** 2))
        if h_("no c in"): dc = dc - dc2
        do = dh * (c2 if h_("o no tanh") else t) * o * (1 - o)
        di = dc * g * i * (1 - i)
        df = dc * (c2 if h_("new c") else c) * fo * (1 - fo)
        dg = dc * i * (g * (1 - g) if h_("g sig") else 1 - g * g)
        da = np.concatenate([df, di, dg, do] if h_("if swap") else [di, df, dg, do], axis=1)
        dcp = dc * (i if h_("i for f") else fo)
        return {"x": np.concatenate([da @ W, dcp], axis=1), "W": da.T @ xh, "b": da.sum(0)}
    return fwd, bwd
def lstm_twin(x, W, b):
    h2, c2 = torch.lstm_cell(x[:, :3], (x[:, 3:5], x[:, 5:]), W[:, :3], W[:, 3:], b, torch.zeros_like(b))
    return torch.cat([h2, c2], 1)
fam("layer", "LSTM cell", lstm, lstm_twin, dict(x=(4, 7), params={"W": (8, 5), "b": (8,)}),
    [("no h path", "x W b", "the cell gets no gradient from h"), ("c for tanh c", "x W b", "1 - c^2 instead of 1 - tanh(c)^2"), ("no c in", "x W b", "upstream gradient of c dropped"),
     ("o no tanh", "x W b", "output gate uses c instead of tanh(c)"), ("new c", "x W b", "forget gate uses the new c instead of the previous one"), ("g sig", "x W b", "candidate uses the sigmoid's derivative"),
     ("if swap", "x W b", "i and f blocks swapped"), ("i for f", "x", "previous cell gets i instead of f"), ("new c+i for f", "x W b", "two: forget gate uses new c; previous cell gets i instead of f")])


def rnn(f):
    h_ = H(f)
    def run(x, Wx, Wh, b):
        hs = [np.zeros((x.shape[0], Wh.shape[0]))]
        for t in range(x.shape[1]):
            hs.append(np.tanh(x[:, t] @ Wx.T + hs[-1] @ Wh.T + b))
        return hs
    def fwd(x, Wx, Wh, b): return np.stack(run(x, Wx, Wh, b)[1:], axis=1)
    def bwd(dy, x, Wx, Wh, b):
        hs = run(x, Wx, Wh, b)
        dWx, dWh, db, carry, dxs = 0 * Wx, 0 * Wh, 0 * b, 0, []
        for t in reversed(range(x.shape[1])):
            d = dy[:, t] + carry
            hh = hs[t] if h_("tanh' prev") else hs[t + 1]
            da = d * (1 - hh ** 2)
            dWx = dWx + da.T @ x[:, t]
            dWh = dWh + da.T @ hs[t + 1 if h_("h_t") else t]
            db = db + da.sum(0)
            dxs.append(da @ Wx)
            carry = 0 if h_("no carry") else (d if h_("carry before act") else da) @ (Wh.T if h_("WhT") else Wh)
        return {"x": np.stack(dxs[::-1], axis=1), "Wx": dWx, "Wh": dWh, "b": db}
    return fwd, bwd
def rnn_twin(x, Wx, Wh, b):
    hh, out = torch.zeros(x.shape[0], Wh.shape[0], dtype=x.dtype), []
    for t in range(x.shape[1]):
        hh = torch.tanh(F.linear(x[:, t], Wx, b) + F.linear(hh, Wh))
        out.append(hh)
    return torch.stack(out, 1)
fam("layer", "RNN through time", rnn, rnn_twin, dict(x=(3, 3, 2), params={"Wx": (2, 2), "Wh": (2, 2), "b": (2,)}),
    [("no carry", "x Wx Wh b", "no gradient carried back through time (truncated at one step)"), ("h_t", "Wh", "dWh uses h_t instead of h_(t-1)"), ("WhT", "x Wx Wh b", "Wh transposed when carrying back"),
     ("tanh' prev", "x Wx Wh b", "tanh derivative at h_(t-1)"), ("carry before act", "x Wx Wh b", "carry without the tanh derivative"), ("WhT+h_t", "x Wx Wh b", "two: Wh transposed when carrying back; dWh uses h_t")])


def resmlp(f):
    h = H(f)
    def fwd(x, A, B, al): return x + al * (np.maximum(x @ A, 0) @ B)
    def bwd(dy, x, A, B, al):
        u = x @ A
        r = np.maximum(u, 0)
        dh = (dy @ B.T) * (1 if h("no mask") else (u > 0)) * (1 if h("no al") else al)
        return {"x": (0 if h("no skip") else dy * 2 if h("2 skip") else dy) + dh @ A.T, "A": x.T @ dh,
                "B": (u if h("B pre") else r).T @ dy * al, "al": np.reshape((dy * (x if h("al x") else r @ B)).sum(), (1,))}
    return fwd, bwd
fam("layer", "residual MLP", resmlp, lambda x, A, B, al: x + al * (F.relu(x @ A) @ B), dict(x=(4, 3), params={"A": (3, 6), "B": (6, 3), "al": (1,)}),
    [("no mask", "x A", "ReLU mask missing"), ("no al", "x A", "alpha missing on the branch"), ("no skip", "x", "skip path missing"), ("2 skip", "x", "skip path counted twice"),
     ("B pre", "B", "dB uses the pre-activation"), ("al x", "al", "d alpha uses x instead of the branch's output"), ("no skip+B pre", "x B", "two: skip path missing; dB uses the pre-activation")])


def highway(f):
    h = H(f)
    def fwd(x, A, T):
        t = sig(x @ T)
        return t * np.tanh(x @ A) + (1 - t) * x
    def bwd(dy, x, A, T):
        t, g = sig(x @ T), np.tanh(x @ A)
        da = dy * t * (1 - g * g)
        dt = dy * (g if h("no carry in gate") else g - x) * t * (1 - t)
        return {"x": da @ A.T + dt @ T.T + dy * (t if h("t skip") else 1 - t), "A": x.T @ da, "T": x.T @ dt}
    return fwd, bwd
fam("layer", "highway", highway, lambda x, A, T: torch.sigmoid(x @ T) * torch.tanh(x @ A) + (1 - torch.sigmoid(x @ T)) * x, dict(x=(4, 3), params={"A": (3, 3), "T": (3, 3)}),
    [("no carry in gate", "x T", "gate's gradient lacks -x (the carry's part)"), ("t skip", "x", "skip weighted by t instead of 1-t")])


def cosproto(f):
    h = H(f)
    n = lambda a: np.sqrt((a * a).sum(1, keepdims=True))
    def fwd(x, P): return (x / n(x)) @ (P / n(P)).T
    def bwd(dy, x, P):
        xh, Ph = x / n(x), P / n(P)
        a, b = dy @ Ph, dy.T @ xh
        dx = (a - (0 if h("no proj") else xh * (a * xh).sum(1, keepdims=True))) / n(x)
        dP = (b - Ph * (b * Ph).sum(1, keepdims=True)) / (1 if h("no 1/n") else n(P))
        if h("unnormalised"): dx = (dy @ P - xh * ((dy @ P) * xh).sum(1, keepdims=True)) / n(x)
        return {"x": dx, "P": dP}
    return fwd, bwd
fam("layer", "cosine to prototypes", cosproto, lambda x, P: F.cosine_similarity(x[:, None], P[None], dim=2), dict(x=(4, 3), params={"P": (2, 3)}),
    [("no proj", "x", "projection missing in dx"), ("no 1/n", "P", "dP lacks 1/||P||"), ("unnormalised", "x", "dx uses P instead of P/||P||")])


def avgpool(f):
    h = H(f)
    def fwd(x): return (x[:, :, 0::2] + x[:, :, 1::2]) / 2
    def bwd(dy, x):
        d = np.repeat(dy, 2, axis=2)
        if h("tile"): d = np.concatenate([dy, dy], axis=2)
        return d if h("no /k") else d / 2
    return fwd, bwd
fam("layer", "avg pool", avgpool, lambda x: F.avg_pool1d(x, 2), dict(x=(2, 3, 6)), [("no /k", "x", "1/k missing"), ("tile", "x", "tiled instead of repeated: positions mixed up")])


def maxpool(f):
    h = H(f)
    def fwd(x): return np.maximum(x[:, :, 0::2], x[:, :, 1::2])
    def bwd(dy, x):
        m = x[:, :, 0::2] > x[:, :, 1::2]
        if h("min"): m = ~m
        d = 0 * x
        d[:, :, 0::2], d[:, :, 1::2] = (dy, dy) if h("all") else (dy * m, dy * ~m)
        if h("share"): d[:, :, 0::2], d[:, :, 1::2] = dy / 2, dy / 2
        return d
    return fwd, bwd
fam("layer", "max pool", maxpool, lambda x: F.max_pool1d(x, 2), dict(x=lambda rng: rng.standard_normal((2, 3, 6))),
    [("all", "x", "gradient given to every position of the window"), ("min", "x", "given to the smaller element"), ("share", "x", "shared equally as in average pooling")])


def emb(f):
    h = H(f)
    def fwd(x, E): return x @ E * math.sqrt(E.shape[1])
    def bwd(dy, x, E):
        s = math.sqrt(E.shape[1])
        dE = x.T @ dy * s
        if h("no sqrt"): dE = x.T @ dy
        if h("assign"):
            dE = 0 * E
            for n in range(x.shape[0]):
                dE[int(x[n].argmax())] = dy[n] * s
        if h("mean"): dE = dE / np.maximum(x.sum(0), 1)[:, None]
        return {"x": dy @ E.T * s, "E": dE}
    return fwd, bwd
fam("layer", "embedding by one-hot", emb, lambda x, E: x @ E * math.sqrt(E.shape[1]), dict(x=lambda rng: np.eye(4)[rng.integers(0, 3, 8)], params={"E": (4, 3)}),
    [("no sqrt", "E", "factor sqrt(d) missing in dE"), ("assign", "E", "assignment instead of accumulation for repeated tokens: the last one wins"), ("mean", "E", "averaged over a token's occurrences")])


def rotary(f):
    h = H(f)
    def cs(T): 
        th = np.arange(T) * 0.7
        return np.cos(th)[:, None], np.sin(th)[:, None]
    def fwd(x):
        c, s = cs(x.shape[1]); a, b = x[..., :2], x[..., 2:]
        return np.concatenate([a * c - b * s, a * s + b * c], axis=2)
    def bwd(dy, x):
        c, s = cs(x.shape[1] + 1)
        c, s = (c[1:], s[1:]) if h("off by one") else (c[:-1], s[:-1])
        if h("same direction"): s = -s
        a, b = dy[..., :2], dy[..., 2:]
        return np.concatenate([a * c + b * s, -a * s + b * c], axis=2)
    return fwd, bwd
def rotary_twin(x):
    th = torch.arange(x.shape[1], dtype=x.dtype) * 0.7
    z = torch.complex(x[..., :2], x[..., 2:]) * torch.polar(torch.ones_like(th), th)[:, None]
    return torch.cat([z.real, z.imag], 2)
fam("layer", "rotary", rotary, rotary_twin, dict(x=(2, 4, 4)), [("same direction", "x", "rotated forward again instead of back (not transposed)"), ("off by one", "x", "angles of position t+1")])


def l2n(f):
    h = H(f)
    n = lambda a, ax=1: np.sqrt((a * a).sum(ax, keepdims=True))
    def fwd(x, g): return g * x / n(x)
    def bwd(dy, x, g):
        xh = x / n(x)
        dot = (dy * xh).sum(1, keepdims=True)
        dx = g * (dy - xh * dot) / n(x)
        if h("no proj"): dx = g * dy / n(x)
        if h("x"): dx = g * (dy - x * dot) / n(x)
        if h("n3"): dx = g * (dy - x * (dy * x).sum(1, keepdims=True)) / n(x)
        if h("axis"): dx = g * (dy - xh * (dy * xh).sum(0, keepdims=True)) / n(x)
        return {"x": dx, "g": np.reshape((dy * (x if h("g x") else xh)).sum(), (1,))}
    return fwd, bwd
fam("layer", "L2 normalise", l2n, lambda x, g: g * F.normalize(x, dim=1), dict(x=(4, 5), params={"g": (1,)}),
    [("no proj", "x", "projection missing (norm constant)"), ("x", "x", "projection along x instead of x/||x|| (one 1/||x|| missing)"), ("n3", "x", "1/||x||^2 missing in the projection"),
     ("axis", "x", "projection summed over the batch"), ("g x", "g", "dg uses x instead of x/||x||")])


def lse(f):
    h = H(f)
    def fwd(x): 
        m = x.max(1, keepdims=True)
        return (np.log(np.exp(x - m).sum(1, keepdims=True)) + m)[:, 0]
    def bwd(dy, x):
        p = smax(x, 0 if h("axis") else 1)
        if h("no norm"): p = np.exp(x - x.max(1, keepdims=True))
        if h("max"): p = (x == x.max(1, keepdims=True)) * 1.0
        return dy[:, None] * p
    return fwd, bwd
fam("layer", "logsumexp", lse, lambda x: torch.logsumexp(x, 1), dict(x=(4, 5)),
    [("axis", "x", "softmax over the batch axis"), ("no norm", "x", "exp(x-max) not divided by its sum"), ("max", "x", "one-hot of the maximum instead of softmax")])


def cums(f):
    h = H(f)
    def fwd(x): return np.cumsum(x, axis=1)
    def bwd(dy, x):
        if h("forward"): return np.cumsum(dy, axis=1)
        r = np.cumsum(dy[:, ::-1], axis=1)
        if h("no flip back"): return r
        r = r[:, ::-1]
        return r - dy if h("exclusive") else dy.sum(1, keepdims=True) - np.cumsum(dy, axis=1) + dy if h("alt") else r
    return fwd, bwd
fam("layer", "cumsum", cums, lambda x: torch.cumsum(x, 1), dict(x=(3, 5)),
    [("forward", "x", "cumulated forwards instead of backwards"), ("no flip back", "x", "result not flipped back"), ("exclusive", "x", "exclusive: own position missing (off by one)")], alts=["alt"])


def lora(f, s=0.5):
    h = H(f)
    def fwd(x, W, A, B): return x @ W.T + s * (x @ A.T) @ B.T
    def bwd(dy, x, W, A, B):
        z = x @ A.T
        return {"x": dy @ W + (0 if h("no adapter") else s * dy @ B @ A), "W": 0 * W if h("frozen") else dy.T @ x,
                "A": (1 if h("no s") else s) * (dy @ B).T @ x, "B": (s * s if h("s2") else s) * dy.T @ z}
    return fwd, bwd
fam("layer", "low-rank adapter", lora, lambda x, W, A, B: F.linear(x, W + 0.5 * B @ A), dict(x=(5, 4), params={"W": (3, 4), "A": (2, 4), "B": (3, 2)}),
    [("no adapter", "x", "dx lacks the adapter's path"), ("no s", "A", "dA lacks the scale s=0.5"), ("s2", "B", "dB has s twice"), ("frozen", "W", "W treated as a constant: gradient 0"),
     ("no adapter+s2", "x B", "two: dx lacks the adapter's path; dB has s twice")])


def softcap(f, c=3.0):
    h = H(f)
    def fwd(x): return c * np.tanh(x / c)
    def bwd(dy, x):
        y = fwd(x)
        if h("y"): return dy * (1 - y * y)
        if h("c"): return dy * c * (1 - (y / c) ** 2)
        if h("1/c"): return dy * (1 - (y / c) ** 2) / c
        return dy / np.cosh(x / c) ** 2 if h("cosh") else dy * (1 - (y / c) ** 2)
    return fwd, bwd
fam("layer", "tanh soft cap", softcap, lambda x: 3 * torch.tanh(x / 3), dict(x=(3, 5)),
    [("y", "x", "1-y^2 instead of 1-(y/c)^2"), ("1/c", "x", "extra 1/c (outer factor c forgotten)")], alts=["cosh"])


def dyt(f):
    h = H(f)
    def fwd(x, al, g, b): return g * np.tanh(al * x) + b
    def bwd(dy, x, al, g, b):
        t = np.tanh(al * x)
        d = dy * (1 if h("no g") else g) * (1 - t * t)
        return {"x": d * (1 if h("no al") else al), "al": np.reshape((d if h("al no x") else d * x).sum(), (1,)), "g": (dy * (al * x if h("g pre") else t)).sum(0), "b": dy.sum(0)}
    return fwd, bwd
fam("layer", "dynamic tanh", dyt, lambda x, al, g, b: g * torch.tanh(al * x) + b, dict(x=(4, 3), params={"al": (1,), "g": (3,), "b": (3,)}),
    [("no al", "x", "chain factor alpha missing in dx"), ("al no x", "al", "d alpha lacks x"), ("g pre", "g", "dgamma uses the pre-activation"), ("no g", "x al", "gamma missing in dx and d alpha"),
     ("no al+g pre", "x g", "two: alpha missing in dx; dgamma uses the pre-activation")])


def se(f):
    h = H(f)
    def fwd(x, W): return x * sig(x.mean(2) @ W.T)[:, :, None]
    def bwd(dy, x, W):
        m = x.mean(2)
        g = sig(m @ W.T)
        dg = (dy * x).mean(2) if h("mean") else (dy * x).sum(2)
        da = dg * g * (1 - g)
        dm = da @ W
        return {"x": dy * g[:, :, None] + (0 if h("no gate path") else (dm[:, :, None] if h("no 1/T") else dm[:, :, None] / x.shape[2])), "W": da.T @ m}
    return fwd, bwd
fam("layer", "squeeze-excite", se, lambda x, W: x * torch.sigmoid(x.mean(2) @ W.T)[:, :, None], dict(x=(2, 3, 4), params={"W": (3, 3)}),
    [("no gate path", "x", "gate treated as constant in dx"), ("no 1/T", "x", "1/T of the mean missing in the gate's path"), ("mean", "x W", "gate's gradient averaged over the length instead of summed")])


def rbf(f):
    h = H(f)
    def fwd(x, C, gm): return np.exp(-gm * ((x[:, None] - C[None]) ** 2).sum(2))
    def bwd(dy, x, C, gm):
        df = x[:, None] - C[None]
        y = fwd(x, C, gm)
        k = (dy * y * gm)[:, :, None] * df * (1 if h("no 2") else 2)
        return {"x": -k.sum(1), "C": -k.sum(0) if h("sign C") else k.sum(0), "gm": np.reshape(-(dy * y * (np.sqrt((df ** 2).sum(2)) if h("gm dist") else (df ** 2).sum(2))).sum(), (1,))}
    return fwd, bwd
fam("layer", "RBF", rbf, lambda x, C, gm: torch.exp(-gm * torch.cdist(x, C, compute_mode="donot_use_mm_for_euclid_dist") ** 2), dict(x=(3, 2), params={"C": (4, 2), "gm": np.array([0.6])}),
    [("no 2", "x C", "factor 2 missing"), ("sign C", "C", "sign of dC"), ("gm dist", "gm", "d gamma uses the distance instead of its square"), ("sign C+gm dist", "C gm", "two: sign of dC; d gamma uses distance not squared")])


def moe(f):
    h = H(f)
    def fwd(x, Gt, E): return np.einsum("nk,kio,ni->no", smax(x @ Gt), E, x)
    def bwd(dy, x, Gt, E):
        p = smax(x @ Gt)
        ye = np.einsum("kio,ni->nko", E, x)
        dp = np.einsum("no,nko->nk", dy, ye)
        da = p * (dp - (0 if h("no proj") else (dp * p).sum(1, keepdims=True)))
        return {"x": np.einsum("nk,kio,no->ni", p, E, dy) + (0 if h("no gate") else da @ Gt.T), "Gt": x.T @ da,
                "E": np.einsum("ni,no->io", x, dy)[None] / p.shape[1] + 0 * E if h("uniform") else np.einsum("nk,ni,no->kio", p, x, dy)}
    return fwd, bwd
fam("layer", "mixture of experts", moe, lambda x, Gt, E: (torch.softmax(x @ Gt, 1)[:, :, None] * torch.einsum("kio,ni->nko", E, x)).sum(1), dict(x=(4, 3), params={"Gt": (3, 2), "E": (2, 3, 2)}),
    [("no gate", "x", "dx lacks the gate's path"), ("no proj", "x Gt", "softmax projection missing in the gate"), ("uniform", "E", "experts weighted by 1/K instead of the gate's probability")])


def dropout_fixed(f, p=0.25):
    h = H(f)
    m = np.array([1, 0, 1, 1, 1, 0, 1, 1.0])
    def fwd(x): return x * m / (1 - p)
    def bwd(dy, x): return dy / (1 - p) if h("no mask") else dy * m if h("no scale") else dy * m / p if h("p") else dy * m / (1 - p)
    return fwd, bwd
fam("layer", "dropout with a fixed mask", dropout_fixed, lambda x: x * torch.tensor([1, 0, 1, 1, 1, 0, 1, 1], dtype=x.dtype) / 0.75, dict(x=(3, 8)),
    [("no mask", "x", "mask ignored"), ("no scale", "x", "1/(1-p) missing"), ("p", "x", "divided by p instead of 1-p")])


def logsoft(f):
    h = H(f)
    def fwd(x): return x - x.max(1, keepdims=True) - np.log(np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True))
    def bwd(dy, x):
        y = fwd(x)
        if h("no exp"): return dy - y * dy.sum(1, keepdims=True)
        if h("no sum"): return dy - np.exp(y) * dy
        if h("softmax's"): return np.exp(y) * (dy - (dy * np.exp(y)).sum(1, keepdims=True))
        return dy - np.exp(y) * dy.sum(1, keepdims=True)
    return fwd, bwd
fam("layer", "log softmax", logsoft, lambda x: F.log_softmax(x, 1), dict(x=(4, 5)),
    [("no exp", "x", "log-probabilities instead of probabilities in the projection"), ("no sum", "x", "dy not summed over the classes in the projection"), ("softmax's", "x", "the softmax's backward instead of the log softmax's")])


def mish(f):
    h = H(f)
    def fwd(x): return x * np.tanh(np.log1p(np.exp(x)))
    def bwd(dy, x):
        t = np.tanh(np.log1p(np.exp(x)))
        s = sig(x)
        if h("no s"): s = 1
        return dy * (t + x * ((1 - t) if h("1-t") else (1 - t * t)) * s)
    return fwd, bwd
fam("layer", "mish", mish, lambda x: F.mish(x), dict(x=(3, 5)), [("no s", "x", "softplus' derivative (sigmoid) missing"), ("1-t", "x", "1-tanh instead of 1-tanh^2")])


# ------------------------------------------------------------------ losses
class Loss:
    def __init__(self, fwd, grad): self.f, self.g = fwd, grad
    def forward(self, output, target): return self.f(output, target), (output, target)
    def gradient(self, cache): return self.g(*cache)


def oh(t, K): return np.eye(K)[t]


def smooth(f, e=0.2):
    h = H(f)
    def q(o, t):
        K = o.shape[1]
        return (1 - e) * oh(t, K) + (e / (K - 1) * (1 - oh(t, K)) if h("K-1") else e / K)
    def fwd(o, t):
        y = o - o.max(1, keepdims=True); y = y - np.log(np.exp(y).sum(1, keepdims=True))
        return -(q(o, t) * y).sum() / o.shape[0]
    def grad(o, t):
        g = smax(o) - (oh(t, o.shape[1]) if h("hard") else q(o, t))
        if h("scaled"): g = (1 - e) * (smax(o) - oh(t, o.shape[1]))
        return g if h("no N") else g / o.shape[0]
    return Loss(fwd, grad)
fam("loss", "label smoothing", smooth, torch.nn.CrossEntropyLoss(label_smoothing=0.2), dict(output=(5, 4), target="class"),
    [("hard", "lg", "gradient with hard targets (smoothing forgotten)"), ("K-1", "l lg", "eps spread over the K-1 other classes instead of all K"), ("no N", "lg", "1/N missing"),
     ("scaled", "lg", "gradient only (1-eps)(p-y): the uniform part forgotten")])


def focal(f, gm=2.0):
    h = H(f)
    def fwd(o, t):
        p = (smax(o) * oh(t, o.shape[1])).sum(1)
        return (-(1 - p) ** gm * np.log(p)).mean()
    def grad(o, t):
        P, Y = smax(o), oh(t, o.shape[1])
        p = (P * Y).sum(1)
        A, B = gm * (1 - p) ** (gm - 1) * np.log(p), -(1 - p) ** gm / p
        if h("weight const"): A = 0 * A
        if h("sign A"): A = -A
        if h("no gm"): A = A / gm
        return ((A + B) * p)[:, None] * (Y - P) / o.shape[0]
    return Loss(fwd, grad)
def focal_twin(o, t):
    p = torch.softmax(o, 1).gather(1, t[:, None])[:, 0]
    return ((1 - p) ** 2 * F.cross_entropy(o, t, reduction="none")).mean()
fam("loss", "focal", focal, focal_twin, dict(output=(5, 4), target="class"),
    [("weight const", "lg", "focal weight treated as constant"), ("sign A", "lg", "sign of the term from differentiating the weight"), ("no gm", "lg", "gamma missing in d(1-p)^gamma")])


def kl(f):
    h = H(f)
    def fwd(o, t): return (t * (np.log(t) - o)).sum() / o.shape[0]
    def grad(o, t):
        g = -t / (o.size if h("size") else o.shape[0])
        return -g if h("sign") else g * np.exp(o) / np.exp(o) * np.log(t) if h("log t") else g
    return Loss(fwd, grad)
POS = lambda *s: (lambda rng: rng.random(s) + 0.1)
fam("loss", "KL batchmean", kl, torch.nn.KLDivLoss(reduction="batchmean"), dict(output=(4, 3), target=POS(4, 3)),
    [("size", "lg", "divided by all elements instead of the batch"), ("log t", "lg", "multiplied by log t")])


def huber(f, d=0.7):
    h = H(f)
    def fwd(o, t):
        r = o - t
        return np.where(np.abs(r) <= d, 0.5 * r * r, d * (np.abs(r) - 0.5 * d)).mean()
    def grad(o, t):
        r = o - t
        c = np.where(np.abs(r) <= d, r, (1 if h("no delta") else d) * np.sign(r))
        if h("no clip"): c = r
        if h("abs"): c = np.where(np.abs(r) <= d, r, d)
        return (np.clip(r, -d, d) if h("clip") else c) / o.size
    return Loss(fwd, grad)
fam("loss", "Huber 0.7", huber, torch.nn.HuberLoss(delta=0.7), dict(output=(5, 3), target=(5, 3)),
    [("no delta", "lg", "linear part: slope 1 instead of delta"), ("no clip", "lg", "linear part missing: squared everywhere"), ("abs", "lg", "sign missing in the linear part")], alts=["clip"])


def hinge(f):
    h = H(f)
    def m(o, t):
        s = (o * oh(t, o.shape[1])).sum(1, keepdims=True)
        return np.maximum(0, 1 + o - s) * (1 - oh(t, o.shape[1]))
    def fwd(o, t): return m(o, t).sum() / o.size
    def grad(o, t):
        a = (m(o, t) > 0) * 1.0
        Y = oh(t, o.shape[1])
        g = a - Y * (1 if h("one") else a.sum(1, keepdims=True))
        if h("no true"): g = a
        return g / (o.shape[0] if h("no K") else o.size)
    return Loss(fwd, grad)
fam("loss", "multi-class hinge", hinge, torch.nn.MultiMarginLoss(), dict(output=(5, 4), target="class"),
    [("one", "lg", "true class gets -1 instead of minus the number of violated margins"), ("no true", "lg", "gradient of the true class missing"), ("no K", "lg", "1/K missing")])


CW = np.array([0.5, 2.0, 1.0, 1.5])
def wce(f):
    h = H(f)
    def fwd(o, t):
        w = CW[t]
        y = o - o.max(1, keepdims=True); y = y - np.log(np.exp(y).sum(1, keepdims=True))
        l = -(y * oh(t, 4)).sum(1)
        return (w * l).mean() if h("mean fwd") else (w * l).sum() / w.sum()
    def grad(o, t):
        w = CW[t]
        d = smax(o) - oh(t, 4)
        if h("per class"): return CW * d / w.sum()
        if h("only true"): return (smax(o) - w[:, None] * oh(t, 4)) / w.sum()
        if h("no w"): return d / w.sum()
        return w[:, None] * d / (o.shape[0] if h("N") or h("mean fwd") else w.sum())
    return Loss(fwd, grad)
fam("loss", "weighted CE", wce, torch.nn.CrossEntropyLoss(weight=torch.tensor(CW)), dict(output=(5, 4), target="class"),
    [("N", "lg", "divided by N instead of the sum of the weights"), ("per class", "lg", "weights applied per output column instead of by the sample's class"), ("only true", "lg", "weight only on the one-hot, not on the softmax"),
     ("no w", "lg", "class weights missing"), ("mean fwd", "l lg", "loss and gradient divided by N instead of the weights' sum")])


def poisson(f):
    h = H(f)
    def fwd(o, t): return (np.exp(o) - t * o).mean()
    def grad(o, t):
        g = (np.exp(o) - t)
        if h("no exp"): g = o - t
        if h("ratio"): g = 1 - t / np.exp(o)
        return g / (o.shape[0] if h("N") else o.size)
    return Loss(fwd, grad)
fam("loss", "Poisson NLL", poisson, torch.nn.PoissonNLLLoss(), dict(output=(4, 3), target=POS(4, 3)),
    [("no exp", "lg", "o - t: exp forgotten"), ("ratio", "lg", "gradient w.r.t. the rate instead of the log rate (chain factor exp(o) missing)"), ("N", "lg", "divided by N instead of all elements")])


def gauss(f):
    h = H(f)
    sp = lambda o: (o[:, :2], o[:, 2:])
    def fwd(o, t):
        m, lv = sp(o)
        return 0.5 * (lv + (t - m) ** 2 * np.exp(-lv)).mean()
    def grad(o, t):
        m, lv = sp(o)
        k = t.size
        dm = (m - t) * (1 if h("no var") else np.exp(-lv)) / k
        dl = 0.5 * (1 - (t - m) ** 2 * np.exp(-lv)) / k
        if h("no half"): dl = 2 * dl
        if h("no 1"): dl = -0.5 * (t - m) ** 2 * np.exp(-lv) / k
        return np.concatenate([-dm if h("sign m") else dm, dl], axis=1)
    return Loss(fwd, grad)
fam("loss", "Gaussian NLL, log variance", gauss, lambda o, t: F.gaussian_nll_loss(o[:, :2], t, torch.exp(o[:, 2:])), dict(output=(4, 4), target=(4, 2)),
    [("no var", "lg", "mean's gradient not divided by the variance"), ("no half", "lg", "factor 1/2 missing in the log variance's gradient"), ("no 1", "lg", "log variance's gradient lacks the term from log sigma^2"),
     ("sign m", "lg", "sign of the mean's gradient"), ("no var+no half", "lg", "two: mean's gradient lacks 1/var; log variance's lacks 1/2")])


def cosl(f):
    h = H(f)
    n = lambda a: np.sqrt((a * a).sum(1, keepdims=True))
    def fwd(o, t): return (1 - (o * t).sum(1) / (n(o) * n(t))[:, 0]).mean()
    def grad(o, t):
        c = (o * t).sum(1, keepdims=True) / (n(o) * n(t))
        g = -(t / n(t) - (0 if h("no proj") else c * o / n(o))) / n(o)
        if h("no norm"): g = g * n(o)
        if h("n once"): g = -(t / (n(o) * n(t)) - c * o / n(o))
        return (-g if h("sign") else g) / o.shape[0]
    return Loss(fwd, grad)
fam("loss", "cosine loss", cosl, lambda o, t: (1 - F.cosine_similarity(o, t)).mean(), dict(output=(4, 3), target=(4, 3)),
    [("no proj", "lg", "projection missing (norm of o constant)"), ("sign", "lg", "sign"), ("n once", "lg", "projection divided by ||o|| instead of ||o||^2"), ("no norm", "lg", "1/||o|| missing")])


def dice(f, e=1.0):
    h = H(f)
    def fwd(o, t):
        p = sig(o)
        return 1 - (2 * (p * t).sum() + e) / (p.sum() + t.sum() + e)
    def grad(o, t):
        p = sig(o)
        I, U = 2 * (p * t).sum() + e, p.sum() + t.sum() + e
        g = -(2 * t * U - I) / U ** 2
        if h("num only"): g = -2 * t / U
        if h("U"): g = -(2 * t * U - I) / U
        if h("no 2"): g = -(t * U - I) / U ** 2
        return g if h("no sig") else g * p * (1 - p)
    return Loss(fwd, grad)
fam("loss", "dice", dice, lambda o, t: 1 - (2 * (torch.sigmoid(o) * t).sum() + 1) / (torch.sigmoid(o).sum() + t.sum() + 1), dict(output=(3, 4), target=lambda rng: (rng.random((3, 4)) > 0.5) * 1.0),
    [("num only", "lg", "quotient rule: denominator treated as constant"), ("U", "lg", "divided by U instead of U^2"), ("no 2", "lg", "factor 2 missing in the numerator's derivative"), ("no sig", "lg", "sigmoid derivative missing")])


def nce(f, tau=0.5):
    h = H(f)
    def fwd(o, t):
        s = o @ t.T / tau
        y = s - s.max(1, keepdims=True); y = y - np.log(np.exp(y).sum(1, keepdims=True))
        return -np.diagonal(y).mean()
    def grad(o, t):
        s = o @ t.T / tau
        p = smax(s, 0 if h("axis") else 1)
        d = p - (0 if h("no pos") else np.eye(len(p)))
        return (d.T if h("T") else d) @ t / o.shape[0] / (1 if h("no tau") else tau)
    return Loss(fwd, grad)
fam("loss", "InfoNCE", nce, lambda o, t: F.cross_entropy(o @ t.T / 0.5, torch.arange(o.shape[0])), dict(output=(4, 3), target=(4, 3)),
    [("no tau", "lg", "1/tau missing"), ("axis", "lg", "softmax over the wrong axis"), ("no pos", "lg", "the positive's term missing"), ("T", "lg", "matrix of (p - I) transposed")])


def bcew(f, w=3.0):
    h = H(f)
    sp = lambda z: np.log1p(np.exp(-np.abs(z))) + np.maximum(z, 0)
    def fwd(o, t): return (w * t * sp(-o) + (1 - t) * sp(o)).mean()
    def grad(o, t):
        p = sig(o)
        g = -w * t * (1 - p) + (1 - t) * p
        if h("all w"): g = w * (p - t)
        if h("no w"): g = p - t
        if h("partial"): g = p - w * t
        return g / o.size
    return Loss(fwd, grad)
fam("loss", "BCE with pos_weight", bcew, torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0, dtype=torch.float64)), dict(output=(4, 3), target=lambda rng: (rng.random((4, 3)) > 0.5) * 1.0),
    [("all w", "lg", "pos_weight applied to the negatives too"), ("no w", "lg", "pos_weight missing"), ("partial", "lg", "p - w t: pos_weight missing on the p of positives")])


def rmse(f):
    h = H(f)
    def fwd(o, t): return np.sqrt(((o - t) ** 2).mean())
    def grad(o, t):
        r = o - t
        R = np.sqrt((r * r).mean())
        if h("mse"): return 2 * r / o.size
        if h("two"): return 2 * r / o.size / R
        if h("no n"): return r / R
        return r / o.size / R
    return Loss(fwd, grad)
fam("loss", "RMSE", rmse, lambda o, t: torch.sqrt(F.mse_loss(o, t)), dict(output=(4, 3), target=(4, 3)),
    [("mse", "lg", "the MSE's gradient: outer 1/(2 rmse) missing"), ("two", "lg", "factor 1/2 of the square root missing"), ("no n", "lg", "1/n missing")])


def logcosh(f):
    h = H(f)
    def fwd(o, t): return np.log(np.cosh(o - t)).mean()
    def grad(o, t):
        r = o - t
        return (np.sinh(r) if h("sinh") else 1 / np.cosh(r) ** 2 if h("sech2") else np.tanh(r)) / o.size
    return Loss(fwd, grad)
fam("loss", "log cosh", logcosh, lambda o, t: torch.log(torch.cosh(o - t)).mean(), dict(output=(4, 3), target=(4, 3)),
    [("sinh", "lg", "sinh instead of tanh: 1/cosh missing"), ("sech2", "lg", "derivative of tanh instead of tanh")])


def pinball(f, q=0.8):
    h = H(f)
    def fwd(o, t): return np.where(t >= o, q * (t - o), (1 - q) * (o - t)).mean()
    def grad(o, t): return np.where(t >= o, -(1 - q if h("swap") else q), q if h("swap") else 1 - q) / o.size
    return Loss(fwd, grad)
RIGHT.append(dict(kind="loss", name="pinball[twin takes torch.maximum: half at a tie]", make=lambda: pinball(""), twin=lambda o, t: torch.maximum(0.8 * (t - o), -0.2 * (t - o)).mean(), kw=dict(output=(4, 3), target=(4, 3))))
fam("loss", "pinball 0.8", pinball, lambda o, t: torch.where(t >= o, 0.8 * (t - o), 0.2 * (o - t)).mean(), dict(output=(4, 3), target=(4, 3)), [("swap", "lg", "q and 1-q swapped")])


# ------------------------------------------------------------------ update rules
@dataclass
class Rule:
    fault: str = ""
    def has(self, k): return k in self.fault.split("+")
    def init(self, theta): return {"t": 0, "a": np.zeros_like(theta), "c": np.zeros_like(theta), "m": np.zeros_like(theta), "k": 1.0}


def rule(step):
    class R(Rule):
        def update(self, theta, grad, state, learning_rate):
            s = dict(state)
            s["t"] += 1
            theta = step(self.has, theta, grad, s, learning_rate)
            return theta, s
    R.__name__ = step.__name__
    def make(f):
        return R(f)
    return make


def opt(cls, **k):
    return lambda p, lr: cls(p, lr=lr, **k)


UK = dict(theta=(6,), steps=4)
O = torch.optim


def sgdm(h, th, g, s, lr):
    if h("wd"): pass
    g = g + (0.05 * th * (lr if h("wd lr") else 1))
    s["a"] = g if s["t"] == 1 and not h("damp1") else 0.9 * s["a"] + (1 if h("no damp") else 0.7) * g
    if h("nest"): return th - lr * (g + 0.9 * s["a"])
    return th - lr * s["a"]
fam("update", "SGD momentum dampening 0.3", rule(sgdm), opt(O.SGD, momentum=0.9, dampening=0.3, weight_decay=0.05), UK,
    [("damp1", "t1", "dampening applied at the first step too"), ("no damp", "t2", "dampening missing"), ("wd lr", "t1", "weight decay multiplied by the learning rate once more"), ("nest", "t1", "Nesterov look-ahead although plain momentum")])


def nesterov(h, th, g, s, lr):
    old = s["a"]
    s["a"] = 0.9 * s["a"] + g
    if h("plain"): return th - lr * s["a"]
    if h("old"): return th - lr * (g + 0.9 * old)
    if h("twice"): return th - lr * (s["a"] + 0.9 * s["a"])
    return th - lr * (g + 0.9 * s["a"])
fam("update", "Nesterov", rule(nesterov), opt(O.SGD, momentum=0.9, nesterov=True), UK,
    [("plain", "t1", "plain momentum: no look-ahead"), ("old", "t1", "look-ahead with the previous velocity"), ("twice", "t2", "velocity instead of the gradient in the look-ahead (v + mu v)")])


def adam(h, th, g, s, lr):
    b1, b2, e = 0.9, 0.99, 1e-3
    if h("betas"): b1, b2 = b2, b1
    t = s["t"] - 1 if h("t-1") and s["t"] > 1 else s["t"] + 1 if h("t plus 1") else s["t"]
    s["a"] = b1 * s["a"] + (1 - b1) * g
    s["c"] = b2 * s["c"] + ((1 - b1) if h("1-b1") else (1 - b2)) * (np.abs(g) if h("abs") else s["a"] ** 2 if h("m2") else g * g)
    m = s["a"] if h("no bc1") else s["a"] / (1 - b1 ** t)
    v = s["c"] if h("no bc2") else s["c"] / (1 - (b1 if h("bc2 b1") else b2) ** t)
    if h("eps in"): return th - lr * m / np.sqrt(v + e)
    if h("eps before bc"): return th - lr * m / ((np.sqrt(s["c"]) + e) / np.sqrt(1 - b2 ** t))
    if h("no sqrt"): return th - lr * m / (v + e)
    return th - lr * m / (np.sqrt(v) + e)
fam("update", "Adam", rule(adam), opt(O.Adam, betas=(0.9, 0.99), eps=1e-3), UK,
    [("no bc1", "t1", "bias correction of the first moment missing"), ("no bc2", "t1", "bias correction of the second moment missing"), ("eps in", "t1", "eps inside the square root"), ("eps before bc", "t1", "eps added before the bias correction of the second moment"),
     ("t-1", "t2", "step count one too small in the bias correction (from the second step)"), ("t plus 1", "t1", "step count one too large in the bias correction"), ("1-b1", "t1", "second moment weighted by 1-beta1"), ("bc2 b1", "t1", "second moment bias-corrected with beta1"),
     ("betas", "t2", "beta1 and beta2 swapped"), ("no sqrt", "t1", "square root missing"), ("m2", "t1", "second moment of the momentum instead of the gradient"), ("no bc1+eps in", "t1", "two: first bias correction missing; eps inside the root")])


def adamw(h, th, g, s, lr):
    b1, b2, e, w = 0.9, 0.99, 1e-8, 0.1
    if h("L2"): g = g + w * th
    s["a"] = b1 * s["a"] + (1 - b1) * g
    s["c"] = b2 * s["c"] + (1 - b2) * g * g
    u = s["a"] / (1 - b1 ** s["t"]) / (np.sqrt(s["c"] / (1 - b2 ** s["t"])) + e)
    if h("L2"): return th - lr * u
    if h("after"): return (th - lr * u) * (1 - lr * w)
    if h("no lr"): return th - lr * u - w * th
    if h("sign"): return th - lr * u + lr * w * th
    return th - lr * (u + w * th)
fam("update", "AdamW", rule(adamw), opt(O.AdamW, betas=(0.9, 0.99), weight_decay=0.1), UK,
    [("L2", "t1", "L2 in the gradient instead of decoupled decay"), ("after", "t1", "decay applied after the step (to the new theta)"), ("no lr", "t1", "decay without the learning rate"), ("sign", "t1", "sign of the decay")])


def rmsprop(h, th, g, s, lr):
    a, e = 0.9, 1e-2
    s["c"] = (1 - a) * s["c"] + a * g * g if h("swapped") else a * s["c"] + (1 if h("no 1-a") else 1 - a) * g * g
    s["m"] = a * s["m"] + (1 - a) * g
    v = s["c"] - s["m"] ** 2 if not h("uncentered") else s["c"]
    d = np.sqrt(v + e) if h("eps in") else np.sqrt(v) + e
    s["a"] = 0.5 * s["a"] + g / d
    if h("no mom"): return th - lr * g / d
    return th - lr * s["a"]
fam("update", "RMSprop centered momentum", rule(rmsprop), opt(O.RMSprop, alpha=0.9, eps=1e-2, centered=True, momentum=0.5), UK,
    [("uncentered", "t1", "mean not subtracted (uncentered)"), ("swapped", "t1", "alpha and 1-alpha swapped"), ("eps in", "t1", "eps inside the root"), ("no mom", "t2", "momentum missing"), ("no 1-a", "t1", "1-alpha missing")])


def adagrad(h, th, g, s, lr):
    e = 1e-2
    old = s["c"]
    s["c"] = (0.9 * s["c"] + 0.1 * g * g) if h("decay") else s["c"] + g * g
    l = lr / (1 + (s["t"] if h("t off") else s["t"] - 1) * 0.5)
    d = np.sqrt((old if h("stale") else s["c"])) + e
    if h("eps in"): d = np.sqrt(s["c"] + e)
    if h("no sqrt"): d = s["c"] + e
    return th - l * g / d
fam("update", "Adagrad lr_decay", rule(adagrad), opt(O.Adagrad, eps=1e-2, lr_decay=0.5), UK,
    [("decay", "t1", "moving average instead of a sum"), ("t off", "t1", "learning-rate decay counts from 1 instead of 0"), ("eps in", "t1", "eps inside the root"), ("stale", "t1", "previous accumulator (before this gradient) used")])


def adadelta(h, th, g, s, lr):
    r, e = 0.9, 1e-3
    s["c"] = r * s["c"] + (1 - r) * g * g
    d = np.sqrt(s["a"] + e) / np.sqrt(s["c"] + e) * g
    if h("eps out"): d = (np.sqrt(s["a"]) + e) / (np.sqrt(s["c"]) + e) * g
    if h("new"):
        s["a"] = r * s["a"] + (1 - r) * d * d
        d = np.sqrt(s["a"] + e) / np.sqrt(s["c"] + e) * g
    elif h("g in acc"): s["a"] = r * s["a"] + (1 - r) * g * g
    else: s["a"] = r * s["a"] + (1 - r) * d * d
    return th - (1 if h("no lr") else lr) * d
fam("update", "Adadelta", rule(adadelta), opt(O.Adadelta, rho=0.9, eps=1e-3), UK,
    [("eps out", "t1", "eps outside the roots"), ("new", "t1", "accumulator of updates refreshed before it is used"), ("g in acc", "t2", "gradients accumulated in place of the updates"), ("no lr", "t1", "learning rate missing")])


def adamax(h, th, g, s, lr):
    b1, b2, e = 0.9, 0.99, 1e-3
    s["a"] = b1 * s["a"] + (1 - b1) * g
    s["c"] = np.maximum((1 if h("no decay") else b2) * s["c"], np.abs(g) if h("no eps") else np.abs(g) + e)
    bc = 1 if h("no bc") else 1 - b1 ** s["t"]
    u = s["c"] / (1 - b2 ** s["t"]) if h("bc u") else s["c"]
    return th - lr / bc * s["a"] / u
fam("update", "Adamax", rule(adamax), opt(O.Adamax, betas=(0.9, 0.99), eps=1e-3), UK,
    [("no decay", "t2", "beta2 missing in the running maximum"), ("no bc", "t1", "bias correction missing"), ("bc u", "t1", "maximum wrongly bias-corrected"), ("no eps", "t1", "eps missing")])


def nadam(h, th, g, s, lr):
    b1, b2, e, pd = 0.9, 0.99, 1e-8, 4e-3
    t = s["t"]
    mu, mu1 = b1 * (1 - 0.5 * 0.96 ** (t * pd)), b1 * (1 - 0.5 * 0.96 ** ((t + 1) * pd))
    if h("const mu"): mu = mu1 = b1
    s["k"] = s["k"] * mu if h("f64") else float(np.float32(np.float32(s["k"]) * np.float32(mu)))  # torch keeps mu_product in float32
    s["a"] = b1 * s["a"] + (1 - b1) * g
    s["c"] = b2 * s["c"] + (1 - b2) * g * g
    d = np.sqrt(s["c"] / (1 - b2 ** t)) + e
    k1 = s["k"] if h("same prod") else s["k"] * mu1
    return th - lr * (1 - mu) / (1 - s["k"]) * g / d - lr * (mu if h("mu for mu1") else mu1) / (1 - k1) * s["a"] / d
RIGHT.append(dict(kind="update", name="NAdam[product kept in float64]", make=lambda: rule(nadam)("f64"), twin=opt(O.NAdam, betas=(0.9, 0.99)), kw=UK))
fam("update", "NAdam", rule(nadam), opt(O.NAdam, betas=(0.9, 0.99)), UK,
    [("const mu", "t1", "momentum schedule missing (mu constant beta1)"), ("same prod", "t1", "second term divided by 1-prod(mu_t) instead of the next product"), ("mu for mu1", "t1", "mu_t instead of mu_(t+1) in the second term")])


def radam(h, th, g, s, lr):
    b1, b2, e = 0.9, 0.9, 1e-8
    t = s["t"]
    s["a"] = b1 * s["a"] + (1 - b1) * g
    s["c"] = b2 * s["c"] + (1 - b2) * g * g
    m = s["a"] / (1 - b1 ** t)
    ri = 2 / (1 - b2) - 1
    r = ri - 2 * t * b2 ** t / (1 - b2 ** t)
    if r > (4 if h("4") else 5):
        R = math.sqrt((r - 4) * (r - 2) * ri / ((ri - 4) * (ri - 2) * r))
        if h("no rect"): R = 1
        return th - lr * m * R * math.sqrt(1 - b2 ** t) / (np.sqrt(s["c"]) + e)
    return th - lr * (s["a"] if h("no bc") else m)
fam("update", "RAdam", rule(radam), opt(O.RAdam, betas=(0.9, 0.9)), dict(theta=(6,), steps=8),
    [("no rect", "t6", "rectification factor missing"), ("no bc", "t1", "bias correction missing in the un-adapted steps"), ("4", "t5", "threshold 4 instead of 5")])


class TLion(torch.optim.Optimizer):
    def __init__(self, params, lr): super().__init__(params, dict(lr=lr))
    @torch.no_grad()
    def step(self, closure=None):
        for gr in self.param_groups:
            for p in gr["params"]:
                m = self.state[p].setdefault("mom", torch.zeros_like(p))
                p.mul_(1 - gr["lr"] * 0.1).sub_(gr["lr"] * torch.tanh(0.9 * m + 0.1 * p.grad))
                m.mul_(0.99).add_(0.01 * p.grad)
def lionlike(h, th, g, s, lr):
    m = s["a"]
    if h("update first"): m = 0.99 * m + 0.01 * g
    u = np.tanh(0.9 * m + (0.01 if h("b2") else 0.1) * g)
    s["a"] = (0.9 * s["a"] + 0.1 * g) if h("b1 in m") else 0.99 * s["a"] + 0.01 * g
    return th - lr * (u + (0 if h("no wd") else 0.1 * th))
fam("update", "soft Lion", rule(lionlike), lambda p, lr: TLion(p, lr), UK,
    [("update first", "t1", "momentum refreshed before it is used"), ("b1 in m", "t2", "momentum kept with beta1 instead of beta2"), ("no wd", "t1", "weight decay missing")])
