"""What several tests share: one thread, real digits, and a small problem made by hand."""

# ruff: noqa: E402  (the number of threads must be settled before NumPy is imported)

from compare import process

process.settle()

import numpy as np
import pytest
import torch

import data

torch.set_num_threads(1)


def first(dataset: data.Dataset, train: int, test: int) -> data.Dataset:
    """The first few digits of a data set."""
    parts = [data.Digits(d.images[:n], d.labels[:n]) for d, n in ((dataset.train, train), (dataset.test, test))]
    return data.Dataset(dataset.name, *parts, dataset.classes)


@pytest.fixture(scope="session")
def mnist() -> data.Dataset:
    """All the digits."""
    return data.load("mnist")


@pytest.fixture(scope="session")
def digits(mnist: data.Dataset) -> data.Dataset:
    """1,000 real digits to train on, and 100 to test."""
    return first(mnist, 1000, 100)


@pytest.fixture(scope="session")
def square() -> data.Dataset:
    """64 examples of 16 pixels in 16 classes, so that every layer of a 16-16-16-16 network is square."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (80, 16), np.uint8)
    labels = rng.integers(0, 16, 80)
    return data.Dataset("square", data.Digits(images[:64], labels[:64]), data.Digits(images[64:], labels[64:]), 16)
