"""Networks with attention: a pointer, a transformer block with layer norms, and one of Lipschitz parts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.layers import contracted

Linear = Callable[[int, int], nn.Linear]


class Pointer(nn.Module):
    """Probabilities of pointing at each of some points: softmax of v·tanh(W e_j + U d), d the mean of all e_j.

    Vinyals et al. 2015, Pointer Networks.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(2, width)
        self.W, self.U = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.v = nn.Linear(width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 2 · points) to (batch, points)."""
        e = torch.tanh(self.embedding(x.unflatten(1, (-1, 2))))
        scores = self.v(torch.tanh(self.W(e) + self.U(e.mean(1, keepdim=True))))
        return torch.softmax(scores.squeeze(2), 1)


class Attention(nn.Module):
    """softmax(Q Kᵀ scale) V by heads, and a linear layer of it."""

    def __init__(self, width: int, heads: int, scale: float, linear: Linear = nn.Linear) -> None:
        super().__init__()
        self.heads, self.scale = heads, scale
        self.q, self.k, self.v, self.out = (linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) to the same shape."""
        q, k, v = (layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        shares = torch.softmax(self.scale * (q @ k.transpose(2, 3)), 3)
        return self.out((shares @ v).transpose(1, 2).flatten(2))


class Transformer(nn.Module):
    """A block x + attention(norm x), x + mlp(norm x) on the rows of an image, the mean of the tokens, a linear layer."""

    def __init__(self, rows: int, width: int, heads: int, outputs: int) -> None:
        super().__init__()
        self.rows = rows
        self.place = nn.Parameter(0.3 * torch.randn(rows, width))
        self.embedding = nn.Linear(rows, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.attention = Attention(width, heads, (width // heads) ** -0.5)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.readout = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, rows²) to (batch, outputs)."""
        x = self.embedding(x.unflatten(1, (self.rows, -1))) + self.place
        x = x + self.attention(self.norms[0](x))
        x = x + self.mlp(self.norms[1](x))
        return self.readout(self.norms[2](x).mean(1))


class LipschitzTransformer(nn.Module):
    """Blocks of no norms: x ← (1 − s) x + s block(x), attention scaled by 1/d and by ⅓, GELU divided by its largest slope.

    All weights have spectral norms of at most one. Newhouse et al. 2025, Training Transformers with Enforced Lipschitz
    Constants: where no token has a root mean square above one, no token changes more in a block than the most that one did.
    """

    slope = 1.1289

    def __init__(self, rows: int, width: int, heads: int, outputs: int, share: float = 0.5) -> None:
        super().__init__()

        def linear(inputs: int, features: int) -> nn.Linear:
            return contracted(nn.Linear(inputs, features, bias=False))

        self.rows, self.share = rows, share
        self.place = nn.Parameter(0.1 * torch.randn(rows, width))
        self.embedding = linear(rows, width)
        self.attention = Attention(width, heads, heads / width, linear)
        self.inner, self.outer, self.readout = (
            linear(width, 2 * width),
            linear(2 * width, width),
            linear(rows * width, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, rows²) to (batch, outputs)."""
        keep, s = 1.0 - self.share, self.share
        x = self.embedding(x.unflatten(1, (self.rows, -1))) + self.place
        x = keep * x + (s / 3.0) * self.attention(x)
        x = keep * x + s * self.outer(nn.functional.gelu(self.inner(x)) / self.slope)
        return self.readout(x.flatten(1))
