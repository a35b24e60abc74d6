"""Forward value, JVP and VJP of a graph in numpy. Samples are columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lipcert.errors import InvalidRequest, NotCertified
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, Input

if TYPE_CHECKING:
    from lipcert.arrays import Array

_NEWTON_STEPS = 200
_HALVINGS = 12
_PLAIN = 0.05
_RESIDUAL = 1e-11


def forward(graph: Graph, x: Array | Sequence[Array]) -> Array:
    """The value of the network.

    Parameters
    ----------
    graph
        The network.
    x
        (inputs,) or (inputs, samples); a sequence of such arrays for a graph with several inputs.

    Returns
    -------
    Array
        (outputs,) or (outputs, samples).

    Raises
    ------
    NotCertified
        If the fixed point of an implicit layer is not found.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> forward(nn.sequential(nn.linear([[1.0, -1.0]]), nn.relu()), np.array([3.0, 1.0]))
    array([2.])
    """
    tape, flat = _record(graph, x)
    return tape.output[:, 0] if flat else tape.output


def jvp(graph: Graph, x: Array | Sequence[Array], tangent: Array | Sequence[Array]) -> Array:
    """J(x) t, with one element of the generalised Jacobian at kinks; shapes as in `forward`."""
    tape, flat = _record(graph, x)
    out = tape.jvp([np.asarray(t, dtype=np.float64).reshape(len(t), -1) for t in _as_list(tangent)])
    return out[:, 0] if flat else out


def vjp(graph: Graph, x: Array, cotangent: Array) -> Array:
    """J(x)ᵀ c, with the same element of the generalised Jacobian; shapes (inputs,) or (inputs, samples)."""
    tape, flat = _record(graph, x)
    out = np.vstack(tape.vjp(np.asarray(cotangent, dtype=np.float64).reshape(len(cotangent), -1)))
    return out[:, 0] if flat else out


@dataclass(frozen=True, eq=False)
class Tape:
    """The node values of one forward pass, so that repeated sweeps at the same points cost only the sweeps.

    Attributes
    ----------
    graph
        The network.
    values
        The value of each node that the output depends on, (size, samples); None for others.
    inner
        For each fixed point the tape of its cell at the solution.
    """

    graph: Graph
    values: list[Array | None]
    inner: dict[int, Tape]

    @property
    def output(self) -> Array:
        """(outputs, samples)."""
        return self._value(self.graph.output)

    def _value(self, position: int) -> Array:
        value = self.values[position]
        assert value is not None
        return value

    def jvp(self, tangents: Sequence[Array]) -> Array:
        """J t for one tangent (size, samples) an input; one recorded sample serves any number of tangents."""
        return self.tangents(tangents)[self.graph.output]

    def tangents(self, tangents: Sequence[Array]) -> dict[int, Array]:
        """The tangent of every node, as `jvp` carries it."""
        given = dict(zip(self.graph.inputs, tangents, strict=True))
        t: dict[int, Array] = {}
        for position, node in self.graph.walk():
            match node:
                case Input():
                    t[position] = given[position]
                case Affine():
                    total = node.maps[0] @ t[node.parents[0]]
                    for a, parent in zip(node.maps[1:], node.parents[1:], strict=True):
                        total = total + a @ t[parent]
                    t[position] = total
                case Activation():
                    z = node.split(self._value(node.parent))
                    out = node.record.jvp(*_matched(z, node.split(t[node.parent])), node.parameters)
                    t[position] = out.reshape(node.size, -1)
                case FixedPoint():
                    t[position] = self._implicit_jvp(position, node, [t[p] for p in node.parents])
        return t

    def vjp(self, cotangent: Array) -> list[Array]:
        """Jᵀ c, one array an input."""
        adjoint = self.adjoints({self.graph.output: cotangent})
        samples = cotangent.shape[1]
        return [adjoint.get(i, np.zeros((self.graph.nodes[i].size, samples))) for i in self.graph.inputs]

    def adjoints(self, seeds: Mapping[int, Array]) -> dict[int, Array]:
        """Σ_k Jᵀ c_k for every node that matters, from cotangents c_k of some nodes."""
        adjoint = dict(seeds)
        for position, node in reversed(list(self.graph.walk())):
            if position not in adjoint or isinstance(node, Input):
                continue
            c = adjoint[position]
            match node:
                case Affine():
                    parts = [a.adjoint(c) for a in node.maps]
                case Activation():
                    z, cot = _matched(node.split(self._value(node.parent)), c.reshape(node.blocks, -1, c.shape[1]))
                    parts = [node.record.vjp(z, cot, node.parameters).reshape(node.blocks * node.block, -1)]
                case FixedPoint():
                    parts = self._implicit_vjp(position, c)
            for parent, part in zip(node.parents, parts, strict=True):
                adjoint[parent] = adjoint[parent] + part if parent in adjoint else part
        return adjoint

    def jacobian(self, sample: int = 0) -> Array:
        """The Jacobian (outputs, inputs) at one sample, by the cheaper of the two sweeps."""
        single = self.sample(sample)
        if self.graph.output_size <= self.graph.input_size:
            return np.vstack(single.vjp(np.eye(self.graph.output_size))).T
        sizes = [self.graph.nodes[i].size for i in self.graph.inputs]
        return single.jvp(np.vsplit(np.eye(sum(sizes)), np.cumsum(sizes)[:-1]))

    def sample(self, k: int) -> Tape:
        """The tape of sample k alone."""
        values = [None if v is None else v[:, k : k + 1] for v in self.values]
        return Tape(self.graph, values, {i: tape.sample(k) for i, tape in self.inner.items()})

    def _implicit_jvp(self, position: int, node: FixedPoint, tangents: list[Array]) -> Array:
        """ds = J_s ds + J_p dp, that is ds = (I − J_s)⁻¹ J_p dp, sample by sample."""
        cell = self.inner[position]
        columns = tangents[0].shape[1]
        drive = cell.jvp([np.zeros((node.size, columns)), *tangents])
        out = np.empty_like(drive)
        for k, chosen in _by_sample(cell, columns):
            state = state_jacobian(cell, k)
            out[:, chosen] = np.linalg.solve(np.eye(node.size) - state, drive[:, chosen])
        return out

    def _implicit_vjp(self, position: int, c: Array) -> list[Array]:
        """J_pᵀ (I − J_s)⁻ᵀ c, sample by sample."""
        cell = self.inner[position]
        solved = np.empty_like(c)
        for k, chosen in _by_sample(cell, c.shape[1]):
            state = state_jacobian(cell, k)
            solved[:, chosen] = np.linalg.solve(np.eye(c.shape[0]) - state.T, c[:, chosen])
        return cell.vjp(solved)[1:]


def record(graph: Graph, inputs: Sequence[Array], disturbed: Callable[[Array], Array] | None = None) -> Tape:
    """The tape of a forward pass; each input is (size, samples), and every value passes through `disturbed`."""
    values: list[Array | None] = [None] * len(graph.nodes)
    inner: dict[int, Tape] = {}
    given = dict(zip(graph.inputs, inputs, strict=True))

    def value(position: int) -> Array:
        found = values[position]
        assert found is not None
        return found

    for position, node in graph.walk():
        match node:
            case Input():
                values[position] = given[position]
            case Affine():
                total = node.maps[0] @ value(node.parents[0])
                for a, parent in zip(node.maps[1:], node.parents[1:], strict=True):
                    total = total + a @ value(parent)
                values[position] = total if node.bias is None else total + node.bias[:, None]
            case Activation():
                out = node.record.value(node.split(value(node.parent)), node.parameters)
                values[position] = out.reshape(node.size, -1)
            case FixedPoint():
                inner[position] = solve(node, [value(p) for p in node.parents])
                values[position] = inner[position].output
        if disturbed is not None:
            values[position] = disturbed(value(position))
    return Tape(graph, values, inner)


def solve(node: FixedPoint, parameters: list[Array]) -> Tape:
    """The tape of the cell at s = cell(s, p): semismooth Newton with step halving on the residual.

    Where the Jacobian is regular the Newton direction shortens the residual; at a kink, where it may not, a small part
    of a plain iteration leads on.
    """
    samples = parameters[0].shape[1]
    s = np.zeros((node.size, samples))
    tape = record(node.cell, [s, *parameters])
    residual = tape.output - s
    for _ in range(_NEWTON_STEPS):
        norms = np.abs(residual).max(axis=0, initial=0.0)
        open_samples = np.flatnonzero(norms > _RESIDUAL * (1.0 + np.abs(s).max(axis=0, initial=0.0)))
        if not open_samples.size:
            return tape
        step = np.zeros_like(s)
        for k in open_samples.tolist():
            system = np.eye(node.size) - state_jacobian(tape, k)
            step[:, k] = np.linalg.lstsq(system, residual[:, k], rcond=None)[0]
        for halvings in range(_HALVINGS + 1):
            trial = s + step
            following = record(node.cell, [trial, *parameters])
            following_residual = following.output - trial
            worse = np.linalg.norm(following_residual, axis=0) > np.linalg.norm(residual, axis=0)
            if not worse.any() or halvings == _HALVINGS:
                break
            step[:, worse] = (0.5 * step if halvings < _HALVINGS - 1 else _PLAIN * residual)[:, worse]
        s, tape, residual = trial, following, following_residual
    raise NotCertified(
        f"the fixed point was not found in {_NEWTON_STEPS} Newton steps",
        where=node.name or "an implicit layer",
        advice="the equation may have no solution, or several",
    )


def state_jacobian(cell: Tape, k: int) -> Array:
    """d cell / d state at sample k."""
    single = cell.sample(k)
    state, *parameters = (cell.graph.nodes[i].size for i in cell.graph.inputs)
    return single.jvp([np.eye(state), *(np.zeros((size, state)) for size in parameters)])


def _by_sample(cell: Tape, columns: int) -> list[tuple[int, slice]]:
    """Which tangent columns belong to which recorded sample: each its own, or all to a single one."""
    samples = cell.output.shape[1]
    return [(0, slice(None))] if samples == 1 else [(k, slice(k, k + 1)) for k in range(columns)]


def _matched(z: Array, tangent: Array) -> tuple[Array, Array]:
    """One recorded sample serves any number of tangents."""
    if z.shape[2] == tangent.shape[2]:
        return z, tangent
    return np.broadcast_to(z, (*z.shape[:2], tangent.shape[2])), tangent


def _as_list(x: Array | Sequence[Array]) -> list[Array]:
    return [x] if isinstance(x, np.ndarray) and x.dtype != object else list(x)


def _record(graph: Graph, x: Array | Sequence[Array]) -> tuple[Tape, bool]:
    arrays = [np.asarray(part, dtype=np.float64) for part in _as_list(x)]
    sizes = [graph.nodes[i].size for i in graph.inputs]
    if [a.shape[0] for a in arrays] != sizes:
        raise InvalidRequest(f"the network takes inputs of sizes {sizes}, these have {[a.shape for a in arrays]}")
    flat = arrays[0].ndim == 1
    return record(graph, [a.reshape(a.shape[0], -1) for a in arrays]), flat
