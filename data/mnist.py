"""Load a data set of 28x28 digits as read-only NumPy arrays.

>>> digits = load("mnist")
>>> len(digits.train), len(digits.test)
(60000, 10000)
"""

import hashlib
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from handgrad.data.choices import CLASSES
from handgrad.data.files import DataError, torchvision_class, unpacked_folder

__all__ = ["NAMES", "DataError", "Dataset", "Digits", "load", "scale"]

NAMES = tuple(CLASSES)
SIDE = 28


@dataclass(frozen=True, eq=False)
class Digits:
    """Images with their labels, given in any memory layout and byte order.

    images: uint8 (N, 784), read-only; the pixels of each image row by row, 0 to 255
    labels: int64 (N,), read-only; 0 to classes - 1

    Raises DataError for arrays of another dtype or shape, of different lengths, or of none at all.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        images, labels = np.asarray(self.images), np.asarray(self.labels)
        if images.dtype != np.uint8 or images.ndim != 2 or not images.size:
            raise DataError(
                f"images: expected uint8 (N, pixels) with N >= 1, found {images.dtype} {images.shape}; "
                "give each image as a row of bytes, 0 to 255"
            )
        if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
            raise DataError(
                f"labels: expected a whole number for each of {len(images)} images, found {labels.dtype} "
                f"{labels.shape}; give one class number per image"
            )
        # Views, so that the caller's own arrays stay writable; labels of another integer dtype are copied.
        for name, view in (("images", images.view()), ("labels", labels.astype(np.int64, copy=False).view())):
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Both parts of a data set; ``classes`` is the number of different labels.

    Raises DataError for labels outside 0 to classes - 1, and for images of different sizes.
    """

    name: str
    train: Digits
    test: Digits
    classes: int

    def __post_init__(self) -> None:
        for part, labels in (("train", self.train.labels), ("test", self.test.labels)):
            wrong = (labels < 0) | (labels >= self.classes)
            if wrong.any():
                index = int(wrong.argmax())
                raise DataError(
                    f"{self.name}, {part}: expected labels from 0 to {self.classes - 1}, found {labels[index]} at "
                    f"index {index}; correct the labels, or the number of classes"
                )
        sizes = self.train.images.shape[1], self.test.images.shape[1]
        if sizes[0] != sizes[1]:
            raise DataError(
                f"{self.name}: expected images of one size, found {sizes[0]} pixels in train and {sizes[1]} in "
                "test; bring them to one size"
            )

    def hash(self) -> str:
        """sha256 (64 hex digits) of the bytes of train images, train labels, test images, ..."""
        digest = hashlib.sha256()
        for part in (self.train, self.test):
            digest.update(np.ascontiguousarray(part.images).data)
            digest.update(part.labels.astype("<i8").data)
        return digest.hexdigest()


def scale(images: npt.NDArray[np.uint8 | np.float32], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Grey levels 0..255 as a new array of the float type ``dtype`` and the same shape, in [0, 1].

    Meant for one batch at a time: MNIST is 55 MB as bytes and 439 MB as float64.
    """
    if np.dtype(dtype).kind != "f":
        raise ValueError(f"scale: expected a float dtype, got {np.dtype(dtype)}; choose float64 or float32")
    scaled = images.astype(dtype)
    scaled /= 255
    return scaled


def load(name: str = "mnist", data_dir: Path | str | None = None) -> Dataset:
    """Load ``name``, one of NAMES, from ``data_dir``, or from where it lies by default.

    By default mnist is the shipped copy, and any other set lies in the user's cache. ``data_dir``
    is a torchvision root or the folder with the idx files themselves, packed or only unpacked.
    mnist is never downloaded; another set is, where none of its files is there.

    Raises ValueError for an unknown name and DataError for data missing or damaged.
    """
    classes = len(torchvision_class(name).classes)
    try:
        folder = unpacked_folder(name, None if data_dir is None else Path(data_dir))
        return Dataset(name, _read(folder, "train", classes), _read(folder, "t10k", classes), classes)
    except OSError as error:
        raise DataError(
            f"{data_dir or name}: expected files that can be read, found {error}; "
            "see to the files and their permissions"
        ) from error


def _read(folder: Path, part: str, classes: int) -> Digits:
    """Let torchvision read one part, after a look at what it would let pass."""
    from torchvision.datasets import mnist as torchvision_mnist

    image_file, label_file = folder / f"{part}-images-idx3-ubyte", folder / f"{part}-labels-idx1-ubyte"
    image_count, label_count = _check_idx(image_file, 3), _check_idx(label_file, 1)
    if image_count != label_count:
        raise DataError(
            f"{label_file}: expected {image_count} labels as {image_file.name} has images, "
            f"found {label_count}; replace one by its true counterpart"
        )
    try:
        images = torchvision_mnist.read_image_file(str(image_file)).numpy()
        labels = torchvision_mnist.read_label_file(str(label_file)).numpy()
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{image_file}: expected idx files that torchvision can read, found {reason}; "
            "put a good copy in their place"
        ) from error
    if labels.max() >= classes:
        index = int(labels.argmax())
        raise DataError(
            f"{label_file}: expected labels from 0 to {classes - 1}, found {labels[index]} at "
            f"index {index}; put a good copy in its place"
        )
    return Digits(images.reshape(image_count, SIDE * SIDE), labels)


def _check_idx(path: Path, dims: int) -> int:
    """The number of items in an idx file of bytes with ``dims`` axes; DataError where amiss."""
    remedy = "put a good copy in its place"
    with path.open("rb") as file:
        header = file.read(4 + 4 * dims)
    size = path.stat().st_size
    if len(header) < 4 + 4 * dims:
        raise DataError(f"{path}: expected an idx header of {4 + 4 * dims} bytes, found {size} bytes; {remedy}")
    magic, *shape = struct.unpack(f">{1 + dims}I", header)
    # 0x08 is the idx code for unsigned bytes; the lowest byte is the number of axes.
    if magic != 0x0800 + dims:
        raise DataError(f"{path}: expected magic {0x0800 + dims}, found {magic}; {remedy}")
    if dims == 3 and shape[1:] != [SIDE, SIDE]:
        raise DataError(f"{path}: expected images of {SIDE}x{SIDE}, found {shape[1]}x{shape[2]}; {remedy}")
    if shape[0] == 0:
        raise DataError(f"{path}: expected at least one item, found 0; {remedy}")
    expected = len(header) + math.prod(shape)
    if size != expected:
        raise DataError(f"{path}: expected {expected} bytes for {shape[0]} items, found {size}; {remedy}")
    return int(shape[0])
