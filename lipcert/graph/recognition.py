"""Activations by meaning, however they were written: reflections of groups of numbers, and clipped units.

Householder reflections x − u·min(cᵀx, 0) reach a file as switches, absolute values or ReLU, and MaxMin as b + relu(a − b),
a − relu(a − b), which is the reflection at (1, −1)/√2. All of them are A x + B t + γ m(t) with t = C x and m one of relu,
|·| and min(·, 0). Two ReLU of one number whose jumps of the slope cancel are a clip: relu(x − a) − relu(x − b).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from lipcert.graph.linear_maps import Diagonal, Index, LinearMap, Sparse, identity
from lipcert.graph.nodes import Activation, Affine, Graph, GraphBuilder, Node
from lipcert.graph.rewrite import Rewriting, Rule, rewrite

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray

# how far u may be from 2c/‖c‖² for a reflection of rounded numbers; it decides on the name only, u and c are exact
_TOLERANCE = 1e-5


def recognise(graph: Graph) -> Graph:
    """The same function with reflections as `householder` and `sort`, pairs of ReLU as `clip` and `softshrink`.

    Nothing is rounded; what would be stays as it was written.

    Examples
    --------
    >>> from lipcert.graph import build as nn
    >>> c, u = (Sparse(sp.csr_array([[-0.6, -0.8]])), Sparse(sp.csr_array([[1.2], [1.6]])))
    >>> graph = nn.sequential(nn.residual(nn.linear(c), nn.relu(), nn.linear(u)), inputs=2)
    >>> [node.kind for _, node in recognise(graph).walk() if isinstance(node, Activation)]
    ['householder']
    """
    kept: set[int] = set()
    budget = _Budget(_EXPANSIONS * (len(graph.nodes) + 256))
    while True:
        found = _Recognition(kept, budget)
        result = rewrite(graph, found.rule_for, cells=False)
        # an activation that something else reads as well would be there twice
        twice = {found.origin[p] for p, _ in result.walk() if p in found.origin} & found.replaced
        if not twice:
            return result
        kept |= twice


class _Recognition:
    """One sweep: which nodes the new ones come from, and which of the old ones others took the place of."""

    def __init__(self, kept: set[int], budget: _Budget) -> None:
        self.kept = kept
        self.budget = budget
        # affine nodes over nodes with a modulus
        self.above: set[int] = set()
        self.origin: dict[int, int] = {}
        self.replaced: set[int] = set()

    def rule_for(self, work: Rewriting) -> Rule:
        """The rule for the graph."""

        def rule(position: int, node: Affine | Activation) -> int:
            here = work.builder.add(node)
            self.origin[here] = position
            nodes = work.builder.nodes
            if isinstance(node, Affine) and any(p in self.above or _modulus(nodes[p]) for p in nodes[here].parents):
                self.above.add(here)
                kept = frozenset(p for p, q in self.origin.items() if q in self.kept)
                found = _recognised(work.builder, here, kept, self.budget)
                if found is not None:
                    here, latents = found
                    self.replaced |= {self.origin[p] for p in latents}
            return here

        return rule


# affine nodes that are written out for one node of the graph, on average
_EXPANSIONS = 4


@dataclass
class _Budget:
    """Steps that are left: long chains of affine nodes would take their square."""

    left: int

    def spend(self) -> bool:
        """Whether there is one more."""
        self.left -= 1
        return self.left >= 0


@dataclass(frozen=True, eq=False)
class _Rows:
    """Σ_p A_p x_p + b over nodes p, computed without a rounding error."""

    terms: Mapping[int, sp.csr_array]
    bias: Array

    def plus(self, other: _Rows) -> _Rows | None:
        """The sum; None where it would be rounded."""
        terms = dict(self.terms)
        for p, a in other.terms.items():
            total = _exact_sum(terms[p], a) if p in terms else a
            if total is None:
                return None
            terms[p] = total
        if self.bias.any() and other.bias.any():
            return None
        return _Rows({p: a for p, a in terms.items() if a.nnz}, self.bias + other.bias)

    def expanded(self, builder: GraphBuilder, position: int) -> _Rows | None:
        """With the affine node at `position` written out; None where its maps are not entrywise or a product rounds."""
        node = builder.nodes[position]
        if not isinstance(node, Affine) or not all(
            isinstance(a, (Index, Sparse)) or (isinstance(a, Diagonal) and a.radii is None) for a in node.maps
        ):
            return None
        outer = self.terms[position]
        rest: _Rows | None = _Rows({p: a for p, a in self.terms.items() if p != position}, self.bias)
        for parent, a in zip(node.parents, node.maps, strict=True):
            matrix = a.to_sparse()
            if rest is None or not (_binary(outer.data) or _binary(matrix.data)) or not _single(outer, matrix):
                return None
            part = sp.csr_array(outer @ matrix)
            part.eliminate_zeros()
            rest = rest.plus(_Rows({parent: part} if part.nnz else {}, np.zeros_like(self.bias)))
        if rest is None or node.bias is None:
            return rest
        if not (_binary(outer.data) or _binary(node.bias)) or not _single(outer, sp.csr_array(node.bias[:, None])):
            return None
        return rest.plus(_Rows({}, outer @ node.bias))

    def unit(self) -> bool:
        """Whether each row is one number x_p[i], up to the bias."""
        if not self.terms or any(not (a.data == 1.0).all() for a in self.terms.values()):
            return False
        return bool((np.sum([np.diff(a.indptr) for a in self.terms.values()], axis=0) == 1).all())

    def lanes(self, offsets: IntArray) -> tuple[IntArray, Array] | None:
        """For rows with at most one entry: its place among the numbers of all nodes, −1 for none, and its value."""
        place, value = np.full(self.bias.size, -1, dtype=np.int64), np.zeros(self.bias.size)
        for p, a in self.terms.items():
            row, column = sp.coo_array(a).coords
            if (place[row] >= 0).any() or np.unique(row).size != row.size:
                return None
            place[row], value[row] = column + offsets[p], a.data
        return place, value


def _binary(data: Array) -> bool:
    """Whether all numbers are powers of two up to sign, or zero: products with them are exact."""
    mantissa = np.abs(np.frexp(data)[0])
    return bool(((mantissa == 0.5) | (mantissa == 0.0)).all())


def _single(outer: sp.csr_array, inner: sp.csr_array) -> bool:
    """Whether every entry of the product is one product of entries."""
    pattern = [sp.csr_array((np.ones(a.nnz), a.indices, a.indptr), shape=a.shape) for a in (outer, inner)]
    return bool((pattern[0] @ pattern[1]).max() <= 1.0) if outer.nnz and inner.nnz else True


def _exact_sum(a: sp.csr_array, b: sp.csr_array) -> sp.csr_array | None:
    """a + b where no entry is rounded (the error term of TwoSum vanishes), else None."""
    total = sp.csr_array(a + b)
    if abs(total - a - b).sum() or abs(total - b - a).sum():
        return None
    total.eliminate_zeros()
    return total


def _modulus(node: Node) -> tuple[float, float] | None:
    """(p, q) for an activation m(t) = p·t + q·min(t, 0), exactly."""
    if not isinstance(node, Activation):
        return None
    if node.kind == "clip":
        low, high = node.parameters["low"], node.parameters["high"]
        return (0.0, 1.0) if np.isneginf(low).all() and not high.any() else None
    return {"relu": (1.0, -1.0), "abs": (1.0, -2.0)}.get(node.kind)


def _highest(builder: GraphBuilder, rows: _Rows) -> int | None:
    """The last affine node among the terms."""
    return max((p for p in rows.terms if isinstance(builder.nodes[p], Affine)), default=None)


def _recognised(
    builder: GraphBuilder, position: int, kept: frozenset[int], budget: _Budget
) -> tuple[int, set[int]] | None:
    """A node equal to the one at `position` with fewer activations, and the activations that it stands for."""
    size = builder.nodes[position].size
    rows: _Rows | None = _Rows({position: sp.csr_array(sp.eye_array(size))}, np.zeros(size))
    while rows is not None:
        latents = [p for p in rows.terms if _modulus(builder.nodes[p]) is not None]
        top = _highest(builder, rows)
        if latents and (top is None or top < min(latents)):
            break
        if top is None or not budget.spend():
            return None
        rows = rows.expanded(builder, top)
    if rows is None or kept.intersection(latents):
        return None
    gamma = sp.csr_array(sp.hstack([rows.terms[p] for p in latents]))
    rest = _Rows({p: a for p, a in rows.terms.items() if p not in latents}, rows.bias)
    counts = np.diff(gamma.indptr)
    if counts.max() == 1:
        here = _reflection(builder, latents, gamma, rest)
    else:
        here = _clip(builder, latents, gamma, rest) if (counts == 2).all() else None
    return None if here is None else (here, set(latents))


def _reflection(builder: GraphBuilder, latents: list[int], gamma: sp.csr_array, rest: _Rows) -> int | None:
    """rest + γ m(t) as a reflection."""
    parts = [_modulus(builder.nodes[r]) or (0.0, 0.0) for r in latents]
    p, q = (
        np.concatenate([np.full(builder.nodes[r].size, part[k]) for r, part in zip(latents, parts, strict=True)])
        for k in (0, 1)
    )
    # A x + B t + γ m(t) = A x + (B + γp) t + γq min(t, 0) = A x + (B + γ(p + q)) t + γq min(−t, 0)
    for sign, share in ((1.0, p), (-1.0, p + q)):
        base = rest.plus(_arguments(builder, latents, sp.csr_array(gamma * share)))
        while base is not None and not base.unit():
            top = _highest(builder, base)
            base = None if top is None else base.expanded(builder, top)
        if base is not None:
            return _reflected(builder, latents, base, sp.csr_array(gamma * -q), sign)
    return None


def _clip(builder: GraphBuilder, latents: list[int], gamma: sp.csr_array, rest: _Rows) -> int | None:
    """αx + γ(relu(s₁(x − k₁)) − relu(s₂(x − k₂))) + β with s₁, s₂ = ±1 as a clip or softshrink."""
    nodes = [node for r in latents if isinstance(node := builder.nodes[r], Activation) and node.kind == "relu"]
    jump = gamma.data.reshape(-1, 2)
    if len(nodes) < len(latents) or jump.sum(axis=1).any():
        return None
    every = sp.csr_array(sp.eye_array(gamma.shape[1]))
    pairs = gamma.indices.reshape(-1, 2).astype(np.int64)
    parts = [rest, *(_arguments(builder, latents, sp.csr_array(every[column])) for column in pairs.T)]
    offsets = _offsets(builder)
    while True:
        line, first, second = (rows.lanes(offsets) for rows in parts)
        if line is not None and first is not None and second is not None:
            x = first[0]
            if (x >= 0).all() and (second[0] == x).all() and ((line[0] == x) | (line[0] < 0)).all():
                break
        top = max((top for rows in parts if (top := _highest(builder, rows)) is not None), default=None)
        if top is None:
            return None
        written = [rows.expanded(builder, top) if top in rows.terms else rows for rows in parts]
        parts = [rows for rows in written if rows is not None]
        if len(parts) < 3:
            return None
    s1, s2, b1, b2, g = first[1], second[1], parts[1].bias, parts[2].bias, jump[:, 0]
    if (np.abs(s1) != 1.0).any() or (np.abs(s2) != 1.0).any() or not (_binary(g) or _binary(np.r_[b1, b2])):
        return None
    # γ relu(−t) = γ relu(t) − γt, and relu(x − low) − relu(x − high) = clip(x, low, high) − low
    low, high = np.minimum(-s1 * b1, -s2 * b2), np.maximum(-s1 * b1, -s2 * b2)
    height = np.where(-s1 * b1 <= -s2 * b2, g, -g)
    slope = _exactly(line[1], np.where(s1 < 0, -g, 0.0), np.where(s2 < 0, g, 0.0))
    shift = _exactly(parts[0].bias, np.where(s1 < 0, g * b1, 0.0), np.where(s2 < 0, -g * b2, 0.0), -height * low)
    if slope is None or shift is None:
        return None
    position, name = _gathered(builder, x, offsets), nodes[0].name
    channel = _channel(nodes, pairs[:, 0])
    if (slope == 1.0).all() and (height == -1.0).all() and (low == -high).all() and not shift.any():
        return builder.activation(position, "softshrink", 1, _short({"lambd": high}), channel, name)
    clip = builder.activation(position, "clip", 1, _short({"low": low, "high": high}), channel, name)
    parents, maps = ([position, clip], [slope, height]) if slope.any() else ([clip], [height])
    return builder.affine(parents, [_diagonal(a) for a in maps], shift if shift.any() else None, name)


def _arguments(builder: GraphBuilder, latents: list[int], outer: sp.csr_array) -> _Rows:
    """outer · t, t the arguments of the latents."""
    terms: dict[int, sp.csr_array] = {}
    first = 0
    outer.eliminate_zeros()
    for latent in latents:
        node = builder.nodes[latent]
        part = sp.csr_array(outer[:, first : first + node.size])
        first += node.size
        if part.nnz:
            (parent,) = node.parents
            terms[parent] = sp.csr_array(terms[parent] + part) if parent in terms else part
    return _Rows(terms, np.zeros(outer.shape[0]))


def _reflected(builder: GraphBuilder, latents: list[int], base: _Rows, u: sp.csr_array, sign: float) -> int | None:
    """x − u·min(±cᵀx, 0) + bias, the numbers x and the bias from `base`, where it is a reflection."""
    offsets = _offsets(builder)
    lanes = base.lanes(offsets)
    order, block = _groups(u)
    if order is None or lanes is None or np.unique(lanes[0]).size != lanes[0].size:
        return None
    used = np.unique(u.indices).astype(np.int64)
    rows: _Rows | None = _arguments(builder, latents, sp.csr_array(sp.csr_array(sp.eye_array(u.shape[1]))[used]))
    while rows is not None and not set(rows.terms) <= set(base.terms):
        top = _highest(builder, rows)
        rows = None if top is None else rows.expanded(builder, top)
    if rows is None or rows.bias.any():
        return None
    members = lanes[0][order]
    slot = np.full(offsets[-1], -1, dtype=np.int64)
    slot[members] = np.arange(members.size).reshape(members.shape)
    c = np.zeros(members.shape)
    for p, a in rows.terms.items():
        row, column = sp.coo_array(a).coords
        at = slot[column + offsets[p]]
        if (at < 0).any() or (at // block != row).any():
            return None
        c[row, at % block] = sign * a.data
    weights = np.asarray(u.sum(axis=1), dtype=np.float64).ravel()[order]
    size = (c * c).sum(axis=1, keepdims=True)
    room = _TOLERANCE * np.abs(weights).max()
    if not size.all() or not np.allclose(weights, 2.0 * c / size, rtol=_TOLERANCE, atol=room):
        return None
    nodes = [node for r in latents if isinstance(node := builder.nodes[r], Activation)]
    channel, name = _channel(nodes, used), nodes[0].name
    place = np.argsort(order.ravel())
    if block == 2 and (weights[:, :, None] * c[:, None, :] == np.array([[1.0, -1.0], [-1.0, 1.0]])).all():
        # the order within a pair does not matter: sorted, as Max and Min are read; the larger number is where u > 0
        x = _gathered(builder, np.sort(members, axis=1).ravel(), offsets)
        activation = builder.activation(x, "sort", 2, channel=channel, name=name)
        place = (2 * np.arange(order.shape[0])[:, None] + (weights > 0)).ravel()[place]
    else:
        x = _gathered(builder, members.ravel(), offsets)
        activation = builder.activation(x, "householder", block, _short({"u": weights, "c": c}), channel, name)
    bias = base.bias if base.bias.any() else None
    return builder.affine([activation], [Index(place, members.size)], bias, name)


def _groups(u: sp.csr_array) -> tuple[IntArray | None, int]:
    """The rows of each used latent, (latents, block); rows of weight zero fill the groups that are too small."""
    used = np.unique(u.indices).astype(np.int64)
    count = u.shape[0]
    if used.size == 0 or count % used.size or count == used.size:
        return None, 0
    block = count // used.size
    latent = np.full(count, -1, dtype=np.int64)
    latent[np.diff(u.indptr) == 1] = np.searchsorted(used, u.indices)
    missing = block - np.bincount(latent[latent >= 0], minlength=used.size)
    if (missing < 0).any():
        return None, 0
    latent[latent < 0] = np.repeat(np.arange(used.size), missing)
    return np.argsort(latent, kind="stable").reshape(used.size, block), block


def _offsets(builder: GraphBuilder) -> IntArray:
    """Where the numbers of each node start among those of all nodes."""
    return np.cumsum([0, *(node.size for node in builder.nodes)])


def _gathered(builder: GraphBuilder, places: IntArray, offsets: IntArray) -> int:
    """The numbers at these places among those of all nodes."""
    owner = np.searchsorted(offsets, places, side="right") - 1
    parents = [int(p) for p in np.unique(owner)]
    maps = [Index(np.where(owner == p, places - offsets[p], -1), builder.nodes[p].size) for p in parents]
    return builder.affine(parents, maps)


def _channel(nodes: list[Activation], latents: IntArray) -> IntArray | None:
    """The convolution channels of some of the latents of activations."""
    if any(node.channel is None for node in nodes):
        return None
    return np.concatenate([node.channel for node in nodes if node.channel is not None])[latents]


def _short(parameters: dict[str, Array]) -> dict[str, Array]:
    """The parameters, or those of one block where all are alike."""
    alike = all((value == value[0]).all() for value in parameters.values())
    return {key: value[:1] if alike else value for key, value in parameters.items()}


def _diagonal(entries: Array) -> LinearMap:
    return identity(entries.size) if (entries == 1.0).all() else Diagonal(entries)


def _exactly(*summands: Array) -> Array | None:
    """The sum, None where it is rounded."""
    total = np.zeros_like(summands[0])
    for part in summands:
        following = total + part
        if (following - total != part).any() or (following - part != total).any():
            return None
        total = following
    return total
