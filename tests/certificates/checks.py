"""Checks of the enclosures and of the contraction proof against exact arithmetic; the tests of mutations run them too."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from rational import RationalArithmetic, exact, is_positive_definite, within

from lipcert.certificates import contraction
from lipcert.certificates.enclosure import Enclosure, EnclosureArithmetic
from lipcert.errors import NotCertified
from lipcert.graph.linear_maps import Dense, Diagonal, Index

RATIONAL = RationalArithmetic()


def wide(rng, *shape):
    """Numbers over many orders of magnitude, some of them zero."""
    x = rng.normal(size=shape) * 10.0 ** rng.uniform(-8, 8, size=shape)
    return np.where(rng.random(shape) < 0.15, 0.0, x)


def ball(rng, shape, relative=1e-12):
    """An enclosure and one of its matrices, on the boundary of its radius."""
    mid = wide(rng, *shape)
    rad = np.abs(wide(rng, *shape)) * relative
    truth = exact(mid) + exact(np.where(rng.random(shape) < 0.5, -rad, rad))
    return Enclosure(mid, rad), truth


def enclosures_hold(seed: int, ar=None) -> bool:
    """Whether every operation on random balls contains the exact result for points on their boundary.

    Narrow and wide balls: products of two radii count in the latter. Balls around zero have no room but their radius, so
    that its own rounding counts.
    """
    ar = EnclosureArithmetic() if ar is None else ar
    rng = np.random.default_rng(seed)
    relative = rng.choice([1e-12, 0.3])
    k = int(rng.integers(1, 7))
    x, x_true = ball(rng, (k, 3), relative)
    y, y_true = ball(rng, (k, 3), relative)
    thin = wide(rng, k, 3)
    a = wide(rng, 4, k)
    left, left_true = ball(rng, (4, k), relative)
    entries = wide(rng, k)
    radii = np.abs(entries) * relative
    spread = Diagonal(entries, radii)
    small = wide(rng, 1, 2, k)
    small_radius = np.abs(small) * relative
    zero = np.zeros((k, 3))
    around, other = np.abs(wide(rng, k, 3)), np.abs(wide(rng, k, 3))
    place = rng.integers(-1, k, size=4)
    moved = Index(place, k)
    # the worst point of a product of balls has equal signs
    high = Enclosure(np.abs(x.mid), x.rad)
    high_true = exact(high.mid) + exact(high.rad)
    positive = np.abs(small)
    positive_true = exact(positive[0]) + exact(small_radius[0])
    fine = [
        (ar.apply(Dense(a), x), exact(a) * x_true),
        (ar.apply(Dense(a), Enclosure(thin)), exact(a) * exact(thin)),
        (ar.apply(spread, x), exact(np.diag(entries) + 0.0) * x_true + exact(np.diag(radii)) * x_true),
        (ar.add(x, y), x_true + y_true),
        (ar.add(Enclosure(thin), Enclosure(thin[::-1])), exact(thin) + exact(thin[::-1])),
        (ar.blocks(small, None, x), exact(small[0]) * x_true),
        (ar.blocks(small, small_radius, x), (exact(small[0]) + exact(small_radius[0])) * x_true),
        (ar.blocks(wide(rng, 1, 1, 1), None, Enclosure(np.zeros((0, 3)))), exact(np.zeros((0, 3)))),
        (ar.product(left, x), left_true * x_true),
        (ar.product(Enclosure(left.mid), Enclosure(thin)), exact(left.mid) * exact(thin)),
        (ar.apply(moved, x), exact(moved.to_dense()) * x_true),
        (ar.apply(Dense(a), Enclosure(zero, around)), exact(np.abs(a)) * exact(around)),
        (
            ar.apply(Diagonal(np.abs(entries), radii), high),
            exact(np.diag(np.abs(entries) + 0.0)) * high_true + exact(np.diag(radii)) * high_true,
        ),
        (ar.add(Enclosure(zero, around), Enclosure(zero, other)), exact(around) + exact(other)),
        (ar.add(x, Enclosure(thin)), x_true + exact(thin)),
        (ar.add(Enclosure(thin), x), x_true + exact(thin)),
        (ar.blocks(positive, small_radius, high), positive_true * high_true),
        (ar.blocks(small, None, Enclosure(zero, around)), exact(np.abs(small[0])) * exact(around)),
        (ar.blocks(np.full((1, 1, 1), 0.7), None, Enclosure(thin)), exact(np.eye(k) * 0.7) * exact(thin)),
        (
            ar.blocks(np.full((1, 1, 1), 0.5), np.full((1, 1, 1), 0.25), Enclosure(thin)),
            exact(np.eye(k) * 0.75) * exact(thin),
        ),
        (ar.blocks(np.full((1, 1, 1), 0.5), None, x), exact(np.eye(k) * 0.5) * x_true),
        (
            ar.blocks(np.full((1, 1, 2), 0.5), None, Enclosure(np.vstack([thin, thin[::-1]]))),
            exact(np.kron(np.eye(k), [[0.5, 0.5]])) * exact(np.vstack([thin, thin[::-1]])),
        ),
        (
            ar.product(Enclosure(np.abs(left.mid), left.rad), high),
            (exact(np.abs(left.mid)) + exact(left.rad)) * high_true,
        ),
        (ar.product(left, Enclosure(zero, around)), (exact(np.abs(left.mid)) + exact(left.rad)) * exact(around)),
    ]
    return all(within(e.mid, e.rad, truth) for e, truth in fine)


def solutions_hold(seed: int, ar=None) -> bool:
    """Whether `solve` contains the exact solution for a matrix and a right side on the boundary of their radii."""
    ar = EnclosureArithmetic() if ar is None else ar
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 6))
    relative = 10.0 ** rng.uniform(-15, -3)
    a = Enclosure(rng.normal(size=(n, n)) * 0.8, relative * rng.random((n, n)))
    b = Enclosure(rng.normal(size=(n, 2)), relative * rng.random((n, 2)))
    truth = RATIONAL.solve(exact(a.mid) + exact(a.rad), exact(b.mid) - exact(b.rad))
    with suppress(NotCertified):
        found = ar.solve(a, b)
        return within(found.mid, found.rad, truth)
    return True


def contractions_hold(seed: int) -> bool:
    """Whether matrices whose norm is one up to a few roundings are accepted only where ‖B‖ < 1 holds exactly."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(2, 7, size=2)
    b = rng.normal(size=(rows, columns))
    b /= np.linalg.norm(b, 2)
    gaps = [(step * 2.0**-53, None) for step in range(-8, 9, 2)]
    gaps += [(-(2.0 ** -float(k)), 2.0 ** float(rng.integers(-k - 3, -k + 4))) for k in range(20, 50, 3)]
    for gap, relative in gaps:
        trial = b * (1.0 + gap)
        radius = None if relative is None else relative * np.abs(trial)
        if contraction.is_contraction(Enclosure(trial, radius)):
            # same signs as the largest singular pair: the worst matrix of the enclosure, nearly
            left, _, right = np.linalg.svd(trial)
            sign = np.sign(np.outer(left[:, 0], right[0]))
            worst = exact(trial) if radius is None else exact(trial) + exact(sign * radius)
            if not is_positive_definite(exact(np.eye(columns)) - worst.transpose() * worst):
                return False
    return True
