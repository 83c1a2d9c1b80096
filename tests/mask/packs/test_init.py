"""All packs together: each detector's own examples, its trigger, and how much of unseen labelled text is found."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from sidecar.mask.detector import Detector, Pack
from sidecar.mask.packs import DETECTORS, labels
from tests.corpus import Planted, planted
from tests.mask.labelled import labelled
from tests.mask.test_windows import reference

TRIGGERS = [(re.compile(detector.trigger.encode(), re.IGNORECASE if detector.ignore_case else 0), detector) for detector in DETECTORS]


def ranges(text: bytes) -> Iterator[tuple[int, int]]:
    """Masked ranges: detectors whose trigger fires search the whole text."""
    fired = [detector for trigger, detector in TRIGGERS if trigger.search(text)]
    for hit in reference(fired, text):
        yield hit.start, hit.end


def masked(text: str) -> bytes:
    out = bytearray(text.encode())
    for start, end in ranges(text.encode()):
        out[start:end] = bytes(end - start)
    return bytes(out)


def leaks(value: str, out: bytes) -> bool:
    """The value, or any eight bytes of it, is still there."""
    raw = value.encode()
    return raw in out or any(raw[at : at + 8] in out for at in range(len(raw) - 7))


def test_names_are_unique_and_labels_well_formed() -> None:
    assert [name for name, count in Counter(detector.name for detector in DETECTORS).items() if count > 1] == []
    assert [detector.name for detector in DETECTORS if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", detector.name)] == []
    assert [detector.label for detector in DETECTORS if not re.fullmatch(r"[A-Z][A-Z0-9_]*", detector.label)] == []


def test_labels_are_few_enough_to_read_and_say_what_a_value_is() -> None:
    named = labels()

    assert sorted(name for names in named.values() for name in names) == sorted(detector.name for detector in DETECTORS)
    assert {"API_KEY", "PASSWORD", "SECRET", "TOKEN", "CREDENTIALS", "PRIVATE_KEY", "EMAIL", "PHONE", "IP", "CARD", "UK_NHS", "GITHUB_TOKEN"} <= set(
        named
    )
    assert len(named) < 250
    assert max(map(len, named)) <= 32


def test_the_secrets_pack_has_two_hundred_formats_and_each_pack_has_some() -> None:
    packs = Counter(detector.pack for detector in DETECTORS)

    assert packs[Pack.SECRETS] >= 200
    assert set(packs) == set(Pack)


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
def test_a_detector_finds_each_example_once_and_no_look_alike(detector: Detector) -> None:
    assert len(detector.matches) >= 2
    assert detector.misses
    assert [text for text in detector.matches if len(reference([detector], text.encode())) != 1] == []
    assert [text for text in detector.misses if reference([detector], text.encode())] == []


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
def test_the_trigger_stands_within_reach_in_each_example(detector: Detector) -> None:
    flags = re.IGNORECASE if detector.ignore_case else 0
    pattern, trigger = re.compile(detector.pattern.encode(), flags), re.compile(detector.trigger.encode(), flags)
    before = detector.reach if detector.before is None else detector.before

    for text in detector.matches:
        for match in pattern.finditer(text.encode()):
            fired = trigger.search(match.group())
            assert fired
            assert fired.end() <= before
            assert len(match.group()) <= before + detector.reach


def test_a_tail_is_what_follows_the_trigger() -> None:
    tailed = [detector for detector in DETECTORS if detector.tail is not None]

    assert len(tailed) >= 6
    assert [one.name for one in tailed if not one.pattern.endswith(f"{one.trigger}{one.tail}")] == []


def test_a_trigger_that_asks_for_the_end_of_the_text_takes_a_quote_too() -> None:
    """Texts in JSON end with one."""
    asking = [detector for detector in DETECTORS if detector.trigger.endswith("$)")]

    assert len(asking) >= 3
    assert [detector.name for detector in asking if not re.search(r"\(\?:\[\^[^]\"]*\]\|\$\)$", detector.trigger)] == []


def test_expressions_keep_to_the_syntax_that_all_engines_share() -> None:
    forbidden = re.compile(r"\(\?[=!<P]|\\[bBwWdDAZ1-9pP]|\(\?[a-z]+[:)]")

    assert [detector.name for detector in DETECTORS if forbidden.search(detector.pattern) or forbidden.search(detector.trigger)] == []


@pytest.mark.parametrize("seed", [20261121, 7])
def test_recall_and_precision_on_labelled_texts(seed: int) -> None:
    texts = list(labelled(seed, 1000))
    positives = [text for text in texts if text.sensitive]
    look_alikes = [text for text in texts if not text.sensitive]

    missed = [text.kind for text in positives if any(leaks(value, masked(text.text)) for value in text.sensitive)]
    changed = [text.kind for text in look_alikes if masked(text.text) != text.text.encode()]

    assert len(missed) <= 0.03 * len(positives), Counter(missed)
    assert len(changed) <= 0.01 * len(look_alikes), Counter(changed)


CONTEXT = {
    "passport": "passport ",
    "password": "password: ",
    "date_of_birth": "born ",
    "url_credentials": "postgres://",
    "aws_secret_access_key": "aws_secret_access_key=",
}


@pytest.mark.parametrize("secret", planted(), ids=lambda secret: secret.type)
def test_planted_secrets_of_the_corpus_are_found(secret: Planted) -> None:
    kind, value = secret.type, secret.value
    text = f"note {CONTEXT.get(kind, '')}{value}{'@db:5432/x' if kind == 'url_credentials' else ''} end"

    assert not leaks(value, masked(text))


def test_a_token_that_was_cut_is_still_found() -> None:
    heads = ["sk-" + "ant-api03-", "gh" + "p_", "xo" + "xb-", "gl" + "pat-", "github_" + "pat_", "sk_" + "live_", "sk-" + "proj-"]

    assert [head for head in heads if b"AbC9dE2f7H1k" in masked(f"the key was {head}AbC9dE2f7H1k")] == []


def test_masked_text_is_not_masked_again() -> None:
    labels = [f"[{detector.label}]" for detector in DETECTORS]
    chance = random.Random(3)
    places = ["password: {}", "token={}", "Authorization: Bearer {}", "postgres://{}@db/x", "my ssn is {}", '"api_key": "{}"', "{}"]

    for place, label in itertools.product(places, chance.sample(labels, 40)):
        text = place.format(label)
        assert masked(text) == text.encode(), text
