"""The fake Langfuse behaves as Langfuse's server was seen to, so that tests against it mean something."""

from __future__ import annotations

import asyncio
import gzip
import io
import subprocess
import sys
import time
import urllib.request
from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

import aiohttp
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests import spans
from tests.fakes import otlp_json
from tests.fakes.langfuse import PUBLIC_KEY, SECRET_KEY, TRACES_PATH, FakeLangfuse, fake_langfuse, langfuse_thread

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
GOOD = spans.request(spans.span())
HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "gzip",
    "Authorization": aiohttp.encode_basic_auth(PUBLIC_KEY, SECRET_KEY),
    "x-langfuse-ingestion-version": "4",
}


def run(coroutine: Coroutine[None, None, T]) -> T:
    return asyncio.run(coroutine)


def packed(request: ExportTraceServiceRequest) -> bytes:
    return gzip.compress(request.SerializeToString(), compresslevel=1, mtime=0)


def only(headers: dict[str, str], **changes: str | None) -> dict[str, str]:
    """HEADERS with some replaced, or removed by None."""
    merged: dict[str, str | None] = {**headers, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return {name: value for name, value in merged.items() if value is not None}


async def post(fake: FakeLangfuse, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Status, content type and text of the answer."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as client,
        client.post(
            fake.url + TRACES_PATH, data=io.BytesIO(body), headers=HEADERS if headers is None else headers, allow_redirects=False
        ) as response,
    ):
        return response.status, response.content_type, await response.text()


async def get(fake: FakeLangfuse, path: str, *, authorized: bool = True) -> tuple[int, dict[str, object]]:
    headers = {"Authorization": HEADERS["Authorization"]} if authorized else {}
    async with aiohttp.ClientSession() as client, client.get(fake.url + path, headers=headers) as response:
        return response.status, await response.json()


def answer_to(body: bytes, headers: dict[str, str] | None = None) -> tuple[int, str]:
    async def scenario() -> tuple[int, str]:
        async with fake_langfuse() as fake:
            status, _, text = await post(fake, body, headers)
            return status, text

    return run(scenario())


def test_an_export_is_answered_with_a_job_and_kept_with_resource_and_scope() -> None:
    async def scenario() -> None:
        async with fake_langfuse() as fake:
            status, content_type, text = await post(fake, packed(GOOD))

            assert (status, content_type) == (200, "application/json")
            assert '"queueQualifiedName"' in text and "partialSuccess" not in text
            (kept,) = fake.seen.spans()
            assert kept.span == GOOD.resource_spans[0].scope_spans[0].spans[0]
            assert kept.resource == GOOD.resource_spans[0].resource
            assert kept.scope.name == "tests"

    run(scenario())


def test_concatenated_gzip_members_are_one_body() -> None:
    async def scenario() -> None:
        async with fake_langfuse() as fake:
            other = spans.request(spans.span(span_id=b"another1"))
            status, _, _ = await post(fake, packed(GOOD) + packed(other))

            assert status == 200
            assert len(fake.seen.ids()) == 2

    run(scenario())


def test_json_is_understood() -> None:
    body = otlp_json.to_json(GOOD)

    assert answer_to(body, only(HEADERS, Content_Type="application/json", Content_Encoding=None))[0] == 200


def test_json_and_protobuf_of_the_same_spans_are_equal() -> None:
    request = spans.many(3, 4, 2000)

    assert otlp_json.from_json(otlp_json.to_json(request)) == request


@pytest.mark.parametrize(
    ("changes", "status", "part"),
    [
        ({"Authorization": None}, 401, "No authorization header"),
        ({"Authorization": aiohttp.encode_basic_auth(PUBLIC_KEY, "wrong")}, 401, "Invalid credentials"),
        ({"Authorization": "Digest abc"}, 401, "Invalid authorization header"),
        ({"Authorization": f"Bearer {PUBLIC_KEY}"}, 403, "Access denied"),
        ({"Content_Type": "text/plain"}, 400, "Invalid content type"),
        ({"Content_Encoding": None}, 400, "Failed to parse OTel Protobuf Trace"),
        ({"Content_Encoding": "zstd"}, 400, "Failed to parse OTel Protobuf Trace"),
        ({"Content_Type": "application/json"}, 400, "Failed to parse OTel JSON Trace"),
        ({"x_langfuse_ingestion_version": "5"}, 400, "Unsupported x-langfuse-ingestion-version"),
    ],
)
def test_wrong_headers_are_refused_as_by_langfuse(changes: dict[str, str | None], status: int, part: str) -> None:
    found, text = answer_to(packed(GOOD), only(HEADERS, **changes))

    assert found == status and part in text


@pytest.mark.parametrize("body", [b"no gzip", packed(GOOD)[:-9], packed(GOOD) + b"trailing"])
def test_a_body_that_is_not_gzip_to_its_end_is_refused(body: bytes) -> None:
    status, text = answer_to(body)

    assert status == 400 and "Failed to decompress" in text


def test_keys_are_checked_before_the_body() -> None:
    assert answer_to(b"no gzip", only(HEADERS, Authorization=None))[0] == 401


def test_only_the_secret_key_opens() -> None:
    headers = only(HEADERS, Authorization=aiohttp.encode_basic_auth("pk-lf-someone-else", SECRET_KEY))

    assert answer_to(packed(GOOD), headers)[0] == 200


def test_an_empty_export_is_answered_with_an_empty_object() -> None:
    assert answer_to(packed(ExportTraceServiceRequest())) == (200, "{}")


def test_one_span_without_ids_spoils_the_whole_export() -> None:
    async def scenario() -> None:
        async with fake_langfuse() as fake:
            status, _, text = await post(fake, packed(spans.request(spans.span(), spans.span(span_id=b""))))

            assert status == 400
            assert "1 of 2 span(s)" in text and "spanId:absent" in text
            assert fake.seen.span_count == 0

    run(scenario())


def test_one_attribute_without_a_value_loses_the_whole_export_after_a_200() -> None:
    async def scenario() -> None:
        async with fake_langfuse() as fake:
            request = spans.request(spans.span(), spans.span(span_id=b"another1"))
            request.resource_spans[0].scope_spans[0].spans[1].attributes.add(key="nothing")
            status, _, _ = await post(fake, packed(request))

            assert status == 200
            assert fake.seen.lost == ["span attribute 'nothing' has no value"]
            assert fake.seen.span_count == 0

    run(scenario())


def test_what_would_be_shown_wrongly_is_noted() -> None:
    async def scenario() -> None:
        async with fake_langfuse() as fake:
            await post(fake, packed(spans.request(spans.span(end_ns=0), spans.span(parent=bytes(8)))))

            assert len(fake.seen.oddities) == 2

    run(scenario())


def test_a_predicate_makes_a_span_poisonous() -> None:
    async def scenario() -> None:
        async with fake_langfuse() as fake:
            fake.reject_if(lambda span: span.name == "poison")

            assert (await post(fake, packed(spans.request(spans.span(), spans.span(name="poison")))))[0] == 400
            assert (await post(fake, packed(GOOD)))[0] == 200

    run(scenario())


def test_scripted_answers_come_in_order_and_then_it_is_healthy() -> None:
    async def scenario() -> None:
        async with fake_langfuse() as fake:
            fake.script.fail_next(1, 503)
            fake.script.fail_next(1, 429, {"Retry-After": "7"})
            fake.script.html_next(1)
            fake.script.redirect_next(1, "https://elsewhere.example.com/")
            statuses = [(await post(fake, packed(GOOD)))[:2] for _ in range(5)]

            assert statuses == [
                (503, "application/json"),
                (429, "application/json"),
                (200, "text/html"),
                (301, "application/json"),
                (200, "application/json"),
            ]
            assert fake.seen.span_count == 1

    run(scenario())


def test_a_standing_failure_lasts_until_it_is_taken_back() -> None:
    async def scenario() -> None:
        async with fake_langfuse() as fake:
            fake.script.fail_always(500)
            assert [(await post(fake, packed(GOOD)))[0] for _ in range(3)] == [500, 500, 500]
            fake.script.recover()
            assert (await post(fake, packed(GOOD)))[0] == 200

    run(scenario())


def test_a_step_that_no_request_used_fails_the_test() -> None:
    async def scenario() -> None:
        async with fake_langfuse() as fake:
            fake.script.fail_next(1, 503)

    with pytest.raises(AssertionError, match="never used"):
        run(scenario())


def test_a_body_over_the_limit_is_answered_413_by_a_proxys_page() -> None:
    async def scenario() -> None:
        async with fake_langfuse() as fake:
            fake.max_body_bytes = 1000
            status, content_type, _ = await post(fake, bytes(5_000_000))

            assert (status, content_type) == (413, "text/html")
            assert (await post(fake, packed(GOOD)))[0] == 200

    run(scenario())


@pytest.mark.parametrize("after_body", [True, False])
def test_a_reset_is_seen_as_one_and_only_a_late_one_may_keep_the_spans(after_body: bool) -> None:
    async def scenario() -> None:
        async with fake_langfuse() as fake:
            fake.script.reset_next(1, after_body=after_body)
            with pytest.raises(aiohttp.ClientConnectionError):
                await post(fake, packed(spans.many(10, 10, 5000)))

            assert fake.seen.span_count == (100 if after_body else 0)
            assert [request.status for request in fake.seen.requests] == [None]

    run(scenario())


def test_a_hanging_export_is_never_answered_but_the_fake_still_ends_promptly() -> None:
    async def scenario() -> float:
        async with fake_langfuse() as fake:
            fake.script.hang_next(1, keep=False)
            waiting = asyncio.create_task(post(fake, packed(GOOD)))
            await fake.seen.wait_until(lambda: len(fake.seen.requests) == 1, 5, "the hanging request")
            ending = time.monotonic()
        with pytest.raises(aiohttp.ClientError):
            await waiting
        return time.monotonic() - ending

    assert run(scenario()) < 3


def test_a_slow_server_answers_later() -> None:
    async def scenario() -> None:
        async with fake_langfuse() as fake:
            fake.slow(0.2)
            start = time.monotonic()
            assert (await post(fake, packed(GOOD)))[0] == 200
            assert time.monotonic() - start >= 0.2

    run(scenario())


def test_a_server_that_is_down_refuses_and_comes_back_on_the_same_port() -> None:
    async def scenario() -> None:
        async with fake_langfuse() as fake:
            assert (await post(fake, packed(GOOD)))[0] == 200
            fake.down()
            with pytest.raises(aiohttp.ClientConnectorError):
                await post(fake, packed(GOOD))
            fake.up()
            assert (await post(fake, packed(GOOD)))[0] == 200

    run(scenario())


def test_duplicates_are_counted_and_resends_can_be_compared_by_digest() -> None:
    async def scenario() -> None:
        async with fake_langfuse() as fake:
            for _ in range(2):
                await post(fake, packed(GOOD))

            assert fake.seen.duplicates() == 1
            assert len({request.digest for request in fake.exports()}) == 1

    run(scenario())


def test_secrets_are_not_recorded() -> None:
    async def scenario() -> None:
        async with fake_langfuse() as fake:
            await post(fake, packed(GOOD))
            (seen,) = fake.seen.requests

            assert seen.public_key == PUBLIC_KEY
            assert "authorization" not in seen.headers and SECRET_KEY not in repr(seen)

    run(scenario())


def test_waiting_says_what_was_missing() -> None:
    async def scenario() -> None:
        async with fake_langfuse() as fake:
            await fake.wait_for_spans(1, 0.05)

    with pytest.raises(TimeoutError, match="1 spans; seen: 0 requests"):
        run(scenario())


def test_health_needs_no_keys_and_projects_do() -> None:
    async def scenario() -> None:
        async with fake_langfuse() as fake:
            assert await get(fake, "/api/public/health", authorized=False) == (200, {"status": "OK", "version": "4.16.0"})
            assert (await get(fake, "/api/public/projects", authorized=False))[0] == 401
            assert (await get(fake, "/api/public/projects"))[0] == 200
            assert (await get(fake, TRACES_PATH))[0] == 405

    run(scenario())


def test_a_trace_can_be_read_back() -> None:
    async def scenario() -> None:
        async with fake_langfuse() as fake:
            await post(fake, packed(GOOD))
            _, found = await get(fake, f"/api/public/v2/observations?traceId={spans.TRACE_ID.hex()}")
            _, none = await get(fake, f"/api/public/v2/observations?traceId={'0' * 32}")

            assert isinstance(found["data"], list) and found["data"][0]["id"] == spans.SPAN_ID.hex()
            assert none == {"data": [], "meta": {}}

    run(scenario())


def test_a_fake_in_a_thread_serves_a_test_without_a_loop() -> None:
    def send(fake: FakeLangfuse) -> int:
        request = urllib.request.Request(fake.url + TRACES_PATH, data=packed(GOOD), headers=HEADERS, method="POST")
        with urllib.request.urlopen(request, timeout=5) as response:
            return int(response.status)

    with langfuse_thread() as fake:
        assert send(fake) == 200
        fake.block_for_spans(1)
        fake.down()
        with pytest.raises(OSError, match="refused"):
            send(fake)
        fake.up()
        assert send(fake) == 200


def test_a_fake_in_a_thread_reports_unused_steps_too() -> None:
    with pytest.raises(AssertionError, match="never used"), langfuse_thread() as fake:
        fake.script.hang_next(2)


def test_the_program_prints_its_address_and_takes_commands() -> None:
    program = subprocess.Popen([sys.executable, "-m", "tests.fakes.langfuse"], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert program.stdout is not None
        url = program.stdout.readline().strip()
        request = urllib.request.Request(f"{url}/__control__/fail_next", data=b'{"n": 2, "status": 503}', method="POST")
        with urllib.request.urlopen(request, timeout=5) as response:
            assert b'"unused": 2' in response.read()
    finally:
        program.terminate()
        program.wait(5)
        if program.stdout:
            program.stdout.close()
