"""A hundred digits that no network was trained on, as a file to try `lipcert robustness` on."""

from __future__ import annotations

import csv
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

FILE = Path(__file__).parent / "digits_test.csv"
COUNT = 100


def write_digits() -> None:
    """The first samples of the test part of `tasks.digits`: a label and 64 pixels in [0, 1] a line."""
    x, labels = load_digits(return_X_y=True)
    _, test, _, answer = train_test_split(x / 16.0, labels, test_size=0.25, random_state=0, stratify=labels)
    with FILE.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["label", *(f"pixel{i}" for i in range(test.shape[1]))])
        rows.writerows([label, *map("{:g}".format, row)] for label, row in zip(answer[:COUNT], test, strict=False))
