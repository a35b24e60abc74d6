"""Exact rational arithmetic beside the enclosures: the same lowering, and positive definiteness by elimination."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from flint import fmpq, fmpq_mat


def exact(x) -> fmpq_mat:
    """An array of float64 as the rational matrix that it is."""
    x = np.atleast_2d(np.asarray(x, dtype=np.float64))
    return fmpq_mat(x.shape[0], x.shape[1], [rational(v) for v in x.ravel()])


def rational(value: float) -> fmpq:
    """A float64 as a rational number."""
    f = Fraction(float(value))
    return fmpq(f.numerator, f.denominator)


def rows_of(a: fmpq_mat) -> list[list[fmpq]]:
    return [[a[i, j] for j in range(a.ncols())] for i in range(a.nrows())]


def matrix(rows: list[list[fmpq]], columns: int) -> fmpq_mat:
    return fmpq_mat(len(rows), columns, [v for row in rows for v in row])


class RationalArithmetic:
    """The `Arithmetic` of `lower` over the rationals, for graphs whose constants are all exact."""

    def shape(self, x):
        return x.nrows(), x.ncols()

    def unit(self, rows, columns, at):
        return exact(np.eye(rows, columns, at)) if rows else fmpq_mat(0, columns)

    def placed(self, a, columns, at):
        # by a product, as everywhere else: what the other arithmetics copy must be the same
        return self.apply(a, self.unit(a.shape[1], columns, at))

    def zeros(self, rows, columns):
        return fmpq_mat(rows, columns)

    def widen(self, x, columns):
        return matrix([row + [fmpq(0)] * (columns - x.ncols()) for row in rows_of(x)], columns)

    def columns(self, x, start, stop):
        return matrix([row[start:stop] for row in rows_of(x)], stop - start)

    def hstack(self, parts):
        joined = [[v for row in rows for v in row] for rows in zip(*map(rows_of, parts), strict=True)]
        return matrix(joined, sum(p.ncols() for p in parts))

    def vstack(self, parts):
        return matrix([row for p in parts for row in rows_of(p)], parts[0].ncols())

    def apply(self, a, x):
        assert a.radius is None
        return exact(a.to_dense()) * x

    def add(self, x, y):
        return x + y

    def blocks(self, small, radius, x):
        assert radius is None
        count = x.nrows() // small.shape[2]
        small = np.broadcast_to(small, (count, *small.shape[1:]))
        big = np.zeros((count * small.shape[1], x.nrows()))
        for k, s in enumerate(small):
            big[k * s.shape[0] : (k + 1) * s.shape[0], k * s.shape[1] : (k + 1) * s.shape[1]] = s
        return exact(big) * x

    def product(self, x, y):
        return x * y

    def solve(self, a, b):
        return (exact(np.eye(a.nrows())) - a).solve(b)


def is_positive_definite(a: fmpq_mat) -> bool:
    """By symmetric elimination: every pivot is positive."""
    rows = rows_of(a)
    n = len(rows)
    for k in range(n):
        if not rows[k][k] > 0:
            return False
        for i in range(k + 1, n):
            factor = rows[i][k] / rows[k][k]
            if factor != 0:
                rows[i] = [x - factor * y for x, y in zip(rows[i], rows[k], strict=True)]
    return True


def within(mid, rad, truth: fmpq_mat) -> bool:
    """Whether |truth − mid| ≤ rad entrywise, exactly."""
    rad = np.zeros_like(mid) if rad is None else rad
    return all(
        abs(truth[i, j] - rational(mid[i, j])) <= rational(rad[i, j])
        for i in range(truth.nrows())
        for j in range(truth.ncols())
    )
