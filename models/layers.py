"""The layers that PyTorch lacks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class GroupSort(nn.Module):
    """Sorts each group of `size` neighbours; size 2 is MaxMin."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """(batch, features) to the same shape."""
        return x.unflatten(1, (-1, self.size)).sort(2)[0].flatten(1)


class MaxMin(nn.Module):
    """The maxima of neighbours first, then their minima."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, features) to the same shape."""
        a, b = x[:, 0::2], x[:, 1::2]
        return torch.cat([torch.maximum(a, b), torch.minimum(a, b)], 1)


class Householder(nn.Module):
    """On pairs z, with a learned unit vector v each: z where vᵀz > 0, else its reflection z − 2v(vᵀz)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.angle = nn.Parameter(torch.rand(features // 2) * torch.pi)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, features) to the same shape."""
        v = torch.stack([torch.cos(self.angle), torch.sin(self.angle)], 1)
        z = x.unflatten(1, (-1, 2))
        along = (z * v).sum(2, keepdim=True)
        return torch.where(along > 0, z, z - 2 * along * v).flatten(1)


class Residual(nn.Module):
    """x + branch(x)."""

    def __init__(self, *branch: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, features) to the same shape."""
        return x + self.branch(x)


class FixedPoint(nn.Module):
    """The solution s of s = relu(W s + U x + b), with W = (1 − m) I − AᵀA + B − Bᵀ.

    I − W is strongly monotone with constant m, so that the solution exists and is unique (Winston & Kolter 2020).
    """

    margin = 0.5

    def __init__(self, inputs: int, state: int) -> None:
        super().__init__()
        self.drive = nn.Linear(inputs, state)
        self.A = nn.Parameter(0.3 * torch.randn(state, state) / state**0.5)
        self.B = nn.Parameter(0.3 * torch.randn(state, state) / state**0.5)

    def weight(self) -> Tensor:
        """W, shape (state, state)."""
        identity = torch.eye(len(self.A))
        return (1 - self.margin) * identity - self.A.T @ self.A + self.B - self.B.T

    def forward(self, x: Tensor) -> Tensor:
        """Forward–backward splitting from zero: (batch, inputs) to (batch, state)."""
        weight, drive = self.weight(), self.drive(x)
        s = torch.zeros_like(drive)
        # converges below 2m/‖I − W‖²
        step = 0.9 * self.margin / torch.linalg.matrix_norm(torch.eye(len(weight)) - weight, 2).detach() ** 2
        step = step.clamp(0.1, 1.0)
        for _ in range(60):
            s = torch.relu((1 - step) * s + step * (s @ weight.T + drive))
        return s


class Contraction(nn.Module):
    """A matrix, or its absolute values, divided by its spectral norm, where that is above one or always."""

    def __init__(self, nonnegative: bool, always: bool) -> None:
        super().__init__()
        self.nonnegative, self.always = nonnegative, always

    def forward(self, x: Tensor) -> Tensor:
        """(outputs, inputs) to the same shape."""
        weight = x.abs() if self.nonnegative else x
        norm = torch.linalg.matrix_norm(weight, 2)
        return weight / (norm if self.always else norm.clamp(min=1.0))


def contracted(layer: nn.Linear, *, nonnegative: bool = False, always: bool = False) -> nn.Linear:
    """The layer with a weight of spectral norm at most one."""
    parametrize.register_parametrization(layer, "weight", Contraction(nonnegative, always))
    return layer


class Times(nn.Module):
    """A number times x."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """(batch, features) to the same shape."""
        return self.factor * x
