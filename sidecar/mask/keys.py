"""Names of attributes and JSON members: how they are compared with globs, and which names say that their value is sensitive. Pure.

Owns spellings (`apiKey`, `api-key`, `API_KEY` and `api.key` are one name), globs that cost linear time, and the built-in tables of names.
It must not know detectors or how rules are chosen.

A name is read as words: humps of camelCase, dots, dashes, spaces and underscores part them, and numbers at the end are left out
(`headers.cookie.0`). A glob is read the same way, and fits the whole name or what follows its last dot.

    api_key      api_key, apiKey, x.apikey           *_pin      card_pin, cardPin; not spin
    *password*   userPassword, password_2            gen_ai.usage.*
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Generic, Literal, NamedTuple, TypeVar

from sidecar.mask.actions import Action

NAME_CHARS_MAX = 256
"""Of a longer name the first and the last 128 characters are compared."""
WORDS_MAX = 12
"""At the beginning and at the end of a name that `x_*` and `*_x` are compared with."""

_HUMP = re.compile(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])")
_SEPARATORS = {code: " " for code in range(128) if not chr(code).isalnum() and chr(code) != "*"}


_K = TypeVar("_K")
_V = TypeVar("_V")


class KeyVerdict(NamedTuple):
    """What the name of a value says about it."""

    what: Literal["scan", "keep", "mask"]
    """``scan``: detectors decide. ``keep``: never scanned. ``mask``: the whole value is replaced."""
    action: Action = Action.KEEP
    """For ``mask``; and for ``scan`` with ``whole``."""
    label: str = ""
    whole: bool = False
    """With ``scan``: as soon as one hit is not left alone, the whole value is replaced, as an identity is."""
    placed: bool = False
    """With ``mask``: a rule for the place says so, not the name; then it goes for what only describes a value too."""


class Glob:
    r"""A pattern in which `*` stands for anything, `\*` for itself and everything else for itself. Linear in the text, whatever the pattern."""

    __slots__ = ("_pieces", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._pieces = [piece.replace("\0", "*") for piece in text.replace("\\*", "\0").split("*")]

    @property
    def literal(self) -> str:
        """Its longest piece without a wildcard."""
        return max(self._pieces, key=len)

    def fits(self, text: str) -> bool:
        """Whether the whole text fits; case counts."""
        first, *middle = self._pieces
        if not middle:
            return text == first
        last = middle.pop()
        if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
            return False
        at, end = len(first), len(text) - len(last)
        for piece in middle:
            found = text.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return True


def words_of(name: str) -> list[str]:
    """The words of a name, in lower case."""
    if not name.isascii():
        name = unicodedata.normalize("NFKC", name)
    if not name.islower():
        name = _HUMP.sub(r"\1\3_\2\4", name).lower()
    return name.translate(_SEPARATORS).split()


class KeyGlobs:
    """Lists of globs, compared with a name all at once. A name that is met for the first time costs 3 to 8 us with the built-in tables."""

    def __init__(self, lists: Sequence[Iterable[str]]) -> None:
        self._exact: dict[str, list[int]] = {}
        self._heads: dict[str, list[int]] = {}
        self._tails: dict[str, list[int]] = {}
        self._inside: dict[str, list[int]] = {}
        self._others: list[tuple[Glob, int]] = []
        self._all: set[int] = set()
        for number, globs in enumerate(lists):
            for glob in globs:
                self._add(glob, number)

    def _add(self, glob: str, number: int) -> None:
        words = words_of(glob)
        flat = "".join(words)
        stars = flat.count("*")
        if not flat.strip("*"):
            self._all.add(number)
        elif not stars:
            self._exact.setdefault(flat, []).append(number)
        elif words[0] == "*" and stars == 1:
            self._tails.setdefault(flat[1:], []).append(number)
        elif words[-1] == "*" and stars == 1:
            self._heads.setdefault(flat[:-1], []).append(number)
        elif stars == 2 and len(words) == 1 and flat[0] == flat[-1] == "*":
            self._inside.setdefault(flat[1:-1], []).append(number)
        else:
            self._others.append((Glob("_".join(words)), number))

    def find(self, name: str) -> frozenset[int]:
        """The numbers of the lists that a glob of fits."""
        if len(name) > NAME_CHARS_MAX:
            name = name[: NAME_CHARS_MAX // 2] + name[-NAME_CHARS_MAX // 2 :]
        name = _without_end_numbers(name)
        words = words_of(name)
        last = words_of(name.rpartition(".")[2]) if "." in name else words
        flat = "".join(words)
        found = [*self._all, *self._exact.get(flat, ()), *self._exact.get("".join(last), ())]
        tail = head = ""
        for back, word in zip(words[: max(0, len(words) - WORDS_MAX - 1) : -1], words, strict=False):
            tail, head = back + tail, head + word
            if tail in self._tails:
                found += self._tails[tail]
            if head in self._heads:
                found += self._heads[head]
        for piece, numbers in self._inside.items():
            if piece in flat:
                found += numbers
        if self._others:
            spellings = {"_".join(words), "_".join(last)}
            found += [number for glob, number in self._others if any(map(glob.fits, spellings))]
        return frozenset(found)


def _without_end_numbers(name: str) -> str:
    """`headers.cookie.0`, `keys[3]` and `password_2` without their numbers; `sha256` as it is."""
    while name and name[-1] in "0123456789]":
        left = name.removesuffix("]").rstrip("0123456789")
        rest = left.rstrip("._-[")
        if not rest or rest == left:
            break
        name = rest
    return name


class Generations(Generic[_K, _V]):
    """A bounded memory: at most twice ``size`` entries."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._young: dict[_K, _V] = {}
        self._old: dict[_K, _V] = {}

    def get(self, key: _K) -> _V | None:
        found = self._young.get(key)
        if found is None and (found := self._old.get(key)) is not None:
            self.put(key, found)
        return found

    def put(self, key: _K, value: _V) -> None:
        if len(self._young) >= self._size:
            self._old, self._young = self._young, {}
        self._young[key] = value

    def __len__(self) -> int:
        return len(self._young) + len(self._old)


class KeyNames(NamedTuple):
    """Names whose whole value is sensitive."""

    label: str
    match: tuple[str, ...]
    unless: tuple[str, ...] = ()
    """Names that look like it and say only something about it."""
    always: bool = True
    """No allow-list beats it."""


def _split(names: str) -> tuple[str, ...]:
    return tuple(names.split())


def _with_owner(names: str) -> tuple[str, ...]:
    """Each name alone and at the end of longer ones."""
    return tuple(each for name in names.split() for each in (name, f"*_{name}"))


BUILT_IN_NAMES: tuple[KeyNames, ...] = (
    KeyNames(
        "PASSWORD",
        (
            *_split("*password* *passwd* *passphrase* *passwort* *contraseña* *пароль* *密码* *パスワード*"),
            *_with_owner("pwd passcode kennwort senha mot_de_passe wachtwoord"),
        ),
        _split(
            "password_*_count password_count password_length *_password_length password_policy *_password_policy password_strength password_min* password_max* has_password "
            "is_password* password_required password_reset_* forgot_password* *_forgot_password password_expir* *_password_expir* password_chang* *_password_chang* password_updated* passwordless*"
        ),
    ),
    KeyNames(
        "SECRET",
        _with_owner(
            "secret secrets client_secret secret_key secret_access_key api_key api_keys api_token access_token refresh_token id_token auth_token oauth_token bearer_token session_token "
            "security_token identity_token bot_token jwt jwt_token personal_access_token service_token app_token webhook_secret signing_secret reset_token verification_token invite_token "
            "github_token gitlab_token slack_token hf_token npm_token login_token device_token registration_token otp one_time_password totp mfa_code recovery_code recovery_codes backup_codes"
        ),
    ),
    KeyNames(
        "PRIVATE_KEY",
        _with_owner(
            "private_key private_key_pem private_key_id signing_key encryption_key decryption_key ssh_key account_key storage_key shared_access_key master_key hmac_key session_key "
            "service_account_key service_account_json seed_phrase mnemonic_phrase recovery_phrase"
        ),
        ("private_key_id", "*_private_key_id"),
    ),
    KeyNames("AUTHORIZATION", _with_owner("authorization proxy_authorization x_auth x_authorization basic_auth")),
    KeyNames("COOKIE", _with_owner("cookie cookies set_cookie"), _split("has_cookie* accept_cookies use_cookies")),
    KeyNames("CREDENTIALS", _with_owner("credential credentials creds"), ("has_credentials", "with_credentials")),
    KeyNames("CSRF_TOKEN", (*_with_owner("csrf xsrf csrf_token xsrf_token"), "csrfmiddlewaretoken")),
    KeyNames("SSN", _with_owner("ssn social_security social_security_number social_security_no"), always=False),
    KeyNames("CARD", _with_owner("credit_card credit_card_number credit_card_no card_number cc_number debit_card_number"), always=False),
    KeyNames("CVV", _with_owner("cvv cvv2 cvc cvc2 card_verification_value card_security_code"), always=False),
    KeyNames(
        "PIN",
        _split("pin pin_number *_pin_number card_pin *_card_pin atm_pin bank_pin user_pin login_pin account_pin security_pin sim_pin"),
        always=False,
    ),
)
"""Values that only their name tells. A bare `token` is not among them: it is a piece of text to a model; detectors judge its value."""

MACHINE_KEYS = _split(
    "*tokens *_token_count token_count *_token_counts gen_ai.usage.* gen_ai.aggregated_usage.* gen_ai.cost.* llm.token_count.* llm.usage.* llm.cost.* ai.usage.* "
    "trace_id *_trace_id span_id *_span_id parent_id *_parent_id response_id *.response.id message_id *_message_id tool_call_id *.tool.call.id *.tool_call.id run_id *_run_id request_id *_request_id "
    "langfuse.observation.type langfuse.observation.level langfuse.observation.usage_details langfuse.observation.cost_details langfuse.observation.model.name "
    "langfuse.observation.completion_start_time *.request.model *.response.model model_name *.model_name *.model.id *_model timestamp *_timestamp *_at *_time created *_ms *_ns *_seconds *_duration *_count *_bytes "
    "*.finish_reason *.finish_reasons *.seed *.top_p *.top_k *.temperature"
)
"""Names that instruments give to ids, counts, times and models: there digits look like phones, cards and national ids and are not."""
MACHINE_LOOKALIKES = ("phone-*", "financial", "national-ids", "passport", "driving-licence", "imei", "vehicle-id", "date-of-birth", "mac-address")

IDENTITY_KEYS = _split(
    "user.id *_user_id user_id user.name *_user_name username user.email user_email *_user_email *.user enduser.id enduser.* user session.id *_session_id session_id thread_id *_thread_id "
    "conversation_id *_conversation_id langfuse.user.id langfuse.session.id langfuse.trace.metadata.*user* langfuse.observation.metadata.*user* *_end_user_id end_user_id customer_id *_customer_id account_id *_account_id"
)
"""Names of who it is about. Where a detector fires the whole value gets one pseudonym, whatever the detector."""
