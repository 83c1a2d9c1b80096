"""Media inside content become descriptors: what they are, how long, and their hash. Pure.

An image of 2 MB in a prompt is not worth masking, storing and sending as base64 text that nobody can read. Owns finding
base64 in values, whatever surrounds it (JSON at any depth of escaping, a Python repr, a data URL), deciding whether it is
media, and the descriptor. It must not touch text that is not base64, nor opaque tokens such as signatures and encrypted
reasoning, which look alike.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from sidecar.wire.attributes import KEY as KEY_TAG
from sidecar.wire.attributes import VALUE as VALUE_TAG
from sidecar.wire.attributes import Value, any_array, any_bool, any_bytes, any_double, any_int, any_kvlist, any_string, decode, delimited
from sidecar.wire.shallow_pb2 import Span

MIN_RUN = 1024
"""Characters of base64 from which it is worth a look."""
MIN_BYTES = MIN_RUN * 3 // 4
_WINDOW = 32
_STRIDE = MIN_RUN - _WINDOW
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=\\\r\n"
"""Base64 of both alphabets, and what may stand in between: line breaks and what escapes them."""
_RUN = re.compile(rb"(?:[A-Za-z0-9+/_-]++|\\{1,16}+(?:[nr/]|u002[bBfF]|u003[dD])|[\r\n]++)++={0,2}")
_ESCAPES = (
    (re.compile(rb"\\+u002[bB]"), b"+"),
    (re.compile(rb"\\+u002[fF]"), b"/"),
    (re.compile(rb"\\+u003[dD]"), b"="),
    (re.compile(rb"\\+[nr]|[\\\r\n]"), b""),
)
_URL_SAFE = bytes.maketrans(b"-_", b"+/")

_BEFORE, _AFTER = 256, 128
"""Bytes around a run in which its type is looked for."""
_DATA_URL = re.compile(rb"data:([\w.+-]{1,60}\\{0,8}/[\w.+-]{1,60})?(?:;[\w.+=-]{1,60}){0,4};base64,\Z")
_MIME = re.compile(rb"\b((?:image|audio|video|application|font|model|text)\\{0,8}/[a-z0-9][a-z0-9.+-]{0,59})")
_FORMAT = re.compile(rb"format\W{1,12}(wav|mp3|flac|ogg|opus|aac|webm|mp4|pcm16|g711_[au]law|png|jpe?g|gif|webp|pdf)\b")
_KEY_BEFORE = re.compile(rb"(\w{1,40})\W{1,16}\Z")
_MEDIA_KEYS = frozenset(
    {b"data", b"b64_json", b"content", b"url", b"uri", b"image", b"audio", b"file_data", b"bytes", b"blob", b"base64", b"body", b"source"}
)
_OPAQUE_KEYS = frozenset({b"encrypted_content", b"signature", b"thought_signature", b"thoughtSignature", b"embedding", b"ciphertext"})
_MARKER = re.compile(rb"input_audio|inline_?[dD]ata|b64_json|\bblob\b|\bbase64\b|image_url|input_image|input_file|\bimage\b|\baudio\b|\bvideo\b")
_KIND_OF_FORMAT = {b"png": "image", b"jpg": "image", b"jpeg": "image", b"gif": "image", b"webp": "image", b"mp4": "video", b"pdf": "application"}
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"PK\x03\x04", "application/zip"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
UNKNOWN = "application/octet-stream"


class Media(NamedTuple):
    """What was replaced on one span."""

    items: int
    bytes: int
    """Bytes of text that the descriptors saved."""


NONE = Media(0, 0)


def may_hold(data: bytes) -> bool:
    """Whether there can be media in some bytes, such as a whole request: a window in every stretch of MIN_RUN holds nothing but base64.

    Costs 0.1 us a KiB, so ask it of a request before its spans.
    """
    for at in range(0, len(data) - _WINDOW, _STRIDE):  # noqa: SIM110  (a generator costs twice as much)
        if not data[at : at + _WINDOW].strip(_ALPHABET):
            return True
    return False


def describe_media(span: Span) -> Media:
    """Replace base64 media in the attributes of a span and of its events by descriptors, in place.

    Costs 2 us where there is none. Attributes must have been mended.
    """
    items = saved = 0
    for attributes in (span.attributes, *(event.attributes for event in span.events)):
        for index, raw in enumerate(attributes):
            if len(raw) > MIN_RUN and may_hold(raw):
                changed = _described_attribute(raw)
                if changed is not None:
                    items += changed[1]
                    saved += len(raw) - len(changed[0])
                    attributes[index] = changed[0]
    return Media(items, saved) if items else NONE


def describe_text(text: bytes) -> tuple[bytes, int]:
    """UTF-8 text with its base64 media replaced, and how many there were."""
    parts: list[bytes] = []
    done = 0
    for start, end, descriptor in _found(text):
        parts += (text[done:start], descriptor.encode())
        done = end
    if not parts:
        return text, 0
    parts.append(text[done:])
    return b"".join(parts), len(parts) // 2


def describe_bytes(data: bytes) -> str | None:
    """A descriptor of binary data; None when they are short, or text."""
    return _descriptor(_mime_of(data), data) if _is_binary(data) else None


def count_binary(value: Value) -> int:
    """How many descriptors ``describe_bytes`` makes of the bytes in a value."""
    if isinstance(value, bytes):
        return int(_is_binary(value))
    if isinstance(value, dict):
        return sum(map(count_binary, value.values()))
    return sum(map(count_binary, value)) if isinstance(value, list) else 0


def _is_binary(data: bytes) -> bool:
    if len(data) < MIN_BYTES:
        return False
    if _mime_of(data) != UNKNOWN:
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return False


def _found(text: bytes) -> Iterator[tuple[int, int, str]]:
    """Start, end and descriptor of each piece of media, in order."""
    at = done = 0
    while at <= len(text) - _WINDOW:
        if text[at : at + _WINDOW].strip(_ALPHABET):
            at += _STRIDE
            continue
        before = text[max(done, at - _STRIDE) : at]
        start = at - len(before) + len(before.rstrip(_ALPHABET))
        run = _RUN.match(text, start)
        if run is None or run.end() <= at:
            at += _STRIDE
            continue
        at = run.end()
        if at - start >= MIN_RUN:
            found = _judge(text, start, at, done)
            if found is not None:
                yield found[0], at, found[1]
                done = at
    return


def _judge(text: bytes, start: int, end: int, done: int) -> tuple[int, str] | None:
    """Where the media begins and its descriptor, if the run is media."""
    before = text[max(done, start - _BEFORE) : start]
    url = _DATA_URL.search(before)
    data = _decoded(text[start:end])
    if data is None:
        return None
    mime = _mime_of(data)
    if url is not None:
        declared = url[1].replace(b"\\", b"").decode(errors="replace") if url[1] else mime
        return start - len(before) + url.start(), _descriptor(declared if mime == UNKNOWN or declared != UNKNOWN else mime, data)
    if mime == UNKNOWN:
        key = _KEY_BEFORE.search(before)
        if key is None or key[1] in _OPAQUE_KEYS or key[1] not in _MEDIA_KEYS:
            return None
        declared = _declared(before, text[end : end + _AFTER])
        if declared is None:
            return None
        mime = declared
    return start, _descriptor(mime, data)


def _declared(before: bytes, after: bytes) -> str | None:
    """The type that the surroundings name; the nearest in front wins."""
    mimes = _MIME.findall(before)[-1:] or _MIME.findall(after)[:1]
    if mimes:
        return str(mimes[0].replace(b"\\", b"").decode())
    formats = _FORMAT.findall(before)[-1:] or _FORMAT.findall(after)[:1]
    if formats:
        return f"{_KIND_OF_FORMAT.get(formats[0], 'audio')}/{formats[0].decode()}"
    return UNKNOWN if _MARKER.search(before) or _MARKER.search(after) else None


def _mime_of(data: bytes) -> str:
    head = data[:12]
    for magic, mime in _MAGIC:
        if head.startswith(magic):
            return mime
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], UNKNOWN)
    if head[4:8] == b"ftyp":
        return "audio/mp4" if head[8:11] == b"M4A" else "video/mp4"
    return UNKNOWN


def _decoded(run: bytes) -> bytes | None:
    if b"\\" in run or b"\n" in run or b"\r" in run:
        for pattern, plain in _ESCAPES:
            run = pattern.sub(plain, run)
    run = run.rstrip(b"=").translate(_URL_SAFE)
    run = run[: len(run) - (len(run) % 4 == 1)]  # an instrumentation cut it
    try:
        return base64.b64decode(run + b"=" * (-len(run) % 4))
    except (binascii.Error, ValueError):
        return None


def _descriptor(mime: str, data: bytes) -> str:
    """No quote and no backslash, so that it can stand in a string at any depth of escaping."""
    return f"[media type={mime} bytes={len(data)} sha256={hashlib.sha256(data).hexdigest()}]"


def _described_attribute(raw: bytes) -> tuple[bytes, int] | None:
    key, value = decode(raw)
    encoded, items = _described(value)
    return (delimited(KEY_TAG, key.encode()) + delimited(VALUE_TAG, encoded), items) if items else None


def _described(value: Value) -> tuple[bytes, int]:
    """A value as a serialized AnyValue, with its media replaced, and how many there were."""
    if isinstance(value, str):
        text, items = describe_text(value.encode())
        return any_string(text), items
    if isinstance(value, bool):
        return any_bool(value), 0
    if isinstance(value, int):
        return any_int(value), 0
    if isinstance(value, float):
        return any_double(value), 0
    if isinstance(value, bytes):
        return any_bytes(value), 0  # becomes text, or a descriptor, where structured values become plain
    if isinstance(value, list):
        described = [_described(item) for item in value]
        return any_array([each for each, _ in described]), sum(items for _, items in described)
    if isinstance(value, dict):
        pairs = [(key, *_described(item)) for key, item in value.items()]
        encoded = [delimited(KEY_TAG, key.encode()) + delimited(VALUE_TAG, each) for key, each, _ in pairs]
        return any_kvlist(encoded), sum(items for *_, items in pairs)
    return b"", 0
