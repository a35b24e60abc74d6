"""Several inputs, inputs that are held, parts of a network, and images in whole numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import lipcert
from lipcert.certificates import verify
from lipcert.cli import cli
from lipcert.errors import InvalidRequest, NotCertified, UnsupportedModel
from lipcert.graph.evaluate import forward, record
from lipcert.importer import load

RNG = np.random.default_rng(5)
WEIGHTS = {"A": RNG.normal(size=(4, 3)), "B": RNG.normal(size=(4, 2)), "C": RNG.normal(size=(2, 4))}


def two_inputs(path: Path, product: bool = False) -> Path:
    """C tanh(A image + B vector), or with a product in place of the sum."""
    node = helper.make_node
    nodes = [
        node("Gemm", ["image", "A"], ["a"], transB=1),
        node("Gemm", ["vector", "B"], ["b"], transB=1),
        node("Mul" if product else "Add", ["a", "b"], ["z"]),
        node("Tanh", ["z"], ["h"]),
        node("Gemm", ["h", "C"], ["g"], transB=1),
        node("Add", ["g", "c"], ["y"]),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "net",
        [info("image", TensorProto.FLOAT, ["batch", 3]), info("vector", TensorProto.FLOAT, ["batch", 2])],
        [info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(w.astype(np.float32), k) for k, w in (WEIGHTS | {"c": np.ones(2)}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def numbers(name: str) -> np.ndarray:
    return WEIGHTS[name].astype(np.float32).astype(np.float64)


def test_several_inputs_are_one_vector(tmp_path: Path) -> None:
    graph = load(two_inputs(tmp_path / "net.onnx"))
    assert graph.input_size == 5
    assert graph.notes == ("its inputs are one vector: image (0 to 2), vector (3 to 4)",)
    x = RNG.normal(size=5)
    expected = numbers("C") @ np.tanh(numbers("A") @ x[:3] + numbers("B") @ x[3:]) + 1.0
    np.testing.assert_allclose(forward(graph, x), expected, atol=1e-12)
    both = np.hstack([numbers("A"), numbers("B")])
    found = lipcert.bound(graph)
    assert found.lower is not None
    assert np.linalg.norm(numbers("C") @ both, 2) * (1 - 1e-6) <= found.upper
    assert found.lower <= found.upper <= np.linalg.norm(numbers("C"), 2) * np.linalg.norm(both, 2) * (1 + 1e-6)


def test_the_others_may_have_any_value(tmp_path: Path) -> None:
    path = two_inputs(tmp_path / "net.onnx")
    moving, fixed = load(path, inputs="image"), load(path, hold={"vector": [3.0, -2.0]})
    assert moving.input_size == fixed.input_size == 3
    x = RNG.normal(size=3)
    expected = numbers("C") @ np.tanh(numbers("A") @ x + numbers("B") @ [3.0, -2.0]) + 1.0
    np.testing.assert_allclose(forward(fixed, x), expected, atol=1e-6)
    # with the others where tanh is steepest the product of the matrices is attained
    exact = np.linalg.norm(numbers("C") @ numbers("A"), 2)
    found = lipcert.bound(moving)
    assert found.lower is not None
    assert exact * (1 - 1e-6) <= found.upper
    assert found.lower <= found.upper
    region = lipcert.Box(-0.1, 0.1)
    near, far = (lipcert.bound(load(path, hold={"vector": v}), region=region, lower=False).upper for v in (0.0, 9.0))
    assert far < near <= found.upper * (1 + 1e-9)


@pytest.mark.parametrize("ends", [(-1.0, 1.0), (0.5, 0.75), (-4.0, -2.0)])
def test_a_range_bounds_every_function_in_it(ends: tuple[float, float], tmp_path: Path) -> None:
    path = two_inputs(tmp_path / "net.onnx", product=True)
    region = lipcert.Box(-0.5, 0.5)
    graph = load(path, hold={"vector": lipcert.Box(*ends)})
    found = lipcert.bound(graph, region=region)
    assert found.certificate is not None
    assert verify(found.certificate, graph).value == found.upper
    rng = np.random.default_rng(0)
    largest = 0.0
    for vector in (*rng.uniform(*ends, (12, 2)), np.full(2, ends[0]), np.full(2, ends[1])):
        one = load(path, hold={"vector": vector}, check=False)
        for x in rng.uniform(-0.5, 0.5, (10, 3, 1)):
            largest = max(largest, float(np.linalg.norm(record(one, [x]).jacobian(0), 2)))
    assert largest <= found.upper
    assert found.lower is not None
    assert found.lower <= found.upper


def test_without_a_range_a_factor_is_unbounded(tmp_path: Path) -> None:
    path = two_inputs(tmp_path / "net.onnx", product=True)
    with pytest.raises(NotCertified, match="a factor of the product is unbounded"):
        lipcert.bound(load(path, inputs="image"), region=lipcert.Box(-1.0, 1.0))


def test_a_range_of_one_number_is_a_value(tmp_path: Path) -> None:
    path = two_inputs(tmp_path / "net.onnx")
    assert (
        load(path, hold={"vector": lipcert.Box(2.0, 2.0)}).fingerprint == load(path, hold={"vector": 2.0}).fingerprint
    )


def test_what_is_asked_for_has_to_fit(tmp_path: Path) -> None:
    path = two_inputs(tmp_path / "net.onnx")
    for options, message in (
        ({"hold": {"vectr": 0.0}}, "no input 'vectr'.*its inputs are 'image', 'vector'; is 'vector' meant"),
        ({"hold": {"vector": [1.0, 2.0, 3.0]}}, "has 2 numbers, and 3 are given"),
        ({"hold": {"vector": [1.0, np.nan]}}, "is not finite"),
        ({"hold": {"vector": lipcert.Box([0, 0, 0], 1)}}, "its range 3"),
        ({"hold": {"vector": 0.0, "image": 0.0}}, "all of its inputs are held"),
        ({"inputs": "image", "hold": {"image": 0.0}}, "is to move and is held"),
        ({"inputs": "imag"}, "no input and no value inside of the name 'imag'; its inputs are 'image', 'vector'"),
        ({"dims": {"width": 3}}, "no free size 'width'"),
    ):
        with pytest.raises(InvalidRequest, match=message):
            load(path, **options)


def test_a_part_and_the_error_of_the_whole(tmp_path: Path) -> None:
    """What a change of at most ε at a value inside does to the output is at most ε times the bound of the part behind it."""
    path = two_inputs(tmp_path / "net.onnx")
    part = load(path, inputs="z")
    assert (part.input_size, part.notes) == (4, ())
    found = lipcert.bound(part)
    middle = load(path, inputs="z", output="g")
    assert lipcert.bound(middle).upper == pytest.approx(found.upper, rel=1e-6)
    rng = np.random.default_rng(1)
    x, z = rng.normal(size=(5, 200)), load(path, output="z")
    changed = forward(z, x) + 1e-2 * rng.normal(size=(4, 200))
    error = np.linalg.norm(forward(part, changed) - forward(part, forward(z, x)), axis=0)
    assert (error <= found.upper * np.linalg.norm(changed - forward(z, x), axis=0)).all()


def test_a_part_that_needs_an_input_beside_it_holds_for_any_value_of_it(tmp_path: Path) -> None:
    part = load(two_inputs(tmp_path / "net.onnx"), inputs="a")
    assert part.notes == ("its input vector is held, at any value",)
    exact = np.linalg.norm(numbers("C"), 2)
    assert exact * (1 - 1e-9) <= lipcert.bound(part, lower=False).upper <= exact * (1 + 1e-6)


def test_what_computes_the_part_is_not_looked_at(tmp_path: Path) -> None:
    model = onnx.load(two_inputs(tmp_path / "net.onnx"))
    model.graph.node[1].CopyFrom(helper.make_node("Floor", ["vector"], ["v"]))
    model.graph.node.insert(2, helper.make_node("Gemm", ["v", "B"], ["b"], transB=1))
    onnx.save(model, tmp_path / "jumps.onnx")
    with pytest.raises(UnsupportedModel, match="Floor"):
        load(tmp_path / "jumps.onnx")
    assert load(tmp_path / "jumps.onnx", inputs="b").input_size == 4


def test_the_command_line_takes_them(tmp_path: Path) -> None:
    path = str(two_inputs(tmp_path / "net.onnx"))
    np.save(tmp_path / "value.npy", np.array([1.0, 2.0]))
    np.savez(tmp_path / "range.npz", low=np.zeros(2), high=np.ones(2))
    for options, inputs in (
        ([], 5),
        (["--inputs", "image"], 3),
        (["--hold", "vector=0.5"], 3),
        (["--hold", "vector=0,1"], 3),
        (["--hold", f"vector={tmp_path}/value.npy"], 3),
        (["--hold", f"vector={tmp_path}/range.npz"], 3),
        (["--from", "z"], 4),
        (["--from", "z", "--to", "g"], 4),
    ):
        result = CliRunner().invoke(cli, ["inspect", path, "--json", *options])
        assert result.exit_code == 0, result.output
        assert f'"inputs": {inputs}' in result.output
    wrong = CliRunner().invoke(cli, ["inspect", path, "--hold", "vector"])
    assert wrong.exit_code == 2
    assert "NAME=FILE" in wrong.output


def image(path: Path, *nodes: onnx.NodeProto, kind: int = TensorProto.UINT8) -> Path:
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", kind, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.full((4, 2), 0.5, np.float32), "W"),
            numpy_helper.from_array(np.array(255.0, np.float32), "k"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_an_image_in_whole_numbers_is_real_behind_its_cast(tmp_path: Path) -> None:
    node = helper.make_node
    graph = load(
        image(
            tmp_path / "net.onnx",
            node("Flatten", ["x"], ["f"]),
            node("Cast", ["f"], ["c"], to=TensorProto.FLOAT),
            node("Div", ["c", "k"], ["d"]),
            node("MatMul", ["d", "W"], ["y"]),
        )
    )
    assert graph.idealisations == (
        "the input x of the type uint8, which the file casts to floating point, is taken as real numbers",
    )
    exact = np.sqrt(2.0) / 255.0
    assert exact * (1 - 1e-7) <= lipcert.bound(graph, lower=False).upper <= exact * (1 + 1e-6)


@pytest.mark.parametrize(
    "before",
    [
        [helper.make_node("Cast", ["x"], ["m"], to=TensorProto.BOOL), helper.make_node("Cast", ["m"], ["c"], to=1)],
        [helper.make_node("Mod", ["x", "x"], ["m"]), helper.make_node("Cast", ["m"], ["c"], to=1)],
        [helper.make_node("Gather", ["W", "x"], ["e"]), helper.make_node("ReduceSum", ["e"], ["c"], keepdims=0)],
    ],
    ids=["cast to truth values", "remainder", "embedding"],
)
def test_other_whole_numbers_are_refused(before: list[onnx.NodeProto], tmp_path: Path) -> None:
    path = image(tmp_path / "net.onnx", *before, helper.make_node("Identity", ["c"], ["y"]))
    with pytest.raises(UnsupportedModel, match=r"of the type uint8.*--hold x=FILE"):
        load(path)
