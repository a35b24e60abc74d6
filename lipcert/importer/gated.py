"""Recurrent cells with gates, unrolled over a fixed sequence: LSTM and GRU. Gates are bounded, so products have ranges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lipcert.arrays import Array
from lipcert.importer.exact import exact_parts
from lipcert.importer.recurrent import activation_list, biases_of, evaluated, image, stacked, time_steps, total
from lipcert.importer.registry import Context, Value, handles

Op = tuple[str, dict[str, float]]


@dataclass(frozen=True, eq=False)
class _Gates:
    """The parameters of one direction, gate by gate, and the operations on them."""

    ctx: Context
    W: Array
    R: Array
    own: Array
    rest: Array
    both: list[Array]
    clip: float | None

    @classmethod
    def of(cls, ctx: Context, d: int, gates: int) -> _Gates:
        W, R = ctx.constant(1)[d], ctx.constant(2)[d]
        hidden = R.shape[1]
        own, rest = biases_of(ctx, d, gates)
        clip = ctx.attribute("clip")
        return cls(
            ctx,
            W.reshape(gates, hidden, -1),
            R.reshape(gates, hidden, hidden),
            own,
            rest,
            exact_parts(np.stack([own, rest], axis=-1)),
            None if clip is None else float(clip),
        )

    def bias(self, k: int) -> list[Array]:
        """What sums up to the bias of gate k exactly."""
        return [part[k] for part in self.both]

    def sum(self, *parts: Value | None) -> Value:
        """The sum of what is there."""
        return total(self.ctx, *parts)

    def times(self, a: Value, b: Value) -> Value:
        """Elementwise a·b."""
        return evaluated(self.ctx, "Mul", a, b)

    def map(self, x: Value | None, matrix: Array) -> list[Value]:
        """What sums up to x Mᵀ exactly; nothing for a state that is zero."""
        return [] if x is None else image(self.ctx, x, matrix.T)

    def act(self, op: Op, x: Value) -> Value:
        """f(clip(x))."""
        if self.clip is not None:
            x = evaluated(self.ctx, "Clip", x, np.array(-self.clip, np.float32), np.array(self.clip, np.float32))
        return evaluated(self.ctx, op[0], x, **op[1])


@handles("LSTM")
def lstm(ctx: Context) -> list[Value]:
    """Unrolled over a fixed sequence, in one or both directions, with peepholes; its products have ranges by the gates."""
    if ctx.attribute("input_forget", 0):
        raise ctx.unsupported("it couples the input and forget gates", "export it without input_forget")
    return _recurrent(ctx, 3, ["Sigmoid", "Tanh", "Tanh"], _lstm_cell, states=2)


def _lstm_cell(ctx: Context, d: int, ops: Sequence[Op]) -> Callable[[Value, list[Value | None]], list[Value]]:
    g = _Gates.of(ctx, d, 4)
    hidden = g.R.shape[1]
    p = ctx.constant(7)[d].reshape(3, hidden) if ctx.has(7) else None
    f, cell, out = ops

    def step(x: Value, states: list[Value | None]) -> list[Value]:
        h, c = states

        def drive(k: int, peep: int | None, memory: Value | None) -> Value:
            seen = None
            if p is not None and peep is not None and memory is not None and p[peep].any():
                seen = g.times(memory, p[peep])
            return g.sum(*g.map(x, g.W[k]), *g.map(h, g.R[k]), seen, *g.bias(k))

        entering = g.times(g.act(f, drive(0, 0, c)), g.act(cell, drive(3, None, None)))
        fresh = entering if c is None else g.sum(g.times(g.act(f, drive(2, 2, c)), c), entering)
        shown = evaluated(ctx, out[0], fresh, **out[1])
        return [g.times(g.act(f, drive(1, 1, fresh)), shown), fresh]

    return step


@handles("GRU")
def gru(ctx: Context) -> list[Value]:
    """Unrolled over a fixed sequence, in one or both directions; its products have ranges by the gates."""
    return _recurrent(ctx, 2, ["Sigmoid", "Tanh"], _gru_cell, states=1)


def _gru_cell(ctx: Context, d: int, ops: Sequence[Op]) -> Callable[[Value, list[Value | None]], list[Value]]:
    g = _Gates.of(ctx, d, 3)
    f, cell = ops
    before = not ctx.attribute("linear_before_reset", 0)

    def step(x: Value, states: list[Value | None]) -> list[Value]:
        (h,) = states

        def gate(k: int) -> Value:
            return g.act(f, g.sum(*g.map(x, g.W[k]), *g.map(h, g.R[k]), *g.bias(k)))

        z, r = gate(0), gate(1)
        if before:
            inner = [*g.map(None if h is None else g.times(r, h), g.R[2]), *g.bias(2)]
        else:
            seen = [*g.map(h, g.R[2]), g.rest[2]]
            if h is not None and not isinstance(h, np.ndarray):
                seen = [g.sum(*seen)]
            inner = [*(g.times(r, part) for part in seen), g.own[2]]
        fresh = g.act(cell, g.sum(*g.map(x, g.W[2]), *inner))
        left = evaluated(ctx, "Sub", np.array(1.0, np.float32), z)
        new = g.times(left, fresh)
        return [new if h is None else g.sum(new, g.times(z, h))]

    return step


def _recurrent(
    ctx: Context,
    count: int,
    default: Sequence[str],
    cell: Callable[[Context, int, Sequence[Op]], Callable[[Value, list[Value | None]], list[Value]]],
    *,
    states: int,
) -> list[Value]:
    """The sequence of hidden states, and the last of each state."""
    inputs, axis = time_steps(ctx)
    direction = ctx.attribute("direction", "forward")
    directions = 2 if direction == "bidirectional" else 1
    ops = activation_list(ctx, directions * count, default)
    chains: list[list[Value]] = []
    ends: list[list[Value]] = []
    for d in range(directions):
        backwards = direction == "reverse" or d == 1
        current: list[Value | None] = [_initial(ctx, 5 + k, d, axis) for k in range(states)]
        advance = cell(ctx, d, ops[d * count : (d + 1) * count])
        chain: list[Value] = []
        for x in inputs[::-1] if backwards else inputs:
            current = list(advance(x, current))
            assert current[0] is not None
            chain.append(current[0])
        ends.append([value for value in current if value is not None])
        chains.append(chain[::-1] if backwards else chain)
    sequence = [stacked(ctx, together, axis) for together in zip(*chains, strict=True)]
    return [stacked(ctx, sequence, axis), *(stacked(ctx, last, axis) for last in zip(*ends, strict=True))]


def _initial(ctx: Context, k: int, d: int, axis: int) -> Value | None:
    """The initial state; None where it is zero."""
    if not ctx.has(k):
        return None
    value = ctx.value(k)
    if isinstance(value, np.ndarray) and not value.any():
        return None
    return evaluated(ctx, "Gather", value, np.array(d), axis=axis)


@handles("SwiGLU")
def swiglu(ctx: Context) -> Value:
    """a·sigmoid(alpha·a)·b, a gate and what it lets through."""
    a, b = ctx.value(0), ctx.value(1)
    if a.shape != b.shape:
        raise ctx.invalid(f"a gate of the shape {a.shape} for numbers of the shape {b.shape}")
    alpha = np.array(ctx.attribute("alpha", 1.0), np.float32)
    share = evaluated(ctx, "Sigmoid", evaluated(ctx, "Mul", a, alpha))
    return evaluated(ctx, "Mul", evaluated(ctx, "Mul", a, share), b)
