"""Margins on balls that are cut at neurons: sound against counterexamples, tight on small networks, checked from a file."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from click.testing import CliRunner

import lipcert
from lipcert import budget
from lipcert.bounds.branch.positive import cells_of
from lipcert.bounds.nearby import Local
from lipcert.bounds.robustness import robustness
from lipcert.certificates.classes import ClassCertificate, verify_classes
from lipcert.certificates.nearby import LocalProof, Nearby, Split
from lipcert.certificates.values import margins_at
from lipcert.cli import cli
from lipcert.errors import CertificateRejected, InvalidRequest
from lipcert.graph import build as nn
from lipcert.graph.evaluate import forward
from lipcert.graph.nodes import Graph
from lipcert.norms import Norm

ACTIVATIONS = {
    "relu": nn.relu,
    "maxmin": nn.maxmin,
    "leaky_relu": lambda: nn.activation("leaky_relu", 1, alpha=np.array([0.1])),
    "clip": lambda: nn.activation("clip", 1, low=np.array([0.0]), high=np.array([1.0])),
}


NONE = Split((), ())


def without(split: Split, i: int) -> Split:
    return Split(split.cells[:i] + split.cells[i + 1 :], split.weights[:i] + split.weights[i + 1 :])


def classifier(kind: str, seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    layers = []
    for k, (a, b) in enumerate(itertools.pairwise((2, 8, 8, 3))):
        layers += [ACTIVATIONS[kind]()] if k else []
        layers.append(nn.linear(2.0 * rng.standard_normal((b, a)) / np.sqrt(a), 0.5 * rng.standard_normal(b)))
    return nn.sequential(*layers)


def grid(x: np.ndarray, radius: float, norm: Norm) -> np.ndarray:
    """Points of a ball in the plane, its corners among them."""
    axis = np.linspace(-radius, radius, 301)
    points = np.stack(np.meshgrid(x[0] + axis, x[1] + axis)).reshape(2, -1)
    return points if norm is Norm.LINF else points[:, np.linalg.norm(points - x[:, None], axis=0) <= radius]


@pytest.mark.parametrize(
    ("kind", "norm"), [*((kind, Norm.LINF) for kind in ACTIVATIONS), ("relu", Norm.L2), ("relu", Norm.L1)]
)
def test_a_margin_is_proven_or_there_is_a_counterexample(kind: str, norm: Norm) -> None:
    harder = failed = 0
    for seed in range(2):
        graph = classifier(kind, seed)
        x = np.random.default_rng(seed).uniform(-0.5, 0.5, 2)
        c = int(forward(graph, x).argmax())
        for radius in (0.3, 0.6):
            ball = Nearby(graph, x, radius, norm, None, c)
            y = forward(graph, grid(x, radius, norm))
            for k, rival in enumerate(ball.rivals):
                if ball.low[k] > 0.0:
                    continue
                least = float((y[c] - y[rival]).min())
                split = cells_of(ball, k, 0.0, 60.0)
                if split is None:
                    failed += 1
                    assert least < 0.02 * np.abs(y).max()
                else:
                    harder += 1
                    assert least > 0.0
                    assert ball.by_cells(k, split)
    assert harder + failed > 0


def split_ball() -> tuple[Nearby, int, Split]:
    """A margin that takes several cells, some of them with weights."""
    graph = classifier("relu", 0)
    x = np.random.default_rng(0).uniform(-0.5, 0.5, 2)
    ball = Nearby(graph, x, 0.5, Norm.LINF, None, int(forward(graph, x).argmax()))
    split = cells_of(ball, 1, 0.0, 60.0)
    assert split is not None
    return ball, 1, split


def test_cells_that_do_not_cover_the_ball_prove_nothing() -> None:
    ball, k, split = split_ball()
    assert ball.by_cells(k, split)
    for i, cuts in enumerate(split.cells):
        rest = without(split, i)
        assert not ball.by_cells(k, rest)
        turned = (*cuts[:-1], cuts[-1]._replace(side=-cuts[-1].side))
        elsewhere = (*cuts[:-1], cuts[-1]._replace(neuron=999))
        for wrong in (cuts[:-1], turned, elsewhere):
            assert not ball.by_cells(k, Split((*rest.cells, wrong), (*rest.weights, split.weights[i])))
        assert not ball.by_cells(k, Split((*split.cells, cuts), (*split.weights, split.weights[i])))
        assert not ball.by_cells(k, Split(split.cells, rest.weights))
    assert not ball.by_cells(k, NONE)
    assert not ball.by_cells(k, Split(((),), (None,)))


def test_weights_that_prove_nothing_are_rejected() -> None:
    """Those that matter cannot be left out, nor be negative, unbounded or of another number."""
    ball, k, split = split_ball()
    weighed = [i for i, weights in enumerate(split.weights) if weights is not None]
    assert weighed
    for i in weighed[:2]:
        weights = split.weights[i]
        assert weights is not None
        for wrong in (None, 0.0 * weights, -weights, np.inf * (1.0 + weights), weights[1:], np.append(weights, 0.0)):
            changed = Split(split.cells, (*split.weights[:i], wrong, *split.weights[i + 1 :]))
            assert not ball.by_cells(k, changed)


def test_cells_of_a_larger_ball_prove_nothing() -> None:
    ball, k, split = split_ball()
    far = Nearby(ball.graph, ball.centre, 3.0 * ball.radius, ball.norm, None, ball.c)
    assert not far.by_cells(k, split)


def test_cells_are_read_strictly() -> None:
    ball, _, split = split_ball()
    proof = LocalProof(ball.radius, ball.found(), ("range", split))
    text = json.dumps(proof.to_json())
    again = LocalProof.from_json(json.loads(text))
    assert json.dumps(again.to_json()) == text
    assert again.source == "branched"
    for wrong in (
        [[[1, 0, 0]], None],
        [[[1, 0, 0, 1.0]], None],
        [[[1, 0, 0, True]], None],
        ["x", None],
        [[], "y"],
        [[]],
    ):
        item = proof.to_json()
        item["margins"][1] = {"branched": [wrong]}
        with pytest.raises((ValueError, TypeError)):
            LocalProof.from_json(item)


def test_time_ends_the_cuts() -> None:
    ball, k, _ = split_ball()
    assert cells_of(ball, k, 0.0, 0.0) is None
    smooth = nn.sequential(nn.linear([[1.0, 2.0], [2.0, -1.0]]), nn.tanh(), nn.linear([[1.0, 0.0], [0.0, 1.0]]))
    assert cells_of(Nearby(smooth, np.zeros(2), 1.0, Norm.LINF, None, 0), 0, 0.0, 9.0) is None


def test_what_is_left_of_all_the_time_ends_them_too() -> None:
    ball, _, _ = split_ball()
    local = Local(ball.graph, ball.norm, branch=60.0)
    gaps = margins_at(ball.graph, ball.centre[None])[1][0]
    found = local.at(ball.centre, ball.c, gaps, ball.radius)
    assert found is not None
    assert found.source == "branched"
    with budget.within(0.0):
        assert local.at(ball.centre, ball.c, gaps, ball.radius) is None


def test_robustness_branches_on_what_is_left() -> None:
    graph = classifier("relu", 2)
    points = np.random.default_rng(5).uniform(-0.5, 0.5, (8, 2))
    plain = robustness(graph, points, norm="inf", at=0.1)
    found = robustness(graph, points, norm="inf", at=0.1, branch=60.0, attack=True)
    assert found.statuses.count("certified") > plain.statuses.count("certified")
    assert "open" not in found.statuses
    assert "branched" in [item.source for item in found.found]
    certificate = ClassCertificate.from_json(found.certificate.to_json())
    assert verify_classes(certificate, graph).samples == int((found.radii > 0.0).sum())
    for k, sample in enumerate(certificate.samples):
        if sample.local is None or sample.local.source != "branched":
            continue
        margins = tuple(without(item, 0) if isinstance(item, Split) else item for item in sample.local.margins)
        wrong = replace(sample, local=replace(sample.local, margins=margins))
        changed = replace(certificate, samples=(*certificate.samples[:k], wrong, *certificate.samples[k + 1 :]))
        with pytest.raises(CertificateRejected, match=f"sample {k}"):
            verify_classes(changed, graph)
    for item, x in zip(found.found, points, strict=True):
        if item.counterexample is not None:
            assert margins_at(graph, item.counterexample[None])[0] != forward(graph, x).argmax()
    with pytest.raises(InvalidRequest, match="seconds"):
        robustness(graph, points, at=0.1, branch=-1.0)


def test_command_line(tmp_path) -> None:
    graph = classifier("relu", 2)
    lipcert.save(graph, tmp_path / "model.onnx")
    np.save(tmp_path / "x.npy", np.random.default_rng(5).uniform(-0.5, 0.5, (4, 2)))
    arguments = ["robustness", str(tmp_path / "model.onnx"), str(tmp_path / "x.npy"), "--norm", "inf", "--at", "0.1"]
    files = ["--certificate", str(tmp_path / "c.json"), "--json"]
    ran = CliRunner().invoke(cli, [*arguments, "--branch", "30", *files])
    assert ran.exit_code == 0, ran.output
    assert {item["source"] for item in json.loads(ran.stdout)["each"]} <= {"global", "range", "anchored", "branched"}
    checked = CliRunner().invoke(cli, ["verify", str(tmp_path / "c.json"), str(tmp_path / "model.onnx")])
    assert checked.exit_code == 0, checked.output


def test_the_bound_of_a_margin_is_rounded_down() -> None:
    ball, k, split = split_ball()
    cell = ball.cells.cell(max(split.cells, key=len))
    a, t = ball.against(cell, k)
    rng = np.random.default_rng(0)
    for scale in 2.0 ** rng.uniform(-3.0, 3.0, 40):
        weights = scale * rng.uniform(size=cell.inside.offsets.size)
        most = Fraction(float(cell.inside.combined(a[None], weights[None])[0])) + Fraction(t)
        assert Fraction(-ball.on_cell(cell, k, weights)) >= most
