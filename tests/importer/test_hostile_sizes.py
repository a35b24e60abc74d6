"""Small files that ask for much: refused in one line before anything of that size is made, and within the time limit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import lipcert
from lipcert import budget
from lipcert.cli import cli
from lipcert.errors import InvalidModel, InvalidRequest, OutOfTime, UnsupportedModel
from lipcert.importer import walk
from lipcert.importer.sizes import Operands, result_size
from lipcert.samples import read_labelled

BIG = 10**9
FLOAT = np.float32


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


# op, operands besides x, attributes, shape of x
ON_SIGNALS = {
    "ConvTranspose strides": ("ConvTranspose", [np.ones((1, 1, 2, 2), FLOAT)], {"strides": [BIG, BIG]}, [1, 1, 4, 4]),
    "ConvTranspose output": ("ConvTranspose", [np.ones((1, 1, 2, 2), FLOAT)], {"output_shape": [BIG, 4]}, [1, 1, 4, 4]),
    "ConvTranspose dilations": ("ConvTranspose", [np.ones((1, 1, 2), FLOAT)], {"dilations": [BIG]}, [1, 1, 4]),
    "ConvTranspose pads": ("ConvTranspose", [np.ones((1, 1, 2), FLOAT)], {"pads": [-BIG, -BIG]}, [1, 1, 4]),
    "ConvTranspose batch": ("ConvTranspose", [np.ones((1, 8, 9), FLOAT)], {}, [50_000, 1, 8]),
    "Conv pads": ("Conv", [np.ones((1, 1, 3), FLOAT)], {"pads": [2**62, 2**62]}, [1, 1, 4]),
    "Conv batch": ("Conv", [np.ones((1, 1, 3), FLOAT)], {}, [100_000, 1, 16]),
    "AveragePool kernel": ("AveragePool", [], {"kernel_shape": [BIG, BIG], "pads": [BIG] * 4}, [1, 1, 4, 4]),
    "AveragePool pads": ("AveragePool", [], {"kernel_shape": [2], "pads": [BIG, BIG]}, [1, 1, 4]),
    "AveragePool ceil": (
        "AveragePool",
        [],
        {"kernel_shape": [BIG], "strides": [1], "pads": [BIG, BIG], "ceil_mode": 1, "count_include_pad": 1},
        [1, 1, 4],
    ),
    "MaxPool kernel": ("MaxPool", [], {"kernel_shape": [BIG], "pads": [BIG - 1, BIG - 1]}, [1, 1, 4]),
    "MaxPool pads": ("MaxPool", [], {"kernel_shape": [2, 2], "pads": [BIG, 0, BIG, 0]}, [1, 1, 4, 4]),
    "MaxPool same": ("MaxPool", [], {"kernel_shape": [2**31], "auto_pad": "SAME_UPPER"}, [1, 1, 400]),
    "CumSum": ("CumSum", [ints(1)], {}, [1, 200_000]),
    "Expand": ("Expand", [ints(BIG, 3)], {}, [1, 3]),
    "Expand negative": ("Expand", [ints(-BIG, 3)], {}, [1, 3]),
    "Tile": ("Tile", [ints(BIG, BIG)], {}, [1, 3]),
    "Pad": ("Pad", [ints(0, BIG, 0, BIG)], {}, [1, 3]),
    "Pad and crop": ("Pad", [ints(0, BIG, 0, -BIG)], {}, [1, 3]),
    "Pad wrap": ("Pad", [ints(0, BIG, 0, BIG)], {"mode": "wrap"}, [1, 3]),
    "Resize": ("Resize", ["", np.array([1, 1, 1e9], FLOAT)], {}, [1, 1, 4]),
    "Resize infinite": ("Resize", ["", np.array([1, 1, np.inf], FLOAT)], {}, [1, 1, 4]),
    "Resize sizes": ("Resize", ["", "", ints(1, 1, BIG)], {}, [1, 1, 4]),
    "Gather": ("Gather", [np.zeros(2**15, np.int64)], {"axis": 0}, [1, 1000]),
    "Concat": ("Concat", ["x"] * 500, {"axis": 0}, [200, 1000]),
    "Max of many": ("Max", [np.full((1, 1), k, FLOAT) for k in range(3)], {}, [3000, 3000]),
    "a broadcast sum": ("Add", [np.ones((10_000, 1), FLOAT)], {}, [1, 10_000]),
    "a broadcast product": ("Mul", [np.ones((10_000, 1), FLOAT)], {}, [1, 10_000]),
    "a broadcast comparison": ("Greater", [np.ones((10_000, 1), FLOAT)], {}, [1, 10_000]),
    "MatMul": ("MatMul", [np.ones((4000, 1, 300), FLOAT)], {}, [4000, 1]),
    "Einsum": ("Einsum", [np.ones(3000, FLOAT)], {"equation": "ij,k->ijk"}, [100, 100]),
    "SplitToSequence": ("SplitToSequence", [], {"axis": 1}, [1, 100_000]),
    "Softmax": ("Softmax", [], {}, [1, 200_000]),
    "ReduceMax": ("ReduceMax", [], {}, [1, 200_000]),
}
ON_CONSTANTS = {
    "ConstantOfShape": ("ConstantOfShape", [ints(BIG, BIG)], {}),
    "Range": ("Range", [ints(0).reshape(()), ints(2**60).reshape(()), ints(1).reshape(())], {}),
    "OneHot": ("OneHot", [ints(1, 2), ints(BIG), np.array([0, 1], FLOAT)], {}),
    "Expand": ("Expand", [np.ones(1, FLOAT), ints(BIG)], {}),
    "Tile": ("Tile", [np.ones(1, FLOAT), ints(BIG)], {}),
    "Pad": ("Pad", [np.ones(1, FLOAT), ints(BIG, BIG)], {}),
    "Resize": ("Resize", [np.ones((1, 1, 2), FLOAT), "", np.array([1, 1, 1e9], FLOAT)], {}),
    "Gather": ("Gather", [np.ones((1, 10**5), FLOAT), np.zeros(10**5, np.int64)], {}),
    "Einsum": ("Einsum", [np.ones(10**5, FLOAT)] * 2, {"equation": "i,j->ij"}),
    "a broadcast sum": ("Add", [np.ones((10**5, 1), FLOAT), np.ones(10**5, FLOAT)], {}),
    "a broadcast selection": ("Where", [np.ones((10**5, 1), bool), np.ones(10**5, FLOAT), np.ones(1, FLOAT)], {}),
    "MatMul": ("MatMul", [np.ones((10**5, 1), FLOAT), np.ones((1, 10**5), FLOAT)], {}),
    "Conv": ("Conv", [np.ones((1, 1, 4), FLOAT), np.ones((1, 1, 2), FLOAT)], {"pads": [BIG, BIG]}),
    "ConvTranspose": ("ConvTranspose", [np.ones((1, 1, 4), FLOAT), np.ones((1, 1, 2), FLOAT)], {"strides": [BIG]}),
    "AveragePool": ("AveragePool", [np.ones((1, 1, 4), FLOAT)], {"kernel_shape": [BIG], "pads": [BIG, BIG]}),
    "MaxPool": ("MaxPool", [np.ones((1, 1, 4), FLOAT)], {"kernel_shape": [2], "pads": [BIG, BIG]}),
    "HannWindow": ("HannWindow", [ints(BIG).reshape(())], {}),
    "Col2Im": ("Col2Im", [np.ones((1, 4, 4), FLOAT), ints(10**5, 10**5), ints(2, 2)], {}),
}
MEMORY = 6 * 2**30


def written(path: Path, nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], shape: list[int]) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


def node_with(op: str, first: list[str], operands: list, attributes: dict, out: str):
    constants = {f"c{k}": v for k, v in enumerate(operands) if isinstance(v, np.ndarray)}
    names = [*first, *(f"c{k}" if isinstance(v, np.ndarray) else v for k, v in enumerate(operands))]
    return helper.make_node(op, names, [out], **attributes), constants


def on_signals(folder: Path) -> None:
    for name, (op, operands, attributes, shape) in ON_SIGNALS.items():
        node, constants = node_with(op, ["x"], operands, attributes, "z")
        last = {"SplitToSequence": "ConcatFromSequence", "Greater": "Cast"}.get(op, "Identity")
        more = {"ConcatFromSequence": {"axis": 1}, "Cast": {"to": TensorProto.FLOAT}}.get(last, {})
        written(folder / f"signal {name}.onnx", [node, helper.make_node(last, ["z"], ["y"], **more)], constants, shape)


def on_constants(folder: Path) -> None:
    for name, (op, operands, attributes) in ON_CONSTANTS.items():
        node, constants = node_with(op, [], operands, attributes, "z")
        nodes = [
            node,
            helper.make_node("Cast", ["z"], ["w"], to=TensorProto.FLOAT),
            helper.make_node("ReduceSum", ["w"], ["s"]),
            helper.make_node("Add", ["x", "s"], ["y"]),
        ]
        written(folder / f"constant {name}.onnx", nodes, constants, [1, 3])


LOADER = """
import resource, sys, time
from pathlib import Path
import lipcert
from lipcert.errors import LipcertError
lipcert.load
import lipcert.importer
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)
for path in sorted(Path(sys.argv[1]).glob("*.onnx")):
    started = time.process_time()
    try:
        lipcert.load(path, check=False)
        text = "loaded"
    except LipcertError as error:
        text = str(error)
    except BaseException as error:
        text = f"CRASH {error!r}"
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{path.stem}\\t{seconds:.2f}\\t{peak}\\t{text!r}", flush=True)
"""


@pytest.mark.parametrize("make", [on_signals, on_constants])
def test_files_that_ask_for_much(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", LOADER, str(tmp_path), str(MEMORY)], capture_output=True, text=True, check=False
    )
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert len(rows) == len(list(tmp_path.glob("*.onnx")))
    for name, seconds, peak, text in rows:
        assert "CRASH" not in text, (name, text)
        assert "more memory than there is" not in text, name
        assert "\\n" not in text, name
        assert float(seconds) < 10.0, name
        assert int(peak) < 3000, name


def test_sizes_are_told_beforehand():
    for op, operands, attributes in ON_CONSTANTS.values():
        node, _ = node_with(op, [], operands, attributes, "z")
        arrays = [v if isinstance(v, np.ndarray) else None for v in operands]
        assert result_size(node, Operands(arrays, attributes)) > 5e8, op


@pytest.mark.parametrize(
    ("op", "operands", "attributes"),
    [
        ("Tile", [np.ones((2, 3)), ints(2, 2)], {}),
        ("Pad", [np.ones((2, 3)), ints(1, 0, 0, 2)], {}),
        ("Gather", [np.ones((4, 3)), ints(0, 1, 2, 1, 1)], {"axis": 0}),
        ("OneHot", [ints(0, 1), ints(7).reshape(()), np.array([0.0, 1.0])], {}),
        ("Range", [ints(2).reshape(()), ints(20).reshape(()), ints(3).reshape(())], {}),
        ("Einsum", [np.ones((2, 3)), np.ones((3, 5))], {"equation": "ij,jk->ik"}),
        ("MatMul", [np.ones((4, 2, 3)), np.ones((3, 5))], {}),
        ("Resize", [np.ones((1, 1, 3)), None, np.array([1.0, 1.0, 2.5], np.float32)], {}),
        ("ConvTranspose", [np.ones((1, 2, 3)), np.ones((2, 2, 4))], {"strides": [3], "output_padding": [1]}),
        ("Conv", [np.ones((1, 2, 5)), np.ones((3, 2, 2))], {"pads": [1, 2]}),
        ("AveragePool", [np.ones((1, 2, 5))], {"kernel_shape": [2], "ceil_mode": 1}),
    ],
)
def test_sizes_are_not_below_the_truth(op, operands, attributes):
    node, constants = node_with(op, [], ["" if v is None else v for v in operands], attributes, "z")
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_value_info(name, onnx.TypeProto()) for name in constants],
        [helper.make_value_info("z", onnx.TypeProto())],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    (result,) = onnx.reference.ReferenceEvaluator(model).run(None, constants)
    assert result_size(node, Operands(operands, attributes)) >= np.asarray(result).size


def test_the_time_limit_covers_reading(tmp_path: Path) -> None:
    path = written(tmp_path / "net.onnx", [helper.make_node("Relu", ["x"], ["y"])], {}, [1, 3])
    with budget.within(-1.0), pytest.raises(OutOfTime):
        lipcert.load(path)
    assert lipcert.load(path).output_size == 3


def test_nested_loops_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1000 × 1000 × 1000 steps."""
    monkeypatch.setattr(walk, "MOST_STEPS", 3000)

    def loop(body: onnx.GraphProto, state: str, out: str) -> onnx.NodeProto:
        return helper.make_node("Loop", ["n", "", state], [out], body=body)

    def body(inner: onnx.NodeProto, name: str) -> onnx.GraphProto:
        kinds = {"k": TensorProto.INT64, "go": TensorProto.BOOL, "s": TensorProto.FLOAT}
        ends = {"go": TensorProto.BOOL, "t": TensorProto.FLOAT}
        return helper.make_graph(
            [inner, helper.make_node("Identity", [f"go{name}"], [f"on{name}"])],
            f"body{name}",
            [helper.make_tensor_value_info(f"{key}{name}", kind, None) for key, kind in kinds.items()],
            [
                helper.make_tensor_value_info(f"on{name}", ends["go"], None),
                helper.make_tensor_value_info(f"t{name}", ends["t"], None),
            ],
        )

    inner = body(helper.make_node("Neg", ["s0"], ["t0"]), "0")
    for k in (1, 2):
        inner = body(loop(inner, f"s{k}", f"t{k}"), str(k))
    path = written(tmp_path / "net.onnx", [loop(inner, "x", "y")], {"n": ints(1000)}, [1, 3])
    with pytest.raises(UnsupportedModel, match="loops are unrolled"):
        lipcert.load(path, check=False)


def test_crops_beyond_the_image_are_refused(tmp_path: Path) -> None:
    node, constants = node_with("Pad", ["x"], [ints(0, 0, 0, -5)], {}, "y")
    with pytest.raises(InvalidModel, match="crops more"):
        lipcert.load(written(tmp_path / "net.onnx", [node], constants, [1, 3]), check=False)


def test_long_names_are_cut_in_messages(tmp_path: Path) -> None:
    digits = "9" * 5000
    path = written(tmp_path / "net.onnx", [helper.make_node("Relu", ["x"], ["y"])], {}, [1, 3])
    with pytest.raises(InvalidRequest) as caught:
        lipcert.load(path, output=digits)
    assert len(str(caught.value)) < 400
    for arguments in (
        ["--to", digits],
        ["--outputs", digits],
        ["--seed", digits],
        ["--method", digits],
        ["--dim", digits],
    ):
        result = CliRunner().invoke(cli, ["bound", str(path), *arguments])
        assert result.exit_code == 2, arguments[0]
        assert len(result.output.strip().splitlines()[-1]) < 400, arguments[0]
    named = written(tmp_path / "named.onnx", [helper.make_node("Floor", ["x"], ["y"], name=digits)], {}, [1, 3])
    with pytest.raises(UnsupportedModel) as refused:
        lipcert.load(named)
    assert len(str(refused.value)) < 400


def test_labels_beyond_whole_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("9" * 5000 + "\n")
    (tmp_path / "x.csv").write_text("1,2\n")
    with pytest.raises(InvalidRequest, match="no whole number"):
        read_labelled(tmp_path / "x.csv", 2, labels=path)
