"""After the freeze, side experiments only (not in the counts): the same faults beside twins written in elementary operations."""
import sys, re, time, math
sys.path.insert(0, "unseen")
import torch, torch.nn.functional as F, numpy as np
import cases
from compare import check
from compare.checking.check import CheckFailed
def gru(x, W, U, b):
    xx, h = x[:, :3], x[:, 3:]
    a, c = xx @ W.T + b, h @ U.T
    r, z = torch.sigmoid(a[:, :2] + c[:, :2]), torch.sigmoid(a[:, 2:4] + c[:, 2:4])
    n = torch.tanh(a[:, 4:] + r * c[:, 4:])
    return (1 - z) * n + z * h
def lstm(x, W, b):
    a = x[:, :5] @ W.T + b
    i, f, g, o = torch.sigmoid(a[:, :2]), torch.sigmoid(a[:, 2:4]), torch.tanh(a[:, 4:6]), torch.sigmoid(a[:, 6:])
    c = f * x[:, 5:] + i * g
    return torch.cat([o * torch.tanh(c), c], 1)
def wn(x, v, g): return x @ (g * v / torch.sqrt((v * v).sum(1, keepdim=True))).T
def rot(x):
    th = torch.arange(x.shape[1], dtype=x.dtype) * 0.7
    c, s = torch.cos(th)[:, None], torch.sin(th)[:, None]
    a, b = x[..., :2], x[..., 2:]
    return torch.cat([a * c - b * s, a * s + b * c], 2)
tw = {"GRU cell": gru, "LSTM cell": lstm, "weight norm": wn, "rotary": rot}
for c in cases.WRONG:
    make, twin = c["make"], tw.get(c["fam"])
    if c["fam"] == "NAdam": twin, make = c["twin"], (lambda f=c["name"][6:-1]: cases.rule(cases.nadam)("f64+" + f))
    if twin is None: continue
    t = time.process_time()
    try: check(make(), twin, **c["kw"]); said = ["AGREES"]
    except CheckFailed as e:
        said = [("" if f.tensor.startswith("theta") else f.tensor + ": ") + ("; ".join(f.causes) or "none") for f in e.report.findings if not f.verdict.agrees]
    print(f"\n{c['name']} {time.process_time() - t:.1f}s cpu  TRUTH {c['truth']}"); [print("   ", s[:300]) for s in dict.fromkeys(said)]
    sys.stdout.flush()
