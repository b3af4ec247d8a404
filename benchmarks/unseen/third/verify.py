"""Plain NumPy beside torch.autograd: the right version is right, the wrong one wrong in the named tensors only."""
import sys

import numpy as np
import torch

from common import tensors


def draws(spec, rng):
    """Several values of an input."""
    if callable(spec):
        return [spec(rng) for _ in range(3)]
    if isinstance(spec, np.ndarray):
        return [spec] * 3
    more = (spec[0] + 1, *spec[1:])
    return [rng.normal(size=spec), rng.normal(size=more), np.round(rng.normal(size=spec) * 2) / 2 + 0.0]


def differs(a, b, tol):
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return f"shape {a.shape} beside {b.shape}"
    scale = max(np.abs(b).max(), np.abs(a[np.isfinite(a)]).max() if a.size else 0, 1e-300)
    d = np.abs(a - b).max() / scale
    return bool(not d <= tol) and d


def layer_results(ours, twin, x, params, rng):
    """{name: (manual, torch)}"""
    if isinstance(ours, tuple):
        forward, backward = ours
        y = forward(x, **params)
        cache = None
        if isinstance(y, tuple):
            y, cache = y
    else:
        y, cache = ours.forward(params, x)
    dy = rng.normal(size=np.shape(y))
    if isinstance(ours, tuple):
        g = backward(dy, x, **params) if cache is None else backward(dy, cache)
        g = dict(g) if isinstance(g, dict) else {"x": g}
    else:
        g = {"x": ours.input_gradient(params, cache, dy), **ours.parameter_gradients(params, cache, dy)}
    tx = torch.tensor(x, requires_grad=True)
    if isinstance(twin, torch.nn.Module):
        with torch.no_grad():
            for n, p in twin.named_parameters():
                p.copy_(torch.tensor(params[n]))
                p.grad = None
        ty = twin.to(tx.dtype)(tx)
        tp = dict(twin.named_parameters())
    else:
        tp = {n: torch.tensor(np.asarray(p), requires_grad=True) for n, p in params.items()}
        ty = twin(tx, **tp)
    assert ty.shape == np.shape(y), f"twin's output {tuple(ty.shape)}, ours {np.shape(y)}"
    ty.backward(torch.tensor(dy, dtype=ty.dtype))
    assert set(g) == {"x", *tp}, (set(g), set(tp))
    out = {"output": (y, ty.detach().numpy()), "input gradient": (g["x"], tx.grad.numpy())}
    for n, p in tp.items():
        out[f"gradient of {n}"] = (g[n], p.grad.numpy())
    return out


def layer_runs(kwargs, make, twin, dtype="float64", seeds=(0, 1, 2)):
    for seed in seeds:
        rng = np.random.default_rng(seed)
        for x in draws(kwargs["x"], rng):
            ours = make()
            if isinstance(ours, tuple):
                params = {n: np.asarray(p, dtype=dtype) if isinstance(p, np.ndarray) else rng.normal(size=p).astype(dtype)
                          for n, p in kwargs.get("params", {}).items()}
            else:
                params = {n: p.astype(dtype) for n, p in ours.init(rng).items()}
            yield layer_results(ours, twin(), x.astype(dtype), params, rng)


def loss_runs(kwargs, make, twin, dtype="float64", seeds=(0, 1, 2)):
    for seed in seeds:
        rng = np.random.default_rng(seed)
        outs = draws(kwargs["output"], rng)
        for i, o in enumerate(outs):
            t = kwargs["target"]
            if t == "class":
                t = rng.integers(0, o.shape[1], size=(o.shape[0], *o.shape[2:]))
            elif callable(t):
                t = t(rng)
            elif not isinstance(t, np.ndarray):
                t = draws(t, rng)[i]
            o = o.astype(dtype)
            if t.dtype.kind == "f":
                t = t.astype(dtype)
            ours = make()
            J, cache = ours.forward(o, t)
            g = ours.gradient(cache)
            to = torch.tensor(o, requires_grad=True)
            tJ = twin()(to, torch.tensor(t))
            assert tJ.ndim == 0 and np.ndim(J) == 0
            tJ.backward()
            yield {"loss": (J, tJ.item()), "loss gradient": (g, to.grad.numpy())}


def rule_thetas(kwargs, make, twin, dtype="float64", seed=0):
    """[(manual, torch)] after each step, gradients random."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=kwargs["theta"]).astype(dtype)
    lr = kwargs.get("learning_rate", 0.01)
    rule = make()
    state = rule.init(theta.copy())
    p = torch.nn.Parameter(torch.tensor(theta))
    t = twin()
    known = {k: n for k, n in vars(rule).items() if not k.startswith("_")}
    if "beta1" in known:
        known["betas"] = (known.pop("beta1"), known.pop("beta2"))
    opt = t([p], lr=lr, **known) if isinstance(t, type) else t([p], lr)
    out = []
    for _ in range(kwargs.get("steps", 10)):
        g = rng.normal(size=theta.shape).astype(dtype)
        theta, state = rule.update(theta, g, state, lr)
        p.grad = torch.tensor(g)
        opt.step()
        out.append((theta.copy(), p.detach().numpy().copy()))
    return out


RUNS = {"layer": layer_runs, "loss": loss_runs}


def verify(case):
    if case.kind == "rule":
        right = [differs(a, b, 1e-12) for a, b in rule_thetas(case.kwargs, case.right, case.twin)]
        assert not any(right), f"right version differs: {right}"
        for seed in (0, 1):
            wrong = [differs(a, b, 1e-11) for a, b in rule_thetas(case.kwargs, case.ours, case.twin, seed=seed)]
            first = next((i + 1 for i, d in enumerate(wrong) if d), 0)
            assert first >= case.first_step > 0, f"first differing step {first}, declared {case.first_step}: {wrong}"
            if first != case.first_step:
                print(case.name, 'seed', seed, 'first differs at', first, 'not', case.first_step)
        return max(wrong)
    runs = RUNS[case.kind]
    for r in runs(case.kwargs, case.right, case.twin):
        for n, (a, b) in r.items():
            assert not (d := differs(a, b, 1e-10)), f"right version differs in {n}: {d}"
    seen, smallest = {}, {}
    for r in runs(case.kwargs, case.ours, case.twin):
        for n, (a, b) in r.items():
            d = differs(a, b, 1e-10)
            assert not isinstance(d, str), f"{n}: {d}"
            seen[n] = max(seen.get(n, 0), float(d))
    found = frozenset(n for n, d in seen.items() if d)
    assert found == case.differ, f"differ {sorted(found)}, declared {sorted(case.differ)}"
    return min(seen[n] for n in found)


if __name__ == "__main__":
    torch.set_num_threads(1)
    np.seterr(all="ignore")
    from cases import CASES
    bad, small = 0, []
    assert len({c.name for c in CASES}) == len(CASES)
    for case in CASES:
        try:
            small.append((verify(case), case.name))
        except Exception as e:  # noqa: BLE001
            bad += 1
            print(f"{case.name}: {type(e).__name__}: {e}")
    print(len(CASES), "cases,", bad, "bad; smallest effects", sorted(small)[:6])
    sys.exit(bad > 0)
