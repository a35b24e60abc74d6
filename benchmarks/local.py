"""Bounds on regions beside other local methods in one run, and over the radius of a ball.

    python benchmarks/local.py    the networks and regions of ../shared/data/local, if they are there, and curves

Writes local.csv, radius.csv and local.svg, and the tables of benchmarks.md. The methods of eclipse-nn are for ℓ2 balls and
ReLU. They and the interval Jacobians compute in floating point, and nothing proves what they give. Values of others that do
not install from the package index are those of figures.csv.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import click
import numpy as np
from common import DOCS, ROOT, SHARED, renew, svg

import lipcert
from lipcert.errors import DoesNotApply, LipcertError, MissingExtra
from lipcert.figures import upward
from lipcert.graph.claim import Claim
from lipcert.graph.nodes import Activation, Affine, Graph
from lipcert.graph.prepare import prepare
from lipcert.graph.selection import Selection
from lipcert.norms import Norm
from lipcert.ranges.jacobian import norm_bound
from lipcert.ranges.propagate import Ranges, sweep, through
from lipcert.regions import Ball, Box, Region
from lipcert.rounding import Interval

MODELS = ("digits_relu", "digits_tanh", "diabetes_softplus", "oscillator_controller")
"""Of models/: the curves over the radius."""
RADII = (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, 1e4)
OURS = "lipcert"
PRODUCTS = "interval Jacobian"


@dataclass(frozen=True)
class Question:
    """A network, a region and the norms; `row` is the output that is meant, or '' for all together."""

    name: str
    place: str
    norms: str
    graph: Graph
    region: Region

    @property
    def request(self) -> dict[str, Any]:
        """The arguments of `lipcert.bound`."""
        norm, output = self.norms.split("->")
        rows = {"output_norm": "inf", "outputs": output[3:]} if output.startswith("row") else {"output_norm": output}
        return {"norm": norm, **rows}

    @property
    def claim(self) -> Claim:
        """What is meant, as a claim."""
        request = self.request
        chosen = Selection.parse(request.get("outputs", "all"), self.graph.output_size)
        return Claim.about(Norm.parse(request["norm"]), Norm.parse(request["output_norm"]), chosen)


@dataclass(frozen=True)
class Row:
    """What one method gave; `seconds` is None for values that others measured."""

    network: str
    region: str
    norms: str
    method: str
    bound: float | None
    proven: bool
    seconds: float | None
    note: str = ""


@dataclass(frozen=True)
class Point:
    """The bound on a ball of a radius around the centre; infinite for the whole space."""

    network: str
    method: str
    radius: float
    bound: float
    seconds: float


def ours(question: Question, method: str = "auto") -> float:
    """`lipcert.bound`, the proof included."""
    found = lipcert.bound(question.graph, method=method, region=question.region, lower=False, **question.request)
    return found.upper


def eclipse(question: Question, algorithm: str) -> float:
    """ECLipsE-Gen-Local of the package eclipse-nn."""
    region = question.region
    if question.norms != "2->2" or not isinstance(region, Ball) or region.norm is not Norm.L2:
        raise DoesNotApply("it is for ℓ2 balls and ℓ2 to ℓ2")
    weights, biases, kinds = layers(prepare(question.graph, "written"))
    if set(kinds) != {"relu"}:
        raise DoesNotApply("it is asked for ReLU networks only")
    try:
        from eclipse_nn import LipConstEstimator
    except ImportError:
        raise MissingExtra("eclipse-nn", "bench", purpose="the comparison with eclipse-nn") from None
    estimator = LipConstEstimator(weights=weights, biases=[b[:, None] for b in biases])
    value, _, code = estimator.estimate_gen_local(region.centre[:, None], region.radius, "relu", algorithm)
    if code != 0:
        raise DoesNotApply(f"it ended with the code {code}")
    return float(value)


def products(question: Question, found: Callable[[Graph, Region], Ranges]) -> float:
    """The product of the intervals of the layers' Jacobians: the first step of FastLip and LipBaB."""
    graph = prepare(question.claim.select(question.graph), "written")
    on = found(graph, question.region)
    total = Interval.point(np.eye(graph.input_size))
    for position, node in graph.walk():
        if isinstance(node, Affine) and len(node.maps) == 1:
            matrix = node.maps[0].to_dense()
            middle, radius = matrix @ total.middle(), np.abs(matrix) @ total.radius()
            total = Interval(middle - radius, middle + radius)
        elif isinstance(node, Activation) and node.block == 1:
            slopes = node.record.slopes_on(node.parameters, on[node.parent])  # type: ignore[attr-defined]
            ends = [s[:, None] * e for s in (slopes.low, slopes.high) for e in (total.low, total.high)]
            total = Interval(np.minimum.reduce(ends), np.maximum.reduce(ends))
        elif position != graph.inputs[0]:
            raise DoesNotApply("it is asked for feedforward networks only")
    return norm_bound(total, question.claim.norm, question.claim.output_norm)


def layers(graph: Graph) -> tuple[list[np.ndarray], list[np.ndarray], list[str]]:
    """The weights, biases and activations of a network layer after layer."""
    weights, biases, kinds = [], [], []
    matrix, bias = np.eye(graph.input_size), np.zeros(graph.input_size)
    for _, node in graph.walk():
        if isinstance(node, Affine) and len(node.maps) == 1:
            matrix, bias = node.maps[0] @ matrix, node.maps[0] @ bias + (0.0 if node.bias is None else node.bias)
        elif isinstance(node, Activation) and node.block == 1:
            weights.append(matrix)
            biases.append(bias)
            kinds.append(node.kind)
            matrix, bias = np.eye(node.size), np.zeros(node.size)
        elif node.parents:
            raise DoesNotApply("it is asked for feedforward networks only")
    return [*weights, matrix], [*biases, bias], kinds


METHODS: dict[str, tuple[bool, Callable[[Question], float]]] = {
    OURS: (True, ours),
    "lipcert, entries of the Jacobian": (True, lambda question: ours(question, "jacobian")),
    **{
        f"eclipse-nn Gen-Local {name}": (False, lambda question, name=name: eclipse(question, name))
        for name in ("Acc", "CF", "Fast")
    },
    f"{PRODUCTS}, linear ranges": (False, lambda question: products(question, lambda g, r: sweep(g, r)[0])),
    f"{PRODUCTS}, interval ranges": (
        False,
        lambda question: products(question, lambda g, r: through(g, [r.fitted(g.input_size).interval()])),
    ),
}
"""Whether what it gives is proven, and how it is asked."""


def figures(folder: Path) -> list[dict[str, str]]:
    """The rows of figures.csv on regions."""
    with (folder / "local" / "figures.csv").open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["region"] != "global"]


def questions(folder: Path) -> list[Question]:
    """What figures.csv has values for."""
    found = []
    for name, place, norms in dict.fromkeys((r["network"], r["region"], r["norms"]) for r in figures(folder)):
        path = folder / ("local" if (folder / "local" / f"{name}.onnx").exists() else "onnx") / f"{name}.onnx"
        with np.load(folder / "local" / f"{name}__{place}.npz") as file:
            region: Region = (
                Box(file["low"].ravel(), file["high"].ravel())
                if "low" in file
                else Ball(file["center"].ravel(), float(file["radius"]))
            )
        found.append(Question(name, place, norms, lipcert.load(path), region))
    return found


def measure(question: Question) -> list[Row]:
    """All methods on one question."""
    rows = []
    for name, (proven, method) in METHODS.items():
        started = time.perf_counter()
        try:
            value, note = method(question), ""
        except MissingExtra:
            raise
        except (LipcertError, ArithmeticError, ValueError, RuntimeError, AssertionError) as error:
            # a peer that fails is a result, in its own words
            value, note = None, str(error).strip().splitlines()[0] if str(error) else type(error).__name__
        seconds = time.perf_counter() - started
        rows.append(Row(question.name, question.place, question.norms, name, value, proven, seconds, note))
        click.echo(f"{question.name} {question.place} {question.norms}, {name}: {value} in {seconds:.2f} s", err=True)
    return rows


def known(folder: Path) -> list[Row]:
    """The values of others; what we measure ourselves, and the prototypes of this project, are left out."""
    own = ("SDP (C)", "prototype", "sampled", "interval Jacobian", "eclipse-nn", "global bound")
    return [
        Row(r["network"], r["region"], r["norms"], r["method"], float(r["value"]), False, None)
        for r in figures(folder)
        if not r["method"].startswith(own)
    ]


def curve(name: str, radii: Sequence[float] = RADII) -> list[Point]:
    """The bounds on balls around a point of the data, up to the whole space."""
    graph = lipcert.load(ROOT / "models" / f"{name}.onnx")
    centre = np.full(graph.input_size, 0.3 if graph.input_size == 64 else 0.0)
    points = []
    for radius in (*radii, np.inf):
        region = None if radius == np.inf else Ball(centre, radius)
        for method in ("auto", "jacobian"):
            if method == "jacobian" and region is None:
                continue
            started = time.perf_counter()
            bound = lipcert.bound(graph, method=method, region=region, lower=False).upper
            points.append(Point(name, method, radius, bound, time.perf_counter() - started))
            click.echo(f"{name} {radius:g} {method}: {bound:.6g} in {points[-1].seconds:.2f} s", err=True)
    return points


def table(rows: Sequence[Row]) -> list[str]:
    """One line a question: ours, the best of each kind of peer, and the times."""
    lines = [
        "| network | region | norms | lipcert | seconds | its Jacobian alone | eclipse-nn | interval Jacobian | others |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key in dict.fromkeys((r.network, r.region, r.norms) for r in rows):
        mine = [r for r in rows if (r.network, r.region, r.norms) == key and r.bound is not None]
        (best,) = [r for r in mine if r.method == OURS]
        kinds = ("lipcert, entries", "eclipse-nn", PRODUCTS)
        cells = [least([r for r in mine if r.method.startswith(kind)]) for kind in kinds]
        others = [r for r in mine if r.seconds is None]
        named = f"{least(others)} ({min(others, key=lambda r: r.bound or 0.0).method})" if others else "–"
        lines.append(
            f"| {' | '.join(key)} | {upward(best.bound or 0.0)} | {best.seconds:.2f} | {' | '.join(cells)} | {named} |"
        )
    return lines


def least(rows: Iterable[Row]) -> str:
    """The smallest value."""
    values = [r.bound for r in rows if r.bound is not None]
    return f"{min(values):.5g}" if values else "–"


def over_radius(points: Sequence[Point]) -> list[str]:
    """The bounds over the radius, a network a line."""
    radii = list(dict.fromkeys(p.radius for p in points))
    names = ["everywhere" if r == np.inf else f"{r:g}" for r in radii]
    lines = [
        "![Proven bound and seconds over the radius of the ball](local.svg)",
        "",
        f"| network | {' | '.join(names)} |",
        f"|---|{'---|' * len(radii)}",
    ]
    for name in dict.fromkeys(p.network for p in points):
        values = [p for p in points if p.network == name and p.method == "auto"]
        lines.append(f"| {name} | {' | '.join(f'{p.bound:.4g} ({p.seconds:.2f} s)' for p in values)} |")
    return lines


def draw(points: Sequence[Point], path: Path) -> None:
    """Bound and seconds over the radius, the whole space on the right."""
    names = list(dict.fromkeys(p.network for p in points))
    far = 10.0 * max(p.radius for p in points if p.radius < np.inf)
    with svg(path, nrows=2, ncols=len(names), figsize=(3.4 * len(names), 5.6), sharex=True, squeeze=False) as (_, axes):
        for column, name in zip(axes.T, names, strict=True):
            for method, mark in (("auto", "o-"), ("jacobian", "s--")):
                chosen = [p for p in points if p.network == name and p.method == method]
                x = [min(p.radius, far) for p in chosen]
                label = "lipcert" if method == "auto" else "entries of the Jacobian alone"
                column[0].plot(x, [p.bound for p in chosen], mark, markersize=3, label=label)
                column[1].plot(x, [p.seconds for p in chosen], mark, markersize=3)
            everywhere = next(p.bound for p in points if p.network == name and p.radius == np.inf)
            column[0].axhline(everywhere, color="black", linestyle=":", label="global bound")
            column[0].set(title=name, xscale="log", yscale="log")
            column[1].set(xlabel="radius (last: everywhere)", yscale="log")
            for ax in column:
                ax.grid(alpha=0.3)
        axes[0, 0].set_ylabel("proven bound")
        axes[1, 0].set_ylabel("seconds")
        axes[0, 0].legend(fontsize=7)


def save(items: Sequence[Row] | Sequence[Point], path: Path) -> None:
    """All of them in full."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(items[0])], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(item) for item in items)


@click.command(help=__doc__, context_settings={"max_content_width": 120})
@click.option("--only", default="", help="Networks whose names hold this text.")
@click.option("--curves/--no-curves", default=True, show_default=True, help="Bounds over the radius too.")
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), default=DOCS, show_default="docs")
@click.option("--page", type=click.Path(exists=True, path_type=Path), default=DOCS / "benchmarks.md")
def main(only: str, curves: bool, folder: Path, page: Path) -> None:
    lines: list[str] = []
    folder.mkdir(parents=True, exist_ok=True)
    if (SHARED / "local" / "figures.csv").exists():
        chosen = [q for q in questions(SHARED) if only in q.name]
        rows = [row for question in chosen for row in measure(question)]
        rows += [row for row in known(SHARED) if only in row.network]
        save(rows, folder / "local.csv")
        lines += table(rows)
    if curves:
        points = [point for name in MODELS if only in name for point in curve(name)]
        save(points, folder / "radius.csv")
        draw(points, folder / "local.svg")
        lines += ["", *over_radius(points)]
    renew("local.py", lines, page)
    click.echo(f"local.csv, radius.csv and local.svg in {folder} and the tables in {page} written")


if __name__ == "__main__":
    main()
