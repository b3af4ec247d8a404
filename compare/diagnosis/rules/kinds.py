"""Every kind of edit of an update rule: how likely it is, and what is said of it."""

from __future__ import annotations

from handgrad.compare.diagnosis.likelihood import Tier, kinds

# Of an expression of a line: {a} and {b} are parts of it.
EXPRESSIONS = kinds({
    Tier.LOST: {
        "last term left out": "the term {b} is left out",
        "subtracted term left out": "the subtracted term {b} is left out",
        "step count late": "the count of steps is one too large: t stands where t - 1 belongs",
        "wrong sign": "the sign of {b} is wrong",
        "inside the root": "{b} stands inside the root",
        "factor left out": "the factor {a} is left out",
        "division left out": "the division by {b} is left out",
        "root left out": "the root of {a} is not taken",
        "eps outside the root": "eps stands outside the root",
    },
    Tier.KNOWN: {
        "first term left out": "the term {a} is left out",
        "difference left out": "{b} stands where {a} - {b} belongs",
        "factor of one term": "the factor {a} is left out before {b}",
        "multiplied": "multiplied with {b}, not divided by it,",
        "power left out": "{a} stands where {a} ** {b} belongs",
        "absolute for a square": "|{a}|, not its square, stands",
        "step count off": "the step count is off: {a} ** (t {by}) stands where {a} ** t belongs",
        "function left out": "{a} of {b} is not taken",
        "choice left out": "{a} is left out: {b} stands for it",
        "case left out": "the case {a} is left out",
        "factor always": "the factor {a} is taken always, not only where {b},",
        "one minus it": "1 - {a} stands where {a} belongs",
    },
    Tier.RARE: {
        "divided": "divided by {a}, not multiplied with it,",
        "factor twice": "the factor {a} is applied twice",
        "divided by the root": "the root of {b} stands where {b} belongs",
        "divided twice": "divided by {b} twice",
        "quotient inverted": "{a} / {b} is inverted",
        "numerator left out": "1 / {b} stands where {a} / {b} belongs",
        "no power of the step count": "{a} {by} t stands where {a} ** t belongs",
        "sum for a maximum": "the sum of {a} and {b} stands for their maximum",
        "case always": "the case {a} is taken always",
        "number of the rule": "{b} stands where {a} belongs",
        "other array": "{b} stands where {a} belongs",
        "other hyperparameter": "{b} stands where {a} belongs",
        "of the step before": "{b} of the step before stands where {a} belongs",
        "bias-corrected": "{a} is bias-corrected where it should not be: {a} / (1 - {b} ** t) stands for it",
        "squared here": "{a} is squared",
        "its root": "the root of {a} stands",
    },
    Tier.ODD: {
        "other number": "{b} stands where {a} belongs",
        "times the learning rate": "{a} is multiplied by the learning rate before it stands",
        "state of the step before": "{b} of the step before stands where {a} belongs",
        "divided by the step count": "{a} / t stands where {a} belongs",
    },
})  # fmt: skip
# Of a line, of several lines, of a number.
LINES = kinds({
    Tier.LOST: {
        "line left out": "the {purpose} is left out: {line}",
        "as 0": "{a} is left out (taken as 0)",
        "as 1": "{a} is left out (taken as 1)",
        "doubled": "{a} is doubled",
        "halved": "{a} is halved",
        "negative": "{a} is of the wrong sign",
        "decoupled": "the weight decay is decoupled instead of coupled (in the gradient)",
        "coupled": "the weight decay is coupled (in the gradient) instead of decoupled",
        "no look-ahead": "Nesterov's look-ahead is missing",
        "look-ahead": "a look-ahead too much, as in Nesterov's rule",
        "first gradient dampened": "the first gradient is dampened too",
        "gradient for the moment": "the gradient stands where the first moment belongs",
        "not centred": "the centring is missing",
        "never zeroed": "the gradient is never zeroed: it is the sum of all so far",
    },
    Tier.KNOWN: {
        "line after": "the {purpose} comes after {other}: {line}",
        "line before": "the {purpose} comes before {other}: {line}",
        "other throughout": "{b} stands for {a} throughout {line} ({purpose})",
        "other weights": "the weights {b} and {other_rest} stand for {a} and {rest} in {line}",
        "squared": "{a} is squared: applied twice",
        "complement": "{a} is one minus itself: {a} and 1 − {a} are swapped",
        "numbers swapped": "{a} and {b} are swapped",
        "clipped to 1": "the gradient is clipped to ±1",
        "step count behind": (
            "the step count is one behind: t − 1 stands where t belongs (no correction where that is 0)"
        ),
        "step count ahead": "the step count is one ahead: t + 1 stands where t belongs",
        "times the step count": "β · t stands where β ** t belongs",
        "over the step count": "β / t stands where β ** t belongs",
        "no step count": "β stands where β ** t belongs",
        "no bias corrections": "the bias corrections are left out",
        "no momentum schedule": "the momentum schedule is left out: μ stays β₁",
        "no gains": "the gains 1 − β are left out",
        "momentum as an average": (
            "the momentum is an average, as Adam's first moment: dampened by 1 − μ, in the first step too"
        ),
        "eps before the correction": "ε is added before the bias correction of the second moment",
        "previous gradient too": "the gradient of the previous step is still in it",
        "previous gradient": "it is the gradient of one step ago",
        "starts elsewhere": "{a} starts at {b}, not at {right}",
        "exchanged": "{a} and {b} are exchanged in {line} and {other}",
        "momentum of the gradient": "the momentum is taken of the gradient, before it is scaled",
        "largest of the corrected": (
            "the largest second moment is taken of the bias-corrected ones, not of the raw ones"
        ),
    },
    Tier.RARE: {
        "line again": "the {purpose} is worked out again after {other}: {line}",
        "kept as state": "{a} is kept as {b} for the next step ({purpose})",
        "times lr": "{a} is multiplied by the learning rate, which does not belong",
        "over lr": "{a} is divided by the learning rate, which does not belong",
        "clipped to a half": "the gradient is clipped to ±½",
        "norm clipped": "the gradient's norm is clipped to 1",
        "divided by its norm": "the gradient is divided by its norm",
        "sign of the gradient": "the sign of the gradient stands for the gradient",
        "averaged": "the gradient is divided by the number of parameters",
        "weights swapped": "{weight} and 1 − {weight} are swapped{in_one}",
        "shares swapped": "the shares of the old and the new are swapped, but for the first step,{in_one}",
        "step count behind later": "the step count is one behind from the second step on{in_one}",
        "eps outside the roots": "ε stands outside the roots{in_one}",
        "rectified early": "the rectification starts at a length of 4, not 5{in_one}",
        "not corrected where not adapted": (
            "the bias correction of the first moment is left out where the step is not adapted{in_one}"
        ),
        "average for a sum": "a moving average with {b} stands for the sum{in_one}",
        "starts with the first": "{a} starts with the first {b}, not with an average of it and 0: {line}",
        "exchanged in a line": "{a} and {b} are exchanged in {line}",
    },
    Tier.ODD: {
        "fitted number": "{a} is {b}, not {right}",
    },
})  # fmt: skip
