"""Money: cards, accounts, crypto addresses and keys. A table."""

from __future__ import annotations

from functools import partial

from sidecar.mask import validators
from sidecar.mask.detector import ALNUM, Detector, Pack, Validator
from sidecar.mask.packs.formats import NOWHERE, START, made, with_form
from sidecar.mask.packs.pii import EIGHT_DIGITS

_detector = partial(with_form, Pack.FINANCIAL)

_BITCOIN = "1BvBMSEYstWetq" + "TFn5Au4m4GFg7xJaNVN2"
_SEGWIT = "bc1qw508d6qejxtdg4y5r" + "3zarvary0c5xw7kv8f3t4"
_ETHER = "0x" + made("0-9a-f", 40)
_BASE58 = "[1-9A-HJ-NP-Za-km-z]"
_MONERO = "4A" + made("0-9A-Za-z", 93).translate(str.maketrans("0OIl", "1Pjm"))
_PHRASE = "legal winner thank year wave sausage worth useful legal winner thank yellow"


def _base58(
    name: str, pattern: str, reach: int, matches: tuple[str, ...], misses: tuple[str, ...], validate: Validator, *, label: str = "CRYPTO_ADDRESS", words: tuple[str, ...] = (),
) -> Detector:  # fmt: skip
    """What is written in base 58. All share one trigger: one such repeat costs Hyperscan a microsecond for each KB of any text, seven cost four."""
    trigger = START + _BASE58 + "{23}"
    return _detector(
        name, f"{START}({pattern})", trigger, reach, matches, misses, 1, label=label, validate=validate, words=words, not_before=NOWHERE, before=24
    )


def _iban_pattern() -> str:
    """One alternative for each length, so that a word after the number is never taken for its last group."""
    by_length: dict[int, list[str]] = {}
    for country, length in validators.IBAN_LENGTHS.items():
        by_length.setdefault(length, []).append(country)
    return "(?:" + "|".join(f"(?:{'|'.join(countries)}){_groups(length - 2)}" for length, countries in sorted(by_length.items())) + ")"


def _groups(length: int) -> str:
    """``length`` characters after the country: two, then groups of four and a rest, perhaps with a space or hyphen between.

    The third group has a digit in its third place in every country of the registry.
    """
    fours, rest = divmod(length - 10, 4)
    return (
        "[0-9]{2}[ -]?[0-9A-Z]{4}[ -]?[0-9A-Z]{2}[0-9][0-9A-Z]" + f"(?:[ -]?[0-9A-Z]{{4}}){{{fours}}}" + (f"[ -]?[0-9A-Z]{{{rest}}}" if rest else "")
    )


def _digits(value: bytes) -> bool:
    return len(set(value)) > 2


DETECTORS: tuple[Detector, ...] = (
    _detector(
        "card",
        START + "(" + "[2-9](?:[ -]?[0-9]){12,18}" + ")",
        START + "[2-9](?:[ -]?[0-9]){12}",
        60,
        ("card 4111 1111 1111 1111 exp", "5555-5555-5555-4444", "378282246310005", "3782 822463 10005"),
        ("4111 1111 1111 1112", "1712345678901234567", "978-3-16-148410-0", "4111111111111111.5"[:15]),
        validate=validators.card,
        not_after=ALNUM | set(b"-_"),
        group=1,
        not_before=NOWHERE,
    ),
    _detector(
        "card-spelled",
        START + "([3-6](?:[ ,.-]{1,2}[0-9]){14,15})",
        START + "[3-6](?:[ ,.-]{1,2}[0-9]){14}",
        64,
        ("card number is " + " ".join("4111111111111111"), "visa: " + " ".join("378282246310005")),
        ("card " + " ".join("4111111111111112"), "digits " + " ".join("4111111111111111")),
        label="CARD",
        validate=lambda value: validators.card(validators.digits_of(value).encode()),
        words=("card", "visa", "mastercard", "amex", "karte", "carte", "tarjeta", "carta", "cartão", "credit", "debit", "信用卡"),
        group=1,
        not_before=NOWHERE,
    ),
    _detector(
        "iban",
        START + "(" + _iban_pattern() + ")",
        START + "[A-Z]{2}[0-9]{2}[ -]?[0-9A-Z]{4}[ -]?[0-9A-Z]{2}[0-9]",
        60,
        ("DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "iban: FR1420041010050500013M02606", "de89370400440532013000"),
        ("DE89 3704 0044 0532 0130 01", "AB12 CDEF", "US12345678", "de89a704c0440532013000"),
        validate=validators.iban,
        before=20,
        group=1,
        not_before=NOWHERE,
        ignore_case=True,
    ),
    _detector(
        "bic",
        START + "(" + "[A-Z]{6}[0-9A-Z]{2}(?:[0-9A-Z]{3})?" + ")",
        START + "[A-Z]{6}[0-9A-Z]{2}",
        20,
        ("BIC: DEUTDEFF", "SWIFT code COBADEFFXXX"),
        ("BIC: DEUTXXFF", "WARNINGS DEUTDEFF"),
        validate=validators.bic,
        words=("bic", "swift", "iban"),
        group=1,
        not_before=NOWHERE,
    ),
    _detector(
        "us-routing-number",
        START + "(" + "[0-9]{9}" + ")",
        EIGHT_DIGITS,
        12,
        ("routing number 021000021", "ABA: 011401533"),
        ("routing number 021000022", "id 021000021"),
        validate=validators.routing_number,
        words=("routing", "aba", "rtn", "transit"),
        group=1,
        not_before=NOWHERE,
    ),
    _detector(
        "bank-account",
        START + "(" + "[0-9]{8,17}" + ")",
        EIGHT_DIGITS,
        40,
        ("account number 000123456789", "acct #: 12345678", "Kontonummer 532013000"),
        ("order number 000123456789", "account 12", "account number 11111111"),
        validate=_digits,
        words=(
            "account number",
            "account no",
            "acct",
            "bank account",
            "account num",
            "accountnumber",
            "kontonummer",
            "konto nr",
            "numero de cuenta",
            "número de cuenta",
            "conto corrente",
            "sort code",
            "bsb",
            "clabe",
            "rekeningnummer",
            "bankleitzahl",
            "ifsc",
        ),
        not_after=ALNUM | set(b"-_%"),
        group=1,
        not_before=NOWHERE,
    ),
    _detector(
        "sort-code",
        START + "([0-9]{2}-[0-9]{2}-[0-9]{2})",
        START + "[0-9]{2}-[0-9]{2}-[0-9]{2}",
        16,
        ("sort code 20-11-43", "Sort code: 40-47-84"),
        ("due 20-11-43", "sort code 2024-01-31"),
        label="BANK_ACCOUNT",
        words=("sort code", "sortcode"),
        group=1,
        not_before=NOWHERE,
        not_after=ALNUM | set(b"-"),
    ),
    _detector(
        "card-code",
        "(?:cvv2?|cvc2?|cvn|card code|security code|card verification[a-z ]{0,12})[\"'*)]{0,3}(?: (?:is|code|number|no))?[ \\t]{0,2}[:=#]?[ \\t\"']{0,3}([0-9]{3,4})",
        "(?:cvv|cvc|cvn|card code|security code|card verification)",
        60,
        ("CVV: 123", '"cvc": "4821"', "the security code is 931"),
        ("cvv required", "cvc", "security code analysis 12"),
        label="CVV",
        group=1,
        ignore_case=True,
    ),
    _detector(
        "card-expiry",
        "(?:exp(?:iry|ires|iration)?(?: date)?|valid (?:thru|until)|gültig bis)[\"'.]{0,2}[ \\t]{0,2}[:=]?[ \\t\"']{0,3}((?:0[1-9]|1[0-2]) ?[/-] ?(?:20)?[2-4][0-9])",
        "(?:exp(?:iry|ires|iration)?(?: date)?|valid (?:thru|until)|gültig bis)[\"'.]{0,2}[ \\t]{0,2}[:=]?[ \\t\"']{0,3}[01]",
        60,
        ("exp 09/27", "Expiry: 12/2028", "valid thru 01-29"),
        ("released 09/27", "exp 13/27", "expires in 12 hours"),
        group=1,
        ignore_case=True,
        not_after=ALNUM | set(b"/-"),
    ),
    _base58(
        "bitcoin-address",
        "[13mn2L][1-9A-HJ-NP-Za-km-z]{25,34}",
        48,
        (_BITCOIN, f"pay to {_BITCOIN}."),
        (_BITCOIN[:-1] + "3", "1 bitcoin"),
        validators.base58check,
    ),
    _base58(
        "altcoin-address",
        "[DXrtA9M]" + _BASE58 + "{25,34}",
        48,
        ("DH5yaieqoZN36fDVciNyRueRGvGLR3mr7L", "send DH5yaieqoZN36fDVciNyRueRGvGLR3mr7L now"),
        ("DH5yaieqoZN36fDVciNyRueRGvGLR3mr7K", "Dogecoin"),
        validators.base58check,
    ),
    _detector(
        "segwit-address",
        "(?:bc1|tb1|ltc1|bcrt1|addr1|cosmos1|bnb1)[0-9a-z]{20,110}",
        "(?:bc1|tb1|ltc1|crt1|addr1|cosmos1|bnb1)[0-9a-z]{8}",
        130,
        (_SEGWIT, f"to {_SEGWIT.upper()}"),
        (_SEGWIT[:-1] + "5", "bc1 is a prefix"),
        label="CRYPTO_ADDRESS",
        ignore_case=True,
        validate=validators.bech32,
        before=16,
    ),
    _detector(
        "ethereum-address",
        "0x[0-9A-Fa-f]{40}(?:[0-9A-Fa-f]{24})?",
        "0x[0-9A-Fa-f]{16}",
        80,
        (_ETHER, f"from {_ETHER} to"),
        ("0xdeadbeef", "0x" + "0" * 40),
        label="CRYPTO_ADDRESS",
        validate=lambda value: len(set(value)) > 8,
    ),
    _base58(
        "tron-address",
        "T" + _BASE58 + "{33}",
        40,
        ("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t", "wallet TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"),
        ("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6u", "T"),
        validators.base58check,
    ),
    _base58(
        "monero-address",
        "[48][1-9AB]" + _BASE58 + "{93}",
        110,
        (_MONERO, f"xmr {_MONERO}."),
        ("4A short", "48 hours"),
        validators.mixed,
    ),
    _base58(
        "solana-address",
        "[1-9a-km-z]{0,9}[A-HJ-NP-Z]" + _BASE58 + "{22,43}",
        56,
        ("solana wallet " + "7EcDhSYGxXyscszYEp35KHN8vvw3svAuLKTzXwCFLtV", "SOL: " + "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM"),
        ("id 7EcDhSYGxXyscszYEp35KHN8vvw3svAuLKTzXwCFLtV", "solana"),
        lambda value: 32 <= len(value) <= 44 and validators.mixed(value),
        words=("solana", "sol", "phantom", "wallet", "spl"),
    ),
    _base58(
        "ripple-address",
        "r" + _BASE58 + "{24,34}",
        48,
        ("XRP: rN7n7otQDd6FczFgLdSqtcsAUxDkw6fzRH", "ripple address rN7n7otQDd6FczFgLdSqtcsAUxDkw6fzRH"),
        ("r N7n7", "id rN7n7otQDd6FczFgLdSqtcsAUxDkw6fzRH"),
        validators.mixed,
        words=("xrp", "ripple", "wallet"),
    ),
    _base58(
        "crypto-private-key",
        "[5KL9cx]" + _BASE58 + "{50,51}|[xyz]prv" + _BASE58 + "{60,110}",
        130,
        ("KwDiBf89QgGbjEhKnhXJuH7LrciVrZi3qYjgd9M7rFU73sVHnoWn", "wif KwDiBf89QgGbjEhKnhXJuH7LrciVrZi3qYjgd9M7rFU73sVHnoWn"),
        ("K short", "xprv"),
        validators.base58check,
        label="CRYPTO_PRIVATE_KEY",
    ),
    _detector(
        "seed-phrase",
        "(?:seed phrase|mnemonic(?: phrase)?|recovery phrase|secret phrase|seed words)[^a-z]{1,12}(?:is[^a-z]{1,4})?((?:[a-z]{3,8} ){11,23}[a-z]{3,8})",
        "(?:seed phrase|mnemonic|recovery phrase|secret phrase|seed words)",
        320,
        (f"seed phrase: {_PHRASE}", f"my recovery phrase is {_PHRASE}."),
        ("seed phrase is needed", "a mnemonic helps"),
        group=1,
        ignore_case=True,
        before=16,
    ),
)
