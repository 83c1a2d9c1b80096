"""What holds for every sidecar and every gateway, whichever way it is deployed. Each check says what it found."""

from __future__ import annotations

from pathlib import Path

from sidecar.config import Config
from sidecar.loader import load
from sidecar.receive.enrichment import EnrichmentRules
from sidecar.rulefiles import RuleFiles
from tests.deploy.manifests import SIDECAR, TERMINATION_GRACE_S, Tree, environment, size_bytes, sources
from tests.deploy.native_sidecar import CONFIG, DATA, KEYS, broken, opened

MIB = 1 << 20
USER = 10001
CLOSING_S = 5
"""Between the end of shutdown.grace_s and the end of the process."""


def check_restrictions(container: Tree) -> None:
    """The restricted Pod Security Standard, and a root file system that can't be written."""
    context = container["securityContext"]
    assert context["runAsNonRoot"] == True  # noqa: E712  (a Tree is compared, not a boolean)
    assert context["allowPrivilegeEscalation"] == False  # noqa: E712  (as above)
    assert context["readOnlyRootFilesystem"] == True  # noqa: E712  (as above)
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert "privileged" not in context


def check_resources(container: Tree) -> None:
    """Memory is requested and limited, CPU is requested and not limited: a throttled relay answers late."""
    requests, limits = container["resources"]["requests"], container["resources"]["limits"]
    assert requests["cpu"].text().endswith("m")
    assert limits.keys() == {"memory"}
    assert size_bytes(requests["memory"].text()) < size_bytes(limits["memory"].text())


def check_mounts(container: Tree, volumes: Tree, claims: frozenset[str] = frozenset()) -> None:
    """Every mount has its volume; the buffer is the only one that can be written."""
    by_path = {each["mountPath"].text(): each for each in container["volumeMounts"].items()}
    assert set(by_path) == {DATA, CONFIG, KEYS}
    assert [path for path, mount in by_path.items() if mount["readOnly"] != True] == [DATA]  # noqa: E712  (a Tree is compared)
    names = {each["name"].text() for each in volumes.items()} | claims
    assert {each["name"].text() for each in by_path.values()} <= names
    keys = volumes.named(by_path[KEYS]["name"].text())
    assert keys["secret"]["secretName"] == SIDECAR


def check_sidecar(pod: Tree) -> Tree:
    """Every rule of ``native_sidecar``; gives the container."""
    assert broken(pod) == []
    return opened(pod).sidecar


def check_keys(container: Tree) -> None:
    """Keys come from the Secret, the secret ones as files that the environment only names."""
    secrets = {name: source["secretKeyRef"] for name, source in sources(container).items() if "secretKeyRef" in source}
    assert secrets == {
        "LANGFUSE_PUBLIC_KEY": {"name": SIDECAR, "key": "public-key"},
        "LANGFUSE_BASE_URL": {"name": SIDECAR, "key": "base-url", "optional": True},
    }
    plain = environment(container)
    assert plain["LANGFUSE_SECRET_KEY_FILE"] == f"{KEYS}/secret-key"
    assert plain["MASKING_HMAC_KEY_FILE"] == f"{KEYS}/hmac-key"
    assert plain["SIDECAR_DATA_DIR"] == DATA


def loaded(container: Tree, config_map: Tree, folder: Path) -> Config:
    """The configuration as the container would have it: its files and variables, through the real loader, without warnings."""
    for name in config_map["data"].keys():  # noqa: SIM118  (a Tree, not a mapping)
        (folder / name).write_text(config_map["data"][name].text(), encoding="utf-8")
    key, hmac_key = folder / "secret-key", folder / "hmac-key"
    key.write_text("sk-lf-1", encoding="utf-8")
    hmac_key.write_text("k1:0123456789abcdef0123456789abcdef", encoding="utf-8")
    env = environment(container) | {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY_FILE": str(key), "MASKING_HMAC_KEY_FILE": str(hmac_key)}
    sets = [f"enrichment.agents={folder / 'agents.yaml'}"] if "agents.yaml" in config_map["data"] else []
    found = load([folder / "sidecar.yaml"], sets, env)
    assert found.warnings == ()
    RuleFiles(EnrichmentRules(found.config.enrichment, env).files).load_all()
    return found.config


def check_sidecar_config(config: Config) -> None:
    """Spans from the pod alone; probes and Prometheus from outside; the keys where the Secret is mounted."""
    assert config.receivers.http.endpoint.is_loopback
    assert config.receivers.grpc.endpoint.is_loopback
    assert (config.receivers.http.endpoint.port, config.receivers.grpc.endpoint.port) == (4318, 4317)
    check_common_config(config)


def check_common_config(config: Config) -> None:
    assert str(config.admin.endpoint) == "0.0.0.0:9464"
    assert config.buffer.path == f"{DATA}/buffer.db"
    assert config.masking.enabled
    assert config.masking.hmac_key_file
    assert [each.type for each in config.destinations] == ["langfuse"]
    assert config.destinations[0].secret_key_file
    assert not config.destinations[0].secret_key


def check_grace(pod: Tree, config: Config, before_s: float = 0) -> None:
    """The pod's grace period holds what comes before, shutdown.grace_s, and closing."""
    given = pod["spec"]["terminationGracePeriodSeconds"].value or TERMINATION_GRACE_S
    assert isinstance(given, int)
    assert given >= before_s + config.shutdown.grace_s + CLOSING_S, f"{given} s for {config.shutdown.grace_s} s of delivery"


def file_mib(config: Config) -> float:
    """The most that lies in the data directory: the file and one damaged copy that was set aside, dead letters, log and reserve."""
    return 2 * (config.buffer.max_mib + config.buffer.dead_letter_mib) + config.buffer.reserve_mib + 3 * 4


def check_room(size: str, config: Config) -> None:
    """The volume holds all of it and still has what `min_free_mib` wants."""
    assert size_bytes(size) >= (file_mib(config) + config.buffer.min_free_mib) * MIB
