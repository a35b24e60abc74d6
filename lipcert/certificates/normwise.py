"""Enclosures whose error does not grow where the layers keep norms (docs/proof.md, step 1).

Through A the radius grows to |A| rad X. An orthogonal A keeps lengths, but |A| multiplies some by up to √n, in every layer.
So, once a radius has grown, the Euclidean length of each column of the error is carried along beside it: with X = X̂ + D,

    ‖(A X − fl(Â X̂))e_j‖ ≤ ‖A‖₂ ‖D e_j‖ + ‖rad A‖₂ ‖X̂ e_j‖ + γ_k ‖ |Â| ‖₂ ‖X̂ e_j‖,

and no entry of the error is longer than its column.

Where a signal is split and put together again, as the idle wires of a sorting network are, the lengths of the parts would
add up. So from a selection of entries on the error is known as D = L D₀ + F, with D₀ of the signal that is split, and what
is put together has ‖D e_j‖ ≤ ‖L₁ + L₂ + …‖₂ ‖D₀ e_j‖ + ‖F₁ e_j‖ + ‖F₂ e_j‖ + ….
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lipcert.certificates.enclosure import Enclosure, EnclosureArithmetic, Origin, inflation
from lipcert.certificates.spectral import cheap_norm, norm_of_blocks, norm_upper
from lipcert.definite import norm_bound
from lipcert.graph.linear_maps import Dense, Index
from lipcert.rounding import gamma

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.graph.linear_maps import LinearMap

GROWN = 2.0**-44
"""The radius relative to the midpoint from which lengths are carried: rounding alone stays below in a few layers."""
SPLIT = 2048
"""The longest signal whose parts are followed: L is a dense matrix."""
ROOT_TINY = 2.0**-490
"""Covers what underflows in a root of a sum of squares."""


class NormwiseArithmetic(EnclosureArithmetic):
    """The `Arithmetic` of enclosures by entries and by columns.

    Examples
    --------
    >>> from lipcert.graph.linear_maps import Dense
    >>> turn = Dense(np.array([[0.6, 0.8], [-0.8, 0.6]]))
    >>> x = Enclosure(np.eye(2), np.full((2, 2), 1e-9))
    >>> plain, short = EnclosureArithmetic(), NormwiseArithmetic()
    >>> a, b = x, x
    >>> for _ in range(30):
    ...     a, b = plain.apply(turn, a), short.apply(turn, b)
    >>> bool(a.rad.max() > 1e-5), bool(b.rad.max() < 2e-9)
    (True, True)
    """

    def widen(self, x: Enclosure, columns: int) -> Enclosure:
        found = super().widen(x, columns)
        if x.length is None:
            return found
        more, origin = (0, columns - x.length.size), x.origin
        if origin is not None:
            origin = replace(origin, length=np.pad(origin.length, more), fresh=np.pad(origin.fresh, more))
        return Enclosure(found.mid, found.rad, np.pad(x.length, more), origin)

    def columns(self, x: Enclosure, start: int, stop: int) -> Enclosure:
        found = super().columns(x, start, stop)
        return Enclosure(found.mid, found.rad, None if x.length is None else x.length[start:stop])

    def hstack(self, parts: list[Enclosure]) -> Enclosure:
        found = super().hstack(parts)
        if all(part.length is None for part in parts):
            return found
        return Enclosure(found.mid, found.rad, np.concatenate([error_lengths(part) for part in parts]))

    def vstack(self, parts: list[Enclosure]) -> Enclosure:
        found = super().vstack(parts)
        if all(part.length is None for part in parts):
            return found
        return Enclosure(found.mid, found.rad, column_lengths(np.stack([error_lengths(part) for part in parts])))

    def apply(self, a: LinearMap, x: Enclosure) -> Enclosure:
        found = super().apply(a, x)
        if not _carried(found, x):
            return found
        norm = norm_upper(a)
        if isinstance(a, Index):
            origin = _origin(x)
            if origin is not None:
                origin = replace(origin, through=super().apply(a, origin.through), fresh=_up(norm * origin.fresh))
            return _shortened(found, norm * error_lengths(x), origin)
        fresh = gamma(a.terms + 1) * cheap_norm(a) + (0.0 if a.radius is None else cheap_norm(a.radius))
        return _shortened(found, norm * error_lengths(x) + fresh * column_lengths(x.mid))

    def add(self, x: Enclosure, y: Enclosure) -> Enclosure:
        found = super().add(x, y)
        if not _carried(found, x, y):
            return found
        fresh = gamma(1) * column_lengths(found.mid)
        length = error_lengths(x) + error_lengths(y) + fresh
        one, other = x.origin, y.origin
        if one is not None and other is not None and one.key is other.key:
            origin = replace(
                one, through=super().add(one.through, other.through), fresh=_up(one.fresh + other.fresh + fresh)
            )
            length = np.fmin(length, _norm(origin.through) * origin.length + origin.fresh)
        elif one is not None and other is None:
            origin = replace(one, fresh=_up(one.fresh + error_lengths(y) + fresh))
        else:
            origin = None
        return _shortened(found, length, origin)

    def blocks(self, small: Array, radius: Array | None, x: Enclosure) -> Enclosure:
        found = super().blocks(small, radius, x)
        if not _carried(found, x):
            return found
        own = 0.0 if radius is None else norm_of_blocks(np.broadcast_to(radius, small.shape))
        norm = norm_of_blocks(small) + own
        fresh = (gamma(small.shape[2] + 1) * norm_of_blocks(np.abs(small)) + own) * column_lengths(x.mid)
        origin = x.origin
        if origin is not None:
            through = super().blocks(small, radius, origin.through)
            origin = replace(origin, through=through, fresh=_up(norm * origin.fresh + fresh))
        return _shortened(found, norm * error_lengths(x) + fresh, origin)


def column_lengths(x: Array) -> Array:
    """The Euclidean norms of the columns, rounded up.

    Examples
    --------
    >>> bool(5.0 <= column_lengths(np.array([[3.0], [4.0]]))[0] < 5.0000001)
    True
    """
    return np.asarray(np.sqrt(np.einsum("ij,ij->j", x, x)) * inflation(x.shape[0]) + ROOT_TINY)


def error_lengths(x: Enclosure) -> Array:
    """The lengths of the columns of the error, at most."""
    if x.length is not None:
        return x.length
    return np.zeros(x.mid.shape[1]) if x.rad is None else column_lengths(x.rad)


def _carried(found: Enclosure, *operands: Enclosure) -> bool:
    """Whether the lengths of a result are worth the norms that they take."""
    if found.rad is None:
        return False
    if any(x.length is not None for x in operands):
        return True
    return bool(found.rad.max(initial=0.0) > GROWN * max(float(np.abs(found.mid).max(initial=0.0)), ROOT_TINY))


def _origin(x: Enclosure) -> Origin | None:
    """The origin of what is selected from x: that of x, or x itself."""
    if x.origin is not None or x.length is None or x.mid.shape[0] > SPLIT:
        return x.origin
    return Origin(x.length, x.length, Enclosure(np.eye(x.mid.shape[0])), np.zeros(x.length.size))


def _norm(x: Enclosure) -> float:
    """‖A‖₂ of every matrix of an enclosure, at most."""
    return (norm_upper(Dense(x.mid)) + (0.0 if x.rad is None else norm_bound(x.rad))) * inflation(2)


def _up(length: Array) -> Array:
    """Lengths computed with few operations, rounded up."""
    return length * inflation(8) + ROOT_TINY


def _shortened(found: Enclosure, length: Array, origin: Origin | None = None) -> Enclosure:
    """The enclosure with a second bound on the columns of its error, from few operations; NaN says nothing."""
    assert found.rad is not None
    length = np.fmin(_up(length), column_lengths(found.rad))
    return Enclosure(found.mid, np.fmin(found.rad, length), length, origin)
