"""Methods under their published names, on the same interconnection, solvers and proof as our own.

Whatever a method computes, it ends in multipliers of (C) for some form of the network, and the proof finds the smallest
bound that these multipliers carry. The number that the method itself would report is kept in the proposal's message.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lipcert.bounds.methods import Job, Method, Proposal, solve_tied
from lipcert.bounds.watch import within
from lipcert.constraints.interconnection import lower
from lipcert.constraints.multipliers import Multipliers, Tie
from lipcert.constraints.quadratic import SUM_TERMS
from lipcert.errors import NotCertified
from lipcert.graph.claim import Claim
from lipcert.graph.linear_maps import Dense
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, GraphBuilder
from lipcert.graph.published import published_constraints
from lipcert.norms import Norm
from lipcert.sdp.outcome import Progress, SolverOptions, Status
from lipcert.sdp.problem import compress_inputs, subproblems
from lipcert.sdp.solvers import get_solver
from lipcert.sdp.solvers.conic import BACKENDS, Backend, load_cvxpy, outer_products, run, status_of

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray
    from lipcert.sdp.outcome import Solver

# how far inside (C) a layer-by-layer proposal is put, so that rounding does not decide
_INTERIOR = 1e-7

# beyond, rounding hides the rest of the published matrix
_LARGEST_FREE = 2.0**40

# within a block of the published form: the group that carries lam, and the group of the equality (gamma, nu, tau)
_FREE_GROUPS = {"sort": (0, 1), "householder": (1, 0)}


def _explicit(graph: Graph) -> str | None:
    if any(isinstance(node, FixedPoint) for _, node in graph.walk()):
        return "it is for explicit networks, and this one has an implicit layer"
    return None


def _euclidean(job: Job) -> str | None:
    if not job.claim.euclidean:
        return "it is for the norm ℓ2 of inputs and outputs"
    return None


def _activations(graph: Graph) -> list[Activation]:
    return [node for _, node in graph.walk() if isinstance(node, Activation)]


def _named(job: Job, name: str) -> Proposal:
    """One multiplier a group of the method's form, by the solver of the job."""
    return replace(solve_tied(job, Tie.NEURON), method=name)


def _refuses_nsr(job: Job) -> str | None:
    return _explicit(job.graph)


def _refuses_rr(job: Job) -> str | None:
    others = sorted({node.kind for node in _activations(job.graph) if node.block > 1})
    if others:
        return f"it rewrites MaxMin pairs, and has nothing for {', '.join(others)}"
    return _explicit(job.graph)


def _refuses_geolip(job: Job) -> str | None:
    if job.claim.norm is not Norm.LINF:
        return "it is for inputs in ℓ∞"
    if job.graph.output_size > 1 and job.claim.output_norm is not Norm.LINF:
        return "it is for one scalar output at a time: choose outputs, or the output norm inf"
    return refuses_chain(job.graph)


def _refuses_nsr_full(job: Job) -> str | None:
    return _explicit(job.graph) or (_euclidean(job) if job.solver in BACKENDS else None)


def propose_nsr_full(job: Job) -> Proposal:
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
    proposal = _named(job, "lipsdp-nsr-full")
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

    def sums(columns: Array, groups: IntArray, chosen: IntArray) -> Any:
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
    return Proposal((case,), "lipsdp-nsr-full", backend.name, status, None, steps, message=f"own value {value:.9g}")


def _published_groups(graph: Graph) -> tuple[IntArray, IntArray]:
    """For each group of the graph: the group of the published form that carries lam, and that of the equality or −1."""
    certified, equality, at = [], [], 0
    for node in _activations(graph):
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


def _refuses_liplt(job: Job) -> str | None:
    return _explicit(job.graph) or _euclidean(job)


def propose_liplt(job: Job) -> Proposal:
    """LipLT: the loop transformation makes each layer K Δz + P Δv, and the triangle inequality bounds layer by layer.

    With R_kj the block of R from layer j to layer k, m_k = ‖R_kx‖ + Σ_{j<k} ‖R_kj‖ m_j bounds the channels of layer k and
    L = ‖Y_x‖ + Σ ‖Y_j‖ m_j the output (arXiv 2310.00116 for chains; (R) makes it the same for residual networks and other
    activations). Cauchy–Schwarz, (Σ a_j)² ≤ Σ (S/(r_j m_j)) a_j² with S = Σ r_j m_j, adds the layers' inequalities up to
    one multiplier a layer with rho = L²: LipLT is dominated by the certificate at these multipliers.
    """
    job.tell(Progress("preparing the network"))
    system = job.prepared.system
    layer = system.groups.layer
    channels = system.groups.channels
    layers = int(layer.max(initial=-1)) + 1
    rows = [system.R[layer[system.groups.row] == k] for k in range(layers)] + [system.Y]
    sources = [np.flatnonzero(layer[system.groups.column] == k) for k in range(layers)]
    sources.append(np.arange(channels, channels + system.inputs))
    norms = np.zeros((layers + 1, layers + 1))
    started = time.perf_counter()
    for k, a in enumerate(rows):
        job.tell(Progress("norms of the layers", k, seconds=time.perf_counter() - started, total=layers + 1))
        norms[k] = [np.linalg.norm(a[:, s], 2) if a[:, s].size else 0.0 for s in sources]
    # m holds the layers, then the input
    m = np.ones(layers + 1)
    for k in range(layers):
        m[k] = norms[k, :k] @ m[:k] + norms[k, -1]
    value = float(norms[-1] @ m)
    weight = np.zeros(layers + 1)
    for k in range(layers, -1, -1):
        total, t = (value, 1.0) if k == layers else (m[k], weight[k])
        live = (np.arange(layers + 1) < k) | (np.arange(layers + 1) == layers)
        live &= (norms[k] > 0) & (m > 0)
        weight[live] += t * total * norms[k][live] / m[live]
        # a little more for the layers in front keeps (C) strict
        weight[:k] *= 1.0 + _INTERIOR
    # dead layers carry nothing
    lam = np.where(weight > 0, weight, 1e-12 * max(value**2, 1e-300))[:layers][layer]
    case = Multipliers(lam, np.array([value**2]))
    return Proposal((case,), "liplt", "none", Status.CLOSED_FORM, None, None, message=f"own value {value:.9g}")


@dataclass(frozen=True, eq=False)
class Chain:
    """x → W₀ → φ → W₁ → … → W_l with slopes [0, slope] a neuron.

    Attributes
    ----------
    weights
        W₀, …, W_l, each (outputs, inputs); layers without an activation between them are multiplied.
    slopes
        The largest slope of each neuron, an array a layer.
    """

    weights: list[Array]
    slopes: list[Array]


def refuses_chain(graph: Graph) -> str | None:
    """Why a graph is not a `Chain`, or None."""
    nodes = [node for _, node in graph.walk()]
    if any(isinstance(node, FixedPoint) for node in nodes) or any(len(node.parents) > 1 for node in nodes):
        return "it is for feedforward networks, layer after layer"
    blocks = sorted({node.kind for node in nodes if isinstance(node, Activation) and node.block > 1})
    if blocks:
        return f"it is for slope-restricted activations, and {', '.join(blocks)} acts on groups"
    for node in nodes:
        if isinstance(node, Activation):
            form = node.normal_form
            if not form.groups or not np.array_equal(form.K, form.P):
                return f"it is for activations with slopes between 0 and a positive number, which {node.kind} is not"
    return None


def _refuses_eclipse(job: Job) -> str | None:
    return _euclidean(job) or refuses_chain(job.graph)


def feedforward(graph: Graph) -> Chain:
    """The weights and slopes of a feedforward network.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> chain = feedforward(nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu(), nn.linear([[2.0]])))
    >>> [w.shape for w in chain.weights], [float(s[0]) for s in chain.slopes]
    ([(1, 2), (1, 1)], [1.0])
    """
    weights: list[Array] = []
    slopes: list[Array] = []
    matrix = np.eye(graph.input_size)
    for _, node in graph.walk():
        if isinstance(node, Affine):
            matrix = node.maps[0] @ matrix
        elif isinstance(node, Activation):
            form = node.normal_form
            weights.append(matrix)
            slopes.append(np.broadcast_to(2.0 * form.P[:, 0, 0], (node.blocks,)))
            matrix = np.eye(node.size)
    return Chain([*weights, matrix], slopes)


def propose_eclipse(job: Job, fast: bool) -> Proposal:
    """ECLipsE: the matrix of LipSDP is a chain of Schur complements, and each layer's multipliers are chosen in turn.

    With D = diag(slopes)/2, G = W X⁻¹ Wᵀ and X = I at the input, a layer leaves X⁺ = Λ − Λ D G D Λ, and rho is the largest
    eigenvalue of W_l X⁻¹ W_lᵀ. ECLipsE-Fast takes Λ = λI with the λ that maximises λ − λ²‖D G D‖, which is 1/(2‖D G D‖).
    ECLipsE maximises c in X⁺ ⪰ c W⁺ᵀW⁺: (C) for the two layers W X^(−½) and W⁺, with lam = (Λ/c) D² and rho = 1/c. The
    proof takes lam = rho Λ D² for the whole chain. Xu & Sivaranjani, NeurIPS 2024 (arXiv 2404.04375).
    """
    chain = feedforward(job.graph)
    solve = None if fast else get_solver(job.solver)
    lams: list[Array] = []
    inverse_root = np.eye(job.graph.input_size)
    iterations, status = 0, Status.CLOSED_FORM if fast else Status.OPTIMAL
    layers = len(chain.slopes)
    started = time.perf_counter()
    for k, slope in enumerate(chain.slopes):
        job.tell(Progress("layers", k, seconds=time.perf_counter() - started, total=layers))
        half = chain.weights[k] @ inverse_root
        D = slope / 2.0
        gram = (D[:, None] * half) @ (D[:, None] * half).T
        largest = float(np.linalg.eigvalsh(gram)[-1]) or 1.0
        if solve is None:
            lam = np.full(D.size, (1.0 - _INTERIOR) / (2.0 * largest))
        else:
            options = _layer_options(job.options, f"layer {k + 1} of {layers}", started, layers - k)
            lam, outcome_status, steps = _layer_problem(solve, options, half, D, chain.weights[k + 1])
            iterations += steps
            status = max(status, outcome_status, key=list(Status).index)
        lams.append(lam)
        # X⁻¹ = F Fᵀ with F = L⁻ᵀ, L Lᵀ = Λ^½ (I − Λ^½ D G D Λ^½) Λ^½
        root = np.sqrt(lam)
        try:
            L = np.linalg.cholesky(np.eye(D.size) - root[:, None] * gram * root)
        except np.linalg.LinAlgError:
            raise NotCertified(f"layer {k + 1} has no positive definite complement", advice="use neuron") from None
        inverse_root = np.linalg.inv(root[:, None] * L).T
    rho = float(np.linalg.norm(chain.weights[-1] @ inverse_root, 2)) ** 2
    parts = [rho * lam * (slope / 2.0) ** 2 for lam, slope in zip(lams, chain.slopes, strict=True)]
    case = Multipliers(np.concatenate([np.zeros(0), *parts]), np.array([rho]))
    name, solver = ("eclipse-fast", "none") if fast else ("eclipse", job.solver)
    own = f"own value {np.sqrt(rho):.9g}"
    return Proposal((case,), name, solver, status, None, iterations or None, message=own)


def _layer_options(options: SolverOptions, name: str, started: float, layers: int) -> SolverOptions:
    """For one of so many layers to go: its share of the time, and progress without its bound, which is not the network's."""
    tell = within(options.progress, name)
    limit = options.time_limit
    if limit is not None:
        limit = max(started + limit - time.perf_counter(), 1e-3) / layers
    progress = None if tell is None else lambda step: tell(replace(step, bound=None, point=None))
    return replace(options, time_limit=limit, progress=progress)


def _layer_problem(
    solve: Solver, options: SolverOptions, first: Array, D: Array, second: Array
) -> tuple[Array, Status, int]:
    """Λ of one layer of ECLipsE: (C) for first → slopes [0, 2D] → second."""
    builder = GraphBuilder()
    x = builder.affine([builder.input(first.shape[1])], [Dense(2.0 * D[:, None] * first)])
    graph = builder.finish(builder.affine([builder.activation(x, "relu")], [Dense(second)]))
    problem = compress_inputs(next(subproblems(lower(graph), Claim())))
    outcome = solve(problem, options)
    if outcome.y is None:
        raise NotCertified(f"a layer of ECLipsE has no multipliers: {outcome.message}", advice="use neuron")
    # slopes [0, 2D] on W are slopes [0, 1] on 2 D W: lam = rho Λ/4 there, and D is in the matrix already
    lam, rho = outcome.y[: problem.multipliers], outcome.y[problem.multipliers]
    return 4.0 * lam / rho * (1.0 - _INTERIOR), outcome.status, outcome.iterations


_PAULI = "Pauli et al., ICLR 2024 (arXiv 2401.14033)"
_XU = "Xu & Sivaranjani, NeurIPS 2024 (arXiv 2404.04375)"

RECORDS = (
    Method(
        "lipsdp-nsr",
        "GroupSort and Householder constraints with P = S = 0",
        _PAULI,
        partial(_named, name="lipsdp-nsr"),
        _refuses_nsr,
        "published",
    ),
    Method(
        "lipsdp-nsr-full",
        "the same with lam, gamma, nu and tau; a conic solver gets the published program as it stands",
        _PAULI,
        propose_nsr_full,
        _refuses_nsr_full,
        "written",
    ),
    Method(
        "lipsdp-rr",
        "LipSDP with MaxMin written as residual ReLU",
        f"Fazlyab et al., NeurIPS 2019 (arXiv 1906.04893); {_PAULI}",
        partial(_named, name="lipsdp-rr"),
        _refuses_rr,
        "residual-relu",
    ),
    Method(
        "geolip",
        "ℓ∞ inputs to a scalar output: our ℓ∞ program on the network as written",
        "Wang, Prakriya, Jha, NeurIPS 2022 (arXiv 2203.01212)",
        partial(_named, name="geolip"),
        _refuses_geolip,
        "written",
    ),
    Method(
        "eclipse",
        "LipSDP layer by layer, one small program each",
        _XU,
        partial(propose_eclipse, fast=False),
        _refuses_eclipse,
        "written",
    ),
    Method(
        "eclipse-fast",
        "LipSDP layer by layer in closed form",
        _XU,
        partial(propose_eclipse, fast=True),
        _refuses_eclipse,
        "written",
    ),
    Method(
        "liplt",
        "loop transformation and the triangle inequality over all paths of layers",
        "Fazlyab et al., NeurIPS 2023 (arXiv 2310.00116)",
        propose_liplt,
        _refuses_liplt,
        "written",
    ),
)
