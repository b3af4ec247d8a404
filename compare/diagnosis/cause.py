"""A cause as a structure: which edit of the right derivation, where, with which constant, and what it leaves.

Its sentence is made last, for people; no logic reads it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """What is wrong with one output, so far as it was worked out.

    edit          the name of the edit, a key of the table of likelihoods
    phrase        the edit in words, with its place: what a person reads
    where         the operation, line, setting or tensor that is edited, as a formula or a name; empty for the whole
    constant      the name of the factor that comes with the edit; empty where there is none
    residual      what is left of the difference once the edit has been applied, as a fraction of the bound; None where
                  nothing was applied, because the cause was observed and not tried
    alternatives  other causes that give the same numbers
    """

    edit: str
    phrase: str
    where: str = ""
    constant: str = ""
    residual: float | None = None
    alternatives: tuple[Cause, ...] = ()

    def __str__(self) -> str:
        if self.residual is None:
            return self.phrase
        return f"{self.phrase} (applying it leaves {self.residual:.2g} of the bound)"
