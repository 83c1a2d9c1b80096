"""National ids: published examples, numbers drawn from the rules, and numbers with one digit changed."""

from __future__ import annotations

import inspect
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.mask import national
from tests.mask.identities import IDENTITIES

EXAMPLES = {
    "us_ssn": "078-05-1120", "us_itin": "900-70-0000", "uk_nino": "AB123456C", "uk_nhs": "943 476 5919", "uk_utr": "1123456789", "ca_sin": "046 454 286", "au_tfn": "123456782", "au_medicare": "2123456701",
    "au_abn": "51 824 753 556", "de_tax_id": "86095742719", "hr_oib": "33392005961", "de_pension": "15070649C103", "fr_nir": "2 55 08 14 168 025 38", "es_dni": "12345678Z", "it_fiscal_code": "RSSMRA85T10A562S",
    "nl_bsn": "111222333", "be_national": "85.07.30-033 28", "pt_nif": "123456789", "pl_pesel": "44051401359", "pl_nip": "1234563218", "se_personnummer": "811218-9876", "no_national": "01010750160", "fi_hetu": "131052-308T",
    "ch_ahv": "756.9217.0769.85", "at_svnr": "1237010180", "ie_pps": "1234567T", "cz_birth_number": "7103192745", "ro_cnp": "1800101221144", "bg_egn": "7523169263", "br_cpf": "111.444.777-35", "br_cnpj": "11.222.333/0001-81",
    "mx_curp": "BOXW310820HNERXN09", "ar_cuit": "20-12345678-6", "cl_rut": "12.345.678-5", "in_aadhaar": "2341 2341 2346", "cn_resident_id": "11010519491231002X", "jp_my_number": "123456789018", "sg_nric": "S1234567D",
    "za_id": "8001015009087", "tr_tckn": "10000000146", "il_id": "123456782", "tw_id": "A123456789", "hk_id": "A123456(3)", "ru_snils": "112-233-445 95", "th_id": "1101700230708", "ee_isikukood": "37605030299",
    "gr_amka": "01013099997", "hu_tax_id": "8071592153", "in_pan": "ABCPE1234F", "kr_rrn": "901231-1234567", "ru_inn": "500100732259", "dk_cpr": "211062-5629", "plain_digits": "111222333",
}  # fmt: skip
UNCHECKED = {"us_ssn", "us_itin", "uk_nino", "kr_rrn", "dk_cpr", "in_pan", "plain_digits", "au_medicare"}
"""They have no check digit over all places."""


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_published_example_is_valid(name: str) -> None:
    assert getattr(national, name)(EXAMPLES[name].encode())


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - UNCHECKED))
def test_a_changed_last_character_is_not(name: str) -> None:
    """The last digit or letter that counts, raised by one."""
    text = EXAMPLES[name].rstrip(")")
    last = "A" if text[-1] == "Z" else "0" if text[-1] == "9" else chr(ord(text[-1]) + 1)

    assert not getattr(national, name)((text[:-1] + last + EXAMPLES[name][len(text) :]).encode())


def test_every_country_is_tested() -> None:
    public = {
        name
        for name, function in inspect.getmembers(national, inspect.isfunction)
        if function.__module__ == national.__name__ and not name.startswith("_")
    }

    assert public == set(EXAMPLES)


@given(
    st.one_of(
        st.binary(max_size=40),
        st.from_regex(r"[0-9A-Z]{8,18}", fullmatch=True).map(str.encode),
        st.from_regex(r"[0-9]{8,15}", fullmatch=True).map(str.encode),
    )
)
@settings(max_examples=400, deadline=None)
def test_no_bytes_make_any_check_raise(value: bytes) -> None:
    assert {getattr(national, name)(value) for name in EXAMPLES} <= {True, False}


@pytest.mark.parametrize(
    ("country", "check"),
    [
        ("us", "us_ssn"),
        ("br", "br_cpf"),
        ("es", "es_dni"),
        ("nl", "nl_bsn"),
        ("pl", "pl_pesel"),
        ("se", "se_personnummer"),
        ("fi", "fi_hetu"),
        ("ca", "ca_sin"),
        ("uk", "uk_nino"),
        ("nhs", "uk_nhs"),
        ("ch", "ch_ahv"),
        ("cn", "cn_resident_id"),
        ("sg", "sg_nric"),
        ("tr", "tr_tckn"),
        ("de", "de_tax_id"),
        ("fr", "fr_nir"),
        ("za", "za_id"),
        ("kr", "kr_rrn"),
        ("cl", "cl_rut"),
        ("au", "au_tfn"),
        ("pt", "pt_nif"),
    ],
)
def test_numbers_drawn_from_the_rules_are_valid(country: str, check: str) -> None:
    chance = random.Random(country)
    drawn = [IDENTITIES[country][0](chance) for _ in range(50)]

    assert [number for number in drawn if not getattr(national, check)(number.encode())] == []


def test_digits_alone_are_checked_by_their_length() -> None:
    assert national.plain_digits(b"111222333")
    assert not national.plain_digits(b"12345678")
    assert not national.plain_digits(b"11144477730")
