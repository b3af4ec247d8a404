"""Every kind of edit of a step: how likely it is, and what is said of it; `fields` fills in the braces."""

from __future__ import annotations

from handgrad.compare.diagnosis.likelihood import Tier, kinds

STEPS = kinds({
    Tier.NONE: {  # as likely as what is changed inside
        "right": "{path}",
        "closed form": "in the derivative of {here}: {inside}",
        "form of a formula": "in the derivative of {here} by {at}: {inside}",
        "form of a loss": "in the derivative of {loss} by {at}: {inside}",
        "recomputed": "{of}, {what} is worked out wrongly: {inside}",
        "arriving recomputed": "{path}: what arrives there is worked out wrongly: {inside}",
    },
    Tier.KNOWN: {
        "detach ignored": "δ flows to {at}, which is detached there: the reference holds it constant",
        "derivative as 1": "the derivative of {here} is missing: {f}' is taken as 1",
        "mask inverted": "the mask of {here} is inverted",
        "at the result": "the derivative of {here} is evaluated at {here} itself, where {at} belongs",
        "at the negative": "the derivative of {here} is evaluated at {minus}",
        "exponent lost": "the exponent is left out as a factor in the derivative of {here} by {at}",
        "mask left out": "the mask of {here} is left out: δ flows to {at} everywhere",
        "choice inverted": "the mask of {here} is inverted: δ flows to {at} where it should not",
        "matrix left out": "{of}, the factor {what} is left out (taken as 1)",
        "factor left out": "{of}, {the_factor} {what} is left out",
        "divisor not squared": "{of}, it is divided by {what}, not by its square",
        "kernel flipped": "{of}, {what} is flipped (reversed along its taps) where it should not be, or the reverse",
        "plain mean": "in the derivative of {here}: the plain mean of δ stands for sum(δ · p), that weighted with p",
        "tiled": "δ of {here} is repeated as a whole (tiled) where each of its numbers should be repeated",
        "to every element": "δ of {here} goes to every element, not only where the largest or smallest stands",
        "to one element": "δ of {here} goes to the {which} element, not to where the largest or smallest stands",
        "largest only": "δ of {here} goes to the largest element only: 1 at the maximum stands for the softmax",
        "padding row": "row {row} of {at}, the padding, gets a gradient too",
        "row overwritten": (
            "what belongs to the same row of {at} overwrites each other where it should add up (accumulate): only the "
            "{which} is left"
        ),
        "other setting": "δ of {here} is put back as if the {setting} were {value}, not {right}",
        "padded and cut": "{of}, the input stands with padding {value}, not {right}, and δ is cut off to fit",
        "one position only": (
            "{of}, what the positions give overwrites each other where it should add up: only the {which} position is "
            "left"
        ),
        "windows overwritten": (
            "windows of {here} that overlap overwrite each other where they should add up: only the {which} is left"
        ),
        "first of a window": "of every window of δ of {here} only the first number counts, where their sum belongs",
        "window averaged": "δ of {here} is averaged over every window, where the sum belongs",
        "summed as tiled": (
            "δ of {here} is summed as if it were tiled: over numbers that are far apart, not over a window"
        ),
        "padding not counted": (
            "δ of {here} is divided by the numbers there are, not by the whole window, at the borders"
        ),
        "padding counted": "δ of {here} is divided by the whole window, padding and all, at the borders",
        "stride of 1": "δ of {here} is put back as if the stride were 1, not {right}",
        "to the whole window": "δ of {here} goes to every element of the window, not only to the largest",
        "to the smallest": "δ of {here} goes to the smallest element of the window, not to the largest",
        "to the first": "δ of {here} goes to the first element of each window, not to its largest",
        "evenly over the window": "δ of {here} is spread evenly over the window, as for a mean",
        "maxima overwritten": "δ of {here} overwrites that of another window where the two should add up",
        "not reversed": "δ is put through {f} as it is, not reversed",
        "taps flipped": "the derivative of {here} by {at} is flipped (reversed along its taps)",
        "formula not transposed": "δ is put through {here} as in the forward pass, where its transpose belongs",
        "weights of a mixture": "in the derivative of {late}, {weights} stands for the softmax of its terms{kept}",
        "softmax for its logarithm": (
            "in the derivative of {here} by {at}: p · (δ − sum(δ · p)), that of the softmax, stands for δ − p · sum(δ)"
        ),
        "δ exchanged": "δ of {one} and δ of {two} are swapped",
        "one turn only": (
            "the turns of the loop overwrite each other in the gradient of {at}: only the {which} one counts"
        ),
    },
    Tier.RARE: {
        "derivative twice": "the derivative of {here} is applied twice",
        "exp less 1": "the derivative of {here} is wrong: exp(z) − 1, with z = {at}, stands for it",
        "mask of δ": "the mask of {here} is taken from δ, not from {at}",
        "exponent alone": "the derivative of {here} is taken as its exponent alone: the power is left out",
        "exponent not lowered": "the derivative of {here} has its exponent not lowered by 1",
        "logarithm lost": "the logarithm of the base is missing in the derivative of {here} by its exponent",
        "factor twice": "{of}, {the_factor} {what} is applied twice",
        "divisor left out": "{of}, it is not divided by the square of {what}",
        "divisor cubed": "{of}, it is divided by the cube of {what}, not by its square",
        "factor not transposed": "{of}, {what} is not transposed as it should be",
        "element by element": "{of}, δ · {what} is taken element by element: δ is not summed over axis 1 before",
        "lookups averaged": "{of}, what is looked up several times is averaged where it should be added up",
        "uniform": "{of}, 1/{size} throughout stands where {what} belongs",
        "as in training": (
            "{of}, the means of δ and of δ · y are subtracted as in training, though mean and deviation are constant"
        ),
        "other axes": "on the way back through {here} the sum of δ runs over {axes}, not over its axis",
        "another group": "{of}, the kernels of another group stand where those of the group belong",
        "only reshaped": "δ is only reshaped where it should be transposed back, at {here}",
        "transposed": "the derivative of {here} by {at} is transposed",
        "δ not transposed": "δ of {here} is not transposed as it should be",
        "both not transposed": "in the derivative of {here} both factors around δ are not transposed",
        "formula as 1": "the derivative of {here} by {at} is missing (taken as 1)",
    },
    Tier.ODD: {
        "at another quantity": "the derivative of {here} is evaluated at {other}, where {at} belongs",
        "derivative divides": "the derivative of {here} is divided by where it should be multiplied with",
        "other formula": "the derivative of {here} is wrong: {formula} stands for it, {letters}",
        "factor inverted": "{of}, {what} is divided by where it should be multiplied with, or the reverse",
        "root of a factor": "{of}, {root_for_it} {what}",
        "factor's absolute": "{of}, |{what}| stands for {what}",
        "factor's sign": "{of}, the sign of {what} stands for {what}",
        "factor's complement": "{of}, {complement} stands where {what} belongs",
        "another factor": "{of}, {other} stands where {what} belongs",
        "rolled": "the derivative of {here} by {at} is rolled by {by} along axis {axis}",
        "shifted": "the derivative of {here} by {at} is shifted by {by}, with zeros, along axis {axis}",
        "reversed": "the derivative of {here} by {at} is reversed along axis {axis}",
        "halves exchanged": (
            "the derivative of {here} by {at} is made of its two halves in the other order along axis {axis}"
        ),
        "summed too": "the derivative of {here} by {at} is summed over axis {axis} too",
        "averaged too": "the derivative of {here} by {at} is averaged over axis {axis} too",
        "δ as 1": "{of}, δ is left out (taken as 1)",
        "δ at one place": "{of}, only the {which} number of δ along axis {axis} counts",
        "another δ": "{of}, {another_up}",
    },
    Tier.FAR: {
        "root of the derivative": "the root of the derivative of {here} is taken",
        "formula too much": "the derivative of {here} has a factor {formula} too much, {letters}",
        "formula lacking": "the derivative of {here} lacks a factor {formula}, {letters}",
        "quantity too much": "{path} has a factor {quantity} too much",
        "quantity lacking": "{path} lacks a factor {quantity}, or is divided by it",
        "mean of δ": "{of}, the mean of δ over axis {axis} stands for δ",
        "sum of δ": "{of}, the sum of δ over axis {axis} stands for δ",
    },
    Tier.FARTHEST: {
        "root too much": "{path} has a factor √({quantity}) too much",
        "root lacking": "{path} lacks a factor √({quantity}), or is divided by it",
    },
})  # fmt: skip
