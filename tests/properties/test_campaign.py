"""Random networks of every kind: no violation, and hardly any weak bound (`campaign.py`)."""

from __future__ import annotations

import numpy as np
import orthogonal_campaign
import pytest
from campaign import ARCHITECTURES, campaign, sample

import lipcert
from lipcert.activations.table import GLOBAL
from lipcert.errors import NotCertified
from lipcert.norms import Norm


def report(found):
    results = list(found)
    violations = [f"{result.sample}\n{result.violation}" for result in results if result.violation]
    weak = [f"{result.sample}\n{result.excess} {result.notes}" for result in results if result.weak]
    return violations, weak


def test_a_slice_of_the_campaign():
    violations, weak = report(campaign(range(5010, 5050)))
    assert not violations, "\n".join(violations)
    assert len(weak) <= 1, "\n".join(weak)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(4))
def test_the_campaign(part):
    violations, weak = report(campaign(range(500 * part, 500 * (part + 1))))
    assert not violations, "\n".join(violations)
    assert len(weak) <= 10, "\n".join(weak)


def test_a_slice_of_the_orthogonal_campaign():
    small = [seed for seed in range(60) if orthogonal_campaign.drawn(seed)[1]["rows"] < 60][:12]
    violations, weak = report(orthogonal_campaign.campaign(small))
    assert not violations, "\n".join(violations)
    assert not weak, "\n".join(weak)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(4))
def test_the_orthogonal_campaign(part):
    violations, weak = report(orthogonal_campaign.campaign(range(125 * part, 125 * (part + 1))))
    assert not violations, "\n".join(violations)
    assert not weak, "\n".join(weak)


def test_the_orthogonal_campaign_covers_everything():
    features = [orthogonal_campaign.drawn(seed)[1] for seed in range(500)]
    assert {f["architecture"] for f in features} == set(orthogonal_campaign.ARCHITECTURES)
    assert {f["weights"] for f in features} == set(orthogonal_campaign.WEIGHTS)
    names = {f["activation"] for f in features}
    assert {"MaxMin", "abs", *(f"GroupSort({g})" for g in range(2, 17)), "Householder(2)"} <= names
    assert max(f["depth"] for f in features) == 40
    assert max(f["width"] for f in features) == 64


def test_it_covers_everything():
    samples = [sample(seed) for seed in range(600)]
    features = [item.features for item in samples]
    assert {kind for f in features for kind in f["activations"]} == set(GLOBAL)
    assert {f["architecture"] for f in features} == set(ARCHITECTURES)
    pairs = {(item.request["norm"], item.request["output_norm"]) for item in samples}
    assert len(pairs) == len(Norm) ** 2
    assert max(len(f["sizes"]) - 2 for f in features) == 30
    assert max(max(f["sizes"]) for f in features) >= 60
    assert min(min(f["sizes"]) for f in features) == 1


def test_violations_are_seen(monkeypatch):

    truth = lipcert.bound

    def halved(graph, **request):
        found = truth(graph, **request)
        return type(found)(**{**vars(found), "upper": 0.5 * found.lower})

    explicit = next(seed for seed in range(100) if not sample(seed).implicit)
    monkeypatch.setattr(lipcert, "bound", halved)
    (low,) = campaign([explicit])
    assert "below lower" in low.violation

    def refused(graph, **request):
        raise NotCertified("no")

    monkeypatch.setattr(lipcert, "bound", refused)
    assert next(campaign([explicit])).violation

    def weaker(graph, **request):
        found = truth(graph, **request)
        return type(found)(**{**vars(found), "upper": found.upper * (1 + 2e-4)})

    monkeypatch.setattr(lipcert, "bound", weaker)
    (weak,) = campaign([explicit])
    assert weak.weak
    assert not weak.violation
    assert np.isfinite(weak.excess)
