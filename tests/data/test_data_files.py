"""What load() promises about packed files: proved by md5, unpacked safely, never by surprise."""

import gzip
import hashlib
import struct
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import pytest
from torchvision import datasets
from torchvision.datasets import mnist as torchvision_mnist
from torchvision.datasets import utils

from handgrad.data import DataError, files, load

STEMS = [file.removesuffix(".gz") for file, _ in datasets.MNIST.resources]
TRAIN_IMAGES, LABELS = STEMS[0], STEMS[3]


def content(stem: str) -> bytes:
    """A whole idx file: 5 training or 3 test digits."""
    count = 5 if stem.startswith("train") else 3
    if "labels" in stem:
        return struct.pack(">2I", 2049, count) + bytes(range(count))
    return struct.pack(">4I", 2051, count, 28, 28) + bytes(i % 256 for i in range(count * 784))


PACKED = {f"{stem}.gz": gzip.compress(content(stem), mtime=0) for stem in STEMS}


def write(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file, packed in PACKED.items():
        (folder / file).write_bytes(packed)
    return folder


@pytest.fixture(autouse=True)
def small_world(tmp_path, monkeypatch):
    """torchvision takes the small files for the true ones; the network and the cache are ours."""
    resources = [(file, hashlib.md5(packed).hexdigest()) for file, packed in PACKED.items()]
    for cls in (datasets.MNIST, datasets.FashionMNIST, datasets.KMNIST):
        monkeypatch.setattr(cls, "resources", resources)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def no_network(url, **kwargs):
        raise URLError(f"no way to {url}")

    monkeypatch.setattr(torchvision_mnist, "download_and_extract_archive", no_network)


@pytest.fixture
def raw(tmp_path):
    return write(tmp_path / "root" / "MNIST" / "raw")


def error_of(name: str, data_dir: Path | None) -> str:
    with pytest.raises(DataError) as caught:
        load(name, data_dir)
    message = str(caught.value)
    assert "\n" not in message
    return message


def is_whole(digits) -> bool:
    return (digits.train.labels.tolist(), digits.test.labels.tolist()) == ([*range(5)], [*range(3)])


@pytest.mark.parametrize("place", [".", "MNIST/raw"])
def test_data_dir_is_a_torchvision_root_or_the_folder_itself(tmp_path, place):
    write(tmp_path / "root" / place)
    assert is_whole(load("mnist", tmp_path / "root"))


def flip(packed: bytes) -> bytes:
    middle = len(packed) // 2
    return packed[:middle] + bytes([packed[middle] ^ 1]) + packed[middle + 1 :]


DAMAGE = {
    "truncated": lambda packed: packed[:-5],
    "flipped bit": flip,
    "zero length": lambda packed: b"",
    "grown": lambda packed: packed + b"\0",
    "missing": None,
}


@pytest.mark.parametrize("unpacked_before", [False, True])
@pytest.mark.parametrize("shipped", [False, True])
@pytest.mark.parametrize("file", PACKED)
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_packed_file_is_named(raw, monkeypatch, kind, file, shipped, unpacked_before):
    if unpacked_before:
        load("mnist", raw)
    damage = DAMAGE[kind]
    if damage is None:
        (raw / file).unlink()
        found = "no such file"
    else:
        damaged = damage(PACKED[file])
        (raw / file).write_bytes(damaged)
        found = f"md5 {hashlib.md5(damaged).hexdigest()} in {len(damaged)} bytes"
    monkeypatch.setattr(files, "SHIPPED", raw.parent.parent)
    message = error_of("mnist", None if shipped else raw.parent.parent)
    expected = hashlib.md5(PACKED[file]).hexdigest()
    assert message.startswith(f"{raw / file}: expected ")
    assert f"md5 {expected}, found {found}; " in message
    assert ("git checkout" if shipped else "put a good copy in its place") in message


def test_a_download_is_not_taken_on_trust_when_only_unpacked(tmp_path):
    raw = write(tmp_path / "cache" / "handgrad" / "KMNIST" / "raw")
    load("kmnist", None)
    for file in PACKED:
        (raw / file).unlink()
    assert "found no such file; delete the folder" in error_of("kmnist", None)


def test_the_shipped_digits_are_not_taken_on_trust_when_only_unpacked(raw, monkeypatch):
    load("mnist", raw)
    for file in PACKED:
        (raw / file).unlink()
    monkeypatch.setattr(files, "SHIPPED", raw.parent.parent)
    assert "found no such file; restore it" in error_of("mnist", None)


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_unpacked_file_is_unpacked_again(raw, kind, stem):
    load("mnist", raw)
    if (damage := DAMAGE[kind]) is None:
        (raw / stem).unlink()
    else:
        (raw / stem).write_bytes(damage(content(stem)))
    assert is_whole(load("mnist", raw))
    assert (raw / stem).read_bytes() == content(stem)


def test_a_whole_unpacked_file_is_kept(raw, monkeypatch):
    load("mnist", raw)
    monkeypatch.setattr(utils, "extract_archive", lambda *_: pytest.fail("unpacked again"))
    assert is_whole(load("mnist", raw))


def test_unpacking_leaves_nothing_else_behind(raw):
    load("mnist", raw)
    assert {path.name for path in raw.iterdir()} == {*STEMS, *PACKED}


def test_a_legacy_processed_folder_is_not_read(raw):
    processed = raw.parent / "processed"
    processed.mkdir()
    for file in ("training.pt", "test.pt"):
        (processed / file).write_bytes(b"not what torchvision would like")
    assert is_whole(load("mnist", raw.parent.parent))


@pytest.mark.parametrize("missing", STEMS)
def test_an_unpacked_copy_with_a_missing_file_is_refused(raw, missing):
    load("mnist", raw)
    for file in [*PACKED, missing]:
        (raw / file).unlink()
    message = error_of("mnist", raw)
    assert message.startswith(f"{raw / missing}: expected this file or {missing}.gz")
    assert message.endswith("found neither; put it there")


@pytest.mark.parametrize("kind", ["empty folder", "no folder", "a file"])
def test_mnist_is_not_downloaded_to_where_it_is_not(tmp_path, kind):
    place = tmp_path / "place"
    if kind == "empty folder":
        place.mkdir()
    elif kind == "a file":
        place.touch()
    message = error_of("mnist", place)
    assert message.startswith(f"{place}: expected {', '.join(PACKED)} in it or in MNIST/raw below")
    assert message.endswith("put them there, or leave out --data-dir for the shipped copy")


@pytest.fixture
def sealed(raw, monkeypatch):
    """raw, in which nothing can be made (root, who runs many tests, cannot be kept out else)."""
    true_mkdtemp = files.tempfile.mkdtemp

    def mkdtemp(suffix=None, prefix=None, dir=None):
        if Path(dir) == raw:
            raise OSError(30, "Read-only file system", str(dir))
        return true_mkdtemp(suffix, prefix, dir)

    monkeypatch.setattr(files.tempfile, "mkdtemp", mkdtemp)
    return raw


def test_what_cannot_be_unpacked_in_place_goes_to_the_cache(sealed, tmp_path):
    assert is_whole(load("mnist", sealed))
    assert {path.name for path in sealed.iterdir()} == {*PACKED}
    cached = tmp_path / "cache" / "handgrad" / "unpacked" / "MNIST"
    assert {path.name for path in cached.iterdir()} == {*STEMS}


def test_a_damaged_file_in_the_cache_is_unpacked_again(sealed, tmp_path):
    load("mnist", sealed)
    cached = tmp_path / "cache" / "handgrad" / "unpacked" / "MNIST" / LABELS
    cached.write_bytes(flip(content(LABELS)))
    assert is_whole(load("mnist", sealed))


@pytest.mark.parametrize("xdg", ["", "relative/path"])
def test_without_an_absolute_xdg_cache_home_the_cache_is_in_home(sealed, tmp_path, monkeypatch, xdg):
    monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    load("mnist", sealed)
    assert (tmp_path / "home" / ".cache" / "handgrad" / "unpacked" / "MNIST" / LABELS).is_file()


def test_no_place_to_unpack_is_told_in_one_line(sealed, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "below"))
    message = error_of("mnist", sealed)
    assert message.startswith(f"{sealed}: expected room to unpack there or in the cache")
    assert "Read-only file system" in message
    assert "Not a directory" in message
    assert "set XDG_CACHE_HOME" in message


def test_a_load_in_the_midst_of_another_unpacking_is_whole(raw, monkeypatch):
    true_extract = utils.extract_archive
    seen = []

    def extract_slowly(packed, aside):
        monkeypatch.setattr(utils, "extract_archive", true_extract)
        (Path(aside) / TRAIN_IMAGES).write_bytes(content(TRAIN_IMAGES)[:100])
        assert not (raw / TRAIN_IMAGES).exists(), "half a file under the final name"
        seen.append(load("mnist", raw))
        true_extract(packed, aside)

    monkeypatch.setattr(utils, "extract_archive", extract_slowly)
    assert is_whole(load("mnist", raw))
    assert [is_whole(digits) for digits in seen] == [True]


def test_two_processes_may_unpack_at_once(tmp_path):
    # The true digits, since 47 MB take long enough to unpack for the two to meet.
    for packed in (files.SHIPPED / "MNIST" / "raw").glob("*.gz"):
        (tmp_path / packed.name).symlink_to(packed)
    asked = f"data.load('mnist', pathlib.Path({str(tmp_path)!r})).hash()"
    code = f"import pathlib, data; print('ready', flush=True); input(); print({asked})"
    command = [sys.executable, "-W", "error", "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, cwd=files.SHIPPED.parent, **pipes) for _ in range(2)]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == said[1] != ""


@pytest.mark.parametrize("name", ["fashion-mnist", "kmnist"])
@pytest.mark.parametrize("given", [True, False])
def test_other_sets_are_downloaded_where_none_of_their_files_is(tmp_path, monkeypatch, name, given):
    def download(url, download_root, filename, md5):
        (Path(download_root) / filename).write_bytes(PACKED[filename])
        utils.extract_archive(str(Path(download_root) / filename))

    monkeypatch.setattr(torchvision_mnist, "download_and_extract_archive", download)
    root = tmp_path / "new" if given else tmp_path / "cache" / "handgrad"
    assert is_whole(load(name, root if given else None))
    assert [path.name for path in root.iterdir()] == [files.CLASSES[name]]


def test_a_failed_download_tells_what_to_put_where(tmp_path):
    message = error_of("kmnist", tmp_path / "new")
    assert message.startswith(f"{tmp_path / 'new'}: expected to download kmnist into it, found ")
    assert "no way to http" in message
    assert message.endswith(f"put {', '.join(PACKED)} there by hand")
    write(tmp_path / "new")
    assert is_whole(load("kmnist", tmp_path / "new"))


def test_a_failed_download_leaves_no_files(tmp_path):
    error_of("kmnist", tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_download_is_not_tried_over_files_that_are_damaged(tmp_path):
    raw = write(tmp_path / "cache" / "handgrad" / "KMNIST" / "raw")
    (raw / f"{LABELS}.gz").write_bytes(b"")
    message = error_of("kmnist", None)
    assert message.startswith(f"{raw / LABELS}.gz: expected md5 ")
    assert message.endswith(f"delete the folder {raw} and run again, to download it anew")
