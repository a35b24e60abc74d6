"""Many samples: none is certified that an attack breaks, and a run that is killed goes on to the same file."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from test_nearby import ACTIVATIONS, classifier

import lipcert
from lipcert.bounds.attack import Attack
from lipcert.bounds.refine import CERTIFIED
from lipcert.bounds.robustness import robustness
from lipcert.certificates.classes import verify_classes
from lipcert.graph.evaluate import forward
from lipcert.norms import Norm
from lipcert.regions import Ball


def broken(seed: int, kind: str, samples: int, part: float, widths=(4, 6, 6, 3)) -> tuple[int, int]:
    """How many samples are certified at a radius that is too large for `part` of the global bounds, and how many break."""
    graph, _ = classifier(seed, kind, widths)
    rng = np.random.default_rng(seed)
    points = rng.uniform(0.0, 1.0, (samples, widths[0]))
    radius = float(np.quantile(robustness(graph, points).radii, part))
    result = robustness(graph, points, at=radius)
    chosen = np.flatnonzero(np.array(result.statuses) == CERTIFIED)
    inside, classes = points[chosen], result.predictions[chosen]
    near = Attack(graph, Norm.L2, steps=100, restarts=6, seed=seed + 1).at(
        inside, classes, np.full(chosen.size, radius)
    )
    lost = ~np.isnan(near[:, 0])
    for k, x in enumerate(inside):
        # another kind of search: the sphere
        around = Ball(x, radius).project(x[:, None] + radius * rng.standard_normal((widths[0], 200)))
        lost[k] |= (forward(graph, around).argmax(axis=0) != classes[k]).any()
    assert (result.distances > result.radii).all()
    assert result.certificate is not None
    some = replace(result.certificate, samples=result.certificate.samples[:20])
    assert verify_classes(some, graph).samples == len(some.samples)
    return int(chosen.size), int(lost.sum())


@pytest.mark.parametrize("kind", ["relu", "maxmin"])
def test_no_certified_sample_is_broken(kind: str) -> None:
    certified, lost = broken(2, kind, 20, 0.5)
    assert certified >= 10
    assert lost == 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(20))
def test_none_of_many_certified_samples_is_broken(seed: int) -> None:
    kinds = list(ACTIVATIONS)
    assert broken(seed, kinds[seed % len(kinds)], 500, 0.3)[1] == 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_run_that_is_killed_goes_on_to_the_same_file(tmp_path) -> None:
    graph, _ = classifier(3)
    points = np.random.default_rng(4).uniform(0.0, 1.0, (12, 4))
    model, data, whole, part = (tmp_path / name for name in ("net.onnx", "x.csv", "whole.jsonl", "part.jsonl"))
    lipcert.save(graph, model)
    np.savetxt(data, points, delimiter=",")
    radius = 1.3 * float(np.median(robustness(graph, points).radii))
    command = [sys.executable, "-m", "lipcert", "robustness", str(model), str(data), "--at", str(radius), "--quiet"]
    subprocess.run([*command, "--stream", str(whole)], check=True, stdout=subprocess.DEVNULL)
    rng = np.random.default_rng(5)
    kills = 0
    for lines in np.sort(rng.integers(1, 13, 4)).tolist():
        process = subprocess.Popen([*command, "--stream", str(part)], stdout=subprocess.DEVNULL)
        while process.poll() is None:
            if part.exists() and part.read_bytes().count(b"\n") >= lines:
                process.kill()
                kills += 1
                break
            time.sleep(0.001)
        process.wait()
    subprocess.run([*command, "--stream", str(part)], check=True, stdout=subprocess.DEVNULL)
    assert kills
    assert part.read_bytes() == whole.read_bytes()
