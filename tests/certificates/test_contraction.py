"""The Gram matrix of a staircase, and proofs of large proposals as they are."""

from __future__ import annotations

import numpy as np
import pytest

from lipcert import definite
from lipcert.bounds.api import bound
from lipcert.certificates import repair
from lipcert.certificates.contraction import is_contraction
from lipcert.certificates.enclosure import Enclosure
from lipcert.definite import gram
from lipcert.graph import build as nn


@pytest.mark.parametrize("rows", [1, 40, 700])
def test_gram_of_a_staircase(rows: int) -> None:
    rng = np.random.default_rng(rows)
    a = rng.standard_normal((rows, 90))
    a[: rows // 2, 30:60] = 0.0
    a[: 3 * rows // 4, 60:85] = 0.0
    a[:, 85:] = 0.0
    np.testing.assert_allclose(gram(a), np.tril(a @ a.T), atol=1e-12)


def test_gram_of_a_sparse_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    a = np.triu(np.tril(rng.standard_normal((700, 900)), 3), -3)
    monkeypatch.setattr(definite, "_product", lambda a: pytest.fail("most of its products are zero"))
    np.testing.assert_allclose(gram(a), np.tril(a @ a.T), atol=1e-12)


@pytest.mark.parametrize("band", [700, 3])
def test_a_large_matrix_is_judged_by_its_norm(band: int) -> None:
    rng = np.random.default_rng(0)
    a = np.triu(np.tril(rng.standard_normal((600, 700)), -40), -40 - band)
    a /= np.linalg.norm(a, 2)
    assert is_contraction(Enclosure(a * (1.0 - 1e-9)))
    assert not is_contraction(Enclosure(a * (1.0 + 1e-12)))


def test_large_proposals_are_proven_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    graph = nn.sequential(nn.linear(rng.standard_normal((30, 10))), nn.relu(), nn.linear(rng.standard_normal((4, 30))))
    usual = bound(graph, lower=False, solver="matrix-free", time_limit=5.0)
    monkeypatch.setattr(repair, "_LARGE", 20)
    monkeypatch.setattr(repair, "_along_depth", lambda *arguments: pytest.fail("one proof is enough"))
    quick = bound(graph, lower=False, solver="matrix-free", time_limit=5.0)
    assert quick.upper == pytest.approx(usual.upper, rel=1e-5)
