"""Before the freeze: does every right derivation agree, and does every wrong one exist? Only names are printed, never a diagnosis."""
import sys, time
sys.path.insert(0, "unseen")
import cases
from compare import check
from compare.checking.check import CheckFailed
from collections import Counter
print(len(cases.WRONG), Counter(c["kind"] for c in cases.WRONG), "two", sum(c["two"] for c in cases.WRONG), "right", len(cases.RIGHT))
bad = 0
for c in cases.RIGHT:
    t = time.time()
    try:
        r = check(c["make"](), c["twin"], **c["kw"])
        if not r.agrees: print("?", c["name"])
    except CheckFailed as e:
        bad += 1
        print("DISAGREES", c["name"], [l for l in str(e).splitlines()[1:12] if " differs " in l])
    except Exception as e:
        bad += 1
        print("ERROR", c["name"], type(e).__name__, str(e)[:300])
print("bad", bad)
