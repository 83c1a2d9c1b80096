"""Whether what follows `password =` or `token:` is a value and no type, reference, placeholder or ordinary word. Pure.

Owns the judgement about values that only their key names. It must not know how keys and operators look.
"""

from __future__ import annotations

import re

from sidecar.mask.validators import varied

_TYPES = (
    "str string strings text bytes byte int integer number float double bool boolean any object none null nil undefined void char varchar uuid date datetime optional secretstr "
    "password passwd passwort pwd secret secrets token tokens key keys value values type types name username user email field input output example default optional required "
    "credential credentials default none empty blank missing unset unknown n/a na tbd true false yes no on off hidden masked redacted removed filtered sensitive encrypted hashed stored"
)
_SAID = (
    "is was are were be been being must should can could will would may might shall has have had not never always also only just still already again about after before the a an this that these "
    "those your my our their his her its it in on at of for to from with without by as and or but if when then than too very so such via per manager managers reset resets resetting change changes "
    "changed changing policy policies protected protection strength strong weak wrong incorrect invalid valid correct expired expires expiring sent set stored saved saving created generated "
    "provided entered given shared lost forgotten forgot leaked compromised stolen rotated revoked rejected accepted denied needed missing authentication authorization authenticate login logout "
    "hash hashes hashing hasher rules requirements recovery please enter choose pick type use using used contains contain include includes minimum maximum least length characters character letters "
    "digits santa sauce service services agent count counts counter limit limits usage budget window price prices pricing cost costs per expiry rotation store storage vault scanner scanning santas "
    "ingredient weapon garden life recipe important private public confirmed confirm confirmation mismatch matches match updated update plain plaintext case sensitive unavailable available"
)
_WORDS = frozenset((_TYPES + " " + _SAID).encode().split())

_REFERENCE = re.compile(
    rb"(?i)^(?:[{<\[(]|[$%][({]|\$[a-z_][a-z0-9_.]*$|%[sd]$|@[a-z_.]+$|process\.|os\.|env[.\[:]|self\.|this\.|config|settings|secrets?[.\[]|vault:|ref[:+]|arn:aws|file:|https?:|/run/|/etc/|/var/|getenv|await |new |lambda|keyring|input\b|!(?:vault|ref|getatt|sub|secret|env|include)\b)"
)
_NAME = re.compile(
    rb"^[A-Za-z_][A-Za-z_]*(?:(?:\.|::|->)[A-Za-z_]+)+$|^[a-z]+(?:_[a-z]+)+$|^[a-z]+(?:[A-Z][a-z]+)+$|^[A-Z]+(?:_[A-Z]+)+$|^[A-Za-z]+\[?\]?\??$"
)
_BLANK = re.compile(rb"^[*.\-_xX#?\xe2\x80\xa2\xa6 ]+$")
_HINT = re.compile(
    rb"(?i)\b(?:your|enter|must|please|forgot|invalid|wrong|required|characters?|password|passwort|secret|token|key|field|value|for|the|is|here|example|placeholder|changeme|redacted|masked|hidden)\b"
)
_PLAIN = re.compile(rb"^[A-Za-z\x80-\xff]+(?:[-'.][A-Za-z\x80-\xff]+){0,2}[.!?:]?$")
_PAIR = re.compile(rb"^[A-Za-z_]+=[0-9A-Za-z]")
_TAIL = b".,;:!?)"


def quoted_password(value: bytes) -> bool:
    """A value in quotes: anything but types, references, placeholders and sentences about passwords."""
    text = value.strip()
    if len(text) < 3 or _known(text) or _REFERENCE.search(text) or _BLANK.match(text):
        return False
    return not (b" " in text or b"_" in text or b"-" in text) or not _HINT.search(text.translate(_UNDERSCORES))


_UNDERSCORES = bytes.maketrans(b"_-", b"  ")


def bare_password(value: bytes) -> bool:
    """A value right after `=`: as in quotes, but no name of a variable."""
    text = value.rstrip(_TAIL)
    return quoted_password(text) and (not _NAME.match(text) or _word(text))


def _word(text: bytes) -> bool:
    """One ordinary word, no camelCase."""
    return text.isalpha() and len(text) >= 5 and text[1:].islower() and text.lower() not in _WORDS


def told_password(value: bytes) -> bool:
    """A value in prose or after `: `: it must have a digit, a sign or capitals inside, so that no ordinary word is hidden."""
    text = value.rstrip(_TAIL)
    return len(text) >= 4 and bare_password(text) and not _PLAIN.match(text) and not _PAIR.match(text)


def line_password(value: bytes) -> bool:
    """One word that ends its line: any but those that are said about passwords."""
    return len(value) >= 5 and value.lower() not in _WORDS and not _BLANK.match(value)


_PHRASE_WORDS = frozenset(
    b"see ask click contact below above under over link support attached email admin manager page document docs file none here there not for out who what which call".split()
)


def phrase_password(value: bytes) -> bool:
    """A passphrase of ordinary words that fills its line: of four or more, one may be said about passwords, of three none."""
    words = value.split()
    known = sum(word in _WORDS for word in words)
    return value.islower() and known <= (len(words) > 3) and not _PHRASE_WORDS.intersection(words)


def _known(text: bytes) -> bool:
    return text.lower().lstrip(b"#.@:") in _WORDS


_NUMBER = re.compile(rb"^[0-9][0-9.,:_/TZ+-]*$")
_PATH = re.compile(rb"^(?:[./~]|[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+/)|\.(?:py|js|ts|json|ya?ml|md|txt|pem|com|org|io)$")


def key_value(value: bytes) -> bool:
    """The value of a token or key: eight or more characters that look drawn by chance, no number, path or reference."""
    text = value.rstrip(_TAIL)
    if (
        len(text) < 8
        or not text.isascii()
        or _NUMBER.match(text)
        or _PATH.search(text)
        or _REFERENCE.search(text)
        or _known(text)
        or _PAIR.match(text)
    ):
        return False
    if _NAME.match(text) and not any(48 <= byte <= 57 for byte in text) and len(text) < 24:
        return False
    return varied(text)


def random_value(value: bytes) -> bool:
    """Stricter, for a value that merely follows the word: sixteen or more, with a digit."""
    return len(value) >= 16 and any(48 <= byte <= 57 for byte in value) and not value.isdigit() and key_value(value)
