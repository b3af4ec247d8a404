"""The losses: torch's own, and those that torch does not have."""

from torch import Tensor, nn


class HalfSquaredError(nn.Module):
    """½ Σ_k (ŷ_k − y_k)², averaged over the batch (torch.nn has the mean over every number only)."""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.mse_loss(output, target, reduction="sum") / (2 * output.shape[0])


class PerceptronCriterion(nn.Module):
    """max(0, ŷ) − ŷ y, averaged over every number; the target y is 0 or 1."""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return (nn.functional.relu(output) - output * target).mean()
