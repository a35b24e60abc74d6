"""What a file computes is what is bounded: switches that jump, casts, folded constants, free sizes, hostile sizes."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from fractions import Fraction

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lipcert
from lipcert.errors import LipcertError, UnsupportedModel

# what is true of each file: the gain of an input pair, and why others are refused
TRUTHS = {
    "cancel": 1000.0,
    "einsum2": 2.0,
    "lower_above": 10.99999997,
    "doub40": 1.1**40 * (1 - 1e-6),
    "chain2000": 1.0,
    "z_rank0": 1.0,
    "z_zero_channels": 0.0,
}
REASONS = {
    "softshrink_jump": "a jump of 4.0e\\+00",
    "far_jump2": "a jump of 1.0e\\+03",
    "gate_bias": "a jump of 1.0e\\+06",
    "cast_deferred": "a cast of a signal to int64 jumps",
    "cast_bf16": "a cast of a signal to int64 jumps",
    "cast_int4": "a cast of a signal to int4 jumps",
    "softplus_thr": "a jump of 1.9e-01",
    "z_zero_outputs": "holds no numbers",
}


@pytest.mark.parametrize("name", sorted(TRUTHS))
def test_adversarial_files_that_have_a_constant(shared_data, name):
    started = time.process_time()
    graph = lipcert.load(shared_data / "adversarial" / f"{name}.onnx")
    bound = lipcert.bound(graph, lower=False, method="product")
    assert time.process_time() - started < 30.0
    assert bound.upper >= TRUTHS[name]
    assert not graph.idealisations


@pytest.mark.parametrize("name", sorted(REASONS))
def test_adversarial_files_that_are_refused(shared_data, name):
    with pytest.raises(UnsupportedModel, match=REASONS[name]):
        lipcert.load(shared_data / "adversarial" / f"{name}.onnx")


def test_a_chain_of_products_is_not_rounded_down(shared_data):
    path = shared_data / "adversarial" / "round_chain.onnx"
    stored = [Fraction(float(numpy_helper.to_array(t))) for t in onnx.load(path).graph.initializer if t.name != "h"]
    product = math.prod(stored)
    bound = lipcert.bound(lipcert.load(path), time_limit=5.0)
    above, below = Fraction(bound.upper) >= product, Fraction(bound.lower) <= product
    assert above
    assert below


class Model:
    """A model x → y of scalars that is written node by node."""

    def __init__(self, size: int = 1, kind: int = TensorProto.FLOAT, opset: int = 21) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.size, self.kind, self.opset = size, kind, opset

    def op(self, op: str, *operands: str | float | np.ndarray, **attributes: object) -> str:
        names = [name if isinstance(name, str) else self.constant(name) for name in operands]
        out = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, names, [out], **attributes))
        return out

    def constant(self, value: float | np.ndarray) -> str:
        dtype = helper.tensor_dtype_to_np_dtype(self.kind)
        array = value if isinstance(value, np.ndarray) else np.array([value], dtype=dtype)
        self.constants.append(numpy_helper.from_array(array, f"c{len(self.constants)}"))
        return self.constants[-1].name

    def save(self, folder, last: str) -> str:
        self.nodes.append(helper.make_node("Identity", [last], ["y"]))
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info("x", self.kind, [1, self.size])],
            [helper.make_tensor_value_info("y", self.kind, None)],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)
        path = folder / "model.onnx"
        onnx.save(model, path)
        return str(path)


JUMPS = {
    "a constant above a far threshold": lambda m: m.op("Where", m.op("Greater", "x", 2e5), m.op("Add", "x", 1.0), "x"),
    "the same, smaller than a unit of the threshold": lambda m: m.op(
        "Where", m.op("Greater", "x", 1e6), m.op("Add", "x", 0.01), "x"
    ),
    "the same after a gain": lambda m: m.op(
        "Mul", m.op("Where", m.op("Less", "x", 3.0), m.op("Add", "x", 1e-4), "x"), 1e6
    ),
    "a slope beside a large bias": lambda m: m.op(
        "Where", m.op("Greater", m.op("Add", "x", 1e6), 0.0), m.op("Add", m.op("Add", "x", "x"), 1e6), 0.0
    ),
    "a product with a mask": lambda m: m.op(
        "Mul", m.op("Cast", m.op("Greater", "x", 7.0), to=TensorProto.FLOAT), m.op("Sub", "x", 6.9999)
    ),
    "two masks": lambda m: m.op(
        "Mul",
        m.op("Mul", *(m.op("Cast", m.op("Greater", "x", t), to=TensorProto.FLOAT) for t in (0.0, 1.0))),
        "x",
    ),
    "a computed threshold": lambda m: m.op(
        "Where", m.op("Greater", "x", m.op("Mul", m.op("Abs", "x"), 0.5)), m.op("Add", "x", 1.0), "x"
    ),
    "hard shrinkage": lambda m: m.op("Where", m.op("Greater", m.op("Abs", "x"), 0.5), "x", 0.0),
    "soft shrinkage beside its threshold": lambda m: m.op(
        "Where",
        m.op("Greater", m.op("Abs", "x"), 0.5),
        m.op("Sub", "x", m.op("Mul", m.op("Sign", "x"), 0.50001)),
        0.0,
    ),
    "a cast by way of a boolean": lambda m: m.op("Cast", m.op("Cast", "x", to=TensorProto.BOOL), to=TensorProto.FLOAT),
    "the same of a multiple of a mask": lambda m: m.op(
        "Mul",
        "x",
        m.op(
            "Cast",
            m.op("Cast", m.op("Mul", m.op("Cast", m.op("Greater", "x", 0.0), to=1), 2.0), to=TensorProto.BOOL),
            to=1,
        ),
    ),
    "eight bits": lambda m: m.op("Cast", m.op("Cast", "x", to=TensorProto.FLOAT8E4M3FN), to=TensorProto.FLOAT),
    "four bits of an expression": lambda m: m.op(
        "Cast", m.op("Cast", m.op("Mul", "x", m.op("Sigmoid", "x")), to=TensorProto.UINT4), to=TensorProto.FLOAT
    ),
    "a whole quotient of a mask": lambda m: m.op(
        "Mul",
        "x",
        m.op(
            "Cast",
            m.op("Div", m.op("Cast", m.op("Greater", "x", 0.0), to=TensorProto.INT64), np.array([2])),
            to=TensorProto.FLOAT,
        ),
    ),
    "a selection of whole numbers": lambda m: m.op(
        "Cast", m.op("Where", m.op("Greater", "x", 0.0), np.array([3]), np.array([1])), to=TensorProto.FLOAT
    ),
    "a signal compared with itself": lambda m: m.op("Where", m.op("GreaterOrEqual", "x", "x"), m.op("Neg", "x"), "x"),
    "softplus with another slope above": lambda m: m.op(
        "Where", m.op("Greater", "x", 20.0), m.op("Mul", "x", 1.00001), m.op("Softplus", "x")
    ),
    "softplus with a large bias above": lambda m: m.op(
        "Where",
        m.op("Greater", m.op("Add", "x", 1e6), 20.0),
        m.op("Add", "x", 999999.0),
        m.op("Softplus", m.op("Add", "x", 1e6)),
    ),
}


@pytest.mark.parametrize("name", JUMPS)
def test_jumps_are_refused(tmp_path, name):
    model = Model()
    path = model.save(tmp_path, JUMPS[name](model))
    with pytest.raises(UnsupportedModel):
        lipcert.load(path, check=False)


CONTINUOUS = {
    "clip": (lambda m: m.op("Where", m.op("Greater", "x", 2e5), m.constant(2e5), "x"), 1.0),
    "not": (lambda m: m.op("Where", m.op("Not", m.op("LessOrEqual", "x", 0.0)), m.op("Mul", "x", 3.0), "x"), 3.0),
    "mask as an integer": (
        lambda m: m.op(
            "Mul",
            "x",
            m.op("Cast", m.op("Cast", m.op("Greater", "x", 0.0), to=TensorProto.INT32), to=TensorProto.FLOAT),
        ),
        1.0,
    ),
    "a rounded quotient": (lambda m: m.op("Where", m.op("Greater", "x", 0.0), m.op("Div", "x", 3.0), 0.0), 1 / 3),
    "soft shrinkage": (
        lambda m: m.op(
            "Where",
            m.op("Greater", m.op("Abs", "x"), 0.3),
            m.op("Sub", "x", m.op("Mul", m.op("Sign", "x"), 0.3)),
            0.0,
        ),
        1.0,
    ),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_switches_are_exact(tmp_path, name):
    model = Model()
    write, constant = CONTINUOUS[name]
    graph = lipcert.load(model.save(tmp_path, write(model)))
    bound = lipcert.bound(graph, time_limit=5.0)
    assert not graph.idealisations
    assert bound.lower <= constant * (1 + 1e-15)
    assert constant <= bound.upper <= constant * (1 + 1e-6)


def test_what_rounds_away_is_kept(tmp_path):
    """1e17x + x − 1e17x is x."""
    model = Model()
    u = model.op("Mul", "x", 1e17)
    path = model.save(tmp_path, model.op("Mul", model.op("Relu", model.op("Sub", model.op("Add", u, "x"), u)), 1e3))
    graph = lipcert.load(path)
    assert lipcert.bound(graph, lower=False).upper >= 1000.0


def test_products_that_underflow_are_kept(tmp_path):
    model = Model(kind=TensorProto.DOUBLE)
    y = "x"
    for factor in (2.0**-600, 2.0**-600, 2.0**600, 2.0**600):
        y = model.op("Mul", y, factor)
    graph = lipcert.load(model.save(tmp_path, model.op("Max", y, model.op("Mul", y, 0.5))), check=False)
    assert lipcert.bound(graph, lower=False, method="product").upper >= 1.0


@pytest.mark.parametrize("value", [1.7e308, 5e-324])
def test_weights_at_the_ends_of_the_range(tmp_path, value):
    for op in ("Mul", "Div"):
        model = Model(kind=TensorProto.DOUBLE)
        path = model.save(tmp_path, model.op("Relu", model.op(op, "x", value)))
        # a number that holds, or one line
        with suppress(LipcertError):
            upper = lipcert.bound(lipcert.load(path), time_limit=2.0).upper
            assert Fraction(upper) * Fraction(value) >= 1 if op == "Div" else upper >= value


def test_free_sizes_are_asked_for(shared_data):
    path = shared_data / "adversarial" / "dyn_conv.onnx"
    with pytest.raises(UnsupportedModel, match="H, W"):
        lipcert.load(path)
    graph = lipcert.load(path, dims={"H": 32, "W": 32})
    assert graph.input_size == 1024
    assert lipcert.bound(graph, method="product", lower=False).upper >= 8.6875
    with pytest.raises(LipcertError, match="no free size 'C'"):
        lipcert.load(path, dims={"C": 3})


def test_strict_refuses_idealisations(shared_data):
    path = shared_data / "exports" / "f_householder_where_conv__dynamo_op20.onnx"
    with pytest.raises(UnsupportedModel, match="apart on its surface"):
        lipcert.load(path, strict=True)
