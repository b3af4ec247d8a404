"""The digits, and the order in which they are seen.

files.py    finds, proves and unpacks the idx files
mnist.py    loads them as NumPy arrays
batches.py  draws the order of the batches

Importing this package does not import torchvision; only load() does.
"""

from data.batches import batch_order, order_hash, steps_per_epoch
from data.mnist import NAMES, DataError, Dataset, Digits, load, scale

__all__ = [
    "NAMES",
    "DataError",
    "Dataset",
    "Digits",
    "batch_order",
    "load",
    "order_hash",
    "scale",
    "steps_per_epoch",
]
