"""Loading the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config import Config, Endpoint, Secret
from sidecar.errors import ConfigError
from sidecar.loader import load, merge, parse_endpoint, to_yaml

KEYS = {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": "sk-lf-canary"}


def config(text: str, tmp_path: Path, env: dict[str, str] | None = None, sets: tuple[str, ...] = ()) -> Config:
    path = tmp_path / "sidecar.yaml"
    path.write_text(text, encoding="utf-8")
    return load([path], sets, KEYS if env is None else env).config


def problems(text: str, tmp_path: Path, env: dict[str, str] | None = None, sets: tuple[str, ...] = ()) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        config(text, tmp_path, env, sets)
    return caught.value.problems


def test_the_environment_alone_is_enough() -> None:
    loaded = load([], [], {**KEYS, "LANGFUSE_BASE_URL": "http://langfuse.test:3000", "SIDECAR_DATA_DIR": "/var/lib/sidecar"})

    (destination,) = loaded.config.destinations
    assert (destination.type, destination.base_url, destination.public_key) == ("langfuse", "http://langfuse.test:3000", "pk-lf-1")
    assert destination.secret_key.reveal() == "sk-lf-canary"
    assert loaded.config.buffer.path == "/var/lib/sidecar/buffer.db"
    assert loaded.warnings == ()


def test_without_any_keys_the_destination_is_local_and_a_plain_warning_says_so() -> None:
    loaded = load([], [], {})

    assert [each.type for each in loaded.config.destinations] == ["local"]
    (warning,) = loaded.warnings
    assert "no Langfuse keys are set" in warning


def test_half_the_keys_are_a_problem_and_not_a_silent_local_destination() -> None:
    with pytest.raises(ConfigError, match="secret_key"):
        load([], [], {"LANGFUSE_PUBLIC_KEY": "pk-lf-1"})


def test_the_old_name_of_the_base_url_is_read_and_the_new_one_wins() -> None:
    old = load([], [], {**KEYS, "LANGFUSE_HOST": "http://old.test"})
    both = load([], [], {**KEYS, "LANGFUSE_HOST": "http://old.test", "LANGFUSE_BASE_URL": "http://new.test"})

    assert old.config.destinations[0].base_url == "http://old.test"
    assert both.config.destinations[0].base_url == "http://new.test"


def test_later_files_win_maps_merge_and_lists_replace(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("forward: {linger_ms: 5, concurrency: 2}\nroutes: [{match: {service: a}, to: default}, {match: {service: b}, to: default}]")
    second.write_text("forward: {linger_ms: 7}\nroutes: [{match: {service: c}, to: default}]")

    loaded = load([first, second], ["forward.concurrency=3"], KEYS).config

    assert (loaded.forward.linger_ms, loaded.forward.concurrency) == (7, 3)
    assert [route.match for route in loaded.routes] == [{"service": "c"}]


def test_every_problem_is_reported_at_once_with_its_path(tmp_path: Path) -> None:
    text = """
    receivers: {http: {endpoint: "nonsense", max_body_mib: -1}, grcp: {}}
    forward: {concurrency: many}
    buffer: {durability: maybe}
    """

    found = problems(text, tmp_path)

    assert [problem.split(":")[0] for problem in found] == [
        "receivers.grcp",
        "receivers.http.endpoint",
        "receivers.http.max_body_mib",
        "buffer.durability",
        "forward.concurrency",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("routes: [{match: {service: a}, to: nowhere}]", "routes[0].to: no destination is named 'nowhere'"),
        ("routes: [{match: {colour: a}, to: default}]", "routes[0].match.colour"),
        ("destinations: []", "destinations: at least one is needed"),
        ("destinations: [{name: a, type: local}, {name: a, type: local}]", "given twice"),
        ("destinations: [{name: Bad Name, type: local}]", "destinations[0].name"),
        ("destinations: [{name: a, base_url: 'ftp://x', public_key: p, secret_key: s}]", "destinations[0].base_url"),
        ("destinations: [{name: a, base_url: 'http://u:p@x', public_key: p, secret_key: s}]", "credentials"),
        ("receivers: {http: {enabled: false}, grpc: {enabled: false}}", "both disabled"),
        ("receivers: {http: {tls: {cert_file: /no/such, key_file: /no/such}}}", "receivers.http.tls.cert_file: /no/such can't be read"),
        ("receivers: {http: {tls: {cert_file: /dev/null}}}", "receivers.http.tls.key_file: is required"),
        ("receivers: {http: {auth: {}}}", "receivers.http.auth: needs"),
        ("masking: {hmac_key: one, hmac_key_file: two}", "give one"),
        ("enrichment: {max_value_kib: 2048}", "larger than max_span_kib"),
        ("forward: {batch_mib: 20}", "forward.batch_mib"),
        ("[1, 2]", "expected a map of sections"),
        ("forward: 3", "forward: expected a map"),
        ("routes: {a: b}", "routes: expected a list"),
        ("buffer: {path: '${file:/etc/passwd}'}", "is not ${env:NAME}"),
        ("a: [", "not YAML at line"),
    ],
)
def test_a_wrong_configuration_is_refused_with_a_reason(text: str, expected: str, tmp_path: Path) -> None:
    assert any(expected in problem for problem in problems(text, tmp_path))


def test_a_broken_file_is_never_quoted_because_it_may_hold_secrets(tmp_path: Path) -> None:
    found = problems("destinations: [{secret_key: 'sk-lf-canary-in-file", tmp_path)

    assert "canary" not in "".join(found)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere.yaml: can't be read: No such file"):
        load([tmp_path / "nowhere.yaml"], [], KEYS)


def test_a_set_without_a_value_is_a_problem() -> None:
    with pytest.raises(ConfigError, match="expected a.b.c=value"):
        load([], ["forward.concurrency"], KEYS)


def test_variables_expand_with_defaults_and_dollars_can_be_written(tmp_path: Path) -> None:
    env = {**KEYS, "MIB": "12.5", "EMPTY": ""}
    text = "buffer: {max_mib: '${env:MIB}', path: '/x/${env:EMPTY:-y}/$${z}', max_age_h: '${env:NONE:-3}'}"

    loaded = config(text, tmp_path, env)

    assert (loaded.buffer.max_mib, loaded.buffer.path, loaded.buffer.max_age_h) == (12.5, "/x/y/${z}", 3)


def test_the_printed_configuration_loads_again_and_shows_no_secret(tmp_path: Path) -> None:
    before = load([], [], KEYS).config

    text = to_yaml(before)
    after = config(text, tmp_path)

    assert "canary" not in text
    assert "secret_key: '***'" in text
    assert after.receivers == before.receivers


def test_a_secret_shows_itself_nowhere_but_in_reveal() -> None:
    secret = Secret("sk-lf-canary")

    assert [str(secret), repr(secret), f"{secret}", f"{[secret]}"] == ["***", "***", "***", "[***]"]
    assert secret.reveal() == "sk-lf-canary"
    assert secret == Secret("sk-lf-canary")
    assert not Secret("")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:4318", Endpoint("127.0.0.1", 4318)),
        ("[::1]:4318", Endpoint("::1", 4318)),
        (":4318", Endpoint("0.0.0.0", 4318)),
        ("localhost:0", Endpoint("localhost", 0)),
        ("unix:///run/a.sock", Endpoint(path="/run/a.sock")),
    ],
)
def test_endpoints_are_read_and_written_alike(text: str, expected: Endpoint) -> None:
    endpoint = parse_endpoint(text)

    assert endpoint == expected
    assert parse_endpoint(str(endpoint)) == expected


@pytest.mark.parametrize("text", ["", "localhost", "localhost:", "localhost:http", "localhost:70000", "http://localhost:4318", "unix:relative.sock"])
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected|absolute"):
        parse_endpoint(text)


def test_only_unix_sockets_and_loopback_addresses_are_loopback() -> None:
    texts = ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "unix:///a", "0.0.0.0:1", ":1", "10.0.0.1:1", "example.test:1"]

    assert [parse_endpoint(text).is_loopback for text in texts] == [True] * 5 + [False] * 4


TREES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text()), lambda inner: st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8
).filter(lambda tree: isinstance(tree, dict))


@given(below=TREES, above=TREES)
def test_merging_keeps_everything_of_the_upper_tree(below: dict[str, object], above: dict[str, object]) -> None:
    merged = merge(below, above)

    assert merge(merged, above) == merged
    assert set(merged) == set(below) | set(above)
    assert merge(below, {}) == below


@given(st.binary(max_size=200))
def test_any_file_gives_a_configuration_or_problems(data: bytes) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            load([Path(file.name)], [], KEYS)
        except ConfigError as error:
            assert error.problems
