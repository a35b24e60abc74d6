"""The imported graph against ONNX Runtime on random inputs; implicit layers against their equation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lipcert.errors import InvalidModel
from lipcert.graph.evaluate import forward, record
from lipcert.graph.nodes import Graph
from lipcert.graph.sizes import activations
from lipcert.importer.inputs import Inputs
from lipcert.importer.runtime import Runtime, runtimes
from lipcert.importer.values import Equation

if TYPE_CHECKING:
    from lipcert.arrays import Array

_SCALES = (0.1, 1.0, 10.0)
# over 260 files of several exporters the distance stayed below 62 roundings of the largest value in the network
_ROUNDINGS = 2.0**10
_RESIDUAL = 1e-3
# numbers in all nodes together above which one sample must do
_LARGE = 2**22


def compare(
    path: str | Path,
    graph: Graph,
    equations: Sequence[Equation],
    output: str,
    inputs: Inputs,
    start: Sequence[str] = (),
) -> str:
    """Raise an error where graph and file differ by more than rounding; a note on what else than the file itself was run.

    The distance allowed is 2¹⁰(u·max |value| + δ), with u the unit roundoff of the file's type, the largest value of any
    node, and δ how far the output moves when the input moves by u.

    Raises
    ------
    InvalidModel
        If they differ, if the file cannot be run, or if a solver in the file misses its fixed point.
    """
    names = {output, *(n for e in equations for n in (e.solution, *e.parameters))}
    failure: InvalidModel | None = None
    for open_runtime in runtimes(path, output, names, start):
        try:
            runtime = open_runtime()
            samples, runs = _runs(runtime, graph, inputs)
        except InvalidModel as error:
            failure = failure or error
            continue
        theirs = _columns([run[output] for run in runs])
        if runtime.note and not np.isfinite(theirs).any():
            # doubles may overflow in float32
            continue
        agree(path, runtime.title, graph, samples, theirs, runtime.unit)
        for equation in equations:
            parameters = [_columns([run[name] for run in runs]) for name in equation.parameters]
            _residual(path, equation, _columns([run[equation.solution] for run in runs]), parameters)
        return runtime.note
    raise failure or InvalidModel("it gives no finite output", where=str(path), advice="check the weights")


def _runs(runtime: Runtime, graph: Graph, inputs: Inputs) -> tuple[Array, list[dict[str, np.ndarray]]]:
    """Random inputs, and what the file makes of them."""
    rng = np.random.default_rng(0)
    scales = _SCALES if sum(node.size for node in graph.nodes) <= _LARGE else (1.0,)
    # logarithms and roots are defined for positive numbers only
    signs = (False, True) if any(node.needs_range for node in activations(graph)) else (False,)
    samples = [runtime.typed(inputs.sample(rng, scale, positive)) for positive in signs for scale in scales]
    return np.stack([inputs.column(x) for x in samples], axis=1), [runtime.run(x) for x in samples]


def agree(path: str | Path, other: str, graph: Graph, x: Array, theirs: Array, unit: float) -> None:
    """Raise an error where the outputs of another implementation differ from the graph's by more than rounding.

    Parameters
    ----------
    path, other
        The model and the implementation, for messages.
    graph
        The imported network.
    x, theirs
        Inputs (inputs, samples) and the other's outputs (outputs, samples).
    unit
        The other's unit roundoff.
    """
    tape = record(graph, [x])
    if tape.output.shape != theirs.shape:
        raise InvalidModel(
            f"its output has {theirs.shape[0]} numbers in {other} and {tape.output.shape[0]} here", where=str(path)
        )
    peak = np.max([np.abs(v).max(axis=0, initial=0.0) for v in tape.values if v is not None], axis=0)
    nearby = x * (1.0 + unit * np.sign(np.random.default_rng(1).standard_normal(x.shape)))
    moved = np.abs(forward(graph, nearby) - tape.output).max(axis=0, initial=0.0)
    room = _ROUNDINGS * (unit * peak + moved) + np.finfo(np.float32).tiny
    # an overflow in the file's arithmetic, such as log σ(−200) = −∞ in float32, says nothing; ours never overflow there
    # outside the domain of a logarithm or a root neither of both is a number
    finite, other_finite = np.isfinite(tape.output), np.isfinite(theirs)
    usable = other_finite.all(axis=0) | (~finite.all(axis=0) & (finite != other_finite).any(axis=0))
    if not usable.any():
        raise InvalidModel(f"{other} gives no finite output", where=str(path), advice="check the weights")
    gap = np.abs(np.where(usable, tape.output - np.where(usable, theirs, 0.0), 0.0)).max(axis=0, initial=0.0)
    if (usable & ~(gap <= room)).any():
        worst = int(np.argmax(np.where(usable, np.nan_to_num(gap / room, nan=np.inf), -1.0)))
        raise InvalidModel(
            f"the graph differs from {other} by {gap[worst]:.3g} where rounding explains {room[worst]:.3g}",
            where=str(path),
            advice="please report this file; no bound of it can be trusted",
        )


def _residual(path: str | Path, equation: Equation, solution: Array, parameters: Sequence[Array]) -> None:
    """‖x* − cell(x*)‖ relative to 1 + ‖x*‖, in the largest entry."""
    gap = np.abs(forward(equation.cell, [solution, *parameters]) - solution).max(axis=0, initial=0.0)
    relative = float((gap / (1.0 + np.abs(solution).max(axis=0, initial=0.0))).max())
    if not relative <= _RESIDUAL:
        raise InvalidModel(
            f"the solver in the file misses the fixed point {equation.solution!r} by {relative:.2g} relative",
            where=str(path),
            advice="give it more iterations, or a solver that converges",
        )


def _columns(samples: Sequence[np.ndarray]) -> Array:
    return np.stack([np.asarray(x, dtype=np.float64).ravel() for x in samples], axis=1)
