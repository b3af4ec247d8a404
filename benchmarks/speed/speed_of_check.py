"""How long does it take to check the 13,002 gradients of the MNIST network, beside torch.autograd.gradcheck?

    python -m benchmarks.speed.speed_of_check

Both on one thread, on the 784-16-16-10 network with tanh, a batch of 32, float64. This project judges every stage of
one training step, gradients included, with `handgrad.compare.judge.stages.StepJudge`; the time is the median of many
steps, without and with torch's own step, from which the judge starts. gradcheck runs in its slow, full mode
(fast_mode=False) over all parameters of the same network and its loss, once and to the end.
"""

# ruff: noqa: E402  (the number of threads must be settled before NumPy is imported)

from __future__ import annotations

import argparse
import statistics
import sys
import time

from handgrad.compare.foundation import process

process.settle()  # before NumPy is imported

import numpy as np
import torch

from handgrad import torch_ref
from handgrad.compare.judge.stages import StepJudge
from handgrad.compare.pairs.table import OPTIMIZERS
from handgrad.compare.rounding.bounded import Precision
from handgrad.compare.run.experiment import Experiment, build
from tests.derivations.right.steps import records

BATCH, STEPS = 32, 50


def main(arguments: list[str] | None = None) -> int:
    """Time both."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args(arguments)
    torch.set_num_threads(1)
    e = Experiment(activation="tanh", batch_size=BATCH)
    sides = build(e, STEPS, STEPS)
    judge = StepJudge(
        sides.network, sides.loss, sides.optimizer, list(sides.model), sides.torch_loss,
        lambda params, rate: OPTIMIZERS["sgd"].torch(params, rate), Precision.of(np.float64),
    )  # fmt: skip
    ours = []
    for k, record in enumerate(records(sides, BATCH, STEPS)):
        started = time.perf_counter()
        judge.judge(k, record)
        ours.append(time.perf_counter() - started)
    assert not judge.disagreements

    x, target = torch.from_numpy(record.x), torch.from_numpy(record.target)
    theirs = []
    for _ in range(STEPS):
        started = time.perf_counter()
        torch_ref.training.step(sides.model, sides.torch_loss, sides.torch_optimizer, x, target)
        theirs.append(time.perf_counter() - started)

    names = [name for name, _ in sides.model.named_parameters()]
    parameters = tuple(p.detach().clone().requires_grad_() for p in sides.model.parameters())

    def loss(*values: torch.Tensor) -> torch.Tensor:
        named = dict(zip(names, values, strict=True))
        return sides.torch_loss(torch.func.functional_call(sides.model, named, (x,)), target)

    started = time.perf_counter()
    assert torch.autograd.gradcheck(loss, parameters, fast_mode=False)
    slow = time.perf_counter() - started

    judged, step = statistics.median(ours), statistics.median(theirs)
    print(f"{sum(p.numel() for p in parameters):,} gradients, batch {BATCH}, float64, one thread\n")
    print("| | seconds | gradcheck takes |\n| :-- | --: | --: |")
    print(f"| this project, every stage of a step judged | {judged:.5f} | {slow / judged:,.0f} times as long |")
    print(f"| the same and torch's own step | {judged + step:.5f} | {slow / (judged + step):,.0f} times as long |")
    print(f"| torch.autograd.gradcheck, fast_mode=False | {slow:.2f} | |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
