"""Every error term on its own: it is at least what docs/proof.md says that it covers, in exact arithmetic.

In a whole proof most terms hide behind the others, so that nothing would notice if one were missing. Here the libraries that
a proof relies on are replaced by ones as bad as the error model allows, and bounds are compared with rational numbers.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from rational import exact, is_positive_definite, rational, rows_of, within

from lipcert import definite
from lipcert.certificates import block_cholesky, contraction, enclosure, spectral, symbol
from lipcert.certificates.block_cholesky import BlockSystem, Weights
from lipcert.certificates.claims import Scaling, holds, scaled, stacked
from lipcert.certificates.enclosure import Enclosure, EnclosureArithmetic
from lipcert.constraints.interconnection import Groups, Interconnection
from lipcert.graph import build as nn
from lipcert.graph.claim import Case
from lipcert.graph.linear_maps import Convolution, Dense, Diagonal, Index, Sparse
from lipcert.graph.nodes import GraphBuilder
from lipcert.rounding import down, gamma, up

U = Fraction(1, 2**53)
# what an operation that underflows may be off by
LOST = Fraction(1, 2**1022)
SEEDS = range(40)


def model(k: int) -> Fraction:
    """γ_k, exactly."""
    return k * U / (1 - k * U)


def fractions(x) -> list[Fraction]:
    return [Fraction(float(v)) for v in np.ravel(x)]


def positive(rng, *shape):
    return rng.random(shape) * 10.0 ** rng.uniform(-3, 3, size=shape)


# ---- rounding and enclosures


def test_gamma_is_above_its_model():
    assert all(Fraction(gamma(k)) >= model(k) for k in [*range(200), 10**5, 10**6 + 1, 10**7 + 3])


@pytest.mark.parametrize("k", [1, 2, 30, 1000])
def test_radii_are_rounded_up_by_what_their_sums_may_lose(k):
    rad = np.array([1.0, 0.7, 3.1, 0.0])
    found = fractions(enclosure._outward(rad.copy(), k))
    for before, after in zip(fractions(rad), found, strict=True):
        assert after >= before / (1 - model(k))
        assert after >= k * LOST


@pytest.mark.parametrize("k", [1, 3, 100])
def test_the_spread_of_an_operand_covers_roundings_radius_and_underflow(k):
    rng = np.random.default_rng(k)
    mid, rad = rng.normal(size=(5, 4)), 1e-16 * rng.random((5, 4))
    found = fractions(enclosure._spread(Enclosure(mid, rad), k))
    for m, r, s in zip(fractions(mid), fractions(rad), found, strict=True):
        assert s >= model(k) * abs(m) + r
    assert all(s >= k * LOST for s in fractions(enclosure._spread(Enclosure(np.zeros((2, 2))), k)))


def test_an_operand_that_underflowed_to_zero_counts_with_large_radii():
    ar = EnclosureArithmetic()
    zero, large = Enclosure(np.zeros((1, 1))), 2.0**900
    needed = Fraction(large) * LOST
    assert Fraction(float(ar.apply(Diagonal(np.zeros(1), np.full(1, large)), zero).rad[0, 0])) >= needed
    assert Fraction(float(ar.blocks(np.zeros((1, 1, 1)), np.full((1, 1, 1), large), zero).rad[0, 0])) >= needed
    assert Fraction(float(ar.product(Enclosure(np.zeros((1, 1)), np.full((1, 1), large)), zero).rad[0, 0])) >= needed


def test_moving_entries_moves_their_radii():
    ar = EnclosureArithmetic()
    rng = np.random.default_rng(0)
    x = Enclosure(rng.normal(size=(3, 4)), rng.random((3, 4)))
    thin = Enclosure(rng.normal(size=(3, 4)))
    assert (ar.widen(x, 6).rad == np.pad(x.rad, ((0, 0), (0, 2)))).all()
    assert (ar.columns(x, 1, 3).rad == x.rad[:, 1:3]).all()
    assert (ar.hstack([thin, x]).rad == np.hstack([np.zeros((3, 4)), x.rad])).all()
    assert (ar.vstack([x, thin]).rad == np.vstack([x.rad, np.zeros((3, 4))])).all()
    radii = rng.random(3)
    assert (ar.placed(Diagonal(rng.normal(size=3), radii), 5, 1).rad == np.pad(np.diag(radii), ((0, 0), (1, 1)))).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_distance_of_a_solution_is_rounded_up(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 30))
    size = rng.random((n, n)) * rng.choice([0.1, 0.4, 0.9999]) / n
    defect = Enclosure(0.6 * size, 0.4 * size)
    error = Enclosure(rng.normal(size=(n, 2)), rng.random((n, 2)))
    rad = enclosure._distance(defect, error)
    row = [sum(fractions(np.abs(m)) + fractions(r)) for m, r in zip(defect.mid, defect.rad, strict=True)]
    e = [
        [abs(a) + b for a, b in zip(fractions(m), fractions(r), strict=True)]
        for m, r in zip(error.mid, error.rad, strict=True)
    ]
    most = [max(column) for column in zip(*e, strict=True)]
    # the sums of the rows come rounded down by as much as n additions may
    worst = [total * (1 + model(n)) for total in row]
    for i in range(n):
        for j in range(2):
            assert Fraction(float(rad[i, j])) >= e[i][j] + row[i] / (1 - max(row)) * most[j]
    found = enclosure._distance(Enclosure(defect.mid + defect.rad), Enclosure(np.zeros((n, 1)), np.ones((n, 1))))
    sums = fractions((defect.mid + defect.rad).sum(axis=1))
    assert all(
        Fraction(float(f[0])) >= 1 + s * (1 + model(n)) / (1 - max(sums) * (1 + model(n)))
        for f, s in zip(found, sums, strict=True)
    )
    assert max(worst) < 1


def test_a_defect_of_norm_one_proves_nothing():
    error = Enclosure(np.zeros((1, 1)))
    assert enclosure._distance(Enclosure(np.zeros((1, 1)), np.ones((1, 1))), error) is None
    assert enclosure._distance(Enclosure(np.full((1, 1), 3.0)), error) is None


# ---- the contraction


@pytest.mark.parametrize("seed", SEEDS)
def test_the_norm_bound_is_not_below_its_formula(seed):
    rng = np.random.default_rng(seed)
    a = positive(rng, *rng.integers(1, 12, size=2))
    if seed % 2:
        # of rank one: the Frobenius norm is the norm
        a = np.outer(a[0], a[:, 0])
    rows, columns = ([sum(fractions(line)) for line in m] for m in (a, a.T))
    square = min(max(rows) * max(columns), sum(v * v for v in fractions(a)))
    assert Fraction(definite.norm_bound(a)) ** 2 >= square


def test_the_norm_bound_covers_sums_of_squares_that_lose_as_much_as_they_may(monkeypatch):
    a = np.outer(np.linspace(0.5, 1.0, 60), np.linspace(1.0, 2.0, 50))
    square = sum(v * v for v in fractions(a))
    monkeypatch.setattr(definite.np, "einsum", lambda *_: float(square * (1 - model(a.size) + 2 * U)))
    assert Fraction(definite.norm_bound(a)) ** 2 >= square


def test_the_norm_bound_covers_underflow():
    tiny = np.full((2, 2), 2.0**-540)
    assert definite.norm_bound(tiny) >= 2.0**-539
    assert Fraction(definite.norm_bound(np.zeros((3, 3)))) >= 3 * LOST


@pytest.mark.parametrize("k", range(60))
def test_the_target_is_rounded_down(k):
    spread = float(np.random.default_rng(k).random() * 10.0 ** -float(k % 17))
    assert Fraction(contraction._target(spread)) <= (1 - Fraction(spread)) ** 2


@pytest.mark.parametrize("n", [1, 10, 1000, 10**9, 10**12])
def test_room_for_cholesky(n):
    # Rump's bound for a trace that was added up in floating point; the shift and the diagonal are rounded once each
    for trace in (0.0, 1.0, 0.37 * n, float(n)):
        assert Fraction(definite.cholesky_room(n, trace)) >= model(n + 2) / (1 - model(n + 2)) * Fraction(trace) * (
            1 + n * U
        )
        assert Fraction(definite.cholesky_room(n, trace)) >= 2 * U


def test_the_error_of_a_gram_matrix_is_at_least_that_of_the_model():
    rng = np.random.default_rng(0)
    for _ in range(40):
        mid = rng.normal(size=(4, int(rng.integers(1, 300))))
        bound = Fraction(definite.norm_bound(np.abs(mid)))
        assert Fraction(contraction._gram_error(mid)) >= model(max(mid.shape)) * bound**2
    assert Fraction(contraction._gram_error(np.zeros((1, 5)))) >= 5 * LOST


def lossy_gram(a):
    """A Gram matrix as much too small as the error model allows."""
    a = a if a.shape[0] <= a.shape[1] else a.T
    k = a.shape[1]
    full = exact(a) * exact(a).transpose()
    low = np.array([[float(Fraction(int(v.p), int(v.q))) for v in row] for row in rows_of(full)])
    return np.asfortranarray(
        np.tril(low - np.eye(len(low)) * (float(model(k)) - 2.0**-52) * np.linalg.norm(np.abs(a), 2) ** 2)
    )


@pytest.mark.parametrize("shape", [(1, 100), (100, 1), (3, 400)])
def test_a_gram_matrix_may_be_as_wrong_as_the_model_allows(shape, monkeypatch):
    monkeypatch.setattr(contraction, "smaller_gram", lossy_gram)
    b = np.random.default_rng(1).random(shape)
    b /= np.linalg.norm(b, 2)
    for k in range(1, 12):
        # just above one
        trial = b * (1.0 + 2.0**-48 / k)
        small = exact(trial if shape[0] <= shape[1] else trial.T)
        if not is_positive_definite(exact(np.eye(small.nrows())) - small * small.transpose()):
            assert not contraction.is_contraction(Enclosure(trial))


def lenient_cholesky(a, lower=True, overwrite_a=True):
    """A factorisation that runs to its end for every matrix for which the error model allows it to."""
    n = len(a)
    full = np.tril(a) + np.tril(a, -1).T
    smallest = float(np.linalg.eigvalsh(full)[0])
    allowed = float(model(n + 2) / (1 - model(n + 2))) * float(np.trace(full))
    return a, 0 if smallest >= 1e-15 - allowed else 1


@pytest.mark.parametrize("n", [20, 60])
def test_cholesky_may_be_as_wrong_as_the_model_allows(n, monkeypatch):
    monkeypatch.setattr(contraction.lapack, "dpotrf", lenient_cholesky)
    v = np.random.default_rng(0).normal(size=n)
    b = np.outer(v, v) / (v @ v)
    assert contraction.is_contraction(Enclosure(b * (1.0 - 1e-11)))
    assert not contraction.is_contraction(Enclosure(b * (1.0 + 2.0**-49)))


def test_a_radius_of_norm_one_proves_nothing():
    assert not contraction.is_contraction(Enclosure(np.zeros((1, 1)), np.full((1, 1), 3.0)))
    assert contraction.is_contraction(Enclosure(np.full((1, 1), 0.3), np.full((1, 1), 0.4)))
    assert not contraction.is_contraction(Enclosure(np.full((1, 1), 0.6), np.full((1, 1), 0.4)))


# ---- the scaled matrix


def one_case(outputs, inputs) -> Case:
    return Case(np.array(outputs), np.array(inputs), np.zeros(len(inputs), dtype=np.int64), False)


def interconnection(R: Enclosure, Y: Enclosure, inputs: int) -> Interconnection[Enclosure]:
    rows, channels = R.mid.shape[0], R.mid.shape[1] - inputs
    groups = Groups(
        channels, np.arange(rows) % max(channels, 1), np.arange(channels), np.arange(channels), np.arange(channels)
    )
    return Interconnection(R, Y, groups, inputs, False)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_scaled_matrix_contains_the_exact_one(seed):
    """For points on the boundary of the radii of R and Y, separately and around zero, where nothing else has room."""
    rng = np.random.default_rng(seed)
    around = 0.0 if seed % 2 else 1.0
    R = Enclosure(around * rng.normal(size=(3, 5)), None if seed % 3 == 0 else positive(rng, 3, 5))
    Y = Enclosure(around * rng.normal(size=(2, 5)), None if seed % 3 == 1 else positive(rng, 2, 5))
    system = interconnection(R, Y, 2)
    case = one_case([0, 1], [0, 1]) if seed % 5 else one_case([1], [0])
    scaling = Scaling(positive(rng, 3), positive(rng, 1), positive(rng, case.outputs.size) if seed % 4 else None)
    before = stacked(system, case)
    rad = np.zeros_like(before.mid) if before.rad is None else before.rad
    columns = [*range(3), *(3 + case.inputs)]
    assert (rad == np.vstack([R.radius()[:, columns], Y.radius()[np.ix_(case.outputs, columns)]])).all()
    truth = exact(before.mid) + exact(np.where(before.mid < 0, -rad, rad))
    found = scaled(system, case, scaling)
    left = [*(rational(v) for v in scaling.d[system.groups.row])]
    left += [1 / rational(1.0 if scaling.n is None else scaling.n[i]) for i in range(case.outputs.size)]
    right = [*(rational(v) for v in scaling.d), *[rational(scaling.m[0])] * case.inputs.size]
    for i in range(truth.nrows()):
        for j in range(truth.ncols()):
            value = truth[i, j] * left[i] / right[j]
            assert abs(value - rational(found.mid[i, j])) <= rational(found.rad[i, j])


@pytest.mark.parametrize("column", [2.0**-960, 2.0**960])
def test_entries_that_underflow_while_they_are_scaled_are_covered(column):
    R, Y = Enclosure(np.full((1, 2), 2.0**-1000)), Enclosure(np.zeros((1, 2)))
    scaling = Scaling(np.array([2.0**-100]), np.array([column]))
    found = scaled(interconnection(R, Y, 1), one_case([0], [0]), scaling)
    truth = rational(2.0**-1000) * rational(2.0**-100) / rational(column)
    assert abs(truth - rational(found.mid[0, 1])) <= rational(found.rad[0, 1])


@pytest.mark.parametrize("number", [2.0**-961, 2.0**961])
def test_scalings_far_out_are_refused(number):
    system = interconnection(Enclosure(np.zeros((1, 2))), Enclosure(np.zeros((1, 2))), 1)
    case, one = one_case([0], [0]), np.ones(1)
    assert holds(system, case, Scaling(one, one, one))
    for scaling in (Scaling(one * number, one, one), Scaling(one, one * number, one), Scaling(one, one, one * number)):
        assert not holds(system, case, scaling)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_value_of_a_scaling_is_rounded_up(seed):
    rng = np.random.default_rng(seed)
    m, n = positive(rng, int(rng.integers(1, 9))), positive(rng, int(rng.integers(1, 9)))
    square, other = (sum(v * v for v in fractions(x)) for x in (m, n))
    assert Fraction(Scaling(np.ones(0), m).value()) ** 2 >= square
    assert Fraction(Scaling(np.ones(0), m, n).value()) ** 2 >= square * other


def test_the_value_of_a_scaling_covers_each_of_its_roundings(monkeypatch):
    from lipcert.certificates import claims

    for x in np.random.default_rng(0).random(200):
        monkeypatch.setattr(claims, "_norm_up", lambda _, x=x: float(x))
        assert Fraction(Scaling(np.ones(0), np.ones(1), np.ones(1)).value()) >= Fraction(x) ** 2
    monkeypatch.undo()
    assert Scaling(np.ones(0), np.full(1, 2.0**-600), np.full(1, 2.0**-600)).value() >= 2.0**-1000


# ---- norms of maps


@pytest.mark.parametrize("times", range(2, 300, 7))
def test_norms_of_copies_are_rounded_up(times):
    assert Fraction(spectral.norm_upper(Index(np.zeros(times, dtype=np.int64), 1))) ** 2 >= times


def test_norms_of_diagonals_are_rounded_up():
    rng = np.random.default_rng(0)
    for _ in range(60):
        entry, radius = rng.normal(), rng.random()
        assert Fraction(spectral.norm_upper(Diagonal(np.array([entry]), np.array([radius])))) >= abs(
            Fraction(entry)
        ) + Fraction(radius)


def with_radius(a, size):
    """A map of the same kind with a radius of `size` on each entry."""
    kind = type(a)
    spread = Dense(np.full(a.shape, size))
    wide = type("Wide" + kind.__name__, (kind,), {"radius": property(lambda self: spread)})
    fields = [getattr(a, name) for name in a.__dataclass_fields__]
    return wide(*fields)


@pytest.mark.parametrize(("limit", "symbol"), [(6000, 6000), (6000, 1), (1, 6000)])
@pytest.mark.parametrize("kind", ["dense", "sparse", "convolution"])
def test_the_norm_of_a_radius_is_added(kind, limit, symbol, monkeypatch):
    rng = np.random.default_rng(0)
    a = {
        "dense": Dense(rng.random((4, 6))),
        "sparse": Sparse(sp.csr_array(rng.random((3, 30000)))),
        "convolution": Convolution(rng.random((1, 1, 3)), (9,), (1,), (1,), (1, 1)),
    }[kind]
    plain = spectral.norm_upper(a)
    monkeypatch.setattr(spectral, "_DENSE", limit)
    monkeypatch.setattr(spectral, "_SYMBOL", symbol)
    assert spectral.norm_upper(with_radius(a, 0.5)) >= plain * (1 - 1e-6) + 0.5 * np.sqrt(np.prod(a.shape)) * (1 - 1e-9)


def test_norms_and_radii_are_added_upward():
    rng = np.random.default_rng(0)
    for a, b in rng.random((60, 2)):
        assert Fraction(spectral._sum_up(a, b)) >= Fraction(a) + Fraction(b)


def test_norms_of_subnormal_matrices_are_rounded_up():
    found = Fraction(spectral.norm_upper(Dense(np.full((1, 2), 5e-324))))
    assert found**2 >= 2 * Fraction(5e-324) ** 2


def test_a_gram_matrix_of_a_map_may_be_as_wrong_as_the_model_allows():
    k = 3000
    row = np.random.default_rng(0).random((1, k))
    a = Sparse(sp.csr_array(row / np.linalg.norm(row)))
    square = sum(v * v for v in fractions(a.matrix.data))
    low = float(square * (1 - model(k)) + U)
    assert Fraction(spectral._from_gram(np.array([[low]]), 2.0, a)) ** 2 >= square


def test_the_root_of_a_gram_bound_is_rounded_up(monkeypatch):
    a = Dense(np.zeros((2, 3)))
    for p in np.random.default_rng(0).uniform(0.9, 1.0, 200):
        monkeypatch.setattr(spectral, "_smallest_proven", lambda *_, p=p: float(p))
        found = Fraction(spectral._from_gram(np.eye(2), 1.0, a))
        assert found == 1 or found**2 >= Fraction(float(p)) + model(3)
    monkeypatch.setattr(spectral, "_smallest_proven", lambda *_: 0.0)
    assert Fraction(spectral._from_gram(np.eye(2), 2.0**-470, a)) ** 2 >= Fraction(1, 2**960)


def test_quotients_by_a_trial_are_enclosed(monkeypatch):
    seen = []
    monkeypatch.setattr(spectral, "is_contraction", lambda b: seen.append(b) or True)
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(6, 8))
    matrix[0, 0] = 0.0
    trial = spectral._smallest_proven(matrix, 3.7)
    (b,) = seen
    for value, mid, rad in zip(fractions(matrix), fractions(b.mid), fractions(b.rad), strict=True):
        assert abs(value / Fraction(trial) - mid) <= rad
        assert rad >= 2 * LOST


@pytest.mark.parametrize("seed", SEEDS)
def test_the_cheap_norm_is_not_below_its_formula(seed):
    a = np.random.default_rng(seed).normal(size=(4, 5))
    rows, columns = (max(sum(fractions(np.abs(line))) for line in m) for m in (a, a.T))
    assert Fraction(spectral.cheap_norm(Dense(a))) ** 2 >= rows * columns
    assert Fraction(spectral.cheap_norm(Dense(np.zeros((2, 2))))) >= 2 * LOST


# ---- symbols


@pytest.mark.parametrize(("axes", "taps"), [(1, 1), (1, 400), (2, 9), (3, 1)])
def test_the_radius_of_a_symbol_covers_roots_sums_and_quotients(axes, taps, monkeypatch):
    seen = []
    monkeypatch.setattr(symbol, "is_contraction", lambda b: seen.append(b) or True)
    side = round(taps ** (1 / axes))
    kernel = np.random.default_rng(0).normal(size=(1, 1, *[side] * axes))
    a = Convolution(kernel, (side,) * axes, (1,) * axes, (1,) * axes, (0,) * (2 * axes))
    bound = 3.3
    assert symbol._Symbol(a, 0).is_below(bound)
    total = sum(fractions(np.abs(kernel)))
    for b in seen:
        for mid, rad in zip(fractions(b.mid), fractions(b.rad), strict=True):
            # docs/proof.md: a root of unity is off by 2⁻⁵⁰ an axis, a sum of k products by γ_k; then a quotient
            # and half of both again, at least, for the rounding of the radius itself
            assert rad >= Fraction(3, 2) * (axes * Fraction(1, 2**50) + model(taps)) * total / Fraction(
                bound
            ) + U * abs(mid)
            assert rad >= LOST * taps


def test_a_quotient_of_a_symbol_without_other_errors_is_enclosed(monkeypatch):
    seen = []
    monkeypatch.setattr(symbol, "is_contraction", lambda b: seen.append(b) or True)
    monkeypatch.setattr(symbol, "_ROOT", 0.0)
    monkeypatch.setattr(symbol, "gamma", lambda k: gamma(k) if k == 2 else 0.0)
    # exact values: a product with the root one
    a = Convolution(np.array([[[0.7]]]), (1,), (1,), (1,), (0, 0))
    assert symbol._Symbol(a, 0).is_below(3.1)
    (b,) = seen
    assert abs(Fraction(0.7) / Fraction(3.1) - Fraction(float(b.mid[0, 0]))) <= Fraction(float(b.rad[0, 0]))


@pytest.mark.parametrize("size", [3, 7, 100])
def test_roots_of_unity_are_nearest(size):
    from flint import arb, ctx

    with ctx.workprec(200):
        for k, root in enumerate(symbol._roots(size)):
            angle = arb(2 * k) / size
            for value, true in ((root.real, angle.cos_pi()), (root.imag, angle.sin_pi())):
                assert abs(arb(value) - true) <= arb(2) ** -54


# ---- the proof by blocks


def sparse(a):
    return sp.csr_array(np.asarray(a, dtype=float))


def weights(rng, shape, relative, around):
    """Weights with an exact matrix on the boundary of their radius."""
    mid = around * rng.normal(size=shape)
    if relative is None:
        return Weights(sparse(mid)), exact(mid)
    rad = relative * positive(rng, *shape)
    return Weights(sparse(mid), sparse(rad)), exact(mid) + exact(np.where(mid < 0, -rad, rad))


def covers(found: Weights, truth) -> bool:
    return within(found.mid.toarray(), None if found.rad is None else found.rad.toarray(), truth)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("relatives", [(None, None), (None, 0.3), (0.3, None), (0.3, 0.3)])
@pytest.mark.parametrize("full", [0.0, 2.0], ids=["full", "sparse"])
def test_weights_contain_the_exact_ones(seed, full, relatives, monkeypatch):
    monkeypatch.setattr(block_cholesky, "_FULL", full)
    rng = np.random.default_rng(seed)
    around = 1.0 if seed % 2 else np.abs(rng.normal(size=(1, 1)))
    a, a_true = weights(rng, (3, 4), relatives[0], around)
    b, b_true = weights(rng, (4, 3), relatives[1], around)
    c, c_true = weights(rng, (3, 4), relatives[1], around)
    zero, zero_true = weights(rng, (4, 3), 1.0, 0.0)
    high, high_true = (
        Weights(abs(a.mid), a.rad),
        exact(abs(a.mid).toarray()) + exact(np.zeros((3, 4)) if a.rad is None else a.rad.toarray()),
    )
    other, other_true = (
        Weights(abs(b.mid), b.rad),
        exact(abs(b.mid).toarray()) + exact(np.zeros((4, 3)) if b.rad is None else b.rad.toarray()),
    )
    assert covers(high.after(other), high_true * other_true)
    assert covers(a.after(b), a_true * b_true)
    assert covers(high.after(zero), high_true * zero_true)
    assert covers(a.plus(c), a_true + c_true)
    assert covers(c.plus(a), a_true + c_true)
    assert covers(
        zero.plus(Weights(sparse(np.zeros((4, 3))), b.rad)),
        zero_true + exact(np.zeros((4, 3)) if b.rad is None else b.rad.toarray()),
    )
    left, right = positive(rng, 3), positive(rng, 4)
    # each factor may be off by a rounding
    worst = exact(np.diag(left)) * (1 + rational(2.0**-53))
    scale = exact(np.eye(4))
    for k in range(4):
        scale[k, k] = (1 + rational(2.0**-53)) / rational(right[k])
    assert covers(a.scaled(left, right), worst * a_true * scale)
    zeros, zeros_true = weights(rng, (3, 4), 1.0, 0.0)
    assert covers(zeros.scaled(left, right), worst * zeros_true * scale)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_norm_bound_of_sparse_matrices_is_not_below_its_formula(seed):
    a = np.random.default_rng(seed).normal(size=(5, 4))
    rows, columns = (max(sum(fractions(np.abs(line))) for line in m) for m in (a, a.T))
    assert Fraction(block_cholesky._norm(sparse(a))) ** 2 >= rows * columns
    assert Fraction(block_cholesky._norm(sparse(np.zeros((3, 3))))) >= 3 * LOST
    assert Fraction(block_cholesky._norm(sparse(np.full((2, 2), 5e-324)))) >= 4 * LOST


def one_neuron(first=(1.0, 0.0), last=(1.0, 0.0), kind="relu", outputs=1, **parameters):
    """y = c φ(a x) with a and c as midpoint and radius."""
    builder = GraphBuilder()
    x = builder.input(1)
    z = builder.affine([x], [Diagonal(np.full(1, first[0]), np.full(1, first[1]) if first[1] else None)])
    w = builder.activation(z, kind, parameters={key: np.array([v]) for key, v in parameters.items()})
    copies = builder.affine([w], [Index(np.zeros(outputs, dtype=np.int64), 1)])
    y = builder.affine([copies], [Diagonal(np.full(outputs, last[0]), np.full(outputs, last[1]) if last[1] else None)])
    found = BlockSystem.of(builder.finish(y))
    assert found is not None
    return found


def shift(system, d=1.0, m=1.0):
    """By how much M must exceed zero."""
    assembled = system._assembled(Scaling(np.full(system.groups, d), np.full(1, m)))
    assert assembled is not None
    return Fraction(assembled[2])


def test_the_shift_of_blocks_covers_cholesky():
    for outputs in (1, 5):
        system = one_neuron(outputs=outputs)
        # two unknowns, diagonal of ones, and the products of the outputs
        assert shift(system) >= model(4) / (1 - model(4)) * 2 + 16 * U


@pytest.mark.parametrize(
    ("sizes", "needed"),
    [
        # the diagonal of M is one and what the outputs add to it: the room is for all of the trace
        ({"last": (1.0, 0.0), "outputs": 3}, model(4) / (1 - model(4)) * (2 + 3)),
        # z − K: a radius r of the weight a counts K r e/m
        ({"first": (1.0, 0.1)}, Fraction(1, 20)),
        # YᵀY: (c + r)² − c² = 2 c r + r² in units of e = d/P = 2
        ({"last": (0.25, 0.5)}, (2 * Fraction(1, 8) + Fraction(1, 4)) / 4),
        # (P² − K²) z² for slopes [−0.5, 1]
        (
            {"first": (0.25, 0.5), "kind": "leaky_relu", "alpha": -0.5},
            Fraction(1, 2) * (2 * Fraction(1, 8) + Fraction(1, 4)),
        ),
        # a sum of k products
        ({"outputs": 40000, "last": (0.001, 0.0)}, model(40000) * 10000 * Fraction(0.001) ** 2),
    ],
)
def test_the_shift_of_blocks_covers_each_of_its_sources(sizes, needed):
    assert shift(one_neuron(**sizes)) >= needed


@pytest.mark.parametrize("kept", [4, 6])
def test_the_shift_of_blocks_covers_roundings_of_entries(kept, monkeypatch):
    """Of one product −K z, and of the sums of one block, each alone."""
    monkeypatch.setattr(block_cholesky, "cholesky_room", lambda n, trace: 0.0)
    monkeypatch.setattr(block_cholesky, "UNIT", 0.0)
    monkeypatch.setattr(block_cholesky, "gamma", lambda k: gamma(k) if k == kept else 0.0)
    monkeypatch.setattr(Weights, "scaled", lambda self, after, before: Weights(self.mid, None))
    # two layers and the outputs; the entries −K W are as long as half of 2²⁰ twice, and are added to at most once
    two = BlockSystem.of(nn.sequential(*(layer for _ in range(2) for layer in (nn.linear([[1048576.0]]), nn.relu()))))
    assert shift(two) >= model(1) * 2**20


def test_the_shift_of_blocks_has_room_for_the_factorisation(monkeypatch):
    seen = []
    monkeypatch.setattr(block_cholesky, "gamma", lambda k: 0.0)
    monkeypatch.setattr(block_cholesky, "cholesky_room", lambda n, trace: seen.append((n, trace)) or 0.0)
    # two unknowns; the three outputs c/e = 1/2 add 3/4 to the diagonal, which is rounded when the shift is taken
    assert shift(one_neuron(outputs=3)) >= 2 * Fraction(7, 4) * U
    ((n, trace),) = seen
    assert n == 2
    assert Fraction(trace) >= 2 + Fraction(3, 4)
    assert shift(one_neuron(outputs=30000)) >= 7500 * U


def test_a_lenient_cholesky_does_not_prove_too_much_by_blocks(monkeypatch):
    """relu alone: 1 − 1/(4 d²) ≥ d²/m² … the least m is one; nothing below it is proven whatever the library does."""
    monkeypatch.setattr(block_cholesky.lapack, "dpotrf", lenient_cholesky)
    system = BlockSystem.of(nn.sequential(nn.linear(np.eye(30)), nn.relu()))
    d = np.full(30, np.sqrt(0.5))
    assert system.holds(Scaling(d, np.array([1.0 + 1e-6])))
    assert not system.holds(Scaling(d, np.array([1.0 - 1e-15])))


def test_the_shift_of_blocks_rounds_its_sums_up(monkeypatch):
    monkeypatch.setattr(block_cholesky, "gamma", lambda k: 0.0)
    monkeypatch.setattr(block_cholesky, "cholesky_room", lambda n, trace: 1024.0)
    assert shift(one_neuron()) >= 1024 + 16 * U


def test_the_largest_square_of_a_slope_is_rounded_up():
    rng = np.random.default_rng(0)
    for K, P in rng.random((100, 2)):
        layer = block_cholesky.Stage({}, np.array([-K]), np.array([P]))
        assert Fraction(layer.steepest()) >= (Fraction(K) + Fraction(P)) ** 2


def test_the_shift_is_taken_from_every_pivot():
    assert block_cholesky._factorises([1], {(0, 0): sparse([[-0.7]])}, 0.25)
    assert not block_cholesky._factorises([1], {(0, 0): sparse([[-0.8]])}, 0.25)
    # without an entry on the diagonal: 0.75 − x²/0.75
    assert block_cholesky._factorises([1, 1], {(1, 0): sparse([[0.7]])}, 0.25)
    assert not block_cholesky._factorises([1, 1], {(1, 0): sparse([[0.8]])}, 0.25)


def test_blocks_of_numbers_far_out_are_left_to_the_dense_proof():
    one = BlockSystem.of(nn.sequential(nn.linear([[1.0]]), nn.relu()))
    assert one.holds(Scaling(np.full(1, 2.0**200), np.full(1, 2.0**202)))
    assert not one.holds(Scaling(np.full(1, 2.0**238), np.full(1, 2.0**241)))
    assert BlockSystem.of(nn.sequential(nn.linear([[1e-100]]), nn.relu())) is None
    builder = GraphBuilder()
    z = builder.affine([builder.input(1)], [Dense(np.array([[1.0], [2.0**-239]]))])
    w = builder.activation(z, "leaky_relu", parameters={"alpha": np.array([0.5, 2.0**100])})
    steep = BlockSystem.of(builder.finish(builder.affine([w], [Dense(np.array([[1.0, 0.0]]))])))
    assert steep._assembled(Scaling(np.array([1.0, 2.0**-239]), np.full(1, 2.0**239))) is None


def test_constants_with_radii_are_left_to_the_dense_proof():
    builder = GraphBuilder()
    x = builder.input(1)
    y = builder.activation(x, "householder", parameters={"u": np.full((1, 1), 0.3), "c": np.ones((1, 1))})
    assert BlockSystem.of(builder.finish(y)) is None


@pytest.mark.parametrize("seed", SEEDS)
def test_norms_of_scalings_are_rounded_up(seed):
    from lipcert.certificates.claims import _norm_up

    x = positive(np.random.default_rng(seed), 1 + seed)
    assert Fraction(_norm_up(x)) ** 2 >= sum(v * v for v in fractions(x))


def test_the_radius_of_a_zero_kernel_covers_underflow(monkeypatch):
    seen = []
    monkeypatch.setattr(symbol, "is_contraction", lambda b: seen.append(b) or True)
    assert symbol._Symbol(Convolution(np.zeros((1, 1, 3)), (3,), (1,), (1,), (0, 0)), 0).is_below(1.0)
    assert all(value >= 3 * LOST for b in seen for value in fractions(b.rad))


def test_numbers_are_rounded_up_and_down():
    for a, b in np.random.default_rng(0).random((60, 2)):
        assert Fraction(float(up(a + b))) >= Fraction(a) + Fraction(b)
        assert Fraction(float(down(a + b))) <= Fraction(a) + Fraction(b)
    assert Fraction(float(up(np.float64(0.0)))) >= LOST
    assert Fraction(float(down(np.float64(0.0)))) <= -LOST
