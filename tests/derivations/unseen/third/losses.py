"""Wrong derivations of losses."""
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .common import registrar

LOSSES = []
family = registrar("loss", LOSSES)


class Loss:
    """A loss by its value and its gradient, both functions of output and target."""

    def __init__(self, value, slope):
        self._value, self._slope = value, slope

    def forward(self, output, target):
        return self._value(output, target), (output, target)

    def gradient(self, cache):
        return self._slope(*cache)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def log_softmax(z, axis=1):
    z = z - z.max(axis=axis, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=axis, keepdims=True))


def softplus(z):
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def unit(z):
    n = np.sqrt((z * z).sum(axis=1, keepdims=True) + 1e-8)
    return z / n, n


def tunit(z):
    return z * torch.rsqrt((z * z).sum(1, keepdim=True) + 1e-8)


def binary(shape):
    return lambda rng: (rng.random(shape) < 0.4).astype(float)


# ---------------------------------------------------------------- contrastive and metric


def clip_twin(o, t):
    s = tunit(o) @ tunit(t).T / 0.2
    n = torch.arange(len(o))
    return (F.cross_entropy(s, n) + F.cross_entropy(s.T, n)) / 2


@family(lambda: clip_twin, dict(output=(5, 3), target=(5, 3)),
    ("one_direction", "J dJ", "Only the rows' cross-entropy is taken; the symmetric half over the columns is missing, in both."),
    ("columns_as_rows", "dJ", "In the gradient both softmaxes run over the rows: the column softmax is replaced by the row softmax."),
    ("no_projection no_temperature", "dJ", "The norm of the embedding is held constant, and the division by the temperature is missing."),
)
def clip_loss(f):
    def scores(o, t):
        return unit(o)[0] @ unit(t)[0].T / 0.2

    def value(o, t):
        s = scores(o, t)
        rows, columns = -np.diag(log_softmax(s, 1)).mean(), -np.diag(log_softmax(s, 0)).mean()
        return rows if "one_direction" in f else (rows + columns) / 2

    def slope(o, t):
        s = scores(o, t)
        rows = np.exp(log_softmax(s, 1)) - np.eye(len(o))
        columns = np.exp(log_softmax(s, 1 if "columns_as_rows" in f else 0)) - np.eye(len(o))
        ds = (rows if "one_direction" in f else (rows + columns) / 2) / len(o)
        a, n = unit(o)
        da = ds @ unit(t)[0] / (1 if "no_temperature" in f else 0.2)
        return da / n if "no_projection" in f else (da - a * (a * da).sum(axis=1, keepdims=True)) / n

    return Loss(value, slope)


def siglip_twin(o, t):
    z = 2 * torch.eye(len(o), dtype=o.dtype) - 1
    return -F.logsigmoid(z * (2.0 * o @ t.T - 1.0)).sum() / len(o)


@family(lambda: siglip_twin, dict(output=(4, 3), target=(4, 3)),
    ("no_label", "dJ", "The pair's label z = ±1 is missing in the gradient outside the sigmoid."),
    ("sigmoid_of_plus", "dJ", "The gradient uses σ(z·s) where σ(−z·s) belongs."),
)
def siglip_loss(f):
    def parts(o, t):
        return 2 * np.eye(len(o)) - 1, 2.0 * o @ t.T - 1.0, len(o) ** 2 if "mean_pairs" in f else len(o)

    def value(o, t):
        z, s, n = parts(o, t)
        return softplus(-z * s).sum() / n

    def slope(o, t):
        z, s, n = parts(o, t)
        ds = -(1 if "no_label" in f else z) * sigmoid(z * s if "sigmoid_of_plus" in f else -z * s) / n
        return 2.0 * ds @ t

    return Loss(value, slope)


def hadsell_twin(o, t):
    d = torch.sqrt(((o[:, 0] - o[:, 1]) ** 2).sum(1) + 1e-6)
    return 0.5 * (t * d**2 + (1 - t) * torch.relu(3.0 - d) ** 2).mean()


@family(lambda: hadsell_twin, dict(output=lambda rng: rng.normal(size=(7, 2, 3)), target=binary(7)),
    ("second_sign", "dJ", "The gradient of the second embedding has the sign of the first."),
    ("push_sign", "dJ", "Dissimilar pairs are pulled together: the sign of the margin term is wrong in the gradient."),
    ("margin_square", "J dJ", "The margin acts on the squared distance, max(0, m − d²), instead of max(0, m − d)²."),
)
def pair_contrastive(f):
    def parts(o, t):
        e = o[:, 0] - o[:, 1]
        return e, np.sqrt((e * e).sum(axis=1) + 1e-6), 1 - t if "labels_swapped" in f else t

    def value(o, t):
        e, d, t = parts(o, t)
        apart = np.maximum(3.0 - d**2, 0) if "margin_square" in f else np.maximum(3.0 - d, 0) ** 2
        return 0.5 * (t * d**2 + (1 - t) * apart).mean()

    def slope(o, t):
        e, d, t = parts(o, t)
        push = np.where(3.0 - d**2 > 0, -d, 0) if "margin_square" in f else -np.maximum(3.0 - d, 0)
        if "push_sign" in f:
            push = -push
        g = ((t * d + (1 - t) * push) / d / len(o))[:, None] * e
        return np.stack([g, g if "second_sign" in f else -g], axis=1)

    return Loss(value, slope)


def barlow_twin(o, t):
    a = (o - o.mean(0)) / torch.sqrt(o.var(0, unbiased=False) + 1e-3)
    b = (t - t.mean(0)) / torch.sqrt(t.var(0, unbiased=False) + 1e-3)
    c = a.T @ b / len(o)
    on = (c.diagonal() - 1) ** 2
    return on.sum() + 0.1 * ((c**2).sum() - (c.diagonal() ** 2).sum())


@family(lambda: barlow_twin, dict(output=(6, 4), target=(6, 4)),
    ("diagonal_twice", "J", "The off-diagonal sum of the value still contains the diagonal."),
    ("no_batch", "dJ", "The correlation's division by the batch size is forgotten in the gradient."),
    ("std_constant lambda_forgotten", "dJ", "The batch standard deviation is held constant, and the weight 0.1 of the redundancy term is missing in the gradient."),
)
def barlow_twins(f):
    def standard(z):
        s = np.sqrt(z.var(axis=0) + 1e-3)
        return (z - z.mean(axis=0)) / s, s

    def value(o, t):
        c = standard(o)[0].T @ standard(t)[0] / len(o)
        off = (c**2).sum() - (0 if "diagonal_twice" in f else (np.diag(c) ** 2).sum())
        return ((np.diag(c) - 1) ** 2).sum() + 0.1 * off

    def slope(o, t):
        (a, s), b = standard(o), standard(t)[0]
        c = a.T @ b / len(o)
        eye = np.eye(len(c))
        dc = 2 * (c - 1) * eye + (1 if "lambda_forgotten" in f else 0.1) * 2 * c * (1 - eye)
        da = b @ dc.T / (1 if "no_batch" in f else len(o))
        out = da - da.mean(axis=0)
        if "std_constant" not in f:
            out = out - a * (da * a).mean(axis=0)
        return out / s

    return Loss(value, slope)


# ---------------------------------------------------------------- classification


def smoothed_twin(o, t):
    w = torch.tensor([0.5, 1.5, 1.0, 2.5], dtype=o.dtype)
    return F.cross_entropy(o, t, weight=w, label_smoothing=0.2)


@family(lambda: smoothed_twin, dict(output=(6, 4), target="class"),
    ("plain_mean", "J dJ", "The weighted loss is divided by the number of samples instead of the sum of their class weights."),
    ("spread_k_minus_1", "J dJ", "The smoothing mass is spread over the other K − 1 classes instead of over all K."),
    ("weights_left_out", "dJ", "In the gradient the softmax term is not multiplied by the sum of the weighted soft label, as if it summed to one."),
)
def smoothed_cross_entropy(f):
    w = np.array([0.5, 1.5, 1.0, 2.5])

    def soft(o, t):
        N, K = o.shape
        q = np.full((N, K), 0.2 / (K - 1 if "spread_k_minus_1" in f else K))
        hot = np.zeros((N, K))
        hot[np.arange(N), t] = 1
        q = np.where(hot > 0, 0.8, q) if "spread_k_minus_1" in f else q + 0.8 * hot
        return q * w, len(o) if "plain_mean" in f else w[t].sum()

    def value(o, t):
        q, n = soft(o, t)
        return -(q * log_softmax(o)).sum() / n

    def slope(o, t):
        q, n = soft(o, t)
        total = 1 if "weights_left_out" in f else q.sum(axis=1, keepdims=True)
        return (np.exp(log_softmax(o)) * total - q) / n

    return Loss(value, slope)


def distill_twin(o, t):
    return 9.0 * F.kl_div(F.log_softmax(o / 3, 1), F.log_softmax(t / 3, 1), log_target=True, reduction="batchmean")


@family(lambda: distill_twin, dict(output=(4, 5), target=(4, 5)),
    ("no_t_squared", "dJ", "The factor T² in front of the divergence is left out of the gradient."),
    ("teacher_hard", "J dJ", "The teacher's logits are not divided by the temperature."),
    ("reverse", "J dJ", "The divergence is reversed: KL(student ‖ teacher) instead of KL(teacher ‖ student)."),
)
def distillation(f):
    T = 3

    def parts(o, t):
        n = o.size if "element_mean" in f else len(o)
        return log_softmax(o / T), log_softmax(t if "teacher_hard" in f else t / T), n

    def value(o, t):
        s, q, n = parts(o, t)
        if "reverse" in f:
            return T * T * (np.exp(s) * (s - q)).sum() / n
        return T * T * (np.exp(q) * (q - s)).sum() / n

    def slope(o, t):
        s, q, n = parts(o, t)
        if "reverse" in f:
            p, r = np.exp(s), s - q
            return T * p * (r - (p * r).sum(axis=1, keepdims=True)) / n
        return (1 / T if "no_t_squared" in f else T) * (np.exp(s) - np.exp(q)) / n

    return Loss(value, slope)


@family(lambda: nn.MultiMarginLoss(p=2, margin=1.5), dict(output=(5, 4), target="class"),
    ("over_k_minus_1", "J dJ", "The sum over the classes is divided by K − 1 instead of K."),
    ("counts_itself", "J", "The right class itself is counted in the sum, so every sample costs at least the squared margin."),
    ("target_path no_two", "dJ", "The gradient of the right class's score is missing, and the factor 2 of the square is lost."),
)
def squared_multi_margin(f):
    def parts(o, t):
        rows = np.arange(len(o))
        m = np.maximum(1.5 - o[rows, t][:, None] + o, 0)
        hit = np.zeros(o.shape, dtype=bool)
        hit[rows, t] = True
        return m, hit, o.shape[1] - 1 if "over_k_minus_1" in f else o.shape[1]

    def value(o, t):
        m, hit, K = parts(o, t)
        if "counts_itself" not in f:
            m = np.where(hit, 0, m)
        return (m**2).sum() / K / len(o)

    def slope(o, t):
        m, hit, K = parts(o, t)
        g = np.where(hit, 0, (1 if "no_two" in f else 2) * m)
        if "target_path" not in f:
            g = np.where(hit, -g.sum(axis=1, keepdims=True), g)
        return g / K / len(o)

    return Loss(value, slope)


@family(lambda: lambda o, t: F.binary_cross_entropy_with_logits(o, t, pos_weight=torch.tensor([1.0, 4.0, 0.5], dtype=o.dtype)),
    dict(output=lambda rng: 2 * rng.normal(size=(5, 3)), target=binary((5, 3))),
    ("weights_everywhere", "J dJ", "The positive weight multiplies the whole loss, the negatives too."),
    ("unweighted_gradient", "dJ", "The gradient is σ(z) − t, without the positive weight."),
)
def weighted_bce(f):
    w = np.array([1.0, 4.0, 0.5])

    def value(o, t):
        if "weights_everywhere" in f:
            return (w * (t * softplus(-o) + (1 - t) * softplus(o))).mean()
        return (w * t * softplus(-o) + (1 - t) * softplus(o)).mean()

    def slope(o, t):
        n = len(o) if "sum_outputs" in f else o.size
        if "weights_everywhere" in f:
            return w * (sigmoid(o) - t) / n
        if "unweighted_gradient" in f:
            return (sigmoid(o) - t) / n
        return ((1 - t) * sigmoid(o) - w * t * sigmoid(-o)) / n

    return Loss(value, slope)


def dice_twin(o, t):
    p = torch.sigmoid(o)
    d = (2 * (p * t).sum((1, 2)) + 1) / (p.sum((1, 2)) + t.sum((1, 2)) + 1)
    return 1 - d.mean()


@family(lambda: dice_twin, dict(output=lambda rng: rng.normal(size=(3, 4, 5)), target=binary((3, 4, 5))),
    ("no_two", "J dJ", "The factor 2 in front of the intersection is missing (the overlap over the sum)."),
    ("no_sigmoid denominator_sign", "dJ", "The sigmoid's derivative is missing, and the quotient rule's second term has a plus."),
)
def dice_loss(f):
    two = 1 if "no_two" in f else 2

    def parts(o, t):
        p = sigmoid(o)
        return p, two * (p * t).sum(axis=(1, 2), keepdims=True) + 1, (p + t).sum(axis=(1, 2), keepdims=True) + 1

    def value(o, t):
        _, up, down = parts(o, t)
        return 1 - (up / down).mean()

    def slope(o, t):
        p, up, down = parts(o, t)
        second = 0 if "denominator_constant" in f else up / down**2
        if "denominator_sign" in f:
            second = -second
        dp = -(two * t / down - second) / len(o)
        return dp if "no_sigmoid" in f else dp * p * (1 - p)

    return Loss(value, slope)


def ranknet_twin(o, t):
    s = o[:, :, None] - o[:, None, :]
    better = (t[:, :, None] > t[:, None, :]).to(o.dtype)
    return (better * F.softplus(-s)).sum() / len(o)


@family(lambda: ranknet_twin, dict(output=(4, 5), target=(4, 5)),
    ("winner_only", "dJ", "Only the better item of each pair gets a gradient; the worse one's is missing."),
    ("ties_count", "J dJ", "Pairs are counted when t_i ≥ t_j, so that every item is compared with itself."),
)
def ranknet(f):
    def parts(o, t):
        s = o[:, :, None] - o[:, None, :]
        a, b = t[:, :, None], t[:, None, :]
        better = a >= b if "ties_count" in f else (a < b if "axes" in f else a > b)
        return s, better * 1.0

    def value(o, t):
        s, better = parts(o, t)
        return (better * softplus(-s)).sum() / len(o)

    def slope(o, t):
        s, better = parts(o, t)
        ds = -better * sigmoid(-s) / len(o)
        return ds.sum(axis=2) - (0 if "winner_only" in f else ds.sum(axis=1))

    return Loss(value, slope)


# ---------------------------------------------------------------- regression and probability


@family(lambda: nn.HuberLoss(delta=0.7), dict(output=(5, 3), target=(5, 3)),
    ("linear_no_delta", "dJ", "In the linear branch the gradient is sign(e) without the factor delta."),
    ("no_offset", "J", "The linear branch is delta·|e| without subtracting ½·delta, so the value jumps at the threshold."),
)
def huber(f):
    d = 0.7

    def value(o, t):
        e = np.abs(o - t)
        line = d * e if "no_offset" in f else d * (e - 0.5 * d)
        return np.where(e < d, (1 if "no_half" in f else 0.5) * e * e, line).mean()

    def slope(o, t):
        e = o - t
        line = np.sign(e) * (1 if "linear_no_delta" in f else d)
        return np.where(np.abs(e) < d, e * (2 if "no_half" in f else 1), line) / e.size

    return Loss(value, slope)


def pinball_twin(o, t):
    q = torch.tensor([0.1, 0.5, 0.8], dtype=o.dtype)
    e = t - o
    return torch.where(e > 0, q * e, (q - 1) * e).sum(1).mean()


@family(lambda: pinball_twin, dict(output=lambda rng: rng.normal(size=(6, 3)), target=lambda rng: rng.normal(size=(6, 1))),
    ("sides", "J dJ", "The two sides of the quantile loss are swapped: q and 1 − q exchange their places."),
    ("sign", "dJ", "The gradient is that by the target: its sign is wrong."),
)
def pinball(f):
    q = np.array([0.1, 0.5, 0.8])
    q = 1 - q if "sides" in f else q

    def value(o, t):
        e = t - o
        return np.maximum(q * e, (q - 1) * e).sum(axis=1).mean()

    def slope(o, t):
        g = np.where(t - o > 0, -q, 1 - q) / (o.size if "mean_quantiles" in f else len(o))
        return -g if "sign" in f else g

    return Loss(value, slope)


def gaussian_twin(o, t):
    mu, lv = o[:, 0], o[:, 1]
    return 0.5 * (lv + (t - mu) ** 2 * torch.exp(-lv) + math.log(2 * math.pi)).mean()


@family(lambda: gaussian_twin, dict(output=(6, 2), target=(6,)),
    ("exp_sign", "J dJ", "The squared error is multiplied by exp(+log σ²) instead of exp(−log σ²)."),
    ("std_head", "J dJ", "The second output is read as log σ instead of log σ²."),
    ("no_half_mu lv_plus", "dJ", "The gradient of the mean is twice as large (the ½ is lost), and the error term of the log-variance's gradient has the wrong sign."),
)
def gaussian_nll(f):
    k = 2 if "std_head" in f else (-1 if "exp_sign" in f else 1)

    def value(o, t):
        e = t - o[:, 0]
        lead = 2 * o[:, 1] if "std_head" in f else o[:, 1]
        return 0.5 * (lead + e * e * np.exp(-k * o[:, 1]) + math.log(2 * math.pi)).mean()

    def slope(o, t):
        e, w = t - o[:, 0], np.exp(-k * o[:, 1])
        error = 0 * e if "lv_constant" in f else -k * e * e * w
        if "lv_plus" in f:
            error = -error
        own = 2 if "std_head" in f else 1
        return np.stack([-e * w * (2 if "no_half_mu" in f else 1), 0.5 * (own + error)], axis=1) / len(o)

    return Loss(value, slope)


def mdn_twin(o, t):
    logit, mu, ls = o[:, :3], o[:, 3:6], o[:, 6:]
    comp = F.log_softmax(logit, 1) - ls - 0.5 * ((t[:, None] - mu) / ls.exp()) ** 2 - 0.5 * math.log(2 * math.pi)
    return -torch.logsumexp(comp, 1).mean()


@family(lambda: mdn_twin, dict(output=(4, 9), target=(4,)),
    ("prior_for_posterior", "dJ", "The gradients of means and scales are weighted with the mixing weights instead of the responsibilities."),
    ("no_normal_term one_sigma", "dJ", "The −1 of the normalising constant is missing in the gradient of log σ, and the gradient of the mean is divided by σ instead of σ²."),
)
def mixture_density(f):
    def parts(o, t):
        logit, mu, ls = o[:, :3], o[:, 3:6], o[:, 6:]
        z = (t[:, None] - mu) / np.exp(ls)
        lp = log_softmax(logit)
        comp = lp - ls - 0.5 * z * z - 0.5 * math.log(2 * math.pi)
        top = comp.max(axis=1, keepdims=True)
        total = top + np.log(np.exp(comp - top).sum(axis=1, keepdims=True))
        return np.exp(lp), ls, z, np.exp(comp - total), total

    def value(o, t):
        return -parts(o, t)[-1].mean()

    def slope(o, t):
        pi, ls, z, r, _ = parts(o, t)
        w = pi if "prior_for_posterior" in f else r
        dmu = -w * z / (1 if "one_sigma" in f else np.exp(ls))
        dls = -w * (z * z - (0 if "no_normal_term" in f else 1))
        return np.concatenate([pi - r, dmu, dls], axis=1) / len(o)

    return Loss(value, slope)


def mmd_twin(o, t):
    def k(a, b):
        return torch.exp(-0.5 * ((a[:, None] - b) ** 2).sum(-1)).mean()

    return k(o, o) + k(t, t) - 2 * k(o, t)


@family(lambda: mmd_twin, dict(output=lambda rng: rng.normal(size=(5, 3)), target=lambda rng: rng.normal(size=(6, 3))),
    ("one_argument", "dJ", "In k(x, x′) only the first argument is differentiated, so that term's gradient is half as large."),
    ("cross_once", "J dJ", "The cross term has the factor 1 instead of 2, in both."),
)
def mmd(f):
    cross = 1 if "cross_once" in f else 2

    def kernel(a, b):
        d = a[:, None] - b
        return d, np.exp(-0.5 * (d * d).sum(axis=-1))

    def value(o, t):
        return kernel(o, o)[1].mean() + kernel(t, t)[1].mean() - cross * kernel(o, t)[1].mean()

    def slope(o, t):
        d, k = kernel(o, o)
        e, c = kernel(o, t)
        g = -(1 if "one_argument" in f else 2) * (k[..., None] * d).sum(axis=1) / k.size
        return g if "no_cross" in f else g + cross * (c[..., None] * e).sum(axis=1) / c.size

    return Loss(value, slope)


@family(lambda: lambda o, t: torch.log1p(((o - t) / 1.5) ** 2).mean(), dict(output=(5, 4), target=(5, 4), dtype="float32"),
    ("scale_once", "dJ", "The inner derivative is divided by c instead of c²."),
)
def cauchy(f):
    def value(o, t):
        return np.log1p(((o - t) / 1.5) ** 2).mean()

    def slope(o, t):
        e = o - t
        weight = 1 if "constant_weight" in f else 1 / (1 + (e / 1.5) ** 2)
        return 2 * e * weight / (1.5 if "scale_once" in f else 1.5**2) / e.size

    return Loss(value, slope)
