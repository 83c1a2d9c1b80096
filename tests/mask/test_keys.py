"""Names: spellings, globs, and the built-in tables."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.mask.keys import BUILT_IN_NAMES, IDENTITY_KEYS, MACHINE_KEYS, Generations, Glob, KeyGlobs, words_of

TABLE = KeyGlobs([each.match for each in BUILT_IN_NAMES])
UNLESS = KeyGlobs([each.unless for each in BUILT_IN_NAMES])


def labels(name: str) -> set[str]:
    return {BUILT_IN_NAMES[number].label for number in TABLE.find(name) - UNLESS.find(name)}


def fits(glob: str, name: str) -> bool:
    return bool(KeyGlobs([[glob]]).find(name))


@pytest.mark.parametrize(
    "name",
    [
        "apiKey",
        "api-key",
        "API_KEY",
        "api_key",
        "apikey",
        "APIKey",
        "x-api-key",
        "openai.api_key",
        "OPENAI_API_KEY",
        "keys.api_key.0",
        "apiKeys[3]",
        "\uff41\uff50\uff49_key",
    ],
)
def test_spellings_of_a_name_are_one_name(name: str) -> None:
    assert labels(name) == {"SECRET"}


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("password", "PASSWORD"), ("userPassword", "PASSWORD"), ("db.passwd", "PASSWORD"), ("PWD", "PASSWORD"), ("mysql_pwd", "PASSWORD"), ("password_2", "PASSWORD"), ("passphrase", "PASSWORD"),
        ("Passwort", "PASSWORD"), ("contraseña", "PASSWORD"), ("client_secret", "SECRET"), ("accessToken", "SECRET"), ("refresh-token", "SECRET"), ("id_token", "SECRET"),
        ("http.request.header.authorization", "AUTHORIZATION"), ("Proxy-Authorization", "AUTHORIZATION"), ("headers.cookie.0", "COOKIE"), ("Set-Cookie", "COOKIE"), ("private_key", "PRIVATE_KEY"),
        ("credentials", "CREDENTIALS"), ("sessionKey", "PRIVATE_KEY"), ("X-CSRF-Token", "CSRF_TOKEN"), ("ssn", "SSN"), ("userSSN", "SSN"), ("creditCard", "CARD"), ("cvv", "CVV"), ("card_pin", "PIN"), ("pin", "PIN"),
    ],
)  # fmt: skip
def test_names_of_sensitive_values_are_known(name: str, label: str) -> None:
    assert label in labels(name)


@pytest.mark.parametrize(
    "name",
    [
        "author", "authors", "tokenizer", "max_tokens", "session.id", "token_count", "gen_ai.usage.input_tokens", "llm.token_count.prompt", "token", "valid_tokens", "secretary", "secret_santa", "spin",
        "mapping", "passwordless", "has_password", "password_length", "authorization_url", "private_key_id", "user_api_key_alias", "gen_ai.response.finish_reasons", "content", "role", "opinion",
        "next_page_token", "eos_token", "cookie_policy", "shipping", "key", "id", "hash", "", ".", "...", "[", "0", "_",
    ],
)  # fmt: skip
def test_names_that_look_alike_are_not_taken(name: str) -> None:
    assert labels(name) == set()


@pytest.mark.parametrize(
    "name",
    [
        "user.id",
        "langfuse.user.id",
        "session.id",
        "enduser.id",
        "gen_ai.conversation.id",
        "langfuse.trace.metadata.appUser",
        "traceloop.association.properties.user_id",
        "userId",
    ],
)
def test_names_of_people_and_conversations_are_identities(name: str) -> None:
    assert KeyGlobs([IDENTITY_KEYS]).find(name)


@pytest.mark.parametrize(
    "name",
    [
        "gen_ai.usage.input_tokens",
        "llm.token_count.prompt",
        "max_tokens",
        "trace_id",
        "gen_ai.response.id",
        "gen_ai.tool.call.id",
        "created_at",
        "gen_ai.response.model",
    ],
)
def test_names_of_ids_and_counts_are_known(name: str) -> None:
    assert KeyGlobs([MACHINE_KEYS]).find(name)


@pytest.mark.parametrize("name", ["gen_ai.input.messages", "input.value", "content", "langfuse.observation.input", "status", "description", "phone"])
def test_content_is_neither_an_identity_nor_an_id(name: str) -> None:
    assert not KeyGlobs([MACHINE_KEYS, IDENTITY_KEYS]).find(name)


@pytest.mark.parametrize(
    ("glob", "name", "expected"),
    [
        ("*_pin", "card_pin", True), ("*_pin", "cardPin", True), ("*_pin", "pin", False), ("*_pin", "spin", False), ("pin_*", "pinNumber", True), ("pin_*", "pining", False),
        ("*pin", "spin", True), ("pin*", "pinging", True), ("*a_b*", "xxaByy", True), ("gen_ai.usage.*", "gen_ai.usage.input", True), ("gen_ai.usage.*", "gen_ai.usages", False), ("*", "anything", True),
        ("meta.*user*", "meta.app_user.id", True), ("meta.*user*", "data.user", False), ("api_key", "a.b.api-key", True), ("user.id", "a.user.id", False), ("*.user.id", "a.user.id", True),
        ("internal_*_note", "internal_hr_note", True), ("internal_*_note", "x.internal_hr_note", True), ("internal_*_note", "internal_note", False), ("password", "a" * 300 + ".password", True),
    ],
)  # fmt: skip
def test_globs_fit_words(glob: str, name: str, expected: bool) -> None:
    assert fits(glob, name) is expected


def test_words_of_a_name() -> None:
    assert words_of("HTTPServer.apiKey-2_x") == ["http", "server", "api", "key", "2", "x"]


@given(pattern=st.text("ab*", max_size=8), text=st.text("ab", max_size=10))
@settings(max_examples=300, deadline=None)
def test_a_glob_is_what_the_expression_is(pattern: str, text: str) -> None:
    assert Glob(pattern).fits(text) is bool(re.fullmatch(pattern.replace("*", ".*"), text))


def test_an_escaped_asterisk_is_itself() -> None:
    assert Glob("a\\*b*").fits("a*bc") and not Glob("a\\*b*").fits("axbc")
    assert Glob("*ab*cde*").literal == "cde"


def test_a_glob_of_many_wildcards_is_linear() -> None:
    assert not Glob("*a" * 100 + "b").fits("a" * 100_000)


@given(st.text(max_size=400), st.text(string.ascii_letters + "*_.", max_size=20))
@settings(max_examples=200, deadline=None)
def test_no_name_and_no_glob_raises(name: str, glob: str) -> None:
    assert labels(name) <= {each.label for each in BUILT_IN_NAMES}
    assert fits(glob, name) in {True, False}


def test_a_memory_is_bounded_and_keeps_what_is_used() -> None:
    memory: Generations[int, int] = Generations(4)
    memory.put(0, 0)
    for number in range(1, 100):
        assert memory.get(0) == 0
        memory.put(number, number)

    assert len(memory) <= 8
    assert memory.get(1) is None
