"""Planes above and below products of signals and smooth blocks, for linear bounds through gates, attention and norms.

A bilinear w(z) is w(m) + J(m)(z − m) + w(z − m): with m in the middle of a range of radii r, what is not linear is at most
w(r).
As J(m)m = 2w(m), c·w(z) ≤ (J(m)ᵀc)·z − c·w(m) + |c|·w(r).

An adjoint G of w enters the factors as u = J(z)ᵀG, which is bilinear in z and G: with middles and radii of both,

    u = J(z_m)ᵀG + J(z)ᵀG_m − J(z_m)ᵀG_m + δ,   |δ| ≤ J(z_r)ᵀG_r,   c·J(z)ᵀG_m = (J(c)ᵀG_m)·z.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lipcert.activations.products import Bilinear
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
        Products, or smooth blocks.
    middle
        The points of expansion, (blocks, block, 1); zero for blocks whose range is unbounded.
    under, over
        The constants below and above; the range of the block itself where there is no plane.
    lost
        What the rounding of the slopes and of their products with z is at most, for one unit of c.
    derivative
        The slopes J_m of smooth blocks, (blocks, outputs, block); those of products are made from the middle.
    """

    node: Activation
    middle: Array
    under: Array
    over: Array
    lost: Array
    derivative: Array | None = None

    @classmethod
    def of(cls, node: Activation, on: Interval, image: Interval) -> Planes | None:
        """The planes of products and of smooth blocks on a range of their inputs; None for other activations."""
        if isinstance(node.record, Bilinear):
            return cls._of_products(node, on, image)
        derivatives = node.record.derivatives(node.block, node.parameters, on)
        return None if derivatives is None else cls._of_smooth(node, on, image, derivatives)

    @classmethod
    def _of_products(cls, node: Activation, on: Interval, image: Interval) -> Planes:
        record = node.record
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

    @classmethod
    def _of_smooth(cls, node: Activation, on: Interval, image: Interval, derivatives: Interval) -> Planes:
        """w(z) = w(m) + J̄(z − m), |J̄ − J_m| ≤ J_r."""
        blocks = node.blocks
        known = np.asarray(on.bounded.reshape(blocks, -1).all(axis=1) & derivatives.bounded.all(axis=(1, 2)))
        each = np.repeat(known, node.block)
        middle, radius, most = (np.where(each, part, 0.0) for part in (on.middle(), on.radius(), on.magnitude()))
        some = known[:, None, None]
        J = np.where(some, derivatives.middle(), 0.0)
        J_radius = np.where(some, derivatives.radius(), 0.0)
        at = node.record.image(node.block, node.parameters, Interval.point(middle))

        def times(matrix: Array, z: Array) -> Array:
            return np.asarray((matrix @ z.reshape(blocks, -1, 1)).ravel())

        room = gamma(2 * node.block + 8)
        size = times(np.abs(J), most)
        rest = up(times(J_radius, radius) * (1.0 + 2.0 * room) + 2.0 * room * size + TINY)
        base = times(J, middle)
        own = np.repeat(known, base.size // blocks) & at.bounded
        under = np.where(own, down(down(at.low - base) - rest), image.low)
        over = np.where(own, up(up(at.high - base) + rest), image.high)
        kept = own.reshape(blocks, -1, 1)
        lost = np.where(own, 4.0 * room * size + TINY, 0.0)
        return cls(node, middle.reshape(blocks, -1, 1), under, over, lost, np.where(kept, J, 0.0))

    def slope(self, columns: Array) -> Array:
        """J(m)ᵀc for columns c."""
        node = self.node
        c = columns.reshape(node.blocks, -1, columns.shape[1])
        if self.derivative is not None:
            return np.asarray((self.derivative.swapaxes(1, 2) @ c).reshape(-1, columns.shape[1]))
        return node.record.vjp(self.middle, c, node.parameters).reshape(-1, columns.shape[1])


@dataclass(frozen=True, eq=False)
class Pullback:
    """c·J(z)ᵀG ≤ adjoint(c)·G + signal(c)·z − c·constant + |c|·lost for the adjoint G of products.

    Attributes
    ----------
    node
        Products.
    middle, cotangent
        The points of expansion, (blocks, block, 1) and (blocks, outputs, 1).
    constant
        J(z_m)ᵀG_m, but for rounding.
    lost
        What is not linear, and the rounding of all parts.
    """

    node: Activation
    middle: Array
    cotangent: Array
    constant: Array
    lost: Array

    @classmethod
    def of(cls, node: Activation, on: Interval, g: Interval) -> Pullback:
        """The linear part on bounded ranges of the factors and of the adjoint."""
        vjp, parameters = node.record.vjp, node.parameters
        z = [part.reshape(node.blocks, -1, 1) for part in (on.middle(), on.radius(), on.magnitude())]
        G = [part.reshape(node.blocks, -1, 1) for part in (g.middle(), g.radius(), g.magnitude())]
        constant, rest, size = (vjp(a, b, parameters).ravel() for a, b in zip(z, G, strict=True))
        room = gamma(2 * node.block + 8)
        lost = up(rest * (1.0 + 2.0 * room) + 4.0 * room * size + TINY)
        return cls(node, z[0], G[0], constant, lost)

    def adjoint(self, columns: Array) -> Array:
        """J(z_m)c for columns c."""
        c = columns.reshape(self.node.blocks, -1, columns.shape[1])
        return self.node.record.jvp(self.middle, c, self.node.parameters).reshape(-1, columns.shape[1])

    def signal(self, columns: Array) -> Array:
        """J(c)ᵀG_m for columns c."""
        c = columns.reshape(self.node.blocks, -1, columns.shape[1])
        return self.node.record.vjp(c, self.cotangent, self.node.parameters).reshape(-1, columns.shape[1])
