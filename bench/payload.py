"""Requests of LLM spans of a given size: about 20 attributes, a prompt and a completion of word-like text."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence

from sidecar.wire import strict_pb2

WORDS = ["".join(random.Random(n).choices("aeioubcdfglmnprst", k=2 + n % 9)) for n in range(4000)]
PLACEHOLDER = b"\x00TRACE-ID-%06d"
"""16 bytes in place of each trace id, exchanged for fresh ones in every copy."""


def text(rng: random.Random, size: int) -> str:
    """Word-like text of ``size`` bytes; frequent words are frequent, as in any language."""
    words: list[str] = []
    length = 0
    while length < size:
        word = WORDS[min(int(rng.paretovariate(0.7)), len(WORDS)) - 1]
        words.append(word)
        length += len(word) + 1
    return " ".join(words)[:size]


class Conversation:
    """What the spans of one trace say: each prompt repeats the system prompt and what was said before, as agents do.

    Rows of five such spans shrink to about a sixth, like the rows of captured agents (5.9 to 6.8).
    """

    def __init__(self, rng: random.Random, system: str) -> None:
        self._rng = rng
        self._system = system
        self._said = ""

    def turn(self, size: int) -> tuple[str, str]:
        """(prompt, completion) of together about ``size`` bytes."""
        completion = text(self._rng, size // 8)
        question = text(self._rng, size // 16)
        history = (self._said + question)[-(size - len(completion)) :]
        prompt = (self._system + text(self._rng, size))[: size - len(completion) - len(history)] + history
        self._said += question + completion
        return prompt, completion


def _add(attributes: object, key: str, value: str | float) -> None:
    entry = attributes.add(key=key)  # type: ignore[attr-defined]  # a repeated field, which has no public type
    if isinstance(value, str):
        entry.value.string_value = value
    elif isinstance(value, int):
        entry.value.int_value = value
    else:
        entry.value.double_value = value


def template(spans: int, span_bytes: int, spans_per_trace: int, seed: int) -> bytes:
    """One serialized request with placeholders for trace ids."""
    rng = random.Random(seed)
    request = strict_pb2.ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    for key, value in (("service.name", "bench"), ("telemetry.sdk.language", "python"), ("deployment.environment.name", "bench")):
        _add(resource_spans.resource.attributes, key, value)
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = "bench.agent"
    system = text(random.Random(0), span_bytes)
    talk = Conversation(rng, system)
    for i in range(spans):
        if i % spans_per_trace == 0:
            talk = Conversation(rng, system)
        start = 1_700_000_000_000_000_000 + i * 1_000_000
        span = scope_spans.spans.add(
            trace_id=PLACEHOLDER % (i // spans_per_trace),
            span_id=rng.randbytes(8),
            parent_span_id=b"" if i % spans_per_trace == 0 else rng.randbytes(8),
            name="chat gpt-4o",
            kind=3,
            start_time_unix_nano=start,
            end_time_unix_nano=start + 900_000_000,
        )
        fields: dict[str, str | float] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.response.model": "gpt-4o-2024-08-06",
            "gen_ai.request.temperature": 0.2,
            "gen_ai.request.max_tokens": 1024,
            "gen_ai.response.id": f"chatcmpl-{rng.getrandbits(96):024x}",
            "gen_ai.response.finish_reasons": "stop",
            "gen_ai.usage.input_tokens": rng.randrange(5000),
            "gen_ai.usage.output_tokens": rng.randrange(900),
            "gen_ai.agent.name": f"agent-{i % 7}",
            "gen_ai.conversation.id": f"chat-{rng.getrandbits(32):08x}",
            "server.address": "api.openai.com",
            "server.port": 443,
            "user.id": f"user-{i % 97}",
            "session.id": f"session-{i % 193}",
            "thread.id": 140_000 + i,
            "thread.name": "asyncio_0",
        }
        for name, number in fields.items():
            _add(span.attributes, name, number)
        room = max(span_bytes - span.ByteSize() - 80, 2)
        prompt, completion = talk.turn(room)
        _add(span.attributes, "gen_ai.input.messages", prompt)
        _add(span.attributes, "gen_ai.output.messages", completion)
    return request.SerializeToString()


class Template:
    """A serialized request whose trace ids are filled in."""

    def __init__(self, body: bytes) -> None:
        pieces = re.split(rb"\x00TRACE-ID-(\d{6})", body)
        self._texts, self._order = pieces[0::2], [int(number) for number in pieces[1::2]]
        self.traces = max(self._order) + 1

    def fill(self, ids: Sequence[bytes]) -> bytes:
        """The request with these trace ids, of 16 bytes each, one for each of its ``traces``."""
        return b"".join([*(text + ids[n] for text, n in zip(self._texts, self._order, strict=False)), self._texts[-1]])


def copies(body: bytes, seed: int) -> Iterator[bytes]:
    """Copies of a template without end, each with trace ids of its own, so that none is a repeated request."""
    rng, form = random.Random(seed), Template(body)
    while True:
        yield form.fill([rng.randbytes(16) for _ in range(form.traces)])
