"""Data movement, by one mechanism: the op runs on an array of positions, and the result is an index map."""

from __future__ import annotations

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from lipcert.arrays import IntArray
from lipcert.graph.linear_maps import Index
from lipcert.importer.registry import Context, Tensor, Value, handles

MOVEMENT = (
    *("Reshape", "Flatten", "Transpose", "Slice", "Squeeze", "Unsqueeze", "Expand", "Tile"),
    *(
        "Split",
        "Gather",
        "GatherElements",
        "GatherND",
        "DepthToSpace",
        "SpaceToDepth",
        "ReverseSequence",
        "CenterCropPad",
    ),
)


@handles(*MOVEMENT)
def move(ctx: Context) -> list[Value]:
    """Data movement; indices, shapes and sizes must be constant."""
    x = ctx.tensor(0)
    for k in range(1, len(ctx.operands)):
        if ctx.has(k):
            ctx.constant(k)
    positions = np.arange(x.size, dtype=np.int64).reshape(x.shape)
    moved = _run(ctx, [positions, *ctx.operands[1:]])
    return [ctx.index(x, np.asarray(part, dtype=np.int64)) for part in moved]


@handles("Concat")
def concat(ctx: Context) -> Tensor:
    """Concatenation of signals and constants along an axis."""
    # positions in the stack of all operands; constants enter through the bias
    sizes = [value.size for value in map(ctx.value, range(len(ctx.operands)))]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    parts = [
        np.arange(size, dtype=np.int64).reshape(ctx.value(k).shape) + start
        for k, (size, start) in enumerate(zip(sizes, starts, strict=False))
    ]
    stacked = np.asarray(_run(ctx, parts)[0], dtype=np.int64)
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
    """Padding of every mode; a constant pad value becomes a bias."""
    x = ctx.tensor(0)
    mode = ctx.attribute("mode", "constant")
    positions = np.arange(x.size, dtype=np.int64).reshape(x.shape)
    pads = ctx.constant(1)
    axes = ctx.operands[3:4]
    if mode != "constant":
        index = np.asarray(_run(ctx, [positions, pads, None, *axes])[0], dtype=np.int64)
        return ctx.index(x, index)
    index = np.asarray(_run(ctx, [positions + 1, pads, np.array(0, dtype=np.int64), *axes])[0], dtype=np.int64) - 1
    fill = float(np.asarray(ctx.constant(2, 0.0)).ravel()[0]) if ctx.has(2) else 0.0
    if not np.isfinite(fill):
        raise ctx.unsupported("it pads with a value that is not finite", "pad with a finite number")
    result = ctx.index(x, index)
    return result if fill == 0.0 else ctx.shift(result, np.where(index < 0, fill, 0.0))


@handles("Trilu")
def trilu(ctx: Context) -> Tensor:
    """The upper or lower triangle of a signal."""
    x = ctx.tensor(0)
    positions = np.arange(1, x.size + 1, dtype=np.int64).reshape(x.shape)
    kept = np.asarray(_run(ctx, [positions, *ctx.operands[1:]])[0], dtype=np.int64) - 1
    return ctx.index(x, kept)


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
    """A cast between floating-point types, taken as the identity of real numbers."""
    x = ctx.value(0)
    if not isinstance(x, Tensor):
        return ctx.defer()
    target = ctx.attribute("to")
    if target is None:
        like = ctx.value(1)
        kind = like.dtype
    else:
        kind = onnx.helper.tensor_dtype_to_np_dtype(target)
    if np.issubdtype(kind, np.integer) or kind == np.dtype(bool):
        raise ctx.unsupported("a cast of a signal to integers jumps", "remove it from the model")
    if kind.itemsize < 4:
        ctx.state.idealise(f"values are cast to {kind} in the file; here they are real numbers")
    return Tensor(x.position, x.shape, kind)


def _run(ctx: Context, operands: list[object]) -> list[np.ndarray]:
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


def positions_of(x: Tensor) -> IntArray:
    """0, 1, 2, … in the shape of x."""
    return np.arange(x.size, dtype=np.int64).reshape(x.shape)
