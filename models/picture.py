"""The picture of the README: proven bound and norm product of each network over its lower bound, the tightest first."""

from __future__ import annotations

import math
from collections.abc import Sequence

LEFT, WIDTH, RIGHT, LINE = 160, 340, 110, 26
INK, BOUND, PRODUCT = "#57606a", "#1a7f5a", "#c2571a"
TICKS = (1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0)


def draw(rows: Sequence[tuple[str, float, float, float]]) -> str:
    """SVG for rows of name, upper bound, lower bound, norm product."""
    rows = sorted(rows, key=lambda row: row[1] / row[2])
    largest = max(max(product, upper) / lower for _, upper, lower, product in rows)
    last = next((tick for tick in TICKS if tick >= largest), largest)

    def x(ratio: float) -> float:
        return round(LEFT + WIDTH * math.log(ratio) / math.log(last), 1)

    bottom, width = LINE * (len(rows) + 1), LEFT + WIDTH + RIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom + 46}" '
        f'font-family="sans-serif" font-size="13" fill="{INK}">'
    ]
    for at, label, colour in (
        (0, "lower bound = 1", INK),
        (130, "proven bound", BOUND),
        (250, "norm product", PRODUCT),
    ):
        parts.append(f'<circle cx="{LEFT + at}" cy="10" r="5" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + at + 10}" y="14">{label}</text>')
    parts.append(f'<text x="{width}" y="14" text-anchor="end">bound / lower</text>')
    for tick in (tick for tick in TICKS if tick <= last):
        parts.append(f'<path d="M{x(tick)} 24V{bottom}" stroke="#d0d7de"/>')
        parts.append(f'<text x="{x(tick)}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<text x="{LEFT + WIDTH / 2}" y="{bottom + 38}" text-anchor="middle">times the lower bound</text>')
    for k, (name, upper, lower, product) in enumerate(rows, 1):
        y = LINE * k + 14
        parts.append(f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end">{name}</text>')
        parts.append(f'<path d="M{x(1.0)} {y}H{x(max(product, upper) / lower)}" stroke="{INK}" stroke-opacity=".4"/>')
        # smaller on top of larger: what coincides stays visible
        for value, colour, radius in ((product, PRODUCT, 6), (upper, BOUND, 5), (lower, INK, 3)):
            parts.append(f'<circle cx="{x(value / lower)}" cy="{y}" r="{radius}" fill="{colour}"/>')
        parts.append(f'<text x="{width}" y="{y + 4}" text-anchor="end">{_upward(upper / lower)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _upward(ratio: float) -> str:
    """With as many digits as show how far it is from one, rounded up."""
    digits = 3 if ratio >= 1.001 else 3 - math.floor(math.log10(max(ratio - 1.0, 1e-6) / 1e-3))
    return f"{math.ceil(ratio * 10**digits) / 10**digits:.{digits}f}"
