"""Checksums and structures, on published examples and on damaged ones."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.mask import validators

REAL = {
    "card": [
        "4111 1111 1111 1111",
        "5555-5555-5555-4444",
        "378282246310005",
        "6011111111111117",
        "3530111333300000",
        "30569309025904",
        "2223003122003222",
    ],
    "iban": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "fr1420041010050500013m02606", "NO9386011117947"],
    "routing_number": ["021000021", "011401533"],
    "bic": ["DEUTDEFF", "COBADEFFXXX"],
    "base58check": ["1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy"],
    "bech32": ["bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4"],
    "ipv4": ["203.0.113.42", "10.0.0.5", "8.8.4.200", "31.5.6.70"],
    "ipv6": ["2001:db8:85a3::8a2e:370:7334", "fe80::1ff:fe23:4567:890a", "2001:0db8:85a3:0000:0000:8a2e:0370:7334"],
    "mac_address": ["00:1a:2b:3c:4d:5e", "00-1A-2B-3C-4D-5E", "001a.2b3c.4d5e"],
    "email": ["bob@example.com", "bob%40example.com", "bob@[192.0.2.1]"],
    "e164": ["+49 30 901820", "+14155550132"],
    "national_phone": ["4 1 5 5 5 5 0 1 3 2", "4155550132", "030/901820", "01 23 45 67 89"],
    "basic_credentials": ["dXNlcjpwYXNzd29yZDE="],
    "jwt": ["eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.x", "eyJhbGciOiJIUzI1NiIsInR5c"],
    "varied": ["a8f3K2m9Qz7xW1", "wJalrXUtnFEMIqKbPxRfiCYEXAMPLEKEY"],
    "mixed": ["aB3"],
}
FALSE = {
    "card": ["4111 1111 1111 1112", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "0000000000000000", "1712345678901234"],
    "iban": ["DE89 3704 0044 0532 0130 01", "de89a704c0440532013000", "De89370400440532013000", "DE8937040044053201300", "XX89370400440532013000"],
    "routing_number": ["021000022", "999999999", "12345"],
    "bic": ["DEUTXXFF", "DEUTDEF"],
    "base58check": ["1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3", "0OIl", ""],
    "bech32": ["bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", "1", ""],
    "ipv4": ["12.4.31.2", "3.14.15.92", "19.3.0.0", "134.0.68.0", "127.0.0.1", "1.2.3.4", "126.0.0.0", "300.1.2.3", "01.2.3.4", "1.3.6.1.4"],
    "ipv6": ["abc::def", "1:2", "a::b::c", "12::3"],
    "mac_address": ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "00:1a-2b:3c:4d:5e"],
    "email": ["git@github.com", "logo@2x.png", "a@.com", "a@b..com"],
    "e164": ["+0 123", "+1 2"],
    "national_phone": ["0 1 2 3 4 5 6 7 8 9", "5 5 5 0 1 3 2 9", "2024-01-31", "11111111", "123", "31.12.2024"],
    "basic_credentials": ["functionality", "dXNlcg=="],
    "jwt": ["eyJwYWdlIjoxMn0", "eyJ9", "!!"],
    "varied": ["xxxxxxxxxxxx", "your-api-key-1", "someVariableName", "aaaaaaaaaa1", "<token>1", ""],
    "mixed": ["ab3", "AB3", "aBc"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in REAL.items() for value in values])
def test_real_ones_pass(name: str, value: str) -> None:
    assert getattr(validators, name)(value.encode())


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in FALSE.items() for value in values])
def test_look_alikes_fail(name: str, value: str) -> None:
    assert not getattr(validators, name)(value.encode())


def test_one_wrong_digit_is_noticed_in_every_place_of_a_card() -> None:
    for index in range(1, 16):
        number = "4111111111111111"
        wrong = number[:index] + str((int(number[index]) + 1) % 10) + number[index + 1 :]
        assert not validators.card(wrong.encode())


@given(st.binary(max_size=120))
def test_no_bytes_raise(value: bytes) -> None:
    for name in REAL:
        assert getattr(validators, name)(value) in {True, False}


def test_every_public_validator_is_tested() -> None:
    public = {
        name
        for name, function in inspect.getmembers(validators, inspect.isfunction)
        if function.__module__ == validators.__name__ and not name.startswith("_")
    }

    assert public - set(REAL) == {"digits_of", "luhn"}
