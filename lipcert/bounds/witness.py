"""The proof of a lower bound at its witness (docs/theory.md 7): a point x and a direction d with the ratio ‖f'(x; d)‖/‖d‖.

The one-sided directional derivative is a limit of difference quotients, so its ratio is at most the Lipschitz constant.
It is evaluated in ball arithmetic at the exact float64 point and direction, and the lower end is reported. For
piecewise linear networks it equals a difference quotient within one linear region.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lipcert.graph import balls
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, Input
from lipcert.norms import Norm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lipcert.arrays import Array


@dataclass(frozen=True, eq=False)
class Witness:
    """A point and a direction at which the lower bound is attained.

    Attributes
    ----------
    point, direction
        (inputs,), exact float64 numbers.
    """

    point: Array
    direction: Array


def proven_ratio(graph: Graph, norm: Norm, output_norm: Norm, witness: Witness) -> float:
    """A lower bound, rounded down, on ‖f'(x; d)‖/‖d‖, which is a lower bound on the Lipschitz constant.

    Raises
    ------
    NotCertified
        If an implicit layer cannot be enclosed at the point.
    """

    def ratio() -> balls.Balls:
        x, d = balls.exact(witness.point[:, None]), balls.exact(witness.direction[:, None])
        image = balls.jvp(graph, [x], [d])[1]
        return proven_length(image[:, 0], output_norm) / proven_length(d[:, 0], norm)

    return lower_end(ratio, (128, 256, 512, 1024, 2048, 4096))


def lower_end(ratio: Callable[[], balls.Balls], precisions: Iterable[int]) -> float:
    """The lower end of a ratio, rounded down: the best of these precisions until it is known, or more of them is no help."""
    from flint import ctx

    value, before = 0.0, np.inf
    for precision in precisions:
        with ctx.workprec(precision):
            found = ratio()
            low, high = float(found.lower()), float(found.upper())
        if np.isfinite(low):
            value = max(value, float(np.nextafter(low, 0.0)) if low > 0 else 0.0)
        if not np.isfinite(high):
            continue
        # on a kink no precision tells the slopes apart
        if high - low <= 1e-12 * high or high - low > 0.5 * before:
            break
        before = high - low
    return value


def proven_length(x: Iterable[balls.Balls], norm: Norm) -> balls.Balls:
    """The norm of a vector of balls."""
    from flint import arb

    if norm is Norm.L2:
        return sum((v * v for v in x), start=arb(0)).nonnegative_part().sqrt()
    total = arb(0)
    for v in x:
        total = total + abs(v) if norm is Norm.L1 else total.max(abs(v))
    return total


def proof_seconds(graph: Graph) -> float:
    """About how long the proof of a witness takes: a microsecond an entry."""
    return 0.02 + 1.5e-6 * _entries(graph)


def _entries(graph: Graph) -> int:
    """About how many numbers a proof touches: entries of maps and neurons."""
    total = 0
    for _, node in graph.walk():
        match node:
            case Input():
                pass
            case Affine():
                stored = [sum(x.size for x in a._content() if isinstance(x, np.ndarray)) for a in node.maps]
                total += sum(stored) + len(node.maps) * node.size
            case Activation():
                total += 10 * node.blocks * node.block
            case FixedPoint():
                total += 4 * node.size**2 + 10 * _entries(node.cell)
    return total
