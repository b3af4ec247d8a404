"""A short script that shows a difference again, on the smallest inputs that still do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from handgrad.compare.checking.causes import FULL, OFF
from handgrad.compare.checking.script import Named, named
from handgrad.compare.checking.script_arguments import arguments_in_script
from handgrad.compare.checking.shown import shown
from handgrad.compare.checking.smallest import Shown, smallest
from handgrad.compare.foundation.apart import apart
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.foundation.jobs import Job
from handgrad.compare.judge.sides import Arrays, Sides

LINES, CHARACTERS = 40, 4000  # of a script, at most
SECONDS = 0.5  # of CPU for the search for smaller inputs
SMALLER = "the smallest inputs that differ"


def reproduce(sides: Sides, ours: Any, reference: Any, inputs: Arrays, tensor: str, explain: str = FULL) -> str:
    """The script that shows the difference of a tensor which these inputs show; none where nothing is to be explained.

    What it cannot import, write out or draw it says in a comment, under the name that it uses for it.
    """
    if explain == OFF:
        return ""

    def work(found: dict[str, Any], so_far: Any) -> Shown:
        return smallest(sides, inputs, tensor, reference, so_far)

    with shown(SECONDS) as show:
        found: Shown = apart([Job(SMALLER, work)], SECONDS, show).best(SMALLER, Shown(inputs))
    try:
        return _short(sides, found, ours, reference)
    except Exception as error:  # of code that is looked at in odd ways; the verdict is worth more than its script
        swallowed(error, "the reproducer")
        return ""


def _short(sides: Sides, found: Shown, ours: Any, reference: Any) -> str:
    """The script with the text of what cannot be imported, or without where that is long."""
    if isinstance(ours, tuple):
        pieces = {"forward": ours[0], "backward": ours[1], "reference": reference}
    else:
        pieces = {"ours": ours, "reference": reference}
    write = partial(_script, sides, found, is_pair=isinstance(ours, tuple))
    script = write([named(thing, role) for role, thing in pieces.items()])
    if len(script) > CHARACTERS or script.count("\n") >= LINES:
        script = write([named(thing, role, brief=True) for role, thing in pieces.items()])
    return script


def _script(sides: Sides, found: Shown, names: Sequence[Named], is_pair: bool) -> str:
    given = arguments_in_script(sides, found)
    own = given.imports
    lines = _head([*(line for name in names for line in name.imports), *own])
    lines += _written(names)
    left = f"({', '.join(name.expression for name in names[:-1])})" if is_pair else names[0].expression
    lines += given.lines
    lines.append(f"check({', '.join([left, names[-1].expression, *given.call])})")
    return "\n".join(lines)


def _head(imports: Sequence[str]) -> list[str]:
    """The imports, in an order in which they work."""
    once = list(dict.fromkeys(imports))
    plain = sorted(line for line in once if line.startswith("import "))
    paths = [line for line in once if line.startswith("sys.path")]
    froms = sorted(line for line in once if line.startswith("from "))
    others = [line for line in once if line not in (*plain, *paths, *froms)]
    own = [*paths, *froms, *others]
    return [*plain, "import numpy as np", "import torch", "", *own, "from handgrad import check", ""]


def _written(names: Sequence[Named]) -> list[str]:
    """The definitions, one that two things share once."""
    lines: list[str] = []
    for name in names:
        if tuple(name.written) not in {tuple(other.written) for other in names[: names.index(name)]}:
            lines += name.written
    return lines
