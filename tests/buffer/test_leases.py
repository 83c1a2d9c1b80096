from __future__ import annotations

from sidecar.buffer.leases import Lane, Lease
from sidecar.wire.rows import Row


def test_a_lease_counts_the_spans_of_its_rows() -> None:
    rows = tuple(Row(index, "default", b"t" * 16, spans, 1, b"", 0) for index, spans in enumerate((2, 3)))

    assert Lease(1, "default", Lane.FRESH, rows).spans == 5
