"""Token counts into disjoint buckets. Pure.

Owns the decision whether cached input is inside the input count and reasoning inside the output count. It must not know any key of a span.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from sidecar.enrich.facts import Usage

MAX_TOKENS = 10**10
"""A larger count is no count; the largest context windows have some 10**7 tokens."""
MAX_DEPTH = 4
"""Usage objects of providers nest once or twice."""


class Counts(msgspec.Struct, gc=False):
    """Counts as an instrumentation gives them."""

    input: int | None = None
    output: int | None = None
    total: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    """Every write, for an hour or not."""
    cache_write_1h: int | None = None
    reasoning: int | None = None
    input_audio: int | None = None
    output_audio: int | None = None
    exclusive: bool | None = None
    """Whether ``input`` leaves cached tokens out; None: not known, so the numbers decide."""
    reasoning_outside: bool = False
    """``output`` leaves reasoning out, as Gemini's own counts do."""
    gap_is_reasoning: bool = False
    """What ``total`` has over the sum of the parts is reasoning that nobody named."""

    @property
    def known(self) -> bool:
        """Whether there is any count at all."""
        return self.input is not None or self.output is not None


_NAMES = {
    **dict.fromkeys(
        ("input", "input_tokens", "inputTokens", "prompt_tokens", "promptTokens", "prompt", "promptTokenCount", "prompt_token_count"), "input"
    ),
    **dict.fromkeys(
        (
            "output",
            "output_tokens",
            "outputTokens",
            "completion_tokens",
            "completionTokens",
            "completion",
            "candidatesTokenCount",
            "candidates_token_count",
        ),
        "output",
    ),
    **dict.fromkeys(("total", "total_tokens", "totalTokens", "totalTokenCount", "total_token_count"), "total"),
    **dict.fromkeys(
        (
            "cache_read",
            "cached_tokens",
            "cache_read_tokens",
            "cache_read_input_tokens",
            "cachedInputTokens",
            "cachedContentTokenCount",
            "cached_content_token_count",
            "input_cached_tokens",
            "input_cache_read",
            "input_cached",
        ),
        "cache_read",
    ),
    **dict.fromkeys(
        (
            "cache_creation",
            "cache_write_tokens",
            "cache_creation_tokens",
            "cache_creation_input_tokens",
            "cache_write_input_tokens",
            "input_cache_creation",
            "input_cache_write",
        ),
        "cache_write",
    ),
    **dict.fromkeys(("ephemeral_1h_input_tokens", "input_cache_creation_1h", "cache_creation_1h"), "cache_write_1h"),
    **dict.fromkeys(
        (
            "reasoning",
            "reasoning_tokens",
            "output_reasoning_tokens",
            "output_reasoning",
            "thoughts_tokens",
            "thoughtsTokenCount",
            "thoughts_token_count",
        ),
        "reasoning",
    ),
    **dict.fromkeys(("input_audio", "input_audio_tokens"), "input_audio"),
    **dict.fromkeys(("output_audio", "output_audio_tokens"), "output_audio"),
}


def counts_in(tree: Mapping[str, object]) -> Counts:
    """Counts in a provider's or framework's usage object, whichever of the usual names it uses; the first of equal meaning counts."""
    counts = Counts()
    for name, number in _leaves(tree, "", 0):
        field = _NAMES.get(name)
        if field is not None and getattr(counts, field) is None:
            setattr(counts, field, number)
    if "thoughtsTokenCount" in tree or "thoughts_token_count" in tree:
        counts.reasoning_outside = True
    return counts


def _leaves(tree: Mapping[str, object], side: str, depth: int) -> Iterator[tuple[str, int]]:
    for name, value in tree.items():
        if isinstance(value, bool) or not isinstance(name, str):
            continue
        if isinstance(value, int | float):
            if 0 <= value <= MAX_TOKENS and value == int(value):
                yield (f"{side}_{name}" if name in ("audio", "audio_tokens") and side else name), int(value)
        elif isinstance(value, Mapping) and depth < MAX_DEPTH:
            inner = "input" if name.startswith(("input", "prompt")) else "output" if name.startswith(("output", "completion")) else side
            yield from _leaves(value, inner, depth + 1)


def settle(counts: Counts) -> Usage | None:
    """Disjoint buckets; None when there is no count, or none above 0.

    Whether cached tokens are inside the input: the dialect knows, or the numbers tell (more cached than input, or a total
    that adds them), or the rule of the GenAI conventions holds (inside).
    """
    if not counts.known:
        return None
    fresh, visible = _clean(counts.input), _clean(counts.output)
    others = counts.cache_read or counts.cache_write or counts.cache_write_1h or counts.reasoning or counts.input_audio or counts.output_audio
    if counts.total is None and not others:
        return Usage(fresh, visible) if fresh or visible else None
    read, write, hour = _clean(counts.cache_read), _clean(counts.cache_write), _clean(counts.cache_write_1h)
    reasoning, audio_in, audio_out = _clean(counts.reasoning), _clean(counts.input_audio), _clean(counts.output_audio)
    extra = _clean(counts.total) - fresh - visible if counts.total is not None else 0
    write = max(write, hour)
    cached = read + write
    exclusive = counts.exclusive
    if exclusive is None:
        exclusive = cached > fresh or (cached > 0 and extra in (cached, cached + reasoning))
    if exclusive:
        extra -= cached
    else:
        fresh = max(fresh - cached, 0)
    if reasoning == 0 and counts.gap_is_reasoning and extra > 0:
        reasoning = extra
    elif not counts.reasoning_outside and not (reasoning > 0 and (extra == reasoning or reasoning > visible)):
        visible = max(visible - reasoning, 0)
    usage = Usage(
        input=max(fresh - audio_in, 0),
        output=max(visible - audio_out, 0),
        cache_read=read,
        cache_write=write - hour,
        cache_write_1h=hour,
        reasoning=reasoning,
        input_audio=min(audio_in, fresh),
        output_audio=min(audio_out, visible),
    )
    return usage if usage.total else None


def _clean(number: int | None) -> int:
    return number if number is not None and 0 <= number <= MAX_TOKENS else 0
