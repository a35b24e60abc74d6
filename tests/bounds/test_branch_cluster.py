"""Out to other processes: a lost worker costs time, not the answer."""

from __future__ import annotations

import itertools
import os
import signal

import numpy as np
import pytest

from lipcert.bounds.branch import branch, tree
from lipcert.bounds.branch.neurons import Neurons
from lipcert.certificates import Certificate, verify
from lipcert.graph import build as nn
from lipcert.graph.claim import Claim
from lipcert.graph.nodes import Graph
from lipcert.regions import Box


def network() -> Graph:
    rng = np.random.default_rng(0)
    layers: list[object] = []
    for n, m in itertools.pairwise((3, 5, 4, 2)):
        layers += [nn.linear(rng.normal(size=(m, n)), 0.5 * rng.normal(size=m)), nn.relu()]
    return nn.sequential(*layers[:-1])


CLAIM = Claim(region=Box(-1.0, 1.0).fitted(3))


def grown(graph: Graph, **named: object) -> tree.Tree:
    bare = Certificate.bare(graph, CLAIM, "comparators", np.inf)
    return branch(Neurons.of(graph, CLAIM, "comparators"), bare, **named)


def test_lost_workers_cost_their_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a backend raises, the nodes are cut here."""
    import joblib

    class Lost:
        def __init__(self, n_jobs: int | None = None) -> None:
            pass

        def __call__(self, tasks: object) -> object:
            raise OSError("the workers are gone")

    graph = network()
    alone = grown(graph)
    monkeypatch.setattr(joblib, "Parallel", Lost)
    found = grown(graph, jobs=2)
    assert found.certificate.value == pytest.approx(alone.certificate.value, rel=1e-9)
    assert any("OSError" in note for note in found.notes)
    monkeypatch.undo()
    assert verify(found.certificate, graph).value == found.certificate.value


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_of_a_cluster_is_killed_on_the_way() -> None:
    distributed = pytest.importorskip("distributed")
    import joblib

    graph = network()
    alone = grown(graph)
    rounds = itertools.count()
    killed = []
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):

        def kill(step: object) -> None:
            if next(rounds) == 2:
                victim = next(iter(client.run(os.getpid).values()))
                os.kill(victim, signal.SIGKILL)
                killed.append(victim)

        with joblib.parallel_config(backend="dask", n_jobs=-1):
            found = grown(graph, jobs=-1, progress=kill)
    assert killed
    assert found.status is alone.status
    assert found.certificate.value == pytest.approx(alone.certificate.value, rel=1e-9)
    assert verify(found.certificate, graph).value == found.certificate.value
