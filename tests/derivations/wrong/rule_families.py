"""Every rule of `rules` beside its reference, with the faults that are planted in it."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import optim

from tests.derivations.wrong.rules import (
    Rule,
    adadelta,
    adagrad,
    adam,
    adam_that_skips_zeros,
    adamax,
    asgd,
    asgd_without_decay,
    clipped,
    dampened,
    first_rate,
    fixed_rate,
    folded,
    lion,
    lookahead,
    momentum,
    nadam,
    nesterov,
    norm,
    one_sign_or_the_other,
    own,
    radam,
    rmsprop,
    rprop,
    sgd,
    sign,
    torch_clipped,
    torch_lion,
    torch_lookahead,
    torch_norm,
    torch_sign,
    torch_trust,
    torch_warm_up,
    trust,
    warm_up,
)


# (right, its reference, {what is wrong: a rule with it})
def _of(right: Any, reference: Any, **wrong: Any) -> tuple[Any, Any, dict[str, Any]]:
    return right, reference, wrong


def _adams(**options: Any) -> Any:
    return lambda p, lr: optim.Adam(p, lr=lr, **options)


MOMENTS = ("m", "v")
FAMILIES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "SGD": _of(Rule(sgd), optim.SGD, fixed_rate=Rule(fixed_rate), first_rate=Rule(first_rate)),
    "momentum": _of(
        Rule(momentum, "b"), lambda p, lr: optim.SGD(p, lr=lr, momentum=0.9),
        folded=Rule(folded, "b"), dampened=Rule(dampened(True), "b"),
    ),
    "Nesterov": _of(
        Rule(nesterov(True), "b"), lambda p, lr: optim.SGD(p, lr=lr, momentum=0.9, nesterov=True),
        not_first=Rule(nesterov(False), "b"), until_step_30=Rule(nesterov(True, late=30), "b"),
    ),
    "dampening": _of(
        Rule(dampened(False), "b"), lambda p, lr: optim.SGD(p, lr=lr, momentum=0.9, dampening=0.3),
        first_too=Rule(dampened(True), "b"),
    ),
    "Adam": _of(
        Rule(adam(), *MOMENTS), optim.Adam,
        frozen_at_10=Rule(adam(last=10), *MOMENTS), frozen_at_30=Rule(adam(last=30), *MOMENTS),
        uncorrected_after_40=Rule(adam(late=40), *MOMENTS), eps_inside=Rule(adam(inside=True), *MOMENTS),
        no_eps=Rule(adam(eps=0.0), *MOMENTS), skips_zeros=Rule(adam_that_skips_zeros, *MOMENTS),
        eps_1e_10=Rule(adam(eps=1e-10), *MOMENTS),
    ),
    "AMSGrad": _of(
        Rule(adam(largest=np.maximum), *MOMENTS, "x"), _adams(amsgrad=True), no_maximum=Rule(adam(), *MOMENTS),
        latest=Rule(adam(largest=lambda x, v: v), *MOMENTS, "x"),
    ),
    "AdamW": _of(
        Rule(adam(decay=lambda w, lr: w * (1 - lr * 0.01)), *MOMENTS), optim.AdamW,
        decay_without_rate=Rule(adam(decay=lambda w, lr: w * (1 - 0.01 * 0.01)), *MOMENTS),
    ),
    "RMSprop": _of(
        Rule(rmsprop(), "v"), optim.RMSprop, eps_inside=Rule(rmsprop(True), "v"), other_eps=Rule(rmsprop(eps=1e-7), "v")
    ),
    "centred RMSprop": _of(
        Rule(rmsprop(centred=True), "v", "a"), lambda p, lr: optim.RMSprop(p, lr=lr, centered=True),
        plain=Rule(rmsprop(), "v"),
    ),
    "Adagrad": _of(Rule(adagrad(False), "v"), optim.Adagrad, eps_inside=Rule(adagrad(True), "v")),
    "Adadelta": _of(Rule(adadelta(False), "v", "d"), optim.Adadelta, with_rate=Rule(adadelta(True), "v", "d")),
    "Adamax": _of(
        Rule(adamax(), "m", "u"), optim.Adamax, no_maximum=Rule(adamax(True), "m", "u"),
        eps_outside=Rule(adamax(outside=1e-8), "m", "u"),
    ),
    "NAdam": _of(
        Rule(nadam(True), *MOMENTS, product=1.0), optim.NAdam,
        unscheduled=Rule(nadam(False), *MOMENTS, product=1.0)
    ),
    "RAdam": _of(Rule(radam(5.0), *MOMENTS), optim.RAdam, above_4=Rule(radam(4.0), *MOMENTS)),
    "ASGD": _of(Rule(asgd, eta=0.0), optim.ASGD, rate_stays=Rule(asgd_without_decay, eta=0.0)),
    "Rprop": _of(
        Rule(rprop(True), "before", "size"), optim.Rprop, steps_back=Rule(rprop(False), "before", "size"),
    ),
    "sign": _of(Rule(sign), own(torch_sign), two_valued=Rule(one_sign_or_the_other)),
    "clipped at 100": _of(Rule(clipped), own(torch_clipped), not_clipped=Rule(sgd)),
    "clipped by the norm": _of(Rule(norm), own(torch_norm), not_clipped=Rule(sgd), elementwise=Rule(clipped)),
    "Lookahead": _of(
        Rule(lookahead(6)), own(torch_lookahead(6)), never=Rule(lookahead(6, "never")),
        slow_stays=Rule(lookahead(6, "fast")),
    ),
    "slow Lookahead": _of(
        Rule(lookahead(30)), own(torch_lookahead(30)), never=Rule(sgd), slow_stays=Rule(lookahead(30, "fast")),
        other_period=Rule(lookahead(40)),
    ),
    "warm-up": _of(
        Rule(warm_up(50)), own(torch_warm_up(50)), shorter=Rule(warm_up(45)), no_end=Rule(warm_up(50, 1e9))
    ),
    "Lion": _of(Rule(lion(True), "m"), own(torch_lion), decay_without_rate=Rule(lion(False), "m")),
    "trust ratio": _of(Rule(trust(True)), own(torch_trust), unguarded=Rule(trust(False))),
}  # fmt: skip
