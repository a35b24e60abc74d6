"""How time grows with width, depth and inputs, and how much of the machine's matrix-product rate the solve reaches.

    python benchmarks/curves.py

Random ReLU networks. Writes curves.csv, curves.svg and roofline.svg, and the tables of benchmarks.md.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import click
import numpy as np
from common import DOCS, mlp, product_rate, renew, svg
from solver import operations

import lipcert
from lipcert.constraints.interconnection import lower
from lipcert.graph.claim import Claim
from lipcert.sdp.outcome import SolverOptions
from lipcert.sdp.problem import compress_inputs, subproblems
from lipcert.sdp.solvers import get_solver


@dataclass(frozen=True)
class Sweep:
    """Networks that differ in one size; `widths` gives all sizes of a network."""

    title: str
    label: str
    sizes: tuple[int, ...]
    inputs: int | None
    width: int | None
    layers: int | None

    def widths(self, size: int) -> tuple[int, ...]:
        """Inputs, hidden layers, outputs; the one that is None is the size."""
        inputs, width, layers = (size if x is None else x for x in (self.inputs, self.width, self.layers))
        return (inputs, *(width,) * layers, 10)


SWEEPS = {
    "width": Sweep("4 layers, 784 inputs", "neurons a layer", (8, 16, 32, 64, 128, 256, 362, 512), 784, None, 4),
    "depth": Sweep("32 neurons a layer, 784 inputs", "layers", (1, 2, 3, 4, 6, 8, 12, 16, 24), 784, 32, None),
    "inputs": Sweep("2 layers of 32 neurons", "inputs", (4, 16, 64, 256, 1024, 4096, 16384), None, 32, 2),
}
SOLVERS = {"native": "native, solver alone", "clarabel": "Clarabel"}
PROVEN = "native, proof included"
GROWTH = 4.0
"""How much longer the next point of a curve may take; a curve ends where that is beyond the limit."""


@dataclass(frozen=True)
class Point:
    """One method on one network; `rate` in floating-point operations a second, of the native solver alone."""

    sweep: str
    size: int
    channels: int
    method: str
    seconds: float
    bound: float
    rate: float | None = None


def sweep(name: str, sizes: Sequence[int], limit: float, tolerance: float) -> list[Point]:
    """The curves of one sweep."""
    points: list[Point] = []
    alive = [*SOLVERS, PROVEN]
    for size in sizes:
        graph = mlp(SWEEPS[name].widths(size))
        problem = compress_inputs(next(subproblems(lower(graph), Claim())))
        for method in list(alive):
            rate = None
            if method == PROVEN:
                result = lipcert.bound(graph, method="neuron", solver="native", tolerance=tolerance, lower=False)
                seconds, bound = result.seconds, result.upper
            else:
                outcome = get_solver(method)(problem, SolverOptions(tolerance=tolerance))
                seconds, bound = outcome.seconds, outcome.bound
                rate = operations(problem) * outcome.iterations / seconds if method == "native" else None
            points.append(Point(name, size, problem.channels, SOLVERS.get(method, method), seconds, bound, rate))
            click.echo(f"{name} {size}, {points[-1].method}: {bound:.6g} in {seconds:.3g} s", err=True)
            if GROWTH * seconds > limit:
                alive.remove(method)
    return points


def exponent(points: Sequence[Point]) -> float | None:
    """The slope of log seconds over log size, in the upper half of the curve."""
    upper = points[len(points) // 2 :]
    if len(upper) < 2:
        return None
    return float(np.polyfit(np.log([p.size for p in upper]), np.log([p.seconds for p in upper]), 1)[0])


def curves(points: Iterable[Point]) -> dict[tuple[str, str], list[Point]]:
    """The points of each sweep and method."""
    found: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        found.setdefault((point.sweep, point.method), []).append(point)
    return found


def tables(points: Sequence[Point], rates: dict[int, float]) -> list[str]:
    """The ends of the curves with their exponents, and the rates."""
    lines = [
        "![Seconds over neurons a layer, layers and inputs](curves.svg)",
        "",
        "| sweep | method | largest | channels | seconds there | seconds ∝ size to the power |",
        "|---|---|---|---|---|---|",
    ]
    for (name, method), curve in curves(points).items():
        last, power = curve[-1], exponent(curve)
        lines.append(
            f"| {SWEEPS[name].label} ({SWEEPS[name].title}) | {method} | {last.size:,} | {last.channels:,} "
            f"| {last.seconds:.3g} | {'–' if power is None else f'{power:.1f}'} |"
        )
    best = max(rates.values())
    lines += [
        "",
        "![Rate of the solve over channels, beside matrix products](roofline.svg)",
        "",
        f"Matrix product: {best / 1e9:.0f} GF/s at best.",
        "",
        "| channels | GF/s of the solve | of the best matrix product |",
        "|---|---|---|",
    ]
    lines += [
        f"| {point.channels:,} | {point.rate / 1e9:.1f} | {100 * point.rate / best:.0f} % |"
        for point in points
        if point.rate is not None and point.sweep == "width"
    ]
    return lines


def draw(points: Sequence[Point], rates: dict[int, float], folder: Path) -> None:
    """Both figures."""
    found = curves(points)
    names = list(dict.fromkeys(name for name, _ in found))
    with svg(folder / "curves.svg", ncols=len(names), figsize=(4 * len(names), 3.5), sharey=True, squeeze=False) as (
        _,
        axes,
    ):
        for ax, name in zip(axes[0], names, strict=True):
            for marker, method in zip("osD", (*SOLVERS.values(), PROVEN), strict=True):
                curve = found.get((name, method), [])
                ax.plot([p.size for p in curve], [p.seconds for p in curve], marker + "-", markersize=4, label=method)
            ax.set(xscale="log", yscale="log", xlabel=SWEEPS[name].label, title=SWEEPS[name].title)
            ax.grid(alpha=0.3)
        axes[0, 0].set_ylabel("seconds")
        axes[0, 0].legend()
    with svg(folder / "roofline.svg", figsize=(6, 4)) as (_, ax):
        ax.plot(list(rates), [rate / 1e9 for rate in rates.values()], "k-", label="matrix product of that size")
        ax.axhline(max(rates.values()) / 1e9, color="k", linestyle=":", label="best matrix product")
        for marker, name in zip("osD", names, strict=False):
            chosen = [p for p in points if p.sweep == name and p.rate is not None]
            ax.plot([p.channels for p in chosen], [p.rate / 1e9 for p in chosen], marker, label=f"solve, {name}")
        ax.set(xscale="log", yscale="log", xlabel="channels", ylabel="GF/s")
        ax.grid(alpha=0.3)
        ax.legend()


def write(points: Iterable[Point], path: Path) -> None:
    """All points in full."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Point)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(point) for point in points)


@click.command(help=__doc__, context_settings={"max_content_width": 120})
@click.option("--limit", default=40.0, show_default=True, help="Seconds that a point should not take longer than.")
@click.option("--largest", type=int, help="Leave out larger sizes.")
@click.option("--tolerance", default=1e-6, show_default=True, help="Relative gap to reach.")
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), default=DOCS, show_default="docs")
@click.option("--page", type=click.Path(exists=True, path_type=Path), default=DOCS / "benchmarks.md")
def main(limit: float, largest: int | None, tolerance: float, folder: Path, page: Path) -> None:
    points: list[Point] = []
    for name, item in SWEEPS.items():
        points += sweep(name, [n for n in item.sizes if largest is None or n <= largest], limit, tolerance)
    most = max(1024, *(point.channels for point in points)) if largest is None else max(p.channels for p in points)
    rates = {2**k: product_rate(2**k) for k in range(5, most.bit_length() + 1)}
    folder.mkdir(parents=True, exist_ok=True)
    write(points, folder / "curves.csv")
    draw(points, rates, folder)
    renew("curves.py", tables(points, rates), page)
    click.echo(f"curves.csv, curves.svg and roofline.svg in {folder} and the tables in {page} written")


if __name__ == "__main__":
    main()
