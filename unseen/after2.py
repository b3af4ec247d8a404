"""After the freeze: a loose bound in the hinge, class-attribute hyperparameters, CPU seconds of the slow checks."""
import sys, time
sys.path.insert(0, "unseen")
import numpy as np, torch, cases
from compare import check
from compare.checking.check import CheckFailed
right = cases.hinge("")
for eps in (1e-3, 1e-2, 0.3, 0.9):
    def grad(o, t):
        g = right.g(o, t); Y = cases.oh(t, o.shape[1])
        return g + Y * eps / o.size
    try: r = check(cases.Loss(right.f, grad), torch.nn.MultiMarginLoss(), output=(5, 4), target="class"); print("hinge, true class off by", eps, "/ size: AGREES", [f.verdict.looseness for f in r.findings], str(r)[:600])
    except CheckFailed as e: print("hinge, true class off by", eps, "/ size: caught", e.report.findings[-1].verdict.allowed)
class Mo:
    momentum = 0.9
    def init(self, theta): return {"momentum_buffer": np.zeros_like(theta)}
    def update(self, theta, g, s, lr):
        v = self.momentum * s["momentum_buffer"] + g
        return theta - lr * v, {"momentum_buffer": v}
try: print(check(Mo(), torch.optim.SGD, theta=(10,), steps=2))
except CheckFailed as e: print(str(e)[:1500])
for c in cases.WRONG:
    if c["fam"] in ("causal attention",) or c["name"] in ("BatchNorm[no s]", "BatchNorm[unbiased fwd]", "focal[weight const]", "label smoothing[hard]", "RNN through time[tanh' prev]"):
        t, w = time.process_time(), time.time()
        try: check(c["make"](), c["twin"], **c["kw"])
        except CheckFailed: pass
        print(f"{c['name']}: {time.process_time() - t:.1f} s of CPU, {time.time() - w:.1f} s on the clock"); sys.stdout.flush()
