"""One network of each family of architectures, after the papers that propose them."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from torch import nn

import lipcert
from models.attending import LipschitzTransformer, Pointer, Transformer
from models.constrained import LdlResidual, MultigridOperator, PoincareLayer
from models.layers import MaxMin, Times, contracted
from models.networks import Network
from models.samples import FILE
from models.sequences import ConvexRecurrent, Delta, Gated, StateSpace
from models.tasks import boundary_value, branches, cost_to_go, digits, farthest, store, transport, waves


def spectral(*sizes: int, activation: type[nn.Module], scale: float = 1.0) -> nn.Sequential:
    """Layers of spectral norm one, and a factor behind them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [contracted(nn.Linear(inputs, outputs), always=True), activation()]
    return nn.Sequential(*layers[:-1], Times(scale))


def ldl_residual(width: int, count: int) -> nn.Sequential:
    """Residual layers between two linear maps of norm one."""
    blocks = [LdlResidual(width) for _ in range(count)]
    first, last = contracted(nn.Linear(64, width), always=True), contracted(nn.Linear(width, 10), always=True)
    return nn.Sequential(first, *blocks, last)


def first_digit(radius: float) -> lipcert.Ball:
    """Around the first image of digits_test.csv."""
    with FILE.open(newline="") as file:
        row = next(csv.DictReader(file))
    return lipcert.Ball(np.array([float(v) for k, v in row.items() if k != "label"]), radius)


def near(*centre: float, radius: float) -> Callable[[], lipcert.Ball]:
    """A ball around a point."""
    return lambda: lipcert.Ball(centre, radius)


def small() -> lipcert.Box:
    """Weak signals."""
    return lipcert.Box(-0.05, 0.05)


FAMILIES = [
    Network("lstm", "LSTM, 6 cells, 8 steps", waves, lambda: nn.Sequential(Gated(nn.LSTM, 6)),
            steps=800, region=small),
    Network("gru", "GRU, 6 cells, 8 steps", waves, lambda: nn.Sequential(Gated(nn.GRU, 6)),
            steps=800, region=small),
    Network("convex_recurrent", "input-convex Lipschitz RNN, 12 states, 8 steps", store,
            lambda: nn.Sequential(ConvexRecurrent(12)), steps=800, decay=0.0, promised=math.sqrt(18.0),
            why="no matrix has a norm above one: √2·√8 by way of the states, √2 past them"),
    Network("state_space", "linear state-space layer, 8 states, 8 steps, tanh", waves,
            lambda: nn.Sequential(StateSpace(4, 12)), steps=800, why="the states fade: |λ| < 1"),
    Network("delta", "gated delta rule (Householder products), 3×3 memory, 7 steps", waves,
            lambda: nn.Sequential(Delta(8, 3)), steps=800, region=small, why="the memory fades: ‖g(I − βkkᵀ)‖ ≤ 1"),
    Network("pointer", "pointer network, 5 points, width 16", farthest, lambda: nn.Sequential(Pointer(16)),
            steps=1500, why="probabilities change by at most half of what their scores change by"),
    Network("transformer", "pre-norm transformer block, 8 tokens of 8, 2 heads", digits,
            lambda: nn.Sequential(Transformer(8, 8, 2, 10)), steps=800, region=lambda: first_digit(0.005)),
    Network("lipschitz_transformer", "transformer block of Lipschitz parts, 8 tokens of 8, 2 heads", digits,
            lambda: nn.Sequential(LipschitzTransformer(8, 8, 2, 10)), steps=800, scale=16.0, decay=0.0,
            region=lambda: first_digit(0.005),
            why="each block 1 in the largest root mean square of a token, where none exceeds one; nothing in ℓ2"),
    Network("multigrid", "MgNO, 2 layers of 4 channels, V-cycles of 3 levels, 32 points", boundary_value,
            lambda: nn.Sequential(MultigridOperator(4, 3)), steps=400),
    Network("ldl_residual", "residual layers by LDLᵀ, 3 of width 32", digits, lambda: ldl_residual(32, 3),
            steps=800, scale=16.0, decay=0.0, promised=1.0, why="each layer's matrix inequality holds by construction"),
    Network("value", "value network, tanh, 2-16-16-1, spectral norms one, times 6", cost_to_go,
            lambda: spectral(2, 16, 16, 1, activation=nn.Tanh, scale=6.0), steps=600, decay=0.0, promised=6.0,
            why="the product of its norms"),
    Network("critic", "Wasserstein critic, MaxMin, 2-32-32-1, spectral norms one", transport,
            lambda: spectral(2, 32, 32, 1, activation=MaxMin), steps=800, decay=0.0, promised=1.0,
            why="the product of its norms"),
    Network("poincare", "layer on the Poincaré disc, 2-3, scores of 4 branches", branches,
            lambda: nn.Sequential(PoincareLayer(2, 3, 4)), steps=600, decay=1.0, region=near(0.4, 0.3, radius=0.02)),
]  # fmt: skip
