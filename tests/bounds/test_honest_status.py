"""'optimal' is said only where what is printed is within the tolerance of what the solver knows: of every method."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lipcert
from lipcert.bounds.types import Bound
from lipcert.certificates.claims import Scaling
from lipcert.certificates.proof import Proofs
from lipcert.constraints.multipliers import Multipliers
from lipcert.errors import LipcertError
from lipcert.graph import build as nn
from lipcert.graph.claim import Case
from lipcert.graph.nodes import Graph
from lipcert.regions import Box
from lipcert.sdp.outcome import Status

TOLERANCE = 1e-8
ROOT = Path(__file__).resolve().parents[2]


def network(seed: int = 0, width: int = 6) -> Graph:
    rng = np.random.default_rng(seed)
    layers = [nn.linear(rng.standard_normal((width, 4))), nn.relu()]
    layers += [nn.linear(rng.standard_normal((width, width))), nn.relu()]
    return nn.sequential(*layers, nn.linear(rng.standard_normal((3, width)) * [[1.0], [0.1], [0.01]]))


def bounded(asked: str, seed: int = 0) -> Bound:
    """What is asked for, of a smaller network where a tree is."""
    options = ASKED[asked]
    if "branch" in options:
        return lipcert.bound(network(seed, 2), tolerance=TOLERANCE, lower_seconds=0.1, **options)
    return lipcert.bound(network(seed), tolerance=TOLERANCE, lower=False, **options)


def proven(bound: Bound) -> float:
    """By how much what is printed exceeds what the solver knows that no multipliers of the method get below."""
    assert bound.proposed is not None
    assert bound.relative_gap is not None
    power = 1.0 if str(bound.output_norm) == "1" else 0.5
    below = (1.0 - bound.relative_gap) ** power
    pairs = [(bound.upper, bound.proposed), *((item.upper, item.proposed) for item in bound.each if not bound.leaves)]
    return max(upper / (proposed * below) - 1.0 for upper, proposed in pairs if proposed)


ASKED: dict[str, dict[str, Any]] = {
    "auto": {},
    **{name: {"method": name} for name in ("neuron", "layer", "segments", "eclipse", "lipsdp-nsr", "lipsdp-rr")},
    "matrix-free": {"method": "neuron", "solver": "matrix-free"},
    "of infinity": {"norm": "inf"},
    "to one": {"output_norm": 1},
    "each": {"outputs": "each"},
    "margins": {"outputs": "pairs"},
    "on a box": {"region": Box(-3.0, 3.0), "method": "neuron"},
    "tree": {"branch": True},
    "trees": {"branch": True, "outputs": "each"},
}


@pytest.mark.parametrize("asked", ASKED)
def test_a_proof_that_loses_is_not_called_optimal(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Proofs.improve

    def weak(self: Proofs, case: Case, proposal: Multipliers, *, briefly: bool = False) -> Scaling | None:
        found = plain(self, case, proposal, briefly=briefly)
        return None if found is None else replace(found, m=(1.0 + 1e-6) * found.m)

    monkeypatch.setattr(Proofs, "improve", weak)
    bound = bounded(asked)
    if bound.leaves and bound.status is Status.OPTIMAL:
        # a tree is closed by a proven lower bound
        assert bound.lower is not None
        assert bound.upper <= bound.lower * (1.0 + 1e-4)
        return
    assert bound.status is not Status.OPTIMAL
    assert bound.proof_loss is None or bound.proof_loss > TOLERANCE


def test_one_output_whose_proof_loses_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest one: the largest is as near to its optimum as before."""
    plain = Proofs.improve

    def weak(self: Proofs, case: Case, proposal: Multipliers, *, briefly: bool = False) -> Scaling | None:
        found = plain(self, case, proposal, briefly=briefly)
        return found if found is None or case.outputs.tolist() != [2] else replace(found, m=1.01 * found.m)

    honest = lipcert.bound(network(), lower=False, outputs="each", method="neuron")
    monkeypatch.setattr(Proofs, "improve", weak)
    bound = lipcert.bound(network(), lower=False, outputs="each", method="neuron")
    assert bound.upper == honest.upper
    assert honest.status is Status.OPTIMAL
    assert bound.status is Status.PROOF_LOSS
    assert bound.proof_loss == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize("asked", ASKED)
def test_what_is_called_optimal_is_within_the_tolerance(asked: str) -> None:
    bound = bounded(asked, 1)
    if bound.status is Status.OPTIMAL and bound.relative_gap is not None and not bound.leaves:
        assert proven(bound) <= 2.0 * TOLERANCE


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("folder", ["models", "../shared/data"])
def test_optimal_means_optimal_on_all_networks(folder: str) -> None:
    """Of every network that is bounded within half a minute."""
    checked, wrong = 0, []
    for path in sorted((ROOT / folder).rglob("*.onnx")):
        if path.stat().st_size > 4_000_000:
            continue
        try:
            bound = lipcert.bound(path, lower=False, time_limit=30.0, tolerance=TOLERANCE)
        except LipcertError:
            continue
        if bound.status is Status.OPTIMAL:
            checked += 1
            if not is_optimal(path, bound):
                wrong.append(f"{path.name}: {bound!r}")
    if not checked:
        pytest.skip("no networks")
    assert not wrong, "\n".join(wrong)


def is_optimal(path: Path, bound: Bound) -> bool:
    """Whether what is printed is near what the solver knows, or near the norm of a network without multipliers."""
    if bound.relative_gap is None:
        found = lipcert.lower_bound(lipcert.load(path))
        return bound.channels == 0 and bound.upper <= found.value * (1.0 + 1e-6)
    return proven(bound) <= 2.0 * TOLERANCE
