"""Every way in which Langfuse can fail: nothing is lost, and nothing comes twice but what had no answer."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import spans
from tests.acceptance.sending import ids_of, noise, send_now, traces
from tests.fakes.langfuse import PUBLIC_KEY, SECRET_KEY, FakeLangfuse, langfuse_thread
from tests.processes import Sidecar, sidecar_process

pytestmark = pytest.mark.acceptance


@contextmanager
def both(folder: Path, **forward: object) -> Iterator[tuple[FakeLangfuse, Sidecar]]:
    """A fake and a sidecar that delivers to it."""
    settings: Mapping[str, object] = {"forward": forward}
    with langfuse_thread() as fake, sidecar_process(folder, fake.url, settings) as sidecar:
        yield fake, sidecar
        assert fake.seen.lost == [] and fake.seen.oddities == []


def wait_for_requests(fake: FakeLangfuse, n: int, status: int | None, deadline_s: float = 20) -> None:
    fake.seen.block_until(lambda: len(fake.exports(status)) >= n, deadline_s, f"{n} exports answered {status}")


def test_a_storm_of_503_delays_and_loses_nothing(tmp_path: Path) -> None:
    with both(tmp_path) as (fake, sidecar):
        fake.script.fail_always(503)
        sent = send_now(sidecar, traces(20))
        wait_for_requests(fake, 4, 503)
        assert sidecar.ledger().pending == len(sent)

        fake.script.recover()
        fake.block_for_spans(len(sent), 30)
        sidecar.settled()

        assert fake.seen.ids() == sent
        assert fake.seen.duplicates() == 0


@pytest.mark.parametrize("status", [408, 500, 502])
def test_an_answer_that_says_try_again_is_tried_again(tmp_path: Path, status: int) -> None:
    with both(tmp_path) as (fake, sidecar):
        fake.script.fail_next(2, status)
        sent = send_now(sidecar, traces(3))
        fake.block_for_spans(len(sent), 30)
        sidecar.settled()

        assert fake.seen.duplicates() == 0


def test_refused_connections_delay_and_lose_nothing(tmp_path: Path) -> None:
    with both(tmp_path) as (fake, sidecar):
        fake.down()
        sent = send_now(sidecar, traces(20))
        sidecar.wait_until(lambda: sidecar.metric("sidecar_forward_retries_total") >= 2, 20, "two failed attempts")
        fake.up()
        fake.block_for_spans(len(sent), 30)
        sidecar.settled()

        assert fake.seen.ids() == sent
        assert fake.seen.duplicates() == 0


def test_retry_after_is_obeyed(tmp_path: Path) -> None:
    with both(tmp_path) as (fake, sidecar):
        fake.script.fail_next(1, 429, {"Retry-After": "3"})
        sent = send_now(sidecar, traces(1))
        fake.block_for_spans(len(sent), 30)
        sidecar.settled()
        refused, taken = fake.exports(429)[0], fake.exports(200)[0]

        assert 3.0 <= taken.at - refused.at < 10
        assert fake.seen.duplicates() == 0


@pytest.mark.parametrize("tell", [True, False], ids=["SIGHUP", "file change"])
def test_refused_keys_pause_delivery_until_they_are_mended(tmp_path: Path, tell: bool) -> None:
    """Langfuse remembers wrong keys for minutes, and every further try prolongs that: it must not be hammered."""
    keys = tmp_path / "secret"
    keys.write_text("sk-lf-wrong\n")
    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url, destination={"secret_key_file": str(keys)}) as sidecar:
        sent = send_now(sidecar, traces(10))
        wait_for_requests(fake, 1, 401)
        sidecar.wait_until(lambda: sidecar.metric("sidecar_forward_paused") == 1, 10, "the pause")
        sent |= send_now(sidecar, traces(10, seed=1))
        refused = len(fake.exports(401))
        assert sidecar.admin("/readyz")[0] == 200
        assert sidecar.ledger().pending == len(sent)

        keys.write_text(SECRET_KEY)
        if tell:
            sidecar.signal(signal.SIGHUP)
        fake.block_for_spans(len(sent), 30)
        sidecar.settled()

        assert refused <= 4
        assert fake.seen.ids() == sent
        assert fake.seen.duplicates() == 0
        assert "sk-lf-wrong" not in sidecar.log() and SECRET_KEY not in sidecar.log()
        assert sidecar.metric("sidecar_forward_paused") == 0


@pytest.mark.parametrize("what", ["html", "redirect", "404", "suspended"])
def test_a_wrong_address_pauses_delivery_and_keeps_everything(tmp_path: Path, what: str) -> None:
    with both(tmp_path) as (fake, sidecar):
        match what:
            case "html":
                fake.script.html_next(1)
            case "redirect":
                fake.script.redirect_next(1, fake.url + "/elsewhere")
            case "404":
                fake.script.fail_next(1, 404)
            case _:
                fake.script.fail_next(1, 403)
        sent = send_now(sidecar, traces(1))
        sidecar.wait_until(lambda: sidecar.metric("sidecar_forward_paused") == 1, 20, "the pause")
        assert sidecar.ledger().pending == len(sent)
        assert [request.path for request in fake.seen.requests if request.path == "/elsewhere"] == []

        sidecar.signal(signal.SIGHUP)
        fake.block_for_spans(len(sent), 30)
        sidecar.settled()

        assert fake.seen.duplicates() == 0


@pytest.mark.parametrize("failure", ["hang", "reset", "504"])
def test_no_answer_after_the_last_byte_is_ambiguous_and_resent_byte_for_byte(tmp_path: Path, failure: str) -> None:
    with both(tmp_path, timeout_s=2) as (fake, sidecar):
        match failure:
            case "hang":
                fake.script.hang_next(1, keep=True)
            case "reset":
                fake.script.reset_next(1, after_body=True, keep=True)
            case _:
                fake.script.fail_next(1, 504, keep=True)
        sent = send_now(sidecar, traces(1))
        wait_for_requests(fake, 1, 200)
        sidecar.settled()
        first, second = fake.seen.requests[:2]

        assert first.digest == second.digest
        assert set(fake.seen.received.values()) == {2}
        assert sidecar.metric("sidecar_forward_ambiguous_spans_total") == len(sent)


def test_what_was_being_sent_at_a_kill_is_resent_and_nothing_else_is(tmp_path: Path) -> None:
    with both(tmp_path) as (fake, sidecar):
        fake.script.hang_next(1, keep=True)
        unanswered = send_now(sidecar, traces(1))
        wait_for_requests(fake, 1, None)
        sidecar.kill()
        sidecar.start()
        fresh = send_now(sidecar, traces(1, seed=1))
        fake.block_for_spans(len(unanswered | fresh), 30)
        sidecar.settled()

        assert {fake.seen.received[one] for one in unanswered} == {2}
        assert {fake.seen.received[one] for one in fresh} == {1}
        assert sidecar.metric("sidecar_forward_ambiguous_spans_total", destination="default") == len(unanswered)


def test_a_reset_before_the_body_was_read_loses_nothing(tmp_path: Path) -> None:
    with both(tmp_path) as (fake, sidecar):
        fake.script.reset_next(1, after_body=False)
        sent = send_now(sidecar, noise(10, bytes_each=300_000))
        fake.block_for_spans(len(sent), 30)
        sidecar.settled()

        assert fake.seen.ids() == sent
        assert fake.seen.duplicates() == 0


def test_a_slow_langfuse_does_not_slow_the_agent(tmp_path: Path) -> None:
    with both(tmp_path) as (fake, sidecar):
        fake.slow(2)
        start = time.monotonic()
        sent = send_now(sidecar, traces(50))
        took_s = time.monotonic() - start
        fake.block_for_spans(len(sent), 30)
        sidecar.settled()

        assert took_s < 2
        assert fake.seen.duplicates() == 0


def test_one_poisonous_span_among_fifty_becomes_the_only_dead_letter(tmp_path: Path) -> None:
    with both(tmp_path) as (fake, sidecar):
        fake.reject_if(lambda span: span.name == "poison")
        request = spans.many(10, 5, 1000)
        poison = request.resource_spans[0].scope_spans[0].spans[33]
        poison.name = "poison"
        sent = send_now(sidecar, [request])
        fake.block_for_spans(49, 30)
        ledger = sidecar.settled()

        assert sent - fake.seen.ids() == {(poison.trace_id, poison.span_id)}
        assert fake.seen.duplicates() == 0
        assert (ledger.total("delivered"), ledger.total("buried")) == (49, 1)
        assert sidecar.metric("sidecar_buffer_dead_letter_rows") == 1


def test_a_lone_refused_row_is_buried_only_after_something_else_was_taken(tmp_path: Path) -> None:
    """While everything is refused, the fault may be ours or the server's: nothing is given up."""
    with both(tmp_path) as (fake, sidecar):
        fake.reject_if(lambda span: span.name == "poison")
        send_now(sidecar, [spans.request(spans.span(name="poison"))])
        wait_for_requests(fake, 1, 400)
        assert sidecar.ledger().total("buried") == 0

        sent = send_now(sidecar, traces(1))
        fake.block_for_spans(len(sent), 30)
        ledger = sidecar.settled()

        assert ledger.total("buried") == 1
        assert fake.seen.ids() == sent


def test_batches_over_the_size_limit_of_a_proxy_are_split_until_they_pass(tmp_path: Path) -> None:
    with both(tmp_path, linger_ms=1000) as (fake, sidecar):
        fake.max_body_bytes = 150_000
        sent = send_now(sidecar, noise(60, bytes_each=20_000))
        fake.block_for_spans(len(sent), 30)
        ledger = sidecar.settled()

        assert fake.seen.ids() == sent
        assert fake.seen.duplicates() == 0
        assert len(fake.exports(413)) >= 1
        assert ledger.total("buried") == 0


def test_a_span_that_no_proxy_lets_pass_is_buried_alone(tmp_path: Path) -> None:
    with both(tmp_path) as (fake, sidecar):
        fake.max_body_bytes = 150_000
        huge, small = noise(1, bytes_each=400_000), noise(3, bytes_each=1000, seed=1)
        send_now(sidecar, huge + small)
        fake.block_for_spans(3, 30)
        ledger = sidecar.settled()

        assert fake.seen.ids() == ids_of(small)
        assert ledger.total("buried") == 1


def test_every_export_carries_the_headers_that_langfuse_needs(tmp_path: Path) -> None:
    with both(tmp_path) as (fake, sidecar):
        sent = send_now(sidecar, traces(1))
        fake.block_for_spans(len(sent), 30)
        (export,) = fake.exports()

        assert export.public_key == PUBLIC_KEY
        assert export.headers["content-type"] == "application/x-protobuf"
        assert export.headers["content-encoding"] == "gzip"
        assert export.headers["x-langfuse-ingestion-version"] == "4"
        assert export.headers["content-length"] == str(export.body_bytes)
