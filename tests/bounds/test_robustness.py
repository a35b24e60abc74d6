"""Certified radii: exact where the network is linear, never beyond an attack, zero where nothing is certain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lipcert
from lipcert.bounds.margins import proven_margins
from lipcert.bounds.robustness import robustness
from lipcert.graph import build as nn
from lipcert.graph.evaluate import forward, vjp
from lipcert.graph.heads import without_head
from lipcert.graph.nodes import Graph
from lipcert.sdp.outcome import Progress, Status

MODELS = Path(__file__).resolve().parents[2] / "models"
W = np.array([[1.0, 2.0, -1.0], [0.5, -1.0, 0.0], [-2.0, 0.0, 3.0], [0.0, 1.0, 1.0]])
B = np.array([0.1, -0.2, 0.3, 0.0])


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((20, 3))


def network(seed: int = 0, classes: int = 4) -> Graph:
    random = np.random.default_rng(seed)
    return nn.sequential(
        nn.linear(random.standard_normal((8, 3)), random.standard_normal(8)),
        nn.maxmin(),
        nn.linear(random.standard_normal((8, 8))),
        nn.relu(),
        nn.linear(random.standard_normal((classes, 8)), random.standard_normal(classes)),
    )


@pytest.mark.parametrize(("norm", "dual"), [(2, 2), ("inf", 1), (1, np.inf)])
def test_linear_classifiers_have_the_exact_radius(points: np.ndarray, norm: Any, dual: Any) -> None:
    result = robustness(nn.sequential(nn.linear(W, B)), points, norm=norm)
    y = points @ W.T + B
    for i, (row, c) in enumerate(zip(y, result.predictions, strict=True)):
        assert c == row.argmax()
        exact = min((row[c] - row[j]) / np.linalg.norm(W[c] - W[j], dual) for j in range(4) if j != c)
        assert exact * (1 - 1e-6) <= result.radii[i] <= exact * (1 + 1e-12)


def test_no_attack_succeeds_within_the_radius(points: np.ndarray) -> None:
    """Gradient steps on the sphere of the radius, from each sample towards each class, from five starts."""
    graph = network()
    result = robustness(graph, points)
    assert (result.radii > 0).all()
    sample, target = (part.ravel() for part in np.meshgrid(np.arange(20), np.repeat(np.arange(4), 5), indexing="ij"))
    c, x = result.predictions[sample], points[sample].T
    r = np.nextafter(result.radii[sample], 0)
    toward = (np.eye(4)[target] - np.eye(4)[c]).T
    d = np.random.default_rng(0).standard_normal(x.shape)
    d /= np.linalg.norm(d, axis=0)
    for _ in range(30):
        g = vjp(graph, x + r * d, toward)
        d = d + 0.5 * g / np.maximum(np.linalg.norm(g, axis=0), 1e-12)
        d /= np.linalg.norm(d, axis=0)
        assert (forward(graph, x + 0.999999 * r * d).argmax(axis=0) == c).all()
    # the radii are not trivially small
    assert any((forward(graph, x + t * r * d).argmax(axis=0) != c).any() for t in np.linspace(1, 4, 31))


def test_progress_says_what_is_bounded(points: np.ndarray) -> None:
    steps: list[Progress] = []
    result = robustness(network(), points, progress=steps.append)
    samples = [step for step in steps if step.stage == "evaluating samples"]
    assert (samples[0].iteration, samples[0].total) == (0, 20)
    parts = list(dict.fromkeys(step.stage.partition(": ")[0] for step in steps if step not in samples))
    assert parts[0] == "all outputs"
    assert len(parts) > 1
    assert all(part.startswith("margin ") or part.endswith(" margins") for part in parts[1:])
    # what is proven of all outputs on the way is a bound on them
    joint = [step.proven for step in steps if step.stage == "all outputs: interior point"]
    assert min(value for value in joint if value is not None) >= result.bounds[0].upper


def test_auto_gives_the_radii_of_all_pairs_with_fewer_programs(points: np.ndarray) -> None:
    graph = network(1, classes=6)
    every = robustness(graph, points[:4], margins="pairs")
    some = robustness(graph, points[:4])
    joint = robustness(graph, points[:4], margins="joint")
    np.testing.assert_allclose(some.radii, every.radii, rtol=1e-6)
    assert {item.source for item in every.margins} == {"pair"}
    assert {item.source for item in some.margins} == {"pair", "joint"}
    assert {item.source for item in joint.margins} == {"joint"}
    assert (joint.radii <= every.radii).all()
    assert (joint.radii < 0.95 * every.radii).any()
    bounds = {item.output: item.upper for item in every.margins}
    direct = lipcert.bound(graph, outputs=list(bounds), lower=False)
    assert bounds == pytest.approx({item.output: item.upper for item in direct.each}, rel=1e-6)


def test_only_margins_of_classes_that_occur_are_bounded() -> None:
    result = robustness(nn.sequential(nn.linear(W, B)), [[5.0, 5.0, -5.0]], margins="pairs")
    assert result.predictions.tolist() == [0]
    assert [item.output for item in result.margins] == ["0-1", "0-2", "0-3"]


def test_labels_set_wrong_samples_to_zero(points: np.ndarray) -> None:
    graph = nn.sequential(nn.linear(W, B))
    free = robustness(graph, points)
    labels = free.predictions.copy()
    labels[::4] = (labels[::4] + 1) % 4
    result = robustness(graph, points, labels)
    assert result.accuracy == 0.75
    assert (result.radii[::4] == 0).all()
    rest = np.arange(len(points)) % 4 != 0
    np.testing.assert_allclose(result.radii[rest], free.radii[rest], rtol=1e-9)
    assert result.certified_accuracy(0.0) == 0.75
    assert result.certified_accuracy(result.radii.max()) == 1 / len(points)
    assert result.certified_accuracy(1.01 * result.radii.max()) == 0
    radii, accuracy = result.curve()
    assert radii[0] == 0
    assert accuracy[0] == 0.75
    assert (np.diff(accuracy) <= 0).all()
    # none is right: nothing is solved, nothing is certain
    assert robustness(graph, points, (free.predictions + 1) % 4).median == 0


@pytest.mark.parametrize("head", [nn.softmax(4), nn.activation("log_softmax", 4), nn.sigmoid()])
def test_heads_that_keep_the_order_are_left_out(points: np.ndarray, head: nn.Layer) -> None:
    plain = nn.sequential(nn.linear(W, B))
    result = robustness(nn.sequential(plain, head), points)
    assert result.head in ("softmax", "log_softmax", "sigmoid")
    np.testing.assert_array_equal(result.radii, robustness(plain, points).radii)


def test_heads_over_a_part_of_the_outputs_stay() -> None:
    assert without_head(nn.sequential(nn.linear(W, B), nn.softmax(2)))[1] == ""
    assert without_head(nn.sequential(nn.linear(W, B), nn.tanh()))[1] == ""


def test_one_output_decides_by_its_sign() -> None:
    graph = nn.sequential(nn.linear([[3.0, 4.0]], [-5.0]), nn.sigmoid())
    result = robustness(graph, [[0.0, 0.0], [3.0, 4.0], [3.0, -1.0]], [0, 1, 1])
    assert result.predictions.tolist() == [0, 1, 0]
    np.testing.assert_allclose(result.radii, [1.0, 4.0, 0.0], rtol=1e-6)
    assert [(item.output, item.source) for item in result.margins] == [("0", "pair")]


def test_ties_are_not_certain() -> None:
    result = robustness(nn.sequential(nn.linear([[1.0], [1.0]])), [[1.0], [-2.0]])
    assert result.radii.tolist() == [0.0, 0.0]


def test_outputs_that_never_cross_are_safe_far_out() -> None:
    result = robustness(nn.sequential(nn.linear([[1.0], [1.0]], [2.0, 0.0])), [[1.0]])
    assert result.certified_accuracy(1e10) == 1


def test_the_class_is_that_of_real_arithmetic() -> None:
    """In float64 the first output is 0 and loses against ½; in real arithmetic it is 1."""
    graph = nn.sequential(nn.linear([[1e16, 1.0, -1e16], [0.0, 0.5, 0.0]]))
    x = np.ones((1, 3))
    assert forward(graph, x.T)[:, 0].argmax() == 1
    classes, margins = proven_margins(graph, x)
    assert classes.tolist() == [0]
    assert margins[0, 1] == pytest.approx(0.5, rel=1e-12)
    assert 0 < robustness(graph, x).radii[0] <= 0.5 / (np.sqrt(2.0) * 1e16)


def test_margins_are_lower_bounds_close_to_the_value(points: np.ndarray) -> None:
    graph = nn.sequential(network(2), nn.tanh())
    classes, margins = proven_margins(graph, points)
    y = forward(graph, points.T)
    np.testing.assert_allclose(
        margins[margins < np.inf], (y[classes, np.arange(20)] - y).T[margins < np.inf], atol=1e-9
    )


def test_implicit_networks() -> None:
    random = np.random.default_rng(0)
    graph = nn.sequential(
        nn.fixed_point(0.1 * random.standard_normal((4, 4)), random.standard_normal((4, 3)), None, nn.relu()),
        nn.linear(random.standard_normal((3, 4))),
    )
    result = robustness(graph, random.standard_normal((3, 3)))
    assert (result.radii > 0).all()


def test_a_time_limit_keeps_the_joint_bound(points: np.ndarray) -> None:
    graph = network(3)
    short = robustness(graph, points, time_limit=1e-6)
    assert short.status is Status.TIME_LIMIT
    assert (short.radii > 0).all()
    assert (short.radii <= robustness(graph, points).radii * (1 + 1e-9)).all()


def test_requests_that_do_not_fit(points: np.ndarray) -> None:
    graph = nn.sequential(nn.linear(W, B))
    for X, labels, options, words in (
        (points[:, :2], None, {}, "3 inputs"),
        (np.zeros((0, 3)), None, {}, "3 inputs"),
        (points * np.nan, None, {}, "not finite"),
        ([["a"]], None, {}, "no array of numbers"),
        (points, [0] * 19, {}, "19 labels for 20 samples"),
        (points, [4] * 20, {}, "no class of the network"),
        (points, [0.5] * 20, {}, "no whole number"),
        (points, None, {"margins": "guess"}, "auto, pairs, joint"),
        (points, None, {"norm": 3}, "norm"),
    ):
        with pytest.raises(lipcert.InvalidRequest, match=words):
            robustness(graph, X, labels, **options)


def test_images_are_flattened_row_by_row() -> None:
    result = robustness(str(MODELS / "digits_orthogonal.onnx"), np.full((1, 8, 8), 0.5), margins="joint")
    flat = robustness(lipcert.load(MODELS / "digits_orthogonal.onnx"), np.full((1, 64), 0.5), margins="joint")
    assert result.radii.tolist() == flat.radii.tolist()
    assert len(result.sha256) == 64


def test_the_open_part_lies_between_the_certified_and_the_broken() -> None:
    rng = np.random.default_rng(0)
    network = nn.sequential(nn.linear(rng.standard_normal((6, 3))), nn.relu(), nn.linear(rng.standard_normal((3, 6))))
    result = robustness(network, rng.standard_normal((12, 3)), attack=True)
    at, proven, unbroken = result.open_part()
    assert (np.diff(at) >= 0.0).all()
    assert (proven <= unbroken).all()
    grid = np.unique(at)
    for k, r in enumerate(0.5 * (grid[1:] + grid[:-1])):
        for found, expected in ((proven, result.radii >= r), (unbroken, (result.radii > 0.0) & (result.distances > r))):
            # behind one radius and before the next
            assert found[3 * k + 2] == found[3 * k + 3] == expected.mean()
    assert unbroken[-1] == 0.0


def test_plot() -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    result = robustness(nn.sequential(nn.linear([[1.0], [-1.0]])), [[0.5], [2.0]], [0, 0])
    ax = result.plot(Figure().subplots())
    (line,) = ax.lines
    assert line.get_ydata().tolist() == [100.0, 100.0, 50.0, 0.0]
    assert "ℓ2" in ax.get_xlabel()


def test_samples_in_parts_give_the_same_margins(points: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = network(4)
    together = proven_margins(graph, points)
    monkeypatch.setattr("lipcert.certificates.values._BALLS", 3 * 8)
    apart = proven_margins(graph, points)
    for one, other in zip(together, apart, strict=True):
        np.testing.assert_array_equal(one, other)
