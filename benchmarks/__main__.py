"""List the harnesses, one line each."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent


def harnesses() -> Iterator[tuple[str, str]]:
    """The module of each harness and the first line of its docstring; none is imported."""
    for file in sorted(HERE.glob("*/*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
            yield f"benchmarks.{file.parent.name}.{file.stem}", (ast.get_docstring(tree) or "").partition("\n")[0]


def main() -> int:
    """Print the list, whatever the arguments."""
    rows = list(harnesses())
    width = max(len(module) for module, _ in rows)
    for module, what in rows:
        print(f"python -m {module:{width}}  {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
