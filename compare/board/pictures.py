"""A picture as a TensorBoard event, under Images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter


def log_picture(folder: Path, name: str, pixels: np.ndarray) -> None:
    """Write the picture (height, width, RGB or RGBA), uint8, as an event below `folder`."""
    with SummaryWriter(str(folder)) as writer:
        writer.add_image(name, pixels, dataformats="HWC")
