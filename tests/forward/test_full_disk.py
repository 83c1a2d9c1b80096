"""What a full disk under the buffer means for rows on their way."""

from __future__ import annotations

import random

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidecar.wire.rows import NewRow
from tests.forward.rig import rows, run, sending, span_row
from tests.spans import span
from tests.waiting import until


def is_bad(each: Span) -> bool:
    return each.name == "poison"


def row_with_one_bad() -> NewRow:
    chance = random.Random(99)
    trace_id = chance.randbytes(16)
    return span_row(*[span(trace_id=trace_id, span_id=chance.randbytes(8), name="poison" if i == 2 else "good") for i in range(5)])


def test_a_refused_row_that_a_full_disk_can_not_divide_waits_and_nothing_good_of_it_is_buried() -> None:
    async def main() -> None:
        async with sending() as rig:
            rig.fake.reject_if(is_bad)
            rig.source.is_full = True
            rig.source.add([row_with_one_bad()])
            await rig.answered(1)
            for seed in range(3):
                rig.source.add(rows(1, seed=seed))
                await rig.delivered(seed + 1)
            await until(lambda: rig.statuses.count(400) >= 2, "another try after a request was taken")
            assert rig.source.buried == []

            rig.source.is_full = False
            for seed in range(3, 6):
                rig.source.add(rows(1, seed=seed))
            await until(lambda: not rig.source.leased and not rig.source.waiting, "the source to be empty")

            assert [row.spans for row, _ in rig.source.buried] == [1]
            assert sum(row.spans for row in rig.source.delivered_rows) == 6 + 4
            assert not rig.task.done()

    run(main())
