"""What overlaps becomes one: sort and sweep, so that the work grows with the number of ranges, not its square. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sidecar.mask.detector import Hit


def union(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """(start, end, index of the longest one in it) of each union of overlapping ranges, in order; among equals the first index.

    Ranges that only touch stay apart. Empty ranges vanish.
    """
    result: list[tuple[int, int, int]] = []
    start = end = best = -1
    for index in sorted(range(len(ranges)), key=ranges.__getitem__):
        low, high = ranges[index]
        if low >= high:
            continue
        if low >= end:
            if best >= 0:
                result.append((start, end, best))
            start, end, best = low, high, index
            continue
        end = max(end, high)
        gain = (high - low) - (ranges[best][1] - ranges[best][0])
        if gain > 0 or (gain == 0 and index < best):
            best = index
    if best >= 0:
        result.append((start, end, best))
    return result


def merge(hits: Iterable[Hit]) -> list[Hit]:
    """Disjoint hits in order that cover the same bytes. A union is named after its longest hit; among equals, after the first detector of the table."""
    ordered = sorted(hits, key=lambda hit: hit.detector)
    if len(ordered) < 2:
        return ordered
    return [Hit(start, end, ordered[index].detector) for start, end, index in union([(hit.start, hit.end) for hit in ordered])]
