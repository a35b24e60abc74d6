"""[R; Y] without its matrix: one sweep forward through the network for a product, one backward for its adjoint.

The sweep runs u = [v; x] through the graph with every activation replaced by Δw = K Δz + P Δv and reads off the rows
Q Δz (docs/theory.md 2 and 5b). Rows, columns and groups are those of `lipcert.constraints.interconnection.lower`; constants
are taken at their midpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import scipy.sparse as sp

from lipcert.constraints.interconnection import FloatArithmetic, Groups, lower
from lipcert.graph.linear_maps import Convolution, Dense, Index, LinearMap
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, Input

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray

# most entries of a convolution that is applied as a sparse matrix; above, its own form is faster, and small
_SPARSE_ENTRIES = 2**17


class Operator:
    """The linear map u = [v; x] ↦ [Q z; y] of a graph.

    Parameters
    ----------
    graph
        The prepared network.

    Attributes
    ----------
    shape
        (rows of R + outputs, channels + inputs).
    rows, channels, inputs, outputs
        The sizes of its parts.
    groups
        The multiplier groups, as `lower` has them.
    implicit
        Whether a fixed point is part of it.
    products
        How many vectors went through so far, forward or backward.

    Raises
    ------
    NotCertified
        If I − DK of an implicit layer is not invertible.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> operator = Operator(nn.sequential(nn.linear([[2.0]]), nn.relu(), nn.linear([[3.0]])))
    >>> operator @ np.array([1.0, 5.0])
    array([10. , 16.5])
    >>> operator.adjoint(np.array([1.0, 0.0]))
    array([0., 2.])
    """

    def __init__(self, graph: Graph) -> None:
        plan = _Plan()
        self.inputs = graph.input_size
        self.outputs = graph.output_size
        self._steps, self._output, self._slots = plan.through(graph)
        self._sources = plan.sources
        self.groups = plan.finish()
        self.rows, self.channels = plan.rows, plan.columns
        self.implicit = plan.implicit
        self.shape = (self.rows + self.outputs, self.channels + self.inputs)
        self.products = 0

    def __matmul__(self, u: Array) -> Array:
        """[R; Y] u for u of shape (channels + inputs,) or (channels + inputs, k)."""
        block = u.reshape(u.shape[0], -1)
        self.products += block.shape[1]
        out = np.empty((self.shape[0], block.shape[1]))
        values: list[Array] = [block] * self._slots
        for slot, start, stop in self._sources:
            values[slot] = block[self.channels + start : self.channels + stop]
        for step in self._steps:
            step.forward(values, block, out)
        out[self.rows :] = values[self._output]
        return out.reshape(self.shape[0], *u.shape[1:])

    def adjoint(self, w: Array) -> Array:
        """[R; Y]ᵀ w for w of shape (rows + outputs,) or (rows + outputs, k)."""
        block = w.reshape(w.shape[0], -1)
        self.products += block.shape[1]
        out = np.zeros((self.shape[1], block.shape[1]))
        gradients: list[Array | None] = [None] * self._slots
        gradients[self._output] = block[self.rows :]
        for step in reversed(self._steps):
            step.backward(gradients, block, out)
        for slot, start, stop in self._sources:
            gradient = gradients[slot]
            if gradient is not None:
                out[self.channels + start : self.channels + stop] = gradient
        return out.reshape(self.shape[1], *w.shape[1:])

    def attained(self, u: Array, variable: IntArray) -> float | None:
        """‖Δy‖²/‖Δx‖² of increments that reach what the multipliers allow: no multipliers with these ties have a less rho.

        From the input on, the v of each layer and variable are scaled to Σ‖v‖² = Σ‖Q Δz‖²; then
        rho Σ‖Δx‖² ≥ Σ‖Δy‖² + Σ_g lam_g (‖(Q Δz)_g‖² − ‖v_g‖²) = Σ‖Δy‖² wherever M(lam, rho) ⪰ 0.

        Parameters
        ----------
        u
            (channels + inputs, k), columns of increments to start from.
        variable
            The variable of each group.

        Returns
        -------
        float or None
            In floating point; None for implicit networks, whose z depends on v, and where no input changes.

        Examples
        --------
        >>> from lipcert.graph import build as nn
        >>> operator = Operator(nn.sequential(nn.linear([[2.0]]), nn.relu(), nn.linear([[3.0]])))
        >>> round(operator.attained(np.array([[0.1], [5.0]]), np.array([0])), 6)
        36.0
        """
        moved = float(np.sum(u[self.channels :] ** 2))
        if self.implicit or not moved > 0.0:
            return None
        block = u.copy()
        self.products += block.shape[1]
        out = np.empty((self.shape[0], block.shape[1]))
        values: list[Array] = [block] * self._slots
        for slot, start, stop in self._sources:
            values[slot] = block[self.channels + start : self.channels + stop]
        at, count = self.groups, int(variable.max(initial=-1)) + 1
        for step in self._steps:
            step.forward(values, block, out)
            if isinstance(step, _Diagonal | _Blocks):
                v, z = block[step.columns], out[step.rows]
                of = variable[at.column[step.columns]]
                have = np.bincount(of, np.einsum("ij,ij->i", v, v), count)
                allowed = np.bincount(variable[at.row[step.rows]], np.einsum("ij,ij->i", z, z), count)
                factor = np.sqrt(np.divide(allowed, have, out=np.zeros(count), where=have > 0.0))
                block[step.columns] = v * factor[of][:, None]
                step.forward(values, block, out)
        return float(np.sum(values[self._output] ** 2)) / moved


class _Step(Protocol):
    """One node of the sweep; slots hold the values of the nodes, or the gradients with respect to them."""

    def forward(self, values: list[Array], u: Array, out: Array) -> None: ...

    def backward(self, gradients: list[Array | None], w: Array, out: Array) -> None: ...


def _accumulate(gradients: list[Array | None], slot: int, term: Array) -> None:
    old = gradients[slot]
    gradients[slot] = term if old is None else old + term


@dataclass(frozen=True, eq=False)
class _Sum:
    """Σ_k A_k x_k; None stands for the identity."""

    slot: int
    parents: tuple[int, ...]
    maps: tuple[_Matrix | None, ...]

    def forward(self, values: list[Array], u: Array, out: Array) -> None:
        total: Array | None = None
        for parent, a in zip(self.parents, self.maps, strict=True):
            term = values[parent] if a is None else a @ values[parent]
            total = term if total is None else total + term
        assert total is not None
        values[self.slot] = total

    def backward(self, gradients: list[Array | None], w: Array, out: Array) -> None:
        gradient = gradients[self.slot]
        if gradient is None:
            return
        for parent, a in zip(self.parents, self.maps, strict=True):
            _accumulate(gradients, parent, gradient if a is None else a.adjoint(gradient))


class _Matrix(Protocol):
    def __matmul__(self, x: Array) -> Array: ...

    def adjoint(self, y: Array) -> Array: ...


@dataclass(frozen=True, eq=False)
class _Csr:
    """A sparse matrix and its transpose, both in row order."""

    matrix: sp.csr_array
    transpose: sp.csr_array

    def __matmul__(self, x: Array) -> Array:
        return np.asarray(self.matrix @ x)

    def adjoint(self, y: Array) -> Array:
        return np.asarray(self.transpose @ y)


def _matrix(a: LinearMap) -> _Matrix | None:
    """The form of a map that is fastest on blocks of vectors; None for the identity."""
    if isinstance(a, Index) and a.is_identity:
        return None
    if isinstance(a, Dense):
        return a
    if isinstance(a, Convolution) and a.terms * a.shape[0] > _SPARSE_ENTRIES:
        return a
    matrix = a.to_sparse()
    return _Csr(matrix, matrix.T.tocsr())


@dataclass(frozen=True, eq=False)
class _Diagonal:
    """A pointwise activation: Δw = k Δz + p Δv, rows q Δz, all entrywise."""

    slot: int
    parent: int
    k: Array
    p: Array
    q: Array
    columns: slice
    rows: slice

    def forward(self, values: list[Array], u: Array, out: Array) -> None:
        z = values[self.parent]
        np.multiply(self.q, z, out=out[self.rows])
        w = self.p * u[self.columns]
        w += self.k * z
        values[self.slot] = w

    def backward(self, gradients: list[Array | None], w: Array, out: Array) -> None:
        gradient = gradients[self.slot]
        back = self.q * w[self.rows]
        if gradient is not None:
            np.multiply(self.p, gradient, out=out[self.columns])
            back += self.k * gradient
        _accumulate(gradients, self.parent, back)


@dataclass(frozen=True, eq=False)
class _Blocks:
    """Any activation: Δw = blkdiag(K) Δz + blkdiag(P) Δv, rows blkdiag(Q) Δz."""

    slot: int
    parent: int
    K: Array
    P: Array
    Q: Array
    columns: slice
    rows: slice

    def forward(self, values: list[Array], u: Array, out: Array) -> None:
        z = values[self.parent]
        out[self.rows] = _blockwise(self.Q, z)
        values[self.slot] = _blockwise(self.K, z) + _blockwise(self.P, u[self.columns])

    def backward(self, gradients: list[Array | None], w: Array, out: Array) -> None:
        gradient = gradients[self.slot]
        back = _blockwise(self.Q.swapaxes(1, 2), w[self.rows])
        if gradient is not None:
            out[self.columns] = _blockwise(self.P.swapaxes(1, 2), gradient)
            back = back + _blockwise(self.K.swapaxes(1, 2), gradient)
        _accumulate(gradients, self.parent, back)


def _blockwise(small: Array, x: Array) -> Array:
    """blkdiag(S_1, S_2, …) x for S of shape (b, out, in), b the number of blocks."""
    blocks, rows, inner = small.shape
    return np.asarray(small @ x.reshape(blocks, inner, x.shape[1])).reshape(blocks * rows, x.shape[1])


@dataclass(frozen=True, eq=False)
class _Solved:
    """A fixed point eliminated: s = S [p; v], rows T [p; v]."""

    slot: int
    parents: tuple[int, ...]
    splits: tuple[int, ...]
    S: Array
    T: Array
    columns: slice
    rows: slice

    def forward(self, values: list[Array], u: Array, out: Array) -> None:
        drive = np.vstack([*(values[p] for p in self.parents), u[self.columns]])
        out[self.rows] = self.T @ drive
        values[self.slot] = self.S @ drive

    def backward(self, gradients: list[Array | None], w: Array, out: Array) -> None:
        gradient = gradients[self.slot]
        back = self.T.T @ w[self.rows]
        if gradient is not None:
            back += self.S.T @ gradient
        *parameters, inner = np.split(back, self.splits)
        out[self.columns] = inner
        for parent, part in zip(self.parents, parameters, strict=True):
            _accumulate(gradients, parent, part)


class _Plan:
    """Collects the steps of the sweep and the groups, in the order of `lower`."""

    def __init__(self) -> None:
        self.rows = self.columns = self.count = self.labels = self.layers = 0
        self.implicit = False
        self.sources: list[tuple[int, int, int]] = []
        self.parts: list[tuple[IntArray, IntArray, IntArray, IntArray]] = []

    def through(self, graph: Graph) -> tuple[list[_Step], int, int]:
        """The steps, the slot of the output and the number of slots; a slot is the position of a node."""
        at = 0
        for i in graph.inputs:
            self.sources.append((i, at, at + graph.nodes[i].size))
            at += graph.nodes[i].size
        slot = list(range(len(graph.nodes)))
        steps: list[_Step] = []
        for position, node in graph.walk():
            if isinstance(node, Input):
                continue
            match node:
                case Affine():
                    maps = tuple(_matrix(a) for a in node.maps)
                    if maps == (None,):
                        slot[position] = slot[node.parents[0]]
                    else:
                        steps.append(_Sum(position, tuple(slot[p] for p in node.parents), maps))
                case Activation():
                    steps.append(self._activation(position, node, slot[node.parent]))
                case FixedPoint():
                    steps.append(self._fixed_point(position, node, tuple(slot[p] for p in node.parents)))
        return steps, slot[graph.output], len(graph.nodes)

    def _activation(self, position: int, node: Activation, parent: int) -> _Step:
        form = node.normal_form
        K, P, Q = (np.broadcast_to(x, (node.blocks, *x.shape[1:])) for x in (form.K, form.P, form.Q))
        channels, rows = P.shape[2] * node.blocks, Q.shape[1] * node.blocks if P.shape[2] else 0
        columns, rows_ = self._take(channels, rows)
        if not channels:
            return _Blocks(position, parent, K, P, Q[:, :0], columns, rows_)
        block = np.arange(node.blocks)[:, None] * form.groups
        label = np.arange(node.blocks) if node.channel is None else node.channel
        self._groups(
            node.blocks * form.groups,
            (block + form.row_group).ravel(),
            (block + form.column_group).ravel(),
            np.repeat(label, form.groups),
            np.zeros(node.blocks * form.groups, dtype=np.int64),
        )
        if K.shape[1:] == P.shape[1:] == Q.shape[1:] == (1, 1):
            k, p, q = (
                x.reshape(-1, 1) if x.shape[0] > 1 else np.full((node.blocks, 1), float(x[0, 0, 0]))
                for x in (form.K, form.P, form.Q)
            )
            return _Diagonal(position, parent, k, p, q, columns, rows_)
        return _Blocks(position, parent, K, P, Q, columns, rows_)

    def _fixed_point(self, position: int, node: FixedPoint, parents: tuple[int, ...]) -> _Step:
        """s = A s + B p + C v, so s = (I − A)⁻¹ [B C] [p; v]; the rows of the cell are R_s s + R_p p + R_v v."""
        self.implicit = True
        cell = lower(node.cell)
        channels, state = cell.groups.channels, node.size
        order = np.concatenate([np.arange(channels + state, channels + cell.inputs), np.arange(channels)])
        solved = FloatArithmetic().solve(cell.Y[:, channels : channels + state], cell.Y[:, order])
        through = cell.R[:, channels : channels + state] @ solved + cell.R[:, order]
        columns, rows = self._take(channels, cell.R.shape[0])
        g = cell.groups
        self._groups(g.count, g.row, g.column, g.channel, g.layer)
        sizes = [node.cell.nodes[i].size for i in node.cell.inputs[1:]]
        return _Solved(position, parents, tuple(np.cumsum(sizes).tolist()), solved, through, columns, rows)

    def _take(self, channels: int, rows: int) -> tuple[slice, slice]:
        taken = slice(self.columns, self.columns + channels), slice(self.rows, self.rows + rows)
        self.columns += channels
        self.rows += rows
        return taken

    def _groups(self, count: int, row: IntArray, column: IntArray, channel: IntArray, layer: IntArray) -> None:
        self.parts.append((row + self.count, column + self.count, channel + self.labels, layer + self.layers))
        self.count += count
        self.labels += int(channel.max(initial=-1)) + 1
        self.layers += int(layer.max(initial=-1)) + 1

    def finish(self) -> Groups:
        none = np.zeros(0, dtype=np.int64)
        parts = [np.concatenate([none, *(part[i] for part in self.parts)]) for i in range(4)]
        return Groups(self.count, *parts)
