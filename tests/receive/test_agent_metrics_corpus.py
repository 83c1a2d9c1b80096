"""The agents' own metrics of the captures: what they count is what was called, and what they call an agent is what its spans carry. And no secret."""

from __future__ import annotations

import asyncio
import functools
import json
from collections import Counter

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from sidecar.config import Enrichment as Settings
from sidecar.config import Masking as MaskingSettings
from sidecar.enrich.facts import Facts
from sidecar.enrich.measures import OPERATIONS
from sidecar.mask.hmac_keys import HmacKeys
from sidecar.observe.metrics import Metrics
from sidecar.receive.masking import Masking, Rules, rules_parser
from sidecar.receive.pipeline import Pipeline
from sidecar.wire.batch import decode_protobuf
from tests.buffer.builders import run
from tests.corpus import planted
from tests.enrich.golden import read_capture
from tests.receive.test_enrichment import Capture, Played, at_once, captures, in_batches, new_parts, one_by_one, play
from tests.spans import Attributes, event, request, span

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def by_label(played: Played, name: str, *labels: str) -> Counter[tuple[str, ...]]:
    found: Counter[tuple[str, ...]] = Counter()
    for family in played.metrics.registry.collect():
        for sample in family.samples:
            if sample.name == name:
                found[tuple(sample.labels[label] for label in labels)] += int(sample.value)
    return found


def truth(capture: Capture) -> list[Facts]:
    """The calls that were made."""
    return [facts for spans in read_capture(capture.name).values() for _, facts in spans if facts.is_call]


def tokens(calls: list[Facts]) -> int:
    return sum(facts.usage.total for facts in calls if facts.usage is not None)


EACH = pytest.mark.parametrize("capture", captures(), ids=lambda each: each.name)


@EACH
def test_calls_tokens_and_failures_are_those_that_were_made(capture: Capture) -> None:
    calls = truth(capture)

    played = run(play(at_once(capture)))

    counted = by_label(played, "sidecar_agent_operations_total", "model")
    errors = by_label(played, "sidecar_agent_errors_total", "kind", "model")
    assert counted.total() - counted["",] == len(calls)
    assert by_label(played, "sidecar_agent_tokens_total").total() == tokens(calls)
    assert sum((Counter({kind: count}) for (kind, model), count in errors.items() if model), Counter[str]()) == Counter(
        facts.error.kind.value for facts in calls if facts.error is not None
    )
    assert_agents_are_those_that_spans_carry(played)


@EACH
def test_tokens_are_the_same_where_each_span_comes_alone(capture: Capture) -> None:
    """Calls are not: a frame without tokens that comes after its call is taken for one of its own. Of two instrumentations that disagree the first counts."""
    played = run(play(one_by_one(capture)))

    assert by_label(played, "sidecar_agent_tokens_total").total() == pytest.approx(tokens(truth(capture)), rel=1e-4)
    assert_agents_are_those_that_spans_carry(played)


@EACH
def test_agents_are_those_that_spans_carry_also_where_traces_are_cut_in_two(capture: Capture) -> None:
    """What waits is completed and counted from the same knowledge."""
    assert_agents_are_those_that_spans_carry(run(play(in_batches(capture))))


def assert_agents_are_those_that_spans_carry(played: Played) -> None:
    kinds = {kind.value for kind in OPERATIONS}
    carried: Counter[tuple[str, ...]] = Counter()
    for shown in played.shown.values():
        if shown.type.lower() in kinds:
            carried[str(shown.metadata.get("agent_name") or "unknown"), shown.type.lower()] += 1
    counted = by_label(played, "sidecar_agent_operations_total", "agent", "operation")

    assert Counter({key: count for key, count in counted.items() if key[1] in kinds}) == carried


@functools.cache
def shipped_rules() -> Rules:
    return rules_parser(MaskingSettings(), HmacKeys("k1", {"k1": bytes(32)}), ":memory:")({})


def scraped(*bodies: bytes) -> str:
    """What /metrics shows of requests that went through masking with the shipped policy, with exemplars."""
    metrics = Metrics(CollectorRegistry())
    mask = Masking(shipped_rules(), metrics)
    pipeline = Pipeline(mask, new_parts(Settings(), metrics))

    async def scenario() -> None:
        for body in bodies:
            processed = await pipeline.process(decode_protobuf(body), body, 0)
            pipeline.count(processed.completed.counted)

    asyncio.run(scenario())
    return choose_encoder(OPENMETRICS)[0](metrics.registry).decode()


@pytest.mark.parametrize("kind", ["email", "card", "us_ssn", "iban", "jwt", "openai_key", "aws_access_key_id", "github_token", "slack_token"])
def test_a_secret_as_an_agents_name_is_masked_in_its_label(kind: str) -> None:
    for secret in [each.value for each in planted() if each.type == kind]:
        agent: Attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": f"agent of {secret}"}

        text = scraped(request(span(attributes=agent)).SerializeToString())

        assert secret not in text
        assert 'sidecar_agent_operations_total{agent="agent of [' in text


def test_no_other_text_of_a_span_is_in_any_label() -> None:
    """Nothing here looks like a secret to a detector, so only where labels come from keeps it out."""
    private = "blue-elephant"
    call: Attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": private,
        "gen_ai.response.model": private,
        "gen_ai.system": private,
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": private}]}]),
        "error.type": private,
        "user.id": private,
        "session.id": private,
    }
    tool: Attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": f"transfer_to_{private}",
        "gen_ai.tool.call.arguments": json.dumps({"agent": private}),
    }
    decision: Attributes = {"agent.decision": private, "agent.decision.confidence": 0.5, "agent.conflict": private}
    spans = [
        span(name=private, attributes=attributes, span_id=bytes([number]) * 8, error=private, events=[event(private)])
        for number, attributes in enumerate((call, tool, decision), 1)
    ]

    text = scraped(request(*spans, resource={"service.name": private}, scope=private).SerializeToString())

    assert private not in text
    assert 'sidecar_agent_tokens_total{agent="unknown",model="other",operation="generation",provider="other",type="input"} 7.0' in text
    assert 'sidecar_agent_signals_total{agent="unknown",signal="handoff"} 1.0' in text
