from __future__ import annotations

import contextlib
import gzip
import resource
import time
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.errors import IntakeError, MalformedPayload, TooLarge, Unsupported
from sidecar.receive.inflate import MEMBERS_MAX, PIECE_BYTES, ZSTD_BLOCKS_MAX, coding, inflate

MIB = 1024 * 1024
TEXT = b"the agent looked up the stock price and answered politely. " * 400


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def zstd_unsized(data: bytes) -> bytes:
    packer = zstandard.ZstdCompressor(write_content_size=False, write_checksum=True).compressobj()
    return packer.compress(data) + packer.flush()


PACKED = {
    "gzip": ("gzip", gzip.compress),
    "zlib": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "zstd": ("zstd", zstandard.ZstdCompressor().compress),
    "zstd without a size": ("zstd", zstd_unsized),
}
"""Name -> (encoding, how it is made)."""

EACH = pytest.mark.parametrize(("encoding", "pack"), PACKED.values(), ids=PACKED.keys())


def whole(body: bytes, encoding: str, limit_bytes: int = 64 * MIB) -> bytes:
    return b"".join(inflate(body, encoding, limit_bytes))


@EACH
@pytest.mark.parametrize("size", [0, 1, 1000, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
def test_what_was_packed_comes_out(encoding: str, pack: object, size: int) -> None:
    data = (TEXT * (size // len(TEXT) + 1))[:size]
    assert callable(pack)
    assert whole(pack(data), encoding) == data


@EACH
@settings(max_examples=40)
@given(data=st.binary(max_size=5000))
def test_any_bytes_survive(encoding: str, pack: object, data: bytes) -> None:
    assert callable(pack)
    assert whole(pack(data), encoding) == data


def test_identity_is_the_body_itself() -> None:
    assert whole(TEXT, "") == TEXT


def test_gzip_members_follow_each_other() -> None:
    assert whole(gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two"), "gzip") == b"one two"


def test_zero_bytes_after_gzip_are_padding() -> None:
    assert whole(gzip.compress(b"one") + bytes(100), "gzip") == b"one"


def test_zstd_frames_follow_each_other_and_skippable_ones_are_skipped() -> None:
    pack = zstandard.ZstdCompressor().compress
    skippable = (0x184D2A53).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"notes"
    assert whole(pack(b"one ") + skippable + zstd_unsized(b"two"), "zstd") == b"one two"


@EACH
def test_a_body_that_is_cut_short_anywhere_is_malformed(encoding: str, pack: object) -> None:
    assert callable(pack)
    packed = pack(TEXT)
    for length in {0, 1, 3, 8, 12, len(packed) // 2, len(packed) - 9, len(packed) - 5, len(packed) - 1}:
        with pytest.raises(MalformedPayload):
            whole(packed[:length], encoding)


@EACH
def test_something_else_behind_the_stream_is_malformed(encoding: str, pack: object) -> None:
    assert callable(pack)
    with pytest.raises(MalformedPayload):
        whole(pack(TEXT) + b"garbage", encoding)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_plain_body_that_claims_an_encoding_is_malformed(encoding: str) -> None:
    with pytest.raises(MalformedPayload):
        whole(b'{"resourceSpans": []}', encoding)


def test_a_wrong_gzip_checksum_is_malformed() -> None:
    packed = bytearray(gzip.compress(TEXT))
    packed[-6] ^= 1
    with pytest.raises(MalformedPayload):
        whole(bytes(packed), "gzip")


@EACH
@settings(max_examples=60)
@given(data=st.data())
def test_a_flipped_byte_gives_bytes_or_an_intake_error_and_nothing_else(encoding: str, pack: object, data: st.DataObject) -> None:
    assert callable(pack)
    packed = bytearray(pack(TEXT[:2000]))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(IntakeError):
        whole(bytes(packed), encoding, MIB)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
@settings(max_examples=60)
@given(body=st.binary(max_size=300))
def test_random_bytes_give_bytes_or_an_intake_error_and_nothing_else(encoding: str, body: bytes) -> None:
    prefix = {"gzip": b"\x1f\x8b\x08\x00", "deflate": b"x\x9c", "zstd": b"\x28\xb5\x2f\xfd"}[encoding]
    for each in (body, prefix + body):
        with contextlib.suppress(IntakeError):
            whole(each, encoding, MIB)


@EACH
def test_output_at_the_limit_passes_and_a_byte_more_is_too_large(encoding: str, pack: object) -> None:
    assert callable(pack)
    packed = pack(TEXT)
    assert whole(packed, encoding, len(TEXT)) == TEXT
    with pytest.raises(TooLarge):
        whole(packed, encoding, len(TEXT) - 1)


@EACH
def test_a_bomb_costs_its_limit_and_no_more(encoding: str, pack: object) -> None:
    assert callable(pack)
    bomb = pack(bytes(100 * MIB))
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    sizes: list[int] = []
    with pytest.raises(TooLarge):
        sizes.extend(len(piece) for piece in inflate(bomb, encoding, 16 * MIB))
    assert sum(sizes) <= 16 * MIB
    assert max(sizes, default=0) <= PIECE_BYTES
    assert time.process_time() - started < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 40 * 1024


def test_a_gzip_bomb_in_many_members_is_stopped() -> None:
    with pytest.raises(TooLarge):
        whole(gzip.compress(bytes(10 * MIB)) * 100, "gzip", 64 * MIB)


def test_more_gzip_members_than_allowed_are_refused_in_bounded_time() -> None:
    empty = gzip.compress(b"", 1)
    started = time.process_time()
    with pytest.raises(MalformedPayload, match="members"):
        whole(empty * (MEMBERS_MAX + 1), "gzip")
    assert time.process_time() - started < 5


def test_more_zstd_blocks_than_allowed_are_refused_in_bounded_time() -> None:
    head = zstandard.ZstdCompressor(write_content_size=False, write_checksum=False).compressobj()
    frame = head.compress(b"x") + head.flush()
    empty_block = bytes(3)
    started = time.process_time()
    with pytest.raises(MalformedPayload, match="blocks"):
        whole(frame[:6] + empty_block * (ZSTD_BLOCKS_MAX * 4), "zstd")
    assert time.process_time() - started < 5


def test_a_zstd_window_over_8_mib_is_refused_before_it_is_allocated() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(MalformedPayload):
        whole(packer.compress(b"hello") + packer.flush(), "zstd")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", ""),
        ("identity", ""),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        (" x-gzip ", "gzip"),
        ("deflate", "deflate"),
        ("zlib", "deflate"),
        ("zstd", "zstd"),
        ("identity, gzip", "gzip"),
        ("gzip,", "gzip"),
    ],
)
def test_content_encodings_are_recognised(header: str, expected: str) -> None:
    assert coding(header) == expected


@pytest.mark.parametrize("header", ["br", "snappy", "lz4", "x-snappy-framed", "utf-8", "gzip;q=1"])
def test_an_unknown_encoding_is_unsupported_and_the_known_ones_are_named(header: str) -> None:
    with pytest.raises(Unsupported, match="gzip, deflate, zstd"):
        coding(header)


@pytest.mark.parametrize("header", ["gzip, gzip", "deflate, gzip", "gzip, zstd, gzip"])
def test_encodings_on_top_of_each_other_are_refused_clearly(header: str) -> None:
    with pytest.raises(Unsupported, match="times"):
        coding(header)
