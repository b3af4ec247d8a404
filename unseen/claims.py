"""Which tensors does each fault really change? Compares the wrong with the corrected version, without handgrad."""
import sys
sys.path.insert(0, "unseen")
import numpy as np, cases
def draw(s, rng): return s(rng) if callable(s) else s if isinstance(s, np.ndarray) else rng.standard_normal(s)
def changed(c):
    w, r, kw = c["make"](), c["fixed"]() if False else None, c["kw"]
    return w
import importlib
bad = 0
for c in cases.WRONG:
    fixed = next(r for r in cases.RIGHT if r["name"] == c["fam"] + "[right]")["make"]()
    wrong = c["make"](); kw = c["kw"]; got = set()
    for seed in range(4):
        rng = np.random.default_rng(seed)
        if c["kind"] == "layer":
            x = draw(kw["x"], rng); P = {k: draw(v, rng) for k, v in kw.get("params", {}).items()}
            y0, y1 = fixed[0](x, **P), wrong[0](x, **P)
            if not np.allclose(y0, y1, rtol=1e-9, atol=0): got.add("o")
            dy = rng.standard_normal(y0.shape)
            a, b = fixed[1](dy, x, **P), wrong[1](dy, x, **P)
            if not isinstance(a, dict): a, b = {"x": a}, {"x": b}
            for k in a:
                assert np.shape(a[k]) == np.shape(b[k]), (c["name"], k)
                if not np.allclose(a[k], b[k], rtol=1e-9, atol=1e-12): got.add(k)
        elif c["kind"] == "loss":
            o = draw(kw["output"], rng); t = rng.integers(0, o.shape[1], o.shape[0]) if kw["target"] == "class" else draw(kw["target"], rng)
            (l0, c0), (l1, c1) = fixed.forward(o, t), wrong.forward(o, t)
            if not np.allclose(l0, l1): got.add("l")
            g0, g1 = fixed.gradient(c0), wrong.gradient(c1)
            assert g0.shape == g1.shape
            if not np.allclose(g0, g1, rtol=1e-9, atol=1e-12): got.add("lg")
        else:
            th = rng.standard_normal(6); a = b = th; s0, s1 = fixed.init(th), wrong.init(th)
            for k in range(1, kw["steps"] + 1):
                g = rng.standard_normal(6)
                a, s0 = fixed.update(a, g, s0, 0.01); b, s1 = wrong.update(b, g, s1, 0.01)
                if not np.allclose(a, b, rtol=1e-9, atol=0): got.add(f"t{k}"); break
            if seed == 0 and not got: print("?", c["name"], "no change")
    if c["kind"] == "update": got = {min(got, key=lambda t: int(t[1:]))} if got else got
    if got != set(c["tensors"].split()): bad += 1; print(c["name"], "claimed", c["tensors"], "got", got)
print("claims checked", len(cases.WRONG), "wrong claims", bad)
