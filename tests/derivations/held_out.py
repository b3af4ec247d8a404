"""Wrong derivations from a file, as a stranger writes them.

The file is Python and has a list `FAULTS` of dictionaries:

    {
        "name": "GELU: x φ(x) dropped",
        "ours": (forward, backward),            # whatever `check` takes: a pair, a layer, a loss, an update rule
        "reference": torch.nn.functional.gelu,       # the right function in torch
        "x": (4, 5),                            # and every other argument of `check`: params, output, target, theta, …
        "causes": {"input gradient": "product|x φ"},
    }

`causes` has the name of every tensor that is wrong, and a regular expression (case does not matter) that a cause named
for it must match; a list of them where several faults meet in one tensor. "theta" stands for every step of an update
rule, whose state need not be listed.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from tests.derivations.case import Derivation, kind_of


def load(path: str) -> list[Derivation]:
    """The list `FAULTS` of a Python file."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [derivation(row, Path(path).name) for row in module.FAULTS]


def derivation(row: dict[str, Any], origin: str = "") -> Derivation:
    """One dictionary of such a list."""
    arguments = dict(row)
    name, ours, reference, causes = (arguments.pop(key) for key in ("name", "ours", "reference", "causes"))
    listed = {tensor: [words] if isinstance(words, str) else words for tensor, words in causes.items()}
    differs = {tensor: tuple(f"(?i){pattern}" for pattern in words) for tensor, words in listed.items()}
    return Derivation(name, kind_of(arguments), ours, reference, arguments, differs, origin=origin)
