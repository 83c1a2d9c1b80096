"""`sidecar doctor`: says whether everything is in place for spans to arrive in Langfuse.

One check after another, each a line that an operator can act on. The Langfuse package is imported here
only, because it costs 30 MB of memory; the daemon itself never needs it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from langfuse.api import LangfuseAPI
from langfuse.api.core.api_error import ApiError

from sidecar import __version__
from sidecar.config import Config, Destination
from sidecar.wire.attributes import encode_string
from sidecar.wire.shallow_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from langfuse.api.observations.types.observations_v2response import ObservationsV2Response

TIMEOUT_S = 15.0
CLOCK_SKEW_MAX_S = 60.0
"""Langfuse takes any time, but a trace a minute off is not found where people look for it."""
SDK_NAME = "langfuse-sidecar-doctor"
UNREADABLE = (400, 404, 501)
"""A server without the observations API; the trace may still have arrived."""


class Level(Enum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    level: Level
    check: str
    text: str


def examine(config: Config, wait_s: float) -> Iterator[Finding]:
    """Every check in order; ``wait_s`` bounds how long the test trace may take to be readable."""
    yield from _examine_disk(config)
    for each in config.destinations:
        if each.type == "local":
            yield Finding(
                Level.WARN, each.name, "local destination: nothing is sent; set LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY to reach Langfuse"
            )
        else:
            yield from _examine_destination(each, wait_s)


def _examine_disk(config: Config) -> Iterator[Finding]:
    if config.buffer.path == ":memory:":
        yield Finding(Level.WARN, "buffer", "buffer.path is :memory:, so whatever is not delivered is lost with the process")
        return
    directory = Path(config.buffer.path).absolute().parent
    existing = next(each for each in (directory, *directory.parents) if each.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        yield Finding(Level.FAIL, "buffer", f"{existing} can't be written; give this user the directory or set buffer.path")
        return
    free_mib = shutil.disk_usage(existing).free / 2**20
    needed_mib = config.buffer.max_mib + config.buffer.min_free_mib
    if free_mib < config.buffer.min_free_mib:
        yield Finding(Level.FAIL, "disk", f"{free_mib:,.0f} MiB free in {existing}, under buffer.min_free_mib: every span would be refused")
    elif free_mib < needed_mib:
        yield Finding(
            Level.WARN, "disk", f"{free_mib:,.0f} MiB free in {existing}; a full buffer needs {needed_mib:,.0f} (buffer.max_mib + min_free_mib)"
        )
    else:
        yield Finding(Level.OK, "disk", f"{free_mib:,.0f} MiB free in {existing}; a full buffer needs {needed_mib:,.0f}")


def _secret(destination: Destination) -> str:
    if destination.secret_key_file:
        return Path(destination.secret_key_file).read_text(encoding="utf-8").strip()
    return destination.secret_key.reveal()


def _examine_destination(destination: Destination, wait_s: float) -> Iterator[Finding]:
    name = destination.name
    try:
        secret = _secret(destination)
    except OSError as error:
        yield Finding(Level.FAIL, name, f"secret_key_file can't be read: {error.strerror}")
        return
    auth = httpx.BasicAuth(destination.public_key, secret)
    with httpx.Client(timeout=TIMEOUT_S, verify=_trust(destination), trust_env=False) as http:
        reachable = _examine_server(destination, http)
        yield from reachable
        if any(each.level is Level.FAIL for each in reachable):
            return
        api = LangfuseAPI(
            base_url=destination.base_url.rstrip("/"),
            username=destination.public_key,
            password=secret,
            x_langfuse_sdk_name=SDK_NAME,
            x_langfuse_sdk_version=__version__,
            httpx_client=http,
        )
        keys = _examine_keys(name, api)
        yield keys
        if keys.level is not Level.FAIL:
            yield from _send_and_find(destination, http, auth, api, wait_s)


def _trust(destination: Destination) -> str | bool:
    return destination.ca_file or True


def _examine_server(destination: Destination, http: httpx.Client) -> list[Finding]:
    name, url = destination.name, destination.base_url.rstrip("/")
    try:
        answer = http.get(f"{url}/api/public/health")
        version = str(answer.json()["version"])
    except httpx.HTTPError as error:
        return [Finding(Level.FAIL, name, f"{url} can't be reached: {type(error).__name__}: {error}; check base_url, DNS, proxies and certificates")]
    except (ValueError, KeyError, TypeError):
        return [Finding(Level.FAIL, name, f"{url}/api/public/health answered {answer.status_code}, but not as Langfuse does; check base_url")]
    if answer.status_code != httpx.codes.OK:
        return [Finding(Level.FAIL, name, f"{url} says that it is not healthy ({answer.status_code}); its logs say why")]
    findings = [Finding(Level.OK, name, f"{url} answers, Langfuse {version}")]
    date = answer.headers.get("Date")
    skew_s = abs(parsedate_to_datetime(date).timestamp() - time.time()) if date else 0.0
    if skew_s > CLOCK_SKEW_MAX_S:
        findings.append(
            Finding(Level.WARN, "clock", f"this machine's clock and the server's differ by {skew_s:,.0f} s: traces will show at the wrong time")
        )
    else:
        findings.append(Finding(Level.OK, "clock", f"within {max(skew_s, 1.0):.0f} s of the server's"))
    return findings


def _examine_keys(name: str, api: LangfuseAPI) -> Finding:
    try:
        projects = api.projects.get().data
    except ApiError as error:
        if error.status_code in (401, 403):
            return Finding(Level.FAIL, name, f"the keys were refused ({error.status_code}): check that they belong to this server and project")
        return Finding(Level.WARN, name, f"the keys could not be checked: /api/public/projects answered {error.status_code}")
    except (httpx.HTTPError, ValueError) as error:
        return Finding(Level.FAIL, name, f"the keys could not be checked: {type(error).__name__}")
    return (
        Finding(Level.OK, name, f"the keys are good, project {projects[0].name!r}")
        if projects
        else Finding(Level.FAIL, name, "the keys belong to no project")
    )


def _test_trace() -> tuple[str, bytes]:
    trace_id, now = os.urandom(16), time.time_ns()
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.append(encode_string("service.name", SDK_NAME))
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = SDK_NAME.encode()
    span = scope_spans.spans.add(trace_id=trace_id, span_id=os.urandom(8), name=b"sidecar doctor", kind=1)
    span.start_time_unix_nano, span.end_time_unix_nano = now - 1_000_000, now
    span.attributes.extend([encode_string("langfuse.trace.name", "sidecar doctor"), encode_string("langfuse.environment", "sidecar-doctor")])
    return trace_id.hex(), request.SerializeToString()


def _send_and_find(destination: Destination, http: httpx.Client, auth: httpx.Auth, api: LangfuseAPI, wait_s: float) -> Iterator[Finding]:
    name = destination.name
    trace_id, body = _test_trace()
    headers = {
        "Content-Type": "application/x-protobuf",
        "x-langfuse-ingestion-version": "4",
        "x-langfuse-sdk-name": SDK_NAME,
        "x-langfuse-sdk-version": __version__,
    }
    try:
        answer = http.post(f"{destination.base_url.rstrip('/')}/api/public/otel/v1/traces", content=body, headers=headers, auth=auth)
    except httpx.HTTPError as error:
        yield Finding(Level.FAIL, name, f"a test trace could not be sent: {type(error).__name__}")
        return
    if answer.status_code != httpx.codes.OK:
        yield Finding(Level.FAIL, name, f"a test trace was refused with {answer.status_code}")
        return
    yield Finding(Level.OK, name, f"a test trace was taken: {trace_id}")
    yield _find(name, lambda: api.observations.get_many(trace_id=trace_id, limit=1), wait_s)


def _find(name: str, ask: Callable[[], ObservationsV2Response], wait_s: float) -> Finding:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            if ask().data:
                return Finding(Level.OK, name, "the test trace can be read back")
        except ApiError as error:
            if error.status_code in UNREADABLE:
                return Finding(
                    Level.WARN, name, f"this server can't be asked for the test trace ({error.status_code}); look for 'sidecar doctor' in its UI"
                )
        except (httpx.HTTPError, ValueError) as error:
            return Finding(
                Level.WARN, name, f"the test trace was taken but reading it back failed: {type(error).__name__}; look for 'sidecar doctor' in the UI"
            )
        if time.monotonic() >= deadline:
            return Finding(
                Level.WARN, name, f"the test trace was taken but could not be read back within {wait_s:.0f} s; Langfuse's worker may be behind"
            )
        time.sleep(min(1.0, max(0.0, deadline - time.monotonic())))
