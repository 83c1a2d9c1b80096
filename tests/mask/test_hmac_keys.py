"""How the keys of pseudonyms are written."""

from __future__ import annotations

import pytest

from sidecar.errors import ConfigError
from sidecar.mask.hmac_keys import KEYS_MAX, HmacKeys, parse_hmac_keys

OLD, NEW = "o" * 16, "n" * 20


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_hmac_keys(text, "masking.hmac_key")
    return list(caught.value.problems)


def test_a_bare_secret_is_k1() -> None:
    keys = parse_hmac_keys(f"  {OLD}\n", "x")

    assert (keys.current, keys.ids) == ("k1", ("k1",))
    assert keys.key("k1") == parse_hmac_keys(f"k1:{OLD}", "x").key("k1")
    assert keys.key("k1") != parse_hmac_keys(NEW, "x").key("k1")


def test_the_first_line_is_used_and_the_others_are_known() -> None:
    keys = parse_hmac_keys(f"k2:{NEW}\n\nk1: {OLD}\n", "x")

    assert (keys.current, keys.ids) == ("k2", ("k2", "k1"))
    assert keys.key("k1") == parse_hmac_keys(OLD, "x").key("k1")


def test_long_keys_count_to_their_last_byte() -> None:
    assert parse_hmac_keys("x" * 200 + "a", "x").key("k1") != parse_hmac_keys("x" * 200 + "b", "x").key("k1")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "masking.hmac_key: holds no key"),
        (" \n ", "masking.hmac_key: holds no key"),
        ("short", "masking.hmac_key: line 1: a key needs at least 16 bytes"),
        (f"k2:{NEW}\n{OLD}", "masking.hmac_key: line 2: expected id:key"),
        (f"k2:{NEW}\nk2:{OLD}", "masking.hmac_key: line 2: the id k2 is given twice"),
        ("\n".join(f"k{number}:{NEW}" for number in range(KEYS_MAX + 1)), "masking.hmac_key: 33 keys are more than the limit of 32"),
    ],
)
def test_a_wrong_text_is_named_by_line_and_never_shown(text: str, problem: str) -> None:
    (said,) = problems_of(text)

    assert said.startswith(problem)
    assert not {NEW, OLD, "short"} & set(said.replace(":", " ").split())


def test_all_problems_are_named_at_once() -> None:
    assert len(problems_of("k1:a\nK2:b\n?")) == 3


def test_nothing_shows_a_key() -> None:
    keys = parse_hmac_keys(f"k2:{NEW}\nk1:{OLD}", "x")

    assert repr(keys) == str(keys) == "HmacKeys(current=k2, ids=k2,k1)"


def test_the_current_key_must_be_there() -> None:
    with pytest.raises(ValueError, match="k3"):
        HmacKeys("k3", {"k1": b"x"})
