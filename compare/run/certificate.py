"""The start certificate: hashes of what both sides start from."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from handgrad import data
from handgrad.compare.judge.sides import as_array
from handgrad.compare.run.experiment import Experiment, Setup
from handgrad.compare.run.stream import Stream
from handgrad.torch_ref import parameters as torch_parameters

HASHED_EPOCHS = 10  # of the batch order, in the start certificate: a million would take an hour


def certificate(e: Experiment, dataset: data.Dataset, stream: Stream, setup: Setup) -> dict[str, dict[str, str]]:
    """SHA-256 of θ₀, the first inputs and the first batch as each side holds them, and of batch order and data set.

    One stream of batches from one data set feeds both sides, so the last two are computed once and stand for both.
    """
    digits = dataset.train
    epochs = min(-(-stream.steps // stream.steps_per_epoch), HASHED_EPOCHS)
    order = data.order_hash(len(digits), e.batch_size, e.seed, epochs)
    digest = dataset.hash()
    theta = as_array(torch_parameters.flat(setup.model))
    sample = data.scale(digits.images[:1000], stream.dtype)
    first = next(stream.batches()).x[:1000]  # as the run will be fed, augmentation and all
    return {
        "theta": {"manual": _sha256(setup.theta), "torch_ref": _sha256(theta)},
        "batches": {"manual": order, "torch_ref": order},
        "data": {"manual": _sha256(sample), "torch_ref": _sha256(_on_torch(sample, e.device))},
        "first_batch": {"manual": _sha256(first), "torch_ref": _sha256(_on_torch(first, e.device))},
        "dataset": {"manual": digest, "torch_ref": digest},
    }


def _on_torch(x: np.ndarray, device: str) -> np.ndarray:
    """What torch holds when it is given x, brought back."""
    return as_array(torch.from_numpy(x).to(device))


def _sha256(x: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest()
