"""The table of activations. A new activation is one more record in one of the modules collected here."""

from __future__ import annotations

from lipcert.activations import blocks, pointwise, published, sorting
from lipcert.activations.record import ActivationRecord

TABLE: dict[str, ActivationRecord] = {
    record.name: record for record in (*pointwise.RECORDS, *sorting.RECORDS, *blocks.RECORDS, *published.RECORDS)
}
