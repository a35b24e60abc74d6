"""The ways to prove a claim about a prepared graph, and the one place that chooses among them.

Prover and verification ask the same `Proof` objects: one proves scalings for proposed multipliers, the other whether given
scalings hold. Another way of proof is one more class here, and its place in `proofs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lipcert import budget
from lipcert.certificates.block_cholesky import BlockSystem, prove_by_blocks
from lipcert.certificates.claims import holds
from lipcert.certificates.enclosure import Enclosure
from lipcert.certificates.front import Front, prove_by_front
from lipcert.certificates.memory import available, require
from lipcert.certificates.normwise import NormwiseArithmetic
from lipcert.certificates.repair import repair
from lipcert.certificates.sparse_system import SparseSystem
from lipcert.constraints.interconnection import Interconnection, lower
from lipcert.graph.sizes import channels, groups, rows
from lipcert.threads import threads_for

if TYPE_CHECKING:
    from lipcert.arrays import IntArray
    from lipcert.certificates.claims import Scaling
    from lipcert.constraints.multipliers import Multipliers
    from lipcert.graph.claim import Case, Claim
    from lipcert.graph.nodes import Graph

LARGE = 3000
"""Rows of [R; Y] from which one proof is enough, even a weak one."""
SOON = 5.0
"""Seconds that the dense proof may be expected to take, for it to come first."""
WEAK = 1e-6
"""Relative loss from which another proof is tried too."""
PATIENCE = 60.0
"""Seconds that the dense proof may take, where the sparse one has to give room for what groups preserve."""
TRIES, LARGE_TRIES = 4.0, 2.0
"""Factorisations that a proof takes, of small and of large matrices, and"""
SPEED = 1e10
"""operations a second, for a guess of its time."""
FRONT_TRIES, FRONT_SPEED, ENTRY_SECONDS = 1.5, 2.5e10, 4e-7
"""The same of the proof by a front, and what an entry of its matrix takes."""
TOO_LONG = 2.0
"""How many times what is left a proof may be expected to take: the guesses are rather too much."""


class Proof(Protocol):
    """One way to prove the cases of a claim about a prepared graph."""

    def bytes_needed(self) -> int:
        """About how much memory it takes at its peak."""

    def seconds(self) -> float:
        """About how long the proof of one case takes, rather too much than too little."""

    def improve(self, case: Case, proposal: Multipliers) -> Scaling | None:
        """The scaling with the least proven value that starts from the proposal, or None where nothing is proven."""

    def holds(self, case: Case, scaling: Scaling) -> bool:
        """Whether the scaling is proven for every network of the enclosure."""


@dataclass(frozen=True, eq=False)
class Dense:
    """‖B‖ < 1 for the whole matrix, of any claim (docs/proof.md).

    Attributes
    ----------
    graph
        The prepared graph.
    signs
        The signs of its channels on a leaf, as `lower` takes them, or None.
    """

    graph: Graph
    signs: IntArray | None = None

    def bytes_needed(self) -> int:
        """Seven matrices of the size of [R; Y]."""
        height, width = self._shape
        return 56 * height * width

    def seconds(self) -> float:
        """A few Gram matrices and their factorisations."""
        height, width = self._shape
        small = min(height, width)
        if height > LARGE:
            return LARGE_TRIES * small * small * (max(height, width) + small / 3.0) / SPEED
        return TRIES * height * width * (height + small) / SPEED

    @cached_property
    def system(self) -> Interconnection[Enclosure]:
        """The enclosure of R and Y."""
        require(self.bytes_needed(), "the dense proof")
        height, width = self._shape
        with np.errstate(over="ignore", invalid="ignore"), threads_for(float(height) ** 2 * width):
            return lower(self.graph, NormwiseArithmetic(), self.signs)

    def improve(self, case: Case, proposal: Multipliers) -> Scaling | None:
        """Repairs the proposal until it is proven."""
        return repair(self.system, case, proposal)

    def holds(self, case: Case, scaling: Scaling) -> bool:
        """By one factorisation."""
        return holds(self.system, case, scaling)

    @property
    def _shape(self) -> tuple[int, int]:
        return rows(self.graph) + self.graph.output_size, channels(self.graph) + self.graph.input_size


@dataclass(frozen=True, eq=False)
class Blocks:
    """The same layer by layer, of claims on ℓ2 to ℓ2 about scalar activations (docs/proof.md)."""

    system: BlockSystem

    def bytes_needed(self) -> int:
        """A few layers."""
        return self.system.bytes_needed()

    def seconds(self) -> float:
        """A few block factorisations."""
        return TRIES * self.system.operations() / SPEED

    def improve(self, case: Case, proposal: Multipliers) -> Scaling | None:
        """The proposal with a little room."""
        return prove_by_blocks(self.system, proposal)

    def holds(self, case: Case, scaling: Scaling) -> bool:
        """By one block factorisation."""
        return self.system.holds(scaling)


@dataclass(frozen=True, eq=False)
class Sweep:
    """The same along a front, of claims on ℓ2 to ℓ2 about networks without implicit layers (docs/proof.md)."""

    system: Front

    @cached_property
    def hopeless(self) -> bool:
        """Whether the entries of M alone do not fit into memory; then no order is looked for."""
        return self.system.system.least_bytes() > available()

    def bytes_needed(self) -> int:
        """A triangle of the front, and the entries of M."""
        return self.system.system.least_bytes() if self.hopeless else self.system.bytes_needed()

    def seconds(self) -> float:
        """A factorisation or two, and what it takes to make the matrix."""
        if self.hopeless:
            return float("inf")
        return FRONT_TRIES * (self.system.operations() / FRONT_SPEED + ENTRY_SECONDS * self.system.graph.entries)

    def improve(self, case: Case, proposal: Multipliers) -> Scaling | None:
        """The proposal with a little room."""
        return prove_by_front(self.system, proposal)

    def holds(self, case: Case, scaling: Scaling) -> bool:
        """By one factorisation, of groups that preserve a sum by a few."""
        return self.system.holds(scaling)


class Proofs:
    """The proofs that a claim about a prepared graph can have, in the order in which they are tried.

    Where the dense one takes long the sparse one comes first; else it comes where the dense one is weak: the rounding of R,
    which it does not form, may decide. Where the sparse proof gives room for what groups preserve, the dense one, which does
    not, goes first as long as time and memory allow.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> from lipcert.graph.claim import Claim
    >>> proofs = Proofs(nn.sequential(nn.linear([[2.0]]), nn.relu()), Claim())
    >>> [type(proof).__name__ for proof in proofs.order], proofs.sizes(proofs.cases[0])
    (['Dense', 'Sweep'], (1, 1, None))
    """

    def __init__(self, graph: Graph, claim: Claim, signs: IntArray | None = None) -> None:
        self.graph = graph
        self.claim = claim
        self.signs = signs
        self.cases = claim.cases(graph.input_size, graph.output_size)
        self.dense = Dense(graph, signs)
        self.large = rows(graph) + graph.output_size > LARGE

    @cached_property
    def sparse(self) -> Blocks | Sweep | None:
        """The sparse proof that applies: a front has the layers one by one among its orders."""
        if not self.claim.euclidean or self.signs is not None:
            return None
        system = SparseSystem.of(self.graph)
        if system is not None:
            return Sweep(Front(system))
        blocks = BlockSystem.of(self.graph)
        return None if blocks is None else Blocks(blocks)

    @cached_property
    def order(self) -> list[Proof]:
        """All of them, in order; those that do not fit into memory last."""
        sparse = self.sparse
        if sparse is None:
            return [self.dense]
        patient = self.dense.seconds() <= max(PATIENCE, sparse.seconds())
        exact = not (isinstance(sparse, Sweep) and sparse.system.equations)
        soon = not self.large and self.dense.seconds() <= max(SOON, sparse.seconds())
        if soon or (patient and not exact):
            wanted: list[Proof] = [self.dense, sparse]
        else:
            wanted = [sparse, self.dense]
        free = available()
        return sorted(wanted, key=lambda proof: proof.bytes_needed() > free) if self.large else wanted

    @property
    def first(self) -> Proof:
        """The proof that is tried first; where that is clear, the others are not made."""
        return self.dense if not self.large and self.dense.seconds() <= SOON else self.order[0]

    def sizes(self, case: Case) -> tuple[int, int, int | None]:
        """How many numbers d, m and n the scaling of a case has."""
        given = 0 if self.signs is None else int(np.count_nonzero(self.signs))
        return groups(self.graph) - given, case.parts, case.weights

    def require_memory(self) -> None:
        """Raise where the first of them does not fit into memory.

        Raises
        ------
        NotEnoughMemory
            With what it would take.
        """
        require(self.first.bytes_needed(), "the dense proof" if self.first is self.dense else "the proof")

    def improve(self, case: Case, proposal: Multipliers, *, briefly: bool = False) -> Scaling | None:
        """The least proven scaling that the proofs find, or None; the next one is asked where one is weak.

        Briefly, or where it would take far longer than what is left of a time limit, it is not.
        """
        best = self.first.improve(case, proposal)
        if briefly or (best is not None and (self.large or not _is_weak(best, proposal))):
            return best
        for proof in (proof for proof in self.order if proof is not self.first):
            if proof.seconds() > TOO_LONG * budget.left():
                continue
            other = proof.improve(case, proposal)
            if best is None or (other is not None and other.value() < best.value()):
                best = other
        return best

    def holds(self, case: Case, scaling: Scaling) -> bool:
        """Whether one of the proofs shows the scaling."""
        first = self.first
        return first.holds(case, scaling) or any(
            proof.holds(case, scaling) for proof in self.order if proof is not first
        )


def _is_weak(scaling: Scaling, proposal: Multipliers) -> bool:
    """Whether a proof loses more than rounding of B explains."""
    with np.errstate(invalid="ignore"):
        claimed = float(np.sqrt(np.sum(proposal.mu))) * proposal.input_scale
    return not scaling.value() <= claimed * (1.0 + WEAK)
