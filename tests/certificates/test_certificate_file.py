"""The certificate file: exact round trips, and a reason for everything that is rejected."""

import base64
import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import lipcert
from lipcert import cli
from lipcert.certificates import Certificate, Prover, verify
from lipcert.certificates.certificate import MAX_BYTES
from lipcert.certificates.claims import Scaling
from lipcert.constraints.multipliers import Multipliers
from lipcert.errors import CertificateRejected, InvalidCertificate, InvalidRequest
from lipcert.graph import build as nn
from lipcert.graph.selection import Selection
from lipcert.norms import Norm


def network(seed=0):
    rng = np.random.default_rng(seed)
    return nn.sequential(
        nn.linear(rng.normal(size=(4, 3))), nn.relu(), nn.linear(rng.normal(size=(4, 4))), nn.relu(),
        nn.linear(rng.normal(size=(2, 4))),
    )  # fmt: skip


GRAPH = network()
CERTIFICATE = Prover(GRAPH).prove([Multipliers(np.repeat([100.0, 10.0], 4), np.ones(1))])


def claiming(**fields):
    return replace(CERTIFICATE, claim=replace(CERTIFICATE.claim, **fields))


def array(numbers):
    return base64.b64encode(np.asarray(numbers, dtype="<f8").tobytes()).decode()


def changed(path, value):
    document = json.loads(CERTIFICATE.to_json())
    place = document
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(document)


def old(normal_form):
    """The certificate as version 1 had it."""
    document = json.loads(CERTIFICATE.to_json())
    return json.dumps(as_first(document, normal_form))


def as_first(document, normal_form="default"):
    """What version 1 had instead of regions."""
    document["version"] = 1
    document["network"]["normal_form"] = normal_form
    document["claim"]["scope"] = "global"
    del document["claim"]["region"], document["claim"]["increments"], document["hints"], document["evidence"]
    del document["leaves"]
    return document


def test_certificates_of_version_1_still_hold(tmp_path):
    path = tmp_path / "net.json"
    path.write_text(old("default"))
    assert Certificate.load(path).to_json() == CERTIFICATE.to_json()
    assert verify(path, GRAPH).value == CERTIFICATE.value


@pytest.mark.parametrize("version", [1, 2])
def test_the_name_of_the_file_does_not_matter(tmp_path, version):
    text = "node 'n' (Mul): its constants are rounded"
    graph = replace(GRAPH, idealisations=(text, "weights are rounded"))
    certificate = replace(CERTIFICATE, idealisations=graph.idealisations)
    document = json.loads(certificate.to_json())
    if version == 1:
        as_first(document)
        document["idealisations"][0] = f"a, b.onnx, {text}"
    verify(Certificate.from_json(json.dumps(document)), graph)
    document["idealisations"][0] = f"a, b.onnx, {text}!"
    with pytest.raises(CertificateRejected, match="idealisations"):
        verify(Certificate.from_json(json.dumps(document)), graph)


def test_round_trip_is_exact(tmp_path):
    path = tmp_path / "net.json"
    CERTIFICATE.save(path)
    loaded = Certificate.load(path)
    assert loaded.to_json() == CERTIFICATE.to_json()
    assert (loaded.scalings[0].d == CERTIFICATE.scalings[0].d).all()
    assert verify(path, GRAPH).value == CERTIFICATE.value
    assert [p.name for p in tmp_path.iterdir()] == ["net.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "net.json"
    CERTIFICATE.save(path)
    before = path.read_bytes()
    monkeypatch.setattr("pathlib.Path.replace", lambda self, target: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises((OSError, InvalidRequest), match="full"):
        CERTIFICATE.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["net.json"]


S = CERTIFICATE.scalings[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "not an object"),
        ('{"format": NaN}', "not valid JSON"),
        (CERTIFICATE.to_json().replace('"tool"', '"version": 1, "tool"'), "not valid JSON"),
        (changed(["claim"], None), "lacks claim"),
        (changed(["claim", "region"], None), "lacks region"),
        (changed(["hints"], None), "lacks hints"),
        (changed(["surplus"], 1), "unknown field 'surplus'"),
        (changed(["claim", "surplus"], 1), "unknown field 'surplus'"),
        (changed(["scalings", 0, "lam"], "AAAA"), "unknown field 'lam'"),
        (changed(["format"], "other"), "the format is"),
        (changed(["version"], 3), "version 3 is not known"),
        (changed(["network", "normal_form"], "default"), "unknown field 'normal_form'"),
        (old("published"), "normal form 'published'"),
        (changed(["claim", "value"], "1.0"), "claimed value"),
        (changed(["claim", "value"], "0X1p5"), "claimed value"),
        (changed(["claim", "value"], " 0x1p5"), "claimed value"),
        (changed(["claim", "value"], "0x1p5\n"), "claimed value"),
        (changed(["claim", "value"], "+0x1p5"), "claimed value"),
        (changed(["claim", "value"], "0x1"), "claimed value"),
        (changed(["claim", "value"], "0x1.00000000000001p5"), "claimed value"),
        (changed(["claim", "value"], "0x1p-1074"), "smaller than"),
        (changed(["version"], True), "wrong type"),
        (changed(["claim", "norm"], "3"), "a norm is not"),
        (changed(["claim", "norm"], 2), "wrong type"),
        (changed(["claim", "scope"], "global"), "unknown field 'scope'"),
        (changed(["claim", "region"], {"kind": "cube"}), "region cannot be read"),
        (changed(["claim", "increments"], "nowhere"), "increments 'nowhere'"),
        (changed(["claim", "increments"], "centre"), "no centre"),
        (changed(["hints"], {}), "hints cannot be read"),
        (changed(["hints", "activations"], {"1": {"on_low": "AAAA"}}), "hints cannot be read"),
        (changed(["hints", "activations"], {"x": {}}), "hints cannot be read"),
        (changed(["claim", "value"], "nan"), "claimed value"),
        (changed(["claim", "value"], "inf"), "claimed value"),
        (changed(["claim", "value"], "-0x1p0"), "claimed value"),
        (changed(["claim", "value"], "0x1p99999"), "claimed value"),
        (changed(["claim", "value"], 1.0), "wrong type"),
        (changed(["claim", "outputs"], [3]), "not a text"),
        (changed(["idealisations"], [{}]), "not a text"),
        (changed(["scalings"], {}), "wrong type"),
        (changed(["scalings", 0], []), "not an object"),
        (changed(["scalings", 0, "d"], "?"), "not base64"),
        (changed(["scalings", 0, "d"], "AAAA"), "8-byte numbers"),
        (changed(["scalings", 0, "d"], array([np.nan] * 8)), "not positive and finite"),
        (changed(["scalings", 0, "d"], array([np.inf] * 8)), "not positive and finite"),
        (changed(["scalings", 0, "d"], array([-1.0] * 8)), "not positive and finite"),
        (changed(["scalings", 0, "d"], array([0.0] * 8)), "not positive and finite"),
    ],
)
def test_unreadable_certificates_say_why(tmp_path, text, reason):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(InvalidCertificate, match=reason) as caught:
        verify(path, GRAPH)
    assert caught.value.exit_code == 2


def test_other_unreadable_files(tmp_path):
    with pytest.raises(InvalidCertificate, match="cannot be read"):
        verify(tmp_path / "missing.json", GRAPH)
    with pytest.raises(InvalidCertificate, match="cannot be read"):
        verify(tmp_path, GRAPH)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidCertificate, match="not a text file"):
        verify(binary, GRAPH)
    with (tmp_path / "zeros").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(InvalidCertificate, match="larger than"):
        verify(tmp_path / "zeros", GRAPH)
    assert MAX_BYTES < 2**30


def one(**fields):
    return replace(CERTIFICATE, scalings=(replace(S, **fields),))


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (replace(CERTIFICATE, value=CERTIFICATE.value * (1 - 1e-12)), "more than the claimed"),
        (claiming(norm=Norm.LINF), "sizes"),
        (claiming(norm=Norm.L1), "scalings where its claim needs 3"),
        (claiming(output_norm=Norm.L1), "sizes"),
        (claiming(output_norm=Norm.LINF), "scalings where its claim needs 2"),
        (claiming(outputs=Selection(("0",))), "output norm must be inf"),
        (claiming(outputs=Selection(("7",)), output_norm=Norm.LINF), "beyond the last output"),
        (claiming(outputs=Selection(("0-1",)), output_norm=Norm.LINF), "does not prove"),
        (replace(CERTIFICATE, scalings=()), "0 scalings"),
        (replace(CERTIFICATE, scalings=CERTIFICATE.scalings * 2), "2 scalings"),
        (replace(CERTIFICATE, form="other"), "not known"),
        (replace(CERTIFICATE, idealisations=("the moon is green",)), "idealisations"),
        (one(d=S.d[:-1]), "sizes"),
        (one(m=np.ones(3)), "sizes"),
        (one(n=np.ones(2)), "sizes"),
        (one(m=S.m * (1 - 1e-3)), "could not be shown"),
        (one(d=np.full_like(S.d, 1e-310)), "could not be shown"),
        (one(d=np.full_like(S.d, 1e308)), "could not be shown"),
    ],
)
def test_certificates_that_prove_nothing_are_rejected(tmp_path, certificate, reason):
    path = tmp_path / "bad.json"
    certificate.save(path)
    with pytest.raises(CertificateRejected, match=reason) as caught:
        verify(path, GRAPH)
    assert caught.value.exit_code == 1


def test_another_network_is_rejected():
    with pytest.raises(CertificateRejected, match="another network"):
        verify(CERTIFICATE, network(1))


@pytest.mark.parametrize("k", range(8))
def test_one_changed_multiplier_that_breaks_the_claim_is_noticed(k):
    d = S.d.copy()
    d[k] *= 0.1 if k < 4 else 9.0
    with pytest.raises(CertificateRejected):
        verify(replace(CERTIFICATE, scalings=(Scaling(d, S.m),)), GRAPH)


def test_a_network_without_activations_and_one_without_multipliers():
    graph = nn.sequential(nn.linear([[3.0, 4.0]]))
    certificate = Prover(graph).prove([Multipliers(np.zeros(0), np.ones(1))])
    assert certificate.value == pytest.approx(5.0, rel=1e-12)
    assert verify(Certificate.from_json(certificate.to_json()), graph).value >= 5.0


def test_a_layer_that_is_not_invertible_is_a_rejection():
    graph = nn.sequential(nn.fixed_point([[2.0]], [[1.0]], None, nn.relu()))
    with pytest.raises(CertificateRejected, match=r"singular|invertible"):
        verify(replace(one(d=np.ones(1)), graph=graph.fingerprint.hex()), graph)


def zeros(path):
    with path.open("wb") as file:
        file.truncate(2**30)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (CERTIFICATE.to_json(), 0),
        (changed(["scalings", 0, "d"], array(np.where(np.arange(8) == 2, S.d - 9.0, S.d))), 1),
        (changed(["claim", "norm"], "inf"), 1),
        (changed(["claim", "value"], (0.999 * CERTIFICATE.value).hex()), 1),
        (changed(["network", "sha256"], "0" * 64), 1),
        (changed(["scalings", 0, "d"], array(S.d[1:])), 1),
        (changed(["scalings", 0, "m"], array([np.nan])), 2),
        (changed(["claim", "value"], None), 2),
        (changed(["lambda"], "1"), 2),
        ("\0" * 1000, 2),
        (zeros, 2),
    ],
)
def test_exit_codes_of_the_command(tmp_path, content, code):
    model, path = tmp_path / "net.onnx", tmp_path / "claim.json"
    lipcert.save(GRAPH, model)
    if callable(content):
        content(path)
    else:
        path.write_text(content.replace(GRAPH.fingerprint.hex(), lipcert.load(model).fingerprint.hex()))
    result = CliRunner().invoke(cli.cli, ["verify", str(path), str(model)])
    assert result.exit_code == code, result.output
    assert result.stderr.count("\n") == (code > 0)
