"""The networks: a name, a task, layers. A new network is one more record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from torch import nn
from torch.nn.utils.parametrizations import orthogonal

import lipcert
from models.layers import FixedPoint, GroupSort, Householder, MaxMin, Residual
from models.tasks import Task, diabetes, digits, mnist, oscillator


@dataclass(frozen=True)
class Network:
    """One network of the collection.

    Attributes
    ----------
    name
        Of the file, without its ending.
    what
        For the table in README.md.
    task
        What it learns.
    layers
        Makes the untrained network.
    steps, decay
        Steps of AdamW and its weight decay.
    scale
        What the outputs are multiplied by in training: a 1-Lipschitz network cannot enlarge its logits itself.
    region
        Where it is bounded; everywhere, if there is none.
    promised, why
        The constant that its construction promises, in ℓ2, and by what.
    """

    name: str
    what: str
    task: Callable[[], Task]
    layers: Callable[[], nn.Sequential]
    steps: int = 1200
    decay: float = 0.05
    scale: float = 1.0
    region: Callable[[], lipcert.Box | lipcert.Ball] | None = None
    promised: float | None = None
    why: str = ""


def perceptron(*sizes: int, activation: Callable[[int], nn.Module]) -> nn.Sequential:
    """Linear layers with `activation(features)` between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), activation(outputs)]
    return nn.Sequential(*layers[:-1])


def convolutional() -> nn.Sequential:
    """Two convolutions with pooling on 8×8 pixels."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 12, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(48, 10),
    )


def residual() -> nn.Sequential:
    """Three residual MaxMin blocks between two linear layers."""
    blocks = [Residual(nn.Linear(32, 32), MaxMin()) for _ in range(3)]
    return nn.Sequential(nn.Linear(64, 32), *blocks, nn.Linear(32, 10))


def orthonormal(*sizes: int) -> nn.Sequential:
    """Orthogonal weights and MaxMin: 1-Lipschitz by construction."""
    layers = perceptron(*sizes, activation=lambda _: MaxMin())
    return nn.Sequential(
        *(orthogonal(layer, orthogonal_map="cayley") if isinstance(layer, nn.Linear) else layer for layer in layers)
    )


NETWORKS = [
    Network("digits_relu", "ReLU, 64-48-48-10", digits,
            lambda: perceptron(64, 48, 48, 10, activation=lambda _: nn.ReLU())),
    Network("digits_tanh", "tanh, 64-48-48-10", digits,
            lambda: perceptron(64, 48, 48, 10, activation=lambda _: nn.Tanh())),
    Network("digits_leaky_relu", "LeakyReLU (0.1), 64-40-40-40-10", digits,
            lambda: perceptron(64, 40, 40, 40, 10, activation=lambda _: nn.LeakyReLU(0.1))),
    Network("digits_maxmin", "MaxMin, 64-48-48-10", digits,
            lambda: perceptron(64, 48, 48, 10, activation=lambda _: MaxMin())),
    Network("digits_groupsort", "GroupSort (4), 64-48-48-10", digits,
            lambda: perceptron(64, 48, 48, 10, activation=lambda _: GroupSort(4))),
    Network("digits_householder", "Householder pairs, 64-48-48-10", digits,
            lambda: perceptron(64, 48, 48, 10, activation=Householder)),
    Network("digits_cnn", "ReLU, two convolutions, max and average pooling", digits, convolutional),
    Network("digits_residual", "MaxMin, three residual blocks of width 32", digits, residual),
    Network("digits_orthogonal", "MaxMin with orthogonal weights, 64-64-64-10: 1-Lipschitz by construction", digits,
            lambda: orthonormal(64, 64, 64, 10), scale=16.0, decay=0.0),
    Network("digits_implicit", "deep equilibrium, ReLU, 32 states", digits,
            lambda: nn.Sequential(FixedPoint(64, 32), nn.Linear(32, 10)), steps=600),
    Network("mnist_relu", "ReLU, 784-64-64-10", mnist,
            lambda: perceptron(784, 64, 64, 10, activation=lambda _: nn.ReLU()), steps=600),
    Network("mnist_maxmin", "MaxMin, 784-64-64-10", mnist,
            lambda: perceptron(784, 64, 64, 10, activation=lambda _: MaxMin()), steps=600),
    Network("mnist_orthogonal", "MaxMin with orthogonal weights, 784-64-64-10: 1-Lipschitz by construction", mnist,
            lambda: orthonormal(784, 64, 64, 10), steps=600, scale=16.0, decay=0.0),
    Network("diabetes_softplus", "softplus, 10-32-32-1", diabetes,
            lambda: perceptron(10, 32, 32, 1, activation=lambda _: nn.Softplus()), steps=400, decay=0.5),
    Network("oscillator_controller", "tanh controller, 2-16-16-1", oscillator,
            lambda: perceptron(2, 16, 16, 1, activation=lambda _: nn.Tanh()), steps=400),
]  # fmt: skip
