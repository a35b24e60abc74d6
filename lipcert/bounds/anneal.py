"""Annealed ascent: a lower bound's point and direction by gradients, through slopes that sharpen on the way.

Activations that are moduli, Δw = K Δz + P s Q Δz with s = sign(Q z), get s = tanh(beta Q z / rms(Q z)), the mean over a
layer; for ReLU these are the slopes σ(2 beta z / rms z). While beta rises from 0.2 to 40, Adam (Kingma & Ba, ICLR
2015) moves x up the gradient of log ‖J_beta(x) d‖, and d follows by the power method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lipcert.bounds.moduli import Sweeps
from lipcert.bounds.operator_norm import aligned, length
from lipcert.graph.nodes import Activation, Affine, Graph, Input

if TYPE_CHECKING:
    from lipcert.arrays import Array
    from lipcert.bounds.effort import Effort, SweepCost
    from lipcert.norms import Norm

SOFTEST, SHARPEST = 0.2, 40.0
RATE = 0.1
"""Adam's step as a part of the size of the starting point."""
_FIRST, _SECOND = 0.9, 0.99
_TINY = 1e-300
SWEEPS = 4
"""Sweeps of as many samples that a step takes."""


@dataclass(frozen=True, eq=False)
class _Slopes:
    """s at the points, the s that the gradient runs back through, and how s bends with Q z, times the rate of Q z."""

    tangent: Array
    value: Array
    bend: Array


class Annealing:
    """Annealed ascent on a network all of whose activations are moduli of one number.

    Parameters
    ----------
    graph
        The prepared network.
    norm, output_norm
        The norms.
    cost
        Of one sweep through it.
    """

    def __init__(self, graph: Graph, norm: Norm, output_norm: Norm, cost: SweepCost) -> None:
        self.p, self.q, self.cost = norm, output_norm, cost
        self.sweeps = Sweeps(graph)

    @staticmethod
    def applies(graph: Graph) -> bool:
        """Whether every activation is a modulus and none is implicit.

        Examples
        --------
        >>> from lipcert.graph import build as nn
        >>> [Annealing.applies(nn.sequential(phi, inputs=2)) for phi in (nn.relu(), nn.maxmin(), nn.tanh())]
        [True, True, False]
        """
        nodes = [node for _, node in graph.walk() if not isinstance(node, Input | Affine)]
        return bool(nodes) and all(
            isinstance(node, Activation) and node.record.is_modulus(node.block) for node in nodes
        )

    def run(self, x: Array, d: Array, effort: Effort, until: float, *, sharp: bool) -> tuple[Array, Array]:
        """The points and directions (inputs, samples) after an anneal that ends when `until` is spent.

        Parameters
        ----------
        x, d
            Where to start.
        effort, until
            beta rises with what is spent of the part from now until then; a step at each end is always done.
        sharp
            Whether the gradient runs back from a layer to x along the true slopes, which leads on where the smooth ones of
            many wide layers wash it out; the smooth ones lead far in narrow networks.
        """
        begun = effort.spent
        unit = RATE * np.maximum(np.sqrt((x**2).mean(axis=0)), _TINY)
        first, second = np.zeros_like(x), np.zeros_like(x)
        step, part = 0, 0.0
        while part < 1.0 or step < 2:
            beta = SOFTEST * (SHARPEST / SOFTEST) ** min(part, 1.0)
            gradient, d = self._gradient(x, aligned(d, self.p), beta, sharp)
            if not (np.isfinite(gradient).all() and np.isfinite(d).all()):
                break
            step += 1
            gradient = gradient * unit
            first = _FIRST * first + (1.0 - _FIRST) * gradient
            second = _SECOND * second + (1.0 - _SECOND) * gradient**2
            size = np.sqrt(second / (1.0 - _SECOND**step)) + _TINY
            x = x + unit * (first / (1.0 - _FIRST**step)) / size
            effort.charge(self.cost.seconds(x.shape[1], SWEEPS))
            part = (effort.spent - begun) / max(until - begun, _TINY)
        return x, aligned(d, self.p)

    def _gradient(self, x: Array, d: Array, beta: float, sharp: bool) -> tuple[Array, Array]:
        """∇_x log ‖J_beta(x) d‖ and J_betaᵀ c, c the gradient of ‖J_beta d‖."""
        samples = x.shape[1]
        output, kept = self._forward(np.hstack([x, d]), beta, sharp)
        image = output[:, samples:]
        seed = aligned(image, self.q.dual) / np.maximum(length(image, self.q), _TINY)
        found = self._backward(np.hstack([seed, np.zeros_like(seed)]), kept)
        return found[:, samples:], found[:, :samples]

    def _forward(self, both: Array, beta: float, sharp: bool) -> tuple[Array, dict[int, _Slopes]]:
        """Values and tangents side by side."""
        samples = both.shape[1] // 2
        kept: dict[int, _Slopes] = {}

        def bent(position: int, moved: Array) -> Array:
            q, rate = moved[:, :samples], moved[:, samples:]
            sharpness = beta / np.maximum(np.sqrt((q**2).mean(axis=0)), _TINY)
            s = np.tanh(sharpness * q)
            kept[position] = _Slopes(s, np.sign(q) if sharp else s, sharpness * (1.0 - s**2) * rate)
            return np.hstack([np.abs(q), s * rate])

        return self.sweeps.forward(both, bent, samples), kept

    def _backward(self, seed: Array, kept: dict[int, _Slopes]) -> Array:
        """The adjoints of tangents and of values side by side, at the input."""
        samples = seed.shape[1] // 2

        def bent(position: int, inner: Array) -> Array:
            slopes, tangent, value = kept[position], inner[:, :samples], inner[:, samples:]
            return np.hstack([slopes.tangent * tangent, slopes.value * value + slopes.bend * tangent])

        return self.sweeps.backward(seed, bent)
