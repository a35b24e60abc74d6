"""`load`: an ONNX file as a Graph, checked against ONNX Runtime."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import onnx

from lipcert.errors import InvalidModel, InvalidRequest, UnsupportedModel
from lipcert.graph.nodes import Graph, GraphBuilder
from lipcert.importer.check import compare
from lipcert.importer.expressions import constant, materialise, settle
from lipcert.importer.fixed_point import calls
from lipcert.importer.normalise import cut, normalise
from lipcert.importer.reader import read
from lipcert.importer.registry import LARGEST_SIGNAL
from lipcert.importer.values import Deferred, Equation, State, Tensor, Value
from lipcert.importer.walk import contradictions, run

_FLOATS = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
)


def load(
    path: str | Path,
    *,
    output: str | None = None,
    check: bool = True,
    dims: Mapping[str, int] | None = None,
    strict: bool = False,
) -> Graph:
    """Read a network from an ONNX file.

    Parameters
    ----------
    path
        The file. External data must lie in its folder.
    output
        Name of the output, where the model has several, or of any value inside: what it does not need is left out before
        anything of it is looked at.
    check
        Whether to compare the result with ONNX Runtime on random inputs.
    dims
        Sizes of the input's free axes other than the batch, by name or, as text, by number.
    strict
        Whether to refuse a network that differs from the file by any idealisation.

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
    chosen = _output(model, name, output)
    with contradictions(name):
        graph, equations, shape = _imported(model, name, chosen, dims or {})
        if strict and graph.idealisations:
            raise UnsupportedModel(
                f"the bound would not be for the file itself: {'; '.join(graph.idealisations)}",
                where=name,
                advice="leave out strict, or change the model",
            )
        if check:
            note = compare(path, graph, equations, chosen, shape)
            graph = replace(graph, notes=(note,)) if note else graph
    return graph


def from_model(model: onnx.ModelProto, name: str, *, output: str | None = None) -> Graph:
    """The graph of a model in memory, which is used up; nothing is compared."""
    return _imported(model, name, _output(model, name, output), {})[0]


def _imported(
    model: onnx.ModelProto, name: str, chosen: str, dims: Mapping[str, int]
) -> tuple[Graph, list[Equation], tuple[int, ...]]:
    cut(model, chosen)
    model, opset, functions = normalise(model, name)
    builder = GraphBuilder()
    state = State(builder, name, opset, calls(functions))
    inputs = list(model.graph.input)
    if len(inputs) != 1:
        names = ", ".join(repr(i.name) for i in inputs) or "none"
        raise UnsupportedModel(
            f"it has {len(inputs)} inputs ({names})",
            where=name,
            advice="a bound is about one input: export the model with the others as constants, or with one input "
            "that it splits into all of them"
            if inputs
            else "export the model again",
        )
    shape, dtype = _shape(inputs[0], name, dims)
    values: dict[str, Value] = {
        inputs[0].name: Tensor(builder.input(int(np.prod(shape)), inputs[0].name), shape, dtype)
    }
    run(model.graph, state, values)
    result = values.get(chosen)
    if result is None:
        raise InvalidModel(f"its output {chosen!r} is never computed", where=name)
    if isinstance(result, np.ndarray):
        result = constant(result, state)
    last = materialise(result, state) if isinstance(result, Deferred) else result
    if not last.size:
        raise UnsupportedModel(
            f"its output {chosen!r} holds no numbers", where=name, advice="choose another output, or export it again"
        )
    return settle(builder.finish(last.position, state.idealisations, name), state), state.equations, shape


def _output(model: onnx.ModelProto, name: str, wanted: str | None) -> str:
    names = [o.name for o in model.graph.output]
    if not names:
        raise InvalidModel("it has no outputs", where=name, advice="export the model again")
    if wanted is not None:
        inside = [value for node in model.graph.node for value in node.output if value]
        if wanted not in names and wanted not in inside:
            close = get_close_matches(wanted, inside, 3)
            similar = f"; values inside with a like name are {', '.join(map(repr, close))}" if close else ""
            raise InvalidRequest(
                f"it has no output {wanted!r}",
                where=name,
                advice=f"its outputs are {', '.join(map(repr, names))}{similar}",
            )
        return wanted
    if len(names) > 1:
        raise UnsupportedModel(
            f"it has {len(names)} outputs ({', '.join(map(repr, names))})",
            where=name,
            advice="choose one with --to NAME, or load(path, output=NAME); what it does not need is left out first",
        )
    return names[0]


# names of a first axis that is no batch
_LENGTH = re.compile(r"seq|len|time|height|width|frame|token|step|feature|channel|^[hwtlc]$", re.IGNORECASE)


def _sizes(info: onnx.ValueInfoProto, name: str, dims: Mapping[str, int]) -> tuple[int, ...]:
    """The sizes of the input's axes: free ones as `dims` says, by name or by number; a batch is 1."""
    given = info.type.tensor_type.shape.dim
    free = {k: d.dim_param for k, d in enumerate(given) if not (d.HasField("dim_value") and d.dim_value > 0)}
    names = {*free.values(), *map(str, free)} - {""}
    unknown = next((key for key in dims if key not in names), None)
    if unknown is not None:
        has = f"its free sizes are {', '.join(sorted(names))}" if names else "it has no free sizes"
        raise InvalidRequest(f"its input {info.name!r} has no free size {unknown!r}", where=name, advice=has)
    if any(size < 1 for size in dims.values()):
        raise InvalidRequest("a size must be at least 1", where=name)
    sizes = {k: dims.get(text, dims.get(str(k), 0)) for k, text in free.items()}
    if 0 in free and not sizes[0] and len(given) > 1 and not _LENGTH.search(free[0]):
        sizes[0] = 1
    left = [free[k] or str(k) for k, size in sizes.items() if not size]
    if left:
        raise UnsupportedModel(
            f"its input {info.name!r} has free sizes besides the batch: {', '.join(dict.fromkeys(left))}",
            where=name,
            advice=f"say how large they are: --dim {left[0]}=32, or load(path, dims={{{left[0]!r}: 32}})",
        )
    return tuple(sizes.get(k, d.dim_value) for k, d in enumerate(given))


def _shape(info: onnx.ValueInfoProto, name: str, dims: Mapping[str, int]) -> tuple[tuple[int, ...], np.dtype]:
    """The input's shape, the batch as 1, and its type."""
    tensor = info.type.tensor_type
    if not info.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise UnsupportedModel(f"its input {info.name!r} has no shape", where=name, advice="export it with a shape")
    if tensor.elem_type not in _FLOATS:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        raise UnsupportedModel(
            f"its input {info.name!r} is of the type {kind}, whose numbers do not change continuously",
            where=name,
            advice="export it with a float32 input, the image as real numbers or the tokens after their embedding",
        )
    shape = _sizes(info, name, dims)
    size = float(np.prod([float(s) for s in shape]))
    if size > LARGEST_SIGNAL:
        raise InvalidModel(f"its input {info.name!r} claims {size:.3g} numbers", where=name, advice="make it smaller")
    return shape, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
