"""Proof of a lower bound of one output on a region, from multipliers of the lifted program (docs/theory.md 10).

With forms q = Q u, y = Y u of u = [v; 1; x − c] and multipliers theta, nonnegative where the constraint is an inequality,

    y ≥ y − Σ_k theta_k g_k(u) = uᵀ M u       for every u that the network takes on the region,

and |u_j| ≤ r_j there. With ũ = u / r and M̃ = diag(r) M diag(r), M̃ − gamma e₀e₀ᵀ + delta I ⪰ 0 gives

    uᵀ M u ≥ gamma − delta ‖ũ‖² ≥ gamma − delta N.

What is proven by a Cholesky factorisation (Rump, BIT 2006; docs/proof.md) is the last matrix inequality for the computed
M̃; what separates M̃ from the true form is bounded entry by entry at |u| ≤ r:
the radii of Q and Y, the rounding of the sums over constraints, and that of the products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import lapack

from lipcert.certificates.enclosure import Enclosure, EnclosureArithmetic
from lipcert.constraints.interconnection import lower
from lipcert.constraints.lifted import ChannelConstraints
from lipcert.definite import cholesky_room, gram, norm_bound
from lipcert.errors import DoesNotApply
from lipcert.graph.homogeneous import homogeneous
from lipcert.graph.nodes import Activation
from lipcert.rounding import TINY, UNIT, gamma

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.graph.nodes import Graph
    from lipcert.rounding import Interval


@dataclass(frozen=True, eq=False)
class MarginSystem:
    """One output in absolute coordinates on a region.

    Attributes
    ----------
    Q, Y
        Enclosures (channels, N) and (1, N) over the columns [v; 1; x].
    reach
        (N,) proven upper bounds of |u_j| on the region; 1 for the constant.
    constraints
        Those of the channels.
    ball
        An upper bound on the squared radius of the Euclidean ball that x lies in.
    """

    Q: Enclosure
    Y: Enclosure
    reach: Array
    constraints: ChannelConstraints
    ball: float

    @property
    def channels(self) -> int:
        """Number of channels; the constant is the column behind them."""
        return self.Q.mid.shape[0]

    @classmethod
    def of(cls, graph: Graph, centre: Array, radius: float, on: Interval) -> MarginSystem:
        """The system of a network with one output on the ball ‖x − centre‖₂ ≤ radius.

        Parameters
        ----------
        graph
            A network whose activations are all moduli of one number.
        on
            (channels,) proven ranges of these numbers, in the order of the activations.

        Raises
        ------
        DoesNotApply
            If the network is not of this kind.
        """
        if not all(n.record.is_modulus(n.block) for _, n in graph.walk() if isinstance(n, Activation)):
            raise DoesNotApply("the lifted program is for activations that are moduli, such as ReLU and MaxMin")
        system = lower(homogeneous(graph, centre), EnclosureArithmetic())
        n = system.groups.channels
        if system.R.mid.shape[0] != n or system.groups.count != n or on.size != n or system.Y.mid.shape[0] != 1:
            raise DoesNotApply("the lifted program is for moduli of single numbers and one output at a time")
        if not on.bounded.all():
            raise DoesNotApply("the lifted program needs a finite range for every modulus")
        constraints = ChannelConstraints.of_moduli(on.low, on.high)
        forms, spread = _compressed(_joined(system.R, system.Y), n + 1, radius)
        reach = np.concatenate([constraints.size[2], [1.0], np.full(forms.mid.shape[1] - n - 1, spread)])
        parts = (slice(0, n), slice(n, n + 1))
        Q, Y = (Enclosure(forms.mid[k], None if forms.rad is None else forms.rad[k]) for k in parts)
        return cls(Q, Y, reach, constraints, float(np.nextafter(spread * spread, np.inf)))


def lower_bound(system: MarginSystem, theta: Array, ball: float) -> float:
    """A proven lower bound of the output on the region, −∞ where nothing is proven.

    Parameters
    ----------
    system
        What the output is.
    theta
        (families, channels); negative ones of inequalities are taken as zero.
    ball
        The multiplier of the ball, likewise.
    """
    constraints = system.constraints
    theta = np.where(constraints.free[:, None], theta, np.maximum(theta, 0.0))
    ball = max(ball, 0.0)
    if not (np.isfinite(theta).all() and np.isfinite(ball)):
        return -np.inf
    H = constraints.quadratic(theta)
    M = _form(system, H, ball)
    errors = (
        radius_error(system, H),
        sum_error(system, theta),
        product_error(system, H, ball),
    )
    found = _least(M, system.channels)
    if found is None or not np.isfinite(errors).all():
        return -np.inf
    value, delta = found
    return float(np.nextafter(value - (delta * M.shape[0] + sum(errors)) * (1.0 + 2.0**-40), -np.inf))


def _form(system: MarginSystem, H: Array, ball: float) -> Array:
    """M̃."""
    n = system.channels
    r = system.reach
    Q = system.Q.mid * r
    cross = 0.5 * system.Y.mid[0] * r
    cross -= H[0, 1] @ Q
    half = (0.5 * H[1, 1])[:, None] * Q
    half[:, :n] += H[1, 2][:, None] * np.diag(r[:n])
    M = -(Q.T @ half)
    M = M + M.T
    diagonal = np.diag_indices(n)
    M[diagonal] -= H[2, 2] * r[:n] ** 2
    M[:, n] += cross
    M[n, :] += cross
    linear = H[0, 2] * r[:n]
    M[:n, n] -= linear
    M[n, :n] -= linear
    M[n, n] -= float(np.sum(H[0, 0])) + ball * system.ball
    x = np.arange(n + 1, r.size)
    M[x, x] += ball * r[x] ** 2
    return M


def radius_error(system: MarginSystem, H: Array) -> float:
    """How much uᵀMu changes, at most, where Q and Y move within their radii."""
    _, q, v = system.constraints.size
    shift = system.Q.radius() @ system.reach
    H = np.abs(H)
    moved = shift * (H[1, 1] * (2.0 * q + shift) + 2.0 * (H[1, 2] * v + H[0, 1]))
    own = float((system.Y.radius() @ system.reach)[0])
    return (float(moved.sum()) + own) * (1.0 + 4.0 * gamma(system.reach.size + system.channels + 16)) + TINY


def sum_error(system: MarginSystem, theta: Array) -> float:
    """A bound on what the rounding of H changes: an entry is a sum of few products of three numbers."""
    return gamma(8 * len(theta) + 16) * float(system.constraints.magnitude(theta).sum()) + TINY


def product_error(system: MarginSystem, H: Array, ball: float) -> float:
    """A bound on what rounding between H and M̃ changes, |fl(AB) − AB| ≤ γ_k |A||B| at |u| ≤ r."""
    n, r = system.channels, system.reach
    q, v = np.abs(system.Q.mid) @ r, r[:n]
    H = np.abs(H)
    total = H[1, 1] * q**2 + 2.0 * H[1, 2] * q * v + H[2, 2] * v**2 + 2.0 * (H[0, 1] * q + H[0, 2] * v) + H[0, 0]
    whole = float(total.sum() + np.abs(system.Y.mid[0]) @ r)
    whole += ball * (system.ball + float(r[n + 1 :] @ r[n + 1 :]))
    return gamma(2 * r.size + 2 * n + 40) * whole * (1.0 + 2.0**-40) + TINY


def _least(M: Array, constant: int) -> tuple[float, float] | None:
    """gamma and delta with M̃ − gamma e e ᵀ + delta I ⪰ 0 proven, e the constant's unit vector."""
    N = M.shape[0]
    if not np.isfinite(M).all():
        return None
    others = np.delete(np.arange(N), constant)
    block, b = M[np.ix_(others, others)], M[others, constant]
    size = float(np.abs(np.diag(M)).sum())
    floor = cholesky_room(N, size) + 16.0 * UNIT * float(np.abs(M).max(initial=0.0))
    least = float(np.linalg.eigvalsh(block)[0]) if block.size else 0.0
    delta = max(4.0 * floor, -1.5 * least)
    for _ in range(12):
        shifted = block.copy()
        shifted[np.diag_indices_from(shifted)] += 0.5 * delta
        try:
            solved = np.linalg.solve(shifted, b)
        except np.linalg.LinAlgError:
            delta *= 4.0
            continue
        gamma_value = float(M[constant, constant] - b @ solved)
        gamma_value -= 1e-13 * (abs(gamma_value) + float(np.abs(b) @ np.abs(solved)))
        if np.isfinite(gamma_value) and _positive(M, constant, gamma_value, delta):
            return gamma_value, delta
        delta *= 4.0
    return None


def _positive(M: Array, constant: int, value: float, delta: float) -> bool:
    """Whether M̃ − value e eᵀ + delta I ⪰ 0 is proven."""
    A = M.copy(order="F")
    diagonal = np.diag_indices_from(A)
    A[constant, constant] -= value
    # every diagonal entry takes at most three more roundings
    largest = float(np.abs(A[diagonal]).max(initial=0.0)) + delta
    room = cholesky_room(A.shape[0], float((np.abs(A[diagonal]) + delta).sum())) + 8.0 * UNIT * (largest + abs(value))
    A[diagonal] += delta - room * (1.0 + 4.0 * UNIT)
    if not np.isfinite(A).all():
        return False
    _, info = lapack.dpotrf(A, lower=True, overwrite_a=True)
    return bool(info == 0)


def _joined(a: Enclosure, b: Enclosure) -> Enclosure:
    return Enclosure(np.vstack([a.mid, b.mid]), np.vstack([a.radius(), b.radius()]))


def _compressed(forms: Enclosure, first: int, radius: float) -> tuple[Enclosure, float]:
    """The forms over p = Vᵀ(x − c) in place of the inputs, and an upper bound of ‖p‖.

    V is an orthonormal basis of the rows up to rounding: with T = fl(A V) and E = A − T Vᵀ the true form A(x − c) differs
    from T p by at most ‖E_i‖ r, which goes into the radius of the constant's column; ‖p‖ ≤ ‖V‖ r.
    """
    A, rad = forms.mid[:, first:], forms.radius()[:, first:]
    if A.shape[1] <= A.shape[0]:
        return forms, float(np.nextafter(radius, np.inf))
    V = np.linalg.qr(A.T)[0]
    T = A @ V
    inner = A.shape[1]
    rest = np.abs(A - T @ V.T) + gamma(V.shape[1] + 4) * (np.abs(A) + np.abs(T) @ np.abs(V.T)) + rad + TINY
    lost = np.sqrt(np.einsum("ij,ij->i", rest, rest)) * (1.0 + 2.0 * gamma(inner + 16)) * radius
    G = gram(V.T)
    defect = np.tril(np.abs(G - np.eye(G.shape[0]))) + gamma(inner + 4) * (np.abs(V.T) @ np.abs(V))
    norm = np.sqrt(1.0 + norm_bound(np.maximum(defect, defect.T))) * (1.0 + 8.0 * UNIT)
    spread = forms.radius()[:, :first].copy()
    spread[:, first - 1] = (spread[:, first - 1] + lost) * (1.0 + 4.0 * UNIT) + TINY
    mid = np.hstack([forms.mid[:, :first], T])
    return Enclosure(mid, np.hstack([spread, np.zeros_like(T)])), float(np.nextafter(norm * radius, np.inf))
