"""The whole program as a process: signals, exit codes, what it logs and serves."""

from __future__ import annotations

import asyncio
import json
import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.app import Shutdown, digest, leaves
from sidecar.config import Config, Destination, Secret
from tests.fakes.clock import FakeClock
from tests.fakes.langfuse import langfuse_thread
from tests.processes import Sidecar, sidecar_process
from tests.spans import Value, many, request, span

NOWHERE = "http://127.0.0.1:1"
JSON = {"logging": {"format": "json"}}


def events(sidecar: Sidecar) -> list[dict[str, object]]:
    return [json.loads(line) for line in sidecar.log().splitlines()]


def send(sidecar: Sidecar, body: bytes) -> int:
    request = urllib.request.Request(sidecar.traces_url, data=body, headers={"Content-Type": "application/x-protobuf"})
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_sigterm_delivers_what_is_left_prints_the_ledger_and_exits_0(tmp_path: Path) -> None:
    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url, {"forward": {"linger_ms": 60_000}, **JSON}) as sidecar:
        assert send(sidecar, many(2, 3).SerializeToString()) == 200

        code = sidecar.terminate()

        assert code == 0
        assert len(fake.seen.spans()) == 6
        last = events(sidecar)[-1]
    assert (last["event"], last["pending_spans"]) == ("stopped", 0)
    assert last["ledger"] == {"delivered": 6, "received": 6, "stored": 6}


def test_what_does_not_fit_the_grace_period_stays_on_disk_for_the_next_start(tmp_path: Path) -> None:
    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url, {"shutdown": {"grace_s": 0.2}, **JSON}) as sidecar:
        fake.down()
        assert send(sidecar, many(1, 4).SerializeToString()) == 200
        assert sidecar.terminate() == 0
        last = events(sidecar)[-1]
        assert last["pending_spans"] == 4
        (destination,) = cast("list[dict[str, object]]", last["destinations"])
        assert destination["name"] == "default"
        assert "connection_refused" in str(destination["last_failure"])
        fake.up()

        sidecar.start()

        fake.block_for_spans(4)
        assert sidecar.settled().problems() == []


def test_the_log_is_json_and_names_every_address_once_it_is_ready(tmp_path: Path) -> None:
    with sidecar_process(tmp_path, NOWHERE, {"destinations": [{"name": "default", "type": "local"}], **JSON}) as sidecar:
        ready = next(event for event in events(sidecar) if event["event"] == "ready")

    assert ready["http"] == sidecar.http_url.removeprefix("http://")
    assert ready["grpc"] == sidecar.grpc_target
    assert {"version", "config", "admin"} <= ready.keys()


def test_discarding_counts_every_span_as_filtered(tmp_path: Path) -> None:
    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url, environment={"LANGFUSE_TRACING_ENABLED": "false"}) as sidecar:
        assert send(sidecar, many(1, 5).SerializeToString()) == 200
        ledger = sidecar.ledger()

        assert ledger.total("filtered") == 5
        assert ledger.problems() == []
        assert fake.seen.spans() == []


def test_sighup_reads_keys_again_and_a_lost_key_file_keeps_the_old_one(tmp_path: Path) -> None:
    key = tmp_path / "secret"
    key.write_text("sk-wrong")
    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url, destination={"secret_key_file": str(key)}) as sidecar:
        assert send(sidecar, many(1, 2).SerializeToString()) == 200
        sidecar.wait_until(lambda: sidecar.metric("sidecar_forward_paused", destination="default", reason="unauthorized") == 1, 10, "the pause")
        key.write_text(next(iter(fake.keys.values())))

        sidecar.signal(signal.SIGHUP)

        fake.block_for_spans(2)
        # the spans are there a moment before the sidecar has read the answer
        sidecar.wait_until(
            lambda: sidecar.metric("sidecar_forward_paused", destination="default", reason="unauthorized") == 0, 10, "the end of the pause"
        )
        assert sidecar.metric("sidecar_config_reloads_total", outcome="ok") == 1


def test_metrics_parse_and_the_ledger_is_among_them(tmp_path: Path) -> None:
    with sidecar_process(tmp_path, NOWHERE, {"destinations": [{"name": "default", "type": "local"}], **JSON}) as sidecar:
        _, text = sidecar.admin("/metrics")

    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"sidecar_ledger_pending_spans", "sidecar_build_info", "process_resident_memory_bytes", "sidecar_receiver_in_flight_bytes"} <= names


def test_a_destination_that_is_the_sidecar_itself_refuses_to_start(tmp_path: Path) -> None:
    with sidecar_process(tmp_path, NOWHERE, start=False) as sidecar:
        itself = f"destinations=[{{name: default, base_url: '{sidecar.http_url}', public_key: p, secret_key: s}}]"
        sidecar.command = [*sidecar.command, "--set", itself]
        sidecar.start(ready=False)

        assert sidecar.wait_for_exit() == 2
        assert "itself" in sidecar.log() or "own" in sidecar.log()


def test_the_grace_period_begins_with_the_signal() -> None:
    clock = FakeClock()
    shutdown = Shutdown(clock, 10)
    shutdown.request()
    begun = shutdown.deadline()
    asyncio.run(clock.advance(4))
    shutdown.request()

    assert shutdown.deadline() == begun == 10
    asyncio.run(asyncio.wait_for(shutdown.wait(), 1))


def test_a_draining_process_is_alive_but_not_ready(tmp_path: Path) -> None:
    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url, {"forward": {"linger_ms": 60_000}}) as sidecar:
        assert send(sidecar, many(1, 2).SerializeToString()) == 200
        fake.slow(2)

        sidecar.signal(signal.SIGTERM)

        sidecar.wait_until(lambda: sidecar.admin("/readyz") == (503, "draining\n"), 5, "/readyz to say that it drains")
        assert sidecar.admin("/livez")[0] == 200
        assert sidecar.wait_for_exit() == 0
        assert len(fake.seen.spans()) == 2


def test_the_digest_tells_configurations_apart_but_knows_no_secret() -> None:
    one, other = (Config(destinations=[Destination(public_key="p", secret_key=Secret(text))]) for text in ("a", "b"))

    assert digest(one) == digest(other)
    assert digest(one) != digest(Config())


def test_a_nested_group_is_reported_by_what_is_inside() -> None:
    inner, other = ValueError("a"), TypeError("b")

    assert list(leaves(ExceptionGroup("outer", [ExceptionGroup("inner", [inner]), other]))) == [inner, other]
    assert list(leaves(None)) == []


def test_with_enrichment_a_model_call_arrives_with_its_type_usage_and_cost(tmp_path: Path) -> None:
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 100,
    }
    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url, sets=["enrichment.enabled=true"]) as sidecar:
        assert send(sidecar, request(span(name="chat gpt-4o", attributes=attributes)).SerializeToString()) == 200
        fake.block_for_spans(1)

        (arrived,) = fake.seen.spans()
    values = {each.key: each.value.string_value for each in arrived.span.attributes}
    assert values["langfuse.observation.type"] == "generation"
    assert json.loads(values["langfuse.observation.usage_details"])["input"] == 1000
    assert json.loads(values["langfuse.observation.cost_details"])["total"] == pytest.approx(0.0035)
