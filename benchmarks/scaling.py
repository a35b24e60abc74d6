"""Bounds of the matrix-free method over time: python benchmarks/scaling.py [--seconds S] MODEL.onnx …

The bounds are those of the solver, not proven; `products` counts single vectors forward or backward.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from lipcert.constraints.multipliers import Tie
from lipcert.constraints.operator import Operator
from lipcert.graph.prepare import prepare
from lipcert.importer import load
from lipcert.sdp.outcome import Progress, SolverOptions
from lipcert.sdp.solvers.scaling import solve

MARKS = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)


def measure(path: Path, seconds: float) -> None:
    """Print one table row a time mark."""
    operator = Operator(prepare(load(path, check=False)))
    cpu = time.process_time()
    marks = iter([mark for mark in MARKS if mark < seconds] + [float("inf")])
    due = next(marks)

    def row(at: float, bound: float | None) -> None:
        shown = "—" if bound is None else f"{bound:.6g}"
        print(
            f"| {path.stem} | {at:.1f} | {time.process_time() - cpu:.1f} | {operator.products} | {shown} |", flush=True
        )

    def progress(step: Progress) -> None:
        nonlocal due
        if step.seconds >= due:
            row(step.seconds, step.bound)
            while due <= step.seconds:
                due = next(marks)

    outcome = solve(operator, Tie.NEURON, SolverOptions(time_limit=seconds, progress=progress))
    row(outcome.seconds, outcome.bound)


def main() -> None:
    """Measure the models of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    print("| network | seconds | CPU seconds | products | bound |\n|---|---|---|---|---|")
    for path in arguments.models:
        measure(path, arguments.seconds)


if __name__ == "__main__":
    main()
