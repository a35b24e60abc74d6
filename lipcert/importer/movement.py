"""Data movement, by one mechanism: the op runs on an array of positions, and the result is an index map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from lipcert.arrays import IntArray
from lipcert.graph.linear_maps import Index
from lipcert.importer.registry import FLOATING, LARGEST_SIGNAL, Context, Deferred, Tensor, Value, handles
from lipcert.importer.sizes import Operands, result_size
from lipcert.importer.walk import FOLD_BYTES

MOVEMENT = (
    *("Reshape", "Flatten", "Transpose", "Slice", "Squeeze", "Unsqueeze", "Expand", "Tile"),
    *(
        "Split",
        "Gather",
        "GatherND",
        "DepthToSpace",
        "SpaceToDepth",
        "ReverseSequence",
        "CenterCropPad",
        "Trilu",
    ),
)


@handles(*MOVEMENT)
def move(ctx: Context) -> list[Value]:
    """Data movement; indices, shapes and sizes must be constant."""
    x = ctx.tensor(0)
    for k in range(1, len(ctx.operands)):
        if ctx.has(k):
            ctx.constant(k)
    if ctx.attribute("num_outputs", len(ctx.node.output)) != len(ctx.node.output):
        raise ctx.invalid(f"it splits into {ctx.attribute('num_outputs')} parts but has {len(ctx.node.output)} outputs")
    # counted from one: what an op fills in is zero
    numbered = positions(x) + 1
    arrays = [numbered, *(v if isinstance(v, np.ndarray) else None for v in ctx.operands[1:])]
    ctx.limit(result_size(ctx.node, Operands(arrays, ctx.attributes)), FOLD_BYTES // 8)
    moved = evaluate(ctx, [numbered, *ctx.operands[1:]])
    return [ctx.index(x, np.asarray(part, dtype=np.int64) - 1) for part in moved]


@handles("Concat")
def concat(ctx: Context) -> Tensor:
    """Concatenation of signals and constants along an axis."""
    # positions in the stack of all operands; constants enter through the bias
    sizes = [value.size for value in map(ctx.value, range(len(ctx.operands)))]
    ctx.limit(float(sum(sizes)), LARGEST_SIGNAL)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    parts = [
        np.arange(size, dtype=np.int64).reshape(ctx.value(k).shape) + start
        for k, (size, start) in enumerate(zip(sizes, starts, strict=False))
    ]
    stacked = np.asarray(evaluate(ctx, parts)[0], dtype=np.int64)
    terms, bias = [], np.zeros(stacked.size)
    for k, size in enumerate(sizes):
        if not size:
            continue
        local = stacked.ravel() - starts[k]
        mine = (local >= 0) & (local < size)
        value = ctx.value(k)
        if isinstance(value, np.ndarray):
            bias[mine] = value.ravel()[local[mine]]
        else:
            x = ctx.tensor(k)
            terms.append((x, Index(np.where(mine, local, -1), x.size)))
    return ctx.affine(terms, stacked.shape, bias.reshape(stacked.shape))


@handles("Pad")
def pad(ctx: Context) -> Tensor:
    """Padding of every mode, negative pads crop; a constant pad value becomes a bias."""
    x = ctx.tensor(0)
    mode = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}[
        ctx.attribute("mode", "constant")
    ]
    rank = len(x.shape)
    axes = [int(a) % rank for a in ctx.constant(3).ravel()] if ctx.has(3) else list(range(rank))
    pads = np.zeros((rank, 2), dtype=np.int64)
    pads[axes] = ctx.constant(1).reshape(2, len(axes)).T
    fill = float(np.asarray(ctx.constant(2)).ravel()[0]) if ctx.has(2) and mode == "constant" else 0.0
    if not np.isfinite(fill):
        raise ctx.unsupported("it pads with a value that is not finite", "pad with a finite number")
    if (pads.sum(axis=1) + x.shape < 0).any() or (np.minimum(pads, 0) < -np.array(x.shape)[:, None]).any():
        raise ctx.invalid("it crops more than there is")
    ctx.limit(float(np.prod(np.maximum(pads, 0).astype(np.float64).sum(axis=1) + x.shape)))
    crop = tuple(slice(max(-b, 0), n - max(-e, 0)) for (b, e), n in zip(pads, x.shape, strict=True))
    options: dict[str, Any] = {"constant_values": -1} if mode == "constant" else {}
    index = np.pad(positions(x)[crop], np.maximum(pads, 0), mode, **options)  # type: ignore[call-overload]
    result = ctx.index(x, index)
    return result if fill == 0.0 else ctx.shift(result, np.where(index < 0, fill, 0.0))


@handles("Identity", "Dropout")
def identity_op(ctx: Context) -> list[Value]:
    """The identity; Dropout in inference mode only."""
    if ctx.node.op_type == "Dropout" and ctx.has(2) and bool(np.asarray(ctx.constant(2)).any()):
        raise ctx.unsupported("it is in training mode, so it is random", "export the model in evaluation mode")
    x = ctx.value(0)
    if len(ctx.node.output) < 2:
        return [x]
    return [x, np.ones(x.shape, dtype=bool)]


@handles("Cast", "CastLike")
def cast(ctx: Context) -> Value:
    """Between floating-point types of 16 bits or more, taken as the identity of real numbers; of masks, exact."""
    x = ctx.value(0)
    target = ctx.attribute("to")
    kind = ctx.value(1).dtype if target is None else onnx.helper.tensor_dtype_to_np_dtype(target)
    if isinstance(x, np.ndarray):
        return x.astype(kind)
    if x.dtype.name in FLOATING:
        if kind.name not in FLOATING:
            raise ctx.unsupported(f"a cast of a signal to {kind.name} jumps", "remove it from the model")
        if kind.itemsize < 4:
            ctx.state.idealise(f"values are cast to {kind.name} in the file; here they are real numbers")
    elif kind.kind in "OUST":
        raise ctx.unsupported("a cast to text has no meaning here", "remove it from the model")
    # whole numbers that depend on the input are masks of zeros and ones, which every numeric type holds
    return ctx.defer(x.shape, kind) if isinstance(x, Deferred) else Tensor(x.position, x.shape, kind)


def evaluate(ctx: Context, operands: Sequence[object]) -> list[np.ndarray]:
    """The node on other operands, by onnx's reference evaluator."""
    names = [f"x{k}" if value is not None else "" for k, value in enumerate(operands)]
    node = onnx.NodeProto()
    node.CopyFrom(ctx.node)
    del node.input[:]
    node.input.extend(names)
    graph = onnx.helper.make_graph(
        [node],
        "movement",
        [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in names if name],
        [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in node.output],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", ctx.state.opset)])
    given = {name: value for name, value in zip(names, operands, strict=True) if name}
    try:
        return [np.asarray(result) for result in ReferenceEvaluator(model).run(None, given)]
    except Exception as error:  # the evaluator runs arbitrary operator code
        text = str(error).strip().splitlines()
        raise ctx.invalid(f"it does not fit its input: {text[0][:200] if text else type(error).__name__}") from None


def positions(x: Tensor) -> IntArray:
    """0, 1, 2, … in the shape of x."""
    return np.arange(x.size, dtype=np.int64).reshape(x.shape)
