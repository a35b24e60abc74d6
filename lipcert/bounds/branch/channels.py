"""Signs of channels: a relaxation, for every network without implicit layers and on the whole space too.

A cut says Δv_i = s_i Q Δz_i with s_i = ±1; the semidefinite program of a node is (C) of what is left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lipcert.bounds.branch.tree import Node
from lipcert.certificates.certificate import PROGRAMS
from lipcert.certificates.leaves import ChannelCut, Leaf, signs_of
from lipcert.certificates.proof import Proofs
from lipcert.constraints.interconnection import lower, signed_channels
from lipcert.errors import DoesNotApply, NotCertified
from lipcert.ranges.hints import NONE, Hints
from lipcert.sdp.outcome import SolverOptions
from lipcert.sdp.problem import balanced, compress_inputs, subproblems
from lipcert.sdp.solvers.interior_point import solve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lipcert.arrays import Array, IntArray
    from lipcert.bounds.lower_bound import LowerBound
    from lipcert.certificates import Certificate
    from lipcert.certificates.claims import Scaling
    from lipcert.graph.claim import Claim
    from lipcert.graph.nodes import Graph
    from lipcert.sdp.outcome import Outcome
    from lipcert.sdp.problem import Problem

COARSE, TOLERANCE = 3e-3, 1e-6
"""Relative gaps of the programs: of nodes that will be cut, whose children close it, and of those that will not."""
DECIDED = 0.05
"""Below this part of lam ⟨q²⟩ a channel may well have a sign: whether it has takes the smaller gap."""


@dataclass(frozen=True, eq=False)
class Channels:
    """One claim about one prepared network.

    Attributes
    ----------
    graph, claim
        The prepared network, on the region of the claim, and what is claimed about it.
    hints
        What leads to that network elsewhere.
    """

    graph: Graph
    claim: Claim
    hints: Hints = NONE

    @classmethod
    def of(cls, graph: Graph, claim: Claim, hints: Hints = NONE) -> Channels:
        """The strategy for a prepared network.

        Raises
        ------
        DoesNotApply
            If no channel has a sign.
        """
        if not signed_channels(graph).any():
            raise DoesNotApply(
                "branch and bound does not apply: the network has no channels with signs, such as those of ReLU or MaxMin "
                "in a network without implicit layers",
                advice="leave --branch out",
            )
        return cls(graph, claim, hints)

    def root(self, certificate: Certificate) -> Node:
        """The node without cuts, with the better one of its own scalings and those that are given."""
        given = certificate.multipliers
        try:
            own = self.node(())
        except NotCertified:
            if not given:
                raise
            return Node(Leaf((), given, (0,) * len(given)), certificate.value, stuck=True)
        if not given:
            return own
        pairs = zip(own.leaf.scalings, given, strict=True)
        leaf = replace(own.leaf, scalings=tuple(min(pair, key=lambda scaling: scaling.value()) for pair in pairs))
        return replace(own, leaf=leaf, value=leaf.value)

    def children(self, node: Node, below: float) -> Sequence[Node] | None:
        """The two sides of the node's cut."""
        cuts = tuple((int(cut[0]), int(cut[-1])) for cut in node.leaf.cuts)
        return [self.child(node, (*cuts, (node.split, sign)), below) for sign in (1, -1)]

    def child(self, parent: Node, cuts: tuple[ChannelCut, ...], below: float) -> Node:
        """The node with these cuts, case by case with the better one of its own scalings and the parent's."""
        try:
            own = self.node(cuts, parent.leaf, below)
        except NotCertified:
            return replace(parent, leaf=replace(parent.leaf, cuts=cuts), split=None, stuck=True)
        chosen = [
            min(pair, key=lambda part: part[0].value())
            for pair in zip(
                zip(own.leaf.scalings, own.leaf.at, strict=True),
                zip(parent.leaf.scalings, parent.leaf.at, strict=True),
                strict=True,
            )
        ]
        leaf = Leaf(cuts, tuple(scaling for scaling, _ in chosen), tuple(at for _, at in chosen))
        return Node(leaf, leaf.value, own.split)

    def node(self, cuts: tuple[ChannelCut, ...], above: Leaf | None = None, below: float = 0.0) -> Node:
        """The node by itself, but for programs that the leaf above has below `below`: those are not solved again.

        Raises
        ------
        NotCertified
            If its multipliers cannot be proven.
        """
        signs = signs_of(cuts, signed_channels(self.graph).size) if cuts else None
        system, balance = balanced(lower(self.graph, signs=signs))
        proofs = Proofs(self.graph, self.claim, signs)
        found: list[tuple[Scaling, int]] = []
        worst, channel = -1.0, None
        problems = subproblems(system, self.claim)
        for k, (problem, case) in enumerate(zip(problems, proofs.cases, strict=True)):
            if above is not None and above.scalings[k].value() <= below:
                found.append((above.scalings[k], above.at[k]))
                continue
            small = compress_inputs(problem)
            outcome = _solved(small, balance.balanced(below))
            if outcome.y is None:
                raise NotCertified(f"no multipliers: {outcome.message}")
            scaling = proofs.improve(case, balance.restore(problem.split(outcome.y)))
            if scaling is None:
                raise NotCertified("the multipliers could not be proven")
            found.append((scaling, len(cuts)))
            if scaling.value() > worst:
                worst = scaling.value()
                position = most_undecided(small, outcome)
                channel = None if position is None else self._group(signs, position)
        leaf = Leaf(cuts, tuple(scaling for scaling, _ in found), tuple(at for _, at in found))
        return Node(leaf, leaf.value, channel)

    def proven(self, node: Node) -> LowerBound | None:
        """Which patterns of signs occur is not asked here."""
        return None

    def certificate(self, root: Certificate, leaves: tuple[Leaf, ...], value: float) -> Certificate:
        """That of the root with the leaves in place of its scalings."""
        return replace(root, value=value, scalings=(), leaves=leaves, hints=self.hints, evidence=PROGRAMS)

    def _group(self, signs: IntArray | None, position: int) -> int | None:
        """The group of a channel that is left, where it can have a sign."""
        signed = signed_channels(self.graph)
        free = np.arange(signed.size) if signs is None else np.flatnonzero(signs == 0)
        return int(free[position]) if signed[free[position]] else None


def _solved(problem: Problem, target: float) -> Outcome:
    """The outcome with the gap that the node needs, or as soon as its bound is below the target."""
    coarse = solve(problem, SolverOptions(COARSE, target=target))
    if coarse.y is None or coarse.gram is None or coarse.bound <= target:
        return coarse
    score, square = _scores(problem, coarse.gram, coarse.y)
    if (score > DECIDED * square).any():
        return coarse
    return solve(problem, SolverOptions(TOLERANCE, target=target))


def most_undecided(problem: Problem, outcome: Outcome) -> int | None:
    """The group with the largest lam_i (⟨q_i²⟩ − |⟨q_i v_i⟩|) of those that are one channel.

    Means are over the Gram matrix X of u = [v; x]. The worst increment of the relaxation has |v_i| = |q_i| in the mean, so
    this says how far it is from having a sign.
    """
    if outcome.gram is None or outcome.y is None or not problem.row.size:
        return None
    score, _ = _scores(problem, outcome.gram, outcome.y)
    best = int(score.argmax())
    return best if score[best] > 0.0 else None


def _scores(problem: Problem, X: Array, y: Array) -> tuple[Array, Array]:
    """lam_i (⟨q_i²⟩ − |⟨q_i v_i⟩|) and lam_i ⟨q_i²⟩ of each group; −∞ and 0 of those that are not one channel."""
    count = problem.multipliers
    score, square = np.full(count, -np.inf), np.zeros(count)
    rows, columns = np.bincount(problem.row, minlength=count), problem.column[: problem.channels]
    at = np.flatnonzero((rows == 1) & (np.bincount(columns, minlength=count) == 1))
    if not at.size:
        return score, square
    first, column = np.full(count, -1), np.full(count, -1)
    first[problem.row], column[columns] = np.arange(problem.row.size), np.arange(columns.size)
    image = problem.R @ X
    square[at] = y[at] * np.einsum("ij,ij->i", image, problem.R)[first[at]]
    score[at] = square[at] - y[at] * np.abs(image[first[at], column[at]])
    return score, square
