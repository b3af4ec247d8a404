"""The hidden activations of test digits for TensorBoard's projector: points, labels, and the digits as sprites.

Each side's files are written anew each time, so that a resumed run leaves the same as any other.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from handgrad import data
from handgrad.compare.board.pictures import square
from handgrad.compare.foundation.whole_files import replace
from handgrad.compare.judge.sides import as_array
from handgrad.compare.run.lockstep import Lockstep
from handgrad.compare.run.progress import SIDES

DIGITS = 1000  # of the test digits: as many as the page moves smoothly
FOLDER, CONFIG = "projector", "projector_config.pbtxt"  # TensorBoard looks for that name in each run's folder


def write(run: Lockstep, folder: Path) -> None:
    """Write the files of both sides below `folder`. Raises OSError."""
    digits = run.dataset.test
    images, labels = digits.images[:DIGITS], digits.labels[:DIGITS]
    width = square(images.shape[1])
    sheet = io.BytesIO()
    if width:
        sprites(images.reshape(-1, width, width)).save(sheet, "PNG", compress_level=1)
    for side in SIDES:
        hidden, output = activations(run, side, data.scale(images, run.dtype))
        table = np.stack([labels, output.argmax(axis=1)], axis=1)
        place = folder / side / FOLDER
        place.mkdir(parents=True, exist_ok=True)
        _write(place / "activations.tsv", _rows(hidden, "%.6g"))
        _write(place / "labels.tsv", "is\ttaken for\n" + _rows(table, "%d"))
        if width:
            replace(place / "sprites.png", lambda file: file.write(sheet.getvalue()))
        _write(folder / side / CONFIG, config(width))


def activations(run: Lockstep, side: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the last layer that has parameters is given, (N, units), and ŷ (N, classes)."""
    with_parameters = [i for i, params in enumerate(run.sides.network.views(run.theta)) if params]
    last = with_parameters[-1] if with_parameters else 0
    if side == "manual":
        with np.errstate(all="ignore"):
            outputs, _ = run.sides.network.forward(run.theta, x)
    else:
        outputs, y = [], torch.from_numpy(x).to(run.experiment.device)
        with torch.no_grad():
            for module in run.sides.model:
                y = module(y)
                outputs.append(as_array(y))
    return outputs[max(last - 1, 0)], outputs[-1]


def sprites(images: np.ndarray) -> Image.Image:
    """Images (n, side, side) of uint8, row by row in a square sheet, as the projector reads them."""
    n, side, _ = images.shape
    columns = int(np.ceil(np.sqrt(n)))
    sheet = np.zeros((columns, side, columns, side), np.uint8)
    for i, image in enumerate(images):
        sheet[i // columns, :, i % columns, :] = 255 - image
    return Image.fromarray(sheet.reshape(columns * side, columns * side))


def config(width: int) -> str:
    """projector_config.pbtxt, with paths from its own folder; digits of no width have no sprites."""
    sprite = (
        f'  sprite {{\n    image_path: "{FOLDER}/sprites.png"\n'
        f"    single_image_dim: {width}\n    single_image_dim: {width}\n  }}\n"
    )
    return (
        f'embeddings {{\n  tensor_name: "hidden activations"\n  tensor_path: "{FOLDER}/activations.tsv"\n'
        f'  metadata_path: "{FOLDER}/labels.tsv"\n{sprite if width else ""}}}\n'
    )


def _rows(table: np.ndarray, number: str) -> str:
    """A table as tab-separated lines."""
    return "".join("\t".join(number % x for x in row) + "\n" for row in table.tolist())


def _write(path: Path, text: str) -> None:
    replace(path, lambda file: file.write(text.encode()))
