"""Quadratic constraints of a network in absolute coordinates: the lifted program (docs/theory.md 10).

u = [1; v; x − c] for all channels v = |q| of a network whose undecided activations are moduli of one number (ReLU, |·|,
MaxMin, max and whatever `simplify` writes with them), q = Q u. On a region where l ≤ q ≤ h each channel satisfies

    (v − q)(v + q) = 0,   v − q ≥ 0,   v + q ≥ 0,   s q + t − v ≥ 0,   (q − l)(h − q) ≥ 0,

with the chord s q + t of |q| over [l, h]. Each is a product of two affine forms of 1, q and v.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lipcert.arrays import Array, BoolArray

FAMILIES = 5
"""Constraints a channel."""


@dataclass(frozen=True, eq=False)
class ChannelConstraints:
    """left·right of every channel: ≥ 0, or = 0 where free; exact floating-point coefficients of (1, q, v).

    Attributes
    ----------
    left, right
        (families, 3, channels).
    free
        (families,).
    size
        (3, channels) upper bounds of 1, |q| and |v|.
    """

    left: Array
    right: Array
    free: BoolArray
    size: Array

    @classmethod
    def of_moduli(cls, low: Array, high: Array) -> ChannelConstraints:
        """The constraints of v = |q| for low ≤ q ≤ high.

        Examples
        --------
        >>> constraints = ChannelConstraints.of_moduli(np.array([-1.0]), np.array([3.0]))
        >>> constraints.left[3, :, 0].round(6)
        array([ 1.5,  0.5, -1. ])
        """
        one, zero = np.ones_like(low), np.zeros_like(low)
        with np.errstate(divide="ignore", invalid="ignore"):
            s = np.clip(np.where(high > low, (high + low) / (high - low), 0.0), -1.0, 1.0)
        # |q| is convex: a line above it at both ends is above it between them; two roundings an end
        t = np.maximum(np.abs(low) - s * low, np.abs(high) - s * high)
        t = np.nextafter(t + 2.0**-51 * (np.abs(low) + np.abs(high)), np.inf)
        left = np.array(
            [[zero, -one, one], [zero, -one, one], [zero, one, one], [t, s, -one], [-low, one, zero]],
        )
        right = np.array(
            [[zero, one, one], [one, zero, zero], [one, zero, zero], [one, zero, zero], [high, -one, zero]],
        )
        largest = np.maximum(np.abs(low), np.abs(high))
        return cls(left, right, np.array([True, False, False, False, False]), np.array([one, largest, largest]))

    def quadratic(self, theta: Array) -> Array:
        """Σ_k theta_k sym(left_k right_kᵀ), (3, 3, channels)."""
        half = np.einsum("fn,fan,fbn->abn", theta, self.left, self.right)
        return 0.5 * (half + half.transpose(1, 0, 2))

    def magnitude(self, theta: Array) -> Array:
        """Σ_k |theta_k| |left_k||right_k| at the largest values, (channels,)."""
        a = np.einsum("fan,an->fn", np.abs(self.left), self.size)
        b = np.einsum("fan,an->fn", np.abs(self.right), self.size)
        return np.asarray(np.einsum("fn,fn,fn->n", np.abs(theta), a, b))
