"""Operators in the variants that exporters write; `load` compares each with ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from lipcert.errors import InvalidModel, LipcertError, UnsupportedModel
from lipcert.graph.evaluate import forward
from lipcert.graph.linear_maps import Convolution, Dense, Diagonal, Index
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph
from lipcert.importer import load

node = helper.make_node
RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def affine_nodes(graph: Graph) -> list[Affine]:
    return [n for _, n in graph.walk() if isinstance(n, Affine)]


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 17, 21])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.5, 2.0), (1.0, 0.0)])
def test_gemm(opset: int, trans_b: int, alpha: float, beta: float, write: Any) -> None:
    weight = normal(3, 4) if trans_b else normal(4, 3)
    gemm = node("Gemm", ["x", "W", "b"], ["y"], transB=trans_b, alpha=alpha, beta=beta)
    assert load(write([gemm], {"W": weight, "b": normal(3)}, ["n", 4], opset=opset)).output_size == 3


def test_gemm_with_the_signal_on_the_right_and_transposed(write: Any) -> None:
    gemm = node("Gemm", ["W", "x", "b"], ["y"], transA=1, transB=1, alpha=2.0)
    assert load(write([gemm], {"W": normal(5, 3), "b": normal(3, 1)}, [2, 5])).output_size == 6


def test_a_layer_is_one_affine_node_however_it_is_written(write: Any) -> None:
    weight, bias = normal(4, 3), normal(3)
    constants = {"W": weight, "b": bias}
    first = load(write([node("Gemm", ["x", "W", "b"], ["y"])], constants, [1, 4]))
    ways = [
        [node("MatMul", ["x", "W"], ["z"]), node("Add", ["z", "b"], ["y"])],
        [node("MatMul", ["x", "W"], ["z"]), node("Add", ["b", "z"], ["y"])],
        [node("Identity", ["x"], ["i"]), node("MatMul", ["i", "W"], ["z"]), node("Sum", ["z", "b"], ["y"])],
    ]
    for nodes in ways:
        assert load(write(nodes, constants, [1, 4])).fingerprint == first.fingerprint
    (only,) = affine_nodes(first)
    assert isinstance(only.maps[0], Dense)
    np.testing.assert_array_equal(only.maps[0].matrix, weight.T.astype(np.float64))


@pytest.mark.parametrize(
    ("shape", "weight", "left"),
    [
        ([1, 4], (4, 3), True),
        ([2, 4], (4, 3), True),
        ([4], (4, 3), True),
        ([4], (4,), True),
        ([4, 1], (3, 4), False),
        ([4], (3, 4), False),
        ([2, 3, 4], (4, 5), True),
        ([2, 3, 4], (2, 4, 5), True),
        ([1, 3, 4], (2, 5, 3), False),
    ],
)
def test_matmul_on_either_side(shape: list[int], weight: tuple[int, ...], left: bool, write: Any) -> None:
    operands = ["x", "W"] if left else ["W", "x"]
    load(write([node("MatMul", operands, ["y"])], {"W": normal(*weight)}, shape))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 1), (5, 2, 3)])
def test_arithmetic_with_constants_that_broadcast_either_way(
    op: str, swapped: bool, shape: tuple[int, ...], write: Any
) -> None:
    if op == "Div" and swapped:
        return
    operands = ["c", "x"] if swapped else ["x", "c"]
    load(write([node(op, operands, ["y"])], {"c": np.abs(normal(*shape)) + 0.5}, [2, 3]))


def test_quotients_are_enclosed(write: Any) -> None:
    (third,) = affine_nodes(load(write([node("Div", ["x", "c"], ["y"])], {"c": np.array(3.0)}, [2])))
    (half,) = affine_nodes(load(write([node("Div", ["x", "c"], ["y"])], {"c": np.array(2.0)}, [2])))
    a, b = third.maps[0], half.maps[0]
    assert isinstance(a, Diagonal)
    assert isinstance(b, Diagonal)
    assert a.radii is not None
    assert (a.radii >= abs(1 / 3 - a.entries[0]) + 2.0**-56).all()
    assert b.radii is None


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    rank = draw(st.integers(1, 3))
    group = draw(st.integers(1, 2))
    per = st.lists(st.integers(1, 2), min_size=rank, max_size=rank)
    auto = draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    found = {
        "rank": rank,
        "group": group,
        "kernel": draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank)),
        "size": draw(st.lists(st.integers(5, 6), min_size=rank, max_size=rank)),
        "strides": draw(per),
        "dilations": draw(per) if auto in ("NOTSET", "VALID") else [1] * rank,
        "auto_pad": auto,
        "batch": draw(st.integers(1, 2)),
    }
    if auto == "NOTSET":
        found["pads"] = draw(st.lists(st.integers(0, 1), min_size=2 * rank, max_size=2 * rank))
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(spec=convolutions())
def test_conv(spec: dict[str, Any], write: Any) -> None:
    group = spec["group"]
    attributes = {k: spec[k] for k in ("strides", "dilations", "auto_pad", "group", "pads") if k in spec}
    constants = {"W": normal(2 * group, 3, *spec["kernel"]), "b": normal(2 * group)}
    path = write(
        [node("Conv", ["x", "W", "b"], ["y"], **attributes)], constants, [spec["batch"], 3 * group, *spec["size"]]
    )
    graph = load(path)
    if spec["batch"] == 1:
        (only,) = affine_nodes(graph)
        assert isinstance(only.maps[0], Convolution)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(spec=convolutions(), extra=st.integers(0, 1))
def test_conv_transpose(spec: dict[str, Any], extra: int, write: Any) -> None:
    if spec["auto_pad"].startswith("SAME"):
        # ONNX Runtime and the specification differ where a SAME output is smaller than the kernel reaches
        return
    group, rank = spec["group"], spec["rank"]
    attributes = {k: spec[k] for k in ("strides", "dilations", "auto_pad", "group", "pads") if k in spec}
    attributes["output_padding"] = [min(extra, s - 1) for s in spec["strides"]]
    constants = {"W": normal(2 * group, 2, *spec["kernel"]), "b": normal(2 * group)}
    path = write(
        [node("ConvTranspose", ["x", "W", "b"], ["y"], **attributes)],
        constants,
        [spec["batch"], 2 * group, *[4] * rank],
    )
    load(path)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(spec=convolutions(), ceil=st.integers(0, 1), include=st.integers(0, 1))
def test_average_pool(spec: dict[str, Any], ceil: int, include: int, write: Any) -> None:
    if any(k == 1 for k in spec["kernel"]) and "pads" in spec:
        return  # padding must be smaller than the kernel
    attributes = {k: spec[k] for k in ("strides", "auto_pad", "pads") if k in spec}
    attributes |= {"kernel_shape": spec["kernel"], "ceil_mode": ceil, "count_include_pad": include}
    load(write([node("AveragePool", ["x"], ["y"], **attributes)], {}, [spec["batch"], 2, *spec["size"]], opset=19))


def test_batch_normalisation_encloses_its_scale(write: Any) -> None:
    constants = {"s": normal(3), "b": normal(3), "m": normal(3), "v": np.array([0.5, 1.0, 2.0], dtype=np.float32)}
    nodes = [
        node("Conv", ["x", "W"], ["c"]),
        node("BatchNormalization", ["c", "s", "b", "m", "v"], ["y"], epsilon=1e-3),
    ]
    graph = load(write(nodes, constants | {"W": normal(3, 2, 2, 2)}, [1, 2, 4, 4]))
    scale = next(a for n in affine_nodes(graph) for a in n.maps if isinstance(a, Diagonal))
    exact = constants["s"].astype(np.longdouble) / np.sqrt(
        constants["v"].astype(np.longdouble) + np.longdouble(np.float32(1e-3))
    )
    assert scale.radii is not None
    assert (np.abs(exact.repeat(9) - scale.entries) <= scale.radii).all()
    assert (scale.radii <= 1e-15 * np.abs(scale.entries) + 1e-300).all()


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMean"])
@pytest.mark.parametrize(("axes", "keep"), [([1], 1), ([0, -1], 0), ([], 1)])
def test_reductions(op: str, axes: list[int], keep: int, opset: int, write: Any) -> None:
    as_input = opset >= (13 if op == "ReduceSum" else 18)
    if as_input:
        reduce = node(op, ["x", "axes"] if axes else ["x"], ["y"], keepdims=keep)
    else:
        reduce = node(op, ["x"], ["y"], keepdims=keep, **({"axes": axes} if axes else {}))
    load(write([reduce], {"axes": np.array(axes)} if as_input and axes else {}, [2, 3, 4], opset=opset))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("where", ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
@pytest.mark.parametrize("size", [[1, 2, 7, 9], [1, 2, 3, 2]])
def test_resize(mode: str, where: str, size: list[int], write: Any) -> None:
    nearest = {"nearest_mode": "floor"} if where == "asymmetric" else {}
    resize = node("Resize", ["x", "", "", "size"], ["y"], mode=mode, coordinate_transformation_mode=where, **nearest)
    load(write([resize], {"size": np.array(size)}, [1, 2, 4, 4]))


@pytest.mark.parametrize(
    ("opset", "op", "inputs", "attributes"),
    [
        (9, "Upsample", {"s": np.array([1, 1, 2, 3], np.float32)}, {"mode": "nearest"}),
        (9, "Upsample", {"s": np.array([1, 1, 2, 2], np.float32)}, {"mode": "linear"}),
        (7, "Upsample", {}, {"mode": "nearest", "scales": [1.0, 1.0, 2.0, 2.0]}),
        (10, "Resize", {"s": np.array([1, 1, 2, 2], np.float32)}, {"mode": "linear"}),
        (10, "Clip", {}, {"min": -0.5, "max": 1.0}),
        (10, "Clip", {}, {"max": 0.25}),
        (10, "Pad", {}, {"pads": [0, 0, 1, 0, 0, 0, 0, 2], "value": 1.5}),
        (10, "Pad", {}, {"pads": [0, 0, 1, 0, 0, 0, 0, 2], "mode": "reflect"}),
        (9, "TopK", {}, {"k": 4}),
        (9, "Slice", {}, {"starts": [1, 0], "ends": [3, 2**31 - 1], "axes": [2, 3]}),
        (11, "Softmax", {}, {"axis": 1}),
        (11, "Softmax", {}, {"axis": 2}),
        (11, "LogSoftmax", {}, {}),
        (11, "Squeeze", {}, {"axes": [0]}),
        (11, "Unsqueeze", {}, {"axes": [0, 3]}),
        (11, "Split", {}, {"axis": 1, "split": [1, 1]}),
        (11, "Dropout", {}, {"ratio": 0.5}),
        (7, "Dropout", {}, {}),
        (8, "BatchNormalization", {k: np.array([1.0, 2.0], np.float32) for k in "sbmv"}, {}),
        (7, "PRelu", {"a": np.array([[[0.1]], [[0.2]]], np.float32)}, {}),
    ],
)
def test_older_versions(
    opset: int, op: str, inputs: dict[str, np.ndarray], attributes: dict[str, Any], write: Any
) -> None:
    outputs = {"TopK": ["y", "i"], "Split": ["y", "z"]}.get(op, ["y"])
    path = write([node(op, ["x", *inputs], outputs, **attributes)], inputs, [1, 2, 4, 4], opset=opset)
    load(path)


@pytest.mark.parametrize(("op", "axis"), [("Add", 1), ("Mul", 1), ("Sub", 2), ("Div", 0)])
def test_broadcast_by_axis_of_opset_6(op: str, axis: int, write: Any) -> None:
    shape = {0: (1, 2), 1: (2,), 2: (3,)}[axis]
    other = np.abs(normal(*shape)) + 1.0
    graph = load(write([node(op, ["x", "c"], ["y"], broadcast=1, axis=axis)], {"c": other}, [1, 2, 3, 4], opset=6))
    x = normal(1, 2, 3, 4).astype(np.float64)
    aligned = other.reshape(shape + (1,) * (4 - axis - len(shape))).astype(np.float64)
    expected = {"Add": np.add, "Mul": np.multiply, "Sub": np.subtract, "Div": np.divide}[op](x, aligned)
    np.testing.assert_allclose(forward(graph, x.ravel()), expected.ravel(), rtol=1e-12)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
@pytest.mark.parametrize("pads", [[0, 0, 1, 2, 0, 0, 2, 1], [0, 0, -1, 1, 0, 0, 0, 0]])
def test_pad(mode: str, pads: list[int], write: Any) -> None:
    if mode != "constant" and min(pads) < 0:
        return  # the runtimes differ on mirrored crops
    load(
        write(
            [node("Pad", ["x", "p", "v"], ["y"], mode=mode)],
            {"p": np.array(pads), "v": np.array(2.5)},
            [1, 2, 4, 4],
            opset=19,
        )
    )


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([node("Transpose", ["x"], ["y"], perm=[0, 3, 1, 2])], {}),
        (
            [node("Slice", ["x", "s", "e", "a", "t"], ["y"])],
            {"s": [3, -1], "e": [-(2**63), 0], "a": [2, 3], "t": [-1, -2]},
        ),
        ([node("Gather", ["x", "i"], ["y"], axis=3)], {"i": [[0, -1], [2, 2]]}),
        ([node("GatherND", ["x", "i"], ["y"])], {"i": [[0, 1, 2], [0, 0, 1]]}),
        (
            [node("Split", ["x", "parts"], ["a", "e", "b"], axis=2), node("Concat", ["b", "a"], ["y"], axis=2)],
            {"parts": [3, 0, 1]},
        ),
        ([node("Concat", ["x", "c", "x"], ["y"], axis=1)], {"c": normal(1, 1, 4, 4)}),
        ([node("Expand", ["x", "to"], ["y"])], {"to": [3, 2, 4, 4]}),
        ([node("Tile", ["x", "to"], ["y"])], {"to": [1, 2, 1, 3]}),
        ([node("DepthToSpace", ["t"], ["y"], blocksize=2), node("Reshape", ["x", "to"], ["t"])], {"to": [1, 8, 2, 2]}),
        ([node("SpaceToDepth", ["x"], ["y"], blocksize=2)], {}),
        ([node("Trilu", ["x", "k"], ["y"], upper=0)], {"k": np.array(1)}),
        ([node("CumSum", ["x", "a"], ["y"], exclusive=1, reverse=1)], {"a": np.array(2)}),
        ([node("Einsum", ["x", "W"], ["y"], equation="bchw,co->bohw")], {"W": normal(2, 3)}),
        (
            [node("ReverseSequence", ["t", "n"], ["y"]), node("Reshape", ["x", "to"], ["t"])],
            {"to": [4, 4, 2], "n": [1, 2, 3, 4]},
        ),
        ([node("Flatten", ["x"], ["y"], axis=-2)], {}),
        ([node("Mean", ["x", "c", "x"], ["y"])], {"c": normal(4)}),
        ([node("GlobalAveragePool", ["x"], ["y"])], {}),
        ([node("Cast", ["x"], ["d"], to=TensorProto.DOUBLE), node("Cast", ["d"], ["y"], to=TensorProto.FLOAT)], {}),
    ],
    ids=lambda v: v[0].op_type if isinstance(v, list) else "",
)
def test_linear_ops(nodes: list[onnx.NodeProto], constants: dict[str, Any], write: Any) -> None:
    arrays = {
        k: np.asarray(v, dtype=np.float32 if isinstance(v, np.ndarray) and v.dtype.kind == "f" else np.int64)
        for k, v in constants.items()
    }
    load(write(nodes, arrays, [1, 2, 4, 4]))


def test_movement_is_composed_into_one_index_map(write: Any) -> None:
    nodes = [
        node("Transpose", ["x"], ["a"], perm=[0, 2, 1]),
        node("Reshape", ["a", "to"], ["b"]),
        node("Slice", ["b", "s", "e"], ["y"]),
    ]
    constants = {"to": np.array([2, 6]), "s": np.array([0, 1]), "e": np.array([2, 5])}
    (only,) = affine_nodes(load(write(nodes, constants, [1, 3, 4])))
    (index,) = only.maps
    assert isinstance(index, Index)
    expected = np.arange(12).reshape(1, 3, 4).transpose(0, 2, 1).reshape(2, 6)[:, 1:5].ravel()
    np.testing.assert_array_equal(index.index, expected)


def test_types_and_shapes_of_the_input(write: Any) -> None:
    weight = {"W": RNG.standard_normal((4, 3))}
    matmul = [node("MatMul", ["x", "W"], ["y"])]
    double = load(write(matmul, weight, [4], kind=TensorProto.DOUBLE))
    (only,) = affine_nodes(double)
    np.testing.assert_array_equal(only.maps[0].to_dense(), weight["W"].T)
    half = load(write(matmul, weight, ["n", 4], kind=TensorProto.FLOAT16))
    assert any("float16" in text for text in half.idealisations)
    np.testing.assert_array_equal(affine_nodes(half)[0].maps[0].to_dense(), weight["W"].T.astype(np.float16))


def test_initialisers_among_the_inputs_and_nodes_out_of_order(mlp: onnx.ModelProto, tmp_path: Path) -> None:
    for tensor in mlp.graph.initializer:
        mlp.graph.input.insert(0, helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    path = tmp_path / "net.onnx"
    path.write_bytes(mlp.SerializeToString())
    expected = load(path).fingerprint
    nodes = list(mlp.graph.node)[::-1]
    del mlp.graph.node[:]
    mlp.graph.node.extend(nodes)
    path.write_bytes(mlp.SerializeToString())
    assert load(path).fingerprint == expected


def test_constant_nodes_and_shapes_computed_in_the_graph(write: Any) -> None:
    nodes = [
        node("Constant", [], ["W"], value=helper.make_tensor("", TensorProto.FLOAT, [4, 3], normal(4, 3).ravel())),
        node("Constant", [], ["minus"], value_ints=[-1]),
        node("Shape", ["x"], ["s"]),
        node("Slice", ["s", "zero", "one"], ["n"]),
        node("Concat", ["n", "minus"], ["to"], axis=0),
        node("Reshape", ["x", "to"], ["flat"]),
        node("Gemm", ["flat", "W"], ["y"]),
    ]
    graph = load(write(nodes, {"zero": np.array([0]), "one": np.array([1])}, ["n", 2, 2]))
    assert (graph.input_size, graph.output_size) == (4, 3)
    assert not graph.idealisations


def test_model_local_functions_are_inlined(tmp_path: Path) -> None:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    body = [node("Add", ["a", "b"], ["t"]), node("Relu", ["t"], ["o"])]
    function = helper.make_function("mine", "AddRelu", ["a", "b"], ["o"], body, opsets[:1])
    graph = helper.make_graph(
        [node("AddRelu", ["x", "c"], ["y"], domain="mine")],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor("c", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])],
    )
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=8), path)
    assert [n.kind for _, n in load(path).walk() if isinstance(n, Activation)] == ["relu"]


# ---- control flow


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("activation", ["Tanh", "Relu"])
@pytest.mark.parametrize("outputs", [["y"], ["", "y"]])
def test_rnn_is_unrolled(direction: str, activation: str, outputs: list[str], write: Any) -> None:
    directions = 2 if direction == "bidirectional" else 1
    rnn = node(
        "RNN",
        ["x", "W", "R", "B", "", "h"],
        outputs,
        hidden_size=3,
        direction=direction,
        activations=[activation] * directions,
    )
    constants = {
        "W": normal(directions, 3, 2),
        "R": 0.5 * normal(directions, 3, 3),
        "B": normal(directions, 6),
        "h": normal(directions, 1, 3),
    }
    graph = load(write([rnn], constants, [4, 1, 2]))
    assert graph.output_size == 3 * directions * (4 if outputs == ["y"] else 1)
    count = sum(n.blocks for _, n in graph.walk() if isinstance(n, Activation))
    assert count == 12 * directions


def loop_model(write: Any, *, trips: int = 3, condition: str = "constant") -> Path:
    """x ← relu(W x + u), with every state given out as well."""
    body_nodes = [
        node("MatMul", ["h", "W"], ["z"]),
        node("Add", ["z", "x"], ["s"]),
        node("Relu", ["s"], ["following"]),
    ]
    if condition == "constant":
        body_nodes.append(node("Identity", ["go"], ["go_on"]))
    elif condition == "counted":
        body_nodes.append(node("Less", ["k", "two"], ["go_on"]))
    else:
        body_nodes += [node("ReduceMax", ["s"], ["top"], keepdims=0), node("Greater", ["top", "zero"], ["go_on"])]
    body_nodes.append(node("Identity", ["following"], ["trace"]))
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        body_nodes,
        "body",
        [info("k", TensorProto.INT64, []), info("go", TensorProto.BOOL, []), info("h", TensorProto.FLOAT, [1, 3])],
        [
            info("go_on", TensorProto.BOOL, []),
            info("following", TensorProto.FLOAT, [1, 3]),
            info("trace", TensorProto.FLOAT, [1, 3]),
        ],
    )
    nodes = [
        node("Loop", ["trips", "yes", "x"], ["last", "all"], body=body),
        node("ReduceSum", ["all"], ["t"], keepdims=0),
        node("Add", ["last", "t"], ["y"]),
    ]
    constants = {
        "trips": np.array(trips),
        "yes": np.array(True),
        "W": normal(3, 3),
        "zero": np.array(0.0),
        "two": np.array(2),
    }
    return write(nodes, constants, [1, 3])  # type: ignore[no-any-return]


@pytest.mark.parametrize("opset_condition", ["constant", "counted"])
def test_loop_with_constant_trips_is_unrolled(opset_condition: str, write: Any) -> None:
    graph = load(loop_model(write, trips=3 if opset_condition == "constant" else 50, condition=opset_condition))
    assert sum(n.blocks for _, n in graph.walk() if isinstance(n, Activation)) == 9


def test_loop_that_ends_when_the_data_say_so_is_refused(write: Any) -> None:
    with pytest.raises(UnsupportedModel, match=r"\(Loop\): whether it goes on depends .*implicit layer"):
        load(loop_model(write, condition="data"))
    with pytest.raises(UnsupportedModel, match="more than 1024 steps"):
        load(loop_model(write, trips=10**6))


def test_if_on_a_constant_takes_its_branch(write: Any) -> None:
    def branch(op: str) -> onnx.GraphProto:
        info = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
        return helper.make_graph([node(op, ["x"], ["o"])], op, [], [info])

    choice = node("If", ["c"], ["y"], then_branch=branch("Relu"), else_branch=branch("Tanh"))
    graph = load(write([choice], {"c": np.array(False)}, [1, 3]))
    assert [n.kind for _, n in graph.walk() if isinstance(n, Activation)] == ["tanh"]


# ---- implicit layers


def implicit_model(
    *, cell_weight: str = "W", solver_steps: int = 200, damping: float = 1.0, cell: bool = True
) -> onnx.ModelProto:
    """x = relu(x W + u), solved by a plain iteration; the cell takes its weight from an argument or a constant."""
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(f"lipcert.{d}", 1) for d in ("cell", "fixedpoint"))]
    weight = helper.make_tensor("", TensorProto.FLOAT, [4, 4], (0.4 * np.linalg.qr(normal(4, 4))[0]).ravel())
    arguments = ["u", "W"] if cell_weight == "W" else ["u"]
    stored = [] if cell_weight == "W" else [node("Constant", [], ["W"], value=weight)]
    equation = helper.make_function(
        "lipcert.cell",
        "deq",
        ["s", *arguments],
        ["following"],
        [
            *stored,
            node("MatMul", ["s", "W"], ["z"]),
            node("Add", ["z", "u"], ["t"]),
            node("Relu", ["t"], ["following"]),
        ],
        opsets[:1],
    )
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            node("deq", ["s", *arguments], ["n"], domain="lipcert.cell"),
            node("Mul", ["n", "damping"], ["m"]),
            node("Identity", ["go"], ["g"]),
        ],
        "body",
        [info("k", TensorProto.INT64, []), info("go", TensorProto.BOOL, []), info("s", TensorProto.FLOAT, None)],
        [info("g", TensorProto.BOOL, []), info("m", TensorProto.FLOAT, None)],
    )
    solver = helper.make_function(
        "lipcert.fixedpoint",
        "deq",
        arguments,
        ["x_star"],
        [
            node("Constant", [], ["steps"], value_int=solver_steps),
            node("Constant", [], ["damping"], value=helper.make_tensor("", TensorProto.FLOAT, [], [damping])),
            node("Constant", [], ["yes"], value=helper.make_tensor("", TensorProto.BOOL, [], [True])),
            node("Loop", ["steps", "yes", "u"], ["x_star"], body=body),
        ],
        opsets,
    )
    graph = helper.make_graph(
        [node("deq", ["x", "W"][: len(arguments)], ["y"], name="implicit", domain="lipcert.fixedpoint")],
        "net",
        [info("x", TensorProto.FLOAT, [1, 4])],
        [info("y", TensorProto.FLOAT, [1, 4])],
        [onnx.TensorProto.FromString(weight.SerializeToString())] if cell_weight == "W" else [],
    )
    if cell_weight == "W":
        graph.initializer[0].name = "W"
    functions = [equation, solver] if cell else [solver]
    return helper.make_model(graph, functions=functions, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize("cell_weight", ["W", "stored"])
def test_implicit_layer(cell_weight: str, tmp_path: Path) -> None:
    path = tmp_path / "deq.onnx"
    onnx.save(implicit_model(cell_weight=cell_weight), path)
    graph = load(path)
    (layer,) = (n for _, n in graph.walk() if isinstance(n, FixedPoint))
    assert layer.size == 4
    x = normal(4).astype(np.float64)
    y = forward(graph, x)
    np.testing.assert_allclose(forward(layer.cell, [y, x]), y, atol=1e-10)


def test_a_solver_that_misses_the_fixed_point_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "deq.onnx"
    onnx.save(implicit_model(solver_steps=1), path)
    with pytest.raises(InvalidModel, match=r"misses the fixed point 'y'|differs from ONNX Runtime"):
        load(path)


def test_an_implicit_layer_without_its_equation(tmp_path: Path) -> None:
    path = tmp_path / "deq.onnx"
    model = implicit_model(cell=False)
    onnx.save(model, path)
    with pytest.raises(LipcertError, match=r"node 'implicit' \(lipcert\.fixedpoint\.deq\): the equation .* is missing"):
        load(path)


@pytest.mark.parametrize(
    ("shape", "weight", "left"), [([1, 7, 4], (4, 3), True), ([1, 4, 7], (3, 4), False), ([2, 4, 7], (3, 4), False)]
)
def test_a_matrix_on_many_rows_is_a_convolution(
    shape: list[int], weight: tuple[int, ...], left: bool, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lipcert.importer import contractions

    monkeypatch.setattr(contractions, "_TRIPLETS", 0)
    graph = load(write([node("MatMul", ["x", "W"] if left else ["W", "x"], ["y"])], {"W": normal(*weight)}, shape))
    assert any(isinstance(a, Convolution) for n in affine_nodes(graph) for a in n.maps) == (shape[0] == 1)
