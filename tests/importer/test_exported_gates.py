"""Gated linear units as PyTorch's exporters write them: `load` compares values, bounds lie above sampled Jacobians."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lipcert
from lipcert.graph.evaluate import record
from lipcert.importer import load

GATES = ("glu", "swiglu", "geglu", "geglu_tanh", "reglu", "mish", "bilinear", "clamped", "interleaved")
EXPORTERS = [("legacy", 13), ("legacy", 17), ("legacy", 20), ("dynamo", 18), ("dynamo", 20), ("dynamo", 23)]
FAST = [("legacy", 13, name) for name in GATES] + [("dynamo", 23, name) for name in ("swiglu", "geglu_tanh", "clamped")]


@pytest.fixture(scope="module")
def torch() -> Any:
    module = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    return module


def gated(torch: Any, kind: str) -> Any:
    """A linear layer, the gate of its two halves, a linear layer."""
    nn, functional = torch.nn, torch.nn.functional
    torch.manual_seed(0)

    def gate(x: Any) -> Any:
        a, b = (x[..., ::2], x[..., 1::2]) if kind == "interleaved" else x.chunk(2, -1)
        if kind == "glu":
            return functional.glu(x)
        if kind in ("swiglu", "interleaved"):
            return functional.silu(a) * b
        if kind.startswith("geglu"):
            return a * functional.gelu(b, approximate="tanh" if "tanh" in kind else "none")
        if kind == "clamped":
            a, b = a.clamp(max=7.0), b.clamp(-7.0, 7.0)
            return a * torch.sigmoid(1.702 * a) * (b + 1)
        other = {"reglu": functional.relu, "mish": functional.mish, "bilinear": lambda x: x}[kind]
        return other(a) * b

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 12), nn.Linear(6, 3)

        def forward(self, x: Any) -> Any:
            return self.last(gate(self.first(x)))

    return Gated().eval()


def check(torch: Any, path: Path, exporter: str, opset: int, kind: str) -> None:
    with warnings.catch_warnings():
        # the exporters warn about themselves
        warnings.simplefilter("ignore")
        dynamo = exporter == "dynamo"
        torch.onnx.export(
            gated(torch, kind), (torch.zeros(1, 4),), path, opset_version=opset, dynamo=dynamo, verbose=False
        )
    graph = load(path)
    region = lipcert.Box(-0.05, 0.05)
    found = lipcert.bound(graph, region=region, lower=False)
    samples = region.sample(40, np.random.default_rng(0), 4)
    largest = max(float(np.linalg.norm(record(graph, [x[:, None]]).jacobian(0), 2)) for x in samples.T)
    assert largest <= found.upper <= 1.3 * largest


@pytest.mark.parametrize(("exporter", "opset", "kind"), FAST)
def test_gates(torch: Any, tmp_path: Path, exporter: str, opset: int, kind: str) -> None:
    check(torch, tmp_path / "n.onnx", exporter, opset, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", GATES)
def test_gates_of_all_versions(torch: Any, tmp_path: Path, kind: str) -> None:
    for exporter, opset in EXPORTERS:
        check(torch, tmp_path / "n.onnx", exporter, opset, kind)
