import sys, traceback; sys.path.insert(0, "..")
from compare import check
from layers import *
import time
for n, (m, t, kw) in FAMILIES.items():
    if len(sys.argv) > 1 and n not in sys.argv[1:]: continue
    c = time.process_time()
    try: check(m(frozenset()), t, name=n, **kw); r = "ok"
    except Exception as e:
        r = type(e).__name__ + " " + (" | ".join(l for l in str(e).splitlines()[:6] if "cause" not in l) if type(e).__name__ != "CheckFailed" else str([x.tensor for x in e.args[0].findings if not x.agrees]) if hasattr(e.args[0],"findings") else "")
    print(n, r, round(time.process_time() - c, 1), flush=True)
print(len(WRONG), sum(len(w[3]) > 1 for w in WRONG))
