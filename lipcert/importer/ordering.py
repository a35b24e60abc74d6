"""Guards for NaN, and numbers taken in sorted order by the positions that a TopK gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lipcert.importer.elementwise import Unproven
from lipcert.importer.movement import move
from lipcert.importer.registry import Context, Deferred, Tensor, Value, handles


@handles("IsNaN", "IsInf")
def guard(ctx: Context) -> Value:
    """Never true: in real arithmetic every value that imports is a finite number."""
    x = ctx.tensor(0)
    below = {x.position}
    for position in range(x.position, -1, -1):
        if position in below:
            node = ctx.builder.nodes[position]
            if isinstance(node, Unproven) and _partial(node):
                raise ctx.unsupported(
                    f"it asks for a value that need not exist: {node.reason}", "ask before that operation"
                )
            below |= set(node.parents)
    return np.zeros(x.shape, dtype=bool)


@handles("GatherElements")
def gather_elements(ctx: Context) -> Value | Sequence[Value]:
    """Data movement; indices must be constant, or those of a TopK of the same numbers."""
    value = ctx.value(1)
    if not isinstance(value, Deferred) or value.op != "Indices" or not value.operands:
        return move(ctx)
    data, (source, values) = ctx.tensor(0), value.operands
    axis = int(ctx.attribute("axis", 0)) % max(len(data.shape), 1)
    assert isinstance(source, Tensor)
    if axis != value.attributes["axis"] or not _same_numbers(ctx, data, source):
        raise ctx.unsupported(
            "it orders one signal by the positions of another's largest numbers, which jump", "sort the signal itself"
        )
    return values


def _partial(node: Unproven) -> bool:
    """Whether the operation is undefined for some real numbers."""
    whole_power = node.kind == "power" and node.exponent >= 0 and node.exponent == int(node.exponent)
    return node.kind in ("log", "sqrt", "quotient", "power") and not whole_power


def _same_numbers(ctx: Context, a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    first, second = (ctx.state.engine.resolve(x.position) for x in (a, b))
    return a.position == b.position or first.same(second, 1.0)
