"""All rule files of a configuration, read outside the running daemon: for `validate` and `explain`.

Pseudonyms are made with a key of this process alone: nothing is written, and the daemon's own key is not read.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from sidecar.config import Config
from sidecar.mask.hmac_keys import HmacKeys
from sidecar.observe.metrics import Metrics
from sidecar.receive.enrichment import EnrichmentRules
from sidecar.receive.masking import Masking, Rules, nothing_masked, rules_parser
from sidecar.receive.pipeline import Mask
from sidecar.receive.sampling import keep_rules_file
from sidecar.rulefiles import RuleFile, RuleFiles


def check_rules(config: Config, env: Mapping[str, str]) -> None:
    """Read every rule file and run the detectors' self-test; ConfigError with every problem of all of them."""
    files: list[RuleFile[object]] = list(EnrichmentRules(config.enrichment, env).files) if config.enrichment.enabled else []
    if config.masking.enabled:
        files.append(_policy(config, env))
    if config.sampling.enabled:
        files.append(keep_rules_file(config.sampling, env))
    RuleFiles(files).load_all()


def mask_of(config: Config, env: Mapping[str, str]) -> Mask:
    """The daemon's mask, but for the key of pseudonyms. ConfigError when its policy is wrong."""
    if not config.masking.enabled:
        return nothing_masked
    policy = _policy(config, env)
    policy.load()
    return Masking(policy.value, Metrics(CollectorRegistry()))


def _policy(config: Config, env: Mapping[str, str]) -> RuleFile[Rules]:
    keys = HmacKeys("here", {"here": secrets.token_bytes(32)})
    return RuleFile("masking.policy", config.masking.policy, rules_parser(config.masking, keys, ":memory:"), env)
