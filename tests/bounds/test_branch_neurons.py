"""Cuts at neurons: the closed tree is the maximum over the patterns that occur, and forged trees are refused."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog

import lipcert
from lipcert.bounds.branch import Tree, branch, neurons
from lipcert.bounds.branch.neurons import Neurons
from lipcert.bounds.run import Run
from lipcert.bounds.settings import Settings
from lipcert.certificates import Certificate, verify
from lipcert.errors import CertificateRejected, DoesNotApply, InvalidRequest
from lipcert.graph import build as nn
from lipcert.graph.claim import Claim
from lipcert.graph.nodes import Graph
from lipcert.norms import Norm
from lipcert.regions import Ball, Box
from lipcert.sdp.outcome import Status


def network(seed: int, layer: object | None = None, widths: tuple[int, ...] = (3, 4, 3, 2)) -> Graph:
    rng = np.random.default_rng(seed)
    layers: list[object] = []
    for n, m in itertools.pairwise(widths):
        layers += [nn.linear(rng.normal(size=(m, n)), 0.5 * rng.normal(size=m)), layer or nn.relu()]
    return nn.sequential(*layers[:-1])


def weights(seed: int, widths: tuple[int, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(m, n)), 0.5 * rng.normal(size=m)) for n, m in itertools.pairwise(widths)]


def grown(graph: Graph, claim: Claim, **named: object) -> Tree:
    region = claim.region and claim.region.fitted(graph.input_size)
    claim = replace(claim, region=region)
    certificate = Run(graph, claim, Settings()).run().certificate or Certificate.bare(
        graph, claim, "comparators", np.inf
    )
    return branch(Neurons.of(graph, claim, "comparators"), certificate, **named)


def norm_of(J: np.ndarray, norm: Norm) -> float:
    return float(np.linalg.norm(J, {Norm.L1: 1, Norm.L2: 2, Norm.LINF: np.inf}[norm]))


def by_enumeration(seed: int, widths: tuple[int, ...], slope: float, box: Box | None, norm: Norm) -> float:
    """The largest norm over all patterns that occur with room, by one linear program each."""
    layers = weights(seed, widths)
    n, hidden = widths[0], sum(widths[1:-1])
    ends = (
        [(None, None)] * n
        if box is None
        else list(zip(*np.broadcast_arrays(box.low, box.high, np.zeros(n))[:2], strict=True))
    )
    best = 0.0
    for pattern in itertools.product((0, 1), repeat=hidden):
        A, b = np.eye(n), np.zeros(n)
        rows, at = [], 0
        for k, (W, c) in enumerate(layers):
            A, b = W @ A, W @ b + c
            if k < len(layers) - 1:
                on = np.array(pattern[at : at + len(b)])
                at += len(b)
                sign = 2.0 * on - 1.0
                rows.append(np.hstack([sign[:, None] * A, (sign * b)[:, None]]))
                A, b = np.where(on, 1.0, slope)[:, None] * A, np.where(on, 1.0, slope) * b
        value = norm_of(A, norm)
        if value <= best:
            continue
        table = np.vstack(rows)
        size = np.maximum(np.linalg.norm(table[:, :n], axis=1), 1e-30)
        found = linprog(
            np.append(np.zeros(n), -1.0),
            A_ub=np.hstack([-table[:, :n] / size[:, None], np.ones((len(table), 1))]),
            b_ub=table[:, n] / size,
            bounds=[*ends, (None, 1.0)],
        )
        if found.status == 0 and found.x[-1] > 1e-9:
            best = value
    return best


def check(seed: int, slope: float, box: Box | None, norm: Norm, widths: tuple[int, ...]) -> Tree:
    layer = nn.relu() if slope == 0.0 else nn.leaky_relu(slope)
    graph = network(seed, layer, widths)
    tree = grown(graph, Claim(norm, norm, region=box))
    exact = by_enumeration(seed, widths, slope, box, norm)
    assert exact <= tree.certificate.value <= exact * (1.0 + 1e-6) + 1e-200, (seed, slope, box, norm)
    assert tree.lower is None or tree.lower.value <= tree.certificate.value
    assert verify(tree.certificate, graph).value == tree.certificate.value
    return tree


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF, Norm.L1])
@pytest.mark.parametrize("box", [Box(-0.7, 0.9), None], ids=["box", "everywhere"])
def test_the_closed_tree_is_the_maximum_over_all_patterns(seed: int, norm: Norm, box: Box | None) -> None:
    check(seed, (0.0, 0.2)[seed % 2], box, norm, (2, 3, 3, 2))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_five_hundred_networks() -> None:
    for seed in range(500):
        rng = np.random.default_rng(seed)
        widths = (int(rng.integers(1, 5)), *(int(k) for k in rng.integers(2, 5, 2)), int(rng.integers(1, 4)))
        radius = float(rng.uniform(0.1, 2.0))
        box = None if seed % 3 == 0 else Box(-radius, radius)
        check(seed, (0.0, 0.2, -0.5)[seed % 3], box, list(Norm)[seed % 3], widths)


@pytest.mark.parametrize("layer", [nn.maxmin(), nn.clip(-1.0, 1.0), nn.abs_()])
@pytest.mark.parametrize("region", [Box(-1.0, 1.0), Ball([0.1, 0.2, 0.0], 1.0), None])
def test_other_activations_close_between_the_bounds(layer: object, region: Box | Ball | None) -> None:
    graph = network(21, layer, (3, 4, 2))
    found = lipcert.bound(graph, region=region, branch=True, branch_on="neurons", gap=1e-6, lower_seconds=0.1)
    assert found.status is Status.OPTIMAL
    assert found.lower <= found.upper <= found.lower * (1.0 + 2e-6)
    verify(found.certificate, graph)


def test_infeasible_cells_are_cut_off_and_matter() -> None:
    """One number keeps two neurons from being active together; signs alone cannot know."""
    graph = nn.sequential(
        nn.linear([[1.0, 0.6], [-1.0, -0.6]], [-0.2, -0.2]), nn.relu(), nn.linear([[1.0, -1.0], [1.0, 1.0]])
    )
    for region in (Box(-1.0, 1.0), None):
        exact = lipcert.bound(graph, region=region, branch=True, branch_on="neurons", lower=False)
        signs = lipcert.bound(graph, region=region, branch=True, branch_on="channels", lower=False)
        assert exact.upper == pytest.approx(np.sqrt(2.0 * 1.36), rel=1e-9)
        assert signs.upper == pytest.approx(2.0 * np.sqrt(1.36), rel=1e-6)
    assert any(leaf.weights is not None for leaf in exact.certificate.leaves)


def test_each_output_and_margins() -> None:
    graph = network(5)
    found = lipcert.bound(graph, region=Box(-0.5, 0.5), outputs="each", branch=True, lower_seconds=0.1)
    apart = [
        lipcert.bound(graph, region=Box(-0.5, 0.5), outputs=[k], branch=True, gap=1e-6, lower_seconds=0.1)
        for k in (0, 1)
    ]
    assert found.upper == pytest.approx(max(one.upper for one in apart), rel=2e-3)
    for own, one in zip(found.each, apart, strict=True):
        assert own.upper >= one.lower
    verify(found.certificate, graph)


def test_workers_find_the_same_bound() -> None:
    graph = network(6, widths=(3, 4, 3, 2))
    alone, together = (grown(graph, Claim(region=Box(-1.0, 1.0)), jobs=jobs) for jobs in (None, 2))
    assert together.certificate.value == pytest.approx(alone.certificate.value, rel=1e-9)
    assert verify(together.certificate, graph, jobs=2).value == together.certificate.value


@pytest.mark.parametrize("moment", [0, 1, 3, 6])
def test_an_interruption_leaves_a_proven_tree(moment: int) -> None:
    graph = network(11, widths=(3, 5, 4, 2))
    rounds = itertools.count()

    def stop(step: object) -> None:
        if next(rounds) == moment:
            raise KeyboardInterrupt

    tree = grown(graph, Claim(region=Box(-1.0, 1.0)), progress=stop)
    assert tree.leaves in (1, moment + 1)
    assert verify(tree.certificate, graph).value == tree.certificate.value


class TestRefused:
    def test_smooth_networks(self) -> None:
        with pytest.raises(DoesNotApply, match="piecewise linear"):
            grown(network(1, nn.tanh()), Claim(region=Box(-1.0, 1.0)))

    def test_increments_from_a_centre(self) -> None:
        with pytest.raises(DoesNotApply, match="centre"):
            grown(network(1), Claim(region=Ball([0.0, 0.0, 0.0], 1.0), anchored=True))

    def test_unknown_names(self) -> None:
        with pytest.raises(InvalidRequest, match="branched on"):
            lipcert.bound(network(1), branch=True, branch_on="leaves")


@pytest.fixture(scope="module", params=["box", "everywhere"])
def proven(request: pytest.FixtureRequest) -> tuple[Graph, Certificate]:
    graph = network(30, widths=(2, 4, 3, 2))
    certificate = grown(graph, Claim(region=Box(-1.0, 1.0) if request.param == "box" else None)).certificate
    assert len(certificate.leaves) > 3
    return graph, certificate


class TestCertificate:
    def test_its_file_holds_the_tree(self, proven: tuple[Graph, Certificate], tmp_path: Path) -> None:
        graph, certificate = proven
        certificate.save(tmp_path / "tree.json")
        read = Certificate.load(tmp_path / "tree.json")
        assert [leaf.cuts for leaf in read.leaves] == [leaf.cuts for leaf in certificate.leaves]
        assert [leaf.open for leaf in read.leaves] == [leaf.open for leaf in certificate.leaves]
        assert verify(tmp_path / "tree.json", graph).value == certificate.value
        assert read.values(1) == certificate.values(1)

    def forged(self, certificate: Certificate, k: int, **changes: object) -> Certificate:
        leaves = list(certificate.leaves)
        leaves[k] = replace(leaves[k], **changes)
        return replace(certificate, leaves=tuple(leaves))

    def test_a_missing_leaf_is_noticed(self, proven: tuple[Graph, Certificate]) -> None:
        graph, certificate = proven
        for k in range(0, len(certificate.leaves), 2):
            with pytest.raises(CertificateRejected, match="do not cover"):
                verify(replace(certificate, leaves=certificate.leaves[:k] + certificate.leaves[k + 1 :]), graph)

    def test_a_leaf_with_points_cannot_be_cut_off(self, proven: tuple[Graph, Certificate]) -> None:
        graph, certificate = proven
        k = next(k for k, leaf in enumerate(certificate.leaves) if leaf.weights is None)
        count = len(certificate.leaves[k].cuts)
        for weights in (np.zeros(0), np.ones(count), np.ones(count + 2)):
            with pytest.raises(CertificateRejected, match="do not contradict"):
                verify(self.forged(certificate, k, weights=weights), graph)

    def test_other_weights_are_refused(self, proven: tuple[Graph, Certificate]) -> None:
        graph, certificate = proven
        k = next(k for k, leaf in enumerate(certificate.leaves) if leaf.weights is not None and leaf.weights.size)
        with pytest.raises(CertificateRejected, match="do not contradict"):
            verify(self.forged(certificate, k, weights=0.0 * certificate.leaves[k].weights), graph)

    def test_an_open_neuron_cannot_be_left_out(self, proven: tuple[Graph, Certificate]) -> None:
        graph, certificate = proven
        k = next(k for k, leaf in enumerate(certificate.leaves) if leaf.open and leaf.open[0])
        with pytest.raises(CertificateRejected, match="open neurons"):
            verify(self.forged(certificate, k, open=tuple(part[1:] for part in certificate.leaves[k].open)), graph)

    def test_a_scaling_is_for_its_place_in_the_tree(self, proven: tuple[Graph, Certificate]) -> None:
        graph, certificate = proven
        bounded = [k for k, leaf in enumerate(certificate.leaves) if leaf.weights is None]
        k = max(bounded, key=lambda k: certificate.leaves[k].value)
        smaller = tuple(replace(s, m=0.9 * s.m) for s in certificate.leaves[k].scalings)
        with pytest.raises(CertificateRejected, match="could not be shown"):
            verify(self.forged(certificate, k, scalings=smaller), graph)
        k = next(k for k in bounded if certificate.leaves[k].at[0] > 0)
        with pytest.raises(CertificateRejected):
            verify(self.forged(certificate, k, at=(0,) * len(certificate.leaves[k].at)), graph)

    @pytest.mark.parametrize("cut", [(0, 0, 0), (1, 0, 0), (2, 99, 0), (2, 0, 1), (2, 0, -1), (99, 0, 0)])
    def test_only_kinks_are_cut(self, proven: tuple[Graph, Certificate], cut: tuple[int, int, int]) -> None:
        graph, certificate = proven
        leaves = tuple(replace(certificate.leaves[0], cuts=((*cut, side),)) for side in (1, -1))
        with pytest.raises(CertificateRejected, match="do not cover"):
            verify(replace(certificate, leaves=leaves), graph)

    def test_kinds_are_not_mixed(self, proven: tuple[Graph, Certificate]) -> None:
        graph, certificate = proven
        with pytest.raises(CertificateRejected, match="one kind"):
            verify(self.forged(certificate, 0, cuts=((0, 1),)), graph)


@pytest.mark.parametrize(
    ("name", "norm", "exact"),
    [
        ("lipbab_iris_net_4_5_5_3", 2, 6.771455),
        ("lipbab_SDnet_10_15_10_3", "inf", 16.27481),
        ("lipbab_SDnet_10_20_15_10_3", 2, 40.05651),
    ],
)
def test_constants_of_the_literature(shared_data: Path, name: str, norm: object, exact: float) -> None:
    with np.load(shared_data / "local" / f"{name}__paper.npz") as file:
        region = Box(file["low"], file["high"])
    found = lipcert.bound(shared_data / "local" / f"{name}.onnx", norm=norm, region=region, branch=60.0, gap=1e-5)
    assert found.lower <= found.upper <= found.lower * (1.0 + 1.1e-5)
    assert found.upper == pytest.approx(exact, rel=2e-5)


def interrupted(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C at some call within the work on some node."""
    rng = np.random.default_rng(seed)
    graph = network(seed, (nn.relu(), nn.leaky_relu(0.3))[seed % 2], (2, 4, 3, 2))
    claim = Claim(region=(Box(-1.0, 1.0).fitted(2), None)[seed // 2 % 2])
    name = ("part", "solve", "lower", "inner_point")[seed % 4]
    plain, moment, calls = getattr(neurons, name), int(rng.integers(0, 12)), itertools.count()

    def stop(*args: object, **named: object) -> object:
        if next(calls) == moment:
            raise KeyboardInterrupt
        return plain(*args, **named)

    certificate = Run(graph, claim, Settings()).run().certificate
    assert certificate is not None
    with monkeypatch.context() as patch:
        patch.setattr(neurons, name, stop)
        tree = branch(Neurons.of(graph, claim, "comparators"), certificate)
    assert tree.certificate.value <= certificate.value
    assert verify(tree.certificate, graph).value == tree.certificate.value


@pytest.mark.parametrize("seed", range(3))
def test_an_interruption_within_a_node_leaves_a_proven_tree(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(seed, monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hundred_interruptions(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(200):
        interrupted(seed, monkeypatch)
