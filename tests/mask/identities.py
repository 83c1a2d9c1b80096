"""National ids drawn from their public rules, country by country: by search for the check digits, not with the code under test."""

from __future__ import annotations

import random
import string
from collections.abc import Callable

D = string.digits
Maker = Callable[[random.Random], str]


def digits(chance: random.Random, count: int) -> str:
    return "".join(chance.choice(D) for _ in range(count))


def luhn_digit(body: str) -> str:
    total = 0
    for index, character in enumerate(reversed(body)):
        value = int(character) * (2 - index % 2)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def birth(chance: random.Random) -> str:
    return f"{chance.randrange(50, 99)}{chance.randrange(1, 13):02d}{chance.randrange(1, 28):02d}"


def weighted(body: str, weights: tuple[int, ...]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(body, weights, strict=True))


def until(chance: random.Random, make: Callable[[], str | None]) -> str:
    for _ in range(500):
        found = make()
        if found:
            return found
    raise AssertionError("no such number")


def us(c: random.Random) -> str:
    return f"{c.choice([*range(1, 666), *range(667, 900)]):03d}-{c.randrange(1, 100):02d}-{c.randrange(1, 10000):04d}"


def br(c: random.Random) -> str:
    body = digits(c, 9)
    for size in (9, 10):
        rest = sum(int(d) * (size + 1 - i) for i, d in enumerate(body)) * 10 % 11 % 10
        body += str(rest)
    return f"{body[:3]}.{body[3:6]}.{body[6:9]}-{body[9:]}"


def es(c: random.Random) -> str:
    body = digits(c, 8)
    return body + "TRWAGMYFPDXBNJZSQVHLCKE"[int(body) % 23]


def nl(c: random.Random) -> str:
    def make() -> str | None:
        body = digits(c, 8)
        rest = weighted(body, (9, 8, 7, 6, 5, 4, 3, 2)) % 11
        return body + str(rest) if rest < 10 else None

    return until(c, make)


def pl(c: random.Random) -> str:
    body = birth(c) + digits(c, 4)
    return body + str(-weighted(body, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)) % 10)


def se(c: random.Random) -> str:
    body = birth(c) + digits(c, 3)
    return f"{body[:6]}-{body[6:]}{luhn_digit(body)}"


def fi(c: random.Random) -> str:
    day = birth(c)
    date, serial = day[4:] + day[2:4] + day[:2], f"{c.randrange(2, 900):03d}"
    return f"{date}-{serial}{'0123456789ABCDEFHJKLMNPRSTUVWXY'[int(date + serial) % 31]}"


def ca(c: random.Random) -> str:
    body = c.choice("1234567") + digits(c, 7)
    number = body + luhn_digit(body)
    return f"{number[:3]}-{number[3:6]}-{number[6:]}"


def uk(c: random.Random) -> str:
    return f"{c.choice('ABCEGHJ')}{c.choice('ABCEGHJ'[:2])}{digits(c, 6)}{c.choice('ABCD')}".replace("GB", "AB").replace("BG", "AB")


def nhs(c: random.Random) -> str:
    def make() -> str | None:
        body = digits(c, 9)
        rest = -weighted(body, (10, 9, 8, 7, 6, 5, 4, 3, 2)) % 11
        return f"{body[:3]} {body[3:6]} {body[6:]}{rest}" if rest < 10 else None

    return until(c, make)


def ch(c: random.Random) -> str:
    body = "756" + digits(c, 9)
    number = body + str(-weighted(body, (1, 3) * 6) % 10)
    return f"{number[:3]}.{number[3:7]}.{number[7:11]}.{number[11:]}"


def cn(c: random.Random) -> str:
    body = f"110105{c.randrange(1950, 2005)}{c.randrange(1, 13):02d}{c.randrange(1, 28):02d}{digits(c, 3)}"
    return body + "10X98765432"[sum(int(d) * pow(2, 17 - i, 11) for i, d in enumerate(body)) % 11]


def sg(c: random.Random) -> str:
    body = digits(c, 7)
    return f"S{body}{'JZIHGFEDCBA'[weighted(body, (2, 7, 6, 5, 4, 3, 2)) % 11]}"


def tr(c: random.Random) -> str:
    body = c.choice("123456789") + digits(c, 8)
    ten = (sum(map(int, body[0::2])) * 7 - sum(map(int, body[1::2]))) % 10
    return f"{body}{ten}{(sum(map(int, body)) + ten) % 10}"


def de(c: random.Random) -> str:
    numbers = c.sample(range(10), 9)
    if numbers[0] == 0:
        numbers.reverse()
    body = "".join(map(str, [*numbers, numbers[3]]))
    check = 10
    for digit in body:
        check = ((check + int(digit)) % 10 or 10) * 2 % 11
    return body + str((11 - check) % 10)


def fr(c: random.Random) -> str:
    body = f"{c.choice('12')}{birth(c)[:4]}{c.randrange(1, 95):02d}{c.randrange(1, 900):03d}{c.randrange(1, 999):03d}"
    key = 97 - int(body) % 97
    return f"{body[0]} {body[1:3]} {body[3:5]} {body[5:7]} {body[7:10]} {body[10:]} {key:02d}"


def za(c: random.Random) -> str:
    body = birth(c) + digits(c, 4) + "08"
    return body + luhn_digit(body)


def kr(c: random.Random) -> str:
    return f"{birth(c)}-{c.choice('12')}{digits(c, 6)}"


def cl(c: random.Random) -> str:
    body = str(c.randrange(5_000_000, 25_000_000))
    rest = 11 - sum(int(d) * (2 + i % 6) for i, d in enumerate(reversed(body))) % 11
    return f"{body}-{ {10: 'K', 11: '0'}.get(rest, rest) }"


def au(c: random.Random) -> str:
    def make() -> str | None:
        body = digits(c, 9)
        return f"{body[:3]} {body[3:6]} {body[6:]}" if weighted(body, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0 else None

    return until(c, make)


def pt(c: random.Random) -> str:
    body = c.choice("123") + digits(c, 7)
    rest = 11 - weighted(body, (9, 8, 7, 6, 5, 4, 3, 2)) % 11
    return body + str(rest if rest < 10 else 0)


IDENTITIES: dict[str, tuple[Maker, list[str]]] = {
    "us": (us, ["my SSN is {}", "{}", "ssn={}"]),
    "br": (br, ["CPF {}", "meu cpf: {}", "{}"]),
    "es": (es, ["DNI {}", "mi dni es {}", "{}"]),
    "nl": (nl, ["BSN {}", "burgerservicenummer: {}"]),
    "pl": (pl, ["PESEL {}", "numer PESEL: {}"]),
    "se": (se, ["personnummer {}", "{}"]),
    "fi": (fi, ["hetu {}", "{}"]),
    "ca": (ca, ["SIN {}", "social insurance number {}"]),
    "uk": (uk, ["NI number {}", "{}"]),
    "nhs": (nhs, ["NHS number {}", "nhs: {}"]),
    "ch": (ch, ["AHV {}", "{}"]),
    "cn": (cn, ["身份证号 {}", "id card {}"]),
    "sg": (sg, ["NRIC {}", "{}"]),
    "tr": (tr, ["TC kimlik no {}", "tckn={}"]),
    "de": (de, ["Steuer-ID {}", "steuerliche IdNr.: {}", '"tax_id": "{}"']),
    "fr": (fr, ["numéro de sécurité sociale {}", "NIR {}"]),
    "za": (za, ["SA ID number {}", "id number {}"]),
    "kr": (kr, ["주민등록번호 {}", "{}"]),
    "cl": (cl, ["RUT {}", "mi rut: {}"]),
    "au": (au, ["TFN {}", "tax file number {}"]),
    "pt": (pt, ["NIF {}", "contribuinte {}"]),
}
