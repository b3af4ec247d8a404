"""torch, eager and compiled, as its own tutorials write a training step."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from benchmarks.speed.peers import ADAM_RATE, RATE, STEPS, Makers, Problem, Step, Unfit

torch.set_num_threads(1)


def eager(p: Problem) -> Step:
    """nn.Sequential, zero_grad, backward, step."""
    model = _model(p)
    return _step(p, model, model)


def compiled(p: Problem) -> Step:
    """The same with torch.compile(model), whose first call needs a C++ compiler."""
    model = _model(p)
    step = _step(p, model, torch.compile(model))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _step(p, copy := _model(p), torch.compile(copy)).run()
    except Exception as error:
        raise Unfit(f"torch.compile fails: {str(error).splitlines()[0]}") from None
    return step


def _model(p: Problem) -> torch.nn.Sequential:
    layers: list[torch.nn.Module] = []
    for W, b in p.params:
        linear = torch.nn.Linear(W.shape[1], W.shape[0], dtype=torch.from_numpy(W).dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(W))
            linear.bias.copy_(torch.from_numpy(b))
        layers += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def _step(p: Problem, model: torch.nn.Sequential, forward: torch.nn.Module) -> Step:
    x, target, loss = torch.from_numpy(p.x), torch.from_numpy(p.target), torch.nn.CrossEntropyLoss()
    optimizer: torch.optim.Optimizer
    scheduler = None
    if p.rule == "sgd":
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=ADAM_RATE)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, ADAM_RATE, STEPS, cycle_momentum=False)

    def run() -> None:
        optimizer.zero_grad()
        loss(forward(x), target).backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()

    return Step(run, lambda: np.array(model[0].weight.detach().numpy()))


makers: Makers = {"torch eager": eager, "torch.compile": compiled}
