"""Names of agents without ids, times and counters, and how many of them become labels."""

from __future__ import annotations

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.enrich.agent_names import MAX_NAME, MAX_READ, OTHER, TrackedNames, looks_generated, normal_name, tidy

UUID = "3f2a9b1c-1111-4222-8333-444455556666"
PIECES = st.sampled_from(
    [
        UUID,
        "3f2a9b1c",
        "worker",
        "gpt",
        "layer",
        "17",
        "4",
        "2025-08-01",
        "20250801",
        "T12:30:45Z",
        "v2",
        "(",
        ")",
        "[",
        "]",
        "-",
        "_",
        " ",
        ".",
        "#",
        "/",
        ":",
        "01J9ZK3V5W7X8Y9Z0A1B2C3D4E",
        "\ud800",
        "\n",
        "研究",
        "0x",
        "deadbee",
        "2025",
        "-08",
        "-01",
    ]
)
NAMES = st.text(max_size=300) | st.lists(PIECES, max_size=40).map("".join) | st.text(string.hexdigits + "-_ .#()", max_size=300)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("worker-17", "worker"),
        ("Worker #3", "Worker"),
        ("Task #12", "Task"),
        ("Task#12", "Task"),
        ("Agent 007", "Agent"),
        ("Planner (12)", "Planner"),
        ("Planner [12]", "Planner"),
        ("node.17", "node"),
        ("worker-3-17", "worker"),
        ("worker-17-", "worker"),
        ("Agent (beta) 12", "Agent (beta)"),
        ("研究者-12", "研究者"),
        ("agent_3f2a9b1c", "agent"),
        ("agent-3F2A9B1C", "agent"),
        ("3f2a9b1c-planner", "planner"),
        ("[3f2a9b1c] planner", "planner"),
        ("worker-3f2a9b1c-planner", "worker-planner"),
        ("Planner (3f2a9b1c)", "Planner"),
        ("object at 0x7f3a2b10c4d0", "object at"),
        (f"assistant_{UUID}", "assistant"),
        (f"GroupChat/{UUID.upper()}", "GroupChat"),
        (f"critic_{UUID}-2", "critic"),
        ("worker-01J9ZK3V5W7X8Y9Z0A1B2C3D4E", "worker"),
        ("run-2025-08-01T12:30:45.123Z", "run"),
        ("report 20250801_123045", "report"),
        ("report-2025-08-01-writer", "report-writer"),
        ("sync 1754049600", "sync"),
        ("sync 12:30:45", "sync"),
        ("gpt-4-0613", "gpt-4"),
        ("opus-4-1-20250805", "opus-4-1"),
        ("  planner\n", "planner"),
        ("price\nfinder", "price finder"),
    ],
)
def test_what_changes_from_run_to_run_is_taken_off(name: str, expected: str) -> None:
    assert normal_name(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o-agent",
        "agent-v2",
        "agent v 2",
        "agent-1.2",
        "gpt-4.1",
        "gpt-4",
        "trader-claude-opus-4-1",
        "r2d2",
        "agent007",
        "layer-7-analyst",
        "support-tier-2",
        "area-51-guard",
        "deadbeef-agent",
        "facade",
        "decade-planner",
        "agent_3f2a",
        "C#",
        "Agent (beta)",
        "web3",
        "research_agent",
        "2nd-line",
        "x2025-13-45-a",
    ],
)
def test_what_belongs_to_a_name_stays(name: str) -> None:
    assert normal_name(name) == name


@pytest.mark.parametrize(("name", "expected"), [(UUID, UUID), ("17", "17"), (" #12 ", "#12"), ("", "agent"), (" \n", "agent"), ("\ud800", "agent")])
def test_a_name_that_is_nothing_but_an_id_stays_and_nothing_is_an_agent(name: str, expected: str) -> None:
    assert normal_name(name) == expected


def test_an_id_behind_a_long_name_is_taken_off_before_the_name_is_cut() -> None:
    assert normal_name(f"{'planner ' * 15}and {UUID}") == f"{'planner ' * 15}and"
    assert normal_name("p" * 1000) == "p" * MAX_NAME


def test_a_counter_that_the_cut_brings_to_the_end_is_taken_off() -> None:
    name = "p" * (MAX_NAME - 3) + "-17 of the planners"

    assert normal_name(name) == "p" * (MAX_NAME - 3)


@settings(max_examples=400, deadline=None)
@given(NAMES)
@example("2025-" * 12 + "08-01-" * 12)
@example(f"deadbee{UUID}1f")
@example(f"{UUID} " * 6)
@example(f"{'(' * 100}3f2a9b1c{')' * 100}")
def test_any_text_gives_a_bounded_printable_name_that_is_its_own(name: str) -> None:
    plain = normal_name(name)

    assert 0 < len(plain) <= MAX_NAME
    assert plain == plain.strip()
    assert plain.isprintable()
    assert normal_name(plain) == plain


@settings(max_examples=200, deadline=None)
@given(
    name=st.from_regex(r"[a-z]{3,12}(_[a-z]{3,12})?", fullmatch=True),
    number=st.integers(100, 10**9),
    joint=st.sampled_from(["-", "_", " ", " #", "/", ":"]),
)
def test_workers_that_differ_by_a_counter_share_a_name(name: str, number: int, joint: str) -> None:
    assert normal_name(f"{name}{joint}{number}") == normal_name(name)


@pytest.mark.parametrize(
    "agent_id",
    [
        UUID,
        UUID.replace("-", ""),
        "asst_abc123",
        "asst_Zx81kLmQ2aaBc7TpPq0RsUvW",
        "deadbeef01",
        "17",
        "ABCDE12345",
        "V1StGXR8Z5jdHi6BmyT3",
        f"agent-{UUID}",
        "run_01J9ZK3V5W7X8Y9Z0A1B2C3D4E",
        "arn:aws:bedrock:us-east-1:123456789012:agent/ABCDE12345",
        "clh3am1f30000udocbhqg4151",
        "",
        " ",
    ],
)
def test_an_id_that_a_machine_made_is_known(agent_id: str) -> None:
    assert looks_generated(agent_id)


@pytest.mark.parametrize(
    "agent_id",
    [
        "planner",
        "pricing-agent-v2",
        "market_researcher_agent",
        "agent_planner2",
        "TSTALIASID",
        "agent",
        "layer-7-analyst",
        f"planner-{UUID}",
        "ResearchAgent",
    ],
)
def test_an_id_that_reads_as_a_name_is_no_machines(agent_id: str) -> None:
    assert not looks_generated(agent_id)


def test_a_tidy_text_is_one_bounded_line() -> None:
    assert tidy(" a\x00b\u202ec ") == "a b c"
    assert tidy("x" * 1000, MAX_READ) == "x" * MAX_READ
    assert tidy("ab cd", 3) == "ab"


def test_the_first_names_are_labels_and_later_ones_share_one() -> None:
    names = TrackedNames()
    first = [f"n{number}x" for number in range(256)]

    assert [names.tracked(each) for each in first] == first
    assert names.overflow == 0
    assert [names.tracked(each) for each in ("late", "later", "late")] == [OTHER] * 3
    assert names.overflow == 2
    assert [names.tracked(each) for each in first] == first


def test_the_count_of_names_without_a_label_is_bounded() -> None:
    names = TrackedNames()
    for number in range(5000):
        names.tracked(f"n{number}x")

    assert names.overflow == 4096


def test_a_label_is_tidy_whatever_it_was() -> None:
    names = TrackedNames()

    assert names.tracked("x" * 1000) == "x" * MAX_NAME
    assert names.tracked("a\n") == "a"
    assert names.tracked("\ud800") == "agent"
