"""Networks of others: every file equals ONNX Runtime at seeded points, or is refused with its reason."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import lipcert
from lipcert.errors import UnsupportedModel
from lipcert.graph import build as nn
from lipcert.graph.evaluate import forward
from lipcert.graph.linear_maps import Convolution, Dense
from lipcert.graph.nodes import Affine, Graph
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
    r"h_lstmcell": "2 outputs",
    r"j_deq_torch_while_loop": "goes on depends on the network's input|trip count",
    r"j_deq_torch_symbolic__": "the equation of the implicit layer is missing",
}


# families a to f: the name of the activation, and its channels for n numbers
GROUPS = {
    r"a_deel_LPReLU": (r"\d+ LeakyReLU", lambda n: 0),  # its slope is 1
    r"a_deel_MaxMin": (r"\d+ ReLU", lambda n: n),  # relu(x) and relu(−x)
    r"[abc]_.*(GroupSort2|sort_desc|lnets|maxmin)": (r"\d+ MaxMin pairs", lambda n: n // 2),
    r"[de]_.*(g2_|[Gg]roup[Ss]ort2|maxmin)": (r"\d+ MaxMin pairs", lambda n: n // 2),
    r"[af]_.*[Hh]ouse[Hh]older": (r"\d+ Householder reflections of 2", lambda n: n // 2),
    r"a_deel_GroupSort4|d_.*(g4|unflatten)": (r"\d+ GroupSort groups of 4", lambda n: 5 * n // 4),
    r"d_.*g5": (r"\d+ GroupSort groups of 5", lambda n: 9 * n // 5),
    r"a_deel_FullSort": (r"1 GroupSort group of 8", lambda n: 19),
    r"d_.*(g20|full)": (r"1 GroupSort group of 20", lambda n: 19),
}


def compare(path: Path, graph: Graph) -> None:
    """The graph in float64 against ONNX Runtime, as users run it, at points of three sizes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    (info,) = session.get_inputs()
    shape = [d if isinstance(d, int) else 1 for d in info.shape]
    dtype = np.float64 if "double" in info.type else np.float32
    rng = np.random.default_rng(7)
    for scale in (0.3, 1.0, 4.0):
        x = (scale * rng.standard_normal(shape)).astype(dtype)
        theirs = np.asarray(session.run(None, {info.name: x})[0], dtype=np.float64).ravel()
        ours = forward(graph, x.astype(np.float64).ravel())
        assert np.abs(ours - theirs).max() <= 1e-5 * (1.0 + np.abs(theirs).max()), path.name


def test_networks(shared_data: Path) -> None:
    files = {path.stem: path for path in (shared_data / "onnx").glob("*.onnx")}
    assert set(files) == set(SIZES)
    for name, path in files.items():
        graph = load(path, check=False)
        assert (graph.input_size, graph.output_size) == SIZES[name], name
        compare(path, graph)


def test_exports(shared_data: Path) -> None:
    files = sorted((shared_data / "exports").glob("*.onnx"))
    assert len(files) == 236
    used = set()
    for path in files:
        pattern = next((p for p in REFUSED if re.match(p, path.name)), None)
        if re.match(r"h_(grucell|rnncell)", path.name):
            # of two inputs, which the import itself compares
            load(path)
        elif pattern is None:
            compare(path, load(path, check=False))
        else:
            with pytest.raises(UnsupportedModel, match=REFUSED[pattern]):
                load(path)
            used.add(pattern)
    assert used == set(REFUSED)


def test_pools_of_the_euclidean_norm_are_one_block(shared_data: Path) -> None:
    """x², a mean, sign·relu(|·|), a root: what the exporters make of them is 1-Lipschitz."""
    for name in ("h_lppool2", "i_deel_ScaledL2NormPool2d", "i_deel_ScaledAdaptativeL2NormPool2d"):
        graph = load(shared_data / "exports" / f"{name}__dynamo_op20.onnx")
        assert all("Euclidean norm" in text for text in graph.summary().activations), name
        assert lipcert.bound(graph, lower=False).upper == pytest.approx(1.0, abs=1e-6), name


def test_group_activations_are_named_and_cost_what_they_should(shared_data: Path) -> None:
    files = sorted((shared_data / "exports").glob("[a-f]_*.onnx"))
    assert len(files) == 65
    used = set()
    for path in files:
        pattern = next(p for p in GROUPS if re.match(p, path.name))
        used.add(pattern)
        name, count = GROUPS[pattern]
        summary = load(path, check=False).summary()
        assert re.fullmatch(name, ", ".join(summary.activations)), (path.name, summary.activations)
        assert summary.channels == count(summary.inputs), path.name
    assert used == set(GROUPS)
    for path in (*(shared_data / "onnx").glob("*hh_*"), *(shared_data / "exports").glob("l_deel_HouseHolder*")):
        assert load(path, check=False).summary().activations == ("4 Householder reflections of 2",)


@pytest.mark.parametrize("pattern", ["a_deel_[GFH]*_fc", "[b-e]_*_fc", "f_*_fc"])
def test_group_activations_behind_an_orthogonal_matrix_have_bound_one(shared_data: Path, pattern: str) -> None:
    files = sorted((shared_data / "exports").glob(f"{pattern}__dynamo_op20.onnx"))
    assert len(files) >= 4
    for path in files:
        graph = load(path, check=False)
        n = graph.input_size
        rotation = nn.linear(np.linalg.qr(np.random.default_rng(3).standard_normal((n, n)))[0])
        bound = lipcert.bound(nn.sequential(rotation, graph), lower=False)
        # the vectors of the reflections are rounded to float32
        assert bound.upper == pytest.approx(2.0 if "_k2_" in path.name else 1.0, rel=1e-6), path.name


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


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "most"), [("cifar_deep_kw", 13.0), ("resnet_2b", 150.0), ("Convnet_maxpool", 550.0)])
def test_convolutional_networks_have_a_bound_below_the_norm_product(shared_data: Path, name: str, most: float) -> None:
    """Up to a minute of processor time each: the proof is a Cholesky factorisation of thousands of rows."""
    path = shared_data / "onnx" / f"{name}.onnx"
    graph = load(path)
    compare(path, graph)
    bound = lipcert.bound(graph, method="layer", solver="matrix-free", lower=False, time_limit=5.0)
    assert bound.verified
    assert bound.product is not None
    assert bound.upper < min(most, 0.95 * bound.product)
