"""Sequences of tensors at fixed positions, as exporters write hstack, vstack and split.

A sequence is a `Deferred` of the op `Sequence` whose operands are its items.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lipcert.importer.recurrent import MAX_STEPS, branch_results, evaluated, stacked, subgraph
from lipcert.importer.registry import Context, Deferred, Value, handles

SEQUENCE = "Sequence"


@handles("SequenceConstruct", "SequenceEmpty")
def construct(ctx: Context) -> Value:
    """Sequences of tensors; positions and lengths must be constant."""
    return _sequence(ctx, [ctx.value(k) for k in range(len(ctx.operands))])


@handles("SequenceInsert")
def insert(ctx: Context) -> Value:
    """Sequences of tensors; positions and lengths must be constant."""
    items = list(_items(ctx, 0))
    items.insert(_place(ctx, 2, len(items) + 1, len(items)), ctx.value(1))
    return _sequence(ctx, items)


@handles("SequenceErase")
def erase(ctx: Context) -> Value:
    """Sequences of tensors; positions and lengths must be constant."""
    items = list(_items(ctx, 0))
    del items[_place(ctx, 1, len(items), len(items) - 1)]
    return _sequence(ctx, items)


@handles("SequenceAt")
def at(ctx: Context) -> Value:
    """Sequences of tensors; positions and lengths must be constant."""
    items = _items(ctx, 0)
    return items[_place(ctx, 1, len(items), -1)]


@handles("SequenceLength")
def length(ctx: Context) -> Value:
    """Sequences of tensors; positions and lengths must be constant."""
    return np.array(len(_items(ctx, 0)), dtype=np.int64)


@handles("ConcatFromSequence")
def concat(ctx: Context) -> Value:
    """Concatenation or stack of a sequence along an axis."""
    items = _items(ctx, 0)
    if not items:
        raise ctx.invalid("it concatenates an empty sequence")
    axis = int(ctx.attribute("axis", 0))
    return stacked(ctx, items, axis) if ctx.attribute("new_axis", 0) else evaluated(ctx, "Concat", *items, axis=axis)


@handles("SplitToSequence")
def split(ctx: Context) -> Value:
    """Parts of fixed sizes along an axis."""
    x = ctx.value(0)
    axis = int(ctx.attribute("axis", 0)) % max(len(x.shape), 1)
    whole = x.shape[axis]
    ctx.limit(float(whole), MAX_STEPS)
    if not ctx.has(1):
        sizes = [1] * whole
    elif ctx.constant(1).ndim == 0:
        each = int(ctx.constant(1))
        if each < 1:
            raise ctx.invalid(f"it splits into parts of {each}")
        sizes = [min(each, whole - start) for start in range(0, whole, each)]
    else:
        sizes = [int(n) for n in ctx.constant(1)]
    if sum(sizes) != whole or min(sizes, default=0) < 0:
        raise ctx.invalid(f"parts of {sizes} do not make up an axis of {whole}")
    ends = np.cumsum(sizes)
    parts = [
        evaluated(ctx, "Slice", x, np.array([end - size]), np.array([end]), np.array([axis]))
        for size, end in zip(sizes, ends, strict=True)
    ]
    if not ctx.has(1) and not ctx.attribute("keepdims", 1):
        parts = [evaluated(ctx, "Squeeze", part, np.array([axis])) for part in parts]
    return _sequence(ctx, parts)


@handles("SequenceMap")
def map_(ctx: Context) -> list[Value]:
    """The same graph on every item of a sequence."""
    body = subgraph(ctx, "body")
    first = _items(ctx, 0)
    others = [
        _items(ctx, k) if _is_sequence(ctx.value(k)) else (ctx.value(k),) * len(first)
        for k in range(1, len(ctx.operands))
    ]
    if len(body.input) != len(ctx.operands) or any(len(items) != len(first) for items in others):
        raise ctx.invalid("its sequences differ in length, or do not fit its body")
    names = [info.name for info in body.input]
    rows = [
        branch_results(ctx, body, dict(ctx.scope) | dict(zip(names, given, strict=True)))
        for given in zip(first, *others, strict=True)
    ]
    return [_sequence(ctx, column) for column in zip(*rows, strict=True)] or [
        _sequence(ctx, []) for _ in ctx.node.output
    ]


def _sequence(ctx: Context, items: Sequence[Value]) -> Deferred:
    dtype = next((item.dtype for item in items), np.dtype(np.float32))
    return Deferred(SEQUENCE, tuple(items), {}, (), dtype, ctx.where)


def _is_sequence(value: Value) -> bool:
    return isinstance(value, Deferred) and value.op == SEQUENCE


def _items(ctx: Context, k: int) -> tuple[Value, ...]:
    value = ctx.value(k)
    if not isinstance(value, Deferred) or value.op != SEQUENCE:
        raise ctx.invalid(f"its input {k} is no sequence")
    return value.operands


def _place(ctx: Context, k: int, count: int, default: int) -> int:
    """The position that operand k names among `count`."""
    place = int(ctx.constant(k).ravel()[0]) if ctx.has(k) else default
    if not -count <= place < count:
        raise ctx.invalid(f"the position {place} lies outside a sequence of {count}")
    return place % count
