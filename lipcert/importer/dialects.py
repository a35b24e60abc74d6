"""Older versions of operators, each in terms of the newest: the one place that knows how operators changed.

`onnx.version_converter` would do the same, but it drops model-local functions, leaves subgraphs as they are, and aborts
the process on some damaged files. Operators that only move data need nothing here: they run in their own version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from lipcert.importer.registry import HANDLERS, Context, Deferred, Handler, Tensor, Value

Translation = Callable[[Context], Context]

# op -> (first version that needs no translation, translation into it), newest first
_TRANSLATIONS: dict[str, list[tuple[int, Translation]]] = {}


def handler_of(op: str, opset: int) -> Handler | None:
    """The handler of an op as this version of the operator set has it."""
    steps = [translate for before, translate in _TRANSLATIONS.get(op, []) if opset < before]
    final = _COERCED.get(op) if opset < 13 else None
    handler = final or HANDLERS.get(op)
    if handler is None or not steps:
        return handler

    def translated(ctx: Context) -> Any:
        for step in steps:
            ctx = step(ctx)
        return handler(ctx)

    return translated


def _before(version: int, *ops: str) -> Callable[[Translation], Translation]:
    def register(translation: Translation) -> Translation:
        for op in ops:
            _TRANSLATIONS.setdefault(op, []).append((version, translation))
        return translation

    return register


def _changed(ctx: Context, *operands: Value | None, **attributes: Any) -> Context:
    merged: Mapping[str, Any] = {**ctx.attributes, **attributes}
    return replace(ctx, operands=operands, attributes={k: v for k, v in merged.items() if v is not None})


def _integers(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=np.int64).reshape(-1)


@_before(7, "Add", "Sub", "Mul", "Div", "Pow", "Greater", "Less")
def _broadcast_from_axis(ctx: Context) -> Context:
    """The second operand was aligned at an axis."""
    a, b = ctx.value(0), ctx.value(1)
    axis = ctx.attribute("axis")
    if not ctx.attribute("broadcast", 0) or axis is None:
        return ctx
    rank = len(a.shape)
    return _changed(ctx, a, _reshaped(b, (*b.shape, *(1,) * (rank - int(axis) % rank - len(b.shape)))))


@_before(7, "PRelu")
def _slope_per_channel(ctx: Context) -> Context:
    """The slope was one number or one a channel."""
    x, slope = ctx.value(0), ctx.constant(1)
    if slope.ndim == 1 and slope.size > 1 and len(x.shape) > 2:
        slope = slope.reshape(-1, *(1,) * (len(x.shape) - 2))
    return _changed(ctx, x, slope)


@_before(11, "Clip")
def _bounds_as_attributes(ctx: Context) -> Context:
    bounds = (ctx.attribute(key) for key in ("min", "max"))
    return _changed(ctx, ctx.value(0), *(None if b is None else np.array(b) for b in bounds))


@_before(7, "Dropout", "BatchNormalization")
def _tested(ctx: Context) -> Context:
    """Without outputs for training the mode was an attribute."""
    if not ctx.attribute("is_test", 0):
        raise ctx.unsupported("it is in training mode", "export the model in evaluation mode")
    return ctx


@_before(12, "Dropout")
def _without_training(ctx: Context) -> Context:
    return _changed(ctx, ctx.value(0))


@_before(11, "Pad")
def _pads_as_attributes(ctx: Context) -> Context:
    return _changed(ctx, ctx.value(0), _integers(ctx.attribute("pads")), np.array(float(ctx.attribute("value", 0.0))))


@_before(10, "TopK")
def _count_as_attribute(ctx: Context) -> Context:
    return _changed(ctx, ctx.value(0), _integers(ctx.attribute("k")))


@_before(9, "Upsample")
def _scales_as_attribute(ctx: Context) -> Context:
    return _changed(ctx, ctx.value(0), np.asarray(ctx.attribute("scales"), dtype=np.float32))


@_before(10**9, "Upsample")
@_before(11, "Resize")
def _asymmetric(ctx: Context) -> Context:
    """Sizes were scaled without a shift, and the nearest pixel was the one before."""
    linear = {"mode": "linear"} if ctx.attribute("mode") == "bilinear" else {}
    corner = linear | {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return _changed(ctx, ctx.value(0), None, ctx.value(1), **corner)


@_before(9, "BatchNormalization")
def _spatial(ctx: Context) -> Context:
    if not ctx.attribute("spatial", 1):
        raise ctx.unsupported("it normalises every number on its own", "export with opset 9 or newer")
    return ctx


def _flattened(op: str) -> Handler:
    """Softmax and its like acted on everything from an axis on."""

    def handler(ctx: Context) -> Value:
        x = ctx.tensor(0)
        axis = int(ctx.attribute("axis", 1)) % max(len(x.shape), 1)
        matrix = Tensor(x.position, (int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis:]))), x.dtype)
        result = HANDLERS[op](_changed(ctx, matrix, axis=-1))
        assert isinstance(result, Tensor)
        return _reshaped(result, x.shape)

    return handler


_COERCED = {op: _flattened(op) for op in ("Softmax", "LogSoftmax")}


def _reshaped(value: Value, shape: tuple[int, ...]) -> Value:
    if isinstance(value, np.ndarray):
        return value.reshape(shape)
    if isinstance(value, Deferred):
        return replace(value, op="Identity", operands=(value,), attributes={}, shape=shape)
    return Tensor(value.position, shape, value.dtype)
