"""The claims of certificates hold in rational arithmetic, which shares no line with the proof."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rational import RationalArithmetic, exact, is_positive_definite, matrix, rational, within

from lipcert.certificates.claims import Scaling, scaled
from lipcert.certificates.prover import Prover
from lipcert.constraints.interconnection import lower
from lipcert.constraints.multipliers import Multipliers
from lipcert.errors import NotCertified
from lipcert.graph import build as nn
from lipcert.graph.claim import Claim
from lipcert.graph.prepare import prepare
from lipcert.norms import Norm


def network(rng, implicit=False):
    """A small network of activations whose constants are exact."""
    width = int(rng.integers(1, 3)) * 2
    scale = 10.0 ** rng.uniform(-3, 3)
    layers = [nn.linear(scale * rng.normal(size=(width, int(rng.integers(1, 4)))))]
    for _ in range(int(rng.integers(1, 4))):
        act = [nn.relu, nn.maxmin, nn.abs_, lambda: nn.leaky_relu(0.25)][rng.integers(4)]()
        layer = nn.linear(rng.normal(size=(width, width)), rng.normal(size=width))
        layers += [nn.residual(act, layer)] if rng.random() < 0.3 else [act, layer]
    if implicit:
        w = rng.normal(size=(width, width))
        w *= 0.5 / np.linalg.norm(w, 2)
        layers.append(nn.fixed_point(w, rng.normal(size=(width, width)), None, nn.relu()))
    layers.append(nn.linear(rng.normal(size=(2, width))))
    return nn.sequential(*layers)


def proposals(graph, norm, output_norm, rng):
    """Multipliers that decrease from layer to layer, roughly; the repair has to do the rest."""
    prover = Prover(graph, Claim(norm, output_norm))
    groups = prover.proofs.dense.system.groups
    lam = 10.0 ** (2.0 * (groups.layer.max(initial=0) - groups.layer)) * rng.uniform(0.5, 2.0, groups.count)
    return prover, [
        Multipliers(lam, np.ones(case.parts), None if case.weights is None else np.ones(case.weights))
        for case in prover.proofs.cases
    ]


def assert_holds_exactly(graph, certificate):
    system = lower(prepare(graph), RationalArithmetic())
    groups = system.groups
    channels = groups.channels
    for case, s in zip(certificate.claim.cases(graph.input_size, graph.output_size), certificate.scalings, strict=True):
        columns = [*range(channels), *(channels + case.inputs)]
        rows = [[system.R[i, int(j)] * rational(s.d[groups.row[i]]) for j in columns] for i in range(system.R.nrows())]
        for k, i in enumerate(case.outputs):
            n = rational(1.0 if s.n is None else s.n[k])
            rows.append([system.Y[int(i), int(j)] / n for j in columns])
        m = np.broadcast_to(s.m, case.inputs.size)
        right = [rational(v) for v in [*s.d[groups.column], *m]]
        size = len(columns)
        gram = [
            [sum((r[i] * r[j] for r in rows), rational(0)) / (right[i] * right[j]) for j in range(size)]
            for i in range(size)
        ]
        assert is_positive_definite(exact(np.eye(size)) - matrix(gram, size))
        square = sum(Fraction(float(v)) ** 2 for v in s.m)
        if s.n is not None:
            square *= sum(Fraction(float(v)) ** 2 for v in s.n)
        assert square <= Fraction(certificate.value) ** 2


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(list(Norm)), st.sampled_from(list(Norm)))
def test_proven_claims_hold_exactly(seed, norm, output_norm):
    rng = np.random.default_rng(seed)
    graph = network(rng)
    prover, cases_ = proposals(graph, norm, output_norm, rng)
    assert_holds_exactly(graph, prover.prove(cases_))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_proven_claims_on_implicit_layers_hold_exactly(seed):
    rng = np.random.default_rng(seed)
    graph = network(rng, implicit=True)
    prover, cases_ = proposals(graph, Norm.L2, Norm.L2, rng)
    assert_holds_exactly(graph, prover.prove(cases_))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_enclosures_of_networks_contain_the_exact_matrices(seed, implicit):
    rng = np.random.default_rng(seed)
    graph = network(rng, implicit)
    truth = lower(prepare(graph), RationalArithmetic())
    found = Prover(graph).proofs.dense.system
    assert within(found.R.mid, found.R.rad, truth.R)
    assert within(found.Y.mid, found.Y.rad, truth.Y)


def test_the_exact_check_can_fail():
    graph = network(np.random.default_rng(0))
    prover, cases_ = proposals(graph, Norm.L2, Norm.L2, np.random.default_rng(0))
    certificate = prover.prove(cases_)
    s = certificate.scalings[0]
    smaller = type(s)(s.d, s.m * 0.999)
    wrong = type(certificate)(**{**vars(certificate), "scalings": (smaller,)})
    with pytest.raises(AssertionError):
        assert_holds_exactly(graph, wrong)


def test_scaled_enclosure_covers_underflow():
    """A product that underflows before it is divided by a tiny column is covered by the radius."""
    graph = nn.sequential(nn.linear([[1.0]]), nn.relu(), nn.linear([[1e-150]]), nn.relu(), nn.linear([[1.0]]))
    system = Prover(graph).proofs.dense.system
    (case,) = Claim().cases(1, 1)
    s = Scaling(np.array([1e-280, 1e-280]), np.array([1.0]))
    b = scaled(system, case, s)
    truth = lower(prepare(graph), RationalArithmetic())
    for i in range(2):
        for j in range(2):
            value = truth.R[i, j] * rational(s.d[i]) / rational(s.d[j])
            assert abs(value - rational(b.mid[i, j])) <= rational(b.rad[i, j])


def test_ill_posed_layers_have_no_bound():
    graph = nn.sequential(nn.fixed_point([[3.0]], [[1.0]], None, nn.relu()), nn.linear([[1.0]]))
    with pytest.raises(NotCertified, match="well-posedness"):
        Prover(graph).prove([Multipliers(np.ones(1), np.ones(1))])
