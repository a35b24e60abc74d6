"""Expressions of elementwise ops: deferred while a file is walked, nodes of the graph where something needs their value.

`materialise` turns one expression into nodes, by one rule an op; `settle` finishes a graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lipcert.errors import UnsupportedModel
from lipcert.graph.linear_maps import Index
from lipcert.graph.nodes import GraphBuilder
from lipcert.importer import products, switches
from lipcert.importer.elementwise import Elementwise, Site
from lipcert.importer.exact import Rounded
from lipcert.importer.values import Deferred, State, Tensor, Value

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray
    from lipcert.graph.nodes import Graph


_WITHOUT_RULE = ("its positions of the largest numbers are used, which jump", "a sequence is used as a tensor")
_CONSTANT = "{}: a constant that is computed here is rounded to float64"


def materialise(value: Deferred, state: State) -> Tensor:
    """The deferred expression as a tensor.

    What has no bounded slope becomes a node that `settle` refuses unless it has vanished by then.

    Raises
    ------
    UnsupportedModel
        For the indices of TopK and MaxPool.
    """
    result = _evaluated(value, state)
    if isinstance(result, np.ndarray):
        return constant(result.reshape(value.shape), state)
    return Tensor(result, value.shape, value.dtype)


def constant(value: np.ndarray, state: State) -> Tensor:
    """A constant as a signal: zero times the input, and a bias."""
    if not np.isfinite(value.astype(np.float64)).all():
        raise UnsupportedModel("a constant is not finite", where=state.file, advice="check the weights")
    first = state.builder.inputs[0]
    nothing = Index(np.full(value.size, -1), state.builder.nodes[first].size)
    bias = value.astype(np.float64).ravel()
    position = state.builder.affine([first], [nothing], bias if bias.any() else None)
    return Tensor(position, value.shape, np.dtype(np.float32))


def settle(graph: Graph, state: State) -> Graph:
    """A finished graph with its switches closed into ReLUs and its idealisations noted.

    Raises
    ------
    UnsupportedModel
        Where an operation without a bounded slope is left.
    """
    builder = GraphBuilder()
    builder.nodes, builder.inputs = list(graph.nodes), list(graph.inputs)
    settled = switches.settle(Elementwise(builder, state.idealise, state.engine.finest), graph)
    return replace(settled, idealisations=tuple(dict.fromkeys((*graph.idealisations, *state.idealisations))))


def _evaluated(value: Value, state: State) -> int | Array:
    """A node position, or a constant; expressions below it first, each once."""
    waiting = [value]
    while waiting:
        top = waiting[-1]
        if not isinstance(top, Deferred) or id(top) in state.nodes:
            waiting.pop()
            continue
        missing = [v for v in top.operands if isinstance(v, Deferred) and id(v) not in state.nodes]
        if missing:
            waiting += reversed(missing)
            continue
        rule = _RULES.get(top.op)
        if rule is None:
            raise UnsupportedModel(_WITHOUT_RULE[top.op == "Sequence"], where=top.where)
        operands = [_spread(v, top, state) for v in top.operands]
        state.nodes[id(top)] = (top, rule(state.engine, top, operands))
    return _known(value, state)


def _known(value: Value, state: State) -> int | Array:
    if isinstance(value, np.ndarray):
        return np.asarray(value, dtype=np.float64)
    return value.position if isinstance(value, Tensor) else state.nodes[id(value)][1]


def _spread(operand: Value, value: Deferred, state: State) -> int | Array:
    """An operand that is known, broadcast to the shape of the result."""
    result = _known(operand, state)
    if isinstance(operand, np.ndarray):
        state.engine.stored(operand.dtype.name)
    if isinstance(result, np.ndarray):
        if isinstance(operand, np.ndarray) and not np.isfinite(result).all() and value.op != "Where":
            raise UnsupportedModel("it meets a constant that is not finite", where=value.where)
        return np.broadcast_to(
            result if isinstance(operand, np.ndarray) else result.reshape(operand.shape), value.shape
        ).ravel()
    if operand.shape == value.shape:
        return result
    index = np.broadcast_to(np.arange(operand.size, dtype=np.int64).reshape(operand.shape), value.shape)
    return state.engine.gather(result, np.ascontiguousarray(index).ravel())


def _channel(shape: tuple[int, ...]) -> IntArray | None:
    """The convolution channel (axis 1) of each number of an image; None where there are no spatial axes."""
    if len(shape) < 3:
        return None
    labels = np.arange(shape[1]).reshape(-1, *(1,) * (len(shape) - 2))
    return np.ascontiguousarray(np.broadcast_to(labels, shape)).ravel()


def _site(value: Deferred) -> Site:
    return Site(value.where, _channel(value.shape), value.dtype.name)


Operands = list["int | Array"]
Rule = Callable[[Elementwise, Deferred, Operands], "int | Array"]


def _sum_rule(sign: float) -> Rule:
    def rule(engine: Elementwise, value: Deferred, operands: Operands) -> int | Array:
        signed = [(operand, 1.0 if k == 0 else sign) for k, operand in enumerate(operands)]
        signals = [(x, s) for x, s in signed if not isinstance(x, np.ndarray)]
        constants = [s * x for x, s in signed if isinstance(x, np.ndarray)]
        if not signals:
            engine.idealise(_CONSTANT.format(value.where))
            return np.asarray(sum(constants))
        first, s = signals[0]
        total = engine.scaled(first, s)
        for x, s in signals[1:]:
            total = engine.added(total, x, s)
        for shift in constants:
            total = engine.scaled(total, 1.0, shift, value.where)
        return total

    return rule


def _product_rule(engine: Elementwise, value: Deferred, operands: Operands) -> int | Array:
    a, b = operands
    if isinstance(a, np.ndarray):
        a, b = b, a
    if isinstance(a, np.ndarray):
        engine.idealise(_CONSTANT.format(value.where))
        return a * b
    return engine.scaled(a, b) if isinstance(b, np.ndarray) else products.product(engine, a, b, _site(value))


def _quotient_rule(engine: Elementwise, value: Deferred, operands: Operands) -> int | Array:
    a, b = operands
    if isinstance(b, np.ndarray):
        if not b.all():
            raise UnsupportedModel("division by zero", where=value.where)
        if isinstance(a, np.ndarray):
            engine.idealise(_CONSTANT.format(value.where))
            return a / b
        return engine.scaled(a, Rounded.of(1.0, b.size) / Rounded.of(b), name=value.where)
    if isinstance(a, np.ndarray):
        return products.reciprocal(engine, b, a, _site(value))
    return products.quotient(engine, a, b, _site(value))


def _power_rule(engine: Elementwise, value: Deferred, operands: Operands) -> int | Array:
    base, exponent = operands
    if isinstance(base, np.ndarray) or not isinstance(exponent, np.ndarray) or not (exponent == exponent[0]).all():
        raise UnsupportedModel("an exponent depends on the input or differs between numbers", where=value.where)
    return products.power(engine, base, float(exponent[0]), _site(value))


def _comparison(sign: float, complement: bool) -> Rule:
    def rule(engine: Elementwise, value: Deferred, operands: Operands) -> int | Array:
        # a > b is [a − b > 0]; a ≥ b differs only where a switch is continuous
        t = _sum_rule(-1.0)(engine, value, operands)
        assert not isinstance(t, np.ndarray)
        step = products.step(engine, engine.scaled(t, sign), _site(value))
        return engine.scaled(step, -1.0, 1.0) if complement else step

    return rule


def _where_rule(engine: Elementwise, value: Deferred, operands: Operands) -> int | Array:
    mask, a, b = operands
    if isinstance(mask, np.ndarray):
        # a constant mask selects
        keep = mask != 0
        parts = [
            np.where(chosen, part, 0.0) if isinstance(part, np.ndarray) else engine.scaled(part, chosen.astype(float))
            for chosen, part in ((keep, a), (~keep, b))
        ]
        if any(isinstance(part, np.ndarray) and not np.isfinite(part).all() for part in parts):
            raise UnsupportedModel("it selects a constant that is not finite", where=value.where)
        return _sum_rule(1.0)(engine, value, list(parts))
    for part in (a, b):
        if isinstance(part, np.ndarray) and not np.isfinite(part).all():
            raise UnsupportedModel("it switches to a constant that is not finite", where=value.where)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if np.array_equal(a, b):
            return b
        # a switch between two constants: steps of that height
        up, down = engine.scaled(mask, a), engine.scaled(engine.scaled(mask, -1.0, 1.0), b)
        return engine.added(up, down)
    difference = _sum_rule(-1.0)(engine, value, [a, b])
    assert not isinstance(difference, np.ndarray)
    gated = products.product(engine, mask, difference, _site(value))
    return _sum_rule(1.0)(engine, value, [b, gated])


def _unary_rule(method: Callable[[Elementwise, int, Site], int]) -> Rule:
    def rule(engine: Elementwise, value: Deferred, operands: Operands) -> int | Array:
        a = operands[0]
        if isinstance(a, np.ndarray):
            raise UnsupportedModel("an elementwise expression is constant", where=value.where)
        return method(engine, a, _site(value))

    return rule


def _same(engine: Elementwise, a: int, site: Site) -> int:
    return a


_RULES: dict[str, Rule] = {
    "Add": _sum_rule(1.0),
    "Sum": _sum_rule(1.0),
    "Sub": _sum_rule(-1.0),
    "Mul": _product_rule,
    "Div": _quotient_rule,
    "Pow": _power_rule,
    "Where": _where_rule,
    "Greater": _comparison(1.0, False),
    "GreaterOrEqual": _comparison(1.0, False),
    "Less": _comparison(-1.0, False),
    "LessOrEqual": _comparison(1.0, True),
    "Neg": _unary_rule(lambda engine, a, site: engine.scaled(a, -1.0)),
    "Not": _unary_rule(lambda engine, a, site: engine.scaled(a, -1.0, 1.0)),
    "Cast": _unary_rule(_same),
    "CastLike": _unary_rule(_same),
    "Identity": _unary_rule(_same),
    "Sqrt": _unary_rule(products.sqrt),
    "Exp": _unary_rule(products.exp),
    "Log": _unary_rule(products.log),
    "Reciprocal": _unary_rule(lambda engine, a, site: products.reciprocal(engine, a, 1.0, site)),
    "Sign": _unary_rule(products.sign),
}
