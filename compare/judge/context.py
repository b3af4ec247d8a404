"""What a judged layer, loss or update rule is given of the step that it takes part in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from handgrad import manual
from handgrad.compare.judge.sides import Arrays, Sides
from handgrad.compare.judge.torch_step import TorchStep


class Question(NamedTuple):
    """One output of a stage, as the arbiter, the two-precision tolerance and the diagnosis ask about it."""

    sides: Sides
    inputs: Arrays  # torch's
    output: str  # its name among the outputs of the two sides
    layer: int | None = None  # where the stage is one of a layer


Probe = Callable[[], Question]  # made only when it is needed


class Settle(Protocol):
    """Judges one tensor of a stage, and returns torch's in its place."""

    def __call__(
        self, stage: str, tensor: str, ours: Any, theirs: Any, by_two_precision: bool, probe: Probe
    ) -> Any: ...


class StepContext:
    """Torch's record of the step that is being judged, and where results are settled."""

    def __init__(self, network: manual.Network, settle: Settle) -> None:
        self.network, self.settle = network, settle
        self.record: TorchStep
        self.gradients: list[manual.Params]  # torch's, by layer

    def begin(self, record: TorchStep) -> None:
        """Go on to the next step."""
        self.record, self.gradients = record, self.network.views(record.grad)

    def parameters(self, layer: int) -> manual.Params:
        """Torch's parameters of a layer before the step."""
        return self.network.views(self.record.theta)[layer]
