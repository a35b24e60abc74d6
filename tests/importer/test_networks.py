"""Networks of others: every file equals ONNX Runtime (`load` compares) or is refused with its reason."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from lipcert.errors import UnsupportedModel
from lipcert.graph.linear_maps import Convolution, Dense
from lipcert.graph.nodes import Affine
from lipcert.importer import load

SIZES = {
    "ACASXU_run2a_1_1_batch_2000": (5, 5),
    "ACASXU_run2a_2_3_batch_2000": (5, 5),
    "Convnet_maxpool": (784, 10),
    "NN_rul_small_window_20": (400, 1),
    "cartpole": (4, 2),
    "chunk_dynamo": (4, 3),
    "cifar_deep_kw": (3072, 10),
    "cnn_C3_CH8": (784, 10),
    "deel_GS2_legacy": (4, 3),
    "deel_HH_dynamo": (4, 3),
    "gcas": (14, 14),
    "hh_dynamo": (4, 3),
    "lindex": (1, 1),
    "mlp_L5_W32": (784, 10),
    "mnist-net_256x2": (784, 10),
    "resnet_2b": (3072, 10),
    "sort2_legacy": (4, 3),
    "sort4_dynamo": (4, 3),
    "tllBench_n2_N16_1_0": (2, 1),
    "view_legacy": (4, 3),
}

# the list of ../shared/data/README.md, with the reasons; h_bilinear_einsum is a matrix product with a constant
REFUSED = {
    r"g_act_(hardshrink|threshold_disc)": "a jump",
    r"g_act_sign": "jumps",
    r"g_act_square": "power 2",
    r"g_act_glu": "product of two signals",
    r"h_(layernorm|instancenorm|groupnorm)": "a scale that depends on the signal",
    r"h_(rmsnorm|lppool2)|[il]_deel_.*(L2|conv_vanilla)": "power 2|jumps",
    r"h_normalize_l2": "division by a signal",
    r"h_(lstm|gru)__": "gates multiply",
    r"h_lstmcell": "2 outputs",
    r"h_(grucell|rnncell)": "2 inputs",
    r"h_(mha|sdpa)": "product of two signals",
    r"j_deq_torch_while_loop": "goes on depends on the network's input|trip count",
    r"j_deq_torch_symbolic__": "the equation of the implicit layer is missing",
}


def test_networks(shared_data: Path) -> None:
    files = {path.stem: path for path in (shared_data / "onnx").glob("*.onnx")}
    assert set(files) == set(SIZES)
    for name, path in files.items():
        graph = load(path)
        assert (graph.input_size, graph.output_size) == SIZES[name], name


def test_exports(shared_data: Path) -> None:
    files = sorted((shared_data / "exports").glob("*.onnx"))
    assert len(files) == 236
    used = set()
    for path in files:
        pattern = next((p for p in REFUSED if re.match(p, path.name)), None)
        if pattern is None:
            load(path)
        else:
            with pytest.raises(UnsupportedModel, match=REFUSED[pattern]):
                load(path)
            used.add(pattern)
    assert used == set(REFUSED)


def test_convolutions_stay_convolutions(shared_data: Path) -> None:
    for name in ("resnet_2b", "cifar_deep_kw"):
        begin = time.process_time()
        graph = load(shared_data / "onnx" / f"{name}.onnx")
        assert time.process_time() - begin < 2.0
        maps = [a for _, node in graph.walk() if isinstance(node, Affine) for a in node.maps]
        assert sum(isinstance(a, Convolution) for a in maps) >= 4
        assert all(a.shape[0] <= 100 for a in maps if isinstance(a, Dense))


def test_weights_computed_in_the_graph_are_said_so(shared_data: Path) -> None:
    graph = load(shared_data / "onnx" / "mlp_L5_W32.onnx")
    assert any("computed in the graph" in text for text in graph.idealisations)
    assert not load(shared_data / "onnx" / "cartpole.onnx").idealisations


def test_missing_data_file_of_a_real_network(shared_data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "mlp_L5_W32.onnx"
    copy.write_bytes((shared_data / "onnx" / "mlp_L5_W32.onnx").read_bytes())
    with pytest.raises(Exception, match=r"data file .* is missing"):
        load(copy)
