"""`save`: ONNX Runtime runs the file to the values of the graph, and `load` gives the graph back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import scipy.sparse as sp

from lipcert.activations import ActivationRecord
from lipcert.activations.record import Example
from lipcert.activations.table import TABLE
from lipcert.errors import InvalidRequest
from lipcert.graph import build as nn
from lipcert.graph.evaluate import forward
from lipcert.graph.linear_maps import Convolution, Diagonal, Index, Sparse
from lipcert.graph.nodes import Graph, GraphBuilder
from lipcert.importer import load, save, writer

Parameters = Mapping[str, np.ndarray]


def variants(record: ActivationRecord) -> Iterator[tuple[int, Parameters, bool]]:
    """Blocks and parameters of a record, and whether it takes positive numbers only.

    The parameters are as they are, in float32 numbers, and another set for each block.
    """
    for example in record.examples:
        yield example.block, example.parameters, example.positive
        yield example.block, {key: narrow(value) for key, value in example.parameters.items()}, example.positive
    first = record.examples[0]
    alike = [e.parameters for e in record.examples if kind(e) == kind(first)]
    if len(alike) > 1:
        merged = {key: narrow(np.concatenate([p[key] for p in alike])) for key in alike[0]}
        yield first.block, merged, first.positive


def kind(example: Example) -> tuple[object, ...]:
    return example.block, example.positive, *example.parameters


def narrow(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32).astype(np.float64)


CASES = [
    pytest.param(name, *case, id=f"{name}-{k}")
    for name, record in TABLE.items()
    if name != "held"
    for k, case in enumerate({repr(case): case for case in variants(record)}.values())
]


def run(path: Path, x: np.ndarray) -> np.ndarray:
    """ONNX Runtime on samples as columns."""
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    info = session.get_inputs()[0]
    dtype = np.float64 if info.type == "tensor(double)" else np.float32
    return np.asarray(session.run(None, {info.name: x.T.astype(dtype)})[0], dtype=np.float64).T


def check(graph: Graph, path: Path, *, tolerance: float = 2e-6, again: bool = True) -> Graph | None:
    """Save, run, load, compare."""
    save(graph, path)
    x = np.random.default_rng(1).standard_normal((graph.input_size, 7)).astype(np.float32).astype(np.float64) * 2.0
    expected = forward(graph, x)
    room = tolerance * (1.0 + np.abs(expected).max())
    assert np.abs(run(path, x) - expected).max() <= room
    if not again:
        return None
    loaded = load(path)
    assert np.abs(forward(loaded, x) - expected).max() <= room
    return loaded


@pytest.mark.parametrize(("kind", "block", "parameters", "positive"), CASES)
def test_activation(kind: str, block: int, parameters: Parameters, positive: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sets = max((len(value) for value in parameters.values()), default=1)
    size = block * (sets if sets > 1 else 3)
    weight = rng.standard_normal((size, 3)).astype(np.float32)
    before = [nn.softplus(), nn.linear(np.eye(size), np.full(size, 0.5))] if positive else []
    layers = [nn.linear(weight, np.arange(float(size))), *before, nn.activation(kind, block, **parameters)]
    check(nn.sequential(*layers), tmp_path / "net.onnx")


def test_a_held_signal_is_not_saved(tmp_path: Path) -> None:
    held = nn.activation("held", low=np.zeros(1), high=np.ones(1), at=np.zeros(1))
    with pytest.raises(InvalidRequest, match="held"):
        save(nn.sequential(nn.linear(np.eye(2)), held), tmp_path / "net.onnx")


def test_float64_weights_come_back_exactly(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    graph = nn.sequential(nn.linear(rng.standard_normal((6, 4)), rng.standard_normal(6)), nn.maxmin())
    graph = nn.sequential(graph, nn.linear(rng.standard_normal((2, 6))), nn.leaky_relu(0.5))
    loaded = check(graph, tmp_path / "net.onnx", tolerance=1e-7)
    assert loaded is not None
    assert loaded.fingerprint == graph.fingerprint


def test_float32_weights_come_back_exactly(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    weight = rng.standard_normal((6, 4)).astype(np.float32)
    graph = nn.sequential(nn.linear(weight), nn.maxmin(), nn.linear(weight.T, np.ones(4)), nn.group_sort(4))
    loaded = check(graph, tmp_path / "net.onnx")
    assert loaded is not None
    assert loaded.fingerprint == graph.fingerprint
    assert onnx.load(tmp_path / "net.onnx").graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_every_linear_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_DENSE_ENTRIES", 1)
    rng = np.random.default_rng(3)
    builder = GraphBuilder()
    x = builder.input(18)
    moved = builder.affine([x], [Index(rng.integers(-1, 18, 18), 18)])
    scaled = builder.affine([moved, x], [Diagonal(rng.standard_normal(18)), Index(np.arange(18)[::-1].copy(), 18)])
    sparse = builder.affine([scaled], [Sparse(sp.random_array((18, 18), density=0.06, rng=rng, format="csr"))])
    kernel = rng.standard_normal((4, 1, 2, 2)).astype(np.float32).astype(np.float64)
    conv = Convolution(kernel, (3, 3), (1, 2), (1, 1), (1, -1, 0, 2), 2)
    out = builder.affine([sparse], [conv], rng.standard_normal(conv.shape[0]))
    exact = Convolution(rng.standard_normal((2, 4, 1, 1)), conv.size_out, (1, 1), (1, 1), (0, 0, 0, 0))
    check(builder.finish(builder.affine([out], [exact])), tmp_path / "net.onnx")


@pytest.mark.parametrize(
    ("phi", "scale"), [(nn.relu(), 0.7), (nn.maxmin(), 0.7), (nn.tanh(), 0.7), (nn.relu(), 1.5), (nn.tanh(), 1.5)]
)
def test_fixed_point(phi: nn.Layer, scale: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    W = np.linalg.qr(rng.standard_normal((6, 6)))[0] * 0.9
    if scale > 1:
        # ‖W‖ > 1, but I − W is monotone: negative definite symmetric part
        W = 0.5 * np.eye(6) - (W @ W.T + 0.6 * (W - W.T)) * scale / 1.5
        assert np.linalg.norm(W, 2) > 1
    implicit = nn.fixed_point(W, rng.standard_normal((6, 4)), rng.standard_normal(6), phi)
    graph = nn.sequential(nn.linear(rng.standard_normal((4, 3))), nn.relu(), implicit, nn.linear(np.ones((2, 6))))
    loaded = check(graph, tmp_path / "net.onnx", tolerance=1e-5)
    assert loaded is not None
    assert loaded.fingerprint == graph.fingerprint


def test_fixed_point_inside_a_fixed_point(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    inner = nn.fixed_point(0.25 * np.eye(3), np.eye(3), None, nn.relu())
    cell = GraphBuilder()
    s, x = cell.input(3), cell.input(2)
    mixed = cell.affine([s, x], [nn.Dense(0.25 * np.eye(3)), nn.Dense(rng.standard_normal((3, 2)))])
    graph = cell.finish(inner.add(cell, mixed))
    outer = nn.Layer(lambda builder, x: builder.fixed_point([x], graph), 2)
    check(nn.sequential(outer), tmp_path / "net.onnx", tolerance=1e-5)


def test_no_iteration_is_said_so(tmp_path: Path) -> None:
    graph = nn.sequential(nn.fixed_point([[3.0]], [[1.0]], None, nn.activation("leaky_relu", alpha=1.0)))
    with pytest.raises(InvalidRequest, match="no damped iteration"):
        save(graph, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "net.onnx"
    target.write_text("old")

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(InvalidRequest, match="No space left"):
        save(nn.sequential(nn.linear([[1.0]])), target)
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]
