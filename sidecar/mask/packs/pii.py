"""Personal data: addresses of people and of their machines, phones, passports, licences, birth dates. A table.

Private IP ranges are masked like public ones: inside a company they say who and where as well. Loopback, unspecified and broadcast addresses stay.
Names and postal addresses have no form that a pattern knows.
"""

from __future__ import annotations

from functools import partial

from sidecar.mask import validators
from sidecar.mask.detector import ALNUM, Detector, Pack
from sidecar.mask.packs.formats import NOWHERE, START, with_form

_PHONE_WORDS = (
    "phone", "mobile", "mobil", "cell", "tel", "telefon", "telf", "telep", "fax", "sms", "whats app", "llámame", "llamame", "telemóvel", "telemovel", "joignable", "erreich", "anrufen", "nummer ist", "my number", "phone number", "call me", "call us", "text me", "reach me", "contact number", "contact no", "dial", "handy", "rufnummer",
    "portable", "téléphone", "celular", "móvil", "movil", "cellulare", "gsm", "tlf", "puh", "msisdn", "电话", "手机", "電話", "携帯", "전화", "телефон", "hotline", "ring me",
)  # fmt: skip
_LATIN = "[\\xc3-\\xdf][\\x80-\\xbf]"
_LETTER = _LATIN + "|[\\xe0-\\xef][\\x80-\\xbf][\\x80-\\xbf]"
_REST_OF_DOMAIN = f"(?:[0-9A-Za-z.-]|{_LETTER}){{0,60}}\\.(?:xn--[0-9a-z-]{{1,59}}|[A-Za-z]{{2,24}}|(?:{_LETTER}){{2,12}})"
_DOMAIN = f"(?:[0-9A-Za-z]|{_LETTER}){_REST_OF_DOMAIN}"
EIGHT_DIGITS = START + "[0-9]{8}"
"""The trigger of numbers of eight or more digits. Detectors share it, so that a number calls back once."""
NINE_DIGITS = START + "\\(?[0-9](?:[ ()\\-/]{0,2}[0-9]){8}"
"""The same for nine or more, in groups perhaps."""
_SEPARATOR = "(?:[ ().\\-/]{1,3}|\\xc2\\xa0|\\xe2\\x80[\\x80-\\x95]|\\xe2\\x80\\xaf)"
_DATE = (
    "(?:[0-3]?[0-9][./ -]{1,2}[0-3]?[0-9][./ -]{1,2}(?:19|20)?[0-9]{2}|(?:19|20)[0-9]{2}[-/. ][0-3]?[0-9][-/. ][0-3]?[0-9]"
    "|[0-3]?[0-9](?:st|nd|rd|th|\\.)? ?(?:of |de )?(?:jan|feb|m(?:ä|a)r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz]|f(?:é|e)v|avr|ao(?:û|u)|ene|abr|ago|dic|gen|mag|giu|lug|set|ott)[a-z]{0,7}\\.?,? ?(?:de |del )?(?:19|20)[0-9]{2}"
    "|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\\.? [0-3]?[0-9](?:st|nd|rd|th)?,? (?:19|20)[0-9]{2}|(?:19|20)[0-9]{2}年[0-9]{1,2}月[0-9]{1,2}日|(?:19|20)[0-9]{6})"
)
_BORN = (
    "(?:\\bdob|d\\.o\\.b\\.?|date[ _-]?of[ _-]?birth|birth[ _-]?date|birthday|dateofbirth|birthdate|born(?: on)?|geburtsdatum|geboren(?: am)?|geburtstag|date de naissance|né(?:e)? le|fecha de nacimiento|nacid[oa] el|nascid[oa] (?:em|a)|urodzon[ya]"
    "|data di nascita|nat[oa] il|data de nascimento|geboortedatum|data urodzenia|fødselsdato|födelsedatum|syntymäaika|生年月日|出生日期|생년월일)"
).replace("\\b", "")

_detector = partial(with_form, Pack.PII)


def _ten_digits(value: bytes) -> bool:
    """A North American number: neither area nor exchange begins with 0 or 1."""
    number = validators.digits_of(value)[-10:]
    return len(number) == 10 and number[0] >= "2" and number[3] >= "2" and len(set(number)) > 2


def _document(value: bytes) -> bool:
    """A document number has at least five digits, and is not one digit repeated."""
    return len(validators.digits_of(value)) >= 4 and len(set(value)) > 3


DETECTORS: tuple[Detector, ...] = (
    _detector(
        "email",
        '(?:[0-9A-Za-z._%+-]{1,64}|"[^"\\r\\n@\\\\]{1,62}")(?:@|%40)(?:[0-9A-Za-z][0-9A-Za-z.-]{0,90}\\.(?:xn--[0-9a-z-]{1,59}|[A-Za-z]{2,24})|\\[[0-9.]{7,15}\\])',
        '[0-9A-Za-z._%+"-](?:@|%40)[0-9A-Za-z\\[]',
        156,
        ("mail bob.o-brien+x@mail.example.co.uk now", '"john doe"@example.com', "x=bob%40example.org&y=1", "(a_b@xn--bcher-kva.example)"),
        ("@decorator", "logo@2x.png", "name [at] host", "git@github.com:o/r.git", "react@18.2.0", "a @ b.cc"),
        validate=validators.email,
        not_before=ALNUM | set(b"._%+-"),
        not_after=frozenset(),
        before=72,
    ),
    _detector(
        "email-unicode",
        f"(?:[0-9A-Za-z._%+-]|{_LATIN}){{0,40}}(?:{_LATIN})[0-9A-Za-z._%+-]{{0,16}}(?:@|%40){_DOMAIN}|[0-9A-Za-z._%+-]{{1,64}}(?:@|%40)[0-9A-Za-z.-]{{0,24}}(?:{_LETTER}){_REST_OF_DOMAIN}",
        "[\\x80-\\xbf][0-9A-Za-z._%+-]{0,16}(?:@|%40)[0-9A-Za-z\\xc3-\\xef]|(?:@|%40)[0-9A-Za-z.-]{0,24}[\\xc3-\\xef]",
        420,
        ("jürgen@bücher.example", "an anna@bücher.example bitte", "schreib müller@firma.de."),
        ("ü@", "@bücher", "jürgen at bücher.example"),
        label="EMAIL",
        validate=validators.email,
        not_before=ALNUM | set(b"._%+-"),
        not_after=frozenset(),
        before=130,
    ),
    _detector(
        "phone-international",
        "\\+\\(?[1-9](?:[0-9]|" + _SEPARATOR + "){6,24}[0-9]",
        "\\+\\(?[1-9](?:[0-9 ().\\-/]|\\xc2|\\xe2)",
        60,
        ("+49 30 901820", "call +1 (415) 555-0132 now", "tel:+442079460958", "+33 6 12 34 56 78"),
        ("1+2 = 3", "C++11", "a+12345678", "+0100", "+12"),
        label="PHONE",
        validate=validators.e164,
        not_before=ALNUM | {ord("+")},
        before=8,
    ),
    _detector(
        "phone-north-american",
        "(?:1[ .-])?(?:\\([2-9][0-9]{2}\\)[ .-]?|[2-9][0-9]{2}[.-])[2-9][0-9]{2}[ .-][0-9]{4}",
        "[0-9]{3}[ .)-]{1,2}[0-9]{3}[ .-][0-9]{4}",
        40,
        ("(415) 555-0132", "415-555-0132", "1-800-555-0199", "415.555.0132"),
        ("115-555-0132", "2024-01-31", "415-55-0132", "v1.415.555.01"),
        label="PHONE",
        validate=_ten_digits,
        not_before=ALNUM | set(b"-._/#"),
        not_after=ALNUM | set(b"-_/"),
    ),
    _detector(
        "phone-national-spaced",
        "0[1-9](?:(?:[ .][0-9]{2}){4}|[0-9]{0,3}[ ][0-9]{3,4}[ ][0-9]{3,4})|\\(0[0-9]{1,4}\\)[ -]?[0-9]{3,8}(?:[ -][0-9]{2,4}){0,2}|\\([1-9][0-9]\\)[ ]?9?[0-9]{4}-[0-9]{4}|0[0-9]{1,3}-[0-9]{3,4}-[0-9]{4}|07[0-9]{3}[ ][0-9]{6}|01[5-7][0-9][ /-][0-9]{7,8}",
        "0[1-9][ .][0-9]{2}[ .][0-9]{2}[ .][0-9]{2}|0[1-9][0-9]{0,3} [0-9]{3,4} [0-9]{3}|\\(0[0-9]{1,4}\\)[ -]?[0-9]{3}|\\([1-9][0-9]\\)[ ]?9?[0-9]{4}-|0[0-9]{1,3}-[0-9]{3,4}-[0-9]{4}|07[0-9]{3} [0-9]{3}|01[5-7][0-9][ /-][0-9]{7}",
        40,
        ("01 23 45 67 89", "020 7946 0958", "(030) 901820", "07700 900123", "(11) 91234-5678", "03-1234-5678", "0412 345 678"),
        ("2024 01 02", "0.12 0.34", "05-06-2024", "10 20 30 40"),
        label="PHONE",
        validate=validators.national_phone,
        not_before=ALNUM | set(b"-.,:/+#$"),
        not_after=ALNUM | set(b"-:/%"),
    ),
    _detector(
        "phone-in-context",
        START + "(\\(?[0-9](?:[ ()\\-/]{0,2}[0-9]){8,14})",
        NINE_DIGITS,
        64,
        ("phone: 98765 43210", "Tel. 030 901820", "my mobile number is 4155550132", "Telefon 0151/23456789", "手机 13800138000"),
        ("order 98765 43210", "phone on 2024-01-31", "timestamp 1712345678", "tell 12345678"),
        label="PHONE",
        validate=validators.national_phone,
        words=_PHONE_WORDS,
        words_reach=40,
        group=1,
        not_before=frozenset(),
        not_after=ALNUM | set(b"-_%"),
    ),
    _detector(
        "ipv4",
        "(?:^|[^0-9A-Za-z./])/{0,2}([0-9]{1,3}(?:\\.[0-9]{1,3}){3,7})",
        "\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]",
        40,
        ("from 203.0.113.42.", "http://10.20.30.40:8080/", "ip=192.168.1.77"),
        ("version 1.2.3.4", "Chrome/126.0.0.0", "127.0.0.1", "1.3.6.1.4.1", "12.345.678.999"),
        label="IP",
        validate=validators.ipv4,
        group=1,
        not_before=NOWHERE,
    ),
    _detector(
        "ipv4-resolved",
        "[0-9A-Za-z]/([0-9]{1,3}(?:\\.[0-9]{1,3}){3}):[0-9]{2,5}",
        "/[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}:",
        30,
        ("remote=db.example.net/203.0.113.42:5432", "host/10.20.30.40:80"),
        ("chrome/134.0.68.154", "host/127.0.0.1:80"),
        label="IP",
        validate=validators.ipv4,
        group=1,
        not_before=NOWHERE,
    ),
    _detector(
        "ipv6",
        "(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}(?:%[0-9a-z]{1,8})?|[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,6}::[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,6}(?:%[0-9a-z]{1,8})?",
        "[0-9A-Fa-f]::[0-9A-Fa-f]|:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]",
        60,
        ("2001:db8:85a3::8a2e:370:7334", "fe80::1ff:fe23:4567:890a%eth0", "2001:0db8:85a3:0000:0000:8a2e:0370:7334"),
        ("std::vector<abc::def>", "::1", "12:34:56", "a::b"),
        label="IP",
        validate=validators.ipv6,
        not_before=ALNUM | {ord(":")},
        not_after=ALNUM | {ord(":")},
    ),
    _detector(
        "mac-address",
        "[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{4}\\.[0-9A-Fa-f]{4}\\.[0-9A-Fa-f]{4}",
        "[:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}|[0-9A-Fa-f]{4}\\.[0-9A-Fa-f]{4}\\.[0-9A-Fa-f]{4}",
        40,
        ("00:1a:2B:3c:4d:5e", "mac 00-1A-2B-3C-4D-5E", "001a.2b3c.4d5e"),
        ("ff:ff:ff:ff:ff:ff", "12:34:56", "00:1a:2b:3c:4d:5e:6f"),
        label="MAC",
        validate=validators.mac_address,
        not_before=ALNUM | set(b":-."),
        not_after=ALNUM | set(b":-"),
    ),
    _detector(
        "date-of-birth",
        _BORN + "[\"'*]{0,3}(?:[ \\t]{0,3}(?:is|was|:|=|->|ist|est|es|é|è|,|-)){0,2}[ \\t\"'(]{0,4}(" + _DATE + ")",
        _BORN + "[^0-9a-z]{0,8}",
        120,
        ("DOB: 1984-03-12", "date of birth is 12 March 1984", "geboren am 12.03.1984", '"date_of_birth": "03/12/1984"', "born on March 12th, 1984"),
        ("reborn in 2020", "born in Paris", "birthday cake", "date of order 2024-01-01"),
        group=1,
        ignore_case=True,
    ),
    _detector(
        "passport",
        START + "(" + "[A-Z]{0,3} ?[0-9]{6,9}[A-Z]?|[A-Z][0-9A-Z]{4,8}[0-9]" + ")",
        START + "(?:[A-Z]{0,3} ?[0-9]{6}|[A-Z][0-9A-Z]{4,8}[0-9])",
        24,
        ("passport C01X00T47", "Passport number: 512345678", "Reisepass Nr. C4J7K8T90", '"passport_number": "AB1234567"'),
        ("order C01X00T47", "passport control in 2024", "passport office"),
        validate=_document,
        words=(
            "passport",
            "passeport",
            "reisepass",
            "pasaporte",
            "passaporto",
            "passaporte",
            "paspoort",
            "paszport",
            "паспорт",
            "护照",
            "旅券",
            "パスポート",
            "여권",
            "travel document",
            "ausweis",
            "id card",
        ),
        group=1,
        not_before=NOWHERE,
    ),
    _detector(
        "driving-licence",
        START
        + "("
        + "[A-Z9]{5}[0-9]{6}[A-Z9]{2}[0-9][A-Z]{2}|[A-Z]{1,2}[0-9]{6,13}[A-Z0-9]{0,3}|[A-Z][0-9]{3}-[0-9]{4}-[0-9]{4}|[A-Z][0-9]{2}[A-Z][0-9A-Z]{5,8}"
        + ")",
        "[A-Z][0-9]{6}|[A-Z][0-9]{3}-[0-9]{4}-|[A-Z][0-9]{2}[A-Z][0-9A-Z]{5}|9[0-9]{6}[A-Z9]{2}[0-9][A-Z]{2}",
        40,
        ("driver's license D1234567", "driving licence MORGA657054SM9IJ", "Führerschein B07234567I5", "drivers_license: A123-4567-8901"),
        ("license MIT 2.0", "the driver drove 12345678 miles", "order D1234567"),
        validate=_document,
        words=(
            "driver license",
            "drivers license",
            "driver s license",
            "driver licence",
            "driving licence",
            "driving license",
            "driver s licence",
            "führerschein",
            "permis de conduire",
            "licencia de conducir",
            "carnet de conducir",
            "patente di guida",
            "rijbewijs",
            "carteira de motorista",
            "运转免许",
            "driver licence number",
        ),
        group=1,
        not_before=NOWHERE,
    ),
    _detector(
        "imei",
        START + "([0-9]{15})",
        EIGHT_DIGITS,
        40,
        ("IMEI 490154203237518", "imei: 356938035643809"),
        ("id 490154203237518", "IMEI 490154203237519"),
        validate=lambda value: validators.luhn(validators.digits_of(value)),
        words=("imei",),
        group=1,
        not_before=NOWHERE,
    ),
    _detector(
        "vehicle-id",
        START + "(" + "[A-HJ-NPR-Z0-9]{12}[0-9]{5}" + ")",
        START + "[A-HJ-NPR-Z0-9]{17}",
        40,
        ("VIN 1HGCM82633A004352", "chassis number: WVWZZZ1JZXW000001"),
        ("id 1HGCM82633A004352", "VIN 12345"),
        words=("vin", "chassis", "vehicle identification", "fahrgestellnummer"),
        validate=lambda value: any(65 <= byte <= 90 for byte in value) and any(48 <= byte <= 57 for byte in value),
        group=1,
        not_before=NOWHERE,
    ),
)
