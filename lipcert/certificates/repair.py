"""From any solver's multipliers to the smallest bound that can be proven with them.

Three steps, none of which is trusted; `holds` decides.

1. For given d the smallest common factor of m with ‖B‖² ≤ 1 − s follows from one Cholesky factorisation. With
   B = [B_v, B_x],

       (1 − s)I − B_vB_vᵀ − t B_xB_xᵀ ⪰ 0   ⟺   t ≤ 1/λ_max(L⁻¹B_xB_xᵀL⁻ᵀ),  LLᵀ = (1 − s)I − B_vB_vᵀ,

   and m may be divided by √t. s is what the proof loses to rounding.
2. Solvers return points on the wrong side of the cone, where B_v itself has norm one or more. Multiplying d by e^(tk) for
   the k-th layer from the end multiplies the blocks of B below the diagonal by e^(−t) or less: log ‖B‖ is convex in t and
   goes to −∞, so it decreases, and some t > 0 restores the cone of a feedforward network. The least value is convex in t.
3. Inside an implicit layer d follows the gradient of log ‖B_v‖ (docs/theory.md 5b) into the cone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpotrf

from lipcert import budget
from lipcert.certificates.claims import LARGEST, SMALLEST, Scaling, holds, scaled
from lipcert.certificates.contraction import loss
from lipcert.certificates.spectral import largest_eigenvalue
from lipcert.definite import gram, norm_bound, smaller_gram
from lipcert.rounding import UNIT
from lipcert.threads import threads_for

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.certificates.enclosure import Enclosure
    from lipcert.constraints.interconnection import Interconnection
    from lipcert.constraints.multipliers import Multipliers
    from lipcert.graph.claim import Case

_ROOM = (1.25, 2.0, 8.0, 64.0)
# a proof that loses no more than this against the least value of its d is good enough
_ENOUGH = 1e-7
# a claim this close above that value is one that the solver rounded
_ROUNDED = 1e-5

# rows from which the first proof is taken: another one costs more than it gains. The proposal is tried as it is first
_LARGE = 3000
_MORE = (2e-7, 1e-5, 1e-3)


def repair(system: Interconnection[Enclosure], case: Case, proposal: Multipliers) -> Scaling | None:
    """The scaling with the smallest proven value that starts from the proposal, or None where nothing is proven."""
    small, large = sorted((case.outputs.size + system.R.mid.shape[0], system.groups.channels + case.inputs.size))
    with threads_for(float(small) ** 2 * large):
        return _repaired(system, case, proposal)


def _repaired(system: Interconnection[Enclosure], case: Case, proposal: Multipliers) -> Scaling | None:
    if case.outputs.size + system.R.mid.shape[0] > _LARGE:
        first = _as_proposed(system, case, proposal)
        if first is not None:
            return first
    claimed = _positive(proposal)
    start = _lifted(system, case, claimed)
    best = _along_depth(system, case, start, claimed.value())
    if best is None and system.implicit:
        for factor in (1e-6, 1e-3, 1e-1):
            best = _along_depth(system, case, _into_cone(system, case, start, factor), claimed.value())
            if best is not None:
                break
    return best


def _as_proposed(system: Interconnection[Enclosure], case: Case, proposal: Multipliers) -> Scaling | None:
    """The scaling of the proposal itself with a little more room for the inputs, or None where that is not proven."""
    scaling = _positive(proposal)
    for room in _MORE:
        trial = replace(scaling, m=_within(scaling.m * (1.0 + room)))
        if holds(system, case, trial):
            return trial
    return None


def _along_depth(system: Interconnection[Enclosure], case: Case, start: Scaling, claimed: float) -> Scaling | None:
    """The best proven scaling over the shifts of step 2; one as good as what is claimed ends the search."""
    best: Scaling | None = None
    # below what the proof loses a shift changes nothing
    first = UNIT * max(system.R.mid.shape) ** 2
    for shift in (0.0, *(first * 4.0**k for k in range(30) if system.groups.count)):
        if shift and not budget.left():
            break
        found = _smallest_proven(system, case, _shifted(system, start, shift))
        if found is None:
            if best is not None:
                break
            continue
        proven, least = found
        if best is not None and proven.value() >= best.value():
            break
        best = proven
        large = case.outputs.size + system.R.mid.shape[0] > _LARGE
        good = max(least, min(claimed, least * (1.0 + _ROUNDED))) if shift == 0.0 else claimed
        if large or proven.value() <= good * (1.0 + _ENOUGH):
            break
    return best


def _smallest_proven(system: Interconnection[Enclosure], case: Case, scaling: Scaling) -> tuple[Scaling, float] | None:
    """For the d (and the ratios of m and n) of `scaling` the least proven scaling, and the least value without a proof."""
    least = _least(system, case, scaling, 0.0)
    if least is None:
        return None
    lost = loss(scaled(system, case, least))
    for room in _ROOM:
        trial = _least(system, case, least, room * lost)
        if trial is None:
            return None
        if holds(system, case, trial):
            return trial, least.value()
    return None


def _positive(proposal: Multipliers) -> Scaling:
    """The roots of the multipliers; those that are not positive are replaced by a small fraction of the smallest one."""

    def roots(x: Array) -> Array:
        good = np.isfinite(x) & (x > 0.0)
        floor = 1e-12 * float(x[good].min()) if good.any() else 1.0
        return np.sqrt(np.where(good, x, floor))

    d, m = roots(proposal.lam), roots(proposal.mu) * proposal.input_scale
    return Scaling(
        _within(d if proposal.scale is None else d * proposal.scale),
        _within(m),
        None if proposal.nu is None else _within(roots(proposal.nu)),
    )


def _lifted(system: Interconnection[Enclosure], case: Case, scaling: Scaling) -> Scaling:
    """d raised, from the last layer to the first, to where the diagonal of I − BᵀB is not negative on the channels.

    Only multipliers that cannot be right are touched, such as a zero on a neuron that reaches the output.
    """
    groups = system.groups
    if not groups.count or system.implicit:
        return scaling
    size = np.abs(scaled(system, case, scaling).mid[:, : groups.channels])
    raised = np.ones(groups.count)
    last = np.ones(case.outputs.size)
    for layer in np.unique(groups.layer)[::-1]:
        (chosen,) = np.nonzero(groups.layer[groups.column] == layer)
        part = np.minimum(size[:, chosen] * np.concatenate([raised[groups.row], last])[:, None], LARGEST)
        largest = part.max(axis=0, initial=0.0)
        part /= np.where(largest > 0.0, largest, 1.0)
        needed = np.zeros(groups.count)
        np.maximum.at(needed, groups.column[chosen], largest * np.sqrt(np.einsum("ij,ij->j", part, part)))
        raised = np.where(needed > 1.0, needed * (1.0 + 1e-9), raised)
    return replace(scaling, d=_within(scaling.d * raised))


def _within(x: Array) -> Array:
    """x clipped to what `holds` accepts."""
    return np.clip(x, 2.0 * SMALLEST, 0.5 * LARGEST)


def _shifted(system: Interconnection[Enclosure], scaling: Scaling, shift: float) -> Scaling:
    """d multiplied by e^(shift·k) for the k-th layer from the end."""
    if shift == 0.0:
        return scaling
    layer = system.groups.layer
    power = np.exp(np.minimum(shift * (layer.max(initial=0) - layer + 1.0), 600.0))
    return replace(scaling, d=_within(scaling.d * power))


def _least(system: Interconnection[Enclosure], case: Case, scaling: Scaling, slack: float) -> Scaling | None:
    """The least common factor of m for which ‖B‖² ≤ 1 − slack, as far as floating point says (step 1)."""
    b = scaled(system, case, scaling)
    if not np.isfinite(b.mid).all() or not slack < 1.0:
        return None
    channels = system.groups.channels
    b_v, b_x = b.mid[:, :channels], b.mid[:, channels:]
    rest = gram(b_v)
    np.negative(rest, out=rest)
    rest[np.diag_indices_from(rest)] += 1.0 - slack
    factor, info = dpotrf(rest, lower=True, overwrite_a=True)
    if info != 0:
        return None
    half = solve_triangular(factor, b_x, lower=True, check_finite=False)
    # a bound may be far from the first guess
    unit = float(np.abs(half).max(initial=0.0)) or 1.0
    if not np.isfinite(unit):
        return None
    half /= unit
    top = largest_eigenvalue(smaller_gram(half))
    # where rounding outweighs the entries, their radius decides
    spread = 0.0 if b.rad is None else 4.0 * norm_bound(b.rad[:, channels:])
    return replace(scaling, m=np.clip(scaling.m * max(unit * np.sqrt(top), spread), SMALLEST * 2.0**80, LARGEST))


def _into_cone(system: Interconnection[Enclosure], case: Case, scaling: Scaling, depth: float) -> Scaling:
    """d moved by Polyak steps on log ‖B_v‖ towards ‖B_v‖ = e^(−depth), R alone (Y only sets the scale of d)."""
    groups = system.groups
    rows = system.R.mid.shape[0]
    d = scaling.d.copy()
    for _ in range(500):
        b = scaled(system, case, replace(scaling, d=d)).mid[:rows, : groups.channels]
        if not b.size or not np.isfinite(b).all():
            break
        left, sigma, right = np.linalg.svd(b)
        excess = np.log(sigma[0]) + depth
        if not excess > 0.0:
            break
        slope = np.bincount(groups.row, left[:, 0] ** 2, groups.count)
        slope -= np.bincount(groups.column, right[0] ** 2, groups.count)
        length = float(slope @ slope)
        if length <= 1e-24:
            break
        d = d * np.exp(-np.clip(excess / length * slope, -5.0, 5.0))
    # Y is held back by d as a whole: raise it until Y takes half of what R leaves
    b = scaled(system, case, replace(scaling, d=d)).mid[:, : groups.channels]
    if np.isfinite(b).all() and b.size:
        room = 1.0 - float(np.linalg.norm(b[:rows], 2)) ** 2
        if room > 0.0:
            d = d * max(1.0, float(np.linalg.norm(b[rows:], 2)) / np.sqrt(0.5 * room))
    return replace(scaling, d=_within(d))
