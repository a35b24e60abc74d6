"""What a bound is about: a claim, and the semidefinite programs that it takes (docs/theory.md 4).

    ‖C (f(x) − f(x′))‖ ≤ L ‖x − x′‖   for all x, x′,

with the norms of both sides and the functionals C of the output. Inputs in ℓ1 are bounded coordinate by coordinate, outputs
in ℓ∞ row by row: each is one program, and the bound is the largest of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lipcert.graph.selection import Selection
from lipcert.norms import Norm

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lipcert.arrays import IntArray
    from lipcert.graph.nodes import Graph
    from lipcert.regions import Region


ALL = Selection()


@dataclass(frozen=True, eq=False)
class Case:
    """One semidefinite program of a claim.

    Attributes
    ----------
    outputs, inputs
        Which rows of Y and which inputs it is about.
    part
        (inputs,) the multiplier mu that each of these inputs has, from 0: one each in ℓ∞, else one for all.
    weighted
        Whether each output has a multiplier nu: for the output norm ℓ1.
    """

    outputs: IntArray
    inputs: IntArray
    part: IntArray
    weighted: bool

    @property
    def parts(self) -> int:
        """The number of multipliers mu."""
        return int(self.part.max(initial=-1)) + 1

    @property
    def weights(self) -> int | None:
        """The number of multipliers nu, or None where there are none."""
        return self.outputs.size if self.weighted else None


@dataclass(frozen=True)
class Claim:
    """Which constant of a network is meant.

    Attributes
    ----------
    norm, output_norm
        The norms of the input and of the output. Selected outputs are bounded one by one: of them the output norm is ℓ∞, the
        largest, whatever is asked for.
    outputs
        The functionals of the output; all outputs together by default.
    region
        Where x and x′ lie; None for the whole space.
    anchored
        Whether x′ is the centre of the region.

    Examples
    --------
    >>> claim = Claim.about(Norm.L2, Norm.L2, Selection(("0", "2-1")))
    >>> claim.output_norm, len(claim.cases(4, 2))
    (<Norm.LINF: 'inf'>, 2)
    """

    norm: Norm = Norm.L2
    output_norm: Norm = Norm.L2
    outputs: Selection = ALL
    region: Region | None = None
    anchored: bool = False

    @classmethod
    def about(
        cls,
        norm: Norm,
        output_norm: Norm,
        outputs: Selection,
        region: Region | None = None,
        anchored: bool = False,
    ) -> Claim:
        """The claim about these outputs, one by one where some are selected."""
        return cls(norm, output_norm if outputs.joint else Norm.LINF, outputs, region, anchored)

    @property
    def place(self) -> str:
        """Where it holds, in words."""
        return place(self.region, self.anchored)

    @property
    def euclidean(self) -> bool:
        """Whether it is about ℓ2 to ℓ2."""
        return self.norm is Norm.L2 and self.output_norm is Norm.L2

    def select(self, graph: Graph) -> Graph:
        """The graph of the functionals of its output."""
        return self.outputs.apply(graph)

    def cases(self, inputs: int, outputs: int) -> tuple[Case, ...]:
        """The programs of a network with these sizes, its functionals selected: input by input, then output by output."""
        columns = list(self._each(inputs, self.norm is Norm.L1))
        rows = list(self._each(outputs, self.output_norm is Norm.LINF))
        weighted = self.output_norm is Norm.L1
        return tuple(
            Case(chosen, some, np.arange(some.size) if self.norm is Norm.LINF else np.zeros_like(some), weighted)
            for some in columns
            for chosen in rows
        )

    def value_of_each(self, values: Sequence[float], outputs: int) -> list[float]:
        """The bound of each output from those of the programs: the same for all unless they are bounded one by one."""
        if self.output_norm is not Norm.LINF:
            return [max(values)] * outputs
        return [max(values[i::outputs]) for i in range(outputs)]

    @staticmethod
    def _each(size: int, alone: bool) -> Iterator[IntArray]:
        everything = np.arange(size)
        return iter(everything[:, None]) if alone else iter([everything])


def place(region: Region | None, anchored: bool = False) -> str:
    """Where a claim holds, in words."""
    if region is None:
        return "global"
    return region.describe() + (", from its centre" if anchored else "")
