"""Small random rotations, shifts and changes of size, as a pure function of (seed, epoch, position).

A digit turned by a few degrees is still that digit, so every epoch may show another one (Simard, Steinkraus and
Platt 2003, section 2). Each image is resampled backwards: for every pixel q of the result, the place p in the source
that it comes from, and there the value between the four pixels around it (bilinear interpolation; Wolberg 1990,
Digital Image Warping, sections 3.3 and 5.4). With t the shift, c the centre, s the size, φ the angle, counterclockwise
as one sees it, and rows that count downwards,

    q = c + t + s R(φ)(p − c)     hence     p = c + R(−φ)(q − c − t) / s

Beyond its edges an image is black. All arithmetic here is float32, and its result is the data: one array feeds
whoever trains on it, so no rounding here can part two trainings.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from handgrad.data.choices import LIMITS

__all__ = ["AUGMENTATIONS", "Augmentation", "move"]

Floats = npt.NDArray[np.float32]

PART = 128  # images resampled at once, so that their intermediate arrays stay in the cache
SPAWN_KEY = 1  # sets these draws apart from those of the batch order, which start from the same seed and epoch


@dataclass(frozen=True)
class Augmentation:
    """The limits of a motion: each of its numbers is drawn uniformly from −limit to limit.

    degrees limits the angle, pixels the shift down and the shift right, scaling the size less 1. Raises ValueError
    for a limit below 0 or not finite, and for a scaling of 1 or more, which would leave nothing of an image.
    """

    degrees: float = 0.0
    pixels: float = 0.0
    scaling: float = 0.0

    def __post_init__(self) -> None:
        for name, high in (("degrees", math.inf), ("pixels", math.inf), ("scaling", 1.0)):
            if not 0 <= (value := getattr(self, name)) < high:
                raise ValueError(f"Augmentation: {name} must lie in [0, {high:g}), got {value!r}")

    def draw(self, count: int, seed: int, epoch: int) -> Floats:
        """The motions of all positions of one epoch: float32 (4, count), as `move` takes them.

        The batch size plays no part: a position has one motion, however the epoch is cut into batches.
        """
        rng = np.random.default_rng(np.random.SeedSequence([seed, epoch], spawn_key=(SPAWN_KEY,)))
        limits = np.array([math.radians(self.degrees), self.pixels, self.pixels, self.scaling])
        motions = rng.uniform(-1, 1, (4, count)) * limits[:, np.newaxis]  # (4, count)
        motions[3] += 1
        return motions.astype(np.float32)


AUGMENTATIONS = {name: Augmentation(**limits) for name, limits in LIMITS.items()}


def move(images: npt.NDArray[np.uint8], motions: Floats) -> Floats:
    """Square images uint8 (N, side²), each moved by its own motion → float32 (N, side²), grey levels 0 to 255.

    motions float32 (4, N): the angle φ in radians, the shifts down and right in pixels, and the size s, 1 for as it is.
    Raises ValueError where the images are not square or the motions are not one for each.
    """
    count, pixels = images.shape
    side = math.isqrt(pixels)
    if side**2 != pixels:
        raise ValueError(f"move takes square images, got {pixels} pixels in each: choose a square number of them")
    if motions.shape != (4, count):
        raise ValueError(f"move takes motions of shape (4, {count}), one for each image, got {motions.shape}")
    moved = np.empty(images.shape, np.float32)
    for start in range(0, count, PART):
        part = slice(start, start + PART)
        moved[part] = _move(images[part].reshape(-1, side, side), motions[:, part]).reshape(-1, pixels)
    return moved


def _move(images: npt.NDArray[np.uint8], motions: Floats) -> Floats:
    """As `move`, images (N, side, side) → float32 (N, side, side)."""
    count, side, _ = images.shape
    angle, t_row, t_column, s = motions
    c = np.float32((side - 1) / 2)
    offset = np.arange(side, dtype=np.float32) - c  # (side,)  q − c
    row, column = offset - t_row[:, np.newaxis], offset - t_column[:, np.newaxis]  # (N, side)  q − c − t
    cos, sin = (np.cos(angle) / s)[:, np.newaxis], (np.sin(angle) / s)[:, np.newaxis]  # (N, 1)
    # p_row = c + (sin φ · column + cos φ · row) / s        p_column = c + (cos φ · column − sin φ · row) / s
    p_row = (c + sin * column)[:, np.newaxis, :] + (cos * row)[:, :, np.newaxis]  # (N, side, side)
    p_column = (c + cos * column)[:, np.newaxis, :] - (sin * row)[:, :, np.newaxis]  # (N, side, side)

    # A black frame, one pixel before and two behind: what lies farther out is as black, so p may be clipped to it.
    width = side + 3
    framed = np.zeros((count, width, width), np.float32)
    framed[:, 1:-2, 1:-2] = images
    for p in (p_row, p_column):
        np.clip(p, -1, side, out=p)
        p += 1  # from 0 at the frame's edge, where rounding towards 0 is rounding down
    top, left = p_row.astype(np.intp), p_column.astype(np.intp)
    down, right = p_row, p_column
    down -= top  # from here on the fractions of a pixel
    right -= left
    first = (np.arange(count) * width**2)[:, np.newaxis, np.newaxis] + top * width + left

    pixel = framed.ravel()
    upper, lower = (_between(pixel[k:].take(first), pixel[k + 1 :].take(first), right) for k in (0, width))
    return _between(upper, lower, down)


def _between(a: Floats, b: Floats, fraction: Floats) -> Floats:
    """From a (fraction 0) to b (fraction 1), in a straight line; exactly a at 0."""
    return a + fraction * (b - a)
