"""All cases: `from cases import CASES`; each is a common.Case.

    check(case.ours(), case.twin(), **case.kwargs, name=case.name)
"""
from .layers import LAYERS
from .losses import LOSSES
from .rules import RULES

CASES = [*LAYERS, *LOSSES, *RULES]
