"""Charts as PNG files, drawn with Pillow: lines, points, regions, labelled axes, legends.

Everything is drawn at twice its size and then halved, which smooths the lines. Pillow's own font has ASCII
letters only, so labels say "learning rate" and not η.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from compare.lessons.panel import COLOURS, Axis, Panel, Series

SCALE = 2
WIDTH, HEIGHT = 470, 380
LEFT, RIGHT, TOP, BOTTOM = 66, 18, 34, 50
HEADER, ROW = 44, 18
INK, FAINT, PAPER = (40, 40, 40), (225, 225, 225), (255, 255, 255)
Box = tuple[float, float, float, float]  # left, top, right, bottom, in final pixels


class Picture:
    """Panels in rows of `columns`, under one title."""

    def __init__(self, title: str, columns: int = 2) -> None:
        self.title, self.columns = title, columns
        self.panels: list[Panel] = []

    def panel(self, title: str, x: str = "", y: str = "", **options: Any) -> Panel:
        """A new panel; the options are those of `Panel`."""
        self.panels.append(Panel(title, x, y, **options))
        return self.panels[-1]

    def save(self, path: Path) -> Path:
        """Draw everything into a PNG file, make its folder, and return its path."""
        columns = min(self.columns, len(self.panels))
        rows = -(-len(self.panels) // columns)
        size = (columns * WIDTH, HEADER + rows * HEIGHT)
        canvas = Canvas(size)
        canvas.text((size[0] / 2, 14), self.title, 19, "ma")
        for k, panel in enumerate(self.panels):
            row, column = divmod(k, columns)
            _draw_panel(canvas, panel, column * WIDTH, HEADER + row * HEIGHT)
        path.parent.mkdir(parents=True, exist_ok=True)
        canvas.image.resize(size, Image.Resampling.LANCZOS).save(path)
        return path


class Canvas:
    """An image to draw on in final pixels, whatever the scale."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.image = Image.new("RGB", (size[0] * SCALE, size[1] * SCALE), PAPER)
        self.draw = ImageDraw.Draw(self.image)

    def text(self, at: tuple[float, float], text: str, size: int, anchor: str = "la", upright: bool = False) -> None:
        """Text at a point; `anchor` is Pillow's. Upright text reads from below, centred on the point."""
        font = ImageFont.load_default(size * SCALE)
        if not upright:
            self.draw.text((at[0] * SCALE, at[1] * SCALE), text, INK, font, anchor)
            return
        width, height = int(self.draw.textlength(text, font)) + 4, int(size * SCALE * 1.3)
        turned = Image.new("RGB", (width, height), PAPER)
        ImageDraw.Draw(turned).text((width / 2, height / 2), text, INK, font, "mm")
        turned = turned.rotate(90, expand=True)
        corner = (int(at[0] * SCALE - turned.width / 2), int(at[1] * SCALE - turned.height / 2))
        self.image.paste(turned, corner)

    def length(self, text: str, size: int) -> float:
        """The width of a text, in final pixels."""
        return self.draw.textlength(text, ImageFont.load_default(size * SCALE)) / SCALE

    def line(self, points: list[tuple[float, float]], colour: tuple[int, int, int], width: float = 2.0) -> None:
        """A line through points."""
        if len(points) > 1:
            self.draw.line([(x * SCALE, y * SCALE) for x, y in points], colour, round(width * SCALE), "curve")

    def frame(self, box: Box) -> None:
        """The outline of a rectangle."""
        self.draw.rectangle([v * SCALE for v in box], None, INK, SCALE)

    def mark(self, at: tuple[float, float], colour: tuple[int, int, int], cross: bool, r: float = 3.4) -> None:
        """A disc with a white rim, or a cross."""
        x, y = at
        if cross:
            self.line([(x - r, y - r), (x + r, y + r)], colour)
            self.line([(x - r, y + r), (x + r, y - r)], colour)
        else:
            box = tuple(v * SCALE for v in (x - r, y - r, x + r, y + r))
            self.draw.ellipse(box, colour, PAPER, SCALE)


def _draw_panel(canvas: Canvas, panel: Panel, left: float, top: float) -> None:
    canvas.text((left + (LEFT + WIDTH - RIGHT) / 2, top + 6), panel.title, 15, "ma")
    legend = _legend(canvas, panel)
    box = (left + LEFT, top + TOP + ROW * len(legend) + 4, left + WIDTH - RIGHT, top + HEIGHT - BOTTOM)
    for i, row in enumerate(legend):
        x = box[0]
        for series in row:
            x = _draw_key(canvas, series, x, top + TOP + ROW * (i + 0.5))
    if panel.image is not None:
        _draw_image(canvas, panel.image, box)
        return
    x_axis, y_axis = panel.axes()
    _draw_regions(canvas, panel, box, x_axis, y_axis)
    _draw_grid(canvas, panel, box, x_axis, y_axis)
    for series in panel.series:
        _draw_series(canvas, series, box, x_axis, y_axis)
    canvas.frame(box)


def _legend(canvas: Canvas, panel: Panel) -> list[list[Series]]:
    """The named series in rows that fit the panel's width."""
    rows: list[list[Series]] = []
    used = float("inf")
    for series in (s for s in panel.series if s.name):
        width = canvas.length(series.name, 12) + 40
        if used + width > WIDTH - LEFT - RIGHT:
            rows.append([])
            used = 0
        rows[-1].append(series)
        used += width
    return rows


def _draw_key(canvas: Canvas, series: Series, x: float, y: float) -> float:
    if series.marker in ("disc", "cross"):
        canvas.mark((x + 10, y), series.colour, series.marker == "cross")
    else:
        for start in (0, 12) if series.marker == "dashed" else (0, 6):
            canvas.line([(x + start, y), (x + start + (8 if series.marker == "dashed" else 14), y)], series.colour, 2.6)
    canvas.text((x + 25, y), series.name, 12, "lm")
    return x + canvas.length(series.name, 12) + 40


def _draw_grid(canvas: Canvas, panel: Panel, box: Box, x_axis: Axis, y_axis: Axis) -> None:
    left, top, right, bottom = box
    for value, text in x_axis.ticks():
        x = left + float(x_axis.place(np.array(value))) * (right - left)
        canvas.line([(x, top), (x, bottom)], FAINT, 1)
        canvas.text((x, bottom + 6), text, 11, "ma")
    for value, text in y_axis.ticks():
        y = bottom - float(y_axis.place(np.array(value))) * (bottom - top)
        canvas.line([(left, y), (right, y)], FAINT, 1)
        canvas.text((left - 6, y), text, 11, "rm")
    canvas.text(((left + right) / 2, bottom + 24), panel.x_label, 13, "ma")
    canvas.text((left - 52, (top + bottom) / 2), panel.y_label, 13, upright=True)


def _draw_regions(canvas: Canvas, panel: Panel, box: Box, x_axis: Axis, y_axis: Axis) -> None:
    left, top, right, bottom = (round(v) for v in box)
    columns, rows = right - left, bottom - top
    for classify, colours in panel.regions:
        u = x_axis.low + (np.arange(columns) + 0.5) / columns * (x_axis.high - x_axis.low)
        v = y_axis.high - (np.arange(rows) + 0.5) / rows * (y_axis.high - y_axis.low)
        grid = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2)
        palette = np.array([PAPER if c < 0 else _pale(c) for c in colours], np.uint8)
        pixels = Image.fromarray(palette[np.asarray(classify(grid), int)].reshape(rows, columns, 3))
        canvas.image.paste(pixels.resize((columns * SCALE, rows * SCALE)), (left * SCALE, top * SCALE))


def _pale(colour: int) -> tuple[int, ...]:
    return tuple(round(255 - 0.22 * (255 - c)) for c in COLOURS[colour])


def _draw_series(canvas: Canvas, series: Series, box: Box, x_axis: Axis, y_axis: Axis) -> None:
    left, top, right, bottom = box
    x = left + x_axis.place(series.x) * (right - left)
    y = bottom - y_axis.place(series.y) * (bottom - top)
    if series.marker in ("disc", "cross"):
        for xk, yk in zip(x, y, strict=True):
            if np.isfinite(xk + yk) and left <= xk <= right and top <= yk <= bottom:
                canvas.mark((xk, yk), series.colour, series.marker == "cross")
        return
    for stretch in _stretches(x, y, box, series.marker == "dashed"):
        canvas.line(stretch, series.colour)


def _stretches(x: np.ndarray, y: np.ndarray, box: Box, dashed: bool) -> list[list[tuple[float, float]]]:
    """The parts of a line that lie in the box, cut at its edges; dashed, every second piece of them."""
    left, top, right, bottom = box
    if not len(x):
        return []
    steps = np.hypot(np.diff(x), np.diff(y))
    pieces = np.where(np.isfinite(steps), np.clip(np.nan_to_num(steps), 1, 2000), 1).astype(int)
    fine = np.concatenate([i + np.arange(n) / n for i, n in enumerate(pieces)] + [np.array([len(x) - 1.0])])
    with np.errstate(invalid="ignore"):
        px, py = np.interp(fine, np.arange(len(x)), x), np.interp(fine, np.arange(len(y)), y)
        inside = (px >= left) & (px <= right) & (py >= top) & (py <= bottom)  # not a number is not inside
    if dashed:
        along = np.concatenate([[0.0], np.cumsum(np.nan_to_num(np.hypot(np.diff(px), np.diff(py))))])
        inside &= along % 12 < 7
    found: list[list[tuple[float, float]]] = [[]]
    for k, shown in enumerate(inside):
        if shown:
            found[-1].append((float(px[k]), float(py[k])))
        elif found[-1]:
            found.append([])
    return found


def _draw_image(canvas: Canvas, pixels: np.ndarray, box: Box) -> None:
    left, top, right, bottom = box
    side = int(min(right - left, bottom - top))
    grey = Image.fromarray(np.uint8(255 * (1 - np.clip(pixels, 0, 1))))
    shown = grey.resize((side * SCALE, side * SCALE), Image.Resampling.NEAREST).convert("RGB")
    corner = (int(((left + right - side) / 2) * SCALE), int(top * SCALE))
    canvas.image.paste(shown, corner)
