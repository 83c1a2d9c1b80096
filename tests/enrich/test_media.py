"""Base64 media become descriptors, wherever they stand; what only looks like them stays."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidecar.enrich.media import MIN_RUN, NONE, count_binary, describe_bytes, describe_media, describe_text
from sidecar.wire import shallow_pb2
from tests.fakes.langfuse_mapping import plain_attributes
from tests.spans import Attributes, event, span

PNG = b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(3000)
WAV = b"RIFF\x00\x00\x00\x00WAVE" + random.Random(2).randbytes(3000)
NOISE = random.Random(3).randbytes(3000)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def descriptor(mime: str, data: bytes) -> str:
    return f"[media type={mime} bytes={len(data)} sha256={hashlib.sha256(data).hexdigest()}]"


def described(text: str) -> str:
    return describe_text(text.encode())[0].decode()


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{b64(PNG)}"}}, descriptor("image/png", PNG)),
        ({"type": "image_url", "image_url": {"url": f"data:image/x;name=a.bin;base64,{b64(NOISE)}"}}, descriptor("image/x", NOISE)),
        ({"type": "blob", "mime_type": "image/heic", "content": b64(NOISE)}, descriptor("image/heic", NOISE)),
        ({"type": "blob", "content": b64(NOISE), "mime_type": "image/heic"}, descriptor("image/heic", NOISE)),
        ({"inline_data": {"mime_type": "audio/l16", "data": b64(NOISE)}}, descriptor("audio/l16", NOISE)),
        ({"inlineData": {"data": b64(NOISE)}}, descriptor("application/octet-stream", NOISE)),
        ({"type": "input_audio", "input_audio": {"data": b64(WAV), "format": "wav"}}, descriptor("audio/wav", WAV)),
        ({"type": "input_audio", "input_audio": {"data": b64(NOISE), "format": "pcm16"}}, descriptor("audio/pcm16", NOISE)),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/avif", "data": b64(NOISE)}}, descriptor("image/avif", NOISE)),
        ({"type": "file", "mediaType": "application/pdf", "data": b64(NOISE)}, descriptor("application/pdf", NOISE)),
        ({"b64_json": b64(PNG)}, descriptor("image/png", PNG)),
    ],
    ids=[
        "data url",
        "data url with name",
        "blob",
        "type behind",
        "gemini",
        "gemini in camel case",
        "wav",
        "pcm",
        "anthropic",
        "vercel",
        "openai image",
    ],
)
def test_a_message_part_with_media_stays_json_and_says_type_bytes_and_hash(part: object, expected: str) -> None:
    message = [{"role": "user", "content": [{"type": "text", "text": "what is this?"}, part]}]

    text = described(json.dumps(message))

    assert expected in text
    assert b64(NOISE)[:100] not in text and b64(PNG)[:100] not in text
    assert json.loads(text)[0]["content"][0] == {"type": "text", "text": "what is this?"}


@pytest.mark.parametrize("depth", range(4))
def test_media_is_found_at_any_depth_of_escaping_and_the_json_stays_valid(depth: int) -> None:
    text = json.dumps({"url": f"data:image/png;base64,{b64(PNG)}"})
    for _ in range(depth):
        text = json.dumps({"inner": text})

    found = described(text)

    for _ in range(depth):
        found = json.loads(found)["inner"]
    assert json.loads(found) == {"url": descriptor("image/png", PNG)}


def test_a_whole_value_of_base64_with_a_known_beginning_is_media() -> None:
    assert described(b64(PNG)) == descriptor("image/png", PNG)


def test_a_python_repr_is_read_too() -> None:
    assert (
        described(f"{{'mime_type': 'image/heic', 'data': '{b64(NOISE)}'}}")
        == f"{{'mime_type': 'image/heic', 'data': '{descriptor('image/heic', NOISE)}'}}"
    )


@pytest.mark.parametrize("newline", ["\n", "\\n", "\\r\\n"])
def test_base64_in_lines_is_one_piece(newline: str) -> None:
    lines = base64.encodebytes(PNG).decode().strip().replace("\n", newline)

    assert described(f'{{"data": "{lines}"}}') == f'{{"data": "{descriptor("image/png", PNG)}"}}'


def test_escaped_slashes_and_the_url_safe_alphabet_are_read() -> None:
    escaped = b64(PNG).replace("/", "\\/").replace("+", "\\u002B")

    assert descriptor("image/png", PNG) in described(f'{{"url":"data:image\\/png;base64,{escaped}"}}')
    assert described(base64.urlsafe_b64encode(PNG).decode()) == descriptor("image/png", PNG)


def test_several_pieces_are_each_described() -> None:
    text = f"first {b64(PNG)} then data:audio/wav;base64,{b64(WAV)} end"

    assert described(text) == f"first {descriptor('image/png', PNG)} then {descriptor('audio/wav', WAV)} end"
    assert describe_text(text.encode())[1] == 2


def test_base64_that_an_instrumentation_cut_off_is_described_as_far_as_it_goes() -> None:
    assert descriptor("image/png", PNG[: 2001 // 4 * 3])[:40] in described(f"data:image/png;base64,{b64(PNG)[:2001]}")


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"type": "reasoning", "encrypted_content": b64(NOISE), "note": "an image/png was there"}),
        json.dumps({"type": "thinking", "signature": b64(NOISE)}),
        json.dumps({"embedding": b64(NOISE), "image": "none"}),
        json.dumps({"token": b64(NOISE)}),
        f"checksum {b64(NOISE)}",
        "A" * 5000,
        "word " * 2000,
        json.dumps({"data": "x" * 5000}),
        '{"data": "' + "long-identifier_with-dashes/" * 300 + '"}',
    ],
    ids=["encrypted reasoning", "signature", "embedding", "token", "bare noise", "letters", "words", "one letter", "path"],
)
def test_what_is_no_media_stays(text: str) -> None:
    assert described(text) == text


@pytest.mark.parametrize("text", ["\\\\" * 500_000, "\\\\n" * 300_000, "=" * 1_000_000, "A" * 1_000_000, ("A" * 900 + " ") * 1000])
def test_long_values_that_look_like_base64_take_linear_time(text: str) -> None:
    before = time.process_time()

    assert described(text) == text
    assert time.process_time() - before < 0.5  # a quadratic search takes seconds


def test_short_media_stays() -> None:
    text = f"data:image/png;base64,{b64(PNG[:600])}"

    assert described(text) == text


@given(position=st.integers(0, 3000), size=st.integers(MIN_RUN, MIN_RUN + 1100))
@settings(max_examples=60, deadline=None)
def test_a_run_of_the_least_length_is_found_at_every_position(position: int, size: int) -> None:
    run = b64(b"\x89PNG\r\n\x1a\n" + bytes(size))[:size]

    text = " ." * (position // 2) + " " * (position % 2) + run + " end"

    assert described(text).count("[media type=image/png") == 1


def shallow(attributes: Attributes, *events: Span.Event) -> shallow_pb2.Span:
    return shallow_pb2.Span.FromString(span(attributes=attributes, events=events).SerializeToString())


def test_attributes_and_events_of_a_span_are_described_in_place_and_counted() -> None:
    url = f"data:image/png;base64,{b64(PNG)}"
    tree: Attributes = {"input.value": url, "nested": [{"image": url, "n": 1, "f": 0.5, "t": True, "b": b"\x01", "none": None}], "other": "x" * 5000}
    target = shallow(tree, event("gen_ai.user.message", {"content": url}))

    found = describe_media(target)

    after = Span.FromString(target.SerializeToString())
    assert found.items == 3
    assert found.bytes > 3 * 3900
    assert plain_attributes(after.attributes)["input.value"] == descriptor("image/png", PNG)
    kvlist = after.attributes[1].value.array_value.values[0].kvlist_value.values
    assert [each.key for each in kvlist] == ["image", "n", "f", "t", "b", "none"]
    assert (kvlist[0].value.string_value, kvlist[1].value.int_value, kvlist[4].value.bytes_value) == (descriptor("image/png", PNG), 1, b"\x01")
    assert plain_attributes(after.events[0].attributes) == {"content": descriptor("image/png", PNG)}


def test_a_span_without_media_is_not_touched() -> None:
    target = shallow({"input.value": "what is the weather? " * 300, "hex": "0123456789abcdef" * 300})
    before = target.SerializeToString()

    assert describe_media(target) == NONE
    assert target.SerializeToString() == before


def test_what_becomes_a_descriptor_is_counted_at_any_depth_and_nothing_else() -> None:
    picture = b"\x89PNG\r\n\x1a\n" + bytes(2000)
    assert count_binary({"a": [picture, {"b": picture}], "c": b"text" * 500, "d": b"\xff", "e": "x" * 2000, "f": 1}) == 2
    assert [describe_bytes(each) is None for each in (picture, b"text" * 500, b"\xff")] == [False, True, True]
