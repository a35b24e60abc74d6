"""Ops that are refused for a reason worth telling."""

from __future__ import annotations

from typing import NoReturn

from lipcert.importer.registry import Context, handles

_NORMALISATION = (
    *("InstanceNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization"),
    *("MeanVarianceNormalization", "LpNormalization", "LRN"),
)


@handles(*_NORMALISATION)
def normalisation(ctx: Context) -> NoReturn:
    """Refused: it divides by a scale that depends on the signal."""
    raise ctx.unsupported(
        "it divides by a scale that depends on the signal, so no global Lipschitz constant is known here",
        "use batch normalisation, or a fixed scale",
    )


@handles("LSTM", "GRU")
def gated(ctx: Context) -> NoReturn:
    """Refused: its gates multiply signals."""
    raise ctx.unsupported(
        "its gates multiply two signals, so no global Lipschitz constant exists", "use an RNN without gates"
    )


@handles("LpPool", "GlobalLpPool", "ReduceL1", "ReduceSumSquare", "ReduceLogSumExp", "ReduceProd")
def norm_reduction(ctx: Context) -> NoReturn:
    """Refused: no normal form of it is known here."""
    raise ctx.unsupported("no proven normal form of this reduction is known here", "use an average or a maximum")


@handles("Attention", "Scan", "SequenceAt", "NonZero", "ArgMax", "ArgMin", "OneHot", "Scatter", "ScatterND")
def data_dependent(ctx: Context) -> NoReturn:
    """Refused: its result jumps, or depends on the data in a way that has no global slope."""
    raise ctx.unsupported("it depends on the data in a way that has no global Lipschitz constant", "remove it")
