"""The plan of a span: which of its keys hold which fact. Made once for spans with equal scope and keys. Pure.

Owns the memory of plans. It must not read values: those differ from span to span.

Spans of one instrumentation at one place in the code have the same keys in the same order, so most of the look-ups need to be
done only once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from operator import itemgetter
from sys import intern

from msgspec.structs import replace

from sidecar.enrich.dialects import labels
from sidecar.enrich.dialects.detect import dialect_of
from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.dialects.keys import DECLARATIONS, FIELDS, GENAI_PREFIXES, INFRA_PREFIXES, MODEL_KEYS, OPERATION, TOOL_KEYS
from sidecar.enrich.dialects.sources import Sources, sources_of
from sidecar.enrich.facts import Facts, Kind
from sidecar.enrich.recent import Recent
from sidecar.enrich.traits import Traits, traits_of
from sidecar.enrich.view import SpanView
from sidecar.wire.attributes import Value

MAX_KEYS = 64
MAX_CHARACTERS = 2048
"""Of all keys of a plan that is remembered, and of the scope's name; and of all names whose facts are."""

FEW_KEYS = 24
"""Spans with more are looked at for lists of messages that were flattened into keys."""
_LISTS = (
    "llm.input_messages.",
    "llm.output_messages.",
    "llm.tools.",
    "llm.request.functions.",
    "gen_ai.prompt.",
    "gen_ai.completion.",
    "retrieval.documents.",
    "reranker.output_documents.",
    "embedding.embeddings.",
)
"""Their first two parts differ."""
_LIST_LINES = tuple(f"\n{prefix}" for prefix in _LISTS)

_FIELDS_OF: dict[str, list[tuple[str, int]]] = {}
for _field, _keys in FIELDS.items():
    for _rank, _key in enumerate(_keys):
        _FIELDS_OF.setdefault(_key, []).append((_field, _rank))

Reader = Callable[[SpanView, tuple[str, ...]], str | None]
_NAMES: dict[str, tuple[str, Reader]] = {
    "agent_id": ("agent_id", labels.label),
    "tool_call_id": ("tool_call_id", labels.label),
    "trace_name": ("trace_name", labels.label),
    "user": ("user_id", labels.identity),
    "session": ("session_id", labels.identity),
}
"""By field: the attribute of Facts and who reads it."""
_FEW: dict[str, tuple[str, Reader]] = {
    "agent_version": ("agent_version", labels.label),
    "model_requested": ("model_requested", labels.label),
    "model_answered": ("model_answered", labels.label),
    "service_tier": ("service_tier", labels.label),
    "agent_name": ("agent_name", labels.agent_label),
    "provider": ("provider", labels.provider),
}
"""Likewise, of what has few values: the same ones come again and again."""
_COUNTS = {
    "input_tokens": "input",
    "output_tokens": "output",
    "total_tokens": "total",
    "cache_read": "cache_read",
    "cache_write": "cache_write",
    "cache_write_1h": "cache_write_1h",
    "reasoning": "reasoning",
    "input_audio": "input_audio",
    "output_audio": "output_audio",
}


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What is known of a span from its scope and keys alone."""

    dialect: Dialect
    declarations: tuple[tuple[str, Mapping[str, Kind]], ...]
    fallback: Kind
    """What the span is when nothing on it says so."""
    fields: Mapping[str, tuple[str, ...]]
    """The keys of a field that the span has, the most trusted first."""
    names: tuple[tuple[str, tuple[str, ...], Reader], ...]
    """Attributes of Facts that one text holds, with their keys and readers."""
    few: tuple[tuple[str, tuple[str, ...], Reader], ...]
    """Likewise, those that have few values."""
    few_by: str
    """Stands for all that ``few``, and what the span is, are worked out by beside values; equal for many plans, and one object then."""
    few_said: Callable[[Mapping[str, Value]], object] | None
    """All that declarations and those attributes are read from, as one key; None when there are none."""
    decides_kind: bool
    """Declarations and keys alone tell what the span is: the dialect has no rule of its own."""
    counts: tuple[tuple[str, tuple[str, ...]], ...]
    """Attributes of Counts with their keys."""
    sources: Sources
    traits: Traits
    may_fail: bool
    """A key may say that the span failed, whatever its status."""
    times_first_token: bool
    """A key says when the first token came."""


def make_plan(scope: str, keys: Collection[str]) -> Plan:
    """The plan for spans with this scope name and these keys."""
    there = dict.fromkeys(keys).keys()
    dialect = dialect_of(scope, there)
    present: dict[str, list[tuple[int, str]]] = {}
    for key in keys:
        for field, rank in _FIELDS_OF.get(key, ()):
            present.setdefault(field, []).append((rank, key))
    fields = {field: tuple(key for _, key in sorted(found)) for field, found in present.items()}
    declarations = tuple((key, kinds) for key, kinds in DECLARATIONS.items() if key in there)
    few = tuple((name, fields[field], reader) for field, (name, reader) in _FEW.items() if field in fields)
    few_keys = dict.fromkeys((*(key for key, _ in declarations), *(key for _, keys, _ in few for key in keys)))
    counts = tuple((name, fields[field]) for field, name in _COUNTS.items() if field in fields)
    sources = sources_of(scope, there, dialect.inputs, dialect.outputs)
    fallback = _fallback(there)
    decides_kind = dialect.kind is None and dialect.undeclared is None
    beside = (fallback, bool(counts), bool(sources.inputs or sources.outputs), OPERATION in there, decides_kind)
    return Plan(
        dialect,
        declarations,
        fallback,
        fields,
        tuple((name, fields[field], reader) for field, (name, reader) in _NAMES.items() if field in fields),
        few,
        intern(repr((dialect.name, tuple(few_keys), [each[:2] for each in few], beside))),
        itemgetter(*few_keys) if few_keys else None,
        decides_kind,
        counts,
        sources,
        traits_of(there),
        "error_type" in fields or "level" in fields,
        "first_token_s" in fields or "first_token_ms" in fields or "completion_start" in fields,
    )


def _fallback(keys: AbstractSet[str]) -> Kind:
    if not keys.isdisjoint(TOOL_KEYS):
        return Kind.TOOL
    if not keys.isdisjoint(MODEL_KEYS):
        return Kind.GENERATION
    if any(key.startswith(INFRA_PREFIXES) for key in keys) and not any(key.startswith(GENAI_PREFIXES) for key in keys):
        return Kind.INFRA
    return Kind.SPAN


def _collapsed(keys: Iterable[str]) -> tuple[str, ...]:
    """The keys with one for each list of messages: how long a conversation is makes no difference for the plan."""
    seen: set[str] = set()
    kept = []
    for key in keys:
        if key.startswith(_LISTS):
            prefix = key[: key.index(".", key.index(".") + 1)]
            if prefix in seen:
                continue
            seen.add(prefix)
        kept.append(key)
    return tuple(kept)


class Plans:
    """Remembers plans, and the facts that their spans' few names tell.

    At least the 1,024 key-sets that were used last are remembered. A plan and its keys take 2 KB (20 keys, of which ten are
    read), at most 9 KB (64 keys, all read, 2,048 characters, ASCII only). Bound: 2,048 plans x 9 KB = 18 MB; a busy deployment
    with a hundred key-sets needs 0.2 MB. Keys are chosen by users, so spans with more or longer keys get a plan of
    their own every time. Facts: 1,024 x 8 KB (``MAX_CHARACTERS`` of names, as they are and as they are read, and of the keys they are
    read from, ASCII only) = 8 MB; usually 0.6 MB.
    """

    def __init__(self, entries: int = 2048, facts: int = 1024) -> None:
        self._plans: Recent[tuple[str, ...], Plan] = Recent(entries)
        self._facts: Recent[tuple[str, object], Facts] = Recent(facts)

    def __len__(self) -> int:
        return len(self._plans)

    def plan(self, view: SpanView) -> Plan:
        """The plan for this span; its traits are left with the view."""
        keys: Iterable[str] = view.keys
        if len(view.keys) > FEW_KEYS and any(prefix in view.lines for prefix in _LIST_LINES):
            keys = _collapsed(keys)
        signature = (view.scope_name, *keys)
        plan = self._plans.get(signature)
        if plan is None:
            plan = make_plan(view.scope_name, signature[1:])
            if len(signature) <= MAX_KEYS + 1 and _is_small(signature):
                self._plans.put(signature, plan)
        view.traits = plan.traits
        return plan

    def facts(self, view: SpanView, plan: Plan, read: Callable[[SpanView, Plan], Facts]) -> Facts:
        """The caller's own copy of what ``read`` makes of ``plan.few`` and the declarations, which it must read from nothing else."""
        if plan.few_said is None:
            return read(view, plan)
        key = (plan.few_by, plan.few_said(view.values))
        try:
            known = self._facts.get(key)
        except TypeError:  # a list or a map where a name should be
            return read(view, plan)
        if known is None:
            known = read(view, plan)
            said = key[1] if isinstance(key[1], tuple) else key[1:]
            if all(isinstance(text, str) for text in said) and _is_small(said):  # 1 equals True and 1.0, and none of them is a name
                self._facts.put(key, known)
        return replace(known)


def _is_small(texts: tuple[str, ...]) -> bool:
    return sum(map(len, texts)) <= MAX_CHARACTERS and all(map(str.isascii, texts))
