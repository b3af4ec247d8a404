"""The order in which a run sees its examples, as a pure function of (seed, epoch).

Both engines take the same list, so they see the same examples in the same order; nothing here
depends on what was drawn before, so any epoch can be had again on its own.
"""

import hashlib

import numpy as np
import numpy.typing as npt

__all__ = ["batch_order", "order_hash", "steps_per_epoch"]


def batch_order(count: int, batch_size: int, seed: int, epoch: int) -> list[npt.NDArray[np.int64]]:
    """The batches of one epoch: int64 (batch_size,) arrays of indices into ``count`` examples.

    Every index comes exactly once; the last batch is shorter where the division leaves a rest.
    Raises ValueError as steps_per_epoch does, and for a negative seed or epoch.
    """
    steps = steps_per_epoch(count, batch_size)
    for name, value in (("seed", seed), ("epoch", epoch)):
        _require_whole(name, value)
        if value < 0:
            raise ValueError(f"expected {name} >= 0, got {value}; choose 0 or a larger {name}")
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return [order[step * batch_size : (step + 1) * batch_size] for step in range(steps)]


def steps_per_epoch(count: int, batch_size: int) -> int:
    """The number of batches in one epoch, the last short one included.

    Raises ValueError for count < 1, batch_size < 1 and batch_size > count, and for what is no whole number.
    """
    for name, value in (("count", count), ("batch size", batch_size)):
        _require_whole(name, value)
    if count < 1:
        raise ValueError(f"expected at least 1 example, got {count}; choose a larger count")
    if batch_size < 1:
        raise ValueError(f"expected batch size >= 1, got {batch_size}; choose 1 for one example at a time")
    if batch_size > count:
        raise ValueError(
            f"expected batch size <= {count}, the number of examples, got {batch_size}; "
            f"choose {count} for full batches, or use more examples"
        )
    return -(-count // batch_size)


def _require_whole(name: str, value: object) -> None:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise ValueError(f"expected {name} to be a whole number, got {value!r}; choose one")


def order_hash(count: int, batch_size: int, seed: int, epochs: int) -> str:
    """sha256 (64 hex digits) of all indices of all batches of epochs 0 .. epochs - 1.

    The length of each batch is hashed ahead of its indices, so the same permutation cut otherwise
    has another hash. Raises ValueError as batch_order does, and for epochs < 0.
    """
    if epochs < 0:
        raise ValueError(f"expected epochs >= 0, got {epochs}; choose 0 or more")
    digest = hashlib.sha256()
    for epoch in range(epochs):
        for batch in batch_order(count, batch_size, seed, epoch):
            digest.update(len(batch).to_bytes(8, "little"))
            # A fixed byte order, so that every machine has the same hash.
            digest.update(batch.astype("<i8").data)
    return digest.hexdigest()
