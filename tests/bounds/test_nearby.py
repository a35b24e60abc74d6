"""Classes on balls around samples: sound against sampling and attacks, tighter than global bounds, certified in files."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import lipcert
from lipcert.bounds.margins import proven_margins
from lipcert.bounds.nearby import Local
from lipcert.bounds.refine import CERTIFIED, OPEN, REFUTED, WRONG
from lipcert.bounds.robustness import robustness
from lipcert.certificates.classes import ClassCertificate, verify_classes
from lipcert.certificates.nearby import Nearby
from lipcert.cli import cli
from lipcert.errors import CertificateRejected, InvalidCertificate, InvalidRequest
from lipcert.graph import build as nn
from lipcert.graph.evaluate import forward
from lipcert.norms import Norm
from lipcert.regions import Ball, Box

ACTIVATIONS = {
    "relu": nn.relu,
    "maxmin": nn.maxmin,
    "leaky_relu": lambda: nn.activation("leaky_relu", 1, alpha=np.array([0.1])),
    "clip": lambda: nn.activation("clip", 1, low=np.array([0.0]), high=np.array([6.0])),
    "tanh": nn.tanh,
}


def classifier(seed: int, kind: str = "relu", widths=(4, 10, 8, 3)):
    rng = np.random.default_rng(seed)
    layers = []
    for k, (a, b) in enumerate(itertools.pairwise(widths)):
        layers += [ACTIVATIONS[kind]()] if k else []
        layers.append(nn.linear(rng.standard_normal((b, a)) / np.sqrt(a), 0.2 * rng.standard_normal(b)))
    return nn.sequential(*layers), rng.uniform(0.0, 1.0, (8, widths[0]))


def inside(x, radius, norm, domain, rng, count=3000):
    return Ball(x, radius, norm, within=domain).sample(count, rng, x.size)


@pytest.mark.parametrize("kind", ACTIVATIONS)
@pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF, Norm.L1])
def test_no_sampled_point_has_another_class(kind, norm):
    graph, points = classifier(1, kind)
    predictions, gaps = proven_margins(graph, points)
    rng = np.random.default_rng(0)
    proven = 0
    for domain, radius in ((None, 0.15), (Box(0.0, 1.0), 0.3)):
        local = Local(graph, norm, domain)
        for x, c, gap in zip(points[:4], predictions, gaps, strict=False):
            proof = local.at(x, int(c), gap, radius)
            classes = forward(graph, inside(x, radius, norm, domain, rng)).argmax(axis=0)
            if proof is not None:
                proven += 1
                assert (classes == c).all()
                ball = Nearby(graph, x, radius, norm, domain, int(c), hints=proof.hints)
                assert ball.proven(proof, gap)
    assert proven


def test_local_bounds_certify_what_global_ones_leave_open():
    graph, points = classifier(3)
    plain = robustness(graph, points)
    radius = 1.3 * float(np.median(plain.radii))
    result = robustness(graph, points, at=radius)
    assert result.statuses.count(CERTIFIED) > int((plain.radii >= radius).sum())
    assert (result.radii >= np.where(np.array(result.statuses) == CERTIFIED, radius, 0.0)).all()
    assert not any(s == CERTIFIED and d <= radius for s, d in zip(result.statuses, result.distances, strict=True))
    assert {item.source for item in result.found} > {"global"}


def test_each_sample_ends_and_radii_lie_below_counterexamples():
    graph, points = classifier(5)
    labels = forward(graph, points.T).argmax(axis=0)
    labels[0] = (labels[0] + 1) % 3
    result = robustness(graph, points, labels, local=True, attack=True)
    assert result.statuses[0] == WRONG
    assert (result.distances[1:] > result.radii[1:]).all()
    at = robustness(graph, points, labels, at=float(np.median(result.distances[1:])), attack=True)
    assert set(at.statuses) <= {CERTIFIED, REFUTED, OPEN, WRONG}
    assert REFUTED in at.statuses
    for item, x, c in zip(at.found, points, at.predictions, strict=True):
        if item.counterexample is not None:
            assert forward(graph, item.counterexample).argmax() != c
            assert np.linalg.norm(item.counterexample - x) <= item.distance * (1 + 1e-12)
    assert json.loads(json.dumps(at.to_dict()))["statuses"][REFUTED] == at.statuses.count(REFUTED)


@pytest.mark.parametrize("kind", ["relu", "tanh"])
def test_certificates_of_classes(kind, tmp_path):
    graph, points = classifier(7, kind)
    result = robustness(graph, points, at=0.12, domain=(0.0, 1.0))
    text = result.certificate.to_json()
    again = ClassCertificate.from_json(text)
    verdict = verify_classes(again, graph)
    assert verdict.samples == int((result.radii > 0).sum())
    assert {sample.local is None for sample in again.samples} == {True, False}
    # more than was proven, another class, another network
    for k, sample in enumerate(again.samples):
        for wrong in (replace(sample, radius=sample.radius * 2.0 + 1.0), replace(sample, c=(sample.c + 1) % 3)):
            changed = replace(again, samples=(*again.samples[:k], wrong, *again.samples[k + 1 :]))
            with pytest.raises(CertificateRejected, match=f"sample {k}"):
                verify_classes(changed, graph)
    with pytest.raises(CertificateRejected, match="another network"):
        verify_classes(again, classifier(8, kind)[0])
    for broken in ("{}", text.replace('"norm"', '"norms"'), text.replace("lipcert certificate of classes", "x"), "["):
        with pytest.raises(InvalidCertificate):
            ClassCertificate.from_json(broken)


def test_multipliers_of_ellipsoids_stand_once_in_a_file():
    graph, points = classifier(3)
    result = robustness(graph, points, at=1.3 * float(np.median(robustness(graph, points).radii)))
    document = json.loads(result.certificate.to_json())
    kept = [sample for sample in document["samples"] if sample["local"] is not None]
    assert len(kept) > 1
    assert len(document["ellipsoids"]) == 1
    assert all(sample["local"]["hints"]["ellipsoids"] == 0 for sample in kept)
    again = ClassCertificate.from_json(json.dumps(document))
    assert json.loads(again.to_json()) == document
    for number in (1, -1, "0", None):
        kept[0]["local"]["hints"]["ellipsoids"] = number
        with pytest.raises(InvalidCertificate):
            ClassCertificate.from_json(json.dumps(document))


def spoiled(item):
    """A proof of a margin whose multipliers are zero."""
    if isinstance(item, str):
        return item
    return {p: 0.0 * m for p, m in item.items()} if isinstance(item, dict) else 0.0 * item


@pytest.mark.parametrize(
    ("kind", "norm", "way"), [("relu", Norm.L2, "lifted"), ("tanh", Norm.L2, "ellipsoid"), ("tanh", Norm.L1, "bound")]
)
def test_what_proves_nothing_is_rejected(kind, norm, way, monkeypatch):
    """Of about the largest balls, ranges alone prove none, nor do the proofs of other balls or worse multipliers."""
    graph, points = classifier(3, kind)
    predictions, gaps = proven_margins(graph, points)
    local = Local(graph, norm)
    if way == "lifted":
        monkeypatch.setattr(Local, "_ellipsoid", lambda *_: None)
    sources = set()
    for x, c, gap in zip(points[:4], predictions, gaps, strict=False):
        proof = local.largest(x, int(c), gap, 0.05)
        if proof is None or proof.source == "range":
            continue
        sources.add(proof.source)
        ball = Nearby(graph, x, proof.radius, norm, None, int(c), hints=proof.hints)
        assert ball.proven(proof, gap)
        zero = tuple(map(spoiled, proof.margins))
        others = [replace(proof, margins=("range",) * len(zero)), replace(proof, margins=zero[:-1])]
        others += [replace(proof, bound=None)] if way == "bound" else [replace(proof, margins=zero)]
        for other in others:
            assert not ball.proven(other, gap)
        far = Nearby(graph, x, 3.0 * proof.radius, norm, None, int(c), hints=proof.hints)
        assert not far.proven(proof, gap)
    assert sources == ({"lifted"} if way == "lifted" else {"anchored"})


def test_a_stream_is_taken_up_again(tmp_path):
    graph, points = classifier(9)
    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    first = robustness(graph, points, at=0.2, stream=whole)
    lines = whole.read_text().splitlines(keepends=True)
    assert len(lines) == 1 + len(points)
    for keep, rest in ((0, ""), (1, ""), (3, lines[3][:10]), (len(lines), "")):
        part.write_text("".join(lines[:keep]) + rest)
        second = robustness(graph, points, at=0.2, stream=part)
        assert part.read_text() == whole.read_text()
        assert second.statuses == first.statuses
        np.testing.assert_array_equal(second.radii, first.radii)
    with pytest.raises(InvalidRequest, match="another run"):
        robustness(graph, points, at=0.3, stream=whole)


def test_normalised_images_have_radii_in_their_own_units():
    graph, points = classifier(11)
    inner = robustness(graph, (points - 0.5) / 0.25, at=0.4)
    outer = robustness(graph, points, at=0.1, mean=0.5, std=0.25)
    assert outer.statuses == inner.statuses
    verify_classes(ClassCertificate.from_json(outer.certificate.to_json()), graph)


def test_bad_requests_are_one_line():
    graph, points = classifier(0)
    for arguments, match in (({"at": 0.0}, "positive"), ({"domain": (0.4, 0.5)}, "outside the domain")):
        with pytest.raises(InvalidRequest, match=match):
            robustness(graph, points, **arguments)


def test_command_line(tmp_path):
    graph, points = classifier(13)
    model, data, proof = tmp_path / "net.onnx", tmp_path / "x.csv", tmp_path / "proof.json"
    lipcert.save(graph, model)
    np.savetxt(data, points, delimiter=",")
    run = CliRunner().invoke
    options = ["--at", "0.2", "--attack", "--domain", "0,1", "--certificate", str(proof)]
    shown = run(cli, ["robustness", str(model), str(data), *options])
    assert shown.exit_code == 0, shown.output
    assert "certified at 0.2" in shown.output
    checked = run(cli, ["verify", str(proof), str(model)])
    assert checked.exit_code == 0, checked.output
    assert "certified samples" in checked.output
    assert json.loads(run(cli, ["verify", str(proof), str(model), "--json"]).stdout)["valid"]
