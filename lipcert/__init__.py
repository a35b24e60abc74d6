"""lipcert: proven Lipschitz bounds for neural networks.

>>> import lipcert
>>> from lipcert.graph import build as nn
>>> bound = lipcert.bound(nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu()))
>>> bound.verified, round(bound.upper, 6)
(True, 5.0)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lipcert.version import __version__

if TYPE_CHECKING:
    from lipcert.bounds.api import bound
    from lipcert.bounds.compare import Comparison, compare
    from lipcert.bounds.decide import decide
    from lipcert.bounds.jacobian import Jacobian, jacobian
    from lipcert.bounds.lower_bound import LowerBound, lower_bound
    from lipcert.bounds.radii import Robustness
    from lipcert.bounds.robustness import robustness
    from lipcert.bounds.types import Bound
    from lipcert.certificates.certificate import Certificate
    from lipcert.certificates.verify import Verdict, verify
    from lipcert.errors import (
        CertificateRejected,
        DoesNotApply,
        InvalidCertificate,
        InvalidModel,
        InvalidRequest,
        LipcertError,
        MissingExtra,
        NotCertified,
        SolverUnavailable,
        UnsupportedModel,
    )
    from lipcert.graph.nodes import Graph
    from lipcert.importer.from_torch import from_torch
    from lipcert.importer.load import load
    from lipcert.importer.writer import save
    from lipcert.regions import Ball, Box, everywhere
    from lipcert.report.html import save_report

# imported on first use, so that `import lipcert` stays quick
_HOME = {
    "bound": "bounds.api",
    "Bound": "bounds.types",
    "compare": "bounds.compare",
    "decide": "bounds.decide",
    "Comparison": "bounds.compare",
    "robustness": "bounds.robustness",
    "Robustness": "bounds.radii",
    "jacobian": "bounds.jacobian",
    "Jacobian": "bounds.jacobian",
    "lower_bound": "bounds.lower_bound",
    "LowerBound": "bounds.lower_bound",
    "Certificate": "certificates.certificate",
    "verify": "certificates.verify",
    "Verdict": "certificates.verify",
    "Graph": "graph.nodes",
    "load": "importer.load",
    "from_torch": "importer.from_torch",
    "save": "importer.writer",
    "save_report": "report.html",
    "Ball": "regions",
    "Box": "regions",
    "everywhere": "regions",
    "LipcertError": "errors",
    "InvalidModel": "errors",
    "UnsupportedModel": "errors",
    "InvalidRequest": "errors",
    "DoesNotApply": "errors",
    "InvalidCertificate": "errors",
    "CertificateRejected": "errors",
    "NotCertified": "errors",
    "SolverUnavailable": "errors",
    "MissingExtra": "errors",
}

__all__ = [
    "Ball",
    "Bound",
    "Box",
    "Certificate",
    "CertificateRejected",
    "Comparison",
    "DoesNotApply",
    "Graph",
    "InvalidCertificate",
    "InvalidModel",
    "InvalidRequest",
    "Jacobian",
    "LipcertError",
    "LowerBound",
    "MissingExtra",
    "NotCertified",
    "Robustness",
    "SolverUnavailable",
    "UnsupportedModel",
    "Verdict",
    "__version__",
    "bound",
    "compare",
    "decide",
    "everywhere",
    "from_torch",
    "jacobian",
    "load",
    "lower_bound",
    "robustness",
    "save",
    "save_report",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lipcert' has no attribute {name!r}")
    if _HOME[name].startswith("importer."):
        # registers the handlers
        import_module("lipcert.importer")
    return getattr(import_module(f"lipcert.{_HOME[name]}"), name)
