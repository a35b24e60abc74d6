"""Parts of the inputs: proven, close to the truth on smooth networks, and refused where they are forged."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lipcert
from lipcert.bounds.branch import branch
from lipcert.bounds.branch.inputs import Inputs
from lipcert.certificates import Certificate, verify
from lipcert.certificates.leaves import InputCut
from lipcert.errors import CertificateRejected, DoesNotApply
from lipcert.graph import build as nn
from lipcert.graph.claim import Claim
from lipcert.graph.evaluate import jvp
from lipcert.graph.nodes import Graph
from lipcert.norms import Norm
from lipcert.regions import Ball, Box


def network(seed: int, layer: object | None = None, widths: tuple[int, ...] = (2, 5, 2)) -> Graph:
    rng = np.random.default_rng(seed)
    layers: list[object] = []
    for n, m in itertools.pairwise(widths):
        layers += [nn.linear(rng.normal(size=(m, n)), 0.5 * rng.normal(size=m)), layer or nn.tanh()]
    return nn.sequential(*layers[:-1])


@pytest.mark.parametrize("region", [Box([-0.2, -0.1], [0.1, 0.2]), Ball([0.1, -0.2], 0.15)], ids=["box", "ball"])
def test_both_bounds_meet_on_a_smooth_network(region: Box | Ball) -> None:
    graph = network(1, widths=(2, 3, 2))
    norm = Norm.LINF
    found = lipcert.bound(graph, norm=norm, region=region, branch=60.0, branch_on="inputs", gap=2e-3, lower_seconds=0.1)
    assert found.lower <= found.upper <= found.lower * 1.0021
    points = region.sample(2000, np.random.default_rng(0), 2)
    columns = [jvp(graph, points, np.repeat(np.eye(2)[:, k : k + 1], 2000, axis=1)) for k in (0, 1)]
    J = np.stack(columns, axis=2).transpose(1, 0, 2)
    assert max(np.linalg.norm(j, np.inf) for j in J) <= found.upper
    if found.leaves:
        verify(found.certificate, graph)


def test_it_is_chosen_for_smooth_networks_of_few_inputs() -> None:
    graph = network(2)
    found = lipcert.bound(graph, norm="inf", region=Box(-0.5, 0.5), branch=20.0, gap=2e-2, lower_seconds=0.1)
    assert found.leaves > 1
    assert all(len(cut) == 3 for leaf in found.certificate.leaves for cut in leaf.cuts)


def test_the_input_that_matters_is_cut() -> None:
    graph = nn.sequential(nn.linear([[3.0, 1e-3]]), nn.tanh())
    strategy = Inputs.of(graph, Claim(region=Box(-1.0, 1.0).fitted(2)), "comparators")
    root = strategy.root(Certificate.bare(graph, strategy.grounds.claim, "comparators", np.inf))
    assert root.split == (0, 0.0)


@pytest.mark.parametrize("claim", [Claim(), Claim(region=Box([0.0, -np.inf], 1.0))])
def test_an_unbounded_region_has_no_parts(claim: Claim) -> None:
    with pytest.raises(DoesNotApply, match="bounded"):
        Inputs.of(network(1), claim, "comparators")


@pytest.mark.parametrize("moment", [0, 1, 4])
def test_an_interruption_leaves_a_proven_tree(moment: int) -> None:
    graph = network(3)
    claim = Claim(Norm.LINF, Norm.LINF, region=Box(-0.5, 0.5).fitted(2))
    rounds = itertools.count()

    def stop(step: object) -> None:
        if next(rounds) == moment:
            raise KeyboardInterrupt

    bare = Certificate.bare(graph, claim, "comparators", np.inf)
    tree = branch(Inputs.of(graph, claim, "comparators"), bare, progress=stop)
    assert tree.leaves == moment + 1
    assert verify(tree.certificate, graph).value == tree.certificate.value


@pytest.fixture(scope="module")
def proven() -> tuple[Graph, Certificate]:
    graph = network(4)
    claim = Claim(Norm.LINF, Norm.LINF, region=Box(-0.5, 0.5).fitted(2))
    bare = Certificate.bare(graph, claim, "comparators", np.inf)
    rounds = itertools.count()

    def stop(step: object) -> None:
        if next(rounds) == 5:
            raise KeyboardInterrupt

    return graph, branch(Inputs.of(graph, claim, "comparators"), bare, progress=stop).certificate


class TestCertificate:
    def test_its_file_holds_the_tree(self, proven: tuple[Graph, Certificate], tmp_path: Path) -> None:
        graph, certificate = proven
        certificate.save(tmp_path / "parts.json")
        read = Certificate.load(tmp_path / "parts.json")
        assert [leaf.cuts for leaf in read.leaves] == [leaf.cuts for leaf in certificate.leaves]
        assert verify(tmp_path / "parts.json", graph, jobs=2).value == certificate.value

    def test_a_smaller_value_is_refused(self, proven: tuple[Graph, Certificate]) -> None:
        graph, certificate = proven
        with pytest.raises(CertificateRejected, match="entries of the Jacobian"):
            verify(replace(certificate, value=certificate.value * (1 - 1e-6)), graph)

    def test_a_missing_part_is_noticed(self, proven: tuple[Graph, Certificate]) -> None:
        graph, certificate = proven
        for k in range(len(certificate.leaves)):
            with pytest.raises(CertificateRejected, match="do not cover"):
                verify(replace(certificate, leaves=certificate.leaves[:k] + certificate.leaves[k + 1 :]), graph)

    @pytest.mark.parametrize("cut", [(2, 0.0), (-1, 0.0), (0, float("inf"))])
    def test_what_is_no_place_is_refused(self, proven: tuple[Graph, Certificate], cut: tuple[int, float]) -> None:
        graph, certificate = proven
        with pytest.raises(CertificateRejected, match="do not cover"):
            verify(replace(certificate, leaves=self.pair(certificate, cut)), graph)

    def test_a_cut_beside_the_region_is_refused(self, proven: tuple[Graph, Certificate]) -> None:
        graph, certificate = proven
        with pytest.raises(CertificateRejected, match="empty"):
            verify(replace(certificate, value=1e9, leaves=self.pair(certificate, (0, 7.0))), graph)

    def test_other_evidence_is_refused(self, proven: tuple[Graph, Certificate]) -> None:
        graph, certificate = proven
        with pytest.raises(CertificateRejected, match="evidence"):
            verify(replace(certificate, evidence="programs"), graph)

    @staticmethod
    def pair(certificate: Certificate, place: tuple[int, float]) -> tuple[object, ...]:
        cuts: list[InputCut] = [(*place, -1), (*place, 1)]
        return tuple(replace(certificate.leaves[0], cuts=(cut,), at=(1,)) for cut in cuts)


def test_tanh_on_a_box(shared_data: Path) -> None:
    with np.load(shared_data / "local" / "own_tanh_4_16_16_3__eps0.05.npz") as file:
        region = Box(file["low"], file["high"])
    model = shared_data / "local" / "own_tanh_4_16_16_3.onnx"
    found = lipcert.bound(model, norm="inf", region=region, branch=60.0, gap=3e-3)
    assert 3.92420433 <= found.upper <= 3.94
    assert found.lower <= found.upper
