"""AutoGen."""

from __future__ import annotations

from sidecar.enrich.facts import Content, Kind
from tests.enrich.views import facts

UUID = "887a815f-cc97-4a3d-9c04-f73cad689cf2"


def test_an_agent_that_handles_a_message_is_a_step_named_without_its_uuid() -> None:
    found = facts(
        {"recipient_agent_type": f"triage_{UUID}", "message": "{1}", "messaging.operation": "process"}, scope="autogen SingleThreadedAgentRuntime"
    )
    assert (found.kind, found.agent_name, found.input) == (Kind.CHAIN, "triage", Content("{1}", ("message",)))


def test_the_runtimes_queue_is_infrastructure() -> None:
    assert facts({"messaging.operation": "publish"}, scope="autogen SingleThreadedAgentRuntime").kind is Kind.INFRA


def test_an_agents_id_is_given_once() -> None:
    found = facts(
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "triage", "gen_ai.agent.id": f"triage_{UUID}/{UUID}"}, scope="autogen-core"
    )
    assert (found.agent_name, found.agent_id) == ("triage", f"triage_{UUID}")
