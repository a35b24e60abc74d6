"""The table of activations. A new activation is one more record in one of the modules collected here."""

from __future__ import annotations

from lipcert.activations import analytic, blocks, bumps, composed, held, pointwise, products, published, sorting
from lipcert.activations.record import ActivationRecord

GLOBAL: dict[str, ActivationRecord] = {
    record.name: record
    for record in (*pointwise.RECORDS, *bumps.RECORDS, *sorting.RECORDS, *blocks.RECORDS, *published.RECORDS)
}
"""Records that have a normal form on the whole space."""

RANGED: tuple[ActivationRecord, ...] = (*analytic.RECORDS, *products.RECORDS, *composed.RECORDS)
"""Records that have a normal form on bounded ranges only, or for some parameters only."""

TABLE: dict[str, ActivationRecord] = GLOBAL | {record.name: record for record in (*RANGED, *held.RECORDS)}
