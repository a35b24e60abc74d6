"""Attention of the operator set: heads, grouped ones too, masks, soft caps, rotated positions; products on ranges."""

from __future__ import annotations

import numpy as np

from lipcert.arrays import Array, BoolArray
from lipcert.importer.expressions import materialise
from lipcert.importer.linear import divided_by_root
from lipcert.importer.recurrent import evaluated
from lipcert.importer.registry import Context, Deferred, Tensor, Value, handles

_ATTRIBUTES = (
    *("is_causal", "kv_num_heads", "q_num_heads", "qk_matmul_output_mode", "scale", "softcap", "softmax_precision"),
)


@handles("Attention")
def attention(ctx: Context) -> list[Value]:
    """softmax(Q Kᵀ scale + mask) V, causal or with a constant mask, of grouped heads too; on a region."""
    other = next((name for name in ctx.attributes if name not in _ATTRIBUTES), None)
    if other is not None:
        raise ctx.unsupported(f"its attribute {other} is not known here", "write what it does as a mask")
    if ctx.has(6):
        raise ctx.unsupported("its keys and values differ in length", "export it with one fixed length")
    flat = len(ctx.value(0).shape) == 3
    query_heads = int(ctx.attribute("q_num_heads", 0))
    Q = split_heads(ctx, ctx.value(0), query_heads)
    K, V = (split_heads(ctx, ctx.value(k), int(ctx.attribute("kv_num_heads", 0))) for k in (1, 2))
    before = 0
    if ctx.has(4) and ctx.has(5):
        before = ctx.value(4).shape[2]
        K, V = (evaluated(ctx, "Concat", ctx.value(k), x, axis=2) for k, x in ((4, K), (5, V)))
    kept = [K, V]
    groups = Q.shape[1] // max(K.shape[1], 1)
    if groups * K.shape[1] != Q.shape[1]:
        raise ctx.invalid(f"{Q.shape[1]} heads of queries for {K.shape[1]} of keys")
    if groups > 1:
        K, V = (repeated(ctx, x, groups) for x in (K, V))
    products = scaled_products(ctx, Q, K)
    scores = products
    cap = float(ctx.attribute("softcap", 0.0))
    if cap:
        kind = products.dtype if isinstance(products, np.ndarray) else np.float64
        scores = evaluated(ctx, "Tanh", evaluated(ctx, "Div", products, np.array(cap, kind)))
        scores = evaluated(ctx, "Mul", scores, np.array(cap, kind))
    shares = shares_of(ctx, scores, _mask(ctx, (*Q.shape[:3], K.shape[2]), before))
    result = evaluated(ctx, "MatMul", shares, V)
    if flat:
        result = side_by_side(ctx, result)
    mode = int(ctx.attribute("qk_matmul_output_mode", 0))
    if len(ctx.node.output) > 3 and mode not in (0, 3):
        raise ctx.unsupported("its scores after the mask are an output", "leave that output out")
    return [result, *kept, shares if mode == 3 else products]


def scaled_products(ctx: Context, Q: Value, K: Value) -> Value:
    """Q Kᵀ times the attribute scale, 1/√n where that is missing."""
    scale = ctx.attribute("scale")
    products = evaluated(ctx, "MatMul", Q, transposed(ctx, K))
    if scale is None:
        return by_root(ctx, products, Q.shape[-1])
    kind = products.dtype if isinstance(products, np.ndarray) else np.float64
    return evaluated(ctx, "Mul", products, np.array(np.float32(scale), kind))


def transposed(ctx: Context, x: Value) -> Value:
    """The last two of four axes exchanged."""
    return evaluated(ctx, "Transpose", x, perm=[0, 1, 3, 2])


def by_root(ctx: Context, x: Value, n: int) -> Value:
    """x/√n; the factor of a signal is enclosed."""
    if isinstance(x, np.ndarray):
        return evaluated(ctx, "Div", x, np.array(np.sqrt(n), x.dtype))
    return divided_by_root(ctx, _signal(ctx, x), n)


def _signal(ctx: Context, x: Value) -> Tensor:
    if isinstance(x, Deferred):
        return materialise(x, ctx.state)
    if isinstance(x, np.ndarray):
        raise ctx.unsupported("it is constant where a signal is expected")
    return x


def split_heads(ctx: Context, x: Value, heads: int) -> Value:
    """(batch, length, heads · size) as (batch, heads, length, size)."""
    if len(x.shape) == 4:
        return x
    if len(x.shape) != 3 or not heads or x.shape[2] % heads:
        raise ctx.invalid(f"inputs of the shape {x.shape} for {heads} heads")
    split = evaluated(ctx, "Reshape", x, np.array([x.shape[0], x.shape[1], heads, x.shape[2] // heads]))
    return evaluated(ctx, "Transpose", split, perm=[0, 2, 1, 3])


def side_by_side(ctx: Context, x: Value) -> Value:
    """(batch, heads, length, size) as (batch, length, heads · size)."""
    x = evaluated(ctx, "Transpose", x, perm=[0, 2, 1, 3])
    return evaluated(ctx, "Reshape", x, np.array([x.shape[0], x.shape[1], x.shape[2] * x.shape[3]]))


def repeated(ctx: Context, x: Value, groups: int) -> Value:
    """Each head so many times."""
    return evaluated(ctx, "Gather", x, np.repeat(np.arange(x.shape[1]), groups), axis=1)


def _mask(ctx: Context, shape: tuple[int, ...], before: int) -> Array:
    """What is added to the scores; −∞ where they do not count."""
    mask = np.zeros(shape)
    if ctx.has(3):
        given = ctx.constant(3)
        added = np.where(given, 0.0, -np.inf) if given.dtype == bool else given.astype(np.float64)
        missing = shape[-1] - added.shape[-1]
        if missing > 0:
            added = np.concatenate([added, np.full((*added.shape[:-1], missing), -np.inf)], axis=-1)
        try:
            mask = mask + added
        except ValueError:
            raise ctx.invalid(f"a mask of the shape {given.shape} for scores of the shape {shape}") from None
    if ctx.attribute("is_causal", 0):
        mask = np.where(np.tril(np.ones(shape[-2:], dtype=bool), before), mask, -np.inf)
    return mask


def shares_of(ctx: Context, scores: Value, mask: Array) -> Value:
    """Softmax of each row over the scores that count; the others have no share."""
    counts = mask > -np.inf
    if not counts.any(axis=-1).all():
        raise ctx.unsupported("a row of its mask leaves nothing, so that it is not a number", "mask less")
    if isinstance(scores, np.ndarray):
        return evaluated(ctx, "Softmax", scores + mask.astype(scores.dtype), axis=-1)
    scores = _signal(ctx, scores)
    finite = np.where(counts, mask, 0.0)
    if finite.any():
        scores = ctx.shift(scores, finite)
    if counts.all():
        return ctx.activation(scores, "softmax", scores.shape[-1], channel_axis=None)
    return _partial(ctx, scores, counts.reshape(-1, scores.shape[-1]))


def _partial(ctx: Context, scores: Tensor, counts: BoolArray) -> Tensor:
    number = counts.sum(axis=1)
    terms, place, start = [], np.full(counts.shape, -1, dtype=np.int64), 0
    for n in np.unique(number).tolist():
        rows = np.flatnonzero(number == n)
        columns = np.nonzero(counts[rows])[1].reshape(-1, n)
        index = rows[:, None] * counts.shape[1] + columns
        terms.append(ctx.activation(ctx.index(scores, index), "softmax", n, channel_axis=None))
        place[rows[:, None], columns] = start + np.arange(index.size).reshape(index.shape)
        start += index.size
    parts = [evaluated(ctx, "Reshape", term, np.array([-1])) for term in terms]
    joined = evaluated(ctx, "Concat", *parts, axis=0)
    return ctx.index(_signal(ctx, joined), place.reshape(scores.shape))


@handles("RotaryEmbedding")
def rotary_embedding(ctx: Context) -> Value:
    """Pairs of a head's numbers rotated by constant angles, halves or neighbours, all of a head or its first part."""
    cosine, sine = ctx.constant(1), ctx.constant(2)
    if ctx.has(3):
        cosine, sine = (at_positions(ctx, angles, ctx.constant(3)) for angles in (cosine, sine))
    return rotated(ctx, ctx.value(0), cosine, sine, int(ctx.attribute("num_heads", 0)))


def at_positions(ctx: Context, angles: Array, positions: Array) -> Array:
    """The rows of a table at positions (batch, length)."""
    if not ((positions >= 0) & (positions < len(angles))).all():
        raise ctx.invalid(f"a position outside its table of {len(angles)}")
    return np.asarray(angles[positions])


def rotated(ctx: Context, x: Value, cosine: Array, sine: Array, heads: int) -> Value:
    """x with each pair (a, b) of its heads as (a cos − b sin, a sin + b cos); angles of the shape (batch, length, pairs)."""
    flat = len(x.shape) == 3
    y = split_heads(ctx, x, heads) if flat else x
    batch, _, length, size = y.shape
    turned = int(ctx.attribute("rotary_embedding_dim", 0)) or size
    if not 0 < turned <= size or turned % 2:
        raise ctx.invalid(f"it rotates {turned} of the {size} numbers of a head")
    for angles in (cosine, sine):
        if angles.ndim != 3 or angles.shape[0] not in (1, batch) or angles.shape[1:] != (length, turned // 2):
            raise ctx.invalid(f"angles of the shape {angles.shape} for {length} positions and {turned // 2} pairs")
    places = np.arange(turned, dtype=np.int64)
    pairs = places.reshape(-1, 2).T if ctx.attribute("interleaved", 0) else places.reshape(2, -1)
    a, b = (evaluated(ctx, "Gather", y, index, axis=3) for index in pairs)
    cosine, sine = cosine[:, None], sine[:, None]
    parts = [
        evaluated(ctx, "Sub", evaluated(ctx, "Mul", a, cosine), evaluated(ctx, "Mul", b, sine)),
        evaluated(ctx, "Add", evaluated(ctx, "Mul", a, sine), evaluated(ctx, "Mul", b, cosine)),
    ]
    if turned < size:
        parts.append(evaluated(ctx, "Gather", y, np.arange(turned, size), axis=3))
    order = np.concatenate([np.argsort(pairs.ravel()), np.arange(turned, size)])
    joined = evaluated(ctx, "Gather", evaluated(ctx, "Concat", *parts, axis=3), order, axis=3)
    return side_by_side(ctx, joined) if flat else joined
