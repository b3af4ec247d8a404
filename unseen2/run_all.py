"""Every case once: name, truth, tensors, causes, CPU seconds; also to results.json."""
import sys; sys.path.insert(0, "..")
import json, time, warnings
warnings.simplefilter("ignore")
from compare import check
from compare.checking.findings import CheckFailed
from cases import cases
only, rows = sys.argv[2:], []
for name, kind, ours, twin, kw, must, truths in cases():
    if only and kind not in only and name.split(":")[0] not in only and name not in only: continue
    c = time.process_time(); row = {"name": name, "kind": kind, "truths": truths}
    try:
        try: report = check(ours, twin, name=name, **kw)
        except CheckFailed as e: report = e.report if hasattr(e, "report") else e.args[0]
        bad = [f for f in report.findings if not f.agrees]
        got = {"theta" if f.tensor.startswith("theta") else f.tensor for f in bad}
        row |= {"caught": bool(bad), "tensors": got == must, "missing": sorted(must - got), "extra": sorted(got - must),
                "causes": {f.tensor: [list(f.causes), f.draw, list(f.notes)] for f in bad}}
    except Exception as e: row["crash"] = f"{type(e).__name__}: {e}"
    row["cpu"] = round(time.process_time() - c, 1); rows.append(row)
    print(f"\n## {name} [{kind}] {row['cpu']} s", "" if row.get("tensors") else f"TENSORS missing {row.get('missing')} extra {row.get('extra')} {row.get('crash', '')}")
    for t in truths: print("   truth:", t)
    for t, (cs, draw, lines) in row.get("causes", {}).items():
        print(f"   {t} ({draw}):", *(f"{c!r}" for c in cs) if cs else ["NONE", *(l[:160] for l in lines[:2])], flush=True)
    json.dump(rows, open(sys.argv[1], "w"), ensure_ascii=False, indent=1)
