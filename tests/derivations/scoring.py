"""What a check says of a derivation, and how that compares with what is so."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass

from handgrad import CheckFailed, check
from handgrad.compare.judge.names import is_theta
from tests.derivations.case import STEP, Derivation
from tests.derivations.wrong import steps

Said = dict[str, tuple[str, ...]]  # every tensor that differs, with its causes


def said_of(derivation: Derivation) -> Said:
    """What a check says, of a copy that keeps nothing from an earlier call."""
    if derivation.kind == STEP:
        return {d.tensor: d.causes for d in steps.judge(derivation.ours())}
    d = copy.deepcopy(derivation)
    try:
        report = check(d.ours, d.reference, name=d.name, **d.arguments)
    except CheckFailed as failed:
        report = failed.report
    said: Said = {}
    for finding in report.findings:
        if finding.differs:
            name = "theta" if is_theta(finding.tensor) else finding.tensor
            said[name] = tuple(dict.fromkeys((*said.get(name, ()), *finding.phrases)))
    return said


@dataclass(frozen=True)
class Score:
    """How well a fault was found."""

    caught: bool
    located: bool  # every faulty tensor and no other
    named: bool  # every cause of every tensor
    wrong: tuple[str, ...]  # causes named that are none


def score(derivation: Derivation, said: Said) -> Score:
    """Compare what was said with what is so."""
    differs = derivation.differs
    named = all(_named(patterns, said.get(tensor, ())) for tensor, patterns in differs.items())
    wrong = [
        f"{tensor}: {cause}"
        for tensor, causes in said.items()
        for cause in causes
        if not any(re.search(pattern, cause) for pattern in differs.get(tensor, ()))
    ]
    return Score(bool(said), said.keys() == differs.keys(), named, tuple(wrong))


def _named(patterns: tuple[str, ...], causes: tuple[str, ...]) -> bool:
    """Whether each pattern is in one of the causes."""
    return all(any(re.search(pattern, cause) for cause in causes) for pattern in patterns)
