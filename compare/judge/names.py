"""The names of stages, and of the inputs and outputs of two sides. No other file makes or takes apart such a name."""

from __future__ import annotations

from typing import Any

# Inputs.
X, DY = "x", "dy"  # of a layer, beside its parameters
TARGET = "target"  # of a loss, beside the network's OUTPUT
THETA, GRAD, GRADS, LEARNING_RATE = "theta", "grad", "grads", "learning rate"  # of an update, or of many
_PARAMETER = "parameter "

# Outputs.
OUTPUT, INPUT_GRADIENT = "output", "input gradient"
LOSS, LOSS_GRADIENT = "loss", "loss gradient"
DERIVATION = "derivation"  # stands for all outputs of code that raises
_GRADIENT, _THETA_AFTER = "gradient of ", "theta after step "

# Stages of a step.
FORWARD, PARAMETER_GRADIENTS = "forward", "parameter gradients"
_LOSS_STAGE, _UPDATE_STAGE = "loss · ", "update · "
PHASES = FORWARD_PHASE, BACKWARD_PHASE, UPDATE_PHASE = ("forward", "backward", "update")


def parameter(name: str) -> str:
    """The name under which a parameter stands among the inputs."""
    return _PARAMETER + name


def gradient_of(name: str) -> str:
    """The name under which a parameter's gradient stands among the outputs."""
    return _GRADIENT + name


def theta_after(steps: int) -> str:
    """The name under which θ after so many steps stands among the outputs."""
    return f"{_THETA_AFTER}{steps}"


def steps_of(output: str) -> int | None:
    """After how many steps this output is θ; None for any other output."""
    return int(output.removeprefix(_THETA_AFTER)) if output.startswith(_THETA_AFTER) else None


def parameters_among(inputs: dict[str, Any]) -> dict[str, Any]:
    """The parameters among the inputs, by their own names."""
    return {k.removeprefix(_PARAMETER): v for k, v in inputs.items() if k.startswith(_PARAMETER)}


def parameter_of(output: str) -> str:
    """The parameter whose gradient an output is; empty for any other output."""
    return output.removeprefix(_GRADIENT) if output.startswith(_GRADIENT) else ""


def is_forward(output: str) -> bool:
    """Whether an output is that of a forward pass."""
    return output in (OUTPUT, LOSS)


def is_theta(output: str) -> bool:
    """Whether an output is θ after one step or several, and not the state of an update rule."""
    return output == THETA or output.startswith(_THETA_AFTER)


def differentiated(output: str) -> tuple[str, str] | None:
    """(input, output) where this output is ∂ output / ∂ input of the other two; None where it is no gradient."""
    if name := parameter_of(output):
        return parameter(name), OUTPUT
    return {INPUT_GRADIENT: (X, OUTPUT), LOSS_GRADIENT: (OUTPUT, LOSS)}.get(output)


def layer_name(index: int, layer: Any) -> str:
    """A layer as reports name it: 0 · Linear."""
    return f"{index} · {type(layer).__name__}"


def layer_stage(index: int, layer: Any, what: str) -> str:
    """A stage of a layer."""
    return f"{layer_name(index, layer)} · {what}"


def loss_stage(loss: Any) -> str:
    """The stage of a loss."""
    return f"{_LOSS_STAGE}{type(loss).__name__}"


def update_stage(rule: Any) -> str:
    """The stage of an update rule."""
    return f"{_UPDATE_STAGE}{type(rule).__name__}"


def learning_rate_stage(schedule: Any) -> str:
    """The stage of a schedule."""
    return f"learning rate · {type(schedule).__name__}"


def phase_of(stage: str) -> str:
    """Which of the PHASES of a step a stage belongs to; none for the learning rate and the step as a whole."""
    if stage.endswith(f" · {FORWARD}") or stage.startswith(_LOSS_STAGE):
        return FORWARD_PHASE
    if stage.startswith(_UPDATE_STAGE):
        return UPDATE_PHASE
    backward = stage == LOSS_GRADIENT or stage.endswith((f" · {INPUT_GRADIENT}", f" · {PARAMETER_GRADIENTS}"))
    return BACKWARD_PHASE if backward else ""
