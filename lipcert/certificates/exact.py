"""The check of a certificate in rational arithmetic: no floating point, and no line of the other proofs.

With rational normal forms (`lipcert.activations.rational`) Q̃ z = R u and y = Y u have rational entries, u = [c; x], and (C)
reads

    diag(g lam, mu) − Rᵀ diag(h lam) R − Yᵀ diag(1/nu) Y ≻ 0.

Both lam and h are positive, so by Schur complements the same is said, in the rows scaled by d = √lam, by

    S = diag(1/h, nu) − L diag(1/(g lam), 1/mu) Lᵀ ≻ 0,      L = [diag(d) R; Y].

1/lam and 1/mu are replaced by slightly larger fractions of a power of two, and the entries of S by integers A over 2^p, less
their errors. S ≻ 0 then follows from T(A − nI)Tᵀ being strictly diagonally dominant for some triangular T of integers: an
approximate inverse of the Cholesky factor, from an elimination in integers of which nothing is trusted.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from lipcert.errors import InvalidRequest, NotCertified
from lipcert.graph.nodes import Activation, Affine, FixedPoint, Graph, Input

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lipcert.activations.rational import RationalForm
    from lipcert.certificates.claims import Scaling
    from lipcert.graph.claim import Case, Claim
    from lipcert.graph.linear_maps import LinearMap

Rows: TypeAlias = list[list[Any]]
"""A matrix of `flint.fmpq`, row by row."""

_BITS = 320
"""Of a fraction, relative to its size: far more than any proof in floating point leaves as room."""
_MOST_ROWS = 500
_MOST_ENTRIES = 2_000_000


class ExactProof:
    """The proof of the cases of a claim about a small prepared graph, as `lipcert.certificates.proof.Proofs`.

    Parameters
    ----------
    graph
        The prepared graph.
    claim
        The claim.

    Raises
    ------
    InvalidRequest
        If the network is too large, or has constants that are known as enclosures only.

    Examples
    --------
    >>> from lipcert.certificates.claims import Scaling
    >>> from lipcert.graph import build as nn
    >>> from lipcert.graph.claim import Claim
    >>> proof = ExactProof(nn.sequential(nn.linear([[3.0, 4.0]])), Claim())
    >>> [proof.holds(proof.cases[0], Scaling(np.ones(0), np.array([m]))) for m in (4.999, 5.001)]
    [False, True]
    """

    def __init__(self, graph: Graph, claim: Claim) -> None:
        self.graph = graph
        self.cases = claim.cases(graph.input_size, graph.output_size)
        forms = _Forms.of(graph)
        height, width = forms.rows + graph.output_size, forms.channels + graph.input_size
        if height > _MOST_ROWS or height * width > _MOST_ENTRIES:
            raise InvalidRequest(
                f"the exact check is for networks of about 200 channels; this one has {forms.channels} and "
                f"{graph.input_size} inputs",
                advice="check it without --exact",
            )
        self.forms = forms

    @cached_property
    def system(self) -> _System:
        """R and Y."""
        return _lowered(self.graph, self.forms)

    def sizes(self, case: Case) -> tuple[int, int, int | None]:
        """How many numbers d, m and n the scaling of a case has."""
        return self.system.groups, case.parts, case.weights

    def holds(self, case: Case, scaling: Scaling) -> bool:
        """Whether the scaling is proven."""
        d, m = ([_rational(v) for v in x.tolist()] for x in (scaling.d, scaling.m))
        n = [_rational(1.0)] * case.outputs.size if scaling.n is None else [_rational(v) for v in scaling.n.tolist()]
        s = self.system
        channels = len(s.column_group)
        columns = [*range(channels), *(channels + int(j) for j in case.inputs)]
        rows = [[d[g] * row[j] for j in columns] for g, row in zip(s.row_group, s.R, strict=True)]
        rows += [[s.Y[int(i)][j] for j in columns] for i in case.outputs]
        inverse = [_above(1 / (g * d[k] ** 2)) for g, k in zip(s.g, s.column_group, strict=True)]
        inverse += [_above(1 / m[int(p)] ** 2) for p in case.part]
        diagonal = [1 / h for h in s.h] + [v**2 for v in n]
        return _is_positive(_difference(diagonal, rows, inverse))

    @staticmethod
    def value_holds(scaling: Scaling, value: float) -> bool:
        """Whether ‖m‖₂, times ‖n‖₂ for the output norm ℓ1, is at most the claimed value."""
        square = sum((Fraction(v) ** 2 for v in scaling.m.tolist()), start=Fraction(0))
        if scaling.n is not None:
            square *= sum((Fraction(v) ** 2 for v in scaling.n.tolist()), start=Fraction(0))
        return square <= Fraction(value) ** 2


@dataclass(frozen=True, eq=False)
class _System:
    """R and Y with columns [channels, inputs], the weights g and h, and the groups."""

    R: Rows
    Y: Rows
    g: list[Any]
    h: list[Any]
    column_group: list[int]
    row_group: list[int]

    @property
    def groups(self) -> int:
        return max(self.column_group, default=-1) + 1


@dataclass(frozen=True, eq=False)
class _Forms:
    """The rational forms of the blocks of every activation node, those of cells under the node of the fixed point."""

    blocks: dict[int, list[RationalForm]]
    cells: dict[int, _Forms]

    @classmethod
    def of(cls, graph: Graph) -> _Forms:
        blocks: dict[int, list[RationalForm]] = {}
        cells: dict[int, _Forms] = {}
        for position, node in graph.walk():
            match node:
                case Input():
                    pass
                case Activation():
                    blocks[position] = _blocks(node)
                case FixedPoint():
                    cells[position] = cls.of(node.cell)
                case Affine():
                    if any(a.radius is not None for a in node.maps):
                        raise InvalidRequest(
                            "its constants are known as enclosures only, such as those of a batch normalisation or a mean",
                            where=node.name,
                            advice="check it without --exact",
                        )
        return cls(blocks, cells)

    @property
    def channels(self) -> int:
        own = sum(len(form.g) for forms in self.blocks.values() for form in forms)
        return own + sum(cell.channels for cell in self.cells.values())

    @property
    def rows(self) -> int:
        own = sum(len(form.h) for forms in self.blocks.values() for form in forms)
        return own + sum(cell.rows for cell in self.cells.values())


def _blocks(node: Activation) -> list[RationalForm]:
    def form(k: int) -> RationalForm:
        own = {key: value[k : k + 1] if value.shape[0] > 1 else value for key, value in node.parameters.items()}
        found = node.record.rational_form(node.block, own)
        if found is None:
            raise InvalidRequest(
                f"the constants of {node.record.describe(node.blocks, node.block)} are not rational",
                where=node.name,
                advice="check it without --exact",
            )
        return found

    alike = all(value.shape[0] == 1 for value in node.parameters.values())
    return [form(0)] * node.blocks if alike else [form(k) for k in range(node.blocks)]


class _Run:
    """One graph in terms of given columns: those of its channels come first, then those of its inputs."""

    def __init__(self, forms: _Forms, inputs: int) -> None:
        self.forms = forms
        self.channels = forms.channels
        self.width = self.channels + inputs
        self.at = 0
        self.group = 0
        self.R: Rows = []
        self.g: list[Any] = []
        self.h: list[Any] = []
        self.column_group: list[int] = []
        self.row_group: list[int] = []

    def through(self, graph: Graph) -> Rows:
        value: dict[int, Rows] = {}
        start = self.channels
        place: dict[int, int] = {}
        for i in graph.inputs:
            place[i] = start
            start += graph.nodes[i].size
        for position, node in graph.walk():
            match node:
                case Input():
                    value[position] = self._unit(node.size, place[position])
                case Affine():
                    parts = [
                        self._placed(a, place[p]) if p in place else _product(_matrix(a), value[p], self.width)
                        for a, p in zip(node.maps, node.parents, strict=True)
                    ]
                    value[position] = parts[0]
                    for part in parts[1:]:
                        value[position] = _sum(value[position], part)
                case Activation():
                    value[position] = self._activation(node, self.forms.blocks[position], value[node.parent])
                case FixedPoint():
                    parents = [row for p in node.parents for row in value[p]]
                    value[position] = self._fixed_point(node, self.forms.cells[position], parents)
        return value[graph.output]

    def _unit(self, size: int, at: int) -> Rows:
        zero, one = _rational(0.0), _rational(1.0)
        return [[one if j == at + i else zero for j in range(self.width)] for i in range(size)]

    def _placed(self, a: LinearMap, at: int) -> Rows:
        zero = _rational(0.0)
        before, after = [zero] * at, [zero] * (self.width - at - a.shape[1])
        return [[*before, *row, *after] for row in _matrix(a)]

    def _activation(self, node: Activation, forms: Sequence[RationalForm], z: Rows) -> Rows:
        """w = K z + P c, and the rows Q z."""
        out: Rows = []
        for k, form in enumerate(forms):
            own = z[k * node.block : (k + 1) * node.block]
            rows = _product(_exact(form.K), own, self.width)
            for row, entries in zip(rows, _exact(form.P), strict=True):
                for j, entry in enumerate(entries):
                    row[self.at + j] += entry
            out += rows
            self.R += _product(_exact(form.Q), own, self.width)
            self.g += _vector(form.g)
            self.h += _vector(form.h)
            self.column_group += [self.group + g for g in form.column_group]
            self.row_group += [self.group + g for g in form.row_group]
            self.group += max(form.column_group, default=-1) + 1
            self.at += len(form.g)
        return out

    def _fixed_point(self, node: FixedPoint, forms: _Forms, parents: Rows) -> Rows:
        """s = A s + B p + C c solved for s, and the rows of the cell with it."""
        inner = _Run(forms, node.cell.input_size)
        following = inner.through(node.cell)
        count = inner.channels
        state = slice(count, count + node.size)
        drive = [*self._unit(count, self.at), *parents]

        def rest(row: list[Any]) -> list[Any]:
            return [*row[: state.start], *row[state.stop :]]

        left = [[(i == j) - v for j, v in enumerate(row[state])] for i, row in enumerate(following)]
        right = _product([rest(row) for row in following], drive, self.width)
        try:
            s: Rows = _flint(left, node.size).solve(_flint(right, self.width)).tolist()
        except ZeroDivisionError:
            raise NotCertified(
                "I − DK of an implicit layer is singular, so its equation has no unique solution"
            ) from None
        through = _product([row[state] for row in inner.R], s, self.width)
        self.R += _sum(through, _product([rest(row) for row in inner.R], drive, self.width))
        self.g += inner.g
        self.h += inner.h
        self.column_group += [self.group + g for g in inner.column_group]
        self.row_group += [self.group + g for g in inner.row_group]
        self.group += inner.group
        self.at += count
        return s


def _lowered(graph: Graph, forms: _Forms) -> _System:
    run = _Run(forms, graph.input_size)
    Y = run.through(graph)
    return _System(run.R, Y, run.g, run.h, run.column_group, run.row_group)


def _rational(value: float) -> Any:
    from flint import fmpq

    return fmpq(*value.as_integer_ratio())


def _vector(values: Sequence[Fraction]) -> list[Any]:
    from flint import fmpq

    return [fmpq(v.numerator, v.denominator) for v in values]


def _exact(matrix: Sequence[Sequence[Fraction]]) -> Rows:
    return [_vector(row) for row in matrix]


def _matrix(a: LinearMap) -> Rows:
    return [[_rational(v) for v in row] for row in a.to_dense().tolist()]


def _flint(rows: Rows, columns: int) -> Any:
    from flint import fmpq_mat

    return fmpq_mat(len(rows), columns, [v for row in rows for v in row])


def _product(a: Rows, b: Rows, columns: int) -> Rows:
    if not a or not b:
        return [[_rational(0.0)] * columns for _ in a]
    product: Rows = (_flint(a, len(b)) * _flint(b, columns)).tolist()
    return product


def _sum(a: Rows, b: Rows) -> Rows:
    return [[x + y for x, y in zip(p, q, strict=True)] for p, q in zip(a, b, strict=True)]


def _above(value: Any) -> Any:
    """The next fraction of a power of two above a positive number, closer than 2^(1 − _BITS) relative to it."""
    from flint import fmpq, fmpz

    numerator, denominator = int(value.p), int(value.q)
    power = _BITS + denominator.bit_length() - numerator.bit_length()
    above = -((-numerator << max(power, 0)) // (denominator << max(-power, 0)))
    return fmpq(above << max(-power, 0), fmpz(1) << max(power, 0))


def _difference(diagonal: list[Any], rows: Rows, inverse: list[Any]) -> Rows:
    """diag(diagonal) − L diag(inverse) Lᵀ."""
    if not rows:
        return []
    n, columns = len(rows), len(inverse)
    weighted = _flint([[v * e for v, e in zip(row, inverse, strict=True)] for row in rows], columns)
    gram: Rows = (weighted * _flint(rows, columns).transpose()).tolist()
    return [[(diagonal[i] if i == j else 0) - gram[i][j] for j in range(n)] for i in range(n)]


def _is_positive(S: Rows) -> bool:
    """Whether S ≻ 0 is proven (see the top of the file)."""
    if not all(row[i] > 0 for i, row in enumerate(S)):
        return False
    # S in units of its diagonal: rows and columns times powers of two
    power = [(int(row[i].q).bit_length() - int(row[i].p).bit_length()) // 2 for i, row in enumerate(S)]
    A = np.array(
        [[_floor(v, _BITS + power[i] + power[j]) for j, v in enumerate(row)] for i, row in enumerate(S)], object
    )
    T = _inverse_factor(A)
    return T is not None and _dominates(T, A)


def _floor(value: Any, power: int) -> int:
    """⌊value · 2^power⌋."""
    numerator, denominator = int(value.p), int(value.q)
    return (numerator << max(power, 0)) // (denominator << max(-power, 0))


def _inverse_factor(A: np.ndarray) -> np.ndarray | None:
    """About the inverse of the unit triangular factor of A, times 2^_BITS, by elimination; None where a pivot fails."""
    n = len(A)
    work, T = A.copy(), np.array([[(i == j) << _BITS for j in range(n)] for i in range(n)], object)
    for k in range(n):
        if work[k, k] <= 0:
            return None
        factor = (work[k + 1 :, k] << _BITS) // work[k, k]
        work[k + 1 :, k:] -= (factor[:, None] * work[k, k:]) >> _BITS
        T[k + 1 :, : k + 1] -= (factor[:, None] * T[k, : k + 1]) >> _BITS
    return T


def _dominates(T: np.ndarray, A: np.ndarray) -> bool:
    """Whether T(A − nI)Tᵀ is strictly diagonally dominant; T has no zero on its diagonal."""
    from flint import fmpz_mat

    n = len(A)
    left = fmpz_mat(n, n, T.ravel().tolist())
    # the entries of A were rounded down by less than one each
    middle = fmpz_mat(n, n, [v - n * (i == j) for i, row in enumerate(A.tolist()) for j, v in enumerate(row)])
    product: Rows = (left * middle * left.transpose()).tolist()
    return all(row[i] > sum((abs(v) for j, v in enumerate(row) if j != i), start=0) for i, row in enumerate(product))
