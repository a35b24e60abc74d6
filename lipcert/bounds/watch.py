"""What is proven while a solver is still at work, and progress that says so."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lipcert.certificates.claims import Entries
from lipcert.errors import NotCertified
from lipcert.sdp.outcome import Status

if TYPE_CHECKING:
    from lipcert.bounds.methods import Job, Proposal
    from lipcert.bounds.product import NormProduct
    from lipcert.certificates import Certificate
    from lipcert.sdp.outcome import Progress

SHARE = 0.1
"""The part of the solving time that proofs on the way may take."""
PATIENCE = 1.0
"""Seconds of solving before the first of them."""
WORTH = 1e-3
"""The relative improvement from which one is tried."""


@dataclass(frozen=True, eq=False)
class Proven:
    """A proven value, by a certificate or by the method itself."""

    proposal: Proposal
    certificate: Certificate | None
    value: float
    job: Job
    product: NormProduct | None = None
    notes: tuple[str, ...] = ()

    @property
    def settled(self) -> Proposal:
        """What the value rests on: the proposal, or the entries of the Jacobian where they decide."""
        item = None if self.certificate is None else self.certificate.decisive
        if not isinstance(item, Entries):
            return self.proposal
        return replace(
            self.proposal,
            method="jacobian",
            solver="none",
            status=Status.CLOSED_FORM,
            gap=None,
            iterations=None,
            claim=None,
            claims=(),
        )


class Watch:
    """Keeps the best bound that is proven so far, and proves points of a running solver now and then.

    Parameters
    ----------
    tell
        Receives every step of progress with what is proven by then, or None.
    clock
        The time in seconds.

    Attributes
    ----------
    value
        The best proven bound, or None.
    best
        What it was proven with, or None where nothing but the norm product is proven.

    Examples
    --------
    >>> from lipcert.sdp.outcome import Progress
    >>> watch = Watch(lambda step: print(step.stage, step.proven))
    >>> watch.note(5.0)
    >>> watch(Progress("search"))
    search 5.0
    """

    def __init__(
        self, tell: Callable[[Progress], None] | None = None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._tell = tell
        self._clock = clock
        self._begun: float | None = None
        self._spent = 0.0
        self._cost = 0.0
        self.value: float | None = None
        self.best: Proven | None = None

    def __call__(self, step: Progress) -> None:
        """Pass progress on."""
        if self._tell is not None:
            self._tell(replace(step, proven=self.value, point=None))

    def part(self, whole: str) -> Callable[[Progress], None] | None:
        """A receiver for a computation about a part, such as one output: what it says is proven is of that part.

        Its bound is left out, as curves over time are about the whole.
        """
        tell = self._tell
        return None if tell is None else within(lambda step: tell(replace(step, bound=None)), whole)

    def note(self, value: float) -> None:
        """Take note of a proven bound."""
        self.value = value if self.value is None else min(self.value, value)

    def keep(self, found: Proven) -> None:
        """Keep the result of a method, unless a better one is proven."""
        self.note(found.value)
        if self.best is None or found.value < self.best.value:
            self.best = found

    def ended(self, job: Job, proposal: Proposal) -> None:
        """Let the end of a solve stand for the points that were proven on its way."""
        if self.best is not None and self.best.job is job:
            self.best = replace(self.best, proposal=proposal)

    def offer(self, claim: float, cost: Callable[[], float], prove: Callable[[], Proven]) -> None:
        """Prove a point now, if that promises a better bound and takes little of the time so far.

        Parameters
        ----------
        claim
            The bound that the point stands for.
        cost
            Guesses the seconds that a proof takes, for the first one.
        prove
            Raises where the point cannot be proven; this is not worth a word.
        """
        began = self._clock()
        if self._begun is None:
            self._begun = began
        so_far = began - self._begun
        if so_far < PATIENCE or (self.value is not None and not claim < self.value * (1.0 - WORTH)):
            return
        expected = self._cost or cost()
        if self._spent + expected > SHARE * so_far:
            return
        found: Proven | None = None
        with suppress(NotCertified, MemoryError):
            found = prove()
        took = self._clock() - began
        self._spent += took
        # a proof may fail before it has begun, for want of memory
        self._cost = took if found is not None else max(took, expected)
        if found is not None and (self.value is None or found.value < self.value):
            self.keep(found)


def within(tell: Callable[[Progress], None] | None, whole: str) -> Callable[[Progress], None] | None:
    """A receiver for a part of a computation: its steps are named after the whole."""
    if tell is None:
        return None
    return lambda step: tell(replace(step, stage=f"{whole}: {step.stage}"))
