"""Every selected output has a tree of its own: each of them closes, and the parts of the certificate are checked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import lipcert
from lipcert.certificates import Certificate
from lipcert.errors import CertificateRejected, InvalidCertificate, InvalidRequest
from lipcert.graph import build as nn
from lipcert.graph.nodes import Graph
from lipcert.regions import Box

GAP = 1e-2


def network(seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    layers = []
    for out, into in ((4, 2), (3, 4), (2, 3)):
        layers += [nn.linear(rng.standard_normal((out, into)), rng.standard_normal(out)), nn.relu()]
    return nn.sequential(*layers[:-1])


@pytest.fixture(scope="module")
def closed() -> tuple[lipcert.Bound, Graph]:
    graph = network(3)
    found = lipcert.bound(graph, outputs="each", region=Box(-1.0, 1.0), branch=True, gap=GAP, lower_seconds=0.1)
    return found, graph


def test_every_output_is_closed(closed: tuple[lipcert.Bound, Graph]) -> None:
    found, _ = closed
    assert [item.upper / item.lower <= 1.0 + GAP for item in found.each] == [True] * 2
    assert found.upper == max(item.upper for item in found.each)
    assert found.leaves > 2
    assert found.depth > 0


def test_the_certificate_is_checked_part_by_part(closed: tuple[lipcert.Bound, Graph]) -> None:
    found, graph = closed
    certificate = found.certificate
    assert certificate is not None
    again = Certificate.from_json(certificate.to_json())
    assert again.to_json() == certificate.to_json()
    assert lipcert.verify(again, graph).value == found.upper
    assert again.values(2) == [item.upper for item in found.each]
    assert len(again.parts) > 1


def test_forged_parts_are_refused(closed: tuple[lipcert.Bound, Graph]) -> None:
    found, graph = closed
    certificate = found.certificate
    assert certificate is not None
    parts = certificate.parts
    least = min(parts, key=lambda part: part.value)
    forged = {
        "more than the claimed": replace(certificate, value=certificate.value * 0.999),
        "no part is about output": replace(certificate, parts=(least,)),
        "is about something else": replace(
            certificate, parts=(*parts, replace(parts[1], claim=replace(parts[1].claim, region=None)))
        ),
        "holds parts, and scalings": replace(certificate, scalings=parts[0].scalings),
        "part 1": replace(certificate, parts=(parts[0], replace(parts[1], value=parts[1].value * 0.9), *parts[2:])),
    }
    for reason, other in forged.items():
        with pytest.raises(CertificateRejected, match=reason):
            lipcert.verify(other, graph)
    with pytest.raises(InvalidRequest, match="exact check"):
        lipcert.verify(certificate, graph, exact=True)
    nested = replace(certificate, parts=(certificate,))
    with pytest.raises(InvalidCertificate, match="parts"):
        Certificate.from_json(nested.to_json())


def test_without_time_the_certificate_stays() -> None:
    found = lipcert.bound(network(4), outputs="each", branch=0.0, branch_on="channels", lower=False)
    assert found.status.value == "time_limit"
    assert found.certificate is not None
    assert not found.certificate.parts
    assert lipcert.verify(found.certificate, network(4)).value == found.upper
