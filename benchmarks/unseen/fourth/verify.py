"""Plain NumPy against torch.autograd; not the tool."""
import dataclasses, inspect
import numpy as np, torch
torch.set_num_threads(1)
from cases import CASES, RIGHTS
T = lambda a: torch.tensor(a, requires_grad=a.dtype.kind == "f")
val = lambda s, rng, k=None: s(rng) if callable(s) else rng.integers(0, k, ) if s == "class" else rng.normal(size=s)

def gap(a, b):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, (a.shape, b.shape)
    return np.abs(a - b).max() / max(1e-30, np.abs(b).max())

def run(c, seed, n):
    rng = np.random.default_rng(seed); k = c.kwargs; g = {}
    res = lambda s: (n,) + tuple(s[1:]) if isinstance(s, tuple) and n else s
    if c.kind == "layer":
        f, b = c.ours()
        x = val(res(k["x"]), rng); P = {q: rng.normal(size=s) for q, s in k.get("params", {}).items()}
        r = f(x, **P)
        y, cache = r if isinstance(r, tuple) else (r, x)
        X, PT = T(x), {q: T(p) for q, p in P.items()}
        Y = c.twin()(X, **PT); dy = rng.normal(size=y.shape)
        Y.backward(torch.tensor(dy)); d = b(dy, cache)
        if not isinstance(d, dict): d = {"x": d}
        assert set(d) == {"x", *P}
        g["output"] = gap(y, Y.detach()); g["input gradient"] = gap(d["x"], X.grad)
        for q in P: g["gradient of " + q] = gap(d[q], PT[q].grad)
    elif c.kind == "loss":
        L = c.ours(); o = val(res(k["output"]), rng)
        t = rng.integers(0, o.shape[1], len(o)) if k["target"] == "class" else val(res(k["target"]), rng)
        J, cache = L.forward(o, t); O = T(o); JT = c.twin()(O, torch.tensor(t)); JT.backward()
        g["loss"] = gap(J, JT.detach()); g["loss gradient"] = gap(L.gradient(cache), O.grad)
    else:
        r = c.ours(); th = rng.normal(size=k["theta"]); p = torch.nn.Parameter(torch.tensor(th))
        h = {f.name: getattr(r, f.name) for f in dataclasses.fields(r)}
        if "beta1" in h: h["betas"] = (h.pop("beta1"), h.pop("beta2"))
        opt = c.twin()([p], lr=0.01, **h); st = r.init(th); w = 0
        for _ in range(10):
            gr = rng.normal(size=th.shape); p.grad = torch.tensor(gr); opt.step()
            th, st = r.update(th, gr, st, 0.01); w = max(w, gap(th, p.detach()))
        g["theta"] = w
    return g

bad = 0
for c in RIGHTS + CASES:
    for seed, n in ((0, None), (1, None), (2, 8)):
        try:
            g = run(c, seed, n); got = {q for q, e in g.items() if not e < 1e-12}
            weak = {q: g[q] for q in got if g[q] < 1e-7}
            if got != c.differ or weak: bad += 1; print("BAD", c.name, seed, "got-declared", got - c.differ, "declared-got", c.differ - got, weak)
        except Exception as e:
            bad += 1; print("ERR", c.name, repr(e))
from collections import Counter
print(len(CASES), Counter(c.kind for c in CASES), len(RIGHTS), "bad", bad, "two-fault", sum("+" in c.name for c in CASES), [(c.name) for c in CASES if len(c.truth) < 10])
