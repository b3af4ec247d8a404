"""A report as HTML for a notebook: readable on a light and on a dark page, with no script and no outside file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from handgrad.compare.checking.finding import Finding
from handgrad.compare.checking.outcome import Outcome

GREEN, RED, AMBER = "#2a9d63", "#e0524d", "#b8860b"  # of a lightness that both white and black let through
STYLE = (
    "<style>.handgrad{color:inherit;line-height:1.45}"
    ".handgrad table{border-collapse:collapse;margin:.5em 0}"
    ".handgrad th,.handgrad td{background:none;color:inherit;text-align:left;padding:.2em .9em .2em 0;"
    "border-bottom:1px solid rgba(128,128,128,.4)}"
    ".handgrad .number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
    f".handgrad .agrees{{color:{GREEN};font-weight:600}}.handgrad .differs{{color:{RED};font-weight:600}}"
    f".handgrad .undecided{{color:{AMBER};font-weight:600}}"
    ".handgrad pre{background:rgba(128,128,128,.12);color:inherit;padding:.6em;overflow:auto;white-space:pre}"
    ".handgrad .found{margin:.6em 0}.handgrad .note{margin-left:1.2em;white-space:pre-wrap}</style>"
)


def html(
    name: str,
    verdict: str,
    findings: Iterable[Finding],
    details: Iterable[tuple[str, list[str]]],
    shared: Mapping[str, Sequence[str]],
    reproducer: str,
) -> str:
    """The whole of a report; `details` are (head, notes), `shared` the notes of several tensors, with their names."""
    parts = [STYLE, '<div class="handgrad">', f"<div><b>{escape(name)}</b>: {escape(verdict)}</div>", _table(findings)]
    parts += [f'<div class="found">{escape(head)}{_notes(notes)}</div>' for head, notes in details]
    parts.append(_notes(f"{', '.join(tensors)}: {note}" for note, tensors in shared.items()))
    if reproducer:
        parts.append(f"<details><summary>To reproduce</summary><pre>{escape(reproducer)}</pre></details>")
    return "".join([*parts, "</div>"])


def _table(findings: Iterable[Finding]) -> str:
    heads = ("tensor", "verdict", "max |Δ|", "of its bound", "rule")
    head = "".join(f"<th{_numeric(i)}>{text}</th>" for i, text in enumerate(heads))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(map(_row, findings))}</tbody></table>"


CLASSES = {Outcome.AGREES: "agrees", Outcome.DIFFERS: "differs", Outcome.UNDECIDED: "undecided"}


def _row(f: Finding) -> str:
    if f.verdict.problem:
        cells = ["", "", f.verdict.problem]
    elif f.outcome is Outcome.UNDECIDED:
        cells = ["", "", f.undecided]
    else:
        share = "must equal torch's" if f.must_equal else f.share
        cells = [f"{f.verdict.largest_difference:.1e}", share, f.rule]
    rest = "".join(f"<td{_numeric(i)}>{escape(text)}</td>" for i, text in enumerate(cells, start=2))
    return f'<tr><td>{escape(f.tensor)}</td><td><span class="{CLASSES[f.outcome]}">{f.outcome}</span></td>{rest}</tr>'


def _numeric(column: int) -> str:
    return ' class="number"' if column in (2, 3) else ""


def _notes(notes: Iterable[str]) -> str:
    return "".join(f'<div class="note">{escape(note)}</div>' for note in notes)
