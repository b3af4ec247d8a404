"""Which tool finds which fault, and which tool complains of what is right? Prints Markdown tables.

    python -m benchmarks.detection.detection                   # everything
    python -m benchmarks.detection.detection --quick           # every fifth fault, 200 right configurations
    python -m benchmarks.detection.detection --held-out FILE   # only a file's faults; see tests/derivations/held_out.py

Every tool gets the same draws of the same two sides. gradcheck and central differences compare the manual backward
pass with the manual forward pass; they need no reference and cannot see a forward pass that is wrong in itself. An
update rule and a training step are no function with a derivative: there these two cannot be applied, which counts as
not caught. assert_close and allclose are given every result of both sides, one after another; which tensor
differs is then what their caller knows, not what they say.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections import Counter, defaultdict

import numpy as np
import torch

from benchmarks.detection import held_out
from benchmarks.detection.other_tools import NOT_APPLICABLE, OTHERS, OURS, Said
from benchmarks.speed.timing import table
from handgrad.compare.checking import check as checking
from handgrad.compare.checking.draws import Draw, Drawn
from handgrad.compare.checking.outcome import Outcome
from handgrad.compare.foundation import process, threads
from tests.derivations.case import STEP, Derivation
from tests.derivations.right.configurations import configurations
from tests.derivations.scoring import said_of, score
from tests.derivations.wrong import held_out_first, held_out_second
from tests.derivations.wrong.breaking import MAGNITUDES
from tests.derivations.wrong.catalogue import EQUIVALENT, catalogue

TOOLS = (OURS, *OTHERS)


def others_on(fault: Derivation) -> dict[str, Said]:
    """What the other tools say of a fault, over all draws."""
    if fault.kind == STEP:
        return dict.fromkeys(OTHERS, NOT_APPLICABLE)
    said = {}
    for name, tool in OTHERS.items():
        fresh = copy.deepcopy(fault)  # with nothing kept from an earlier call
        each = [tool(fresh.sides, draw.arrays) for draw in fresh.draws()]
        named = frozenset().union(*(s.tensors for s in each if s.tensors)) if each[0].tensors is not None else None
        said[name] = Said(any(s.complains for s in each), named, each[0].applies)
    return said


def detection(title: str, faults: list[Derivation]) -> None:
    """The tables of the planted faults."""
    caught: dict[str, Counter[str]] = defaultdict(Counter)
    located: Counter[str] = Counter()
    named, wrong, notes = 0, 0, []
    for fault in faults:
        said = said_of(fault)
        result = score(fault, said)
        caught[OURS][fault.group] += result.caught
        located[OURS] += result.located
        named += result.named
        wrong += bool(result.wrong)
        if not (result.caught and result.located and result.named) or result.wrong:
            notes.append(f"- {fault.name}: said {said or 'nothing'}, so it is {dict(fault.differs)}")
        with np.errstate(all="ignore"):
            for name, other in others_on(fault).items():
                caught[name][fault.group] += other.complains
                located[name] += other.tensors == frozenset(fault.differs)
    total = Counter(fault.group for fault in faults)
    print(f"\n## {title}: {len(faults)} planted faults\n\nCaught, of a wrong formula and of relative errors:\n")
    sizes = [m for m in MAGNITUDES if total[m]]
    rows = [[tool, *(str(caught[tool][m]) for m in sizes), str(sum(caught[tool].values()))] for tool in TOOLS]
    print(table(["", *sizes, "all"], [["**planted**", *(str(total[m]) for m in sizes), str(len(faults))], *rows]))
    print("\nWhat is said of them:\n")
    rows = [[OURS, str(named), str(wrong), str(located[OURS])]]
    for tool in OTHERS:
        names_one = tool == "torch.autograd.gradcheck"
        rows.append([tool, "n/a", "n/a", str(located[tool]) if names_one else "n/a"])
    print(table(["", "every cause named", "a wrong cause named", "the faulty tensors named, and no other"], rows))
    print("\n" + ("\n".join(notes) or "No fault is missed, none is misnamed."), flush=True)


def false_alarms(count: int) -> None:
    """The tables of the right configurations."""
    alarms: dict[str, Counter[str]] = defaultdict(Counter)
    tried: dict[str, Counter[str]] = defaultdict(Counter)
    notes, undecided = [], 0
    for c in configurations(count, seed=1):
        kinds = ["all", c.arguments["dtype"], *([c.group] if c.group else [])]
        with np.errstate(all="ignore"):
            report = checking.run(c.name, Drawn(c.sides, [Draw("draw", c.inputs)]))
            undecided += report.outcome is Outcome.UNDECIDED
            said = {
                OURS: Said(bool(report.differing)),
                **{name: tool(c.sides, c.inputs) for name, tool in OTHERS.items()},
            }
        if report.differing:
            wrong = [f"{f.tensor}: {f.verdict.describe()}" for f in report.findings if f.differs]
            notes.append(f"- {c.name}, {c.arguments['dtype']}: {'; '.join(wrong)}")
        for tool, s in said.items():
            for kind in kinds:
                tried[tool][kind] += s.applies
                alarms[tool][kind] += s.complains
    kinds = [k for k in ("float64", "float32", "ordinary", "saturated", "dead", "at a kink", "all") if tried[OURS][k]]
    print(f"\n## False alarms over {count:,} right configurations\n")
    rows = [[tool, *(f"{alarms[tool][k]:,} of {tried[tool][k]:,}" for k in kinds)] for tool in TOOLS]
    print(table(["", *kinds], rows))
    print(f"\n{undecided:,} are not decided by {OURS}: dead or saturated, all of a gradient is 0 there.")
    if notes:
        print("\n" + "\n".join(notes))
    print(flush=True)


def main() -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a fifth of the faults, 200 right configurations")
    parser.add_argument(
        "--held-out", metavar="FILE", help="only the faults of FILE: its format is in tests/derivations/held_out.py"
    )
    parser.add_argument("--only", metavar="REGEX", default="", help="with --held-out: faults whose name matches")
    args = parser.parse_args()
    process.keep_freed_memory()
    threads.limit()
    if args.held_out:
        held_out.held_out(args.held_out, args.only)
        return 0
    started = time.perf_counter()
    stride, count = (5, 200) if args.quick else (1, 2400)
    detection("The catalogue", catalogue()[::stride])
    detection("Held out, written after the causes; two causes were mended because of it", held_out_first.first())
    detection("Held out, written last; nothing was changed because of it", held_out_first.second())
    print(
        "\n## Layers, losses and update rules by strangers, written before the diagnosis by the reference's own steps\n"
    )
    held_out.held_out(held_out_second.__file__, quiet=True)
    print("\nEquivalent edits, which give the right numbers and are not counted:\n")
    print("\n".join(f"- {name}: {reason}" for name, reason in EQUIVALENT))
    false_alarms(count)
    print(f"{time.perf_counter() - started:.0f} s on one core, torch {torch.__version__}, NumPy {np.__version__}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
