"""Values that their key names, in every notation, and code and prose that only talk about them."""

from __future__ import annotations

import pytest

from sidecar.mask.packs.secrets_assigned import DETECTORS
from tests.mask.test_windows import reference


def found(text: str) -> set[str]:
    """`name:value` of everything found."""
    raw = text.encode()
    return {f"{DETECTORS[hit.detector].name}:{raw[hit.start : hit.end].decode()}" for hit in reference(DETECTORS, raw)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DB_PASSWORD=hunter2x", "password-bare:hunter2x"),
        ("password: 'correct horse battery'", "password-quoted:correct horse battery"),
        ("das Passwort lautet Sommer2024", "password-told:Sommer2024"),
        ("the admin password (temporary) is hunter2x", "password-told:hunter2x"),
        ("**Password:** hunter2x", "password-told:hunter2x"),
        ("| password | hunter2x |", "password-told:hunter2x"),
        ("密码是：hunter2x", "password-told:hunter2x"),  # noqa: RUF001 - written so in Chinese
        ('os.environ["DB_PASSWORD"] = "hunter2x"', "password-quoted:hunter2x"),
        ('let password: &str = "hunter2x";', "password-quoted:hunter2x"),
        ('{"name": "DB_PASSWORD", "value": "hunter2x"}', "password-quoted:hunter2x"),
        ("- name: DB_PASSWORD\n  value: hunter2x", "password-told:hunter2x"),
        ("password: swordfish\nx", "password-line:swordfish"),
        ("password: correct horse battery staple", "password-phrase:correct horse battery staple"),
        ("<db:admin_password>hunter2x</db:admin_password>", "password-element:hunter2x"),
        ("log in with hunter2x as the admin password", "password-as:hunter2x"),
        ("bob, pw: hunter2x", "password-short:hunter2x"),
        ('variable "db_password" {\n  default = "hunter2x"', "password-default:hunter2x"),
        ("create user a identified by 'hunter2x'", "password-identified:hunter2x"),
        ("secret: a8F3k2M9Qz7xW1b2", "secret-bare:a8F3k2M9Qz7xW1b2"),
        ('<add key="ApiKey" value="a8F3k2M9Qz7xW1b2" />', "secret-quoted:a8F3k2M9Qz7xW1b2"),
        ("<access_token>a8F3k2M9Qz7xW1b2</access_token>", "secret-element:a8F3k2M9Qz7xW1b2"),
        ("my api key is a8F3k2M9Qz7xW1b2", "secret-told:a8F3k2M9Qz7xW1b2"),
        ('{\\"api_key\\": \\"a8F3k2M9Qz7xW1b2\\"}', "secret-quoted:a8F3k2M9Qz7xW1b2"),
    ],
)
def test_values_are_found_without_what_stands_around_them(text: str, expected: str) -> None:
    assert expected in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "secret santa",
        "def f(password: str, token: str) -> None:",
        "max_tokens=4096",
        "token_count: 12",
        "api_key=os.environ['K']",
        "password=get_password()",
        "password: ${DB}",
        "the password is required",
        "token: <your token>",
        "self.password = password",
        "token_usage: a8F3k2M9Qz7xW1b2",
        "password: !vault |",
        "password: ask your manager",
        "pw = 1024",
        "secret: SecretStr | None",
        "- name: PASSWORD\n  valueFrom: x",
    ],
)
def test_look_alikes_are_left_alone(text: str) -> None:
    assert found(text) == set()
