"""What the matrix-free solver proves in a given time, and with how much memory, one process each.

    python benchmarks/large.py                              all of them, and the table of benchmarks.md
    python benchmarks/large.py --only cifar_deep_kw         one, in this process
    python benchmarks/large.py --only NET.onnx --seconds 60
    python benchmarks/large.py --by-processor               limits and seconds in processor time: other work runs beside it

Networks of ../shared/data where that folder exists, and some that no dense matrix holds: convolutional, as for CIFAR-10,
with seeded random weights. Seconds are those of `lipcert.bound`, with reading, proof and norm product, without imports.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
from common import DOCS, ROOT, SHARED, renew

from lipcert.bounds.api import bound
from lipcert.figures import upward
from lipcert.graph.linear_maps import Convolution, Dense, LinearMap
from lipcert.graph.nodes import Graph, GraphBuilder

# (channels out, kernel, stride) of the convolutions, then the widths of the dense layers, and the activation and its block
SHAPES: dict[str, tuple[list[tuple[int, int, int]], list[int], str, int]] = {
    "30,208 neurons": ([(64, 4, 2), (64, 3, 2), (128, 3, 1)], [1024, 512], "relu", 1),
    "31,744 neurons, MaxMin": ([(16, 3, 1), (32, 3, 2), (64, 3, 2), (32, 3, 1), (64, 3, 2)], [], "sort", 2),
    "206,336 neurons": ([(96, 3, 1), (64, 3, 1), (96, 4, 2), (192, 3, 2), (64, 3, 1)], [1024, 512], "relu", 1),
}


def network(shape: str) -> Graph:
    """The network, weights scaled as He et al. 2015 (arXiv 1502.01852) do."""
    rng = np.random.default_rng(0)
    convolutions, widths, *activation = SHAPES[shape]
    builder = GraphBuilder()
    channels, side = 3, 32
    x = builder.input(channels * side * side)
    for out, kernel, stride in convolutions:
        weights = rng.standard_normal((out, channels, kernel, kernel)) * np.sqrt(2.0 / (channels * kernel**2))
        conv = Convolution(weights, (side, side), (stride, stride), (1, 1), (1, 1, 1, 1))
        positions = conv.size_out[0] * conv.size_out[1]
        x = _layer(builder, x, conv, activation, np.repeat(np.arange(out), positions) if activation[1] == 1 else None)
        channels, side = out, conv.size_out[0]
    size = channels * side * side
    for width in widths:
        x = _layer(builder, x, Dense(rng.standard_normal((width, size)) * np.sqrt(2.0 / size)), activation, None)
        size = width
    return builder.finish(builder.affine([x], [Dense(rng.standard_normal((10, size)) / np.sqrt(size))]))


def _layer(
    builder: GraphBuilder, x: int, weights: LinearMap, activation: list[str | int], channel: np.ndarray | None
) -> int:
    bias = 0.1 * np.random.default_rng(weights.shape[0]).standard_normal(weights.shape[0])
    kind, block = str(activation[0]), int(activation[1])
    return builder.activation(builder.affine([x], [weights], bias), kind, block, channel=channel)


# seconds for the solver
RUNS = (
    ("mnist-net_256x2", 1.0),
    ("mnist-net_256x2", 2.0),
    ("gcas", 10.0),
    ("ACASXU_run2a_1_1_batch_2000", 10.0),
    ("NN_rul_small_window_20", 10.0),
    ("NN_rul_small_window_20", 40.0),
    ("cifar_deep_kw", 10.0),
    ("cifar_deep_kw", 25.0),
    ("resnet_2b", 10.0),
    ("resnet_2b", 30.0),
    ("30,208 neurons", 120.0),
    ("31,744 neurons, MaxMin", 240.0),
    ("206,336 neurons", 60.0),
    ("206,336 neurons", 600.0),
)


def source(name: str) -> Graph | Path | None:
    """The network, or where its file is; None where there is none."""
    if name in SHAPES:
        return network(name)
    path = SHARED / "onnx" / f"{name}.onnx"
    return next((p for p in (path, Path(name)) if p.exists()), None)


def row(name: str, seconds: float) -> str:
    """One line of the table, measured in this process."""
    model = source(name)
    if model is None:
        raise click.ClickException(f"there is no network {name}")
    # what is imported on the way is imported here
    bound(ROOT / "models" / "digits_relu.onnx", solver="matrix-free", lower=False, time_limit=0.1)
    started = time.perf_counter()
    found = bound(model, solver="matrix-free", lower=False, time_limit=seconds)
    spent = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    for note in found.notes:
        click.echo(f"  {note}", err=True)
    product = "–" if found.product is None else f"{found.product:.6g}"
    return (
        f"| {name} | {seconds:g} s | {product} | {upward(found.upper)} | {found.method} | {found.status.value} "
        f"| {spent:.1f} | {peak:.1f} GB |"
    )


@click.command(help=__doc__, context_settings={"max_content_width": 120})
@click.option("--seconds", default=60.0, show_default=True, help="For the solver, with --only.")
@click.option("--only", help="One network, in this process.")
@click.option("--by-processor", is_flag=True, help="Go by processor time, for a machine with other work.")
@click.option("--page", type=click.Path(exists=True, path_type=Path), default=DOCS / "benchmarks.md")
def main(seconds: float, only: str | None, by_processor: bool, page: Path) -> None:
    if by_processor:
        # all of lipcert asks this clock
        time.perf_counter = time.process_time
    if only is not None:
        click.echo(row(only, seconds))
        return
    lines = [
        "| network | limit | norm product | proven bound | method | ended by | seconds | peak memory |",
        "|---" * 8 + "|",
    ]
    for name, limit in RUNS:
        if name not in SHAPES and source(name) is None:
            continue
        command = [sys.executable, __file__, "--seconds", str(limit), "--only", name]
        command += ["--by-processor"] if by_processor else []
        lines.append(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
        click.echo(lines[-1])
    renew("large.py", lines, page)


if __name__ == "__main__":
    main()
