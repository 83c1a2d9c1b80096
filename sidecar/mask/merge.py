"""What overlaps becomes one: sort and sweep, so that the work grows with the number of ranges, not its square. Pure."""

from __future__ import annotations

from collections.abc import Sequence

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


def merge(hits: Sequence[Hit]) -> list[Hit]:
    """Disjoint hits in order that cover the same bytes. A union is named after its longest hit; among equals, after the first detector of the table."""
    if len(hits) < 2:
        return list(hits)
    result: list[Hit] = []
    start = end = longest = detector = -1
    for hit in sorted(hits):
        low, high, number = hit
        if low < end:
            size = high - low
            if size > longest or (size == longest and number < detector):
                longest, detector = size, number
            end = max(end, high)
        elif low < high:
            if end >= 0:
                result.append(Hit(start, end, detector))
            start, end, detector = hit
            longest = end - start
    if end >= 0:
        result.append(Hit(start, end, detector))
    return result
