"""config/masking.yaml: what is hidden, how, and where."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.errors import ConfigError
from sidecar.mask.actions import Action
from sidecar.mask.hmac_keys import HmacKeys
from sidecar.mask.json_text import ROOT
from sidecar.mask.json_text import Path as JsonPath
from sidecar.mask.keys import BUILT_IN_NAMES, IDENTITY_KEYS, MACHINE_KEYS, MACHINE_LOOKALIKES, KeyVerdict
from sidecar.mask.packs import DETECTORS
from sidecar.mask.policy import GENERATION, SCOPES_MAX, Policy, Scope, parse_policy
from sidecar.mask.policy_file import NEVER_PARTIAL, named, what_table

ROOT_DIR = Path(__file__).parent.parent.parent
FILE = ROOT_DIR / "config/masking.yaml"
KEYS = HmacKeys("k1", {"k1": b"synthetic" * 4})
CARD = b"4111 1111 1111 1111"
SCAN, KEEP = KeyVerdict("scan"), KeyVerdict("keep")


def policy(**tree: object) -> Policy:
    return Policy(parse_policy(tree, DETECTORS), KEYS)


def problems_of(tree: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_policy(tree, DETECTORS)
    return list(caught.value.problems)


def index(of: Policy, name: str) -> int:
    return next(place for place, each in enumerate(of.detectors) if each.name == name)


def hit(of: Policy, name: str, value: bytes, key: str = "x", path: JsonPath | str | None = "$", scope: Scope | None = None) -> bytes | None:
    return (scope or of.scope("a", "s")).hit(index(of, name), value, key, path)


def test_the_file_in_config_says_what_holds_without_it() -> None:
    assert parse_policy(yaml.safe_load(FILE.read_text(encoding="utf-8")), DETECTORS) == parse_policy({}, DETECTORS) == parse_policy(None, DETECTORS)


def test_the_examples_in_the_file_in_config_are_valid() -> None:
    tree: dict[str, list[object]] = {}
    waiting: list[object] = []
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#   - {"):
            waiting.append(yaml.safe_load(line[6:]))
        elif line.startswith(("keys:", "patterns:", "rules:")):
            tree[line.partition(":")[0]], waiting = waiting, []
    lines = FILE.read_text(encoding="utf-8").splitlines()
    allow = yaml.safe_load(next(line for line in lines if line.startswith("#   allow:"))[1:])

    assert [len(each) for each in tree.values()] == [2, 1, 3]
    found = policy(**tree, **allow, detectors={"ipv4": "keep", "email": "hmac"})
    assert found.scope("support-eu", None).hit(index(found, "email"), b"a@b.co", "x", "$.messages[0].content") is None
    assert found.scope("a", None).key("diagnosis") == KeyVerdict("mask", Action.REMOVE, "SECRET")
    assert found.scope("a", None).key("pin") == SCAN


def test_the_page_lists_every_built_in_name() -> None:
    page = (ROOT_DIR / "docs/masking.md").read_text(encoding="utf-8")
    names = {*MACHINE_KEYS, *MACHINE_LOOKALIKES, *IDENTITY_KEYS, *NEVER_PARTIAL}
    for each in BUILT_IN_NAMES:
        names |= {name for name in each.match if not (name.startswith("*_") and name[2:] in each.match)} | set(each.unless) | {each.label}

    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


def test_the_built_in_tables_name_detectors_that_exist() -> None:
    table = what_table(DETECTORS, ())

    assert [what for what in (*MACHINE_LOOKALIKES, *NEVER_PARTIAL) if not named(what, table)] == []


def test_each_pack_has_its_action() -> None:
    found = policy()

    assert hit(found, "email", b"alice@example.com") == b"[EMAIL]"
    assert hit(found, "card", CARD) == b"[CARD:1111]"
    assert hit(found, "card-code", b"123456789012") == b"[CVV]"
    assert hit(policy(packs={"financial": "remove"}), "card-code", b"123") == b""
    assert hit(policy(packs={"financial": "hmac"}), "card-code", b"123") != b"[CVV]"
    assert len(found.detectors) == len(DETECTORS)


def test_a_pack_or_detector_that_is_off_is_not_searched_for() -> None:
    names = {each.name for each in policy(packs={"pii": False, "financial": "off"}, detectors={"email": "hmac", "jwt": "keep"}).detectors}

    assert {"email"} < names and not names & {"ipv4", "card", "jwt"}


def test_a_detector_that_is_off_is_searched_for_where_a_rule_hides_it() -> None:
    found = policy(detectors={"email": "keep"}, rules=[{"where": {"key": "notes"}, "what": "email", "action": "remove"}])

    assert hit(found, "email", b"a@b.co") is None
    assert hit(found, "email", b"a@b.co", "notes") == b""


def test_names_hide_whole_values() -> None:
    scope = policy().scope("a", "s")

    assert scope.key("db.password") == KeyVerdict("mask", Action.LABEL, "PASSWORD")
    assert scope.member("$.user.apiKey", "apiKey") == KeyVerdict("mask", Action.LABEL, "SECRET")
    assert scope.member(None, "apiKey").what == "mask"
    assert scope.whole(scope.key("db.password"), b"hunter2") == b"[PASSWORD]"
    assert [scope.whole(scope.key("password"), value) for value in (b"", b"null", b"true", b"[EMAIL]")] == [b"", b"null", b"true", b"[EMAIL]"]
    assert scope.whole(scope.key("password"), b"[HUNTER]") == b"[PASSWORD]"
    assert [scope.key(name) for name in ("author", "tokenizer", "max_tokens", "has_password", "")] == [SCAN] * 5


def test_own_names_come_before_the_built_in_ones_and_allowed_names_beat_all_but_always() -> None:
    keys = [
        {"match": "pin", "action": "keep"},
        {"match": ["diagnosis", "*_diagnosis"], "unless": "no_diagnosis", "action": "remove", "label": "HEALTH"},
    ]
    scope = policy(keys=keys, allow={"keys": ["password*", "diagnosis", "ssn"]}).scope("a", "s")

    assert scope.key("pin") == SCAN
    assert scope.key("first_diagnosis") == KeyVerdict("mask", Action.REMOVE, "HEALTH")
    assert scope.whole(scope.key("first_diagnosis"), b"x") is None
    assert scope.key("no_diagnosis") == SCAN
    assert scope.key("diagnosis") == scope.key("ssn") == KEEP
    assert scope.key("password").what == "mask"


def test_without_the_built_in_names_only_own_ones_count() -> None:
    found = policy(built_in_names=False, keys=[{"match": "code"}])

    assert [found.scope("a", None).key(name).what for name in ("password", "user.id", "code")] == ["scan", "scan", "mask"]
    assert not found.scope("a", None).key("user.id").whole
    assert hit(found, "card", CARD, "trace_id") == b"[CARD:1111]"


def test_one_person_has_one_pseudonym_under_every_identity_key() -> None:
    scope = policy().scope("a", "s")
    verdicts = {scope.key(key) for key in ("user.id", "session.id", "enduser.id", "langfuse.user.id", "langfuse.trace.metadata.user_id")}

    assert verdicts == {KeyVerdict("scan", Action.HMAC, "ID", whole=True)}
    assert scope.whole(verdicts.pop(), b"alice@example.com").startswith(b"[ID:k1:")  # type: ignore[union-attr]  # hmac gives bytes


def test_ids_and_counts_are_no_phones_and_cards_and_can_still_be_secrets() -> None:
    found = policy()

    assert hit(found, "card", CARD, "trace_id") is None
    assert hit(found, "email", b"a@b.co", "trace_id") == b"[EMAIL]"
    assert hit(found, "jwt", b"x", "gen_ai.response.id") == b"[JWT]"


def test_allowed_values_are_left_alone() -> None:
    found = policy(allow={"values": ["*@MyCompany.com", "4111111111111111", "a\\*b@c.de"], "patterns": ["TEST-[0-9]{4,8}"]})

    assert [hit(found, "email", value) for value in (b"Bob@mycompany.com", b"a*b@c.de", b"TEST-1234")] == [None] * 3
    assert hit(found, "card", CARD) is None
    assert [hit(found, "email", value) for value in (b"bob@mycompany.com.evil.org", b"axb@c.de", b"TEST-123", b"a" * 2000 + b"@mycompany.com")] == [
        b"[EMAIL]"
    ] * 4


def test_the_first_rule_that_fits_decides_detector_by_detector() -> None:
    rules = [
        {"where": {"agent": "support-*", "path": "$.messages[*].content"}, "what": ["email", "phone-*"], "action": "keep"},
        {"where": {"agent": "Support-*"}, "what": "pii", "action": "remove"},
        {"where": {"service": "billing"}, "what": "*", "action": "hmac"},
    ]
    found = policy(rules=rules)
    support, billing, other = found.scope("Support-EU", None), found.scope("x", "Billing"), found.scope("x", None)

    assert hit(found, "email", b"a@b.co", path="$.messages[3].content", scope=support) is None
    assert hit(found, "email", b"a@b.co", path="$.messages[3].name", scope=support) == b""
    assert hit(found, "ipv4", b"10.1.2.3", path="$.messages[3].content", scope=support) == b""
    assert hit(found, "email", b"a@b.co", path=ROOT, scope=support) == b""
    assert (hit(found, "card", CARD, scope=billing) or b"").startswith(b"[CARD:k1:")
    assert hit(found, "email", b"a@b.co", scope=other) == b"[EMAIL]"
    assert support.has_path_rules and not billing.has_path_rules


def test_where_the_agent_or_the_path_is_not_known_the_strictest_of_what_could_apply_wins() -> None:
    rules = [
        {"where": {"agent": "support"}, "what": "email", "action": "keep"},
        {"where": {"agent": "hr", "service": "people"}, "what": "email", "action": "remove"},
        {"where": {"path": "$.a"}, "what": "ipv4", "action": "keep"},
        {"where": {"agent": "support", "key": "note"}, "what": "value", "action": "remove", "label": "NOTE"},
    ]
    found = policy(rules=rules)

    assert hit(found, "email", b"a@b.co", scope=found.scope("support", "people")) is None
    assert hit(found, "email", b"a@b.co", scope=found.scope(None, "people")) == b""
    assert hit(found, "email", b"a@b.co", scope=found.scope(None, None)) == b"[EMAIL]"
    assert hit(found, "ipv4", b"10.1.2.3", path="$.a") is None
    assert hit(found, "ipv4", b"10.1.2.3", path=None) == b"[IP]"
    assert [found.scope(agent, None).key("note").what for agent in ("support", "hr", None)] == ["mask", "scan", "mask"]


def test_a_rule_for_whole_values_works_on_keys_and_paths() -> None:
    rules = [
        {"where": {"path": ["$.customer.*"]}, "what": "value", "action": "label", "label": "CUSTOMER"},
        {"where": {"key": "note"}, "what": ["value"], "action": "keep"},
        {"where": {"key": "password"}, "what": "value", "action": "keep", "i_know": True},
    ]
    scope = policy(rules=rules).scope("a", None)

    assert scope.member("$.customer.name", "name") == KeyVerdict("mask", Action.LABEL, "CUSTOMER", placed=True)
    assert scope.member("$.order.name", "name") == SCAN
    assert scope.member(None, "name").what == "mask"
    assert scope.key("customer.name") == SCAN
    assert scope.key("password").what == "mask"


def test_own_patterns_are_detectors_with_their_own_action() -> None:
    found = policy(patterns=[{"name": "employee-id", "pattern": "EMP-[0-9]{6}", "label": "EMPLOYEE", "action": "hmac"}])

    assert found.detectors[-1].name == "employee-id" and "EMPLOYEE" in found.labels
    assert (hit(found, "employee-id", b"EMP-123456") or b"").startswith(b"[EMPLOYEE:k1:")


def test_own_labels_are_left_as_they_are() -> None:
    assert hit(policy(), "email", b"[EMAIL:k1:7f3a9c01d2e4b5a6]") is None


def test_the_digest_tells_policies_apart_and_does_not_depend_on_keys() -> None:
    assert policy().digest == Policy(parse_policy({}, DETECTORS), HmacKeys("k2", {"k2": b"y"})).digest
    assert len({policy().digest, policy(dry_run=True).digest, policy(packs={"pii": "hmac"}).digest}) == 3
    assert len(policy().digest) == 8


def test_switches_and_limits_are_passed_on() -> None:
    found = policy(dry_run=True, limits={"max_value_kib": 64, "max_hits": 5, "max_depth": 2})

    assert found.dry_run and (found.limits.max_value_bytes, found.limits.max_hits, found.limits.max_depth) == (65536, 5, 2)
    assert (policy().limits.max_value_bytes, policy().limits.max_hits, policy().limits.max_depth) == (1 << 20, 10_000, 5)


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        ([], "masking file: expected a map"),
        ({"pack": {}}, "pack: unknown key"),
        ({"packs": []}, "packs: expected a map"),
        ({"packs": {"pi": "label"}}, "packs.pi: there is no such pack; there are: financial"),
        ({"packs": {"pii": "hide"}}, "packs.pii: Invalid enum value 'hide'; there are: keep, partial"),
        ({"packs": {"pii": True}}, "packs.pii: Expected str"),
        ({"detectors": {"emial": "keep"}}, "detectors.emial: there is no such detector"),
        ({"keys": None}, None),
        ({"keys": {}}, "keys: expected a list"),
        ({"keys": "x"}, "keys: expected a list"),
        ({"keys": ["x"]}, "keys[0]: expected a map"),
        ({"keys": [{}]}, "keys[0].match: is required"),
        ({"keys": [{"match": "*"}]}, "keys[0].match: '*' fits every name"),
        ({"keys": [{"match": "._-"}]}, "keys[0].match: '._-' fits every name"),
        ({"keys": [{"match": "a", "unless": "*"}]}, "keys[0].unless: '*' fits every name"),
        ({"keys": [{"match": "a", "label": "lower"}]}, "keys[0].label: Expected str matching"),
        ({"keys": [{"match": "a", "action": "keep", "always": True}]}, "keys[0]: always is for rules that hide"),
        ({"patterns": [3, {"name": "x", "pattern": "a+", "label": "X"}]}, "patterns[1].pattern: at character 2: + has no upper bound"),
        ({"patterns": [{"name": "email", "pattern": "abcd", "label": "X"}]}, "patterns[0].name: email is taken"),
        ({"patterns": [{"name": "x", "pattern": "abc", "label": "X"}]}, "patterns[0].pattern: can match fewer than 4 bytes"),
        ({"patterns": [{"name": "x", "pattern": "abcd", "label": "X", "words": ["staff", "é "]}]}, "patterns[0].words: a word needs 2 characters"),
        ({"patterns": [{"name": "x", "pattern": "(?:a{4,90}|b{4,90})", "label": "X"}]}, "patterns[0].pattern: needs a few fixed characters"),
        ({"patterns": [{"name": "x", "pattern": "abcd", "label": "X", "action": "keep"}]}, "patterns[0].action: can't be keep"),
        ({"rules": [{"where": {}, "what": "emial", "action": "label"}]}, "rules[0].what: there is no pack, detector or pattern 'emial'"),
        ({"rules": [{"where": {}, "what": "value", "action": "label"}]}, "rules[0].what: value needs where.key or where.path"),
        ({"rules": [{"where": {"agnet": "x"}, "what": "pii", "action": "keep"}]}, "rules[0].where.agnet: unknown key"),
        ({"rules": [{"where": {"path": "messages"}, "what": "pii", "action": "keep"}]}, "rules[0].where.path: 'messages' fits no path"),
        ({"rules": [{"where": {"key": ["*", "note"]}, "what": "pii", "action": "keep"}]}, "rules[0].where: a glob that fits everything"),
        ({"rules": [{"where": {"agent": "dev-*"}, "what": "secrets", "action": "keep"}]}, "rules[0]: keeps secrets almost everywhere"),
        ({"rules": [{"where": {"key": "*a"}, "what": "*", "action": "keep"}]}, "rules[0]: keeps secrets almost everywhere"),
        ({"allow": {"values": ["*@*"]}}, "allow.values[0]: '*@*' would allow almost everything"),
        ({"allow": {"patterns": ["a+"]}}, "allow.patterns[0]: at character 2"),
        ({"allow": {"keys": ["*_*"]}}, "allow.keys[0]: '*_*' would leave almost every name"),
        ({"identity": {"keys": ["*"]}}, "identity.keys[0]: would make every value"),
        ({"identity": {"action": "keep"}}, "identity.action: can't be keep"),
        ({"limits": {"max_hits": 0}}, "limits.max_hits: Expected int >= 1"),
        ({"dry_run": "yes"}, "dry_run: expected true or false"),
    ],
)  # fmt: skip
def test_every_mistake_is_named_with_its_path(tree: object, problem: str | None) -> None:
    if problem is None:
        assert parse_policy(tree, DETECTORS) == parse_policy({}, DETECTORS)
        return
    assert any(said.startswith(problem) for said in problems_of(tree)), problems_of(tree)


def test_all_mistakes_are_named_at_once() -> None:
    assert len(problems_of({"x": 1, "packs": {"y": "z"}, "keys": [{"match": 3}, {}], "allow": 5, "limits": {"max_depth": 99}, "dry_run": 1})) == 7


def test_secrets_can_be_kept_at_a_named_place_or_by_saying_so() -> None:
    for where, extra in (({"key": "demo_output"}, {}), ({"path": "$.demo"}, {}), ({"agent": "dev-*"}, {"i_know": True})):
        found = policy(rules=[{"where": where, "what": "secrets", "action": "keep", **extra}])

        assert hit(found, "jwt", b"x", "demo_output", "$.demo", found.scope("dev-1", None)) is None


def test_hostile_names_agents_and_paths_are_bounded() -> None:
    rules = [{"where": {"agent": f"a{number}", "path": "$.*x*y*z"}, "what": "value", "action": "remove"} for number in range(200)]
    found = policy(rules=rules)
    for number in range(GENERATION * 3):
        scope = found.scope(f"a{number}", f"s{number}")
        assert scope.key(f"key{number}" + "k" * (number % 200)).what == "scan"
    assert found.scope("a" * 10_000, None).member("$." + "x" * 100_000 + "z", "n" * 100_000).what == "scan"

    assert len(found._facts) <= 2 * GENERATION and len(found._scopes) <= 2 * GENERATION and len(found._by_rules) <= 2 * SCOPES_MAX


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=6), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["packs", "detectors", "keys", "patterns", "rules", "allow", "identity", "limits", "match", "where", "what", "action", "name", "pattern", "values", "pii", "key"]), inner, max_size=4), max_leaves=12))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_any_tree_is_read_or_refused(tree: object) -> None:
    try:
        Policy(parse_policy(tree, DETECTORS[:20]), KEYS)
    except ConfigError as error:
        assert error.problems
