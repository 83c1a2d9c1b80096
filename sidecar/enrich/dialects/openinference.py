"""OpenInference (Arize): LangChain, LlamaIndex, OpenAI agents, CrewAI, agno, smolagents, DSPy, Haystack, LiteLLM and others."""

from __future__ import annotations

import msgspec

from sidecar.enrich.dialects import labels
from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.facts import Facts, Kind
from sidecar.enrich.view import SpanView

MAX_METADATA = 64 * 1024
"""Characters of ``metadata`` that are read: LangChain's are below 1 KiB."""

_METHOD = (".__call__", ".run", ".forward", ".call", ".acall", ".invoke", ".ainvoke")


class _Metadata(msgspec.Struct):
    """What is read of LangChain's metadata."""

    lc_agent_name: object = None
    session_id: object = None
    conversation_id: object = None
    thread_id: object = None
    user_id: object = None
    langfuse_session_id: object = None
    langfuse_user_id: object = None
    ls_provider: object = None


class _Parameters(msgspec.Struct):
    """What is read of a request's parameters."""

    model: object = None
    user: object = None


_decoder = msgspec.json.Decoder(_Metadata)
_parameters = msgspec.json.Decoder(_Parameters)


def _kind(view: SpanView) -> Kind | None:
    # LlamaIndex calls everything a method of its LLM classes does LLM, what prepares a call as well.
    return Kind.CHAIN if "._prepare_" in view.name else None


def _refine(view: SpanView, facts: Facts) -> None:
    if facts.model_answered is None and facts.usage is not None:
        # Without a request's own key, llm.model_name is the model that answered.
        facts.model_answered = facts.model_requested
        facts.model_requested = view.text("llm.request.model_name")
    if facts.is_call:
        _read_parameters(view, facts)
    if facts.kind is Kind.AGENT and facts.agent_name is None:
        # The span of a whole run of OpenAI's agents is an AGENT too; its name is the workflow's.
        own_name = None if view.scope_name.endswith(".openai_agents") else _plain(view.name)
        facts.agent_name = labels.agent(labels.label(view, ("graph.node.name",)) or _node(view) or own_name)
    elif facts.kind is Kind.TOOL and facts.tool_name is None:
        facts.tool_name = _plain(view.name) or None
    metadata = view.text("metadata")
    if metadata is not None and len(metadata) <= MAX_METADATA:
        read_metadata(metadata, facts)


def _read_parameters(view: SpanView, facts: Facts) -> None:
    """The model and the end user that the caller asked for, where nothing else tells."""
    text = view.text("llm.invocation_parameters")
    if text is None or len(text) > MAX_METADATA or (facts.user_id is not None and facts.model_requested is not None):
        return
    try:
        said = _parameters.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return
    if facts.model_requested is None and isinstance(said.model, str) and said.model:
        facts.model_requested = said.model[: labels.MAX_NAME]
    facts.user_id = facts.user_id or _id(said.user)


def _node(view: SpanView) -> str | None:
    """``graph.node.id``: CrewAI's role; a hash in agno, which is no name."""
    return labels.agent(labels.label(view, ("graph.node.id",)))


def _plain(name: str) -> str:
    for suffix in _METHOD:
        name = name.removesuffix(suffix)
    return name[: labels.MAX_NAME]


def read_metadata(text: str, facts: Facts) -> None:
    """Fill what LangChain's metadata (a JSON object) says and the span does not."""
    try:
        said = _decoder.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return
    if isinstance(said.lc_agent_name, str):
        facts.agent_name = labels.agent(said.lc_agent_name) or facts.agent_name
    facts.session_id = facts.session_id or _id(said.langfuse_session_id, said.session_id, said.conversation_id, said.thread_id)
    facts.user_id = facts.user_id or _id(said.langfuse_user_id, said.user_id)
    if facts.provider is None and isinstance(said.ls_provider, str):
        facts.provider = said.ls_provider[: labels.MAX_NAME] or None


def _id(*values: object) -> str | None:
    for value in values:
        if (isinstance(value, str) and value) or (isinstance(value, int) and not isinstance(value, bool)):
            return str(value)[: labels.MAX_ID]
    return None


DIALECT = Dialect("openinference", kind=_kind, refine=_refine)
