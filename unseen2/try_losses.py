import sys; sys.path.insert(0, "..")
from compare import check
from losses import *
import time
for table in (LOSSES, RULES):
  for n, (m, t, kw) in table.items():
    if len(sys.argv) > 1 and n not in sys.argv[1:]: continue
    kw = kw if table is LOSSES else {"theta": (6,), **kw}
    c = time.process_time()
    try: rep = check(m(frozenset()), t, name=n, **kw); r = "ok " + " ".join(f.tensor for f in rep.findings)
    except Exception as e:
        r = type(e).__name__ + " " + (str(e) if type(e).__name__ != "CheckFailed" else " | ".join(l for l in str(e).splitlines()[:6] if "cause" not in l))
    print(n, r[:400], round(time.process_time() - c, 1), flush=True)
print(len(LWRONG), len(RWRONG))
