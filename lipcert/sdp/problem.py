"""The semidefinite program of every norm, tie and method: one object (docs/theory.md 3 and 4).

    minimise  cost · y
    subject to  Z(y) = Diag(y[column]) − Rᵀ Diag(y[row]) R − Yᵀ W Y ⪰ 0,   y ≥ 0                    (C)

y holds the multipliers lam of the groups (tied ones once), then mu of the input parts (rho where there is one part),
then nu of the outputs where the output norm is ℓ1. W is the identity, or Diag(1/nu) for the output norm ℓ1.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lipcert.constraints.multipliers import Multipliers, Tie, tie_groups
from lipcert.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lipcert.arrays import Array, IntArray
    from lipcert.constraints.interconnection import Interconnection
    from lipcert.constraints.operator import Operator
    from lipcert.graph.claim import Claim

_LAYERS = 30
"""Layers that a guess follows."""


@dataclass(frozen=True, eq=False)
class Problem:
    """The data of (C).

    Attributes
    ----------
    R
        (rows, columns); columns are the channels, then the inputs.
    Y
        (outputs, columns).
    row
        The variable of each row of R.
    column
        The variable of each column: of its group for a channel, of its part for an input.
    output
        The variable nu of each output for the output norm ℓ1; None otherwise.
    cost
        (variables,); the objective.
    multipliers
        How many of the variables are lam; they come first, then mu, then nu.
    """

    R: Array
    Y: Array
    row: IntArray
    column: IntArray
    cost: Array
    multipliers: int
    output: IntArray | None = None

    @property
    def variables(self) -> int:
        """Number of variables."""
        return self.cost.size

    @property
    def channels(self) -> int:
        """Number of channel columns."""
        return int((self.column < self.multipliers).sum())

    def matrix(self, y: Array) -> Array:
        """Z(y)."""
        R, Y = self.R, self.Y
        weight = 1.0 if self.output is None else (1.0 / y[self.output])[:, None]
        Z = -(R.T @ (y[self.row][:, None] * R)) - Y.T @ (weight * Y)
        Z[np.diag_indices_from(Z)] += y[self.column]
        return Z

    def save(self, path: str | Path) -> None:
        """Write the problem to an .npz file, such as for a bug report; `Problem.load` reads it back.

        Examples
        --------
        >>> import tempfile
        >>> column = np.zeros(1, dtype=np.int64)
        >>> problem = Problem(np.zeros((0, 1)), np.ones((1, 1)), column[:0], column, np.ones(1), 0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     problem.save(f"{folder}/problem.npz")
        ...     Problem.load(f"{folder}/problem.npz").variables
        1
        """
        np.savez_compressed(path, **{key: value for key, value in vars(self).items() if value is not None})

    @classmethod
    def load(cls, path: str | Path) -> Problem:
        """Read what `save` wrote.

        Raises
        ------
        InvalidRequest
            If the file is not such a problem.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                data = {key: file[key] for key in file.files}
            return cls(**(data | {"multipliers": int(data["multipliers"])}))
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise InvalidRequest(f"not a saved problem ({error})", where=str(path)) from None

    def reach(self) -> Array:
        """About how far each channel moves: the product of the layers before it, the same for all problems of one R."""
        channels = self.column[: self.channels]
        inner = np.abs(self.R)
        inputs = inner[:, channels.size :].sum(axis=1)
        size = np.zeros(self.multipliers)
        for _ in range(_LAYERS):
            largest = np.zeros(self.multipliers)
            np.maximum.at(largest, self.row, inputs + inner[:, : channels.size] @ size[channels])
            if np.array_equal(largest, size):
                break
            size = largest
        return np.asarray(size[channels])

    def guess(self, reach: Array) -> float:
        """About in which order the bounds of problems of one R come: the product of the layers, channel by channel."""
        outer = np.abs(self.Y)
        guess = float(outer[:, reach.size :].sum() + (outer[:, : reach.size] @ reach).sum())
        return guess if np.isfinite(guess) else np.inf

    def split(self, y: Array) -> Multipliers:
        """The parts lam (of the variables, not of the groups), mu and nu of y."""
        outputs = 0 if self.output is None else self.output.size
        stop = y.size - outputs
        return Multipliers(y[: self.multipliers], y[self.multipliers : stop], y[stop:] if outputs else None)

    def bound(self, y: Array) -> float:
        """The Lipschitz bound that a feasible y stands for: √(cost·y), or cost·y for the output norm ℓ1."""
        value = float(self.cost @ y)
        return value if self.output is not None else float(np.sqrt(value))


@dataclass(frozen=True, eq=False)
class OperatorProblem:
    """(C) for ℓ2 to ℓ2 by products with the network, for solvers that take an operator.

    Attributes
    ----------
    operator
        [R; Y] as products.
    tie
        Which multipliers are one variable.
    known
        Multipliers, one a group, that are feasible with some rho or nearly so, to begin the coarsest tie with; or None.
    """

    operator: Operator
    tie: Tie = Tie.NEURON
    known: Array | None = None

    def split(self, y: Array) -> Multipliers:
        """The parts lam (of the variables, not of the groups) and rho of y."""
        return Multipliers(y[:-1], y[-1:])


def subproblems(system: Interconnection[Array], claim: Claim, tie: Tie = Tie.NEURON) -> Iterator[Problem]:
    """The problems of a claim, whose largest bound is its bound, in the order of `Claim.cases`."""
    groups = system.groups
    variable = tie_groups(groups, tie)
    count = int(variable.max(initial=-1)) + 1
    channels, inputs, outputs = groups.channels, system.inputs, system.Y.shape[0]
    R, columns = system.R, np.arange(inputs)
    for case in claim.cases(inputs, outputs):
        if not np.array_equal(case.inputs, columns):
            # rows of Y that share their inputs share R
            columns = case.inputs
            R = _of_inputs(system.R, channels, columns)
        Y = system.Y if columns.size == inputs else _of_inputs(system.Y, channels, columns)
        cost = np.concatenate([np.zeros(count), np.ones(case.parts)])
        problem = Problem(
            R,
            Y if case.outputs.size == outputs else Y[case.outputs],
            variable[groups.row],
            np.concatenate([variable[groups.column], count + case.part]),
            cost,
            count,
        )
        if case.weights is None:
            yield problem
        else:
            nu = np.ones(case.weights)
            yield replace(problem, output=cost.size + np.arange(nu.size), cost=0.5 * np.concatenate([problem.cost, nu]))


def _of_inputs(matrix: Array, channels: int, inputs: IntArray) -> Array:
    return matrix[:, np.concatenate([np.arange(channels), channels + inputs])]


@dataclass(frozen=True, eq=False)
class Balance:
    """The powers of two of `balanced`: v_g was divided by 2^group_g, and x by 2^inputs."""

    group: IntArray
    inputs: int

    def restore(self, y: Multipliers) -> Multipliers:
        """Multipliers of the balanced system (ties expanded) as those of the system."""
        return replace(y, scale=np.ldexp(1.0, self.group), input_scale=self.bound(1.0))

    def bound(self, value: float) -> float:
        """A bound for the balanced system as one for the system."""
        return float(np.ldexp(value, self.inputs))

    def balanced(self, value: float) -> float:
        """A bound for the system as one for the balanced system."""
        return float(np.ldexp(value, -self.inputs))


def balanced(system: Interconnection[Array]) -> tuple[Interconnection[Array], Balance]:
    """The system in coordinates in which the entries behind every layer, and those of every layer, are about one.

    The gain of a deep network spans hundreds of orders of magnitude, and its square overflows. From the last layer to the
    first, the channels of a layer, and then the inputs, are multiplied by a power of two that no later row exceeds.

    Examples
    --------
    >>> from lipcert.constraints.interconnection import lower
    >>> from lipcert.graph import build as nn
    >>> network = nn.sequential(nn.linear([[2.0**500]]), nn.relu(), nn.linear([[2.0**500]]))
    >>> system, balance = balanced(lower(network))
    >>> float(np.abs(system.R).max()), balance.inputs
    (0.5, 1001)
    """
    groups, channels = system.groups, system.groups.channels
    stacked = np.vstack([system.R, system.Y])
    exponent = np.where(stacked != 0.0, np.frexp(stacked)[1], -(2**20))
    group = np.zeros(groups.count, dtype=np.int64)
    height = np.zeros(stacked.shape[0], dtype=np.int64)
    below = np.concatenate([groups.layer[groups.row], np.full(system.Y.shape[0], groups.layer.max(initial=0) + 1)])
    last = 0
    for layer in (*np.unique(groups.layer)[::-1], -1):
        own = (
            np.flatnonzero(groups.layer[groups.column] == layer)
            if layer >= 0
            else np.arange(channels, stacked.shape[1])
        )
        rows = below > layer
        largest = int((exponent[np.ix_(rows, own)] + height[rows][:, None]).max(initial=-(2**20)))
        # what reaches no output keeps the scale of the layer behind it
        last = largest if largest > -(2**19) else last
        if layer >= 0:
            group[groups.layer == layer] = last
            height[: groups.row.size][groups.layer[groups.row] == layer] = last
    columns = np.concatenate([group[groups.column], np.full(system.inputs, last)])
    R = np.ldexp(system.R, (group[groups.row][:, None] - columns))
    return replace(system, R=R, Y=np.ldexp(system.Y, -columns)), Balance(group, last)


def compress_inputs(problem: Problem) -> Problem:
    """The same problem on the row space of the input columns, for one input part (ℓ2 only); its optimum is the same.

    An orthonormal basis V of the rows of [R; Y] restricted to the inputs replaces x by Vᵀ x (docs/theory.md 4).
    """
    channels = problem.channels
    stacked = _input_columns(problem)
    if stacked.shape[1] <= stacked.shape[0] or problem.column[channels:].min() != problem.column[channels:].max():
        return problem
    # Aᵀ = V T with V orthonormal: A V = Tᵀ
    compressed = np.asarray(np.linalg.qr(stacked.T, mode="r")).T
    rows = problem.R.shape[0]
    return replace(
        problem,
        R=np.hstack([problem.R[:, :channels], compressed[:rows]]),
        Y=np.hstack([problem.Y[:, :channels], compressed[rows:]]),
        column=np.concatenate(
            [problem.column[:channels], np.full(compressed.shape[1], problem.column[channels], dtype=np.int64)]
        ),
    )


def decompress(problem: Problem, vectors: Array) -> Array:
    """Input directions of `compress_inputs(problem)`, given as columns, as directions of the inputs of `problem`."""
    basis = np.linalg.qr(_input_columns(problem).T)[0]
    return np.asarray(basis @ vectors)


def _input_columns(problem: Problem) -> Array:
    return np.vstack([problem.R[:, problem.channels :], problem.Y[:, problem.channels :]])
