"""Networks of orthogonal layers, whose constant is known: `python tests/properties/orthogonal_campaign.py COUNT [FIRST]`.

The optimum of the semidefinite program is not attained on them: multipliers must decrease along the layers by less than the
gap. With orthonormal outputs the norm product is the constant, up to the rounding of the weights, so a network is weak where
the interior-point method itself does not come within 1e-5 of it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace

import click
import numpy as np
from campaign import Result, Rng, Sample, examine, main

from lipcert.graph import build as nn
from lipcert.graph.comparators import sorting_network
from lipcert.graph.linear_maps import Convolution, Diagonal
from lipcert.graph.nodes import Graph, GraphBuilder

CLOSE = 1e-5
"""How far a bound may be above the constant, or above what the solver knows for sure."""
ARCHITECTURES = {"chain": 0.6, "residual": 0.2, "convolution": 0.2}
WEIGHTS = ("exact", "float32", "scaled")
GROUPS = {"MaxMin": (2,), "GroupSort": tuple(range(2, 17)), "Householder": tuple(range(2, 9)), "abs": (1,)}
MOST_ROWS, MOST_WIDTH, MOST_DEPTH = 300, 64, 40


class Generator:
    """The layers of one network."""

    def __init__(self, rng: Rng) -> None:
        self.rng = rng
        self.kind = str(rng.choice(list(GROUPS)))
        self.group = int(rng.choice(GROUPS[self.kind]))
        self.weights = str(rng.choice(WEIGHTS))
        self.scale = float(rng.uniform(0.9, 1.1)) if self.weights == "scaled" else 1.0

    @property
    def rows_a_number(self) -> float:
        """Rows of R for each number that the activation takes."""
        if self.kind == "GroupSort":
            pairs = sum(len(layer) for layer in sorting_network(self.group))
            return (pairs if self.group <= 8 else self.group - 1) / self.group
        return 1.0 / self.group

    def orthogonal(self, n: int) -> np.ndarray:
        """An orthogonal matrix, perhaps scaled or rounded."""
        q = self.scale * np.linalg.qr(self.rng.standard_normal((n, n)))[0]
        return q.astype(np.float32).astype(np.float64) if self.weights == "float32" else q

    def activation(self, width: int) -> nn.Layer:
        """One that keeps norms; a width that its groups do not divide leaves none."""
        if self.kind == "Householder":
            v = self.rng.standard_normal((width // self.group, self.group))
            return nn.householder(v / np.linalg.norm(v, axis=1, keepdims=True))
        return {"MaxMin": nn.maxmin, "GroupSort": lambda: nn.group_sort(self.group), "abs": nn.abs_}[self.kind]()

    def linear(self, width: int) -> nn.Layer:
        """An orthogonal layer with a bias."""
        return nn.linear(self.orthogonal(width), self.rng.standard_normal(width))

    def end(self, width: int) -> nn.Layer:
        """A few orthonormal outputs."""
        return nn.linear(self.orthogonal(width)[: min(width, 3)] / self.scale)

    def chain(self, width: int, depth: int) -> Graph:
        """Layers and activations in turn."""
        parts = [part for _ in range(depth) for part in (self.linear(width), self.activation(width))]
        return nn.sequential(*parts, self.end(width))

    def residual(self, width: int, depth: int) -> Graph:
        """Blocks ½(x + f(x))."""

        def block() -> nn.Layer:
            first, phi, last = self.linear(width), self.activation(width), self.linear(width)

            def add(builder: GraphBuilder, x: int) -> int:
                y = last.add(builder, phi.add(builder, first.add(builder, x)))
                half = Diagonal(np.full(width, 0.5))
                return builder.affine([x, y], [half, half])

            return nn.Layer(add, width)

        return nn.sequential(*(block() for _ in range(depth)), self.end(width))

    def convolution(self, width: int, depth: int) -> Graph:
        """Convolutions whose windows do not overlap, 1×1 or 2×2 with an orthogonal matrix, on a square image."""
        side = 4
        channels = max(1, width // side**2)
        parts: list[nn.Layer] = []
        for layer in range(depth):
            kernel = 2 if side > 1 and layer % 3 == 1 else 1
            inner = channels * kernel**2
            weight = self.orthogonal(inner).reshape(inner, channels, kernel, kernel)
            a = Convolution(weight, (side, side), (kernel, kernel), (1, 1), (0, 0, 0, 0))
            side, channels = side // kernel, inner
            parts += [nn.linear(a), self.activation(a.shape[0])]
        return nn.sequential(*parts, self.end(channels * side**2))


def drawn(seed: int) -> tuple[Generator, dict[str, object]]:
    """What the network of a seed is made of."""
    rng = np.random.default_rng([seed, 20])
    made = Generator(rng)
    architecture = str(rng.choice(list(ARCHITECTURES), p=list(ARCHITECTURES.values())))
    if architecture == "convolution":
        # images of 4 × 4 hold whole groups
        made.group = int(rng.choice([g for g in GROUPS[made.kind] if np.lcm(g, 16) <= MOST_WIDTH]))
    step = made.group if architecture != "convolution" else int(np.lcm(made.group, 16))
    one_by_one = rng.random() < 0.3
    budget = (0.5 if one_by_one else 1.0) * MOST_ROWS / (made.rows_a_number * step)
    depth = int(np.clip(np.exp(rng.uniform(0.0, np.log(MOST_DEPTH + 1))), 1, max(1.0, budget)))
    most = int(np.clip(budget // depth, 1, MOST_WIDTH // step))
    width = step * int(rng.integers(max(1, most // 2), most + 1))
    outputs = str(rng.choice(["each", "pairs"] if width > 1 else ["each"])) if one_by_one else "all"
    return made, {
        "architecture": architecture,
        "activation": made.kind if len(GROUPS[made.kind]) == 1 else f"{made.kind}({made.group})",
        "weights": made.weights,
        "width": width,
        "depth": depth,
        "rows": round(made.rows_a_number * width * depth),
        "outputs": outputs,
    }


def sample(seed: int) -> Sample:
    """The network and the question of a seed."""
    made, features = drawn(seed)
    graph = getattr(made, str(features["architecture"]))(features["width"], features["depth"])
    request = {"method": "neuron", "solver": "native", "outputs": features["outputs"]}
    return Sample(seed, graph, request, features)


def campaign(seeds: Iterable[int]) -> Iterator[Result]:
    """The results of many networks; what lies above the constant counts as excess too, and weak is what exceeds `CLOSE`."""
    for seed in seeds:
        item = sample(seed)
        found = examine(item, lower=False)
        if found.excess is not None and found.excess > CLOSE:
            found = replace(found, notes=(*found.notes, f"{found.excess:.1e} above what the solver knows"))
        yield found


if __name__ == "__main__":
    count, first = (*map(int, sys.argv[1:]), *(500, 0)[len(sys.argv) - 1 :])
    sys.exit(bool(main(count, first, lambda text: click.echo(text), campaign)))
