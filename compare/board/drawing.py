"""Drawing with NumPy and Pillow: arrays as coloured tiles, digits beside bars, tables of numbers."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

BLACK, GREY, PALE, WHITE = (0, 0, 0), (110, 110, 110), (225, 225, 225), (255, 255, 255)
BLUE, ORANGE, RED, GREEN = (31, 95, 168), (224, 123, 0), (190, 30, 45), (35, 130, 60)
GAP = 2  # pixels between pictures: TensorBoard shows 350 pixels side by side as they are, and shrinks more
BAR, SPACE = 3, 8  # the width of a bar, and what is left beside a digit


@cache
def font(size: int) -> Any:
    """Pillow's own typeface."""
    return ImageFont.load_default(size)


def png(picture: Image.Image) -> bytes:
    """The picture as a PNG of at most 256 colours."""
    file = io.BytesIO()
    few = picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(file, "PNG")
    return file.getvalue()


def blue_white_red(values: np.ndarray, limit: float) -> np.ndarray:
    """−limit … 0 … limit as blue … white … red, (…, 3) of uint8; what is not finite is black."""
    part = np.clip(values / limit if limit > 0 else np.zeros_like(values), -1, 1)
    ends = np.where(part[..., np.newaxis] < 0, BLUE, RED)
    shown = 255 + (ends - 255) * np.abs(part)[..., np.newaxis]
    return np.where(np.isfinite(part)[..., np.newaxis], np.nan_to_num(shown), 0).astype(np.uint8)


def tiles(pictures: np.ndarray, zoom: int, caption: str) -> Image.Image:
    """Pictures (n, height, width, 3) of uint8 in a grid that is about square, with a line of text below."""
    n, height, width, _ = pictures.shape
    columns = int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    across, down = width * zoom + GAP, height * zoom + GAP
    page = Image.new("RGB", (max(columns * across + GAP, 260), rows * down + GAP + 20), WHITE)
    pen = ImageDraw.Draw(page)
    for i, picture in enumerate(pictures):
        tile = Image.fromarray(picture).resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
        left, top = GAP + i % columns * across, GAP + i // columns * down
        page.paste(tile, (left, top))
        pen.rectangle((left - 1, top - 1, left + tile.width, top + tile.height), None, PALE)
    pen.text((GAP, rows * down + GAP), caption, GREY, font(13))
    return page


def digits(
    images: np.ndarray, labels: Sequence[int], sides: dict[str, np.ndarray], columns: int, caption: str
) -> Image.Image:
    """Digits (n, side, side) of uint8, each beside a bar per class and side: how probable that class is.

    `sides` holds the probabilities (n, classes) of at most two sides. The right class is green. A digit is framed
    in red where a side takes it for another.
    """
    zoom = 2
    colours = dict(zip(sides, (BLUE, ORANGE), strict=False))
    classes = next(iter(sides.values())).shape[1]
    side = images.shape[1] * zoom
    bar = 2 * BAR + 3  # pixels for a class: two bars and a space
    across, down = side + classes * bar + 3 * SPACE, side + 20
    rows = max(-(-len(images) // columns), 1)
    page = Image.new("RGB", (columns * across + GAP, rows * down + 30), WHITE)
    pen = ImageDraw.Draw(page)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        left, top = GAP + i % columns * across, GAP + i // columns * down
        digit = Image.fromarray(255 - image).resize((side, side), Image.Resampling.NEAREST)
        page.paste(digit.convert("RGB"), (left, top))
        right = all(p[i].argmax() == label for p in sides.values())
        pen.rectangle((left - 1, top - 1, left + side, top + side), None, PALE if right else RED, 1 if right else 2)
        left += side + SPACE
        pen.line((left, top + side, left + classes * bar, top + side), PALE)
        for k in range(classes):
            place = left + k * bar
            for offset, (name, p) in zip((0, BAR + 1), sides.items(), strict=False):
                height = round(float(p[i, k]) * side)
                if height:
                    pen.rectangle(
                        (place + offset, top + side - height, place + offset + BAR - 1, top + side), colours[name]
                    )
            colour = GREEN if k == label else GREY
            pen.text((place + BAR, top + side + 2), str(k), colour, font(12 if k == label else 9), anchor="ma")
    place = GAP
    for name, colour in colours.items():
        pen.rectangle((place, rows * down + 11, place + 10, rows * down + 21), colour)
        pen.text((place + 15, rows * down + 9), name, BLACK, font(12))
        place += 25 + round(font(12).getlength(name))
    pen.text((place + SPACE, rows * down + 9), caption, GREY, font(12))
    return page


def matrix(counts: np.ndarray, caption: str) -> Image.Image:
    """Counts (classes, classes), the right ones blue and the wrong ones red, the deeper the more of the row."""
    classes, cell, margin = len(counts), 32, 24
    page = Image.new("RGB", (margin + classes * cell + GAP, margin + classes * cell + 26), WHITE)
    pen = ImageDraw.Draw(page)
    parts = np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    for i in range(classes):
        pen.text((margin + (i + 0.5) * cell, margin - 8), str(i), BLACK, font(12), anchor="ms")
        pen.text((margin - 12, margin + (i + 0.5) * cell), str(i), BLACK, font(12), anchor="mm")
        for j in range(classes):
            deep = parts[i, j] if i == j else min(4 * parts[i, j], 1)
            colour = tuple(round(255 + (end - 255) * float(deep)) for end in (BLUE if i == j else RED))
            x, y = margin + j * cell, margin + i * cell
            pen.rectangle((x, y, x + cell - 2, y + cell - 2), colour)
            if counts[i, j]:
                ink = WHITE if deep > 0.6 else BLACK
                pen.text((x + cell / 2 - 1, y + cell / 2 - 1), str(counts[i, j]), ink, font(11), anchor="mm")
    pen.text((margin, margin + classes * cell + 4), caption, GREY, font(12))
    return page
