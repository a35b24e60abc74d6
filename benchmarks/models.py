"""All methods on the networks of models/: python benchmarks/models.py renews the table of docs/benchmarks.md."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from paper import machine

import lipcert
from lipcert.report.figures import downward, upward

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
MARKS = "<!-- generated: benchmarks/models.py -->", "<!-- end of generated -->"
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
    body = "\n".join(["", *lines, "", f"{date.today():%d %B %Y}; {machine()}.", ""])
    head, rest = PAGE.read_text(encoding="utf-8").split(MARKS[0])
    PAGE.write_text(head + MARKS[0] + "\n" + body + "\n" + MARKS[1] + rest.split(MARKS[1])[1], encoding="utf-8")


if __name__ == "__main__":
    main()
