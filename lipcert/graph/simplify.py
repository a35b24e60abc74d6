"""Exact rewriting: equal nodes are shared, and so are absolute values of arguments that agree up to sign.

ReLU, |·|, MaxMin on a pair and the maximum of a pair are all φ(z) = K z + P |Q z| with exact K, P, Q. Where the rows of
Q z of two of them agree up to sign, as exact linear forms, both use one latent: then MaxMin written with relu(a − b)
and relu(b − a) costs one channel a pair, like MaxMin itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from lipcert.graph.linear_maps import Dense, Diagonal, Index, LinearMap, Sparse
from lipcert.graph.nodes import Activation, Affine, Graph, GraphBuilder
from lipcert.graph.rewrite import Rewriting, Rule, rewrite

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray

_UNIT = 2.0**-10
"""Combinations of latents with entries that are small multiples of it are added up without rounding."""


def simplify(graph: Graph) -> Graph:
    """The same function with fewer nodes and latents; nothing is rounded.

    1. Nodes of equal kind, parents and numbers become one.
    2. |t| and |t′| become one latent where t = ±t′ as linear forms with identical entries; |constant| becomes a bias.
    3. b + relu(a − b) becomes (a + b)/2 + |a − b|/2: what cancels exactly must not reach the enclosures, where it would
       double the rounding errors of a and b layer by layer.
    4. Cells of fixed points likewise.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> graph = simplify(nn.sequential(nn.linear([[1.0, 2.0], [-1.0, -2.0]]), nn.relu()))
    >>> [node.blocks for _, node in graph.walk() if isinstance(node, Activation)]
    [1]
    """

    def rule_for(work: Rewriting) -> Rule:
        latents = _Latents(work.builder)

        def rule(_: int, node: Affine | Activation) -> int:
            if isinstance(node, Affine):
                return latents.affine(node)
            return latents.share(node) if node.record.is_modulus(node.block) else work.builder.add(node)

        return rule

    return rewrite(graph, rule_for)


@dataclass(frozen=True, eq=False)
class _Forms:
    """Linear forms Σ_p A_p x_p + b, one a row, over the numbers of the nodes p."""

    terms: dict[int, LinearMap]
    bias: Array

    def rows(self, chosen: IntArray, offsets: IntArray) -> sp.csr_array:
        """The chosen rows over the numbers of all nodes, which start at `offsets`; the bias in column 0."""
        picked = {p: _entries(a, chosen) for p, a in self.terms.items()}
        row = [a.coords[0] for a in picked.values()]
        column = [a.coords[1] + offsets[p] for p, a in picked.items()]
        value = [a.data for a in picked.values()]
        coords = (np.concatenate([*row, np.arange(chosen.size)]), np.concatenate([*column, np.zeros(chosen.size, int)]))
        shape = (chosen.size, int(offsets[-1]))
        return sp.csr_array((np.concatenate([*value, self.bias[chosen]]), coords), shape=shape)

    def hashes(self) -> Array:
        """A random functional of every row, equal for rows that agree up to sign."""
        total = self.bias * np.random.default_rng(0).standard_normal()
        for p, a in self.terms.items():
            r = np.random.default_rng(p + 1).standard_normal(a.shape[1])
            # row by row in a fixed order, so that equal rows give equal sums
            total = total + (np.einsum("ij,j->i", a.matrix, r) if isinstance(a, Dense) else a.to_sparse() @ r)
        mantissa, exponent = np.frexp(np.abs(total))
        return np.asarray(np.ldexp(np.round(np.ldexp(mantissa, 44)), exponent - 44))


@dataclass(frozen=True, eq=False)
class _Source:
    """Absolute values |t| that exist: t are rows of `forms`, and |t| = Σ_p A_p x_p exactly over the nodes p."""

    forms: _Forms
    rows: IntArray
    moduli: dict[int, sp.csr_array]


class _Latents:
    """The absolute values that exist so far: found by their hashes, compared entry by entry."""

    def __init__(self, builder: GraphBuilder) -> None:
        self.builder = builder
        self.sources: list[_Source] = []
        self.hashes = np.zeros(0)
        self.source = np.zeros(0, dtype=np.int64)
        self.place = np.zeros(0, dtype=np.int64)
        # nodes that are an exact combination of latents and others, and the nodes that they combine
        self.combined: dict[int, frozenset[int]] = {}

    def affine(self, node: Affine) -> int:
        """The position of a node equal to `node`, in which exact combinations of the same nodes are added up."""
        bases = frozenset[int]().union(*(self.combined.get(p, ()) for p in node.parents))
        terms = self._added_up(node, bases) if bases else None
        if terms is None:
            return self.builder.affine(node.parents, node.maps, node.bias, node.name)
        position = self.builder.affine(list(terms), [Sparse(a) for a in terms.values()], node.bias, node.name)
        if bases.issuperset(terms) and position not in bases:
            self.combined[position] = bases
        return position

    def _added_up(self, node: Affine, bases: frozenset[int]) -> dict[int, sp.csr_array] | None:
        """The terms of `node`, over `bases` where exact arithmetic leads there; None where that takes more entries."""
        if not all(_is_exact(a, _UNIT) for a in node.maps):
            return None
        entries = 0
        terms: dict[int, sp.csr_array] = {}
        for p, a in zip(node.parents, node.maps, strict=True):
            outer = a.to_sparse()
            entries += outer.nnz
            inner, bias = _through(self.builder, p, outer, bases, _UNIT)
            if bias.any() or not bases.issuperset(inner):
                inner = {p: outer}
            elif p in self.combined:
                below = self.builder.nodes[p]
                assert isinstance(below, Affine)
                entries += sum(b.to_sparse().nnz for b in below.maps)
            for q, part in inner.items():
                terms[q] = sp.csr_array(terms[q] + part) if q in terms else part
        for part in terms.values():
            part.eliminate_zeros()
        kept = {q: part for q, part in terms.items() if part.nnz}
        return kept if kept and sum(part.nnz for part in kept.values()) <= entries else None

    def share(self, node: Activation) -> int:
        """The position of a node equal to `node` that uses the latents that are there."""
        form = node.normal_form
        K, P, Q = (sp.csr_array(sp.kron(sp.eye_array(node.blocks), a[0])) for a in (form.K, form.P, form.Q))
        forms = _forms(self.builder, node.parent, Q)
        hashes = forms.hashes()
        count = hashes.size
        everything = np.arange(count)
        constant = self._constant(forms, hashes)
        # the first row of this node that agrees, then the latent of an earlier node that agrees
        first = np.unique(hashes, return_index=True)[1][np.unique(hashes, return_inverse=True)[1]]
        first = np.where(self._agree(forms, everything, forms, first), first, everything)
        known = self._lookup(forms, hashes)
        fresh = np.setdiff1d(everything[(first == everything) & (known < 0)], constant)
        argument, shift = _through(self.builder, node.parent, 2.0 * K)
        cancels = node.block == 1 and _differences(argument) and not shift.any()
        if fresh.size == count and not cancels:
            position = self.builder.add(node)
            # P⁺ (w − K z) = |Q z|; P has one column a block and P⁺ = Pᵀ/(PᵀP) has exact entries
            inverse = sp.csr_array(P.T * (1.0 / float((form.P[0] ** 2).sum())))
            self._register(_Source(forms, everything, {position: inverse, node.parent: -(inverse @ K)}), hashes)
            return position
        latent = np.full(count, -1)
        if fresh.size:
            z = self.builder.affine([node.parent], [Sparse(Q[fresh])])
            channel = None if node.channel is None else node.channel[fresh]
            position = self.builder.activation(z, "abs", channel=channel, name=node.name)
            latent[fresh] = self.hashes.size + np.arange(fresh.size)
            self._register(_Source(forms, fresh, {position: sp.csr_array(sp.eye_array(fresh.size))}), hashes[fresh])
        latent = np.where(known >= 0, known, latent[first])
        latent[constant] = -1
        parts = {node.parent: K} if shift.any() else {p: 0.5 * a for p, a in argument.items()}
        for k in np.unique(self.source[latent[latent >= 0]]):
            rows = np.flatnonzero((latent >= 0) & (self.source[latent] == k))
            source = self.sources[k]
            where = (rows, self.place[latent[rows]])
            select = sp.csr_array((np.ones(rows.size), where), shape=(count, source.rows.size))
            for parent, a in source.moduli.items():
                part = P @ select @ a
                parts[parent] = parts[parent] + part if parent in parts else part
        offset = np.zeros(count)
        offset[constant] = np.abs(forms.bias[constant])
        for a in parts.values():
            a.eliminate_zeros()
        kept = {parent: a for parent, a in parts.items() if a.nnz} or {node.parent: K}
        bias = P @ offset if offset.any() else None
        maps = [Sparse(sp.csr_array(a)) for a in kept.values()]
        position = self.builder.affine(list(kept), maps, bias, node.name)
        if bias is None:
            self.combined[position] = frozenset(kept)
        return position

    def _register(self, source: _Source, hashes: Array) -> None:
        self.hashes = np.concatenate([self.hashes, hashes])
        self.source = np.concatenate([self.source, np.full(hashes.size, len(self.sources))])
        self.place = np.concatenate([self.place, np.arange(hashes.size)])
        self.sources.append(source)

    def _offsets(self) -> IntArray:
        return np.cumsum([1, *(node.size for node in self.builder.nodes)])

    def _constant(self, forms: _Forms, hashes: Array) -> IntArray:
        suspects = np.flatnonzero(hashes == _Forms({}, forms.bias).hashes())
        rows = forms.rows(suspects, self._offsets())
        return suspects[abs(rows[:, 1:]).sum(axis=1) == 0]

    def _agree(self, forms: _Forms, rows: IntArray, others: _Forms, other_rows: IntArray) -> Array:
        """Whether rows agree with other rows up to sign, exactly."""
        out = np.array(rows == other_rows) if forms is others else np.zeros(rows.size, dtype=bool)
        doubtful = np.flatnonzero(~out)
        if doubtful.size:
            offsets = self._offsets()
            a, b = forms.rows(rows[doubtful], offsets), others.rows(other_rows[doubtful], offsets)
            out[doubtful] = (abs(a - b).max(axis=1).toarray() == 0) | (abs(a + b).max(axis=1).toarray() == 0)
        return out

    def _lookup(self, forms: _Forms, hashes: Array) -> IntArray:
        """The earlier latent that agrees with each row, or −1."""
        found = np.full(hashes.size, -1, dtype=np.int64)
        if not self.hashes.size:
            return found
        order = np.argsort(self.hashes, kind="stable")
        at = np.minimum(np.searchsorted(self.hashes[order], hashes), order.size - 1)
        candidate = order[at]
        hit = np.flatnonzero(self.hashes[candidate] == hashes)
        for k in np.unique(self.source[candidate[hit]]):
            rows = hit[self.source[candidate[hit]] == k]
            source = self.sources[k]
            good = rows[self._agree(forms, rows, source.forms, source.rows[self.place[candidate[rows]]])]
            found[good] = candidate[good]
        return found


def _forms(builder: GraphBuilder, parent: int, Q: sp.csr_array) -> _Forms:
    """The rows of Q x_parent as linear forms over the earliest nodes that exact arithmetic leads to.

    Maps with small integers compose without rounding, and rows ± one row of any map need no arithmetic.
    """
    terms, bias = _through(builder, parent, Q)
    if len(terms) == 1:
        ((p, outer),) = terms.items()
        node = builder.nodes[p]
        if isinstance(node, Affine) and _selects(outer) and not bias.any() and len(set(node.parents)) == len(node.maps):
            picked = {q: _select(outer, a) for q, a in zip(node.parents, node.maps, strict=True)}
            if all(a is not None for a in picked.values()):
                own = outer @ node.bias if node.bias is not None else bias
                return _Forms({q: a for q, a in picked.items() if a is not None}, np.asarray(own))
    return _Forms({p: Sparse(a) for p, a in terms.items()}, bias)


def _through(
    builder: GraphBuilder,
    parent: int,
    outer: sp.csr_array,
    stop: frozenset[int] = frozenset(),
    unit: float = 1.0,
) -> tuple[dict[int, sp.csr_array], Array]:
    """outer · x_parent over the earliest nodes, none beyond `stop`, that exact arithmetic leads to; and its bias.

    Maps of small multiples of `unit` compose without rounding.
    """
    terms = {parent: outer}
    bias = np.zeros(outer.shape[0])
    while True:
        through = [p for p in terms if p not in stop and _passes(builder.nodes[p], terms[p], bias, unit)]
        if not through:
            break
        node = builder.nodes[max(through)]
        assert isinstance(node, Affine)
        rows = terms.pop(max(through))
        if node.bias is not None:
            bias = bias + rows @ node.bias
        for p, a in zip(node.parents, node.maps, strict=True):
            part = sp.csr_array(rows @ a.to_sparse())
            terms[p] = sp.csr_array(terms[p] + part) if p in terms else part
    for block in terms.values():
        block.eliminate_zeros()
    return {p: a for p, a in terms.items() if a.nnz}, bias


def _passes(node: object, outer: sp.csr_array, bias: Array, unit: float) -> bool:
    """Whether the rows `outer` pass through an affine node, its bias on top of `bias`, in exact arithmetic."""
    if not isinstance(node, Affine) or not (node.bias is None or (_selects(outer) and not bias.any())):
        return False
    return _small_multiples(outer.data, unit) and all(_is_exact(a, unit) for a in node.maps)


def _is_exact(a: LinearMap, unit: float) -> bool:
    """Whether the entries are small multiples of `unit`."""
    return (
        isinstance(a, Index)
        or (isinstance(a, Sparse) and _small_multiples(a.matrix.data, unit))
        or (isinstance(a, Diagonal) and a.radii is None and _small_multiples(a.entries, unit))
        or (isinstance(a, Dense) and _small_multiples(a.matrix, unit))
    )


def _small_multiples(data: Array, unit: float) -> bool:
    return data.size == 0 or bool((np.abs(data).max() <= 1024) and (data == unit * np.round(data / unit)).all())


def _differences(terms: dict[int, sp.csr_array]) -> bool:
    """Whether some row has entries of both signs."""
    above, below = (sum(((sign * a) > 0).sum(axis=1) for a in terms.values()) for sign in (1, -1))
    return bool(np.logical_and(above, below).any())


def _selects(a: sp.csr_array) -> bool:
    """Whether every row holds at most one entry, which is ±1."""
    return bool((np.diff(a.indptr) <= 1).all() and (np.abs(a.data) == 1).all())


def _select(outer: sp.csr_array, a: LinearMap) -> LinearMap | None:
    """outer · a for a signed selection `outer`, without rounding; None for a map whose rows are not at hand."""
    if isinstance(a, Dense):
        if outer.shape[0] == outer.shape[1] and (outer - sp.eye_array(outer.shape[0])).nnz == 0:
            return a
        return Dense(np.asarray(outer @ a.matrix))
    if isinstance(a, (Sparse, Index, Diagonal)) and a.radius is None:
        return Sparse(sp.csr_array(outer @ a.to_sparse()))
    return None


def _entries(a: LinearMap, rows: IntArray) -> sp.coo_array:
    """The nonzero entries of some rows."""
    return sp.coo_array(a.matrix[rows] if isinstance(a, Dense) else a.to_sparse()[rows])
