"""The curves, on the smallest networks."""

from __future__ import annotations

import curves
import pytest
from common import renew, svg
from curves import SWEEPS, Point


def points(power: float) -> list[Point]:
    return [Point("width", n, 4 * n, curves.PROVEN, 1e-3 * n**power, 1.0) for n in (8, 16, 32, 64)]


@pytest.mark.parametrize("power", [0.5, 3.0])
def test_the_exponent_of_a_power_law(power):
    assert curves.exponent(points(power)) == pytest.approx(power)
    assert curves.exponent(points(power)[:1]) is None


def test_a_curve_ends_before_it_takes_too_long():
    found = curves.sweep("depth", (1, 2), limit=0.0, tolerance=1e-4)
    assert [(p.size, p.method) for p in found] == [(1, method) for method in (*curves.SOLVERS.values(), curves.PROVEN)]
    assert [p.bound for p in found] == pytest.approx([found[0].bound] * 3, rel=1e-3)
    assert found[0].channels == 32
    assert found[0].rate is not None


def test_the_sizes_of_a_sweep():
    assert SWEEPS["width"].widths(16) == (784, 16, 16, 16, 16, 10)
    assert SWEEPS["depth"].widths(2) == (784, 32, 32, 10)
    assert SWEEPS["inputs"].widths(7)[0] == 7


def test_the_same_figure_gives_the_same_file(tmp_path):
    drawn = []
    for name in ("a.svg", "b.svg"):
        with svg(tmp_path / name) as (_, ax):
            ax.plot([1, 2], [3, 4])
        drawn.append((tmp_path / name).read_bytes())
    assert drawn[0] == drawn[1]


def test_a_script_renews_its_own_part_of_the_page(tmp_path):
    page = tmp_path / "page.md"
    parts = [f"<!-- generated: benchmarks/{name} -->\nold\n<!-- end of generated -->\n" for name in ("a.py", "b.py")]
    page.write_text("before\n" + parts[0] + "between\n" + parts[1] + "after\n", encoding="utf-8")
    renew("b.py", ["new"], page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n" + parts[0] + "between\n")
    assert "\nnew\n" in text
    assert text.count("old") == 1
    assert text.endswith("<!-- end of generated -->\nafter\n")
