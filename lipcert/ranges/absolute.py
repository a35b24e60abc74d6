"""A network on a region with its constants, and with every piecewise linear activation that is open there as moduli.

Between kinks k₁ < … < k_m with slopes s₀, …, s_m a piecewise linear function is

    φ(z) = ½(s₀ + s_m) z + c + Σ_j ½(s_j − s_(j−1)) |z − k_j|,

so a region that decides the sign of z − k_j makes that modulus linear. What is left are the channels of docs/theory.md 10.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from lipcert.activations.record import Pointwise
from lipcert.errors import DoesNotApply
from lipcert.graph.linear_maps import Diagonal, Index, LinearMap, identity
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, GraphBuilder
from lipcert.graph.rewrite import Rewriting, Rule, rewrite
from lipcert.rounding import UNIT, Interval, down, up

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.ranges.propagate import Ranges


def absolute(graph: Graph, on: Ranges) -> tuple[Graph, Interval]:
    """The same values on the region, with absolute values as its only activations, and the ranges of what goes into them.

    Parameters
    ----------
    graph
        A network with its moduli written out (`lipcert.ranges.localise.moduli`).
    on
        Proven ranges of its signals on the region.

    Returns
    -------
    graph, ranges
        The ranges in the order of the activations.

    Raises
    ------
    DoesNotApply
        If an activation is not piecewise linear, or its constants are not exact.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> from lipcert.ranges.propagate import ranges
    >>> from lipcert.regions import Box
    >>> network = nn.sequential(nn.linear([[1.0], [1.0]], [5.0, 0.0]), nn.relu())
    >>> absolute(network, ranges(network, Box(-1.0, 1.0)))[1].low.round(9)
    array([-1.])
    """
    if any(isinstance(node, FixedPoint) for _, node in graph.walk()):
        raise DoesNotApply("an implicit layer has no quadratic constraints in absolute coordinates")
    open_: list[Interval] = []

    def rule_for(work: Rewriting) -> Rule:
        def rule(position: int, node: Affine | Activation) -> int:
            if isinstance(node, Affine):
                return work.builder.add(node)
            return _written(work.builder, node, on[graph.nodes[position].parents[0]], open_)

        return rule

    made = rewrite(graph, rule_for)
    none = Interval(np.zeros(0), np.zeros(0))
    total = Interval(
        np.concatenate([none.low, *(part.low for part in open_)]),
        np.concatenate([none.high, *(part.high for part in open_)]),
    )
    return made, total


def _written(builder: GraphBuilder, node: Activation, on: Interval, open_: list[Interval]) -> int:
    record, n, z = node.record, node.size, node.parent
    if not isinstance(record, Pointwise) or record.breaks is None:
        raise DoesNotApply(f"{record.name} is not piecewise linear")
    kinks, values, slopes = (np.broadcast_to(part, (n, part.shape[1])) for part in record.breaks(node.parameters))
    if not np.isfinite(kinks).all():
        raise DoesNotApply(f"{record.name} has a kink at infinity")
    parents: list[int] = [z]
    maps: list[LinearMap] = []
    middle, spread = _half(slopes[:, 0], slopes[:, -1])
    bias = _constants(kinks, values, slopes)
    for j in range(kinks.shape[1]):
        step, error = _half(slopes[:, j + 1], -slopes[:, j])
        shift = -kinks[:, j]
        here = on if not shift.any() else Interval(down(on.low + shift), up(on.high + shift))
        above, below = here.low >= 0.0, here.high <= 0.0
        sign = np.where(above, 1.0, np.where(below, -1.0, 0.0))
        middle, spread = _sum(middle, spread, sign * step, np.abs(sign) * error)
        constant = sign * step * shift
        if not _exact_sum(bias, constant, sign * step, shift, error * np.abs(sign * shift)):
            raise DoesNotApply(f"a constant of {record.name} is not exact")
        bias = bias + constant
        left = np.flatnonzero((sign == 0.0) & (step != 0.0)).astype(np.int64)
        if not left.size:
            continue
        shifted = builder.affine([z], [Index(left, n)], shift[left] if shift[left].any() else None)
        modulus = builder.activation(shifted, "abs")
        back = np.full(n, -1, dtype=np.int64)
        back[left] = np.arange(left.size)
        spread_of = error[left]
        scaled = builder.affine([modulus], [Diagonal(step[left], spread_of if spread_of.any() else None)])
        parents.append(scaled)
        maps.append(Index(back, left.size))
        open_.append(here.take(left))
    first: LinearMap = Diagonal(middle, spread if spread.any() else None)
    if (middle == 1.0).all() and not spread.any():
        first = identity(n)
    return builder.affine(parents, [first, *maps], bias if bias.any() else None, node.name)


def _half(a: Array, b: Array) -> tuple[Array, Array]:
    """½(a + b) and a bound on its rounding."""
    total = 0.5 * a + 0.5 * b
    exact = np.array(
        [Fraction(t) == (Fraction(x) + Fraction(y)) / 2 for t, x, y in zip(total, a, b, strict=True)], dtype=bool
    )
    return total, np.where(exact, 0.0, 4.0 * UNIT * (np.abs(a) + np.abs(b)) + 2.0**-1000)


def _sum(a: Array, spread: Array, b: Array, other: Array) -> tuple[Array, Array]:
    """a + b with the radii of both."""
    total = a + b
    rounded = (total - a != b) | (total - b != a)
    room = up(spread + other) if (spread.any() or other.any()) else spread
    return total, np.where(rounded, up(room + 2.0 * UNIT * np.abs(total)), room)


def _constants(kinks: Array, values: Array, slopes: Array) -> Array:
    """c, exactly, or a refusal.

    Raises
    ------
    DoesNotApply
        If it is not a floating-point number.
    """
    if not (kinks.any() or values.any()):
        return np.zeros(len(kinks))
    found = []
    for k, v, s in zip(kinks.tolist(), values.tolist(), slopes.tolist(), strict=True):
        at = Fraction(k[0])
        c = Fraction(v[0]) - (Fraction(s[0]) + Fraction(s[-1])) / 2 * at
        for j, kink in enumerate(k):
            c -= (Fraction(s[j + 1]) - Fraction(s[j])) / 2 * abs(at - Fraction(kink))
        if Fraction(float(c)) != c:
            raise DoesNotApply("a constant of a piecewise linear activation is not exact")
        found.append(float(c))
    return np.array(found)


def _exact_sum(bias: Array, constant: Array, step: Array, shift: Array, error: Array) -> bool:
    """Whether bias + step·shift is computed without rounding."""
    if not constant.any():
        return not error.any()
    return not error.any() and all(
        Fraction(b) + Fraction(s) * Fraction(t) == Fraction(b + c)
        for b, c, s, t in zip(bias.tolist(), constant.tolist(), step.tolist(), shift.tolist(), strict=True)
    )
