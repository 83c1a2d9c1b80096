"""MLflow."""

from __future__ import annotations

import pytest

from sidecar.enrich.facts import Kind, Usage
from tests import spans
from tests.enrich.views import facts

CALL: dict[str, spans.Value] = {"mlflow.spanType": '"CHAT_MODEL"', "model": '"gpt-4o"', "mlflow.llm.model": '"gpt-4o-2024-08-06"'}


def test_values_are_json_once_more() -> None:
    found = facts(
        {**CALL, "mlflow.chat.tokenUsage": '{"input_tokens": 105, "output_tokens": 19, "total_tokens": 124, "cache_read_input_tokens": 100}'}
    )
    assert (found.kind, found.model_requested, found.model_answered) == (Kind.GENERATION, "gpt-4o", "gpt-4o-2024-08-06")
    assert found.usage == Usage(input=5, output=19, cache_read=100)


def test_agents_and_tools_are_named_by_their_spans() -> None:
    assert facts({"mlflow.spanType": '"AGENT"'}, name="support").agent_name == "support"
    assert facts({"mlflow.spanType": '"TOOL"'}, name="look").tool_name == "look"


@pytest.mark.parametrize(("cost", "usd"), [('{"total_cost": 0.5}', 0.5), ('{"total_cost": 0}', None), ('{"total_cost": "x"}', None), ("[]", None)])
def test_a_cost_is_the_total_of_its_object(cost: str, usd: float | None) -> None:
    assert facts({**CALL, "mlflow.llm.cost": cost}).cost_usd == usd
