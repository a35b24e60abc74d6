"""`Any` in the package where a type could stand: python tests/untyped.py; `make lint` runs it.

`Any` is for values of libraries without types, for documents of JSON, and for what is handed on as it came; the files that
have such values are named here, with the reason. The element type of `np.dtype` is let off.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "lipcert"
FLINT, JSON, PLOT = "python-flint has no types", "documents of JSON", "documents of JSON, and matplotlib's axes"
REASONS = {
    "__init__.py": "whatever is imported on first use",
    "activations/*.py": FLINT,
    "bounds/axes.py": PLOT,
    "bounds/branch/tree.py": "what a strategy keeps of a leaf is its own",
    "bounds/compare.py": PLOT,
    "bounds/decide.py": "the options of `bound`, handed on",
    "bounds/jacobian.py": JSON,
    "bounds/radii.py": PLOT,
    "bounds/refine.py": JSON,
    "bounds/robustness.py": JSON,
    "bounds/types.py": PLOT,
    "certificates/certificate.py": JSON,
    "certificates/classes.py": JSON,
    "certificates/exact.py": FLINT,
    "certificates/nearby.py": JSON,
    "bounds/widths.py": PLOT,
    "cli/*.py": "click hands on parameters as they come",
    "constraints/interconnection.py": "the implementation of an overload",
    "graph/balls.py": FLINT,
    "graph/summary.py": JSON,
    "importer/*.py": "attributes of nodes, and sessions of ONNX Runtime and PyTorch, have no types",
    "ranges/hints.py": JSON,
    "ranges/localise.py": JSON,
    "ranges/rational.py": FLINT,
    "regions.py": JSON,
    "report/json.py": JSON,
    "report/plots.py": PLOT,
    "sdp/outcome.py": "a solver takes one of two kinds of problems, as its entry says",
    "sdp/solvers/conic.py": "cvxpy has no types",
}


def untyped(source: str) -> Iterator[int]:
    """The lines with an `Any`.

    Examples
    --------
    >>> list(untyped("x: Any = 1\\ny: np.dtype[Any]\\n"))
    [1]
    """
    tree = ast.parse(source)
    let_off = {
        id(node.slice)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "np.dtype"
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "Any" and id(node) not in let_off:
            yield node.lineno


def main() -> int:
    """Name every `Any` without a reason, and every reason without one; their number."""
    found, used = [], set()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        reasons = {pattern for pattern in REASONS if fnmatch(name, pattern)}
        lines = sorted(set(untyped(path.read_text(encoding="utf-8"))))
        used |= reasons if lines else set()
        found += [f"lipcert/{name}:{line}: Any, where a type could stand" for line in lines if not reasons]
    found += [f"{pattern} has no Any: its reason can go" for pattern in sorted(REASONS.keys() - used)]
    print("\n".join(found) or "Any stands only where it has a reason")
    return len(found)


if __name__ == "__main__":
    sys.exit(bool(main()))
