"""Signals of agents at work, by the built-in rules and by own ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidecar.enrich.dialects import read_facts
from sidecar.enrich.orchestration import (
    MAX_SIGNALS,
    MAX_TEXT,
    Signal,
    SignalKind,
    parse_orchestration,
    read_signals,
    signal_attributes,
)
from sidecar.wire.attributes import decode
from tests import spans
from tests.enrich.golden import captures, read_capture
from tests.enrich.views import view

BUILTIN: object = yaml.safe_load((Path(__file__).parent.parent.parent / "sidecar/enrich/orchestration.yaml").read_text(encoding="utf-8"))
RULES = parse_orchestration(None, BUILTIN)
DECISION, HANDOFF, CONFLICT, RESOLUTION, HEARTBEAT = SignalKind
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


def found(
    attributes: spans.Attributes | None = None, *events: Span.Event, name: str = "work", scope: str = "tests", rules: list[object] | None = None
) -> tuple[Signal, ...]:
    """The signals of one span, as the whole path reads it; with own rules before the built-in ones."""
    seen = view(attributes, name=name, scope=scope, events=events)
    return read_signals(seen, read_facts(seen), RULES if rules is None else parse_orchestration({"rules": rules}, BUILTIN))


def tool(name: str, arguments: object = None, **more: spans.Value) -> dict[str, spans.Value]:
    given: dict[str, spans.Value] = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name, **more}
    if arguments is not None:
        given["gen_ai.tool.call.arguments"] = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return given


def shown(*signals: Signal) -> dict[str, object]:
    """Metadata by its key, without the prefix."""
    pairs = [decode(raw) for raw in signal_attributes(signals).values()]
    assert [key for key, _ in pairs] == list(signal_attributes(signals))
    return {key.removeprefix("langfuse.observation.metadata."): value for key, value in pairs}


def test_the_corpus_holds_one_handoff_and_nothing_else() -> None:
    """Its conversations ask for handoffs and its routers decide, in texts and tools: none of that is a signal."""
    signals = {
        f"{capture}/{scenario}/{seen.name}": read_signals(seen, facts, RULES)
        for capture in captures()
        for scenario, given in read_capture(capture).items()
        for seen, facts in given
        if read_signals(seen, facts, RULES)
    }

    assert signals == {
        "openai-agents-openinference/handoff/handoff to billing_agent": (
            Signal(HANDOFF, "handoff to billing_agent", target="billing_agent", source="triage_agent"),
        )
    }


@pytest.mark.parametrize(
    ("name", "arguments", "target"),
    [
        ("transfer_to_billing_agent", None, "billing_agent"),
        ("Transfer_To_Refunds", "{}", "Refunds"),
        ("handoff_to_triage", "", "triage"),
        ("transfer_back_to_supervisor", None, "supervisor"),
        ("Handoff-transfer_to_RefundAgent", None, "RefundAgent"),
        ("transfer_to_agent", {"agent_name": "pricing"}, "pricing"),
        ("handoff_to_agent", [{"role": "tool", "content": '{"agent_name": "writer", "message": "go on"}'}], "writer"),
        ("handoff", {"kwargs": {"to_agent": "WriteAgent", "reason": "done"}}, "WriteAgent"),
        ("Delegate work to coworker", {"task": "t", "context": "c", "coworker": "Senior Analyst"}, "Senior Analyst"),
        ("delegate_work_to_coworker", {"coworker": "Analyst"}, "Analyst"),
        ("Delegate work to co-worker", "{'coworker': 'Python repr'}", None),
        ("transfer_to_agent", {"agent_name": 7}, None),
        ("transfer_to_agent", "[" * 5000, None),
        ("transfer_to_agent", {"agent_name": "x", "padding": "p" * 20_000}, None),
    ],
)
def test_the_run_of_a_handoff_tool_is_a_handoff(name: str, arguments: object, target: str | None) -> None:
    attributes = tool(name, arguments, **{"gen_ai.agent.name": "triage"})

    assert found(attributes, name=f"execute_tool {name}") == (Signal(HANDOFF, name, target=target, source="triage" if target != "triage" else None),)


def test_a_uuid_behind_an_agents_name_is_left_out() -> None:
    assert found(tool("transfer_to_worker_887a815f-cc97-4a3d-9c04-f73cad689cf2"))[0].target == "worker"


@pytest.mark.parametrize(
    "name", ["transfer_to_savings_account", "transfer_to_wallet", "transfer", "wire_transfer_to", "lookup_order", "my_transfer_to_x"]
)
def test_other_tools_are_no_handoffs(name: str) -> None:
    assert found(tool(name)) == ()


def test_a_conversation_about_a_handoff_is_none() -> None:
    call = [{"role": "assistant", "parts": [{"type": "tool_call", "name": "transfer_to_billing", "arguments": {}}]}]
    attributes: dict[str, spans.Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.tool.name": "transfer_to_billing",
        "gen_ai.output.messages": json.dumps(call),
        "gen_ai.tool.definitions": '[{"name": "handoff"}]',
    }

    assert found(attributes, spans.event("gen_ai.choice", {"tool": "transfer_to_billing"}), name="chat gpt-4o") == ()
    assert found(attributes, name="handoff to billing") == ()


@pytest.mark.parametrize(
    ("name", "scope", "attributes", "target", "source"),
    [
        (
            "a → b.handoff",
            "opentelemetry.instrumentation.openai_agents",
            {"gen_ai.handoff.from_agent": "a", "gen_ai.handoff.to_agent": "b"},
            "b",
            "a",
        ),
        ("handoff from triage to billing", "sentry", {"gen_ai.operation.name": "handoff"}, "billing", "triage"),
        ("Handoff: {from_agent} → {to_agent}", "logfire.openai_agents", {"from_agent": "a", "to_agent": "b"}, "b", "a"),
        ("handoff", "app", {"target_agent": "pricing"}, "pricing", None),
        ("a2a.client.transports.jsonrpc.JsonRpcTransport.send_message", "a2a-python-sdk", {}, None, None),
    ],
)
def test_spans_of_handoffs_are_known(name: str, scope: str, attributes: Mapping[str, spans.Value], target: str | None, source: str | None) -> None:
    (signal,) = found(attributes, name=name, scope=scope)

    assert (signal.kind, signal.target, signal.source) == (HANDOFF, target, source)


def test_the_server_of_a_handed_over_message_hands_nothing_over() -> None:
    name = "a2a.server.request_handlers.default_request_handler.DefaultRequestHandler.on_message_send"

    assert found(name=name, scope="a2a-python-sdk") == ()
    assert found(name="a2a.client.x.send_message", scope="app") == ()


@pytest.mark.parametrize(
    ("name", "attributes", "signal"),
    [
        ("route", {"decision": "billing", "confidence": 0.8}, Signal(DECISION, "route", "billing", 0.8)),
        ("route", {"agent.decision": "hold", "decision.type": "trade", "decision.confidence": "0.25"}, Signal(DECISION, "trade", "hold", 0.25)),
        ("approve", {"decision": False}, Signal(DECISION, "approve", "false")),
        ("decide_price", {"confidence_score": 1}, Signal(DECISION, "decide_price", confidence=1.0)),
        ("pricing_decision", {}, Signal(DECISION, "pricing_decision")),
        ("route", {"decision": {"to": "billing"}}, Signal(DECISION, "route")),
        ("route", {"decision": "x" * 5000, "confidence": 85}, Signal(DECISION, "route", "x" * 128)),
        ("route", {"decision": "a", "confidence": "high"}, Signal(DECISION, "route", "a")),
        ("route", {"decision": "a", "confidence": -0.5}, Signal(DECISION, "route", "a")),
        ("check", {"conflict.type": "price"}, Signal(CONFLICT, "price")),
        ("check", {"conflict.detected": True, "conflict.severity": "high"}, Signal(CONFLICT, "check", "high")),
        ("check", {"conflict.count": 2}, Signal(CONFLICT, "check")),
        (
            "settle",
            {"resolution.strategy": "vote", "resolution.outcome": "a wins", "resolution.by": "judge"},
            Signal(RESOLUTION, "vote", "a wins", target="judge"),
        ),
        ("resolve_conflict", {}, Signal(RESOLUTION, "resolve_conflict")),
        ("task.heartbeat", {"task.name": "nightly"}, Signal(HEARTBEAT, "nightly")),
        ("loop", {"heartbeat": True, "job.name": "sync", "progress.percent": 42}, Signal(HEARTBEAT, "sync", "42")),
    ],
)
def test_an_applications_own_attributes_and_names_are_signals(name: str, attributes: Mapping[str, spans.Value], signal: Signal) -> None:
    assert found(attributes, name=name) == (signal,)


@pytest.mark.parametrize(
    "attributes",
    [
        {"conflict.detected": False, "conflict.type": "price"},
        {"conflict": "none"},
        {"conflict.count": 0},
        {"conflict.agents": []},
        {"heartbeat": False},
        {"resolution": "1920x1080"},
        {"decision": ""},
        {"confidence": 0.9},
        {"metadata.routing_decision": "cheap"},
        {"heartbeat.interval": 5},
    ],
)
def test_what_says_that_nothing_happened_or_something_else_is_no_signal(attributes: Mapping[str, spans.Value]) -> None:
    assert found(attributes) == ()


def test_a_confidence_alone_is_a_decision_of_an_agent_only() -> None:
    agent: spans.Attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "pricing", "confidence": 0.9}

    assert found(agent, name="invoke_agent pricing") == (Signal(DECISION, "invoke_agent pricing", confidence=0.9, source="pricing"),)
    assert found(tool("transcribe", confidence=0.9)) == ()


def test_infrastructure_shows_no_signals() -> None:
    attributes: spans.Attributes = {"http.request.method": "POST", "confidence": 0.9, "decision": "allow", "heartbeat": True}

    assert found(attributes, spans.event("heartbeat"), name="heartbeat", scope="opentelemetry.instrumentation.httpx") == ()


def test_one_span_may_show_several_kinds() -> None:
    kinds = [signal.kind for signal in found({"decision": "hold", "conflict.type": "price", "resolution.strategy": "vote"}, spans.event("heartbeat"))]

    assert sorted(kinds[:3]) == [CONFLICT, DECISION, RESOLUTION]
    assert kinds[3:] == [HEARTBEAT]


def test_events_are_signals_each_in_their_order_with_their_own_attributes_first() -> None:
    events = [spans.event("task.heartbeat", {"progress": 10}), spans.event("noise"), spans.event("progress", {"percent": 0, "task": "index"})]

    assert found({"task.name": "import"}, *events) == (Signal(HEARTBEAT, "import", "10"), Signal(HEARTBEAT, "index", "0"))
    assert found(None, spans.event("progress", {"message": "still here"})) == ()
    assert found(None, spans.event("decision.made", {"outcome": "buy", "confidence": 0.5}), name="trade") == (Signal(DECISION, "trade", "buy", 0.5),)
    assert found(None, spans.event("handoff", {"from": "a", "to": "b"})) == (Signal(HANDOFF, "work", target="b", source="a"),)


def test_of_too_many_events_the_last_are_kept() -> None:
    events = [spans.event("heartbeat", {"progress": number}) for number in range(100)]
    signals = found({"decision": "go"}, *events)

    assert len(signals) == MAX_SIGNALS
    assert signals[0].kind is DECISION
    assert [signal.outcome for signal in signals[1:]] == [str(number) for number in range(85, 100)]


def test_a_percentage_is_divided_only_where_the_rule_says_percent() -> None:
    def confidence(value: spans.Value, unit: str) -> float | None:
        rule = {"signal": "decision", "match": {"attribute": "verdict"}, "confidence": {"attribute": "sure", "unit": unit}}
        return found({"verdict": "a", "sure": value}, rules=[rule])[0].confidence

    assert [confidence(value, "percent") for value in (85, "50", 100, 0.4, 101, True)] == [0.85, 0.5, 1.0, 0.4, None, None]
    assert [confidence(value, "fraction") for value in (85, "0.5", 1, 0)] == [None, 0.5, 1.0, 0.0]


def test_an_own_rule_wins_over_the_built_in_one() -> None:
    rule = {
        "signal": "handoff",
        "match": {"tool": "transfer_to_*"},
        "name": "escalation",
        "target": {"argument": "desk"},
        "source": {"attribute": "from"},
    }

    assert found(tool("transfer_to_human", {"desk": "second level"}, **{"from": "bot"}), rules=[rule]) == (
        Signal(HANDOFF, "escalation", target="second level", source="bot"),
    )


def test_everything_in_a_match_must_fit() -> None:
    rule = {
        "signal": "decision",
        "match": {"tool": "judge", "span": "execute_tool *", "attribute": "verdict", "value": ["yes*", "no"], "scope": "acme*"},
    }

    def fits(name: str = "execute_tool judge", verdict: str = "yes, sir", scope: str = "acme.app", used: str = "judge") -> bool:
        return bool(found(tool(used, verdict=verdict), name=name, scope=scope, rules=[rule]))

    assert fits()
    assert not fits(name="judge")
    assert not fits(verdict="maybe")
    assert not fits(scope="other")
    assert not fits(used="jury")


def test_the_name_of_a_models_call_counts_only_for_a_rule_that_says_so() -> None:
    call: spans.Attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}
    rule = {"signal": "decision", "match": {"span": "decide*", "kind": ["generation", "agent"]}}

    assert found(call, name="decide_route") == ()
    assert found(call, name="decide_route", rules=[rule]) == (Signal(DECISION, "decide_route"),)
    assert found({**call, "decision": "a"}, spans.event("heartbeat"), name="decide_route") == (Signal(DECISION, "decide_route", "a"),)


def test_metadata_shows_each_kind_and_the_last_of_several() -> None:
    assert shown() == {}
    assert shown(
        Signal(DECISION, "route", "billing", 0.123456),
        Signal(DECISION, "price", confidence=1.0),
        Signal(HANDOFF, "transfer_to_b", target="b", source="a"),
        Signal(CONFLICT, "price"),
        Signal(RESOLUTION, "vote", "a wins", target="judge"),
        Signal(HEARTBEAT, "import", "10"),
    ) == {
        "decision": "price",
        "decision_confidence": "1",
        "handoff": "transfer_to_b",
        "handoff_to": "b",
        "handoff_from": "a",
        "conflict": "price",
        "resolution": "a wins",
        "resolution_by": "judge",
        "heartbeat": "import",
        "heartbeat_progress": "10",
    }
    assert shown(Signal(DECISION, "route", "billing", 0.123456))["decision_confidence"] == "0.1235"


@given(
    st.dictionaries(
        st.sampled_from([*sorted(RULES.keys), "confidence", "to_agent"]), TEXTS | st.booleans() | st.floats() | st.lists(TEXTS, max_size=2)
    ),
    st.sampled_from(["transfer_to_agent", "Delegate work to coworker"]) | TEXTS.map("transfer_to_".__add__),
    TEXTS,
    st.lists(st.sampled_from(["heartbeat", "handoff", "decision", "progress"]), max_size=20),
)
@settings(max_examples=100, deadline=None)
def test_whatever_a_span_holds_its_signals_are_bounded(attributes: dict[str, spans.Value], used: str, text: str, events: list[str]) -> None:
    held = {**tool(used, text), **attributes}
    signals = found(held, *[spans.event(event, attributes) for event in events], name=text)

    assert len(signals) <= MAX_SIGNALS
    for signal in signals:
        texts = [signal.name, *(each for each in (signal.outcome, signal.target, signal.source) if each is not None)]
        assert signal.name
        assert all(len(each) <= MAX_TEXT for each in texts)
        assert signal.confidence is None or 0 <= signal.confidence <= 1
    assert all(decode(raw)[0] == key for key, raw in signal_attributes(signals).items())
