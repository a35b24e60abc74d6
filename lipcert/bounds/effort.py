"""How long a search goes on: by the clock, or by the work that it does, which no busy machine changes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lipcert.graph.linear_maps import Convolution
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, Input

if TYPE_CHECKING:
    from collections.abc import Callable

_NODE = 1.5e-5
_TERM = 2.5e-10
_TAP = 1e-5
_NUMBER = 8e-9
"""Seconds for a node, for a multiplication, for a tap of a convolution, and for a number that an activation passes on."""
_NEWTON = 3
"""Steps to a fixed point, about."""
_SOLVE = 1e-4


@dataclass(frozen=True)
class SweepCost:
    """What one sweep through a network costs, forward or backward, in nominal seconds.

    Attributes
    ----------
    fixed, each
        The seconds of the sweep as such, and of every sample in it.
    """

    fixed: float
    each: float

    @classmethod
    def of(cls, graph: Graph) -> SweepCost:
        """The cost for a network.

        Examples
        --------
        >>> from lipcert.graph import build as nn
        >>> SweepCost.of(nn.sequential(nn.linear([[1.0]] * 1000), nn.relu())).each > 1e-6
        True
        """
        fixed = each = 0.0
        for _, node in graph.walk():
            fixed += _NODE
            match node:
                case Input():
                    pass
                case Affine():
                    fixed += _TAP * sum(math.prod(a.kernel.shape[2:]) for a in node.maps if isinstance(a, Convolution))
                    each += _TERM * sum(a.terms * a.shape[0] for a in node.maps)
                case Activation():
                    fixed += 2.0 * _NODE
                    each += _NUMBER * node.blocks * node.block
                case FixedPoint():
                    cell = SweepCost.of(node.cell)
                    fixed += _NEWTON * cell.fixed
                    each += _NEWTON * (2.0 * cell.fixed + node.size * cell.each + _SOLVE)
        return cls(fixed, each)

    def seconds(self, samples: int, sweeps: int = 1) -> float:
        """The nominal seconds of some sweeps with as many samples."""
        return sweeps * (self.fixed + samples * self.each)


class Effort:
    """What a search may spend and has spent, in seconds: of the clock, or nominal ones that it counts itself.

    Parameters
    ----------
    seconds
        The limit.
    by_clock
        Whether the clock counts; else `charge` does, and the same search takes the same steps on every machine.
    clock
        The time in seconds.

    Examples
    --------
    >>> effort = Effort(2.0)
    >>> effort.charge(0.5)
    >>> effort.spent, effort.over
    (0.5, False)
    """

    def __init__(
        self, seconds: float, *, by_clock: bool = False, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.seconds = seconds
        self.by_clock = by_clock
        self._clock = clock
        self._started = clock()
        self._counted = 0.0

    def charge(self, seconds: float) -> None:
        """Count work."""
        self._counted += seconds

    @property
    def elapsed(self) -> float:
        """Seconds of the clock since the start."""
        return self._clock() - self._started

    @property
    def spent(self) -> float:
        """What is spent."""
        return self.elapsed if self.by_clock else self._counted

    @property
    def over(self) -> bool:
        """Whether the limit is reached."""
        return self.spent >= self.seconds
