"""Changes of one span, collected and applied in one pass."""

from __future__ import annotations

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidecar.enrich.edit import Edit, encode_all
from sidecar.enrich.view import SpanView
from sidecar.wire import shallow_pb2
from sidecar.wire.attributes import AttributeMemo, encode_string
from tests.fakes.langfuse_mapping import Attributes, plain_attributes
from tests.spans import span


def editing(said: dict[str, str]) -> tuple[shallow_pb2.Span, Edit]:
    shallow = shallow_pb2.Span.FromString(span(attributes=said).SerializeToString())
    return shallow, Edit(SpanView(shallow, shallow_pb2.InstrumentationScope(), shallow_pb2.Resource(), AttributeMemo()))


def applied(shallow: shallow_pb2.Span, edit: Edit) -> Attributes:
    edit.apply(shallow)
    return plain_attributes(Span.FromString(shallow.SerializeToString()).attributes)


def test_a_key_that_is_set_again_replaces_what_was_there() -> None:
    shallow, edit = editing({"a": "1", "b": "2"})

    edit.put("a", "3")
    edit.put("a", "4")

    assert applied(shallow, edit) == {"a": "4", "b": "2"}
    assert len(shallow.attributes) == 2
    assert (edit.added, edit.removed) == (("a",), ())


def test_a_removed_key_is_gone_and_can_be_set_again() -> None:
    shallow, edit = editing({"a": "1", "ab": "2", "b": "3"})

    edit.remove("a")
    edit.remove("b")
    edit.put("b", "4")

    assert not edit.has("a") and edit.has("b") and edit.has_any(("x", "ab"))
    assert applied(shallow, edit) == {"ab": "2", "b": "4"}
    assert edit.removed == ("a",)


def test_what_was_set_can_be_removed() -> None:
    shallow, edit = editing({})

    edit.put_int("n", 3)
    edit.remove("n")

    assert applied(shallow, edit) == {}
    assert not edit.has("n")


def test_long_keys_are_removed_and_their_like_stay() -> None:
    long = "k" * 127 + "x" * 200
    shallow, edit = editing({long: "1", "k" * 127: "2", long + "y": "3"})

    edit.remove(long)

    assert applied(shallow, edit) == {"k" * 127: "2", long + "y": "3"}


def test_an_entry_can_be_replaced_or_left_out_as_bytes() -> None:
    shallow, edit = editing({"a": "1", "b": "2", "c": "3"})

    edit.replace_raw(encode_string("a", "1"), encode_string("a", "one"))
    edit.replace_raw(encode_string("b", "2"), None)
    edit.put("c", "three")

    assert applied(shallow, edit) == {"a": "one", "c": "three"}


def test_what_others_know_fills_what_is_not_there() -> None:
    shallow, edit = editing({"a": "1", "deployment.environment": "test"})

    edit.put("b", "2")
    edit.fill(encode_all({"b": "no", "c": "3"}))
    edit.fill(encode_all({"a": "no", "d": "4"}))
    edit.fill(encode_all({"langfuse.environment": "no", "e": "5"}))

    assert edit.adds_any({"x", "c"}) and not edit.adds_any({"a", "langfuse.environment"})
    assert applied(shallow, edit) == {"a": "1", "deployment.environment": "test", "b": "2", "c": "3", "d": "4", "e": "5"}


def test_what_was_removed_is_filled_again() -> None:
    shallow, edit = editing({"a": "1"})

    edit.remove("a")
    edit.fill(encode_all({"a": "2"}))

    assert applied(shallow, edit) == {"a": "2"}
