"""Branch and bound: its bound is the maximum over all signs, its tree is proven at every moment, forged ones are refused."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lipcert
from lipcert.bounds.branch import Node, Tree, channels
from lipcert.bounds.branch import branch as grow
from lipcert.bounds.branch.channels import Channels
from lipcert.bounds.run import Run
from lipcert.bounds.settings import Settings
from lipcert.certificates import Certificate, verify
from lipcert.certificates.leaves import uncovered
from lipcert.constraints.interconnection import lower, signed_channels
from lipcert.errors import CertificateRejected, InvalidCertificate, InvalidRequest
from lipcert.graph import build as nn
from lipcert.graph.claim import Claim
from lipcert.graph.nodes import Graph
from lipcert.norms import Norm
from lipcert.sdp.outcome import Outcome, SolverOptions, Status
from lipcert.sdp.problem import Problem


def network(seed: int, layer: object | None = None, widths: tuple[int, ...] = (3, 4, 3, 2)) -> Graph:
    rng = np.random.default_rng(seed)
    layers: list[object] = []
    for n, m in itertools.pairwise(widths):
        layers += [nn.linear(rng.normal(size=(m, n)), rng.normal(size=m)), layer or nn.relu()]
    return nn.sequential(*layers[:-1])


def rooted(graph: Graph, claim: Claim) -> tuple[Graph, Certificate]:
    run = Run(graph, claim, Settings())
    certificate = run.run().certificate
    assert certificate is not None
    return run.prepared("comparators").graph, certificate


def branch(prepared: Graph, root: Certificate, **named: object) -> Tree:
    return grow(Channels.of(prepared, root.claim), root, **named)


def norm_of(J: np.ndarray, norm: Norm, output_norm: Norm) -> float:
    """‖J‖ by enumeration of the vertices of one ball."""
    order = {Norm.L1: 1, Norm.L2: 2, Norm.LINF: np.inf}
    if norm is Norm.L2 and output_norm is Norm.L2:
        return float(np.linalg.norm(J, 2))
    if norm is not Norm.L2:
        d = np.eye(J.shape[1]) if norm is Norm.L1 else np.array(list(itertools.product([-1, 1], repeat=J.shape[1]))).T
        return float(np.linalg.norm(J @ d, order[output_norm], axis=0).max())
    c = np.eye(len(J)) if output_norm is Norm.LINF else np.array(list(itertools.product([-1, 1], repeat=len(J)))).T
    return float(np.linalg.norm(J.T @ c, 2, axis=0).max())


def relaxed_maximum(graph: Graph, norm: Norm, output_norm: Norm) -> float:
    """The largest norm over all sign vectors."""
    channels = signed_channels(graph).size
    signs = (np.array(s) for s in itertools.product([-1, 1], repeat=channels))
    return max(norm_of(lower(graph, signs=s).Y, norm, output_norm) for s in signs)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("layer", [nn.relu(), nn.leaky_relu(0.3), nn.tanh()])
def test_the_closed_tree_is_the_maximum_over_all_signs(seed: int, layer: object) -> None:
    graph = network(seed, layer)
    prepared, root = rooted(graph, Claim())
    tree = branch(prepared, root)
    exact = relaxed_maximum(prepared, Norm.L2, Norm.L2)
    assert tree.status is Status.OPTIMAL
    assert exact <= tree.certificate.value <= min(root.value, exact * (1 + 1e-5))
    assert verify(tree.certificate, graph).value == tree.certificate.value


def test_programs_below_the_incumbent_are_not_solved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = network(4, widths=(3, 4, 4, 2))
    prepared, root = rooted(graph, Claim(output_norm=Norm.LINF))
    strategy = Channels.of(prepared, root.claim)
    node = strategy.root(root)
    low, high = sorted(scaling.value() for scaling in node.leaf.scalings)
    below = 0.5 * (low + high)
    spared = next(k for k, scaling in enumerate(node.leaf.scalings) if scaling.value() == low)
    targets = []
    solve = channels.solve

    def recorded(problem: Problem, options: SolverOptions) -> Outcome:
        outcome = solve(problem, options)
        targets.append(options.target)
        return outcome

    monkeypatch.setattr(channels, "solve", recorded)
    for child in strategy.children(node, below) or ():
        assert child.leaf.scalings[spared] is node.leaf.scalings[spared]
        assert child.leaf.at[spared] == 0
        assert child.leaf.at[1 - spared] in (0, 1)
    assert 2 <= len(targets) <= 4
    assert min(targets) > 0.0
    tree = branch(prepared, root, lower=below)
    assert tree.certificate.value <= root.value
    assert verify(tree.certificate, graph).value == tree.certificate.value


@pytest.mark.parametrize(("norm", "output_norm"), [(Norm.LINF, Norm.LINF), (Norm.L1, Norm.L2), (Norm.L2, Norm.LINF)])
def test_other_norms(norm: Norm, output_norm: Norm) -> None:
    graph = network(7)
    claim = Claim(norm, output_norm)
    prepared, root = rooted(graph, claim)
    tree = branch(prepared, root)
    exact = relaxed_maximum(prepared, norm, output_norm)
    # the program of one vector of signs is not exact for other norms than those of rows
    assert exact <= tree.certificate.value <= root.value
    if norm is not Norm.LINF:
        assert tree.certificate.value <= exact * (1 + 1e-5)
    assert verify(tree.certificate, graph).value == tree.certificate.value


@pytest.mark.slow
def test_five_hundred_networks() -> None:
    layers = [nn.relu(), nn.maxmin(), nn.leaky_relu(0.1), nn.abs()] if hasattr(nn, "abs") else [nn.relu(), nn.maxmin()]
    for seed in range(500):
        rng = np.random.default_rng(seed)
        widths = (int(rng.integers(2, 5)), *(2 * int(k) for k in rng.integers(1, 3, 2)), int(rng.integers(1, 4)))
        graph = network(seed, layers[seed % len(layers)], widths)
        prepared, root = rooted(graph, Claim())
        tree = branch(prepared, root)
        exact = relaxed_maximum(prepared, Norm.L2, Norm.L2)
        assert exact <= tree.certificate.value <= exact * (1 + 1e-6) + 1e-12, seed
        verify(tree.certificate, graph)


def test_sorting_network_of_the_paper_is_closed(shared_data: Path) -> None:
    """l2_2fc_16: all 256 patterns occur, and the constant is 22.021333."""
    with np.load(shared_data / "maxmin_mnist" / "l2_2fc_16.npz") as file:
        weights = [file[key].astype(np.float64) for key in sorted(file.files)]
    graph = nn.sequential(*[layer for w in weights for layer in (nn.linear(w), nn.maxmin())][:-1])
    prepared, root = rooted(graph, Claim())
    tree = branch(prepared, root)
    assert 22.0213329 <= tree.certificate.value <= 22.0213336
    assert tree.leaves <= 20


def test_a_leaf_that_cannot_be_improved_keeps_the_bound_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = network(1)
    prepared, root = rooted(graph, Claim())
    plain = Channels.node

    def worse(self: Channels, cuts: tuple[tuple[int, int], ...], *others: object) -> Node:
        node = plain(self, cuts)
        scalings = tuple(replace(s, m=2.0 * s.m) for s in node.leaf.scalings) if cuts else node.leaf.scalings
        leaf = replace(node.leaf, scalings=scalings)
        return replace(node, leaf=leaf, value=leaf.value)

    monkeypatch.setattr(Channels, "node", worse)
    rounds = itertools.count()

    def stop(step: object) -> None:
        if next(rounds) == 3:
            raise KeyboardInterrupt

    tree = branch(prepared, root, progress=stop)
    assert tree.status is Status.INTERRUPTED
    assert tree.certificate.value <= root.value
    verify(tree.certificate, graph)


@pytest.mark.parametrize("moment", [0, 1, 2, 5])
def test_an_interruption_between_rounds_leaves_a_proven_tree(moment: int) -> None:
    graph = network(11, widths=(4, 6, 4, 2))
    prepared, root = rooted(graph, Claim())
    rounds = itertools.count()

    def stop(step: object) -> None:
        if next(rounds) == moment:
            raise KeyboardInterrupt

    tree = branch(prepared, root, progress=stop)
    assert tree.leaves in (1, moment + 1)
    assert verify(tree.certificate, graph).value <= root.value


@pytest.mark.parametrize("moment", range(0, 60, 7))
def test_an_interruption_within_a_round_does_too(moment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anywhere within the work on a node, such as before the enclosure of a child."""
    graph = network(11, widths=(4, 6, 4, 2))
    prepared, root = rooted(graph, Claim())
    calls = itertools.count()
    plain = channels.lower

    def stop(*args: object, **named: object) -> object:
        if next(calls) == moment + 1:
            raise KeyboardInterrupt
        return plain(*args, **named)

    monkeypatch.setattr(channels, "lower", stop)
    tree = branch(prepared, root)
    assert verify(tree.certificate, graph).value <= root.value


def test_workers_find_the_same_bound() -> None:
    graph = network(12)
    prepared, root = rooted(graph, Claim())
    alone, together = branch(prepared, root), branch(prepared, root, jobs=2)
    assert together.certificate.value == pytest.approx(alone.certificate.value, rel=1e-6)
    verify(together.certificate, graph)


@pytest.fixture(scope="module")
def proven() -> tuple[Graph, Certificate]:
    graph = network(12)
    prepared, root = rooted(graph, Claim())
    certificate = branch(prepared, root).certificate
    assert len(certificate.leaves) > 2
    return graph, certificate


class TestCertificate:
    def test_its_file_holds_the_tree(self, proven: tuple[Graph, Certificate], tmp_path: Path) -> None:
        graph, certificate = proven
        certificate.save(tmp_path / "tree.json")
        read = Certificate.load(tmp_path / "tree.json")
        assert [leaf.cuts for leaf in read.leaves] == [leaf.cuts for leaf in certificate.leaves]
        assert verify(tmp_path / "tree.json", graph).value == certificate.value
        assert read.values(1) == certificate.values(1)

    def test_a_missing_leaf_is_noticed(self, proven: tuple[Graph, Certificate]) -> None:
        graph, certificate = proven
        for k in range(len(certificate.leaves)):
            leaves = certificate.leaves[:k] + certificate.leaves[k + 1 :]
            with pytest.raises(CertificateRejected, match="do not cover"):
                verify(replace(certificate, leaves=leaves), graph)

    def test_leaves_cannot_change_places(self, proven: tuple[Graph, Certificate]) -> None:
        """The worst leaf with the scalings of another one."""
        graph, certificate = proven
        leaves = sorted(certificate.leaves, key=lambda leaf: leaf.value)
        fitting = [leaf for leaf in leaves if len(leaf.cuts) == len(leaves[-1].cuts)]
        forged = replace(leaves[-1], scalings=tuple(replace(s, m=0.9 * s.m) for s in leaves[-1].scalings))
        assert fitting
        with pytest.raises(CertificateRejected, match="could not be shown"):
            verify(replace(certificate, leaves=(*leaves[:-1], forged)), graph)

    def test_a_smaller_value_is_refused(self, proven: tuple[Graph, Certificate]) -> None:
        graph, certificate = proven
        with pytest.raises(CertificateRejected, match="more than the claimed"):
            verify(replace(certificate, value=certificate.value * (1 - 1e-6)), graph)

    def test_a_turned_sign_is_refused(self, proven: tuple[Graph, Certificate]) -> None:
        graph, certificate = proven
        first = certificate.leaves[0]
        (group, sign), *rest = first.cuts
        turned = replace(first, cuts=((group, -sign), *rest))
        with pytest.raises(CertificateRejected):
            verify(replace(certificate, leaves=(turned, *certificate.leaves[1:])), graph)

    def test_leaves_and_scalings_together_are_refused(self, proven: tuple[Graph, Certificate]) -> None:
        graph, certificate = proven
        forged = replace(certificate, scalings=certificate.leaves[0].scalings)
        with pytest.raises(CertificateRejected, match="leaves and scalings"):
            verify(forged, graph)

    @pytest.mark.parametrize("cut", ["[0]", "[0, 1, 2]", "[true, 1]", "0", "[0.0, 1]", '["0", 1]'])
    def test_what_is_no_cut_is_unreadable(self, proven: tuple[Graph, Certificate], cut: str) -> None:
        import json

        document = json.loads(proven[1].to_json())
        document["leaves"][0]["cuts"][0] = json.loads(cut)
        with pytest.raises(InvalidCertificate, match="cut"):
            Certificate.from_json(json.dumps(document))


@pytest.mark.parametrize(
    ("leaves", "reason"),
    [
        ([()], None),
        ([((0, 1),), ((0, -1),)], None),
        ([((0, 1),)], "no leaf covers"),
        ([((0, 1),), ((0, 1),), ((0, -1),)], "above another"),
        ([(), ((0, 1),)], "above another"),
        ([((0, 1),), ((1, -1),)], "different places"),
        ([((0, 1),), ((0, 2),)], "neither"),
        ([((0, 1),), ((0, -1),), ((0, 0),)], "neither"),
        ([((2, 1),), ((2, -1),)], "no sign"),
        ([((5, 1),), ((5, -1),)], "no sign"),
        ([((-1, 1),), ((-1, -1),)], "no sign"),
        ([((0, 1), (0, 1)), ((0, 1), (0, -1)), ((0, -1),)], "twice"),
    ],
)
def test_cover(leaves: list[tuple[tuple[int, int], ...]], reason: str | None) -> None:
    found = uncovered(leaves, lambda place: None if place in ((0,), (1,)) else "no sign")
    assert found is None if reason is None else reason in str(found)


class TestBound:
    def test_branching_narrows_the_bound(self) -> None:
        graph = network(12)
        plain, narrowed = (lipcert.bound(graph, branch=how, lower_seconds=0.2) for how in (False, True))
        assert narrowed.lower <= narrowed.upper < plain.upper
        assert narrowed.leaves > 1
        assert 0 < narrowed.depth <= 7
        assert narrowed.certificate.value == narrowed.upper
        assert (plain.leaves, plain.depth) == (0, 0)
        verify(narrowed.certificate, graph)

    def test_each_output_keeps_its_bound(self) -> None:
        graph = network(12)
        plain, narrowed = (lipcert.bound(graph, outputs="each", branch=how, lower_seconds=0.2) for how in (False, True))
        for one, other in zip(plain.each, narrowed.each, strict=True):
            assert other.lower <= other.upper <= one.upper * (1 + 1e-8)

    def test_what_has_no_signs_says_so(self) -> None:
        graph = nn.sequential(nn.fixed_point([[0.5]], [[1.0]], [0.0], nn.relu()))
        found = lipcert.bound(graph, branch=1.0, lower=False)
        assert found.leaves == 0
        assert any("no channels with signs" in note for note in found.notes)

    @pytest.mark.parametrize("wrong", [{"branch": -1.0}, {"branch": True, "gap": -1.0}])
    def test_nothing_is_negative(self, wrong: dict[str, float]) -> None:
        with pytest.raises(InvalidRequest, match="negative"):
            lipcert.bound(network(0), **wrong)
