"""Deciding whether a constant is at most a number."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from lipcert.bounds.api import bound
from lipcert.bounds.decide import decide
from lipcert.errors import InvalidRequest
from lipcert.graph import build as nn
from lipcert.graph.evaluate import jvp
from lipcert.graph.nodes import Graph
from lipcert.regions import Box
from lipcert.sdp.outcome import Progress, Status


@pytest.fixture(scope="module")
def network() -> Graph:
    rng = np.random.default_rng(0)
    sizes = [6, 20, 20, 3]
    layers = [item for a, b in pairwise(sizes) for item in (nn.linear(rng.standard_normal((b, a))), nn.relu())]
    return nn.sequential(*layers[:-1])


@pytest.mark.parametrize("outputs", ["all", "each", "0-1"])
@pytest.mark.parametrize(("norm", "output_norm"), [(2, None), ("inf", None), (1, 2)])
def test_every_answer_is_that_of_the_bounds(network: Graph, outputs: str, norm: object, output_norm: object) -> None:
    question = {"outputs": outputs, "norm": norm, "output_norm": output_norm}
    plain = bound(network, lower_seconds=0.3, **question)
    assert plain.lower is not None
    assert plain.product is not None
    above = decide(network, 2.0 * plain.product, **question)
    assert (above.holds, above.method, above.iterations) == (True, "product", None)
    assert decide(network, 1.001 * plain.upper, **question).holds
    below = decide(network, 0.5 * plain.lower, **question)
    assert (below.holds, below.status, below.iterations) == (False, Status.DECIDED, None)
    assert decide(network, 0.99 * plain.upper, lower=False, **question).holds is None


def test_the_witness_is_at_hand(network: Graph) -> None:
    found = decide(network, 1.0)
    assert found.witness is not None
    x, d = found.witness.point, found.witness.direction
    assert x is not None
    assert d is not None
    ratio = np.linalg.norm(jvp(network, x, d)) / np.linalg.norm(d)
    assert ratio == pytest.approx(found.lower, rel=1e-9)
    assert ratio > 1.0


def test_the_solver_stops_when_enough_is_proven(network: Graph) -> None:
    plain = bound(network, lower=False)
    limit = 0.5 * (plain.upper + plain.product)
    seen: list[Progress] = []

    def prove_at_once(step: Progress) -> None:
        seen.append(step)

    found = decide(network, limit, progress=prove_at_once, lower=False)
    assert found.holds
    assert found.certificate is not None
    assert found.certificate.value <= limit
    assert seen


def test_a_named_method_and_an_implicit_network(network: Graph) -> None:
    assert decide(network, 1e9, method="layer", lower=False).method == "layer"
    implicit = nn.sequential(nn.fixed_point([[0.5]], [[1.0]], None, nn.relu()))
    assert decide(implicit, 2.5).holds
    assert decide(implicit, 1.5).holds is False


@pytest.mark.parametrize("limit", [-1.0, float("nan"), float("inf")])
def test_limits_that_are_none(network: Graph, limit: float) -> None:
    with pytest.raises(InvalidRequest, match="no limit"):
        decide(network, limit)


@pytest.mark.parametrize("share", [1.02, 1.5])
def test_a_region_is_decided_where_another_way_proves_it(share: float) -> None:
    """The Jacobian's bound comes after the solver's, and may be the one that decides."""
    random = np.random.default_rng(1)
    graph = nn.sequential(
        nn.linear(random.standard_normal((16, 3))), nn.tanh(), nn.linear(random.standard_normal((2, 16)) / 16.0)
    )
    region = Box(-0.05, 0.05)
    known = bound(graph, region=region, lower=False)
    assert known.upper * share < known.product
    found = decide(graph, known.upper * share, region=region)
    assert found.holds
    assert found.upper <= known.upper * share
