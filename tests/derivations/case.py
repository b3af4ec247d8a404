"""One shape for every derivation that is put to a check: planted faults, strangers' files, right ones, unseen ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from handgrad.compare.checking.draws import Draw, Drawn
from handgrad.compare.checking.layers import layer_inputs
from handgrad.compare.checking.losses import loss_inputs
from handgrad.compare.checking.references import optimizer_factory
from handgrad.compare.checking.rules import rule_inputs
from handgrad.compare.foundation.validation import DTYPES, choose
from handgrad.compare.judge.calls import CallSides
from handgrad.compare.judge.derivations import Functions
from handgrad.compare.judge.sides import Arrays, LayerSides, LossSides, Sides
from handgrad.compare.judge.trajectories import TrajectorySides

KINDS = LAYER, LOSS, RULE, STEP = ("layer", "loss", "update rule", "training step")


@dataclass(frozen=True)
class Derivation:
    """A derivation beside its reference, and what is so of it: right where no tensor is named to differ.

    `differs` has every tensor that a check must report; it may report no other. Each has patterns (regular
    expressions): every one must be in a cause that is named for the tensor, and every cause must have one. There are
    none where a person must read the causes. "theta" stands for every "theta after step k".
    """

    name: str
    kind: str  # one of KINDS
    ours: Any  # what check takes; of a training step a function that makes one
    reference: Any
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of check
    differs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    truth: str = ""  # what is wrong, in a sentence, where the name does not say it
    origin: str = ""  # who wrote it, and when
    group: str = ""  # what it is counted with: the size of its fault, or what is special about its inputs
    inputs: Arrays = field(default_factory=dict)  # of both sides, where they are given and not drawn

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(
                f"{self.name}: the kind must be one of {', '.join(KINDS)}, got {self.kind!r}: take one of these"
            )
        for tensor, patterns in self.differs.items():
            if isinstance(patterns, str):
                raise TypeError(
                    f"{self.name}: the patterns of {tensor} must be a tuple, got the string {patterns!r}: write (…,)"
                )

    @property
    def right(self) -> bool:
        """Whether a check must find nothing."""
        return not self.differs

    @property
    def sides(self) -> Sides:
        """The two sides, as `check` makes them."""
        if self.kind == RULE:
            return TrajectorySides(self.ours, optimizer_factory(self.ours, self.reference))
        if self.kind == LOSS:
            return LossSides(self.ours, self.reference)
        if isinstance(self.ours, tuple):
            return CallSides(Functions(*self.ours), self.reference, ("x",))
        return LayerSides(self.ours, self.reference)

    def draws(self) -> list[Draw]:
        """The inputs of both sides as `check` draws them."""
        return self._drawn().draws

    def _drawn(self) -> Drawn:
        options = {"inputs": None, "params": None, "dy": None, "learning_rate": 0.01, "steps": None, "seed": 0}
        options |= {"x": None, **self.arguments}
        args, of = (self.ours, self.reference), options.__getitem__
        name = options.get("dtype", "float64")
        dtype = choose("dtype", name, DTYPES)
        if self.kind == RULE:
            return rule_inputs(*args, of("theta"), of("learning_rate"), of("steps"), dtype, of("seed"))
        if self.kind == LOSS:
            return loss_inputs(*args, of("output"), of("target"), dtype, of("seed"))
        return layer_inputs(*args, of("x"), of("inputs"), of("params"), of("dy"), name, of("seed"))


def kind_of(arguments: Mapping[str, Any]) -> str:
    """The kind of a derivation, which the arguments of `check` show."""
    return RULE if "theta" in arguments else LOSS if "output" in arguments else LAYER
