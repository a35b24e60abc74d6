"""The scalings that prove a claim; the step that both proof and verification share.

A scaling is a set of positive numbers: d_g a multiplier group, m_p an input part, n_i an output. If

    B = diag(d_in, 1/n) [R; Y] diag(1/d_out, 1/m),      ‖B‖₂ < 1                                  (docs/theory.md 5b)

then Σ_g d_g²(‖(QΔz)_g‖² − ‖Δv_g‖²) ≥ 0 gives Σ_i (Δy_i/n_i)² ≤ Σ_p m_p²‖Δx_p‖², and with it the bound of docs/theory.md 4.
The scalings are exact by definition: lam_g = d_g², mu_p = m_p², nu_i = n_i².
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from lipcert.certificates.contraction import is_contraction
from lipcert.certificates.enclosure import Enclosure
from lipcert.rounding import TINY, UNIT, gamma

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.constraints.interconnection import Interconnection
    from lipcert.graph.claim import Case

# scalings outside this range are refused
SMALLEST, LARGEST = 2.0**-960, 2.0**960
# the smallest bound that is claimed
LEAST = 2.0**-1000


@dataclass(frozen=True, eq=False)
class Scaling:
    """Positive numbers: `d` (groups,), `m` (1,) or (inputs,) for ℓ∞, `n` (outputs,) for the output norm ℓ1, else None."""

    d: Array
    m: Array
    n: Array | None = None

    @property
    def sizes(self) -> tuple[int, int, int | None]:
        """How many numbers d, m and n there are."""
        return self.d.size, self.m.size, None if self.n is None else self.n.size

    def value(self) -> float:
        """The bound that the scaling stands for, rounded up: ‖m‖₂, times ‖n‖₂ for the output norm ℓ1."""
        value = _norm_up(self.m)
        if self.n is not None:
            value *= _norm_up(self.n)
        # the product may underflow
        return max(value * (1.0 + 4.0 * UNIT), LEAST)


@dataclass(frozen=True)
class Entries:
    """That the entries of the Jacobian on the region prove a program: they take nothing but the network and the region.

    Attributes
    ----------
    bound
        The value that they prove.
    """

    bound: float

    def value(self) -> float:
        """The bound that it stands for."""
        return self.bound


Evidence: TypeAlias = Scaling | Entries
"""What proves one program."""


def stacked(system: Interconnection[Enclosure], case: Case) -> Enclosure:
    """[R; Y] for the rows and inputs of a case, as fresh arrays."""
    channels = system.groups.channels
    everything = case.inputs.size == system.inputs and case.outputs.size == system.Y.mid.shape[0]
    columns = np.concatenate([np.arange(channels), channels + case.inputs])

    def part(r: Array, y: Array) -> Array:
        if everything:
            return np.vstack([r, y])
        return np.vstack([r[:, columns], y[np.ix_(case.outputs, columns)]])

    mid = part(system.R.mid, system.Y.mid)
    if system.R.rad is None and system.Y.rad is None:
        return Enclosure(mid)
    return Enclosure(mid, part(system.R.radius(), system.Y.radius()))


def scaled(system: Interconnection[Enclosure], case: Case, scaling: Scaling) -> Enclosure:
    """B of the case as an enclosure.

    An entry takes three roundings (1/n, product, quotient). A product that underflows is off by 2⁻¹⁰²² before it is
    divided by its column, hence the last term of the radius.
    """
    a = stacked(system, case)
    groups = system.groups
    last = np.ones(case.outputs.size) if scaling.n is None else 1.0 / scaling.n
    rows = np.concatenate([scaling.d[groups.row], last])[:, None]
    columns = np.concatenate([scaling.d[groups.column], np.broadcast_to(scaling.m, case.inputs.size)])
    mid, spread = a.mid, a.rad
    with np.errstate(over="ignore", invalid="ignore"):
        mid *= rows
        mid /= columns
        rad = np.abs(mid)
        rad *= gamma(4)
        if spread is not None:
            spread *= rows
            spread /= columns
            spread *= 1.0 + gamma(8)
            rad += spread
        rad += TINY * (1.0 + 1.0 / columns)
    return Enclosure(mid, rad)


def holds(system: Interconnection[Enclosure], case: Case, scaling: Scaling) -> bool:
    """Whether the scaling is proven: its numbers are positive and far from over- and underflow, and ‖B‖₂ < 1 for
    everything in the enclosure."""
    numbers = [scaling.d, scaling.m] + ([] if scaling.n is None else [scaling.n])
    if not all(np.all((x >= SMALLEST) & (x <= LARGEST)) for x in numbers):
        return False
    return is_contraction(scaled(system, case, scaling))


def _norm_up(x: Array) -> float:
    """‖x‖₂ rounded up, without overflow."""
    largest = float(x.max(initial=0.0))
    if largest == 0.0 or not np.isfinite(largest):
        return largest
    ratio = x / largest
    return float(np.sqrt(np.sum(ratio * ratio)) * (1.0 + 2.0 * gamma(x.size + 8))) * largest
