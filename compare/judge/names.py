"""The names of stages, and of the inputs and outputs of two sides. No other file makes or takes apart such a name."""

from __future__ import annotations

from typing import Any

# Inputs.
X, DY = "x", "dy"  # of a layer, beside its parameters; of a function, beside whatever else it takes
TARGET = "target"  # of a loss, beside the network's OUTPUT
THETA, GRAD, GRADS, LEARNING_RATE = "theta", "grad", "grads", "learning rate"  # of an update, or of many
_PARAMETER, _CONSTANT, _UPSTREAM = "parameter ", "constant ", "dy "

# Outputs.
OUTPUT, INPUT_GRADIENT = "output", "input gradient"
LOSS, LOSS_GRADIENT = "loss", "loss gradient"
DERIVATION = "derivation"  # stands for all outputs of code that raises
_GRADIENT, _OUTPUT, _AFTER = "gradient of ", "output ", " after step "

# Stages of a step.
FORWARD, PARAMETER_GRADIENTS = "forward", "parameter gradients"
_LOSS_STAGE, _UPDATE_STAGE = "loss · ", "update · "
PHASES = FORWARD_PHASE, BACKWARD_PHASE, UPDATE_PHASE = ("forward", "backward", "update")


def parameter(name: str) -> str:
    """The name under which a parameter stands among the inputs."""
    return _PARAMETER + name


def argument(name: str) -> str:
    """The name under which an argument that is differentiated by stands among the inputs."""
    return X if name == X else parameter(name)


def constant(name: str) -> str:
    """The name under which an argument that nothing is differentiated by stands among the inputs."""
    return _CONSTANT + name


def is_constant(name: str) -> bool:
    """Whether nothing is differentiated by an input."""
    return name.startswith(_CONSTANT)


def constants_among(inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs that nothing is differentiated by, by their own names."""
    return {k.removeprefix(_CONSTANT): v for k, v in inputs.items() if k.startswith(_CONSTANT)}


def gradient_of(name: str) -> str:
    """The name under which a parameter's gradient stands among the outputs."""
    return _GRADIENT + name


def argument_gradient(name: str) -> str:
    """The name under which the gradient of an argument stands among the outputs."""
    return INPUT_GRADIENT if name == X else gradient_of(name)


def output(part: str) -> str:
    """The name of a part of what a function returns; no part, or the part "output", is all of it, or its main one."""
    return OUTPUT if part in ("", OUTPUT) else _OUTPUT + part


def part_of(output: str) -> str:
    """The part of what a function returns that an output is; empty where that is all of it."""
    return output.removeprefix(_OUTPUT) if output.startswith(_OUTPUT) else ""


def upstream_of(output: str) -> str:
    """The name under which ∂J/∂output stands among the inputs."""
    return DY if output == OUTPUT else _UPSTREAM + part_of(output)


def part_of_upstream(name: str) -> str:
    """The part of what a function returns that an upstream gradient belongs to."""
    return name.removeprefix(_UPSTREAM) if name.startswith(_UPSTREAM) else ""


def is_upstream(name: str) -> bool:
    """Whether an input is an upstream gradient."""
    return name == DY or name.startswith(_UPSTREAM)


def theta_after(steps: int, name: str = THETA) -> str:
    """The name under which θ, or one tensor of it, stands among the outputs after so many steps."""
    return f"{name}{_AFTER}{steps}"


def steps_of(output: str) -> int | None:
    """After how many steps this output is θ; None for any other output."""
    _, after, steps = output.rpartition(_AFTER)
    return int(steps) if after else None


def parameters_among(inputs: dict[str, Any]) -> dict[str, Any]:
    """The parameters among the inputs, by their own names."""
    return {k.removeprefix(_PARAMETER): v for k, v in inputs.items() if k.startswith(_PARAMETER)}


def parameter_of(output: str) -> str:
    """The parameter whose gradient an output is; empty for any other output."""
    return output.removeprefix(_GRADIENT) if output.startswith(_GRADIENT) else ""


def is_forward(output: str) -> bool:
    """Whether an output is that of a forward pass."""
    return output in (OUTPUT, LOSS) or output.startswith(_OUTPUT)


def is_theta(output: str) -> bool:
    """Whether an output is θ after one step or several, and not the state of an update rule."""
    return output == THETA or _AFTER in output


def differentiated(output: str) -> str | None:
    """The input that an output is the gradient with respect to; None where it is no gradient."""
    if name := parameter_of(output):
        return parameter(name)
    return {INPUT_GRADIENT: X, LOSS_GRADIENT: OUTPUT}.get(output)


def input_symbol(name: str) -> str:
    """The letter for an input: ŷ for the output that a loss is given, else its own name."""
    return "ŷ" if name == OUTPUT else name.removeprefix(_PARAMETER).removeprefix(_CONSTANT)


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
