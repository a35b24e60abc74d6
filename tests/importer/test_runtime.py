"""Files in types that ONNX Runtime has no kernels for are compared all the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lipcert.bounds.api import bound
from lipcert.errors import InvalidModel
from lipcert.importer import check, load
from lipcert.importer.inputs import Inputs, Signal
from tests.importer.conftest import Build

OPS = ["Elu", "Selu", "LeakyRelu", "HardSigmoid", "Softplus", "Mish", "Gelu", "Celu", "HardSwish", "Softsign", "Erf"]


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.BFLOAT16], ids=["double", "bfloat16"])
def test_activations(op: str, kind: int, write: Build) -> None:
    nodes = [helper.make_node("MatMul", ["x", "W"], ["z"]), helper.make_node(op, ["z"], ["y"])]
    graph = load(write(nodes, {"W": np.array([[1.0, 0.5], [0.25, -2.0]])}, [1, 2], opset=22, kind=kind))
    assert graph.output_size == 2


@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.BFLOAT16], ids=["double", "bfloat16"])
def test_convolution_and_pooling(kind: int, write: Build) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "K"], ["c"]),
        helper.make_node("PRelu", ["c", "a"], ["p"]),
        helper.make_node("AveragePool", ["p"], ["y"], kernel_shape=[2, 2]),
    ]
    kernel = np.random.default_rng(0).standard_normal((2, 1, 2, 2))
    graph = load(write(nodes, {"K": kernel, "a": np.array([[[0.25]], [[0.5]]])}, [1, 1, 4, 4], opset=22, kind=kind))
    assert graph.notes == ("the file was compared in float32, since ONNX Runtime cannot run it in its own type",)
    assert bound(graph, lower=False).notes[0] == graph.notes[0]


def test_what_overflows_in_float32_is_compared_in_double(write: Build) -> None:
    nodes = [helper.make_node("MatMul", ["x", "W"], ["z"]), helper.make_node("Elu", ["z"], ["y"])]
    graph = load(write(nodes, {"W": np.full((2, 1), 1e200)}, [1, 2], kind=TensorProto.DOUBLE))
    assert "onnx.reference" in graph.notes[0]


def test_a_wrong_graph_is_noticed_in_float32(write: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write([helper.make_node("Elu", ["x"], ["y"])], {}, [1, 2], kind=TensorProto.DOUBLE)
    wrong = load(write([helper.make_node("Relu", ["x"], ["y"])], {}, [1, 2]))
    write([helper.make_node("Elu", ["x"], ["y"])], {}, [1, 2], kind=TensorProto.DOUBLE)
    inputs = Inputs((Signal("x", (1, 2), np.dtype(np.float64)),))
    with pytest.raises(InvalidModel, match="differs"):
        check.compare(path, check.Imported(wrong, [], inputs), "y")


def test_a_file_that_nothing_runs(write: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write([helper.make_node("Elu", ["x"], ["y"])], {}, [1, 2], kind=TensorProto.DOUBLE)
    refuse: Callable[..., None] = lambda *args, **options: (_ for _ in ()).throw(RuntimeError("no kernel"))  # noqa: E731
    monkeypatch.setattr("onnxruntime.InferenceSession", refuse)
    monkeypatch.setattr("lipcert.importer.runtime.ReferenceEvaluator", refuse)
    with pytest.raises(InvalidModel, match="ONNX Runtime cannot run it: no kernel"):
        load(path)


def test_types_inside_are_narrowed(write: Build) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["d"], to=TensorProto.DOUBLE),
        helper.make_node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(np.array([2.0, 3.0]))),
        helper.make_node("Mul", ["d", "c"], ["m"]),
        helper.make_node("Selu", ["m"], ["s"]),
        helper.make_node("Cast", ["s"], ["y"], to=TensorProto.FLOAT),
    ]
    assert load(write(nodes, {}, [1, 2])).output_size == 2
