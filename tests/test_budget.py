"""A limit is for everything inside it; what does not fit is not begun, and a looser proven bound is the answer."""

from __future__ import annotations

import numpy as np
import pytest

from lipcert import bound, budget
from lipcert.bounds import product, run
from lipcert.bounds.product import norm_product
from lipcert.bounds.settings import Settings
from lipcert.certificates import Prover
from lipcert.certificates.spectral import cheap_norm, norm_upper, seconds_needed
from lipcert.errors import OutOfTime
from lipcert.graph import build as nn
from lipcert.graph.claim import Claim
from lipcert.graph.linear_maps import Convolution, Dense, Index


@pytest.fixture
def network():
    rng = np.random.default_rng(0)
    layers = [rng.standard_normal(shape) / 3 for shape in ((12, 6), (12, 12), (4, 12))]
    return nn.sequential(nn.linear(layers[0]), nn.relu(), nn.linear(layers[1]), nn.relu(), nn.linear(layers[2]))


def test_limits_nest_and_can_be_lifted() -> None:
    assert budget.left() == np.inf
    with budget.within(100.0):
        with budget.within(1000.0):
            assert 0.0 < budget.left() <= 100.0
        with budget.within(None), budget.within(1.0):
            assert budget.left() <= 1.0
        with budget.apart():
            assert budget.left() == np.inf
    assert budget.left() == np.inf


def test_what_is_long_over_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(budget.time, "perf_counter", lambda: now[0])
    with budget.within(10.0):
        for now[0] in (5.0, 10.5, 11.4):
            budget.check()
        assert budget.left() == 0.0
        now[0] = 11.6
        with pytest.raises(OutOfTime, match="time limit"):
            budget.check()
        with budget.apart():
            budget.check()


def test_without_time_the_norm_product_is_the_answer(network) -> None:
    found = bound(network, time_limit=1e-9, lower=False)
    assert found.method == "product"
    assert found.upper >= bound(network, lower=False).product
    assert any("time limit" in note for note in found.notes)


def test_a_proof_that_takes_too_long_is_not_begun(network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Prover, "seconds", lambda self: 1e4)
    monkeypatch.setattr(Prover, "prove", lambda *arguments: pytest.fail("it was begun"))
    found = bound(network, time_limit=60.0, lower=False)
    assert found.method == "product"
    assert any("would take about 10000 s" in note for note in found.notes)


def test_the_solver_leaves_time_for_the_proof(network) -> None:
    with budget.within(100.0):
        job = run.Run(network, Claim(), Settings()).job("comparators", "native")
        limits = [run._leaving(job, seconds).options.time_limit for seconds in (0.0, 30.0, 90.0)]
    assert limits[0] == pytest.approx(100.0, abs=5.0)
    assert limits[1] == pytest.approx(70.0, abs=5.0)
    assert limits[2] == pytest.approx(100.0 * run.LEAST_SHARE, abs=5.0)


def test_dear_norms_are_bounded_cheaply(network, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = [a for _, node in network.walk() for a in getattr(node, "maps", ())]
    costs = sorted(seconds_needed(a) for a in maps)
    exact = norm_product(network)
    assert exact is not None
    # room for all but the dearest one
    monkeypatch.setattr(product, "SHARE", 1.0)
    product._KNOWN.clear()
    monkeypatch.setattr(product.budget, "left", lambda: costs[0] + costs[1])
    found = norm_product(network)
    assert found is not None
    dearest = max(maps, key=seconds_needed)
    assert found.value == pytest.approx(exact.value / norm_upper(dearest) * cheap_norm(dearest), rel=1e-6)


def test_guesses_grow_with_the_map() -> None:
    rng = np.random.default_rng(0)
    assert seconds_needed(Index(np.arange(5), 5)) == 0.0
    assert seconds_needed(Dense(rng.random((20, 30)))) < seconds_needed(Dense(rng.random((200, 300))))
    small, large = (Convolution(rng.random((c, c, 3, 3)), (64, 64), (1, 1), (1, 1), (1, 1, 1, 1)) for c in (8, 64))
    assert 0.0 < seconds_needed(small) < seconds_needed(large)
