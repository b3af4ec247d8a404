"""Backpropagation by hand, in NumPy alone: a paper that runs.

Read in this order: `layer` (the notation), `linear`, `activations`, `losses`, `network`, `optimizers`,
`training`. Nothing here imports torch or any sibling package; that independence is the evidence.
"""

from handgrad.manual import training
from handgrad.manual.activations import Identity, LeakyReLU, ReLU, Sigmoid, Tanh
from handgrad.manual.layer import Array, Cache, Layer, Params
from handgrad.manual.linear import Linear
from handgrad.manual.losses import (
    BinaryCrossEntropy,
    BinaryCrossEntropyWithLogits,
    HalfSquaredError,
    Loss,
    MeanSquaredError,
    PerceptronCriterion,
    SoftmaxCrossEntropy,
)
from handgrad.manual.models import adaline, logistic_regression, mlp, perceptron
from handgrad.manual.network import Network
from handgrad.manual.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop
from handgrad.manual.schedules import Constant, Cosine, Exponential, OneCycle, Schedule, StepDecay

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Array",
    "BinaryCrossEntropy",
    "BinaryCrossEntropyWithLogits",
    "Cache",
    "Constant",
    "Cosine",
    "Exponential",
    "HalfSquaredError",
    "Identity",
    "Layer",
    "LeakyReLU",
    "Linear",
    "Loss",
    "MeanSquaredError",
    "Network",
    "OneCycle",
    "Optimizer",
    "Params",
    "PerceptronCriterion",
    "RMSprop",
    "ReLU",
    "Schedule",
    "Sigmoid",
    "SoftmaxCrossEntropy",
    "StepDecay",
    "Tanh",
    "adaline",
    "logistic_regression",
    "mlp",
    "perceptron",
    "training",
]
