"""Whether a candidate is real: checksums, structures and the look of random text. Pure.

Owns what the detectors of secrets, money and networks ask about a match. Every function takes the bytes of one match, is linear in them
and raises nothing. National ids have their own module, `sidecar.mask.national`. It must not know detectors.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
import re

_SPACING = b" -./\t"
_NO_DIGITS = bytes(byte for byte in range(256) if not 48 <= byte <= 57)
_DOUBLED = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))
_SINGLE = bytes.maketrans(b"0123456789", bytes(range(10)))


def digits_of(value: bytes) -> str:
    """The ASCII digits, without what stands between them."""
    return value.translate(None, _NO_DIGITS).decode()


def luhn(number: str) -> bool:
    """Mod 10 check of ISO/IEC 7812-1, annex B, over ASCII digits."""
    digits = number.encode()
    return (sum(digits[-1::-2].translate(_SINGLE)) + sum(digits[-2::-2].translate(_DOUBLED))) % 10 == 0


_CARD_GROUPS = frozenset({(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (4, 4, 4, 4, 2), (4, 4, 4, 1), (6, 13), (4, 4, 5), (4, 5, 6)})


def card(value: bytes) -> bool:
    """A payment card: an issuer's range and length, Luhn, and the usual groups of digits if there are groups."""
    if (b" " in value or b"-" in value) and tuple(map(len, value.replace(b"-", b" ").split(b" "))) not in _CARD_GROUPS:
        return False
    number = digits_of(value)
    return len(number) >= 13 and len(number) in _issuer_lengths(int(number[:4])) and luhn(number) and len(set(number)) > 1


def _issuer_lengths(first: int) -> tuple[int, ...]:
    """Lengths of card numbers that begin with these four digits (ISO/IEC 7812 registry, public issuer ranges)."""
    if 4000 <= first <= 4999:
        return (13, 16, 19)
    if 5100 <= first <= 5599 or 2221 <= first <= 2720 or 2200 <= first <= 2204:
        return (16,)
    if first // 100 in {34, 37}:
        return (15,)
    if 3000 <= first <= 3059 or first == 3095 or first // 100 in {36, 38, 39}:
        return (14, 16)
    if 3528 <= first <= 3589 or first == 6011 or 6440 <= first <= 6599:
        return (16, 19)
    if first // 100 in {50, 56, 57, 58, 60, 62, 63, 65, 67, 81}:
        return (16, 17, 18, 19)
    return ()


_IBAN_LENGTHS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 "
    "FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 "
    "MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 "
    "SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
)
IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _IBAN_LENGTHS.split()}
"""Length by country (SWIFT IBAN registry)."""


def iban(value: bytes) -> bool:
    """ISO 13616: the length of the country and mod 97 = 1. In lower case mostly digits, because hexadecimal ids are as well."""
    text = value.translate(None, _SPACING).decode("ascii", "replace")
    if text.upper() != text and (text.lower() != text or sum(character.isalpha() for character in text) > 2 + len(text) // 4):
        return False
    text = text.upper()
    if IBAN_LENGTHS.get(text[:2]) != len(text) or not text.isalnum():
        return False
    return int("".join(str(int(character, 36)) for character in text[4:] + text[:4])) % 97 == 1


def routing_number(value: bytes) -> bool:
    """ABA routing transit number: nine digits, a Federal Reserve range, weights 3 7 1."""
    number = digits_of(value)
    if len(number) != 9 or int(number[:2]) not in {*range(1, 13), *range(21, 33), *range(61, 73), 80}:
        return False
    return sum(int(digit) * weight for digit, weight in zip(number, (3, 7, 1) * 3, strict=True)) % 10 == 0


def bic(value: bytes) -> bool:
    """ISO 9362: four letters, a country, then two or five; no plain word."""
    text = value.decode("ascii", "replace")
    return len(text) in {8, 11} and text[4:6] in _COUNTRIES


_OTHER_COUNTRIES = "US CA AU NZ JP CN HK SG IN KR TW TH MY ID PH VN MX AR CL CO PE ZA NG KE MA EC UY PA"
_COUNTRIES = frozenset(IBAN_LENGTHS) | frozenset(_OTHER_COUNTRIES.split())

_BASE58 = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def base58check(value: bytes) -> bool:
    """A Bitcoin-like address or key: base 58, the last four bytes are the double SHA-256 of the rest."""
    number = 0
    for byte in value:
        index = _BASE58.find(byte)
        if index < 0:
            return False
        number = number * 58 + index
    zeros = len(value) - len(value.lstrip(b"1"))
    raw = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    return len(raw) >= 25 and hashlib.sha256(hashlib.sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:]


_BECH32 = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_STEPS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def bech32(value: bytes) -> bool:
    """BIP 173 or BIP 350 checksum (constants 1 and 0x2bc830a3)."""
    text = value.lower()
    human, _, data = text.rpartition(b"1")
    if not human or any(byte not in _BECH32 for byte in data):
        return False
    symbols = [byte >> 5 for byte in human] + [0] + [byte & 31 for byte in human] + [_BECH32.index(byte) for byte in data]
    check = 1
    for symbol in symbols:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ symbol
        for index, step in enumerate(_BECH32_STEPS):
            check ^= step if top >> index & 1 else 0
    return check in {1, 0x2BC830A3}


def mixed(value: bytes) -> bool:
    """Letters of both cases and digits, as base 58 and base 62 keys have."""
    return any(48 <= byte <= 57 for byte in value) and any(65 <= byte <= 90 for byte in value) and any(97 <= byte <= 122 for byte in value)


def jwt(value: bytes) -> bool:
    """RFC 7519: the first part is a JSON object in base64url that names its algorithm or type. A token cut after its head still is one."""
    head = value.split(b".", 1)[0]
    try:
        text = base64.urlsafe_b64decode(head[: len(head) - len(head) % 4] + (b"" if len(head) % 4 == 0 else _rest(head)))
    except (binascii.Error, ValueError):
        return False
    return text[:1] == b"{" and any(claim in text for claim in (b'"alg', b'"typ', b'"enc', b'"kid', b'"cty', b'"zip'))


def _rest(head: bytes) -> bytes:
    """The last, incomplete quantum with its padding; one character alone says nothing."""
    tail = head[len(head) - len(head) % 4 :]
    return b"" if len(tail) == 1 else tail + b"=" * (4 - len(tail))


def basic_credentials(value: bytes) -> bool:
    """RFC 7617: base64 of `user:password` in UTF-8 or Latin-1, printable."""
    try:
        text = base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False
    return b":" in text and all(byte >= 32 and byte != 127 for byte in text)


def ipv4(value: bytes) -> bool:
    """Four octets that are an address and no version: not loopback, unspecified or broadcast, not `126.0.0.0`, not small numbers all over.

    Versions begin small and stay small: below 10 one octet must have three digits, below 32 (but for 10, which is private) one must be 64 or more.
    Networks, which end in 0, are no machine's.
    """
    octets = [_OCTETS.get(part, 0) for part in value.split(b".")]
    if len(octets) != 4 or octets[0] in {0, 127, 255} or octets[3] == 0 or len(set(octets)) == 1:
        return False
    if 0 in octets and not all(part in _OCTETS for part in value.split(b".")):
        return False
    return octets[0] == 10 or max(octets[1:]) >= (100 if octets[0] < 10 else 64 if octets[0] < 32 else 0)


_OCTETS = {b"%d" % number: number for number in range(256)}


def ipv6(value: bytes) -> bool:
    """Eight groups, or fewer around one `::`, with a digit somewhere; C++ names such as `abc::def` have none."""
    text = value.split(b"%", 1)[0]
    head, gap, tail = text.partition(b"::")
    groups = [group for group in head.split(b":") + tail.split(b":") if group]
    if b"::" in tail or any(len(group) > 4 for group in groups) or not any(48 <= byte <= 57 for byte in text):
        return False
    return len(groups) <= 7 and len(groups) >= 2 and (len(groups[0]) >= 3 or len(groups) >= 4) if gap else len(groups) == 8


def mac_address(value: bytes) -> bool:
    """IEEE 802: one separator throughout, neither all zeros nor broadcast."""
    separators = {byte for byte in value if byte in b":-."}
    plain = value.translate(None, b":-.").lower()
    return len(separators) == 1 and len(plain) == 12 and len(set(plain)) > 1


_FILE_ENDINGS = frozenset(
    b"png jpg jpeg gif svg webp ico js mjs ts tsx jsx css scss json py pyc go rs java rb php md txt html xml yml yaml lock toml whl gz zip".split()
)


def email(value: bytes) -> bool:
    """An address of a person or a mailbox: not `logo@2x.png`, not the `git@` of a clone URL."""
    local, at, domain = value.rpartition(b"@")
    if not at:
        local, _, domain = value.partition(b"%40")
    if local.lower() == b"git" or domain.startswith((b".", b"-")) or b".." in domain:
        return False
    return domain.startswith(b"[") or domain.rpartition(b".")[2].lower() not in _FILE_ENDINGS


_CODES = (
    "1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 90 91 92 93 94 "
    "95 98 211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 235 236 237 238 239 240 241 242 243 244 245 "
    "246 248 249 250 251 252 253 254 255 256 257 258 260 261 262 263 264 265 266 267 268 269 290 291 297 298 299 350 351 352 353 354 "
    "355 356 357 358 359 370 371 372 373 374 375 376 377 378 380 381 382 383 385 386 387 389 420 421 423 500 501 502 503 504 505 506 "
    "507 508 509 590 591 592 593 594 595 596 597 598 599 670 672 673 674 675 676 677 678 679 680 681 682 683 685 686 687 688 689 690 "
    "691 692 800 808 850 852 853 855 856 870 880 881 882 883 886 888 960 961 962 963 964 965 966 967 968 970 971 972 973 974 975 976 "
    "977 979 992 993 994 995 996 998"
)
_CALLING_CODES = frozenset(_CODES.split())


def e164(value: bytes) -> bool:
    """ITU-T E.164: a calling code, 8 to 15 digits in all."""
    number = digits_of(value)
    return 8 <= len(number) <= 15 and not _CALLING_CODES.isdisjoint((number[:2], number[:1], number[:3]))


def national_phone(value: bytes) -> bool:
    """8 to 13 digits, not one repeated, not a date such as 2024-01-31, spelled digit by digit only from ten on and without 1 2 3 4 5."""
    number = digits_of(value)
    if not 8 <= len(number) <= 13 or len(set(number)) < 3:
        return False
    groups = re.findall(rb"[0-9]+", value)
    if len(groups) == len(number):
        return len(number) >= 10 and not re.search(rb"01234|12345", number.encode())  # spelled digit by digit
    return max(map(len, groups)) >= 3 - (len(groups) > 3) and not _DATE.match(value)


_DATE = re.compile(
    rb"(?:19|20)[0-9]{2}[-/. ]?(?:0[1-9]|1[0-2])[-/. ]?(?:0[1-9]|[12][0-9]|3[01])(?:[^0-9]|$)|[0-3]?[0-9][-/.][0-3]?[0-9][-/.](?:19|20)[0-9]{2}$"
)


def varied(value: bytes) -> bool:
    """Text that looks drawn by chance: no placeholder, several characters, a digit or letters of both cases."""
    if len(set(value)) < min(6, len(value) // 2 + 2) or _is_placeholder(value):
        return False
    if len(value.translate(None, _DIGITS)) < len(value):
        return True
    body = value.translate(None, b"_-")
    return len(body) >= 12 and _humps(body) >= len(body) // 3


def _humps(value: bytes) -> int:
    """How often upper case follows lower case or the other way round: camelCase has few, chance many."""
    return sum(1 for left, right in itertools.pairwise(value) if (left & 32) != (right & 32))


_DIGITS = b"0123456789"
_FILLERS = (b"xxxxxx", b"***", b"...", b"redacted", b"placeholder")
_SIGNS = b"<{}$"
_PLACEHOLDER = re.compile(rb"your[-_]|change[-_]?me|replace[-_](?:me|with)|(?:insert|todo|dummy)[-_]|[-_]here(?:[^a-z]|$)|example[-_.](?:key|token)")
_PLACEHOLDER_PARTS = (b"your", b"change", b"replace", b"insert", b"todo", b"dummy", b"here", b"example")
"""One of them stands in whatever the expression finds: asking for each costs a tenth of searching for any."""


def _is_placeholder(value: bytes) -> bool:
    """Whether the text says that something else goes there."""
    if len(value.translate(None, _SIGNS)) < len(value):
        return True
    lowered = value.lower()
    for filler in _FILLERS:
        if filler in lowered:
            return True
    for part in _PLACEHOLDER_PARTS:
        if part in lowered:
            return _PLACEHOLDER.search(lowered) is not None
    return False
