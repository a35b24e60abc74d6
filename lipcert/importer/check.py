"""The imported graph against ONNX Runtime at telling points; implicit layers against their equation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lipcert.errors import InvalidModel, UnsupportedModel
from lipcert.graph.evaluate import forward, record
from lipcert.graph.nodes import Graph
from lipcert.graph.sizes import activations
from lipcert.importer.inputs import Inputs
from lipcert.importer.points import telling
from lipcert.importer.runtime import Runtime, runtimes
from lipcert.importer.values import Equation

if TYPE_CHECKING:
    from lipcert.arrays import Array

Given = dict[str, np.ndarray]

# over 260 files of several exporters the distance stayed below 62 roundings of the largest value in the network
_ROUNDINGS = 2.0**10
_RESIDUAL = 1e-3
_SCALES = (0.1, 1.0, 10.0)
# numbers in all nodes together above which one sample must do
_LARGE = 2**22
# inputs that differ by roundings, where the arithmetic of the file is looked at
_TRIALS = 8


@dataclass(frozen=True, eq=False)
class Imported:
    """What was read from a file.

    Attributes
    ----------
    graph
        The network.
    equations
        Its implicit layers.
    inputs
        Its inputs.
    unit
        The unit roundoff of the coarsest type that the signals on the way to the output have.
    cancelled
        By how much more the file loses where it adds up coefficients that cancel, which are added up exactly here.
    """

    graph: Graph
    equations: Sequence[Equation]
    inputs: Inputs
    unit: float = 2.0**-24
    cancelled: float = 1.0


def compare(path: str | Path, read: Imported, output: str, start: Sequence[str] = ()) -> str:
    """Raise an error where graph and file differ by more than rounding; a note on what else than the file itself was run.

    The distance allowed is 2¹⁰(u·max |output| + δ), with u the unit roundoff of the signals' coarsest type and δ how far the
    output moves when every value in the network moves by u. No output counts as smaller than those of ordinary inputs.

    Raises
    ------
    InvalidModel
        If they differ, if the file cannot be run, or if a solver in the file misses its fixed point.
    UnsupportedModel
        If what was taken as a batch is none.
    """
    graph, equations = read.graph, read.equations
    names = {output, *(n for e in equations for n in (e.solution, *e.parameters))}
    failure: InvalidModel | None = None
    for open_runtime in runtimes(path, output, names, read.unit, start):
        try:
            runtime = open_runtime()
            given, ordinary = _given(runtime, graph, read.inputs)
            runs = [runtime.run(x) for x in given]
        except InvalidModel as error:
            failure = failure or error
            continue
        theirs = _columns([run[output] for run in runs])
        if runtime.note and not np.isfinite(theirs[:, :ordinary]).any():
            # doubles may overflow in float32
            continue

        def noise(k: int, runtime: Runtime = runtime, given: Sequence[Given] = given) -> float:
            return _noise(runtime, output, given[k])

        x = np.stack([read.inputs.column(values) for values in given], axis=1)
        room = agree(path, runtime.title, graph, x, theirs, Rounding(runtime.unit, ordinary, noise, read.cancelled))
        if len(read.inputs.signals) == 1 and read.inputs.signals[0].batch:
            _independent(path, runtime, output, given[:2], [run[output] for run in runs[:2]], room[:2])
        for equation in equations:
            parameters = [_columns([run[name] for run in runs]) for name in equation.parameters]
            _residual(path, equation, _columns([run[equation.solution] for run in runs]), parameters)
        return runtime.note
    raise failure or InvalidModel("it gives no finite output", where=str(path), advice="check the weights")


def _given(runtime: Runtime, graph: Graph, inputs: Inputs) -> tuple[list[Given], int]:
    """Random inputs, and how many they are; then some on both sides of every switch."""
    rng = np.random.default_rng(0)
    scales = _SCALES if sum(node.size for node in graph.nodes) <= _LARGE else (1.0,)
    # logarithms and roots are defined for positive numbers only
    signs = (False, True) if any(node.needs_range for node in activations(graph)) else (False,)
    samples = [inputs.sample(rng, scale, positive) for positive in signs for scale in scales]
    if all(signal.codes is None for signal in inputs.moving):
        samples += [inputs.values(x) for x in telling(graph).T]
    return [runtime.typed(x) for x in samples], len(scales)


def _noise(runtime: Runtime, output: str, given: Given) -> float:
    """How far the file's own output moves by inputs that differ by roundings, which shows what its arithmetic loses."""
    rng = np.random.default_rng(2)
    found = []
    for _ in range(_TRIALS):
        moved = {
            name: x * (1.0 + 2.0 * runtime.unit * rng.uniform(-1.0, 1.0, x.shape)) if x.dtype.kind == "f" else x
            for name, x in given.items()
        }
        found.append(np.asarray(runtime.run(runtime.typed(moved))[output], np.float64))
    with np.errstate(all="ignore"):
        spread = float(np.ptp(np.stack(found), axis=0).max(initial=0.0))
    return spread if np.isfinite(spread) else 0.0


def _independent(
    path: str | Path, runtime: Runtime, output: str, x: Sequence[Given], y: Sequence[np.ndarray], room: Array
) -> None:
    """Raise an error where two samples together give something else than each alone: the first axis is no batch then."""
    if len(x) < 2:
        return
    try:
        both = runtime.run({name: np.concatenate([part[name] for part in x]) for name in x[0]})[output]
    except InvalidModel:
        # it takes one sample only
        return
    axes = [k for k, n in enumerate(both.shape) if n == 2 * y[0].shape[k]] if both.ndim == y[0].ndim else []
    halves = [np.split(both, 2, axis=k) for k in axes]
    for parts in halves:
        gaps = [np.abs(np.asarray(p, float) - np.asarray(own, float)) for p, own in zip(parts, y, strict=True)]
        if all(not (gap > r).any() for gap, r in zip(gaps, room, strict=True)):
            return
    raise UnsupportedModel(
        "the free first axis of its input is no batch: two samples together give something else than each alone",
        where=str(path),
        advice="say how large it is: --dim 0=32, or load(path, dims={'0': 32})",
    )


@dataclass(frozen=True, eq=False)
class Rounding:
    """How another implementation rounds.

    Attributes
    ----------
    unit
        Its unit roundoff.
    ordinary
        How many of the first inputs are of ordinary size; elsewhere no output counts as smaller than there.
    noise
        How far its output moves at a sample when its input moves by roundings; asked where it differs.
    cancelled
        By how much more it loses where it adds up coefficients that cancel.
    """

    unit: float
    ordinary: int = 0
    noise: Callable[[int], float] = lambda k: 0.0
    cancelled: float = 1.0


def agree(path: str | Path, other: str, graph: Graph, x: Array, theirs: Array, rounding: Rounding) -> Array:
    """Raise an error where the outputs of another implementation differ from the graph's by more than rounding.

    Parameters
    ----------
    path, other
        The model and the implementation, for messages.
    graph
        The imported network.
    x, theirs
        Inputs (inputs, samples) and the other's outputs (outputs, samples).
    rounding
        The other's.

    Returns
    -------
    Array
        What rounding explains, for each sample.
    """
    unit, ordinary = rounding.unit, rounding.ordinary
    with np.errstate(all="ignore"):
        ours = forward(graph, x)
        moved = _shaken(graph, x, unit)
    if ours.shape != theirs.shape:
        raise InvalidModel(
            f"its output has {theirs.shape[0]} numbers in {other} and {ours.shape[0]} here", where=str(path)
        )
    # an overflow in the file's arithmetic, such as log σ(−200) = −∞ in float32, says nothing; ours never overflow there
    # outside the domain of a logarithm or a root neither of both is a number
    finite, other_finite = np.isfinite(ours), np.isfinite(theirs)
    usable = other_finite.all(axis=0) | (~finite.all(axis=0) & (finite != other_finite).any(axis=0))
    if not usable.any():
        raise InvalidModel(f"{other} gives no finite output", where=str(path), advice="check the weights")
    with np.errstate(all="ignore"):
        peak, shaken = (np.abs(v).max(axis=0, initial=0.0) for v in (ours, moved - ours))
        peak = np.maximum(peak, peak[:ordinary].min() if ordinary else 0.0)
        room = np.asarray(_ROUNDINGS * (unit * rounding.cancelled * peak + shaken) + np.finfo(np.float32).tiny)
        # what overflows when it is shaken explains everything
        room = np.where(np.isnan(room), np.inf, room)
        gap = np.abs(np.where(usable, ours - np.where(usable, theirs, 0.0), 0.0)).max(axis=0, initial=0.0)
    for k in np.flatnonzero(usable & ~(gap <= room)):
        # the signs of one draw may cancel
        several = _shaken(graph, np.repeat(x[:, k : k + 1], 2 * _TRIALS, axis=1), unit)
        spread = float(np.abs(several - ours[:, k : k + 1]).max(initial=0.0))
        room[k] += _ROUNDINGS * (rounding.noise(int(k)) + (spread if np.isfinite(spread) else np.inf))
    if (usable & ~(gap <= room)).any():
        worst = int(np.argmax(np.where(usable, np.nan_to_num(gap / room, nan=np.inf), -1.0)))
        raise InvalidModel(
            f"the graph differs from {other} by {gap[worst]:.3g} where rounding explains {room[worst]:.3g}",
            where=str(path),
            advice="please report this file; no bound of it can be trusted",
        )
    return room


def _shaken(graph: Graph, x: Array, unit: float) -> Array:
    """The outputs where every value in the network is off by a rounding."""
    rng = np.random.default_rng(1)
    with np.errstate(all="ignore"):
        return record(graph, [x], lambda v: v * (1.0 + unit * np.where(rng.random(v.shape) < 0.5, -1.0, 1.0))).output


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
