"""Branch and bound over the signs of channels (docs/theory.md, Branch and bound): one queue, the worst leaf first.

A node is a set of cuts Δv_i = s_i Q Δz_i with s_i = ±1; its semidefinite program is (C) of what is left. Every node carries
its proof, and a leaf gives way to its two children only when both of them are proven, so that the leaves are a proven tree
at every moment.
"""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lipcert.certificates.certificate import PROGRAMS
from lipcert.certificates.leaves import Cuts, Leaf, signs_of
from lipcert.certificates.proof import Proofs
from lipcert.constraints.interconnection import lower, signed_channels
from lipcert.errors import DoesNotApply, NotCertified
from lipcert.sdp.outcome import Progress, SolverOptions, Status
from lipcert.sdp.problem import balanced, compress_inputs, subproblems
from lipcert.sdp.solvers.interior_point import solve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lipcert.arrays import IntArray
    from lipcert.certificates import Certificate
    from lipcert.certificates.claims import Scaling
    from lipcert.graph.claim import Claim
    from lipcert.graph.nodes import Graph
    from lipcert.sdp.outcome import Outcome
    from lipcert.sdp.problem import Problem

TOLERANCE = 1e-6
"""Relative gap of the programs of the nodes."""
ABOVE = 1e-9
"""So much above its parent a child may lie where the parent's scalings cannot be proven for it."""


@dataclass(frozen=True, eq=False)
class Node:
    """A proven node of the tree.

    Attributes
    ----------
    leaf
        Its cuts and scalings.
    value
        Its bound, at most its parent's but for rounding.
    channel
        Where to cut next, or None where the worst increment has all signs.
    stuck
        Whether its children could not be proven.
    """

    leaf: Leaf
    value: float
    channel: int | None
    stuck: bool = False

    def __lt__(self, other: Node) -> bool:
        return self.value > other.value


@dataclass(frozen=True, eq=False)
class Tree:
    """What branch and bound arrived at.

    Attributes
    ----------
    certificate
        With the leaves.
    leaves, depth
        How many there are, and the cuts of the deepest one.
    status
        OPTIMAL where the gap is closed or the worst increment of the worst leaf has all signs, so that the bound is the
        maximum over them; else what ended it.
    """

    certificate: Certificate
    leaves: int
    depth: int
    status: Status


@dataclass(frozen=True, eq=False)
class Branching:
    """One claim about one prepared network, as the workers take it.

    Attributes
    ----------
    graph, claim
        The prepared network, and what is claimed about it.
    """

    graph: Graph
    claim: Claim

    def children(self, parent: Node) -> tuple[Node, Node] | None:
        """The two sides of the parent's cut, both proven, or None where that fails."""
        if parent.channel is None:
            return None
        try:
            up, down = (self.child(parent, (*parent.leaf.cuts, (parent.channel, sign))) for sign in (1, -1))
        except NotCertified:
            return None
        return up, down

    def child(self, parent: Node, cuts: Cuts) -> Node:
        """The node with these cuts, case by case with the better one of its own scalings and the parent's.

        Raises
        ------
        NotCertified
            If it cannot be proven.
        """
        proofs = self._proofs(cuts)
        try:
            node = self.node(cuts)
        except NotCertified:
            node = None
        scalings = []
        for k, (case, old) in enumerate(zip(proofs.cases, parent.leaf.scalings, strict=True)):
            own = None if node is None else node.leaf.scalings[k]
            if own is None or own.value() > old.value():
                inherited = self._inherited(old, parent.leaf.cuts, cuts[-1][0])
                if proofs.holds(case, inherited):
                    own = inherited
            if own is None or own.value() > parent.value * (1.0 + ABOVE):
                raise NotCertified("neither the child's nor the parent's multipliers could be proven")
            scalings.append(own)
        leaf = Leaf(cuts, tuple(scalings))
        return Node(leaf, leaf.value, None if node is None else node.channel)

    def node(self, cuts: Cuts) -> Node:
        """The node by itself.

        Raises
        ------
        NotCertified
            If its multipliers cannot be proven.
        """
        signs = self._signs(cuts)
        system, balance = balanced(lower(self.graph, signs=signs))
        proofs = self._proofs(cuts)
        scalings: list[Scaling] = []
        worst, channel = -1.0, None
        problems = subproblems(system, self.claim)
        for problem, case in zip(problems, proofs.cases, strict=True):
            small = compress_inputs(problem)
            outcome = solve(small, SolverOptions(TOLERANCE))
            if outcome.y is None:
                raise NotCertified(f"no multipliers: {outcome.message}")
            scaling = proofs.improve(case, balance.restore(problem.split(outcome.y)))
            if scaling is None:
                raise NotCertified("the multipliers could not be proven")
            scalings.append(scaling)
            if scaling.value() > worst:
                worst = scaling.value()
                position = _most_undecided(small, outcome)
                free = np.arange(signed_channels(self.graph).size) if signs is None else np.flatnonzero(signs == 0)
                channel = None if position is None else int(free[position])
        leaf = Leaf(cuts, tuple(scalings))
        return Node(leaf, leaf.value, self._cuttable(channel))

    def _cuttable(self, channel: int | None) -> int | None:
        return channel if channel is not None and signed_channels(self.graph)[channel] else None

    def _signs(self, cuts: Cuts) -> IntArray | None:
        return signs_of(cuts, signed_channels(self.graph).size) if cuts else None

    def _proofs(self, cuts: Cuts) -> Proofs:
        return Proofs(self.graph, self.claim, self._signs(cuts))

    def _inherited(self, scaling: Scaling, cuts: Cuts, group: int) -> Scaling:
        """A scaling without one channel more: feasible where it has a sign, as λ(|QΔz|² − |Δv|²) vanishes."""
        before = self._signs(cuts)
        free = np.arange(signed_channels(self.graph).size) if before is None else np.flatnonzero(before == 0)
        return replace(scaling, d=scaling.d[free != group])


def _most_undecided(problem: Problem, outcome: Outcome) -> int | None:
    """The group with the largest lam_i (⟨q_i²⟩ − |⟨q_i v_i⟩|) of those that are one channel.

    Means are over the Gram matrix X of u = [v; x]. The worst increment of the relaxation has |v_i| = |q_i| in the mean, so
    this says how far it is from having a sign.
    """
    X, y = outcome.gram, outcome.y
    if X is None or y is None or not problem.row.size:
        return None
    image = problem.R @ X
    square = np.einsum("ij,ij->i", image, problem.R)
    count = problem.multipliers
    score = np.full(count, -np.inf)
    first = np.full(count, -1)
    first[problem.row] = np.arange(problem.row.size)
    column = np.full(count, -1)
    column[problem.column[: problem.channels]] = np.arange(problem.channels)
    single = (np.bincount(problem.row, minlength=count) == 1) & (
        np.bincount(problem.column[: problem.channels], minlength=count) == 1
    )
    at = np.flatnonzero(single)
    cross = np.abs(image[first[at], column[at]])
    score[at] = y[at] * (square[first[at]] - cross)
    best = int(score.argmax())
    return best if score[best] > 0.0 else None


def branch(
    graph: Graph,
    root: Certificate,
    *,
    seconds: float | None = None,
    below: float = 0.0,
    jobs: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Tree:
    """Cut until the time is over, or the bound is at most `below`.

    Parameters
    ----------
    graph
        The prepared network that the root is about.
    root
        The certificate without cuts.
    seconds
        The time, or None for as long as it takes.
    below
        Where to stop: a little above a lower bound.
    jobs
        Leaves that are cut at once, in processes or wherever `joblib.parallel_config` sends them.
    progress
        Called after every round; its `proven` is the bound.

    Raises
    ------
    DoesNotApply
        If there is nothing to cut.

    Examples
    --------
    >>> from lipcert.certificates.prover import Prover
    >>> from lipcert.graph import build as nn
    >>> from lipcert.graph.claim import Claim
    >>> from lipcert.bounds.run import Run
    >>> from lipcert.bounds.settings import Settings
    >>> rng = np.random.default_rng(0)
    >>> graph = nn.sequential(nn.linear(rng.normal(size=(3, 2))), nn.relu(), nn.linear(rng.normal(size=(2, 3))))
    >>> run = Run(graph, Claim(), Settings())
    >>> root = run.run().certificate
    >>> tree = branch(run.prepared("comparators").graph, root)
    >>> tree.certificate.value <= root.value, tree.status.value
    (True, 'optimal')
    """
    if not root.scalings or root.evidence != PROGRAMS:
        raise DoesNotApply("the bound has no multipliers to branch from", advice="leave --branch out")
    if not signed_channels(graph).any():
        raise DoesNotApply(
            "branch and bound does not apply: the network has no channels with signs, such as those of ReLU or MaxMin in a "
            "network without implicit layers",
            advice="leave --branch out",
        )
    started = time.perf_counter()
    problem = Branching(graph, root.claim)
    queue = [_root(problem, root)]
    spent = 0.0

    def tell() -> None:
        if progress is not None:
            now = time.perf_counter() - started
            at_most = None if seconds is None else max(0.0, seconds - now)
            step = Progress("branch and bound", len(queue), seconds=now, proven=queue[0].value, at_most=at_most)
            progress(replace(step, bound=queue[0].value))

    try:
        while True:
            tell()
            if queue[0].value <= below:
                status = Status.OPTIMAL
                break
            elapsed = time.perf_counter() - started
            if seconds is not None and elapsed + spent > seconds:
                status = Status.TIME_LIMIT
                break
            if queue[0].channel is None:
                status = Status.STALLED if queue[0].stuck else Status.OPTIMAL
                break
            _advance(problem, queue, below, jobs)
            spent = time.perf_counter() - started - elapsed
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    leaves = tuple(node.leaf for node in queue)
    value = max(leaf.value for leaf in leaves)
    if value >= root.value:
        return Tree(root, 1, 0, status)
    certificate = replace(root, value=value, scalings=(), leaves=leaves)
    return Tree(certificate, len(leaves), max(len(leaf.cuts) for leaf in leaves), status)


def _root(problem: Branching, root: Certificate) -> Node:
    """The node without cuts, with the better one of its own scalings and those that are given."""
    try:
        own = problem.node(())
    except NotCertified:
        return Node(Leaf((), root.scalings), root.value, None, stuck=True)
    pairs = zip(own.leaf.scalings, root.scalings, strict=True)
    leaf = Leaf((), tuple(min(pair, key=lambda scaling: scaling.value()) for pair in pairs))
    return Node(leaf, leaf.value, own.channel)


def _advance(problem: Branching, queue: list[Node], below: float, jobs: int | None) -> None:
    """Replace the worst leaves by their children, as many at once as there are workers; the queue changes in one step."""
    from joblib import Parallel, delayed, effective_n_jobs

    chosen = [
        node
        for node in heapq.nsmallest(max(1, effective_n_jobs(jobs)), queue)
        if node.value > below and node.channel is not None
    ]
    if len(chosen) == 1:
        found: Sequence[tuple[Node, Node] | None] = [problem.children(chosen[0])]
    else:
        found = Parallel(n_jobs=jobs)(delayed(problem.children)(node) for node in chosen)
    after = [node for node in queue if node not in chosen]
    for node, children in zip(chosen, found, strict=True):
        after += [replace(node, channel=None, stuck=True)] if children is None else children
    heapq.heapify(after)
    queue[:] = after
