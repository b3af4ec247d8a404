"""What load() promises about the digits it returns, and about idx files that are not right."""

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import mnist as torchvision_mnist

from handgrad import data
from handgrad.data import DataError, Dataset, Digits, load, scale

HASH = "1e35582d42a90940c55b956deb61875c020b567ed20e3c5b174f52bf7809ed9b"


@pytest.fixture(scope="module")
def mnist():
    return load()


def test_mnist_is_shipped_whole(mnist):
    assert (mnist.name, len(mnist.train), len(mnist.test), mnist.classes) == (
        "mnist",
        60_000,
        10_000,
        10,
    )
    assert mnist.hash() == HASH


def test_images_are_rows_of_bytes(mnist):
    assert (mnist.train.images.shape, mnist.train.images.dtype) == ((60_000, 784), np.uint8)


def test_labels_are_int64(mnist):
    assert (mnist.test.labels.shape, mnist.test.labels.dtype) == ((10_000,), np.int64)


def test_labels_go_with_their_images(mnist):
    # The mean zero has ink where the mean one has none, and the reverse in the middle.
    zero, one = (mnist.train.images[mnist.train.labels == k].mean(axis=0) for k in (0, 1))
    assert zero[14 * 28 + 14] < 30 < 200 < one[14 * 28 + 14]


@pytest.mark.parametrize("name", ["images", "labels"])
def test_arrays_are_read_only(mnist, name):
    with pytest.raises(ValueError, match="read-only"):
        getattr(mnist.train, name)[0] = 1


def test_digits_leave_the_callers_array_writable():
    labels = np.zeros(1, dtype=np.int64)
    Digits(np.zeros((1, 784), dtype=np.uint8), labels)
    labels[0] = 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scale_maps_bytes_to_zero_to_one(dtype):
    scaled = scale(np.array([[0, 51, 255]], dtype=np.uint8), dtype)
    assert scaled.dtype == dtype
    assert np.array_equal(scaled, np.array([[0, 51, 255]], dtype=dtype) / dtype(255))


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("array", ["images", "labels"])
def test_the_hash_covers_every_array(part, array):
    def tiny(change: bool) -> Dataset:
        parts = {}
        for name in ("train", "test"):
            images, labels = np.zeros((2, 784), dtype=np.uint8), np.zeros(2, dtype=np.int64)
            if change and name == part:
                (images if array == "images" else labels)[-1] = 1
            parts[name] = Digits(images, labels)
        return Dataset("tiny", parts["train"], parts["test"], 10)

    assert tiny(False).hash() == tiny(False).hash() != tiny(True).hash()


def test_an_unknown_name_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"expected .*mnist, fashion-mnist.* got 'cifar'; choose"):
        load("cifar")


def test_importing_data_does_not_import_torchvision():
    code = (
        "import sys; from handgrad.data import load; sys.exit('torchvision' in sys.modules or 'torch' in sys.modules)"
    )
    root = Path(data.__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def idx(items: np.ndarray, magic: int | None = None) -> bytes:
    """An idx file of bytes; the magic of unsigned bytes unless told."""
    magic = 0x0800 + items.ndim if magic is None else magic
    header = struct.pack(f">{1 + items.ndim}I", magic, *items.shape)
    return header + items.astype(np.uint8).tobytes()


def write(folder: Path, file: str = "", content: bytes = b"") -> Path:
    """Only-unpacked files of 5 training and 3 test digits, with ``file`` replaced."""
    for stem, count in (("train", 5), ("t10k", 3)):
        images = np.arange(count * 784).reshape(count, 28, 28) % 256
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(idx(np.arange(count)))
    if file:
        (folder / file).write_bytes(content)
    return folder


def error_of(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        load("mnist", folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_copy_of_unpacked_files_is_read(tmp_path):
    digits = load("mnist", write(tmp_path))
    assert np.array_equal(digits.train.images.ravel(), np.arange(5 * 784) % 256)
    assert digits.test.labels.tolist() == [0, 1, 2]


IMAGES, LABELS = "t10k-images-idx3-ubyte", "train-labels-idx1-ubyte"
GOOD = np.zeros((3, 28, 28))


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        (IMAGES, b"", ["header of 16 bytes", "found 0 bytes"]),
        (IMAGES, idx(GOOD)[:15], ["header of 16 bytes", "found 15 bytes"]),
        (LABELS, b"\0\0\x08\x01", ["header of 8 bytes", "found 4 bytes"]),
        (IMAGES, idx(GOOD, magic=2049), ["magic 2051", "found 2049"]),
        (IMAGES, idx(GOOD, magic=0x0D03), ["magic 2051", "found 3331"]),
        (LABELS, idx(np.zeros(5), magic=2051), ["magic 2049", "found 2051"]),
        (IMAGES, idx(np.zeros((3, 20, 28))), ["28x28", "found 20x28"]),
        (IMAGES, idx(np.zeros((0, 28, 28))), ["at least one item", "found 0"]),
        (LABELS, idx(np.zeros(0)), ["at least one item", "found 0"]),
        (IMAGES, idx(GOOD)[:-1], ["2368 bytes", "3 items", "found 2367"]),
        (IMAGES, idx(GOOD) + b"\0", ["2368 bytes", "3 items", "found 2369"]),
        (LABELS, idx(np.zeros(4)), ["5 labels", "train-images-idx3-ubyte", "found 4"]),
        (LABELS, idx(np.array([0, 1, 10, 2, 9])), ["labels from 0 to 9", "found 10 at index 2"]),
    ],
)
def test_an_unpacked_file_that_is_not_right_is_named(tmp_path, file, content, words):
    message = error_of(write(tmp_path, file, content))
    assert str(tmp_path / file) in message
    assert [word for word in [*words, "expected", "; "] if word not in message] == []
    assert "put a good copy in its place" in message or "true counterpart" in message


@pytest.mark.parametrize("error", [AssertionError, ValueError, TypeError, RuntimeError])
def test_what_torchvision_raises_becomes_one_line(tmp_path, monkeypatch, error):
    def fail(path):
        raise error("two\nlines")

    monkeypatch.setattr(torchvision_mnist, "read_image_file", fail)
    message = error_of(write(tmp_path))
    assert "train-images-idx3-ubyte: expected" in message
    assert "found two lines; put a good copy" in message


def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    def fail(path, mode):
        raise PermissionError(13, "Permission denied", str(path))

    write(tmp_path)
    monkeypatch.setattr(Path, "open", fail)
    message = error_of(tmp_path)
    assert "expected files that can be read" in message
    assert f"Permission denied: '{tmp_path / 'train-images-idx3-ubyte'}'; see to" in message
