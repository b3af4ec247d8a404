"""Every case: (name, kind, ours, twin, kwargs of check, tensors that must differ, truths). Right ones have none."""
import numpy as np
from . import layers, losses, rights
def cases():
    for n, f, d, t in layers.WRONG:
        m, twin, kw = layers.FAMILIES[n]
        yield f"{n}:{'+'.join(sorted(f))}", "layer", m(f), twin, kw, d, t
    for n, f, d, t in losses.LWRONG:
        m, twin, kw = losses.LOSSES[n]
        yield f"{n}:{'+'.join(sorted(f))}", "loss", m(f), twin, kw, {"loss gradient"} if d == {"gradient"} else d, t
    for n, f, d, t in losses.RWRONG:
        m, twin, kw = losses.RULES[n]
        yield f"{n}:{'+'.join(sorted(f))}", "rule", m(f), twin, {"theta": (6,), **kw}, d, t
    for n, (ours, twin, kw) in rights.RIGHT.items():
        yield n, "right", ours, twin, kw, set(), ()
