"""Every metric, on an injected registry. Call sites count by batch, never by span; labels come from enumerations."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS_SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
SECONDS_LONG = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """One attribute a metric. ``registry`` is whoever's scrape they belong to."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._receiver()
        self._enrich()
        self._mask()
        self._sampling()
        self._buffer()
        self._forward()
        self._process()

    def _receiver(self) -> None:
        self.receiver_requests = self._counter(
            "sidecar_receiver_requests_total",
            "Requests by transport (http, grpc), signal and outcome (ok, or the reason of the error).",
            "transport",
            "signal",
            "outcome",
        )
        self.receiver_accepted_spans = self._counter("sidecar_receiver_accepted_spans_total", "Spans acknowledged and kept.", "transport")
        self.receiver_rejected_spans = self._counter(
            "sidecar_receiver_rejected_spans_total", "Spans acknowledged as rejected, by reason.", "transport", "reason"
        )
        self.receiver_mended_spans = self._counter("sidecar_receiver_mended_spans_total", "Mends of malformed spans, by mend.", "mend")
        self.receiver_discarded_items = self._counter(
            "sidecar_receiver_discarded_items_total",
            "Requests of logs and metrics that were accepted; none is forwarded. Message content in logs joins its span.",
            "transport",
            "signal",
        )
        self.receiver_request_bytes = self._counter("sidecar_receiver_request_bytes_total", "Bytes of bodies after decompression.", "transport")
        self.receiver_in_flight_bytes = self._gauge("sidecar_receiver_in_flight_bytes", "Bytes of requests being read or processed.")
        self.receiver_request_seconds = self._histogram(
            "sidecar_receiver_request_seconds", "Time from the first byte of the body to the answer.", SECONDS_SHORT, "transport"
        )

    def _enrich(self) -> None:
        self.enrich_unpriced = self._counter("sidecar_enrich_unpriced_calls_total", "Model calls without a price, by reason.", "reason")
        self.enrich_model_drift = self._counter(
            "sidecar_enrich_model_drift_calls_total", "Model calls of an agent with another model than agents.yaml expects.", "agent"
        )
        self.enrich_spans = self._counter(
            "sidecar_enrich_spans_total", "Spans by what their trace made of them: without_root, forgotten, reparented, left_out, ...", "outcome"
        )
        self.enrich_log_messages = self._counter(
            "sidecar_enrich_log_messages_total", "Messages that came as log records, by what became of them: joined, unused, no_room.", "outcome"
        )
        self.enrich_media = self._counter("sidecar_enrich_media_total", "Base64 and binary media that became descriptors.")
        self.enrich_cut_values = self._counter("sidecar_enrich_cut_values_total", "Values that were cut to the content limits, or left out.")
        self.enrich_cut_bytes = self._counter("sidecar_enrich_cut_bytes_total", "Bytes that cutting to the content limits saved.")
        self.enrich_failures = self._counter("sidecar_enrich_failures_total", "Spans that could not be enriched and passed as they were.")

    def _mask(self) -> None:
        self.masked_values = self._counter(
            "sidecar_masked_values_total", "Values hidden, by detector (or the rule for keys) and action.", "detector", "action"
        )
        self.masking_failures = self._counter(
            "sidecar_masking_failures_total", "Values hidden whole because masking them failed or asked for too much work, by reason.", "reason"
        )

    def _sampling(self) -> None:
        self.sampling_pressure = self._gauge("sidecar_sampling_pressure", "How hard the worst signal presses; above 1 traces are left out.")
        self.sampling_signal_pressure = self._gauge(
            "sidecar_sampling_signal_pressure", "Each signal divided by its set-point; 0 also where it is not known.", "signal"
        )
        self.sampling_keep_probability = self._gauge(
            "sidecar_sampling_keep_probability", "What pressure and budgets allow, before base probabilities; 1: everything is kept."
        )
        self.sampling_excess_spans = self._counter(
            "sidecar_sampling_excess_spans_total", "Spans that met a keep rule which had nothing left to grant and were left to chance.", "rule"
        )
        self.sampling_degraded_spans = self._counter(
            "sidecar_sampling_degraded_spans_total", "Spans whose values were cut harder because it pressed (sampling.yaml: degrade)."
        )
        self.sampling_budget_cap = self._gauge("sidecar_sampling_budget_cap", "The highest keep probability that a budget allows.", "budget")
        self.sampling_shed_adjusted_spans = self._counter(
            "sidecar_sampling_shed_adjusted_spans_total",
            "What the spans stood for that were shed from the backlog; sealed rows keep the probability that they were stored with.",
        )
        self.sampling_limbo_bytes = self._gauge("sidecar_sampling_limbo_bytes", "Dropped rows that could still be rescued, with what they cost.")
        self.sampling_limbo_rows = self._gauge("sidecar_sampling_limbo_rows", "The same in rows.")
        self.sampling_limbo_evicted_rows = self._counter(
            "sidecar_sampling_limbo_evicted_rows_total", "Rows that left limbo before their time, for want of room."
        )
        self.sampling_traces = self._gauge("sidecar_sampling_remembered_traces", "Traces whose decision is remembered.")
        self.sampling_forgotten_traces = self._counter(
            "sidecar_sampling_forgotten_traces_total", "Traces whose decision was forgotten for want of room."
        )
        self.sampling_adjusted_spans = self._counter(
            "sidecar_sampling_adjusted_spans_total",
            "What the kept spans stand for: their adjusted counts, by the first agent of their request that agents.yaml names.",
            "agent",
        )
        self.sampling_torn_rescues = self._counter(
            "sidecar_sampling_torn_rescues_total", "Dropped traces that turned out to matter when parts of them were gone already."
        )

    def _buffer(self) -> None:
        self.buffer_rows = self._gauge("sidecar_buffer_rows", "Rows waiting, by destination.", "destination")
        self.buffer_bytes = self._gauge("sidecar_buffer_bytes", "Compressed bytes waiting.")
        self.buffer_limit_bytes = self._gauge("sidecar_buffer_limit_bytes", "Bound of the compressed bytes (buffer.max_mib).")
        self.buffer_oldest_seconds = self._gauge("sidecar_buffer_oldest_seconds", "Age of the oldest waiting row.")
        self.buffer_dead_rows = self._gauge("sidecar_buffer_dead_letter_rows", "Dead letters kept.")
        self.buffer_commit_seconds = self._histogram("sidecar_buffer_commit_seconds", "Time of a group commit.", SECONDS_SHORT)
        self.buffer_commit_rows = self._counter("sidecar_buffer_committed_rows_total", "Rows committed.")
        self.buffer_quarantined_files = self._counter("sidecar_buffer_quarantined_files_total", "Buffer files set aside as damaged.")
        self.buffer_disk_full = self._gauge("sidecar_buffer_disk_full", "1 while the disk has no room and new spans are refused.")

    def _forward(self) -> None:
        self.forward_delivered_spans = self._counter("sidecar_forward_delivered_spans_total", "Spans that the destination took.", "destination")
        self.forward_delivered_bytes = self._counter(
            "sidecar_forward_delivered_bytes_total", "Compressed bytes that the destination took.", "destination"
        )
        self.forward_requests = self._counter("sidecar_forward_requests_total", "Requests by verdict.", "destination", "verdict")
        self.forward_request_seconds = self._histogram(
            "sidecar_forward_request_seconds", "Time from the first byte of a batch to its verdict.", SECONDS_LONG, "destination"
        )
        self.forward_retries = self._counter("sidecar_forward_retries_total", "Batches that will be sent again.", "destination")
        self.forward_ambiguous_spans = self._counter(
            "sidecar_forward_ambiguous_spans_total", "Spans whose send had no answer; they may arrive twice.", "destination"
        )
        self.forward_buried_spans = self._counter("sidecar_forward_buried_spans_total", "Spans that became dead letters.", "destination")
        self.forward_in_flight = self._gauge("sidecar_forward_in_flight_requests", "Requests in flight.", "destination")
        self.forward_breaker = self._gauge("sidecar_forward_breaker_state", "0 closed, 1 half-open, 2 open.", "destination")
        self.forward_paused = self._gauge("sidecar_forward_paused", "1 while the destination is paused for this reason.", "destination", "reason")
        self.forward_delay_seconds = self._histogram(
            "sidecar_forward_delay_seconds", "Age of the oldest row of a batch when it was delivered.", SECONDS_LONG, "destination"
        )

    def _process(self) -> None:
        self.build = self._gauge("sidecar_build_info", "1, with the version as a label.", "version")
        self.start_time = self._gauge("sidecar_start_time_seconds", "When the process was ready, seconds since 1970.")
        self.config_reloads = self._counter("sidecar_config_reloads_total", "Reloads on SIGHUP, by outcome.", "outcome")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=buckets)


AGENT_FAMILIES = (
    (
        "sidecar_agent_operations_total",
        "counter",
        "agent, operation, model, provider",
        "Calls of models, runs of agents, tools, retrievers, evaluators and guardrails.",
    ),
    (
        "sidecar_agent_errors_total",
        "counter",
        "agent, operation, model, provider, kind",
        "Operations that failed, by kind: rate_limit, timeout, auth, server, content_filter, bad_request, cancelled, other.",
    ),
    ("sidecar_agent_operation_seconds", "histogram", "agent, operation, model, provider", "Time of an operation."),
    ("sidecar_agent_first_token_seconds", "histogram", "agent, operation, model, provider", "Time to the first token of a streamed answer."),
    ("sidecar_agent_tokens_total", "counter", "agent, operation, model, provider, type", "Tokens of calls by type; every token is in one of them."),
    (
        "sidecar_agent_cost_dollars_total",
        "counter",
        "agent, operation, model, provider",
        "Cost of calls: the provider's own word, else by the price table.",
    ),
    ("sidecar_agent_tool_bytes_total", "counter", "agent, direction", "Bytes of what tools were given (input) and gave back (output)."),
    (
        "sidecar_agent_signals_total",
        "counter",
        "agent, signal",
        "Signs of agents at work together: decision, handoff, conflict, resolution, heartbeat.",
    ),
    ("sidecar_agent_decision_confidence", "histogram", "agent", "Confidence of decisions, 0 to 1."),
    ("sidecar_agent_overflow_total", "counter", "label", "Operations counted as other, because there are too many agents or label sets."),
    ("sidecar_budget_spent_dollars", "gauge", "scope, name, period", "Spent of a budget of agents.yaml in the running hour, day or month (UTC)."),
    ("sidecar_budget_limit_dollars", "gauge", "scope, name, period", "The limit."),
    ("sidecar_budget_spent_tokens", "gauge", "scope, name, period", "Tokens spent of a budget, likewise."),
    ("sidecar_budget_limit_tokens", "gauge", "scope, name, period", "The limit."),
)
"""(name, type, labels, meaning). Added up in ``enrich.measured`` and read at each scrape by ``receive.agent_metrics``."""
LEDGER_FAMILIES = (
    ("sidecar_ledger_spans_total", "counter", "state, reason", "The ledger: spans by state and reason since the buffer was created."),
    ("sidecar_ledger_pending_spans", "gauge", "", "The ledger: spans stored and not yet settled."),
)
"""(name, type, labels, meaning). Read at each scrape by ``buffer.collector``, because the ledger lives there and survives restarts."""
