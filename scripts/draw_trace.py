"""Draw docs/trace.svg: a captured trace as Langfuse shows it, sent as it came and sent through the sidecar.

The trace is a member of the corpus; the sidecar's part is the real pipeline with the shipped rules, Langfuse's part the tests' model of
what the server shows (``tests/fakes/langfuse_mapping.py``).
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import CollectorRegistry

from sidecar.config import Enrichment, Masking
from sidecar.mask.hmac_keys import HmacKeys
from sidecar.observe.metrics import Metrics
from sidecar.receive.enrichment import EnrichmentRules, new_enrichment
from sidecar.receive.masking import Masking as Mask
from sidecar.receive.masking import rules_parser
from sidecar.receive.pipeline import Pipeline
from sidecar.rulefiles import RuleFile
from sidecar.wire.batch import decode_protobuf
from sidecar.wire.mend import mend
from tests.corpus import trace_requests
from tests.fakes.langfuse_mapping import Shown, show

PICTURE = Path(__file__).parent.parent / "docs" / "trace.svg"
CAPTURE = "langchain-openlit/sensitive/"
"""A LangGraph agent, instrumented by OpenLIT; a customer writes more than anybody should keep."""
NOW_MS = 1_795_171_666_941

WIDTH, ROW, PAD = 1120, 26, 20
SNIPPET_CHARS, SNIPPET_LINES = 132, 3
COLUMNS = (("type", 0), ("name", 130), ("tokens", 520), ("cost", 620), ("session", 740), ("agent", 860))
COLOURS = {"GENERATION": "#b45309", "AGENT": "#6d28d9", "TOOL": "#0e7490", "CHAIN": "#3f6212", "SPAN": "#57606a"}
PRICES = {"gpt-4o-mini-2024-07-18": {"input": 0.15e-6, "output": 0.6e-6}}
"""What the server's own table knows: it prices what comes without a cost."""
INK, FAINT, WRONG, LINE, PAPER = "#1f2328", "#8b949e", "#cf222e", "#d0d7de", "#ffffff"


class Line(NamedTuple):
    """One observation of the tree."""

    depth: int
    shown: Shown


def trace(request: ExportTraceServiceRequest) -> list[Line]:
    """The largest trace of a request as Langfuse shows it, parents before children."""
    everything = [
        (span, show(span, scope_spans.scope, resource_spans.resource, PRICES))
        for resource_spans in request.resource_spans
        for scope_spans in resource_spans.scope_spans
        for span in scope_spans.spans
    ]
    ((largest, _),) = Counter(span.trace_id for span, _ in everything).most_common(1)
    spans = sorted(((span, shown) for span, shown in everything if span.trace_id == largest), key=lambda each: each[0].start_time_unix_nano)
    known = {span.span_id for span, _ in spans}
    below = defaultdict(list)
    for span, shown in spans:
        below[span.parent_span_id if span.parent_span_id in known else b""].append((span.span_id, shown))

    def walk(parent_id: bytes, depth: int) -> Iterator[Line]:
        for span_id, shown in below[parent_id]:
            yield Line(depth, shown)
            yield from walk(span_id, depth + 1)

    return list(walk(b"", 0))


async def before_and_after() -> tuple[list[Line], list[Line]]:
    """The trace as it was captured, and as it leaves the sidecar."""
    request = ExportTraceServiceRequest()
    for each in trace_requests():
        if each.name.startswith(CAPTURE):
            request.MergeFromString(each.body)
    body = request.SerializeToString()
    batch = decode_protobuf(body)
    mend(batch)
    await _pipeline().process(batch, body, NOW_MS)
    return trace(request), trace(ExportTraceServiceRequest.FromString(batch.request.SerializeToString()))


def _pipeline() -> Pipeline:
    """The daemon's own, with the shipped rules."""
    metrics = Metrics(CollectorRegistry())
    rules = EnrichmentRules(Enrichment(), {})
    for file in rules.files:
        file.load()
    policy = RuleFile("masking.policy", "", rules_parser(Masking(), HmacKeys("k1", {"k1": bytes(32)}), ":memory:"), {})
    policy.load()
    return Pipeline(Mask(policy.value, metrics), new_enrichment(Enrichment(), rules, metrics, logging.getLogger("draw")))


def first_words(lines: Sequence[Line]) -> str:
    """What the customer wrote, as the first generation with input shows it."""
    for _, shown in lines:
        if shown.type == "GENERATION" and shown.input:
            messages = shown.input if isinstance(shown.input, list) else json.loads(str(shown.input))
            texts = [part["content"] for message in messages if message["role"] == "user" for part in message["parts"]]
            return str(texts[0]).split("\n", 1)[0]
    raise ValueError("no generation shows its input")


def panel(title: str, lines: Sequence[Line], y: int, calls: frozenset[int]) -> tuple[list[str], int]:
    """The drawing of one trace from ``y`` on, and where it ends. ``calls`` are the lines that are real model calls."""
    out = [text(PAD, y, title, size=16, weight=700)]
    y += ROW + 4
    out += [text(PAD + x, y, name, colour=FAINT, size=12) for name, x in COLUMNS]
    tokens, cost = 0, 0.0
    for index, (depth, shown) in enumerate(lines):
        y += ROW
        counted, priced = shown.tokens, shown.total_cost or 0.0
        tokens, cost = tokens + counted, cost + priced
        out.append(f'<line x1="{PAD}" x2="{WIDTH - PAD}" y1="{y - 18}" y2="{y - 18}" stroke="{LINE}" stroke-width="0.6"/>')
        out.append(text(PAD, y, shown.type, colour=COLOURS.get(shown.type, INK), size=12, weight=700))
        out.append(text(PAD + 130 + 16 * depth, y, shown.name))
        if counted or index in calls:
            out.append(text(PAD + 520, y, f"{counted:,}", colour=INK if index in calls else WRONG))
            out.append(text(PAD + 620, y, f"${priced:.6f}", colour=INK if index in calls and priced else WRONG))
        out.append(text(PAD + 740, y, shown.session_id or "none", colour=INK if shown.session_id else WRONG))
        agent = shown.metadata.get("agent_name")
        out.append(text(PAD + 860, y, str(agent or "none"), colour=INK if agent else WRONG))
    y += ROW + 2
    is_right = tokens == sum(lines[index].shown.tokens for index in calls)
    out.append(text(PAD + 130, y, "trace", weight=700))
    out.append(text(PAD + 520, y, f"{tokens:,}", weight=700, colour=INK if is_right else WRONG))
    out.append(text(PAD + 620, y, f"${cost:.6f}", weight=700, colour=INK if is_right else WRONG))
    y += ROW
    for line in wrapped(first_words(lines)):
        y += 18
        out.append(text(PAD, y, line, size=12, mono=True))
    return out, y + ROW + 14


def wrapped(sentence: str) -> list[str]:
    """Lines of ``SNIPPET_CHARS``, at most ``SNIPPET_LINES``."""
    lines = re.findall(rf".{{1,{SNIPPET_CHARS}}}(?:\s+|$)", f"input: {sentence}")
    return [line.strip() for line in lines[:SNIPPET_LINES]]


def text(x: int, y: int, content: str, *, colour: str = INK, size: int = 13, weight: int = 400, mono: bool = False) -> str:
    """One line of text."""
    family = "ui-monospace, monospace" if mono else "system-ui, sans-serif"
    style = f'font-family="{family}" font-size="{size}" font-weight="{weight}" fill="{colour}"'
    return f'<text x="{x}" y="{y}" {style}>{escape(content)}</text>'


def picture() -> str:
    """The whole drawing."""
    before, after = asyncio.run(before_and_after())
    calls = frozenset(index for index, line in enumerate(after) if line.shown.type == "GENERATION")
    upper, middle = panel("Sent to Langfuse as it came (red: missing, or counted twice)", before, PAD + 12, calls)
    lower, end = panel("Sent through the sidecar", after, middle + 12, calls)
    rule = f'<line x1="{PAD}" x2="{WIDTH - PAD}" y1="{middle - 16}" y2="{middle - 16}" stroke="{INK}" stroke-width="1"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {end}" width="{WIDTH}" height="{end}" role="img">'
    title = "<title>A trace of a LangGraph agent in Langfuse, before and after</title>"
    paper = f'<rect width="{WIDTH}" height="{end}" rx="8" fill="{PAPER}"/>'
    return "\n".join([head, title, paper, *upper, rule, *lower, "</svg>", ""])


def main() -> int:
    """Write the picture."""
    PICTURE.write_text(picture(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
