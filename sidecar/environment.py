"""The environment variables that Langfuse's users know, as a configuration tree. Pure.

``LANGFUSE_BASE_URL``, ``LANGFUSE_PUBLIC_KEY``, ``LANGFUSE_SECRET_KEY`` and ``SIDECAR_DATA_DIR`` are
not here: the default configuration names them as ``${env:...}``.
"""

from __future__ import annotations

from collections.abc import Mapping

OFF = frozenset({"0", "false", "no", "off"})
ON = frozenset({"1", "true", "yes", "on"})


def from_environment(env: Mapping[str, str], problems: list[str]) -> tuple[dict[str, object], list[str]]:
    """The settings that the environment asks for, and warnings about those that can't be followed."""
    tree: dict[str, dict[str, object]] = {}
    warnings: list[str] = []

    def put(section: str, key: str, value: object) -> None:
        tree.setdefault(section, {})[key] = value

    for name in ("LANGFUSE_TRACING_ENABLED", "LANGFUSE_ENABLED", "LANGFUSE_TRACING"):
        if _switch(env, name, problems) is False:
            put("receivers", "discard", True)
            warnings.append(f"{name} is off: every span is accepted, counted `filtered` and discarded")
    if _switch(env, "LANGFUSE_DEBUG", problems):
        put("logging", "level", "debug")
    flush_at = _number(env, "LANGFUSE_FLUSH_AT", problems)
    if flush_at is not None:
        put("forward", "batch_spans", max(1, int(flush_at)))
    for name, (section, key, factor) in NUMBERS.items():
        number = _number(env, name, problems)
        if number is not None:
            put(section, key, number * factor)
    sampling = _switch(env, "LANGFUSE_ENABLE_SAMPLING", problems)
    if sampling is not None:
        put("sampling", "enabled", sampling)
    for name, key in ENRICHMENT.items():
        if value := env.get(name, "").strip():
            put("enrichment", key, value)
    for name, reason in IGNORED.items():
        if env.get(name):
            warnings.append(f"{name} is set but has no effect: {reason}")
    return dict(tree), warnings


IGNORED: Mapping[str, str] = {
    "LANGFUSE_MAX_RETRIES": "retries are bounded by the buffer's age (buffer.max_age_h), not by a count",
    "LANGFUSE_BUFFER_SIZE": "the buffer is bounded in bytes (buffer.max_mib), not in events",
}
"""Known variables that this version can't follow, and why; setting one is never silent."""


NUMBERS: Mapping[str, tuple[str, str, float]] = {
    "LANGFUSE_FLUSH_INTERVAL": ("forward", "linger_ms", 1000),
    "LANGFUSE_TIMEOUT": ("forward", "timeout_s", 1),
    "LANGFUSE_SAMPLE_RATE": ("sampling", "probability", 1),
    "LANGFUSE_SAMPLING_RATE": ("sampling", "probability", 1),
    "LANGFUSE_MAX_LATENCY_MS": ("sampling", "max_latency_ms", 1),
}
"""Variables that are a setting in another unit; of two for one setting the later wins."""
ENRICHMENT: Mapping[str, str] = {
    "LANGFUSE_ENVIRONMENT": "environment",
    "LANGFUSE_TRACING_ENVIRONMENT": "environment",
    "LANGFUSE_RELEASE": "release",
}
"""Variables whose text is a setting's; of two for one setting the later wins."""


def base_url(env: Mapping[str, str]) -> str:
    """``LANGFUSE_BASE_URL``, else its old name ``LANGFUSE_HOST``, else empty."""
    return env.get("LANGFUSE_BASE_URL") or env.get("LANGFUSE_HOST") or ""


def _switch(env: Mapping[str, str], name: str, problems: list[str]) -> bool | None:
    text = env.get(name, "").strip().lower()
    if not text:
        return None
    if text in OFF or text in ON:
        return text in ON
    problems.append(f"environment {name}: expected true or false")
    return None


def _number(env: Mapping[str, str], name: str, problems: list[str]) -> float | None:
    text = env.get(name, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        problems.append(f"environment {name}: expected a number that is not negative")
        return None
    return value
