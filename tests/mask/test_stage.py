"""The stage that masking will fill."""

from __future__ import annotations

from sidecar.mask.stage import mask
from sidecar.wire.batch import decode_protobuf
from tests.spans import many


def test_every_batch_passes_as_it_is() -> None:
    batch = decode_protobuf(many(2, 3).SerializeToString())
    before = batch.request.SerializeToString()

    assert list(mask(batch)) == []

    assert batch.request.SerializeToString() == before
    assert batch.span_count == 6
