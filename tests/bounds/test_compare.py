"""Methods side by side: the same numbers as one by one, reasons for those that do not apply."""

from __future__ import annotations

import numpy as np
import pytest
from regional import network as random_network
from regional import region_of

import lipcert
from lipcert.bounds.settings import Settings
from lipcert.bounds.table import METHODS
from lipcert.errors import InvalidRequest
from lipcert.graph import build as nn
from lipcert.graph.nodes import FixedPoint, Graph
from lipcert.regions import Box
from lipcert.sdp.outcome import Progress, Status


@pytest.fixture(scope="module")
def network() -> Graph:
    random = np.random.default_rng(0)
    weights = [random.standard_normal(shape) / 2 for shape in ((8, 5), (8, 8), (3, 8))]
    return nn.sequential(nn.linear(weights[0]), nn.relu(), nn.linear(weights[1]), nn.tanh(), nn.linear(weights[2]))


def test_all_methods(network: Graph) -> None:
    seen: list[Progress] = []
    result = lipcert.compare(network, time_limit=20, progress=seen.append)
    assert [entry.method for entry in result.entries] == list(METHODS)
    bounds = {entry.method: entry.bound.upper for entry in result.entries if entry.bound}
    reasons = {entry.method: entry.reason for entry in result.entries if not entry.bound}
    assert bounds["neuron"] == pytest.approx(lipcert.bound(network, lower=False).upper, rel=1e-9)
    assert result.best.bound is not None
    assert result.best.bound.upper == min(bounds.values())
    assert all(entry.bound.verified for entry in result.entries if entry.bound)
    assert result.lower is not None
    assert 0.8 * min(bounds.values()) < result.lower <= min(bounds.values())
    assert reasons["geolip"] == "it is for inputs in ℓ∞"
    assert {name: METHODS[name].name for name in reasons}.keys().isdisjoint({"product", "layer", "channel", "neuron"})
    told = {step.stage.partition(": ")[0] for step in seen if step.proven is not None}
    assert told == {entry.method for entry in result.entries if entry.bound}
    assert any(step.stage == "search for a lower bound" for step in seen)


def test_margins_and_norms(network: Graph) -> None:
    result = lipcert.compare(network, ["layer", "neuron", "layer"], norm="inf", outputs="0-1,2", lower=False)
    assert (result.outputs, result.lower, len(result.entries)) == (("0-1", "2"), None, 2)
    single = lipcert.bound(network, norm="inf", outputs="0-1,2", method="layer", lower=False)
    assert result.entries[0].bound is not None
    assert result.entries[0].bound.upper == pytest.approx(single.upper, rel=1e-9)


def test_a_failing_method_does_not_stop_the_others(network: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    from lipcert.bounds import compare as module

    real = module.answer

    def answer(graph: Graph, question: object, settings: Settings, **options: object) -> lipcert.Bound:
        failures = {
            "layer": lipcert.NotCertified("no"),
            "channel": MemoryError(),
            "lipsdp-rr": lipcert.MissingExtra("cvxpy", "solvers", purpose="it"),
            "liplt": KeyboardInterrupt(),
        }
        if settings.method in failures:
            raise failures[settings.method]
        return real(graph, question, settings, **options)

    monkeypatch.setattr(module, "answer", answer)
    result = lipcert.compare(network, ["layer", "channel", "lipsdp-rr", "product", "liplt", "neuron"])
    reasons = [entry.reason for entry in result.entries]
    assert reasons[:2] == ["no", "not enough memory"]
    assert "lipcert[solvers]" in reasons[2]
    assert reasons[3:] == ["", "interrupted", "interrupted"]
    assert result.best.method == "product"


def test_after_an_interruption_no_method_begins(network: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from lipcert.bounds import compare as module

    real = module.answer
    monkeypatch.setattr(module, "answer", lambda *a, **k: replace(real(*a, **k), status=Status.INTERRUPTED))
    result = lipcert.compare(network, ["product", "neuron"])
    assert [entry.bound is not None for entry in result.entries] == [True, False]


def test_requests_that_do_not_fit(network: Graph) -> None:
    for methods in (["guess"], []):
        with pytest.raises(lipcert.InvalidRequest, match="neuron"):
            lipcert.compare(network, methods)
    with pytest.raises(lipcert.NotCertified, match="geolip: it is for inputs in ℓ∞"):
        lipcert.compare(network, ["geolip"])


def test_plot(network: Graph) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    result = lipcert.compare(network, ["product", "neuron", "geolip"])
    ax = result.plot(Figure().subplots())
    # from the bottom, so the smallest is on top
    assert [label.get_text() for label in ax.get_yticklabels()] == ["product", "neuron"]
    widths = [bar.get_width() for bar in ax.patches]
    assert widths == [entry.bound.upper for entry in result.entries[:2] if entry.bound]
    assert widths[0] > widths[1]


@pytest.mark.parametrize("seed", [0, 1, 3, 4])
def test_methods_on_a_region_are_above_its_lower_bound(seed: int) -> None:
    graph = random_network(seed, ["relu", "tanh", "relu"])
    rng = np.random.default_rng(seed)
    found = lipcert.compare(graph, region=region_of(rng, graph.input_size), tolerance=1e-6)
    assert found.lower is not None
    bounds = {entry.method: entry.bound for entry in found.entries if entry.bound is not None}
    implicit = any(isinstance(node, FixedPoint) for node in graph.nodes)
    assert bounds.keys() >= ({"neuron"} if implicit else {"neuron", "jacobian"})
    assert min(bound.upper for bound in bounds.values()) >= found.lower
    assert found.region is not None
    assert found.best.bound is not None
    assert found.to_dict()["decided"] == found.best.bound.decided
    assert found.scope == found.best.bound.scope


def test_the_entries_of_the_jacobian_are_for_a_region() -> None:
    graph = nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu())
    entry = lipcert.compare(graph, ["product", "jacobian"], lower=False).entries[1]
    assert entry.bound is None
    assert "region" in entry.reason


def test_a_picture_of_the_layers_on_a_region() -> None:
    pytest.importorskip("matplotlib")
    graph = random_network(0, ["relu", "relu"])
    found = lipcert.compare(graph, ["layer"], lower=False, region=Box(-0.5, 0.5))
    ax = found.plot_layers()
    assert str(found.layers[0].decided) in ax.get_xticklabels()[0].get_text()
    with pytest.raises(InvalidRequest, match="region"):
        lipcert.compare(graph, ["layer"], lower=False).plot_layers()
