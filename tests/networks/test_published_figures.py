"""Published networks from ONNX files, however MaxMin is written: the figures of two independent solvers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import lipcert
from lipcert.graph.evaluate import forward
from lipcert.graph.prepare import prepare
from lipcert.graph.sizes import channels
from models import maxmin_mnist
from models.maxmin_mnist import SAVED, SPELLINGS

ALL = [*SPELLINGS, SAVED]


def upper(path: Path, **request: object) -> float:
    return lipcert.bound(path, tolerance=1e-10, lower=False, **request).upper


def assert_same(
    weights: list[np.ndarray],
    figure: float,
    folder: Path,
    residual: bool = False,
    factor: float = 1.0,
    spellings: Sequence[str] = ALL,
    **request: object,
) -> None:
    """Every spelling has the bound `figure`, and the same to 1e-9."""
    path = folder / "net.onnx"
    values = []
    for spelling in spellings:
        maxmin_mnist.write(weights, path, spelling, residual)
        values.append(factor * upper(path, **request))
    assert values[0] == pytest.approx(figure, rel=1e-5)
    assert values == pytest.approx([values[0]] * len(values), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("l2_2fc_16", 22.074381),
        ("l2_2fc_32", 38.075035),
        ("l2_5fc_32", 193.179587),
        ("l2_8fc_32", 309.193498),
        ("res_5_32", 20.614751),
    ],
)
def test_every_spelling_has_the_same_bound(shared_data, tmp_path, name, figure):
    weights = maxmin_mnist.read(shared_data / "maxmin_mnist" / f"{name}.npz")
    assert_same(weights, figure, tmp_path, residual=name.startswith("res"))


def test_the_middle_of_the_residual_network_times_the_norms(shared_data, tmp_path):
    first, *hidden, last = maxmin_mnist.read(shared_data / "maxmin_mnist" / "res_5_32.npz")
    norms = np.linalg.norm(first, 2) * np.linalg.norm(last, 2)
    assert_same([np.eye(32), *hidden, np.eye(32)], 29.747643, tmp_path, residual=True, factor=norms)


def test_linf_to_one_output(shared_data, tmp_path):
    weights = maxmin_mnist.read(shared_data / "maxmin_mnist" / "l2_2fc_16.npz")
    assert_same(weights, 166.12949, tmp_path, spellings=("slices", "relu", SAVED), norm="inf", outputs="8")


def test_bounds_are_above_the_exact_constant(shared_data, tmp_path):
    # the largest norm over all 256 patterns of l2_2fc_16, each of which some input attains
    weights = maxmin_mnist.read(shared_data / "maxmin_mnist" / "l2_2fc_16.npz")
    patterns = 1.0 - 2.0 * (np.arange(256)[:, None] >> np.arange(8) & 1)
    mean = np.kron(np.eye(8), np.full((2, 2), 0.5))
    first, last = weights
    norms = []
    for signs in patterns:
        swap = np.kron(np.diag(signs), np.array([[0.5, -0.5], [-0.5, 0.5]]))
        norms.append(np.linalg.norm(last @ (mean + swap) @ first, 2))
    assert max(norms) == pytest.approx(22.021333, abs=1e-6)
    path = tmp_path / "net.onnx"
    maxmin_mnist.write(weights, path, "topk")
    result = lipcert.bound(path, lower_seconds=5.0)
    assert result.lower <= max(norms) * (1 + 1e-12) <= result.upper
    assert result.lower == pytest.approx(max(norms), rel=1e-6)


@pytest.mark.parametrize("spelling", ALL)
def test_a_pair_is_one_channel(tmp_path, spelling):
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(shape) for shape in ((8, 5), (8, 8), (3, 8))]
    maxmin_mnist.write(weights, tmp_path / "net.onnx", spelling)
    assert channels(prepare(lipcert.load(tmp_path / "net.onnx"))) == 8


@pytest.mark.parametrize("residual", [False, True])
def test_the_spellings_are_one_function(tmp_path, residual):
    # `load` has compared each graph with ONNX Runtime
    rng = np.random.default_rng(1)
    weights = [rng.standard_normal(shape).astype(np.float32) for shape in ((8, 5), (8, 8), (8, 8), (3, 8))]
    x = rng.standard_normal((5, 100))
    expected = by_numpy(weights, x, residual)
    for spelling in ALL:
        maxmin_mnist.write(weights, tmp_path / "net.onnx", spelling, residual)
        y = forward(lipcert.load(tmp_path / "net.onnx"), x)
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12, err_msg=spelling)


def by_numpy(weights: list[np.ndarray], x: np.ndarray, residual: bool) -> np.ndarray:
    def sort(z: np.ndarray) -> np.ndarray:
        return np.sort(z.reshape(-1, 2, z.shape[1]), axis=1).reshape(z.shape)

    first, *hidden, last = (w.astype(np.float64) for w in weights)
    x = first @ x
    for w in hidden:
        x = x + sort(w @ x) if residual else w @ sort(x)
    return last @ (x if residual else sort(x))


def test_the_command_writes_the_network(shared_data, tmp_path):
    weights = shared_data / "maxmin_mnist" / "res_5_32.npz"
    arguments = [str(weights), str(tmp_path / "net.onnx"), "--spelling", "reductions", "--residual"]
    assert CliRunner().invoke(maxmin_mnist.main, arguments).exit_code == 0
    assert upper(tmp_path / "net.onnx") == pytest.approx(20.614751, rel=1e-5)
