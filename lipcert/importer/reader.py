"""Safe reading of an ONNX file: sizes first, external data inside the model's folder only, one clear error otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

from lipcert.errors import InvalidModel

MAX_BYTES = 2**31
"""Largest file, and largest sum of tensors, that is read; protobuf itself ends at 2 GiB."""


def read(path: str | Path) -> onnx.ModelProto:
    """The model of an ONNX file, its external data loaded.

    Raises
    ------
    InvalidModel
        If the file is missing, is not ONNX, is truncated, claims more data than it holds, or points outside its folder.
    """
    file = Path(path)

    def fail(reason: str, advice: str = "") -> InvalidModel:
        return InvalidModel(reason, where=str(path), advice=advice)

    try:
        if file.is_dir():
            raise fail("is a folder", "name the .onnx file in it")
        if not file.is_file():
            raise fail("there is no such file", "check the path")
        size = file.stat().st_size
        if size == 0:
            raise fail("the file is empty", "export the model again")
        if size > MAX_BYTES:
            raise fail("the file is larger than 2 GiB", "store its weights as external data")
        content = file.read_bytes()
    except OSError as error:
        raise fail(f"cannot be read: {error.strerror}") from None
    if content.startswith(b"version https://git-lfs"):
        raise fail("is a Git LFS pointer, not the model itself", "fetch it with: git lfs pull")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except (DecodeError, RecursionError):
        raise fail("is not an ONNX model, or is truncated", "export the model again") from None
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise fail("is not an ONNX model: it holds no graph", "export the model again")
    if not all(isinstance(text, str) for node in model.graph.node for text in (node.op_type, node.domain, node.name)):
        raise fail("holds names that are no text", "the file is damaged; export it again")
    if not model.opset_import:
        raise fail("names no operator set", "export the model again")
    _load_tensors(model, file)
    return model


def _load_tensors(model: onnx.ModelProto, file: Path) -> None:
    """Check what every stored tensor claims before anything of that size is allocated, then load external data."""
    folder = file.resolve().parent
    budget = MAX_BYTES
    for tensor in _tensors(model):
        where = f"{file}, tensor {tensor.name!r}"
        claimed = _claimed_bytes(tensor, where)
        budget -= claimed
        if budget < 0:
            raise InvalidModel("its tensors claim more than 2 GiB", where=str(file), advice="use a smaller model")
        if uses_external_data(tensor):
            _load_external(tensor, folder, where, claimed)
        else:
            held = _held_bytes(tensor)
            if held is not None and held != claimed:
                raise InvalidModel(
                    f"it claims {claimed} bytes but holds {held}",
                    where=where,
                    advice="the file is damaged; export it again",
                )


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor that the file stores: initialisers and attributes, in subgraphs and functions too."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graph_tensors(graph)


def _load_external(tensor: onnx.TensorProto, folder: Path, where: str, claimed: int) -> None:
    """Read external data that lies in the model's folder, is no link out of it, and is as long as claimed."""
    entries = {item.key: item.value for item in tensor.external_data}
    location = entries.get("location", "")
    target = folder / location
    inside = not Path(location).is_absolute() and ".." not in Path(location).parts
    if not location or not inside or not target.resolve().is_relative_to(folder) or target.is_symlink():
        raise InvalidModel(
            f"its data lies in {location!r}, outside the model's folder",
            where=where,
            advice="move the data file beside the model",
        )
    if not target.is_file():
        raise InvalidModel(
            f"its data file {location!r} is missing", where=where, advice="put the data file beside the model"
        )
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", claimed))
    except ValueError:
        raise InvalidModel("its external data has no readable offset", where=where) from None
    if length != claimed or offset < 0 or offset + length > target.stat().st_size:
        raise InvalidModel(
            f"its data file {location!r} is too short or its length is wrong", where=where, advice="copy the file again"
        )
    try:
        load_external_data_for_tensor(tensor, str(folder))
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]
    except (OSError, ValueError, RuntimeError, onnx.checker.ValidationError) as error:
        raise InvalidModel(f"its external data cannot be read: {_line(error)}", where=where) from None


def to_array(tensor: onnx.TensorProto, where: str) -> np.ndarray:
    """The numpy array of a tensor; floats that are not finite are refused."""
    try:
        array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise InvalidModel(
            f"the tensor {tensor.name!r} cannot be read: {_line(error)}", where=where, advice="the file is damaged"
        ) from None
    return np.asarray(array)


def _claimed_bytes(tensor: onnx.TensorProto, where: str) -> int:
    count = 1
    for dim in tensor.dims:
        if dim < 0:
            raise InvalidModel(f"it has the negative dimension {dim}", where=where)
        count *= dim
    try:
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except (KeyError, ValueError, TypeError):
        raise InvalidModel(f"its element type {tensor.data_type} is not known", where=where) from None
    bits = 4 if tensor.data_type in (TensorProto.INT4, TensorProto.UINT4) else 8 * max(1, kind.itemsize)
    return -(-count * bits // 8) if kind != np.dtype(object) else count


def _held_bytes(tensor: onnx.TensorProto) -> int | None:
    """Bytes that the typed fields stand for, or None where they are not comparable."""
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data)
    if tensor.data_type == TensorProto.FLOAT:
        return 4 * len(tensor.float_data)
    if tensor.data_type == TensorProto.DOUBLE:
        return 8 * len(tensor.double_data)
    if tensor.data_type == TensorProto.INT64:
        return 8 * len(tensor.int64_data)
    if tensor.data_type == TensorProto.INT32:
        return 4 * len(tensor.int32_data)
    return None


def _line(error: BaseException) -> str:
    """The first line of a library's message."""
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__
