"""Sides of neurons: exact, for piecewise linear networks on a region and on the whole space.

A cut says on which side of a kink the input of a neuron lies. Ranges narrow with it, cells without points are cut off by
weights of their cuts that contradict, and a cell in which every neuron is linear has one Jacobian: its norm is the bound,
and a point inside is a witness.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lipcert.bounds.branch.feasible import inner_point
from lipcert.bounds.branch.tree import Node
from lipcert.bounds.branch.witnesses import proven_at, steepest
from lipcert.certificates.certificate import PROGRAMS
from lipcert.certificates.leaves import Leaf
from lipcert.certificates.trees import NeuronGrounds
from lipcert.constraints.interconnection import lower
from lipcert.errors import DoesNotApply, NotCertified
from lipcert.ranges.cells import NeuronCut, OpenNeuron, nearest_kink, open_neurons, part
from lipcert.ranges.hints import NONE
from lipcert.ranges.rational import is_small, statements
from lipcert.sdp.outcome import SolverOptions
from lipcert.sdp.problem import balanced, compress_inputs, subproblems
from lipcert.sdp.solvers.interior_point import solve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lipcert.arrays import Array
    from lipcert.bounds.lower_bound import LowerBound
    from lipcert.certificates import Certificate
    from lipcert.certificates.claims import Scaling
    from lipcert.graph.claim import Claim
    from lipcert.graph.nodes import Graph
    from lipcert.ranges.cells import Cell
    from lipcert.sdp.outcome import Outcome
    from lipcert.sdp.problem import Problem

TOLERANCE = 1e-4
"""Relative gap of the square in the programs of the nodes: children close what it leaves."""
LARGEST = 2000
"""Neurons from which a node takes too long."""


@dataclass(frozen=True, eq=False)
class Neurons:
    """One claim about one network.

    Attributes
    ----------
    graph
        The network of the claim's functionals, for witnesses.
    grounds
        What the leaves rest on.
    """

    graph: Graph
    grounds: NeuronGrounds

    @classmethod
    def of(cls, graph: Graph, claim: Claim, form: str) -> Neurons:
        """The strategy for a network that is not prepared.

        Raises
        ------
        DoesNotApply
            If the network is not piecewise linear, or too large.
        """
        grounds = NeuronGrounds.of(graph, claim, form)
        if grounds.rational and not is_small(grounds.graph):
            raise DoesNotApply("cuts at neurons on an unbounded region are for small networks")
        left = open_neurons(grounds.graph, grounds.root.ranges)
        if len(left) > LARGEST:
            raise DoesNotApply(f"{len(left)} neurons are not decided by the region")
        return cls(claim.select(graph), grounds)

    def root(self, certificate: Certificate) -> Node:
        """The whole region, with the better one of its own scalings and those that are given, where they fit."""
        given = certificate.multipliers
        cell = self.grounds.root
        left = open_neurons(self.grounds.graph, cell.ranges)
        proofs = self.grounds.proofs_on(cell, left)
        assert proofs is not None
        fitting = len(given) == len(proofs.cases) and all(
            proofs.sizes(case) == scaling.sizes and proofs.holds(case, scaling)
            for case, scaling in zip(proofs.cases, given, strict=True)
        )
        start = Leaf((), given, (0,) * len(given), (left,) * len(given)) if fitting else None
        return self._node(cell, start, 0.0)

    def children(self, node: Node, below: float) -> Sequence[Node] | None:
        """The two sides of the node's cut."""
        found = []
        position, neuron, kink = node.split
        for side in (1, -1):
            cell = part(self.grounds.graph, node.state, NeuronCut(position, neuron, kink, side))
            found.append(self._node(cell, node.leaf, below))
        return found

    def proven(self, node: Node) -> LowerBound | None:
        """The steepness at the witness, proven."""
        claim = self.grounds.claim
        return None if node.witness is None else proven_at(self.graph, claim, node.witness)

    def certificate(self, root: Certificate, leaves: tuple[Leaf, ...], value: float) -> Certificate:
        """That of the root with the leaves in place of its scalings."""
        return replace(root, value=value, scalings=(), leaves=leaves, hints=NONE, evidence=PROGRAMS)

    def _node(self, cell: Cell, above: Leaf | None, below: float) -> Node:
        """A cell, cut off where it is empty, else bounded."""
        nothing = Leaf(cell.cuts, weights=np.zeros(0))
        if cell.empty:
            return Node(nothing, 0.0)
        point, weights = self._inside(cell)
        if weights is not None and self.grounds.contradicts(cell, weights):
            return Node(replace(nothing, weights=weights), 0.0)
        left = open_neurons(self.grounds.graph, cell.ranges)
        witness, steepness = (None, 0.0) if point is None else steepest(self.graph, self.grounds.claim, point)
        leaf, split = self._bounded(cell, left, above, below)
        return Node(leaf, leaf.value, split, cell, False, witness, steepness)

    def _inside(self, cell: Cell) -> tuple[Array | None, Array | None]:
        """A point that may be inside, or weights that may contradict."""
        if not cell.cuts:
            return cell.region.project(cell.region.interval().middle()[:, None])[:, 0], None
        if self.grounds.rational:
            said = statements(self.grounds.graph, cell.ranges, cell.cuts)
            return inner_point(said.floats(), said.cuts, cell.region)
        rows = np.hstack([cell.inside.offsets[:, None], cell.inside.normals])
        return inner_point(rows, len(rows), cell.region)

    def _bounded(
        self, cell: Cell, left: tuple[OpenNeuron, ...], above: Leaf | None, below: float
    ) -> tuple[Leaf, tuple[int, int, int] | None]:
        """The leaf with the better ones of its own scalings and those above, and where to cut it."""
        proofs = self.grounds.proofs_on(cell, left)
        assert proofs is not None
        system, balance = balanced(lower(proofs.graph))
        chosen: list[tuple[Scaling, int, tuple[OpenNeuron, ...]]] = []
        worst, split = -1.0, None
        for k, (problem, case) in enumerate(zip(subproblems(system, self.grounds.claim), proofs.cases, strict=True)):
            inherited = None if above is None else (above.scalings[k], above.at[k], above.open[k])
            outcome, best = None, inherited
            if inherited is None or inherited[0].value() > below:
                small = compress_inputs(problem)
                outcome = solve(small, SolverOptions(TOLERANCE, target=balance.balanced(below)))
                scaling = None if outcome.y is None else proofs.improve(case, balance.restore(problem.split(outcome.y)))
                if scaling is not None and (best is None or scaling.value() < best[0].value()):
                    best = (scaling, len(cell.cuts), left)
            if best is None:
                raise NotCertified("the multipliers could not be proven")
            chosen.append(best)
            if left and best[0].value() > max(worst, below):
                split = self._split(cell, left, None if outcome is None else (small, outcome))
            worst = max(worst, best[0].value())
        scalings, at, opened = zip(*chosen, strict=True) if chosen else ((), (), ())
        return Leaf(cell.cuts, scalings, at, opened), split

    def _split(
        self, cell: Cell, left: tuple[OpenNeuron, ...], solved: tuple[Problem, Outcome] | None
    ) -> tuple[int, int, int]:
        """The kink to cut at: of the neuron that matters most and is least decided."""
        chosen = left[0] if solved is None else left[most_influential(*solved)]
        return chosen.position, chosen.neuron, nearest_kink(self.grounds.graph, cell.ranges, chosen)


def most_influential(problem: Problem, outcome: Outcome) -> int:
    """The channel with the largest lam_i (⟨q_i²⟩ − |⟨q_i v_i⟩|), a part of lam_i ⟨q_i²⟩ added: signs may be impossible."""
    X, y = outcome.gram, outcome.y
    if X is None or y is None or not problem.row.size:
        return 0
    image = problem.R @ X
    square = np.einsum("ij,ij->i", image, problem.R)
    cross = np.abs(image[np.arange(problem.row.size), : problem.row.size].diagonal())
    return int((y[problem.row] * (square - cross + DECIDED * square)).argmax())


DECIDED = 0.05
"""How much a channel counts that has a sign already."""
