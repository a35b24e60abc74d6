"""Implicit layers: calls in the domain lipcert.fixedpoint, read through the equation in the domain lipcert.cell.

The call NAME(u, W, …) stands for the solution x of x = cell(x, u, W, …), the model-local function (lipcert.cell, NAME).
Only the cell is read; ONNX Runtime runs the function (lipcert.fixedpoint, NAME), any solver of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np
import onnx

from lipcert.errors import InvalidModel, LipcertError, UnsupportedModel
from lipcert.graph.nodes import Graph, GraphBuilder
from lipcert.importer.expressions import materialise, settle
from lipcert.importer.normalise import Functions, opset_of, sort
from lipcert.importer.registry import describe_node
from lipcert.importer.values import Call, Deferred, Equation, State, Tensor, Value
from lipcert.importer.walk import run

FIXED_POINT, CELL = "lipcert.fixedpoint", "lipcert.cell"


def calls(functions: Functions) -> dict[str, Call]:
    """What interprets the calls of implicit layers, given the functions of the model."""

    def call(node: onnx.NodeProto, operands: Sequence[Value | None], state: State) -> list[Value]:
        where = describe_node(node, state.file)
        cell = functions.get((CELL, node.op_type))
        if cell is None:
            raise UnsupportedModel(
                f"the equation of the implicit layer is missing: there is no function lipcert.cell.{node.op_type}",
                where=where,
                advice="attach the cell as a model-local function; docs/implicit says how",
            )
        return [_Call(node, cell, operands, state, where).solution()]

    return {FIXED_POINT: call}


class _Call:
    """One call: its cell with constants bound, and its signals."""

    def __init__(
        self,
        node: onnx.NodeProto,
        cell: onnx.FunctionProto,
        operands: Sequence[Value | None],
        state: State,
        where: str,
    ) -> None:
        if len(cell.input) != len(operands) + 1 or len(cell.output) != 1:
            raise InvalidModel(
                f"the cell takes {len(cell.input)} inputs and gives {len(cell.output)} outputs where the call has "
                f"{len(operands)} inputs and one state",
                where=where,
            )
        self.node, self.state, self.where = node, state, where
        self.output = cell.output[0]
        self.graph = _bound(cell, node, where)
        self.opset = opset_of(cell.opset_import, where)
        self.name, *names = cell.input
        self.constants: dict[str, Value] = {}
        self.signals: dict[str, Tensor] = {}
        self.outer: list[str] = []
        for name, outer, value in zip(names, node.input, operands, strict=True):
            if isinstance(value, np.ndarray):
                self.constants[name] = value
            elif value is not None:
                self.signals[name] = materialise(value, state) if isinstance(value, Deferred) else value
                self.outer.append(outer)
        if not self.signals:
            raise UnsupportedModel("the implicit layer does not depend on the input", where=where)

    def solution(self) -> Tensor:
        """The solution as a node of the graph."""
        for shape in self._candidates():
            try:
                cell = self._cell(shape)
            except LipcertError as error:
                reason = error
            else:
                if cell is not None:
                    parents = [signal.position for signal in self.signals.values()]
                    position = self.state.builder.fixed_point(parents, cell, self.node.name)
                    self.state.equations.append(Equation(self.node.output[0], tuple(self.outer), cell))
                    return Tensor(position, shape, next(iter(self.signals.values())).dtype)
                reason = InvalidModel("the cell does not give back the shape of its state", where=self.where)
        raise reason

    def _cell(self, shape: tuple[int, ...]) -> Graph | None:
        """The cell on a state of this shape; None where it gives back another."""
        builder = GraphBuilder()
        dtype = next(iter(self.signals.values())).dtype
        values = dict(self.constants)
        values[self.name] = Tensor(builder.input(prod(shape), "state"), shape, dtype)
        for name, signal in self.signals.items():
            values[name] = Tensor(builder.input(signal.size, name), signal.shape, signal.dtype)
        inner = State(builder, self.state.file, self.opset, self.state.calls)
        run(self.graph, inner, values)
        result = values.get(self.output)
        if result is None:
            raise InvalidModel(f"the cell never computes its output {self.output!r}", where=self.where)
        if isinstance(result, np.ndarray):
            raise InvalidModel("the cell does not depend on its state", where=self.where)
        if result.shape != shape:
            return None
        last = materialise(result, inner) if isinstance(result, Deferred) else result
        cell = settle(builder.finish(last.position), inner)
        for text in cell.idealisations:
            self.state.idealise(text)
        return Graph(cell.nodes, cell.inputs, cell.output)

    def _candidates(self) -> Iterator[tuple[int, ...]]:
        """Shapes that the state may have, for ONNX does not say: the cell must give the state's shape back."""
        shapes = [signal.shape for signal in self.signals.values()]
        stored = [
            a.t.dims for n in self.graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value"
        ]
        arrays = [value.shape for value in self.constants.values()]
        widths = sorted({int(d) for shape in (*shapes, *arrays, *stored) for d in shape if 0 < d <= 2**20})
        # the likeliest last: its error is the one to report
        tried = {*shapes}
        for batch in {shape[:1] for shape in shapes} | {()}:
            for rest in {shape[2:] for shape in shapes} | {()}:
                tried |= {(*batch, width, *rest) for width in widths}
        yield from sorted(tried - set(shapes), key=lambda s: (len(s), s))
        yield from shapes


def _bound(cell: onnx.FunctionProto, call: onnx.NodeProto, where: str) -> onnx.GraphProto:
    """The nodes of a function in order, attributes that refer to those of the call replaced by their values."""
    given = {a.name: a for a in (*cell.attribute_proto, *call.attribute)}
    graph = onnx.GraphProto()
    graph.node.extend(cell.node)
    for node in graph.node:
        for k in reversed(range(len(node.attribute))):
            name, reference = node.attribute[k].name, node.attribute[k].ref_attr_name
            if not reference:
                continue
            if reference in given:
                node.attribute[k].CopyFrom(given[reference])
                node.attribute[k].name = name
            else:
                # an attribute that is not given takes the default of the op
                del node.attribute[k]
    graph.input.extend(onnx.ValueInfoProto(name=name) for name in cell.input)
    sort(graph, where)
    return graph
