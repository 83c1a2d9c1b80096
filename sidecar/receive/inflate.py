"""Bounded decompression of request bodies: pure functions on bytes.

Owns the content encodings: identity, gzip (also of several members), deflate (zlib's format, and raw as some
clients send it) and zstd. Output comes in pieces and is bounded while it grows, so that a
decompression bomb costs its limit and no more.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import zstandard
from isal import isal_zlib

from sidecar.errors import MalformedPayload, TooLarge, Unsupported

ACCEPT_ENCODING = "gzip, deflate, zstd, identity"
PIECE_BYTES = 1024 * 1024
"""Output of one step; about a millisecond of work."""
INPUT_BYTES = 256 * 1024
"""Input of one step, so that zlib's unconsumed tail is never copied as a whole."""
MEMBERS_MAX = 16_384
"""Gzip members of one body: 16,384 x 25 us of set-up is 0.4 s, in steps. A batch of 8,192 spans, each its own member, fits."""
ZSTD_WINDOW_BYTES = 8 * 1024 * 1024
"""RFC 9659: a zstd content encoding has a window of at most 8 MiB."""
ZSTD_BLOCKS_MAX = 131_072
"""Blocks of one body. 64 MiB in blocks of 512 bytes; the walk over them takes at most 50 ms."""

_ALIASES = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate", "zlib": "deflate", "zstd": "zstd"}
_ZSTD_SKIPPABLE = range(0x184D2A50, 0x184D2A60)


def coding(header: str) -> str:
    """The content encoding that a ``Content-Encoding`` header asks for: ``""``, ``gzip``, ``deflate`` or ``zstd``.

    Raises Unsupported for others, and for several on top of each other: no exporter does that, and each level multiplies what a bomb can do.
    """
    named = [token for token in (part.strip().lower() for part in header.split(",")) if token not in ("", "identity")]
    if not named:
        return ""
    if len(named) > 1:
        raise Unsupported(f"a body encoded {len(named)} times is not accepted; send one of: {ACCEPT_ENCODING}")
    if named[0] not in _ALIASES:
        raise Unsupported(f"this Content-Encoding is not supported; send one of: {ACCEPT_ENCODING}")
    return _ALIASES[named[0]]


def inflate(body: bytes, encoding: str, limit_bytes: int) -> Iterator[bytes]:
    """The decompressed body in pieces of about a MiB, some of them empty.

    ``encoding`` is what ``coding`` returned. Raises MalformedPayload for input that is damaged, cut short or followed
    by something else, and TooLarge as soon as more than ``limit_bytes`` came out.
    """
    total = 0
    for piece in _pieces(body, encoding, limit_bytes):
        total += len(piece)
        if total > limit_bytes:
            raise _too_large(limit_bytes)
        yield piece


def _pieces(body: bytes, encoding: str, limit_bytes: int) -> Iterator[bytes]:
    if not encoding:
        return iter((body,))
    if encoding == "gzip":
        return _gzip(body)
    if encoding == "deflate":
        return _deflate(body)
    return _zstd(body, limit_bytes)


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit_bytes / 1024 / 1024:g} MiB (max_body_mib) when decompressed; send smaller batches")


def _damaged(encoding: str) -> MalformedPayload:
    return MalformedPayload(f"the body is not valid {encoding} although Content-Encoding says so")


def _cut_short(encoding: str) -> MalformedPayload:
    return MalformedPayload(f"the {encoding} body ends before its stream does: it was cut short on the way")


def _gzip(body: bytes) -> Iterator[bytes]:
    """RFC 1952, section 2.2: members follow each other. Zero bytes after the last one are padding, as gzip(1) takes them."""
    if not body:
        raise _cut_short("gzip")
    start = 0
    for member in range(MEMBERS_MAX):
        end = yield from _zlib_stream(body, start, 31, "gzip")
        if body[end : end + 2] != b"\x1f\x8b":
            if body[end:].rstrip(b"\0"):
                raise _damaged("gzip")
            return
        if member % 64 == 63:
            yield b""
        start = end
    raise MalformedPayload(f"the gzip body has more than {MEMBERS_MAX} members")


def _deflate(body: bytes) -> Iterator[bytes]:
    """RFC 9110, section 8.4.1.2: zlib's format; "some non-conformant implementations" send it raw."""
    has_header = len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2]) % 31 == 0
    end = yield from _zlib_stream(body, 0, 15 if has_header else -15, "deflate")
    if end != len(body):
        raise _damaged("deflate")


def _zlib_stream(body: bytes, start: int, wbits: int, encoding: str) -> Generator[bytes, None, int]:
    """One stream from ``start``; returns (as the generator's value) where it ended."""
    stream = isal_zlib.decompressobj(wbits=wbits)
    at = start
    while at < len(body):
        given = body[at : at + INPUT_BYTES]
        at += len(given)
        while True:
            try:
                out = stream.decompress(given, PIECE_BYTES)
            except isal_zlib.error:  # type: ignore[misc]  # isal's stub declares the class as an instance
                raise _damaged(encoding) from None
            yield out
            if stream.eof:
                return at - len(stream.unused_data)
            given = stream.unconsumed_tail
            # A full piece may leave output inside the stream although all input is used.
            if not given and len(out) < PIECE_BYTES:
                break
    raise _cut_short(encoding)


def _zstd(body: bytes, limit_bytes: int) -> Iterator[bytes]:
    """RFC 8878. The frames are walked first: the stream reader takes a frame that is cut short for a whole one."""
    declared = _walk_zstd_frames(body)
    if declared > limit_bytes:
        raise _too_large(limit_bytes)
    try:
        with zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES).stream_reader(body, read_across_frames=True) as reader:
            while piece := reader.read(PIECE_BYTES):
                yield piece
    except zstandard.ZstdError:
        raise _damaged("zstd") from None


def _walk_zstd_frames(body: bytes) -> int:
    """Check that the body is whole frames; returns the content size that their headers declare (0 where they don't)."""
    at = declared = blocks = 0
    if not body:
        raise _cut_short("zstd")
    while at < len(body):
        if int.from_bytes(body[at : at + 4], "little") in _ZSTD_SKIPPABLE:
            at += 8 + int.from_bytes(body[at + 4 : at + 8], "little")
            blocks += 1
            continue
        head = body[at : at + 18]
        try:
            frame = zstandard.get_frame_parameters(head)
            at += zstandard.frame_header_size(head)
        except zstandard.ZstdError:
            raise (_damaged if len(head) == 18 or not head.startswith(zstandard.FRAME_HEADER) else _cut_short)("zstd") from None
        if frame.content_size not in (zstandard.CONTENTSIZE_UNKNOWN, zstandard.CONTENTSIZE_ERROR):
            declared += frame.content_size
        last = False
        while not last and at <= len(body) - 3 and blocks < ZSTD_BLOCKS_MAX:
            header = int.from_bytes(body[at : at + 3], "little")
            last = bool(header & 1)
            # Block type 1 is one byte, repeated.
            at += 3 + (1 if header >> 1 & 3 == 1 else header >> 3)
            blocks += 1
        if blocks >= ZSTD_BLOCKS_MAX:
            raise MalformedPayload(f"the zstd body has {ZSTD_BLOCKS_MAX} blocks or more")
        if not last:
            raise _cut_short("zstd")
        at += 4 if frame.has_checksum else 0
    if at > len(body):
        raise _cut_short("zstd")
    return declared
