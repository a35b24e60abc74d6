"""Implicit layers: calls in the domain lipcert.fixedpoint, read through the equation in the domain lipcert.cell.

The call NAME(u, W, …) stands for the solution x of x = cell(x, u, W, …), the model-local function (lipcert.cell, NAME).
Only the cell is read; ONNX Runtime runs the function (lipcert.fixedpoint, NAME), any solver of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from lipcert.errors import InvalidModel, UnsupportedModel
from lipcert.graph.nodes import GraphBuilder
from lipcert.importer.registry import Deferred, State, Tensor, Value, describe_node
from lipcert.importer.walk import run

Functions = dict[tuple[str, str], onnx.FunctionProto]


def caller(functions: Functions) -> Callable[[onnx.NodeProto, Sequence[Value | None], State], list[Value]]:
    """The handler of calls in the domain lipcert.fixedpoint."""

    def call(node: onnx.NodeProto, operands: Sequence[Value | None], state: State) -> list[Value]:
        where = describe_node(node, state.file)
        cell = functions.get(("lipcert.cell", node.op_type))
        if cell is None:
            raise UnsupportedModel(
                f"the equation of the implicit layer is missing: there is no function lipcert.cell.{node.op_type}",
                where=where,
                advice="attach the cell as a model-local function; docs/implicit says how",
            )
        return [_fixed_point(node, cell, operands, state, where)]

    return call


def _fixed_point(
    node: onnx.NodeProto, cell: onnx.FunctionProto, operands: Sequence[Value | None], state: State, where: str
) -> Tensor:
    inputs = list(cell.input)
    if len(inputs) != len(operands) + 1 or len(cell.output) != 1:
        raise InvalidModel(
            f"the cell takes {len(inputs)} inputs where the call has {len(operands)} and the state", where=where
        )
    signals = [
        (name, value) for name, value in zip(inputs[1:], operands, strict=True) if isinstance(value, (Tensor, Deferred))
    ]
    if not signals:
        raise UnsupportedModel("the implicit layer does not depend on the input", where=where)
    parents = [_tensor(value, state) for _, value in signals]
    constants = {name: value for name, value in zip(inputs[1:], operands, strict=True) if isinstance(value, np.ndarray)}
    shape = _state_shape(cell, constants, [(n, p) for (n, _), p in zip(signals, parents, strict=True)], state, where)
    builder = GraphBuilder()
    values: dict[str, Value] = dict(constants)
    values[inputs[0]] = Tensor(builder.input(int(np.prod(shape)), "state"), shape, parents[0].dtype)
    for (name, _), parent in zip(signals, parents, strict=True):
        values[name] = Tensor(builder.input(parent.size, name), parent.shape, parent.dtype)
    from lipcert.importer.activations import settle

    result = _walk(cell, builder, state, values, where)
    if result.shape != shape and result.size != int(np.prod(shape)):
        raise InvalidModel(f"the cell maps a state of shape {shape} to {result.shape}", where=where)
    graph = settle(builder.finish(result.position), state)
    position = state.builder.fixed_point([parent.position for parent in parents], graph, node.name)
    return Tensor(position, result.shape, parents[0].dtype)


def _walk(
    cell: onnx.FunctionProto, builder: GraphBuilder, state: State, values: dict[str, Value], where: str
) -> Tensor:
    """Run the cell's nodes into a builder of its own."""
    opset = next((o.version for o in cell.opset_import if o.domain in ("", "ai.onnx")), state.opset)
    graph = onnx.GraphProto()
    graph.node.extend(cell.node)
    inner = State(builder, state.file, opset)
    run(graph, inner, values)
    for text in inner.idealisations:
        state.idealise(text)
    result = values.get(cell.output[0])
    if result is None or isinstance(result, np.ndarray):
        raise InvalidModel("the cell does not depend on its state", where=where)
    return _tensor(result, inner)


def _state_shape(
    cell: onnx.FunctionProto,
    constants: dict[str, np.ndarray],
    signals: list[tuple[str, Tensor]],
    state: State,
    where: str,
) -> tuple[int, ...]:
    """The shape of the state: the one that the cell gives back. Found by evaluating the cell on candidate shapes."""
    from onnx.reference import ReferenceEvaluator

    widths = {d for array in constants.values() for d in array.shape} | {d for _, t in signals for d in t.shape}
    candidates = [t.shape for _, t in signals]
    candidates += [(1, d) for d in sorted(widths)] + [(d,) for d in sorted(widths)]
    evaluator: Any = ReferenceEvaluator(cell)
    for shape in candidates:
        given = {cell.input[0]: np.zeros(shape, np.float32)}
        given |= {name: np.zeros(t.shape, np.float32) for name, t in signals}
        given |= {
            name: value.astype(np.float32) if value.dtype.kind == "f" else value for name, value in constants.items()
        }
        try:
            result = evaluator.run(None, given)[0]
        except Exception:  # a shape that does not fit; the evaluator raises many types
            continue
        if np.asarray(result).shape == shape:
            return tuple(shape)
    raise UnsupportedModel(
        "the shape of the state of the implicit layer could not be found", where=where, advice="see docs/implicit"
    )


def _tensor(value: Value, state: State) -> Tensor:
    if isinstance(value, Deferred):
        from lipcert.importer.activations import materialise

        return materialise(value, state)
    assert isinstance(value, Tensor)
    return value
