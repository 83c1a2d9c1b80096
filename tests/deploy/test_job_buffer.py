"""What becomes of undelivered spans when a Job's pod ends: the next pod on the same volume delivers them.

A pod is a process here and the volume a directory: two sidecars of their own configuration and ports, one after the other, on one buffer file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests import spans
from tests.acceptance.sending import send_now, traces
from tests.fakes.langfuse import langfuse_thread
from tests.processes import sidecar_process

pytestmark = pytest.mark.acceptance


def on(volume: Path, grace_s: float = 1) -> Mapping[str, object]:
    return {"buffer": {"path": str(volume / "buffer.db")}, "shutdown": {"grace_s": grace_s}}


def pod(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


@pytest.mark.parametrize("end", ["in order", "killed"])
def test_the_next_pod_adopts_the_buffer_and_delivers_what_the_last_one_could_not(tmp_path: Path, end: str) -> None:
    volume = pod(tmp_path, "volume")
    with langfuse_thread() as fake:
        fake.script.fail_always(503)
        with sidecar_process(pod(tmp_path, "monday"), fake.url, on(volume)) as first:
            sent = send_now(first, traces(20))
            if end == "killed":
                first.kill()
            else:
                assert first.terminate() == 0
        assert fake.seen.ids() == set()

        fake.script.recover()
        with sidecar_process(pod(tmp_path, "tuesday"), fake.url, on(volume)) as second:
            sent |= send_now(second, traces(5, seed=1))
            fake.block_for_spans(len(sent), 30)
            ledger = second.settled()

        assert fake.seen.ids() == sent
        assert fake.seen.duplicates() == 0
        assert ledger.total("received") == len(sent), "the ledger goes on where the last pod left it"


def test_a_pod_that_ends_in_an_outage_says_in_its_last_line_how_much_it_leaves(tmp_path: Path) -> None:
    """With an emptyDir that is what is lost; with a claim the next pod finds it."""
    with langfuse_thread() as fake:
        fake.script.fail_always(503)
        with sidecar_process(pod(tmp_path, "job"), fake.url, {"shutdown": {"grace_s": 0.5}, "logging": {"format": "json"}}) as sidecar:
            sent = send_now(sidecar, traces(20))
            assert sidecar.terminate() == 0
            last = json.loads(sidecar.log().splitlines()[-1])

    assert (last["event"], last["pending_spans"]) == ("stopped", len(sent))


def test_pseudonyms_are_the_same_in_every_pod_of_the_volume(tmp_path: Path) -> None:
    """Their key lies beside the buffer where none is configured."""
    volume, found = pod(tmp_path, "volume"), []
    with langfuse_thread() as fake:
        for index, name in enumerate(("monday", "tuesday")):
            with sidecar_process(pod(tmp_path, name), fake.url, {**on(volume), "masking": {"enabled": True}}) as sidecar:
                span_id = f"person-{index}".encode()
                send_now(sidecar, [spans.request(spans.span(span_id=span_id, attributes={"user.id": "ann@example.com"}))])
                sidecar.settled()
            (received,) = [each.span for each in fake.seen.spans() if each.span.span_id == span_id]
            found.append(next(each.value.string_value for each in received.attributes if each.key == "user.id"))

    assert found[0] == found[1]
    assert "ann" not in found[0]


def test_a_job_that_ends_in_good_times_leaves_nothing_behind(tmp_path: Path) -> None:
    volume = pod(tmp_path, "volume")
    with (
        langfuse_thread() as fake,
        sidecar_process(pod(tmp_path, "job"), fake.url, {**on(volume, grace_s=30), "forward": {"linger_ms": 5000}}) as sidecar,
    ):
        sent = send_now(sidecar, traces(20))

        assert sidecar.terminate() == 0
        assert fake.seen.ids() == sent, "all of it within the grace period, and without waiting for its end"
        assert '"pending_spans": 0' in sidecar.log() or "pending_spans=0" in sidecar.log()


def test_a_second_pod_at_the_same_time_is_refused_and_takes_nothing_from_the_first(tmp_path: Path) -> None:
    volume = pod(tmp_path, "volume")
    with langfuse_thread() as fake, sidecar_process(pod(tmp_path, "first"), fake.url, on(volume)) as first:
        with sidecar_process(pod(tmp_path, "second"), fake.url, on(volume), start=False) as second:
            second.start(ready=False)
            assert second.wait_for_exit() == 1
            assert str(volume / "buffer.db") in second.log()

        sent = send_now(first, traces(5))
        fake.block_for_spans(len(sent), 30)
        first.settled()
