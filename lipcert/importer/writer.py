"""`save`: any graph as an ONNX file that ONNX Runtime runs to the same values.

Every value is a tensor (batch, size). The file holds float32 numbers where all numbers of the graph are float32 numbers,
else float64 ones, so that loading it gives the same network; ops without a float64 kernel in ONNX Runtime then run
between two casts. Parameters that ONNX keeps in attributes are float32 numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lipcert.activations import Pointwise
from lipcert.activations.spelling import Spelling, in_float32
from lipcert.arrays import Array, IntArray
from lipcert.errors import InvalidRequest
from lipcert.files import write
from lipcert.graph.evaluate import forward, record
from lipcert.graph.linear_maps import Convolution, Dense, Diagonal, Index, LinearMap
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, Input

OPSET = 21
_IR_VERSION = 10
_DENSE_ENTRIES = 2**22
_DAMPING = (1.0, 0.5, 0.25, 0.1, 0.05, 0.02, 0.01)
_STEPS = 2000

# no float64 kernel in ONNX Runtime's CPU provider
_FLOAT32_ONLY = {
    *("LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Softplus", "Softsign", "HardSigmoid", "Gelu", "Mish", "Erf"),
    *("Atan", "Asinh", "Conv"),
}


def save(graph: Graph, path: str | Path) -> None:
    """Write a graph as an ONNX file.

    Parameters
    ----------
    graph
        A network with one input. Fixed points become calls by the convention of implicit layers, with a damped iteration
        as their solver. A scale that is known as an enclosure only is written by its centre.
    path
        The file; it appears complete or not at all.

    Raises
    ------
    InvalidRequest
        If the graph has several inputs, is larger than 2 GiB, or no damped iteration solves a fixed point.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> from lipcert.importer import load
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(nn.sequential(nn.linear([[1.0, -1.0], [0.5, 2.0]]), nn.maxmin()), folder + "/net.onnx")
    ...     load(folder + "/net.onnx").output_size
    2
    """
    model = to_model(graph)
    if model.ByteSize() >= 2**31 - 2**20:
        raise InvalidRequest("the network is larger than the 2 GiB of an ONNX file", where=str(path))
    write(path, model.SerializeToString())


def to_model(graph: Graph) -> onnx.ModelProto:
    """The ONNX model of a graph."""
    if len(graph.inputs) != 1:
        raise InvalidRequest(f"a network with one input can be saved, this has {len(graph.inputs)}")
    dtype = np.dtype(np.float32 if all(in_float32(a) for a in _numbers(graph)) else np.float64)
    writer = _Writer(dtype)
    x = writer.named("x" if not graph.nodes[graph.inputs[0]].name else graph.nodes[graph.inputs[0]].name)
    y = writer.graph(graph, [x], _samples(graph))
    output = writer.named("y")
    writer.nodes.append(helper.make_node("Identity", [y], [output]))
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    body = helper.make_graph(
        writer.nodes,
        "lipcert",
        [helper.make_tensor_value_info(x, kind, ["batch", graph.input_size])],
        [helper.make_tensor_value_info(output, kind, ["batch", graph.output_size])],
        writer.initializers,
    )
    domains = sorted({f.domain for f in writer.functions})
    return helper.make_model(
        body,
        functions=writer.functions,
        opset_imports=[helper.make_opsetid("", OPSET), *(helper.make_opsetid(d, 1) for d in domains)],
        ir_version=_IR_VERSION,
        producer_name="lipcert",
    )


class _Writer:
    """Collects the nodes of one ONNX graph or function; the constants of a function become inputs of it."""

    def __init__(self, dtype: np.dtype[Any], outer: _Writer | None = None) -> None:
        self.dtype = dtype
        self.outer = outer
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.functions: list[onnx.FunctionProto] = outer.functions if outer else []
        # name here -> name in the writer outside
        self.received: dict[str, str] = {}
        self._used: set[str] = set()

    def named(self, wish: str) -> str:
        """A name that is not used yet."""
        name, k = wish or "v", 0
        while name in self._used:
            k += 1
            name = f"{wish}_{k}"
        self._used.add(name)
        return name

    def constant(self, array: np.ndarray, wish: str = "c") -> str:
        """A constant tensor; floats in the type of the file."""
        stored = np.asarray(array, dtype=self.dtype if array.dtype.kind == "f" else array.dtype)
        name = self.named(wish)
        if self.outer is None:
            self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(stored), name))
        else:
            self.received[name] = self.outer.constant(stored, wish)
        return name

    def number(self, value: float) -> str:
        """A constant scalar."""
        return self.constant(np.array(value, dtype=np.float64))

    @property
    def largest(self) -> float:
        """The largest number of the file's type."""
        return float(np.finfo(self.dtype).max)

    def integers(self, values: Sequence[int]) -> str:
        """A constant vector of integers."""
        return self.constant(np.array(values, dtype=np.int64), "i")

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """One node; the last of its outputs' names, the first for one or two outputs."""
        cast = self.dtype == np.float64 and kind in _FLOAT32_ONLY
        given = [self._cast(name, TensorProto.FLOAT) if name else "" for name in inputs] if cast else list(inputs)
        names = [self.named(kind.lower()) for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, given, names, name=names[0], **attributes))
        return self._cast(names[0], TensorProto.DOUBLE) if cast else names[0]

    def _cast(self, name: str, to: int) -> str:
        result = self.named("cast")
        self.nodes.append(helper.make_node("Cast", [name], [result], to=to))
        return result

    def graph(self, graph: Graph, inputs: Sequence[str], samples: Array | Sequence[Array]) -> str:
        """All nodes of a graph applied to the inputs; the name of its output."""
        given = dict(zip(graph.inputs, inputs, strict=True))
        names: dict[int, str] = {}
        values: list[Array | None] | None = None
        for position, node in graph.walk():
            match node:
                case Input():
                    names[position] = given[position]
                case Affine():
                    names[position] = self._affine(node, [names[p] for p in node.parents])
                case Activation():
                    names[position] = self._activation(node, names[node.parent])
                case FixedPoint():
                    if values is None:
                        values = record(graph, [samples] if isinstance(samples, np.ndarray) else list(samples)).values
                    drive = [value for value in (values[p] for p in node.parents) if value is not None]
                    state = values[position]
                    assert state is not None
                    names[position] = self._fixed_point(node, [names[p] for p in node.parents], drive, state)
        return names[graph.output]

    # ---- affine

    def _affine(self, node: Affine, parents: Sequence[str]) -> str:
        only = node.maps[0]
        if len(node.maps) == 1 and isinstance(only, Dense):
            weight = self.constant(only.matrix, "W")
            bias = [] if node.bias is None else [self.constant(node.bias, "b")]
            return self.op("Gemm", parents[0], weight, *bias, transB=1)
        total = ""
        for a, parent in zip(node.maps, parents, strict=True):
            part = self._map(a, parent)
            total = self.op("Add", total, part) if total else part
        return total if node.bias is None else self.op("Add", total, self.constant(node.bias, "b"))

    def _map(self, a: LinearMap, x: str) -> str:
        """A x for one map."""
        if isinstance(a, Index):
            if a.is_identity:
                return x
            if (a.index >= 0).all():
                return self.op("Gather", x, self.constant(a.index, "i"), axis=1)
            # a zero in front is what −1 reads
            padded = self.op("Pad", x, self.integers([0, 1, 0, 0]))
            return self.op("Gather", padded, self.constant(a.index + 1, "i"), axis=1)
        if isinstance(a, Diagonal):
            return self.op("Mul", x, self.constant(a.entries, "d"))
        if isinstance(a, Convolution) and 1 <= len(a.size) <= 3 and (self.dtype == np.float32 or in_float32(a.kernel)):
            return self._convolution(a, x)
        matrix = a.to_sparse()
        count = np.diff(matrix.indptr)
        widest = int(count.max(initial=0))
        if a.shape[0] * a.shape[1] <= max(_DENSE_ENTRIES, 4 * a.shape[0] * widest):
            return self.op("MatMul", x, self.constant(np.ascontiguousarray(a.to_dense().T), "W"))
        # row by row: the inputs it reads, times its entries, summed
        place = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], count)
        rows = np.repeat(np.arange(a.shape[0]), count)
        index = np.zeros((a.shape[0], max(widest, 1)), dtype=np.int64)
        entries = np.zeros(index.shape)
        index[rows, place], entries[rows, place] = matrix.indices, matrix.data
        gathered = self.op("Gather", x, self.constant(index, "i"), axis=1)
        return self.op(
            "ReduceSum", self.op("Mul", gathered, self.constant(entries, "W")), self.integers([2]), keepdims=0
        )

    def _convolution(self, a: Convolution, x: str) -> str:
        image = self.reshaped(x, (a.channels_in, *a.size))
        pads = list(a.pads)
        if min(pads) < 0:
            rank = len(a.size)
            image = self.op("Pad", image, self.integers([0, 0, *pads[:rank], 0, 0, *pads[rank:]]))
            pads = [0] * len(pads)
        result = self.op(
            "Conv",
            image,
            self.constant(a.kernel, "W"),
            strides=a.stride,
            dilations=a.dilation,
            pads=pads,
            group=a.groups,
        )
        return self.reshaped(result, (a.shape[0],))

    def reshaped(self, x: str, shape: Sequence[int]) -> str:
        """x with this shape behind the batch axis."""
        return self.op("Reshape", x, self.integers([-1, *shape]))

    # ---- activations

    def _activation(self, node: Activation, x: str) -> str:
        record = node.record
        parameters = {
            key: np.broadcast_to(value, (node.blocks, *value.shape[1:])) for key, value in node.parameters.items()
        }
        try:
            if isinstance(record, Pointwise):
                return record.spelled(self, x, 1, parameters)
            blocks = self.reshaped(x, (node.blocks, node.block))
            return self.reshaped(record.spelled(self, blocks, node.block, parameters), (node.size,))
        except InvalidRequest as error:
            error.where = node.name
            raise

    def vector(self, values: Array) -> str:
        """A parameter: one number where all agree."""
        return self.constant(values[:1] if (values == values[0]).all() else values, "p")

    def apart(self, x: str, parameters: Mapping[str, Array], spelling: Spelling) -> str:
        """One spelling for each set of parameters, on the numbers that have it."""
        rows = np.column_stack(list(parameters.values()))
        sets, member = np.unique(rows, axis=0, return_inverse=True)
        one = [dict(zip(parameters, values[:, None], strict=True)) for values in sets]
        if len(one) == 1:
            return spelling(self, x, one[0])
        parts: list[str] = []
        order: list[IntArray] = []
        for k, values in enumerate(one):
            mine = np.flatnonzero(member.ravel() == k)
            order.append(mine)
            parts.append(spelling(self, self.op("Gather", x, self.constant(mine, "i"), axis=1), values))
        back = np.argsort(np.concatenate(order))
        return self.op("Gather", self.op("Concat", *parts, axis=1), self.constant(back, "i"), axis=1)

    def by_attributes(self, kind: str, x: str, parameters: Mapping[str, Array]) -> str:
        """An op whose parameters are attributes."""
        return self.apart(
            x, parameters, lambda pen, x, p: pen.op(kind, x, outputs=1, **{key: v.item() for key, v in p.items()})
        )

    # ---- implicit layers

    def _fixed_point(self, node: FixedPoint, parents: list[str], drive: list[Array], state: Array) -> str:
        """The call, its equation and its solver: ONNX.md, 'Implicit layers'."""
        damping, steps = _damped(node, drive, state)
        name = f"FixedPoint{len(self.functions) // 2}"
        inner = _Writer(self.dtype, self)
        inputs = [inner.named("state"), *(inner.named(f"p{k}") for k in range(len(parents)))]
        # two places in the list, so that a nested layer takes the next number
        self.functions += [onnx.FunctionProto(), onnx.FunctionProto()]
        at = len(self.functions) - 2
        output = inner.graph(node.cell, inputs, [state, *drive])
        if output in inputs:
            output = inner.op("Identity", output)
        opsets = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(f"lipcert.{d}", 1) for d in _DOMAINS)]
        arguments = [*inputs, *inner.received]
        cell = helper.make_function("lipcert.cell", name, arguments, [output], inner.nodes, opsets)
        self.functions[at].CopyFrom(cell)
        self.functions[at + 1].CopyFrom(_solver(name, arguments, node.size, self.dtype, damping, opsets))
        result = self.named(name)
        self.nodes.append(
            helper.make_node(
                name,
                [*parents, *inner.received.values()],
                [result],
                name=self.named(node.name or name),
                domain="lipcert.fixedpoint",
                max_iter=steps,
                tol=1e-6 if self.dtype == np.float32 else 1e-12,
            )
        )
        return result


_DOMAINS = ("cell", "fixedpoint")


def _solver(
    name: str, arguments: Sequence[str], size: int, dtype: np.dtype[Any], damping: float, opsets: Sequence[Any]
) -> onnx.FunctionProto:
    """x ← x + α(cell(x) − x) until max |cell(x) − x| ≤ tol·(1 + max |x|), at most max_iter times."""
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    _state, *others = arguments

    def scalar(value: float) -> onnx.TensorProto:
        return numpy_helper.from_array(np.array(value, dtype=dtype))

    body = helper.make_graph(
        [
            helper.make_node(name, ["x", *others], ["following"], domain="lipcert.cell"),
            helper.make_node("Sub", ["following", "x"], ["difference"]),
            helper.make_node("Mul", ["difference", "damping"], ["step"]),
            helper.make_node("Add", ["x", "step"], ["moved"]),
            helper.make_node("Abs", ["difference"], ["distance"]),
            helper.make_node("ReduceMax", ["distance"], ["residual"], keepdims=0),
            helper.make_node("Abs", ["x"], ["magnitude"]),
            helper.make_node("ReduceMax", ["magnitude"], ["largest"], keepdims=0),
            helper.make_node("Add", ["largest", "one"], ["scale"]),
            helper.make_node("Mul", ["scale", "tolerance"], ["allowed"]),
            helper.make_node("Greater", ["residual", "allowed"], ["goes_on"]),
        ],
        "iteration",
        [
            helper.make_tensor_value_info("iteration_number", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", kind, None),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("moved", kind, None),
        ],
    )
    limit = helper.make_node("Constant", [], ["limit"])
    limit.attribute.append(_reference("value_int", "max_iter", onnx.AttributeProto.INT))
    tolerance = helper.make_node("Constant", [], ["tol32"])
    tolerance.attribute.append(_reference("value_float", "tol", onnx.AttributeProto.FLOAT))
    nodes = [
        limit,
        tolerance,
        helper.make_node("Cast", ["tol32"], ["tolerance"], to=kind),
        helper.make_node("Constant", [], ["damping"], value=scalar(damping)),
        helper.make_node("Constant", [], ["one"], value=scalar(1.0)),
        helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True))),
        helper.make_node("Constant", [], ["width"], value=numpy_helper.from_array(np.array([size], dtype=np.int64))),
        helper.make_node("Shape", [others[0]], ["batch"], start=0, end=1),
        helper.make_node("Concat", ["batch", "width"], ["shape"], axis=0),
        helper.make_node("ConstantOfShape", ["shape"], ["start"], value=helper.make_tensor("zero", kind, [1], [0.0])),
        helper.make_node("Loop", ["limit", "yes", "start"], ["solution"], body=body),
    ]
    return helper.make_function(
        "lipcert.fixedpoint", name, others, ["solution"], nodes, opsets, attributes=["max_iter", "tol"]
    )


def _reference(name: str, attribute: str, kind: onnx.AttributeProto.AttributeType) -> onnx.AttributeProto:
    """An attribute of a node that takes its value from an attribute of the function."""
    reference = onnx.AttributeProto(name=name, ref_attr_name=attribute)
    reference.type = kind
    return reference


def _damped(node: FixedPoint, drive: list[Array], state: Array) -> tuple[float, int]:
    """A damping under which the iteration reaches the solution from zero on samples, and a generous step limit."""
    for damping in _DAMPING:
        s = np.zeros_like(state)
        for step in range(_STEPS):
            with np.errstate(all="ignore"):
                s = s + damping * (forward(node.cell, [s, *drive]) - s)
            gap = np.abs(s - state).max(initial=0.0)
            if not gap < 1e6 * (1.0 + np.abs(state).max(initial=0.0)):
                break
            if gap <= 1e-10 * (1.0 + np.abs(state).max(initial=0.0)):
                return damping, 10 * step + 200
    raise InvalidRequest(
        "no damped iteration that was tried solves the implicit layer",
        where=node.name or "an implicit layer",
        advice="write the file yourself with a solver that does",
    )


def _samples(graph: Graph) -> Array:
    return np.random.default_rng(0).standard_normal((graph.input_size, 8))


def _numbers(graph: Graph) -> Iterator[Array]:
    """All arrays of a graph."""
    for _, node in graph.walk():
        match node:
            case Input():
                pass
            case Affine():
                if node.bias is not None:
                    yield node.bias
                for a in node.maps:
                    if isinstance(a, Convolution):
                        yield a.kernel
                    elif not isinstance(a, Index):
                        yield a.to_sparse().data if not isinstance(a, Dense) else a.matrix
            case Activation():
                yield from node.parameters.values()
            case FixedPoint():
                yield from _numbers(node.cell)
