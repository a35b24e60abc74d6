"""The picture of the README: norm product, proven bound and lower bound of each network, on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

LEFT, WIDTH, LINE = 170, 420, 26
INK, BOUND, PRODUCT = "#57606a", "#1a7f5a", "#c2571a"


def draw(rows: Sequence[tuple[str, float, float, float]]) -> str:
    """SVG for rows of name, upper bound, lower bound, norm product."""
    first = math.floor(math.log10(min(min(row[1:]) for row in rows)))
    last = math.ceil(math.log10(max(max(row[1:]) for row in rows)))

    def x(value: float) -> float:
        return round(LEFT + WIDTH * (math.log10(value) - first) / (last - first), 1)

    bottom = LINE * (len(rows) + 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 30} {bottom + 30}" '
        f'font-family="sans-serif" font-size="13" fill="{INK}">'
    ]
    for k, (label, colour) in enumerate((("lower bound", INK), ("proven bound", BOUND), ("norm product", PRODUCT))):
        at = LEFT + 130 * k
        parts.append(f'<circle cx="{at}" cy="10" r="5" fill="{colour}"/><text x="{at + 10}" y="14">{label}</text>')
    for power in range(first, last + 1):
        at = x(10.0**power)
        parts.append(f'<path d="M{at} 24V{bottom}" stroke="#d0d7de"/>')
        parts.append(f'<text x="{at}" y="{bottom + 18}" text-anchor="middle">{10.0**power:g}</text>')
    for k, (name, upper, lower, product) in enumerate(rows, 1):
        y = LINE * k + 14
        parts.append(f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end">{name}</text>')
        parts.append(f'<path d="M{x(lower)} {y}H{x(product)}" stroke="{INK}" stroke-opacity=".4"/>')
        for value, colour in ((product, PRODUCT), (upper, BOUND), (lower, INK)):
            parts.append(f'<circle cx="{x(value)}" cy="{y}" r="5" fill="{colour}"/>')
    return "\n".join([*parts, "</svg>\n"])
