"""Parts of the region: for few inputs, and for smooth networks.

A cut halves the input along which the Jacobian changes most. On each part its entries are bounded by linear bounds of both
sweeps (`lipcert.ranges.jacobian`), whose error falls with the square of the width of the part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lipcert.bounds.branch.tree import Node
from lipcert.bounds.branch.witnesses import jacobian_at, proven_at, steepest
from lipcert.certificates.certificate import JACOBIAN
from lipcert.certificates.leaves import Leaf
from lipcert.certificates.prover import claimed
from lipcert.certificates.trees import InputGrounds
from lipcert.errors import DoesNotApply
from lipcert.graph.nodes import FixedPoint
from lipcert.ranges.hints import NONE
from lipcert.regions import free

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lipcert.bounds.lower_bound import LowerBound
    from lipcert.certificates import Certificate
    from lipcert.certificates.leaves import Cuts
    from lipcert.graph.claim import Claim
    from lipcert.graph.nodes import Graph
    from lipcert.regions import Region

_THIN = 2.0**-40
"""Width of a part, relative to that of the region, that is not halved again."""
_PROBED = 64
"""Inputs that are asked how much the Jacobian changes along them; the widest ones."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """One claim about one network.

    Attributes
    ----------
    graph
        The network of the claim's functionals, for witnesses.
    grounds
        What the leaves rest on.
    """

    graph: Graph
    grounds: InputGrounds

    @classmethod
    def of(cls, graph: Graph, claim: Claim, form: str) -> Inputs:
        """The strategy for a network that is not prepared.

        Raises
        ------
        DoesNotApply
            If the region is unbounded, or a layer is implicit.
        """
        if any(isinstance(node, FixedPoint) for _, node in graph.walk()):
            raise DoesNotApply("the entries of the Jacobian of an implicit layer are not bounded")
        return cls(claim.select(graph), InputGrounds.of(graph, claim, form))

    def root(self, certificate: Certificate) -> Node:
        """The whole region."""
        return self._node((), None)

    def children(self, node: Node, below: float) -> Sequence[Node] | None:
        """The two halves."""
        coordinate, at = node.split
        return [self._node((*node.leaf.cuts, (coordinate, at, side)), node) for side in (-1, 1)]

    def proven(self, node: Node) -> LowerBound | None:
        """The steepness at the witness, proven."""
        return None if node.witness is None else proven_at(self.graph, self.grounds.claim, node.witness)

    def certificate(self, root: Certificate, leaves: tuple[Leaf, ...], value: float) -> Certificate:
        """The parts alone: what is proven of each of them is found anew."""
        return replace(root, value=value, scalings=(), leaves=leaves, hints=NONE, evidence=JACOBIAN)

    def _node(self, cuts: Cuts, above: Node | None) -> Node:
        """A part of the region, with the entries of its Jacobian, or with what is proven above."""
        part = self.grounds.part(cuts)
        value, at = claimed(self.grounds.bound(part)), len(cuts)
        if above is not None and above.value < value:
            value, at = above.value, above.leaf.at[0]
        point = part.project(part.interval().middle()[:, None])[:, 0]
        witness, steepness = steepest(self.graph, self.grounds.claim, point)
        return Node(Leaf(cuts, at=(at,)), value, self._split(part), None, False, witness, steepness)

    def _split(self, part: Region) -> tuple[int, float] | None:
        """The middle of the input along which the Jacobian changes most, or of the widest one."""
        region = self.grounds.claim.region
        assert region is not None
        around, whole = part.interval(), region.interval()
        width = around.high - around.low
        relative = np.where(free(region), width / np.maximum(whole.high - whole.low, 1e-300), 0.0)
        wide = np.argsort(-relative, kind="stable")[:_PROBED]
        wide = wide[relative[wide] > _THIN]
        if not wide.size:
            return None
        middle = around.middle()
        changes = np.zeros(wide.size)
        for k, i in enumerate(wide.tolist()):
            ends = []
            for end in (around.low[i], around.high[i]):
                point = middle.copy()
                point[i] = end
                ends.append(jacobian_at(self.graph, point))
            changes[k] = float(np.linalg.norm(np.nan_to_num(ends[1] - ends[0])))
        best = int(wide[int((changes + 1e-12 * relative[wide]).argmax())])
        return best, float(middle[best])
