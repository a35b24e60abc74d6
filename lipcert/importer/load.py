"""`load`: an ONNX file as a Graph, checked against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from lipcert.errors import InvalidModel, InvalidRequest, UnsupportedModel
from lipcert.graph.evaluate import forward
from lipcert.graph.nodes import Graph, GraphBuilder
from lipcert.importer.normalise import normalise
from lipcert.importer.reader import read
from lipcert.importer.registry import Deferred, State, Tensor, Value
from lipcert.importer.walk import run

_FLOATS = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
)


def load(path: str | Path, *, output: str | None = None, check: bool = True) -> Graph:
    """Read a network from an ONNX file.

    Parameters
    ----------
    path
        The file. External data must lie in its folder.
    output
        Name of the output, where the model has several.
    check
        Whether to compare the result with ONNX Runtime on random inputs.

    Returns
    -------
    Graph
        Its idealisations say where it differs from the file.

    Raises
    ------
    InvalidModel
        If the file cannot be read or contradicts itself.
    UnsupportedModel
        If an op has no proven treatment; the message names the node.
    """
    model = read(path)
    name = Path(path).name
    original = onnx.ModelProto()
    original.CopyFrom(model)
    graph = from_model(model, name, output=output)
    if check:
        _compare(original, graph, path, output)
    return graph


def from_model(model: onnx.ModelProto, name: str, *, output: str | None = None) -> Graph:
    """The graph of a model in memory."""
    chosen = _output(model, name, output)
    model, functions = normalise(model, name)
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    builder = GraphBuilder()
    state = State(builder, name, opset)
    inputs = list(model.graph.input)
    if len(inputs) != 1:
        names = ", ".join(repr(i.name) for i in inputs) or "none"
        raise UnsupportedModel(
            f"it has {len(inputs)} inputs ({names})",
            where=name,
            advice="a bound needs exactly one; concatenate them in the model" if inputs else "export the model again",
        )
    shape, dtype = _shape(inputs[0], name)
    values: dict[str, Value] = {
        inputs[0].name: Tensor(builder.input(int(np.prod(shape)), inputs[0].name), shape, dtype)
    }
    run(model.graph, state, values, _calls(functions))
    result = values.get(chosen)
    if result is None:
        raise InvalidModel(f"its output {chosen!r} is never computed", where=name)
    from lipcert.importer.activations import materialise, settle

    if isinstance(result, Deferred):
        result = materialise(result, state)
    if isinstance(result, np.ndarray):
        raise UnsupportedModel(f"its output {chosen!r} does not depend on the input", where=name)
    return settle(builder.finish(result.position, state.idealisations, name), state)


def _calls(functions: dict[tuple[str, str], onnx.FunctionProto]) -> dict[str, object] | None:
    """Handlers of the lipcert domains, where the model uses them."""
    from lipcert.importer.fixed_point import caller

    return {"lipcert.fixedpoint": caller(functions)}


def _output(model: onnx.ModelProto, name: str, wanted: str | None) -> str:
    names = [o.name for o in model.graph.output]
    if not names:
        raise InvalidModel("it has no outputs", where=name, advice="export the model again")
    if wanted is not None:
        if wanted not in names:
            raise InvalidRequest(
                f"it has no output {wanted!r}", where=name, advice=f"its outputs are {', '.join(map(repr, names))}"
            )
        return wanted
    if len(names) > 1:
        raise UnsupportedModel(
            f"it has {len(names)} outputs ({', '.join(map(repr, names))})",
            where=name,
            advice="choose one with load(path, output=…) or --output",
        )
    return names[0]


def _shape(info: onnx.ValueInfoProto, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """The input's shape with unknown dimensions set to 1, and its type."""
    tensor = info.type.tensor_type
    if not info.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise UnsupportedModel(f"its input {info.name!r} has no shape", where=name, advice="export it with a shape")
    if tensor.elem_type not in _FLOATS:
        raise UnsupportedModel(
            f"its input {info.name!r} is not of a floating-point type", where=name, advice="a bound needs real inputs"
        )
    shape = tuple(d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else 1 for d in tensor.shape.dim)
    size = float(np.prod([float(s) for s in shape]))
    if size > 2**26:
        raise InvalidModel(f"its input {info.name!r} claims {size:.3g} numbers", where=name, advice="make it smaller")
    return shape, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)


def _compare(model: onnx.ModelProto, graph: Graph, path: str | Path, output: str | None) -> None:
    """Evaluate the graph and ONNX Runtime on random inputs; more than rounding apart is an error."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        info = session.get_inputs()[0]
        dtype = {"tensor(double)": np.float64, "tensor(float16)": np.float16}.get(info.type, np.float32)
        shape = [d if isinstance(d, int) and d > 0 else 1 for d in info.shape]
        rng = np.random.default_rng(0)
        samples = [rng.standard_normal(shape).astype(dtype) * scale for scale in (0.1, 1.0, 10.0)]
        names = [output] if output is not None else None
        runs = [session.run(names, {info.name: x})[0] for x in samples]
    except Exception as error:  # ONNX Runtime throws many types from C++
        text = str(error).strip().splitlines()
        raise InvalidModel(
            f"ONNX Runtime cannot run it: {text[0][:200] if text else type(error).__name__}",
            where=str(path),
            advice="check the file with onnx.checker, or load it with check=False",
        ) from None
    ours = forward(graph, np.stack([x.ravel().astype(np.float64) for x in samples], axis=1))
    theirs = np.stack([np.asarray(y, dtype=np.float64).ravel() for y in runs], axis=1)
    if ours.shape != theirs.shape:
        raise InvalidModel(
            f"its output has {theirs.shape[0]} numbers in ONNX Runtime and {ours.shape[0]} here", where=str(path)
        )
    unit = 2.0**-11 if runs[0].dtype == np.float16 or dtype == np.float16 else 2.0**-24
    room = 2.0**14 * unit * (np.abs(theirs).max(axis=0) + np.abs(theirs - theirs[:, :1]).max() * unit + 1e-3)
    gap = np.abs(ours - theirs).max(axis=0, initial=0.0)
    if not (gap <= room).all():
        worst = int(np.argmax(gap - room))
        raise InvalidModel(
            f"the graph differs from ONNX Runtime by {gap[worst]:.3g} where {room[worst]:.3g} is explained by rounding",
            where=str(path),
            advice="please report this file; do not trust a bound of it",
        )
