"""What the Text page says: the start certificate, the verdict, and every disagreement, as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from handgrad.compare.judge.ledger import Disagreement
from handgrad.compare.run.lockstep import Lockstep
from handgrad.compare.run.progress import SIDES
from handgrad.compare.run.report import DISAGREES, sentence, table
from handgrad.compare.run.terminal import settings

WIDTH = 110  # characters of a line that a page shows without scrolling


def certificate(run: Lockstep) -> str:
    """The settings, and the hashes of what both sides start from."""
    rows = []
    for what, hashes in run.certificate.items():
        same = "the same" if len(set(hashes.values())) == 1 else "**NOT THE SAME**"
        rows.append([what.replace("_", " "), *(f"`{hashes[side][:16]}`" for side in SIDES), same])
    return f"{settings(run)}\n\n{markdown_table(['SHA-256 of', *SIDES, ''], rows)}"


def verdict(report: dict[str, Any]) -> str:
    """The sentence and the table that end a run, from what report.json says."""
    header, rows = table(report)
    stopped = f"\n\n**stopped: {report['stopped']}**" if report["stopped"] else ""
    words = "**disagrees**" if report["verdict"] == DISAGREES else "agrees"
    return f"{words}: {sentence(report)}{stopped}\n\n{markdown_table(header, rows)}"


def disagreements(found: Sequence[Disagreement]) -> str:
    """Every disagreement of a step, whole, with its diagnosis."""
    return "\n\n".join(
        f"### {d.stage} · {d.tensor or 'the whole stage'}\n\n```\n{_wrapped(str(d))}\n```" for d in found
    )


def _wrapped(text: str) -> str:
    """Long lines broken, and what follows set in further."""
    lines = []
    for line in text.replace("```", "'''").splitlines():
        indent = " " * (len(line) - len(line.lstrip()) + 4)
        wrap = textwrap.TextWrapper(WIDTH, subsequent_indent=indent, break_on_hyphens=False)
        lines += wrap.wrap(line) or [""]
    return "\n".join(lines)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    rule = [":--", *["--:"] * (len(header) - 1)]
    lines = ([cell.replace("|", "\\|") for cell in row] for row in (header, rule, *rows))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
