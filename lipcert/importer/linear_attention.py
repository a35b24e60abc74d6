"""Linear memories over a fixed sequence, unrolled: linear attention with gates and delta rules, and causal convolutions."""

from __future__ import annotations

import numpy as np

from lipcert.importer.attention import by_root, repeated, side_by_side, split_heads, transposed
from lipcert.importer.recurrent import evaluated, limited, stacked
from lipcert.importer.registry import Context, Value, handles

# rule -> whether it has a decay, and a rate
_RULES = {"linear": (False, False), "gated": (True, False), "delta": (False, True), "gated_delta": (True, True)}


@handles("LinearAttention")
def linear_attention(ctx: Context) -> list[Value]:
    """Unrolled over a fixed sequence: S ← e^g S + β k (v − e^g Sᵀk)ᵀ, or without gate or rate; on a region."""
    rule = ctx.attribute("update_rule", "gated_delta")
    if _RULES.get(rule) != (ctx.has(4), ctx.has(5)):
        raise ctx.invalid(
            f"the rule {rule} with {'a' if ctx.has(4) else 'no'} decay and {'a' if ctx.has(5) else 'no'} rate"
        )
    heads, kept = (int(ctx.attribute(name, 0)) for name in ("q_num_heads", "kv_num_heads"))
    if kept < 1 or heads < 1 or heads % kept:
        raise ctx.invalid(f"{heads} heads of queries for {kept} of keys")
    Q, K, V = split_heads(ctx, ctx.value(0), heads), *(split_heads(ctx, ctx.value(k), kept) for k in (1, 2))
    decay = split_heads(ctx, ctx.value(4), kept) if ctx.has(4) else None
    rate = split_heads(ctx, ctx.value(5), ctx.value(5).shape[2]) if ctx.has(5) else None
    _fitting(ctx, kept, K.shape[3], V.shape[3])
    scale = float(ctx.attribute("scale", 0.0))
    Q = evaluated(ctx, "Mul", Q, np.array(scale, np.float32)) if scale else by_root(ctx, Q, Q.shape[3])
    limited(ctx, Q.shape[2])
    state: Value = ctx.value(3) if ctx.has(3) else np.zeros((Q.shape[0], kept, K.shape[3], V.shape[3]), np.float32)
    shown = []
    for t in range(Q.shape[2]):
        q, k, v, g, b = (
            None if x is None else evaluated(ctx, "Gather", x, np.array([t]), axis=2) for x in (Q, K, V, decay, rate)
        )
        assert q is not None
        assert k is not None
        assert v is not None
        if g is not None:
            state = evaluated(ctx, "Mul", state, evaluated(ctx, "Exp", transposed(ctx, g)))
        if b is not None:
            v = evaluated(ctx, "Mul", b, evaluated(ctx, "Sub", v, evaluated(ctx, "MatMul", k, state)))
        state = evaluated(ctx, "Add", state, evaluated(ctx, "MatMul", transposed(ctx, k), v))
        shown.append(evaluated(ctx, "MatMul", q, repeated(ctx, state, heads // kept)))
    return [side_by_side(ctx, evaluated(ctx, "Concat", *shown, axis=2)), state]


def _fitting(ctx: Context, heads: int, keys: int, values: int) -> None:
    """Refuse what would broadcast although no version of the operator says so."""
    allowed = ((4, (heads, heads * keys)), (5, (heads, 1)))
    for k, sizes in allowed:
        if ctx.has(k) and ctx.value(k).shape[2] not in sizes:
            raise ctx.invalid(f"its input {k} has {ctx.value(k).shape[2]} numbers a step where it may have {sizes}")
    if ctx.has(3) and ctx.value(3).shape[1:] != (heads, keys, values):
        raise ctx.invalid(f"a past of the shape {ctx.value(3).shape} for {heads} states of {keys} × {values}")


@handles("CausalConvWithState")
def causal_convolution(ctx: Context) -> list[Value]:
    """A convolution of each channel with what came before, its past zero or given; plain or through x·sigmoid(x)."""
    x, weight = ctx.value(0), ctx.constant(1)
    batch, channels, _ = x.shape
    before = weight.shape[2] - 1
    past: Value = ctx.value(3) if ctx.has(3) else np.zeros((batch, channels, before), weight.dtype)
    whole = evaluated(ctx, "Concat", past, x, axis=2)
    y = evaluated(ctx, "Conv", whole, weight, *([ctx.constant(2)] if ctx.has(2) else []), group=channels)
    activation = ctx.attribute("activation", "none")
    if activation in ("silu", "swish"):
        y = evaluated(ctx, "Mul", y, evaluated(ctx, "Sigmoid", y))
    elif activation != "none":
        raise ctx.unsupported(f"its activation {activation} is not known", "use silu or none")
    length = whole.shape[2]
    return [y, evaluated(ctx, "Gather", whole, np.arange(length - before, length), axis=2)]


@handles("CumProd")
def cumulative_product(ctx: Context) -> Value:
    """Running products along an axis, exclusive and reversed ones included; on a range."""
    x = ctx.tensor(0)
    axis = int(ctx.constant(1).ravel()[0]) % max(len(x.shape), 1)
    n = x.shape[axis]
    limited(ctx, n)
    order = range(n)[::-1] if ctx.attribute("reverse", 0) else range(n)
    parts = [evaluated(ctx, "Gather", x, np.array(k), axis=axis) for k in order]
    running: list[Value] = []
    for part in parts:
        running.append(evaluated(ctx, "Mul", running[-1], part) if running else part)
    if ctx.attribute("exclusive", 0):
        running = [np.ones(parts[0].shape, x.dtype), *running[:-1]]
    return stacked(ctx, running[::-1] if ctx.attribute("reverse", 0) else running, axis)
