"""What runs a file for the comparison: ONNX Runtime, else on the file in float32, else onnx.reference.

ONNX Runtime has no kernels for many operators on doubles (Conv, pooling, Elu, Gelu, …) and for nearly all of them on
bfloat16.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from lipcert import budget
from lipcert.errors import InvalidModel
from lipcert.importer.normalise import begin, cut, opset_of
from lipcert.importer.reader import read

_SECONDS = 60.0
# a run of a small file is not worth giving up, however short the limit of the answer
_LEAST_SECONDS = 1.0
# ONNX Runtime runs nothing older
_OLDEST_RUN = 7
_BROADCAST = ("Add", "Sub", "Mul", "Div", "Pow", "Greater", "Less", "Equal", "And", "Or", "Xor")
_ONNX_RUNTIME_TYPES: dict[str, np.dtype[Any]] = {
    "tensor(double)": np.dtype(np.float64),
    **{f"tensor({name})": np.dtype(name) for name in ("float16", "bool", "int8", "int16", "int32", "int64")},
    **{f"tensor({name})": np.dtype(name) for name in ("uint8", "uint16", "uint32", "uint64")},
}
_WIDE = (TensorProto.DOUBLE, TensorProto.BFLOAT16)
# attributes that hold an element type
_TYPES = ("to", "dtype", "output_dtype", "output_datatype", "stash_type")


@dataclass(frozen=True, eq=False)
class Runtime:
    """Something that runs a file.

    Attributes
    ----------
    title
        Its name, for messages.
    dtypes
        The types of the inputs, by name.
    unit
        The unit roundoff of the coarsest type that it computes in.
    run
        The wanted values, and the inputs' own, by name.
    note
        What the user should know of it.
    """

    title: str
    dtypes: Mapping[str, np.dtype[Any]]
    unit: float
    run: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
    note: str = ""

    def typed(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Values of the inputs in the types that it takes."""
        return {name: np.asarray(values[name], dtype) for name, dtype in self.dtypes.items()}


def runtimes(
    path: str | Path, output: str, names: set[str], unit: float, start: Sequence[str] = ()
) -> Iterator[Callable[[], Runtime]]:
    """What can run the part of the file that `output` needs and give the named values; the next where one cannot.

    `unit` is the unit roundoff of its signals.
    """
    model = read(path)
    given = {o.name for o in model.graph.output}
    begin(model, start, str(path))
    smaller = cut(model, output)
    same = not smaller and not start and names == given and _opset(model, path) >= _OLDEST_RUN
    inputs = {i.name for i in model.graph.input}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(names - {output} - inputs))
    kinds = _kinds(model)
    yield partial(_onnx_runtime, path, str(path) if same else _bytes(model, path), names, unit)
    if not kinds.isdisjoint(_WIDE):
        single = _in_single(model)
        yield partial(
            _onnx_runtime, path, _bytes(single, path), names, 2.0**-24,
            "the file was compared in float32, since ONNX Runtime cannot run it in its own type",
        )  # fmt: skip
        yield partial(_reference, path, model, names, unit)


def _bytes(model: onnx.ModelProto, path: str | Path) -> bytes:
    return _newer(model, path) if _opset(model, path) < _OLDEST_RUN else model.SerializeToString()


def _onnx_runtime(path: str | Path, source: str | bytes, names: set[str], unit: float, note: str = "") -> Runtime:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(source, options, ["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # ONNX Runtime throws many types from C++
        raise _cannot_run(path, error) from None
    wanted = [o.name for o in session.get_outputs() if o.name in names]
    dtypes = {info.name: _ONNX_RUNTIME_TYPES.get(info.type, np.dtype(np.float32)) for info in session.get_inputs()}

    def run(given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(wanted, _run(session, path, wanted, dict(given)), strict=True)) | dict(given)

    return Runtime("ONNX Runtime", dtypes, unit, run, note)


def _run(session: Any, path: str | Path, names: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """One run, ended where it takes too long: a file may loop for ever."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    timer = threading.Timer(
        min(_SECONDS, max(budget.left(), _LEAST_SECONDS)), lambda: setattr(options, "terminate", True)
    )
    timer.daemon = True
    timer.start()
    try:
        return [np.asarray(y) for y in session.run(names, inputs, options)]
    except Exception as error:  # ONNX Runtime throws many types from C++
        budget.check()
        raise _cannot_run(path, error) from None
    finally:
        timer.cancel()


def _cannot_run(path: str | Path, error: Exception) -> InvalidModel:
    lines = str(error).strip().splitlines()
    return InvalidModel(
        f"ONNX Runtime cannot run it: {lines[0][:200] if lines else type(error).__name__}",
        where=str(path),
        advice="check the file with onnx.checker",
    )


def _reference(path: str | Path, model: onnx.ModelProto, names: set[str], unit: float) -> Runtime:
    constants = {t.name for t in model.graph.initializer}
    infos = [i for i in model.graph.input if i.name not in constants]
    wanted = [o.name for o in model.graph.output if o.name in names]
    dtypes = {info.name: helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type) for info in infos}
    try:
        evaluator = ReferenceEvaluator(model)
    except Exception as error:  # the evaluator runs arbitrary operator code
        raise _cannot_run(path, error) from None

    def run(given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            with np.errstate(all="ignore"):
                results = evaluator.run(wanted, dict(given))
        except Exception as error:  # as above
            raise _cannot_run(path, error) from None
        return dict(zip(wanted, map(np.asarray, results), strict=True)) | dict(given)

    note = "the file was compared with onnx.reference, since ONNX Runtime cannot run it"
    return Runtime("onnx.reference", dtypes, unit, run, note)


def _in_single(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with float32 in place of float64 and bfloat16."""
    single = onnx.ModelProto()
    single.CopyFrom(model)
    for info in (*single.graph.input, *single.graph.output, *single.graph.value_info):
        _retyped(info.type)
    del single.graph.value_info[:]
    _narrow_graph(single.graph)
    for function in single.functions:
        _narrow_nodes(function.node)
    return single


def _narrow_graph(graph: onnx.GraphProto) -> None:
    for tensor in graph.initializer:
        _narrow(tensor)
    for info in (*graph.input, *graph.output):
        _retyped(info.type)
    _narrow_nodes(graph.node)


def _narrow_nodes(nodes: Iterable[onnx.NodeProto]) -> None:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.name in _TYPES and attribute.i in _WIDE:
                attribute.i = TensorProto.FLOAT
            if attribute.HasField("t"):
                _narrow(attribute.t)
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _narrow_graph(graph)


def _narrow(tensor: onnx.TensorProto) -> None:
    if tensor.data_type in _WIDE:
        with np.errstate(over="ignore"):
            array = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _retyped(kind: onnx.TypeProto) -> None:
    if kind.HasField("tensor_type") and kind.tensor_type.elem_type in _WIDE:
        kind.tensor_type.elem_type = TensorProto.FLOAT
    elif kind.HasField("sequence_type"):
        _retyped(kind.sequence_type.elem_type)


def _newer(model: onnx.ModelProto, path: str | Path) -> bytes:
    """A model of opset 6 in opset 7, the oldest that ONNX Runtime runs.

    `onnx.version_converter` aligns operands wrongly where they broadcast from an axis or where PRelu has a slope a channel.
    """
    try:
        inferred = onnx.shape_inference.infer_shapes(model).graph
    except Exception as error:  # shape inference raises whatever its C++ code throws
        raise _cannot_run(path, error) from None
    rank = {
        v.name: len(v.type.tensor_type.shape.dim) for v in (*inferred.value_info, *inferred.input, *inferred.output)
    }
    rank |= {t.name: len(t.dims) for t in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        given = {a.name: a.i for a in node.attribute}
        kept = [a for a in node.attribute if a.name not in ("broadcast", "axis", "is_test", "consumed_inputs")]
        if node.op_type in _BROADCAST or node.op_type == "PRelu":
            whole, part = rank[node.input[0]], rank[node.input[1]]
            axis = 1 if node.op_type == "PRelu" else given.get("axis", whole - part)
            trailing = whole - axis % max(whole, 1) - part
            if trailing > 0 and (part or node.op_type != "PRelu"):
                aligned = f"{node.input[1]}.aligned.{len(nodes)}"
                axes = list(range(part, part + trailing))
                nodes.append(onnx.helper.make_node("Unsqueeze", [node.input[1]], [aligned], axes=axes))
                node.input[1] = aligned
        if node.op_type in (*_BROADCAST, "BatchNormalization", "Dropout", "Gemm"):
            del node.attribute[:]
            node.attribute.extend(kept)
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for item in model.opset_import:
        item.version = _OLDEST_RUN if item.domain in ("", "ai.onnx") else item.version
    return model.SerializeToString()


def _opset(model: onnx.ModelProto, path: str | Path) -> int:
    return opset_of(model.opset_import, str(path))


def _kinds(model: onnx.ModelProto) -> set[int]:
    """The element types of inputs, weights and casts."""
    kinds = {i.type.tensor_type.elem_type for i in model.graph.input} | {t.data_type for t in model.graph.initializer}
    kinds |= {a.t.data_type for n in model.graph.node for a in n.attribute if a.HasField("t")}
    return kinds | {a.i for n in model.graph.node if n.op_type == "Cast" for a in n.attribute if a.name == "to"}
