"""The relaxed maximum: signs that are found, against all of them, and below every bound that does not know patterns."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

import lipcert
from lipcert.bounds import relaxed
from lipcert.bounds.relaxed import relaxed_maximum
from lipcert.constraints.interconnection import lower, signed_channels
from lipcert.errors import DoesNotApply
from lipcert.figures import downward
from lipcert.graph import build as nn
from lipcert.graph.claim import Claim
from lipcert.graph.nodes import Graph
from lipcert.norms import Norm
from lipcert.ranges import posed
from lipcert.regions import Box
from lipcert.report import text
from models import maxmin_mnist

KINDS = {"relu": nn.relu, "maxmin": nn.maxmin, "leaky": lambda: nn.leaky_relu(0.25), "tanh": nn.tanh}


def network(seed: int, kind: str) -> Graph:
    rng = np.random.default_rng(seed)
    layers = []
    for out, into in ((4, 3), (4, 4), (2, 4)):
        layers += [nn.linear(rng.standard_normal((out, into)), rng.standard_normal(out)), KINDS[kind]()]
    return nn.sequential(*layers[:-1])


def largest(graph: Graph) -> float:
    """max ‖J(S)‖₂ over all signs."""
    count = signed_channels(graph).size
    values = (np.linalg.norm(lower(graph, signs=np.array(s)).Y, 2) for s in itertools.product((-1, 1), repeat=count))
    return float(max(values))


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_maximum_over_all_signs(seed: int, kind: str) -> None:
    graph = posed(network(seed, kind), Claim(), "comparators").graph
    found, true = relaxed_maximum(graph, Norm.L2, Norm.L2, seconds=0.2), largest(graph)
    assert found <= true * (1.0 + 1e-12)
    assert found >= true * (1.0 - 1e-8)


@pytest.mark.parametrize("norms", [(Norm.LINF, Norm.LINF), (Norm.L1, Norm.L2), (Norm.L2, Norm.LINF)])
def test_no_method_goes_below(norms: tuple[Norm, Norm]) -> None:
    network_ = network(5, "relu")
    for region in (None, Box(-0.5, 1.0).fitted(3)):
        graph = posed(network_, Claim(*norms, region=region), "comparators").graph
        found = relaxed_maximum(graph, *norms, seconds=0.1)
        bound = lipcert.bound(
            network_, norm=norms[0], output_norm=norms[1], region=region, lower=False, method="neuron"
        )
        assert 0.0 < found <= bound.upper


def test_it_is_shown_beside_the_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaxed, "LEAST", 0.1)
    monkeypatch.setattr(relaxed, "SHARE", 0.01)
    result = lipcert.compare(network(5, "relu"), ["product", "neuron"], region=Box(-0.5, 1.0))
    assert result.relaxed is not None
    assert result.lower is not None
    # the true patterns are among the free ones
    assert result.lower <= result.relaxed * (1.0 + 1e-6)
    assert "no method that ignores which patterns occur can go below, with these ranges" in text.comparison(result)
    assert ("relaxed maximum", f"{downward(result.relaxed)}   at least") in result.facts()
    assert result.to_dict()["relaxed"] == result.relaxed


def test_a_group_without_sign_has_none() -> None:
    graph = nn.sequential(nn.linear(np.eye(3)), nn.softmax(3), nn.linear(np.eye(3)))
    with pytest.raises(DoesNotApply, match="sign"):
        relaxed_maximum(posed(graph, Claim(), "comparators").graph, Norm.L2, Norm.L2)


def test_the_same_seed_gives_the_same_number() -> None:
    graph = posed(network(7, "maxmin"), Claim(), "comparators").graph
    assert len({relaxed_maximum(graph, Norm.L2, Norm.L2, seconds=0.1, seed=3) for _ in range(2)}) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("l2_5fc_32", 176.22), ("l2_8fc_32", 234.67), ("l2_18fc_32", 7090.0)])
def test_figures(shared_data: Path, name: str, least: float) -> None:
    graph = maxmin_mnist.as_graph(maxmin_mnist.read(shared_data / "maxmin_mnist" / f"{name}.npz"), False)
    assert relaxed_maximum(posed(graph, Claim(), "comparators").graph, Norm.L2, Norm.L2) >= least
