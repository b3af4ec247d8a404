"""The digits, and the order in which they are seen.

files.py    finds, proves and unpacks the idx files
mnist.py    loads them as NumPy arrays
batches.py  draws the order of the batches
augment.py  turns, shifts and resizes the digits a little, for training

Importing this package does not import torchvision; only load() does.
"""

from handgrad.data.augment import AUGMENTATIONS, Augmentation, move
from handgrad.data.batches import batch_order, order_hash, steps_per_epoch
from handgrad.data.mnist import NAMES, DataError, Dataset, Digits, load, scale

__all__ = [
    "AUGMENTATIONS",
    "NAMES",
    "Augmentation",
    "DataError",
    "Dataset",
    "Digits",
    "batch_order",
    "load",
    "move",
    "order_hash",
    "scale",
    "steps_per_epoch",
]
