"""The same mathematics in torch.nn and torch.optim, file beside file with `manual/`.

Nothing here imports a sibling package: the two sides share no code, and that is the evidence. Gradients come
from autograd, update rules from torch.optim.
"""

from handgrad.torch_ref import losses, models, parameters, training

__all__ = ["losses", "models", "parameters", "training"]
