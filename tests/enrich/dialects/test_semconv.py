"""The GenAI conventions."""

from __future__ import annotations

import pytest

from sidecar.enrich.facts import Kind, Usage
from tests.enrich.views import facts


@pytest.mark.parametrize(
    ("name", "kind", "agent", "tool"), [("invoke_agent shop", Kind.AGENT, "shop", None), ("execute_tool look up", Kind.TOOL, None, "look up")]
)
def test_span_names_of_the_conventions_tell_what_spans_without_attributes_are(name: str, kind: Kind, agent: str | None, tool: str | None) -> None:
    found = facts(name=name)
    assert (found.kind, found.agent_name, found.tool_name) == (kind, agent, tool)


def test_the_microsoft_agent_framework_speaks_the_conventions() -> None:
    found = facts(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "microsoft.agent_framework",
            "gen_ai.system": "openai",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.input_tokens": "12",
            "gen_ai.usage.output_tokens": 3.0,
            "gen_ai.conversation.id": "c-1",
        },
        scope="agent_framework",
    )
    assert (found.provider, found.usage, found.session_id, found.is_call) == ("openai", Usage(12, 3), "c-1", True)
