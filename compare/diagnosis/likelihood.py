"""How likely an edit is: the tiers by which explanations are preferred.

Which kind of edit is of which tier stands in the tables of kinds: `graph/edits/kinds_of_steps`,
`graph/edits/kinds_of_operations`, `graph/factor_kinds`, `rules/kinds`.

An edit's complexity is its tier. Complexities of several edits add up, and the explanation with the lowest is named
first; so two edits are less likely than any one.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple


class Tier(IntEnum):
    """What a tier means, the likeliest first."""

    NONE = 0  # nothing is wrong
    SIGN = 8  # a sign, and nothing else
    OWN = 9  # a number of the reference's own formula is lost, or used where it does not belong
    LOST = 10  # a term, a line or a sign is lost: what everyone forgets some day
    KNOWN = 11  # a mistake that textbooks warn of, or that the operation invites
    RARE = 12  # a mistake that people make, but seldom
    ODD = 13  # another quantity in a place: so many are tried that one may fit by chance
    FAR = 14  # a quantity as a factor that nothing invites
    FARTHEST = 15  # its root
    NAMELESS = 20  # a number that was fitted and has no name


# Small steps on top of a tier.
ALONG_A_PATH = 1  # a factor of one path, beside one of the whole gradient
LESS = 1  # a formula that is seldom seen in derivatives; a small number, which is more often an exponent than a size
DEEPER = 1  # seen only where the reference is taken apart further; in a form, several edits of one kind
CARRIED = 1  # an edit of the forward pass whose values are put into the right derivative
WHOLE = 2  # in a closed form of what is said better as a whole
MOVED = 2  # at an operation that only moves numbers about: it is said better elsewhere
RECOMPUTED = 2  # in a quantity that the derivation works out anew
COMPUTED = 2  # in a constant that the reference works out: it has a simpler story more often
STANDS = -2  # a constant lost at the very operation where it stands
AND_SIGN = 9  # a factor with the wrong sign too


class Kind(NamedTuple):
    """What is the same of all edits of one kind: its likelihood, and the phrase for it."""

    tier: Tier
    phrase: str


def kinds(tiers: Mapping[Tier, Mapping[str, str]]) -> dict[str, Kind]:
    """A table of kinds by their names, from one that is ordered by likelihood."""
    return {name: Kind(tier, phrase) for tier, phrases in tiers.items() for name, phrase in phrases.items()}
