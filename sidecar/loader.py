"""The one loader of the configuration.

Sources, later wins: built-in defaults, the environment variables that Langfuse's users know, each
``--config`` file in order, each ``--set``. Maps merge, lists replace. ``${env:NAME}`` and
``${env:NAME:-default}`` are expanded in every string as the OpenTelemetry Collector does; ``$$`` is a
dollar sign. Every problem is reported at once, with its path.

This module opens no file but those it is told to, and reads no environment but the mapping it is given.
"""

from __future__ import annotations

import os
import re
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import yaml
from msgspec import Struct

from sidecar.config import Base, Config, Destination, Endpoint, GrpcReceiver, HttpReceiver, Secret
from sidecar.environment import base_url, from_environment
from sidecar.errors import ConfigError

MAX_CONFIG_BYTES = 4 * 1024 * 1024
"""A configuration is a few KiB; 4 MiB leaves room for thousands of routes and stops a mistaken path."""


class Loaded(Struct, frozen=True):
    """A configuration and what the operator should know about how it came to be."""

    config: Config
    warnings: tuple[str, ...] = ()


DEFAULTS: Mapping[str, object] = {
    "enrichment": {
        "resource": {
            "k8s.pod.name": "${env:POD_NAME:-}",
            "k8s.namespace.name": "${env:POD_NAMESPACE:-}",
            "k8s.node.name": "${env:NODE_NAME:-}",
            "k8s.container.name": "${env:CONTAINER_NAME:-}",
        }
    },
    "buffer": {"path": "${env:SIDECAR_DATA_DIR:-./data}/buffer.db"},
    "destinations": [
        {
            "name": "default",
            "base_url": "${env:LANGFUSE_BASE_URL:-https://cloud.langfuse.com}",
            "public_key": "${env:LANGFUSE_PUBLIC_KEY:-}",
            "secret_key": "${env:LANGFUSE_SECRET_KEY:-}",
        }
    ],
}
"""What holds without any file, so that the environment alone is enough."""


def load(files: Iterable[Path], sets: Iterable[str], env: Mapping[str, str]) -> Loaded:
    """Read, merge, expand and check the configuration.

    ``sets`` are ``a.b.c=value`` texts; the value is YAML. Raises ConfigError with every problem.
    """
    problems: list[str] = []
    known, warnings = from_environment(env, problems)
    tree = merge(dict(DEFAULTS), known)
    for path in files:
        tree = merge(tree, _read(path, problems))
    for text in sets:
        tree = merge(tree, _parse_set(text, problems))
    expanded = expand(tree, {**env, "LANGFUSE_BASE_URL": base_url(env)}, "", problems)
    config = _build(Config, expanded, "", problems)
    if isinstance(config, Config) and not problems:
        config = _local_without_keys(config, warnings)
        _cross_check(config, problems)
    if problems or not isinstance(config, Config):
        raise ConfigError(problems)
    return Loaded(config, tuple(warnings))


def merge(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, object]:
    """Two trees as one: maps merge, everything else of ``above`` replaces."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


_ENV = re.compile(r"\$\$|\$\{env:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{([^}]*)\}")


def expand(value: object, env: Mapping[str, str], path: str, problems: list[str]) -> object:
    """Expand ``${env:NAME:-default}`` in every string of a tree; other ``${...}`` are problems."""
    if isinstance(value, Mapping):
        return {key: expand(item, env, _join(path, str(key)), problems) for key, item in value.items()}
    if isinstance(value, list):
        return [expand(item, env, f"{path}[{i}]", problems) for i, item in enumerate(value)]
    if not isinstance(value, str) or "$" not in value:
        return value

    def one(found: re.Match[str]) -> str:
        name, default, other = found.groups()
        if found.group() == "$$":
            return "$"
        if other is not None:
            problems.append(f"{path}: ${{{other}}} is not ${{env:NAME}} or ${{env:NAME:-default}}")
            return ""
        set_value = env.get(name)
        # As in the Collector and in shells, `:-` also replaces an empty variable.
        return set_value or default or "" if default is not None else set_value or ""

    return _ENV.sub(one, value)


def parse_endpoint(text: str) -> Endpoint:
    """``host:port``, ``[v6]:port``, ``:port`` (all addresses) or ``unix:///path``; raises ValueError."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/"):
            raise ValueError(f"a unix socket needs an absolute path, as in unix:///run/sidecar.sock, not {text!r}")
        return Endpoint(path=path)
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535 or "/" in host:
        raise ValueError(f"expected host:port or unix:///path, not {text!r}")
    return Endpoint(host or "0.0.0.0", int(port))  # noqa: S104  (`:port` means all addresses, and it is the operator who wrote it)


def _read(path: Path, problems: list[str]) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        problems.append(f"{path}: can't be read: {error.strerror}")
        return {}
    if len(text) > MAX_CONFIG_BYTES:
        problems.append(f"{path}: over {MAX_CONFIG_BYTES} bytes; is it a configuration?")
        return {}
    try:
        tree = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        # The parser's own text can quote a line of the file, and with it a secret.
        problems.append(f"{path}: not YAML at {where}: {getattr(error, 'problem', None) or type(error).__name__}")
        return {}
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        problems.append(f"{path}: expected a map of sections")
        return {}
    return tree


def _parse_set(text: str, problems: list[str]) -> dict[str, object]:
    name, equals, value = text.partition("=")
    if not equals or not all(name.split(".")):
        problems.append(f"--set {name!r}: expected a.b.c=value")
        return {}
    try:
        tree: object = yaml.safe_load(value) if value else ""
    except (yaml.YAMLError, ValueError):
        tree = value
    for key in reversed(name.split(".")):
        tree = {key: tree}
    assert isinstance(tree, dict)
    return tree


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _build(kind: object, value: object, path: str, problems: list[str]) -> object:
    """Build ``kind`` from a tree; on a problem note it and return None."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        if value is None:
            return None
        kind = next(option for option in typing.get_args(kind) if option is not type(None))
    if typing.get_origin(kind) is list:
        if not isinstance(value, list):
            problems.append(f"{path}: expected a list")
            return None
        (item,) = typing.get_args(kind)
        return [_build(item, each, f"{path}[{i}]", problems) for i, each in enumerate(value)]
    if kind is Endpoint:
        try:
            return parse_endpoint(str(value))
        except ValueError as error:
            problems.append(f"{path}: {error}")
            return None
    if isinstance(kind, type) and issubclass(kind, Base):
        return _build_section(kind, value, path, problems)
    try:
        return msgspec.convert(value, kind, strict=False, dec_hook=_decode)
    except (msgspec.ValidationError, ValueError) as error:
        problems.append(f"{path}: {_clean(str(error))}")
        return None


def _build_section(kind: type[Base], value: object, path: str, problems: list[str]) -> Base | None:
    if value is None:
        value = {}
    if not isinstance(value, Mapping):
        problems.append(f"{path or 'configuration'}: expected a map")
        return None
    fields = {each.name: each for each in msgspec.structs.fields(kind)}
    for key in value:
        if key not in fields:
            problems.append(f"{_join(path, str(key))}: unknown key; known here: {', '.join(sorted(fields))}")
    before = len(problems)
    built = {}
    for name, each in fields.items():
        if name in value:
            built[name] = _build(each.type, value[name], _join(path, name), problems)
        elif each.required:
            problems.append(f"{_join(path, name)}: is required")
    return kind(**built) if len(problems) == before else None


def _clean(message: str) -> str:
    return message.replace("`", "").replace(" - at $", "").split(" - at $.")[0]


def _decode(kind: type, value: object) -> object:
    if kind is Secret and isinstance(value, str | int):
        return Secret(str(value))
    raise ValueError("expected a string")


def _local_without_keys(config: Config, warnings: list[str]) -> Config:
    """With no keys at all, the default destination is ``local``: the program runs on a bare laptop."""
    first = config.destinations[0] if config.destinations else None
    if first is None or len(config.destinations) > 1 or first.type == "local":
        return config
    if first.public_key or first.secret_key or first.secret_key_file:
        return config
    warnings.append(
        "no Langfuse keys are set (LANGFUSE_PUBLIC_KEY, LANGFUSE_SECRET_KEY): spans are kept in the local buffer file and not sent anywhere"
    )
    return msgspec.structs.replace(config, destinations=[msgspec.structs.replace(first, type="local")])


def _cross_check(config: Config, problems: list[str]) -> None:
    names = [each.name for each in config.destinations]
    if not names:
        problems.append("destinations: at least one is needed")
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(f"destinations: the name {name!r} is given twice")
    for i, each in enumerate(config.destinations):
        _check_destination(each, f"destinations[{i}]", problems)
    for i, route in enumerate(config.routes):
        if route.to not in names:
            problems.append(f"routes[{i}].to: no destination is named {route.to!r}; there are: {', '.join(names)}")
        for key in route.match:
            if key not in ("agent", "public_key", "service") and not key.startswith("resource."):
                problems.append(f"routes[{i}].match.{key}: expected agent, public_key, service or resource.<attribute>")
    for name, receiver in (("http", config.receivers.http), ("grpc", config.receivers.grpc)):
        _check_receiver(receiver, f"receivers.{name}", problems)
    if not (config.receivers.http.enabled or config.receivers.grpc.enabled):
        problems.append("receivers: http and grpc are both disabled; nothing could come in")
    if config.forward.batch_mib > config.forward.batch_raw_mib:
        problems.append("forward.batch_mib: is over forward.batch_raw_mib, which it can never reach")
    if config.enrichment.max_value_kib > config.enrichment.max_span_kib:
        problems.append("enrichment.max_value_kib: larger than max_span_kib, so that it would never be reached")
    if config.sampling.enabled and not config.enrichment.enabled:
        problems.append("sampling: needs enrichment, which finds the errors, agents and costs that it keeps; set sampling.enabled: false too")
    if config.masking.hmac_key and config.masking.hmac_key_file:
        problems.append("masking: hmac_key and hmac_key_file are both given; give one")


def _check_destination(each: Destination, path: str, problems: list[str]) -> None:
    if each.type == "local":
        return
    url = urlsplit(each.base_url)
    if url.scheme not in ("http", "https") or not url.hostname:
        problems.append(f"{path}.base_url: expected http(s)://host[:port][/path]")
    if url.username or url.password or url.query or url.fragment:
        problems.append(f"{path}.base_url: credentials, query and fragment don't belong here; keys go to public_key and secret_key")
    if not each.public_key:
        problems.append(f"{path}.public_key: is empty; set it or LANGFUSE_PUBLIC_KEY")
    if bool(each.secret_key) == bool(each.secret_key_file):
        problems.append(f"{path}: exactly one of secret_key (or LANGFUSE_SECRET_KEY) and secret_key_file is needed")
    for key in ("secret_key_file", "ca_file"):
        _check_file(getattr(each, key), f"{path}.{key}", problems)


def _check_receiver(receiver: HttpReceiver | GrpcReceiver, path: str, problems: list[str]) -> None:
    tls, auth = receiver.tls, receiver.auth
    if tls is not None:
        for key in ("cert_file", "key_file", "client_ca_file"):
            _check_file(getattr(tls, key), f"{path}.tls.{key}", problems)
    if auth is not None:
        _check_file(auth.bearer_token_file, f"{path}.auth.bearer_token_file", problems)
        if not (auth.bearer_token or auth.bearer_token_file or auth.basic):
            problems.append(f"{path}.auth: needs bearer_token, bearer_token_file or basic; without any, leave auth out")


def _check_file(path: str, where: str, problems: list[str]) -> None:
    if path and not os.access(path, os.R_OK):
        problems.append(f"{where}: {path} can't be read")


def to_yaml(config: Config) -> str:
    """The effective configuration as YAML; secrets show as ``***``."""
    return yaml.safe_dump(_plain(config), sort_keys=False, allow_unicode=True)


def _plain(value: object) -> object:
    if isinstance(value, Base):
        return {each.name: _plain(getattr(value, each.name)) for each in msgspec.structs.fields(value)}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, Secret):
        return "***" if value else ""
    return str(value) if isinstance(value, Endpoint) else value
