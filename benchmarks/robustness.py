"""Certified samples of classifiers of others, proven and verified, beside the published numbers of SDP-CROWN.

    python benchmarks/robustness.py                        all of them, and the table of benchmarks.md
    python benchmarks/robustness.py --only mnist_mlp       one, in this process

The networks and samples of ../shared/data: those of SDP-CROWN (ICML 2025, arXiv 2506.06665), and one of VNN-COMP in ℓ∞,
beside interval and linear bounds (CROWN) by themselves. Seconds are those of `lipcert.robustness`, and the processor's.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from common import DOCS, SHARED, renew

from lipcert import robustness
from lipcert.bounds.margins import proven_margins
from lipcert.certificates.classes import verify_classes
from lipcert.certificates.nearby import Nearby
from lipcert.graph.heads import without_head
from lipcert.graph.nodes import Graph
from lipcert.importer import load
from lipcert.norms import Norm
from lipcert.ranges.propagate import through


@dataclass(frozen=True)
class Question:
    """A network, samples, and the radius that is asked for.

    Attributes
    ----------
    network, data
        Files of ../shared/data.
    norm, radius
        The ball.
    margins
        As in `lipcert.robustness`.
    others
        What others certify, in words.
    branch
        Seconds for cuts at neurons.
    """

    network: str
    data: str
    norm: Norm
    radius: float
    margins: str
    others: str
    branch: float = 0.0


QUESTIONS = {
    "mnist_mlp": Question(
        "robustness/mnist_mlp.onnx", "mnist_200", Norm.L2, 1.0, "auto", "SDP-CROWN 33.0 %; 50.0 % are not broken"
    ),
    "mnist_convsmall": Question(
        "robustness/mnist_convsmall.onnx", "mnist_200", Norm.L2, 0.3, "joint", "SDP-CROWN 81.5 %; 84.5 % are not broken"
    ),
    "cifar10_cnn_c": Question(
        "robustness/cifar10_cnn_c.onnx",
        "cifar10_200",
        Norm.L2,
        24 / 255 / 0.225,
        "joint",
        "SDP-CROWN 43.0 %; 47.0 % are not broken",
    ),
    "mnist-net_256x2": Question("onnx/mnist-net_256x2.onnx", "mnist_200", Norm.LINF, 0.01, "joint", ""),
    "mnist-net_256x2, cut at neurons": Question(
        "onnx/mnist-net_256x2.onnx", "mnist_200", Norm.LINF, 0.01, "joint", "", 10.0
    ),
}


def row(name: str) -> str:
    """One line of the table, measured in this process."""
    question = QUESTIONS[name]
    graph = load(SHARED / question.network)
    with np.load(SHARED / "robustness" / f"{question.data}.npz") as file:
        points, labels = file["x"].reshape(len(file["x"]), -1).astype(np.float64), file["y"]
    started, used = time.perf_counter(), time.process_time()
    found = robustness(
        graph,
        points,
        labels,
        norm=question.norm,
        at=question.radius,
        margins=question.margins,
        attack=True,
        branch=question.branch,
    )
    seconds, used = time.perf_counter() - started, time.process_time() - used
    assert found.certificate is not None
    started = time.perf_counter()
    verify_classes(found.certificate, graph)
    checked = time.perf_counter() - started
    shares = [100.0 * found.statuses.count(name) / len(points) for name in ("certified", "refuted", "open")]
    alone = 100.0 * np.mean([item.radius >= question.radius and item.source == "global" for item in found.found])
    others = question.others or _alone(graph, points, labels, question)
    shown = " | ".join(f"{share:.1f} %" for share in shares)
    return (
        f"| {name} | {question.norm.symbol} {question.radius:.4g} | {alone:.1f} % | {shown} "
        f"| {seconds:.0f} s ({used:.0f} s) | {checked:.0f} s | {others} |"
    )


def _alone(graph: Graph, points: np.ndarray, labels: np.ndarray, question: Question) -> str:
    """What intervals and linear bounds certify by themselves."""
    logits = without_head(graph)[0]
    predictions, _ = proven_margins(logits, points)
    counts = np.zeros(2)
    for x, c, label in zip(points, predictions.tolist(), labels.tolist(), strict=True):
        if c == label:
            ball = Nearby(logits, x, question.radius, question.norm, None, c)
            intervals = through(ball.margins, [ball.region.interval()])[ball.margins.output]
            counts += [(intervals.low > 0.0).all(), (ball.low > 0.0).all()]
    intervals_alone, linear = 100.0 * counts / len(points)
    return f"intervals {intervals_alone:.1f} %, CROWN {linear:.1f} %"


@click.command(help=__doc__, context_settings={"max_content_width": 120})
@click.option("--only", type=click.Choice(list(QUESTIONS)), help="One network, in this process.")
@click.option("--page", type=click.Path(exists=True, path_type=Path), default=DOCS / "benchmarks.md")
def main(only: str | None, page: Path) -> None:
    if only is not None:
        click.echo(row(only))
        return
    if not SHARED.exists():
        raise click.ClickException("the networks of ../shared/data are not there")
    lines = [
        "| network | ball | global bounds alone | certified | refuted | open | seconds (CPU) | verify | others |",
        "|---" * 9 + "|",
    ]
    for name in QUESTIONS:
        command = [sys.executable, __file__, "--only", name]
        lines.append(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
        click.echo(lines[-1])
    renew("robustness.py", lines, page)


if __name__ == "__main__":
    main()
