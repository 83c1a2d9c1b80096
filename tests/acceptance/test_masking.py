"""Nothing sensitive leaves the memory of the process, wherever one looks; and what policies, keys and engines change of that."""

from __future__ import annotations

import asyncio
import base64
import functools
import gzip
import json
import re
import shutil
import signal
import sqlite3
import stat
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeAlias

import grpc
import pytest
import yaml
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidecar.receive.masking import CACHE_FOLDER
from tests import corpus
from tests.acceptance.sending import Sent, content, corpus_requests, ids_of, outgoing, over_grpc, over_http, send_all, send_now
from tests.acceptance.test_context import AGENT, CHAT, NEVER_S, ROOT, children, shown
from tests.fakes import otlp_json
from tests.fakes.langfuse import FakeLangfuse, langfuse_thread
from tests.fakes.langfuse_rules import ReceivedSpan, flatten
from tests.mask.masking import CARD, EMAIL, WINDOW, left_of, windows_of
from tests.processes import RELAY, Sidecar, sidecar_process
from tests.spans import Attributes, key_values, request, span
from tests.test_cli import sidecar as command
from tests.waiting import pause

pytestmark = pytest.mark.acceptance

Tree: TypeAlias = Mapping[str, object] | None
BADGE = "EMP-" + "493021"
OWN: Mapping[str, object] = {"patterns": [{"name": "employee-id", "pattern": "EMP-[0-9]{6}", "label": "EMPLOYEE"}]}
PSEUDONYMS: Mapping[str, object] = {"detectors": {"email": "hmac"}}
POISONED = 16
"""Spans whose id begins with less are refused by the fake: one in sixteen."""
PLAIN = {"email", "github_token", "jwt", "openai_key"}
"""Planted types that are known without any word beside them."""
AUDIT = {"langfuse.observation.metadata.masked", "langfuse.observation.metadata.masking_policy"}
KEY_TEXT = "synthetic key, " + "k" * 24


def settings(masking: Tree = None, **more: object) -> dict[str, object]:
    return {"masking": {"enabled": True, **(masking or {})}, "enrichment": {"enabled": True}, "logging": {"level": "debug", "format": "text"}, **more}


def write(file: Path, policy: Mapping[str, object]) -> Path:
    file.write_text(yaml.safe_dump(dict(policy)), encoding="utf-8")
    return file


@contextmanager
def masked(
    folder: Path, policy: Tree = None, masking: Tree = None, *, enrichment: Tree = None, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[FakeLangfuse, Sidecar]]:
    """A fake and a sidecar that masks by a policy file in the folder."""
    config = settings({"policy": str(write(folder / "masking.yaml", policy or {})), **(masking or {})}, enrichment=enrichment or {"enabled": False})
    with langfuse_thread() as fake, sidecar_process(folder, fake.url, config, environment=environment) as sidecar:
        yield fake, sidecar
        assert fake.seen.lost == [] and fake.seen.oddities == []


def note(sidecar: Sidecar, fake: FakeLangfuse, number: int, text: str) -> str:
    """What Langfuse gets for the attribute `note` of a span."""
    span_id = number.to_bytes(8, "big")
    send_now(sidecar, [request(span(trace_id=bytes([number]) * 16, span_id=span_id, attributes={"note": text}))])
    fake.block_for_spans(number, 20)
    (received,) = (each for each in fake.seen.unique().values() if each.span.span_id == span_id)
    return notes_of(received)["note"]


def notes_of(received: ReceivedSpan) -> dict[str, str]:
    return {each.key: each.value.string_value for each in received.span.attributes}


def reloads(sidecar: Sidecar, outcome: str) -> float:
    return sidecar.metric("sidecar_config_reloads_total", outcome=outcome)


@functools.cache
def telling_windows() -> list[tuple[str, bytes]]:
    """Every eight bytes of a planted value, with its type, but for those that the corpus also holds outside of whole values.

    The first and last line of a private key say only what it is, as its label does.
    """
    forms: set[bytes] = set()
    for each in corpus.planted():
        text = each.value
        for _ in range(4):  # JSON in JSON in JSON
            forms.add(text.encode())
            text = json.dumps(text)[1:-1]
    whole = re.compile(b"|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))
    rest = whole.sub(b"\0", b"\0".join({each.body for each in (*corpus.trace_requests(), *corpus.log_requests())}))
    lines = [(each.type, line.encode()) for each in corpus.planted() for line in each.value.splitlines() if not line.startswith("-----")]
    found = dict.fromkeys((kind, window) for kind, line in lines for window in windows_of(line))
    return [(kind, window) for kind, window in found if window not in rest]


def survivors(payloads: Iterable[bytes]) -> list[str]:
    """Types of planted values of which anything is left: types, so that a failing test shows no value."""
    text = b"\0".join(payloads)
    return sorted({kind for kind, window in telling_windows() if window in text})


def parts(received: Iterable[ReceivedSpan]) -> set[bytes]:
    """All that spans say, each text once: most of the corpus repeats, and every window is looked for in it."""
    found: set[bytes] = set()
    for each in received:
        found.update(attribute.SerializeToString() for attribute in each.span.attributes)
        found.update(content(each)[1:])
        rest = type(each.span)()
        rest.CopyFrom(each.span)
        for field in ("attributes", "trace_id", "span_id", "parent_span_id", "start_time_unix_nano", "end_time_unix_nano"):
            rest.ClearField(field)
        found.add(rest.SerializeToString())
    return found


def spans_in(bodies: Iterable[bytes]) -> list[ReceivedSpan]:
    return [each for body in bodies for each in flatten(ExportTraceServiceRequest.FromString(body))]


def on_disk(sidecar: Sidecar, folder: Path) -> tuple[list[bytes], dict[str, list[bytes]]]:
    """The bytes of every file of the data directory, also the log of SQLite; and what the tables of rows hold, decompressed.

    Not the compiled patterns: they hold the beginnings of formats, and were written before any span came.
    """
    shutil.copytree(sidecar.data_dir, folder, ignore=shutil.ignore_patterns("*.sock", "*.reserve", CACHE_FOLDER))
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert (folder / "buffer.db-wal").exists()
    rows: dict[str, list[bytes]] = {}
    with closing(sqlite3.connect(folder / "buffer.db")) as database:
        for table in ("rows", "dead", "delivered"):
            rows[table] = [gzip.decompress(body) for (body,) in database.execute(f"SELECT body FROM {table}")]
    return files, rows


def exported(sidecar: Sidecar, kind: str) -> tuple[list[ReceivedSpan], list[bytes]]:
    """What `buffer export` prints: its spans, and the rest of its lines."""
    done = command("buffer", "export", f"--{kind}", "--config", str(RELAY), "--config", str(sidecar.folder / "sidecar.yaml"))
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    spans = [each for line in lines for each in flatten(otlp_json.from_json(json.dumps(line.pop("otlp")).encode()))]
    return spans, [json.dumps(lines).encode(), done.stderr.encode()]


def said(sidecar: Sidecar) -> list[bytes]:
    """What an operator sees: the log, the metrics."""
    status, metrics = sidecar.admin("/metrics")
    assert status == 200
    return [sidecar.log().encode(), metrics.encode()]


async def send_logs(sidecar: Sidecar, transport: str) -> None:
    bodies = [each.body for each in corpus.log_requests()]
    if transport == "grpc":
        async with grpc.aio.insecure_channel(sidecar.grpc_target) as channel:
            for body in bodies:
                await channel.unary_unary("/opentelemetry.proto.collector.logs.v1.LogsService/Export")(body, timeout=30)
        return
    for body in bodies:
        if transport == "http-json":
            tree = json_format.MessageToDict(ExportLogsServiceRequest.FromString(body), use_integers_for_enums=True)
            as_json = json.dumps(otlp_json._with_ids(tree, lambda text: base64.b64decode(text).hex())).encode()
            await asyncio.to_thread(post_logs, sidecar, as_json, corpus.JSON)
        else:
            await asyncio.to_thread(post_logs, sidecar, body)


def post_logs(sidecar: Sidecar, body: bytes, content_type: str = corpus.PROTOBUF) -> None:
    with urllib.request.urlopen(urllib.request.Request(f"{sidecar.http_url}/v1/logs", body, {"Content-Type": content_type}), timeout=30) as answer:
        assert answer.status == 200


async def send_corpus(sidecar: Sidecar, transport: str, requests: Sequence[ExportTraceServiceRequest]) -> None:
    await send_logs(sidecar, transport)
    sent = Sent()
    async with over_grpc(sidecar) if transport == "grpc" else over_http(sidecar) as send:
        exports = (outgoing(each, json=transport == "http-json", compress=transport != "grpc") for each in requests)
        await send_all(send, exports, sent)
    assert not sent.refusals


@pytest.mark.parametrize("transport", ["http-protobuf", "http-json", "grpc"])
def test_nothing_planted_is_on_disk_on_the_way_or_in_what_operators_see(tmp_path: Path, transport: str) -> None:
    requests = corpus_requests()
    ids = ids_of(requests)
    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url, settings()) as sidecar:
        fake.reject_if(lambda span: span.span_id[0] < POISONED)
        fake.down()
        asyncio.run(send_corpus(sidecar, transport, requests))
        assert sidecar.ledger().pending == len(ids)

        files, rows = on_disk(sidecar, tmp_path / "waiting")
        waiting = spans_in(rows["rows"])
        assert {each.id for each in waiting} == ids
        exports, lines = exported(sidecar, "pending") if transport == "http-protobuf" else ([], [])
        seen = parts(waiting) | parts(exports)

        fake.up()
        ledger = sidecar.settled(120)
        more, rows = on_disk(sidecar, tmp_path / "after")
        dead, others = exported(sidecar, "dead")
        arrived = fake.seen.unique()
        poisoned = {each for each in ids if each[1][0] < POISONED}
        assert {each.id for each in dead} == {each.id for each in spans_in(rows["dead"])} == poisoned != set()
        assert arrived.keys() == ids - poisoned
        assert (ledger.total("delivered"), ledger.total("buried")) == (len(arrived), len(poisoned))
        assert fake.seen.lost == [] and fake.seen.oddities == []

        seen |= parts(arrived.values()) | parts(dead) | parts(spans_in(rows["dead"]))
        assert survivors(seen) == []
        assert survivors([*files, *more, *said(sidecar), *lines, *others]) == []
        assert sidecar.metric("sidecar_masked_values_total") > 1000
        assert sidecar.metric("sidecar_masking_failures_total") == 0
        assert sidecar.metric("sidecar_enrich_log_messages_total", outcome="joined") > 0


def test_the_windows_that_are_looked_for_do_stand_in_what_was_sent() -> None:
    """Else the tests of this file could not fail."""
    sent = b"\0".join(parts(each for each in spans_in(request.SerializeToString() for request in corpus_requests())))

    assert {kind for kind, window in telling_windows() if window in sent} == {each.type for each in corpus.planted()}
    assert len(telling_windows()) > 450 and all(len(window) <= WINDOW for _, window in telling_windows())


def test_nothing_planted_is_in_what_a_local_destination_keeps(tmp_path: Path) -> None:
    requests = corpus_requests()
    config = settings(destinations=[{"name": "here", "type": "local"}])
    with sidecar_process(tmp_path, "http://127.0.0.1:1", config) as sidecar:
        asyncio.run(send_corpus(sidecar, "http-protobuf", requests))
        sidecar.settled(120)
        files, rows = on_disk(sidecar, tmp_path / "copy")
        kept, lines = exported(sidecar, "delivered")

        assert {each.id for each in kept} == {each.id for each in spans_in(rows["delivered"])} == ids_of(requests)
        assert survivors(parts(kept) | parts(spans_in(rows["delivered"]))) == []
        assert survivors([*files, *said(sidecar), *lines]) == []


@pytest.mark.parametrize("options", [("--values",), ("--json", "--values")], ids=" ".join)
def test_nothing_planted_is_explained(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Requests after each other are one request to protobuf."""
    capture = tmp_path / "capture.bin"
    plain = [each.value for each in corpus.planted() if each.type in PLAIN]
    capture.write_bytes(b"".join([*sensitive(), request(*map(telling, enumerate(plain))).SerializeToString()]))

    done = command("explain", *options, str(capture), "--set", "destinations=[{name: here, type: local}]")

    assert done.returncode == 0, done.stderr
    assert all(f"[{label}]" in done.stdout for label in ("EMAIL", "GITHUB_TOKEN", "JWT", "OPENAI_KEY"))
    assert survivors([done.stdout.encode(), done.stderr.encode()]) == []


def telling(numbered: tuple[int, str]) -> Span:
    """A span with a planted value wherever an explanation quotes."""
    number, value = numbered
    said = {"gen_ai.agent.name": f"agent {value}", "user.id": value, "input.value": value, "output.value": value}
    return span(span_id=(number + 1).to_bytes(8, "big"), name=f"ask {value}", attributes={**CHAT, **said}, error=value)


def sensitive() -> list[bytes]:
    return [each.SerializeToString() for each, sent in zip(corpus_requests(), corpus.trace_requests(), strict=True) if "/sensitive/" in sent.name]


def test_a_user_is_one_pseudonym_on_every_span_of_the_trace(tmp_path: Path) -> None:
    who: Attributes = {**AGENT, "user.id": EMAIL, "session.id": f"of {EMAIL}"}
    with masked(tmp_path, enrichment={"enabled": True, "settle_s": NEVER_S}) as (fake, sidecar):
        send_now(sidecar, [request(*children())])
        send_now(sidecar, [request(span(span_id=ROOT, name=f"answer {EMAIL}", attributes=who))])
        fake.block_for_spans(4, 20)

        found = list(shown(fake).values())
        users, sessions, names = (
            {str(value) for value in each} for each in zip(*((each.user_id, each.session_id, each.trace_name) for each in found), strict=True)
        )
        assert len(found) == 4 and names == {"answer [EMAIL]"}
        for one in (*users, *sessions):
            assert re.fullmatch(r"\[ID:k1:[0-9a-f]{16}\]", one)
        assert len(users) == len(sessions) == 1 and users != sessions
        assert left_of([EMAIL], b"\0".join(parts(fake.seen.spans()))) == []


def test_rows_and_messages_that_wait_for_their_trace_are_masked(tmp_path: Path) -> None:
    message = ExportLogsServiceRequest()
    record = message.resource_logs.add().scope_logs.add().log_records.add(trace_id=span().trace_id, span_id=b"child  0", time_unix_nano=1)
    record.event_name = "gen_ai.user.message"
    record.body.kvlist_value.values.extend(key_values({"content": f"I am {EMAIL}, my card is {CARD}"}))
    waiting = span(span_id=b"child  0", parent=ROOT, name=f"chat with {EMAIL}", attributes={**CHAT, "user.id": EMAIL})
    del waiting.attributes[2:4]  # its content comes as a log
    with masked(tmp_path, enrichment={"enabled": True, "settle_s": 5}) as (fake, sidecar):
        post_logs(sidecar, message.SerializeToString())
        send_now(sidecar, [request(waiting)])
        files, rows = on_disk(sidecar, tmp_path / "copy")
        assert len(spans_in(rows["rows"])) == 1 and left_of([EMAIL, CARD], b"\0".join([*files, *rows["rows"]])) == []

        send_now(sidecar, [request(span(span_id=ROOT, attributes=AGENT))])
        fake.block_for_spans(2, 20)
        assert "I am [EMAIL], my card is [CARD:1111]" in str(shown(fake)[b"child  0"].input)
        assert left_of([EMAIL, CARD], b"\0".join([*parts(fake.seen.spans()), *said(sidecar)])) == []


def test_every_span_is_masked_while_the_policy_changes_back_and_forth(tmp_path: Path) -> None:
    phases: list[str] = ["shipped"]
    sent: dict[int, tuple[str, str]] = {}
    """Spans by number, with the phases at the beginning and the end of their sending; `?` while the file changes."""
    done = asyncio.Event()

    async def stream(sidecar: Sidecar) -> None:
        async with over_http(sidecar) as send:
            number = 0
            while not done.is_set():
                number += 1
                each = span(trace_id=number.to_bytes(16, "big"), span_id=number.to_bytes(8, "big"), attributes={"note": f"{BADGE} {EMAIL} {number}"})
                before = phases[-1]
                assert not await send(outgoing(request(each)))
                sent[number] = (before, phases[-1])
                await pause(0.005)

    async def change(sidecar: Sidecar, file: Path) -> None:
        bad: Mapping[str, object] = {"nonsense": 1}
        for phase, policy, outcome in (("own", OWN, "ok"), ("own", bad, "failed"), ("shipped", {"dry_run": False}, "ok"), ("own", OWN, "ok")):
            before = await asyncio.to_thread(reloads, sidecar, outcome)
            phases.append("?" if outcome == "ok" else phases[-1])
            write(file, policy)
            while await asyncio.to_thread(reloads, sidecar, outcome) == before:
                await pause(0.05)
            phases.append(phase)
            reached = max(sent, default=0) + 20
            while max(sent, default=0) < reached:
                await pause(0.01)
        done.set()

    async def scenario(sidecar: Sidecar) -> None:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(stream(sidecar))
            group.create_task(change(sidecar, tmp_path / "masking.yaml"))

    with masked(tmp_path) as (fake, sidecar):
        asyncio.run(scenario(sidecar))
        fake.block_for_spans(len(sent), 30)
        arrived = {int.from_bytes(each.span.span_id, "big"): notes_of(each)["note"] for each in fake.seen.unique().values()}

        assert arrived.keys() == sent.keys()
        assert left_of([EMAIL], "\0".join(arrived.values()).encode()) == []
        for number, phase in sent.items():
            if phase == ("own", "own"):
                assert arrived[number] == f"[EMPLOYEE] [EMAIL] {number}"
            elif phase == ("shipped", "shipped"):
                assert arrived[number] == f"{BADGE} [EMAIL] {number}"
        assert {("own", "own"), ("shipped", "shipped")} <= set(sent.values())
        assert "last good version stays" in sidecar.log() and "nonsense: unknown key" in sidecar.log()


def test_sighup_reads_the_policy_at_once_and_keeps_the_last_good_one(tmp_path: Path) -> None:
    def hung_up(sidecar: Sidecar, times: int) -> None:
        sidecar.signal(signal.SIGHUP)
        sidecar.wait_until(lambda: sidecar.log().count("was read again") + sidecar.log().count("rule file is wrong") == times, 20, "the reload")

    with masked(tmp_path) as (fake, sidecar):
        assert note(sidecar, fake, 1, f"{BADGE} {EMAIL}") == f"{BADGE} [EMAIL]"
        write(tmp_path / "masking.yaml", OWN)
        hung_up(sidecar, 1)
        assert note(sidecar, fake, 2, f"{BADGE} {EMAIL}") == "[EMPLOYEE] [EMAIL]"

        (tmp_path / "masking.yaml").write_text("packs: {pii: label", encoding="utf-8")
        hung_up(sidecar, 2)
        assert "masking.yaml: not YAML at line" in sidecar.log()
        assert note(sidecar, fake, 3, f"{BADGE} {EMAIL}") == "[EMPLOYEE] [EMAIL]"


def test_a_key_made_beside_the_buffer_serves_the_next_start_too(tmp_path: Path) -> None:
    with masked(tmp_path, PSEUDONYMS) as (fake, sidecar):
        key = sidecar.data_dir / "buffer.db.masking-key"
        first = note(sidecar, fake, 1, EMAIL)
        assert re.fullmatch(r"\[EMAIL:k1:[0-9a-f]{16}\]", first)
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert f"pseudonyms use the key in {key} and join only inside this buffer" in sidecar.log()
        made = key.read_text()
        assert made.removeprefix("k1:").strip() not in sidecar.log()

        database, words = sorted((sidecar.data_dir / CACHE_FOLDER).iterdir())
        assert [stat.S_IMODE(file.stat().st_mode) for file in (database, words)] == [0o600, 0o600]
        compiled = database.read_bytes()
        database.write_bytes(compiled[:1000])
        sidecar.restart()

        assert note(sidecar, fake, 2, f"to {EMAIL.upper()} and {EMAIL}").endswith(f" and {first}")
        assert key.read_text() == made
        assert database.read_bytes()[:32] == compiled[:32]


def test_a_key_of_ones_own_can_be_rotated(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"k1:{KEY_TEXT}\n")
    with masked(tmp_path, PSEUDONYMS, {"hmac_key_file": str(file)}) as (fake, sidecar):
        old = note(sidecar, fake, 1, EMAIL)
        file.write_text(f"k2:{KEY_TEXT} of today\nk1:{KEY_TEXT}\n")
        sidecar.restart()
        new = note(sidecar, fake, 2, EMAIL)

        assert old.startswith("[EMAIL:k1:") and new.startswith("[EMAIL:k2:")
        assert note(sidecar, fake, 3, f"{old} {new}") == f"{old} {new}"
        assert "pseudonyms use" not in sidecar.log() and KEY_TEXT not in sidecar.log()
        assert not (sidecar.data_dir / "buffer.db.masking-key").exists()


def test_a_key_from_the_environment_joins_two_machines(tmp_path: Path) -> None:
    found = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        with masked(tmp_path / name, PSEUDONYMS, {"hmac_key": "${env:MASKING_KEY}"}, environment={"MASKING_KEY": KEY_TEXT}) as (fake, sidecar):
            found.append(note(sidecar, fake, 1, EMAIL))
            assert "pseudonyms use" not in sidecar.log() and KEY_TEXT not in sidecar.log()

    assert len(set(found)) == 1 and found[0].startswith("[EMAIL:k1:")


def test_every_engine_sends_the_same_bytes(tmp_path: Path) -> None:
    policy: Mapping[str, object] = {"packs": {"pii": "hmac", "secrets": "hmac"}}
    requests = [ExportTraceServiceRequest.FromString(body) for body in sensitive()]
    found = {}
    for engine in ("hyperscan", "re2", "stdlib"):
        (tmp_path / engine).mkdir()
        with masked(tmp_path / engine, policy, {"engine": engine, "hmac_key": KEY_TEXT}) as (fake, sidecar):
            send_now(sidecar, requests)
            fake.block_for_spans(len(ids_of(requests)), 60)
            assert f"engine={engine}" in sidecar.log()
            found[engine] = {each.id: content(each) for each in fake.seen.unique().values()}

    assert set(found["hyperscan"]) == ids_of(requests)
    assert [each for each in found if found[each] != found["hyperscan"]] == []


def test_a_dry_run_changes_nothing_but_says_what_it_would(tmp_path: Path) -> None:
    requests = [ExportTraceServiceRequest.FromString(body) for body in sensitive()]
    with masked(tmp_path, {"dry_run": True}) as (fake, sidecar):
        send_now(sidecar, requests)
        fake.block_for_spans(len(ids_of(requests)), 60)
        arrived = fake.seen.unique()
        marked = 0
        for each in arrived.values():
            kept = [attribute for attribute in each.span.attributes if attribute.key not in AUDIT]
            marked += len(kept) < len(each.span.attributes)
            del each.span.attributes[:]
            each.span.attributes.extend(kept)

        assert [one.span.name for sent in requests for one in flatten(sent) if content(arrived[one.id]) != content(one)] == []
        assert marked > 10
        assert sidecar.metric("sidecar_masked_values_total", detector="email") > 10


def test_a_value_over_the_work_limit_is_hidden_whole_and_counted(tmp_path: Path) -> None:
    with masked(tmp_path, {"limits": {"max_value_kib": 1}}) as (fake, sidecar):
        assert note(sidecar, fake, 1, "word " * 400 + EMAIL) == "[MASKING_FAILED]"
        assert note(sidecar, fake, 2, f"word {EMAIL}") == "word [EMAIL]"
        assert sidecar.metric("sidecar_masking_failures_total") == 1


def test_the_process_answers_while_it_masks_a_body_full_of_personal_data(tmp_path: Path) -> None:
    line = f"write to {EMAIL}, pay with {CARD}, call +49 30 " + "901820 or +1 415 555 0132 from 203.0.113.42; "
    text = (line * (16 * 1024 // len(line) + 1))[: 16 * 1024]
    sent = request(*(span(span_id=number.to_bytes(8, "big"), attributes={"note": text}) for number in range(1, 257)))
    gaps: list[float] = []
    done = threading.Event()

    def poll(sidecar: Sidecar) -> None:
        while not done.is_set():
            began = time.monotonic()
            assert sidecar.admin("/livez")[0] == 200
            gaps.append(time.monotonic() - began)

    with masked(tmp_path) as (fake, sidecar):
        poller = threading.Thread(target=poll, args=(sidecar,))
        poller.start()
        began = time.monotonic()
        send_now(sidecar, [sent])
        took = time.monotonic() - began
        done.set()
        poller.join()
        fake.block_for_spans(256, 30)

        print(f"{sent.ByteSize() / 1024 / 1024:.1f} MiB in {took:.2f} s; {len(gaps)} polls, the longest took {max(gaps) * 1000:.0f} ms")
        assert len(gaps) > 1
        assert left_of([EMAIL, CARD], b"\0".join(parts(fake.seen.spans()))) == []
