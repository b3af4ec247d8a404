"""What comes of a check that could be made; one that could not raises UsageError instead."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """The verdict on a tensor, or on all of a check."""

    AGREES = "agrees"
    DIFFERS = "differs"
    # Nothing differs, but a wrong derivation would not either: no number was compared, the tolerance hides any, or
    # something that the two sides do was never reached.
    UNDECIDED = "not decided"


WAYS_ON = 'give inputs= that show more, or accept={"undecided"}'
