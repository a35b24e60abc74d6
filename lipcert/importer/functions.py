"""Functions of one number that are spelled by others: hyperbolic and inverse ones, where their slopes are bounded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lipcert.importer.recurrent import evaluated
from lipcert.importer.registry import Context, Value, handles

Call = Callable[..., Value]


def _spelled(op: str, text: str, spelling: Callable[[Call, Value], Value]) -> None:
    """Register an op by its spelling, a function of `call(op, x, …)` and the operand."""

    def handler(ctx: Context) -> Value:
        x = ctx.value(0)

        def call(inner: str, *given: Value | float) -> Value:
            return evaluated(ctx, inner, *(np.array(v, x.dtype) if isinstance(v, float) else v for v in given))

        return spelling(call, x)

    handler.__doc__ = text
    handles(op)(handler)


def _exponentials(call: Call, x: Value, op: str) -> Value:
    """½e^x ± ½e^(−x)."""
    return call("Mul", call(op, call("Exp", x), call("Exp", call("Neg", x))), 0.5)


def _root_of_rest(call: Call, x: Value) -> Value:
    """√(1 − x²)."""
    return call("Sqrt", call("Sub", 1.0, call("Mul", x, x)))


_spelled("Sinh", "½(e^x − e^(−x)), on a range.", lambda call, x: _exponentials(call, x, "Sub"))
_spelled("Cosh", "½(e^x + e^(−x)), on a range.", lambda call, x: _exponentials(call, x, "Add"))
_spelled("Tan", "sin x/cos x, on a range without a pole.", lambda call, x: call("Div", call("Sin", x), call("Cos", x)))
_spelled(
    "Atanh",
    "½(log(1 + x) − log(1 − x)), on a range inside (−1, 1).",
    lambda call, x: call("Mul", call("Sub", call("Log", call("Add", x, 1.0)), call("Log", call("Sub", 1.0, x))), 0.5),
)
_spelled(
    "Acosh",
    "log(x + √(x² − 1)), on a range above 1.",
    lambda call, x: call("Log", call("Add", x, call("Sqrt", call("Sub", call("Mul", x, x), 1.0)))),
)
_spelled(
    "Asin",
    "atan(x/√(1 − x²)), on a range inside (−1, 1).",
    lambda call, x: call("Atan", call("Div", x, _root_of_rest(call, x))),
)
_spelled(
    "Acos",
    "2 atan(√(1 − x)/√(1 + x)), on a range inside (−1, 1).",
    lambda call, x: call(
        "Mul",
        call("Atan", call("Div", call("Sqrt", call("Sub", 1.0, x)), call("Sqrt", call("Add", x, 1.0)))),
        2.0,
    ),
)
