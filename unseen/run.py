"""Every case through check: name, truth, tensors, the causes said (verbatim), seconds. Full reports go to unseen/reports.txt."""
import re, sys, time, traceback, json
sys.path.insert(0, "unseen")
import cases
from compare import check
from compare.checking.check import CheckFailed
only = sys.argv[1] if len(sys.argv) > 1 else ""
full = open("unseen/reports.txt" if not only else "/tmp/unseen_part.txt", "w")
rows = []
def key(n):
    n = n.strip()
    return {"output": "o", "input gradient": "x", "loss gradient": "lg", "loss": "l"}.get(n) or (n[len("gradient of "):] if n.startswith("gradient of ") else "t" + n.split()[-1] if n.startswith("theta after step") else n)
for right, lst in ((False, cases.WRONG), (True, cases.RIGHT)):
    for c in lst:
        if only and only not in c["name"]: continue
        t = time.time(); text, status, got = "", "", []
        try:
            r = check(c["make"](), c["twin"], **c["kw"]); status, text = "AGREES", str(r)
        except CheckFailed as e:
            status, text = "DIFFERS", str(e)
            got = [key(f.tensor) for f in e.report.findings if not f.verdict.agrees]
        except BaseException as e:
            status, text = "CRASH", traceback.format_exc()
        s = time.time() - t
        exp = c.get("tensors", "").split()
        if c["kind"] == "update" and exp:
            ok = bool(got) and min((int(g[1:]) for g in got if g[0] == "t" and g[1:].isdigit()), default=99) == int(exp[0][1:])
        else:
            ok = set(got) == set(exp)
        rows.append(dict(name=c["name"], kind=c["kind"], right=right, status=status, tensors_ok=ok, got=got, exp=exp, seconds=round(s, 1), truth=c.get("truth", ""), two=c.get("two", False)))
        print(f"\n=== {c['name']}  {status}  {s:.1f}s  {'tensors ok' if ok else f'TENSORS got {got} expected {exp}'}")
        if not right: print("  TRUTH", c["truth"])
        if status == "DIFFERS":
            sect = ""
            said = {}
            for l in text.split("To reproduce:")[0].splitlines():
                if l and not l.startswith(" ") and "," in l: sect = l.split(",")[0]
                elif re.match(r"  (cause|causes|where|perhaps|hint|note|like|ratio|nearest)", l) or (sect and l.startswith("  ") and "referee" not in l and not re.search(r"(agrees|differs) +max", l)):
                    said.setdefault(l.strip(), []).append(sect)
            for l, w in said.items(): print(f"  [{', '.join(dict.fromkeys(w))}] {l}")
        elif status == "CRASH": print(text[-1500:])
        full.write(f"\n{'=' * 100}\n{c['name']} · {status} · {s:.1f}s · truth: {c.get('truth', 'right')}\n{text}\n"); full.flush()
        sys.stdout.flush()
if not only: json.dump(rows, open("unseen/rows.json", "w"), indent=1)
from collections import Counter
print("\n", Counter((r["kind"], r["right"], r["status"], r["tensors_ok"] or r["right"]) for r in rows), "slow", [(r["name"], r["seconds"]) for r in rows if r["seconds"] > 10])
