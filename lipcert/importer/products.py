"""Products, quotients, powers, roots and logarithms that are a record of the table; any other is `Unproven`."""

from __future__ import annotations

import operator
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from lipcert.graph.nodes import Activation, Affine
from lipcert.importer.elementwise import Argument, Elementwise, Site
from lipcert.importer.exact import Rounded
from lipcert.importer.lanes import Lanes, Term

if TYPE_CHECKING:
    from collections.abc import Callable

    from lipcert.arrays import Array

_GATES = ("sigmoid", "erf", "tanh", "hard_sigmoid", "clip", "sign")


def product(engine: Elementwise, a: int, b: int, site: Site) -> int:
    """a·b."""
    for first, second in ((a, b), (b, a)):
        for reading in (_switched, _known, _signed_size, _power_product, _sine_product, _sigmoid_product):
            found = reading(engine, first, second, site)
            if found is not None:
                return found
    return engine.unproven("product", (a, b), "a product of two signals has no bounded slope that is known here", site)


def _switched(engine: Elementwise, mask: int, signal: int, site: Site) -> int | None:
    """mask·signal for mask = c₀ + c₁·[t > 0]."""
    lanes = engine.resolve(mask)
    found = engine.argument(lanes, "step")
    if found is None:
        return None
    t = engine.gather(found.node.parents[0], found.at)
    gate = engine.unproven(
        "gate", (signal, t), "the two sides of a switch do not agree where it switches: a jump", site
    )
    result = engine.scaled(gate, found.gamma)
    return result if lanes.shift.zero else engine.added(result, engine.scaled(signal, lanes.shift))


def _known(engine: Elementwise, a: int, b: int, site: Site) -> int | None:
    """a·b for a = α·x and b = γ·f(δ·x + ε) + ζ, where the table knows the product."""
    # x is the nearest node that both depend on, so that its bias does not matter
    stop = engine.resolver().chain(a)
    outer = engine.resolve(b, stop)
    found = engine.argument(outer, *_GATES, stop=stop)
    if found is None:
        return None
    kind, zeta = found.node.kind, outer.shift
    gate = zeta.same(found.gamma)
    if kind == "tanh" and zeta.zero:
        return _mish(engine, a, found, site)
    if kind == "tanh" and gate and len(found.inner.terms) == 2:
        return _gelu_tanh(engine, a, found, site)
    x = found.inner.single()
    alpha = engine.multiple(a, x)
    if x is None or alpha is None:
        return None
    if kind == "clip" and zeta.zero:
        return _hard_swish(engine, alpha, x, found, site)
    if kind == "hard_sigmoid" and zeta.zero:
        return _hard_sigmoid_product(engine, alpha, x, found, site)
    if not found.inner.shift.zero:
        return None
    smooth: dict[tuple[str, bool, bool], tuple[str, str, float]] = {
        ("sigmoid", True, False): ("silu", "beta", 1.0),
        ("tanh", False, True): ("silu", "beta", 2.0),
        ("erf", False, True): ("gelu", "rate", 1.0),
    }
    wanted = smooth.get((kind, zeta.zero, gate))
    if wanted is not None:
        record, key, times = wanted
        factor = alpha * found.gamma * (2.0 if gate else 1.0)
        return _rated(engine, record, key, x.scale * times, engine.base(x), factor, site)
    if kind == "sign" and zeta.zero and x.scale.close(1) and x.scale.mid.all():
        return engine.scaled(engine.apply("abs", engine.base(x), site), alpha * found.gamma * np.sign(x.scale.mid))
    return None


def _signed_size(engine: Elementwise, size: int, sign: int, site: Site) -> int | None:
    """α|z|·γ sign z = αγ·z, the size perhaps through a ReLU, as powers of pooling are written."""
    outer, signs = engine.resolve(size), engine.resolve(sign)
    direction = engine.argument(signs, "sign")
    if direction is None or not signs.shift.zero or not outer.shift.zero:
        return None
    found = engine.argument(outer, "abs", "relu")
    factor = None if found is None else found.gamma
    if found is not None and found.node.kind == "relu":
        rest = found.inner.shift
        found = engine.argument(found.inner, "abs")
        if found is None or not rest.zero or not (found.gamma.low > 0).all() or factor is None:
            return None
        factor = factor * found.gamma
    if found is None or factor is None:
        return None
    # the very same number, so that a scale that is only enclosed does not matter
    if found.node.parents[0] != direction.node.parents[0] or not np.array_equal(found.at, direction.at):
        return None
    return engine.scaled(engine.gather(direction.node.parents[0], direction.at), factor * direction.gamma)


def _rated(
    engine: Elementwise, record: str, key: str, rate: Rounded, x: int, factor: Rounded, site: Site
) -> int | None:
    """factor·f(x) for x·g(rate·x) =: f(x), which is (1/rate)·f₁(rate·x): that form where the rate was rounded."""
    if rate.exact:
        return engine.scaled(engine.apply(record, x, site, **{key: rate}), factor)
    if not (np.abs(rate.mid) > rate.rad).all():
        return None
    inner = engine.scaled(x, rate)
    return engine.scaled(engine.apply(record, inner, site, **{key: 1.0}), factor / rate)


def _hard_swish(engine: Elementwise, alpha: Rounded, x: Term, found: Argument, site: Site) -> int | None:
    """αx·γ·clip(δx + ε, 0, h) = αγh·x·clip((δ/h)x + ε/h, 0, 1)."""
    low, high = found.parameter("low"), found.parameter("high")
    if not low.zero or not (high.mid > 0).all() or not np.isfinite(high.mid).all() or not x.scale.mid.all():
        return None
    rate, beta, factor = x.scale / high, found.inner.shift / high, alpha * found.gamma * high
    if rate.exact:
        return engine.scaled(engine.apply("hard_swish", engine.base(x), site, alpha=rate, beta=beta), factor)
    inner = engine.scaled(engine.base(x), rate)
    return engine.scaled(engine.apply("hard_swish", inner, site, alpha=1.0, beta=beta), factor / rate)


def _hard_sigmoid_product(engine: Elementwise, alpha: Rounded, x: Term, found: Argument, site: Site) -> int:
    """αx·γ·clip(s(δx + ε) + o, 0, 1)."""
    slope, offset = found.parameter("alpha"), found.parameter("beta")
    parameters = {"alpha": slope * x.scale, "beta": slope * found.inner.shift + offset}
    return engine.scaled(engine.apply("hard_swish", engine.base(x), site, **parameters), alpha * found.gamma)


def _mish(engine: Elementwise, a: int, found: Argument, site: Site) -> int | None:
    """αx·γ·tanh(softplus(δx)) = (αγ/δ)·mish(δx)."""
    inner = engine.argument(found.inner, "softplus", stop=engine.resolver().chain(a))
    if inner is None or not found.inner.shift.zero or not inner.gamma.equals(1.0) or not inner.inner.shift.zero:
        return None
    x = inner.inner.single()
    alpha = engine.multiple(a, x)
    if x is None or alpha is None or not inner.parameter("beta").equals(1.0) or not x.scale.mid.all():
        return None
    mish = engine.apply("mish", engine.scaled(engine.base(x), x.scale), site)
    return engine.scaled(mish, alpha / x.scale * found.gamma)


def _gelu_tanh(engine: Elementwise, a: int, found: Argument, site: Site) -> int | None:
    """αx·γ(1 + tanh(√(2/π)(δx + 0.044715 (δx)³))) = (2αγ/δ)·gelu(δx)."""
    lanes = engine.resolver(site.dtype)(found.node.parents[0], engine.resolver().chain(a)).taken(found.at)
    cubic = next((t for t in lanes.terms if engine.unproven_at(t.node, "power")), None)
    linear = next((t for t in lanes.terms if t is not cubic), None)
    alpha = engine.multiple(a, linear)
    if len(lanes.terms) != 2 or not lanes.shift.zero or cubic is None or linear is None or alpha is None:
        return None
    cube = engine.unproven_at(cubic.node, "power")
    assert cube is not None
    z = engine.resolve(cube.parents[0], frozenset({linear.node})).taken(cubic.index)
    x = z.single()
    if cube.exponent != 3.0 or x is None or not z.shift.zero or not x.on(linear) or not x.scale.mid.all():
        return None
    root = np.full(x.scale.size, np.sqrt(2.0 / np.pi))
    for term, wanted in ((linear, root * x.scale.mid), (cubic, root * 0.044715)):
        if not (np.abs(term.scale.mid - wanted) <= term.room + 4.0 * np.spacing(np.abs(wanted))).all():
            return None
    engine.idealise(
        f"{site.where}: √(2/π) and 0.044715 of the tanh form of GELU, rounded in the file to {site.dtype}, are taken as "
        "exact numbers"
    )
    gelu = engine.apply("gelu_tanh", engine.scaled(engine.base(x), x.scale), site)
    return engine.scaled(gelu, alpha * found.gamma * 2.0 / x.scale)


def _power_product(engine: Elementwise, a: int, b: int, site: Site) -> int | None:
    """a·b for b = γ·(δx)ᵏ and a = αx, as (αγ/δ)·(δx)ᵏ⁺¹, so that x·x·x is x³."""
    if a == b:
        return power(engine, a, 2.0, site)
    stop = engine.resolver().chain(a)
    outer = engine.resolve(b, stop)
    found = engine.argument(outer, "power", stop=stop)
    if found is None or not outer.shift.zero or not found.inner.shift.zero:
        return None
    x = found.inner.single()
    alpha = engine.multiple(a, x)
    if x is None or alpha is None or not x.scale.mid.all():
        return None
    node = power(engine, engine.node(found.inner), found.exponent + 1.0, site)
    return engine.scaled(node, alpha / x.scale * found.gamma)


def power(engine: Elementwise, a: int, exponent: float, site: Site) -> int:
    """a to a constant power."""
    if exponent == 1.0:
        return a
    if exponent == 0.5:
        return sqrt(engine, a, site)
    lanes = engine.resolve(a)
    if lanes.shift.zero:
        found = _squared_wave(engine, lanes, site) if exponent == 2.0 else None
        found = _sigmoid_power(engine, lanes, exponent, site) if found is None else found
        if found is not None:
            return found
    return engine.unproven(
        "power", (a,), f"x to the power {exponent:g} has no bounded slope on all numbers", site, exponent
    )


def _squared_wave(engine: Elementwise, lanes: Lanes, site: Site) -> int | None:
    """(γ sin z)², and (γ cos z)² = γ² − (γ sin z)²."""
    wave = engine.argument(lanes, "sin", "cos")
    if wave is None:
        return None
    square, factor = engine.apply("sin_squared", engine.node(wave.inner), site), wave.gamma * wave.gamma
    if wave.node.kind == "sin":
        return engine.scaled(square, factor)
    return engine.scaled(square, -factor, factor.mid) if factor.exact else None


def _sine_product(engine: Elementwise, a: int, b: int, site: Site) -> int | None:
    """(γ sin z)(δ cos z) = ½γδ sin 2z."""
    first, second = engine.resolve(a), engine.resolve(b)
    sine, cosine = engine.argument(first, "sin"), engine.argument(second, "cos")
    if sine is None or cosine is None or not first.shift.zero or not second.shift.zero:
        return None
    if not sine.inner.same(cosine.inner, 1.0):
        return None
    twice = engine.scaled(engine.node(sine.inner), 2.0)
    return engine.scaled(engine.apply("sin", twice, site), sine.gamma * cosine.gamma * 0.5)


_SIGMOIDS = ("sigmoid", "sigmoid_power")


def _exponent(found: Argument) -> float | None:
    """p of γ·σ(z)^p, where it is the same for all numbers."""
    if found.node.kind == "sigmoid":
        return 1.0
    exponent = found.parameter("exponent").mid
    return float(exponent[0]) if (exponent == exponent[0]).all() else None


def _sigmoid_power(engine: Elementwise, lanes: Lanes, exponent: float, site: Site) -> int | None:
    """(γσ(z)^q)^p = γ^p·σ(z)^(pq)."""
    found = engine.argument(lanes, *_SIGMOIDS)
    if found is None or not lanes.shift.zero:
        return None
    factor = found.gamma
    if not factor.equals(1.0):
        if exponent not in range(2, 17):
            return None
        for _ in range(1, int(exponent)):
            factor = factor * found.gamma
    node = _powered(engine, found.inner, (exponent, _exponent(found)), operator.mul, site)
    return None if node is None else engine.scaled(node, factor)


def _sigmoid_product(engine: Elementwise, a: int, b: int, site: Site) -> int | None:
    """γσ(z)^p · δσ(z)^q = γδ·σ(z)^(p + q)."""
    both = engine.resolve(a), engine.resolve(b)
    left, right = (engine.argument(lanes, *_SIGMOIDS) for lanes in both)
    if left is None or right is None or not all(lanes.shift.zero for lanes in both):
        return None
    if not left.inner.same(right.inner, 1.0):
        return None
    node = _powered(engine, left.inner, (_exponent(left), _exponent(right)), operator.add, site)
    return None if node is None else engine.scaled(node, left.gamma * right.gamma)


def _powered(
    engine: Elementwise,
    inner: Lanes,
    exponents: tuple[float | None, float | None],
    combine: Callable[[Fraction, Fraction], Fraction],
    site: Site,
) -> int | None:
    """σ^e of the combined exponents; None where e is no float64 number or has no record."""
    p, q = exponents
    if p is None or q is None:
        return None
    exact = combine(Fraction(p), Fraction(q))
    if not 0 < exact <= 10**6 or Fraction(float(exact)) != exact:
        return None
    return engine.apply("sigmoid_power", engine.node(inner), site, exponent=float(exact))


def sqrt(engine: Elementwise, a: int, site: Site) -> int:
    """√a: √(κ·x² + c) with κ, c > 0 is known."""
    lanes = engine.resolve(a)
    found = engine.argument(lanes, "power")
    if found is not None and found.exponent == 2.0 and (found.gamma.low > 0).all() and (lanes.shift.low > 0).all():
        x = engine.scaled(engine.node(found.inner), found.gamma.root())
        return engine.apply("soft_abs", x, site, offset=lanes.shift)
    sigmoid = _sigmoid_power(engine, lanes, 0.5, site)
    if sigmoid is not None:
        return sigmoid
    return engine.unproven("sqrt", (a,), "the slope of a square root is unbounded at zero", site)


def exp(engine: Elementwise, a: int, site: Site) -> int:
    """e^a: e^(−κ·x²) with κ > 0 is known."""
    lanes = engine.resolve(a)
    found = engine.argument(lanes, "power")
    if found is not None and found.exponent == 2.0 and ((-found.gamma).low > 0).all() and lanes.shift.zero:
        x = engine.scaled(engine.node(found.inner), (-found.gamma).root())
        return engine.apply("gaussian", x, site)
    return engine.unproven("exp", (a,), "the slope of the exponential is unbounded", site)


def log(engine: Elementwise, a: int, site: Site) -> int:
    """log a: log σ(x), log(1 + e^x) and the logarithm of a softmax are known."""
    lanes = engine.resolve(a)
    sigmoid = engine.argument(lanes, "sigmoid")
    if sigmoid is not None and lanes.shift.zero and sigmoid.gamma.equals(1.0):
        return engine.apply("log_sigmoid", engine.node(sigmoid.inner), site)
    exponential = engine.argument(lanes, "exp")
    if exponential is not None and lanes.shift.equals(1.0) and exponential.gamma.equals(1.0):
        return engine.apply("softplus", engine.node(exponential.inner), site, beta=1.0)
    term = lanes.single()
    softmax = engine.builder.nodes[term.node] if term is not None else None
    whole = term is not None and lanes.shift.zero and term.scale.equals(1.0)
    if term is not None and whole and isinstance(softmax, Activation) and softmax.kind == "softmax":
        out = engine.builder.activation(softmax.parent, "log_softmax", softmax.block, name=site.where)
        return engine.gather(out, term.index)
    found = _log_sum_exp(engine, lanes, site)
    if found is not None:
        return found
    return engine.unproven("log", (a,), "the slope of a logarithm is unbounded at zero", site)


def _log_sum_exp(engine: Elementwise, lanes: Lanes, site: Site) -> int | None:
    """log Σ_j e^(x_j + c) = c + log Σ_j e^(x_j), with a part c that is common to the sum, such as −max x."""
    term = lanes.single()
    node = engine.builder.nodes[term.node] if term is not None else None
    if term is None or not lanes.shift.zero or not term.scale.equals(1.0) or not isinstance(node, Affine):
        return None
    exponential = engine.unproven_at(node.parents[0], "exp")
    if exponential is None or node.bias is not None or len(node.maps) != 1 or node.maps[0].radius is not None:
        return None
    matrix = node.maps[0].to_sparse()
    counts = np.diff(matrix.indptr)
    if not (matrix.data == 1.0).all() or (counts != max(counts[0], 1)).any():
        return None
    windows = matrix.indices.astype(np.int64).reshape(-1, counts[0])
    x = engine.resolve(exponential.parents[0])
    common: list[Term] = []
    own: list[Term] = []
    for part in x.terms:
        i, s = part.index[windows], part.scale.mid[windows]
        shared = counts[0] > 1 and part.scale.exact and (i == i[:, :1]).all() and (s == s[:, :1]).all()
        (common if shared else own).append(part)
    if not own:
        return None
    inside = engine.node(replace(x, terms=tuple(own)).taken(windows.ravel()))
    result = engine.builder.activation(inside, "log_sum_exp", int(counts[0]), name=site.where)
    if common:
        outside = Lanes(tuple(common), Rounded.of(0.0, x.size), np.zeros(x.size))
        result = engine.added(result, engine.node(outside.taken(windows[:, 0])))
    return engine.gather(result, term.index)


def quotient(engine: Elementwise, a: int, b: int, site: Site) -> int:
    """a/b: x/(c + |x|) and x/(1 + e^(−x)) are known."""
    stop = engine.resolver().chain(a)
    bottom = engine.resolve(b, stop)
    found = engine.argument(bottom, "abs", "exp", stop=stop)
    x = found.inner.single() if found is not None else None
    alpha = engine.multiple(a, x)
    if found is not None and x is not None and alpha is not None and found.inner.shift.zero and x.scale.mid.all():
        if found.node.kind == "abs" and (found.gamma.low > 0).all() and (bottom.shift.low > 0).all():
            # αx/(ζ + γ|δx|) = (α/(ζs))·softsign(s·x) with s = γ|δ|/ζ
            s = found.gamma * abs(x.scale) / bottom.shift
            softsign = engine.apply("softsign", engine.scaled(engine.base(x), s), site)
            return engine.scaled(softsign, alpha / (bottom.shift * s))
        if found.node.kind == "exp" and bottom.shift.equals(1.0) and found.gamma.equals(1.0):
            rated = _rated(engine, "silu", "beta", -x.scale, engine.base(x), alpha, site)
            if rated is not None:
                return rated
    return engine.unproven("quotient", (a, b), "division by a signal has no bounded slope that is known here", site)


def reciprocal(engine: Elementwise, a: int, numerator: Array | float, site: Site) -> int:
    """constant/a: 1/(1 + e^x) is known."""
    lanes = engine.resolve(a)
    found = engine.argument(lanes, "exp")
    if found is not None and lanes.shift.equals(1.0) and found.gamma.equals(1.0):
        x = engine.scaled(engine.node(found.inner), -1.0)
        return engine.scaled(engine.apply("sigmoid", x, site), numerator)
    inverse = engine.unproven("quotient", (a,), "division by a signal has no bounded slope that is known here", site)
    return engine.scaled(inverse, numerator)


def sign(engine: Elementwise, a: int, site: Site) -> int:
    """−1, 0 or 1."""
    return engine.unproven("sign", (a,), "Sign jumps at zero", site)


def step(engine: Elementwise, t: int, site: Site) -> int:
    """[t > 0]; what happens at t = 0 does not matter where the result is continuous."""
    return engine.unproven("step", (t,), "a comparison jumps", site)
