"""What the targets are fed: captured bodies, made ones and their shipped files, all of them damaged; and nonsense."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping

from hypothesis import strategies as st

from tests import corpus
from tests.fakes import otlp_json
from tests.processes import ROOT
from tests.wire.strategies import damaged, valid_requests

SMALL_BYTES = 20_000
OTLP_KEYS = (
    "resourceSpans", "scopeSpans", "spans", "resource", "scope", "attributes", "key", "value", "stringValue", "intValue", "doubleValue", "boolValue",
    "bytesValue", "arrayValue", "kvlistValue", "values", "traceId", "spanId", "parentSpanId", "traceState", "name", "kind", "startTimeUnixNano",
    "endTimeUnixNano", "events", "links", "status", "code", "message", "timeUnixNano", "flags", "droppedAttributesCount", "schemaUrl", "version",
)  # fmt: skip
SCRAPS = (
    '"', "\\", "\\u", "\\ud83d", "\\u0000", "{", "}", "[", "]", ",", ":", "\n", " ", "\x00", "\ufeff", "é", "\U0001f600", "=", "&", "password", "Bearer ",
    "-----BEGIN PRIVATE KEY-----", "AKIA", "ghp_", "sk-", "eyJ", "@example.org", "4111 1111", "DE89 3704", "+49 30", "https://u:p@h/?token=", "[EMAIL]", "***",
)  # fmt: skip


@functools.cache
def captured(*, as_json: bool) -> list[bytes]:
    """Small bodies of real agents."""
    return [each.body for each in corpus.trace_requests() if each.is_json is as_json and len(each.body) <= SMALL_BYTES]


def one_of(bodies: list[bytes], number: int) -> bytes:
    """One of many large bodies: a strategy that held them would print them all."""
    return bodies[number % len(bodies)]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["0" * 32, "ab" * 16, "ab" * 8, "1", "-1", "1e3"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(OTLP_KEYS) | st.text(max_size=5), inner, max_size=4),
    max_leaves=25,
)
json_texts = st.one_of(
    valid_requests().map(otlp_json.to_json),
    json_values.map(
        lambda tree: json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [tree, {"traceId": "ab" * 16, "spanId": "cd" * 8}]}]}]}).encode()
    ),
    json_values.map(lambda tree: json.dumps(tree).encode()),
    st.integers(1, 3000).map(lambda depth: b'{"resourceSpans":' + b"[" * depth),
    st.integers(0).map(lambda number: one_of(captured(as_json=True), number)),
)
protobufs = st.one_of(
    valid_requests().map(lambda request: request.SerializeToString()), st.integers(0).map(lambda number: one_of(captured(as_json=False), number))
)
texts = st.lists(st.sampled_from(SCRAPS) | st.text(max_size=10), max_size=12).map("".join).map(str.encode)
yaml_files = st.integers(0).map(lambda number: one_of([path.read_bytes() for path in sorted((ROOT / "config").glob("*.yaml"))], number))
yaml_scraps = st.lists(
    st.sampled_from(("a: ", "- ", "&x ", "*x", "!!python/object ", "${env:A}", "${env:LANGFUSE_SECRET_KEY}", "$$", "|\n", "? ", "{", "}", "[", "]", "#", "\n", "  ", "~", "1e400", "0x", "'", '"', "<<: "))
    | st.text(max_size=6),
    max_size=15,
).map(lambda parts: "".join(parts).encode())  # fmt: skip

INPUTS: Mapping[str, st.SearchStrategy[bytes]] = {
    "protobuf": st.one_of(protobufs, damaged(protobufs), st.binary(max_size=200)),
    "json": st.one_of(json_texts, damaged(json_texts), st.binary(max_size=100)),
    "masking": st.one_of(texts, damaged(texts), st.binary(max_size=200)),
    "intake": st.one_of(damaged(protobufs), protobufs, json_texts, damaged(json_texts)),
    "configuration": st.one_of(damaged(yaml_files), yaml_scraps, st.binary(max_size=100)),
}
