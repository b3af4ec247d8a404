"""What a run found, as one sentence, as the final table, and as report.json."""

from __future__ import annotations

from typing import Any

from handgrad.compare.foundation.json_values import finite
from handgrad.compare.judge.ledger import StageRow
from handgrad.compare.judge.whole_step import STAGE as WHOLE_STEP
from handgrad.compare.run.lockstep import Lockstep

AGREES, DISAGREES = "agrees", "disagrees"  # the verdict in report.json


def report(run: Lockstep, total_seconds: float, stopped: str = "") -> dict[str, Any]:
    """report.json. `stopped` says why a run ended early, and is empty for one that did not."""
    rows = list(run.judge.rows.values())
    stages = [r for r in rows if r.name != WHOLE_STEP]  # its bound reaches through every stage and is loose by nature
    now = run.progress
    steps = now.step + 1
    return {
        "verdict": DISAGREES if any(r.disagreements for r in rows) else AGREES,
        "steps": steps,
        "parameters": run.sides.network.size,
        "numbers_compared": sum(r.numbers for r in stages),
        "disagreements": [finite(d.as_json()) for d in run.judge.disagreements],
        "branch_flips": sum(now.branch_flips.values()),
        "branch_flips_by_layer": now.branch_flips,
        "vacuous": sum(r.vacuous for r in stages),
        "within_reference": sum(r.within_reference for r in rows),
        "judged_by_two_precision": sum(r.by_two_precision for r in rows),
        "whole_steps_unjudged": sum(r.unjudged for r in rows),
        "closest_call": finite(max((r.closest for r in stages), default=0.0)),
        "loosest_tolerance": finite(max((r.loosest for r in stages), default=0.0)),
        "drift": finite(now.drift),
        "correct": now.correct,
        "tested_on": "validation" if run.experiment.validation else "test",
        "test_digits": len(run.dataset.test),
        "accuracy": {side: n / len(run.dataset.test) for side, n in now.correct.items()},
        "loss": finite(now.loss),
        "test_loss": finite(now.test_loss),
        "seconds": {**now.seconds, "total": total_seconds},
        "log_fraction": now.seconds["log"] / total_seconds if total_seconds else 0.0,  # of the run's time
        "stopped": stopped,
        "notes": now.notes,
        "certificate": run.certificate,
        "stages": [_row(r) for r in stages],
        "whole_step": next((_row(r) for r in rows if r.name == WHOLE_STEP), None),
    }


def _row(r: StageRow) -> dict[str, Any]:
    """One stage, as report.json has it."""
    row = {
        "stage": r.name,
        "numbers": r.numbers,
        "closest_call": r.closest,
        "at_step": r.at_step,
        "tensor": r.tensor,
        "index": list(r.index),
        "largest_difference": r.largest_difference,
        "loosest_tolerance": r.loosest,
        "vacuous": r.vacuous,
        "within_reference": r.within_reference,
        "judged_by_two_precision": r.by_two_precision,
        "disagreements": r.disagreements,
    }
    finite_row: dict[str, Any] = finite(row)
    return finite_row


def sentence(r: dict[str, Any]) -> str:
    """The run in one plain sentence."""
    parts = [f"{r['steps']:,} steps", f"{count(r['numbers_compared'])} numbers compared"]
    if not r["numbers_compared"]:
        parts.append("nothing was compared")
    elif r["verdict"] == AGREES:
        parts += ["all agree", f"closest call {r['closest_call']:.3f} of its bound"]
    else:
        parts.append(f"{len(r['disagreements'])} tensors disagree")
    if r["branch_flips"]:
        parts.append(f"{r['branch_flips']:,} branch flips")
    if r["vacuous"]:
        parts.append(f"{r['vacuous']:,} vacuous tolerances")
    if r["within_reference"]:
        parts.append(f"{r['within_reference']:,} within the reference's own rounding")
    if r["whole_steps_unjudged"]:
        parts.append(f"{r['whole_steps_unjudged']:,} steps not judged as a whole: no bound reaches through the network")
    parts.append(
        "weights no longer finite" if r["drift"] is None
        else "weights equal bit for bit" if not r["drift"]
        else f"weights still equal to {r['drift']:.0e}" if r["drift"] < 1e-2
        else f"the two runs have parted, weights {r['drift']:.0e} apart, though each step was judged by itself"
    )  # fmt: skip
    return " · ".join(parts)


def rows_of(r: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the table: one per stage, and the whole step where it was judged."""
    return [*r["stages"], *([r["whole_step"]] if r["whole_step"] else [])]


def table(r: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The names of the columns, and one row of words per stage of the step."""
    rows = []
    for row in rows_of(r):
        closest, loosest = row["closest_call"], row["loosest_tolerance"]
        judged = row["numbers"] or not r["whole_steps_unjudged"]
        verdict = f"{row['disagreements']:,} disagree" if row["disagreements"] else "agrees" if judged else "unjudged"
        verdict += f", {row['within_reference']:,} within the reference's rounding" if row["within_reference"] else ""
        verdict += f", {row['vacuous']:,} vacuous" if row["vacuous"] else ""
        rows.append([
            row["stage"],
            short_count(row["numbers"]),
            "∞" if row["largest_difference"] is None else f"{row['largest_difference']:.1e}",
            "∞" if closest is None else f"{closest:.2f}" if closest < 100 else f"{closest:.1e}",
            "∞" if loosest is None else f"{loosest:.1e}",
            verdict,
        ])  # fmt: skip
    return ["stage", "numbers", "max |Δ|", "of bound", "tolerance", "verdict"], rows


def count(n: int) -> str:
    """1234567 → '1.2 million'."""
    for size, word in ((10**9, "billion"), (10**6, "million")):
        if n >= size:
            value = n / size
            return f"{value:.0f} {word}" if value >= 100 else f"{value:.1f} {word}"
    return f"{n:,}"


def short_count(n: int) -> str:
    """1234567 → '1.2 M', for tables."""
    return count(n).replace(" billion", " G").replace(" million", " M")
