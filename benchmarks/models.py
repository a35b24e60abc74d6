"""All methods on the networks of models/: python benchmarks/models.py renews the table of docs/benchmarks.md."""

from __future__ import annotations

from pathlib import Path

from common import ROOT, renew

import lipcert
from lipcert.figures import downward, upward

METHODS = ("product", "liplt", "eclipse-fast", "eclipse", "lipsdp-rr", "lipsdp-nsr", "layer", "neuron")


def row(model: Path) -> str:
    """The line of one network: each bound with its seconds, and the lower bound."""
    result = lipcert.compare(model, methods=METHODS)
    cells = [
        "–" if entry.bound is None else f"{upward(entry.bound.upper, 5)} ({entry.bound.seconds:.2f} s)"
        for entry in result.entries
    ]
    lower = "–" if result.lower is None else downward(result.lower, 5)
    return f"| {model.stem} | {' | '.join(cells)} | {lower} |"


def main() -> None:
    """Compare on every network, and write the table."""
    lines = [f"| network | {' | '.join(METHODS)} | lower bound |", "|---" * (len(METHODS) + 2) + "|"]
    for model in sorted((ROOT / "models").glob("*.onnx")):
        lines.append(row(model))
        print(lines[-1], flush=True)
    renew("models.py", lines)


if __name__ == "__main__":
    main()
