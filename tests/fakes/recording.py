"""What a fake server has seen, and waiting for it to see more, from its own event loop, another one, or a plain thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tests.fakes.langfuse_rules import ReceivedSpan

SpanId = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request. Its credentials are reduced to the public key."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Lower-case names; without Authorization."""
    public_key: str
    body_bytes: int
    raw_bytes: int
    """After decompression; 0 if that was not reached."""
    digest: str
    """SHA-256 of the body as it came: equal for a byte-identical resend. Empty if it was not read."""
    spans: int
    status: int | None
    """None: never answered."""
    at: float
    """time.monotonic() of the end of the request."""


class Recording:
    """The requests and spans of one fake, and who waits for them. Written by the server's loop, read from anywhere."""

    def __init__(self, *, remember: bool = True) -> None:
        self._remember = remember
        self._listeners: set[Callable[[], None]] = set()
        self._lock = threading.Lock()
        self.requests: list[Recorded] = []
        self.kept: list[ReceivedSpan] = []
        self.span_count = 0
        """Spans taken, duplicates included."""
        self.received: Counter[SpanId] = Counter()
        """How often each span was taken: more than once is a duplicate."""
        self.lost: list[str] = []
        """Exports that were answered 200 and that the worker loses, with the reason."""
        self.oddities: list[str] = []

    def add_spans(self, spans: list[ReceivedSpan]) -> None:
        with self._lock:
            self.span_count += len(spans)
            self.received.update(span.id for span in spans)
            if self._remember:
                self.kept.extend(spans)
        self.notify()

    def add_request(self, request: Recorded) -> None:
        with self._lock:
            self.requests.append(request)
        self.notify()

    def spans(self) -> list[ReceivedSpan]:
        """Every span taken so far, duplicates included, in order of arrival."""
        with self._lock:
            return list(self.kept)

    def unique(self) -> dict[SpanId, ReceivedSpan]:
        """The last one of every span, as Langfuse shows it after its merges."""
        return {span.id: span for span in self.spans()}

    def ids(self) -> set[SpanId]:
        with self._lock:
            return set(self.received)

    def hand_over(self) -> Counter[SpanId]:
        """What was received since the last time, and forget it: for runs whose spans are too many to remember."""
        with self._lock:
            received, self.received = self.received, Counter()
            self.requests.clear()
        return received

    def duplicates(self) -> int:
        """Spans taken more than once, counted each time."""
        with self._lock:
            return self.span_count - len(self.received)

    def notify(self) -> None:
        for listener in tuple(self._listeners):
            listener()

    async def wait_until(self, predicate: Callable[[], bool], deadline_s: float, what: str) -> None:
        """Return as soon as ``predicate`` holds; raises TimeoutError naming ``what``. From any event loop."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def listener() -> None:
            loop.call_soon_threadsafe(changed.set)

        with self._listening(listener):
            try:
                async with asyncio.timeout(deadline_s):
                    while not predicate():
                        await changed.wait()
                        changed.clear()
            except TimeoutError as error:
                raise TimeoutError(self._late(what, deadline_s)) from error

    def block_until(self, predicate: Callable[[], bool], deadline_s: float, what: str) -> None:
        """The same for a thread that runs no event loop."""
        changed = threading.Event()
        end = time.monotonic() + deadline_s
        with self._listening(changed.set):
            while not predicate():
                if not changed.wait(max(0.0, end - time.monotonic())):
                    raise TimeoutError(self._late(what, deadline_s))
                changed.clear()

    def _late(self, what: str, deadline_s: float) -> str:
        statuses = Counter(request.status for request in self.requests)
        return (
            f"after {deadline_s} s still waiting for {what}; seen: {len(self.requests)} requests {dict(statuses)}, "
            f"{self.span_count} spans, {len(self.received)} of them different"
        )

    @contextmanager
    def _listening(self, listener: Callable[[], None]) -> Iterator[None]:
        self._listeners.add(listener)
        try:
            yield
        finally:
            self._listeners.discard(listener)
