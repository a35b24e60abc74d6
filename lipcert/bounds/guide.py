"""Where the semidefinite program sees the largest amplification: starts for the lower bound (docs/theory.md 7).

The Gram matrix X of (C) is that of a worst-case increment u = [v; x]. Its leading eigenvectors, and Gaussian samples with
covariance X rounded to signs (Goemans & Williamson 1995), say in which direction the input should change and how far each
channel, v = s Q Δz with s in [−1, 1], should be switched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import lapack
from scipy.sparse.linalg import ArpackError, eigsh

from lipcert.sdp.problem import compress_inputs, decompress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lipcert.arrays import Array, IntArray
    from lipcert.constraints.interconnection import Groups
    from lipcert.sdp.outcome import Outcome
    from lipcert.sdp.problem import Problem

EIGENVECTORS = 3
DENSE = 100
"""Size up to which all eigenvectors are computed."""
SAMPLES = 5


@dataclass(frozen=True, eq=False)
class Guide:
    """Promising increments, one a column.

    Attributes
    ----------
    directions
        (inputs, k): changes of the input.
    gains
        (channels, k): s of each channel of the prepared graph, NaN where a group has more than one channel.
    weights
        (channels, k): what a channel counts, √lam |Q Δz|, at most 1.
    """

    directions: Array
    gains: Array
    weights: Array

    @classmethod
    def from_gram(cls, groups: Groups, inputs: int, solved: Iterable[tuple[Problem, Outcome]]) -> Guide | None:
        """The increments of solved problems of one interconnection; None where no solver gave a Gram matrix.

        Parameters
        ----------
        groups
            The multiplier groups of the interconnection.
        inputs
            Its number of inputs.
        solved
            Problems on all inputs, uncompressed, with the outcomes of their compressed form.
        """
        rng = np.random.default_rng(0)
        directions, gains, weights = [], [], []
        row, column = _pairs(groups)
        for problem, outcome in solved:
            if outcome.gram is None or outcome.y is None or not np.isfinite(outcome.gram).all():
                continue
            small = compress_inputs(problem)
            spread = _factor(outcome.gram)
            samples = spread @ rng.standard_normal((spread.shape[1], SAMPLES))
            u = np.column_stack([_leading(outcome.gram), samples])
            x = u[small.channels :]
            directions.append(x if x.shape[0] == inputs else decompress(problem, x))
            before = (small.R @ u)[row]
            gain, weight = np.full((2, small.channels, u.shape[1]), np.nan)
            with np.errstate(divide="ignore", invalid="ignore"):
                gain[column] = np.clip(u[column] / before, -1.0, 1.0)
            weight[column] = np.sqrt(outcome.y[small.row[row]])[:, None] * np.abs(before)
            gain[~np.isfinite(gain)] = np.nan
            gains.append(gain)
            weights.append(np.nan_to_num(weight) / max(float(np.nanmax(weight, initial=0.0)), np.finfo(float).tiny))
        if not directions:
            return None
        return cls(np.hstack(directions), np.hstack(gains), np.hstack(weights))


def _factor(gram: Array) -> Array:
    """F with F Fᵀ = X and as many columns as its rank, by pivoted Cholesky."""
    factor, pivots, rank, _ = lapack.dpstrf(gram, lower=1)
    rows = np.empty((gram.shape[0], rank))
    rows[pivots - 1] = np.tril(factor)[:, :rank]
    return rows


def _leading(gram: Array) -> Array:
    """The eigenvectors of the largest eigenvalues, the largest one first."""
    if gram.shape[0] > DENSE:
        try:
            _, vectors = eigsh(gram, k=EIGENVECTORS, v0=np.ones(gram.shape[0]), tol=1e-6)
        except ArpackError:
            pass
        else:
            return np.asarray(vectors[:, ::-1])
    return np.asarray(np.linalg.eigh(gram)[1][:, : -EIGENVECTORS - 1 : -1])


def _pairs(groups: Groups) -> tuple[IntArray, IntArray]:
    """The row and the channel column of each group that has one of each."""
    single = np.bincount(groups.row, minlength=groups.count) == 1
    single &= np.bincount(groups.column, minlength=groups.count) == 1
    rows, columns = np.flatnonzero(single[groups.row]), np.flatnonzero(single[groups.column])
    return (
        rows[np.argsort(groups.row[rows], kind="stable")],
        columns[np.argsort(groups.column[columns], kind="stable")],
    )
