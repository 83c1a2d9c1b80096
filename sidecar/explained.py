"""An explanation as text for people, at most 120 columns wide.

Owns words and layout. It must not know how an explanation came about.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from sidecar.explain import Explanation, SpanReport

COLUMNS, MAX_INDENT = 120, 10


def explained(found: Explanation) -> Iterator[str]:
    """An explanation for people: what is wrong with requests, a tree of spans for each trace, a line of sums."""
    for request in found.requests:
        if request.mended or request.problems:
            yield from _wrapped(f"request {request.request}", "mended", _counts(request.mended))
            for problem in request.problems:
                yield from _wrapped(f"request {request.request}", "rejected", problem)
    traces: dict[str, list[SpanReport]] = {}
    for span in found.spans:
        traces.setdefault(span.trace_id, []).append(span)
    for trace_id, spans in traces.items():
        yield f"trace {trace_id}"
        for depth, span in _tree(spans):
            pad = "  " * min(depth + 1, MAX_INDENT)
            kind = span.type or span.kind
            parts = (kind if kind == span.kind else f"{kind} ({span.kind})", span.dialect, span.span_id)
            yield from _wrapped(pad, "", f"{'x' if span.left_out else '*'} {span.name[:60]}  [{', '.join(filter(None, parts))}]")
            for label, text in _details(span):
                yield from _wrapped(f"{pad}    ", label, text)
        yield ""
    yield _sums(found)


def _tree(spans: Sequence[SpanReport]) -> Iterator[tuple[int, SpanReport]]:
    """The spans of a trace with their depths, siblings in order of start. Each list of children is taken once, so circles end."""
    ids = {span.span_id for span in spans}
    children: dict[str, list[SpanReport]] = {}
    for span in sorted(spans, key=lambda span: span.start_ns):
        children.setdefault(span.parent_id if span.parent_id in ids else "", []).append(span)
    for start in ("", *list(children)):
        stack = [(0, span) for span in reversed(children.pop(start, []))]
        while stack:
            depth, span = stack.pop()
            yield depth, span
            stack += [(depth + 1, child) for child in reversed(children.pop(span.span_id, []))]


def _details(span: SpanReport) -> Iterator[tuple[str, str]]:
    """Labels and texts; an empty text is not shown."""
    yield "left out", span.left_out
    yield "agent", _pairs(span.agent)
    yield "tool", span.tool
    yield "model", _pairs({"asked": span.model_asked, "answered": span.model_answered, **span.model})
    yield "usage", _counts(span.usage)
    if span.cost is not None:
        price = f"unpriced: {span.cost.unpriced}" if span.cost.unpriced and not span.cost.source else span.cost.source or "left to the server"
        yield "cost", price if span.cost.usd is None else f"{_dollars(span.cost.usd)}, {price}"
    yield "counts", f"nothing: {span.not_counted}" if span.not_counted else ""
    for label, content in (("input", span.input), ("output", span.output)):
        if content is not None:
            fate = f"moved to {content.moved_to}" if content.moved_to else "stays there: Langfuse shows it"
            yield label, f"{_some(content.found_in, 4)} ({content.bytes:,} B), {fate}"
        elif span.is_call:
            yield label, "none found"
    yield "error", span.error
    yield "kept by", f"rule {span.keep_rule}" if span.keep_rule else ""
    yield "sampled", f"by chance, with a probability of {span.base_probability:g}" if span.base_probability < 1 and not span.keep_rule else ""
    sources: dict[str, list[str]] = {}
    for each in span.context:
        sources.setdefault(each.inherited_from, []).append(f"{each.subject} {each.value}")
    yield "context", "; ".join(", ".join(said) + (f" from {source}" if source else "") for source, said in sources.items())
    yield "drift", _pairs(span.drift)
    yield "signals", _pairs(span.signals)
    yield "parent", f"now {span.parent_id or 'none'}; {span.reparented_from} was left out" if span.reparented_from else ""
    yield "mended", _counts(span.mended)
    yield "masked", _some(span.masked) + (f" ({_counts(span.masked_types)})" if span.masked_types else "")
    yield "media", _some(span.media) + (f"; saved {span.media_bytes_saved:,} B" if span.media else "")
    yield "cut", ", ".join(f"{key} (had {size:,} B)" for key, size in span.cut.items())
    for label, changes in (("added", span.added), ("changed", span.changed)):
        if any(change.value for change in changes):
            for change in changes:
                yield label, f"{change.key} = {change.value}"
        else:
            yield label, _some([change.key for change in changes])
    yield "removed", _some(span.removed)


def _sums(found: Explanation) -> str:
    left_out = sum(bool(span.left_out) for span in found.spans)
    rejected = sum(sum(request.rejected.values()) for request in found.requests)
    costs = [span.cost for span in found.spans if span.cost is not None]
    spans = f"requests: {len(found.requests)}; spans: {len(found.spans) - left_out} kept, {left_out} left out, {rejected} rejected"
    if not found.table_date:
        return f"{spans}; enrichment is off (enrichment.enabled)"
    unpriced = sum(bool(cost.unpriced) for cost in costs)
    return f"{spans}; calls: {len(costs)}, unpriced {unpriced}, {_dollars(sum(cost.usd or 0 for cost in costs))}; price table of {found.table_date}"


def _wrapped(pad: str, label: str, text: str) -> list[str]:
    """Lines of at most 120 columns. What a terminal would act upon is shown escaped."""
    plain = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    head = f"{pad}{label:<9}" if label else pad
    return textwrap.wrap(plain, COLUMNS, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False)


def _dollars(usd: float) -> str:
    return f"${usd:.10f}".rstrip("0").rstrip(".")


def _pairs(said: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in said.items() if value)


def _counts(said: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in said.items())


def _some(names: Sequence[str], most: int = 40) -> str:
    return ", ".join([*names[:most], f"and {len(names) - most} more"] if len(names) > most else names)
