"""The leaves of a tree over the signs of channels (docs/theory.md, Branch and bound).

A cut says that the channel of one multiplier group leaves as Δv = s Q Δz with s = 1 or −1. The norm of the Jacobian is
convex in each sign alone, so of two leaves that differ in the last cut one is at least as large as what lies between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lipcert.arrays import BoolArray, IntArray
    from lipcert.certificates.claims import Scaling

Cuts = tuple[tuple[int, int], ...]
"""(group, sign) from the root to the leaf."""


@dataclass(frozen=True, eq=False)
class Leaf:
    """One leaf with its proof.

    Attributes
    ----------
    cuts
        (group, sign) from the root to the leaf; groups are those of the prepared network without cuts.
    scalings
        One a case of the claim, for the groups that are left.
    """

    cuts: Cuts
    scalings: tuple[Scaling, ...]

    @property
    def value(self) -> float:
        """The largest of its bounds."""
        return max((scaling.value() for scaling in self.scalings), default=0.0)


def signs_of(cuts: Cuts, groups: int) -> IntArray:
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


def uncovered(leaves: Sequence[Cuts], signed: BoolArray) -> str | None:
    """Why these are not the leaves of one tree of cuts at channels that have signs, or None where they are.

    Examples
    --------
    >>> signed = np.array([True, True])
    >>> uncovered([((0, 1),), ((0, -1), (1, 1)), ((0, -1), (1, -1))], signed) is None
    True
    >>> uncovered([((0, 1),), ((0, -1), (1, 1))], signed)
    'no leaf covers the sign -1 of channel 1'
    """
    parts = [(list(leaves), 0)]
    while parts:
        part, depth = parts.pop()
        if len(part) == 1 and len(part[0]) == depth:
            continue
        if any(len(cuts) <= depth for cuts in part):
            return "one leaf lies above another one"
        groups = {cuts[depth][0] for cuts in part}
        if len(groups) != 1:
            return "two leaves part at different channels"
        (group,) = groups
        if not 0 <= group < signed.size or not signed[group]:
            return f"channel {group} has no sign to cut at"
        if any(group == earlier for earlier, _ in part[0][:depth]):
            return f"channel {group} is cut twice on one way"
        for sign in (1, -1):
            side = [cuts for cuts in part if cuts[depth][1] == sign]
            if not side:
                return f"no leaf covers the sign {sign} of channel {group}"
            parts.append((side, depth + 1))
        if any(cuts[depth][1] not in (1, -1) for cuts in part):
            return "a sign is neither 1 nor -1"
    return None
