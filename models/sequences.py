"""Networks that read a sequence step by step: gated cells, input-convex cells, state-space layers, delta rules.

Each takes a flat vector of so many steps and ends with the readout of its last state.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from models.layers import contracted


class Gated(nn.Module):
    """An LSTM or a GRU of PyTorch over the numbers of a vector, one a step, and a linear layer of its last state."""

    def __init__(self, cell: type[nn.LSTM | nn.GRU], hidden: int) -> None:
        super().__init__()
        self.cell = cell(1, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, steps) to (batch, 1)."""
        states = self.cell(x.unsqueeze(2))[0]
        return self.readout(states[:, -1])


class ConvexRecurrent(nn.Module):
    """h ← relu(U [x, −x] + W h + b), y = V [h, x, −x]: nonnegative weights make y convex in x, and no norm exceeds one.

    Wang & Wu 2024, Input Convex Lipschitz Recurrent Neural Networks.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.U, self.W, self.V = (
            contracted(nn.Linear(inputs, outputs, bias), nonnegative=True)
            for inputs, outputs, bias in ((2, hidden, True), (hidden, hidden, False), (hidden + 2, 1, False))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, steps) to (batch, 1)."""
        drive = torch.stack([x, -x], 2)
        h = torch.relu(self.U(drive[:, 0]))
        for t in range(1, x.shape[1]):
            h = torch.relu(self.U(drive[:, t]) + self.W(h))
        return self.V(torch.cat([h, drive[:, -1]], 1))


class StateSpace(nn.Module):
    """h ← A h + B x with rotations of modulus below one, y a linear layer of tanh(C h + D x) at the last step.

    Orvieto et al. 2023, Resurrecting Recurrent Neural Networks for Long Sequences (LRU).
    """

    def __init__(self, pairs: int, width: int) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.stack([torch.linspace(-2.5, 0.0, pairs), torch.linspace(0.1, 1.5, pairs)]))
        parametrize.register_parametrization(self, "A", Rotations())
        self.B = nn.Parameter(torch.randn(2, pairs))
        self.C = nn.Linear(2 * pairs, width)
        self.D = nn.Linear(1, width, bias=False)
        self.readout = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, steps) to (batch, 1)."""
        (a, b), B = self.A, self.B
        real, imaginary = x[:, :1] * B[0], x[:, :1] * B[1]
        for t in range(1, x.shape[1]):
            u = x[:, t : t + 1]
            real, imaginary = a * real - b * imaginary + u * B[0], b * real + a * imaginary + u * B[1]
        return self.readout(torch.tanh(self.C(torch.cat([real, imaginary], 1)) + self.D(x[:, -1:])))


class Rotations(nn.Module):
    """Real and imaginary parts of e^(−e^ν + iθ), whose modulus is below one, for rows ν and θ."""

    def forward(self, x: Tensor) -> Tensor:
        """(2, pairs) to the same shape."""
        modulus = torch.exp(-torch.exp(x[0]))
        return torch.stack([modulus * torch.cos(x[1]), modulus * torch.sin(x[1])])


class Delta(nn.Module):
    """S ← g S (I − β k kᵀ) + β v kᵀ, y = w·S q: a linear memory with gates and generalised Householder products.

    The keys are k/√(‖k‖² + ε), so that the products contract for β in (0, 2). Yang et al. 2024, Gated Delta Networks.
    """

    floor = 0.1

    def __init__(self, features: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.embedding = nn.Linear(2, features)
        self.projections = nn.Linear(features, 3 * size)
        self.gates = nn.Linear(features, 2)
        self.readout = nn.Linear(size, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, steps) to (batch, 1); a step sees two neighbouring numbers."""
        S = x.new_zeros(1, self.size, self.size)
        for t in range(1, x.shape[1]):
            e = torch.tanh(self.embedding(x[:, t - 1 : t + 1]))
            q, k, v = self.projections(e).chunk(3, 1)
            q, k = (p / torch.sqrt((p * p).sum(1, keepdim=True) + self.floor) for p in (q, k))
            g, beta = torch.sigmoid(self.gates(e)).chunk(2, 1)
            k, v, g, beta = k.unsqueeze(1), v.unsqueeze(2), g.unsqueeze(2), 2.0 * beta.unsqueeze(2)
            S = g * S
            S = S + beta * (v - S @ k.transpose(1, 2)) @ k
        return self.readout((S @ q.unsqueeze(2)).squeeze(2))
