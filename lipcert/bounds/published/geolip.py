"""GeoLip: ℓ∞ inputs to a scalar output, by our ℓ∞ program on the network as it is written."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from lipcert.bounds.methods import Method
from lipcert.bounds.published.chain import refuses_chain
from lipcert.bounds.published.common import by_solver
from lipcert.norms import Norm

if TYPE_CHECKING:
    from lipcert.bounds.methods import Job


def _refuses_geolip(job: Job) -> str | None:
    if job.claim.norm is not Norm.LINF:
        return "it is for inputs in ℓ∞"
    if job.graph.output_size > 1 and job.claim.output_norm is not Norm.LINF:
        return "it is for one scalar output at a time: choose outputs, or the output norm inf"
    return refuses_chain(job.graph)


RECORDS = (
    Method(
        "geolip",
        "ℓ∞ inputs to a scalar output: our ℓ∞ program on the network as written",
        "Wang, Prakriya, Jha, NeurIPS 2022 (arXiv 2203.01212)",
        partial(by_solver, name="geolip"),
        _refuses_geolip,
        "written",
    ),
)
