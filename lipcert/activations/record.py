"""What lipcert knows of an activation: one record each, and the normal form that all bounds rest on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from lipcert.activations import local
from lipcert.activations.rational import RationalForm
from lipcert.errors import InvalidRequest, Unbounded
from lipcert.rounding import Interval

if TYPE_CHECKING:
    from lipcert.activations.spelling import Pen, Spelling
    from lipcert.arrays import Array, IntArray


Parameters = Mapping[str, "Array"]


@dataclass(frozen=True)
class NormalForm:
    """Δw = K Δz + P Δv with ‖Δv_g‖ ≤ ‖(Q Δz)_g‖ for each multiplier group g of a block (docs/theory.md 2, (N)).

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


@dataclass(frozen=True)
class Example:
    """A block and parameters to try a record with, as the tests do.

    Attributes
    ----------
    block
        Inputs of a block.
    parameters
        One set, with a first axis of 1.
    positive
        Whether the record is defined for positive inputs only.
    """

    block: int = 1
    parameters: Parameters = field(default_factory=dict)
    positive: bool = False


def tried(*, block: int = 1, positive: bool = False, **values: Sequence[float]) -> tuple[Example, ...]:
    """Examples with these parameters, the k-th with the k-th number of each.

    Examples
    --------
    >>> [example.parameters["alpha"].item() for example in tried(alpha=(0.5, 2.0))]
    [0.5, 2.0]
    """
    names = tuple(values)
    rows = zip(*values.values(), strict=True) if values else [()]
    return tuple(
        Example(block, {name: np.array([float(v)]) for name, v in zip(names, row, strict=True)}, positive)
        for row in rows
    )


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
    largest_row
        A power of two that is at least Σ_j |∂φ_i/∂z_j| everywhere, its ℓ∞ constant, where the normal form says less of it.
    examples
        What to try it with.
    """

    name: str
    source: str
    largest_row: float | None = None
    examples: tuple[Example, ...] = tuple(Example(block) for block in (1, 2, 3, 4, 7))

    def output_size(self, block: int, parameters: Parameters) -> int:
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
    def ball(self, z: Sequence[Any], parameters: Parameters) -> list[Any]:
        """Enclosures of φ over one block in ball arithmetic.

        Parameters
        ----------
        z
            The inputs of the block, `flint.arb` balls.
        parameters
            The parameters of this block, without their first axis.
        """

    @abstractmethod
    def normal_form(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> NormalForm:
        """The normal form of a block of `block` inputs.

        Parameters
        ----------
        block
            Inputs of a block.
        parameters
            The parameters.
        on
            The range of all inputs, blocks·block of them, where the form has to hold; everywhere by default.
        around
            An enclosure of the point, on that range, that all increments start from; any two points by default.
        """

    def rational_form(self, block: int, parameters: Parameters) -> RationalForm | None:
        """The normal form of one block in rational numbers, or None where it has none.

        Parameters
        ----------
        block
            Inputs of a block.
        parameters
            Those of the block, with a first axis of 1.
        """
        return RationalForm.of(self.normal_form(block, parameters))

    @abstractmethod
    def image(self, block: int, parameters: Parameters, on: Interval) -> Interval:
        """A range that holds all outputs for inputs in the range `on`."""

    def derivatives(self, block: int, parameters: Parameters, on: Interval) -> Interval | None:
        """Ranges of all ∂φ_i/∂z_j over the range `on`, (blocks, outputs, block); None where none are known."""
        return None

    def needs_range(self, parameters: Parameters) -> bool:
        """Whether there is a normal form on bounded ranges only; `normal_form` raises `Unbounded` without one."""
        return False

    def sizes_on_ranges(self, blocks: int, block: int, parameters: Parameters) -> tuple[int, int, int]:
        """Channels, rows and groups of the normal form of one block on bounded ranges, whichever they are."""
        ends = np.ones(blocks * block)
        form = self.normal_form(block, parameters, Interval(ends, 2.0 * ends))
        return form.P.shape[2], form.Q.shape[1], form.groups

    def is_modulus(self, block: int) -> bool:
        """Whether φ(z) = K z + P |Q z| itself, with exact K, P, Q and one channel: then |Q z| can be shared."""
        return False

    def as_modulus(self, block: int, parameters: Parameters) -> tuple[Array, Array, Array, Array] | None:
        """(A, C, B, Q), exact, with φ(z) = A z + C t + B |t|, t = Q z, one number a block; None where it has no such form.

        Shapes (b, out, in), (b, out, 1), (b, out, 1), (b, 1, in). Then the range of t decides which of two linear maps φ is.
        """
        return None

    @abstractmethod
    def lipschitz(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> float:
        """A proven ℓ2 Lipschitz constant of a block, rounded up: the activation's factor in the norm product."""

    def spelled(self, pen: Pen, x: str, block: int, parameters: Parameters) -> str:
        """φ(x) in ops of ONNX: x is (batch, size) for scalar records and (batch, blocks, block) for the others.

        Raises
        ------
        InvalidRequest
            If no spelling is known.
        """
        raise InvalidRequest(
            f"the activation {self.name!r} has no spelling in ONNX",
            advice="give its record one, as 'Extending' in the documentation shows",
        )

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
    title
        The name that a person would use.
    function, gradient
        Value and derivative, vectorised, called with (z, parameters); parameters broadcast against z.
    slopes
        (α, β) as arrays (1,) or (blocks,), rounded outward, from the parameters.
    enclosure
        φ on a `flint.arb`, or on an `arb_series` x + t (value, slope, …), called with (x, parameters as
        exact balls).
    source
        The derivation of the slopes.
    modulus
        Whether φ(x) = K x + P |x| exactly.
    breaks
        Of a piecewise linear function: its kinks (b, k) ascending, its values there, and the slopes (b, k + 1) between them.
    bends
        Of a smooth one: enclosures of the points of [low, high] where its derivative turns or jumps (`local.kinks`,
        `local.periodic`); between them it is monotone. Without them bounds on a region are looser.
    limits
        The slopes at −∞ and +∞.
    reach
        The least and the largest value, rounded outward.
    smooth
        Whether the derivative is continuous, whatever the parameters, with a derivative of its own but at single points.
    spelling
        Its ops in ONNX, for `lipcert.save`; parameters come as (1,) or (numbers,).
    examples
        What to try it with, as `tried` makes them.
    """

    name: str
    title: str
    function: Callable[[Array, Parameters], Array]
    gradient: Callable[[Array, Parameters], Array]
    slopes: Callable[[Parameters], tuple[Array, Array]]
    enclosure: Callable[[Any, Mapping[str, Any]], Any]
    source: str
    modulus: bool = False
    breaks: local.Breaks | None = field(default=None, kw_only=True)
    bends: local.Bends | None = field(default=None, kw_only=True)
    limits: local.Pair | None = field(default=None, kw_only=True)
    reach: local.Pair | None = field(default=None, kw_only=True)
    smooth: bool = field(default=False, kw_only=True)
    spelling: Spelling | None = field(default=None, kw_only=True)
    examples: tuple[Example, ...] = field(default=(Example(),), kw_only=True)

    def value(self, z: Array, parameters: Parameters) -> Array:
        return self.function(z, _aligned(parameters))

    def jvp(self, z: Array, tangent: Array, parameters: Parameters) -> Array:
        return self.gradient(z, _aligned(parameters)) * tangent

    def vjp(self, z: Array, cotangent: Array, parameters: Parameters) -> Array:
        return self.gradient(z, _aligned(parameters)) * cotangent

    def ball(self, z: Sequence[Any], parameters: Parameters) -> list[Any]:
        from flint import arb

        exact = {key: arb(float(value)) for key, value in parameters.items()}
        return [self.enclosure(x, exact) for x in z]

    def normal_form(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> NormalForm:
        if block != 1:
            raise InvalidRequest(f"{self.title} acts on single numbers, not on groups of {block}")
        slopes = self.slopes_on(parameters, on, around)
        if np.isnan(slopes.low).any() or np.isnan(slopes.high).any():
            raise InvalidRequest(f"{self.title} has no finite slope interval for these parameters")
        if not slopes.bounded.all():
            raise Unbounded(
                f"the slope of {self.title} is unbounded on the range of its input",
                advice="give a region, or a smaller one, such as --box or --center with --radius",
            )
        K, P = slope_centre(slopes.low, slopes.high)
        shape = (-1, 1, 1)
        count = 1 if P.any() else 0
        group = np.zeros(count, dtype=np.int64)
        return NormalForm(K.reshape(shape), P.reshape(shape)[:, :, :count], np.ones((1, count, 1)), group, group)

    def slopes_on(self, parameters: Parameters, on: Interval | None = None, around: Interval | None = None) -> Interval:
        """All slopes (φ(z) − φ(z′))/(z − z′) for z, z′ in a range, everywhere by default, or for z′ in `around` only."""
        if on is None:
            return Interval(*self.slopes(parameters))
        return local.slopes(self, parameters, on, around)

    def needs_range(self, parameters: Parameters) -> bool:
        return not Interval(*self.slopes(parameters)).bounded.all()

    def sizes_on_ranges(self, blocks: int, block: int, parameters: Parameters) -> tuple[int, int, int]:
        # a function may have no slope on ranges that are not known
        return 1, 1, 1

    def image(self, block: int, parameters: Parameters, on: Interval) -> Interval:
        return local.image(self, parameters, on)

    def lines(self, parameters: Parameters, on: Interval, below: Array, above: Array) -> tuple[Array, Array]:
        """(b, t) with below·z + b ≤ φ(z) ≤ above·z + t on a range, for any slopes, one a number."""
        return local.offsets(self, parameters, on, below, above)

    def rational_form(self, block: int, parameters: Parameters) -> RationalForm | None:
        form = self.normal_form(block, parameters)
        low, high = (Fraction(float(end[0])) for end in self.slopes(parameters))
        K, P = Fraction(float(form.K.item())), Fraction(float(form.P.sum()))
        # what was rounded to float64 numbers is compared exactly with the slopes
        return RationalForm.of(form) if low >= K - P and high <= K + P else None

    def slope_lines(self, parameters: Parameters, on: Interval) -> tuple[Array, Array, Array, Array] | None:
        """(below, under, above, over) with below·z + under ≤ φ′(z) ≤ above·z + over on a range; None where φ′ may jump."""
        return local.slope_lines(self, parameters, on)

    def spelled(self, pen: Pen, x: str, block: int, parameters: Parameters) -> str:
        if self.spelling is None:
            return super().spelled(pen, x, block, parameters)
        return self.spelling(pen, x, parameters)

    def is_modulus(self, block: int) -> bool:
        return self.modulus

    def lipschitz(
        self, block: int, parameters: Parameters, on: Interval | None = None, around: Interval | None = None
    ) -> float:
        return float(self.slopes_on(parameters, on, around).magnitude().max())

    def describe(self, blocks: int, block: int) -> str:
        return f"{blocks * block} {self.title}"


def _aligned(parameters: Parameters) -> Parameters:
    return {key: value.reshape(-1, 1, 1) for key, value in parameters.items()}
