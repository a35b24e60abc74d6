"""`verify(…, exact=True)`: accepts what the other proofs accept, and nothing that is false."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import lipcert
from lipcert import cli
from lipcert.activations import TABLE
from lipcert.certificates import Certificate
from lipcert.certificates.claims import Scaling
from lipcert.certificates.exact import ExactProof, _above, _is_positive, _rational
from lipcert.certificates.verify import verify
from lipcert.errors import CertificateRejected, InvalidRequest
from lipcert.graph import build as nn
from lipcert.graph.claim import Claim
from lipcert.graph.linear_maps import Diagonal
from lipcert.graph.nodes import GraphBuilder


def dense(rng, n, m):
    return nn.linear(rng.standard_normal((m, n)) / np.sqrt(n), rng.standard_normal(m))


def network(seed, *acts):
    rng = np.random.default_rng(seed)
    layers = [dense(rng, 3, 6)]
    for act in acts:
        layers += [act, dense(rng, 6, 6)]
    return nn.sequential(*layers, dense(rng, 6, 2))


ACTIVATIONS = {
    "relu": nn.relu(),
    "leaky": nn.leaky_relu(0.1),
    "gelu": nn.gelu(),
    "maxmin": nn.maxmin(),
    "sort3": nn.group_sort(3),
    "softmax": nn.softmax(3),
}


def least(certificate: Certificate, factor: float) -> Certificate:
    """The same with a smaller bound."""
    scalings = tuple(replace(s, m=s.m * factor) for s in certificate.scalings)
    return replace(certificate, scalings=scalings, value=max(s.value() for s in scalings))


@pytest.mark.parametrize("form", ["comparators", "blocks"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_what_is_proven_is_true_in_rational_arithmetic(name, form):
    graph = network(1, ACTIVATIONS[name], nn.relu(), ACTIVATIONS[name])
    found = lipcert.bound(graph, lower=False, form=form)
    assert verify(found.certificate, graph, exact=True).exact
    assert verify(found.certificate, graph).value == verify(found.certificate, graph, exact=True).value
    with pytest.raises(CertificateRejected, match="does not prove"):
        verify(least(found.certificate, 1 - 1e-6), graph, exact=True)


@pytest.mark.parametrize("norm", [1, 2, "inf"])
@pytest.mark.parametrize("output_norm", [1, 2, "inf"])
def test_every_norm_pair(norm, output_norm):
    graph = network(2, nn.relu(), nn.maxmin())
    certificate = lipcert.bound(graph, norm=norm, output_norm=output_norm, lower=False).certificate
    verify(certificate, graph, exact=True)
    with pytest.raises(CertificateRejected, match="does not prove"):
        verify(least(certificate, 1 - 1e-5), graph, exact=True)


def test_margins_residual_and_implicit_layers():
    rng = np.random.default_rng(3)
    weight = rng.standard_normal((4, 4))
    implicit = nn.fixed_point(0.4 * weight / np.linalg.norm(weight, 2), rng.standard_normal((4, 3)), None, nn.relu())
    graph = nn.sequential(implicit, nn.residual(dense(rng, 4, 4), nn.relu()), dense(rng, 4, 3))
    for outputs in ("all", "pairs"):
        certificate = lipcert.bound(graph, outputs=outputs, lower=False).certificate
        assert verify(certificate, graph, exact=True).well_posed
        with pytest.raises(CertificateRejected, match="does not prove"):
            verify(least(certificate, 1 - 1e-5), graph, exact=True)


@pytest.mark.parametrize("method", ["lipsdp-nsr", "lipsdp-rr", "layer"])
def test_other_forms_and_methods(method):
    graph = network(4, nn.maxmin())
    certificate = lipcert.bound(graph, method=method, lower=False).certificate
    assert certificate is not None
    verify(certificate, graph, exact=True)
    with pytest.raises(CertificateRejected):
        verify(least(certificate, 0.5), graph, exact=True)


def test_a_value_that_is_rounded_down_is_rejected():
    graph = nn.sequential(nn.linear([[1.0]]))
    scaling = Scaling(np.ones(0), np.array([1.5]))
    certificate = Certificate(Claim(), 1.5, "comparators", graph.fingerprint.hex(), (scaling,))
    assert ExactProof.value_holds(scaling, 1.5)
    assert not ExactProof.value_holds(scaling, float(np.nextafter(1.5, 0.0)))
    assert not ExactProof.value_holds(replace(scaling, n=np.full(1, 1.0 + 2.0**-52)), 1.5)
    with pytest.raises(CertificateRejected, match="more than the claimed"):
        verify(replace(certificate, value=1.0), graph, exact=True)


def test_norms_of_one_up_to_the_last_place_are_told_apart():
    proof = ExactProof(nn.sequential(nn.linear([[0.6, 0.8]])), Claim())
    # 0.6² + 0.8² of the float64 numbers against neighbours of one
    above = [
        bool(proof.holds(proof.cases[0], Scaling(np.ones(0), np.array([1.0 + k * 2.0**-52])))) for k in (-2, -1, 1, 2)
    ]
    square = sum(_rational(v) ** 2 for v in (0.6, 0.8))
    assert above == [bool(_rational(1.0 + k * 2.0**-52) ** 2 > square) for k in (-2, -1, 1, 2)]


def gram(a):
    """A Aᵀ, exactly."""
    rows = [[_rational(v) for v in row] for row in a.tolist()]
    return [[sum((x * y for x, y in zip(p, q, strict=True)), start=_rational(0.0)) for q in rows] for p in rows]


def test_positive_definiteness_is_decided_exactly():
    rng = np.random.default_rng(0)
    for size in (1, 2, 6):
        assert _is_positive(gram(rng.standard_normal((size, size + 1))))
    # of rank one, and with an entry that differs in the 60th digit
    singular = gram(rng.standard_normal((4, 1)))
    assert not _is_positive(singular)
    singular[-1][-1] -= _rational(2.0**-200)
    assert not _is_positive(singular)
    assert not _is_positive([[_rational(-1.0)]])
    assert not _is_positive([[_rational(0.0)]])


def test_fractions_are_rounded_up():
    for value in (1.0, 3.0, 1e-300, 1e300, 0.1):
        inverse = 1 / _rational(value)
        assert inverse <= _above(inverse) <= inverse * (1 + _rational(2.0**-300))


@pytest.mark.parametrize("name", ["sort", "maximum", "softmax", "log_softmax", "sort_published"])
@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_rational_forms_are_the_normal_forms(name, k):
    form, exact = TABLE[name].normal_form(k, {}), TABLE[name].rational_form(k, {})
    assert exact is not None
    g, h = (np.array(x, dtype=float) for x in (exact.g, exact.h))
    np.testing.assert_allclose(np.array(exact.K, dtype=float), form.K[0], atol=1e-15)
    # P v for ‖v‖ ≤ ‖Qz‖: P diag(1/g) Pᵀ and Qᵀ diag(h) Q are the same, group by group
    for group in range(form.groups):
        own = np.array(exact.column_group) == group
        P = np.array(exact.P, dtype=float).reshape(form.P.shape[1:])[:, own]
        theirs = form.P[0][:, form.column_group == group]
        np.testing.assert_allclose(P / g[own] @ P.T, theirs @ theirs.T, atol=1e-14)
        rows = np.array(exact.row_group) == group
        Q = np.array(exact.Q, dtype=float).reshape(form.Q.shape[1:])[rows]
        theirs = form.Q[0][form.row_group == group]
        np.testing.assert_allclose(Q.T * h[rows] @ Q, theirs.T @ theirs, atol=1e-14)


@pytest.mark.parametrize("name", ["householder", "householder_published"])
def test_rational_forms_of_reflections(name):
    rng = np.random.default_rng(0)
    v = rng.standard_normal((1, 4))
    parameters = {"u": 2 * v / (v @ v.T), "c": v}
    form, exact = TABLE[name].normal_form(4, parameters), TABLE[name].rational_form(4, parameters)
    for mine, theirs in zip((exact.K, exact.P, exact.Q), (form.K, form.P, form.Q), strict=True):
        np.testing.assert_allclose(np.array(mine, dtype=float), theirs[0], atol=1e-14)
    assert exact.column_group == form.column_group.tolist()


def test_enclosed_constants_and_large_networks_are_refused():
    builder = GraphBuilder()
    x = builder.input(2)
    graph = builder.finish(builder.affine([x], [Diagonal(np.ones(2), np.full(2, 1e-16))], None, "bn"))
    with pytest.raises(InvalidRequest, match="enclosures"):
        ExactProof(graph, Claim())
    with pytest.raises(InvalidRequest, match="200 channels"):
        ExactProof(nn.sequential(nn.linear(np.ones((600, 2))), nn.relu(), nn.linear(np.ones((1, 600)))), Claim())


def test_the_command(tmp_path):
    graph = network(5, nn.relu())
    model, path = tmp_path / "net.onnx", tmp_path / "proof.json"
    lipcert.save(graph, model)
    certificate = lipcert.bound(lipcert.load(model), lower=False).certificate
    certificate.save(path)
    result = CliRunner().invoke(cli.cli, ["verify", str(path), str(model), "--exact"])
    assert result.exit_code == 0, result.output
    assert "rational arithmetic" in result.stdout
    least(certificate, 1 - 1e-6).save(path)
    result = CliRunner().invoke(cli.cli, ["verify", str(path), str(model), "--exact"])
    assert result.exit_code == 1
    assert "does not prove" in result.stderr
