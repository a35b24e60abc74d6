"""The leaves of a tree of branch and bound (docs/theory.md, Branch and bound), whatever it cuts.

A cut is a place and a side of it, the last number:

- (group, sign): the channel of one multiplier group leaves as Δv = sign·Q Δz. The norm of the Jacobian is convex in each
  sign alone, so of two leaves that differ in the last cut one is at least as large as what lies between them;
- (activation, neuron, kink, side): the input of a piecewise linear neuron lies above (1) or below (−1) one of its kinks;
- (input, number, side): an input of the network lies above or below a number.

All cuts of a tree are of one kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray
    from lipcert.certificates.claims import Scaling
    from lipcert.ranges.cells import NeuronCut, OpenNeuron

ChannelCut: TypeAlias = tuple[int, int]
InputCut: TypeAlias = tuple[int, float, int]
Cut: TypeAlias = "ChannelCut | InputCut | NeuronCut"
Cuts: TypeAlias = "tuple[Cut, ...]"
"""From the root to the leaf."""
Place: TypeAlias = tuple[float, ...]
"""What is cut: a cut without its side."""


class Kind(Enum):
    """What the cuts of a tree are about; the value is how many numbers one of them has."""

    CHANNELS = 2
    INPUTS = 3
    NEURONS = 4


@dataclass(frozen=True, eq=False)
class Leaf:
    """One leaf with its proof.

    Attributes
    ----------
    cuts
        From the root to the leaf.
    scalings
        One a case of the claim, or none where nothing is in the leaf, or where the entries of the Jacobian prove it.
    at
        Of each scaling how many of the cuts it needs: a bound above a leaf is one of the leaf. Of a part of the inputs that
        of its one bound.
    open
        Of each scaling the neurons with more than one slope, for cuts at neurons.
    weights
        Of what the cuts say: combined so it is contradictory. None where something may be in the leaf.
    """

    cuts: Cuts
    scalings: tuple[Scaling, ...] = ()
    at: tuple[int, ...] = ()
    open: tuple[tuple[OpenNeuron, ...], ...] = ()
    weights: Array | None = None

    @property
    def value(self) -> float:
        """The largest of its bounds."""
        return max((scaling.value() for scaling in self.scalings), default=0.0)


def signs_of(cuts: Sequence[ChannelCut], groups: int) -> IntArray:
    """(groups,) the sign of each cut, else 0.

    Examples
    --------
    >>> signs_of(((2, -1), (0, 1)), 4)
    array([ 1,  0, -1,  0])
    """
    signs = np.zeros(groups, dtype=np.int64)
    for group, sign in cuts:
        signs[group] = sign
    return signs


def kind_of(leaves: Sequence[Leaf]) -> Kind | None:
    """What the cuts are about, or None where they are not all of one kind."""
    lengths = {len(cut) for leaf in leaves for cut in leaf.cuts}
    if len(lengths) > 1:
        return None
    if lengths:
        return Kind(lengths.pop())
    # a root alone
    if any(leaf.open for leaf in leaves):
        return Kind.NEURONS
    return Kind.CHANNELS if any(leaf.scalings for leaf in leaves) else Kind.INPUTS


def uncovered(leaves: Sequence[Cuts], refused: Callable[[Place], str | None]) -> str | None:
    """Why these are not the leaves of one tree, or None where they are.

    Parameters
    ----------
    leaves
        The cuts of each leaf.
    refused
        Why a place cannot be cut, or None where it can.

    Examples
    --------
    >>> uncovered([((0, 1),), ((0, -1), (1, 1)), ((0, -1), (1, -1))], lambda place: None) is None
    True
    >>> uncovered([((0, 1),), ((0, -1), (1, 1))], lambda place: None)
    'no leaf covers the side -1 of (1,)'
    """
    parts = [(list(leaves), 0)]
    while parts:
        part, depth = parts.pop()
        if len(part) == 1 and len(part[0]) == depth:
            continue
        if any(len(cuts) <= depth for cuts in part):
            return "one leaf lies above another one"
        places = {tuple(cuts[depth][:-1]) for cuts in part}
        if len(places) != 1:
            return "two leaves part at different places"
        (place,) = places
        if (reason := refused(place)) is not None:
            return reason
        if any(place == tuple(earlier[:-1]) for earlier in part[0][:depth]):
            return f"{place} is cut twice on one way"
        if any(cuts[depth][-1] not in (1, -1) for cuts in part):
            return "a side is neither 1 nor -1"
        for side in (1, -1):
            own = [cuts for cuts in part if cuts[depth][-1] == side]
            if not own:
                return f"no leaf covers the side {side} of {place}"
            parts.append((own, depth + 1))
    return None
