"""Lower bounds with a witness (docs/theory.md 7): what the search found, proven."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lipcert.bounds.effort import Effort
from lipcert.bounds.search import default_seconds, search
from lipcert.bounds.witness import Witness, proof_seconds, proven_ratio
from lipcert.errors import InvalidRequest, LipcertError
from lipcert.figures import downward
from lipcert.norms import Norm
from lipcert.sdp.outcome import Progress
from lipcert.shown import Shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from lipcert.arrays import Array
    from lipcert.bounds.guide import Guide
    from lipcert.graph.nodes import Graph


@dataclass(frozen=True, eq=False, repr=False)
class LowerBound(Shown):
    """A proven lower bound on the Lipschitz constant.

    Attributes
    ----------
    value
        The proven ratio at the witness, rounded down; 0 without a witness.
    witness
        Where it is attained, or None where no ratio could be evaluated.
    kind
        What `value` is.
    """

    value: float
    witness: Witness | None
    kind: str

    def facts(self) -> list[tuple[str, str]]:
        """What a prompt and a notebook show."""
        rows = [("lower bound", f"{downward(self.value)}   proven"), ("kind", self.kind)]
        if self.witness is not None:
            rows.append(("attained at", f"point and direction of {self.witness.point.size} numbers"))
        return rows

    @property
    def point(self) -> Array | None:
        """The point (inputs,) at which the network changes so quickly, or None."""
        return None if self.witness is None else self.witness.point

    @property
    def direction(self) -> Array | None:
        """The direction (inputs,) of the change, or None."""
        return None if self.witness is None else self.witness.direction


def lower_bound(
    graph: Graph,
    norm: object = 2,
    output_norm: object = None,
    *,
    data: Array | None = None,
    guide: Guide | None = None,
    time_limit: float | None = None,
    share: float = 1.0,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> LowerBound:
    """The largest Jacobian norm that a search finds, proven at a witness.

    Parameters
    ----------
    graph
        A network with one input.
    norm, output_norm
        1, 2 or 'inf'; the output's is the input's unless given.
    data
        Points (inputs, samples) to start from besides random ones.
    guide
        Promising increments, from the Gram matrix of the semidefinite program.
    time_limit
        Seconds for the search and the proof. One proof is always finished. Without a limit the search takes a number of
        steps that depends on the network alone, so that the same seed finds the same witness.
    share
        The part of these steps that is taken, where several functionals of one network share them.
    seed
        Seed of the random search.
    progress
        Called now and then; its `bound` is None, as this is not an upper bound.

    Raises
    ------
    InvalidRequest
        If `data` or `guide` do not fit the network.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> found = lower_bound(nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu()), time_limit=0.2)
    >>> round(found.value, 6)
    5.0
    """
    p = Norm.parse(norm)
    q = p if output_norm is None else Norm.parse(output_norm)
    for name, columns in (("data", data), ("directions", None if guide is None else guide.directions)):
        if columns is not None and (columns.ndim != 2 or columns.shape[0] != graph.input_size):
            raise InvalidRequest(f"{name} of shape {columns.shape} for a network of {graph.input_size} inputs")
    timed = time_limit is not None
    effort = Effort(default_seconds(graph) * share if time_limit is None else time_limit, by_clock=timed)
    until = effort.seconds - min(0.5 * effort.seconds, proof_seconds(graph)) if timed else effort.seconds
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        candidates = search(graph, p, q, effort, until, rng, data=data, guide=guide, progress=progress)
    best = LowerBound(0.0, None, "none")
    for claimed, witness in candidates:
        if best.value >= claimed * (1.0 - 1e-9) or (best.witness and timed and effort.over):
            break
        if progress is not None:
            progress(Progress("proof of a lower bound", seconds=effort.elapsed))
        try:
            value = proven_ratio(graph, p, q, witness)
        except (LipcertError, MemoryError):
            continue
        if value > best.value or best.witness is None:
            best = LowerBound(value, witness, "directional derivative")
    return best
