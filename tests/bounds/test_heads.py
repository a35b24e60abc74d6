"""Softmax and log-softmax heads in ℓ∞: never above their own constant times what goes in, and proven elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import lipcert
from lipcert.certificates import Certificate, verify
from lipcert.certificates.certificate import HEAD
from lipcert.errors import CertificateRejected
from lipcert.graph import build as nn
from lipcert.graph.evaluate import record
from lipcert.graph.nodes import Graph

CAPS = {"softmax": 0.5, "log_softmax": 2.0}


def network(rng: np.random.Generator, kind: str, classes: int) -> tuple[Graph, Graph]:
    """A small network with a head, and the part before it."""
    layers = [nn.linear(rng.normal(size=(5, 3))), nn.relu(), nn.linear(rng.normal(size=(classes, 5)))]
    return nn.sequential(*layers, nn.activation(kind, classes)), nn.sequential(*layers)


@pytest.mark.parametrize("kind", CAPS)
@pytest.mark.parametrize("norm", ["inf", "2", "1"])
def test_a_head_is_capped(kind: str, norm: str) -> None:
    rng = np.random.default_rng(len(kind) + len(norm))
    graph, before = network(rng, kind, 12)
    options = {"norm": norm, "output_norm": "inf", "lower": False}
    found, inside = lipcert.bound(graph, **options), lipcert.bound(before, **options)
    assert found.upper <= CAPS[kind] * inside.upper * (1.0 + 1e-12)
    jacobians = np.stack([record(graph, [x]).jacobian(0) for x in rng.normal(size=(40, 3, 1))])
    largest = {
        "inf": np.abs(jacobians).sum(axis=2),
        "2": np.linalg.norm(jacobians, axis=2),
        "1": np.abs(jacobians).max(axis=2),
    }[norm]
    assert largest.max() <= found.upper * (1.0 + 1e-12)
    assert found.certificate is not None
    assert verify(Certificate.from_json(found.certificate.to_json()), graph).value == found.upper


@pytest.mark.parametrize("kind", CAPS)
def test_the_cap_of_many_classes_is_exact(kind: str) -> None:
    found = lipcert.bound(nn.sequential(nn.linear(np.eye(30)), nn.activation(kind, 30)), norm="inf", lower=False)
    assert CAPS[kind] * (1.0 - 1e-12) <= found.upper <= CAPS[kind] * (1.0 + 1e-9)
    assert found.method == "head"


def test_margins_of_a_softmax_change_by_both_of_their_outputs() -> None:
    graph = nn.sequential(nn.linear(np.eye(20)), nn.softmax(20))
    found = lipcert.bound(graph, norm="inf", outputs="0-1,2", lower=False)
    # at p₀ = p₁ = ½ the margin attains 1
    assert 1.0 - 1e-12 <= found.upper <= 1.0 + 1e-9


def test_a_certificate_by_its_head_proves_no_less_and_nothing_else() -> None:
    rng = np.random.default_rng(3)
    graph, before = network(rng, "log_softmax", 20)
    certificate = lipcert.bound(graph, norm="inf", lower=False).certificate
    assert certificate is not None
    assert certificate.evidence == HEAD
    for wrong, about in (
        (replace(certificate, value=certificate.value * 0.999), graph),
        (replace(certificate, graph=before.fingerprint.hex()), before),
        (replace(certificate, scalings=()), graph),
        (replace(certificate, evidence="programs"), graph),
    ):
        with pytest.raises(CertificateRejected):
            verify(wrong, about)


def test_on_a_region_the_head_counts_too() -> None:
    graph = nn.sequential(nn.linear(np.eye(20)), nn.tanh(), nn.activation("log_softmax", 20))
    found = lipcert.bound(graph, norm="inf", region=lipcert.Box(1.0, 2.0), lower=False)
    slope = 1.0 / np.cosh(1.0) ** 2
    assert found.upper <= 2.0 * slope * (1.0 + 1e-6)
    assert found.certificate is not None
    verify(found.certificate, graph)
