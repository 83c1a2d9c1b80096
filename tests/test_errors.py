"""The error tree."""

from __future__ import annotations

import inspect
import re

from sidecar import errors
from sidecar.errors import IntakeError, SidecarError


def classes() -> list[type[SidecarError]]:
    return [each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, SidecarError)]


def test_every_class_is_in_the_drawn_tree() -> None:
    drawing = errors.__doc__ or ""

    assert [each.__name__ for each in classes() if not re.search(rf"\b{each.__name__}\b", drawing)] == []


def test_every_intake_error_carries_its_wire_meaning() -> None:
    leaves = [each for each in classes() if issubclass(each, IntakeError) and each is not IntakeError]

    assert all(400 <= each.http_status < 600 and 1 <= each.grpc_code <= 16 and each.reason for each in leaves)
    assert len({each.reason for each in leaves}) == len(leaves)


def test_only_overload_asks_the_client_to_try_again() -> None:
    """OTLP 1.11: 429, 502, 503 and 504 are retried; everything else must not be."""
    retryable = {429, 502, 503, 504}

    for each in classes():
        if issubclass(each, IntakeError) and each is not IntakeError:
            assert (each.http_status in retryable) == issubclass(each, errors.Overloaded)
