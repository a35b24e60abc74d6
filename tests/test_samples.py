"""Samples and labels from files as people have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lipcert.errors import InvalidRequest
from lipcert.samples import read_labelled, read_samples

X = np.array([[0.5, 1.0, -2.0], [3.0, 0.25, 7.5]])
Y = [1, 0]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def save(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return save


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("0.5,1,-2,1\n3,0.25,7.5,0\n", "3"),
        ("0.5,1,-2,1\n3,0.25,7.5,0\n", "-1"),
        ("1;0.5;1;-2\n0;3;0.25;7.5\n", "0"),
        ("a,class,b,c\n0.5,1,1,-2\n3,0,0.25,7.5\n", "class"),
        ('\ufeff"a","b","c","the class"\r\n"0.5","1","-2","1"\r\n3,0.25,7.5,0\r\n', "the class"),
        ("\nlabel\ta\tb\tc\n1\t0.5\t1\t-2\n0\t3\t0.25\t7.5\n", "label"),
        ("0.5 1 -2 1\n3 0.25 7.5 0\n", "3"),
    ],
)
def test_csv(write: Callable[[str, str], Path], text: str, column: str) -> None:
    found = read_labelled(write("data.csv", text), 3, column=column)
    np.testing.assert_array_equal(found.points, X)
    assert found.labels is not None
    assert found.labels.tolist() == Y


def test_csv_without_labels(write: Callable[[str, str], Path]) -> None:
    np.testing.assert_array_equal(read_samples(write("data.csv", "a,b,c\n0.5,1,-2\n3,0.25,7.5\n"), 3), X)
    np.testing.assert_array_equal(read_samples(write("one.csv", "0.5,1,-2\n"), 3), X[:1])


def test_numpy_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X.reshape(2, 1, 3))
    np.save(tmp_path / "y.npy", np.array(Y, dtype=np.uint8))
    found = read_labelled(tmp_path / "x.npy", 3, labels=tmp_path / "y.npy")
    np.testing.assert_array_equal(found.points, X)
    assert found.labels is not None
    assert found.labels.tolist() == Y
    # in the file itself a column can be the label
    np.save(tmp_path / "both.npy", np.column_stack([X, Y]))
    assert read_labelled(tmp_path / "both.npy", 3, column="-1").labels is not None
    # one sample alone
    np.save(tmp_path / "one.npy", X[0])
    np.testing.assert_array_equal(read_samples(tmp_path / "one.npy", 3), X[:1])


def test_archives(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", target=Y, X=X, other=2 * X)
    found = read_labelled(tmp_path / "d.npz", 3, column="target")
    np.testing.assert_array_equal(found.points, X)
    assert found.labels is not None
    assert found.labels.tolist() == Y
    np.testing.assert_array_equal(read_labelled(tmp_path / "d.npz", 3, array="other").points, 2 * X)


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("0.5,1,-2,1\n3,0.25,7.5,0\n", {}, "4 numbers for a network of 3 inputs; .*--label-column"),
        ("0.5,1\n3,0.25\n", {}, "flattened in the order"),
        ("a,b,c,d\n0.5,1,-2,1\n", {"column": "e"}, "its columns are a, b, c, d"),
        ("0.5,1,-2,1\n", {"column": "class"}, "no line of names"),
        ("0.5,1,-2,1\n", {"column": "4"}, "4 columns"),
        ("0.5,1,-2,0.5\n", {"column": "3"}, "no whole number; .*from 0"),
        ("0.5,1,-2,nan\n", {"column": "3"}, "no whole number"),
        ("0.5,1,nan\n", {}, "not finite"),
        ("0.5,1\n3,0.25,7\n", {}, "cannot be read"),
        ("a,b\n0.5,1,2\n", {}, "2 names for 3 columns"),
        ("a,b,c\n0.5,x,2\n", {}, "cannot be read"),
        ("0.5,1,-2,1\n", {"array": "x"}, "npz files only"),
    ],
)
def test_tables_that_do_not_fit(
    write: Callable[[str, str], Path], text: str, options: dict[str, str], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words) as error:
        read_labelled(write("data.csv", text), 3, **options)
    assert "data.csv" in str(error.value)


@pytest.mark.filterwarnings("ignore:loadtxt")
def test_files_that_are_no_samples(tmp_path: Path, write: Callable[[str, str], Path]) -> None:
    np.savez(tmp_path / "d.npz", x=X)
    np.save(tmp_path / "text.npy", np.array(["a"]))
    np.save(tmp_path / "pickle.npy", np.array([{}]), allow_pickle=True)
    good = write("good.csv", "0.5,1,-2\n")
    for path, options, words in (
        (write("empty.csv", ""), {}, "empty"),
        (tmp_path / "missing.csv", {}, "No such file"),
        (tmp_path, {}, "cannot be read"),
        (tmp_path / "text.npy", {}, "cannot be read"),
        (tmp_path / "pickle.npy", {}, "cannot be read"),
        (write("d.xlsx", "x"), {}, "unknown ending"),
        (write("broken.npz", "x"), {}, "cannot be read"),
        (tmp_path / "d.npz", {"column": "y"}, "no array 'y'; its arrays are x"),
        (tmp_path / "d.npz", {"column": "x"}, "no array besides"),
        (good, {"labels": write("labels.csv", "1\n0\n")}, "2 labels for 1 samples"),
        (good, {"labels": good, "column": "0"}, "not both"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            read_labelled(path, 3, **options)


@pytest.mark.parametrize("name", ["y", "Labels", "of_any_name"])
def test_labels_in_an_archive_of_several_arrays(tmp_path: Path, name: str) -> None:
    np.savez(tmp_path / "data.npz", x=X, **{name: np.array(Y)})
    path = tmp_path / "data.npz"
    found = read_labelled(path, 3, labels=path)
    assert found.labels is not None
    assert found.labels.tolist() == Y


def test_labels_that_could_be_several_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=X, a=np.array(Y), b=np.array(Y))
    with pytest.raises(InvalidRequest, match="not clear: x, a, b; call it y"):
        read_labelled(tmp_path / "data.npz", 3, labels=tmp_path / "data.npz")
