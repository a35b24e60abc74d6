"""(x − mean) / std in front of a network, enclosed."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from lipcert.bounds.api import bound
from lipcert.errors import InvalidRequest
from lipcert.graph import build as nn
from lipcert.graph.evaluate import forward
from lipcert.graph.linear_maps import Diagonal
from lipcert.graph.normalised import normalised


def network():
    rng = np.random.default_rng(0)
    return nn.sequential(nn.linear(rng.standard_normal((5, 6))), nn.relu(), nn.linear(rng.standard_normal((2, 5))))


def test_value_channel_by_channel():
    graph, x = network(), np.random.default_rng(1).uniform(0, 1, (6, 4))
    mean, std = [0.4, 0.3, 0.5], [0.25, 0.2, 0.3]
    expected = forward(graph, (x - np.repeat(mean, 2)[:, None]) / np.repeat(std, 2)[:, None])
    np.testing.assert_allclose(forward(normalised(graph, mean, std), x), expected, rtol=1e-12)


def test_the_quotient_is_enclosed():
    graph = normalised(network(), std=[0.225, 0.5])
    (diagonal,) = [a for _, node in graph.walk() for a in getattr(node, "maps", ()) if isinstance(a, Diagonal)]
    for entry, radius, std in zip(diagonal.entries, diagonal.radii, np.repeat([0.225, 0.5], 3), strict=True):
        assert abs(Fraction(entry) - 1 / Fraction(std)) <= Fraction(radius)
    powers = normalised(network(), std=0.25)
    assert all(a.radius is None for _, node in powers.walk() for a in getattr(node, "maps", ()))


def test_bounds_are_in_the_units_of_the_image():
    plain = bound(network(), lower=False).upper
    assert bound(normalised(network(), 0.5, 0.25), lower=False).upper == pytest.approx(4.0 * plain, rel=1e-7)


@pytest.mark.parametrize(
    ("mean", "std", "match"),
    [
        ([0.1] * 4, None, "4 numbers"),
        (None, [0.5, 0.0, 1.0], "positive"),
        (np.nan, None, "finite"),
        ("a", None, "list"),
    ],
)
def test_what_does_not_fit_is_refused(mean, std, match):
    with pytest.raises(InvalidRequest, match=match):
        normalised(network(), mean, std)
