"""PyTorch modules as graphs: values, precision, modes, refusals."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import lipcert
from lipcert.graph.evaluate import forward
from lipcert.graph.nodes import Affine, FixedPoint, Graph
from lipcert.importer.from_torch import from_torch


@pytest.fixture(scope="module")
def torch() -> Any:
    module = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    module.manual_seed(0)
    return module


def assert_equal(graph: Graph, module: Any, x: Any) -> None:
    """The graph gives the module's values, sample by sample."""
    wanted = module.eval()(x).detach().double().numpy()
    got = forward(graph, x.double().numpy().reshape(len(x), -1).T).T.reshape(wanted.shape)
    assert np.abs(got - wanted).max() <= 1e-5 * (1.0 + np.abs(wanted).max())


@pytest.mark.parametrize("exporter", ["auto", "legacy"])
def test_a_convolutional_network(torch: Any, exporter: str) -> None:
    nn = torch.nn
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(), nn.Linear(36, 3)
    )
    module(torch.randn(16, 1, 8, 8))
    x = torch.randn(5, 1, 8, 8)
    graph = from_torch(module, x, exporter=exporter)
    assert (graph.input_size, graph.output_size, graph.source) == (64, 3, "Sequential")
    assert_equal(graph, module, x)


def test_float64_weights_stay_exact(torch: Any) -> None:
    module = torch.nn.Linear(4, 3).double()
    # the example's own type does not matter
    graph = from_torch(module, torch.zeros(1, 4))
    (node,) = (node for _, node in graph.walk() if isinstance(node, Affine))
    np.testing.assert_array_equal(node.maps[0] @ np.eye(4), module.weight.detach().numpy())
    np.testing.assert_array_equal(node.bias, module.bias.detach().numpy())


def test_modes_are_restored(torch: Any) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Dropout(), torch.nn.Linear(3, 1))
    module.train()
    module[1].eval()
    from_torch(module, torch.zeros(1, 3), exporter="legacy")
    assert [part.training for part in module.modules()] == [True, True, False, True]


def test_parametrised_weights_are_those_that_pytorch_evaluates(torch: Any) -> None:
    from torch.nn.utils.parametrizations import orthogonal, weight_norm

    module = torch.nn.Sequential(
        orthogonal(torch.nn.Linear(6, 6), orthogonal_map="cayley"), torch.nn.ReLU(), weight_norm(torch.nn.Linear(6, 2))
    )
    x = torch.randn(4, 6)
    graph = from_torch(module, x)
    assert_equal(graph, module, x)
    assert lipcert.bound(graph, method="product").upper < 1.00001 * float(
        torch.linalg.matrix_norm(module[2].weight.detach(), 2)
    )
    assert hasattr(module[0], "parametrizations")


def test_a_vector_is_one_sample(torch: Any) -> None:
    module = torch.nn.Linear(4, 2)
    assert from_torch(module, np.zeros(4), exporter="legacy").input_size == 4


def test_a_branch_on_the_data_is_refused_by_both_exporters(torch: Any) -> None:
    class Branch(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x if x.sum() > 0 else -2 * x

    with pytest.raises(lipcert.UnsupportedModel, match=r"Branch: .*dynamo: .*data-dependent.*; legacy: .*trace"):
        from_torch(Branch(), torch.zeros(1, 4))


def test_an_exporter_that_is_wrong_is_found(torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    other = torch.nn.Linear(4, 2)
    export = torch.onnx.export
    monkeypatch.setattr(torch.onnx, "export", lambda module, *rest, **options: export(other, *rest, **options))
    with pytest.raises(lipcert.InvalidModel, match="differs from PyTorch"):
        from_torch(torch.nn.Linear(4, 2), torch.zeros(1, 4), exporter="legacy")


def test_what_is_no_module_or_example(torch: Any) -> None:
    linear = torch.nn.Linear(4, 2)
    for module, example, options, words in (
        (3, torch.zeros(1, 4), {}, "torch.nn.Module is needed"),
        (linear, (torch.zeros(1, 4), torch.zeros(1, 4)), {}, "one tensor"),
        (linear, torch.zeros(0, 4), {}, "at least one sample"),
        (linear, torch.zeros(1, 5), {}, r"shape \(1, 5\).*cannot be multiplied"),
        (linear, torch.zeros(1, 4), {"exporter": "guess"}, "auto, dynamo, legacy"),
        (linear, torch.zeros(1, 4), {"functions": ["no function"]}, "cannot be read"),
    ):
        with pytest.raises(lipcert.InvalidRequest, match=words):
            from_torch(module, example, **options)


def test_unsupported_ops_are_named_without_the_temporary_folder(torch: Any) -> None:
    class Floor(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.floor(x)

    with pytest.raises(lipcert.UnsupportedModel, match=r"^Floor, node .*Floor"):
        from_torch(Floor(), torch.zeros(1, 4), exporter="legacy")


def test_without_pytorch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(lipcert.MissingExtra, match=r"pip install 'lipcert\[torch\]'"):
        lipcert.from_torch(None, None)


CELL = """
<domain: "lipcert.cell", opset_import: ["": 18]>
deq (x, u, W) => (following) {
    Wt = Transpose <perm = [1, 0]> (W)
    z = MatMul (x, Wt)
    t = Add (z, u)
    following = Relu (t)
}"""
SOLVER = """
<domain: "lipcert.fixedpoint", opset_import: ["": 18, "lipcert.cell": 1]>
deq (u, W) => (state) {
    steps = Constant <value_int = 200> ()
    yes = Constant <value = bool {1}> ()
    state = Loop (steps, yes, u) <body = iteration (int64 k, bool go, float[n, m] x) => (bool go_on, float[n, m] following) {
        following = lipcert.cell.deq (x, u, W)
        go_on = Identity (go)
    }>
}"""


def test_implicit_layers_by_symbolic_ops(torch: Any) -> None:
    class Implicit(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.U = torch.nn.Linear(3, 8)
            self.W = torch.nn.Parameter(0.1 * torch.randn(8, 8))
            self.out = torch.nn.Linear(8, 2)

        def forward(self, x: Any) -> Any:
            u = self.U(x)
            state = torch.onnx.ops.symbolic(
                "lipcert.fixedpoint::deq", (u, self.W), {}, dtype=u.dtype, shape=u.shape, version=1
            )
            return self.out(state)

    graph = from_torch(Implicit(), torch.zeros(1, 3), functions=[CELL, SOLVER])
    assert [node.size for _, node in graph.walk() if isinstance(node, FixedPoint)] == [8]
    with pytest.raises(lipcert.UnsupportedModel, match=r"lipcert\.cell\.deq"):
        from_torch(Implicit(), torch.zeros(1, 3), check=False)
