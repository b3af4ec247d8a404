"""Without any diagnosis printed: which tensors differ, against what must."""
import sys; sys.path.insert(0, "..")
import time
from compare import check
from compare.checking.findings import CheckFailed
from cases import cases
only = sys.argv[1:]
for name, kind, ours, twin, kw, must, truths in cases():
    if only and kind not in only and name not in only: continue
    c = time.process_time()
    try: report = check(ours, twin, name=name, **kw)
    except CheckFailed as e: report = e.report if hasattr(e, "report") else e.args[0]
    except Exception as e: print(name, "CRASH", type(e).__name__, str(e)[:200]); continue
    if isinstance(report, str): print("?", report[:60]); continue
    got = {"theta" if f.tensor.startswith("theta") else f.tensor for f in report.findings if not f.agrees}
    print(name, "as stated" if got == must else f"STATED {must} GOT {got}", round(time.process_time() - c, 1), flush=True)
