"""The image and the compose file: rules that a linter would check, and that what they name exists."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
import yaml

import sidecar
from sidecar.loader import load
from tests.deploy.manifests import DEPLOY, ROOT, Tree, one

DOCKERFILE = ROOT / "Dockerfile"
CONFIG = DEPLOY / "kubernetes" / "sidecar" / "sidecar.yaml"
COMPOSE = DEPLOY / "compose.yaml"


def instructions() -> list[tuple[str, str]]:
    """Each instruction and its arguments, with continued lines joined and comments left out."""
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(name, " ".join(arguments.split())) for name, arguments in found]


def final_stage() -> list[tuple[str, str]]:
    found = instructions()
    return found[max(i for i, (name, _) in enumerate(found) if name == "FROM") :]


def all_of(name: str, stage: list[tuple[str, str]]) -> list[str]:
    return [arguments for each, arguments in stage if each == name]


def exec_form(arguments: str) -> list[str]:
    """The list of an exec form; fails on the shell form, whose shell would take the signals."""
    command = json.loads(arguments)
    assert isinstance(command, list)
    return command


def test_both_stages_have_the_same_pinned_base_which_can_be_exchanged() -> None:
    found = instructions()
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE)

    assert [arguments.split()[0] for arguments in all_of("FROM", found)] == ["${PYTHON_IMAGE}", "${PYTHON_IMAGE}"]
    name, _, tag = base.partition(":")
    assert (name, tag) == ("python", "3.13-slim")
    assert f"Python :: {tag.removesuffix('-slim')}" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_dependencies_come_as_wheels_by_hash_and_the_final_stage_installs_nothing() -> None:
    runs = all_of("RUN", instructions())
    (locked,) = [each for each in runs if "requirements.lock" in each]
    (final,) = all_of("RUN", final_stage())

    assert "--require-hashes" in locked
    assert "--only-binary=:all:" in locked
    assert "pip uninstall --yes pip" in final
    assert re.findall(r"apt|pip install|gcc|curl|wget", final) == []
    assert [each for each in runs if re.search(r"pip (--python \S+ )?(install|wheel) (?!--no-cache-dir)", each)] == []


def test_the_image_runs_as_nobody_in_particular() -> None:
    names = [name for name, _ in final_stage()]

    assert all_of("USER", final_stage()) == ["10001:10001"]
    assert {"RUN", "COPY"}.isdisjoint(names[names.index("USER") :]), "nothing is done after the user is set"
    assert "--uid 10001" in all_of("RUN", final_stage())[0]
    assert "ADD" not in [name for name, _ in instructions()]
    assert [each for each in all_of("WORKDIR", instructions()) if not each.startswith("/")] == []
    assert re.findall(r"\bsudo\b|chmod 777|:latest", DOCKERFILE.read_text(encoding="utf-8")) == []
    assert not [each for kind in ("ENV", "ARG") for each in all_of(kind, instructions()) if re.search("SECRET|_KEY|TOKEN|PASSWORD", each)]


def test_signals_reach_the_program_and_its_command_is_a_real_one() -> None:
    stage = final_stage()
    entry, command = exec_form(all_of("ENTRYPOINT", stage)[0]), exec_form(all_of("CMD", stage)[0])

    assert entry == ["sidecar"]
    assert command == ["run", "--config", "/etc/langfuse-sidecar/sidecar.yaml"]
    assert all_of("STOPSIGNAL", stage) == ["SIGTERM"]
    assert all_of("EXPOSE", stage) == ["4317 4318 9464"]


def test_the_health_check_is_python_that_compiles_and_asks_no_other_program() -> None:
    (check,) = all_of("HEALTHCHECK", final_stage())
    python, option, program = exec_form(check[check.index("CMD ") + 4 :])

    assert (python, option) == ("python", "-c")
    names = {each.id for each in ast.walk(ast.parse(program)) if isinstance(each, ast.Name)}
    assert names == {"socket", "urllib"}
    assert "/livez" in program
    assert "readyz" not in program, "a full buffer is no reason to end the process"


def test_labels_say_what_the_image_is() -> None:
    (label,) = all_of("LABEL", final_stage())
    found = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', label))

    assert found["title"] == "langfuse-sidecar"
    assert found["licenses"] == "Apache-2.0"
    assert f"VERSION={sidecar.__version__}" in all_of("ARG", final_stage())


def test_everything_copied_exists_and_is_not_ignored() -> None:
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = [line[1:] for line in ignore if line.startswith("!")]
    copied = [each for arguments in all_of("COPY", instructions()) if "--from=" not in arguments for each in arguments.split()[:-1]]

    assert "*" in ignore
    assert copied
    for each in copied:
        assert (ROOT / each).exists(), each
        assert any(each == path or each.startswith(f"{path}/") for path in kept), each
    assert [path for path in kept if not any(each == path or each.startswith(f"{path}/") for each in copied)] == []


def test_the_image_works_with_keys_from_the_environment_from_files_and_without_any(tmp_path: Path) -> None:
    key = tmp_path / "secret-key"
    key.write_text("sk-lf-1", encoding="utf-8")
    bare = load([CONFIG], [], {})
    plain = load([CONFIG], [], {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": "sk-lf-1"})
    filed = load([CONFIG], [], {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY_FILE": str(key)})

    assert bare.config.destinations[0].type == "local"
    assert plain.config.destinations[0].secret_key.reveal() == "sk-lf-1"
    assert filed.config.destinations[0].secret_key_file == str(key)
    assert str(bare.config.admin.endpoint) == "0.0.0.0:9464"
    assert bare.config.receivers.http.endpoint.is_loopback
    assert bare.config.receivers.grpc.endpoint.is_loopback
    assert bare.config.buffer.path == "/var/lib/langfuse-sidecar/buffer.db"


def compose() -> Tree:
    return one(COMPOSE)


def test_the_compose_agent_sees_the_sidecar_as_localhost_and_knows_no_keys() -> None:
    services = compose()["services"]

    assert services.keys() == {"sidecar", "agent", "prometheus", "grafana"}
    assert services["agent"]["network_mode"] == "service:sidecar"
    assert services["agent"]["depends_on"] == {"sidecar": {"condition": "service_healthy"}}
    assert services["agent"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://localhost:4318"
    assert "LANGFUSE" not in str(services["agent"])


def test_the_compose_sidecar_is_as_restricted_as_in_a_pod() -> None:
    service = compose()["services"]["sidecar"]
    config = load([CONFIG], [], {}).config

    assert service["read_only"] == True  # noqa: E712  (a Tree is compared, not a boolean)
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["stop_grace_period"].text().removesuffix("s")) > config.shutdown.grace_s
    assert service["volumes"] == [f"buffer:{Path(config.buffer.path).parent}"]


def test_everything_that_compose_refers_to_is_there() -> None:
    tree = compose()
    for service in (tree["services"][name] for name in tree["services"].keys()):  # noqa: SIM118  (a Tree, not a mapping)
        volumes = service["volumes"].value or []
        assert isinstance(volumes, list)
        sources = {each.split(":")[0] for each in volumes}
        assert {each for each in sources if not each.startswith("./")} <= tree["volumes"].keys()
        assert [each for each in sources if each.startswith("./") and not (DEPLOY / each).is_dir()] == []
        assert {each["source"].value for each in service["configs"].items()} <= tree["configs"].keys()
        ports = service["ports"].value or []
        assert isinstance(ports, list)
        assert [each for each in ports if not each.startswith("127.0.0.1:")] == [], "published on this machine alone"


def mounted(service: str) -> dict[str, Tree]:
    """The files that a service is given, by their path in its container."""
    tree = compose()
    return {each["target"].text(): tree["configs"][each["source"].text()] for each in tree["services"][service]["configs"].items()}


def test_the_compose_agent_is_a_program_that_compiles() -> None:
    (agent,) = mounted("agent").values()

    ast.parse(agent["content"].text())


def test_the_compose_prometheus_scrapes_the_sidecar_with_every_rule() -> None:
    files = mounted("prometheus")
    settings = yaml.safe_load(files["/etc/prometheus/prometheus.yml"]["content"].text())
    example = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text(encoding="utf-8"))

    assert settings["global"] == example["global"]
    assert settings["scrape_configs"] == example["scrape_configs"]
    assert settings["rule_files"] == example["rule_files"]
    for name in settings["rule_files"]:
        assert files[f"/etc/prometheus/{name}"] == {"file": f"prometheus/{name}"}
        assert (DEPLOY / "prometheus" / name).is_file()


def test_the_compose_grafana_finds_prometheus_and_every_dashboard() -> None:
    folder = "/etc/grafana/provisioning"
    files = {path: yaml.safe_load(file["content"].text()) for path, file in mounted("grafana").items()}
    (source,) = files[f"{folder}/datasources/prometheus.yaml"]["datasources"]
    (provider,) = files[f"{folder}/dashboards/langfuse-sidecar.yaml"]["providers"]

    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://prometheus:9090", True)
    assert provider["type"] == "file"
    assert f"./grafana:{provider['options']['path']}:ro" in compose()["services"]["grafana"]["volumes"].value  # type: ignore[operator]  # a list of texts
    assert list((DEPLOY / "grafana").glob("*.json"))


def test_an_empty_variable_is_as_good_as_none() -> None:
    """Compose hands over every variable that it names, whether it is set or not."""
    names = compose()["services"]["sidecar"]["environment"].keys()
    empty = load([CONFIG], [], dict.fromkeys(names, ""))

    assert empty.config == load([CONFIG], [], {}).config
    assert empty.config.destinations[0].base_url == "https://cloud.langfuse.com"


FILES = sorted(
    path for path in (DOCKERFILE, *DEPLOY.rglob("*")) if path.is_file() and path.suffix in ("", ".yaml", ".json", ".tpl", ".txt", ".service")
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_image_names_a_registry(path: Path) -> None:
    images = re.findall(r"(?:image|newName|repository):[ ]+([\w.${}:/-]+)", path.read_text(encoding="utf-8"))

    assert [each for each in images if "." in each.removeprefix("${").split("/")[0].split(":")[0] and "/" in each] == []
