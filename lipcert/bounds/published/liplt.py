"""LipLT: the loop transformation, and the triangle inequality layer by layer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from lipcert.bounds.methods import Method, Proposal
from lipcert.bounds.published.common import INTERIOR, euclidean, explicit
from lipcert.constraints.multipliers import Multipliers
from lipcert.sdp.outcome import Progress, Status

if TYPE_CHECKING:
    from lipcert.bounds.methods import Job


def _refuses_liplt(job: Job) -> str | None:
    return explicit(job.graph) or euclidean(job)


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
        weight[:k] *= 1.0 + INTERIOR
    # dead layers carry nothing
    lam = np.where(weight > 0, weight, 1e-12 * max(value**2, 1e-300))[:layers][layer]
    case = Multipliers(lam, np.array([value**2]))
    return Proposal((case,), "liplt", "none", Status.CLOSED_FORM, None, None, message=f"own value {value:.9g}")


RECORDS = (
    Method(
        "liplt",
        "loop transformation and the triangle inequality over all paths of layers",
        "Fazlyab et al., NeurIPS 2023 (arXiv 2310.00116)",
        propose_liplt,
        _refuses_liplt,
        "written",
    ),
)
