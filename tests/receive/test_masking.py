"""The parts of masking together: engines that are kept or made anew, their cache, failures, counts, and that it is one mask at every moment."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from sidecar.config import Masking as Settings
from sidecar.errors import ConfigError
from sidecar.mask.engine import Engine, Scan
from sidecar.mask.stdlib_engine import StdlibScanner
from sidecar.mask.windows import Limits, Search
from sidecar.observe.metrics import Metrics
from sidecar.receive.masking import CACHE_FOLDER, Masking, Rules, RulesParser, nothing_masked, own_folder, rules_parser
from sidecar.receive.pipeline import Mask, Pipeline
from tests.mask.masking import CARD, EMAIL, KEYS, batch_of, left_of
from tests.receive.rig import run
from tests.spans import request, span

OWN: Mapping[str, object] = {"patterns": [{"name": "employee-id", "pattern": "EMP-[0-9]{6}", "label": "EMPLOYEE"}]}
BADGE = "EMP-" + "493021"
NOW_MS = 1_795_000_000_000


class Broken(Engine):
    """An engine that fails on texts which hold a certain word, as a defect of a C++ package would."""

    def __init__(self, like: Engine) -> None:
        search = Search(like.detectors, Limits())
        super().__init__(search, StdlibScanner(search.triggers))

    def scan(self, text: bytes) -> Scan:
        if b"crash" in text:
            raise RuntimeError(f"no match in {text!r}")
        return super().scan(text)


def parser(cache: Path | None = None) -> RulesParser:
    return RulesParser(Settings(), KEYS, cache)


@pytest.fixture(scope="module")
def shipped() -> Rules:
    return parser()({})


def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def count(of: Metrics, name: str, **labels: str) -> float:
    return of.registry.get_sample_value(f"sidecar_{name}_total", labels) or 0.0


def through(mask: Mask, text: str) -> bytes:
    """What leaves the pipeline of a sidecar without enrichment."""
    sent = request(span(attributes={"note": text, "other": f"by {EMAIL}"})).SerializeToString()
    batch = batch_of(sent)
    run(Pipeline(mask, None).process(batch, sent, NOW_MS))
    return batch.request.SerializeToString()


def test_what_the_mask_hides_is_counted(shipped: Rules) -> None:
    counted = metrics()
    mask = Masking(shipped, counted)

    for _ in range(2):
        assert left_of([CARD, EMAIL], through(mask, f"pay with {CARD}")) == []

    assert count(counted, "masked_values", detector="email", action="label") == 2
    assert count(counted, "masked_values", detector="card", action="partial") == 2


def test_a_defect_of_the_engine_hides_the_value_and_nothing_else(shipped: Rules, caplog: pytest.LogCaptureFixture) -> None:
    counted = metrics()

    left = through(Masking(Rules(shipped.policy, Broken(shipped.engine)), counted), f"crash on {CARD}")

    assert b"[MASKING_FAILED]" in left and b"by [EMAIL]" in left
    assert left_of([CARD, EMAIL, "crash on"], left) == []
    assert count(counted, "masking_failures", reason="error") == 1
    assert CARD not in caplog.text


def test_a_value_over_the_limit_is_hidden_and_counted() -> None:
    counted = metrics()
    rules = parser()({"limits": {"max_value_kib": 1}})

    left = through(Masking(rules, counted), "x" * 2000 + CARD)

    assert b"[MASKING_FAILED]" in left and b"xxxxxxxx" not in left
    assert sum(sample.value for family in counted.masking_failures.collect() for sample in family.samples if sample.name.endswith("_total")) == 1


def test_compiled_databases_are_kept_in_a_folder_of_ones_own_only(tmp_path: Path) -> None:
    assert own_folder(None) is None
    assert own_folder(tmp_path / "masking") == tmp_path / "masking"
    assert own_folder(tmp_path / "missing" / "masking") is None

    (tmp_path / "masking").chmod(0o777)
    assert own_folder(tmp_path / "masking") is None


def test_a_batch_under_way_ends_with_the_rules_it_began_with(shipped: Rules) -> None:
    mask = Masking(shipped, metrics())
    batches = [batch_of(request(*(span(name=f"{BADGE} {EMAIL}", attributes={"note": "x" * 100_000}) for _ in range(4)))) for _ in range(2)]
    old = iter(mask(batches[0]))
    next(old)

    mask.use(parser()(OWN))
    new = iter(mask(batches[1]))
    for each in (new, old):
        for _ in each:
            pass
    first, second = (batch.request.SerializeToString() for batch in batches)

    assert first.count(BADGE.encode()) == 4 and left_of([EMAIL], first) == []
    assert left_of([BADGE, EMAIL], second) == []


def test_a_policy_that_looks_for_the_same_keeps_the_engine() -> None:
    parse = parser()
    first = parse({})

    assert parse({"detectors": {"email": "hmac"}, "dry_run": True}).engine is first.engine
    assert parse({"limits": {"max_hits": 5}}).engine is not first.engine
    own = parse(OWN)
    assert own.engine is not first.engine and own.engine.detectors == own.policy.detectors
    assert parse(OWN).policy.digest == own.policy.digest
    assert len(parse({"packs": {"pii": "off"}}).engine.detectors) < len(first.engine.detectors)


def test_after_a_bad_policy_the_engine_still_fits_the_next_good_one() -> None:
    parse = parser()
    first = parse({})
    with pytest.raises(ConfigError, match="nonsense"):
        parse({"nonsense": 1})

    assert parse({}).engine is first.engine


def test_the_compiled_database_is_kept_beside_the_buffer_for_its_owner_alone(tmp_path: Path) -> None:
    parse = rules_parser(Settings(engine="hyperscan"), KEYS, str(tmp_path / "buffer.db"))
    assert parse({}).engine.name == "hyperscan"
    folder = tmp_path / CACHE_FOLDER

    file, words = sorted(folder.iterdir())

    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, file, words)] == [0o700, 0o600, 0o600]
    good = file.read_bytes()
    file.write_bytes(good[: len(good) // 2] + bytes(64) + good[len(good) // 2 + 64 :])
    assert left_of([EMAIL], through(Masking(rules_parser(Settings(), KEYS, str(tmp_path / "buffer.db"))({}), metrics()), EMAIL)) == []
    assert file.read_bytes()[:32] == good[:32]


def test_a_directory_that_can_not_be_made_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / CACHE_FOLDER).write_text("in the way")

    rules = rules_parser(Settings(), KEYS, str(tmp_path / "buffer.db"))({})

    assert left_of([EMAIL], through(Masking(rules, metrics()), EMAIL)) == []


def test_a_buffer_in_memory_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    rules_parser(Settings(), KEYS, ":memory:")({})

    assert list(tmp_path.iterdir()) == []


def test_a_sidecar_that_masks_nothing_changes_nothing() -> None:
    assert EMAIL.encode() in through(nothing_masked, EMAIL)
