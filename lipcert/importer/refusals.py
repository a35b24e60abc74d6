"""Ops that are refused for a reason worth telling."""

from __future__ import annotations

from typing import NoReturn

from lipcert.importer.registry import Context, handles


@handles(
    "NonZero", "ArgMax", "ArgMin", "OneHot", "Scatter", "ScatterND", "ScatterElements", "Unique", "NonMaxSuppression"
)
def data_dependent(ctx: Context) -> NoReturn:
    """Refused: its result is a position or a selection that jumps."""
    raise ctx.unsupported(
        "its result is a position or a selection, which jumps when the input changes",
        "bound the value before it with --to",
    )


@handles("RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli")
def random(ctx: Context) -> NoReturn:
    """Refused: it is random."""
    raise ctx.unsupported(
        "it is random", "bound the value before it with --to, such as the parameters of the distribution"
    )
