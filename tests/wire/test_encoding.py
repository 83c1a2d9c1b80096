"""The encodings."""

from __future__ import annotations

from sidecar.wire.encoding import Encoding


def test_content_types_are_those_of_otlp() -> None:
    assert [encoding.content_type for encoding in Encoding] == ["application/x-protobuf", "application/json"]
