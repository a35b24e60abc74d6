"""ECLipsE: the multipliers of LipSDP layer by layer, each from a small program or in closed form."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lipcert.bounds.methods import Method, Proposal
from lipcert.bounds.published.chain import feedforward, refuses_chain
from lipcert.bounds.published.common import INTERIOR, euclidean
from lipcert.bounds.watch import within
from lipcert.constraints.interconnection import lower
from lipcert.constraints.multipliers import Multipliers
from lipcert.errors import NotCertified
from lipcert.graph.claim import Claim
from lipcert.graph.linear_maps import Dense
from lipcert.graph.nodes import GraphBuilder
from lipcert.sdp.outcome import Progress, SolverOptions, Status
from lipcert.sdp.problem import compress_inputs, subproblems
from lipcert.sdp.solvers import get_solver

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.bounds.methods import Job
    from lipcert.sdp.outcome import Solver


def _refuses_eclipse(job: Job) -> str | None:
    return euclidean(job) or refuses_chain(job.graph)


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
            lam = np.full(D.size, (1.0 - INTERIOR) / (2.0 * largest))
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
    value = float(np.sqrt(rho))
    message = f"own value {value:.9g}"
    return Proposal((case,), name, solver, status, None, iterations or None, message=message, claim=value)


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
    return 4.0 * lam / rho * (1.0 - INTERIOR), outcome.status, outcome.iterations


_XU = "Xu & Sivaranjani, NeurIPS 2024 (arXiv 2404.04375)"

RECORDS = (
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
)
