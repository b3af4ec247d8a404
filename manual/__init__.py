"""Backpropagation by hand, in NumPy alone: a paper that runs.

Read in this order: `layer` (the notation), `linear`, `activations`, `losses`, `network`, `optimizers`,
`training`. Nothing here imports torch or any sibling package; that independence is the evidence.

Each module says in its `__all__` what it offers here, so that a new derivation touches its own file alone.
"""

from handgrad.manual import training as training
from handgrad.manual.activations import *
from handgrad.manual.layer import *
from handgrad.manual.linear import *
from handgrad.manual.losses import *
from handgrad.manual.models import *
from handgrad.manual.network import *
from handgrad.manual.optimizers import *
from handgrad.manual.schedules import *
