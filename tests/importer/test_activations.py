"""Activations by meaning, compared with ONNX Runtime by `load` itself."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lipcert.bounds.api import bound
from lipcert.errors import InvalidModel, Unbounded, UnsupportedModel
from lipcert.graph.evaluate import forward
from lipcert.graph.nodes import Activation
from lipcert.graph.prepare import prepare
from lipcert.graph.sizes import channels
from lipcert.importer import load
from lipcert.regions import Box


def save(folder: Path, nodes, shape, constants=None, opset=20, output="y", extra=()):
    """A model x → y in a file."""
    initializers = [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None), *extra],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


def node(op, *operands, out="y", **attributes):
    return helper.make_node(op, list(operands), [out] if isinstance(out, str) else out, **attributes)


def f32(*values):
    return np.array(values, dtype=np.float32)


def kinds(graph):
    return [n.kind for _, n in graph.walk() if isinstance(n, Activation)]


POINTWISE = {
    "relu": [node("Relu", "x")],
    "leaky_relu": [node("LeakyRelu", "x", alpha=-0.3)],
    "elu": [node("Elu", "x", alpha=-0.5)],
    "selu": [node("Selu", "x")],
    "celu": [node("Celu", "x", alpha=0.7)],
    "sigmoid": [node("Sigmoid", "x")],
    "tanh": [node("Tanh", "x")],
    "softplus": [node("Softplus", "x")],
    "softsign": [node("Softsign", "x")],
    "erf": [node("Erf", "x")],
    "sin": [node("Sin", "x")],
    "cos": [node("Cos", "x")],
    "arctan": [node("Atan", "x")],
    "arsinh": [node("Asinh", "x")],
    "abs": [node("Abs", "x")],
    "hard_sigmoid": [node("HardSigmoid", "x", alpha=0.3, beta=0.4)],
    "hard_swish": [node("HardSwish", "x")],
    "mish": [node("Mish", "x")],
    "gelu": [node("Gelu", "x")],
    "gelu_tanh": [node("Gelu", "x", approximate="tanh")],
    "softshrink": [node("Shrink", "x", lambd=0.7, bias=0.7)],
}


@pytest.mark.parametrize("kind", POINTWISE)
def test_one_op_is_one_record(tmp_path, kind):
    graph = load(save(tmp_path, POINTWISE[kind], [1, 6]))
    assert kinds(graph) == [kind]
    assert channels(prepare(graph)) == 6


CONSTANTS = {
    "half": f32(0.5),
    "one": f32(1.0),
    "two": f32(2.0),
    "three": f32(3.0),
    "six": f32(6.0),
    "zero": f32(0.0),
    "low": f32(-0.4),
    "root2": f32(1.4142135),
    "rooth": f32(0.70710678),
    "c": f32(0.7978845608),
    "d": f32(0.044715),
    "tenth": f32(0.1),
    "twenty": f32(20.0),
    "beta": f32(1.702),
}
COMPOSED = {
    "silu": ("silu", [node("Sigmoid", "x", out="s"), node("Mul", "s", "x")]),
    "quick gelu": (
        "silu",
        [node("Mul", "x", "beta", out="b"), node("Sigmoid", "b", out="s"), node("Mul", "x", "s")],
    ),
    "silu by exp": (
        "silu",
        [
            node("Neg", "x", out="n"),
            node("Exp", "n", out="e"),
            node("Add", "e", "one", out="p"),
            node("Div", "x", "p"),
        ],
    ),
    "sigmoid by exp": (
        "sigmoid",
        [
            node("Neg", "x", out="n"),
            node("Exp", "n", out="e"),
            node("Add", "one", "e", out="p"),
            node("Reciprocal", "p"),
        ],
    ),
    "gelu by division": (
        "gelu",
        [
            node("Div", "x", "root2", out="a"),
            node("Erf", "a", out="e"),
            node("Add", "e", "one", out="p"),
            node("Mul", "x", "p", out="q"),
            node("Mul", "q", "half"),
        ],
    ),
    "gelu by product": (
        "gelu",
        [
            node("Mul", "x", "rooth", out="a"),
            node("Erf", "a", out="e"),
            node("Add", "one", "e", out="p"),
            node("Mul", "x", "half", out="q"),
            node("Mul", "p", "q"),
        ],
    ),
    "gelu_tanh by Pow": (
        "gelu_tanh",
        [
            node("Pow", "x", "three", out="x3"),
            node("Mul", "x3", "d", out="dx3"),
            node("Add", "x", "dx3", out="a"),
            node("Mul", "a", "c", out="ca"),
            node("Tanh", "ca", out="t"),
            node("Add", "t", "one", out="p"),
            node("Mul", "x", "half", out="h"),
            node("Mul", "h", "p"),
        ],
    ),
    "gelu_tanh by products": (
        "gelu_tanh",
        [
            node("Mul", "x", "x", out="x2"),
            node("Mul", "x2", "x", out="x3"),
            node("Mul", "d", "x3", out="dx3"),
            node("Add", "dx3", "x", out="a"),
            node("Mul", "c", "a", out="ca"),
            node("Tanh", "ca", out="t"),
            node("Add", "one", "t", out="p"),
            node("Mul", "x", "p", out="q"),
            node("Mul", "q", "half"),
        ],
    ),
    "mish": ("mish", [node("Softplus", "x", out="s"), node("Tanh", "s", out="t"), node("Mul", "x", "t")]),
    "hard_swish by relu6": (
        "hard_swish",
        [
            node("Add", "x", "three", out="a"),
            node("Clip", "a", "zero0", "six0", out="k"),
            node("Mul", "x", "k", out="q"),
            node("Div", "q", "six"),
        ],
    ),
    "hard_swish by HardSigmoid": (
        "hard_swish",
        [node("HardSigmoid", "x", out="h", alpha=1 / 6, beta=0.5), node("Mul", "x", "h")],
    ),
    "softplus": ("softplus", [node("Exp", "x", out="e"), node("Add", "e", "one", out="p"), node("Log", "p")]),
    "softplus with threshold": (
        "softplus",
        [
            node("Softplus", "x", out="s"),
            node("Greater", "x", "twenty", out="g"),
            node("Where", "g", "x", "s"),
        ],
    ),
    "softsign": (
        "softsign",
        [node("Abs", "x", out="a"), node("Add", "two", "a", out="p"), node("Div", "x", "p")],
    ),
    "log_sigmoid": ("log_sigmoid", [node("Sigmoid", "x", out="s"), node("Log", "s")]),
    "log_softmax": ("log_softmax", [node("Softmax", "x", out="s"), node("Log", "s")]),
    "sin²": ("sin_squared", [node("Sin", "x", out="s"), node("Mul", "s", "s")]),
    "cos²": ("sin_squared", [node("Cos", "x", out="s"), node("Pow", "s", "two")]),
    "sin·cos": ("sin", [node("Cos", "x", out="k"), node("Sin", "x", out="s"), node("Mul", "k", "s")]),
    "Gaussian": ("gaussian", [node("Pow", "x", "two", out="q"), node("Neg", "q", out="n"), node("Exp", "n")]),
    "Gaussian of some width": (
        "gaussian",
        [node("Mul", "x", "x", out="q"), node("Mul", "q", "low", out="n"), node("Exp", "n")],
    ),
    "σ²": ("sigmoid_power", [node("Sigmoid", "x", out="s"), node("Mul", "s", "s")]),
    "σ³": ("sigmoid_power", [node("Sigmoid", "x", out="s"), node("Mul", "s", "s", out="q"), node("Mul", "s", "q")]),
    "√σ": ("sigmoid_power", [node("Sigmoid", "x", out="s"), node("Sqrt", "s")]),
    "(2σ)³": (
        "sigmoid_power",
        [node("Sigmoid", "x", out="s"), node("Mul", "s", "two", out="t"), node("Pow", "t", "three")],
    ),
    "pseudo-Huber": (
        "soft_abs",
        [node("Pow", "x", "two", out="q"), node("Add", "q", "half", out="p"), node("Sqrt", "p")],
    ),
    "abs by sign": ("abs", [node("Sign", "x", out="s"), node("Mul", "x", "s")]),
    "relu by Max": ("relu", [node("Max", "zero", "x")]),
    "leaky by Max": ("leaky_relu", [node("Mul", "x", "tenth", out="l"), node("Max", "x", "l")]),
    "abs by Max": ("abs", [node("Neg", "x", out="n"), node("Max", "n", "x")]),
    "two slopes by Min": (
        "two_slope",
        [node("Mul", "x", "tenth", out="l"), node("Mul", "x", "two", out="h"), node("Min", "h", "l")],
    ),
    "clamp": ("clip", [node("Max", "x", "low", out="a"), node("Min", "a", "six")]),
    "relu by Where": ("relu", [node("Less", "x", "zero", out="m"), node("Where", "m", "zero", "x")]),
    "relu by a mask": (
        "relu",
        [
            node("GreaterOrEqual", "x", "zero", out="m"),
            node("Cast", "m", out="k", to=TensorProto.FLOAT),
            node("Mul", "k", "x"),
        ],
    ),
    "leaky by Where": (
        "relu",
        [
            node("LessOrEqual", "x", "zero", out="m"),
            node("Not", "m", out="k"),
            node("Mul", "x", "tenth", out="l"),
            node("Where", "k", "x", "l"),
        ],
    ),
    "continuous threshold": ("relu", [node("LessOrEqual", "x", "half", out="m"), node("Where", "m", "half", "x")]),
    "softshrink": (
        "softshrink",
        [
            node("Abs", "x", out="a"),
            node("Greater", "a", "half", out="m"),
            node("Sign", "x", out="s"),
            node("Mul", "s", "half", out="h"),
            node("Sub", "x", "h", out="far"),
            node("Where", "m", "far", "zero"),
        ],
    ),
}


@pytest.mark.parametrize("name", COMPOSED)
@pytest.mark.parametrize("scaled", [False, True])
def test_compositions_are_recognised(tmp_path, name, scaled):
    kind, nodes = COMPOSED[name]
    constants = CONSTANTS | {"zero0": np.float32(0), "six0": np.float32(6), "w": np.float32(1.5)}
    if scaled and kind not in ("log_softmax",):
        # the same function of −2 w x
        nodes = [
            node("Mul", "raw", "w", out="x"),
            *nodes,
        ]
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("raw", TensorProto.FLOAT, [1, 5])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
        )
        path = tmp_path / "scaled.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    else:
        path = save(tmp_path, nodes, [1, 5], constants)
    graph = load(path)
    # scaled, max(w x, w x/10) is a function of two slopes other than 1
    assert kinds(graph) == [kind] or (scaled and " by Max" in name and kinds(graph) == ["two_slope"])
    assert channels(prepare(graph)) <= 5


REFUSED = {
    "jump": [
        [node("Sign", "x")],
        [node("Greater", "x", "half", out="m"), node("Cast", "m", to=TensorProto.FLOAT)],
        [node("Greater", "x", "half", out="m"), node("Where", "m", "x", "zero")],
        [node("Greater", "x", "half", out="m"), node("Where", "m", "one", "two")],
        [node("ThresholdedRelu", "x", alpha=1.0)],
        [node("Shrink", "x", lambd=0.5, bias=0.0)],
        [node("Floor", "x")],
        [node("Hardmax", "x")],
    ],
    "slope": [
        [node("Celu", "x", alpha=-1.0)],
    ],
}


@pytest.mark.parametrize(
    ("reason", "nodes"), [pytest.param(r, n, id=f"{r}-{k}") for r, many in REFUSED.items() for k, n in enumerate(many)]
)
def test_refused_with_the_true_reason(tmp_path, reason, nodes):
    with pytest.raises(UnsupportedModel, match=f"{reason}|CELU needs") as caught:
        load(save(tmp_path, nodes, [1, 4], CONSTANTS))
    assert "node" in str(caught.value)


RANGED = [
    [node("Pow", "x", "two")],
    [node("Mul", "x", "x")],
    [node("Relu", "x", out="r"), node("Mul", "r", "x")],
    [node("Exp", "x")],
    [node("Log", "x")],
    [node("Sqrt", "x")],
    [node("Reciprocal", "x")],
    [node("Div", "one", "x")],
    [node("ReduceMean", "x", out="m"), node("Mul", "m", "x")],
    [node("Exp", "x", out="e"), node("Tanh", "e")],
    [node("Tanh", "x", out="t"), node("Div", "x", "t")],
]


@pytest.mark.parametrize("nodes", RANGED)
def test_what_needs_a_range_has_a_bound_on_one(tmp_path, nodes):
    """Without a slope bound on all numbers the file imports; a bound is refused for that reason, and given on a region."""
    graph = load(save(tmp_path, nodes, [1, 4], CONSTANTS))
    with pytest.raises(Unbounded, match="unbounded"):
        bound(graph, lower=False)
    box = Box(0.5, 1.0)
    here = bound(graph, region=box, lower=False)
    x = box.sample(400, np.random.default_rng(0), 4)
    y = forward(graph, x)
    steps = np.linalg.norm(y[:, 1:] - y[:, :-1], axis=0) / np.linalg.norm(x[:, 1:] - x[:, :-1], axis=0)
    assert steps.max() <= here.upper
    assert here.upper <= 40.0 * steps.max()


def softplus_of_a_sum(tmp_path, beta, threshold, branch="h"):
    """softplus(β(x + tanh(Wx)))/β with PyTorch's switch to the identity, or to `branch`, above the threshold."""
    constants = {
        "W": np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32),
        "beta": f32(beta),
        "threshold": f32(threshold),
        "off": f32(1.001),
    }
    nodes = [
        node("MatMul", "x", "W", out="wx"),
        node("Tanh", "wx", out="t"),
        node("Add", "x", "t", out="h"),
        node("Mul", "h", "off", out="scaled"),
        node("Mul", "h", "beta", out="bh"),
        node("Softplus", "bh", out="s"),
        node("Div", "s", "beta", out="sp"),
        node("Greater", "bh", "threshold", out="m"),
        node("Where", "m", branch, "sp"),
    ]
    return save(tmp_path, nodes, [1, 4], constants)


@pytest.mark.parametrize(("beta", "threshold"), [(1.0, 20.0), (2.0, 20.0), (0.7, 16.0), (1.0, 100.0)])
def test_softplus_with_a_threshold_on_a_sum(tmp_path, beta, threshold):
    graph = load(softplus_of_a_sum(tmp_path, beta, threshold))
    assert sorted(kinds(graph)) == ["softplus", "tanh"]
    (text,) = (line for line in graph.idealisations if "threshold" in line)
    jump = float(re.search(r"at most (\S+?e[-+]\d+)", text)[1])
    assert jump == pytest.approx(np.log1p(np.exp(-threshold)) / np.float32(beta), rel=0.05)


def test_idealisations_do_not_depend_on_the_name_of_the_file(tmp_path):
    path = softplus_of_a_sum(tmp_path, 1.0, 20.0)
    first = load(path).idealisations
    assert first
    assert load(path.rename(tmp_path / "other.onnx")).idealisations == first


@pytest.mark.parametrize(("threshold", "branch"), [(5.0, "h"), (20.0, "scaled"), (20.0, "x")])
def test_softplus_with_a_threshold_that_jumps_is_refused(tmp_path, threshold, branch):
    with pytest.raises(UnsupportedModel, match="jump"):
        load(softplus_of_a_sum(tmp_path, 1.0, threshold, branch))


def householder(angles):
    c, s = np.cos(angles / 2).astype(np.float32), np.sin(angles / 2).astype(np.float32)
    c2, s2 = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    return {"c": c, "s": s, "c2": c2, "s2": s2, "zero": f32(0.0)}


REFLECT = [
    node("Split", "x", out=["a", "b"], axis=1, num_outputs=2),
    node("Mul", "a", "s", out="as"),
    node("Mul", "b", "c", out="bc"),
    node("Sub", "as", "bc", out="t"),
    node("Mul", "a", "c2", out="ac2"),
    node("Mul", "b", "s2", out="bs2"),
    node("Add", "ac2", "bs2", out="p"),
    node("Mul", "a", "s2", out="as2"),
    node("Mul", "b", "c2", out="bc2"),
    node("Sub", "as2", "bc2", out="q"),
]


@pytest.mark.parametrize("spelling", ["where", "masks"])
def test_householder_by_a_switch(tmp_path, spelling):
    if spelling == "where":
        switch = [
            node("LessOrEqual", "t", "zero", out="m"),
            node("Where", "m", "a", "p", out="u"),
            node("Where", "m", "b", "q", out="v"),
        ]
    else:
        switch = [
            node("LessOrEqual", "t", "zero", out="m"),
            node("Cast", "m", out="lo", to=TensorProto.FLOAT),
            node("Greater", "t", "zero", out="n"),
            node("Cast", "n", out="hi", to=TensorProto.FLOAT),
            node("Mul", "a", "lo", out="a1"),
            node("Mul", "p", "hi", out="a2"),
            node("Add", "a1", "a2", out="u"),
            node("Mul", "b", "lo", out="b1"),
            node("Mul", "q", "hi", out="b2"),
            node("Add", "b1", "b2", out="v"),
        ]
    angles = np.array([[0.3, 1.1, -2.0]])
    path = save(tmp_path, [*REFLECT, *switch, node("Concat", "u", "v", axis=1)], [1, 6], householder(angles))
    graph = load(path)
    assert channels(prepare(graph)) == 3
    assert any("switch" in line for line in graph.idealisations)
    x = np.random.default_rng(0).standard_normal((6, 50))
    np.testing.assert_allclose(np.linalg.norm(forward(graph, x), axis=0), np.linalg.norm(x, axis=0), rtol=1e-6)


def test_a_discontinuous_switch_of_vectors_is_refused(tmp_path):
    constants = householder(np.array([[0.3, 1.1, -2.0]]))
    constants["s2"] = constants["s2"] * np.float32(1.001)
    nodes = [*REFLECT, node("LessOrEqual", "t", "zero", out="m"), node("Where", "m", "a", "p")]
    with pytest.raises(UnsupportedModel, match="jump"):
        load(save(tmp_path, nodes, [1, 6], constants))


PAIRS = {
    "split": [
        node("Split", "x", out=["a", "b"], axis=1, num_outputs=2),
        node("Max", "a", "b", out="h"),
        node("Min", "b", "a", out="l"),
        node("Concat", "l", "h", axis=1),
    ],
    "reduce": [
        node("Reshape", "x", "pairs", out="r"),
        node("ReduceMin", "r", "last", out="l"),
        node("ReduceMax", "r", "last", out="h"),
        node("Concat", "l", "h", axis=2, out="k"),
        node("Reshape", "k", "flat"),
    ],
    "reduce without keepdims": [
        node("Reshape", "x", "pairs", out="r"),
        node("ReduceMin", "r", "last", out="l", keepdims=0),
        node("ReduceMax", "r", "last", out="h", keepdims=0),
        node("Concat", "l", "h", axis=1),
    ],
    "topk": [
        node("Reshape", "x", "pairs", out="r"),
        node("TopK", "r", "k2", out=["v", "i"], axis=-1, largest=0),
        node("Reshape", "v", "flat"),
    ],
    "slices": [
        node("Slice", "x", "s0", "end", "axis1", "step", out="a"),
        node("Slice", "x", "s1", "end", "axis1", "step", out="b"),
        node("Max", "a", "b", out="h"),
        node("Min", "a", "b", out="l"),
        node("Concat", "h", "l", axis=1),
    ],
    "relu": [
        node("Split", "x", out=["a", "b"], axis=1, num_outputs=2),
        node("Sub", "a", "b", out="d"),
        node("Sub", "b", "a", out="e"),
        node("Relu", "d", out="rd"),
        node("Relu", "e", out="re"),
        node("Add", "b", "rd", out="h"),
        node("Sub", "b", "re", out="l"),
        node("Concat", "h", "l", axis=1),
    ],
}
SHAPES = {
    "pairs": np.array([1, 4, 2]),
    "flat": np.array([1, 8]),
    "last": np.array([2]),
    "k2": np.array([2]),
    "s0": np.array([0]),
    "s1": np.array([1]),
    "end": np.array([2**63 - 1]),
    "axis1": np.array([1]),
    "step": np.array([2]),
}


@pytest.mark.parametrize("name", PAIRS)
def test_every_spelling_of_maxmin_is_half_as_many_pairs(tmp_path, name):
    graph = load(save(tmp_path, PAIRS[name], [1, 8], SHAPES))
    assert channels(prepare(graph)) == 4
    if name != "relu":
        assert graph.summary().activations == ("4 MaxMin pairs",)


@pytest.mark.parametrize(("k", "largest"), [(1, 1), (2, 0), (3, 1), (5, 0), (5, 1)])
@pytest.mark.parametrize("axis", [1, 2])
def test_top_k(tmp_path, k, largest, axis):
    nodes = [node("TopK", "x", "k", out=["y", "i"], axis=axis, largest=largest)]
    graph = load(save(tmp_path, nodes, [1, 5, 5], {"k": np.array([k])}))
    assert graph.output_size == 5 * k
    used = [*nodes, node("Cast", "i", out="z", to=TensorProto.FLOAT)]
    with pytest.raises(UnsupportedModel):
        load(save(tmp_path, used, [1, 5, 5], {"k": np.array([k])}, output="z"))


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin", "ReduceL2"])
@pytest.mark.parametrize("axes", [[1], [1, 3], [-1], None])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reductions(tmp_path, op, axes, keepdims):
    operands = ["x"] if axes is None else ["x", "axes"]
    constants = {} if axes is None else {"axes": np.array(axes)}
    load(save(tmp_path, [node(op, *operands, keepdims=keepdims)], [1, 3, 2, 4], constants))


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [2, 2], "strides": [2, 2]},
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [0, 1, 1, 0], "dilations": [1, 2]},
        {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
        {"kernel_shape": [2, 2], "strides": [3, 3], "ceil_mode": 1, "pads": [1, 1, 1, 1]},
        {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
        {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "VALID"},
    ],
)
def test_max_pool(tmp_path, attributes):
    graph = load(save(tmp_path, [node("MaxPool", "x", **attributes)], [1, 2, 7, 6]))
    x = np.random.default_rng(0).standard_normal((84, 4))
    np.testing.assert_allclose(forward(prepare(graph), x), forward(graph, x), atol=1e-14)


def test_global_and_one_dimensional_max_pool(tmp_path):
    load(save(tmp_path, [node("GlobalMaxPool", "x")], [1, 3, 4, 5]))
    load(save(tmp_path, [node("MaxPool", "x", kernel_shape=[3], strides=[1], pads=[1, 1])], [1, 3, 9]))
    load(save(tmp_path, [node("MaxPool", "x", kernel_shape=[2, 2, 2])], [1, 2, 4, 4, 4]))


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [1, 2, -1])
def test_softmax_along_any_axis(tmp_path, op, axis):
    load(save(tmp_path, [node(op, "x", axis=axis)], [1, 3, 4]))


@pytest.mark.parametrize(("low", "high"), [(0.0, None), (None, 1.0), (-1.0, 2.0), (2.0, -1.0), (None, None)])
def test_clip_with_missing_or_crossed_bounds(tmp_path, low, high):
    constants = {k: np.float32(v) for k, v in (("low", low), ("high", high)) if v is not None}
    operands = ["x", "low" if low is not None else "", "high" if high is not None else ""]
    load(save(tmp_path, [node("Clip", *operands)], [1, 6], constants))


def test_prelu_slopes_per_channel_and_max_of_several(tmp_path):
    load(save(tmp_path, [node("PRelu", "x", "a")], [1, 3, 2, 2], {"a": f32(0.1, -0.5, 1.5).reshape(3, 1, 1)}))
    nodes = [
        node("Split", "x", out=["a", "b", "c"], axis=1, num_outputs=3),
        node("Max", "a", "b", "c", "low", out="m"),
        node("Min", "m", "c"),
    ]
    graph = load(save(tmp_path, nodes, [1, 6], {"low": f32(-0.2)}))
    assert graph.output_size == 2


def test_a_window_of_padding_only_is_invalid(tmp_path):
    attributes = {"kernel_shape": [2, 2], "pads": [2, 2, 2, 2]}
    with pytest.raises((InvalidModel, UnsupportedModel)):
        load(save(tmp_path, [node("MaxPool", "x", **attributes)], [1, 1, 3, 3]))
