"""Networks of other shapes: L-Lipschitz residual layers, a multigrid operator, a layer on the Poincaré ball."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LdlResidual(nn.Module):
    """x ← A x + B relu(C x + b), at most 1-Lipschitz.

    With Λ > 0 that holds where [[I − AᵀA, −E], [−Eᵀ, 2Λ − BᵀB]] ⪰ 0 for E = AᵀB + CᵀΛ. In its LDLᵀ factors the first pivot
    is D = I − AᵀA and the second 2Λ − BᵀB − EᵀD⁻¹E. A = a·I with |a| < 1, and [D^(−1/2) E; B] = Q √(2Λ) for ‖Q‖ ≤ 1, make
    both nonnegative; then C = Λ⁻¹(E − AᵀB)ᵀ. After Juston et al. 2025, LDLT L-Lipschitz networks.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(1.0))
        self.Q = nn.Parameter(torch.randn(2 * width, width) / width**0.5)
        self.scale = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """a, B and C."""
        a = torch.tanh(self.share)
        Q = self.Q / torch.linalg.matrix_norm(self.Q, 2).clamp(min=1.0)
        lam = torch.exp(self.scale)
        upper, B = (Q * torch.sqrt(2.0 * lam)).chunk(2)
        E = torch.sqrt(1.0 - a**2) * upper
        return a, B, ((E - a * B) / lam).T

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width) to the same shape."""
        a, B, C = self.weights()
        return a * x + torch.relu(x @ C.T + self.bias) @ B.T

    def plain(self) -> nn.Module:
        """The same with its weights written out."""
        return PlainResidual(*(x.detach() for x in (*self.weights(), self.bias)))


class PlainResidual(nn.Module):
    """a x + B relu(C x + b)."""

    def __init__(self, a: Tensor, B: Tensor, C: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.a, self.B, self.C, self.bias = (nn.Parameter(x) for x in (a, B.T, C.T, bias))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width) to the same shape."""
        return self.a * x + torch.relu(x @ self.C + self.bias) @ self.B


class VCycle(nn.Module):
    """A linear V-cycle on a grid: smooth, restrict the residual, go on there, prolong, smooth; all of them convolutions."""

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()

        def convolution(stride: int = 1) -> nn.Conv1d:
            return nn.Conv1d(channels, channels, 3, stride, padding=1, bias=False)

        self.operators, self.before, self.after = (
            nn.ModuleList(convolution() for _ in range(levels)) for _ in range(3)
        )
        self.down = nn.ModuleList(convolution(2) for _ in range(levels - 1))
        self.up = nn.ModuleList(
            nn.ConvTranspose1d(channels, channels, 4, 2, padding=1, bias=False) for _ in range(levels - 1)
        )

    def forward(self, f: Tensor, level: int = 0) -> Tensor:
        """(batch, channels, points) to the same shape."""
        u = self.before[level](f)
        if level < len(self.down):
            residual = f - self.operators[level](u)
            u = u + self.up[level](self(self.down[level](residual), level + 1))
        return u + self.after[level](f - self.operators[level](u))


class MultigridOperator(nn.Module):
    """u ← gelu(V-cycle(u) + B u), twice, from one channel to one.

    He, Liu & Xu 2024, MgNO: Efficient Parameterization of Linear Operators via Multigrid.
    """

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.lift, self.readout = nn.Conv1d(1, channels, 1), nn.Conv1d(channels, 1, 1)
        self.cycles = nn.ModuleList(VCycle(channels, levels) for _ in range(2))
        self.direct = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, points) to the same shape."""
        u = self.lift(x.unsqueeze(1))
        for cycle, direct in zip(self.cycles, self.direct, strict=True):
            u = nn.functional.gelu(cycle(u) + direct(u))
        return self.readout(u).squeeze(1)


class PoincareLayer(nn.Module):
    """x ↦ tanh(‖M x‖/‖x‖ · artanh ‖x‖) · M x/‖M x‖ ⊕ b on the unit ball, and scores linear in artanh ‖z‖ · z/‖z‖ of that.

    Ganea, Bécigneul & Hofmann 2018, Hyperbolic Neural Networks.
    """

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.matrix = nn.Linear(inputs, width, bias=False)
        self.shift = nn.Parameter(0.1 * torch.randn(width))
        self.readout = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs) to (batch, outputs)."""
        image = self.matrix(x)
        size, length = (torch.linalg.vector_norm(v, dim=1, keepdim=True) for v in (x, image))
        y = torch.tanh(length / size * torch.atanh(size)) * (image / length)
        b = self.shift
        inner, square, own = (y * b).sum(1, keepdim=True), (y * y).sum(1, keepdim=True), (b * b).sum()
        z = ((1.0 + 2.0 * inner + own) * y + (1.0 - square) * b) / (1.0 + 2.0 * inner + own * square)
        radius = torch.linalg.vector_norm(z, dim=1, keepdim=True)
        return self.readout(torch.atanh(radius.clamp(max=1.0 - 1e-5)) * (z / radius))
