"""The corpus: request bodies that real agent frameworks sent, read from the archives beside this module.

Owns the reading of the archives; README.md says what is in them. It must not change a body.
"""

from __future__ import annotations

import functools
import json
import lzma
import tarfile
from dataclasses import dataclass
from pathlib import Path

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

PROTOBUF = "application/x-protobuf"
JSON = "application/json"

_FOLDER = Path(__file__).parent
_CONTENT_TYPES = {".bin": PROTOBUF, ".json": JSON}


@dataclass(frozen=True, slots=True)
class CorpusRequest:
    """One export request, decompressed, byte for byte as its exporter sent it."""

    name: str
    """`<capture>/<scenario>/<number>_<transport>_<signal>`: unique, and the order of sending within a scenario."""
    content_type: str
    body: bytes

    @property
    def capture(self) -> str:
        """The framework and instrumentation, `langfuse-python-v5` for example."""
        return self.name.split("/", 1)[0]

    @property
    def is_json(self) -> bool:
        return self.content_type == JSON


@dataclass(frozen=True, slots=True)
class Planted:
    """A made-up secret or personal datum that the `sensitive` scenarios hold."""

    type: str
    value: str


@functools.cache
def trace_requests() -> list[CorpusRequest]:
    """Every captured trace export, in order of name; protobuf ones and JSON ones."""
    return _read("traces.tar.xz")


@functools.cache
def log_requests() -> list[CorpusRequest]:
    """Every captured log export (protobuf)."""
    return _read("logs.tar.xz")


@functools.cache
def metric_requests() -> list[CorpusRequest]:
    """One hand-made metrics export: the captures hold none, and the sidecar only counts them."""
    request = ExportMetricsServiceRequest()
    scope_metrics = request.resource_metrics.add().scope_metrics.add()
    metric = scope_metrics.metrics.add(name="gen_ai.client.token.usage", unit="{token}")
    metric.gauge.data_points.add(time_unix_nano=1_795_171_666_941_000_000, as_int=42)
    return [CorpusRequest("hand-made/gauge/0001_http_metrics", PROTOBUF, request.SerializeToString())]


@functools.cache
def planted() -> list[Planted]:
    """Every planted secret of the `sensitive` scenarios, by type."""
    return [Planted(entry["type"], entry["value"]) for entry in json.loads((_FOLDER / "planted.json").read_text(encoding="utf-8"))]


def _read(archive: str) -> list[CorpusRequest]:
    requests = []
    with lzma.open(_FOLDER / archive) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is None:
                continue
            stem, dot, extension = member.name.rpartition(".")
            requests.append(CorpusRequest(stem, _CONTENT_TYPES[dot + extension], file.read()))
    return requests
