"""Files that are damaged, hostile or out of scope: one LipcertError with one clear line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lipcert.errors import InvalidModel, InvalidRequest, LipcertError, UnsupportedModel
from lipcert.importer import load

HEADER_2_GIB = bytes([0x3A, 0x80, 0x80, 0x80, 0x80, 0x08])


def refused(path: Path, match: str, kind: type[LipcertError] = InvalidModel, **options: Any) -> str:
    """The message of the error, which must be one line."""
    with pytest.raises(kind, match=match) as caught:
        load(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 600
    assert caught.value.exit_code == 2
    return text


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "empty"),
        (b"# a text file\nwith two lines\n", "not an ONNX model"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "Git LFS pointer.*git lfs pull"),
        (HEADER_2_GIB, "not an ONNX model|truncated"),
        (HEADER_2_GIB + b"\0" * 100, "not an ONNX model|truncated"),
        (b"\x08\x08", "holds no graph"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(64)), "not an ONNX model"),
    ],
    ids=["empty", "text", "lfs", "2 GiB claim", "2 GiB claim and zeros", "no graph", "png"],
)
def test_not_a_model(content: bytes, match: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    assert str(path) in refused(path, match)


def test_truncated_anywhere(cnn: onnx.ModelProto, tmp_path: Path) -> None:
    content = cnn.SerializeToString()
    path = tmp_path / "net.onnx"
    for cut in range(1, len(content), 97):
        path.write_bytes(content[:cut])
        refused(path, "is not an ONNX model, or is truncated")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    refused(tmp_path / "none.onnx", "no such file")
    refused(tmp_path, "is a folder")


def external(model: onnx.ModelProto, folder: Path, location: str, **entries: str) -> Path:
    """The model with its first weight moved into a data file, by a location that may lie."""
    tensor = model.graph.initializer[0]
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    fields = {"location": location, "offset": "0", "length": str(len(data))} | entries
    for key, value in fields.items():
        tensor.external_data.add(key=key, value=value)
    (folder / "weights.bin").write_bytes(data)
    path = folder / "model" / "net.onnx"
    path.parent.mkdir(exist_ok=True)
    (path.parent / "weights.bin").write_bytes(data)
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data_in_the_folder(mlp: onnx.ModelProto, tmp_path: Path) -> None:
    assert load(external(mlp, tmp_path, "weights.bin")).output_size == 3


@pytest.mark.parametrize("location", ["../weights.bin", "a/../../weights.bin", "/etc/hostname", "", "."])
def test_external_data_outside(location: str, mlp: onnx.ModelProto, tmp_path: Path) -> None:
    refused(external(mlp, tmp_path, location), "outside the model's folder|is missing")


def test_external_data_by_symlinks(mlp: onnx.ModelProto, tmp_path: Path) -> None:
    path = external(mlp, tmp_path, "link.bin")
    (path.parent / "link.bin").symlink_to(tmp_path / "weights.bin")
    refused(path, "outside the model's folder")
    other = onnx.ModelProto.FromString(path.read_bytes())
    other.graph.initializer[0].external_data[0].value = "folder/weights.bin"
    path.write_bytes(other.SerializeToString())
    (path.parent / "folder").symlink_to(tmp_path)
    refused(path, "outside the model's folder")


@pytest.mark.parametrize(
    "entries",
    [{"offset": "8"}, {"length": "8"}, {"offset": "-4"}, {"offset": "many"}, {"length": str(2**40)}],
    ids=["offset", "length", "negative", "no number", "huge"],
)
def test_external_data_that_lies(entries: dict[str, str], mlp: onnx.ModelProto, tmp_path: Path) -> None:
    refused(external(mlp, tmp_path, "weights.bin", **entries), "length|offset")


def test_missing_data_file(mlp: onnx.ModelProto, tmp_path: Path) -> None:
    assert "gone.bin" in refused(external(mlp, tmp_path, "gone.bin"), "is missing")


def changed(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("k", [0, 1, 2])
def test_weights_that_are_not_finite(value: float, k: int, mlp: onnx.ModelProto, tmp_path: Path) -> None:
    tensor = mlp.graph.initializer[k]
    array = numpy_helper.to_array(tensor).copy()
    array.flat[0] = value
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    refused(changed(mlp, tmp_path), "NaN|infinity")


def test_lying_dims_and_short_data(mlp: onnx.ModelProto, tmp_path: Path) -> None:
    tensor = mlp.graph.initializer[0]
    raw = tensor.raw_data
    for dims in ([2**31, 2**31], [2**62, 4], [-6, 4], [60, 4], [5, 4]):
        del tensor.dims[:]
        tensor.dims.extend(dims)
        refused(changed(mlp, tmp_path), "claim|negative dimension")
    del tensor.dims[:]
    tensor.dims.extend([6, 4])
    tensor.raw_data = raw[:-3]
    refused(changed(mlp, tmp_path), "claims 96 bytes but holds 93")


def test_inputs_and_outputs(mlp: onnx.ModelProto, tmp_path: Path) -> None:
    two = onnx.ModelProto.FromString(mlp.SerializeToString())
    two.graph.output.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, None))
    path = changed(two, tmp_path)
    assert "'y', 'a'" in refused(path, "2 outputs", UnsupportedModel)
    assert load(path, output="a").output_size == 6
    assert "'y', 'a'" in refused(path, "no output 'q'", InvalidRequest, output="q")
    none = onnx.ModelProto.FromString(mlp.SerializeToString())
    del none.graph.output[:]
    refused(changed(none, tmp_path), "no outputs")
    more = onnx.ModelProto.FromString(mlp.SerializeToString())
    more.graph.input.append(helper.make_tensor_value_info("u", TensorProto.FLOAT, [1, 3]))
    more.graph.node.append(helper.make_node("Add", ["y", "u"], ["s"]))
    more.graph.output[0].name = "s"
    assert load(changed(more, tmp_path)).input_size == 7
    closed = onnx.ModelProto.FromString(mlp.SerializeToString())
    del closed.graph.input[:]
    refused(changed(closed, tmp_path), "never produced|0 inputs", LipcertError)


def test_ops_out_of_scope_name_node_op_and_file(write: Any) -> None:
    for op, domain, match in (
        ("Det", "", "the op Det is not supported"),
        ("Relu", "com.example", r"com\.example\.Relu is not part of ONNX"),
        ("Nonsense", "", "there is no op Nonsense"),
        ("Floor", "", "jumps"),
    ):
        node = helper.make_node(op, ["x"], ["y"], name="culprit", domain=domain)
        text = refused(write([node], {}, [2, 2]), match, UnsupportedModel)
        assert "culprit" in text
        assert op in text
        assert "net.onnx" in text


@pytest.mark.parametrize(
    ("op", "attributes", "constants", "match"),
    [
        ("BatchNormalization", {"training_mode": 1}, ["g", "g", "g", "g"], "training mode"),
        ("Dropout", {}, ["ratio", "yes"], "training mode"),
        ("LpPool", {"kernel_shape": [2, 2], "p": 3}, [], "no proven treatment"),
        ("RandomNormalLike", {}, [], "random|not supported"),
    ],
)
def test_variants_out_of_scope(
    op: str, attributes: dict[str, Any], constants: list[str], match: str, write: Any
) -> None:
    outputs = ["y", "m", "v"] if op == "BatchNormalization" else ["y"]
    node = helper.make_node(op, ["x", *constants], outputs, name="culprit", **attributes)
    given = {"g": np.ones(2), "ratio": np.array(0.5), "yes": np.array(True)}
    path = write([node], {k: given[k] for k in dict.fromkeys(constants)}, [1, 2, 4, 4])
    assert "culprit" in refused(path, match, UnsupportedModel)


@pytest.mark.parametrize("op", ["Dropout", "BatchNormalization"])
def test_training_was_the_default_of_opset_6(op: str, write: Any) -> None:
    constants = {k: np.ones(2) for k in "gbmv"} if op == "BatchNormalization" else {}
    tested = helper.make_node(op, ["x", *constants], ["y"], is_test=1)
    load(write([tested], constants, [1, 2, 4, 4], opset=6), check=False)
    trained = helper.make_node(op, ["x", *constants], ["y"])
    refused(write([trained], constants, [1, 2, 4, 4], opset=6), "training mode", UnsupportedModel)


@pytest.mark.parametrize(("op", "attributes"), [("Gemm", {}), ("Einsum", {"equation": "ij,jk,kl->il"})])
def test_products_of_signals(op: str, attributes: dict[str, Any], write: Any) -> None:
    nodes = [
        helper.make_node("Tanh", ["x"], ["t"]),
        helper.make_node(op, ["x", "t"] + ["t"] * bool(attributes), ["y"], name="culprit", **attributes),
    ]
    assert "culprit" in refused(write(nodes, {}, [3, 3]), "product of two signals", UnsupportedModel)


def test_shapes_that_do_not_fit(write: Any) -> None:
    gemm = helper.make_node("Gemm", ["x", "W"], ["y"], name="culprit")
    assert "culprit" in refused(write([gemm], {"W": np.ones((3, 3))}, [1, 4]), "do not fit|not matrices")
    conv = helper.make_node("Conv", ["x", "W"], ["y"], name="culprit")
    refused(write([conv], {"W": np.ones((1, 2, 3, 3))}, [1, 3, 5, 5]), "does not fit")
    refused(write([conv], {"W": np.ones((1, 3, 9, 9))}, [1, 3, 5, 5]), "larger than its input")
    cycle = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    twice = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Tanh", ["x"], ["y"])]
    refused(write(twice, {}, [1, 4]), "produced twice", check=False)
    refused(write(cycle, {}, [1, 4], outputs=["b"]), "cycle")
    refused(write([helper.make_node("Relu", ["nowhere"], ["y"])], {}, [1, 4]), "never produced")
    refused(write([helper.make_node("Relu", ["x"], ["a"])], {}, [1, 4]), "never computed|never produced")
    refused(write([helper.make_node("Relu", ["x", "x"], ["y"])], {}, [1, 4]), "2 inputs where 1 to 1")


def test_small_files_that_would_grow(write: Any) -> None:
    node = helper.make_node
    huge = [node("ConstantOfShape", ["shape"], ["c"], name="culprit"), node("Add", ["x", "c"], ["y"])]
    refused(write(huge, {"shape": np.array([2**20, 2**20])}, [1, 4]), "MiB would be computed", UnsupportedModel)
    tile = [node("Tile", ["x", "times"], ["y"], name="culprit")]
    refused(write(tile, {"times": np.array([2**20, 2**20])}, [1, 4]), "MiB|would create", UnsupportedModel)
    refused(write([node("Relu", ["x"], ["y"])], {}, [2**20, 2**20]), "claims")
    pad = [node("Pad", ["x", "pads"], ["y"], name="culprit")]
    refused(write(pad, {"pads": np.array([0, 2**40, 0, 0])}, [1, 4]), "would create", UnsupportedModel)
    split = [node("Split", ["x"], ["y", "z"], name="culprit", axis=1, num_outputs=2**30)]
    refused(write(split, {}, [1, 4], opset=18), "splits into")


def test_opsets_out_of_range(mlp: onnx.ModelProto, tmp_path: Path) -> None:
    for version in (-1, 0, 5, 99):
        mlp.opset_import[0].version = version
        refused(changed(mlp, tmp_path), "operator set", UnsupportedModel)
    del mlp.opset_import[:]
    refused(changed(mlp, tmp_path), "no operator set")


def test_a_graph_that_differs_from_onnx_runtime_is_an_error(
    mlp: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lipcert.importer.registry import HANDLERS, Context

    path = changed(mlp, tmp_path)
    right = HANDLERS["Relu"]
    monkeypatch.setitem(
        HANDLERS, "Relu", lambda ctx: ctx.activation(ctx.tensor(0), "leaky_relu", parameters={"alpha": 1e-3})
    )
    text = refused(path, r"differs from ONNX Runtime by \S+ where rounding explains \S+")
    assert "report" in text
    assert load(path, check=False).output_size == 3
    monkeypatch.setitem(HANDLERS, "Relu", right)
    load(path)
    assert Context


FUZZ = Path(__file__).with_name("fuzz.py")


def fuzz(folder: Path, models: list[onnx.ModelProto], first: int, count: int) -> None:
    for k, model in enumerate(models):
        (folder / f"{k}.onnx").write_bytes(model.SerializeToString())
    done = subprocess.run(
        [sys.executable, str(FUZZ), str(folder), str(first), str(count)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]


def test_mutated_files_never_crash(mlp: onnx.ModelProto, cnn: onnx.ModelProto, tmp_path: Path) -> None:
    fuzz(tmp_path, [mlp, cnn], 0, 400)


@pytest.mark.slow
def test_many_mutated_files_never_crash(
    mlp: onnx.ModelProto, cnn: onnx.ModelProto, tmp_path: Path, shared_data: Path
) -> None:
    others = [
        onnx.load(p)
        for p in sorted((shared_data / "exports").glob("*.onnx"))
        if p.stat().st_size < 30_000 and not p.with_name(p.name + ".data").exists()
    ]
    fuzz(tmp_path, [mlp, cnn, *others], 1000, 2000)
