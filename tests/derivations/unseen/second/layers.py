"""Families of layers: each maker takes the set of faults `f` (empty: right) and gives (forward, backward)."""
import numpy as np, torch, torch.nn.functional as F
X, Y = "input gradient", "output"
G = lambda *n: {f"gradient of {a}" for a in n}
sig = lambda z: 1 / (1 + np.exp(-z))
def softmax(z, axis=-1):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)
def dsoftmax(p, dp, axis=-1):
    return p * (dp - (p * dp).sum(axis=axis, keepdims=True))
FAMILIES, WRONG = {}, []
def family(name, twin, **kw):
    def put(maker):
        FAMILIES[name] = (maker, twin, kw)
        return maker
    return put
def wrong(fam, faults, differs, *truths):
    WRONG.append((fam, frozenset(faults.split()), set(differs), truths))

# 1 low rank adapter: y = xWᵀ + s (xAᵀ)Bᵀ
S = 1.7
@family("lora", lambda x, W, A, B: F.linear(x, W) + S * F.linear(F.linear(x, A), B), x=(5, 6), params={"W": (4, 6), "A": (2, 6), "B": (4, 2)})
def lora(f):
    def forward(x, W, A, B): return x @ W.T + S * (x @ A.T) @ B.T
    def backward(dy, x, W, A, B):
        dl = dy @ B
        dA = dl.T @ x if "a_scale" in f else S * dl.T @ x
        dB = S * dy.T @ (x @ A.T)
        dx = dy @ W if "x_branch" in f else dy @ W + S * dl @ A
        if "b_twice" in f: dB = S * dB
        return {"x": dx, "W": dy.T @ x, "A": dA, "B": dB}
    return forward, backward
wrong("lora", "a_scale", G("A"), "the scale s = 1.7 is missing in dA")
wrong("lora", "x_branch", {X}, "the low-rank branch is missing in dx")
wrong("lora", "b_twice x_branch", {X} | G("B"), "s applied twice in dB", "the low-rank branch is missing in dx")

# 2 quadratic form
@family("quadratic", lambda x, W: torch.einsum("ni,oij,nj->no", x, W, x), x=(3, 5), params={"W": (4, 5, 5)})
def quadratic(f):
    def forward(x, W): return np.einsum("ni,oij,nj->no", x, W, x)
    def backward(dy, x, W):
        dx = np.einsum("no,oij,nj->ni", dy, W, x)
        if "half" not in f: dx = dx + np.einsum("no,oij,ni->nj", dy, W, x)
        return {"x": dx, "W": np.einsum("no,ni,nj->oij", dy, x, x)}
    return forward, backward
wrong("quadratic", "half", {X}, "only W x, the transposed term Wᵀx is missing (x stands twice)")

# 3 attention, one head, d=3
def att_t(x, Q, K, V):
    q, k, v = x @ Q, x @ K, x @ V
    return torch.softmax(q @ k.transpose(1, 2) / 3**.5, -1) @ v
@family("attention", att_t, x=(2, 4, 5), params={"Q": (5, 3), "K": (5, 3), "V": (5, 3)})
def attention(f):
    T = lambda a: a.transpose(0, 2, 1)
    c = 1 / np.sqrt(3)
    def parts(x, Q, K, V):
        q, k, v = x @ Q, x @ K, x @ V
        return q, k, v, softmax(q @ T(k) * c)
    def forward(x, Q, K, V):
        q, k, v, P = parts(x, Q, K, V)
        return P @ v
    def backward(dy, x, Q, K, V):
        q, k, v, P = parts(x, Q, K, V)
        dv = P @ dy if "p_not_t" in f else T(P) @ dy
        dP = dy @ T(v)
        dS = P * (1 - P) * dP if "diag" in f else dsoftmax(P, dP)
        dq = dS @ (q if "q_for_k" in f else k) * c
        dk = T(dS) @ q if "k_scale" in f else T(dS) @ q * c
        dx = dq @ Q.T + dk @ K.T
        if "no_v" not in f: dx = dx + dv @ V.T
        return {"x": dx, "Q": (T(x) @ dq).sum(0), "K": (T(x) @ dk).sum(0), "V": (T(x) @ dv).sum(0)}
    return forward, backward
wrong("attention", "k_scale", {X} | G("K"), "1/√d missing on the key side")
wrong("attention", "diag", {X} | G("Q", "K"), "softmax derivative taken as its diagonal P(1−P)")
wrong("attention", "no_v", {X}, "the value path is missing in dx")
wrong("attention", "p_not_t", {X} | G("V"), "dV uses P instead of Pᵀ")
wrong("attention", "q_for_k", {X} | G("Q"), "dQ uses q where k belongs")

# 4 softmax variants
@family("temperature", lambda x: torch.softmax(x / 2.3, 1), x=(3, 5))
def temperature(f):
    def forward(x): return softmax(x / 2.3)
    def backward(dy, x):
        p = softmax(x / 2.3)
        dz = dsoftmax(p, dy, 0) if "axis" in f else dsoftmax(p, dy)
        return dz if "tau" in f else dz / 2.3
    return forward, backward
wrong("temperature", "tau", {X}, "1/τ (τ = 2.3) missing")
wrong("temperature", "axis", {X}, "the projection is summed over the batch instead of the classes")
wrong("temperature", "axis tau", {X}, "the projection is summed over the batch instead of the classes", "1/τ missing")
@family("logsoftmax", lambda x: torch.log_softmax(x, 1), x=(4, 6))
def logsoftmax(f):
    def forward(x):
        m = x.max(axis=1, keepdims=True)
        return x - m - np.log(np.exp(x - m).sum(axis=1, keepdims=True))
    def backward(dy, x): return dy - softmax(x) * (1 if "one" in f else dy.sum(axis=1, keepdims=True))
    return forward, backward
wrong("logsoftmax", "one", {X}, "Σδ is taken as 1 (as for a one-hot loss)")
@family("sharpness", lambda x, t: torch.softmax(x * t, 1), x=(3, 5), params={"t": (1,)})
def sharpness(f):
    def forward(x, t): return softmax(x * t)
    def backward(dy, x, t):
        dz = dsoftmax(softmax(x * t), dy)
        return {"x": dz * t, "t": np.array([((dy if "direct" in f else dz) * x).sum()])}
    return forward, backward
wrong("sharpness", "direct", G("t"), "dt = Σ δ x: the softmax's derivative is left out")

# 5 norms
def norm_maker(axes, w):  # w: weights' shape for broadcasting
    def maker(f):
        e = 1e-3
        def parts(x):
            mu = x.mean(axis=axes, keepdims=True)
            v = ((x - mu) ** 2).mean(axis=axes, keepdims=True)
            if "ddof" in f:
                n = np.prod([x.shape[a] for a in axes]); v = v * (n / (n - 1))
            s = np.sqrt(v) + e if "eps_out" in f else np.sqrt(v + e)
            return (x - mu) / s, s, mu
        def forward(x, gain, bias):
            return parts(x)[0] * gain.reshape(w) + bias.reshape(w)
        def backward(dy, x, gain, bias):
            h, s, mu = parts(x)
            red = tuple(i for i in range(x.ndim) if w[i] == 1)
            d = dy if "no_gain" in f else dy * gain.reshape(w)
            dx = d
            if "stats_const" not in f:
                if "no_mean" not in f: dx = dx - d.mean(axis=axes, keepdims=True)
                if "no_proj" not in f: dx = dx - (d * h if "sum_late" not in f else d).mean(axis=axes, keepdims=True) * h
            dx = dx / s
            dg = dy * ((x - mu) if "not_scaled" in f else h)
            db = dy.mean(axis=red) if "b_mean" in f else dy.sum(axis=red)
            return {"x": dx, "gain": dg.sum(axis=red), "bias": db}
        return forward, backward
    return maker
family("layernorm", lambda x, gain, bias: F.layer_norm(x, (6,), gain, bias, 1e-3), x=(4, 6), params={"gain": (6,), "bias": (6,)})(norm_maker((1,), (1, 6)))
family("batchnorm", lambda x, gain, bias: F.batch_norm(x, None, None, gain, bias, True, 0.1, 1e-3), x=(7, 3), params={"gain": (3,), "bias": (3,)})(norm_maker((0,), (1, 3)))
family("batchnorm2d", lambda x, gain, bias: F.batch_norm(x, None, None, gain, bias, True, 0.1, 1e-3), x=(4, 3, 2, 5), params={"gain": (3,), "bias": (3,)})(norm_maker((0, 2, 3), (1, 3, 1, 1)))
family("instancenorm", lambda x, gain, bias: F.instance_norm(x, None, None, gain, bias, True, 0.1, 1e-3), x=(2, 3, 5), params={"gain": (3,), "bias": (3,)})(norm_maker((2,), (1, 3, 1)))
wrong("layernorm", "no_mean", {X}, "the mean of δγ is not subtracted")
wrong("layernorm", "no_gain", {X}, "γ left out in dx")
wrong("layernorm", "eps_out", {Y, X} | G("gain"), "ε added outside the root in the forward")
wrong("batchnorm", "stats_const", {X}, "μ and σ treated as constants")
wrong("batchnorm", "not_scaled", G("gain"), "dγ uses x−μ, not divided by σ")
wrong("batchnorm2d", "ddof", {Y, X} | G("gain"), "unbiased variance (n−1)")
wrong("instancenorm", "b_mean", G("bias"), "db averaged over batch and positions instead of summed")
wrong("instancenorm", "no_proj no_gain", {X}, "projection on x̂ missing", "γ left out")
@family("groupnorm", lambda x, gain: F.group_norm(x, 2, gain, None, 1e-3), x=(3, 4, 5), params={"gain": (4,)})
def groupnorm(f):
    def parts(x):
        g = x.reshape(len(x), 2, -1)
        c = g - g.mean(axis=2, keepdims=True)
        s = np.sqrt((c**2).mean(axis=2, keepdims=True) + 1e-3)
        return c / s, s
    def forward(x, gain): return parts(x)[0].reshape(x.shape) * gain[:, None]
    def backward(dy, x, gain):
        h, s = parts(x)
        d = (dy * gain[:, None]).reshape(h.shape)
        ax = (1, 2) if "all" in f else 2
        dx = (d - d.mean(axis=ax, keepdims=True) - h * (d * h).mean(axis=ax, keepdims=True)) / s
        return {"x": dx.reshape(x.shape), "gain": (dy * h.reshape(x.shape)).sum(axis=(0, 2))}
    return forward, backward
wrong("groupnorm", "all", {X}, "means taken over all channels instead of each group")
@family("rmsnorm", lambda x, w: x / torch.sqrt((x**2).mean(-1, keepdim=True) + 1e-3) * w, x=(3, 7), params={"w": (7,)})
def rms(f):
    def forward(x, w): return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-3) * w
    def backward(dy, x, w):
        s = np.sqrt((x * x).mean(-1, keepdims=True) + 1e-3)
        d = dy * w
        P = (d * x).sum(-1, keepdims=True) if "no_n" in f else (d * x).mean(-1, keepdims=True)
        return {"x": d / s - x * P / s ** (2 if "cube" in f else 3), "w": (dy * x / s).sum(0)}
    return forward, backward
wrong("rmsnorm", "no_n", {X}, "1/n missing in the projection")
wrong("rmsnorm", "cube", {X}, "the projection is divided by s² instead of s³")

# 9 activations with parameters
@family("prelu", lambda x, a: F.prelu(x, a), x=(4, 3, 5), params={"a": (3,)})
def prelu(f):
    def forward(x, a): return np.where(x > 0, x, a[:, None] * x)
    def backward(dy, x, a):
        m = np.ones_like(dy) if "both" in f else (x <= 0) * 1.0
        return {"x": dy * np.where(x > 0, 1.0, a[:, None]), "a": (dy * m * x).sum(axis=(0, 2))}
    return forward, backward
wrong("prelu", "both", G("a"), "da sums over the positive side, too")
@family("swish", lambda x, b: x * torch.sigmoid(b * x), x=(4, 6), params={"b": (6,)})
def swish(f):
    def forward(x, b): return x * sig(b * x)
    def backward(dy, x, b):
        s = sig(b * x)
        dx = dy * (s + (1 if "no_b" in f else b) * x * s * (1 - s))
        return {"x": dx, "b": (dy * (x if "one_x" in f else x**2) * s * (1 - s)).sum(0)}
    return forward, backward
wrong("swish", "no_b", {X}, "β missing in the second term x β σ'")
wrong("swish", "one_x", G("b"), "x² should stand in dβ, only one x does")
wrong("swish", "no_b one_x", {X} | G("b"), "β missing in the second term", "x² should stand in dβ, only one x does")
@family("elu", lambda x: F.elu(x, 1.6), x=(3, 5))
def elu(f):
    def forward(x): return np.where(x > 0, x, 1.6 * (np.exp(np.minimum(x, 0)) - 1))
    def backward(dy, x):
        y = forward(x)
        return dy * np.where(x > 0, 1.0, y + (0 if "alpha" in f else 1.6))
    return forward, backward
wrong("elu", "alpha", {X}, "derivative on the negative side is y + α; the α is left out")
C0, C1 = np.sqrt(2 / np.pi), 0.044715
@family("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"), x=(3, 5))
def gelu(f):
    def forward(x): return x * (1 + np.tanh(C0 * (x + C1 * x**3))) / 2
    def backward(dy, x):
        t = np.tanh(C0 * (x + C1 * x**3))
        return dy * ((1 + t) / 2 + x / 2 * (1 - t**2) * C0 * (1 + (1 if "three" in f else 3) * C1 * x**2))
    return forward, backward
wrong("gelu_tanh", "three", {X}, "the 3 of (x³)' is missing")
@family("mish", F.mish, x=(4, 3))
def mish(f):
    def forward(x): return x * np.tanh(np.log1p(np.exp(x)))
    def backward(dy, x):
        t = np.tanh(np.log1p(np.exp(x)))
        return dy * (t + x * (1 - t**2) * (1 if "inner" in f else sig(x)))
    return forward, backward
wrong("mish", "inner", {X}, "the inner derivative of softplus, σ(x), is missing")
@family("hardswish", F.hardswish, x=(4, 5))
def hardswish(f):
    def forward(x): return x * np.clip(x + 3, 0, 6) / 6
    def backward(dy, x):
        mid = (x + 3) / 6 if "gate_const" in f else (2 * x + 3) / 6
        return dy * np.where(x <= -3, 0.0, np.where(x >= 3, 1.0, mid))
    return forward, backward
wrong("hardswish", "gate_const", {X}, "the gate is treated as a constant (product rule)")
@family("snake", lambda x, a: x + torch.sin(a * x) ** 2 / a, x=(3, 5), params={"a": (5,)})
def snake(f):
    def forward(x, a): return x + np.sin(a * x) ** 2 / a
    def backward(dy, x, a):
        s, c = np.sin(a * x), np.cos(a * x)
        da = 2 * s * c * x / a
        if "quot" not in f: da = da - s**2 / a**2
        return {"x": dy * (1 + 2 * s * (1 if "cos" in f else c)), "a": (dy * da).sum(0)}
    return forward, backward
wrong("snake", "cos", {X}, "cos(ax), the derivative of the sine, is left out")
wrong("snake", "quot", G("a"), "the term −sin²/a² from 1/a is missing")

# 10 gated units
@family("glu", lambda x: F.glu(x, 1), x=(3, 10))
def glu(f):
    def forward(x): return x[:, :5] * sig(x[:, 5:])
    def backward(dy, x):
        s = sig(x[:, 5:])
        db = dy * x[:, :5] * s * (1 if "one_minus" in f else 1 - s)
        halves = [dy * s, db]
        return np.concatenate(halves[::-1] if "swap" in f else halves, axis=1)
    return forward, backward
wrong("glu", "one_minus", {X}, "1−σ missing in the gate's half")
wrong("glu", "swap", {X}, "the two halves are swapped")
@family("swiglu", lambda x, U, V: F.linear(x, U) * F.silu(F.linear(x, V)), x=(3, 4), params={"U": (5, 4), "V": (5, 4)})
def swiglu(f):
    def forward(x, U, V):
        g = x @ V.T
        return (x @ U.T) * (g * sig(g))
    def backward(dy, x, U, V):
        u, g = x @ U.T, x @ V.T
        s = sig(g)
        du = dy * g * s
        dg = dy * u * (s if "sigma" in f else s + g * s * (1 - s))
        dx = du @ U + (0 if "one_path" in f else dg @ V)
        return {"x": dx, "U": du.T @ x, "V": dg.T @ x}
    return forward, backward
wrong("swiglu", "one_path", {X}, "the gate path is missing in dx")
wrong("swiglu", "sigma", {X} | G("V"), "silu' taken as σ(g): the term gσ' is missing")

# 11 GRU, LSTM
def gru_t(x, R, Z, C):
    h = x[:, 3:]
    r, z = torch.sigmoid(x @ R.T), torch.sigmoid(x @ Z.T)
    n = torch.tanh(torch.cat([x[:, :3], r * h], 1) @ C.T)
    return (1 - z) * n + z * h
@family("gru", gru_t, x=(5, 7), params={"R": (4, 7), "Z": (4, 7), "C": (4, 7)})
def gru(f):
    def parts(x, R, Z, C):
        h = x[:, 3:]
        r, z = sig(x @ R.T), sig(x @ Z.T)
        m = np.concatenate([x[:, :3], r * h], axis=1)
        return h, r, z, m, np.tanh(m @ C.T)
    def forward(x, R, Z, C):
        h, r, z, m, n = parts(x, R, Z, C)
        return (1 - z) * n + z * h
    def backward(dy, x, R, Z, C):
        h, r, z, m, n = parts(x, R, Z, C)
        dz = dy * ((n - h) if "z_sign" in f else (h - n)) * z * (1 - z)
        dn = dy * (1 - z) * (1 - n**2)
        dm = dn @ C
        drh = dm[:, 3:]
        dr = drh * h * r * (1 - r)
        dh = drh * r + (0 if "no_carry" in f else dy * z)
        dx = dz @ Z + np.concatenate([dm[:, :3], dh], axis=1)
        if "no_reset" not in f: dx = dx + dr @ R
        return {"x": dx, "R": dr.T @ x, "Z": dz.T @ x, "C": dn.T @ (x if "c_input" in f else m)}
    return forward, backward
wrong("gru", "z_sign", {X} | G("Z"), "sign of the update gate's gradient reversed (n−h for h−n)")
wrong("gru", "no_reset", {X}, "the path through the reset gate is missing in dx")
wrong("gru", "no_carry c_input", {X} | G("C"), "the direct path z·h is missing in dx", "dC uses h instead of r∘h")
def lstm_t(x, I, Fg, O, C):
    a, c = x[:, :5], x[:, 5:]
    i, f, o, g = (torch.sigmoid(a @ I.T), torch.sigmoid(a @ Fg.T), torch.sigmoid(a @ O.T), torch.tanh(a @ C.T))
    return o * torch.tanh(f * c + i * g)
@family("lstm", lstm_t, x=(3, 9), params={"I": (4, 5), "Fg": (4, 5), "O": (4, 5), "C": (4, 5)})
def lstm(f_):
    def parts(x, I, Fg, O, C):
        a, c = x[:, :5], x[:, 5:]
        i, f, o, g = sig(a @ I.T), sig(a @ Fg.T), sig(a @ O.T), np.tanh(a @ C.T)
        return a, c, i, f, o, g, f * c + i * g
    def forward(x, I, Fg, O, C):
        a, c, i, f, o, g, k = parts(x, I, Fg, O, C)
        return o * np.tanh(k)
    def backward(dy, x, I, Fg, O, C):
        a, c, i, f, o, g, k = parts(x, I, Fg, O, C)
        t = np.tanh(k)
        dk = dy * o * (1 - (k if "tanh_of" in f_ else t) ** 2)
        do = dy * t * (o if "o_prime" in f_ else o * (1 - o))
        df, di = dk * c * f * (1 - f), dk * g * i * (1 - i)
        dg = dk * (g if "g_for_i" in f_ else i) * (1 - g**2)
        da = di @ I + df @ Fg + do @ O + dg @ C
        return {"x": np.concatenate([da, dk if "c_forget" in f_ else dk * f], axis=1), "I": di.T @ a, "Fg": df.T @ a, "O": do.T @ a, "C": dg.T @ a}
    return forward, backward
wrong("lstm", "tanh_of", {X} | G("I", "Fg", "C"), "1−c² instead of 1−tanh²(c)")
wrong("lstm", "o_prime", {X} | G("O"), "1−o missing for the output gate")
wrong("lstm", "c_forget", {X}, "the forget gate f is left out in dc")
wrong("lstm", "g_for_i", {X} | G("C"), "g where i belongs in dg")

# 13 residuals
@family("residual", lambda x, A, B: x + 0.3 * F.linear(torch.relu(F.linear(x, A)), B), x=(4, 5), params={"A": (6, 5), "B": (5, 6)})
def residual(f):
    def forward(x, A, B): return x + 0.3 * np.maximum(x @ A.T, 0) @ B.T
    def backward(dy, x, A, B):
        z = x @ A.T
        dz = 0.3 * dy @ B
        if "mask" not in f: dz = dz * (z > 0)
        dx = dz @ A if "skip" in f else dy + dz @ A
        return {"x": dx, "A": dz.T @ x, "B": 0.3 * dy.T @ (z if "z" in f else np.maximum(z, 0))}
    return forward, backward
wrong("residual", "skip", {X}, "the skip connection is missing in dx")
wrong("residual", "mask", {X} | G("A"), "the ReLU's mask is missing in the branch")
wrong("residual", "z skip", {X} | G("B"), "dB uses z, before the ReLU", "the skip connection is missing in dx")
@family("highway", lambda x, H, T: (lambda t: t * torch.tanh(x @ H) + (1 - t) * x)(torch.sigmoid(x @ T)), x=(3, 4), params={"H": (4, 4), "T": (4, 4)})
def highway(f):
    def forward(x, H, T):
        t = sig(x @ T)
        return t * np.tanh(x @ H) + (1 - t) * x
    def backward(dy, x, H, T):
        t, h = sig(x @ T), np.tanh(x @ H)
        dT = dy * (h if "no_minus" in f else h - x) * t * (1 - t)
        dH = dy * t * (1 - h**2)
        return {"x": dT @ T.T + dH @ H.T + dy * ((1 if "carry" in f else 1 - t)), "H": x.T @ dH, "T": x.T @ dT}
    return forward, backward
wrong("highway", "no_minus", {X} | G("T"), "the −x of the carry gate is missing in dt")
wrong("highway", "carry", {X}, "the carry path is not multiplied by 1−t")

# 14 pooling
@family("avgpool", lambda x: F.avg_pool2d(x, (2, 3)), x=(2, 3, 4, 6))
def avgpool(f):
    def forward(x):
        n, c, h, w = x.shape
        return x.reshape(n, c, h // 2, 2, w // 3, 3).mean(axis=(3, 5))
    def backward(dy, x):
        d = dy.repeat(2, axis=2).repeat(3, axis=3)
        return d if "div" in f else d / (2 if "two" in f else 6)
    return forward, backward
wrong("avgpool", "two", {X}, "divided by 2 instead of 6 (one axis of the window forgotten)")
@family("maxpool", lambda x: F.max_pool1d(x, 3), x=(2, 3, 6))
def maxpool(f):
    def forward(x): return x.reshape(*x.shape[:2], -1, 3).max(axis=3)
    def backward(dy, x):
        w = x.reshape(*x.shape[:2], -1, 3)
        k = w.argmax(axis=3)
        m = np.arange(3) == k[..., None]
        if "all" in f: m = np.ones_like(m)
        return (m * dy[..., None]).reshape(x.shape)
    return forward, backward
wrong("maxpool", "all", {X}, "δ sent to every element of the window, not to the maximum alone")
@family("l2pool", lambda x: torch.sqrt((x.reshape(*x.shape[:2], -1, 3) ** 2).sum(3)), x=(2, 3, 6))
def l2pool(f):
    def forward(x): return np.sqrt((x.reshape(*x.shape[:2], -1, 3) ** 2).sum(axis=3))
    def backward(dy, x):
        d = dy * 1.0 if "no_norm" in f else dy / forward(x)
        return d.repeat(3, axis=2) * x
    return forward, backward
wrong("l2pool", "no_norm", {X}, "division by the norm missing: x instead of x/‖x‖")

# 15 convolutions
@family("conv2d", lambda x, w, b: F.conv2d(x, w, b), x=(2, 3, 5, 6), params={"w": (4, 3, 2, 3), "b": (4,)})
def conv2d(f):
    def forward(x, w, b):
        H, W = x.shape[2] - 1, x.shape[3] - 2
        y = b[None, :, None, None]
        for i in range(2):
            for j in range(3):
                y = y + np.einsum("nchw,oc->nohw", x[:, :, i:i + H, j:j + W], w[:, :, i, j])
        return y
    def backward(dy, x, w, b):
        H, W = dy.shape[2:]
        dx, dw = 0, []
        for i in range(2):
            for j in range(3):
                k = w[:, :, 1 - i, 2 - j] if "flip" in f else w[:, :, i, j]
                dx = dx + np.pad(np.einsum("nohw,oc->nchw", dy, k), ((0, 0), (0, 0), (i, 1 - i), (j, 2 - j)))
                dw.append(np.einsum("nohw,nchw->oc", dy, x[:, :, i:i + H, j:j + W]))
        dw = np.stack(dw, axis=2).reshape(w.shape)
        if "dw_flip" in f: dw = dw[:, :, ::-1, ::-1]
        return {"x": dx, "w": dw, "b": dy.sum(axis=(2, 3)).mean(axis=0) if "b_mean" in f else dy.sum(axis=(0, 2, 3))}
    return forward, backward
wrong("conv2d", "flip", {X}, "the kernel is flipped in dx")
wrong("conv2d", "b_mean dw_flip", G("w", "b"), "db averaged over the batch", "dw is flipped")
@family("conv1d_s2", lambda x, w: F.conv1d(x, w, stride=2), x=(3, 2, 9), params={"w": (4, 2, 3)})
def conv1d(f):
    idx = np.arange(4)[:, None] * 2 + np.arange(3)
    def forward(x, w): return np.einsum("nclk,ock->nol", x[:, :, idx], w)
    def backward(dy, x, w):
        d = np.einsum("nol,ock->nclk", dy, w)
        dx = np.zeros_like(x)
        for l in range(4):
            for k in range(3):
                p = l * 2 + k
                if "overwrite" in f: dx[:, :, p] = d[:, :, l, k]
                else: dx[:, :, p] = dx[:, :, p] + d[:, :, l, k]
        sl = idx // 2 + idx % 2 if "stride" in f else idx
        return {"x": dx, "w": np.einsum("nol,nclk->ock", dy, x[:, :, np.arange(4)[:, None] + np.arange(3) if "stride" in f else idx])}
    return forward, backward
wrong("conv1d_s2", "overwrite", {X}, "overlapping windows overwrite each other instead of adding up")
wrong("conv1d_s2", "stride", G("w"), "dw slides with stride 1 instead of 2")

# 16 cosine, l2
@family("cosine", lambda x, w: F.linear(F.normalize(x), F.normalize(w)), x=(3, 5), params={"w": (4, 5)})
def cosine(f):
    nrm = lambda a: np.sqrt((a * a).sum(axis=1, keepdims=True))
    def forward(x, w): return (x / nrm(x)) @ (w / nrm(w)).T
    def backward(dy, x, w):
        a, b = x / nrm(x), w / nrm(w)
        y = a @ b.T
        dx = (dy @ b - (dy * y).sum(axis=1, keepdims=True) * a) / (1 if "x_norm" in f else nrm(x))
        dw = dy.T @ a
        if "w_proj" not in f: dw = dw - (dy * y).sum(axis=0)[:, None] * b
        return {"x": dx, "w": dw / nrm(w)}
    return forward, backward
wrong("cosine", "x_norm", {X}, "1/‖x‖ missing in dx")
wrong("cosine", "w_proj", G("w"), "the projection on w is missing: ‖w‖ treated as constant")
@family("l2norm", lambda x: 2.7 * F.normalize(x), x=(4, 5))
def l2norm(f):
    def forward(x): return 2.7 * x / np.sqrt((x * x).sum(axis=1, keepdims=True))
    def backward(dy, x):
        n = np.sqrt((x * x).sum(axis=1, keepdims=True))
        p = (x * dy).sum(axis=1, keepdims=True) * x / n**3
        return 2.7 * (dy / n + p if "sign" in f else dy / n - p)
    return forward, backward
wrong("l2norm", "sign", {X}, "the sign of the projection term is wrong")

# 18 squeeze and excite
def se_t(x, A, B):
    return x * torch.sigmoid(F.linear(torch.relu(F.linear(x.mean(2), A)), B))[:, :, None]
@family("se", se_t, x=(3, 4, 5), params={"A": (2, 4), "B": (4, 2)})
def se(f):
    def parts(x, A, B):
        m = x.mean(axis=2); z = m @ A.T; h = np.maximum(z, 0)
        return m, z, h, sig(h @ B.T)
    def forward(x, A, B): return x * parts(x, A, B)[3][:, :, None]
    def backward(dy, x, A, B):
        m, z, h, s = parts(x, A, B)
        ds = (dy.mean(axis=2) * x.mean(axis=2) * 5 if "sumprod" in f else (dy * x).sum(axis=2)) * s * (1 - s)
        dz = (ds @ B) * (z > 0)
        dm = dz @ A
        dx = dy * s[:, :, None]
        if "gate" not in f: dx = dx + (dm if "no_l" in f else dm / 5)[:, :, None]
        return {"x": dx, "A": dz.T @ m, "B": ds.T @ h}
    return forward, backward
wrong("se", "gate", {X}, "the path through the gate is missing in dx")
wrong("se", "no_l", {X}, "1/L of the squeeze's mean is missing in the gate path")

# 19 positions
@family("posscale", lambda x, s, p: x * s[:, None] + p, x=(3, 4, 5), params={"s": (4,), "p": (4, 5)})
def posscale(f):
    def forward(x, s, p): return x * s[:, None] + p
    def backward(dy, x, s, p):
        ds = (dy * x).sum(axis=0).mean(axis=1) if "feat_mean" in f else (dy * x).sum(axis=(0, 2))
        return {"x": dy * s[:, None], "s": ds, "p": dy[0] if "first" in f else dy.sum(axis=0)}
    return forward, backward
wrong("posscale", "feat_mean", G("s"), "ds averaged over the features instead of summed")
wrong("posscale", "first", G("p"), "dp takes the first sample's δ only, not the sum over the batch")
ANG = np.array([[0.3, 1.1, 2.0], [0.7, 0.2, 1.6], [1.3, 2.4, 0.5], [2.2, 0.9, 1.7]])
def rot(a, b, c, s): return a * c - b * s, a * s + b * c
@family("rotary", lambda x: torch.cat(rot(x[..., :3], x[..., 3:], torch.tensor(np.cos(ANG)).to(x.dtype), torch.tensor(np.sin(ANG)).to(x.dtype)), -1), x=(2, 4, 6))
def rotary(f):
    def forward(x): return np.concatenate(rot(x[..., :3], x[..., 3:], np.cos(ANG), np.sin(ANG)), axis=-1)
    def backward(dy, x): return np.concatenate(rot(dy[..., :3], dy[..., 3:], np.cos(ANG), (1 if "same" in f else -1) * np.sin(ANG)), axis=-1)
    return forward, backward
wrong("rotary", "same", {X}, "rotated by +θ again instead of back by −θ (not transposed)")

# 20 mixture
@family("mixture", lambda x, G, E: torch.einsum("nk,nko->no", torch.softmax(x @ G, 1), torch.einsum("ni,kio->nko", x, E)), x=(4, 5), params={"G": (5, 3), "E": (3, 5, 2)})
def mixture(f):
    def forward(x, G, E): return np.einsum("nk,nko->no", softmax(x @ G), np.einsum("ni,kio->nko", x, E))
    def backward(dy, x, G, E):
        p, e = softmax(x @ G), np.einsum("ni,kio->nko", x, E)
        dp = np.einsum("no,nko->nk", dy, e)
        dz = p * dp if "no_proj" in f else dsoftmax(p, dp)
        dx = np.einsum("no,nk,kio->ni", dy, p, E)
        if "no_gate" not in f: dx = dx + dz @ G.T
        return {"x": dx, "G": x.T @ dz, "E": np.einsum("ni,no->io", x, dy)[None] + 0 * E if "no_p" in f else np.einsum("ni,nk,no->kio", x, p, dy)}
    return forward, backward
wrong("mixture", "no_proj", {X} | G("G"), "the softmax's projection is missing: p·dp")
wrong("mixture", "no_gate", {X}, "the gate's path is missing in dx")
wrong("mixture", "no_p", G("E"), "the gate's weight p is left out in dE")

# 21 weight norm etc.
@family("weightnorm", lambda x, v, g: F.linear(x, g[:, None] * v / v.norm(dim=1, keepdim=True)), x=(3, 5), params={"v": (4, 5), "g": (4,)})
def weightnorm(f):
    def forward(x, v, g): return x @ (g[:, None] * v / np.sqrt((v * v).sum(axis=1, keepdims=True))).T
    def backward(dy, x, v, g):
        n = np.sqrt((v * v).sum(axis=1, keepdims=True)); u = v / n
        dW = dy.T @ x
        dg = (dW * (v if "g_norm" in f else u)).sum(axis=1)
        dv = g[:, None] / n * (dW - u * (dW * u).sum(axis=1, keepdims=True))
        if "v_gain" in f: dv = dv / g[:, None]
        return {"x": dy @ (g[:, None] * u), "v": dv, "g": dg}
    return forward, backward
wrong("weightnorm", "g_norm", G("g"), "dg not divided by ‖v‖")
wrong("weightnorm", "v_gain", G("v"), "the gain g is left out in dv")
@family("poslinear", lambda x, w, b: F.linear(x, F.softplus(w), b), x=(3, 5), params={"w": (4, 5), "b": (4,)})
def poslinear(f):
    sp = lambda w: np.log1p(np.exp(w))
    def forward(x, w, b): return x @ sp(w).T + b
    def backward(dy, x, w, b):
        dw = dy.T @ x
        return {"x": dy @ (w if "raw" in f else sp(w)), "w": dw if "chain" in f else dw * sig(w), "b": dy.sum(axis=0)}
    return forward, backward
wrong("poslinear", "chain", G("w"), "the inner derivative σ(w) of the softplus is missing in dw")
wrong("poslinear", "raw", {X}, "dx uses the raw w instead of softplus(w)")
@family("cumsum", lambda x: torch.cumsum(x, 1), x=(3, 5))
def cumsum(f):
    def forward(x): return np.cumsum(x, axis=1)
    def backward(dy, x): return np.cumsum(dy, axis=1) if "dir" in f else np.cumsum(dy[:, ::-1], axis=1)[:, ::-1]
    return forward, backward
wrong("cumsum", "dir", {X}, "summed forward instead of backward")
@family("fm", lambda x, V: ((x @ V) ** 2 - x**2 @ V**2) / 2, x=(3, 5), params={"V": (5, 4)})
def fm(f):
    def forward(x, V): return ((x @ V) ** 2 - (x**2) @ (V**2)) / 2
    def backward(dy, x, V):
        q = x @ V
        dV = x.T @ (dy * q)
        if "second" not in f: dV = dV - V * ((x**2).T @ dy)
        return {"x": (dy * q) @ V.T - x * (dy @ (V**2).T), "V": dV}
    return forward, backward
wrong("fm", "second", G("V"), "the term −V x² is missing in dV")
@family("rbf", lambda x, c: torch.exp(-((x[:, None] - c) ** 2).sum(2) / (2 * 1.7**2)), x=(3, 5), params={"c": (4, 5)})
def rbf(f):
    def forward(x, c): return np.exp(-((x[:, None] - c) ** 2).sum(axis=2) / (2 * 1.7**2))
    def backward(dy, x, c):
        t = (dy * forward(x, c))[:, :, None] * (x[:, None] - c) / 1.7**2
        return {"x": -t.sum(axis=1), "c": -t.sum(axis=0) if "sign" in f else t.sum(axis=0)}
    return forward, backward
wrong("rbf", "sign", G("c"), "the sign of dc is wrong (inner derivative −1)")
