"""The tables of the ICLR 2024 paper on GroupSort and MaxMin networks (arXiv 2401.14033), in one command.

    python benchmarks/paper.py weights.npz net.onnx  these networks; without names those in ../shared/data/maxmin_mnist
    python benchmarks/paper.py --to docs             writes paper.md, paper.csv and paper.svg there as well

Prints the tables, with the published figure beside ours. The weights of the paper are in its repository,
https://github.com/ppauli/QCs_MaxMin; models/maxmin_mnist.py says how they are stored. An .npz file holds weights W0, W1, …
(outputs × inputs) of a MaxMin network on neighbouring pairs; where its name begins with 'res', it is residual: x₁ = W0 x,
x_{k+1} = x_k + MaxMin(W_k x_k), y = W_l x_l.
"""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from common import SHARED, machine, networks, svg

from lipcert.bounds.api import bound
from lipcert.errors import LipcertError
from lipcert.graph.nodes import Graph

METHODS = {
    "lipsdp-rr": "LipSDP-RR",
    "lipsdp-nsr": "LipSDP-NSR (P = S = 0)",
    "lipsdp-nsr-full": "LipSDP-NSR (P, S free)",
    "neuron": "ours",
}


PUBLISHED = {
    "l2_2fc_16": 22.594364,
    "l2_2fc_32": 38.548286,
    "l2_5fc_32": 224.525954,
    "l2_8fc_32": 401.033093,
    "res_5_32, middle × norms": 33.04245,
}
"""LipSDP-NSR with P = S = 0, ℓ2 to all outputs, in the table of the paper; of the residual network the middle × norms."""


@dataclass(frozen=True)
class Row:
    """One network under one pair of norms; seconds belong to the methods."""

    network: str
    norm: str
    product: float
    bounds: dict[str, float]
    seconds: dict[str, float]
    lower: float


def measure(name: str, graph: Graph, factor: float, norm: str, output: int, lower_seconds: float) -> Row:
    """All columns of one row."""
    outputs = str(output) if norm == "inf" else "all"
    bounds, seconds = {}, {}
    product = lower = np.nan
    for method in METHODS:
        started = time.perf_counter()
        try:
            result = bound(graph, norm=norm, outputs=outputs, method=method, lower=False)
        except LipcertError as error:
            click.echo(f"{name}: {method}: {error}", err=True)
            continue
        bounds[method], seconds[method] = result.upper * factor, time.perf_counter() - started
        product = np.nan if result.product is None else result.product * factor
        click.echo(f"{name} ℓ{norm} {method}: {bounds[method]:.6g} in {seconds[method]:.2f} s", err=True)
    if factor == 1.0:
        # a lower bound of the middle part alone says nothing about its product with the norms
        lower = bound(graph, norm=norm, outputs=outputs, method="neuron", lower_seconds=lower_seconds).lower or np.nan
    return Row(name, norm, product, bounds, seconds, lower)


def markdown(rows: list[Row], output: int) -> str:
    """The page."""
    lines = [
        "# The tables of the ICLR 2024 paper",
        "",
        "MaxMin networks of Pauli et al., ICLR 2024 (arXiv 2401.14033). Every upper bound is proven in real arithmetic;",
        "'ours' is the method `neuron`. Seconds of a method in brackets. Written by `python benchmarks/paper.py --to docs`.",
        "",
    ]
    titles = {"2": "ℓ2 to all outputs", "inf": f"ℓ∞ to output {output}"}
    for norm, title in titles.items():
        chosen = [row for row in rows if row.norm == norm]
        if not chosen:
            continue
        published = norm == "2" and any(row.network in PUBLISHED for row in chosen)
        more = " published, P = S = 0 |" if published else ""
        lines += [f"## {title}", "", f"| network | product | {' | '.join(METHODS.values())} | lower bound |{more}"]
        lines.append("|---" * (len(METHODS) + 3 + published) + "|")
        for row in chosen:
            cells = [
                f"{row.bounds[m]:.6g} ({row.seconds[m]:.2f} s)" if m in row.bounds else "does not apply"
                for m in METHODS
            ]
            figure = f" {_number(PUBLISHED.get(row.network, np.nan))} |" if published else ""
            lines.append(
                f"| {row.network} | {_number(row.product)} | {' | '.join(cells)} | {_number(row.lower)} |{figure}"
            )
        lines.append("")
    lines += ["![Upper bounds relative to ours](paper.svg)", "", f"Machine: {machine()}.", ""]
    return "\n".join(lines)


def plot(rows: list[Row], path: Path) -> None:
    """Every bound relative to ours."""
    place = np.arange(len(rows))
    series = {"product": [row.product for row in rows]}
    series |= {title: [row.bounds.get(m, np.nan) for row in rows] for m, title in METHODS.items()}
    series["lower bound"] = [row.lower for row in rows]
    ours = np.array([row.bounds.get("neuron", np.nan) for row in rows])
    with svg(path, figsize=(8, 4)) as (_, ax):
        for marker, (title, values) in zip("v^sDxo", series.items(), strict=True):
            ax.plot(place, np.array(values) / ours, marker, label=title)
        ax.set_xticks(
            place, [f"{row.network}\nℓ{row.norm.replace('inf', '∞')}" for row in rows], rotation=45, ha="right"
        )
        ax.set(yscale="log", ylabel="relative to ours")
        ax.legend()


def table(rows: list[Row], path: Path) -> None:
    """All numbers in full."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["network", "norm", "product", *METHODS, "lower", *(f"seconds {m}" for m in METHODS)])
        for row in rows:
            bounds = [row.bounds.get(m, "") for m in METHODS]
            seconds = [f"{row.seconds[m]:.3f}" if m in row.seconds else "" for m in METHODS]
            writer.writerow([row.network, row.norm, row.product, *bounds, row.lower, *seconds])


def _number(x: float) -> str:
    return "–" if np.isnan(x) else f"{x:.6g}"


@click.command(help=__doc__, context_settings={"max_content_width": 120})
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--to", "folder", type=click.Path(file_okay=False, path_type=Path), help="Write the page, its table and figure."
)
@click.option("--output", default=8, show_default=True, help="The output of the ℓ∞ table.")
@click.option("--lower-seconds", default=5.0, show_default=True, help="For each lower bound.")
def main(files: tuple[Path, ...], folder: Path | None, output: int, lower_seconds: float) -> None:
    chosen = files or tuple(sorted((SHARED / "maxmin_mnist").glob("*.npz")))
    if not chosen:
        click.echo(
            "no networks to measure: take the weights of the paper from https://github.com/ppauli/QCs_MaxMin, and name "
            ".npz or .onnx files. Published, LipSDP-NSR with P = S = 0, ℓ2 to all outputs:"
        )
        for name, figure in PUBLISHED.items():
            click.echo(f"  {name:26}{figure:.6g}")
        return
    found = {name: item for path in chosen for name, item in networks(path).items()}
    rows = [measure(name, graph, factor, "2", output, lower_seconds) for name, (graph, factor) in found.items()]
    rows += [
        measure(name, graph, factor, "inf", output, lower_seconds)
        for name, (graph, factor) in found.items()
        if factor == 1.0 and output < graph.output_size
    ]
    click.echo(markdown(rows, output))
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "paper.md").write_text(markdown(rows, output), encoding="utf-8")
    table(rows, folder / "paper.csv")
    plot(rows, folder / "paper.svg")
    click.echo(f"{folder / 'paper.md'}, paper.csv and paper.svg written")


if __name__ == "__main__":
    main()
