"""Lower bounds at points that a tree finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lipcert.bounds.inside import proven_chord
from lipcert.bounds.lower_bound import LowerBound
from lipcert.bounds.operator_norm import ascend, length
from lipcert.bounds.witness import Witness, proven_ratio
from lipcert.errors import LipcertError
from lipcert.graph.evaluate import forward, record
from lipcert.norms import Norm
from lipcert.regions import free

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.graph.claim import Claim
    from lipcert.graph.nodes import Graph

_STEPS = 200
_FLAT = 1e-7
_LENGTHS = tuple(10.0**-k for k in range(1, 13))
"""Half the lengths of chords, in parts of the region."""


def steepest(graph: Graph, claim: Claim, point: Array) -> tuple[Witness | None, float]:
    """The direction in which the network changes most at a point, and about how much."""
    n = graph.input_size
    with np.errstate(all="ignore"):
        moving = np.ones(n, dtype=bool) if claim.region is None else np.broadcast_to(free(claim.region), n)
        J = np.where(moving, jacobian_at(graph, point), 0.0)
        if not np.isfinite(J).all() or not J.any():
            return None, 0.0
        gain, d = best_direction(J, claim.norm, claim.output_norm)
    return (Witness(point, d), gain) if np.isfinite(gain) and gain > 0.0 else (None, 0.0)


def jacobian_at(graph: Graph, point: Array) -> Array:
    """The Jacobian at a point, (outputs, inputs), in floating point."""
    tape, n = record(graph, [point[:, None]]), graph.input_size
    return tape.jvp([np.eye(n)]) if n <= graph.output_size else tape.vjp(np.eye(graph.output_size))[0].T


def best_direction(J: Array, norm: Norm, output_norm: Norm) -> tuple[float, Array]:
    """max ‖J d‖/‖d‖ and where it is attained, exactly for the norms that have a closed form, else a local maximum.

    Examples
    --------
    >>> best_direction(np.array([[3.0, -4.0]]), Norm.LINF, Norm.LINF)
    (7.0, array([ 1., -1.]))
    """
    if norm is Norm.L2 and output_norm is Norm.L2:
        _, sigma, right = np.linalg.svd(J)
        return float(sigma[0]), right[0]
    if norm is Norm.L1:
        columns = length(J, output_norm)
        at = int(columns.argmax())
        return float(columns[at]), np.eye(J.shape[1])[at]
    if output_norm is Norm.LINF:
        rows = np.abs(J).sum(axis=1) if norm is Norm.LINF else np.linalg.norm(J, axis=1)
        row = J[int(rows.argmax())]
        d = np.where(row < 0.0, -1.0, 1.0) if norm is Norm.LINF else row / np.linalg.norm(row)
        return float(rows.max()), d
    starts = np.random.default_rng(0).standard_normal((J.shape[1], 16))
    gain, d = ascend(lambda t: J @ t, lambda c: J.T @ c, starts, norm, output_norm, _STEPS)
    at = int(np.nan_to_num(gain).argmax())
    return float(gain[at]), d[:, at]


def proven_at(graph: Graph, claim: Claim, witness: Witness) -> LowerBound | None:
    """A proven lower bound from a witness: the directional derivative, or a chord within the region."""
    try:
        if claim.region is None:
            value = proven_ratio(graph, claim.norm, claim.output_norm, witness)
            return LowerBound(value, witness, "directional derivative")
        return _chord(graph, claim, witness)
    except (LipcertError, MemoryError):
        return None


def _chord(graph: Graph, claim: Claim, witness: Witness) -> LowerBound | None:
    """The steepest of some chords about the point, proven; as long as one is about as steep as the others."""
    region = claim.region
    assert region is not None
    point, d = witness.point, witness.direction
    around = region.interval()
    width = np.where(np.isfinite(around.high - around.low), around.high - around.low, 1.0)
    reach = float(np.abs(d / np.where(width > 0.0, width, np.inf)).max())
    if not reach > 0.0:
        return None
    middle = region.project(around.middle()[:, None])[:, 0]
    image = record(graph, [point[:, None]]).jvp([d[:, None]])
    expected = float(length(image, claim.output_norm)[0] / length(d[:, None], claim.norm)[0])
    best: tuple[float, Array, Array] | None = None
    for part in _LENGTHS:
        inside = point + 4.0 * part * (middle - point)
        ends = region.project(np.stack([inside - part / reach * d, inside + part / reach * d], axis=1))
        one, other = ends[:, :1], ends[:, 1:]
        if np.array_equal(one, other) or not all(region.contains(end[:, 0]) for end in (one, other)):
            continue
        change = forward(graph, one) - forward(graph, other)
        steep = float(length(change, claim.output_norm)[0] / length(one - other, claim.norm)[0])
        if np.isfinite(steep) and (best is None or steep > best[0]):
            best = (steep, one[:, 0], other[:, 0])
        if steep >= expected * (1.0 - _FLAT):
            # one linear piece; what shorter ones add is rounding
            break
    if best is None:
        return None
    value = proven_chord(graph, claim.norm, claim.output_norm, best[1], best[2])
    return LowerBound(value, Witness(best[1], best[2] - best[1]), "chord within the region")
