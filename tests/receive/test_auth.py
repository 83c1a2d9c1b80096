from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.config import Auth, BasicAuth, Secret
from sidecar.errors import StartError, Unauthenticated
from sidecar.receive.auth import Guard, public_key_of

KEY = "receivers.http.auth"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def guard(settings: Auth | None) -> Guard:
    return Guard(settings, KEY)


def test_without_settings_everyone_comes_in() -> None:
    open_guard = guard(None)
    open_guard.check(None)
    open_guard.check("Basic whatever")


def test_the_configured_bearer_token_opens() -> None:
    closed = guard(Auth(bearer_token=Secret("s3cret-token")))
    closed.check("Bearer s3cret-token")
    closed.check("bearer   s3cret-token ")


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer s3cret-toke", "Bearer s3cret-token2", "Basic s3cret-token", "s3cret-token", "\udc80"]
)
def test_anything_else_is_unauthenticated(header: str | None) -> None:
    with pytest.raises(Unauthenticated, match=r"receivers\.http\.auth"):
        guard(Auth(bearer_token=Secret("s3cret-token"))).check(header)


def test_the_configured_user_and_password_open() -> None:
    guard(Auth(basic=BasicAuth(username="agent", password=Secret("pass:wörd")))).check(basic("agent", "pass:wörd"))


@pytest.mark.parametrize(
    "header", [basic("agent", "wrong"), basic("other", "password"), "Basic !!!", "Basic", "Bearer password", "Bearer agent:password"]
)
def test_wrong_basic_credentials_are_unauthenticated(header: str) -> None:
    with pytest.raises(Unauthenticated):
        guard(Auth(basic=BasicAuth(username="agent", password=Secret("password")))).check(header)


def test_with_several_credentials_any_one_opens(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("from-file\n")
    both = guard(Auth(bearer_token=Secret("inline"), bearer_token_file=str(token), basic=BasicAuth(username="a", password=Secret("b"))))
    for header in ("Bearer inline", "Bearer from-file", basic("a", "b")):
        both.check(header)
    assert both.challenge == 'Bearer realm="langfuse-sidecar", Basic realm="langfuse-sidecar", charset="UTF-8"'


def test_a_changed_token_file_counts_after_a_reload(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old")
    rotating = guard(Auth(bearer_token_file=str(token)))
    token.write_text("new")
    rotating.check("Bearer old")
    rotating.reload()
    rotating.check("Bearer new")
    with pytest.raises(Unauthenticated):
        rotating.check("Bearer old")


def test_a_reload_that_fails_keeps_the_old_token(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old")
    rotating = guard(Auth(bearer_token_file=str(token)))
    token.write_text("")
    with pytest.raises(StartError, match="empty"):
        rotating.reload()
    rotating.check("Bearer old")


@pytest.mark.parametrize("content", [b"", b"  \n", b"x" * 70_000])
def test_a_token_file_without_one_token_refuses_to_start(tmp_path: Path, content: bytes) -> None:
    token = tmp_path / "token"
    token.write_bytes(content)
    with pytest.raises(StartError, match="bearer_token_file"):
        guard(Auth(bearer_token_file=str(token)))


def test_a_missing_token_file_refuses_to_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="No such file"):
        guard(Auth(bearer_token_file=str(tmp_path / "nowhere")))


def test_a_section_without_any_credential_refuses_to_start_instead_of_opening() -> None:
    with pytest.raises(StartError, match="leave it out"):
        guard(Auth(bearer_token=Secret("")))


def test_credentials_are_not_in_errors_or_repr() -> None:
    closed = guard(Auth(bearer_token=Secret("s3cret-token")))
    with pytest.raises(Unauthenticated) as refused:
        closed.check("Bearer given-token")
    assert "token" not in str(refused.value).replace("bearer_token", "")
    assert "s3cret" not in repr(vars(closed))


@settings(max_examples=100)
@given(header=st.text())
def test_any_header_is_refused_and_never_crashes(header: str) -> None:
    with pytest.raises(Unauthenticated):
        guard(Auth(bearer_token=Secret("t"), basic=BasicAuth(username="a", password=Secret("b")))).check(header)


def test_the_public_key_is_the_header_or_else_the_basic_user_name() -> None:
    assert public_key_of("pk-lf-1", None) == "pk-lf-1"
    assert public_key_of("pk-lf-1", basic("pk-lf-2", "sk")) == "pk-lf-1"
    assert public_key_of(None, basic("pk-lf-2", "sk-lf:x")) == "pk-lf-2"


@pytest.mark.parametrize("authorization", [None, "", "Bearer pk-lf-1", "Basic", "Basic !", "Basic " + base64.b64encode(b"no-colon").decode()])
def test_without_either_there_is_no_public_key(authorization: str | None) -> None:
    assert public_key_of(None, authorization) == ""


def test_a_public_key_is_bounded() -> None:
    assert len(public_key_of("k" * 10_000, None)) == 256
    assert len(public_key_of(None, basic("k" * 10_000, "s"))) == 256
