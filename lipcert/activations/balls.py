"""Ball arithmetic (python-flint) for activations: enclosures of values, and of slopes through truncated power series.

python-flint is imported only where a ball is really needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lipcert.activations.record import ActivationRecord, Parameters


def enclose(record: ActivationRecord, z: Sequence[Any], block: int, parameters: Parameters) -> list[Any]:
    """Enclosures of a whole activation layer.

    Parameters
    ----------
    record
        The activation.
    z
        `flint.arb` balls, blocks·block of them.
    block
        Inputs of a block.
    parameters
        Arrays with first axis 1 or blocks.

    Examples
    --------
    >>> from flint import arb
    >>> from lipcert.activations import TABLE
    >>> [float(w.mid()) for w in enclose(TABLE["sort"], [arb(2), arb(-1)], 2, {})]
    [-1.0, 2.0]
    """
    out: list[Any] = []
    for i in range(len(z) // block):
        own = {key: value[i if value.shape[0] > 1 else 0] for key, value in parameters.items()}
        out += record.ball(z[i * block : (i + 1) * block], own)
    return out


def piecewise(x: Any, at: Any, below: Callable[[Any], Any], above: Callable[[Any], Any]) -> Any:
    """below(x) for x ≤ at, above(x) for x ≥ at, and the hull of both where the ball x may lie on either side."""
    # a series on the kink itself has the slopes of both sides
    value, strict = head(x), is_series(x)
    if value < at or (not strict and value <= at):
        return below(x)
    if value > at or (not strict and value >= at):
        return above(x)
    left, right = below(x), above(x)
    if not is_series(x):
        return left.union(right)
    from flint import arb_series

    return arb_series([left[k].union(right[k]) for k in range(x.prec)], prec=x.prec)


def inverse_root(value: Any, square: int) -> Any:
    """A ball of a number, which stands for 1/√square where that is nearest to it.

    Examples
    --------
    >>> from flint import arb
    >>> third = inverse_root(arb(1.0 / 3.0), 9)
    >>> third.overlaps(1 / arb(3)), inverse_root(arb(0.25), 9)
    (True, 0.250000000000000)
    """
    from flint import arb

    nearest = math.sqrt(1.0 / square)
    if float(value) != nearest:
        return value
    return arb(nearest).union(1 / arb(square).sqrt())


def constant(x: Any, value: Any) -> Any:
    """The constant `value`, of the type of x."""
    return value + x * 0


def absolute(x: Any) -> Any:
    """|x|."""
    return piecewise(x, 0, lambda y: -y, lambda y: y)


def logistic(x: Any) -> Any:
    """1/(1 + e^(−x)), without overflow on either side."""
    return piecewise(x, 0, lambda y: 1 - 1 / (1 + y.exp()), lambda y: 1 / (1 + (-y).exp()))


def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    return 2 * logistic(2 * x) - 1


def softplus(x: Any) -> Any:
    """log(1 + e^x)."""
    return piecewise(x, 0, lambda y: (1 + y.exp()).log(), lambda y: y + (1 + (-y).exp()).log())


def order_statistic(value: Any, z: Sequence[Any]) -> Any:
    """`value`, the enclosure of an order statistic of the heads of z; for series with the slopes it may have.

    An order statistic equals one of the numbers, and its generalised gradient is in the hull of the gradients of those.
    """
    if not is_series(z[0]):
        return value
    from flint import arb_series

    slope: Any = None
    for x in z:
        if x[0].overlaps(value):
            slope = x[1] if slope is None else slope.union(x[1])
    return arb_series([value, slope], prec=2)


def head(x: Any) -> Any:
    """The value of a series; a ball itself."""
    return x[0] if is_series(x) else x


def is_series(x: Any) -> bool:
    """Whether x is a truncated power series."""
    return hasattr(x, "coeffs")
