"""Multipliers: one lam a group, their ties, and what a solver hands to the proof."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray
    from lipcert.constraints.interconnection import Groups


@dataclass(frozen=True, eq=False)
class Multipliers:
    """A proposal for one semidefinite program of docs/theory.md 4, ties expanded.

    Attributes
    ----------
    lam
        One a multiplier group.
    mu
        (1,) for inputs in ℓ2 or of one coordinate, (inputs,) for ℓ∞.
    nu
        (outputs,) for the output norm ℓ1, else None.
    scale, input_scale
        What is meant is lam·scale² and mu·input_scale²: the bounds of deep networks have no square in float64. `scale`
        is (groups,), or None for 1.
    """

    lam: Array
    mu: Array
    nu: Array | None = None
    scale: Array | None = None
    input_scale: float = 1.0

    def plain(self) -> Multipliers:
        """The same with scales of 1, as far as float64 goes."""
        lam = self.lam if self.scale is None else self.lam * self.scale**2
        return Multipliers(lam, self.mu * self.input_scale**2, self.nu)


class Tie(StrEnum):
    """Which multipliers are one variable; each also names the bound method."""

    NEURON = "neuron"
    CHANNEL = "channel"
    LAYER = "layer"
    NETWORK = "network"


def tie_groups(groups: Groups, tie: Tie) -> IntArray:
    """For each multiplier group the variable that it is tied to.

    Multipliers tied over a layer or channel are equal for slope-restricted neurons whose K and P differ too: (N) is
    normalised, so a common lam is meaningful.
    """
    if tie is Tie.NETWORK:
        return np.zeros(groups.count, dtype=np.int64)
    label = {Tie.NEURON: np.arange(groups.count), Tie.CHANNEL: groups.channel, Tie.LAYER: groups.layer}[tie]
    return np.unique(label, return_inverse=True)[1].astype(np.int64)
