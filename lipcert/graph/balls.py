"""The value of a graph in ball arithmetic (python-flint): enclosures at any precision, implicit layers included.

The caller sets the precision, `flint.ctx.prec`. Inputs may be balls or exact numbers; all columns are points.
"""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from lipcert.activations.balls import enclose
from lipcert.errors import NotCertified
from lipcert.graph.evaluate import solve, state_jacobian
from lipcert.graph.linear_maps import Convolution, Dense, Diagonal, Index, LinearMap
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, Input

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lipcert.arrays import Array, IntArray

Balls: TypeAlias = Any
"""A numpy object array (size, points) of `flint.arb`."""

_REFINEMENTS = 60


def exact(x: Array) -> Balls:
    """Floating-point numbers as exact balls, of the same shape."""
    from flint import arb

    return _filled(x.shape, [arb(value) for value in x.ravel().tolist()])


def forward(graph: Graph, inputs: Sequence[Balls]) -> Balls:
    """Enclosures of the network's value.

    Parameters
    ----------
    graph
        The network; its linear maps and biases are taken as exact, up to the radii that they carry.
    inputs
        For each input an object array (size, points) of `flint.arb`.

    Returns
    -------
    Balls
        (outputs, points).

    Raises
    ------
    NotCertified
        If the fixed point of an implicit layer cannot be enclosed.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> graph = nn.sequential(nn.linear([[1.0, 2.0]]), nn.relu())
    >>> forward(graph, [exact(np.array([[1.0], [0.25]]))])[0, 0]
    1.50000000000000
    """
    given = dict(zip(graph.inputs, inputs, strict=True))
    value: dict[int, Balls] = {}
    for position, node in graph.walk():
        match node:
            case Input():
                value[position] = given[position]
            case Affine():
                total = _affine(node, [value[p] for p in node.parents])
                value[position] = total if node.bias is None else total + exact(node.bias)[:, None]
            case Activation():
                columns = [enclose(node.record, z, node.block, node.parameters) for z in value[node.parent].T.tolist()]
                value[position] = _columns(columns, node.size)
            case FixedPoint():
                parameters = [value[p] for p in node.parents]
                points = parameters[0].shape[1]
                solved = [_fixed_point(node, [p[:, k : k + 1] for p in parameters]) for k in range(points)]
                value[position] = np.hstack(solved)
    return value[graph.output]


def jvp(graph: Graph, inputs: Sequence[Balls], tangents: Sequence[Balls]) -> tuple[Balls, Balls]:
    """Enclosures of the value at one point and of the directional derivatives there.

    Where a ball holds a kink, the slopes on both sides are enclosed, so the one-sided directional derivative of the
    network, a limit of difference quotients, is in the enclosure at every point.

    Parameters
    ----------
    graph
        As in `forward`.
    inputs
        For each input (size, 1).
    tangents
        For each input (size, columns).

    Returns
    -------
    value, tangent
        (outputs, 1) and (outputs, columns).
    """
    start = dict(zip(graph.inputs, zip(inputs, tangents, strict=True), strict=True))
    value: dict[int, Balls] = {}
    slope: dict[int, Balls] = {}
    for position, node in graph.walk():
        if isinstance(node, Input):
            value[position], slope[position] = start[position]
            continue
        v, t = [value[p] for p in node.parents], [slope[p] for p in node.parents]
        match node:
            case Affine():
                # one product for both
                joint = _affine(node, [np.hstack([a, b]) for a, b in zip(v, t, strict=True)])
                value[position], slope[position] = joint[:, :1], joint[:, 1:]
                if node.bias is not None:
                    value[position] = value[position] + exact(node.bias)[:, None]
            case Activation():
                image = enclose(node.record, v[0][:, 0].tolist(), node.block, node.parameters)
                value[position] = _columns([image], node.size)
                slope[position] = _activation_jvp(node, v[0], t[0])
            case FixedPoint():
                value[position] = _fixed_point(node, v)
                slope[position] = _fixed_point_jvp(node, value[position], v, t)
    return value[graph.output], slope[graph.output]


def _affine(node: Affine, parents: list[Balls]) -> Balls:
    total = apply(node.maps[0], parents[0])
    for a, x in zip(node.maps[1:], parents[1:], strict=True):
        total = total + apply(a, x)
    return total


@singledispatch
def apply(a: LinearMap, x: Balls) -> Balls:
    """A x, with the entries of A as exact numbers or, where the map carries a radius, as balls."""
    matrix = a.to_sparse()
    if matrix.nnz == 0:
        return exact(np.zeros((a.shape[0], x.shape[1])))
    rows = np.flatnonzero(np.diff(matrix.indptr))
    out = exact(np.zeros((a.shape[0], x.shape[1])))
    out[rows] = np.add.reduceat(exact(matrix.data)[:, None] * x[matrix.indices], matrix.indptr[rows], axis=0)
    return out


@apply.register
def _dense(a: Dense, x: Balls) -> Balls:
    return _product(exact(a.matrix), x)


@apply.register
def _index(a: Index, x: Balls) -> Balls:
    return _gather(x, a.index)


@apply.register
def _diagonal(a: Diagonal, x: Balls) -> Balls:
    from flint import arb

    if a.radii is None:
        return exact(a.entries)[:, None] * x
    entries = [arb(middle, radius) for middle, radius in zip(a.entries.tolist(), a.radii.tolist(), strict=True)]
    return np.array(entries, dtype=object)[:, None] * x


@apply.register
def _convolution(a: Convolution, x: Balls) -> Balls:
    points = x.shape[1]
    kernel = exact(a.kernel.reshape(a.groups, a.kernel.shape[0] // a.groups, -1))
    patches = a.patches()
    parts = [_product(kernel[g], _gather(x, patches[g].ravel()).reshape(patches.shape[1], -1)) for g in range(a.groups)]
    return np.vstack([part.reshape(-1, points) for part in parts])


def _gather(x: Balls, index: IntArray) -> Balls:
    """The rows `index` of x, zeros where the index is −1."""
    out = x[np.maximum(index, 0)]
    if (index < 0).any():
        from flint import arb

        out[index < 0] = arb(0)
    return out


def _product(a: Balls, b: Balls) -> Balls:
    return _array(_matrix(a) * _matrix(b))


def _matrix(a: Balls) -> Any:
    from flint import arb_mat

    rows, columns = a.shape
    return arb_mat(rows, columns, a.ravel().tolist())


def _array(a: Any) -> Balls:
    return _filled((a.nrows(), a.ncols()), a.entries())


def _filled(shape: tuple[int, ...], entries: list[Any]) -> Balls:
    out = np.empty(len(entries), dtype=object)
    out[:] = entries
    return out.reshape(shape)


def _columns(columns: list[list[Any]], size: int) -> Balls:
    out = np.empty((size, len(columns)), dtype=object)
    for k, column in enumerate(columns):
        out[:, k] = column
    return out


def _fixed_point(node: FixedPoint, parameters: list[Balls]) -> Balls:
    """An enclosure of the solution of s = cell(s, p) at one point (Krawczyk 1969).

    With F(s) = s − cell(s, p), any Y, s̃ ∈ S and J ⊇ cell_s(S): if s̃ − Y F(s̃) + (I − Y(I − J))(S − s̃) lies in the
    interior of S, S holds exactly one solution, and the left side encloses it.
    """
    from flint import arb, ctx

    n = node.size
    cell = solve(node, [_floats(p) for p in parameters])
    s = exact(cell.output)
    Y = exact(np.asarray(np.linalg.inv(np.eye(n) - state_jacobian(cell, 0)), dtype=np.float64))
    eye = exact(np.eye(n))
    still = [exact(np.zeros((p.shape[0], n))) for p in parameters]
    target = arb(2) ** (40 - ctx.prec)
    for _ in range(_REFINEMENTS):
        correction = _product(Y, forward(node.cell, [s, *parameters]) - s)
        s = _middle(s + correction)
        if all(abs(d) < target * (1 + abs(v)) for d, v in zip(correction[:, 0], s[:, 0], strict=True)):
            break
    correction = _product(Y, forward(node.cell, [s, *parameters]) - s)
    largest = max(float(d.abs_upper()) for d in correction[:, 0])
    for widening in (4, 64, 4096):
        radius = widening * largest + float(target) * (1.0 + max(float(abs(v)) for v in s[:, 0]))
        ball = arb(0, radius)
        state = s + ball
        slopes = jvp(node.cell, [state, *parameters], [eye, *still])[1]
        rest = eye - _product(Y, eye - slopes)
        image = s + correction + _product(rest, np.full((n, 1), ball, dtype=object))
        if all(w.contains_interior(v) for v, w in zip(image[:, 0], state[:, 0], strict=True)):
            return image
    raise NotCertified(
        "the fixed point could not be enclosed",
        where=node.name or "an implicit layer",
        advice="the equation is nearly singular there",
    )


def _fixed_point_jvp(node: FixedPoint, state: Balls, parameters: list[Balls], tangents: list[Balls]) -> Balls:
    """(I − J_s)⁻¹ J_p dp with J_s, J_p over the enclosure of the state."""
    n, columns = node.size, tangents[0].shape[1]
    seeds = [exact(np.eye(n, n + columns))]
    seeds += [np.hstack([exact(np.zeros((t.shape[0], n))), t]) for t in tangents]
    slopes = jvp(node.cell, [state, *parameters], seeds)[1]
    try:
        solved = _matrix(exact(np.eye(n)) - slopes[:, :n]).solve(_matrix(slopes[:, n:]))
    except ZeroDivisionError:
        raise NotCertified("the derivative of a fixed point could not be enclosed", where=node.name) from None
    return _array(solved)


def _activation_jvp(node: Activation, z: Balls, tangent: Balls) -> Balls:
    """φ'(z) dz of an activation layer, the slopes from truncated power series z + t e_j.

    Where a power series has no quotient, as the ball of its denominator holds zero at this precision, nothing is known.
    """
    from flint import arb, arb_series

    out = node.record.output_size(node.block, node.parameters)
    jacobian = np.empty((node.blocks, out, node.block, 1), dtype=object)
    for j in range(node.block):
        seeded = [arb_series([v, int(i % node.block == j)], prec=2) for i, v in enumerate(z[:, 0])]
        try:
            slopes = [w[1] for w in enclose(node.record, seeded, node.block, node.parameters)]
        except (ValueError, ZeroDivisionError):
            slopes = [arb("nan")] * (node.blocks * out)
        jacobian[:, :, j, 0] = _filled((node.blocks, out), slopes)
    columns = tangent.reshape(node.blocks, 1, node.block, -1)
    return (jacobian * columns).sum(axis=2).reshape(node.size, -1)


def _middle(x: Balls) -> Balls:
    return _filled(x.shape, [v.mid() for v in x.flat])


def _floats(x: Balls) -> Array:
    return np.array([float(v.mid()) for v in x.flat]).reshape(x.shape)
