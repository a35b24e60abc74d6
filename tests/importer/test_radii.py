"""Constants that the importer computes carry radii that hold the exact ones."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import numpy as np
import pytest
from onnx import TensorProto, helper

from lipcert.graph.linear_maps import Diagonal
from lipcert.graph.nodes import Affine, GraphBuilder
from lipcert.importer import load
from lipcert.importer.elementwise import Elementwise

RNG = np.random.default_rng(0)


def diagonal(graph) -> Diagonal:
    """The one diagonal map of a graph that is not exact."""
    (found,) = (a for _, node in graph.walk() if isinstance(node, Affine) for a in node.maps if a.radius is not None)
    assert isinstance(found, Diagonal)
    return found


def holds(a: Diagonal, truth) -> bool:
    return all(
        abs(Fraction(e) - t) <= Fraction(r) for e, r, t in zip(a.entries.tolist(), a.radii.tolist(), truth, strict=True)
    )


@pytest.mark.parametrize("scale", [1.0, 1e-100, 2.0**1023, 1.5 * 2.0**1023])
def test_quotients_by_constants(write, scale):
    by = scale * RNG.uniform(0.5, 0.9, 40) * RNG.choice([-1.0, 1.0], 40)
    path = write([helper.make_node("Div", ["x", "c"], ["y"])], {"c": by}, [1, 40], kind=TensorProto.DOUBLE)
    assert holds(diagonal(load(path)), [1 / Fraction(v) for v in by.tolist()])


def test_quotients_next_to_activations():
    builder = GraphBuilder()
    by = RNG.uniform(0.5, 2.0, 60)
    builder.finish(Elementwise(builder, lambda text: None).divided(builder.input(60), by, ""))
    (a,) = (a for node in builder.nodes if isinstance(node, Affine) for a in node.maps)
    assert holds(a, [1 / Fraction(v) for v in by.tolist()])


@pytest.mark.parametrize("window", [3, 7, 11])
def test_means(write, window):
    node = helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[window], strides=[window])
    a = diagonal(load(write([node], {}, [1, 1, 4 * window])))
    assert holds(a, [Fraction(1, window)] * 4)


def test_batch_normalisation(write):
    n = 60
    gain, variance = RNG.normal(size=n), RNG.uniform(0.1, 3.0, n)
    epsilon = float(np.float32(1e-3))
    node = helper.make_node("BatchNormalization", ["x", "g", "b", "m", "v"], ["y"], epsilon=epsilon)
    constants = {"g": gain, "b": np.zeros(n), "m": np.zeros(n), "v": variance}
    a = diagonal(load(write([node], constants, [1, n], kind=TensorProto.DOUBLE)))
    with mpmath.workdps(60):
        for g, v, entry, radius in zip(gain, variance, a.entries, a.radii, strict=True):
            truth = mpmath.mpf(g) / mpmath.sqrt(mpmath.mpf(v) + mpmath.mpf(epsilon))
            assert abs(truth - mpmath.mpf(entry)) <= mpmath.mpf(radius)
