"""Semantic Kernel."""

from __future__ import annotations

from sidecar.enrich.facts import Kind
from tests.enrich.views import facts


def test_the_loop_around_calls_and_tools_is_a_chain() -> None:
    scope = "semantic_kernel.connectors.ai.chat_completion_client_base"
    assert facts({"sk.available_functions": "Plug-look"}, scope=scope, name="AutoFunctionInvocationLoop").kind is Kind.CHAIN


def test_calls_agents_and_tools_follow_the_conventions() -> None:
    found = facts({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "Plug-look"}, scope="semantic_kernel.functions.kernel_function")
    assert (found.kind, found.tool_name) == (Kind.TOOL, "Plug-look")
    assert facts({"gen_ai.operation.name": "chat"}, scope="semantic_kernel.utils").is_call
