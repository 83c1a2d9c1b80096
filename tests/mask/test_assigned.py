"""Values after `password =` and `token:`, and what only looks like one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.mask import assigned


@pytest.mark.parametrize("value", ["hunter2", "Correct horse battery", "s3cr3t!", "swordfish", "P@ss w0rd"])
def test_any_text_in_quotes_may_be_a_password(value: str) -> None:
    assert assigned.quoted_password(value.encode())


@pytest.mark.parametrize(
    "value", ["string", "***", "${DB}", "<password>", "your_password", "Enter your password", "None", "os.environ", "xxxxxx", "{{ pw }}"]
)
def test_types_references_and_hints_are_no_passwords(value: str) -> None:
    assert not assigned.quoted_password(value.encode())
    assert not assigned.told_password(value.encode())


@pytest.mark.parametrize("value", ["user_password", "config.password", "self.password", "newPassword", "$PASS", "%s"])
def test_names_of_variables_are_no_passwords(value: str) -> None:
    assert not assigned.bare_password(value.encode())


@pytest.mark.parametrize("value", ["hunter2", "Sommer2024!", "x9-Lq2!", "4711", "correct-horse-battery-staple", "%VrcX%1"])
def test_what_is_told_as_a_password_has_more_than_letters(value: str) -> None:
    assert assigned.told_password(value.encode())


@pytest.mark.parametrize("value", ["required", "wrong", "case-sensitive", "résumé", "status=200", "incorrect."])
def test_words_about_passwords_are_left_alone(value: str) -> None:
    assert not assigned.told_password(value.encode())
    assert not assigned.line_password(b"required")


def test_a_passphrase_is_words_that_are_not_said_about_passwords() -> None:
    assert assigned.phrase_password(b"correct horse battery staple")
    assert assigned.phrase_password(b"purple monkey dishwasher")
    assert not assigned.phrase_password(b"correct horse battery")
    assert not assigned.phrase_password(b"ask your manager")
    assert not assigned.phrase_password(b"Purple monkey dishwasher")


@pytest.mark.parametrize("value", ["#password", "!vault", "!Ref DbPassword", "@token"])
def test_selectors_and_tags_are_no_passwords(value: str) -> None:
    assert not assigned.quoted_password(value.encode())


@pytest.mark.parametrize("value", ["a8f3K2m9Qz7xW1", "0123456789abcdef0123", "d41d8cd98f00b204"])
def test_keys_look_drawn_by_chance(value: str) -> None:
    assert assigned.key_value(value.encode())


@pytest.mark.parametrize(
    "value", ["12345678", "2026-01-02T10:00", "./keys/prod.pem", "SecretStr", "my_secret_name", "short1", "https://x.io/a", "os.environ"]
)
def test_numbers_paths_and_names_are_no_keys(value: str) -> None:
    assert not assigned.key_value(value.encode())


def test_a_value_that_merely_follows_needs_sixteen_characters_and_a_digit() -> None:
    assert assigned.random_value(b"a8f3K2m9Qz7xW1bb")
    assert not assigned.random_value(b"a8f3K2m9Qz7x")
    assert not assigned.random_value(b"1234567890123456")


@given(st.binary(max_size=300))
def test_no_bytes_raise(value: bytes) -> None:
    for check in (
        assigned.quoted_password,
        assigned.bare_password,
        assigned.told_password,
        assigned.line_password,
        assigned.phrase_password,
        assigned.key_value,
        assigned.random_value,
    ):
        assert check(value) in {True, False}
