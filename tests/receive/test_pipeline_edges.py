"""What happens at the pipeline's edges: binary attributes, and rows that are sealed before their time."""

from __future__ import annotations

from sidecar.buffer.records import Omit
from tests.receive.test_pipeline import child, line, root, says


def test_binary_attributes_that_become_descriptors_are_counted_as_media() -> None:
    to = line()
    picture = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8

    (row,) = to.send(
        root({"app.picture": picture, "app.parts": {"one": picture, "text": "x" * 2000}, "app.note": b"text" * 500, "app.short": b"\xff"})
    )

    said = says(row)
    assert (str(said["app.picture"])[:21], str(said["app.parts"]).count("sha256")) == ("[media type=image/png", 1)
    assert to.count("media") == 2
    to.send(root({"app.note": b"text" * 500}))
    assert to.count("media") == 2


def test_a_row_that_is_sealed_before_its_time_is_left_out_only_if_its_trace_has_ended() -> None:
    to = line(llm_only=True)
    assert to.parts is not None

    (row,) = to.send(child({"step": 1}))
    assert to.parts.seal_early(row) is not Omit.OMIT
    assert to.count("spans", outcome="no_llm") == 0
    to.send(root({"step": 2}))
    assert to.parts.seal_early(row) is Omit.OMIT
    assert to.count("spans", outcome="no_llm") == 1
