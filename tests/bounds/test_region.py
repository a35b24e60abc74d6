"""Bounds on a region: above everything that samples show there, below the global bound, and provable elsewhere."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from regional import KINDS, network, region_of

import lipcert
from lipcert.bounds.inside import proven_chord
from lipcert.bounds.operator_norm import dense_norms, length
from lipcert.certificates import Certificate
from lipcert.errors import CertificateRejected, InvalidCertificate, InvalidRequest, LipcertError
from lipcert.graph import build as nn
from lipcert.graph.evaluate import forward, record
from lipcert.graph.nodes import Activation, Graph
from lipcert.norms import Norm
from lipcert.ranges import localise
from lipcert.regions import Ball, Box, Region, everywhere, free

DATA = Path(__file__).parents[3] / "shared" / "data"
NORMS = list(Norm)


def steepest_inside(graph: Graph, region: Region, p: Norm, q: Norm, rng: np.random.Generator, anchored: bool) -> float:
    """The largest sampled slope of a chord, and the largest sampled Jacobian, within a region."""
    n = graph.input_size
    x, y = region.sample(60, rng, n), region.sample(60, rng, n)
    y[:, :20] = region.project(x[:, :20] + 1e-3 * (y[:, :20] - x[:, :20]))
    if anchored:
        assert region.centre is not None
        y = np.repeat(region.centre[:, None], 60, axis=1)
    change = forward(graph, x) - forward(graph, y)
    apart = length(x - y, p)
    ok = apart > 1e-9 * (1.0 + np.abs(x).max())
    steepest = float((length(change, q)[ok] / apart[ok] * (1.0 - 1e-7)).max(initial=0.0))
    if anchored:
        return steepest
    tape = record(graph, [x])
    jacobians = np.stack([tape.jacobian(k) for k in range(20)]) * free(region)
    return max(steepest, float(dense_norms(jacobians, p, q)[0].max()) * (1.0 - 1e-9))


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_on_a_region_are_above_samples(kind: str) -> None:
    assert_above_samples(kind, [KINDS.index(kind) % 4])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_bounds_on_many_regions_are_above_samples(kind: str) -> None:
    assert_above_samples(kind, range(4, 16))


def assert_above_samples(kind: str, seeds: Iterable[int]) -> None:
    for seed in seeds:
        rng = np.random.default_rng(seed)
        graph = network(seed, [kind, "tanh" if seed else "relu"])
        region = region_of(rng, graph.input_size)
        p, q = (NORMS[int(k)] for k in rng.integers(3, size=2))
        anchored = region.centre is not None and bool(seed % 2)
        bound = lipcert.bound(
            graph, norm=p, output_norm=q, region=region, anchored=anchored, lower_seconds=0.03, tolerance=1e-6
        )
        assert bound.lower is not None
        assert bound.upper >= max(bound.lower, steepest_inside(graph, region, p, q, rng, anchored))


def test_the_whole_space_is_the_global_bound_to_the_last_digit() -> None:
    graph = network(5, ["relu", "tanh", "sort", "householder"])
    plain = lipcert.bound(graph, lower=False)
    here = lipcert.bound(graph, lower=False, region=everywhere())
    assert here.upper == plain.upper
    assert here.certificate is not None
    assert plain.certificate is not None
    assert here.certificate.to_json() == plain.certificate.to_json()


def test_ranges_are_part_of_the_fingerprint_only_where_there_are_any() -> None:
    graph = nn.sequential(nn.linear([[1.0], [-1.0]]), nn.activation("tanh"))
    found = localise(graph, Box(-1.0, 1.0)).graph
    local = next(node for _, node in found.walk() if isinstance(node, Activation))
    plain = next(node for _, node in graph.walk() if isinstance(node, Activation))
    assert replace(local, on=None).fingerprint() == replace(plain, blocks=local.blocks).fingerprint()
    assert local.fingerprint() != plain.fingerprint()


@pytest.mark.parametrize("kind", ["tanh", "softplus", "gelu", "sin"])
@pytest.mark.parametrize("anchored", [False, True])
def test_the_bound_on_a_tiny_ball_is_the_norm_of_the_jacobian(kind: str, anchored: bool) -> None:
    rng = np.random.default_rng(1)
    layer = nn.activation(kind, **({"beta": np.array([1.5])} if kind == "softplus" else {}))
    layer = nn.activation(kind, rate=np.array([0.7])) if kind == "gelu" else layer
    graph = nn.sequential(
        nn.linear(rng.standard_normal((6, 3)), rng.standard_normal(6)), layer, nn.linear(rng.standard_normal((4, 6)))
    )
    centre = rng.standard_normal(3)
    here = lipcert.bound(graph, region=Ball(centre, 1e-6), anchored=anchored, lower_seconds=0.2)
    jacobian = np.linalg.norm(record(graph, [centre[:, None]]).jacobian(), 2)
    assert here.upper == pytest.approx(jacobian, rel=1e-4)
    assert here.lower == pytest.approx(jacobian, rel=1e-4)


def test_bounds_grow_with_the_radius_up_to_the_global_one() -> None:
    graph = network(11, ["relu", "tanh"])
    globally = lipcert.bound(graph, lower=False).upper
    centre = np.full(graph.input_size, 0.3)
    found = [lipcert.bound(graph, lower=False, region=Ball(centre, r)).upper for r in (1e-3, 1e-2, 0.1, 1.0, 1e4)]
    assert all(a <= b * (1.0 + 1e-6) for a, b in zip(found, [*found[1:], globally], strict=True))
    assert found[-1] == pytest.approx(globally, rel=1e-6)


def test_an_anchored_bound_is_at_most_the_pairwise_one() -> None:
    for seed in range(4):
        graph = network(seed, ["relu", "abs"])
        ball = Ball(np.full(graph.input_size, 0.2), 0.7)
        pairwise = lipcert.bound(graph, lower=False, region=ball).upper
        assert lipcert.bound(graph, lower=False, region=ball, anchored=True).upper <= pairwise * (1.0 + 1e-7)


def test_inputs_that_cannot_move_do_not_count() -> None:
    graph = nn.sequential(nn.linear([[3.0, 4.0]]), nn.relu())
    here = lipcert.bound(graph, region=Box([0.0, 1.0], [1.0, 1.0]), lower_seconds=0.1)
    assert 3.0 <= here.upper < 3.0 + 1e-9
    assert here.lower == pytest.approx(3.0, abs=1e-6)


def test_an_implicit_layer_on_a_region() -> None:
    layer = nn.fixed_point([[0.4, -0.3], [0.2, 0.5]], [[1.0], [2.0]], [2.0, -3.0], nn.activation("tanh"))
    graph = nn.sequential(layer, nn.linear([[1.0, -1.0]]))
    here = lipcert.bound(graph, region=Box(-0.5, 0.5), lower_seconds=0.2)
    globally = lipcert.bound(graph, lower=False)
    assert here.lower is not None
    assert here.lower <= here.upper < 0.9 * globally.upper


def test_the_witness_lies_in_the_region() -> None:
    graph = network(3, ["tanh", "relu"])
    ball = Ball(np.zeros(graph.input_size), 0.5, within=Box(-0.3, 0.4))
    here = lipcert.bound(graph, region=ball, lower_seconds=0.2)
    assert here.witness is not None
    witness = here.witness.witness
    assert witness is not None
    assert ball.contains(witness.point)
    assert proven_chord(graph, Norm.L2, Norm.L2, witness.point, witness.point + witness.direction) <= here.upper


@pytest.fixture(scope="module")
def proof() -> tuple[Graph, Certificate]:
    graph = network(8, ["tanh", "relu", "sort"])
    found = lipcert.bound(graph, region=Ball(np.zeros(graph.input_size), 0.4), anchored=True, lower=False).certificate
    assert found is not None
    return graph, found


def test_certificates_on_a_region_are_verified(proof: tuple[Graph, Certificate], tmp_path: Path) -> None:
    graph, certificate = proof
    certificate.save(tmp_path / "proof.json")
    verdict = lipcert.verify(tmp_path / "proof.json", graph)
    assert verdict.value == certificate.value
    assert verdict.certificate.to_json() == certificate.to_json()


def changed(certificate: Certificate, path: list[str], value: object) -> str:
    document = json.loads(certificate.to_json())
    item = document
    for key in path[:-1]:
        item = item[key]
    item[path[-1]] = value
    return json.dumps(document)


def test_another_region_is_not_proven(proof: tuple[Graph, Certificate]) -> None:
    graph, certificate = proof
    wider = Ball(np.zeros(graph.input_size), 4.0).to_json()
    for change in (
        changed(certificate, ["claim", "region"], wider),
        changed(certificate, ["claim", "region"], everywhere().fitted(graph.input_size).to_json() | {}),
        changed(certificate, ["claim", "region"], everywhere().to_json()),
    ):
        with pytest.raises(LipcertError):
            lipcert.verify(Certificate.from_json(change), graph)
    pairwise = Certificate.from_json(changed(certificate, ["claim", "increments"], "anywhere"))
    with pytest.raises(CertificateRejected):
        lipcert.verify(pairwise, graph)


def test_hints_that_are_tampered_with_prove_nothing_false(proof: tuple[Graph, Certificate]) -> None:
    graph, certificate = proof
    rng = np.random.default_rng(0)
    document = json.loads(certificate.to_json())
    hints = document["hints"]["activations"]
    assert hints
    for name, hint in hints.items():
        for key in [*hint, "slope_below"]:
            trial = json.loads(certificate.to_json())
            own = trial["hints"]["activations"][name]
            size = len(lipcert.arrays.from_text(hint["on_low"]))
            own[key] = lipcert.arrays.to_text(rng.standard_normal(size) * 0.01)
            try:
                verdict = lipcert.verify(Certificate.from_json(json.dumps(trial)), graph)
            except (CertificateRejected, InvalidCertificate):
                continue
            # what is accepted is true all the same
            assert verdict.value == certificate.value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"region": Box([0.0] * 9, 1.0)}, "9 numbers"),
        ({"region": Box(0.0, 1.0), "anchored": True}, "no centre"),
        ({"anchored": True}, "no centre"),
    ],
)
def test_regions_that_do_not_fit_are_refused(options: dict[str, object], message: str) -> None:
    graph = nn.sequential(nn.linear([[1.0, 2.0]]), nn.relu())
    with pytest.raises(InvalidRequest, match=message):
        lipcert.bound(graph, **options)  # type: ignore[arg-type]


def figures() -> list[tuple[str, str, str]]:
    """The networks, regions and norms of the table of published and measured values."""
    if not DATA.exists():
        return []
    with (DATA / "local" / "figures.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["region"] != "global"]
    return list(dict.fromkeys((row["network"], row["region"], row["norms"]) for row in rows))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "place", "norms"), figures())
def test_figures_are_reached(name: str, place: str, norms: str) -> None:
    with (DATA / "local" / "figures.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if (r["network"], r["region"], r["norms"]) == (name, place, norms)]
    values = {row["method"]: float(row["value"]) for row in rows}
    graph = lipcert.load(DATA / ("onnx" if name.startswith("mnist-net") else "local") / f"{name}.onnx")
    with np.load(DATA / "local" / f"{name}__{place}.npz") as file:
        region: Region = (
            Box(file["low"].ravel(), file["high"].ravel())
            if "low" in file
            else Ball(file["center"].ravel(), float(file["radius"]))
        )
    norm, output = norms.split("->")
    options = {"output_norm": output} if "row" not in output else {"output_norm": "inf", "outputs": output[3:]}
    found = lipcert.bound(graph, norm=norm, region=region, lower=False, **options)  # type: ignore[arg-type]
    lowest = max([float(row["value"]) for row in rows if row["kind"] != "upper"], default=0.0)
    assert found.upper >= lowest * (1.0 - 1e-6)
    if "SDP (C) with CROWN slopes" in values:
        assert found.upper <= values["SDP (C) with CROWN slopes"] * 1.001
    # values in the table have seven digits; prototypes of branch and bound are no peers of a bound without branching
    peers = [float(row["value"]) for row in rows if row["kind"] == "upper" and "prototype" not in row["method"]]
    assert found.upper <= min(peers) * (1.0 + 1e-6)
