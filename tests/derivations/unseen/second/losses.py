"""Losses and update rules, each with a set of faults `f` (empty: right)."""
from dataclasses import dataclass
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F
from .layers import sig, softmax
LOSSES, LWRONG, RULES, RWRONG = {}, [], {}, []
class Loss:
    def __init__(self, name, f, fwd, grad): self.name, self.f, self.fwd, self.grad = name, f, fwd, grad
    def forward(self, output, target): return self.fwd(self.f, output, target), (output, target)
    def gradient(self, cache): return self.grad(self.f, *cache)
def loss(name, twin, fwd, **kw):
    def put(grad):
        LOSSES[name] = (lambda f: Loss(name, f, fwd, grad), twin, kw)
    return put
def wrong(name, faults, differs, *truths): LWRONG.append((name, frozenset(faults.split()), set(differs), truths))
A = lambda o, t: (o, t)
LG, LL = "gradient", "loss"
pos = lambda shape: (lambda rng: rng.uniform(0.2, 2.5, shape))
unit = lambda shape: (lambda rng: rng.uniform(0.05, 0.95, shape))
pm = lambda shape: (lambda rng: rng.choice([-1.0, 1.0], shape))
bits = lambda shape: (lambda rng: rng.integers(0, 2, shape).astype(float))

@loss("bce_logits_pw", lambda o, t: F.binary_cross_entropy_with_logits(o, t, pos_weight=torch.tensor(2.6, dtype=o.dtype)),
      lambda f, o, t: (2.6 * t * np.log1p(np.exp(-o)) + (1 - t) * np.log1p(np.exp(o))).mean(), output=(4, 3), target=bits((4, 3)))
def g(f, o, t):
    s = sig(o)
    return (-(1 if "pw" in f else 2.6) * t * (1 - s) + (1 - t) * s) / (len(o) if "n" in f else o.size)
wrong("bce_logits_pw", "pw", {LG}, "pos_weight 2.6 is missing")
wrong("bce_logits_pw", "n", {LG}, "divided by the batch size, not by all elements")

@loss("smoothl1", nn.SmoothL1Loss(beta=0.7), lambda f, o, t: np.where(abs(o - t) < 0.7, (o - t) ** 2 / 1.4, abs(o - t) - 0.35).mean(), output=(5, 3), target=(5, 3))
def g(f, o, t):
    d = o - t
    return np.where(abs(d) < 0.7, d / (1 if "beta" in f else 0.7), np.sign(d)) / d.size
wrong("smoothl1", "beta", {LG}, "1/β missing in the quadratic part")

@loss("kl", nn.KLDivLoss(reduction="batchmean"), lambda f, o, t: (t * (np.log(t) - o)).sum() / len(o), output=(4, 3), target=unit((4, 3)))
def g(f, o, t): return -t / (o.size if "mean" in f else len(o))
wrong("kl", "mean", {LG}, "divided by all elements, not by the batch size (batchmean)")

@loss("smoothing", nn.CrossEntropyLoss(label_smoothing=0.15), lambda f, o, t: (lambda q: -(q * np.log(softmax(o))).sum() / len(o))(0.85 * np.eye(5)[t] + 0.15 / 5), output=(4, 5), target="class")
def g(f, o, t):
    q = 0.85 * np.eye(5)[t] + (0 if "uniform" in f else 0.15 / (4 if "k1" in f else 5))
    return (softmax(o) - q) / len(o)
wrong("smoothing", "uniform", {LG}, "the uniform part α/K of the target is missing")
wrong("smoothing", "k1", {LG}, "α/(K−1) instead of α/K")

WT = np.array([0.5, 2.0, 1.3])
@loss("weighted_ce", lambda o, t: F.cross_entropy(o, t, weight=torch.tensor(WT).to(o.dtype)), lambda f, o, t: -(WT[t] * np.log(softmax(o))[np.arange(len(o)), t]).sum() / WT[t].sum(), output=(5, 3), target="class")
def g(f, o, t):
    return WT[t][:, None] * (softmax(o) - np.eye(3)[t]) / (len(o) if "n" in f else WT[t].sum())
wrong("weighted_ce", "n", {LG}, "divided by N instead of by the sum of the weights")

@loss("focal", lambda o, t: (lambda p: -((1 - p) ** 2 * torch.log(p)).mean())(torch.softmax(o, 1).gather(1, t[:, None])),
      lambda f, o, t: (lambda p: -((1 - p) ** 2 * np.log(p)).mean())(softmax(o)[np.arange(len(o)), t]), output=(4, 3), target="class")
def g(f, o, t):
    P = softmax(o); p = P[np.arange(len(o)), t]
    dp = -(1 - p) ** 2 / p + (0 if "mod" in f else 2 * (1 - p) * np.log(p))
    return (dp * p)[:, None] * (np.eye(3)[t] - P) / len(o)
wrong("focal", "mod", {LG}, "the derivative of the factor (1−p)² is missing (product rule)")

@loss("poisson", nn.PoissonNLLLoss(log_input=True), lambda f, o, t: (np.exp(o) - t * o).mean(), output=(4, 3), target=pos((4, 3)))
def g(f, o, t): return ((o if "exp" in f else np.exp(o)) - t) / o.size
wrong("poisson", "exp", {LG}, "o − t: the exponential of the rate is left out")

@loss("logcosh", lambda o, t: torch.log(torch.cosh(1.7 * (o - t))).mean() / 1.7, lambda f, o, t: np.log(np.cosh(1.7 * (o - t))).mean() / 1.7, output=(4, 3), target=(4, 3))
def g(f, o, t):
    d = 1.7 * (t - o if "sign" in f else o - t)
    return np.tanh(d) / (1 if "n" in f else d.size)
wrong("logcosh", "sign", {LG}, "sign reversed (t − o)")
wrong("logcosh", "sign n", {LG}, "sign reversed (t − o)", "not divided by the number of elements")

@loss("pinball", lambda o, t: torch.where(o < t, 0.3 * (t - o), 0.7 * (o - t)).mean(), lambda f, o, t: np.maximum(0.3 * (t - o), -0.7 * (t - o)).mean(), output=(5, 3), target=(5, 3))
def g(f, o, t): return np.where(o < t, -0.7 if "swap" in f else -0.3, 0.3 if "swap" in f else 0.7) / o.size
wrong("pinball", "swap", {LG}, "τ and 1−τ are swapped")

@loss("dice", lambda o, t: 1 - (2 * (o * t).sum() + 1) / (o.sum() + t.sum() + 1), lambda f, o, t: 1 - (2 * (o * t).sum() + 1) / (o.sum() + t.sum() + 1), output=unit((3, 4)), target=bits((3, 4)))
def g(f, o, t):
    u, v = 2 * (o * t).sum() + 1, o.sum() + t.sum() + 1
    return -2 * t / v + (0 if "den" in f else u / v**2)
wrong("dice", "den", {LG}, "the denominator's derivative is missing (quotient rule)")

@loss("infonce", lambda o, t: F.cross_entropy(o @ t.T / 0.4, torch.arange(len(o))), lambda f, o, t: -np.log(np.diag(softmax(o @ t.T / 0.4))).mean(), output=(4, 3), target=(4, 3))
def g(f, o, t):
    P = softmax(o @ t.T / 0.4)
    return (P @ t - (0 if "positive" in f else t)) / (1 if "tau" in f else 0.4) / len(o)
wrong("infonce", "tau", {LG}, "1/τ missing")

@loss("gnll", lambda o, t: F.gaussian_nll_loss(o[:, :3], t, F.softplus(o[:, 3:])), lambda f, o, t: (lambda v: ((np.log(v) + (o[:, :3] - t) ** 2 / v) / 2).mean())(np.log1p(np.exp(o[:, 3:]))), output=(4, 6), target=(4, 3))
def g(f, o, t):
    d, v = o[:, :3] - t, np.log1p(np.exp(o[:, 3:]))
    dv = (1 / v - d**2 / v**2) / 2
    return np.concatenate([d / v, dv if "chain" in f else dv * sig(o[:, 3:])], axis=1) / t.size
wrong("gnll", "chain", {LG}, "the inner derivative σ of the softplus is missing in the variance half")

@loss("hinge", nn.MultiMarginLoss(margin=0.8), lambda f, o, t: (np.maximum(0, 0.8 - o[np.arange(len(o)), t][:, None] + o).sum() - 0.8 * len(o)) / o.size, output=(4, 5), target="class")
def g(f, o, t):
    h = np.eye(5)[t]
    m = ((0.8 - o[np.arange(len(o)), t][:, None] + o) > 0) * (1 - h)
    return (m - h * (1 if "count" in f else m.sum(axis=1, keepdims=True))) / o.size
wrong("hinge", "count", {LG}, "the right class gets −1 instead of −(number of violated margins)")

def rule(name, cls, **kw):
    def put(c): RULES[name] = (c, cls, kw); return c
    return put
def rwrong(name, faults, differs, *truths): RWRONG.append((name, frozenset(faults.split()), set(differs), truths))
z = np.zeros_like
@rule("sgd", torch.optim.SGD)
@dataclass
class SGD:
    f: frozenset
    momentum: float = 0.85
    dampening: float = 0.25
    weight_decay: float = 0.03
    def init(self, theta): return {"momentum_buffer": z(theta), "t": 0}
    def update(self, theta, grad, state, learning_rate):
        g = grad if "late_wd" in self.f else grad + self.weight_decay * theta
        d = 1 if state["t"] == 0 or "damp" in self.f else 1 - self.dampening
        b = self.momentum * state["momentum_buffer"] + d * g
        step = b + (self.weight_decay * theta if "late_wd" in self.f else 0)
        return theta - learning_rate * step, {"momentum_buffer": b, "t": state["t"] + 1}
rwrong("sgd", "damp", {"theta", "momentum_buffer"}, "dampening is left out: g instead of (1 − dampening) g")
rwrong("sgd", "late_wd", {"theta", "momentum_buffer"}, "weight decay decoupled: added after the momentum instead of into the gradient")
@rule("nesterov", torch.optim.SGD)
@dataclass
class Nesterov:
    f: frozenset
    momentum: float = 0.8
    nesterov: bool = True
    def init(self, theta): return {"momentum_buffer": z(theta)}
    def update(self, theta, grad, state, learning_rate):
        b = self.momentum * state["momentum_buffer"] + grad
        step = self.momentum * b if "no_g" in self.f else grad + self.momentum * b
        if "plain" in self.f: step = b
        return theta - learning_rate * step, {"momentum_buffer": b}
rwrong("nesterov", "no_g", {"theta"}, "the look-ahead's own g is missing: μb instead of g + μb")
class AdamBase:
    def init(self, theta): return {"exp_avg": z(theta), "exp_avg_sq": z(theta), "t": 0}
@rule("adam", torch.optim.Adam)
@dataclass
class Adam(AdamBase):
    f: frozenset
    beta1: float = 0.8
    beta2: float = 0.95
    eps: float = 1e-2
    weight_decay: float = 0.07
    def update(self, theta, grad, state, learning_rate):
        f, t = self.f, state["t"] + 1
        g = grad if "decoupled" in f else grad + self.weight_decay * theta
        if "no_wd" in f: g = grad
        m = self.beta1 * state["exp_avg"] + (1 - self.beta1) * g
        v = self.beta2 * state["exp_avg_sq"] + (1 - self.beta2) * (abs(g) if "abs" in f else g * g)
        mh, vh = m / (1 - self.beta1**t), v / (1 - (self.beta1 if "beta_v" in f else self.beta2) ** (t - 1 if "t0" in f and t > 1 else t))
        if "no_v" in f: vh = v
        den = np.sqrt(vh + self.eps) if "eps_in" in f else np.sqrt(vh) + self.eps
        new = theta - learning_rate * mh / den
        if "decoupled" in f: new = new - learning_rate * self.weight_decay * theta
        return new, {"exp_avg": m, "exp_avg_sq": v, "t": t}
rwrong("adam", "beta_v", {"theta", "exp_avg", "exp_avg_sq"}, "β₁ instead of β₂ in the bias correction of v")
rwrong("adam", "eps_in no_v", {"theta", "exp_avg", "exp_avg_sq"}, "ε inside the root", "bias correction of v missing")
rwrong("adam", "abs", {"theta", "exp_avg", "exp_avg_sq"}, "v accumulates |g| instead of g²")
@rule("rmsprop", torch.optim.RMSprop)
@dataclass
class RMSprop:
    f: frozenset
    alpha: float = 0.9
    eps: float = 1e-3
    momentum: float = 0.6
    centered: bool = True
    def init(self, theta): return {"square_avg": z(theta), "grad_avg": z(theta), "momentum_buffer": z(theta)}
    def update(self, theta, grad, state, learning_rate):
        s = self.alpha * state["square_avg"] + (1 - self.alpha) * grad**2
        a = self.alpha * state["grad_avg"] + (1 - self.alpha) * grad
        var = s - (a if "no_sq" in self.f else a * a) if "uncentred" not in self.f else s
        b = self.momentum * state["momentum_buffer"] + grad / (np.sqrt(abs(var)) + self.eps)
        return theta - learning_rate * b, {"square_avg": s, "grad_avg": a, "momentum_buffer": b}
rwrong("rmsprop", "uncentred", {"theta", "momentum_buffer"}, "not centred: the mean's square is not subtracted")
@rule("adagrad", torch.optim.Adagrad)
@dataclass
class Adagrad:
    f: frozenset
    lr_decay: float = 0.2
    eps: float = 1e-3
    initial_accumulator_value: float = 0.5
    def init(self, theta): return {"sum": np.full_like(theta, 0.0 if "zero" in self.f else self.initial_accumulator_value), "t": 0}
    def update(self, theta, grad, state, learning_rate):
        s = state["sum"] + grad**2
        lr = learning_rate / (1 + (state["t"] + (1 if "t1" in self.f else 0)) * self.lr_decay)
        return theta - lr * grad / (np.sqrt(s) + self.eps), {"sum": s, "t": state["t"] + 1}
rwrong("adagrad", "t1", {"theta"}, "lr decay counts from 1: 1 + tλ instead of 1 + (t−1)λ")
@rule("adadelta", torch.optim.Adadelta)
@dataclass
class Adadelta:
    f: frozenset
    rho: float = 0.85
    eps: float = 1e-3
    def init(self, theta): return {"square_avg": z(theta), "acc_delta": z(theta)}
    def update(self, theta, grad, state, learning_rate):
        s = self.rho * state["square_avg"] + (1 - self.rho) * grad**2
        d = np.sqrt(state["acc_delta"] + self.eps) / np.sqrt(s + self.eps) * grad
        a = self.rho * state["acc_delta"] + (1 - self.rho) * (grad if "acc_g" in self.f else d) ** 2
        return theta - learning_rate * d, {"square_avg": s, "acc_delta": a}
rwrong("adadelta", "acc_g", {"theta", "acc_delta"}, "acc_delta accumulates g² instead of Δ²")
@rule("adamax", torch.optim.Adamax)
@dataclass
class Adamax:
    f: frozenset
    beta1: float = 0.8
    beta2: float = 0.95
    eps: float = 1e-3
    def init(self, theta): return {"exp_avg": z(theta), "exp_inf": z(theta), "t": 0}
    def update(self, theta, grad, state, learning_rate):
        t = state["t"] + 1
        m = self.beta1 * state["exp_avg"] + (1 - self.beta1) * grad
        u = np.maximum((1 if "decay" in self.f else self.beta2) * state["exp_inf"], abs(grad) + self.eps)
        return theta - learning_rate / (1 - self.beta1**t) * m / u, {"exp_avg": m, "exp_inf": u, "t": t}
rwrong("adamax", "decay", {"theta", "exp_inf"}, "β₂ left out in the running maximum: max(u, |g|)")
@rule("nadam", torch.optim.NAdam)
@dataclass
class NAdam:
    f: frozenset
    beta1: float = 0.85
    beta2: float = 0.95
    eps: float = 1e-3
    momentum_decay: float = 0.02
    def init(self, theta): return {"exp_avg": z(theta), "exp_avg_sq": z(theta), "t": 0, "p": 1.0}
    def update(self, theta, grad, state, learning_rate):
        t = state["t"] + 1
        mu = lambda k: self.beta1 if "const" in self.f else self.beta1 * (1 - 0.5 * 0.96 ** (k * self.momentum_decay))
        p = state["p"] * mu(t)
        m = self.beta1 * state["exp_avg"] + (1 - self.beta1) * grad
        v = self.beta2 * state["exp_avg_sq"] + (1 - self.beta2) * grad**2
        den = np.sqrt(v / (1 - self.beta2**t)) + self.eps
        step = (1 - mu(t)) * grad / (1 - p) + mu(t + 1) * m / (1 - p * mu(t + 1))
        return theta - learning_rate * step / den, {"exp_avg": m, "exp_avg_sq": v, "t": t, "p": p}
rwrong("nadam", "const", {"theta"}, "constant μ = β₁ instead of the schedule μ_t")
@rule("adamw", torch.optim.AdamW)
@dataclass
class AdamW(AdamBase):
    f: frozenset
    beta1: float = 0.8
    beta2: float = 0.95
    eps: float = 1e-3
    weight_decay: float = 0.07
    def update(self, theta, grad, state, learning_rate):
        t = state["t"] + 1
        theta = theta * (1 - (1 if "lr" in self.f else learning_rate) * self.weight_decay)
        m = self.beta1 * state["exp_avg"] + (1 - self.beta1) * grad
        v = self.beta2 * state["exp_avg_sq"] + (1 - self.beta2) * grad**2
        den = np.sqrt(v / (1 - self.beta2**t)) + self.eps
        return theta - learning_rate * m / (1 - self.beta1**t) / den, {"exp_avg": m, "exp_avg_sq": v, "t": t}
rwrong("adamw", "lr", {"theta"}, "the decay is not multiplied by the learning rate: (1−λ) instead of (1−ηλ)")
