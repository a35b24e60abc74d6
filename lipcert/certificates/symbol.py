"""A proven bound on the norm of a convolution by its symbol, whatever the size of the image.

Zeros around the image make the convolution a part of one on a torus that is large enough for nothing to wrap around, and
that one is block diagonal in the Fourier basis: its norm is the largest of the norms of

    M(ω) = Σ_k W_k e^{i k·ω},   ω = 2π j / L,   j = 0, …, L − 1 on each axis.

With stride s the input is first split into its s phases on each axis, x_r[n] = x[s n + r], which is a permutation; the tap
at offset s k + r then belongs to W_k and the channels of phase r (Sedghi, Gupta, Long, ICLR 2019, arXiv 1805.10408, for
stride 1). A stride-1 convolution of n positions is within O(1/n²) of this bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lipcert import budget
from lipcert.certificates.contraction import is_contraction
from lipcert.certificates.enclosure import Enclosure
from lipcert.rounding import FLOOR, gamma

if TYPE_CHECKING:
    from lipcert.arrays import ComplexArray
    from lipcert.graph.linear_maps import Convolution

_MARGINS = (1e-6, 1e-3)
# entries of the symbols that are made together
_TOGETHER = 2**22
# error of a root of unity at most, for each axis: two coordinates to nearest, and a product with the other axes
_ROOT = 2.0**-50
# operations a second with small matrices
_SPEED = 4e9


def norm_by_symbol(a: Convolution) -> float | None:
    """A proven upper bound on ‖A‖₂, or None where none is proven.

    Examples
    --------
    >>> from lipcert.graph.linear_maps import Convolution
    >>> mean = Convolution(np.full((1, 1, 3), 1 / 3), (100,), (1,), (1,), (1, 1))
    >>> 1.0 < norm_by_symbol(mean) < 1.00001
    True
    """
    symbols = [_Symbol(a, group) for group in range(a.groups)]
    largest = max(float(np.linalg.norm(m, 2, axis=(1, 2)).max()) for symbol in symbols for m in symbol.values())
    if not 0.0 < largest < np.inf:
        return None
    for margin in _MARGINS:
        trial = largest * (1.0 + margin)
        if all(symbol.is_below(trial) for symbol in symbols):
            return trial
    return None


def seconds_needed(a: Convolution) -> float:
    """About how long `norm_by_symbol` takes."""
    frequencies = float(np.prod([n + k for n, k in zip(a.size_out, a.kernel.shape[2:], strict=True)])) / 2.0
    small, large = sorted((a.kernel.shape[0] // a.groups, a.kernel.shape[1] * int(np.prod(a.stride))))
    return a.groups * frequencies * (2e-4 + 12.0 * small**2 * large / _SPEED)


class _Symbol:
    """M of one channel group.

    Parameters
    ----------
    a
        The convolution.
    group
        The number of the group.
    """

    def __init__(self, a: Convolution, group: int) -> None:
        outputs = a.kernel.shape[0] // a.groups
        kernel = a.kernel[group * outputs : (group + 1) * outputs]
        taps = np.indices(kernel.shape[2:]).reshape(len(a.size), -1).T
        offsets, stride = taps * np.array(a.dilation), np.array(a.stride)
        self.shift, phase = offsets // stride, offsets % stride
        self.sizes = np.array(a.size_out) + self.shift.max(axis=0)
        # (taps, outputs, inputs)
        weights = np.moveaxis(kernel.reshape(*kernel.shape[:2], -1), 2, 0)
        of_tap = np.unique(phase, axis=0, return_inverse=True)[1].ravel()
        self.parts = [(of_tap == r, weights[of_tap == r]) for r in range(int(of_tap.max()) + 1)]

    def values(self) -> Iterator[ComplexArray]:
        """All M(ω) but the complex conjugates of others, (some, outputs, inputs of all phases) at a time."""
        roots = [_roots(int(size)) for size in self.sizes]
        frequencies = np.indices(self.sizes).reshape(len(self.sizes), -1).T
        weights = self.sizes[::-1].cumprod()[::-1] // self.sizes
        number, mirrored = frequencies @ weights, ((-frequencies) % self.sizes) @ weights
        frequencies = frequencies[number <= mirrored]
        step = max(1, _TOGETHER // sum(part[0].size for _, part in self.parts))
        for chunk in np.split(frequencies, range(step, len(frequencies), step)):
            waves = np.ones((len(chunk), len(self.shift)), dtype=complex)
            for axis, table in enumerate(roots):
                waves *= table[np.outer(chunk[:, axis], self.shift[:, axis]) % len(table)]
            yield np.concatenate([np.tensordot(waves[:, taps], part, 1) for taps, part in self.parts], axis=2)

    def is_below(self, bound: float) -> bool:
        """Whether ‖M(ω)‖ < bound is proven for all ω; of a complex matrix, by the real one of twice its size."""
        size = np.concatenate([np.abs(part).sum(axis=0) for _, part in self.parts], axis=1)
        # twice what the roots and the sums leave, for the rounding of this line
        radius = 2.0 * (len(self.sizes) * _ROOT + gamma(len(self.shift) + 4)) * (size / bound)
        radius = np.block([[radius, radius], [radius, radius]]) + FLOOR
        for some in self.values():
            budget.check()
            for m in some:
                mid = np.block([[m.real, -m.imag], [m.imag, m.real]]) / bound
                if not is_contraction(Enclosure(mid, radius + gamma(2) * np.abs(mid))):
                    return False
        return True


def _roots(size: int) -> ComplexArray:
    """The roots of unity e^{2πi m / size}, each coordinate to nearest."""
    from flint import arb, ctx

    with ctx.workprec(100):
        angles = [arb(2 * m) / size for m in range(size)]
        return np.array([complex(float(angle.cos_pi()), float(angle.sin_pi())) for angle in angles])
