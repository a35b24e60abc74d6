"""The one JSON object that `--json` prints; docs/json.md describes its keys."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lipcert.bounds.types import scope

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lipcert.bounds.methods import Method
    from lipcert.certificates import Verdict
    from lipcert.certificates.classes import ClassVerdict
    from lipcert.sdp.solvers import Availability


def dumps(data: Any) -> str:
    """`data` as strict JSON: what is not finite becomes null.

    Examples
    --------
    >>> dumps({"gap": float("inf"), "norm": "ℓ2"})
    '{"gap": null, "norm": "ℓ2"}'
    """
    return json.dumps(_finite(data), ensure_ascii=False, allow_nan=False)


def verdict(result: Verdict, certificate: str, model: str) -> dict[str, Any]:
    """What `lipcert verify --json` prints."""
    claim = result.certificate
    return {
        "certificate": certificate,
        "model": model,
        "valid": True,
        "norm": str(claim.norm),
        "output_norm": str(claim.output_norm),
        "outputs": list(claim.outputs),
        "scope": scope(claim.claim.region, claim.claim.anchored),
        "upper": result.value,
        "well_posed": result.well_posed,
        "exact": result.exact,
        "idealisations": list(claim.idealisations),
    }


def classes(result: ClassVerdict, certificate: str, model: str) -> dict[str, Any]:
    """What `lipcert verify --json` prints of a certificate of classes."""
    return {
        "certificate": certificate,
        "model": model,
        "valid": True,
        "samples": result.samples,
        "smallest_radius": result.radius,
    }


def methods(chosen: Iterable[Method], solvers: Iterable[Availability]) -> dict[str, Any]:
    """What `lipcert methods --json` prints."""
    return {
        "methods": [{"name": m.name, "summary": m.summary, "source": m.source} for m in chosen],
        "solvers": [asdict(solver) for solver in solvers],
    }


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
