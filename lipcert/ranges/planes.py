"""Planes above and below products of signals, for linear bounds that go through gates, attention and powers.

A bilinear w(z) is w(m) + J(m)(z − m) + w(z − m): with m in the middle of a range of radii r, what is not linear is at most
w(r).
As J(m)m = 2w(m), c·w(z) ≤ (J(m)ᵀc)·z − c·w(m) + |c|·w(r).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lipcert.activations.products import MatrixProduct, Product
from lipcert.rounding import TINY, Interval, down, gamma, up

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.graph.nodes import Activation


@dataclass(frozen=True, eq=False)
class Planes:
    """c·w ≤ slope(c)·z + c⁺·over + c⁻·under, but for |c|·lost.

    Attributes
    ----------
    node
        Products.
    middle
        The points of expansion, (blocks, block, 1); zero for blocks whose range is unbounded.
    under, over
        The constants below and above; the range of the product itself where that of its factors is unbounded.
    lost
        What the rounding of the slopes and of their products with z is at most, for one unit of c.
    """

    node: Activation
    middle: Array
    under: Array
    over: Array
    lost: Array

    @classmethod
    def of(cls, node: Activation, on: Interval, image: Interval) -> Planes | None:
        """The planes of products on a range of their factors; None for other activations."""
        record = node.record
        if not isinstance(record, (Product, MatrixProduct)):
            return None
        known = on.bounded.reshape(node.blocks, -1).all(axis=1)
        each = np.repeat(known, node.block)
        parts = [np.where(each, part, 0.0) for part in (on.middle(), on.radius(), on.magnitude())]
        middle, radius, most = (part.reshape(node.blocks, node.block, 1) for part in parts)
        at, rest, size = (record.value(part, node.parameters).ravel() for part in (middle, radius, most))
        room = gamma(2 * node.block + 8)
        rest = up(rest * (1.0 + 2.0 * room) + 2.0 * room * size + TINY)
        own = np.repeat(known, at.size // node.blocks)
        under, over = np.where(own, down(-at - rest), image.low), np.where(own, up(rest - at), image.high)
        return cls(node, middle, under, over, np.where(own, 4.0 * room * size + TINY, 0.0))

    def slope(self, columns: Array) -> Array:
        """J(m)ᵀc for columns c."""
        node = self.node
        c = columns.reshape(node.blocks, -1, columns.shape[1])
        return node.record.vjp(self.middle, c, node.parameters).reshape(-1, columns.shape[1])
