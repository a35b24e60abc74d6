"""Elementwise functions by meaning: products, quotients, powers and switches that only together have a bounded slope.

x², e^x, x·y or a comparison have no global slope bound, but x·σ(x), log(1 + e^x), x + sin²(x) or a switch between two
branches that agree on its surface have one. Such an operation becomes an `Unproven` node; what combines into a record of
the table is recognised where it appears, switches at the end by `settle`, and an `Unproven` node that the output still
depends on refuses the model with its reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import scipy.sparse as sp

from lipcert.errors import UnsupportedModel
from lipcert.graph.linear_maps import Diagonal, Index, LinearMap, Sparse, identity
from lipcert.graph.nodes import Activation, Affine, Graph, GraphBuilder, Input, Node, moved
from lipcert.graph.recognition import recognise

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray

# float32 constants make identities true only up to rounding
_TOLERANCE = 1e-5


@dataclass(frozen=True, eq=False)
class Unproven:
    """An elementwise operation without a bounded slope.

    Attributes
    ----------
    kind
        'power', 'exp', 'log', 'sqrt', 'product', 'quotient', 'sign', 'step' ([t > 0] of its parent t), 'gate'
        ([t > 0]·d of its parents t and d).
    reason
        Why there is no bound, in words for the user.
    exponent
        Of a power.
    """

    parents: tuple[int, ...]
    kind: str
    size: int
    reason: str
    exponent: float = 0.0
    name: str = ""

    def fingerprint(self) -> bytes:
        """SHA-256 of what the node computes."""
        return hashlib.sha256(f"unproven {self.kind} {self.size} {self.exponent}".encode()).digest()


@dataclass(frozen=True, eq=False)
class Lanes:
    """Σ_k scale_k · x_k[index_k] + shift, number by number.

    Attributes
    ----------
    terms
        (position of x_k, index_k, scale_k).
    rounded
        Whether a scale is the centre of an enclosure.
    """

    terms: tuple[tuple[int, IntArray, Array], ...]
    shift: Array
    rounded: bool = False

    @property
    def size(self) -> int:
        """How many numbers."""
        return self.shift.size

    def single(self) -> tuple[int, IntArray, Array] | None:
        """The only term, or None."""
        return self.terms[0] if len(self.terms) == 1 else None

    def rows(self, builder: GraphBuilder) -> sp.csr_array:
        """One sparse row a number over the numbers of all nodes, the shift in column 0."""
        offsets = np.cumsum([1, *(node.size for node in builder.nodes)])
        row = np.tile(np.arange(self.size), len(self.terms) + 1)
        columns = np.concatenate([*(index + offsets[p] for p, index, _ in self.terms), np.zeros(self.size, np.int64)])
        values = np.concatenate([*(scale for _, _, scale in self.terms), self.shift])
        return sp.csr_array((values, (row, columns)), shape=(self.size, int(offsets[-1])))


def resolve(builder: GraphBuilder, position: int, stop: frozenset[int] = frozenset()) -> Lanes:
    """A node through all affine nodes that act number by number, data movement included, up to the nodes `stop`."""
    node = builder.nodes[position]
    through = isinstance(node, Affine) and position not in stop
    entries = [_row_entries(a) for a in node.maps] if through and isinstance(node, Affine) else [None]
    if any(entry is None for entry in entries):
        return Lanes(((position, np.arange(node.size), np.ones(node.size)),), np.zeros(node.size))
    assert isinstance(node, Affine)
    shift = np.zeros(node.size) if node.bias is None else node.bias
    terms: list[tuple[int, IntArray, Array]] = []
    rounded = any(a.radius is not None for a in node.maps)
    for parent, entry in zip(node.parents, entries, strict=True):
        assert entry is not None
        index, value = entry
        below = resolve(builder, parent, stop)
        shift = shift + value * below.shift[index]
        terms += [(p, i[index], value * s[index]) for p, i, s in below.terms]
        rounded = rounded or below.rounded
    merged: list[tuple[int, IntArray, Array]] = []
    for p, i, s in terms:
        for k, (q, j, r) in enumerate(merged):
            if p == q and np.array_equal(i, j):
                merged[k] = (q, j, r + s)
                break
        else:
            merged.append((p, i, s))
    return Lanes(tuple(term for term in merged if term[2].any()), shift, rounded)


def _chain(builder: GraphBuilder, position: int) -> frozenset[int]:
    """The node and the nodes that `resolve` goes through below it."""
    found = {position}
    node = builder.nodes[position]
    if isinstance(node, Affine) and all(_row_entries(a) is not None for a in node.maps):
        for parent in node.parents:
            found |= _chain(builder, parent)
    return frozenset(found)


def _row_entries(a: LinearMap) -> tuple[IntArray, Array] | None:
    """(column, value) of the only entry of each row; None where a row has more or entries are not exact."""
    if isinstance(a, Index):
        return np.maximum(a.index, 0), (a.index >= 0).astype(np.float64)
    if isinstance(a, Diagonal):
        return np.arange(a.entries.size), a.entries
    if isinstance(a, Sparse) and a.terms <= 1:
        index, value = np.zeros(a.shape[0], dtype=np.int64), np.zeros(a.shape[0])
        used = np.diff(a.matrix.indptr) == 1
        index[used], value[used] = a.matrix.indices, a.matrix.data
        return index, value
    return None


class Elementwise:
    """Elementwise operations on nodes of equal size, which add to a builder.

    Parameters
    ----------
    builder
        Where nodes are added.
    idealise
        Called with a line on what was taken as equal although it holds only up to rounding.
    """

    def __init__(self, builder: GraphBuilder, idealise: Callable[[str], None]) -> None:
        self.builder = builder
        self._idealise = idealise

    # ---- small pieces

    def scaled(self, x: int, scale: Array | float, shift: Array | float = 0.0, name: str = "") -> int:
        """scale·x + shift."""
        size = self.builder.nodes[x].size
        scale, shift = np.broadcast_to(scale, size), np.broadcast_to(shift, size)
        if (scale == 1.0).all() and not shift.any():
            return x
        a = identity(size) if (scale == 1.0).all() else Diagonal(np.array(scale, dtype=np.float64))
        return self.builder.affine([x], [a], np.array(shift, dtype=np.float64) if shift.any() else None, name)

    def divided(self, x: int, by: Array, name: str) -> int:
        """x/by for a constant without zeros; the reciprocal as an enclosure."""
        by = np.broadcast_to(np.asarray(by, dtype=np.float64), self.builder.nodes[x].size)
        inverse = 1.0 / by
        mantissa = np.abs(np.frexp(by)[0])
        radius = np.where(mantissa == 0.5, 0.0, np.spacing(np.abs(inverse)))
        return self.builder.affine([x], [Diagonal(inverse, radius if radius.any() else None)], None, name)

    def gather(self, x: int, index: IntArray, name: str = "") -> int:
        """x[index]."""
        return self.builder.affine([x], [Index(index, self.builder.nodes[x].size)], None, name)

    def added(self, x: int, y: int, sign: float = 1.0) -> int:
        """x + sign·y."""
        size = self.builder.nodes[x].size
        second: LinearMap = identity(size) if sign == 1.0 else Diagonal(np.full(size, sign))
        return self.builder.affine([x, y], [identity(size), second])

    def apply(self, kind: str, x: int, channel: IntArray | None, name: str, **parameters: Array | float) -> int:
        """A pointwise record of the table; parameters are one number or one a number of x."""
        size = self.builder.nodes[x].size
        arrays = {}
        for key, value in parameters.items():
            array = np.asarray(value, dtype=np.float64).reshape(-1)
            arrays[key] = array[:1] if array.size and (array == array[0]).all() else np.broadcast_to(array, size).copy()
        return self.builder.activation(x, kind, 1, arrays, channel, name)

    def unproven(self, kind: str, parents: Sequence[int], reason: str, name: str, exponent: float = 0.0) -> int:
        """A node that is refused unless it combines with others."""
        size = self.builder.nodes[parents[0]].size
        return self.builder.add(cast("Node", Unproven(tuple(parents), kind, size, reason, exponent, name)))

    def _of(self, position: int, kind: str) -> Activation | Unproven | None:
        node: object = self.builder.nodes[position]
        return node if isinstance(node, (Activation, Unproven)) and node.kind == kind else None

    def _argument(
        self, lanes: Lanes, *kinds: str, stop: frozenset[int] = frozenset()
    ) -> tuple[Any, Lanes, Array] | None:
        """For γ·f(z) + ζ with f one of `kinds`: the node of f, z as lanes over the nodes `stop` or lower ones, γ."""
        term = lanes.single()
        if term is None:
            return None
        node: Any = self.builder.nodes[term[0]]
        if (
            not isinstance(node, (Activation, Unproven))
            or node.kind not in kinds
            or node.size != _parent_size(self, node)
        ):
            return None
        inner = _taken(resolve(self.builder, node.parents[0], stop), term[1])
        return node, inner, term[2]

    def _multiple(self, a: int, of: tuple[int, IntArray, Array] | None) -> Array | None:
        """α where a = α times the numbers of the term `of`."""
        lanes = resolve(self.builder, a, frozenset({of[0]})) if of is not None else None
        term = lanes.single() if lanes is not None else None
        if lanes is None or term is None or of is None or lanes.shift.any() or not _same_lane(term, of):
            return None
        return term[2]

    # ---- products

    def product(self, a: int, b: int, channel: IntArray | None, name: str) -> int:
        """a·b."""
        for first, second in ((a, b), (b, a)):
            found = self._switched(first, second, name)
            if found is None:
                found = self._known_product(first, second, channel, name)
            if found is not None:
                return found
            power = self._power_product(first, second, name)
            if power is not None:
                return power
        return self.unproven(
            "product", (a, b), "a product of two signals has no bounded slope that is known here", name
        )

    def _known_product(self, a: int, b: int, channel: IntArray | None, name: str) -> int | None:
        """a·b for a = α·x and b = γ·f(δ·x + ε) + ζ, where the table knows the product."""
        # x is the nearest node that both depend on, so that its bias does not matter
        stop = _chain(self.builder, a)
        outer = resolve(self.builder, b, stop)
        kinds = ("sigmoid", "erf", "tanh", "hard_sigmoid", "clip", "sign")
        found = self._argument(outer, *kinds, stop=stop)
        if found is None:
            return None
        node, inner, gamma = found
        zeta = outer.shift
        if outer.rounded or inner.rounded:
            self._idealise(f"{name}: quotients of constants inside this activation are rounded to float64")
        gate = bool(np.array_equal(zeta, gamma))
        if node.kind == "tanh" and not zeta.any():
            return self._mish(a, inner, gamma, channel, name)
        if node.kind == "tanh" and gate and len(inner.terms) == 2:
            return self._gelu_tanh(a, inner, gamma, channel, name)
        x = inner.single()
        alpha = self._multiple(a, x)
        if x is None or alpha is None:
            return None
        delta, shift = x[2], inner.shift
        base = self.gather(x[0], x[1])
        if node.kind == "clip" and not zeta.any():
            low, high = (np.broadcast_to(node.parameters[key], gamma.shape) for key in ("low", "high"))
            if low.any() or not (high > 0).all() or not np.isfinite(high).all():
                return None
            result = self.apply("hard_swish", base, channel, name, alpha=delta / high, beta=shift / high)
            return self.scaled(result, alpha * gamma * high)
        if node.kind == "hard_sigmoid" and not zeta.any():
            slope, offset = node.parameters["alpha"], node.parameters["beta"]
            result = self.apply("hard_swish", base, channel, name, alpha=slope * delta, beta=slope * shift + offset)
            return self.scaled(result, alpha * gamma)
        if shift.any():
            return None
        if node.kind == "sigmoid" and not zeta.any():
            return self.scaled(self.apply("silu", base, channel, name, beta=delta), alpha * gamma)
        if node.kind == "tanh" and gate:
            return self.scaled(self.apply("silu", base, channel, name, beta=2.0 * delta), 2.0 * alpha * gamma)
        if node.kind == "erf" and gate:
            return self.scaled(self.apply("gelu", base, channel, name, rate=delta), 2.0 * alpha * gamma)
        if node.kind == "sign" and not zeta.any():
            return self.scaled(self.apply("abs", base, channel, name), alpha * gamma * np.sign(delta))
        return None

    def _mish(self, a: int, inner: Lanes, gamma: Array, channel: IntArray | None, name: str) -> int | None:
        """αx·γ·tanh(softplus(δx)) = (αγ/δ)·mish(δx)."""
        found = self._argument(inner, "softplus", stop=_chain(self.builder, a))
        if found is None or inner.shift.any() or not (found[2] == 1.0).all() or found[1].shift.any():
            return None
        x = found[1].single()
        alpha = self._multiple(a, x)
        if x is None or alpha is None or not (found[0].parameters["beta"] == 1.0).all():
            return None
        mish = self.apply("mish", self.scaled(self.gather(x[0], x[1]), x[2]), channel, name)
        return self.scaled(mish, alpha / x[2] * gamma)

    def _gelu_tanh(self, a: int, inner: Lanes, gamma: Array, channel: IntArray | None, name: str) -> int | None:
        """αx·γ(1 + tanh(√(2/π)(δx + 0.044715 (δx)³))) = (2αγ/δ)·gelu(δx)."""
        cubic = next((t for t in inner.terms if self._of(t[0], "power")), None)
        linear = next((t for t in inner.terms if t is not cubic), None)
        alpha = self._multiple(a, linear)
        if inner.shift.any() or cubic is None or linear is None or alpha is None:
            return None
        cube: Any = self.builder.nodes[cubic[0]]
        z = _taken(resolve(self.builder, cube.parents[0], frozenset({linear[0]})), cubic[1])
        x = z.single()
        root = np.sqrt(2.0 / np.pi)
        if (
            cube.exponent != 3.0
            or x is None
            or z.shift.any()
            or not _same_lane(x, linear)
            or not np.allclose(linear[2], root * x[2], rtol=_TOLERANCE)
            or not np.allclose(cubic[2], root * 0.044715, rtol=_TOLERANCE)
        ):
            return None
        self._idealise(f"{name}: √(2/π) and 0.044715 of the tanh form of GELU are taken as exact numbers")
        gelu = self.apply("gelu_tanh", self.scaled(self.gather(x[0], x[1]), x[2]), channel, name)
        return self.scaled(gelu, 2.0 * alpha / x[2] * gamma)

    def _power_product(self, a: int, b: int, name: str) -> int | None:
        """a·b for b = γ·(δx)ᵏ and a = αx, as (αγ/δ)·(δx)ᵏ⁺¹, so that x·x·x is x³."""
        if a == b:
            return self.power(a, 2.0, None, name)
        stop = _chain(self.builder, a)
        outer = resolve(self.builder, b, stop)
        found = self._argument(outer, "power", stop=stop)
        if found is None or outer.shift.any() or found[1].shift.any():
            return None
        x = found[1].single()
        alpha = self._multiple(a, x)
        if x is None or alpha is None:
            return None
        node = self.power(self._node(found[1]), found[0].exponent + 1.0, None, name)
        return self.scaled(node, alpha / x[2] * found[2])

    def power(self, a: int, exponent: float, channel: IntArray | None, name: str) -> int:
        """a to a constant power."""
        if exponent == 1.0:
            return a
        if exponent == 0.5:
            return self.sqrt(a, channel, name)
        lanes = resolve(self.builder, a)
        if exponent == 2.0 and not lanes.shift.any():
            sine = self._argument(lanes, "sin")
            if sine is not None:
                return self.scaled(self.apply("sin_squared", self._node(sine[1]), channel, name), sine[2] ** 2)
        return self.unproven(
            "power", (a,), f"x to the power {exponent:g} has no bounded slope on all numbers", name, exponent
        )

    def sqrt(self, a: int, channel: IntArray | None, name: str) -> int:
        """√a: √(κ·x² + c) with κ, c > 0 is known."""
        lanes = resolve(self.builder, a)
        found = self._argument(lanes, "power")
        if found is not None and found[0].exponent == 2.0 and (found[2] > 0).all() and (lanes.shift > 0).all():
            root = np.sqrt(found[2])
            if (root**2 != found[2]).any():
                self._idealise(f"{name}: the square root of a constant is taken as the nearest float64 number")
            x = self.scaled(self._node(found[1]), root)
            return self.apply("soft_abs", x, channel, name, offset=lanes.shift)
        return self.unproven("sqrt", (a,), "the slope of a square root is unbounded at zero", name)

    def exp(self, a: int, name: str) -> int:
        """e^a."""
        return self.unproven("exp", (a,), "the slope of the exponential is unbounded", name)

    def log(self, a: int, channel: IntArray | None, name: str) -> int:
        """log a: log σ(x), log(1 + e^x) and the logarithm of a softmax are known."""
        lanes = resolve(self.builder, a)
        sigmoid = self._argument(lanes, "sigmoid")
        if sigmoid is not None and not lanes.shift.any() and (sigmoid[2] == 1.0).all():
            return self.apply("log_sigmoid", self._node(sigmoid[1]), channel, name)
        exponential = self._argument(lanes, "exp")
        if exponential is not None and (lanes.shift == 1.0).all() and (exponential[2] == 1.0).all():
            return self.apply("softplus", self._node(exponential[1]), channel, name, beta=1.0)
        term = lanes.single()
        softmax: Any = self.builder.nodes[term[0]] if term is not None else None
        whole = term is not None and not lanes.shift.any() and (term[2] == 1.0).all()
        if term is not None and whole and isinstance(softmax, Activation) and softmax.kind == "softmax":
            out = self.builder.activation(softmax.parent, "log_softmax", softmax.block, name=name)
            return self.gather(out, term[1])
        found = self._log_sum_exp(a, name)
        if found is not None:
            return found
        return self.unproven("log", (a,), "the slope of a logarithm is unbounded at zero", name)

    def _log_sum_exp(self, a: int, name: str) -> int | None:
        """log Σ_j e^(x_j + c) = c + log Σ_j e^(x_j), with a part c that is common to the sum, such as −max x."""
        lanes = resolve(self.builder, a)
        term = lanes.single()
        node: Any = self.builder.nodes[term[0]] if term is not None else None
        plain = term is not None and not lanes.shift.any() and (term[2] == 1.0).all()
        if term is None or not plain or not isinstance(node, Affine) or node.bias is not None or len(node.maps) != 1:
            return None
        exponential: Any = self._of(node.parents[0], "exp")
        matrix = node.maps[0].to_sparse()
        counts = np.diff(matrix.indptr)
        if (
            exponential is None
            or node.maps[0].radius is not None
            or not (matrix.data == 1.0).all()
            or (counts != max(counts[0], 1)).any()
        ):
            return None
        windows = matrix.indices.astype(np.int64).reshape(-1, counts[0])
        x = resolve(self.builder, exponential.parents[0])
        common: list[tuple[int, IntArray, Array]] = []
        own: list[tuple[int, IntArray, Array]] = []
        for p, index, scale in x.terms:
            i, s = index[windows], scale[windows]
            shared = counts[0] > 1 and (i == i[:, :1]).all() and (s == s[:, :1]).all()
            (common if shared else own).append((p, index, scale))
        if not own:
            return None
        inside = self._node(_taken(Lanes(tuple(own), x.shift, x.rounded), windows.ravel()))
        result = self.builder.activation(inside, "log_sum_exp", int(counts[0]), name=name)
        if common:
            outside = Lanes(tuple(common), np.zeros(x.size), x.rounded)
            result = self.added(result, self._node(_taken(outside, windows[:, 0])))
        return self.gather(result, term[1])

    def quotient(self, a: int, b: int, channel: IntArray | None, name: str) -> int:
        """a/b: x/(c + |x|) and x/(1 + e^(−x)) are known."""
        stop = _chain(self.builder, a)
        bottom = resolve(self.builder, b, stop)
        found = self._argument(bottom, "abs", "exp", stop=stop)
        x = found[1].single() if found is not None else None
        alpha = self._multiple(a, x)
        if found is not None and x is not None and alpha is not None and not found[1].shift.any():
            node, _, gamma = found
            base = self.gather(x[0], x[1])
            if node.kind == "abs" and (gamma > 0).all() and (bottom.shift > 0).all():
                # αx/(ζ + γ|δx|) = (α/(ζs))·softsign(s·x) with s = γ|δ|/ζ
                s = gamma * np.abs(x[2]) / bottom.shift
                if (s != 1.0).any():
                    self._idealise(f"{name}: quotients of constants inside this activation are rounded to float64")
                softsign = self.apply("softsign", self.scaled(base, s), channel, name)
                return self.scaled(softsign, alpha / (bottom.shift * s))
            if node.kind == "exp" and (bottom.shift == 1.0).all() and (gamma == 1.0).all():
                return self.scaled(self.apply("silu", base, channel, name, beta=-x[2]), alpha)
        return self.unproven("quotient", (a, b), "division by a signal has no bounded slope that is known here", name)

    def reciprocal(self, a: int, numerator: Array | float, channel: IntArray | None, name: str) -> int:
        """constant/a: 1/(1 + e^x) is known."""
        lanes = resolve(self.builder, a)
        found = self._argument(lanes, "exp")
        if found is not None and (lanes.shift == 1.0).all() and (found[2] == 1.0).all():
            x = self.scaled(self._node(found[1]), -1.0)
            return self.scaled(self.apply("sigmoid", x, channel, name), numerator)
        return self.unproven("quotient", (a,), "division by a signal has no bounded slope that is known here", name)

    # ---- switches

    def sign(self, a: int, name: str) -> int:
        """−1, 0 or 1."""
        return self.unproven("sign", (a,), "Sign jumps at zero", name)

    def step(self, t: int, name: str) -> int:
        """[t > 0]; what happens at t = 0 does not matter where the result is continuous."""
        return self.unproven("step", (t,), "a comparison jumps", name)

    def _switched(self, mask: int, signal: int, name: str) -> int | None:
        """mask·signal for mask = c₀ + c₁·[t > 0]."""
        lanes = resolve(self.builder, mask)
        found = self._argument(lanes, "step")
        if found is None:
            return None
        _, t, scale = found
        gate = self.unproven(
            "gate", (signal, self._node(t)), "the two sides of a switch do not agree where it switches: a jump", name
        )
        result = self.scaled(gate, scale)
        return self.added(result, self.scaled(signal, lanes.shift)) if lanes.shift.any() else result

    def where(self, mask: int, a: int, b: int, name: str) -> int:
        """a where the mask holds, else b."""
        gated = self._switched(mask, self.added(a, b, -1.0), name)
        if gated is None:
            return self.unproven("product", (a, b, mask), "a selection by something other than a comparison", name)
        return self.added(b, gated)

    def _node(self, lanes: Lanes) -> int:
        """A node that computes the lanes."""
        if lanes.rounded:
            self._idealise("quotients of constants next to activations are rounded to float64")
        parents = [p for p, _, _ in lanes.terms]
        maps: list[LinearMap] = []
        for p, index, scale in lanes.terms:
            n = self.builder.nodes[p].size
            if (scale == 1.0).all():
                maps.append(Index(index, n))
            else:
                rows = np.arange(lanes.size)
                maps.append(Sparse(sp.csr_array((scale, (rows, index)), shape=(lanes.size, n))))
        if not maps:
            raise UnsupportedModel("an activation acts on a constant", advice="fold it into the next layer")
        return self.builder.affine(parents, maps, lanes.shift if lanes.shift.any() else None)

    # ---- the end

    def settle(self, graph: Graph) -> Graph:
        """The graph with its switches turned into ReLUs, without nodes that its output does not need.

        Raises
        ------
        UnsupportedModel
            Where an operation without a bounded slope is left.
        """
        builder = self.builder
        place: dict[int, int] = {}
        for position, node in list(graph.walk()):
            if isinstance(node, Input):
                place[position] = position
                continue
            parents = [place[p] for p in node.parents]
            changed = parents != list(node.parents)
            here = builder.add(moved(node, parents)) if changed else position
            place[position] = self._closed(here) if isinstance(node, Affine) or self._of(here, "gate") else here
        settled = replace(graph, nodes=tuple(builder.nodes), output=place[graph.output])
        for _, node in settled.walk():
            left: object = node
            if isinstance(left, Unproven):
                raise UnsupportedModel(
                    left.reason,
                    where=left.name or graph.source,
                    advice="lipcert needs a slope bound on all numbers; replace it by a continuous function of "
                    "bounded slope, or bound the part before it with --to",
                )
        return recognise(_pruned(settled))

    def _closed(self, position: int) -> int:
        """The affine node with its switches as ReLUs, or as it is where they do not close."""
        lanes = resolve(self.builder, position)
        gates = [t for t in lanes.terms if self._of(t[0], "gate")]
        if not gates:
            return position
        name = self.builder.nodes[gates[0][0]].name
        others = Lanes(tuple(t for t in lanes.terms if not self._of(t[0], "gate")), lanes.shift)
        groups: list[tuple[Lanes, Lanes]] = []
        for gate, index, scale in gates:
            node: Any = self.builder.nodes[gate]
            t = _taken(resolve(self.builder, node.parents[1]), index)
            d = _scaled_lanes(_taken(resolve(self.builder, node.parents[0]), index), scale)
            for k, (known, total) in enumerate(groups):
                sign = _sign_between(known, t)
                if sign == 1.0:
                    groups[k] = (known, _sum(total, d))
                    break
                if sign == -1.0:
                    # [−t > 0]·d = d − [t > 0]·d
                    others = _sum(others, d)
                    groups[k] = (known, _sum(total, _scaled_lanes(d, np.full(d.size, -1.0))))
                    break
            else:
                groups.append((t, d))
        closed = self._node(others) if others.terms else None
        for t, d in groups:
            piece = self._gate(t, d, name)
            if piece is None:
                return position
            if piece >= 0:
                closed = piece if closed is None else self.added(closed, piece)
        if closed is None:
            return position
        return closed if others.terms else self.scaled(closed, 1.0, others.shift)

    def _gate(self, t: Lanes, d: Lanes, name: str) -> int | None:
        """[t > 0]·d as a node; −1 where it vanishes, None where it jumps."""
        if t.rounded or d.rounded:
            self._idealise("quotients of constants next to activations are rounded to float64")
        T, D = t.rows(self.builder), d.rows(self.builder)
        size = np.asarray(T.multiply(T).sum(axis=1)).ravel()
        u = np.asarray(D.multiply(T).sum(axis=1)).ravel() / np.where(size > 0, size, 1.0)
        rest = abs(sp.csr_array(D - sp.diags_array(u) @ T)).max(axis=1).toarray().ravel()
        largest = abs(D).max(axis=1).toarray().ravel()
        if (rest <= _TOLERANCE * largest).all():
            if rest.any():
                worst = float((rest / np.where(largest > 0, largest, 1.0)).max())
                self._idealise(
                    f"{name}: the two sides of the switch agree on its surface to {worst:.1e} relative (rounded "
                    "constants) and are taken to agree exactly"
                )
            if not u.any():
                return -1
            core, index = self._unique(t)
            relu = self.builder.activation(core, "relu", name=name)
            return self.scaled(self.gather(relu, index), u)
        return self._softplus_threshold(t, d, name) or self._softshrink(t, d, name)

    def _unique(self, t: Lanes) -> tuple[int, IntArray]:
        """A node with the different numbers among the lanes, and where each lane finds its own."""
        keys = np.column_stack([*(np.column_stack([i, s]) for _, i, s in t.terms), t.shift])
        _, first, index = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        # in the order of appearance
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        return self._node(_taken(t, first[order])), rank[np.ravel(index)]

    def _softplus_threshold(self, t: Lanes, d: Lanes, name: str) -> int | None:
        """[βx > θ]·s(x − softplus(βx)/β), θ ≥ 15, which is below 4e-7·s/β: taken as zero."""
        for soft in (term for term in d.terms if self._of(term[0], "softplus")):
            node: Any = self.builder.nodes[soft[0]]
            x = _taken(resolve(self.builder, node.parents[0]), soft[1])
            beta = np.broadcast_to(node.parameters["beta"], (node.size,))[soft[1]]
            # above the threshold the branch is x, and so are softplus and, up to a factor, the switch
            others = Lanes(tuple(term for term in d.terms if term is not soft), d.shift)
            X, T, L = (lanes.rows(self.builder)[:, 1:] for lanes in (x, t, others))
            size = np.asarray(X.multiply(X).sum(axis=1)).ravel()
            if not size.all():
                continue
            scale = np.asarray(T.multiply(X).sum(axis=1)).ravel() / size
            if not (scale > 0).all():
                continue
            theta = beta * (x.shift - t.shift / scale)
            largest = abs(X).max(axis=1).toarray().ravel()
            apart = np.maximum(
                abs(T - sp.diags_array(scale) @ X).max(axis=1).toarray().ravel() / (scale * largest),
                abs(L + sp.diags_array(soft[2]) @ X).max(axis=1).toarray().ravel() / (np.abs(soft[2]) * largest),
            ).max()
            level = np.abs(d.shift + soft[2] * x.shift) / np.abs(soft[2])
            if apart > _TOLERANCE or not (theta >= 15.0).all() or (level > _TOLERANCE * (1.0 + np.abs(x.shift))).any():
                continue
            jump = float((np.abs(soft[2]) / beta * np.exp(-theta)).max())
            rounded = f" and, by rounded constants, {apart:.1e} relative" if apart or level.any() else ""
            self._idealise(
                f"{name}: softplus is taken in place of the identity above its threshold, where they differ by at most "
                f"{jump:.1e}{rounded}"
            )
            return -1
        return None

    def _softshrink(self, t: Lanes, d: Lanes, name: str) -> int | None:
        """[|x| > λ]·s(x − λ·sign x) = s·softshrink(x)."""
        found = self._argument(t, "abs")
        sign = next((k for k in d.terms if self._of(k[0], "sign")), None)
        line = next((k for k in d.terms if k is not sign), None)
        if found is None or sign is None or line is None or len(d.terms) != 2:
            return None
        x = found[1].single()
        node: Any = self.builder.nodes[sign[0]]
        inner = _taken(resolve(self.builder, node.parents[0]), sign[1])
        z = inner.single()
        if x is None or z is None or not (_same_lane(x, z) and _same_lane(x, line)):
            return None
        # with z = |·|'s argument: the branch is slope·(z − lambd·sign z), and sign has a positive multiple of z
        lambd, slope, ratio = -t.shift / found[2], line[2] / x[2], z[2] / x[2]
        if (
            (ratio > 0).all()
            and (found[2] > 0).all()
            and (lambd >= 0).all()
            and np.allclose(-sign[2], lambd * slope, rtol=_TOLERANCE)
            and np.allclose(d.shift, slope * found[1].shift, rtol=_TOLERANCE)
            and np.allclose(inner.shift, ratio * found[1].shift, rtol=_TOLERANCE)
        ):
            shrunk = self.apply("softshrink", self._node(found[1]), None, name, lambd=lambd)
            return self.scaled(shrunk, slope)
        return None


def _same_lane(a: tuple[int, IntArray, Array], b: tuple[int, IntArray, Array]) -> bool:
    """Whether two terms are multiples of the same numbers."""
    return a[0] == b[0] and np.array_equal(a[1], b[1])


def _parent_size(engine: Elementwise, node: Any) -> int:
    return engine.builder.nodes[node.parents[0]].size


def _taken(lanes: Lanes, index: IntArray) -> Lanes:
    return Lanes(tuple((p, i[index], s[index]) for p, i, s in lanes.terms), lanes.shift[index], lanes.rounded)


def _scaled_lanes(lanes: Lanes, scale: Array) -> Lanes:
    return Lanes(tuple((p, i, s * scale) for p, i, s in lanes.terms), lanes.shift * scale, lanes.rounded)


def _sum(a: Lanes, b: Lanes) -> Lanes:
    terms = list(a.terms)
    for p, i, s in b.terms:
        for k, (q, j, r) in enumerate(terms):
            if p == q and np.array_equal(i, j):
                terms[k] = (q, j, r + s)
                break
        else:
            terms.append((p, i, s))
    return Lanes(tuple(t for t in terms if t[2].any()), a.shift + b.shift, a.rounded or b.rounded)


def _same(a: Lanes, b: Lanes) -> bool:
    return _sign_between(a, b) == 1.0


def _sign_between(a: Lanes, b: Lanes) -> float:
    """1 where a = b, −1 where a = −b, else 0."""
    for sign in (1.0, -1.0):
        rest = _sum(a, _scaled_lanes(b, np.full(b.size, -sign))) if a.size == b.size else None
        if rest is not None and not rest.terms and not rest.shift.any():
            return sign
    return 0.0


def _pruned(graph: Graph) -> Graph:
    """The nodes that the output depends on, renumbered."""
    builder = GraphBuilder()
    place: dict[int, int] = {}
    for position, node in graph.walk():
        if isinstance(node, Input):
            place[position] = builder.input(node.size, node.name)
        else:
            place[position] = builder.add(moved(node, [place[p] for p in node.parents]))
    inputs = tuple(place[i] for i in graph.inputs)
    return replace(graph, nodes=tuple(builder.nodes), inputs=inputs, output=place[graph.output])
