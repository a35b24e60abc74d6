"""Operators that ONNX Runtime adds in the domain com.microsoft, as its optimiser of transformers writes them."""

from __future__ import annotations

import numpy as np

from lipcert.arrays import Array, BoolArray
from lipcert.importer.attention import at_positions, rotated, scaled_products, shares_of, side_by_side, split_heads
from lipcert.importer.recurrent import evaluated
from lipcert.importer.registry import Context, Value, handles

_ATTRIBUTES = ("num_heads", "mask_filter_value", "scale", "unidirectional")


def _signature(ctx: Context, inputs: int, *attributes: str) -> None:
    """Refuse what this version of the operator is not known to have."""
    if len(ctx.operands) > inputs and any(ctx.has(k) for k in range(inputs, len(ctx.operands))):
        raise ctx.unsupported(
            f"more than {inputs} inputs of it are not known here", "export it with standard operators"
        )
    other = next((name for name in ctx.attributes if name not in attributes), None)
    if other is not None:
        raise ctx.unsupported(f"its attribute {other} is not known here", "export it with standard operators")


@handles("com.microsoft.MultiHeadAttention")
def multi_head_attention(ctx: Context) -> list[Value]:
    """softmax(Q Kᵀ scale + mask) V of heads side by side or packed, with biases, constant masks and a past; on a region."""
    _signature(ctx, 8, *_ATTRIBUTES)
    heads = int(ctx.attribute("num_heads", 0))
    Q, K, V = _projected(ctx, heads)
    before = 0
    if ctx.has(6) and ctx.has(7):
        if not all([*ctx.node.output, "", ""][1:3]):
            raise ctx.unsupported("it has a past and no present, where runtimes differ", "give it all three outputs")
        before = ctx.value(6).shape[2]
        K, V = (evaluated(ctx, "Concat", ctx.value(k), x, axis=2) for k, x in ((6, K), (7, V)))
    length, total = Q.shape[2], K.shape[2]
    if ctx.attribute("unidirectional", 0) and length + before != total:
        raise ctx.unsupported(
            f"it looks back from {length} queries at {total} keys, and which ones they see is not defined",
            "export it with as many queries as keys",
        )
    products = scaled_products(ctx, Q, K)
    shares = shares_of(ctx, products, _mask(ctx, (*Q.shape[:3], total), before))
    result = side_by_side(ctx, evaluated(ctx, "MatMul", shares, V))
    if any(ctx.node.output[3:]):
        raise ctx.unsupported("its scores are an output", "leave that output out")
    return [result, K, V]


def _projected(ctx: Context, heads: int) -> tuple[Value, Value, Value]:
    """Queries, keys and values, each (batch, heads, length, size), with their biases."""
    x = ctx.value(0)
    if heads < 1:
        raise ctx.invalid("it has no number of heads")
    if len(x.shape) == 5:
        parts = [_unpacked(ctx, x, k, 3) for k in range(3)]
    elif ctx.has(1) and len(ctx.value(1).shape) == 5:
        parts = [x, *(_unpacked(ctx, ctx.value(1), k, 2) for k in range(2))]
    else:
        parts = [x, ctx.value(1), ctx.value(2)]
    split = [split_heads(ctx, part, heads) for part in parts]
    if ctx.has(3):
        bias = ctx.constant(3)
        sizes = [part.shape[1] * part.shape[3] for part in split]
        if bias.shape != (sum(sizes),):
            raise ctx.invalid(f"a bias of the shape {bias.shape} for {sum(sizes)} numbers")
        cut = np.split(bias, np.cumsum(sizes)[:-1])
        split = [
            evaluated(ctx, "Add", part, own.reshape(1, part.shape[1], 1, part.shape[3]))
            for part, own in zip(split, cut, strict=True)
        ]
    if any(part.shape[1] != heads for part in split):
        raise ctx.invalid(f"its inputs do not have {heads} heads")
    Q, K, V = split
    return Q, K, V


def _unpacked(ctx: Context, x: Value, k: int, count: int) -> Value:
    """Part k of (batch, length, heads, count, size), as (batch, length, heads · size)."""
    if x.shape[3] != count:
        raise ctx.invalid(f"an input of the shape {x.shape} where {count} parts are packed together")
    part = evaluated(ctx, "Gather", x, np.array(k), axis=3)
    return evaluated(ctx, "Reshape", part, np.array([x.shape[0], x.shape[1], x.shape[2] * x.shape[4]]))


def _mask(ctx: Context, shape: tuple[int, ...], before: int) -> Array:
    """What is added to the scores: the filter value where the mask says so, the bias, −∞ behind a query that looks back."""
    batch, _, length, total = shape
    mask = np.zeros(shape)
    if ctx.has(4):
        counts = _counts(ctx, ctx.constant(4), batch, length, total)
        if not counts.any(axis=-1).all():
            raise ctx.unsupported("a row of its mask leaves nothing, where runtimes differ", "mask less")
        filler = float(np.float32(ctx.attribute("mask_filter_value", -10000.0)))
        mask = mask + np.where(counts, 0.0, filler)[:, None]
    if ctx.has(5):
        added = ctx.constant(5).astype(np.float64)
        if added.ndim != 4 or any(n not in (1, wanted) for n, wanted in zip(added.shape, shape, strict=True)):
            raise ctx.invalid(f"a bias of the shape {added.shape} for scores of the shape {shape}")
        mask = mask + added
    if ctx.attribute("unidirectional", 0):
        mask = np.where(np.tril(np.ones((length, total), dtype=bool), before), mask, -np.inf)
    return mask


def _counts(ctx: Context, mask: Array, batch: int, length: int, total: int) -> BoolArray:
    """Which keys count, (batch, 1 or length, total): a mask of that shape, of one row a sample, or how many it has."""
    if mask.shape == (batch, total):
        return mask[:, None] > 0
    if mask.shape == (batch, length, total):
        return mask > 0
    if mask.shape == (batch,):
        return np.asarray(np.arange(total) < mask[:, None, None])
    raise ctx.unsupported(f"a mask of the shape {mask.shape} is not known here", "write it as an attention bias")


@handles("com.microsoft.RotaryEmbedding")
def rotary_embedding(ctx: Context) -> Value:
    """Pairs of a head's numbers rotated by constant angles, halves or neighbours, all of a head or its first part."""
    known = ("interleaved", "num_heads", "rotary_embedding_dim", "is_packed_batching", "scale")
    _signature(ctx, 4, *known)
    if ctx.attribute("is_packed_batching", 0):
        raise ctx.unsupported("its batches are packed", "export it with one fixed length")
    if float(ctx.attribute("scale", 1.0)) != 1.0:
        raise ctx.unsupported("it has a scale, which runtimes do not agree to apply", "scale its tables instead")
    x = ctx.value(0)
    positions = ctx.constant(1)
    length = x.shape[-2]
    if positions.size == 1:
        positions = positions.reshape(1, 1) + np.arange(length)
    cosine, sine = (at_positions(ctx, ctx.constant(k), positions) for k in (2, 3))
    heads = int(ctx.attribute("num_heads", 0)) or x.shape[-1] // max(2 * cosine.shape[-1], 1)
    return rotated(ctx, x, cosine, sine, heads)


@handles("com.microsoft.Gelu", "com.microsoft.BiasGelu", "com.microsoft.FastGelu")
def gelu(ctx: Context) -> Value:
    """GELU of a sum with a bias; FastGelu in its tanh form."""
    _signature(ctx, 2)
    x = evaluated(ctx, "Add", ctx.value(0), ctx.value(1)) if ctx.has(1) else ctx.value(0)
    return evaluated(ctx, "Gelu", x, approximate="tanh" if ctx.node.op_type == "FastGelu" else "none")


@handles("com.microsoft.QuickGelu")
def quick_gelu(ctx: Context) -> Value:
    """x·sigmoid(alpha·x)."""
    _signature(ctx, 1, "alpha")
    x = ctx.value(0)
    alpha = np.array(ctx.attribute("alpha", 1.702), np.float32)
    return evaluated(ctx, "Mul", x, evaluated(ctx, "Sigmoid", evaluated(ctx, "Mul", x, alpha)))


@handles("com.microsoft.SkipLayerNormalization")
def skip_layer_normalization(ctx: Context) -> list[Value]:
    """The layer normalisation of a sum with a bias, and the sum itself."""
    _signature(ctx, 5, "epsilon")
    total = evaluated(ctx, "Add", ctx.value(0), ctx.value(1))
    if ctx.has(4):
        total = evaluated(ctx, "Add", total, ctx.value(4))
    scale = [ctx.value(k) for k in (2, 3) if ctx.has(k)]
    normed = evaluated(ctx, "LayerNormalization", total, *scale, axis=-1, epsilon=ctx.attribute("epsilon", 1e-12))
    if any(ctx.node.output[1:3]):
        raise ctx.unsupported("its mean or deviation is an output", "leave these outputs out")
    return [normed, total, total, total]


@handles("com.microsoft.FusedMatMul")
def fused_matmul(ctx: Context) -> Value:
    """α op(A) op(B), the last two axes transposed where it says so."""
    _signature(ctx, 2, "alpha", "transA", "transB")
    sides = []
    for k, name in enumerate(("transA", "transB")):
        x = ctx.value(k)
        if ctx.attribute(name, 0):
            last = len(x.shape) - 1
            x = evaluated(ctx, "Transpose", x, perm=[*range(last - 1), last, last - 1])
        sides.append(x)
    alpha = np.array(ctx.attribute("alpha", 1.0), np.float32)
    return evaluated(ctx, "Mul", evaluated(ctx, "MatMul", *sides), alpha)
