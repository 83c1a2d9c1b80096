"""Errors are found wherever a dialect puts them, and sorted."""

from __future__ import annotations

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sidecar.enrich.dialects import read_facts
from sidecar.enrich.dialects.failures import MAX_MESSAGE, MAX_TYPE
from sidecar.enrich.facts import Error, ErrorKind
from tests import spans
from tests.enrich.views import facts, views


def exception(kind: str, message: str) -> Span.Event:
    return spans.event("exception", {"exception.type": kind, "exception.message": message, "exception.stacktrace": "Traceback ..."})


def failure(attributes: spans.Attributes | None = None, error: str | None = None, *events: Span.Event) -> Error:
    found = facts(attributes, error=error, events=events).error
    assert found is not None
    return found


def test_a_span_that_did_not_fail_has_no_error() -> None:
    assert facts({"gen_ai.operation.name": "chat"}).error is None


def test_the_status_message_is_the_message() -> None:
    assert failure(None, "RateLimitError: slow down") == Error(ErrorKind.RATE_LIMIT, "RateLimitError", "RateLimitError: slow down")


def test_an_error_without_a_message_takes_it_from_the_exception() -> None:
    found = failure(None, "", exception("openai.RateLimitError", "Error code: 429"))
    assert (found.type, found.message) == ("openai.RateLimitError", "Error code: 429")


def test_an_error_without_an_exception_takes_it_from_an_attribute() -> None:
    found = failure({"error.message": "litellm.InternalServerError: boom", "error.type": "InternalServerError"}, "")
    assert (found.kind, found.message) == (ErrorKind.SERVER, "litellm.InternalServerError: boom")


def test_the_last_exception_is_the_one_that_ended_the_span() -> None:
    found = failure(None, "", exception("RuntimeError", "first"), exception("fastapi.exceptions.HTTPException", "429: second"))
    assert (found.type, found.message) == ("fastapi.exceptions.HTTPException", "429: second")


def test_a_repr_of_a_class_is_cleaned() -> None:
    assert failure({"error.type": "<class 'openai.RateLimitError'>"}, "x").type == "openai.RateLimitError"


def test_a_generic_exception_is_named_by_its_message() -> None:
    assert failure(None, "", exception("Exception", "OpenAIRateLimitError('Error code: 429 - ...')\n\nTraceback ...")).type == "OpenAIRateLimitError"


def test_a_class_says_more_than_a_number() -> None:
    assert failure({"error.type": "429"}, "", exception("openai.RateLimitError", "slow down")).type == "openai.RateLimitError"


def test_a_number_in_the_message_is_better_than_nothing() -> None:
    assert failure(None, "Error in agent run: {'error': 'Error code: 429 - Rate limit reached'}").type == "429"


def test_an_error_type_without_an_error_status_is_a_failure() -> None:
    assert failure({"error.type": "TimeoutError"}).kind is ErrorKind.TIMEOUT


def test_an_exception_under_an_unset_status_is_a_failure() -> None:
    assert failure(None, None, exception("ValueError", "bad")).kind is ErrorKind.BAD_REQUEST


def test_a_level_set_through_langfuse_is_a_failure() -> None:
    found = failure({"langfuse.observation.level": "ERROR", "langfuse.observation.status_message": "it broke", "langfuse.observation.type": "span"})
    assert found.message == "it broke"


def test_an_http_status_decides_before_any_text() -> None:
    assert failure({"http.response.status_code": 403, "error.type": "timeout"}, "").kind is ErrorKind.AUTH


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Error code: 429 - Rate limit reached for gpt-4o", ErrorKind.RATE_LIMIT),
        ("429 RESOURCE_EXHAUSTED. {...}", ErrorKind.RATE_LIMIT),
        ("ThrottlingException: Too many requests", ErrorKind.RATE_LIMIT),
        ("You exceeded your current quota", ErrorKind.RATE_LIMIT),
        ("Request timed out.", ErrorKind.TIMEOUT),
        ("ReadTimeout: ", ErrorKind.TIMEOUT),
        ("DEADLINE_EXCEEDED", ErrorKind.TIMEOUT),
        ("Error code: 401 - Incorrect API key provided", ErrorKind.AUTH),
        ("PermissionDeniedError: no access to the model", ErrorKind.AUTH),
        ("The response was filtered: content_filter", ErrorKind.CONTENT_FILTER),
        ("Error code: 400 - This model's maximum context length is 8192 tokens", ErrorKind.BAD_REQUEST),
        ("ContextWindowOverflowException", ErrorKind.BAD_REQUEST),
        ("CancelledError", ErrorKind.CANCELLED),
        ("Error code: 500 - The server had an error", ErrorKind.SERVER),
        ("Overloaded", ErrorKind.SERVER),
        ("APIConnectionError: Connection error.", ErrorKind.SERVER),
        ("something else went wrong", ErrorKind.OTHER),
    ],
)
def test_messages_of_providers_are_sorted(message: str, kind: ErrorKind) -> None:
    assert failure(None, message).kind is kind


def test_type_and_message_are_bounded() -> None:
    found = failure({"error.type": "E" * 10_000}, "m" * 100_000)
    assert (len(found.type), len(found.message)) == (MAX_TYPE, MAX_MESSAGE)


def test_a_long_hostile_message_is_read_in_no_time() -> None:
    assert failure({"error.type": "a." * 50_000}, "A" * 1_000_000 + "Error").kind is ErrorKind.OTHER


def test_a_status_ok_says_that_a_recorded_exception_was_handled() -> None:
    assert _error_under_ok({}) is None


def test_langsmith_writes_ok_over_an_exception_that_nobody_handled() -> None:
    assert _error_under_ok({"langsmith.span.kind": "llm"}) is not None


def _error_under_ok(attributes: spans.Attributes) -> Error | None:
    span = spans.span(attributes=attributes, events=[exception("Exception", "OpenAIAPIError('500')")])
    span.status.code = Status.STATUS_CODE_OK
    return read_facts(views(span)[0]).error
