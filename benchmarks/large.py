"""Networks too large for any dense matrix: what is proven, how long it takes and how much memory, one process each.

    python benchmarks/large.py                   30,208 and 206,336 neurons
    python benchmarks/large.py --seconds 60      time for the solver

The networks are convolutional, as for CIFAR-10, with seeded random weights.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import click
import numpy as np

from lipcert.bounds.api import bound
from lipcert.graph.linear_maps import Convolution, Dense, LinearMap
from lipcert.graph.nodes import Graph, GraphBuilder

# (channels out, kernel, stride) of the convolutions, then the widths of the dense layers
SHAPES: dict[str, tuple[list[tuple[int, int, int]], list[int]]] = {
    "30,208 neurons": ([(64, 4, 2), (64, 3, 2), (128, 3, 1)], [1024, 512]),
    "206,336 neurons": ([(96, 3, 1), (64, 3, 1), (96, 4, 2), (192, 3, 2), (64, 3, 1)], [1024, 512]),
}


def network(shape: str) -> Graph:
    """The network, weights scaled as He et al. 2015 (arXiv 1502.01852) do."""
    rng = np.random.default_rng(0)
    convolutions, widths = SHAPES[shape]
    builder = GraphBuilder()
    channels, side = 3, 32
    x = builder.input(channels * side * side)
    for out, kernel, stride in convolutions:
        weights = rng.standard_normal((out, channels, kernel, kernel)) * np.sqrt(2.0 / (channels * kernel**2))
        conv = Convolution(weights, (side, side), (stride, stride), (1, 1), (1, 1, 1, 1))
        x = _layer(builder, x, conv, np.repeat(np.arange(out), conv.size_out[0] * conv.size_out[1]))
        channels, side = out, conv.size_out[0]
    size = channels * side * side
    for width in widths:
        x = _layer(builder, x, Dense(rng.standard_normal((width, size)) * np.sqrt(2.0 / size)), None)
        size = width
    return builder.finish(builder.affine([x], [Dense(rng.standard_normal((10, size)) / np.sqrt(size))]))


def _layer(builder: GraphBuilder, x: int, weights: LinearMap, channel: np.ndarray | None) -> int:
    bias = 0.1 * np.random.default_rng(weights.shape[0]).standard_normal(weights.shape[0])
    return builder.activation(builder.affine([x], [weights], bias), "relu", channel=channel)


@click.command(help=__doc__, context_settings={"max_content_width": 120})
@click.option("--seconds", default=300.0, show_default=True, help="For the solver.")
@click.option("--only", type=click.Choice(list(SHAPES)), help="One network, in this process.")
def main(seconds: float, only: str | None) -> None:
    if only is None:
        click.echo("| network | norm product | proven bound | method | seconds | peak memory |")
        click.echo("|---|---|---|---|---|---|")
        for shape in SHAPES:
            subprocess.run([sys.executable, __file__, "--seconds", str(seconds), "--only", shape], check=True)
        return
    graph = network(only)
    started = time.perf_counter()
    found = bound(graph, lower=False, time_limit=seconds)
    spent = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    product = "–" if found.product is None else f"{found.product:.6g}"
    click.echo(f"| {only} | {product} | {found.upper:.6g} | {found.method} | {spent:.0f} | {peak:.1f} GB |")
    for note in found.notes:
        click.echo(f"  {note}", err=True)


if __name__ == "__main__":
    main()
