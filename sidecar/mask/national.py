"""National ids: the checksum or structure of each, by country. Pure.

Owns the arithmetic. Every function takes the bytes of one match, with or without its usual separators, is linear in them and raises nothing.
The sources are the issuers' published rules. It must not know detectors.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Sequence

from sidecar.mask.validators import digits_of, luhn

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _plain(value: bytes) -> str:
    """Capitals and digits only, in order."""
    return "".join(character for character in value.decode("ascii", "ignore").upper() if character.isalnum())


def _numbers(value: bytes, length: int) -> list[int]:
    """The digits when there are exactly ``length`` and not all are equal, else none."""
    number = digits_of(value)
    return list(map(int, number)) if len(number) == length and len(set(number)) > 1 else []


def _weighted(numbers: Sequence[int], weights: Sequence[int]) -> int:
    return sum(number * weight for number, weight in zip(numbers, weights, strict=False))


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        dt.date(year, month, day)
    except ValueError:
        return False
    return True


def us_ssn(value: bytes) -> bool:
    """Social Security number: area not 000, 666 or 9xx, group not 00, serial not 0000."""
    number = digits_of(value)
    return (
        len(number) == 9
        and number[:3] not in {"000", "666"}
        and number[0] != "9"
        and number[3:5] != "00"
        and number[5:] != "0000"
        and number != "123456789"
    )


def us_itin(value: bytes) -> bool:
    """Individual taxpayer number: 9xx and a group of 50-65, 70-88, 90-92 or 94-99."""
    number = digits_of(value)
    return len(number) == 9 and number[0] == "9" and int(number[3:5]) in {*range(50, 66), *range(70, 89), 90, 91, 92, *range(94, 100)}


def uk_nino(value: bytes) -> bool:
    """National Insurance number: HMRC's rules for the prefix, a suffix of A to D."""
    text = _plain(value)
    if len(text) != 9 or text[0] in "DFIQUV" or text[1] in "DFIQUVO" or text[:2] in {"BG", "GB", "NK", "KN", "TN", "NT", "ZZ"}:
        return False
    return text[:2].isalpha() and text[2:8].isdigit() and text[8] in "ABCD"


def uk_nhs(value: bytes) -> bool:
    """NHS number: ten digits, mod 11."""
    numbers = _numbers(value, 10)
    return bool(numbers) and (11 - _weighted(numbers[:9], range(10, 1, -1)) % 11) % 11 == numbers[9]


def uk_utr(value: bytes) -> bool:
    """Unique Taxpayer Reference: ten digits, the first one checks."""
    numbers = _numbers(value, 10)
    return bool(numbers) and numbers[0] == int("21987654321"[_weighted(numbers[1:], (6, 7, 8, 9, 10, 5, 4, 3, 2)) % 11])


def ca_sin(value: bytes) -> bool:
    """Social Insurance Number: nine digits, Luhn."""
    numbers = _numbers(value, 9)
    return bool(numbers) and luhn(digits_of(value))


def au_tfn(value: bytes) -> bool:
    """Tax File Number of nine digits: weights 1 4 3 7 5 8 6 9 10, mod 11."""
    numbers = _numbers(value, 9)
    return bool(numbers) and _weighted(numbers, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0


def au_medicare(value: bytes) -> bool:
    """Medicare card: 2 to 6 first, the ninth digit checks; with or without the person's number."""
    number = digits_of(value)
    if len(number) not in {10, 11} or number[0] not in "23456":
        return False
    numbers = [int(digit) for digit in number]
    return _weighted(numbers[:8], (1, 3, 7, 9, 1, 3, 7, 9)) % 10 == numbers[8]


def au_abn(value: bytes) -> bool:
    """Business number: eleven digits, one off the first, mod 89."""
    numbers = _numbers(value, 11)
    return bool(numbers) and _weighted([numbers[0] - 1, *numbers[1:]], (10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19)) % 89 == 0


def _mod_11_10(numbers: Sequence[int]) -> bool:
    """ISO/IEC 7064, MOD 11,10."""
    check = 10
    for number in numbers[:-1]:
        check = ((check + number) % 10 or 10) * 2 % 11
    return (11 - check) % 10 == numbers[-1]


def de_tax_id(value: bytes) -> bool:
    """Steuer-ID: eleven digits, not 0 first, MOD 11,10, and among the first ten at least one digit twice or thrice."""
    numbers = _numbers(value, 11)
    return bool(numbers) and numbers[0] != 0 and len(set(numbers[:10])) in {8, 9} and _mod_11_10(numbers)


def hr_oib(value: bytes) -> bool:
    """Croatian OIB: eleven digits, MOD 11,10."""
    numbers = _numbers(value, 11)
    return bool(numbers) and _mod_11_10(numbers)


def de_pension(value: bytes) -> bool:
    """Rentenversicherungsnummer: area, birth date, a letter, serial, check digit (SGB VI, weights 2 1 2 5 7 1 2 1 2 1 2 1)."""
    text = _plain(value)
    if len(text) != 12 or not text[8].isalpha() or not (text[:8] + text[9:]).isdigit() or not 1 <= int(text[4:6]) <= 12:
        return False
    numbers = [int(digit) for digit in f"{text[:8]}{_LETTERS.index(text[8]) + 1:02d}{text[9:11]}"]
    return sum(sum(divmod(n * w, 10)) for n, w in zip(numbers, (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1), strict=True)) % 10 == int(text[11])


def fr_nir(value: bytes) -> bool:
    """Numéro de sécurité sociale: thirteen characters and their complement to 97; 2A and 2B are Corsica."""
    text = _plain(value)
    if len(text) != 15 or text[0] not in "12378":
        return False
    body = text[:13].replace("2A", "19").replace("2B", "18")
    return body.isdigit() and text[13:].isdigit() and 97 - int(body) % 97 == int(text[13:]) and (1 <= int(body[3:5]) <= 12 or int(body[3:5]) >= 20)


def es_dni(value: bytes) -> bool:
    """DNI and NIE: eight digits, or X, Y, Z and seven, and the letter of their rest by 23."""
    text = _plain(value)
    if len(text) != 9:
        return False
    body = text[:8].replace("X", "0").replace("Y", "1").replace("Z", "2")
    return body.isdigit() and text[1:8].isdigit() and "TRWAGMYFPDXBNJZSQVHLCKE"[int(body) % 23] == text[8]


_CF_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
        strict=True,
    )
)


def it_fiscal_code(value: bytes) -> bool:
    """Codice fiscale: sixteen characters, the last one checks (DM 12/3/1974)."""
    text = _plain(value)
    if len(text) != 16 or any(character not in _CF_ODD for character in text):
        return False
    total = sum(_CF_ODD[c] if index % 2 == 0 else int(c) if c.isdigit() else _LETTERS.index(c) for index, c in enumerate(text[:15]))
    return _LETTERS[total % 26] == text[15]


def nl_bsn(value: bytes) -> bool:
    """Burgerservicenummer: nine digits, the eleven test with -1 last."""
    numbers = _numbers(value, 9)
    return bool(numbers) and _weighted(numbers, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def be_national(value: bytes) -> bool:
    """Rijksregisternummer: a birth date, a serial and the complement to 97; a 2 before it from 2000 on."""
    numbers = _numbers(value, 11)
    if not numbers or int(digits_of(value)[2:4]) % 20 > 12:
        return False
    text = digits_of(value)
    return any(97 - int(century + text[:9]) % 97 == int(text[9:]) for century in ("", "2"))


def pt_nif(value: bytes) -> bool:
    """NIF: nine digits, mod 11."""
    numbers = _numbers(value, 9)
    return bool(numbers) and numbers[0] != 0 and (11 - _weighted(numbers[:8], range(9, 1, -1)) % 11) % 11 % 10 == numbers[8]


def pl_pesel(value: bytes) -> bool:
    """PESEL: a birth date with the century in the month, weights 1 3 7 9."""
    numbers = _numbers(value, 11)
    if not numbers or not 1 <= (numbers[2] * 10 + numbers[3]) % 20 <= 12 or not 1 <= numbers[4] * 10 + numbers[5] <= 31:
        return False
    return _weighted(numbers, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0


def pl_nip(value: bytes) -> bool:
    """NIP: ten digits, mod 11."""
    numbers = _numbers(value, 10)
    return bool(numbers) and _weighted(numbers[:9], (6, 5, 7, 2, 3, 4, 5, 6, 7)) % 11 == numbers[9]


def se_personnummer(value: bytes) -> bool:
    """Personnummer and samordningsnummer: a date (day + 60 for the latter) and Luhn over the last ten digits."""
    number = digits_of(value)[-10:]
    return len(number) == 10 and 1 <= int(number[2:4]) <= 12 and 1 <= int(number[4:6]) % 60 <= 31 and luhn(number)


def no_national(value: bytes) -> bool:
    """Fødselsnummer and D-nummer: eleven digits, two check digits by mod 11."""
    numbers = _numbers(value, 11)
    if not numbers or not 1 <= (numbers[0] * 10 + numbers[1]) % 40 <= 31 or not 1 <= (numbers[2] * 10 + numbers[3]) % 40 <= 12:
        return False
    return _weighted(numbers, (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)) % 11 == 0 and _weighted(numbers, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)) % 11 == 0


def dk_cpr(value: bytes) -> bool:
    """CPR: a birth date and four digits; since 2007 without a check digit."""
    number = digits_of(value)
    return len(number) == 10 and 1 <= int(number[:2]) <= 31 and 1 <= int(number[2:4]) <= 12


def fi_hetu(value: bytes) -> bool:
    """Henkilötunnus: a birth date, the century's sign, a serial and a check character of 31."""
    text = value.decode("ascii", "replace").upper()
    body = text[:6] + text[7:10]
    return len(text) == 11 and body.isdigit() and "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(body) % 31] == text[10]


def ch_ahv(value: bytes) -> bool:
    """AHV/AVS number: 756 and the EAN-13 check digit."""
    numbers = _numbers(value, 13)
    return bool(numbers) and digits_of(value)[:3] == "756" and _weighted(numbers, (1, 3) * 6 + (1,)) % 10 == 0


def at_svnr(value: bytes) -> bool:
    """Sozialversicherungsnummer: ten digits, the fourth one checks."""
    numbers = _numbers(value, 10)
    return bool(numbers) and _weighted(numbers, (3, 7, 9, 0, 5, 8, 4, 2, 1, 6)) % 11 == numbers[3] and 1 <= numbers[6] * 10 + numbers[7] <= 15


def ie_pps(value: bytes) -> bool:
    """PPS number: seven digits, a check letter and perhaps one more."""
    text = _plain(value)
    if len(text) not in {8, 9} or not text[:7].isdigit() or not text[7:].isalpha():
        return False
    extra = (_LETTERS.index(text[8]) + 1) * 9 if len(text) == 9 and text[8] != "W" else 0
    return "WABCDEFGHIJKLMNOPQRSTUV"[(_weighted([int(digit) for digit in text[:7]], range(8, 1, -1)) + extra) % 23] == text[7]


def cz_birth_number(value: bytes) -> bool:
    """Rodné číslo of Czechia and Slovakia since 1954: ten digits, divisible by 11, the month perhaps plus 20, 50 or 70."""
    numbers = _numbers(value, 10)
    if not numbers or int(digits_of(value)) % 11:
        return False
    month = numbers[2] * 10 + numbers[3]
    return any(1 <= month - plus <= 12 for plus in (0, 20, 50, 70)) and 1 <= numbers[4] * 10 + numbers[5] <= 31


def ro_cnp(value: bytes) -> bool:
    """CNP: thirteen digits, weights 2 7 9 1 4 6 3 5 8 2 7 9, mod 11."""
    numbers = _numbers(value, 13)
    if not numbers or not 1 <= numbers[3] * 10 + numbers[4] <= 12:
        return False
    rest = _weighted(numbers[:12], (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)) % 11
    return (1 if rest == 10 else rest) == numbers[12]


def bg_egn(value: bytes) -> bool:
    """EGN: ten digits, weights are powers of two mod 11."""
    numbers = _numbers(value, 10)
    if not numbers or not 1 <= (numbers[2] * 10 + numbers[3]) % 20 <= 12:
        return False
    return _weighted(numbers[:9], (2, 4, 8, 5, 10, 9, 7, 3, 6)) % 11 % 10 == numbers[9]


def gr_amka(value: bytes) -> bool:
    """AMKA: a birth date and Luhn over eleven digits."""
    numbers = _numbers(value, 11)
    return bool(numbers) and 1 <= numbers[0] * 10 + numbers[1] <= 31 and 1 <= numbers[2] * 10 + numbers[3] <= 12 and luhn(digits_of(value))


def hu_tax_id(value: bytes) -> bool:
    """Adóazonosító jel: ten digits, 8 first, mod 11."""
    numbers = _numbers(value, 10)
    return bool(numbers) and numbers[0] == 8 and _weighted(numbers[:9], range(1, 10)) % 11 == numbers[9]


def ee_isikukood(value: bytes) -> bool:
    """Personal code of Estonia and Lithuania: eleven digits, two rounds of mod 11."""
    numbers = _numbers(value, 11)
    if not numbers or not 1 <= numbers[3] * 10 + numbers[4] <= 12 or not 1 <= numbers[0] <= 8:
        return False
    rest = _weighted(numbers[:10], (1, 2, 3, 4, 5, 6, 7, 8, 9, 1)) % 11
    if rest == 10:
        rest = _weighted(numbers[:10], (3, 4, 5, 6, 7, 8, 9, 1, 2, 3)) % 11 % 10
    return rest == numbers[10]


def br_cpf(value: bytes) -> bool:
    """CPF: eleven digits, two check digits by mod 11."""
    numbers = _numbers(value, 11)
    return bool(numbers) and all(_weighted(numbers[:size], range(size + 1, 1, -1)) * 10 % 11 % 10 == numbers[size] for size in (9, 10))


def br_cnpj(value: bytes) -> bool:
    """CNPJ: fourteen digits, two check digits by mod 11."""
    numbers = _numbers(value, 14)
    weights = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
    return bool(numbers) and all(
        (11 - r if (r := _weighted(numbers[:size], weights[13 - size :]) % 11) > 1 else 0) == numbers[size] for size in (12, 13)
    )


def mx_curp(value: bytes) -> bool:
    """CURP: eighteen characters with a birth date, a sex and a check digit."""
    text = _plain(value)
    if len(text) != 18 or not text[17].isdigit() or not text[4:10].isdigit() or not 1 <= int(text[6:8]) <= 12:
        return False
    total = sum("0123456789ABCDEFGHIJKLMN*OPQRSTUVWXYZ".index(character) * (18 - index) for index, character in enumerate(text[:17]))
    return (10 - total % 10) % 10 == int(text[17])


def ar_cuit(value: bytes) -> bool:
    """CUIT/CUIL: eleven digits, mod 11."""
    numbers = _numbers(value, 11)
    if not numbers or numbers[0] not in {2, 3}:
        return False
    return (11 - _weighted(numbers[:10], (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11) % 11 == numbers[10]


def cl_rut(value: bytes) -> bool:
    """RUT: seven or eight digits and a check digit, 10 is K."""
    text = _plain(value)
    if len(text) not in {8, 9} or not text[:-1].isdigit() or len(set(text[:-1])) == 1:
        return False
    rest = (11 - _weighted([int(digit) for digit in reversed(text[:-1])], (2, 3, 4, 5, 6, 7, 2, 3)) % 11) % 11
    return "0123456789K"[rest] == text[-1]


_VERHOEFF_PERMUTATION = [
    tuple(map(int, row)) for row in ("0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258")
]
_VERHOEFF_PRODUCT = [
    tuple(map(int, row))
    for row in (
        "0123456789",
        "1234067895",
        "2340178956",
        "3401289567",
        "4012395678",
        "5987604321",
        "6598710432",
        "7659821043",
        "8765932104",
        "9876543210",
    )
]


def in_aadhaar(value: bytes) -> bool:
    """Aadhaar: twelve digits, 2 to 9 first, Verhoeff."""
    numbers = _numbers(value, 12)
    if not numbers or numbers[0] < 2:
        return False
    check = 0
    for row, number in zip(itertools.cycle(_VERHOEFF_PERMUTATION), reversed(numbers), strict=False):
        check = _VERHOEFF_PRODUCT[check][row[number]]
    return check == 0


def in_pan(value: bytes) -> bool:
    """Permanent Account Number: five letters, the fourth of a known kind, four digits, a letter."""
    text = _plain(value)
    return len(text) == 10 and text[3] in "ABCFGHJLPT" and text[5:9] != "0000"


def cn_resident_id(value: bytes) -> bool:
    """Resident identity card: eighteen characters, a birth date, ISO/IEC 7064 MOD 11-2."""
    text = _plain(value)
    if len(text) != 18 or not text[:17].isdigit() or not _is_date(int(text[6:10]), int(text[10:12]), int(text[12:14])):
        return False
    return "10X98765432"[_weighted([int(digit) for digit in text[:17]], (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)) % 11] == text[17]


def jp_my_number(value: bytes) -> bool:
    """My Number: twelve digits, mod 11 with weights 2 to 7 from the right."""
    numbers = _numbers(value, 12)
    if not numbers:
        return False
    rest = _weighted(numbers[:11], (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return (0 if rest <= 1 else 11 - rest) == numbers[11]


def kr_rrn(value: bytes) -> bool:
    """Resident registration number: a birth date, then 1 to 8. Numbers given since October 2020 have no check digit, so none is asked for."""
    number = digits_of(value)
    return len(number) == 13 and 1 <= int(number[2:4]) <= 12 and 1 <= int(number[4:6]) <= 31 and "1" <= number[6] <= "8"


def sg_nric(value: bytes) -> bool:
    """NRIC and FIN: a letter, seven digits and a check letter."""
    text = _plain(value)
    if len(text) != 9 or not text[1:8].isdigit():
        return False
    total = _weighted([int(digit) for digit in text[1:8]], (2, 7, 6, 5, 4, 3, 2)) + {"T": 4, "G": 4, "M": 3}.get(text[0], 0)
    letters = {"S": "JZIHGFEDCBA", "T": "JZIHGFEDCBA", "F": "XWUTRQPNMLK", "G": "XWUTRQPNMLK", "M": "XWUTRQPNJLK"}.get(text[0], "")
    return bool(letters) and letters[10 - total % 11 if text[0] == "M" else total % 11] == text[8]


def za_id(value: bytes) -> bool:
    """South African identity number: a birth date, thirteen digits, Luhn."""
    number = digits_of(value)
    return len(number) == 13 and 1 <= int(number[2:4]) <= 12 and 1 <= int(number[4:6]) <= 31 and number[10] in "012" and luhn(number)


def tr_tckn(value: bytes) -> bool:
    """Turkish identity number: eleven digits, the tenth and eleventh check."""
    numbers = _numbers(value, 11)
    if not numbers or numbers[0] == 0:
        return False
    return (sum(numbers[0:9:2]) * 7 - sum(numbers[1:8:2])) % 10 == numbers[9] and sum(numbers[:10]) % 10 == numbers[10]


def il_id(value: bytes) -> bool:
    """Teudat zehut: nine digits, Luhn with the weights from the left."""
    return bool(_numbers(value, 9)) and luhn(digits_of(value))


def tw_id(value: bytes) -> bool:
    """Taiwan's national id: a letter, nine digits, mod 10."""
    text = _plain(value)
    if len(text) != 10 or not text[0].isalpha() or not text[1:].isdigit() or text[1] not in "1289":
        return False
    area = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(text[0]) + 10
    return (area // 10 + area % 10 * 9 + _weighted([int(digit) for digit in text[1:]], (8, 7, 6, 5, 4, 3, 2, 1, 1))) % 10 == 0


def hk_id(value: bytes) -> bool:
    """Hong Kong identity card: one or two letters, six digits and a check character of mod 11."""
    text = _plain(value).rjust(9)
    if not text[2:8].isdigit() or not text[1].isalpha():
        return False
    values = [36 if character == " " else int(character, 36) for character in text[:8]]
    return "0A987654321"[_weighted(values, range(9, 1, -1)) % 11] == text[8]


def ru_snils(value: bytes) -> bool:
    """SNILS: eleven digits, the last two check by 101."""
    numbers = _numbers(value, 11)
    return bool(numbers) and _weighted(numbers[:9], range(9, 0, -1)) % 101 % 100 == numbers[9] * 10 + numbers[10]


def ru_inn(value: bytes) -> bool:
    """INN of a person: twelve digits, two check digits."""
    numbers = _numbers(value, 12)
    weights = (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)
    return bool(numbers) and all(_weighted(numbers[:size], weights[11 - size :]) % 11 % 10 == numbers[size] for size in (10, 11))


def th_id(value: bytes) -> bool:
    """Thai identification number: thirteen digits, mod 11."""
    numbers = _numbers(value, 13)
    return bool(numbers) and numbers[0] != 0 and (11 - _weighted(numbers[:12], range(13, 1, -1)) % 11) % 10 == numbers[12]


PLAIN_DIGITS: dict[int, tuple[Callable[[bytes], bool], ...]] = {
    9: (us_ssn, us_itin, ca_sin, au_tfn, nl_bsn, pt_nif, il_id),
    10: (uk_nhs, uk_utr, au_medicare, pl_nip, se_personnummer, dk_cpr, at_svnr, cz_birth_number, bg_egn, hu_tax_id),
    11: (de_tax_id, hr_oib, au_abn, au_medicare, be_national, pl_pesel, no_national, gr_amka, ee_isikukood, br_cpf, ar_cuit, tr_tckn, ru_snils),
    12: (in_aadhaar, jp_my_number, ru_inn, se_personnummer),
    13: (ch_ahv, ro_cnp, za_id, th_id, kr_rrn),
    14: (br_cnpj,),
    15: (fr_nir,),
}
"""Ids that are nothing but digits, by their number of digits."""


def plain_digits(value: bytes) -> bool:
    """Any national id that is nothing but digits, perhaps in groups. For use beside a word that says that an id follows."""
    return any(check(value) for check in PLAIN_DIGITS.get(len(digits_of(value)), ()))
