"""Branch and bound (docs/theory.md, Branch and bound): one queue, the worst leaf first.

A leaf gives way to its children only when they are proven, so that the leaves are a proven tree at every moment. What a cut
is, how it restricts the problem and where the next one goes is for a strategy to say.
"""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from lipcert.sdp.outcome import Progress, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lipcert.bounds.lower_bound import LowerBound
    from lipcert.bounds.witness import Witness
    from lipcert.certificates import Certificate
    from lipcert.certificates.leaves import Leaf

STAGE = "branch and bound"
"""What its progress is called."""
WORTH_PROVING = 0.1
"""The part of the gap by which a witness has to be better than the best one for its proof to be worth its time."""


@dataclass(frozen=True, eq=False)
class Node:
    """A proven node of the tree.

    Attributes
    ----------
    leaf
        Its cuts and what proves it.
    value
        Its bound, at most its parent's but for rounding.
    split
        Where to cut next, in the terms of the strategy, or None where there is nothing to gain.
    state
        What the strategy wants to know again when it cuts the node.
    stuck
        Whether its children could not be proven.
    witness, steepness
        Where in the leaf the network changes about so quickly, if the strategy saw it.
    """

    leaf: Leaf
    value: float
    split: Any = None
    state: Any = None
    stuck: bool = False
    witness: Witness | None = None
    steepness: float = 0.0

    def __lt__(self, other: Node) -> bool:
        return self.value > other.value


class Strategy(Protocol):
    """How nodes are restricted, bounded and split; it travels to the workers."""

    def root(self, certificate: Certificate) -> Node:
        """The node without cuts, no worse than the certificate."""

    def children(self, node: Node, below: float) -> Sequence[Node] | None:
        """The parts of a node, all proven, or None where that fails; what lies below `below` need not be bounded well."""

    def proven(self, node: Node) -> LowerBound | None:
        """A proven lower bound from the witness of a node."""

    def certificate(self, root: Certificate, leaves: tuple[Leaf, ...], value: float) -> Certificate:
        """The certificate with these leaves."""


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
        OPTIMAL where the gap is closed or nothing is left to cut in the worst leaf; else what ended it.
    lower
        A lower bound from the tree that is better than the one that was given, or None.
    notes
        What happened on the way.
    """

    certificate: Certificate
    leaves: int
    depth: int
    status: Status
    lower: LowerBound | None = None
    notes: tuple[str, ...] = ()


def branch(
    strategy: Strategy,
    root: Certificate,
    *,
    seconds: float | None = None,
    lower: float = 0.0,
    gap: float = 0.0,
    jobs: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Tree:
    """Cut until the time is over, or the bound is at most (1 + gap) times the lower one.

    Parameters
    ----------
    strategy
        What is cut.
    root
        The certificate without cuts.
    seconds
        The time, or None for as long as it takes.
    lower
        A proven lower bound.
    gap
        Where to stop: upper / lower − 1.
    jobs
        Leaves that are cut at once, in processes or wherever `joblib.parallel_config` sends them.
    progress
        Called after every round; its `proven` and `below` are the bounds, its `iteration` is the number of leaves.

    Raises
    ------
    DoesNotApply
        If the strategy cannot start from the certificate.

    Examples
    --------
    >>> import numpy as np
    >>> from lipcert.bounds.branch.channels import Channels
    >>> from lipcert.bounds.run import Run
    >>> from lipcert.bounds.settings import Settings
    >>> from lipcert.graph import build as nn
    >>> from lipcert.graph.claim import Claim
    >>> rng = np.random.default_rng(0)
    >>> graph = nn.sequential(nn.linear(rng.normal(size=(3, 2))), nn.relu(), nn.linear(rng.normal(size=(2, 3))))
    >>> run = Run(graph, Claim(), Settings())
    >>> root = run.run().certificate
    >>> tree = branch(Channels.of(run.prepared("comparators").graph, Claim()), root)
    >>> tree.certificate.value <= root.value, tree.status.value
    (True, 'optimal')
    """
    search = _Search(strategy, root, seconds, lower, gap)
    search.jobs, search.progress = jobs, progress
    try:
        status = search.run()
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    leaves = tuple(node.leaf for node in search.queue)
    value = max((node.value for node in search.queue), default=root.value)
    if not leaves or value >= root.value:
        return Tree(root, 1, 0, status, search.found, tuple(search.lost))
    certificate = strategy.certificate(root, leaves, value)
    depth = max(len(leaf.cuts) for leaf in leaves)
    return Tree(certificate, len(leaves), depth, status, search.found, tuple(search.lost))


class _Search:
    """The queue. It changes in one step, so that it is a proven tree whenever somebody interrupts."""

    def __init__(self, strategy: Strategy, root: Certificate, seconds: float | None, lower: float, gap: float) -> None:
        self.strategy, self.certificate, self.seconds, self.gap = strategy, root, seconds, gap
        self.lower = lower
        self.found: LowerBound | None = None
        self.queue: list[Node] = []
        self.jobs: int | None = None
        self.progress: Callable[[Progress], None] | None = None
        self.lost: list[str] = []
        self.started = time.perf_counter()
        self.longest = 0.0

    @property
    def below(self) -> float:
        """What a leaf need not be better than."""
        return (1.0 + self.gap) * self.lower

    def run(self) -> Status:
        """Cut the worst leaves until something ends it."""
        first = self.strategy.root(self.certificate)
        self._witnessed([first])
        self.queue = [first]
        while True:
            self._tell()
            worst = self.queue[0]
            if worst.value <= self.below:
                return Status.OPTIMAL
            elapsed = time.perf_counter() - self.started
            if self.seconds is not None and elapsed + self.longest > self.seconds:
                return Status.TIME_LIMIT
            if worst.split is None:
                return Status.STALLED if worst.stuck else Status.OPTIMAL
            self._advance()
            self.longest = max(0.9 * self.longest, time.perf_counter() - self.started - elapsed)

    def _advance(self) -> None:
        """Replace the worst leaves by their children, as many at once as there are workers."""
        from joblib import effective_n_jobs

        chosen = [
            node
            for node in heapq.nsmallest(max(1, effective_n_jobs(self.jobs)), self.queue)
            if node.value > self.below and node.split is not None
        ]
        found = self._children(chosen)
        after = [node for node in self.queue if node not in chosen]
        for node, children in zip(chosen, found, strict=True):
            after += [replace(node, split=None, stuck=True)] if children is None else children
        heapq.heapify(after)
        self.queue = after
        self._witnessed([child for children in found if children is not None for child in children])

    def _children(self, chosen: Sequence[Node]) -> Sequence[Sequence[Node] | None]:
        """The children of some nodes, wherever joblib's backend sends them."""
        from joblib import Parallel, delayed

        if len(chosen) > 1:
            try:
                return list(
                    Parallel(n_jobs=self.jobs)(delayed(self.strategy.children)(node, self.below) for node in chosen)
                )
            except Exception as error:
                # whatever a backend raises when its workers are lost; a real error comes again below
                self.lost.append(f"work was done again here, as its workers were lost: {type(error).__name__}")
        return [self.strategy.children(node, self.below) for node in chosen]

    def _witnessed(self, nodes: Sequence[Node]) -> None:
        """Prove the best witness of new nodes where that closes some of the gap."""
        best = max(nodes, key=lambda node: node.steepness, default=None)
        if best is None or best.steepness <= self.lower * (1.0 + WORTH_PROVING * self.gap + 1e-12):
            return
        found = self.strategy.proven(best)
        if found is not None and found.value > self.lower:
            self.found, self.lower = found, found.value

    def _tell(self) -> None:
        if self.progress is None:
            return
        now = time.perf_counter() - self.started
        at_most = None if self.seconds is None else max(0.0, self.seconds - now)
        value = self.queue[0].value
        below = self.lower or None
        leaves = len(self.queue)
        self.progress(Progress(STAGE, leaves, bound=value, seconds=now, proven=value, below=below, at_most=at_most))
