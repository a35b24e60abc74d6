"""What several benchmarks share: networks, the machine, generated parts of docs/benchmarks.md, figures."""

from __future__ import annotations

import itertools
import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from lipcert.files import write
from lipcert.graph import build as nn
from lipcert.graph.nodes import Graph
from lipcert.importer import load

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SHARED = ROOT.parent / "shared" / "data"


def networks(path: Path) -> dict[str, tuple[Graph, float]]:
    """Networks of a file, each with a factor that its bounds are multiplied by.

    An .npz file holds weights W0, W1, … (outputs, inputs) of a MaxMin network on neighbouring pairs, residual where the
    name begins with 'res'.
    """
    if path.suffix != ".npz":
        return {path.stem: (load(path), 1.0)}
    with np.load(path) as file:
        weights = [file[f"W{k}"].astype(np.float64) for k in range(len(file.files))]
    first, *hidden, last = weights
    if not path.stem.startswith("res"):
        layers = [part for w in hidden for part in (nn.maxmin(), nn.linear(w))]
        return {path.stem: (nn.sequential(nn.linear(first), *layers, nn.maxmin(), nn.linear(last)), 1.0)}
    middle = nn.sequential(*(nn.residual(nn.linear(w), nn.maxmin()) for w in hidden))
    norms = float(np.linalg.norm(first, 2) * np.linalg.norm(last, 2))
    return {
        path.stem: (nn.sequential(nn.linear(first), middle, nn.linear(last)), 1.0),
        f"{path.stem}, middle × norms": (middle, norms),
    }


def network(path: Path) -> Graph:
    """The network of a file as a whole."""
    return networks(path)[path.stem][0]


def mlp(widths: Sequence[int], seed: int = 0) -> Graph:
    """A ReLU network with random weights of He's scale."""
    rng = np.random.default_rng(seed)
    layers = [
        part
        for a, b in itertools.pairwise(widths)
        for part in (nn.linear(rng.standard_normal((b, a)) * np.sqrt(2 / a)), nn.relu())
    ]
    return nn.sequential(*layers[:-1])


def product_rate(size: int = 1500) -> float:
    """Floating-point operations a second of a matrix product, the best of some for at least 0.05 s."""
    a = np.random.default_rng(0).standard_normal((size, size))
    best, spent, runs = np.inf, 0.0, 0
    while runs < 4 or spent < 0.05:
        start = time.perf_counter()
        a @ a
        seconds = time.perf_counter() - start
        best, spent, runs = min(best, seconds), spent + seconds, runs + 1
    return float(2 * size**3 / best)


def machine() -> str:
    """The machine and the versions, in one line."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "default")
    return (
        f"{model}, {os.cpu_count()} cores ({threads} BLAS threads), {platform.system()}, Python "
        f"{platform.python_version()}, NumPy {np.__version__}, SciPy {scipy.__version__}"
    )


def renew(script: str, lines: Sequence[str], page: Path = DOCS / "benchmarks.md") -> None:
    """Replace what a script wrote into the page by `lines`, with the date and the machine below."""
    begin, end = f"<!-- generated: benchmarks/{script} -->", "<!-- end of generated -->"
    head, rest = page.read_text(encoding="utf-8").split(begin)
    tail = rest.split(end, 1)[1]
    body = "\n".join(["", *lines, "", f"{date.today():%d %B %Y}; {machine()}.", "", ""])
    write(page, (head + begin + "\n" + body.removesuffix("\n") + end + tail).encode())


@contextmanager
def svg(path: Path, **subplots: Any) -> Iterator[tuple[Any, Any]]:
    """A figure and its axes of `matplotlib.pyplot.subplots`, written to `path`; the same figure gives the same file."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "lipcert"
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(layout="constrained", **subplots)
    try:
        yield fig, axes
        content = BytesIO()
        fig.savefig(content, format="svg", metadata={"Date": None})
        write(path, content.getvalue())
    finally:
        plt.close(fig)
