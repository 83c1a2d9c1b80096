"""Every engine finds the same, and the choice among them."""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidecar.mask.detector import Detector
from sidecar.mask.engine import Engine, Wanted, choose_engine
from sidecar.mask.hyperscan_engine import compile_triggers
from sidecar.mask.packs import DETECTORS
from sidecar.mask.windows import BadDetector, Limits, Search, WorkLimit
from tests import corpus
from tests.mask.labelled import labelled
from tests.mask.matching import texts_of
from tests.mask.test_windows import SMALL_TABLE, detector, reference, texts

WANTED: tuple[Wanted, ...] = ("hyperscan", "re2", "stdlib")
ENGINES = {wanted: choose_engine(SMALL_TABLE, wanted) for wanted in WANTED}


def corpus_texts() -> list[bytes]:
    """Each different string of more than 20 bytes in every tenth captured request."""
    found: dict[bytes, None] = {}
    for request in corpus.trace_requests()[::10]:
        if not request.is_json:
            for spans in ExportTraceServiceRequest.FromString(request.body).resource_spans:
                for scope in spans.scope_spans:
                    for span in scope.spans:
                        found.update((attribute.value.string_value.encode(), None) for attribute in span.attributes)
    return [text for text in found if len(text) > 20]


@settings(max_examples=200, deadline=None)
@given(texts, st.sampled_from([b"", b"passport_no"]))
def test_every_engine_finds_what_the_plain_search_finds(text: bytes, words_in: bytes) -> None:
    expected = reference(SMALL_TABLE, text, words_in)

    assert {name: engine.find(text, words_in) for name, engine in ENGINES.items()} == dict.fromkeys(ENGINES, expected)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_searched_by_every_engine_alike(text: bytes) -> None:
    assert [engine.find(text) for engine in ENGINES.values()] == [reference(SMALL_TABLE, text)] * len(ENGINES)


def test_every_engine_finds_the_same_in_captured_texts() -> None:
    samples = corpus_texts()
    differing = [number for number, text in enumerate(samples) if len({tuple(engine.find(text)) for engine in ENGINES.values()}) != 1]

    assert len(samples) > 100
    assert differing == []
    assert sum(len(ENGINES["hyperscan"].find(text)) for text in samples) > 0


@pytest.fixture(scope="module")
def shipped() -> list[Engine]:
    return [choose_engine(DETECTORS, wanted) for wanted in WANTED]


def test_every_engine_finds_the_same_with_the_shipped_detectors(shipped: list[Engine]) -> None:
    samples = corpus_texts()[::5] + [text.encode() for one in DETECTORS for text in one.matches + one.misses]

    assert [number for number, text in enumerate(samples) if len({tuple(engine.find(text)) for engine in shipped}) != 1] == []


def test_every_engine_finds_the_same_in_labelled_texts(shipped: list[Engine]) -> None:
    samples = [one.text.encode() for one in labelled(3, 400)]

    assert [number for number, text in enumerate(samples) if len({tuple(engine.find(text)) for engine in shipped}) != 1] == []


def test_vectors_of_numbers_hold_nothing_and_cost_little() -> None:
    """Limits a hundredth of the usual ones are enough for them."""
    rng = random.Random(5)
    engine = choose_engine(DETECTORS, limits=Limits(steps=120_000, steps_per_byte=0))
    vectors = [[rng.gauss(0, 0.05) for _ in range(768)], [round(rng.uniform(-1, 1), 7) for _ in range(1536)]]

    assert [engine.find(json.dumps(vector).encode()) for vector in vectors] == [[], []]


def test_hyperscan_takes_every_trigger_of_the_shipped_detectors() -> None:
    """One that it refuses is searched with `re` through all of every text: 200 us/KB."""
    triggers = Search(DETECTORS, Limits()).triggers

    assert [triggers[number][0] for number in compile_triggers(triggers).refused] == []


def trigger_faults(one: Detector, text: bytes) -> Iterator[str]:
    """What is wrong with a detector's trigger and reach, by one text that its pattern matches as a whole."""
    before = one.reach if one.before is None else one.before
    if len(text) > before + one.reach:
        yield f"a match of {len(text)} bytes is longer than before + reach"
    trigger = re.compile(one.trigger.encode(), re.IGNORECASE if one.ignore_case else 0)
    ends = [match.end() for match in trigger.finditer(text)]
    if not any(end <= before and len(text) - end <= one.reach for end in ends):
        yield f"no trigger within reach; it ends at {ends} of {len(text)}"


@pytest.mark.parametrize("one", [*SMALL_TABLE, *DETECTORS], ids=lambda one: one.name)
def test_whatever_a_pattern_matches_fires_the_trigger_within_reach(one: Detector) -> None:
    texts = texts_of(one.pattern, 30, ignore_case=one.ignore_case)

    assert len(texts) > 20
    assert [fault for text in texts for fault in trigger_faults(one, text)] == []


def test_a_trigger_that_does_not_cover_its_pattern_is_noticed() -> None:
    assert list(trigger_faults(detector("bad", "ab?c", "bc", 4), b"ac")) != []
    assert list(trigger_faults(detector("bad", "a{9}bc", "bc", 4), b"aaaaaaaaabc")) != []


@pytest.mark.parametrize(
    "bad",
    [
        detector("in-the-middle", "ab?c", "bc", 4),
        detector("starts-far-before", "a{1,9}bc", "bc", 6),
        detector("ends-far-behind", "ab[0-9]{1,30}", "ab", 29),
        detector("one-branch", "(?:ab|cd|ef)x", "(?:ab|ef)x", 9),
        detector("one-member", r"a[^\sx-z]\db", r"a[!-~]\db", 9),
    ],
    ids=lambda one: one.name,
)
def test_a_wrong_trigger_or_reach_is_noticed_among_the_texts_that_are_made(bad: Detector) -> None:
    assert [fault for text in texts_of(bad.pattern, 30) for fault in trigger_faults(bad, text)] != []


def test_texts_are_made_with_every_branch_both_lengths_and_both_cases() -> None:
    texts = texts_of("(?:ab|cd)[0-9]{2,40}", 30, ignore_case=True)

    assert {len(text) for text in texts} >= {4, 42}
    assert {text[:2] for text in texts} >= {b"ab", b"cd", b"AB", b"cD"}


def test_hyperscan_is_the_first_choice_then_re2_then_the_standard_library(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (choose_engine(SMALL_TABLE).name, choose_engine(SMALL_TABLE).passed_over) == ("hyperscan", ())

    monkeypatch.setitem(sys.modules, "hyperscan", None)
    monkeypatch.delitem(sys.modules, "sidecar.mask.hyperscan_engine", raising=False)
    second = choose_engine(SMALL_TABLE)
    assert (second.name, second.passed_over) == ("re2", ("hyperscan: not installed",))

    monkeypatch.setitem(sys.modules, "re2", None)
    monkeypatch.delitem(sys.modules, "sidecar.mask.re2_engine", raising=False)
    third = choose_engine(SMALL_TABLE, "re2")
    assert (third.name, third.passed_over) == ("stdlib", ("re2: not installed",))


def test_an_engine_that_fails_to_start_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("AKIA")

    monkeypatch.setattr("sidecar.mask.hyperscan_engine.HyperscanScanner", fail)

    assert choose_engine(SMALL_TABLE).passed_over == ("hyperscan: does not work here (MemoryError)",)


@pytest.mark.parametrize("wanted", WANTED)
def test_a_wrong_trigger_is_refused_whatever_the_engine(wanted: Wanted) -> None:
    with pytest.raises(BadDetector, match="^broken"):
        choose_engine([detector("broken", "a", "(", 3)], wanted)


@settings(max_examples=100, deadline=None)
@given(texts, st.integers(1, 40_000), st.integers(1, 5))
def test_every_engine_gives_up_at_the_same_work(text: bytes, steps: int, hits: int) -> None:
    limits = Limits(hits=hits, steps=steps, steps_per_byte=0)
    ends = []
    for engine in ENGINES.values():
        try:
            ends.append(str(Engine(Search(SMALL_TABLE, limits), engine.scanner).find(text)))
        except WorkLimit as limit:
            ends.append(limit.reason)

    assert len(set(ends)) == 1


@pytest.mark.parametrize("engine", ENGINES.values(), ids=lambda engine: engine.name)
def test_a_text_that_is_too_long_is_refused(engine: Engine) -> None:
    limited = choose_engine(SMALL_TABLE, engine.name, Limits(value_bytes=10))  # type: ignore[arg-type]  # its name is one of the wanted ones

    with pytest.raises(WorkLimit):
        limited.find(b"x" * 11)
    assert limited.find(b"x" * 10) == []


@pytest.mark.parametrize("separator", ['": "', '":"', '" :\n"'])
def test_a_part_of_a_scan_is_searched_as_if_it_stood_alone(separator: str) -> None:
    """With the member's name before it, which is a context word as well, whatever stands around both."""
    engine = choose_engine(DETECTORS)
    chance = random.Random(separator)
    examples = [text for one in DETECTORS for text in one.matches + one.misses]
    differing = []
    for inner in examples:
        name = chance.choice(["content", "token", "user password", "iban", "phone_no", "apiKey", "x"])
        left = chance.choice(['{"a": "', '{"card ', "[", '["']) + chance.choice(examples) + '", "'
        layer = f'{left}{name}{separator}{inner}", "{chance.choice(examples)}'.encode()
        name_at = len(left.encode()) - 1
        start = name_at + 1 + len(name) + len(separator)
        end, before = start + len(inner.encode()), f'"{name}": "'.encode()
        part = engine.scan(layer).part(name_at, start, end, before)
        if part.hits(name.encode()) != engine.find(before + inner.encode(), name.encode()) or part.text != before + inner.encode():
            differing.append((name, inner))

    assert differing == []


def test_a_long_search_pauses_and_finds_the_same() -> None:
    engine = ENGINES["hyperscan"]
    text = b"write to bob@example.com, " * 2000
    turns = engine.find_in_turns(text)
    pauses = sum(1 for _ in turns)

    assert pauses > 1
    assert len(engine.find(text)) == 2000


def test_every_word_is_context_for_every_detector() -> None:
    engine = ENGINES["hyperscan"]

    assert [engine.detectors[hit.detector].name for hit in engine.find(b"123456789", engine.every_word)] == ["passport"]
