"""What lipcert knows of an activation: one record each, and the normal form that all bounds rest on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lipcert.arrays import Array, IntArray


Parameters = Mapping[str, "Array"]


@dataclass(frozen=True)
class NormalForm:
    """Δw = K Δz + P Δv with ‖Δv_g‖ ≤ ‖(Q Δz)_g‖ for each multiplier group g of a block (THEORY.md 2, (N)).

    Attributes
    ----------
    K, P, Q
        Shapes (b, out, in), (b, out, p), (b, q, in); b is 1 (all blocks alike) or the number of blocks.
    column_group, row_group
        The multiplier group, within the block, of each of the p channels and of each of the q rows.
    K_radius, P_radius, Q_radius
        Entrywise bounds on the distance to the true matrices; None where the entries are exact.
    """

    K: Array
    P: Array
    Q: Array
    column_group: IntArray
    row_group: IntArray
    K_radius: Array | None = None
    P_radius: Array | None = None
    Q_radius: Array | None = None

    @property
    def groups(self) -> int:
        """Multiplier groups a block."""
        return int(self.column_group.max(initial=-1)) + 1


class ActivationRecord(ABC):
    """One activation: its value, derivative, normal form and source.

    A record acts on blocks: z has shape (blocks, block size, columns); parameters are arrays whose first axis is 1 or
    the number of blocks.

    Attributes
    ----------
    name
        The key of the table, stable: it is hashed into certificates.
    source
        The paper or the derivation that the normal form comes from.
    """

    name: str
    source: str

    def output_size(self, block: int) -> int:
        """Outputs of a block of `block` inputs."""
        return block

    @abstractmethod
    def value(self, z: Array, parameters: Parameters) -> Array:
        """φ(z), shape (blocks, outputs of a block, columns)."""

    @abstractmethod
    def jvp(self, z: Array, tangent: Array, parameters: Parameters) -> Array:
        """J(z) tangent, with one element of the generalised Jacobian at kinks."""

    @abstractmethod
    def vjp(self, z: Array, cotangent: Array, parameters: Parameters) -> Array:
        """J(z)ᵀ cotangent, with the same element of the generalised Jacobian."""

    @abstractmethod
    def normal_form(self, block: int, parameters: Parameters) -> NormalForm:
        """The normal form of a block of `block` inputs."""

    @abstractmethod
    def lipschitz(self, block: int, parameters: Parameters) -> float:
        """A proven ℓ2 Lipschitz constant of a block, rounded up: the activation's factor in the norm product."""

    def describe(self, blocks: int, block: int) -> str:
        """How a person would name it, such as '512 MaxMin pairs'."""
        return f"{blocks * block} {self.name}"


def slope_centre(low: Array, high: Array) -> tuple[Array, Array]:
    """K and P, exact doubles with [K − P, K + P] ⊇ [low, high] in real arithmetic.

    Examples
    --------
    >>> slope_centre(np.array([0.0]), np.array([1.0]))
    (array([0.5]), array([0.5]))
    """
    centre = 0.5 * low + 0.5 * high
    half = np.zeros_like(centre)
    for end, sign in ((high, 1.0), (low, -1.0)):
        # TwoSum (Knuth): distance + error = sign·(end − centre) exactly
        a, b = sign * end, -sign * centre
        distance = a + b
        shift = distance - a
        error = (a - (distance - shift)) + (b - shift)
        half = np.maximum(half, np.where(error > 0, np.nextafter(distance, np.inf), distance))
    return centre, half


@dataclass(frozen=True)
class Pointwise(ActivationRecord):
    """A scalar activation with slopes in [α, β]: K = (α + β)/2, P = (β − α)/2, Q = 1 (slope-restricted, LipSDP).

    Attributes
    ----------
    function, gradient
        Value and derivative, vectorised, called with (z, parameters); parameters broadcast against z.
    slopes
        (α, β) as arrays (1,) or (blocks,), rounded outward, from the parameters.
    """

    name: str
    function: Callable[[Array, Parameters], Array]
    gradient: Callable[[Array, Parameters], Array]
    slopes: Callable[[Parameters], tuple[Array, Array]]
    source: str
    defaults: Mapping[str, float] = field(default_factory=dict)

    def value(self, z: Array, parameters: Parameters) -> Array:
        return self.function(z, _aligned(parameters))

    def jvp(self, z: Array, tangent: Array, parameters: Parameters) -> Array:
        return self.gradient(z, _aligned(parameters)) * tangent

    def vjp(self, z: Array, cotangent: Array, parameters: Parameters) -> Array:
        return self.gradient(z, _aligned(parameters)) * cotangent

    def normal_form(self, block: int, parameters: Parameters) -> NormalForm:
        low, high = self.slopes(parameters)
        K, P = slope_centre(low, high)
        shape = (-1, 1, 1)
        group = np.zeros(1, dtype=np.int64)
        return NormalForm(K.reshape(shape), P.reshape(shape), np.ones((1, 1, 1)), group, group)

    def lipschitz(self, block: int, parameters: Parameters) -> float:
        low, high = self.slopes(parameters)
        return float(max(np.abs(low).max(), np.abs(high).max()))


def _aligned(parameters: Parameters) -> Parameters:
    return {key: value.reshape(-1, 1, 1) for key, value in parameters.items()}
