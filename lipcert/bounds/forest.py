"""Branch and bound of selected outputs: every one has a tree of its own, in shares of the time."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lipcert.bounds.branch import branch
from lipcert.bounds.branch.choose import require_known, strategy
from lipcert.certificates import Certificate
from lipcert.errors import DoesNotApply, InvalidRequest, NotCertified
from lipcert.graph.selection import Selection
from lipcert.sdp.outcome import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lipcert.bounds.branch import Tree
    from lipcert.bounds.lower_bound import LowerBound
    from lipcert.graph.nodes import Graph
    from lipcert.sdp.outcome import Progress

_WORST = (Status.INTERRUPTED, Status.TIME_LIMIT, Status.STALLED)
"""Of several ends the first of these that there is."""


@dataclass(frozen=True)
class Cutting:
    """How long branch and bound goes on: for so many seconds, or None, and until this gap is reached; and what it cuts."""

    seconds: float | None = None
    gap: float = 1e-3
    on: str = "auto"

    @classmethod
    def parse(cls, branch: bool | float, gap: float, on: str = "auto") -> Cutting:
        """What is meant by the arguments of `bound`.

        Raises
        ------
        InvalidRequest
            If one of them is negative, or nothing is called so.
        """
        require_known(on)
        seconds = None if branch is True or branch == float("inf") else float(branch)
        if not gap >= 0 or (seconds is not None and not seconds >= 0):
            raise InvalidRequest("neither the time of branch and bound nor its gap is negative")
        return cls(seconds, gap, on)


@dataclass(frozen=True, eq=False)
class Forest:
    """What came of the trees.

    Attributes
    ----------
    certificate
        Of all outputs: the one before, and a tree for each output that became better.
    trees
        By the number of the output.
    """

    certificate: Certificate
    trees: dict[int, Tree]

    @property
    def status(self) -> Status:
        """How the worst of them ended."""
        ends = {tree.status for tree in self.trees.values()}
        return next((status for status in _WORST if status in ends), Status.OPTIMAL)

    @property
    def leaves(self) -> int:
        """Of all trees."""
        return sum(tree.leaves for tree in self.trees.values())

    @property
    def depth(self) -> int:
        """The cuts of the deepest leaf."""
        return max((tree.depth for tree in self.trees.values()), default=0)

    @property
    def notes(self) -> tuple[str, ...]:
        """What happened on the way."""
        return tuple(dict.fromkeys(note for tree in self.trees.values() for note in tree.notes))

    def lowers(self, before: Sequence[LowerBound]) -> list[LowerBound]:
        """The better ones of the lower bounds before, and of those that the trees found."""
        found = [None if (tree := self.trees.get(i)) is None else tree.lower for i in range(len(before))]
        return [
            old if new is None else max(old, new, key=lambda b: b.value) for old, new in zip(before, found, strict=True)
        ]


def grown(
    graph: Graph,
    root: Certificate,
    cutting: Cutting,
    lower: float,
    *,
    jobs: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Tree:
    """The tree below a certificate, by what is cut of this network."""
    return branch(
        strategy(cutting.on, graph, root.claim, root.form),
        root,
        seconds=cutting.seconds,
        lower=lower,
        gap=cutting.gap,
        jobs=jobs,
        progress=progress,
    )


def forest(
    graph: Graph,
    whole: Certificate,
    cutting: Cutting,
    lowers: Sequence[float],
    *,
    jobs: int | None = None,
    tell: Callable[[str], Callable[[Progress], None] | None] = lambda part: None,
) -> Forest:
    """Close the gap of every output, the largest bound first.

    Parameters
    ----------
    graph
        The network.
    whole
        The certificate of all outputs.
    cutting
        The time is shared: what an output does not need is left to the others.
    lowers
        A proven lower bound of each output.
    jobs
        As in `branch`.
    tell
        Gives a receiver of progress for a part with this name.

    Raises
    ------
    DoesNotApply, NotCertified
        If no tree can be begun.

    Examples
    --------
    >>> import lipcert
    >>> from lipcert.graph import build as nn
    >>> network = nn.sequential(nn.linear([[1.0], [-1.0]]), nn.relu(), nn.linear([[3.0, 4.0], [1.0, 2.0]]))
    >>> root = lipcert.bound(network, outputs="each", lower=False).certificate
    >>> [round(value, 3) for value in forest(network, root, Cutting(gap=1e-6), [0.0, 0.0]).certificate.values(2)]
    [4.0, 2.0]
    """
    labels = whole.claim.outputs.labels
    values = whole.values(len(labels))
    open_ones = [i for i in range(len(labels)) if values[i] > (1.0 + cutting.gap) * lowers[i]]
    open_ones.sort(key=lambda i: -values[i])
    started = time.perf_counter()
    trees: dict[int, Tree] = {}
    for k, i in enumerate(open_ones):
        left = None if cutting.seconds is None else max(0.0, cutting.seconds - (time.perf_counter() - started))
        claim = replace(whole.claim, outputs=Selection((labels[i],)))
        root = Certificate.bare(graph, claim, whole.form, values[i])
        own = replace(cutting, seconds=None if left is None else left / (len(open_ones) - k))
        try:
            trees[i] = grown(graph, root, own, lowers[i], jobs=jobs, progress=tell(f"output {labels[i]}"))
        except (DoesNotApply, NotCertified):
            if not trees and k == len(open_ones) - 1:
                raise
            continue
        if trees[i].status is Status.INTERRUPTED:
            break
    better = [tree.certificate for i, tree in sorted(trees.items()) if tree.certificate.value < values[i]]
    if not better:
        return Forest(whole, trees)
    joined = replace(whole, scalings=(), leaves=(), parts=(whole, *better))
    return Forest(replace(joined, value=max(joined.values(len(labels)))), trees)
