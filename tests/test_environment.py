"""The environment variables of Langfuse's users."""

from __future__ import annotations

import pytest

from sidecar.environment import IGNORED, base_url, from_environment


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("LANGFUSE_TRACING_ENABLED", "false", {"receivers": {"discard": True}}),
        ("LANGFUSE_ENABLED", "0", {"receivers": {"discard": True}}),
        ("LANGFUSE_TRACING", "off", {"receivers": {"discard": True}}),
        ("LANGFUSE_TRACING_ENABLED", "true", {}),
        ("LANGFUSE_DEBUG", "1", {"logging": {"level": "debug"}}),
        ("LANGFUSE_FLUSH_INTERVAL", "2.5", {"forward": {"linger_ms": 2500}}),
        ("LANGFUSE_TIMEOUT", "7", {"forward": {"timeout_s": 7}}),
        ("LANGFUSE_FLUSH_AT", "15", {"forward": {"batch_spans": 15}}),
        ("LANGFUSE_SAMPLE_RATE", "0.25", {"sampling": {"probability": 0.25}}),
        ("LANGFUSE_SAMPLING_RATE", "0", {"sampling": {"probability": 0}}),
        ("LANGFUSE_MAX_LATENCY_MS", "250", {"sampling": {"max_latency_ms": 250}}),
        ("LANGFUSE_ENABLE_SAMPLING", "false", {"sampling": {"enabled": False}}),
        ("LANGFUSE_ENABLE_SAMPLING", "1", {"sampling": {"enabled": True}}),
    ],
)
def test_a_known_variable_becomes_a_setting(name: str, value: str, expected: dict[str, object]) -> None:
    problems: list[str] = []

    tree, _ = from_environment({name: value}, problems)

    assert (tree, problems) == (expected, [])


@pytest.mark.parametrize("name", IGNORED)
def test_a_variable_that_cannot_be_followed_is_never_silent(name: str) -> None:
    tree, warnings = from_environment({name: "3"}, [])

    assert tree == {}
    assert [name in warning for warning in warnings] == [True]


def test_nonsense_in_a_known_variable_is_a_problem_with_its_name() -> None:
    problems: list[str] = []

    from_environment({"LANGFUSE_TRACING_ENABLED": "maybe", "LANGFUSE_TIMEOUT": "-1", "LANGFUSE_FLUSH_AT": "nan"}, problems)

    assert sorted(problem.split(":")[0] for problem in problems) == [
        "environment LANGFUSE_FLUSH_AT",
        "environment LANGFUSE_TIMEOUT",
        "environment LANGFUSE_TRACING_ENABLED",
    ]


def test_an_empty_environment_asks_for_nothing() -> None:
    assert from_environment({}, []) == ({}, [])
    assert base_url({}) == ""
