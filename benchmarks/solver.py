"""Measure the native solver: time, iterations, gap, rate against this machine's matrix products, peak memory.

    python benchmarks/solver.py [NAME …] [--tolerance 1e-6] [--repeat 3] [--data ../shared/data]

prints a Markdown table. Names: see `NETWORKS`; without names all but the two largest are measured.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common import SHARED, mlp, network, product_rate

from lipcert.constraints.interconnection import lower
from lipcert.graph.claim import Claim
from lipcert.norms import Norm
from lipcert.sdp.outcome import SolverOptions
from lipcert.sdp.problem import compress_inputs, subproblems
from lipcert.sdp.solvers.interior_point import solve
from lipcert.sdp.solvers.iterate import Structure
from lipcert.sdp.solvers.transposed import reduced

if TYPE_CHECKING:
    from lipcert.graph.nodes import Graph
    from lipcert.sdp.problem import Problem


@dataclass(frozen=True)
class Network:
    """A network by its file in the data folder (or the widths of a random ReLU network) and the norms to bound."""

    file: str = ""
    widths: tuple[int, ...] = ()
    norm: Norm = Norm.L2
    output: int | None = None

    def problem(self, data: Path) -> Problem:
        """The SDP, with ℓ2 inputs compressed."""
        system = lower(self.graph(data))
        if self.output is not None:
            return list(subproblems(system, Claim(self.norm, Norm.LINF)))[self.output]
        problem = next(subproblems(system, Claim(self.norm, Norm.L2)))
        return compress_inputs(problem) if self.norm is Norm.L2 else problem

    def graph(self, data: Path) -> Graph:
        """The network."""
        return network(next(data.glob(self.file))) if self.file else mlp(self.widths)


NETWORKS = {
    "l2_2fc_16": Network("maxmin_mnist/l2_2fc_16.npz"),
    "l2_2fc_32": Network("maxmin_mnist/l2_2fc_32.npz"),
    "l2_5fc_32": Network("maxmin_mnist/l2_5fc_32.npz"),
    "l2_8fc_32": Network("maxmin_mnist/l2_8fc_32.npz"),
    "l2_2fc_16 linf": Network("maxmin_mnist/l2_2fc_16.npz", norm=Norm.LINF, output=8),
    "l2_5fc_32 linf": Network("maxmin_mnist/l2_5fc_32.npz", norm=Norm.LINF, output=8),
    "cartpole": Network("onnx/*cartpole*.onnx"),
    "gcas": Network("onnx/*gcas*.onnx"),
    "lindex": Network("onnx/*lindex*.onnx"),
    "ACASXU 1_1": Network("onnx/*ACASXU*1_1*.onnx"),
    "ACASXU 2_3": Network("onnx/*ACASXU*2_3*.onnx"),
    "mnist 256x2": Network("onnx/*256x2*.onnx"),
    "4x256": Network(widths=(784, 256, 256, 256, 256, 10)),
    "4x500": Network(widths=(784, 500, 500, 500, 500, 10)),
    "4x1000": Network(widths=(784, 1000, 1000, 1000, 1000, 10)),
}

LARGEST = ("4x500", "4x1000")


def operations(problem: Problem) -> float:
    """Floating-point operations of matrix products and factorisations in one iteration."""
    form, _ = reduced(problem)
    structure = Structure.of(form)
    p, n = form.size, form.variables
    total = 6.0 * p**3 + 4 * p**3 / 3 + n**3 / 3
    for block, top in structure.blocks:
        width, below = block.stop - block.start, p - top
        # A, S B and X B, the Schur complement, F* of the second-order term
        total += width * below * (below + 4.0 * p + 4.0 * block.stop + 2.0 * below)
    # S dA of the predictor and of the corrector
    return total + sum(4.0 * p * end * (block.stop - block.start) for block, end in structure.row_blocks)


def peak_memory(problem: Problem, iterations: int = 2) -> int:
    """Bytes allocated at most by a solve of a few iterations."""
    tracemalloc.start()
    try:
        solve(problem, SolverOptions(max_iterations=iterations))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def measure(name: str, data: Path, tolerance: float, repeat: int, rate: float) -> str:
    """One row of the table: medians over `repeat` runs."""
    problem = NETWORKS[name].problem(data)
    seconds, cpu = [], []
    for _ in range(repeat):
        clock = time.process_time()
        outcome = solve(problem, SolverOptions(tolerance=tolerance))
        cpu.append(time.process_time() - clock)
        seconds.append(outcome.seconds)
    wall = statistics.median(seconds)
    achieved = operations(problem) * outcome.iterations / wall
    size = problem.column.size
    memory = peak_memory(problem) / (8.0 * size**2)
    return (
        f"| {name} | {problem.row.size} | {size} | {outcome.bound:.8g} | {outcome.status.value} | {outcome.iterations} "
        f"| {outcome.gap:.1e} | {wall:.3f} | {statistics.median(cpu):.3f} | {achieved / 1e9:.1f} "
        f"| {100 * achieved / rate:.0f} % | {memory:.1f} |"
    )


def main() -> None:
    """Measure the networks named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=", ".join(NETWORKS))
    parser.add_argument("--tolerance", type=float, default=1e-6)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--data", type=Path, default=SHARED)
    arguments = parser.parse_args()
    rate = product_rate()
    load_average = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{os.cpu_count()} cores, load {load_average:.1f}, matrix product {rate / 1e9:.1f} GF/s\n")
    print(
        "| network | channels | columns N | bound | status | iterations | gap | wall s | CPU s | GF/s | of product | N² |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for name in arguments.names or [name for name in NETWORKS if name not in LARGEST]:
        if not NETWORKS[name].widths and not arguments.data.is_dir():
            continue
        print(measure(name, arguments.data, arguments.tolerance, arguments.repeat, rate), flush=True)


if __name__ == "__main__":
    main()
