"""The walk: every node of a normalised ONNX graph through its handler, constants folded on the way.

Shapes need no inference: constants are arrays, signals carry their shape, and the batch is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto
from onnx.reference import ReferenceEvaluator

from lipcert import budget
from lipcert.errors import InvalidModel, LipcertError, UnsupportedModel
from lipcert.importer.dialects import handler_of
from lipcert.importer.normalise import OTHER_DOMAINS
from lipcert.importer.reader import to_array
from lipcert.importer.registry import (
    FLOATING,
    FOLDS,
    Context,
    Deferred,
    State,
    Tensor,
    Value,
    describe_node,
    folds,
)
from lipcert.importer.sizes import Operands, result_size

FOLD_BYTES = 2**30
"""The most that folding may compute in one model."""

MOST_STEPS = 2**17
"""The most operations that are walked, loops unrolled."""
# what an operation on constants counts, for the evaluator is slow
_FOLDED_STEPS = 8

_NEWEST_ML = 5
_SHAPE_ONLY = ("Shape", "Size")
# a sequence is no array that could be folded
_SEQUENCES = ("SequenceConstruct", "SequenceEmpty", "SplitToSequence")
# what keeps masks of zeros and ones what they are, or refuses them for a reason of its own
_ON_MASKS = {
    *(
        "Cast",
        "CastLike",
        "Identity",
        "Where",
        "Not",
        "Reshape",
        "Flatten",
        "Transpose",
        "Slice",
        "Squeeze",
        "Unsqueeze",
    ),
    *("Expand", "Tile", "Split", "Gather", "GatherElements", "GatherND", "DepthToSpace", "SpaceToDepth"),
    *("And", "Or", "Xor", "Equal", "If", "Loop", "Scan", "ArgMax", "ArgMin", "OneHot", "NonZero"),
    *("Scatter", "ScatterND", "ScatterElements", "Unique", "ConcatFromSequence", "SplitToSequence"),
    *("SequenceMap", "SequenceConstruct", "SequenceInsert", "SequenceErase", "SequenceAt", "SequenceLength"),
}
_EXACT = {
    *("Shape", "Size", "Identity", "Reshape", "Transpose", "Slice", "Gather", "Concat", "Squeeze", "Unsqueeze"),
    *("Cast", "Constant", "ConstantOfShape", "Expand", "Split", "Flatten", "Range", "Tile", "Neg", "Pad"),
}


def run(graph: onnx.GraphProto, state: State, values: dict[str, Value]) -> None:
    """Walk the nodes of `graph`; `values` holds the inputs and receives everything that is computed."""
    for tensor in graph.initializer:
        values[tensor.name] = finite(to_array(tensor, state.file), f"{state.file}, tensor {tensor.name!r}")
    for sparse in graph.sparse_initializer:
        raise UnsupportedModel(
            "sparse initializers are not supported",
            where=f"{state.file}, tensor {sparse.values.name!r}",
            advice="store it as a dense tensor",
        )
    for node in graph.node:
        results = step(node, state, values)
        for name, result in zip(node.output, results, strict=False):
            if name:
                values[name] = result
            if not isinstance(result, np.ndarray):
                state.carries(result.dtype.name)


@contextmanager
def contradictions(where: str) -> Iterator[None]:
    """What a node that fits its operands never raises is the file's fault."""
    try:
        yield
    except LipcertError:
        raise
    except MemoryError:
        raise UnsupportedModel("it needs more memory than there is", where=where) from None
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
        raise InvalidModel(f"it contradicts itself: {_line(error)}", where=where) from error


def step(node: onnx.NodeProto, state: State, values: Mapping[str, Value]) -> Sequence[Value]:
    """The results of one node."""
    budget.check()
    where = describe_node(node, state.file)
    state.steps += 1
    if state.steps > MOST_STEPS:
        raise UnsupportedModel(
            f"it takes more than {MOST_STEPS} operations when its loops are unrolled",
            where=where,
            advice="make the sequence or the loop shorter",
        )
    missing = next((name for name in node.input if name and name not in values), None)
    if missing is not None:
        raise InvalidModel(f"the value {missing!r} is used but never produced", where=where)
    operands = tuple(values[name] if name else None for name in node.input)
    if node.domain in state.calls:
        return state.calls[node.domain](node, operands, state)
    other = node.domain in OTHER_DOMAINS
    _check_arity(node, state.opset, where)
    if node.op_type in _SHAPE_ONLY and isinstance(operands[0], (Tensor, Deferred)):
        return (_shape_of(node, operands[0].shape),)
    constant = not any(isinstance(value, (Tensor, Deferred)) for value in operands)
    if constant and not other and not _has_graph(node) and node.op_type not in _SEQUENCES:
        results = fold(node, operands, state)
        return [finite(np.asarray(result), where) for result in results]
    op = f"{node.domain}.{node.op_type}" if other else node.op_type
    handler = handler_of(op, state.opset)
    if handler is None:
        raise UnsupportedModel(
            f"the op {op} is not supported",
            where=where,
            advice="rewrite the model without it, or ask for it; docs/operators lists what is supported",
        )
    if node.op_type not in _ON_MASKS and any(_is_mask(value) for value in operands):
        raise UnsupportedModel(
            "it computes with whole numbers that depend on the input, so it jumps",
            where=where,
            advice="cast masks to a floating-point type before anything is computed with them",
        )
    context = Context(node, operands, attributes(node, where), state, values)
    with contradictions(where):
        result = handler(context)
    return [result] if isinstance(result, (Tensor, Deferred, np.ndarray)) else list(result)


def _is_mask(value: Value | None) -> bool:
    """Whether it depends on the input but is of no floating-point type."""
    return isinstance(value, (Tensor, Deferred)) and value.dtype.name not in FLOATING


def _check_arity(node: onnx.NodeProto, opset: int, where: str) -> None:
    """Whether the op exists in this opset and takes as many inputs and outputs; handlers check those without a schema."""
    if node.domain == "com.microsoft":
        return
    version = _NEWEST_ML if node.domain == "ai.onnx.ml" else opset
    try:
        schema = onnx.defs.get_schema(node.op_type, version, "" if node.domain == "ai.onnx" else node.domain)
    except onnx.defs.SchemaError:
        whole = f"ONNX{'-ML' * bool(node.domain == 'ai.onnx.ml')}"
        raise UnsupportedModel(
            f"there is no op {node.op_type} in version {version} of {whole}",
            where=where,
            advice="export the model again",
        ) from None
    for what, count, least, most in (
        ("inputs", len(node.input), schema.min_input, schema.max_input),
        ("outputs", len(node.output), schema.min_output, schema.max_output),
    ):
        if not least <= count <= most:
            raise InvalidModel(f"it has {count} {what} where {least} to {most} are allowed", where=where)


def fold(node: onnx.NodeProto, operands: Sequence[Value | None], state: State) -> list[np.ndarray]:
    """The constant results of a node, by onnx's reference evaluator; what is not mere data movement is an idealisation."""
    where = describe_node(node, state.file)
    if node.op_type in ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial"):
        raise UnsupportedModel("it is random", where=where, advice="remove it from the model")
    check_budget(node, operands, state, where)
    if node.op_type in FOLDS:
        return FOLDS[node.op_type](node, operands, state)
    state.steps += _FOLDED_STEPS
    given = {name: value for name, value in zip(node.input, operands, strict=True) if name}
    single = onnx.helper.make_graph(
        [node],
        "fold",
        [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in given],
        [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in node.output if name],
    )
    model = onnx.helper.make_model(single, opset_imports=[onnx.helper.make_opsetid("", state.opset)])
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(model).run(None, given)
    except Exception as error:  # the evaluator runs arbitrary operator code
        raise UnsupportedModel(
            f"this constant cannot be computed: {_line(error)}", where=where, advice="store it as an initializer"
        ) from None
    floating = any(np.issubdtype(np.asarray(r).dtype, np.floating) for r in results)
    if floating and node.op_type not in _EXACT:
        state.idealise("weights computed in the graph are taken as evaluated by onnx.reference")
    iterator = iter(results)
    return [np.asarray(next(iterator)) if name else np.zeros(0) for name in node.output]


@folds("Identity")
def _identity(node: onnx.NodeProto, operands: Sequence[Value | None], state: State) -> list[np.ndarray]:
    return [np.asarray(operands[0])]


@folds("Constant")
def _constant(node: onnx.NodeProto, operands: Sequence[Value | None], state: State) -> list[np.ndarray]:
    where = describe_node(node, state.file)
    kinds: dict[str, type[np.generic]] = {"value_float": np.float32, "value_int": np.int64}
    for key, value in attributes(node, where).items():
        if key == "value":
            return [np.asarray(value)]
        kind = kinds.get(key.removesuffix("s"))
        if kind is not None:
            return [np.asarray(value, dtype=kind)]
    raise UnsupportedModel("a constant that is no number or a sparse one", where=where, advice="store it as a tensor")


def check_budget(node: onnx.NodeProto, operands: Sequence[Value | None], state: State, where: str) -> None:
    """Refuse to expand a small file into a huge constant."""
    arrays = [value if isinstance(value, np.ndarray) else None for value in operands]
    size = 8.0 * result_size(node, Operands(arrays, attributes(node, where)))
    size += sum(array.nbytes for array in arrays if array is not None)
    state.folded[0] += size
    if not state.folded[0] <= FOLD_BYTES:
        raise UnsupportedModel(
            f"constants of {state.folded[0] / 2**20:.0f} MiB would be computed",
            where=where,
            advice="store it as an initializer",
        )


def attributes(node: onnx.NodeProto, where: str) -> dict[str, Any]:
    """The attributes of a node as Python values; strings are decoded."""
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        if attribute.type == AttributeProto.STRING:
            value = value.decode(errors="replace")
        elif attribute.type == AttributeProto.STRINGS:
            value = [item.decode(errors="replace") for item in value]
        elif attribute.type in (AttributeProto.INTS, AttributeProto.FLOATS):
            value = list(value)
        elif attribute.type == AttributeProto.TENSOR:
            value = to_array(value, where)
        found[attribute.name] = value
    return found


def finite(array: np.ndarray, where: str) -> np.ndarray:
    """The array, unless it holds NaN; infinities are left to the ops (Clip, padding of MaxPool) that can use them."""
    if np.issubdtype(array.dtype, np.floating) and np.isnan(array).any():
        raise InvalidModel("it holds NaN", where=where, advice="train or export the model again")
    return array


def _shape_of(node: onnx.NodeProto, shape: tuple[int, ...]) -> np.ndarray:
    if node.op_type == "Size":
        return np.array(int(np.prod(shape)), dtype=np.int64)
    found = {a.name: a.i for a in node.attribute}
    return np.array(shape[found.get("start", 0) : found.get("end", len(shape))], dtype=np.int64)


def _has_graph(node: onnx.NodeProto) -> bool:
    return any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute)


def _line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__
