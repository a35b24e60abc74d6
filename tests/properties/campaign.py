"""Random networks of every kind, bounded from both sides: `python tests/properties/campaign.py COUNT [FIRST]`.

A network is a function of its seed. It is weak where the proven bound lies more than 1e-4 above the solver's dual value,
the part of the optimum that the solver knows for sure, or where another method had to step in.
"""

from __future__ import annotations

import re
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import click
import numpy as np

import lipcert
from lipcert.activations import TABLE, Pointwise
from lipcert.activations.table import GLOBAL
from lipcert.errors import LipcertError, NotCertified
from lipcert.graph import build as nn
from lipcert.graph.linear_maps import Convolution, Index
from lipcert.graph.nodes import FixedPoint, Graph, GraphBuilder
from lipcert.norms import Norm

WEAK = 1e-4
CONSTANT = 1e-12
LOWER_SECONDS = 0.02
ARCHITECTURES = {"feedforward": 0.4, "residual": 0.15, "concatenation": 0.15, "convolution": 0.15, "implicit": 0.15}
SCALES = ("plain", "network", "layers", "rows", "columns", "entries")
DEFECTS = ("zero rows", "dead neurons", "equal rows", "nearly equal rows", "nearly low rank", "zero layer")
# block activations that leave the width as it is
SQUARE = [name for name, record in GLOBAL.items() if record.output_size(4, {}) == 4]

Rng = np.random.Generator
Array = np.ndarray


@dataclass
class Sample:
    """A random network and the question about it."""

    seed: int
    graph: Graph
    request: dict[str, object]
    features: dict[str, object] = field(default_factory=dict)

    @property
    def implicit(self) -> bool:
        """Whether it may have no bound."""
        return any(isinstance(node, FixedPoint) for node in self.graph.nodes)

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.request} {self.features}"


@dataclass(frozen=True)
class Result:
    """What became of a sample; `excess` is upper over the solver's dual value − 1, or None without a solver."""

    sample: Sample
    upper: float = np.nan
    lower: float = np.nan
    excess: float | None = None
    notes: tuple[str, ...] = ()
    refusal: str = ""
    crash: str = ""
    seconds: float = 0.0

    @property
    def violation(self) -> str:
        """What must never happen, or nothing."""
        if self.crash:
            return self.crash
        if self.refusal:
            return "" if self.sample.implicit else f"refused: {self.refusal}"
        if not 0.0 <= self.upper < np.inf:
            return f"the upper bound is {self.upper}"
        return "" if self.lower <= self.upper else f"upper {self.upper!r} is below lower {self.lower!r}"

    @property
    def weak(self) -> bool:
        """Whether the bound is weaker than the optimum."""
        return bool(self.notes) or (self.excess is not None and not self.excess <= WEAK)


def parameters(kind: str, blocks: int, block: int, rng: Rng) -> dict[str, Array]:
    """Random parameters of an activation, one set for all blocks or one each."""
    count = int(rng.choice([1, blocks]))

    def between(low: float, high: float) -> Array:
        return rng.uniform(low, high, count)

    if kind.startswith("householder"):
        v = rng.standard_normal((count, block))
        v /= np.linalg.norm(v, axis=1, keepdims=True)
        return {"u": 2.0 * v, "c": v}
    if kind == "clip":
        low = between(-1.0, 1.0)
        return {"low": low, "high": low + between(-0.1, 3.0)}
    ranges: dict[str, dict[str, tuple[float, float]]] = {
        "leaky_relu": {"alpha": (-0.5, 1.5)},
        "two_slope": {"below": (-2.0, 2.0), "above": (-2.0, 2.0)},
        "elu": {"alpha": (-1.0, 2.0)},
        "selu": {"alpha": (0.5, 2.0), "gamma": (0.5, 2.0)},
        "celu": {"alpha": (0.1, 3.0)},
        "softplus": {"beta": (0.2, 3.0)},
        "hard_sigmoid": {"alpha": (-0.5, 0.5), "beta": (0.0, 1.0)},
        "hard_swish": {"alpha": (0.1, 0.5), "beta": (-0.5, 1.0)},
        "gelu": {"rate": (0.3, 1.5)},
        "silu": {"beta": (0.3, 2.0)},
        "snake": {"a": (0.2, 2.0)},
        "softshrink": {"lambd": (0.1, 2.0)},
        "soft_abs": {"offset": (0.01, 2.0)},
        "sigmoid_power": {"exponent": (0.2, 6.0)},
    }
    return {key: between(low, high) for key, (low, high) in ranges.get(kind, {}).items()}


class Generator:
    """The layers of one random network."""

    def __init__(self, rng: Rng) -> None:
        self.rng = rng
        self.kinds = [str(kind) for kind in rng.choice(list(GLOBAL), 1 if rng.random() < 0.6 else 3)]
        self.scale = str(rng.choice(SCALES, p=[0.4, 0.12, 0.12, 0.12, 0.12, 0.12]))
        self.common = 10.0 ** rng.uniform(-6, 6)
        self.defects = [name for name in DEFECTS if rng.random() < 0.12]

    def weight(self, rows: int, columns: int) -> Array:
        """A matrix with the scale and the defects of this network."""
        rng = self.rng
        w = rng.standard_normal((rows, columns)) / np.sqrt(columns)
        if self.scale == "network":
            w *= self.common
        elif self.scale == "layers":
            w *= 10.0 ** rng.uniform(-6, 6)
        elif self.scale == "rows":
            w *= 10.0 ** rng.uniform(-6, 6, (rows, 1))
        elif self.scale == "columns":
            w *= 10.0 ** rng.uniform(-6, 6, (1, columns))
        elif self.scale == "entries":
            w *= 10.0 ** rng.uniform(-6, 6, w.shape)
        some = rng.random(rows) < 0.3
        if "nearly low rank" in self.defects:
            w = w[:, :1] * w[:1] / np.abs(w[0, 0]) + 10.0 ** rng.uniform(-16, -3) * w
        if "nearly equal rows" in self.defects:
            w[some] = w[0] * (1.0 + 10.0 ** rng.uniform(-16, -6) * rng.standard_normal((int(some.sum()), columns)))
        if "equal rows" in self.defects:
            w[some] = w[0]
        if "zero rows" in self.defects:
            w[rng.random(rows) < 0.2] = 0.0
        if "dead neurons" in self.defects:
            w[:, rng.random(columns) < 0.2] = 0.0
        if "zero layer" in self.defects and rng.random() < 0.05:
            w[:] = 0.0
        return w

    def linear(self, rows: int, columns: int) -> nn.Layer:
        """A dense layer, usually with a bias."""
        bias = self.rng.standard_normal(rows) if self.rng.random() < 0.8 else None
        return nn.linear(self.weight(rows, columns), bias)

    def activation(self, width: int, kinds: Iterable[str] = ()) -> tuple[nn.Layer, int]:
        """A layer of activations on `width` numbers, and the width behind it."""
        rng = self.rng
        kind = str(rng.choice([k for k in self.kinds if not kinds or k in kinds] or ["relu"]))
        record = TABLE[kind]
        block = 1
        if not isinstance(record, Pointwise):
            block = int(rng.choice([d for d in range(1, min(width, 12) + 1) if width % d == 0][-4:]))
        blocks = width // block
        layer = nn.activation(kind, block, **parameters(kind, blocks, block, rng))
        return layer, blocks * record.output_size(block, {})

    def feedforward(self, sizes: list[int]) -> Graph:
        """Dense layers and activations in turn."""
        layers, width = [self.linear(sizes[1], sizes[0])], sizes[1]
        for size in sizes[2:]:
            act, width = self.activation(width)
            layers += [act, self.linear(size, width)]
            width = size
        if self.rng.random() < 0.2:
            layers.append(self.activation(width)[0])
        return nn.sequential(*layers)

    def residual(self, sizes: list[int]) -> Graph:
        """Blocks x + W₂ φ(W₁ x) of one width between two dense layers."""
        width = sizes[1]
        layers = [self.linear(width, sizes[0])]
        for inner in sizes[2:]:
            act, behind = self.activation(inner)
            layers.append(nn.residual(self.linear(inner, width), act, self.linear(width, behind)))
        return nn.sequential(*layers, self.linear(sizes[-1], width))

    def concatenation(self, sizes: list[int]) -> Graph:
        """Two branches of each layer, one of which may skip it, side by side."""
        builder = GraphBuilder()
        x, width = builder.input(sizes[0]), sizes[0]
        for size in sizes[1:-1]:
            left = self.linear(size, width).add(builder, x)
            act, left_size = self.activation(size)
            left = act.add(builder, left)
            right, right_size = x, width
            if self.rng.random() < 0.6 or width > 2 * size:
                right_size = max(1, size // 2)
                right = self.linear(right_size, width).add(builder, x)
            width = left_size + right_size
            place = np.arange(width)
            x = builder.affine(
                [left, right],
                [
                    Index(np.where(place < left_size, place, -1), left_size),
                    Index(np.where(place >= left_size, place - left_size, -1), right_size),
                ],
            )
        return builder.finish(self.linear(sizes[-1], width).add(builder, x))

    def convolution(self, sizes: list[int]) -> Graph:
        """Convolutions of one or two axes with activations or pooling, then a dense layer."""
        rng = self.rng
        size = tuple(rng.integers(3, 7, int(rng.integers(1, 3))).tolist())
        channels = int(rng.integers(1, 4))
        layers: list[nn.Layer] = []
        for _ in range(min(len(sizes) - 2, 3)):
            if channels * np.prod(size) < 2:
                break
            kernel = tuple(int(rng.integers(1, min(3, n) + 1)) for n in size)
            stride = tuple(rng.integers(1, 3, len(size)).tolist())
            pads = tuple(int(rng.integers(0, k)) for k in kernel) * 2
            out = int(rng.integers(1, 4))
            weight = self.weight(out, channels * int(np.prod(kernel)))
            a = Convolution(weight.reshape(out, channels, *kernel), size, stride, (1,) * len(size), pads)
            layers.append(nn.linear(a))
            size, channels = a.size_out, out
            if min(size) >= 2 and rng.random() < 0.3:
                layers.append(nn.max_pool(channels, size, [2] * len(size)))
                size = tuple(n // 2 for n in size)
            else:
                layers.append(self.activation(a.shape[0], SQUARE)[0])
        return nn.sequential(*layers, self.linear(sizes[-1], channels * int(np.prod(size))))

    def implicit(self, sizes: list[int]) -> Graph:
        """s = φ(W s + U x + b) between dense layers; W a contraction, monotone, or neither."""
        rng = self.rng
        n = min(sizes[1], 24)
        a = rng.standard_normal((n, n)) / np.sqrt(n)
        kind = rng.integers(3)
        if kind == 0:
            w = a * rng.uniform(0.1, 0.99) / np.linalg.norm(a, 2)
        elif kind == 1:
            b = rng.standard_normal((n, n)) / np.sqrt(n)
            w = (1.0 - rng.uniform(0.05, 1.0)) * np.eye(n) - a.T @ a + b - b.T
        else:
            w = rng.uniform(0.5, 2.0) * a
        act, _ = self.activation(n, [k for k in SQUARE if k not in ("log_softmax",)])
        u = self.weight(n, sizes[0])
        layer = nn.fixed_point(w, u, rng.standard_normal(n), act)
        return nn.sequential(layer, self.linear(sizes[-1], n))


def sample(seed: int) -> Sample:
    """The network and the question of a seed."""
    rng = np.random.default_rng(seed)
    made = Generator(rng)
    architecture = str(rng.choice(list(ARCHITECTURES), p=list(ARCHITECTURES.values())))
    norm, output_norm = (Norm.L2, Norm.L2) if rng.random() < 0.5 else (Norm(v) for v in rng.choice(list(Norm), 2))
    # neurons in all; each coordinate of ℓ1 and each output of ℓ∞ is a problem of its own
    many = norm is Norm.L1 or output_norm is Norm.LINF
    budget = int(10.0 ** rng.uniform(0.5, 1.9 if many else 2.3))
    deep = rng.random() < 0.12
    depth = int(rng.integers(16, 31)) if deep else int(rng.integers(1, 7))
    widest = int(np.clip(budget // depth, 1, 60))
    sizes = np.exp(rng.uniform(0.0, np.log(widest + 1), depth + 2)).astype(int)
    ends = 5 if many else 60
    sizes[[0, -1]] = np.exp(rng.uniform(0.0, np.log(ends + 1), 2)).astype(int)
    if rng.random() < 0.5:
        sizes[1:-1] = widest
    graph = getattr(made, architecture)(sizes.tolist())
    request: dict[str, object] = {"norm": str(norm), "output_norm": str(output_norm)}
    if rng.random() < 0.1:
        m = graph.output_size
        request["outputs"] = "pairs" if 2 <= m <= 4 else ("each" if m <= 4 else f"0,{m - 1},0-{m - 1}")
    if rng.random() < 0.1:
        request["form"] = "blocks"
    if rng.random() < 0.15:
        request["method"] = str(
            rng.choice(["product", "layer", "channel"] if architecture != "implicit" else ["layer"])
        )
    features = {
        "architecture": architecture,
        "sizes": sizes.tolist(),
        "activations": made.kinds,
        "scale": made.scale,
        "defects": made.defects,
    }
    return Sample(seed, graph, request, features)


def examine(item: Sample, **options: object) -> Result:
    """Bound a sample from both sides."""
    started = time.perf_counter()
    request = {"lower_seconds": LOWER_SECONDS, **item.request, **options}
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = lipcert.bound(item.graph, **request)  # type: ignore[arg-type]
    except NotCertified as error:
        return Result(item, refusal=str(error), seconds=time.perf_counter() - started)
    except LipcertError as error:
        return Result(item, crash=f"{type(error).__name__}: {error}", seconds=time.perf_counter() - started)
    except Exception:
        return Result(item, crash=traceback.format_exc(), seconds=time.perf_counter() - started)
    if told:
        return Result(
            item, crash=f"{told[0].category.__name__} at {told[0].filename}:{told[0].lineno}: {told[0].message}"
        )
    excess = None
    if found.proposed is not None and found.relative_gap is not None:
        # the gap is one of the square, except for ℓ1 outputs
        dual = found.proposed * (1.0 - min(found.relative_gap, 1.0)) ** (1.0 if found.output_norm is Norm.L1 else 0.5)
        # a network that is constant up to rounding has no relative error
        constant = found.upper <= CONSTANT * (np.inf if found.product is None else found.product)
        excess = 0.0 if constant and not found.lower else (found.upper / dual - 1.0 if dual > 0.0 else np.inf)
    return Result(
        item,
        found.upper,
        -np.inf if found.lower is None else found.lower,
        excess,
        _steps_in(found),
        seconds=time.perf_counter() - started,
    )


def _steps_in(found: lipcert.Bound) -> tuple[str, ...]:
    """The notes, but for a norm product that is less by rounding only, or shows that the network is constant."""
    kept = []
    for note in found.notes:
        less = re.fullmatch(r"the norm product gives less than .*, (\S+)", note)
        if less is None or CONSTANT * float(less[1]) < found.upper < float(less[1]) / (1.0 + WEAK):
            kept.append(note)
    return tuple(kept)


def campaign(seeds: Iterable[int], **options: object) -> Iterator[Result]:
    """The results of many samples, one after the other."""
    for seed in seeds:
        yield examine(sample(seed), **options)


def main(
    count: int,
    first: int,
    say: Callable[[str], object],
    run: Callable[[Iterable[int]], Iterator[Result]] = campaign,
) -> int:
    """Run samples, tell what went wrong, and a summary; the number of violations."""
    results = []
    for result in run(range(first, first + count)):
        results.append(result)
        if result.violation:
            say(f"VIOLATION {result.sample}\n  {result.violation}")
        elif result.weak:
            say(f"weak {result.excess} {result.notes} {result.sample}")
        if result.seconds > 5.0:
            say(f"slow {result.seconds:.1f} s {result.sample}")
    violations = sum(bool(r.violation) for r in results)
    refused = sum(bool(r.refusal) for r in results)
    weak = sum(r.weak and not r.violation for r in results)
    losses = [r.excess for r in results if r.excess is not None and not r.violation]
    kinds = Counter(r.sample.features["architecture"] for r in results)
    say(
        f"{count} networks {dict(kinds)}: {violations} violations, {refused} refused (implicit), "
        f"{weak} weak ({100.0 * weak / count:.2f} %), median excess {np.median(losses):.1e}, "
        f"{sum(r.seconds for r in results):.0f} s"
    )
    return violations


if __name__ == "__main__":
    count, first = (*map(int, sys.argv[1:]), *(2000, 0)[len(sys.argv) - 1 :])
    sys.exit(bool(main(count, first, lambda text: click.echo(text))))
