"""One method on one network, in this process: what `peers.py` starts for each of its figures.

    python benchmarks/peer.py METHOD FILE [--tolerance T] [--seconds S] [--memory GIB]

prints one JSON object: bound, whether it is proven, seconds, peak memory of the process, a note. The method has seen a
tiny network before, so that the seconds count no imports.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
from common import mlp, network

import lipcert
from lipcert.bounds.published.chain import feedforward, refuses_chain
from lipcert.constraints.interconnection import lower
from lipcert.errors import DoesNotApply, LipcertError, MissingExtra
from lipcert.graph.claim import Claim
from lipcert.graph.nodes import Graph
from lipcert.graph.prepare import prepare
from lipcert.sdp.outcome import SolverOptions
from lipcert.sdp.problem import balanced, compress_inputs, subproblems
from lipcert.sdp.solvers import get_solver


@dataclass(frozen=True)
class Answer:
    """What came out; `bound` is None where nothing did, and then `note` says why."""

    bound: float | None
    proven: bool
    seconds: float
    memory: int = 0
    note: str = ""


@dataclass(frozen=True)
class Limits:
    """The relative gap to reach, and the seconds for a method that stops by itself."""

    tolerance: float = 1e-6
    seconds: float = 10.0


def ours(graph: Graph, limits: Limits, **request: Any) -> Answer:
    """`lipcert.bound`, the proof included."""
    started = time.perf_counter()
    result = lipcert.bound(graph, tolerance=limits.tolerance, lower=False, **request)
    seconds = time.perf_counter() - started
    return Answer(result.upper, result.verified, seconds, note=result.status.value)


def matrix_free(graph: Graph, limits: Limits) -> Answer:
    """The same without matrices, which stops at its time limit or its optimum."""
    return ours(graph, limits, method="neuron", solver="matrix-free", time_limit=limits.seconds)


def alone(graph: Graph, limits: Limits, solver: str) -> Answer:
    """The answer of a solver on the compressed problem, which nothing proves; building the problem is not counted."""
    system, balance = balanced(lower(prepare(graph)))
    problem = compress_inputs(next(subproblems(system, Claim())))
    outcome = get_solver(solver)(problem, SolverOptions(tolerance=limits.tolerance))
    bound = None if outcome.y is None else float(balance.bound(outcome.bound))
    return Answer(bound, False, outcome.seconds, note=outcome.message or outcome.status.value)


def eclipse_nn(graph: Graph, limits: Limits, method: str) -> Answer:
    """A method of the package eclipse-nn, which takes ReLU networks as lists of weights."""
    prepared = prepare(graph, "written")
    reason = refuses_chain(prepared)
    if reason is not None:
        raise DoesNotApply(f"eclipse-nn does not apply: {reason}")
    try:
        import torch
        from eclipse_nn import LipConstEstimator
    except ImportError:
        raise MissingExtra("eclipse-nn", "bench", purpose="the comparison with eclipse-nn") from None
    chain = feedforward(prepared)
    slopes = [float(slope.max()) for slope in chain.slopes]
    estimator = LipConstEstimator(weights=[torch.from_numpy(w.copy()) for w in chain.weights], betas=slopes)
    words = io.StringIO()
    started = time.perf_counter()
    with contextlib.redirect_stdout(words):
        value = float(estimator.estimate(method))
    seconds = time.perf_counter() - started
    return Answer(value, False, seconds, note="fell back to ECLipsE-Fast" if "Falling back" in words.getvalue() else "")


PEERS: dict[str, Callable[[Graph, Limits], Answer]] = {
    "norm product": partial(ours, method="product"),
    "native": partial(ours, method="neuron", solver="native"),
    "matrix-free": matrix_free,
    "native, solver alone": partial(alone, solver="native"),
    "Clarabel": partial(alone, solver="clarabel"),
    "SCS": partial(alone, solver="scs"),
    "ECLipsE": partial(eclipse_nn, method="ECLipsE"),
    "ECLipsE-Fast": partial(eclipse_nn, method="ECLipsE_Fast"),
}


def answer(peer: str, path: Path, limits: Limits) -> Answer:
    """One method on the network of a file; what goes wrong is the note."""
    graph = network(path)
    # what a method imports, it imports here
    PEERS[peer](mlp((3, 4, 4, 2)), limits)
    started = time.perf_counter()
    try:
        found = PEERS[peer](graph, limits)
    except MissingExtra:
        raise
    except DoesNotApply as error:
        found = Answer(None, False, 0.0, note=str(error))
    except (LipcertError, MemoryError, ArithmeticError, ValueError, TypeError, RuntimeError) as error:
        # a peer that fails is a result, in its own words
        text = str(error).strip().splitlines() or ["no reason given"]
        found = Answer(None, False, time.perf_counter() - started, note=f"{type(error).__name__}: {text[0]}")
    return replace(found, memory=1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


@click.command(help=__doc__, context_settings={"max_content_width": 120})
@click.argument("peer", type=click.Choice(list(PEERS)))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--tolerance", default=Limits.tolerance, show_default=True, help="Relative gap to reach.")
@click.option("--seconds", default=Limits.seconds, show_default=True, help="For the matrix-free method.")
@click.option("--memory", default=16.0, show_default=True, help="Address space in GiB; beyond, the method fails.")
def main(peer: str, file: Path, tolerance: float, seconds: float, memory: float) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (int(memory * 2**30),) * 2)
    try:
        found = answer(peer, file, Limits(tolerance, seconds))
    except LipcertError as error:
        raise click.ClickException(str(error)) from None
    click.echo(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
