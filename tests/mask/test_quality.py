"""How much is found and how little is hidden that need not be, with the real engine, masker and default policy. Prints no value.

Drawn texts say how well formats are covered, hand-written ones in which surroundings. Figures are by text: one value left makes it a miss.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable

import pytest

from sidecar.mask.masker import Masker, Place
from tests.mask.labelled import Labelled, in_json, labelled
from tests.mask.look_alikes import LOOK_ALIKE
from tests.mask.masking import fresh_tally, masker_of, windows_of
from tests.mask.scenes import POSITIVE, scenes

RECALL_MIN = 0.97
CHANGED_MAX = 0.01
KEY = "gen_ai.input.messages"


@pytest.fixture(scope="module")
def masker() -> Masker:
    return masker_of()


def masked(masker: Masker, text: str) -> str:
    """The text as it leaves, under a key that says nothing about it."""
    scope = masker.policy.scope(None, None)
    out = masker.text(text.encode(), Place(scope, KEY, scope.key(KEY), KEY.encode()), fresh_tally())
    assert out is not None
    return out.decode()


def left(text: Labelled, out: str) -> bool:
    """Whether a sensitive value, or eight bytes of one that stand nowhere else in the text, can still be read."""
    harmless = text.text
    for value in sorted(text.sensitive, key=len, reverse=True):
        harmless = harmless.replace(value, "\x00")
    around = harmless.encode()
    return any(window in out.encode() and window not in around for value in text.sensitive for window in windows_of(value.encode()))


def judged(masker: Masker, texts: Iterable[Labelled]) -> tuple[Counter[str], Counter[str], Counter[str], Counter[str]]:
    """By kind: positives, those missed, look-alikes, those changed."""
    positives, missed, look_alikes, changed = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for text in texts:
        out = masked(masker, text.text)
        if text.sensitive:
            positives[text.kind] += 1
            missed[text.kind] += left(text, out)
        else:
            look_alikes[text.kind] += 1
            changed[text.kind] += out != text.text
    return positives, +missed, look_alikes, +changed


@pytest.mark.parametrize("seed", [11, 2027])
def test_drawn_texts_are_masked_and_their_look_alikes_left(masker: Masker, seed: int) -> None:
    positives, missed, look_alikes, changed = judged(masker, labelled(seed, 1200))

    assert missed.total() <= (1 - RECALL_MIN) * positives.total(), dict(missed)
    assert changed.total() <= CHANGED_MAX * look_alikes.total(), dict(changed)


@pytest.mark.parametrize("seed", [11, 2027])
def test_hand_written_texts_are_masked_and_their_look_alikes_left(masker: Masker, seed: int) -> None:
    positives, missed, look_alikes, changed = judged(masker, scenes(seed, 2))

    assert missed.total() <= (1 - RECALL_MIN) * positives.total(), dict(missed)
    assert changed.total() <= CHANGED_MAX * look_alikes.total(), dict(changed)


def test_there_are_hundreds_of_hand_written_texts() -> None:
    assert sum(map(len, POSITIVE.values())) >= 250
    assert sum(map(len, LOOK_ALIKE.values())) >= 250


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_in_json_in_json_as_much_is_found_and_json_stays_json(masker: Masker, depth: int) -> None:
    chance = random.Random(depth)
    texts = [text for text in labelled(70 + depth, 400) if text.sensitive]
    missed = Counter[str]()
    for text in texts:
        out = masked(masker, in_json(chance, text.text, depth))
        content = out
        for _ in range(depth):
            content = json.loads(content)["content"]
        missed[text.kind] += left(text, content)

    assert (+missed).total() <= (1 - RECALL_MIN) * len(texts), dict(+missed)
