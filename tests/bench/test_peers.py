"""The comparison with other methods, on networks of a few neurons; times are compared within one run alone."""

from __future__ import annotations

import peer
import peers
import pytest
from common import mlp
from peers import Row

from lipcert.importer import save


def row(name: str, bound: float | None, seconds: float, note: str = "", proven: bool = False) -> Row:
    return Row("net", name, bound, proven, seconds, 2**20, note)


ROWS = [
    row("native", 2.0, 0.5, proven=True),
    row("native, solver alone", 2.0, 0.25),
    row("Clarabel", 2.0002, 50.0),
    row("SCS", None, 100.0, "no answer within 100 s"),
    row("ECLipsE", 3.0, 4.0, "fell back to ECLipsE-Fast"),
    row("ECLipsE-Fast", None, 0.0, "eclipse-nn does not apply: it is a test"),
]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_says_what_was_proven_and_why_there_is_no_answer():
    lines = [cells(line) for line in peers.table(ROWS)[2:]]
    assert lines[0] == ["net", "native", "2", "yes", "0.5", "1 MiB"]
    assert lines[3] == ["net", "SCS", "– (no answer within 100 s)", "–", "100", "1 MiB"]
    assert [line[1] for line in lines] == [item.peer for item in ROWS[:-1]]


def test_ratios_are_relative_to_ours_from_the_same_run():
    (line,) = [cells(line) for line in peers.ratios(ROWS)[2:]]
    assert line == ["net", "200", "over 200", "8", "–", "1.5", "–", "1.0e-04"]


def test_new_figures_replace_old_ones_of_the_same_method(tmp_path):
    renewed = peers.merged(ROWS, [row("Clarabel", 2.0, 40.0)])
    assert [item.peer for item in renewed] == [item.peer for item in ROWS]
    assert renewed[2].seconds == 40.0
    peers.write(renewed, tmp_path / "peers.csv")
    assert peers.read(tmp_path / "peers.csv") == renewed


def test_all_methods_of_the_table_exist():
    assert tuple(peer.PEERS) == peers.PEERS


@pytest.mark.parametrize("name", ["norm product", "native", "matrix-free", "native, solver alone", "Clarabel", "SCS"])
def test_every_method_answers(name):
    network = mlp((4, 6, 5, 3))
    exact = peer.PEERS["native"](network, peer.Limits(1e-8)).bound
    found = peer.PEERS[name](network, peer.Limits(1e-8, 2.0))
    assert found.proven == (name in ("norm product", "native", "matrix-free"))
    assert found.bound == pytest.approx(exact, rel=1e-3) if name != "norm product" else found.bound > 1.01 * exact


def test_a_measurement_has_a_process_of_its_own(tmp_path):
    path = tmp_path / "net.onnx"
    save(mlp((4, 6, 5, 3)), path)
    found = peers.measure("native, solver alone", path, 100.0)
    assert found.bound == pytest.approx(peer.answer("native, solver alone", path, peer.Limits()).bound, rel=1e-6)
    assert 20 * 2**20 < found.memory < 4 * 2**30
    late = peers.measure("native", path, 0.05)
    assert (late.bound, late.note) == (None, "no answer within 0.05 s")


@pytest.mark.parametrize("method", ["ECLipsE", "ECLipsE-Fast"])
def test_eclipse_nn_gets_the_same_network(method):
    pytest.importorskip("eclipse_nn")
    network = mlp((4, 6, 5, 3))
    exact = peer.PEERS["native"](network, peer.Limits()).bound
    product = peer.PEERS["norm product"](network, peer.Limits()).bound
    # its programs are solved to about 1e-6
    assert exact * (1 - 1e-5) <= peer.PEERS[method](network, peer.Limits()).bound <= product


@pytest.mark.slow
def test_the_native_solver_beats_clarabel_on_the_same_problem():
    network = mlp((64, 32, 32, 10))
    ours = [peer.alone(network, peer.Limits(), "native") for _ in range(3)]
    theirs = peer.alone(network, peer.Limits(), "clarabel")
    assert theirs.bound == pytest.approx(ours[0].bound, rel=1e-5)
    assert theirs.seconds > 5 * min(item.seconds for item in ours)
