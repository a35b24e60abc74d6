"""Import and lowering of convolutional networks: time and peak memory of each stage.

    python benchmarks/importing.py                 networks of ../shared/data/onnx and larger synthetic ones
    python benchmarks/importing.py net.onnx …      networks of your own

Prints a Markdown table. The stages: `load` (with the comparison with ONNX Runtime), `prepare`, the operator of the
interconnection, one product with it and one with its adjoint. Memory is the peak of what Python and NumPy hold during the
stage, measured in a run of its own; 'per number' divides the largest peak by the numbers in all layers.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from lipcert.arrays import Array
from lipcert.constraints.operator import Operator
from lipcert.graph import build as nn
from lipcert.graph.linear_maps import Convolution, Index
from lipcert.graph.nodes import Graph
from lipcert.graph.prepare import prepare
from lipcert.importer import load, save

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "onnx"
FILES = ("resnet_2b", "cifar_deep_kw", "cnn_C3_CH8", "Convnet_maxpool")
STAGES = ("load", "prepare", "operator", "sweep")


def convolutional(channels: int, size: int, depth: int, activation: str) -> Graph:
    """`depth` convolutions 3×3 of an RGB image, then the mean of each channel to 10 outputs."""
    rng = np.random.default_rng(0)
    layers: list[Any] = []
    inputs = 3
    for _ in range(depth):
        kernel = _float32(rng.standard_normal((channels, inputs, 3, 3)) / np.sqrt(9 * inputs))
        layers.append(nn.linear(Convolution(kernel, (size, size), (1, 1), (1, 1), (1, 1, 1, 1))))
        if activation == "MaxMin":
            # pairs of channels
            order = np.arange(channels * size**2).reshape(2, -1).T.ravel()
            layers += [
                nn.linear(Index(order, order.size)),
                nn.maxmin(),
                nn.linear(Index(np.argsort(order), order.size)),
            ]
        else:
            layers.append(nn.relu())
        inputs = channels
    mean = Convolution(
        np.full((channels, 1, size, size), 1.0 / size**2), (size, size), (1, 1), (1, 1), (0,) * 4, channels
    )
    last = _float32(rng.standard_normal((10, channels)) / np.sqrt(channels))
    return nn.sequential(*layers, nn.linear(mean), nn.linear(last))


def _float32(x: Array) -> Array:
    """Rounded, so that the file has a Conv node: ONNX Runtime has none in double precision."""
    return x.astype(np.float32).astype(np.float64)


SYNTHETIC = {
    "CNN 3 × 16 channels, 32×32, ReLU": (16, 32, 3, "ReLU"),
    "CNN 3 × 64 channels, 32×32, ReLU": (64, 32, 3, "ReLU"),
    "CNN 3 × 64 channels, 32×32, MaxMin": (64, 32, 3, "MaxMin"),
    "CNN 3 × 32 channels, 128×128, ReLU": (32, 128, 3, "ReLU"),
}


def stages(path: Path, run: Callable[[str, Callable[[], Any]], Any]) -> dict[str, int]:
    """All stages through `run(name, function)`; the sizes of the network."""
    graph = run("load", lambda: load(path))
    prepared = run("prepare", lambda: prepare(graph))
    operator = run("operator", lambda: Operator(prepared))
    rng = np.random.default_rng(0)
    u, w = rng.standard_normal(operator.shape[1]), rng.standard_normal(operator.shape[0])
    run("sweep", lambda: (operator @ u, operator.adjoint(w)))
    return {
        "inputs": graph.input_size,
        "channels": operator.channels,
        "numbers": sum(node.size for _, node in graph.walk()),
    }


def child(path: Path, traced: bool) -> dict[str, Any]:
    """The figures of one run, in this process."""
    seconds, peak = {}, {}

    def run(name: str, function: Callable[[], Any]) -> Any:
        gc.collect()
        if traced:
            tracemalloc.reset_peak()
        started = time.perf_counter()
        result = function()
        seconds[name] = time.perf_counter() - started
        if traced:
            peak[name] = tracemalloc.get_traced_memory()[1]
        return result

    if traced:
        tracemalloc.start()
    sizes = stages(path, run)
    return {"seconds": seconds, "peak": peak, **sizes}


def measure(path: Path) -> dict[str, Any]:
    """The times of one process and the memory of another."""
    results = []
    for flag in ((), ("--traced",)):
        command = [sys.executable, __file__, "--child", *flag, str(path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        results.append(json.loads(done.stdout.splitlines()[-1]))
    return {**results[0], "peak": results[1]["peak"]}


def row(name: str, figures: dict[str, Any]) -> str:
    """One line of the table."""
    cells = [f"{figures['seconds'][stage]:.2f} s, {figures['peak'][stage] / 1e6:,.0f} MB" for stage in STAGES]
    share = max(figures["peak"].values()) / figures["numbers"]
    sizes = f"{figures['inputs']:,} | {figures['channels']:,} | {figures['numbers']:,}"
    return f"| {name} | {sizes} | {' | '.join(cells)} | {share:,.0f} B |"


@click.command(help=__doc__, context_settings={"max_content_width": 120})
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--child", "inside", is_flag=True, hidden=True)
@click.option("--traced", is_flag=True, hidden=True)
def main(files: tuple[Path, ...], inside: bool, traced: bool) -> None:
    if inside:
        click.echo(json.dumps(child(files[0], traced)))
        return
    click.echo("| network | inputs | channels | numbers in all layers | " + " | ".join(STAGES) + " | per number |")
    click.echo("|---" * (5 + len(STAGES)) + "|")
    chosen = files or tuple(path for name in FILES if (path := DATA / f"{name}.onnx").exists())
    for path in chosen:
        click.echo(row(path.stem, measure(path)))
    if files:
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, sizes in SYNTHETIC.items():
            path = Path(folder) / "network.onnx"
            save(convolutional(*sizes), path)
            click.echo(row(name, measure(path)))


if __name__ == "__main__":
    main()
