"""After the scores: a coincidence of ours removed (the channels were 3, as the window's width)."""
import sys; sys.path.insert(0, "..")
from compare import check
from layers import FAMILIES
import numpy as np
m, t, kw = FAMILIES["avgpool"]
try: check(m(frozenset({"two"})), t, x=(4, 5, 4, 6))
except AssertionError as e: print(str(e)[:900])
right = (lambda x: 0.55 * x + 0.45 * abs(x), lambda dy, x: dy * (0.55 + 0.45 * np.where(x > 0, 1.0, -1.0)))
import torch
try: check(right, torch.nn.LeakyReLU(0.1), x=(3, 5))
except AssertionError as e: print(str(e)[:1400])
