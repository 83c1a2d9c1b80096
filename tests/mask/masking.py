"""Stages with the shipped detectors, and what is left of a planted value, for the tests of masking."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidecar.mask.audit import Tally
from sidecar.mask.detector import Detector
from sidecar.mask.engine import Engine, choose_engine
from sidecar.mask.hmac_keys import HmacKeys
from sidecar.mask.masker import Masker
from sidecar.mask.packs import DETECTORS
from sidecar.mask.policy import Policy, parse_policy
from sidecar.mask.stage import MaskingStage
from sidecar.mask.windows import Limits
from sidecar.wire.batch import SpanBatch, decode_protobuf
from sidecar.wire.mend import mend

KEYS = HmacKeys("k1", {"k1": b"a key that is only for these tests"})
EMAIL = "maria.gonzalez" + "@example.org"
CARD = "4111" + "111111111111"
GITHUB = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
SECRETS = (EMAIL, CARD, GITHUB, "+49 30 " + "901820", "DE89 3704 0044 " + "0532 0130 00", "AKIA" + "IOSFODNN7EXAMPLE")
WINDOW = 8
"""Bytes of a value that must not be left anywhere."""


@functools.cache
def engine_of(detectors: tuple[Detector, ...], limits: Limits) -> Engine:
    return choose_engine(detectors, limits=limits)


def rules(tree: Mapping[str, object] | None = None) -> tuple[Policy, Engine]:
    """A policy file's policy, and the engine for it."""
    policy = Policy(parse_policy(tree or {}, DETECTORS), KEYS)
    return policy, engine_of(policy.detectors, Limits(policy.limits.max_value_bytes, policy.limits.max_hits))


def masker_of(tree: Mapping[str, object] | None = None) -> Masker:
    return Masker(*rules(tree))


def stage_of(tree: Mapping[str, object] | None = None) -> MaskingStage:
    return MaskingStage(*rules(tree))


def fresh_tally() -> Tally:
    return Tally(Counter(), Counter())


def batch_of(request: ExportTraceServiceRequest | bytes) -> SpanBatch:
    """A batch as the intake hands it on."""
    batch = decode_protobuf(request if isinstance(request, bytes) else request.SerializeToString())
    mend(batch)
    return batch


def run(stage: MaskingStage, batch: SpanBatch) -> bytes:
    """The serialized request after masking."""
    for _ in stage(batch):
        pass
    return batch.request.SerializeToString()


def masked(request: ExportTraceServiceRequest | bytes, stage: MaskingStage | None = None) -> ExportTraceServiceRequest:
    """The request after masking, read by the official classes."""
    return ExportTraceServiceRequest.FromString(run(stage or stage_of(), batch_of(request)))


def left_of(values: Iterable[str], payload: bytes) -> list[int]:
    """The numbers of the values of which any eight bytes stand in the payload: numbers, so that a failing test shows no value."""
    return [number for number, value in enumerate(values) if any(window in payload for window in windows_of(value.encode()))]


def windows_of(value: bytes) -> list[bytes]:
    return [value[at : at + WINDOW] for at in range(max(1, len(value) - WINDOW + 1))]
