"""Which destination a resource's spans go to."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidecar.config import Destination, Route
from sidecar.forward.router import Router
from sidecar.wire.batch import decode_protobuf
from tests.spans import Attributes, request, span

PLAIN = request(span(), resource={"service.name": "shop-api", "team": "pricing", "replicas": 3, "canary": True})


def agents(*names: Attributes) -> ExportTraceServiceRequest:
    return request(*[span(span_id=bytes([i + 1] * 8), attributes=each) for i, each in enumerate(names)])


def routed(routes: list[tuple[dict[str, str], str]], sent: ExportTraceServiceRequest = PLAIN, public_key: str | None = None) -> str:
    destinations = [Destination(name=name) for name in ("first", "second", "third")]
    chosen = Router(destinations, [Route(match=match, to=to) for match, to in routes]).destination_of(public_key)
    return chosen if isinstance(chosen, str) else chosen(decode_protobuf(sent.SerializeToString()).request.resource_spans[0])


def test_without_routes_everything_goes_to_the_first_destination() -> None:
    assert routed([]) == "first"


def test_what_no_route_claims_goes_to_the_first_destination() -> None:
    assert routed([({"service": "other"}, "second")]) == "first"


def test_the_first_route_that_matches_wins() -> None:
    assert routed([({"service": "shop-*"}, "second"), ({"service": "shop-api"}, "third")]) == "second"


def test_every_pattern_of_a_route_must_match() -> None:
    assert routed([({"service": "shop-api", "resource.team": "retail"}, "second"), ({"resource.team": "pri?ing"}, "third")]) == "third"


@pytest.mark.parametrize(
    ("key", "glob"), [("resource.replicas", "3"), ("resource.canary", "true"), ("resource.service.name", "shop-[a-c]pi")], ids=str
)
def test_numbers_booleans_and_sets_match_as_they_are_written(key: str, glob: str) -> None:
    assert routed([({key: glob}, "second")]) == "second"


@pytest.mark.parametrize("glob", ["Shop-api", "shop", "api"])
def test_case_matters_and_a_glob_covers_the_whole_value(glob: str) -> None:
    assert routed([({"service": glob}, "second")]) == "first"


def test_an_attribute_that_is_missing_matches_no_glob() -> None:
    assert routed([({"resource.region": "*"}, "second")]) == "first"


def test_a_request_is_routed_by_its_public_key() -> None:
    routes = [({"public_key": "pk-lf-*"}, "second")]

    assert routed(routes, public_key="pk-lf-7") == "second"
    assert routed(routes, public_key="other") == "first"
    assert routed(routes, public_key=None) == "first"


@pytest.mark.parametrize("key", ["gen_ai.agent.name", "agent.name", "langfuse.observation.metadata.agent_name"])
def test_any_span_that_names_its_agent_routes_its_resource(key: str) -> None:
    assert routed([({"agent": "pricing"}, "second")], agents({}, {"other": 1}, {key: "pricing"})) == "second"


def test_the_more_specific_agent_name_of_a_span_counts() -> None:
    named = agents({"agent.name": "pricing", "gen_ai.agent.name": "support"})

    assert routed([({"agent": "pricing"}, "second"), ({"agent": "support"}, "third")], named) == "third"


def test_without_an_agent_no_agent_route_matches() -> None:
    assert routed([({"agent": "*"}, "second")]) == "first"
