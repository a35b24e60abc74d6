"""The imported graph against ONNX Runtime on random inputs; implicit layers against their equation."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto

from lipcert.errors import InvalidModel
from lipcert.graph.evaluate import forward, record
from lipcert.graph.nodes import Graph
from lipcert.importer.normalise import opset_of
from lipcert.importer.reader import read
from lipcert.importer.registry import Equation

if TYPE_CHECKING:
    from lipcert.arrays import Array

_SCALES = (0.1, 1.0, 10.0)
_SECONDS = 60.0
# over 260 files of several exporters the distance stayed below 62 roundings of the largest value in the network
_ROUNDINGS = 2.0**10
_RESIDUAL = 1e-3
# ONNX Runtime runs nothing older
_OLDEST_RUN = 7
_BROADCAST = ("Add", "Sub", "Mul", "Div", "Pow", "Greater", "Less", "Equal", "And", "Or", "Xor")
# numbers in all nodes together above which one sample must do
_LARGE = 2**22


def compare(path: str | Path, graph: Graph, equations: Sequence[Equation], output: str) -> None:
    """Raise an error where graph and file differ by more than rounding.

    The distance allowed is 2¹⁰(u·max |value| + δ), with u the unit roundoff of the file's type, the largest value of any
    node, and δ how far the output moves when the input moves by u.

    Raises
    ------
    InvalidModel
        If they differ, if ONNX Runtime cannot run the file, or if a solver in the file misses its fixed point.
    """
    names = {output, *(n for e in equations for n in (e.solution, *e.parameters))}
    session = _session(path, names)
    info = session.get_inputs()[0]
    dtype = {"tensor(double)": np.float64, "tensor(float16)": np.float16}.get(info.type, np.float32)
    shape = [d if isinstance(d, int) and d > 0 else 1 for d in info.shape]
    rng = np.random.default_rng(0)
    scales = _SCALES if sum(node.size for node in graph.nodes) <= _LARGE else (1.0,)
    runs: list[dict[str, np.ndarray]] = []
    samples = [(rng.standard_normal(shape) * scale).astype(dtype) for scale in scales]
    wanted = [o.name for o in session.get_outputs() if o.name in names]
    for x in samples:
        results = _run(session, path, wanted, {info.name: x})
        runs.append(dict(zip(wanted, results, strict=True)) | {info.name: x})
    unit = _unit(path)
    x = _columns(samples)
    agree(path, "ONNX Runtime", graph, x, _columns([run[output] for run in runs]), unit)
    for equation in equations:
        parameters = [_columns([run[name] for run in runs]) for name in equation.parameters]
        _residual(path, equation, _columns([run[equation.solution] for run in runs]), parameters)


def agree(path: str | Path, other: str, graph: Graph, x: Array, theirs: Array, unit: float) -> None:
    """Raise an error where the outputs of another implementation differ from the graph's by more than rounding.

    Parameters
    ----------
    path, other
        The model and the implementation, for messages.
    graph
        The imported network.
    x, theirs
        Inputs (inputs, samples) and the other's outputs (outputs, samples).
    unit
        The other's unit roundoff.
    """
    tape = record(graph, [x])
    if tape.output.shape != theirs.shape:
        raise InvalidModel(
            f"its output has {theirs.shape[0]} numbers in {other} and {tape.output.shape[0]} here", where=str(path)
        )
    peak = np.max([np.abs(v).max(axis=0, initial=0.0) for v in tape.values if v is not None], axis=0)
    nearby = x * (1.0 + unit * np.sign(np.random.default_rng(1).standard_normal(x.shape)))
    moved = np.abs(forward(graph, nearby) - tape.output).max(axis=0, initial=0.0)
    room = _ROUNDINGS * (unit * peak + moved) + np.finfo(np.float32).tiny
    # an overflow in the file's arithmetic, such as log σ(−200) = −∞ in float32, says nothing; ours never overflow there
    usable = np.isfinite(theirs).all(axis=0) | ~np.isfinite(tape.output).all(axis=0)
    if not usable.any():
        raise InvalidModel(f"{other} gives no finite output", where=str(path), advice="check the weights")
    gap = np.abs(np.where(usable, tape.output - np.where(usable, theirs, 0.0), 0.0)).max(axis=0, initial=0.0)
    if not (gap <= room).all():
        worst = int(np.argmax(np.nan_to_num(gap / room, nan=np.inf)))
        raise InvalidModel(
            f"the graph differs from {other} by {gap[worst]:.3g} where rounding explains {room[worst]:.3g}",
            where=str(path),
            advice="please report this file; no bound of it can be trusted",
        )


def _residual(path: str | Path, equation: Equation, solution: Array, parameters: Sequence[Array]) -> None:
    """‖x* − cell(x*)‖ relative to 1 + ‖x*‖, in the largest entry."""
    gap = np.abs(forward(equation.cell, [solution, *parameters]) - solution).max(axis=0, initial=0.0)
    relative = float((gap / (1.0 + np.abs(solution).max(axis=0, initial=0.0))).max())
    if not relative <= _RESIDUAL:
        raise InvalidModel(
            f"the solver in the file misses the fixed point {equation.solution!r} by {relative:.2g} relative",
            where=str(path),
            advice="give it more iterations, or a solver that converges",
        )


def _session(path: str | Path, names: set[str]) -> Any:
    """An ONNX Runtime session that also gives the named values."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    source: str | bytes = str(path)
    if _opset(path) < _OLDEST_RUN:
        source = _newer(path)
    elif len(names) > 1:
        model = read(path)
        given = {v.name for v in (*model.graph.output, *model.graph.input)}
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(names - given))
        source = model.SerializeToString()
    try:
        return onnxruntime.InferenceSession(source, options, ["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # ONNX Runtime throws many types from C++
        raise _cannot_run(path, error) from None


def _run(session: Any, path: str | Path, names: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """One run, ended where it takes too long: a file may loop for ever."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    timer = threading.Timer(_SECONDS, lambda: setattr(options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        return [np.asarray(y) for y in session.run(names, inputs, options)]
    except Exception as error:  # ONNX Runtime throws many types from C++
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


def _columns(samples: Sequence[np.ndarray]) -> Array:
    return np.stack([np.asarray(x, dtype=np.float64).ravel() for x in samples], axis=1)


def _newer(path: str | Path) -> bytes:
    """A model of opset 6 in opset 7, the oldest that ONNX Runtime runs.

    `onnx.version_converter` aligns operands wrongly where they broadcast from an axis or where PRelu has a slope a channel.
    """
    model = read(path)
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


def _opset(path: str | Path) -> int:
    model = onnx.load(path, load_external_data=False)
    return opset_of(model.opset_import, str(path))


def _unit(path: str | Path) -> float:
    """The unit roundoff of the coarsest floating-point type in the file."""
    model = onnx.load(path, load_external_data=False)
    kinds = {i.type.tensor_type.elem_type for i in model.graph.input} | {t.data_type for t in model.graph.initializer}
    kinds |= {a.i for n in model.graph.node if n.op_type == "Cast" for a in n.attribute if a.name == "to"}
    if TensorProto.BFLOAT16 in kinds:
        return 2.0**-8
    return 2.0**-11 if TensorProto.FLOAT16 in kinds else 2.0**-24
