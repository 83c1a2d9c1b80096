"""What one destination tells operators: its metrics, and its log of state changes.

A change of state is one line; what repeats is at most one line in 30 s with a count. Answers of the
destination may quote what was sent, so they go to the dead letters, never to the log.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sidecar.forward.batch import size_of
from sidecar.forward.breaker import Breaker, State
from sidecar.forward.verdict import Ambiguous, Answer, Delivered, Failure, Pause, PauseReason, Refused, Retry, Split, Verdict
from sidecar.observe.metrics import Metrics
from sidecar.sample.window import Window
from sidecar.wire.rows import Row

REPEAT_S = 30.0
TOO_MANY_REQUESTS = 429
ANSWERS_S, ANSWERS_LEAST = 30, 5
"""The p95 of answers is that of so many seconds, and of so many answers at least."""

_NAMES: dict[type[Verdict], str] = {
    Delivered: "delivered",
    Retry: "retry",
    Ambiguous: "ambiguous",
    Pause: "pause",
    Split: "split",
    Refused: "refused",
}

_HINTS = {
    PauseReason.WRONG_ADDRESS: "what answers there is not Langfuse's trace ingestion; check base_url",
    PauseReason.UNAUTHORIZED: "the keys were refused; check public_key and secret_key, then send SIGHUP",
    PauseReason.FORBIDDEN: "these keys may not write traces there, or a proxy forbids it; use a project's key pair",
    PauseReason.SUSPENDED: "Langfuse suspended ingestion for this organisation; check its usage and plan",
    PauseReason.PROXY_AUTH: "a proxy on the way asks for credentials; base_url must be reachable without",
    PauseReason.PROTOCOL: "the server can't read how spans are sent (gzip, protobuf, ingestion version 4); check its version and proxies on the way",
    PauseReason.REFUSED: "the server refuses every batch as malformed; see its answers with `sidecar buffer export --dead`, and check its version",
    PauseReason.UNEXPECTED_STATUS: "the server answers with a status that trace ingestion doesn't have; check base_url and proxies on the way",
}


class Journal:
    """Metrics and log of one destination. Times are seconds of a monotonic clock."""

    def __init__(self, name: str, metrics: Metrics, log: logging.Logger) -> None:
        self.last_failure = ""
        """Why the last request was not taken."""
        self.is_throttled = False
        """The last answer was 429: the destination is there, and takes less than it is sent."""
        self._answers = Window(ANSWERS_S, ANSWERS_LEAST)
        self._name, self._metrics, self._log = name, metrics, log
        self._down = False
        self._down_since_s = 0.0
        self._paused: PauseReason | None = None
        self._repeats: dict[str, tuple[float, int]] = {}
        self.state(State.CLOSED)
        for counter in (
            metrics.forward_delivered_spans,
            metrics.forward_delivered_bytes,
            metrics.forward_retries,
            metrics.forward_ambiguous_spans,
            metrics.forward_buried_spans,
        ):
            # Shown as 0 from the start: an alert on a rate can't see a series that is not there yet.
            counter.labels(name)

    def state(self, state: State) -> None:
        """The breaker's state as a metric."""
        self._metrics.forward_breaker.labels(self._name).set(state.value)

    def in_flight(self, change: int) -> None:
        """A request began (1) or ended (-1)."""
        self._metrics.forward_in_flight.labels(self._name).inc(change)

    def export_p95_s(self, now_s: float) -> float | None:
        """How long the destination took for nearly all of its latest answers; None: there were too few."""
        return self._answers.quantile(0.95, now_s)

    def exchange(self, verdict: Verdict, seconds: float, now_s: float) -> None:
        """A request and its verdict."""
        self._answers.add(seconds, now_s)
        self.is_throttled = False
        self._metrics.forward_requests.labels(self._name, _NAMES[type(verdict)]).inc()
        self._metrics.forward_request_seconds.labels(self._name).observe(seconds)

    def delivered(self, rows: Sequence[Row], wall_ms: int) -> None:
        """The destination took ``rows``."""
        self._metrics.forward_delivered_spans.labels(self._name).inc(sum(row.spans for row in rows))
        self._metrics.forward_delivered_bytes.labels(self._name).inc(size_of(rows))
        self._metrics.forward_delay_seconds.labels(self._name).observe(max(0.0, (wall_ms - min(row.received_ms for row in rows)) / 1000))

    def retry(self, verdict: Retry, reply: Answer | Failure, now_s: float) -> None:
        """A batch will be sent again."""
        self._metrics.forward_retries.labels(self._name).inc()
        self.is_throttled = isinstance(reply, Answer) and reply.status == TOO_MANY_REQUESTS
        self._failed(verdict.reason, reply)
        self._repeated(logging.WARNING, "a batch was not taken and will be sent again", now_s, reason=self.last_failure)

    def not_taken(self, reply: Answer | Failure) -> None:
        """A request was answered with what pauses the destination; ``follow`` says so once."""
        self._failed("", reply)

    def ambiguous(self, rows: Sequence[Row], verdict: Ambiguous, reply: Answer | Failure, now_s: float) -> None:
        """Nobody knows whether ``rows`` arrived; they will be sent again."""
        self._metrics.forward_ambiguous_spans.labels(self._name).inc(sum(row.spans for row in rows))
        self._failed(verdict.reason, reply)
        self._repeated(logging.WARNING, "a batch had no answer and will be sent again; its spans may arrive twice", now_s, reason=self.last_failure)

    def abandoned(self, rows: Sequence[Row]) -> None:
        """The process ends while ``rows`` are on their way: they are ambiguous too."""
        self._metrics.forward_ambiguous_spans.labels(self._name).inc(sum(row.spans for row in rows))

    def shrunk(self, limit_bytes: int, now_s: float) -> None:
        """Batches are smaller from now on."""
        self._repeated(logging.INFO, "batches were too large for the destination; smaller ones follow", now_s, limit_bytes=limit_bytes)

    def buried(self, row: Row, reason: str, now_s: float) -> None:
        """A row became a dead letter."""
        self._metrics.forward_buried_spans.labels(self._name).inc(row.spans)
        self._repeated(
            logging.WARNING, "the destination refuses a span for good; it is a dead letter (sidecar buffer export --dead)", now_s, reason=reason
        )

    def follow(self, breaker: Breaker, now_s: float) -> None:
        """Say what changed since the last call, if anything did."""
        self.state(breaker.state)
        if breaker.paused is not self._paused:
            if self._paused is not None:
                self._metrics.forward_paused.labels(self._name, self._paused).set(0)
            if breaker.paused is not None:
                self._pause(breaker.paused)
            self._paused = breaker.paused
        if breaker.down_since_s is not None:
            if not self._down and breaker.paused is None:
                self._log.warning("destination is down; spans are kept in the buffer", extra={"destination": self._name, "reason": self.last_failure})
            if not self._down:
                self._down_since_s = breaker.down_since_s
            self._down = True
        elif self._down:
            self._down = False
            self._repeats.clear()
            self._log.info("destination is up", extra={"destination": self._name, "down_s": round(now_s - self._down_since_s, 1)})

    def keys_changed(self) -> None:
        """The key file holds another secret."""
        self._log.info("destination has new keys; trying them", extra={"destination": self._name})

    def _pause(self, reason: PauseReason) -> None:
        self._metrics.forward_paused.labels(self._name, reason).set(1)
        self._log.error(
            "destination is paused; spans are kept in the buffer",
            extra={"destination": self._name, "reason": reason.value, "answer": self.last_failure, "hint": _HINTS[reason]},
        )

    def _failed(self, reason: str, reply: Answer | Failure) -> None:
        words = (f"status {reply.status}",) if isinstance(reply, Answer) else (reason, reply.detail)
        self.last_failure = ": ".join(filter(None, words))

    def _repeated(self, level: int, event: str, now_s: float, **fields: object) -> None:
        """Log, but an event that was logged within ``REPEAT_S`` only counts towards its next line."""
        last_s, count = self._repeats.get(event, (-REPEAT_S, 0))
        if now_s - last_s < REPEAT_S:
            self._repeats[event] = (last_s, count + 1)
            return
        self._repeats[event] = (now_s, 0)
        self._log.log(level, event, extra={"destination": self._name, **fields, **({"times": count + 1} if count else {})})
