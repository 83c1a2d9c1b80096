"""Voice agents: LiveKit Agents (``lk.*``) and Pipecat, whose spans are told apart by their names."""

from __future__ import annotations

import msgspec

from sidecar.enrich.dialects import labels
from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.dialects.tokens import Counts
from sidecar.enrich.facts import Error, ErrorKind, Facts, Kind
from sidecar.enrich.view import SpanView

_LIVEKIT = {
    **dict.fromkeys(("agent_turn", "start_agent_activity"), Kind.AGENT),
    "function_tool": Kind.TOOL,
    # A node is the agent's step around the request to its model.
    **dict.fromkeys(("agent_session", "job_entrypoint", "user_turn", "on_enter", "on_exit", "llm_node", "tts_node", "stt_node"), Kind.CHAIN),
}
_PIPECAT = {"conversation": Kind.CHAIN, "turn": Kind.CHAIN}


class _Metrics(msgspec.Struct):
    prompt_cached_tokens: int | None = None


_decoder = msgspec.json.Decoder(_Metrics)


def _livekit(view: SpanView) -> Kind | None:
    return _LIVEKIT.get(view.name)


def _pipecat(view: SpanView) -> Kind | None:
    return Kind.TOOL if view.text("tool.function_name") is not None else _PIPECAT.get(view.name)


def _count(view: SpanView, counts: Counts) -> None:
    metrics = view.text("lk.llm_metrics")
    if metrics is None or counts.cache_read is not None:
        return
    try:
        counts.cache_read = _decoder.decode(metrics).prompt_cached_tokens
    except (msgspec.MsgspecError, RecursionError):
        return


def _refine(view: SpanView, facts: Facts) -> None:
    if facts.kind is Kind.AGENT and facts.agent_name is None:
        facts.agent_name = labels.agent(labels.label(view, ("lk.agent_label",)))
    failed = view.bool("lk.function_tool.is_error") is True or view.text("tool.result_status") == "error"
    if facts.error is None and failed:
        facts.error = Error(ErrorKind.OTHER, "tool_error", "")


LIVEKIT = Dialect("livekit", kind=_livekit, count=_count, refine=_refine)
PIPECAT = Dialect("pipecat", kind=_pipecat, refine=_refine, inputs=("text",), outputs=("transcript", "text_output"))
