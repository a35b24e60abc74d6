"""Proven entries of the Jacobian hold the sampled ones, for random networks of every activation."""

from __future__ import annotations

import numpy as np
import pytest
from regional import KINDS, network, region_of

import lipcert
from lipcert.bounds.operator_norm import dense_norms
from lipcert.errors import DoesNotApply, LipcertError
from lipcert.graph import build as nn
from lipcert.graph.evaluate import record
from lipcert.graph.nodes import FixedPoint
from lipcert.graph.prepare import prepare
from lipcert.norms import Norm
from lipcert.ranges.jacobian import jacobian, norm_bound
from lipcert.regions import Box, free
from lipcert.rounding import Interval


@pytest.mark.parametrize("kind", KINDS)
def test_entries_hold_sampled_jacobians(kind: str) -> None:
    for seed in range(2):
        rng = np.random.default_rng(seed)
        graph = network(seed, [kind, "tanh", kind])
        if any(isinstance(node, FixedPoint) for node in graph.nodes):
            continue
        region = region_of(rng, graph.input_size)
        found = jacobian(prepare(graph), region)
        tape = record(graph, [region.sample(30, rng, graph.input_size)])
        sampled = np.stack([tape.jacobian(k) for k in range(30)]) * free(region)
        room = 1e-9 * (1.0 + np.abs(sampled))
        assert (found.entries.low <= sampled + room).all()
        assert (sampled - room <= found.entries.high).all()
        assert (found.sums >= np.abs(sampled).sum(axis=2).max(axis=0) * (1.0 - 1e-9)).all()


@pytest.mark.parametrize(
    ("kind", "size", "parameters"),
    [
        ("product", 2, {}),
        ("matrix_product", 12, {"rows": [2], "inner": [3]}),
        ("softmax", 4, {}),
        ("log_softmax", 3, {}),
        ("log_sum_exp", 3, {}),
        ("rms_norm", 4, {"eps": [1e-3], "count": [4.0]}),
        ("unit_vector", 3, {"floor": [0.5]}),
    ],
)
def test_entries_of_blocks(kind: str, size: int, parameters: dict[str, list[float]]) -> None:
    losses = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        layers = [nn.linear(rng.normal(size=(2 * size, 3)), rng.normal(size=2 * size)), nn.activation("tanh")]
        layers += [nn.linear(rng.normal(size=(2 * size, 2 * size)) / size, rng.normal(size=2 * size))]
        layers.append(nn.activation(kind, size, **parameters))
        middle = nn.sequential(*layers).output_size
        layers += [nn.linear(0.1 * rng.normal(size=(4, middle))), nn.tanh(), nn.linear(rng.normal(size=(2, 4)))]
        graph = nn.sequential(*layers)
        centre = rng.normal(size=3)
        for radius in (1e-4, 0.1, 1.0):
            region = Box(centre - radius, centre + radius)
            found = jacobian(prepare(graph), region).entries
            tape = record(graph, [region.sample(60, rng, 3)])
            sampled = np.stack([tape.jacobian(k) for k in range(60)])
            room = 1e-9 * (1.0 + np.abs(sampled))
            assert (found.low <= sampled + room).all()
            assert (sampled - room <= found.high).all()
            if radius == 1e-4:
                losses.append((found.high - found.low).max() / np.abs(sampled).max())
    # near a point the entries are known
    assert min(losses) < 0.02


def test_a_point_has_its_jacobian() -> None:
    rng = np.random.default_rng(0)
    graph = nn.sequential(
        nn.linear(rng.standard_normal((5, 3))), nn.activation("tanh"), nn.linear(rng.standard_normal((2, 5)))
    )
    x = rng.standard_normal(3)
    found = jacobian(graph, Box(x - 1e-7, x + 1e-7)).entries
    exact = record(graph, [x[:, None]]).jacobian()
    np.testing.assert_allclose(found.low, exact, atol=1e-5)
    np.testing.assert_allclose(found.high, exact, atol=1e-5)


@pytest.mark.parametrize("p", list(Norm))
@pytest.mark.parametrize("q", list(Norm))
def test_norms_of_intervals_are_above_those_of_matrices(p: Norm, q: Norm) -> None:
    rng = np.random.default_rng(2)
    for shape in ((3, 4), (5, 2), (1, 3)):
        middle, radius = rng.standard_normal(shape), 0.2 * rng.random(shape)
        bound = norm_bound(Interval(middle - radius, middle + radius), p, q)
        matrices = middle + radius * rng.choice([-1.0, 1.0], (200, *shape))
        found = dense_norms(matrices, p, q, thorough=True)[0].max()
        assert found <= bound <= 3.0 * found


def test_monotone_dependences_and_the_frame() -> None:
    graph = nn.sequential(
        nn.linear([[2.0, -1.0, 0.0], [1.0, 1.0, 1.0]]), nn.activation("tanh"), nn.linear([[1.0, 0.1]])
    )
    found = lipcert.jacobian(graph, Box(-0.5, 0.5))
    assert found.monotone().tolist() == [[1, -1, 1]]
    assert found.norm("inf", "inf") >= np.abs(found.high).sum()
    assert "monotone" in repr(found)
    assert len(found.table()) == 3
    pytest.importorskip("pandas")
    frame = found.to_frame()
    assert frame.columns.tolist() == ["output", "input", "low", "high", "monotone"]
    assert frame["monotone"].tolist() == [1, -1, 1]
    assert frame["high"].tolist() == found.high.ravel().tolist()


def test_implicit_layers_are_refused() -> None:
    graph = nn.sequential(nn.fixed_point([[0.5]], [[1.0]], None, nn.relu()))
    with pytest.raises(DoesNotApply, match="implicit"):
        lipcert.jacobian(graph, Box(-1.0, 1.0))


def test_the_smaller_of_both_sources_is_the_bound() -> None:
    rng = np.random.default_rng(4)
    layers = [nn.linear(rng.standard_normal((8, 4)), rng.standard_normal(8)), nn.activation("tanh")]
    graph = nn.sequential(*layers, nn.linear(rng.standard_normal((3, 8))))
    found = lipcert.bound(graph, norm="inf", region=Box(-0.02, 0.02), lower_seconds=0.1)
    assert found.method == "jacobian"
    assert found.lower is not None
    assert found.lower <= found.upper < found.lower * 1.1
    assert found.certificate is not None
    assert lipcert.verify(type(found.certificate).from_json(found.certificate.to_json()), graph).value == found.upper
    smaller = type(found.certificate).from_json(
        found.certificate.to_json().replace(found.upper.hex(), (0.99 * found.upper).hex())
    )
    with pytest.raises(LipcertError, match="more than the claimed"):
        lipcert.verify(smaller, graph)


def test_each_output_has_the_smaller_bound_by_name() -> None:
    rng = np.random.default_rng(0)
    layers: list[nn.Layer] = [nn.linear(rng.standard_normal((8, 4)), rng.standard_normal(8)), nn.activation("tanh")]
    layers += [nn.linear(rng.standard_normal((8, 8))), nn.activation("tanh"), nn.linear(rng.standard_normal((4, 8)))]
    graph, box = nn.sequential(*layers), Box(-0.1, 0.1)
    found = lipcert.bound(graph, norm="inf", outputs="each", region=box, lower_seconds=0.1)
    assert {item.method for item in found.each} == {"neuron", "jacobian"}
    alone = {}
    for name in ("neuron", "jacobian"):
        own = lipcert.bound(graph, norm="inf", outputs="each", region=box, lower=False, method=name)
        alone[name] = [item.upper for item in own.each]
    for item, neuron, entries in zip(found.each, *alone.values(), strict=True):
        assert item.upper == pytest.approx(min(neuron, entries), rel=1e-6)
        assert item.method == ("jacobian" if entries < neuron else "neuron")
        assert item.lower is not None
        assert item.lower <= item.upper
    joint = lipcert.bound(graph, norm="inf", region=box, lower=False)
    assert joint.upper == pytest.approx(found.upper, rel=1e-6)
    assert found.certificate is not None
    again = type(found.certificate).from_json(found.certificate.to_json())
    assert lipcert.verify(again, graph).value == found.upper
    assert again.values(4) == [item.upper for item in found.each]
