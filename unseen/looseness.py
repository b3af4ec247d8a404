"""Which right cases are judged with a loose bound (allowed / largest element) at some tensor?"""
import sys; sys.path.insert(0, "unseen")
import cases
from compare import check
for c in cases.RIGHT:
    try: r = check(c["make"](), c["twin"], **c["kw"])
    except AssertionError: continue
    for f in r.findings:
        if f.verdict.looseness > 1e-9: print(c["name"], f.tensor, f"{f.verdict.looseness:.1e}", f.verdict.rule)
