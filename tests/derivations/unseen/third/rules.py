"""Wrong derivations of update rules. The second entry of a case is the first step after which theta differs."""
import math

import numpy as np
import torch

from .common import registrar

RULES = []
family = registrar("rule", RULES)


class Rule:
    """An update rule by its two functions."""

    def __init__(self, init, update, **hyperparameters):
        self._init, self._update = init, update
        for name, value in hyperparameters.items():
            setattr(self, name, value)

    def init(self, theta):
        return self._init(theta)

    def update(self, theta, grad, state, learning_rate):
        return self._update(theta, grad, state, learning_rate)


@family(lambda: lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.8, dampening=0.3, weight_decay=0.1, maximize=True), dict(theta=(40,)),
    ("dampened_start", 1, "The first momentum buffer is dampened too, where torch starts it with the whole gradient."),
    ("decay_sign", 1, "With maximize the weight decay is added before the gradient's sign is turned, so the weights grow instead of decaying."),
    ("no_dampening", 2, "The dampening is forgotten: the gradient enters the buffer with factor 1."),
)
def sgd_maximize(f):
    def init(theta):
        return {"v": np.zeros_like(theta), "t": 0}

    def update(theta, grad, state, learning_rate):
        g = grad if "minimize" in f else -grad
        g = -(grad + 0.1 * theta) if "decay_sign" in f else g + 0.1 * theta
        damp = 1.0 if "no_dampening" in f else 0.7
        v = g if state["t"] == 0 and "dampened_start" not in f else 0.8 * state["v"] + damp * g
        return theta - learning_rate * v, {"v": v, "t": state["t"] + 1}

    return Rule(init, update)


@family(lambda: lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9, nesterov=True), dict(theta=(60,), learning_rate=0.05),
    ("heavy_ball", 1, "Nesterov's look-ahead is missing: the step is the buffer alone (plain heavy ball)."),
    ("old_buffer", 1, "The look-ahead uses the buffer from before this step's gradient was added."),
)
def sgd_nesterov(f):
    def init(theta):
        return {"momentum_buffer": np.zeros_like(theta)}

    def update(theta, grad, state, learning_rate):
        old = state["momentum_buffer"]
        v = 0.9 * old + grad
        step = v if "heavy_ball" in f else grad + 0.9 * (old if "old_buffer" in f else v)
        return theta - learning_rate * step, {"momentum_buffer": v}

    return Rule(init, update)


@family(lambda: lambda p, lr: torch.optim.Adam(p, lr=lr, betas=(0.7, 0.95), eps=1e-3, weight_decay=0.05, amsgrad=True), dict(theta=(50,), learning_rate=0.02),
    ("max_corrected", 2, "AMSGrad's maximum is taken over the bias-corrected second moments, where torch takes it over the raw ones."),
    ("max_forgets", 3, "The maximum is taken only with the previous second moment, not with the running maximum."),
    ("eps_inside wd_decoupled", 1, "Epsilon stands under the square root, and the weight decay is applied to the weights (AdamW) instead of entering the gradient."),
)
def adam_amsgrad(f):
    b1, b2, eps = 0.7, 0.95, 1e-3

    def init(theta):
        return {k: np.zeros_like(theta) for k in ("m", "v", "top")} | {"t": 0}

    def update(theta, grad, state, learning_rate):
        t = state["t"] + 1
        g = grad if "wd_decoupled" in f else grad + 0.05 * theta
        if "wd_decoupled" in f:
            theta = theta - learning_rate * 0.05 * theta
        m = b1 * state["m"] + (1 - b1) * g
        v = b2 * state["v"] + (1 - b2) * g * g
        c1, c2 = 1 - b1**t, 1 - b2**t
        if "max_corrected" in f:
            top = np.maximum(state["top"], v / c2)
            root = np.sqrt(top) + eps
        else:
            top = np.maximum(state["v"] if "max_forgets" in f else state["top"], v)
            root = np.sqrt(top / c2) + eps
            if "eps_before" in f:
                root = (np.sqrt(top) + eps) / math.sqrt(c2)
            if "eps_inside" in f:
                root = np.sqrt(top / c2 + eps)
        return theta - learning_rate * m / c1 / root, {"m": m, "v": v, "top": top, "t": t}

    return Rule(init, update)


@family(lambda: torch.optim.AdamW, dict(theta=(45,)),
    ("decay_after", 1, "The decay is taken from the weights after the Adam step instead of before it."),
    ("swapped_corrections", 1, "The two bias corrections are exchanged: the first moment is corrected with beta2, the second with beta1."),
    ("decay_without_lr swapped_corrections", 1, "The weight decay is not multiplied by the learning rate, and the two bias corrections are exchanged."),
)
def adamw(f):
    b1, b2, decay = 0.9, 0.99, 0.2

    def init(theta):
        return {"exp_avg": np.zeros_like(theta), "exp_avg_sq": np.zeros_like(theta), "t": 0}

    def update(theta, grad, state, learning_rate):
        t = state["t"] + 1
        m = b1 * state["exp_avg"] + (1 - b1) * grad
        v = b2 * state["exp_avg_sq"] + (1 - b2) * grad**2
        k = t + 1 if "correction_off_by_one" in f else t
        c1, c2 = 1 - b1**k, 1 - b2**k
        if "swapped_corrections" in f:
            c1, c2 = c2, c1
        step = learning_rate * (m / c1) / (np.sqrt(v / c2) + 1e-8)
        if "decay_after" in f:
            theta = (theta - step) * (1 - learning_rate * decay)
        else:
            theta = theta * (1 - (1 if "decay_without_lr" in f else learning_rate) * decay) - step
        return theta, {"exp_avg": m, "exp_avg_sq": v, "t": t}

    return Rule(init, update, beta1=b1, beta2=b2, eps=1e-8, weight_decay=decay)


@family(lambda: lambda p, lr: torch.optim.Adamax(p, lr=lr, betas=(0.8, 0.9), eps=1e-4, weight_decay=0.1), dict(theta=(30,)),
    ("no_decay_of_max", 2, "The running maximum is not multiplied by beta2, so it never shrinks."),
    ("second_correction", 1, "The infinity norm is bias-corrected too, which Adamax does not do."),
)
def adamax(f):
    def init(theta):
        return {"m": np.zeros_like(theta), "u": np.zeros_like(theta), "t": 0}

    def update(theta, grad, state, learning_rate):
        t = state["t"] + 1
        g = grad + 0.1 * theta
        m = 0.8 * state["m"] + 0.2 * g
        old = state["u"] * (1 if "no_decay_of_max" in f else 0.9)
        u = np.maximum(old, np.abs(g) + (0 if "eps_at_step" in f else 1e-4))
        down = u / (1 - 0.9**t) if "second_correction" in f else u
        if "eps_at_step" in f:
            down = u + 1e-4
        return theta - learning_rate / (1 - 0.8**t) * m / down, {"m": m, "u": u, "t": t}

    return Rule(init, update)


@family(lambda: lambda p, lr: torch.optim.Adagrad(p, lr=lr, lr_decay=0.2, weight_decay=0.1, initial_accumulator_value=0.3, eps=1e-6),
    dict(theta=(35,), learning_rate=0.1),
    ("decay_from_one", 1, "The learning rate's decay counts the first step as 1 instead of 0."),
    ("sum_without_decay", 1, "The sum of squares collects the gradient without the weight decay's part."),
    ("zero_start no_eps_root", 1, "The accumulator starts at 0 instead of 0.3, and epsilon stands under the root."),
)
def adagrad(f):
    def init(theta):
        return {"s": np.full_like(theta, 0.0 if "zero_start" in f else 0.3), "t": 0}

    def update(theta, grad, state, learning_rate):
        t = state["t"] + 1
        g = grad + 0.1 * theta
        s = state["s"] + (grad if "sum_without_decay" in f else g) ** 2
        rate = learning_rate / (1 + (t if "decay_from_one" in f else t - 1) * 0.2)
        root = np.sqrt(s + 1e-6) if "no_eps_root" in f else np.sqrt(s) + 1e-6
        return theta - rate * g / root, {"s": s, "t": t}

    return Rule(init, update)


@family(lambda: lambda p, lr: torch.optim.RMSprop(p, lr=lr, alpha=0.9, eps=1e-5, momentum=0.7, centered=True), dict(theta=(55,)),
    ("old_mean", 1, "The variance is centred with the running mean from before this step's gradient entered it."),
    ("momentum_of_gradient", 2, "The momentum collects the raw gradients, which are divided by the root only afterwards."),
    ("alpha_swapped uncentred", 1, "The decay alpha and 1 − alpha are exchanged in the average of squares, and the mean's square is not subtracted."),
)
def rmsprop_centred(f):
    def init(theta):
        return {k: np.zeros_like(theta) for k in ("s", "mean", "buffer")}

    def update(theta, grad, state, learning_rate):
        a = 0.1 if "alpha_swapped" in f else 0.9
        s = a * state["s"] + (1 - a) * grad * grad
        mean = 0.9 * state["mean"] + 0.1 * grad
        spread = s - mean**2
        if "uncentred" in f:
            spread = s
        if "old_mean" in f:
            spread = s - state["mean"] ** 2
        root = np.sqrt(spread) + 1e-5
        if "momentum_of_gradient" in f:
            buffer = 0.7 * state["buffer"] + grad
            step = buffer / root
        else:
            buffer = 0.7 * state["buffer"] + grad / root
            step = buffer
        return theta - learning_rate * step, {"s": s, "mean": mean, "buffer": buffer}

    return Rule(init, update)


@family(lambda: lambda p, lr: torch.optim.Rprop(p, lr=lr, etas=(0.4, 1.3), step_sizes=(1e-4, 0.02)), dict(theta=(50,)),
    ("keeps_gradient", 2, "After a change of sign the gradient is not set to zero: the step is taken nevertheless."),
    ("etas_swapped", 2, "The two factors are exchanged: the step grows when the sign changes and shrinks when it stays."),
    ("remembers_sign", 3, "After a change of sign the gradient itself is remembered instead of zero, so the next step is shrunk or grown again."),
)
def rprop(f):
    def init(theta):
        return {"last": np.zeros_like(theta), "size": None}

    def update(theta, grad, state, learning_rate):
        size = np.full_like(theta, learning_rate) if state["size"] is None else state["size"]
        turn = grad * state["last"]
        down, up = (1.3, 0.4) if "etas_swapped" in f else (0.4, 1.3)
        size = np.clip(size * np.where(turn > 0, up, np.where(turn < 0, down, 1.0)), 1e-4, 0.02)
        g = grad if "keeps_gradient" in f else np.where(turn < 0, 0.0, grad)
        way = g if "times_gradient" in f else np.sign(g)
        return theta - size * way, {"last": grad if "remembers_sign" in f else g, "size": size}

    return Rule(init, update)


@family(lambda: lambda p, lr: torch.optim.RAdam(p, lr=lr, betas=(0.85, 0.97), eps=1e-8), dict(theta=(40,), steps=12),
    ("no_rectification", 6, "The rectification factor is left out once the adaptive steps begin."),
    ("always_adaptive", 1, "In the first steps, where rho is at most 5, the update is divided by the root of the second moment too."),
    ("rho_inf_plus", 4, "The maximum length is 2/(1 − beta2) + 1 instead of − 1."),
    ("no_rectification rho_inf_plus", 4, "The rectification factor is left out, and the maximum length is 2/(1 − beta2) + 1, so that the adaptive steps begin too early."),
)
def radam(f):
    b1, b2 = 0.85, 0.97

    def init(theta):
        return {"m": np.zeros_like(theta), "v": np.zeros_like(theta), "t": 0}

    def update(theta, grad, state, learning_rate):
        t = state["t"] + 1
        m = b1 * state["m"] + (1 - b1) * grad
        v = b2 * state["v"] + (1 - b2) * grad * grad
        c2 = 1 - b2**t
        top = 2 / (1 - b2) + (1 if "rho_inf_plus" in f else -1)
        rho = top - 2 * t * b2**t / c2
        step = m / (1 - b1**t)
        if rho > (4 if "threshold_four" in f else 5):
            r = math.sqrt((rho - 4) * (rho - 2) * top / ((top - 4) * (top - 2) * rho))
            step = step * (1 if "no_rectification" in f else r) * math.sqrt(c2) / (np.sqrt(v) + 1e-8)
        elif "always_adaptive" in f:
            step = step * math.sqrt(c2) / (np.sqrt(v) + 1e-8)
        return theta - learning_rate * step, {"m": m, "v": v, "t": t}

    return Rule(init, update)


@family(lambda: lambda p, lr: torch.optim.Adadelta(p, lr=lr, rho=0.8, eps=1e-3), dict(theta=(42,), learning_rate=0.7),
    ("eps_outside", 1, "Epsilon is added outside the root of the averaged squared steps instead of under it."),
    ("new_delta", 2, "The second average collects the steps after they were multiplied by the learning rate."),
)
def adadelta(f):
    def init(theta):
        return {"s": np.zeros_like(theta), "d": np.zeros_like(theta)}

    def update(theta, grad, state, learning_rate):
        s = 0.8 * state["s"] + 0.2 * grad * grad
        up = np.sqrt(state["d"]) + 1e-3 if "eps_outside" in f else np.sqrt(state["d"] + 1e-3)
        step = up / np.sqrt(s + 1e-3) * grad
        kept = grad if "delta_of_gradient" in f else (learning_rate * step if "new_delta" in f else step)
        return theta - learning_rate * step, {"s": s, "d": 0.8 * state["d"] + 0.2 * kept * kept}

    return Rule(init, update)


@family(lambda: lambda p, lr: torch.optim.Adafactor(p, lr=lr, d=1.0, weight_decay=0.1), dict(theta=(36,), learning_rate=0.3),
    ("no_clipping", 2, "The clipping of the update by its root mean square is left out."),
    ("absolute_step", 1, "The step is not scaled with the root mean square of the weights."),
    ("ordinary_beta", 2, "The second moment's decay is t^(−0.8) instead of 1 − t^(−0.8): old and new share are exchanged."),
)
def adafactor_vector(f):
    def init(theta):
        return {"v": np.zeros_like(theta), "t": 0}

    def update(theta, grad, state, learning_rate):
        t = state["t"] + 1
        new = t**-0.8
        scale = 1.0 if "absolute_step" in f else max(1e-3, math.sqrt((theta * theta).mean()))
        theta = theta * (1 - learning_rate * 0.1)
        if "ordinary_beta" in f and t > 1:
            new = 1 - new
        v = (1 - new) * state["v"] + new * grad * grad
        step = grad / np.sqrt(v)
        clip = 1.0 if "no_clipping" in f else max(1.0, math.sqrt((step * step).mean()) / 1.0)
        return theta - scale * min(learning_rate, 1 / math.sqrt(t)) * step / clip, {"v": v, "t": t}

    return Rule(init, update)
