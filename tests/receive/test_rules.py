"""All rule files, read outside the running daemon, and at its start."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import yaml

from sidecar.config import Config, Enrichment, Masking, Sampling
from sidecar.errors import ConfigError
from sidecar.receive.masking import nothing_masked
from sidecar.receive.rules import check_rules, mask_of
from tests.mask.masking import EMAIL, batch_of
from tests.processes import sidecar_process
from tests.spans import request, span
from tests.test_cli import sidecar as command

PSEUDONYM = re.compile(rb"\[EMAIL:here:[0-9a-f]{16}\]")


def config(policy: Path | str = "", agents: Path | str = "", *, enabled: bool = True) -> Config:
    return Config(enrichment=Enrichment(agents=str(agents)), masking=Masking(enabled=enabled, policy=str(policy)))


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def masked_by(settings: Config) -> bytes:
    batch = batch_of(request(span(attributes={"note": f"write to {EMAIL}"})))
    for _ in mask_of(settings, {})(batch):
        pass
    return batch.request.SerializeToString()


def test_rules_that_are_good_pass() -> None:
    check_rules(config(), {})


def test_the_problems_of_all_files_are_told_together(tmp_path: Path) -> None:
    policy = written(tmp_path / "masking.yaml", "packs: {secret: off}\nnonsense: 1\n")
    agents = written(tmp_path / "agents.yaml", "agents: [{name: no-match}]\n")

    sampling = written(tmp_path / "sampling.yaml", "rules: [{name: errors, match: {agent: x}}]\n")

    with pytest.raises(ConfigError) as caught:
        check_rules(msgspec.structs.replace(config(policy, agents), sampling=Sampling(rules=str(sampling))), {})

    told = "\n".join(caught.value.problems)
    for part in (f"{policy}: packs.secret", f"{policy}: nonsense", f"{agents}: agents[0].match", f"{sampling}: rules[0].name"):
        assert part in told


def test_what_is_turned_off_is_not_read(tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"

    check_rules(
        Config(
            enrichment=Enrichment(enabled=False, agents=str(missing)),
            masking=Masking(enabled=False, policy=str(missing)),
            sampling=Sampling(enabled=False, rules=str(missing)),
        ),
        {},
    )

    assert mask_of(config(missing, enabled=False), {}) is nothing_masked


def test_the_mask_follows_the_policy_with_a_key_that_is_not_the_daemons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    policy = written(tmp_path / "masking.yaml", "detectors: {email: hmac}\n")

    first, second = masked_by(config(policy)), masked_by(config(policy))

    assert EMAIL.encode() not in first
    one, other = PSEUDONYM.search(first), PSEUDONYM.search(second)
    assert one is not None and other is not None and one[0] != other[0]
    assert [each.name for each in tmp_path.iterdir()] == ["masking.yaml"]


def test_a_policy_may_name_variables_of_the_environment(tmp_path: Path) -> None:
    policy = written(tmp_path / "masking.yaml", 'allow: {values: ["${env:ALLOWED}"]}\n')
    batch = batch_of(request(span(attributes={"note": EMAIL})))

    for _ in mask_of(config(policy), {"ALLOWED": EMAIL})(batch):
        pass

    assert EMAIL.encode() in batch.request.SerializeToString()


def test_a_policy_that_is_wrong_gives_no_mask(tmp_path: Path) -> None:
    policy = written(tmp_path / "masking.yaml", 'patterns: [{name: bad, pattern: "(", label: BAD}]\n')

    with pytest.raises(ConfigError, match=re.escape(f"{policy}: patterns[0].pattern")):
        mask_of(config(policy), {})


def test_validate_names_every_problem_of_the_policy(tmp_path: Path) -> None:
    policy = {
        "packs": {"secret": "off"},
        "detectors": {"e-mail": "keep", "email": "mask"},
        "keys": [{"match": "*"}],
        "patterns": [{"name": "open", "pattern": "A+[0-9]{6}", "label": "OPEN"}],
        "rules": [{"what": "secrets", "action": "keep"}, {"what": "value", "action": "label", "where": {"agent": "x"}}],
        "allow": {"values": ["*"]},
        "dry_run": "perhaps",
        "limits": {"max_depth": "deep"},
        "nonsense": 1,
    }
    file = written(tmp_path / "masking.yaml", yaml.safe_dump(policy))

    done = command("validate", "--set", f"masking.policy={file}")

    assert done.returncode == 2
    for where in (
        "packs.secret",
        "detectors.e-mail",
        "detectors.email",
        "keys[0].match",
        "patterns[0].pattern",
        "rules[0]",
        "rules[1].what",
        "allow.values[0]",
        "dry_run",
        "limits.max_depth",
        "nonsense",
    ):
        assert f"{file}: {where}" in done.stderr, where


def test_a_policy_that_is_wrong_stops_the_start_with_every_problem(tmp_path: Path) -> None:
    policy = written(tmp_path / "masking.yaml", "packs: {secret: off}\nnonsense: 1\n")
    with sidecar_process(tmp_path, "http://127.0.0.1:1", {"masking": {"enabled": True, "policy": str(policy)}}, start=False) as process:
        process.start(ready=False)

        assert process.wait_for_exit() == 2
        assert f"{policy}: nonsense" in process.log() and f"{policy}: packs.secret" in process.log()
