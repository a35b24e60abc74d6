"""Operator norms ‖J‖ between ℓ1, ℓ2 and ℓ∞, from below, for many matrices at once.

Every unit vector d gives the lower bound ‖J d‖; `ascend` improves it by the nonlinear power method (Boyd 1974).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lipcert.norms import Norm

if TYPE_CHECKING:
    from collections.abc import Callable

    from lipcert.arrays import Array

_SIGNS = 12
"""Sign vectors of up to this length are enumerated."""


def length(x: Array, norm: Norm) -> Array:
    """The norm of the columns (second to last axis) of x."""
    if norm is Norm.L2:
        # squares of the gain of a deep network overflow
        unit = np.abs(x).max(axis=-2, initial=0.0)
        unit = np.where((unit > 0) & np.isfinite(unit), unit, 1.0)
        return np.asarray(np.linalg.norm(x / unit[..., None, :], axis=-2) * unit)
    return np.asarray(np.abs(x).sum(axis=-2) if norm is Norm.L1 else np.abs(x).max(axis=-2))


def aligned(g: Array, norm: Norm) -> Array:
    """For each column g a maximiser of gᵀd over the unit ball of the norm.

    Examples
    --------
    >>> aligned(np.array([[3.0], [-4.0]]), Norm.LINF).ravel()
    array([ 1., -1.])
    """
    if norm is Norm.L2:
        norms = length(g, norm)[..., None, :]
        return np.asarray(g / np.where(norms > 0, norms, 1.0))
    signs = np.where(g < 0, -1.0, 1.0)
    if norm is Norm.LINF:
        return signs
    out = np.zeros_like(g)
    at = np.abs(g).argmax(axis=-2)[..., None, :]
    np.put_along_axis(out, at, np.take_along_axis(signs, at, axis=-2), axis=-2)
    return out


def ascend(
    apply: Callable[[Array], Array],
    adjoint: Callable[[Array], Array],
    d: Array,
    norm: Norm,
    output_norm: Norm,
    steps: int,
) -> tuple[Array, Array]:
    """d ← argmax ⟨Jᵀc, d⟩ with c the gradient of ‖J d‖: ‖J d‖ never falls. Returns ‖J d‖ and d, by columns."""
    image = apply(d)
    for _ in range(steps):
        d = aligned(adjoint(aligned(image, output_norm.dual)), norm)
        image = apply(d)
    return length(image, output_norm), d


def dense_norms(J: Array, norm: Norm, output_norm: Norm, *, thorough: bool = False) -> tuple[Array, Array]:
    """‖J_k‖ for a stack (k, outputs, inputs), and unit vectors (k, inputs) that attain it.

    Exact for 2 → 2, p → ∞ and 1 → q, and with `thorough` where up to 2¹² sign vectors have to be tried; else from below
    by `ascend` from the rows and the top singular vector.
    """
    if output_norm is Norm.LINF:
        starts = aligned(J.swapaxes(1, 2), norm)
        row = length(J.swapaxes(1, 2), norm.dual).argmax(axis=1)
        d = np.take_along_axis(starts, row[:, None, None], axis=2)
    elif norm is Norm.L1:
        column = length(J, output_norm).argmax(axis=1)
        d = np.eye(J.shape[2])[column][:, :, None]
    else:
        d = _top_right(J)
        if norm is not Norm.L2 or output_norm is not Norm.L2:
            candidates = [aligned(J.swapaxes(1, 2), norm), aligned(d, norm)]
            if thorough and norm is Norm.LINF and J.shape[2] <= _SIGNS:
                candidates.append(np.broadcast_to(_signs(J.shape[2]), (J.shape[0], J.shape[2], 2 ** (J.shape[2] - 1))))
            if thorough and output_norm is Norm.L1 and J.shape[1] <= _SIGNS:
                candidates.append(aligned(J.swapaxes(1, 2) @ _signs(J.shape[1]), norm))
            starts = np.concatenate(candidates, axis=2)
            values, starts = ascend(
                lambda x: J @ x, lambda c: J.swapaxes(1, 2) @ c, starts, norm, output_norm, 12 if thorough else 4
            )
            d = np.take_along_axis(starts, values.argmax(axis=1)[:, None, None], axis=2)
    return length(J @ d, output_norm)[:, 0], d[:, :, 0]


def _top_right(J: Array) -> Array:
    unit = np.abs(J).max(axis=(1, 2), keepdims=True, initial=0.0)
    J = np.where(np.isfinite(unit) & (unit > 0), J / np.where(unit > 0, unit, 1.0), 0.0)
    if J.shape[1] <= J.shape[2]:
        u = np.linalg.eigh(J @ J.swapaxes(1, 2))[1][:, :, -1:]
        return aligned(J.swapaxes(1, 2) @ u, Norm.L2)
    return np.asarray(np.linalg.eigh(J.swapaxes(1, 2) @ J)[1][:, :, -1:])


def _signs(n: int) -> Array:
    """All sign vectors of length n up to a common sign, as columns."""
    bits = (np.arange(2 ** (n - 1))[None, :] >> np.arange(n)[:, None]) & 1
    return np.asarray(1.0 - 2.0 * bits, dtype=np.float64)
