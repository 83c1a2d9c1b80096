"""Numbers that states give people and firms: those with a shape of their own, one detector each, and those that are only digits, one for all. A table.

Digits alone need a word beside them, in the text or in the key. `sidecar.mask.national` has the checksums.
"""

from __future__ import annotations

from sidecar.mask import national
from sidecar.mask.detector import ALNUM, Detector, Pack, Validator
from sidecar.mask.packs.formats import NOWHERE, START
from sidecar.mask.packs.pii import EIGHT_DIGITS, NINE_DIGITS

_WORDS = (
    "ssn", "social security", "social insurance", "sin", "itin", "tin", "ein", "tfn", "abn", "medicare", "nhs", "utr", "nino", "national id", "national insurance", "national identification", "identity number", "id number",
    "citizen id", "citizen number", "personal id", "personal number", "personal code", "tax id", "tax number", "tax file", "taxpayer", "tax ref", "government id", "resident id", "residence permit", "id card", "insurance number",
    "steuer", "idnr", "rentenversicherung", "sozialversicherung", "svnr", "sozvers", "ausweis", "ahv", "avs", "nir", "sécurité sociale", "securite sociale", "numéro de sécu", "insee", "dni", "nie", "nif", "cif", "codice fiscale",
    "partita iva", "bsn", "burgerservice", "sofinummer", "rijksregister", "registre national", "niss", "insz", "contribuinte", "pesel", "nip", "regon", "personnummer", "personnr", "samordning", "fødsels", "fodsels", "fnr", "cpr", "hetu",
    "henkilötunnus", "pps", "ppsn", "rodné", "rodne", "rodného", "cnp", "egn", "егн", "oib", "amka", "αμκα", "adóazonosító", "taj", "isikukood", "asmens kodas", "cpf", "cnpj", "cuit", "cuil", "rut", "curp", "rfc", "aadhaar", "aadhar",
    "uidai", "pan", "身份证", "my number", "mynumber", "マイナンバー", "個人番号", "rrn", "resident registration", "주민등록", "nric", "fin", "hkid", "kimlik", "tckn", "tc no", "teudat", "zehut", "ת.ז", "תעודת זהות", "snils", "снилс",
    "inn", "инн", "id no", "sa id", "rsa id", "บัตรประชาชน", "vat", "ust", "clave única",
)  # fmt: skip


def _detector(
    name: str, pattern: str, trigger: str, validate: Validator, matches: tuple[str, ...], misses: tuple[str, ...], *, words: tuple[str, ...] = (), ignore_case: bool = False,
    not_before: frozenset[int] | None = None, not_after: frozenset[int] = ALNUM | frozenset(b"-"), label: str = "",
) -> Detector:  # fmt: skip
    """``pattern`` begins at `START`, unless ``not_before`` says otherwise."""
    return Detector(
        name,
        label or name.upper().replace("-", "_").removesuffix("_GROUPED"),
        Pack.NATIONAL_IDS,
        f"{START}({pattern})" if not_before is None else pattern,
        trigger,
        48,
        group=int(not_before is None),
        ignore_case=ignore_case,
        not_before=NOWHERE if not_before is None else not_before,
        not_after=not_after,
        validate=validate,
        words=words,
        matches=matches,
        misses=misses,
    )


def _grouped(value: bytes) -> bool:
    """SSN or ITIN, by groups."""
    return national.us_ssn(value) or national.us_itin(value)


_SEVEN_LETTER = START + "(?:[A-Za-z][ -]?|[0-9])?[0-9]{7}[ -]?[A-Za-z]"
"""The trigger of seven or eight digits and a letter. Detectors share it."""
_CORSICAN = f"{97 - 1841219451089 % 97:02d}"

DETECTORS: tuple[Detector, ...] = (
    _detector(
        "us-ssn",
        "[0-9]{3}-[0-9]{2}-[0-9]{4}",
        START + "[0-9]{3}-[0-9]{2}-[0-9]{4}",
        _grouped,
        ("my SSN is 078-05-1120", "900-70-0001"),
        ("000-12-3456", "666-12-3456", "2024-01-2024", "123-45-67890"),
    ),
    _detector(
        "us-ein",
        "[0-9]{2}-[0-9]{7}",
        START + "[0-9]{2}-[0-9]{7}",
        lambda value: len(set(value)) > 3,
        ("EIN 12-3456789", "employer identification 91-1144442"),
        ("part 12-3456789", "EIN 00-0000000"),
        words=("ein", "fein", "employer identification", "tax id", "taxpayer"),
    ),
    _detector(
        "uk-nino",
        "[A-Za-z]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-Da-d]",
        START + "[A-Za-z]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-Da-d]",
        national.uk_nino,
        ("NI AB 12 34 56 C", "AB123456C"),
        ("BG123456C", "AB123456E", "QQ123456C"),
    ),
    _detector(
        "uk-nhs-grouped",
        "[0-9]{3} [0-9]{3} [0-9]{4}",
        START + "[0-9]{3} [0-9]{3} [0-9]{4}(?:[^0-9A-Za-z-]|$)",
        national.uk_nhs,
        ("NHS number 943 476 5919", "patient nhs: 943 476 5919"),
        ("943 476 5919", "NHS 943 476 5918"),
        words=("nhs", "patient", "health"),
    ),
    _detector(
        "de-pension-number",
        "[0-9]{2} ?[0-9]{6} ?[A-Z] ?[0-9]{3}",
        START + "[0-9]{2} ?[0-9]{6} ?[A-Z] ?[0-9]{3}",
        national.de_pension,
        ("15070649C103", "RVNR 15 070649 C 103"),
        ("15070649C104", "15079949C103"),
    ),
    _detector(
        "fr-nir-corsican",
        "[12] ?[0-9]{2} ?[0-9]{2} ?2[AB] ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}",
        "2[AB] ?[0-9]{3} ?[0-9]{3}",
        national.fr_nir,
        (
            f"1 84 12 2A 451 089 {_CORSICAN}",
            f"184122A451089{_CORSICAN}",
        ),
        ("184122A45108900", "2A 451 089"),
    ),
    _detector(
        "fr-nir-grouped",
        "[123478] ?[0-9]{2} [0-9]{2} [0-9]{2} [0-9]{3} [0-9]{3} ?[0-9]{2}",
        START + "[123478] ?[0-9]{2} [0-9]{2} [0-9]{2} [0-9]{3} [0-9]{3}",
        national.fr_nir,
        ("2 55 08 14 168 025 38", "nir: 2 55 08 14 168 025 38"),
        ("2 55 08 14 168 025 39", "55 08 14 168 025"),
    ),
    _detector(
        "es-dni",
        "(?:[0-9]{8}|[XYZxyz][ -]?[0-9]{7})[ -]?[A-Za-z]",
        _SEVEN_LETTER,
        national.es_dni,
        ("DNI 12345678Z", "X1234567L", "12345678-Z"),
        ("12345678A", "1234567Z"),
    ),
    _detector(
        "it-fiscal-code",
        "[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]",
        "[A-Z]{3}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z]",
        national.it_fiscal_code,
        ("RSSMRA85T10A562S", "cf: rssmra85t10a562s"),
        ("RSSMRA85T10A562T", "RSSMRA85"),
        ignore_case=True,
    ),
    _detector(
        "be-national-number",
        "[0-9]{2}\\.[0-9]{2}\\.[0-9]{2}[- ][0-9]{3}[. -][0-9]{2}",
        "[0-9]{2}\\.[0-9]{2}[- ][0-9]{3}[. -][0-9]{2}",
        national.be_national,
        ("85.07.30-033.28", "RRN 85.07.30-033 28"),
        ("85.07.30-033.29", "85.07.30"),
    ),
    _detector(
        "se-personnummer",
        "(?:19|20)?[0-9]{6}[-+][0-9]{4}",
        "[0-9]{6}[-+][0-9]{4}",
        lambda value: national.se_personnummer(value) or national.dk_cpr(value),
        ("811218-9876", "19811218-9876", "211062-5629"),
        ("819918-9876", "811218-98765"),
        not_before=ALNUM | frozenset(b"-./"),
    ),
    _detector(
        "fi-hetu",
        "[0-3][0-9][01][0-9]{3}[-+ABCDEFYXWVUabcdefyxwvu][0-9]{3}[0-9A-Ya-y]",
        START + "[0-3][0-9][01][0-9]{3}[-+A-FU-Ya-fu-y][0-9]{3}[0-9A-Ya-y]",
        national.fi_hetu,
        ("131052-308T", "010594Y9032".replace("Y9032", "A903" + "0123456789ABCDEFHJKLMNPRSTUVWXY"[10594903 % 31])),
        ("131052-308U", "131052-3"),
    ),
    _detector(
        "ch-ahv",
        "756[. ]?[0-9]{4}[. ]?[0-9]{4}[. ]?[0-9]{2}",
        START + "756[. ]?[0-9]{4}[. ]?[0-9]{4}",
        national.ch_ahv,
        ("756.9217.0769.85", "AHV 7569217076985"),
        ("756.9217.0769.84", "756.921"),
    ),
    _detector(
        "ie-pps",
        "[0-9]{7}[A-Wa-w][A-IWa-iw]?",
        _SEVEN_LETTER,
        national.ie_pps,
        ("PPS 1234567T", "PPSN: 1234567FA"),
        ("1234567T", "PPS 1234567A"),
        words=("pps", "ppsn", "personal public service"),
    ),
    _detector(
        "cz-birth-number",
        "[0-9]{6}/[0-9]{4}",
        "[0-9]{6}/[0-9]{4}",
        national.cz_birth_number,
        ("710319/2745", "rodné číslo 710319/2745"),
        ("710319/2746", "719919/2745"),
        not_before=ALNUM | frozenset(b"-./"),
        not_after=ALNUM | frozenset(b"/"),
    ),
    _detector(
        "br-cpf",
        "[0-9]{3}\\.[0-9]{3}\\.[0-9]{3}-[0-9]{2}",
        "\\.[0-9]{3}-[0-9]{2}",
        national.br_cpf,
        ("CPF 111.444.777-35", "cpf:529.982.247-25"),
        ("111.444.777-36", "111.111.111-11"),
    ),
    _detector(
        "br-cnpj",
        "[0-9]{2}\\.[0-9]{3}\\.[0-9]{3}/[0-9]{4}-[0-9]{2}",
        "/[0-9]{4}-[0-9]{2}",
        national.br_cnpj,
        ("CNPJ 11.222.333/0001-81", "11.444.777/0001-61"),
        ("11.222.333/0001-82", "2024/2024-01"),
    ),
    _detector(
        "mx-curp",
        "[A-Z]{4}[0-9]{6}[HMX][A-Z]{5}[0-9A-Z][0-9]",
        START + "[A-Z]{4}[0-9]{6}[HMX]",
        national.mx_curp,
        ("BOXW310820HNERXN09", "curp boxw310820hnerxn09"),
        ("BOXW310820HNERXN08", "BOXW310820"),
        ignore_case=True,
    ),
    _detector(
        "mx-rfc",
        "[A-Z&]{3,4}[0-9]{6}[0-9A-Z]{3}",
        START + "[A-Z&]{3,4}[0-9]{6}[0-9A-Z]",
        lambda value: 1 <= int(value[-7:-5]) <= 12,
        ("RFC GODE561231GR8", "rfc: ABC680524P76"),
        ("GODE561231GR8", "RFC GODE569931GR8"),
        words=("rfc", "registro federal"),
    ),
    _detector(
        "ar-cuit",
        "[23][0-9]-[0-9]{8}-[0-9]",
        START + "[23][0-9]-[0-9]{8}-[0-9]",
        national.ar_cuit,
        ("20-12345678-6", "CUIT 20-12345678-6"),
        ("20-12345678-7", "50-12345678-6"),
    ),
    _detector(
        "cl-rut",
        "[0-9]{1,2}\\.?[0-9]{3}\\.?[0-9]{3}-[0-9Kk]",
        START + "[0-9]{1,2}\\.?[0-9]{3}\\.?[0-9]{3}-[0-9Kk]",
        national.cl_rut,
        ("12.345.678-5", "RUT 12345678-5"),
        ("12.345.678-6", "678-5"),
    ),
    _detector(
        "in-aadhaar",
        "[2-9][0-9]{3}[ -][0-9]{4}[ -][0-9]{4}",
        START + "[0-9]{4}[ -][0-9]{4}[ -][0-9]{4}(?:[^0-9A-Za-z-]|$)",
        national.in_aadhaar,
        ("2341 2341 2346", "aadhaar 2341-2341-2346"),
        ("2341 2341 2347", "1341 2341 2346"),
    ),
    _detector(
        "in-pan",
        "[A-Za-z]{5}[0-9]{4}[A-Za-z]",
        "[A-Za-z]{3}[0-9]{4}[A-Za-z]",
        national.in_pan,
        ("PAN ABCPE1234F", "permanent account number: ABCPE1234F"),
        ("code ABCPE1234F", "PAN ABCDE1234F"),
        words=("pan", "permanent account", "income tax", "tax id"),
    ),
    _detector(
        "cn-resident-id",
        "[1-9][0-9]{16}[0-9Xx]",
        EIGHT_DIGITS,
        national.cn_resident_id,
        ("11010519491231002X", "身份证:11010519491231002X"),
        ("110105194912310021", "11010519991331002X"),
    ),
    _detector(
        "jp-my-number-grouped",
        "[0-9]{4}[ -][0-9]{4}[ -][0-9]{4}",
        START + "[0-9]{4}[ -][0-9]{4}[ -][0-9]{4}(?:[^0-9A-Za-z-]|$)",
        national.jp_my_number,
        ("マイナンバー 1234 5678 9018", "my number: 1234-5678-9018"),
        ("1234 5678 9018", "my number 1234 5678 9019"),
        words=("my number", "mynumber", "マイナンバー", "個人番号", "individual number"),
    ),
    _detector(
        "kr-rrn",
        "[0-9]{6}-[1-8][0-9]{6}",
        START + "[0-9]{6}-[1-8][0-9]{6}",
        national.kr_rrn,
        ("901231-1234567", "주민등록번호 850101-2345678"),
        ("909931-1234567", "901231-9234567"),
    ),
    _detector(
        "sg-nric",
        "[STFGMstfgm][0-9]{7}[A-Za-z]",
        _SEVEN_LETTER,
        national.sg_nric,
        ("S1234567D", "nric: s1234567d"),
        ("S1234567E", "A1234567D"),
    ),
    _detector(
        "tw-id",
        "[A-Z][1289][0-9]{8}",
        START + "[A-Z][1289][0-9]{8}",
        national.tw_id,
        ("A123456789", "id F131104093"),
        ("A123456788", "A323456789"),
    ),
    _detector(
        "hk-id",
        "[A-Z]{1,2}[0-9]{6}\\([0-9A]\\)",
        START + "[A-Z]{1,2}[0-9]{6}\\(",
        national.hk_id,
        ("A123456(3)", "HKID A123456(3)."),
        ("A123456(4)", "f123456(3)"),
    ),
    _detector(
        "ru-snils",
        "[0-9]{3}-[0-9]{3}-[0-9]{3}[ -][0-9]{2}",
        START + "[0-9]{3}-[0-9]{3}-[0-9]{3}[ -][0-9]{2}",
        national.ru_snils,
        ("112-233-445 95", "СНИЛС 112-233-445 95"),
        ("112-233-445 96", "112-233-445"),
    ),
    _detector(
        "ca-sin-grouped",
        "[0-9]{3}[ -][0-9]{3}[ -][0-9]{3}",
        START + "[0-9]{3}[ -][0-9]{3}[ -][0-9]{3}(?:[^0-9A-Za-z-]|$)",
        lambda value: national.ca_sin(value) or national.au_tfn(value),
        ("SIN 130-692-544", "TFN 123 456 782"),
        ("130-692-544", "SIN 130-692-545"),
        words=("sin", "social insurance", "tfn", "tax file"),
    ),
    _detector(
        "national-id",
        "[0-9](?:[ /-]?[0-9]){8,14}",
        NINE_DIGITS,
        national.plain_digits,
        ("BSN 111222333", "cpf 11144477735", "Steuer-ID: 86 095 742 719", "PESEL 44051401359", "your ssn 078051120"),
        ("order 111222333", "CPF 11144477730", "using 111222333", "since 11144477735"),
        words=_WORDS,
        not_after=ALNUM | frozenset(b"-_%"),
    ),
)
