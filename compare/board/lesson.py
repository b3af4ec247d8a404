"""A lesson's picture as a TensorBoard event, under Images."""

from __future__ import annotations

from pathlib import Path

from tensorboard.compat.proto.summary_pb2 import Summary

from handgrad.compare.board.event_file import EventFile


def log_png(file: Path, width: int, height: int) -> None:
    """Write the PNG of so many pixels as an event into its own folder, named after the folder and the file."""
    image = Summary.Image(encoded_image_string=file.read_bytes(), width=width, height=height, colorspace=4)
    value = Summary.Value(tag=f"{file.parent.name}/{file.stem}", image=image)
    events = EventFile(file.parent)
    events.add(Summary(value=[value]), 0)
    events.close()
