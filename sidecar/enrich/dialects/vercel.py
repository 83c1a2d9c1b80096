"""The Vercel AI SDK: ``ai.*``. An outer span (``ai.generateText``) repeats what its calls (``.doGenerate``) used."""

from __future__ import annotations

from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.dialects.langfuse_sdk import json_object
from sidecar.enrich.dialects.tokens import Counts, counts_in
from sidecar.enrich.facts import Facts, Kind
from sidecar.enrich.view import SpanView


def _kind(view: SpanView) -> Kind | None:
    operation = view.first("ai.operationId", "operation.name")
    if operation is None:
        return None
    operation = operation.partition(" ")[0]
    if operation == "ai.toolCall":
        return Kind.TOOL
    call = operation.rpartition(".")[2]
    if call in ("doEmbed", "doRerank"):
        return Kind.EMBEDDING if call == "doEmbed" else Kind.RETRIEVER
    if call.startswith("do"):
        return Kind.GENERATION
    return Kind.CHAIN if operation.startswith("ai.") else None


def _count(view: SpanView, counts: Counts) -> None:
    if not counts.cache_read and not counts.cache_write:
        return
    if not (view.text("ai.model.provider") or "").startswith(("anthropic", "amazon-bedrock", "google-vertex-anthropic")):
        return
    if "ai.usage.inputTokenDetails.noCacheTokens" in view:
        counts.exclusive = False
        return
    # Before version 6 the input is what the provider says, and Anthropic leaves cached tokens out.
    raw = json_object(view.text("ai.response.providerMetadata")).get("anthropic")
    usage = raw.get("usage") if isinstance(raw, dict) else None
    if isinstance(usage, dict):
        counts.exclusive = counts_in(usage).input == counts.input
    else:
        counts.exclusive = True


def _refine(view: SpanView, facts: Facts) -> None:
    prompt = json_object(view.text("ai.telemetry.metadata.langfusePrompt"))
    name, version = prompt.get("name"), prompt.get("version")
    if facts.prompt_name is None and isinstance(name, str) and name and isinstance(version, int):
        facts.prompt_name, facts.prompt_version = name[:256], version


DIALECT = Dialect("vercel", kind=_kind, count=_count, refine=_refine)
