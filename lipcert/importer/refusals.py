"""Ops that are refused for a reason worth telling."""

from __future__ import annotations

from typing import NoReturn

from lipcert.importer.registry import Context, handles


@handles("MeanVarianceNormalization", "LRN")
def normalisation(ctx: Context) -> NoReturn:
    """Refused: it divides by a scale that depends on the signal, for which there is no proven treatment here."""
    raise ctx.unsupported(
        "it divides by a scale that depends on the signal, for which there is no proven treatment here",
        "use layer, group or batch normalisation, or bound the part before it with --to",
    )


@handles("LpPool", "GlobalLpPool", "ReduceSumSquare", "ReduceLogSum", "ReduceProd")
def norm_reduction(ctx: Context) -> NoReturn:
    """Refused: there is no proven treatment of it here."""
    raise ctx.unsupported("there is no proven treatment of this reduction here", "use an average, a maximum or a norm")


@handles("Attention", "Scan")
def products(ctx: Context) -> NoReturn:
    """Refused: there is no proven treatment of it here."""
    raise ctx.unsupported(
        f"there is no proven treatment of {ctx.node.op_type} here", "bound the part before it with --to"
    )


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
