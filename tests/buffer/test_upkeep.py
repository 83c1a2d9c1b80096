from __future__ import annotations

from dataclasses import replace as changed
from pathlib import Path

import pytest

from sidecar.buffer import upkeep
from sidecar.buffer.core import DRAIN_BYTES, BufferCore
from sidecar.buffer.leases import Buried
from sidecar.buffer.records import Filter, Group, Kind, Settlement, SettlingRow
from sidecar.wire.rows import Row
from tests.buffer.builders import ANY, NOW_MS, append, assert_balanced, file, read_backlog, row
from tests.buffer.test_reading import flip


def backlog(core: BufferCore) -> tuple[Row, ...]:
    return read_backlog(core, "default", 0, frozenset(), ANY, 10_000).rows


def bury_all(core: BufferCore) -> None:
    core.commit(Group(settlements=[Settlement(1, buried=tuple((found, Buried("refused", "no")) for found in backlog(core)))]))


def test_settling_rows_are_due_in_the_order_of_their_time(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(row(b"late", seal_at_ms=30), row(b"soon", seal_at_ms=10), row(b"sealed"), row(b"next", seal_at_ms=20))]))

        assert upkeep.next_seal_ms(found.core) == 10
        assert [due.row.body for due in upkeep.due_to_seal(found.core, 20, 10)] == [b"soon", b"next"]
        assert [due.id for due in upkeep.due_to_seal(found.core, 99, 1)] == [2]


def test_a_row_is_sealed_as_it_is_or_rewritten_in_its_place(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(row(b"plain", seal_at_ms=1), row(b"poor", seal_at_ms=1, spans=2))]))
        plain, poor = upkeep.due_to_seal(found.core, 1, 10)

        sealed = upkeep.seal(found.core, [(plain, None), (poor, changed(poor.row, body=b"much richer"))])

        assert [(done.id, done.body) for done in sealed] == [(1, b"plain"), (2, b"much richer")]
        assert backlog(found.core) == tuple(sealed)
        assert upkeep.next_seal_ms(found.core) is None
        assert_balanced(found.core)


def test_a_row_is_rewritten_at_most_once(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(row(b"first", seal_at_ms=1))]))
        (due,) = upkeep.due_to_seal(found.core, 1, 10)
        upkeep.seal(found.core, [(due, None)])

        assert upkeep.seal(found.core, [(due, changed(due.row, body=b"again"))]) == []
        assert [found.body for found in backlog(found.core)] == [b"first"]


def test_a_row_that_left_meanwhile_is_not_brought_back_by_sealing(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(row(seal_at_ms=1))]))
        (due,) = upkeep.due_to_seal(found.core, 1, 10)
        upkeep.purge(found.core, Kind.PENDING, Filter(), 0, frozenset())

        assert upkeep.seal(found.core, [(due, due.row)]) == []
        assert_balanced(found.core)


def test_sealing_must_not_change_the_count_of_spans(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found, pytest.raises(ValueError, match="spans"):
        upkeep.seal(found.core, [(SettlingRow(1, row(spans=2)), row(spans=1))])


def test_a_damaged_settling_row_is_quarantined(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(row(b"bad", seal_at_ms=1), row(b"good", seal_at_ms=1))]))
        flip(found.core, 1)

        assert [due.id for due in upkeep.due_to_seal(found.core, 1, 10)] == [2]
        assert_balanced(found.core)


def test_a_row_gives_way_to_its_parts_which_are_in_flight_too(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(row(b"two", spans=2), row(b"other"))]))
        whole = backlog(found.core)[0]

        parts = upkeep.replace(found.core, 5, whole, [row(b"a"), row(b"b")])

        assert [(part.id, part.body) for part in parts] == [(3, b"a"), (4, b"b")]
        assert found.core.db.execute("SELECT * FROM in_flight").fetchall() == [(5, "default", 3, 4)]
        assert_balanced(found.core)
        with pytest.raises(ValueError, match="spans"):
            upkeep.replace(found.core, 5, parts[0], [row(), row()])


def test_parts_of_an_ambiguous_row_are_ambiguous(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(row(spans=2))]))
        found.core.commit(Group(settlements=[Settlement(1, ambiguous=(1,))]))

        parts = upkeep.replace(found.core, 5, backlog(found.core)[0], [row(), row()])

        assert all(part.ambiguous for part in parts)
        assert backlog(found.core) == tuple(parts)


def test_old_rows_expire_but_not_those_that_are_being_sent(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        ages = (1, 2, 3, 9, 9)
        found.core.commit(Group([append(*(row(spans=2, received_ms=age, seal_at_ms=None if age > 1 else 5) for age in ages))]))

        gone = upkeep.expire(found.core, 5, {2})

        assert [(row.id, row.settling) for row in gone] == [(1, True), (3, False)]
        assert found.core.ledger.totals["expired", ""] == 4
        assert upkeep.expire(found.core, 5, {2}) == []
        assert_balanced(found.core)


def test_expiry_goes_on_behind_a_stretch_that_is_being_sent(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(*(row(received_ms=1) for _ in range(upkeep.STEP_ROWS + 2)))]))

        gone = upkeep.expire(found.core, 5, set(range(1, upkeep.STEP_ROWS + 1)))

        assert [row.id for row in gone] == [upkeep.STEP_ROWS + 1, upkeep.STEP_ROWS + 2]


def test_a_purge_takes_what_matches_and_counts_pending_rows_only(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(row(b"poison", spans=2))]))
        bury_all(found.core)
        found.core.commit(Group([append(row(trace=1), row(trace=2, spans=4), row(trace=2, seal_at_ms=9))]))

        gone, following = upkeep.purge(found.core, Kind.PENDING, Filter(trace_id=(2).to_bytes(16, "big")), 0, {3})
        upkeep.purge(found.core, Kind.DEAD, Filter(), 0, frozenset())

        assert ([row.id for row in gone], following) == ([4], None)
        assert found.core.ledger.totals["purged", ""] == 1
        assert found.core.dead_bytes == 0
        assert_balanced(found.core)


def test_upkeep_moves_few_bytes_in_one_step(tmp_path: Path) -> None:
    """A full disk has room for little at a time."""
    half = b"x" * (DRAIN_BYTES // 2)
    with file(tmp_path / "b.db") as found:
        for _ in range(3):
            found.core.commit(Group([append(row(half, received_ms=1))]))
            bury_all(found.core)
        replayed = [upkeep.replay(found.core, Filter(), 0)]
        replayed.append(upkeep.replay(found.core, Filter(), replayed[0][1] or 0))
        assert [(len(rows), following) for rows, following in replayed] == [(2, 2), (1, None)]

        found.core.commit(Group([append(*(row(half, received_ms=1) for _ in range(3)))]))
        assert [len(upkeep.expire(found.core, 5, frozenset())) for _ in range(3)] == [2, 1, 0]

        purged = [upkeep.purge(found.core, Kind.PENDING, Filter(), 0, frozenset())]
        purged.append(upkeep.purge(found.core, Kind.PENDING, Filter(), purged[0][1] or 0, frozenset()))
        assert [len(gone) for gone, _ in purged] == [2, 1]
        assert purged[1][1] is None
        assert_balanced(found.core)


def test_a_purge_of_delivered_spans_makes_room_for_new_ones(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(row(spans=3))]))
        found.core.commit(Group(settlements=[Settlement(1, backlog(found.core), keep_spans=10)]))
        upkeep.purge(found.core, Kind.DELIVERED, Filter(), 0, frozenset())

        assert found.core.kept_spans == {"default": 0}


def test_replayed_letters_stand_in_line_again_as_received_now(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(row(b"a", received_ms=1), row(b"b", received_ms=1))]))
        bury_all(found.core)

        rows, following = upkeep.replay(found.core, Filter(ids=frozenset({2})), 0)

        assert ([(raised.body, raised.received_ms) for raised in rows], following) == ([(b"b", NOW_MS)], None)
        assert found.core.ledger.totals["replayed", ""] == 1
        assert (found.core.dead_bytes, found.core.ledger.totals["buried", "refused"]) == (1, 2)
        assert_balanced(found.core)


def test_a_replay_stops_at_the_bound_and_keeps_the_rest(tmp_path: Path) -> None:
    with file(tmp_path / "b.db", max_mib=2 / 1024) as found:
        for _ in range(3):
            found.core.commit(Group([append(row(b"x" * 900))]))
            bury_all(found.core)

        rows, following = upkeep.replay(found.core, Filter(), 0)

        assert (len(rows), following) == (2, None)
        assert found.core.db.execute("SELECT COUNT(*) FROM dead").fetchone()[0] == 1
        assert_balanced(found.core)


def test_restored_rows_are_counted_as_replayed(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        assert upkeep.restore(found.core, [row(spans=2), row()]) == 3
        assert found.core.ledger.totals == {("replayed", ""): 3}
        assert upkeep.oldest_ms(found.core) == NOW_MS
        assert_balanced(found.core)


def test_notes_of_whoever_uses_the_buffer_survive_restarts(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        assert upkeep.recall(found.core, "budgets") is None
        upkeep.remember(found.core, "budgets", "1")
        upkeep.remember(found.core, "budgets", "2")
    with file(tmp_path / "b.db") as found:
        assert upkeep.recall(found.core, "budgets") == "2"
        assert upkeep.recall(found.core, "clean") is None, "the buffer's own values are not theirs"
