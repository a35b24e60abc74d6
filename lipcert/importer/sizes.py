"""How large the result of a node on constants is, told before anything of that size is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx

Shape = tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Operands:
    """The constant operands of a node, None for those that are left out, and its attributes."""

    values: Sequence[np.ndarray | None]
    attributes: Mapping[str, Any]

    def shape(self, k: int) -> Shape:
        """The shape of operand k; () where there is none."""
        value = self.values[k] if k < len(self.values) else None
        return () if value is None else tuple(map(float, value.shape))

    def numbers(self, k: int, attribute: str = "") -> list[float]:
        """Operand k, or an attribute of older versions, as numbers."""
        value = self.values[k] if k < len(self.values) else None
        found = self.attributes.get(attribute, []) if value is None else value
        array = np.asarray(found)
        return [float(x) for x in array.ravel()[:64]] if array.dtype.kind in "biuf" else []

    def ints(self, attribute: str, default: Sequence[float] = ()) -> list[float]:
        """An attribute that is a list of numbers."""
        return [float(x) for x in self.attributes.get(attribute, default)]


def result_size(node: onnx.NodeProto, operands: Operands) -> float:
    """An upper bound on how many numbers the node computes from constants, those on the way included.

    Examples
    --------
    >>> node = onnx.helper.make_node("Tile", ["x", "n"], ["y"])
    >>> result_size(node, Operands([np.zeros(3), np.array([10**9])], {}))
    3000000000.0
    """
    rule = _RULES.get(node.op_type, _elementwise)
    return max(rule(operands), _elementwise(operands) if rule is _reduced else 0.0)


def _elementwise(o: Operands) -> float:
    """The operands together, or what they broadcast to."""
    shapes = [value.shape for value in o.values if value is not None]
    together = float(sum(prod(map(float, s)) for s in shapes))
    try:
        return max(together, prod(map(float, np.broadcast_shapes(*shapes))))
    except ValueError:
        return together


def _reduced(o: Operands) -> float:
    return prod(o.shape(0))


def _given_shape(o: Operands) -> float:
    k = len(o.values) - 1
    return prod(max(n, 1.0) for n in o.numbers(k)) * max(prod(o.shape(0)) if k else 1.0, 1.0)


def _tiled(o: Operands) -> float:
    return prod(o.shape(0)) * prod(max(n, 1.0) for n in o.numbers(1))


def _range(o: Operands) -> float:
    start, stop, stride = (o.numbers(k)[0] for k in range(3))
    return abs((stop - start) / stride) if stride else np.inf


def _product(o: Operands) -> float:
    a, b = o.shape(0), o.shape(1)
    inner = min(a[-1:] or (1.0,))
    return prod(a) * prod(b) / max(inner, 1.0) + prod(a) + prod(b)


def _einsum(o: Operands) -> float:
    sizes: dict[str, float] = {}
    for term, shape in zip(str(o.attributes.get("equation", "")).split("->")[0].split(","), map(o.shape, range(64))):  # noqa: B905
        letters = term.strip().replace("...", "")
        for k, n in enumerate(shape):
            key = letters[k] if len(letters) == len(shape) else f"axis {k}"
            sizes[key] = max(sizes.get(key, 1.0), n)
    return prod(sizes.values())


def _gathered(o: Operands) -> float:
    return prod(o.shape(1)) * prod(o.shape(0)[1:] if len(o.shape(0)) else ()) * max(o.shape(0)[:1] or (1.0,))


def _one_hot(o: Operands) -> float:
    return prod(o.shape(0)) * max(o.numbers(1)[:1] or [1.0])


def _padded(o: Operands) -> float:
    pads = o.numbers(1, "pads")
    half = len(pads) // 2
    more = [max(a, 0.0) + max(b, 0.0) for a, b in zip(pads[:half], pads[half:], strict=False)]
    shape = o.shape(0)
    if len(more) == len(shape):
        return prod(n + m for n, m in zip(shape, more, strict=True))
    return prod(n + max(more, default=0.0) for n in shape)


def _resized(o: Operands) -> float:
    sizes, scales = o.numbers(3), o.numbers(2) if len(o.values) > 2 else o.numbers(1, "scales")
    shape = o.shape(0)
    if sizes:
        return prod(max(n, 1.0) for n in sizes) * (prod(shape) if len(sizes) < len(shape) else 1.0)
    return prod(shape) * prod(max(s, 1.0) for s in scales)


def _window(o: Operands) -> float:
    """Convolutions and pools: outputs times the numbers that each reads, for the evaluator writes them down."""
    shape = o.shape(0)
    kernel = list(o.shape(1)[2:]) or o.ints("kernel_shape")
    rank = len(kernel)
    pads = [abs(p) for p in o.ints("pads", [0.0] * 2 * rank)]
    strides = [max(s, 1.0) for s in o.ints("strides", [1.0] * rank)]
    size = [
        n + sum(pads[a::rank]) + (kernel[a] if "auto_pad" in o.attributes or o.attributes.get("ceil_mode") else 0.0)
        for a, n in enumerate(shape[2 : 2 + rank])
    ]
    out = prod(n / s + 1.0 for n, s in zip(size, strides, strict=False))
    channels = max([*shape[1:2], *o.shape(1)[:2]], default=1.0)
    return prod(shape[:1]) * channels * max(out * prod(kernel), prod(size))


def _spread(o: Operands) -> float:
    """Transposed convolutions."""
    shape, kernel = o.shape(0), o.shape(1)
    rank = len(kernel) - 2
    names = {"strides": 1.0, "dilations": 1.0, "output_padding": 0.0}
    s, d, extra = ([abs(x) for x in o.ints(key, [unit] * rank)] for key, unit in names.items())
    wide = [
        s[a] * (shape[2 + a] - 1) + (kernel[2 + a] - 1) * d[a] + 1 + extra[a] for a in range(min(rank, len(shape) - 2))
    ]
    shape_out = o.ints("output_shape")[-rank:] if rank > 0 else []
    wide = [max(n, m) for n, m in zip(wide, [*shape_out, *[0.0] * rank], strict=False)]
    pads = sum(abs(p) for p in o.ints("pads"))
    each = prod(n + pads for n in wide)
    return prod(shape[:1]) * prod(kernel[1:2]) * float(o.attributes.get("group", 1)) * each + prod(shape) * prod(
        kernel[1:]
    )


def _numbers_of(k: int) -> Callable[[Operands], float]:
    return lambda o: prod(max(abs(n), 1.0) for n in o.numbers(k)) * max(prod(o.shape(0)), 1.0)


_RULES: dict[str, Callable[[Operands], float]] = {
    **dict.fromkeys(("ConstantOfShape", "Expand", "CenterCropPad"), _given_shape),
    **dict.fromkeys(("MatMul", "Gemm", "MatMulInteger"), _product),
    **dict.fromkeys(("Gather", "GatherND", "Compress"), _gathered),
    **dict.fromkeys(("Resize", "Upsample"), _resized),
    **dict.fromkeys(("Conv", "ConvInteger", "MaxPool", "AveragePool", "LpPool"), _window),
    **dict.fromkeys(("HannWindow", "HammingWindow", "BlackmanWindow"), _numbers_of(0)),
    "ConvTranspose": _spread,
    "Tile": _tiled,
    "Range": _range,
    "Einsum": _einsum,
    "OneHot": _one_hot,
    "Pad": _padded,
    "DFT": _numbers_of(1),
    "Col2Im": _numbers_of(1),
    "MelWeightMatrix": lambda o: prod(max(abs(n), 1.0) for k in (0, 1) for n in o.numbers(k)),
    "MaxUnpool": _numbers_of(2),
    "STFT": lambda o: prod(o.shape(0)) * max([1.0, *map(abs, o.numbers(3))]),
    "LSTM": lambda o: prod(o.shape(0)) * prod(o.shape(2)),
    "GRU": lambda o: prod(o.shape(0)) * prod(o.shape(2)),
    "RNN": lambda o: prod(o.shape(0)) * prod(o.shape(2)),
    "CumSum": _reduced,
}
