"""Optimal diagonal scaling without matrices: a spectral bundle method for (C) (docs/theory.md 5b).

For fixed multipliers lam the least rho with M(lam, rho) ⪰ 0 is a convex function rho(lam), infinite outside a cone. Its
value needs the smallest eigenvalues of M alone, found by products with R, Y and their transposes (`Operator`). Any
subspace U gives the lower model

    rho_U(lam) = min rho  subject to  Uᵀ M(lam, rho) U ⪰ 0,

and one step minimises rho_U(lam) + ½‖lam − centre‖² in a metric, a small semidefinite program whose dual variable W
makes U W Uᵀ an estimate of the Gram matrix X of a worst-case increment. The next U holds the leading part of the
old one and the eigenvectors found at the new point; the rest of X goes on as one aggregate cut (the spectral bundle
method of Helmberg and Rendl, SIAM J. Optim. 2000). All is done in the coordinates of the centre, where M = I − BᵀB and
one tied multiplier is lam·(1 + δ). Multipliers tied per layer come first, then per channel, then per neuron; the model
goes on from tie to tie. The rank of X was two to twelve on most networks, so U has few columns; where trial points lie far
outside again and again, as between orthogonal layers, whose eigenvalues cluster at zero, it keeps what it meets.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from lipcert.constraints.multipliers import Tie, tie_groups
from lipcert.sdp.outcome import Outcome, SolverOptions, Status
from lipcert.sdp.solvers.bundle import Bundle
from lipcert.sdp.solvers.davidson import SMALLEST, Evaluator, Point, Space

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray
    from lipcert.constraints.operator import Operator

# the finer ties start from the coarser ones, which stop at this predicted relative decrease of rho or part of the time
_STAGES = {
    Tie.NETWORK: (),
    Tie.LAYER: (),
    Tie.CHANNEL: ((Tie.LAYER, 1e-2, 0.2),),
    Tie.NEURON: ((Tie.LAYER, 1e-2, 0.15), (Tie.CHANNEL, 3e-2, 0.5)),
}
# power iterations for the norm of a layer's columns, from a random vector and from that for another c
_POWERS, _MORE_POWERS = 12, 4
# how far points are eased that a longer search refutes
_EASES = (0.0, *np.geomspace(1e-9, 1e-3, 13))
# the same of multipliers that are known beforehand
_KNOWN_EASES = (1e-3, 1e-1)
# how often the model goes on after that
_RESUMED = 2
# the largest step size, which shows all that a model promises
_LONGEST = 1e4
# the gap of an optimum, in tolerances
_CLOSED = 10.0
# step sizes of the models that are asked for increments at the end
_LOOKS = (1.0, 1e2)
# the parts of a time limit at which one begins to settle on the last point, and ends, before a look at the gap
_SETTLING, _SETTLED = 0.9, 0.97


@dataclass
class _Progress:
    """Where a solve stands, the best point so far, and the last few that were the best."""

    options: SolverOptions
    started: float
    variable: IntArray
    best: Point | None = None
    iterations: int = 0
    last: float = 0.0
    accepted: list[Point] = field(default_factory=list)
    reason: str = ""
    attained: float | None = None

    def stalled(self, reason: str) -> Status:
        """The status, with a reason for the report."""
        self.reason = f"{reason} (iteration {self.iterations})"
        return Status.STALLED

    def accept(self, point: Point) -> None:
        self.best = point
        self.accepted = [*self.accepted[-5:], point]

    def attain(self, bundle: Bundle, w: Array) -> None:
        """Take note of what the increments of the model's Gram matrix attain: no rho is less."""
        found = bundle.attained(w, self.variable)
        if found is not None and np.isfinite(found):
            self.attained = found if self.attained is None else max(self.attained, found)

    @property
    def gap(self) -> float | None:
        """Of the best point, relative to rho, or None where nobody knows."""
        return None if self.attained is None else max(0.0, 1.0 - self.attained / self.rho)

    def is_closed(self, tolerance: float) -> bool:
        """Whether the best point is optimal; where nobody knows the gap, what the model promises decides."""
        return self.gap is None or self.gap <= _CLOSED * tolerance

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started

    @property
    def rho(self) -> float:
        """Of the best point, with room for rounding."""
        assert self.best is not None
        return self.best.rho * (1.0 + 1e-7)

    def y(self) -> Array:
        """The best point as in `Outcome`."""
        assert self.best is not None
        tied = np.ones(int(self.variable.max(initial=-1)) + 1)
        tied[self.variable] = self.best.lam
        return np.append(tied, self.rho)

    def report(self, stage: str, predicted: float | None = None) -> None:
        self.iterations += 1
        if self.seconds - self.last >= 0.1:
            self.last = self.seconds
            self.options.tell(stage, self.iterations, self.seconds, bound=float(np.sqrt(self.rho)), point=self.y)


def _improve(bundle: Bundle, tie: Tie, run: _Progress, tolerance: float) -> Status:
    """Bundle steps for one tie until the predicted relative decrease of rho falls below `tolerance`."""
    evaluator = bundle.evaluator
    limit = run.options.max_iterations
    tau = 0.3
    while True:
        delta, predicted, w = bundle.step(tau)
        if predicted < -tolerance:
            # the model refutes rho of the centre
            refuted = bundle.centre
            bundle.centre = _settle(evaluator, run, bundle.space)
            # what the rounding of one small program refutes, that of another step size may not
            tau *= 10.0 if bundle.centre.rho <= refuted.rho else 1.0
            if tau > 10.0 * _LONGEST:
                return run.stalled("the model refutes a point that no search for eigenvectors refutes")
            if evaluator.late:
                return Status.TIME_LIMIT
            bundle.prepare()
            continue
        if not np.isfinite(delta).all() or tau < 1e-6:
            return run.stalled("no step improves on the best point")
        if predicted < tolerance * min(1.0, tau) or bundle.centre.rho <= SMALLEST:
            run.attain(bundle, w)
            closed = bundle.count <= int(run.variable.max(initial=-1)) or run.is_closed(tolerance)
            if (closed and not bundle.crowded) or tau >= _LONGEST or bundle.centre.rho <= SMALLEST:
                return Status.OPTIMAL
            tau *= 10.0
            continue
        centre = bundle.centre
        trial, length = _along(bundle, delta, predicted)
        aim = length * predicted
        ratio = (1.0 - trial.rho / centre.rho) / aim
        if length < 1.0:
            tau *= 0.6
        bundle.absorb(w, trial.space, ratio)
        if trial.exact and ratio >= 0.1:
            bundle.centre = trial
            run.accept(trial)
            if ratio > 0.5:
                tau = min((3.0 if ratio > 0.9 else 2.0) * tau, _LONGEST)
        elif ratio < -1.0:
            # hardly: a model that has learnt from the trial point serves better than a short step
            tau *= 0.95
        run.report(f"scaling per {tie.value}", predicted)
        if evaluator.late:
            return Status.TIME_LIMIT
        if limit is not None and run.iterations >= limit:
            return Status.ITERATION_LIMIT
        bundle.prepare()


def _along(bundle: Bundle, delta: Array, predicted: float) -> tuple[Point, float]:
    """A point along the step, and at which part of it.

    rho may be infinite at the end of the step: then nearer to the centre, by convexity no worse relative to the step.
    """
    centre, evaluator = bundle.centre, bundle.evaluator
    length, space = 1.0, bundle.space
    while True:
        aim = length * predicted
        trial = evaluator.least(
            centre.lam * np.clip(1.0 + length * delta, 0.3, 3.0)[bundle.variable],
            centre.rho * max(1.0 - aim, 0.05),
            space.joined(centre.space),
            max(1e-6, min(1e-3, 0.1 * aim)),
            enough=centre.rho * (1.0 - 0.1 * aim),
        )
        if np.isfinite(trial.rho) or length < 0.2:
            return trial, length
        length *= 0.5
        space = trial.space


def _settle(evaluator: Evaluator, run: _Progress, against: Space) -> Point:
    """The best point, searched for longer, eased as much as it takes to survive; it becomes the best.

    Where eigenvalues cluster, a search can miss the smallest one, and the point lies outside by what it was searched to.
    Factors (1 + e)^(layers − k) on the multipliers of layer k bring it inside: B, from layer to later layer, shrinks by
    (1 + e)^−½ at least, so that e need only exceed what M lacks. Implicit layers feed themselves and gain nothing; then
    the last point before that survives is the best. Who is late takes the first point that a short search does not refute.
    """
    assert run.best is not None
    best, groups = run.best, evaluator.operator.groups
    depth = int(groups.layer.max(initial=-1)) + 1
    for ease in _EASES:
        lam, rho = best.lam * (1.0 + ease) ** (depth - groups.layer), best.rho * (1.0 + ease) ** (depth + 1)
        found = evaluator.least(lam, rho, best.space.joined(against), 1e-8)
        settled = found.exact and found.rho <= rho * (1.0 + 1e-7)
        if settled or (evaluator.late and np.isfinite(found.rho)):
            run.accept(found if settled else replace(found, rho=max(rho, found.rho)))
            return run.accepted[-1]
        against = found.space
    while True:
        point = run.accepted.pop()
        found = evaluator.least(point.lam, point.rho, point.space.joined(against), 1e-8)
        if not run.accepted or found.rho <= run.accepted[-1].rho:
            run.accept(found if np.isfinite(found.rho) else point)
            return run.accepted[-1]
        against = found.space


def _finish(bundle: Bundle, tie: Tie, run: _Progress, tolerance: float, status: Status, end: float) -> Status:
    """Settle on a point until the end; where that cost something, what refuted it joins the model, which goes on."""
    evaluator, deadline = bundle.evaluator, bundle.evaluator.deadline
    for left in reversed(range(_RESUMED + 1)):
        assert run.best is not None
        rho, evaluator.deadline = run.best.rho, end
        point = _settle(evaluator, run, bundle.space)
        if not left or status is not Status.OPTIMAL or point.rho <= rho * (1.0 + 0.3 * tolerance):
            break
        evaluator.deadline = deadline
        bundle.recentre(point)
        status = _improve(bundle, tie, run, tolerance)
    return status


def _measured(bundle: Bundle, run: _Progress, tolerance: float, status: Status) -> Status:
    """The status after a last look at the gap: 'optimal' only where that is closed."""
    assert run.best is not None
    if not run.is_closed(tolerance) or run.gap is None:
        bundle.recentre(run.best)
        for tau in _LOOKS:
            run.attain(bundle, bundle.step(tau)[2])
            if bundle.evaluator.late:
                break
    if status is Status.OPTIMAL and not run.is_closed(tolerance):
        return run.stalled(f"no step improves on the best point, and a gap of {run.gap:.1e} is left")
    return status


def _start(evaluator: Evaluator) -> Point | None:
    """A feasible point with one lam a layer, or None.

    From the output to the input lam_k = c ‖diag(√lam_later, I) [R; Y]_k‖², [R; Y]_k the columns of layer k, and so for
    rho. Then every block of columns of B has norm² 1/c, so c ≥ layers + 1 is feasible for every feedforward network;
    usually c = 2 is.
    """
    op = evaluator.operator
    groups = op.groups
    layers = int(groups.layer.max(initial=-1)) + 1
    leading: dict[int, Array] = {}
    c = 1.2
    while c < 2.0 * layers + 4.0:
        lam, norm = np.ones(groups.count), 1.0
        for k in range(layers - 1, -2, -1):
            inputs = np.full(op.inputs, 1.0 if k < 0 else 0.0)
            mask = np.concatenate([groups.layer[groups.column] == k, inputs])[:, None]
            seen = np.where(groups.layer[groups.row] > k, lam[groups.row], 0.0)
            weights = np.concatenate([seen, np.ones(op.outputs)])[:, None]
            # the next c begins where the last one ended
            known = leading.get(k)
            v = evaluator.rng.standard_normal((op.shape[1], 1)) * mask if known is None else known
            found = 0.0
            for _ in range(_POWERS if known is None else _MORE_POWERS):
                v = op.adjoint(weights * (op @ v)) * mask
                found = float(np.linalg.norm(v))
                if found == 0.0:
                    break
                v /= found
            leading[k] = v
            norm = max(1.02 * c * found, 1e-12 * norm)
            if k >= 0:
                lam[groups.layer == k] = norm
        point = evaluator.least(lam, norm, None, 1e-3)
        if np.isfinite(point.rho) and (point.exact or evaluator.late):
            return point
        c = 1.5 * c
    return None


def solve(operator: Operator, tie: Tie, options: SolverOptions, known: Array | None = None) -> Outcome:
    """Minimise rho over the multipliers, ℓ2 to ℓ2, by products with the network alone.

    Parameters
    ----------
    operator
        The interconnection.
    tie
        Which multipliers are one variable.
    options
        `tolerance` is the predicted relative decrease of rho at which to stop, at least 1e-6. A `start` holds one lam a
        variable of the tie (and possibly rho).
    known
        Multipliers, one a group, to begin the coarsest tie with in place of a guess.

    Returns
    -------
    Outcome
        y holds one lam a variable of `tie_groups(operator.groups, tie)`, then rho; None where no feasible point was found,
        as may happen with implicit layers.

    Notes
    -----
    The point is feasible as far as Lanczos-type eigenvalues, which come from below, can tell: nothing is proven here. The
    gap is one to increments that reach what the multipliers allow (`Operator.attained`), from the model's Gram matrix.

    Examples
    --------
    >>> from lipcert.constraints.operator import Operator
    >>> from lipcert.graph import build as nn
    >>> operator = Operator(nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu(), nn.linear([[2.0]])))
    >>> round(solve(operator, Tie.NEURON, SolverOptions()).bound, 4)
    10.0
    """
    started = time.perf_counter()
    limit = np.inf if options.time_limit is None else options.time_limit
    deadline, end = started + _SETTLING * limit, started + _SETTLED * limit
    evaluator = Evaluator(operator, deadline)
    variable = tie_groups(operator.groups, tie)
    run = _Progress(options, started, variable)
    tolerance = max(options.tolerance, 1e-6)
    status = Status.OPTIMAL
    bundle: Bundle | None = None
    try:
        run.best = _given(evaluator, variable, options.start)
        last_stage = (tie, tolerance, 1.0)
        stages = (*_STAGES[tie], last_stage) if run.best is None else (last_stage,)
        if run.best is None:
            run.best = _eased(evaluator, known) or _start(evaluator)
        if run.best is None:
            return Outcome(
                None,
                Status.STALLED,
                np.inf,
                None,
                0,
                run.seconds,
                message="no scaling per layer makes the channels contract",
            )
        run.accept(run.best)
        run.report("start")
        begun = time.perf_counter()
        for stage, enough, share in stages if operator.groups.count else ():
            tied_to = tie_groups(operator.groups, stage)
            if stage is not tie and tied_to.max() == variable.max():
                continue
            evaluator.deadline = begun + share * max(0.0, deadline - begun)
            bundle = Bundle(evaluator, tied_to, run.best, bundle)
            status = _improve(bundle, stage, run, max(enough, tolerance))
            if status is Status.ITERATION_LIMIT or time.perf_counter() > deadline:
                break
        if bundle is not None:
            status = _finish(bundle, tie, run, tolerance, status, end)
            status = _measured(bundle, run, tolerance, status)
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    if run.best is None:
        return Outcome(None, status, np.inf, None, run.iterations, run.seconds)
    message = run.reason if status is Status.STALLED else ""
    return Outcome(run.y(), status, float(np.sqrt(run.rho)), run.gap, run.iterations, run.seconds, message=message)


def _given(evaluator: Evaluator, variable: IntArray, start: Array | None) -> Point | None:
    """The start of the caller, where it is feasible."""
    if start is None:
        return None
    count = int(variable.max(initial=-1)) + 1
    lam = start[:count][variable]
    rho = float(start[count]) if start.size > count and start[count] > 0.0 else float(lam.max(initial=1.0))
    if not (np.isfinite(lam).all() and (lam > 0.0).all() and np.isfinite(rho)):
        return None
    point = evaluator.least(lam, rho, None, 1e-4)
    return point if np.isfinite(point.rho) and point.exact else None


def _eased(evaluator: Evaluator, known: Array | None) -> Point | None:
    """Known multipliers, each layer's a little above those of the next, where that is feasible."""
    if known is None or not (np.isfinite(known).all() and (known > 0.0).all()):
        return None
    groups = evaluator.operator.groups
    ahead = int(groups.layer.max(initial=-1)) - groups.layer
    for ease in _KNOWN_EASES:
        point = evaluator.least(known * (1.0 + ease) ** ahead, float(known.max(initial=1.0)), None, 1e-3)
        # at the boundary eigenvalues cluster, and the least one is found slowly: the model goes on from what is known of it
        if np.isfinite(point.rho):
            return point
    return None


def initial_scaling(operator: Operator) -> Array | None:
    """Feasible multipliers, one a group, equal within a layer, from a few products; None where none were found.

    Examples
    --------
    >>> from lipcert.constraints.operator import Operator
    >>> from lipcert.graph import build as nn
    >>> operator = Operator(nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu(), nn.linear([[2.0]])))
    >>> bool((initial_scaling(operator) > 0).all())
    True
    """
    point = _start(Evaluator(operator))
    return None if point is None else point.lam
