"""The digits, and the order in which they are seen.

choices.py  the names of the data sets and of the augmentations
files.py    finds, proves and unpacks the idx files
mnist.py    loads them as NumPy arrays
batches.py  draws the order of the batches
augment.py  turns, shifts and resizes the digits a little, for training

Each module says in its `__all__` what it offers here. Only load() imports torchvision.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from handgrad.data.augment import *
    from handgrad.data.batches import *
    from handgrad.data.mnist import *


def __getattr__(name: str) -> Any:
    """Import NumPy only when something that needs it is asked for: `handgrad --help` must not wait for it."""
    for module in (import_module(f"handgrad.data.{file}") for file in ("augment", "batches", "mnist")):
        if name in module.__all__:
            globals()[name] = getattr(module, name)
            return globals()[name]
    raise AttributeError(f"module 'handgrad.data' has no attribute {name!r}")
