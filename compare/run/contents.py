"""What a run writes into its folder, and nothing else: so that only that is ever removed or cut."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from handgrad.compare.run.checkpoint.event_files import EVENTS

# Paths in the folder of a run; any of them may stand there half written, with .tmp behind its name.
WRITTEN = re.compile(
    r"(experiment|report)\.json"
    r"|checkpoints(/step-\d{10}\.npz(\.damaged)?)?"
    rf"|(manual|torch_ref|compare)(/{EVENTS.pattern})?"
    r"|(manual|torch_ref)/(projector(/(activations\.tsv|labels\.tsv|sprites\.png))?|projector_config\.pbtxt)"
)
HALF = re.compile(r"\.tmp$")


def below(folder: Path) -> Iterator[Path]:
    """Everything below a folder, what is in a folder before the folder itself; no link is followed."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            yield from below(path)
        yield path


def foreign(folder: Path) -> Path | None:
    """The first thing below the folder that no run writes; None where there is none."""
    for path in below(folder):
        name = HALF.sub("", path.relative_to(folder).as_posix())
        if not WRITTEN.fullmatch(name) or is_link(path) or not (path.is_file() or path.is_dir()):
            return path
    return None


def linked(folder: Path) -> Path | None:
    """The first thing that a run writes and that is a link to something elsewhere; None where there is none."""
    for path in below(folder):
        if WRITTEN.fullmatch(HALF.sub("", path.relative_to(folder).as_posix())) and is_link(path):
            return path
    return None


def is_link(path: Path) -> bool:
    """Whether what is written there is written elsewhere, too: a link by name, or a file of several names."""
    return path.is_symlink() or (path.is_file() and path.stat().st_nlink > 1)
