"""Segments: cut where all paths meet, never above the norm product, and the answer where no proof of the whole fits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from lipcert import bound
from lipcert.bounds import segments
from lipcert.bounds.segments import cuts, segment
from lipcert.certificates import proof
from lipcert.errors import DoesNotApply, NotCertified
from lipcert.graph import build as nn
from lipcert.graph.evaluate import forward
from lipcert.graph.nodes import Graph


def dense(rng: np.random.Generator, n: int, m: int) -> nn.Layer:
    return nn.linear(rng.standard_normal((m, n)) / np.sqrt(n), rng.standard_normal(m))


def network(seed: int = 0) -> Graph:
    rng = np.random.default_rng(seed)
    branch = nn.residual(dense(rng, 10, 12), nn.relu(), dense(rng, 12, 10))
    return nn.sequential(
        dense(rng, 7, 10), nn.relu(), branch, nn.relu(), dense(rng, 10, 10), nn.relu(), dense(rng, 10, 4)
    )


def test_segments_compose_to_the_network() -> None:
    graph = network()
    x = np.random.default_rng(1).standard_normal((7, 5))
    ends = cuts(graph)
    assert ends[0] == graph.inputs[0]
    assert ends[-1] == graph.output
    signal = x
    for start, end in pairwise(ends):
        signal = forward(segment(graph, start, end), signal)
    np.testing.assert_allclose(signal, forward(graph, x), rtol=1e-12)


def test_nothing_inside_a_residual_block_is_a_cut() -> None:
    rng = np.random.default_rng(0)
    graph = nn.sequential(nn.residual(dense(rng, 5, 6), nn.relu(), dense(rng, 6, 5)))
    assert cuts(graph) == [graph.inputs[0], graph.output]


@pytest.mark.parametrize("most", [0.0, 1.0])
def test_between_the_whole_proof_and_the_norm_product(most: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without time for proofs there is none, with time for all of it one segment."""
    graph = network()
    monkeypatch.setattr(segments, "SECONDS", 1e3 * most)
    whole = bound(graph, lower=False)
    if not most:
        with pytest.raises(NotCertified, match="no segment"):
            bound(graph, method="segments", lower=False)
        return
    found = bound(graph, method="segments", lower=False)
    assert found.method == "segments"
    assert found.certificate is None
    assert found.upper == pytest.approx(whole.upper, rel=1e-4)
    assert found.upper >= whole.upper * (1 - 1e-9)


def test_several_segments_multiply(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of at most so many channels, by what their proofs are expected to take."""
    graph = network(3)
    monkeypatch.setattr(proof.Dense, "seconds", lambda self: 0.0 if len(self.graph.nodes) < 8 else 1e9)
    monkeypatch.setattr(proof.Sweep, "seconds", lambda self: 1e9)
    parts = segments.plan(graph)
    assert len(parts) > 1
    assert all(part.prover is not None for part in parts)
    found = bound(graph, method="segments", lower=False)
    ends = [bound(part.graph, lower=False).upper for part in parts]
    assert found.upper == pytest.approx(np.prod(ends), rel=1e-4)
    monkeypatch.undo()
    whole = bound(graph, lower=False)
    assert whole.upper < found.upper < whole.product


def test_auto_falls_back_to_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = network(4)
    expected = bound(graph, lower=False)
    monkeypatch.setattr(
        proof.Proofs,
        "require_memory",
        lambda self: proof.require(2**62, "the proof") if len(self.graph.nodes) > 8 else None,
    )
    monkeypatch.setattr(segments, "SECONDS", 1e3)
    found = bound(graph, lower=False)
    assert found.method == "segments"
    assert expected.upper * (1 - 1e-9) <= found.upper <= expected.product
    assert any("GB are free" in note for note in found.notes)


def test_other_norms_are_refused() -> None:
    with pytest.raises(DoesNotApply, match="ℓ2"):
        bound(network(), norm="inf", method="segments")
