"""What a span says of its own masking."""

from __future__ import annotations

from collections import Counter

import pytest

from sidecar.mask.actions import Action
from sidecar.mask.audit import MASKED_KEY, POLICY_KEY, Tally, audit_attributes, is_audit, write_audit
from sidecar.wire.attributes import decode, encode_string
from sidecar.wire.shallow_pb2 import Span


def test_a_tally_counts_hits_and_failures_for_the_span_and_for_the_stage() -> None:
    tally = Tally(Counter(), Counter())

    tally.hidden("email", Action.LABEL, "EMAIL")
    tally.hidden("email", Action.HMAC, "EMAIL")
    tally.failed("bytes")

    assert tally.labels == {"EMAIL": 2, "MASKING_FAILED": 1}
    assert tally.counts == {("email", "label"): 1, ("email", "hmac"): 1}
    assert tally.failures == {"bytes": 1}
    assert tally.cost > 0


def test_the_audit_replaces_what_the_span_said_of_it() -> None:
    span = Span(attributes=[encode_string(MASKED_KEY, "nothing"), encode_string("a", "b"), encode_string(POLICY_KEY, "none")])

    write_audit(span.attributes, {"EMAIL": 2, "CARD": 1}, "0a1b2c3d")

    assert [decode(raw) for raw in span.attributes] == [("a", "b"), (MASKED_KEY, '{"CARD":1,"EMAIL":2}'), (POLICY_KEY, "0a1b2c3d")]


def test_its_own_attributes_are_known_again() -> None:
    assert all(is_audit(raw) for raw in audit_attributes({"EMAIL": 2, "GITHUB_TOKEN": 11}, "0a1b2c3d"))


@pytest.mark.parametrize(
    "raw",
    [
        encode_string(MASKED_KEY, '{"EMAIL":2,"x":"bob@example.com"}'),
        encode_string(MASKED_KEY, "bob@example.com"),
        encode_string(MASKED_KEY, '{"CARD":4111111111111111}'),
        encode_string(POLICY_KEY, "0a1b2c3d4e"),
        encode_string(POLICY_KEY, "0a1b2c3d") + encode_string("k", "bob@example.com"),
        encode_string(MASKED_KEY, '{"A":1}' * 10_000),
        encode_string("note", '{"EMAIL":2}'),
    ],
)
def test_anything_else_under_its_keys_is_text_like_any_other(raw: bytes) -> None:
    assert not is_audit(raw)
