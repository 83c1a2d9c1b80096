"""The stage that enrichment will fill."""

from __future__ import annotations

from sidecar.enrich.stage import enrich
from sidecar.wire.batch import decode_protobuf
from tests.spans import many


def test_every_batch_passes_as_it_is() -> None:
    batch = decode_protobuf(many(2, 3).SerializeToString())
    before = batch.request.SerializeToString()

    after = enrich(batch)

    assert after.request.SerializeToString() == before
    assert after.span_count == 6
