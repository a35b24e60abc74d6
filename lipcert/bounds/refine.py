"""Sample by sample: what the global bounds leave open, by bounds around the sample and by a search for counterexamples."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lipcert import budget
from lipcert.bounds.attack import Attack
from lipcert.bounds.nearby import Local
from lipcert.certificates.nearby import LocalProof
from lipcert.certificates.values import margins_at
from lipcert.errors import InvalidRequest
from lipcert.sdp.outcome import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lipcert.arrays import Array, IntArray

CERTIFIED, REFUTED, OPEN, WRONG = "certified", "refuted", "open", "misclassified"
GLOBAL = "global"


@dataclass(frozen=True, eq=False)
class Found:
    """What is known of one sample.

    Attributes
    ----------
    radius
        The certified radius.
    source
        What it rests on: 'global', 'range', 'anchored', 'lifted' or 'branched'.
    distance
        The distance of a proven counterexample, rounded up; infinite without one.
    counterexample
        That point, or None.
    local
        The proof around the sample, where there is one.
    """

    radius: float
    source: str = GLOBAL
    distance: float = np.inf
    counterexample: Array | None = None
    local: LocalProof | None = None

    def status(self, at: float | None) -> str:
        """'certified', 'refuted' or 'open' at a radius; without one whether any radius is certified."""
        if at is None:
            return CERTIFIED if self.radius > 0.0 else OPEN
        return CERTIFIED if self.radius >= at else REFUTED if self.distance <= at else OPEN

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads, exactly."""
        return {
            "radius": self.radius.hex(),
            "source": self.source,
            "distance": self.distance.hex(),
            "counterexample": None if self.counterexample is None else self.counterexample.tolist(),
            "local": None if self.local is None else self.local.to_json(),
        }

    @classmethod
    def from_json(cls, item: dict[str, Any]) -> Found:
        """What `to_json` wrote."""
        point = item["counterexample"]
        return cls(
            float.fromhex(item["radius"]),
            item["source"],
            float.fromhex(item["distance"]),
            None if point is None else np.array(point, dtype=np.float64),
            None if item["local"] is None else LocalProof.from_json(item["local"]),
        )


@dataclass(frozen=True, eq=False)
class Refinement:
    """How samples are refined.

    Attributes
    ----------
    local
        Bounds around samples.
    attack
        The search for counterexamples.
    at
        One radius to decide, or None for the largest of each sample.
    nearby, attacked
        Whether bounds around samples, and counterexamples, are looked for.
    jobs
        Processes, as joblib's `n_jobs`.
    end
        When to stop, by the clock of `time.perf_counter`, or None.
    """

    local: Local
    attack: Attack
    at: float | None
    nearby: bool
    attacked: bool
    jobs: int | None = None
    end: float | None = None
    progress: Callable[[Progress], None] | None = field(default=None, repr=False)

    def run(
        self, points: Array, classes: IntArray, gaps: Array, radii: Array, known: dict[int, Found]
    ) -> Iterator[Found]:
        """What is found of each sample, in order; `known` from an earlier run is not computed again."""
        start = time.perf_counter()
        found = self._attacked(points, classes, radii)
        wanted = [i for i in range(len(points)) if i not in known and self._wants(found[i])]
        results = self._local([(points[i], int(classes[i]), gaps[i], float(radii[i])) for i in wanted])
        chosen = set(wanted)
        for i in range(len(points)):
            if i in known:
                yield known[i]
                continue
            proof = next(results) if i in chosen else None
            if self.progress is not None and (self.nearby or self.attacked):
                seconds = time.perf_counter() - start
                self.progress(Progress("samples", i + 1, seconds=seconds, total=len(points)))
            if proof is not None and proof.radius > found[i].radius:
                before = found[i]
                yield Found(proof.radius, proof.source, before.distance, before.counterexample, proof)
            else:
                yield found[i]

    def _wants(self, found: Found) -> bool:
        if not self.nearby or not found.radius > 0.0 or not np.isfinite(found.radius):
            return False
        return self.at is None or found.status(self.at) == OPEN

    def _attacked(self, points: Array, classes: IntArray, radii: Array) -> list[Found]:
        """The samples after the search; at one radius it runs in every case, for what it refutes needs no bounds."""
        plain = [Found(float(radius)) for radius in radii]
        inside = np.flatnonzero((radii > 0.0) & np.isfinite(radii))
        decide = lambda x: margins_at(self.attack.graph, x)  # noqa: E731
        if self.at is not None:
            open_ = inside[radii[inside] < self.at]
            if not open_.size or not (self.nearby or self.attacked):
                return plain
            radius = np.full(open_.size, self.at)
            near = self.attack.at(points[open_], classes[open_], radius)
            examples, distances = self.attack.proven(points[open_], classes[open_], near, radius, decide)
        elif self.attacked and inside.size:
            open_ = inside
            examples, distances = self.attack.nearest(points[open_], classes[open_], radii[open_], decide)
        else:
            return plain
        for k, i in enumerate(open_):
            if np.isfinite(distances[k]):
                plain[i] = Found(float(radii[i]), GLOBAL, float(distances[k]), examples[k])
        return plain

    def _local(self, tasks: list[tuple[Array, int, Array, float]]) -> Iterator[LocalProof | None]:
        from joblib import Parallel, delayed, effective_n_jobs

        if effective_n_jobs(self.jobs) <= 1 or len(tasks) < 2:
            return map(self._one, tasks)
        parallel = Parallel(n_jobs=self.jobs, return_as="generator")
        return iter(parallel(delayed(_apart)(self.local, self.at, self.end, task) for task in tasks))

    def _one(self, task: tuple[Array, int, Array, float]) -> LocalProof | None:
        return _apart(self.local, self.at, self.end, task)


def _apart(
    local: Local, at: float | None, end: float | None, task: tuple[Array, int, Array, float]
) -> LocalProof | None:
    x, c, gaps, radius = task
    # perf_counter is common to the processes of a machine
    left = None if end is None else end - time.perf_counter()
    if left is not None and left <= 0.0:
        return None
    with budget.within(left):
        return local.largest(x, c, gaps, radius) if at is None else local.at(x, c, gaps, at)


class Stream:
    """Results as JSON lines, one a sample in order, so that an interrupted run can be taken up again.

    Parameters
    ----------
    path
        The file; what an earlier run of the same question left there is kept.
    question
        What the lines are about; another run's lines are refused.

    Raises
    ------
    InvalidRequest
        If the file holds something else.
    """

    def __init__(self, path: Path, question: dict[str, Any]) -> None:
        self.path = path
        digest = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()
        self.head = json.dumps({"lipcert": "classes", "question": digest}) + "\n"
        self.known: dict[int, Found] = {}
        kept = self._read()
        with path.open("w", encoding="utf-8") as file:
            file.write(kept)

    def _read(self) -> str:
        """The complete lines of an earlier run."""
        try:
            text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        except (OSError, UnicodeDecodeError):
            text = "?"
        if not text or self.head.startswith(text):
            return self.head
        if not text.startswith(self.head):
            raise InvalidRequest(
                "it holds results of another run", where=str(self.path), advice="choose another file, or remove it"
            )
        kept = [self.head]
        for line in text[len(self.head) :].splitlines(keepends=True):
            try:
                item = json.loads(line)
                self.known[int(item["sample"])] = Found.from_json(item)
            except (ValueError, KeyError, TypeError):
                break
            if not line.endswith("\n"):
                self.known.pop(int(item["sample"]))
                break
            kept.append(line)
        return "".join(kept)

    def written(self, samples: Sequence[int], results: Iterator[Found]) -> Iterator[Found]:
        """The results, each written as it comes; `samples` are their numbers in the data."""
        with self.path.open("a", encoding="utf-8") as file:
            for sample, found in zip(samples, results, strict=True):
                if sample not in self.known:
                    file.write(json.dumps({"sample": int(sample)} | found.to_json()) + "\n")
                    file.flush()
                yield found
