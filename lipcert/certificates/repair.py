"""From any solver's multipliers to the smallest bound that can be proven with them.

Solvers return points on the wrong side of the cone, or so close to it that rounding decides. For given group scalings d the
smallest common factor of m with ‖B‖₂ ≤ 1 follows from one Cholesky factorisation: with B = [B_v, B_x],

    I − B_vB_vᵀ − t B_xB_xᵀ ⪰ 0   ⟺   t ≤ 1/λ_max(L⁻¹B_xB_xᵀL⁻ᵀ),  LLᵀ = I − B_vB_vᵀ,

and m may be divided by √t. This is only a proposal; `holds` decides, and a growing margin is added until it does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigh, solve_triangular
from scipy.linalg.lapack import dpotrf

from lipcert.certificates.claims import Case, Scaling, holds, scaled

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.certificates.enclosure import Enclosure
    from lipcert.constraints.interconnection import Interconnection
    from lipcert.constraints.multipliers import Multipliers

# relative margins on the bound that are tried one after the other
_MARGINS = (1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def repair(system: Interconnection[Enclosure], case: Case, proposal: Multipliers) -> Scaling | None:
    """The scaling with the smallest proven value that starts from the proposal, or None where nothing is proven."""
    start = _positive(proposal)
    if not np.abs(system.Y.mid[case.outputs]).any() and not system.Y.radius()[case.outputs].any():
        start = replace(start, m=np.full_like(start.m, np.finfo(float).tiny))
    best: Scaling | None = None
    for slack in (0.0, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2):
        least = _least(system, case, start, slack)
        if least is None:
            continue
        for margin in _MARGINS:
            if best is not None and least.value() * (1.0 + margin) >= best.value():
                break
            trial = replace(least, m=least.m * (1.0 + margin))
            if holds(system, case, trial):
                best = trial
                break
        if best is not None and best.value() <= least.value() * (1.0 + 2e-7):
            break
    return best


def _positive(proposal: Multipliers) -> Scaling:
    """The roots of the multipliers, those that are not positive replaced by a small fraction of the smallest one."""

    def roots(x: Array) -> Array:
        good = np.isfinite(x) & (x > 0.0)
        floor = 1e-3 * float(x[good].min()) if good.any() else 1.0
        return np.sqrt(np.where(good, x, max(floor, np.finfo(float).tiny)))

    return Scaling(roots(proposal.lam), roots(proposal.mu), None if proposal.nu is None else roots(proposal.nu))


def _least(system: Interconnection[Enclosure], case: Case, scaling: Scaling, slack: float) -> Scaling | None:
    """The scaling with the smallest common factor of m for which ‖B‖² ≤ 1 − slack holds, as far as floating point says."""
    b = scaled(system, case, scaling).mid
    if not np.isfinite(b).all():
        return None
    channels = system.groups.channels
    b_v, b_x = b[:, :channels], b[:, channels:]
    rest = (1.0 - slack) * np.eye(b.shape[0]) - b_v @ b_v.T
    factor, info = dpotrf(rest, lower=True)
    if info != 0:
        return None
    if b_x.shape[1] > b_x.shape[0]:
        b_x = np.asarray(np.linalg.qr(b_x.T, mode="r")).T
    half = solve_triangular(factor, b_x, lower=True)
    gram = half.T @ half
    size = gram.shape[0]
    if not np.isfinite(gram).all():
        return None
    top = float(eigh(gram, eigvals_only=True, subset_by_index=(size - 1, size - 1))[0])
    if top <= 0.0:
        return scaling
    return replace(scaling, m=scaling.m * np.sqrt(top))
