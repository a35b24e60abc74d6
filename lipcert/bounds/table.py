"""The table of bound methods. A new method is one more record in one of the modules collected here."""

from __future__ import annotations

from lipcert.bounds import methods, published, segments

METHODS: dict[str, methods.Method] = {
    method.name: method for method in (*methods.RECORDS, *segments.RECORDS, *published.RECORDS)
}
