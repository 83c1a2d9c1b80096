"""Which destination a resource's spans go to. Pure: patterns are compiled once, matching reads attributes only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import translate
from typing import TypeAlias

from sidecar.config import Destination, Route
from sidecar.wire.attributes import find
from sidecar.wire.shallow_pb2 import ResourceSpans

AGENT_KEYS = (b"gen_ai.agent.name", b"agent.name", b"langfuse.observation.metadata.agent_name")
"""The first that a span has names its agent."""

Test: TypeAlias = Callable[[ResourceSpans, str | None], bool]


class Router:
    """Routes are tried in order; the first whose every pattern matches wins, else the first destination.

    Patterns are globs (``*``, ``?``, ``[seq]``) over the whole value, and case matters. ``agent`` matches if
    any span of the resource names such an agent.
    """

    def __init__(self, destinations: Sequence[Destination], routes: Sequence[Route]) -> None:
        self._default = destinations[0].name
        self._routes = [(tuple(_test(key, glob) for key, glob in route.match.items()), route.to) for route in routes]

    def destination_of(self, public_key: str | None) -> str | Callable[[ResourceSpans], str]:
        """The name of the destination for a request that came with ``public_key``: one for all, or by its resource."""
        if not self._routes:
            return self._default

        def choose(resource_spans: ResourceSpans) -> str:
            for tests, name in self._routes:
                if all(test(resource_spans, public_key) for test in tests):
                    return name
            return self._default

        return choose


def _test(key: str, glob: str) -> Test:
    matches = re.compile(translate(glob)).match
    if key == "public_key":
        return lambda _, public_key: public_key is not None and matches(public_key) is not None
    if key == "agent":
        return lambda resource_spans, _: any(matches(name) is not None for name in _agents(resource_spans))
    attribute = (key.removeprefix("resource.") if key.startswith("resource.") else "service.name").encode()

    def of_resource(resource_spans: ResourceSpans, _: str | None) -> bool:
        text = _text(find(resource_spans.resource.attributes, attribute))
        return text is not None and matches(text) is not None

    return of_resource


def _agents(resource_spans: ResourceSpans) -> Iterator[str]:
    for scope_spans in resource_spans.scope_spans:
        for span in scope_spans.spans:
            for key in AGENT_KEYS:
                if (name := _text(find(span.attributes, key))) is not None:
                    yield name
                    break


def _text(value: object) -> str | None:
    """A scalar as it is written in a configuration; other values match nothing."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None
