"""Every kind of factor: how likely it is, and what is said of it; `sentences` fills in the braces."""

from __future__ import annotations

from handgrad.compare.diagnosis.likelihood import Tier, kinds

# A factor of a path, or of the whole gradient. General ones come with their likelihood.
FACTORS = kinds({
    Tier.NONE: {
        "sign": "the sign is flipped",
        "general": "{text}",
    },
    Tier.OWN: {
        "constant left out": "the {constant} {number} is left out",
        "window not divided": "not divided by {whole}, {of_what}, in {here}",
        "window divided twice": "divided by {whole}, {of_what}, once too often, in {here}",
        "window divided in part": "divided by {part} only, not by {whole}, {of_what}, in {here}",
        "enlargement averaged": "averaged over the {whole} numbers that {here} makes of one, where their sum belongs",
        "own left out": "the {constant} {number} of {here} is left out",
        "own twice": "the {constant} {number} of {here} is applied twice",
        "own misplaced": "the {constant} {number} of {here} is applied here too, where it does not belong",
    },
    Tier.LOST: {
        "constant twice": "the {constant} {number} is applied twice",
        "another constant": "{other} stands for {number}",
    },
    Tier.KNOWN: {
        "constant misplaced": "{multiplied} {number}, which does not belong there",
        "one minus a constant": "1 − {number} stands for {number}",
        "own of another size": "the {constant} {number} of {here} is {other} here",
    },
    Tier.RARE: {
        "size": "{size} times too {large}: {divided} {size}, the size of an axis",
        "constant of another size": "the {constant} {number} is {other}",
    },
    Tier.ODD: {
        "round": "a factor {text} too much{lost}",
    },
    Tier.FAR: {
        "root of a size": "√{size} times too {large}: {divided} the root of {size}, the size of an axis",
    },
})  # fmt: skip
# A quantity of the reference as a factor of the whole gradient.
WHOLES = kinds({
    Tier.RARE: {
        "whole too much": "a factor {quantity} too much",
        "whole lacking": "a factor {quantity} is missing",
    },
    Tier.FAR: {
        "whole lacking twice": "a factor {quantity} is missing twice",
        "multiplied too late": (
            "it is multiplied with {quantity} at the end, after the rest of the derivative, where it belongs before it"
        ),
        "divided too late": (
            "it is divided by {quantity} at the end, after the rest of the derivative, where it belongs before it"
        ),
    },
})  # fmt: skip
