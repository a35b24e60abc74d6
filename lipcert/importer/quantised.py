"""Quantised weights, which are exact numbers; quantised signals are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np
import onnx

from lipcert.errors import InvalidModel
from lipcert.importer.registry import Context, State, Value, describe_node, folds, handles

_EXACT_INTEGERS = 2.0**29
"""Up to here an integer times a float32 number is a float64 number."""


@folds("DequantizeLinear")
def dequantised(node: onnx.NodeProto, operands: Sequence[Value | None], state: State) -> list[np.ndarray]:
    """(x − zero point)·scale as float64 numbers."""
    where = describe_node(node, state.file)
    x, scale, *rest = (None if value is None else np.asarray(value) for value in operands)
    assert x is not None
    assert scale is not None
    attributes = {a.name: a.i for a in node.attribute}
    axis = attributes.get("axis", 1)
    whole = x.astype(np.float64)
    if rest and rest[0] is not None:
        whole = whole - _spread(rest[0].astype(np.float64), x.shape, axis, attributes, where)
    if np.abs(whole).max(initial=0.0) > _EXACT_INTEGERS:
        state.idealise("weights computed in the graph are rounded to float64 numbers")
    return [whole * _spread(scale.astype(np.float64), x.shape, axis, attributes, where)]


def _spread(
    values: np.ndarray, shape: tuple[int, ...], axis: int, attributes: dict[str, int], where: str
) -> np.ndarray:
    """One number for the tensor, one for each place of an axis, or one for each block along it."""
    block = attributes.get("block_size", 0)
    if values.size == 1:
        return values.reshape(())
    if not -len(shape) <= axis < len(shape):
        raise InvalidModel(f"it has no axis {axis}", where=where, advice="check the file with onnx.checker")
    axis %= len(shape)
    if block:
        values = np.repeat(values, block, axis=axis)[(slice(None),) * axis + (slice(shape[axis]),)]
    elif values.ndim == 1:
        values = values.reshape(-1, *(1,) * (len(shape) - axis - 1))
    try:
        return np.broadcast_to(values, shape)
    except ValueError:
        raise InvalidModel(
            f"scales of shape {values.shape} do not fit a tensor of shape {shape}",
            where=where,
            advice="check the file with onnx.checker",
        ) from None


@handles(
    *("QuantizeLinear", "DynamicQuantizeLinear", "QLinearMatMul", "QLinearConv", "MatMulInteger", "ConvInteger"),
    "DequantizeLinear",
)
def quantised_signal(ctx: Context) -> NoReturn:
    """Refused: a signal that is rounded to whole steps jumps. Quantised weights are supported."""
    raise ctx.unsupported(
        "it rounds a signal to whole steps, so its values jump",
        "bound the network before its signals are quantised; quantised weights are no obstacle",
    )
