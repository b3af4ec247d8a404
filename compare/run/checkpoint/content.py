"""What a checkpoint holds: everything that a run has made so far, and nothing that its settings give again.

The batches are a pure function of the settings and the step, so the step is all that is needed of them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from handgrad.compare.judge.ledger import Disagreement, Ledger, StageRow
from handgrad.compare.judge.sides import Arrays, as_array
from handgrad.compare.judge.torch_step import TorchStep
from handgrad.compare.run.checkpoint.files import Damaged
from handgrad.compare.run.checkpoint.log_state import Logged
from handgrad.compare.run.checkpoint.records import as_plain, revive
from handgrad.compare.run.experiment import Experiment
from handgrad.compare.run.lockstep import Lockstep, as_tensors
from handgrad.compare.run.progress import Progress
from handgrad.torch_ref import parameters as torch_parameters

DOCUMENT = "document"  # the entry of an archive that holds the Document, as UTF-8 JSON
GENERATOR = "torch_ref/generator"  # torch's random state, for a reference that draws
GRADIENT = "judge/previous gradient"
# What no two runs have alike; all else in a checkpoint is the same bytes whenever the run is the same.
TIMES = ("seconds", "elapsed", "log")


@dataclass
class Document:
    """All of a checkpoint that is no array."""

    settings: str  # the hash of the experiment
    certificate: dict[str, dict[str, str]]
    progress: dict[str, Any]  # the fields of Progress, but for the records of the last step
    rows: list[StageRow]
    disagreements: list[Disagreement]
    previous: int | None  # the step judged last, whose gradient is GRADIENT
    rate: tuple[float, float, float] | None  # RateJudge.before
    manual_state: dict[str, Any]  # what of an optimizer's state is no array: the number of its steps
    torch_state: dict[str, Any]
    scheduler: dict[str, Any]
    torch_rate: float  # the learning rate of torch's next step
    log: Logged | None
    elapsed: float  # seconds since the run began, without the times between its processes


def settings_hash(experiment: Experiment) -> str:
    """The SHA-256 of all settings, 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(experiment.as_json(), sort_keys=True).encode()).hexdigest()


def capture(run: Lockstep, log: Logged | None, elapsed: float) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint of a run that stands between two steps."""
    judge, sides = run.judge, run.sides
    states = {"manual": run.state, "torch_ref": _torch_state(run)}
    progress = as_plain({k: v for k, v in vars(run.progress).items() if k != "records"})
    number, record = judge.previous or (None, None)
    document = Document(
        settings=settings_hash(run.experiment),
        certificate=run.certificate,
        progress=progress,
        rows=list(judge.rows.values()),
        disagreements=judge.disagreements,
        previous=number,
        rate=run.rate_judge.before,
        manual_state={k: v for k, v in states["manual"].items() if not isinstance(v, np.ndarray)},
        torch_state={k: v for k, v in states["torch_ref"].items() if not isinstance(v, np.ndarray)},
        scheduler=_position(sides.scheduler),
        torch_rate=float(sides.torch_optimizer.param_groups[0]["lr"]),
        log=log,
        elapsed=elapsed,
    )
    arrays = {
        "manual/theta": run.theta,
        "torch_ref/theta": as_array(torch_parameters.flat(sides.model)),
        GENERATOR: torch.get_rng_state().numpy(),
        GRADIENT: np.empty(0, run.dtype) if record is None else record.grad,
    }
    for side, state in states.items():
        arrays |= {f"{side}/state/{k}": v for k, v in state.items() if isinstance(v, np.ndarray)}
    text = json.dumps(as_plain(document), ensure_ascii=False).encode()
    return {DOCUMENT: np.frombuffer(text, np.uint8), **arrays}


def read_document(arrays: dict[str, np.ndarray]) -> Document:
    """The Document of a checkpoint. Damaged where there is none."""
    try:
        document: Document = revive(Document, json.loads(arrays[DOCUMENT].tobytes()))
    except (KeyError, ValueError, RecursionError) as problem:
        raise Damaged(f"its {DOCUMENT} is none of ours: {problem}") from None
    return document


def restore(run: Lockstep, arrays: dict[str, np.ndarray]) -> Document:
    """Put a run where the checkpoint was taken. Damaged where it is of another run, or has not what a run has."""
    document = read_document(arrays)
    if document.settings != settings_hash(run.experiment):
        raise Damaged("it was made with other settings")
    if document.certificate != run.certificate:
        raise Damaged("it began from other weights or other data than this run")
    try:
        _restore(run, arrays, document)
    except (KeyError, ValueError, TypeError, RuntimeError) as problem:
        raise Damaged(f"its content does not fit this run: {problem}") from None
    return document


def _restore(run: Lockstep, arrays: dict[str, np.ndarray], document: Document) -> None:
    sides, judge, like = run.sides, run.judge, run.theta
    progress = revive(Progress, {**document.progress, "records": {}})
    if not 0 <= progress.step < run.steps:
        raise ValueError(f"step {progress.step} of a run of {run.steps}")
    theta = {side: _like(like, arrays[f"{side}/theta"]) for side in ("manual", "torch_ref")}
    inputs = {"theta": like, "grad": np.zeros_like(like), "learning rate": 0.0, **sides.optimizer.init(like)}
    with np.errstate(all="ignore"):
        expected = judge.optimizer_sides.manual(inputs), judge.optimizer_sides.torch(inputs)
    state = _state(expected[0], "manual", arrays, document.manual_state)
    torch_state = _state(expected[1], "torch_ref", arrays, document.torch_state)
    judge.previous = None
    if document.previous is not None:
        judge.previous = document.previous, _only_the_gradient(_like(like, arrays[GRADIENT]))
    now = _position(sides.scheduler)
    if {k: type(v) for k, v in now.items()} != {k: type(v) for k, v in document.scheduler.items()}:
        raise ValueError(f"the scheduler has {', '.join(now)}, not {', '.join(document.scheduler)}")

    torch.set_rng_state(torch.from_numpy(arrays[GENERATOR]))
    torch_parameters.load(sides.model, torch.from_numpy(theta["torch_ref"]))
    torch_parameters.load_state(sides.torch_optimizer, as_tensors(torch_state))
    sides.scheduler.load_state_dict(document.scheduler)
    for group in sides.torch_optimizer.param_groups:
        group["lr"] = document.torch_rate
    run.progress, run.rate_judge.before = progress, document.rate
    run.theta, run.state = theta["manual"], state
    run.torch_theta, run.torch_state = theta["torch_ref"], torch_state
    judge.ledger = Ledger(document.rows, document.disagreements)


def _torch_state(run: Lockstep) -> Arrays:
    return {k: as_array(v) for k, v in torch_parameters.flat_state(run.sides.torch_optimizer).items()}


def _like(like: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The array, if it has that shape and dtype; ValueError if not."""
    if (x.shape, x.dtype) != (like.shape, like.dtype):
        raise ValueError(f"expected {like.dtype} {like.shape}, got {x.dtype} {x.shape}")
    return x


def _state(expected: Arrays, side: str, arrays: dict[str, np.ndarray], scalars: dict[str, Any]) -> Arrays:
    """An optimizer's state, with the names, shapes and types that a step of it would give."""
    state: Arrays = {}
    for name, value in expected.items():
        if name == "theta":
            continue
        if isinstance(value, np.ndarray):
            state[name] = _like(value, arrays[f"{side}/state/{name}"])
        else:
            state[name] = revive(type(value), scalars[name])
    return state


def _position(scheduler: Any) -> dict[str, Any]:
    """All numbers in a scheduler's state; what is left are its settings."""
    return {k: v for k, v in scheduler.state_dict().items() if _is_numbers(v)}


def _is_numbers(x: Any) -> bool:
    return isinstance(x, (int, float)) or (isinstance(x, list) and all(isinstance(v, float) for v in x))


def _only_the_gradient(grad: np.ndarray) -> TorchStep:
    """The record of a step of which nothing but the gradient is asked again."""
    nothing = np.empty(0, grad.dtype)
    return TorchStep(nothing, nothing, 0.0, nothing, {}, [], nothing, [], grad, nothing, {})
