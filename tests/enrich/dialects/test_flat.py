"""Flattened messages become JSON again."""

from __future__ import annotations

import json

from sidecar.enrich.dialects import flat
from tests.enrich.views import view


def test_indices_become_lists_and_names_become_maps() -> None:
    seen = view(
        {
            "gen_ai.prompt.1.content": "hello",
            "gen_ai.prompt.0.role": "system",
            "gen_ai.prompt.1.tool_calls.0.name": "look",
            "gen_ai.prompt.1.tool_calls.0.arguments": '{"a": 1}',
            "gen_ai.prompted": "no part of it",
        }
    )
    assert json.loads(flat.rebuild(seen, "gen_ai.prompt")) == [
        {"role": "system"},
        {"content": "hello", "tool_calls": [{"name": "look", "arguments": '{"a": 1}'}]},
    ]


def test_a_layer_that_says_nothing_is_left_out() -> None:
    seen = view({"llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "hi"})
    assert json.loads(flat.rebuild(seen, "llm.input_messages", "message")) == [{"role": "user", "content": "hi"}]


def test_messages_keep_their_order_when_the_first_ones_are_gone() -> None:
    seen = view({f"p.{number}.content": str(number) for number in (11, 9, 10)})
    assert [item["content"] for item in json.loads(flat.rebuild(seen, "p"))] == ["9", "10", "11"]


def test_keys_that_contradict_each_other_do_no_harm() -> None:
    seen = view({"p.0": "scalar", "p.0.role": "user", "p.0.role.deeper": 1, "p.x": 2, "p.": 3, "p..": 4})
    assert json.loads(flat.rebuild(seen, "p")) == [{"role": {"deeper": 1}}]


def test_a_map_of_the_view_is_not_changed() -> None:
    seen = view({"p.0": {"a": 1}, "p.0.b": 2})
    assert json.loads(flat.rebuild(seen, "p")) == [{"a": 1, "b": 2}]
    assert seen.get("p.0") == {"a": 1}


def test_bytes_and_numbers_that_json_lacks_are_written_all_the_same() -> None:
    assert json.loads(flat.rebuild(view({"p.0.a": b"\xff", "p.0.b": float("nan")}), "p"))[0]["b"] is None


def test_nothing_is_an_empty_text() -> None:
    assert flat.rebuild(view({"q.0.a": 1}), "p") == ""
