"""What keys alone say about a span's shape."""

from __future__ import annotations

import pytest

from sidecar.enrich.traits import Traits, traits_of

NOTHING = Traits(
    is_explicit=False,
    speaks_by=(),
    speaks_at=(),
    has_environment=False,
    models=(),
    is_counted=False,
    has_cost=False,
    has_instructions=False,
    has_tool=False,
    has_user=False,
    has_session=False,
    has_trace_name=False,
    has_tags=False,
)


def said(*keys: str) -> dict[str, object]:
    """The traits that spans with these keys have and spans without keys have not."""
    traits = traits_of(keys)
    return {name: getattr(traits, name) for name in Traits.__struct_fields__ if getattr(traits, name) != getattr(NOTHING, name)}


@pytest.mark.parametrize(
    ("keys", "traits"),
    [
        ((), {}),
        (("http.url", "my.langfuse.key", "x.gen_ai.usage.input_tokens"), {}),
        (("langfuse.anything",), {"is_explicit": True}),
        (
            ("deployment.environment",),
            {"has_environment": True, "speaks_by": (b"deployment.environment",), "speaks_at": ((0, b"deployment.environment\x12"),)},
        ),
        (("gen_ai.request.model",), {"models": ("gen_ai.request.model",), "is_counted": True}),
        (("gen_ai.usage.input_tokens",), {"is_counted": True}),
        (("http.url", "llm.token_count.prompt"), {"is_counted": True}),
        (("gcp.vertex.agent.llm_response",), {"is_counted": True}),
        (("llm.cost.total",), {"has_cost": True, "is_counted": True}),
        (("langfuse.observation.model.name",), {"is_explicit": True, "is_counted": True}),
        (("gen_ai.system_instructions",), {"has_instructions": True}),
        (("gen_ai.tool.name",), {"has_tool": True}),
        (("user.id",), {"has_user": True, "speaks_by": (b"user.id",), "speaks_at": ((0, b"user.id\x12"),)}),
        (
            ("langfuse.session.id",),
            {"is_explicit": True, "has_session": True, "speaks_by": (b"langfuse.session.id",), "speaks_at": ((0, b"langfuse.session.id\x12"),)},
        ),
        (("gen_ai.conversation.id",), {"speaks_by": (b"gen_ai.conversation.id",), "speaks_at": ((0, b"gen_ai.conversation.id\x12"),)}),
        (
            ("langfuse.trace.metadata.tier",),
            {"is_explicit": True, "speaks_by": (b"langfuse.trace.",), "speaks_at": ((0, b"langfuse.trace.metadata.tier\x12"),)},
        ),
        (
            ("langfuse.trace.name",),
            {"is_explicit": True, "has_trace_name": True, "speaks_by": (b"langfuse.trace.",), "speaks_at": ((0, b"langfuse.trace.name\x12"),)},
        ),
        (("langfuse.tags",), {"is_explicit": True, "has_tags": True, "speaks_by": (b"langfuse.tags",), "speaks_at": ((0, b"langfuse.tags\x12"),)}),
    ],
)
def test_keys_tell_which_rules_can_apply(keys: tuple[str, ...], traits: dict[str, object]) -> None:
    assert said(*keys) == traits


def test_models_come_in_the_servers_order_whatever_the_order_on_the_span() -> None:
    assert traits_of(("model", "gen_ai.request.model", "gen_ai.response.model")).models == ("gen_ai.response.model", "gen_ai.request.model", "model")


def test_keys_that_speak_for_a_trace_come_with_their_places_and_with_those_of_an_agent() -> None:
    agent = "langfuse.observation.metadata.agent_name"
    traits = traits_of(("http.url", "user.id", agent, "langfuse.trace.metadata.a", "langfuse.trace.metadata.b"))
    assert traits.speaks_by == (b"user.id", b"langfuse.trace.", b"langfuse.observation.metadata.agent_")
    assert [place for place, _ in traits.speaks_at] == [1, 2, 3, 4]


def test_an_agent_that_a_span_names_on_its_own_says_nothing_of_the_trace() -> None:
    assert traits_of(("langfuse.observation.metadata.agent_name",)).speaks_by == ()
