"""What the proof costs: networks that others trained lose at most 1e-6 of the native solver's optimum (docs/proof.md)."""

from __future__ import annotations

import numpy as np
import pytest

import lipcert
from lipcert.graph import build as nn

SMALL = ["l2_2fc_16", "l2_2fc_32", "l2_5fc_32", "res_5_32", "gcas", "cartpole", "sort4_dynamo", "hh_dynamo"]
LARGE = [
    "l2_8fc_32",
    "mlp_L5_W32",
    "ACASXU_run2a_1_1_batch_2000",
    "ACASXU_run2a_2_3_batch_2000",
    "tllBench_n2_N16_1_0",
    "lindex",
    "mnist-net_256x2",
]


def load(folder, name):
    path = folder / "onnx" / f"{name}.onnx"
    if path.exists():
        return lipcert.load(path)
    with np.load(folder / "maxmin_mnist" / f"{name}.npz") as file:
        first, *hidden, last = (file[f"W{k}"] for k in range(len(file.files)))
    if name.startswith("res"):
        middle = [nn.residual(nn.linear(w), nn.maxmin()) for w in hidden]
    else:
        middle = [nn.maxmin(), *(layer for w in hidden for layer in (nn.linear(w), nn.maxmin()))]
    return nn.sequential(nn.linear(first), *middle, nn.linear(last))


@pytest.mark.parametrize("name", SMALL + [pytest.param(name, marks=pytest.mark.slow) for name in LARGE])
def test_the_proof_loses_less_than_1e_6(shared_data, name):
    graph = load(shared_data, name)
    found = lipcert.bound(graph, method="neuron", solver="native", lower=False)
    assert found.notes == ()
    assert found.relative_gap <= 1e-8
    # the dual value lies within the gap below the solver's own value
    assert (1.0 - 1e-8) * found.proposed <= found.upper <= (1.0 + 1e-6) * found.proposed
    assert lipcert.verify(found.certificate, graph).value == found.upper
