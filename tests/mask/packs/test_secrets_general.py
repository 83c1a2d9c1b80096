"""Secrets that need no key's name: headers, URLs, commands and files, and what looks like them."""

from __future__ import annotations

import pytest

from sidecar.mask.packs.secrets_general import DETECTORS
from tests.mask.test_windows import reference


def found(text: str) -> set[str]:
    """`name:value` of everything found."""
    raw = text.encode()
    return {f"{DETECTORS[hit.detector].name}:{raw[hit.start : hit.end].decode()}" for hit in reference(DETECTORS, raw)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("amqp://u:p%40ss1@mq/", "url-credentials:u:p%40ss1"),
        ("Authorization: Bearer a8F3k2M9Qz7x", "bearer-token:a8F3k2M9Qz7x"),
        ("curl -u bob:hunter22 https://x", "command-credentials:bob:hunter22"),
        ("docker login -u ann -p hunter2x registry.example.com", "command-password:hunter2x"),
        ("s.login('ann@x.example', 'hunter2x')", "call-password:hunter2x"),
        ("db.example.com:5432:app:ann:hunter2x", "password-file:hunter2x"),
        ("jdbc:oracle:thin:scott/hunter2x@//db:1521/x", "oracle-credentials:scott/hunter2x"),
        ('{"auth": "dXNlcjpwYXNzd29yZDE="}', "registry-credentials:dXNlcjpwYXNzd29yZDE="),
        ("Cookie: theme=dark; sid=a8F3k2M9", "cookie:theme=dark; sid=a8F3k2M9"),
    ],
)
def test_values_are_found_without_what_stands_around_them(text: str, expected: str) -> None:
    assert expected in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://localhost:8080/a@b",
        "Bearer {token}",
        "cookie jar",
        "cookie: SameSite=Lax is recommended",
        "basic training",
        "docker run -p 8080:80 nginx",
        "mkdir -p a/b1 && mysql start",
        "main.go:1042:5:error:E0412",
        "login('user', 'password')",
        '"auth": "oauth2-provider"',
    ],
)
def test_look_alikes_are_left_alone(text: str) -> None:
    assert found(text) == set()
