"""LipSDP-NSR and its relatives: GroupSort and Householder by the constraints of Pauli et al. (arXiv 2401.14033)."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lipcert.bounds.methods import Job, Method, Proposal
from lipcert.bounds.published.common import activations, by_solver, euclidean, explicit
from lipcert.constraints.interconnection import lower
from lipcert.constraints.multipliers import Multipliers
from lipcert.constraints.quadratic import SUM_TERMS
from lipcert.errors import NotCertified
from lipcert.graph.claim import Claim
from lipcert.graph.published import published_constraints
from lipcert.sdp.outcome import Progress
from lipcert.sdp.problem import compress_inputs, subproblems
from lipcert.sdp.solvers.conic import BACKENDS, Backend, load_cvxpy, outer_products, run, status_of

if TYPE_CHECKING:
    import scipy.sparse as sp

    from lipcert.arrays import Array, IntArray
    from lipcert.graph.nodes import Graph

# beyond, rounding hides the rest of the published matrix
_LARGEST_FREE = 2.0**40

# within a block of the published form: the group that carries lam, and the group of the equality (gamma, nu, tau)
_FREE_GROUPS = {"sort": (0, 1), "householder": (1, 0)}


def _refuses(job: Job) -> str | None:
    return explicit(job.graph)


def _refuses_rr(job: Job) -> str | None:
    others = sorted({node.kind for node in activations(job.graph) if node.block > 1})
    if others:
        return f"it rewrites MaxMin pairs, and has nothing for {', '.join(others)}"
    return explicit(job.graph)


def _refuses_full(job: Job) -> str | None:
    return explicit(job.graph) or (euclidean(job) if job.solver in BACKENDS else None)


def propose_full(job: Job) -> Proposal:
    """lam, gamma, nu, tau of arXiv 2401.14033, certified by (C) at its lam.

    On increments that preserve the sums, 1ᵀΔw = 1ᵀΔz, the terms in gamma, nu and tau vanish. So the published matrix,
    restricted to these increments, is (C) with the same lam and rho: lam carries at least this bound in (C). Conversely,
    each strictly feasible point of (C) is one of the published program (`free_multipliers`). The infimum of the published
    program is therefore that of (C). It is not attained (nu = tau → ∞), and a conic solver that is given the
    published program stops short of it; its own value is only told, never a bound.
    """
    return _solve_published(job, BACKENDS[job.solver]) if job.solver in BACKENDS else _eliminate_sums(job)


def _eliminate_sums(job: Job) -> Proposal:
    """(C) at the paper's groups, and the nu and tau that belong to it."""
    proposal = by_solver(job, "lipsdp-nsr-full")
    if not job.claim.euclidean:
        return proposal
    case = proposal.cases[0].plain()
    job.tell(Progress("multipliers of the sums"))
    try:
        largest = float(free_multipliers(job.graph, case.lam, float(case.mu[0])).max(initial=0.0))
    except NotCertified as error:
        return replace(proposal, message=str(error))
    return replace(proposal, message=f"own value {np.sqrt(case.mu[0]):.9g} with nu = tau up to {largest:.3g}")


def free_multipliers(graph: Graph, lam: Array, rho: float) -> Array:
    """nu = tau of the published constraints that go with a strictly feasible point of (C).

    Let a = 1ᵀΔz/√g and b = 1ᵀΔw/√g (a, b without the root for pairs; NΔz and NΔw for Householder), and let gamma cancel
    what lam adds to their squares. The published matrix is then M₀ + Σ 2 nu (a − b)(a − b)ᵀ with nu counted on these a and
    b, and by (C) M₀ is positive definite where a = b. So such nu exist (Finsler's lemma), and are found by doubling.

    Parameters
    ----------
    graph
        The network as it is written.
    lam
        A multiplier for each group of its own normal form.
    rho
        The square of the bound.

    Returns
    -------
    array
        (groups,), 0 for groups without an equality.

    Raises
    ------
    NotCertified
        If no nu makes the published matrix positive definite in floating point.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> pair = nn.sequential(nn.linear([[1.0], [2.0]]), nn.maxmin(), nn.linear([[1.0, 0.0]]))
    >>> bool(free_multipliers(pair, np.array([0.7]), 4.9) > 0)
    True
    """
    problem = compress_inputs(next(subproblems(lower(published_constraints(graph)), Claim())))
    certified, equality = _published_groups(graph)
    has = equality >= 0
    y = np.zeros(problem.variables)
    y[certified], y[-1] = lam, rho
    fixed = problem.matrix(y)
    y[:] = 0.0
    y[equality[has]] = lam[has]
    rows, channels = np.flatnonzero(y[problem.row]), np.flatnonzero(y[problem.column])
    # the k-th row and the k-th channel of a group belong together
    rows = rows[np.argsort(problem.row[rows], kind="stable")]
    channels = channels[np.argsort(problem.column[channels], kind="stable")]
    difference = problem.R[rows]
    difference[np.arange(channels.size), channels] -= 1.0
    penalty = difference.T @ (y[problem.row[rows], None] * difference)
    nu = 1.0
    while nu < _LARGEST_FREE:
        matrix = fixed + 2.0 * nu * penalty
        root = 1.0 / np.sqrt(np.maximum(np.diag(matrix), np.finfo(float).tiny))
        try:
            np.linalg.cholesky(matrix * np.outer(root, root))
        except np.linalg.LinAlgError:
            nu *= 2.0
            continue
        return np.where(has, nu * lam, 0.0)
    raise NotCertified("the point is on the boundary of the published constraints", advice="use a larger tolerance")


def _solve_published(job: Job, backend: Backend) -> Proposal:
    """The published program as it stands, by a conic solver."""
    cp = load_cvxpy(backend)
    started = time.perf_counter()
    problem = compress_inputs(next(subproblems(lower(published_constraints(job.graph)), Claim())))
    certified, equality = _published_groups(job.graph)
    free = equality[equality >= 0]
    n, channels = problem.R.shape[1], problem.channels
    product = job.prepared.product
    scale = product.value if product is not None and product.value > 0 else 1.0

    def sums(columns: Array, groups: IntArray, chosen: IntArray) -> sp.csr_array:
        """Σ c cᵀ over the columns whose group is chosen, one matrix a group."""
        number = np.full(problem.multipliers + 1, -1)
        number[chosen] = np.arange(chosen.size)
        kept = number[groups] >= 0
        return outer_products(columns[:, kept], number[groups[kept]], chosen.size)

    v, column, z, row = np.eye(n)[:, :channels], problem.column[:channels], problem.R.T, problem.row
    lam, rho = cp.Variable(certified.size, nonneg=True), cp.Variable()
    constant = (problem.Y.T @ problem.Y).ravel() / scale**2
    inputs = np.diag(np.arange(n) >= channels).astype(np.float64).ravel()
    total = inputs * rho - constant + (sums(v, column, certified) - sums(z, row, certified)) @ lam
    if free.size:
        order_v, order_z = np.argsort(column, kind="stable"), np.argsort(row, kind="stable")
        order_v, order_z = order_v[np.isin(column[order_v], free)], order_z[np.isin(row[order_z], free)]
        zz, ww = sums(z, row, free), sums(v, column, free)
        both = sums(z[:, order_z] + v[:, order_v], row[order_z], free)
        gamma = [cp.Variable(free.size) for _ in range(3)]
        for products, coefficients in zip((zz, both - zz - ww, ww), SUM_TERMS, strict=True):
            total = total - products @ sum(c * x for c, x in zip(coefficients, gamma, strict=True) if c)
    program = cp.Problem(cp.Minimize(rho), [cp.reshape(total, (n, n), order="F") >> 0])
    job.options.tell(f"{backend.name} is solving", 0, time.perf_counter() - started)
    message = run(cp, program, backend, job.options)[1]
    if rho.value is None or lam.value is None or not np.isfinite(rho.value):
        raise NotCertified(f"lipsdp-nsr-full found no multipliers ({message})", advice="use --solver native")
    value = float(np.sqrt(max(float(rho.value), 0.0))) * scale
    case = Multipliers(np.asarray(lam.value) * scale**2, np.array([value**2]))
    status = status_of(cp, program.status, job.options, time.perf_counter() - started)
    steps = int(getattr(program.solver_stats, "num_iters", None) or 0) if program.solver_stats else 0
    message = f"own value {value:.9g}"
    return Proposal((case,), "lipsdp-nsr-full", backend.name, status, None, steps, message=message, claim=value)


def _published_groups(graph: Graph) -> tuple[IntArray, IntArray]:
    """For each group of the graph: the group of the published form that carries lam, and that of the equality or −1."""
    certified, equality, at = [], [], 0
    for node in activations(graph):
        count = node.normal_form.groups
        own = np.arange(node.blocks)
        if node.kind in _FREE_GROUPS and node.block > 1:
            carries, free = _FREE_GROUPS[node.kind]
            certified.append(at + 2 * own + carries)
            equality.append(at + 2 * own + free)
            at += 2 * node.blocks
        else:
            certified.append(at + np.arange(node.blocks * count))
            equality.append(np.full(node.blocks * count, -1))
            at += node.blocks * count
    none = np.zeros(0, dtype=np.int64)
    return np.concatenate([none, *certified]), np.concatenate([none, *equality])


_PAULI = "Pauli et al., ICLR 2024 (arXiv 2401.14033)"

RECORDS = (
    Method(
        "lipsdp-nsr",
        "GroupSort and Householder constraints with P = S = 0",
        _PAULI,
        partial(by_solver, name="lipsdp-nsr"),
        _refuses,
        "published",
    ),
    Method(
        "lipsdp-nsr-full",
        "the same with lam, gamma, nu and tau; a conic solver gets the published program as it stands",
        _PAULI,
        propose_full,
        _refuses_full,
        "written",
    ),
    Method(
        "lipsdp-rr",
        "LipSDP with MaxMin written as residual ReLU",
        f"Fazlyab et al., NeurIPS 2019 (arXiv 1906.04893); {_PAULI}",
        partial(by_solver, name="lipsdp-rr"),
        _refuses_rr,
        "residual-relu",
    ),
)
