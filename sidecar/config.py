"""Typed, frozen settings: every key of the configuration, its default, unit and meaning.

The text under a field is its documentation; docs/configuration.md is generated from it. ``loader.py``
fills these types from files and the environment.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class Secret:
    """A string that is never shown: ``repr``, ``str`` and the printed configuration give ``***``."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself, for the one place that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "***" if self._value else "''"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class Endpoint(Struct, frozen=True):
    """Where a listener binds: ``host:port``, ``[v6]:port`` or ``unix:///absolute/path``."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """True for unix sockets and addresses that other machines can't reach."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class Base(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One section of the configuration; the text under a field is its documentation."""


class Tls(Base, frozen=True, kw_only=True):
    cert_file: str
    """PEM certificate chain of the listener."""
    key_file: str
    """PEM private key."""
    client_ca_file: str = ""
    """With a CA here, clients must show a certificate that it signed (mTLS)."""


class BasicAuth(Base, frozen=True, kw_only=True):
    username: str
    """User name of HTTP basic authentication."""
    password: Secret
    """Its password."""


class Auth(Base, frozen=True, kw_only=True):
    """Credentials that clients must send; with several configured, any one opens."""

    bearer_token: Secret = Secret("")
    """Accept `Authorization: Bearer <token>`."""
    bearer_token_file: str = ""
    """The same, from a file; read again on SIGHUP."""
    basic: BasicAuth | None = None
    """Accept HTTP basic authentication."""


class Cors(Base, frozen=True, kw_only=True):
    allowed_origins: list[str]
    """Origins of web pages that may send spans: `https://app.example.com`, with `*` for any part of it, or `*` for all."""
    allowed_headers: list[str] = field(default_factory=list)
    """Request headers that pages may set besides Content-Type and Content-Encoding, such as `Authorization`; `*` for all."""
    exposed_headers: list[str] = field(default_factory=list)
    """Headers of the answer that pages may read."""
    max_age_s: NotNegative = 7200
    """How long a browser may remember the answer to its preflight."""


class HttpReceiver(Base, frozen=True, kw_only=True):
    enabled: bool = True
    """Listen for OTLP over HTTP."""
    endpoint: Endpoint = Endpoint("127.0.0.1", 4318)
    """Address, or `unix:///path/to/socket`."""
    max_body_mib: Positive = 64
    """Limit of one body, before and after decompression; more is answered 413."""
    header_timeout_s: Positive = 10
    """A client that has not finished its request headers by then is cut."""
    body_timeout_s: Positive = 30
    """A client that has not finished its body by then is answered 408 and cut."""
    tls: Tls | None = None
    """Serve HTTPS."""
    auth: Auth | None = None
    """Ask for credentials."""
    cors: Cors | None = None
    """Let web pages of other origins send spans; without it browsers refuse."""


class GrpcReceiver(Base, frozen=True, kw_only=True):
    enabled: bool = True
    """Listen for OTLP over gRPC; costs about 15 MiB of memory."""
    endpoint: Endpoint = Endpoint("127.0.0.1", 4317)
    """Address, or `unix:///path/to/socket`."""
    max_body_mib: Positive = 64
    """Limit of one message, before and after decompression; more is answered RESOURCE_EXHAUSTED."""
    tls: Tls | None = None
    """Serve TLS."""
    auth: Auth | None = None
    """Ask for credentials."""


class Receivers(Base, frozen=True, kw_only=True):
    http: HttpReceiver = HttpReceiver()
    """OTLP/HTTP."""
    grpc: GrpcReceiver = GrpcReceiver()
    """OTLP/gRPC."""
    in_flight_mib: Positive = 16
    """Bytes of requests being read or processed at once, over all receivers; more is answered 503. A body larger than a quarter of it takes its turn alone."""
    discard: bool = False
    """Accept and discard every span, counted `filtered` (what `LANGFUSE_TRACING_ENABLED=false` asks for)."""


class Admin(Base, frozen=True, kw_only=True):
    enabled: bool = True
    """Serve /metrics, /livez and /readyz."""
    endpoint: Endpoint = Endpoint("127.0.0.1", 9464)
    """Address of the admin listener."""


class Enrichment(Base, frozen=True, kw_only=True):
    enabled: bool = True
    """Read what spans say in any known dialect, and write type, model, usage, cost, content, errors, agent, user and session where Langfuse shows them right."""
    agents: str = ""
    """YAML file that says who the agents are (config/agents.yaml is an example); read again when it changes and on SIGHUP. Empty: agents have the names that spans give."""
    models: str = ""
    """YAML file of your own models' prices, aliases and metadata (config/models.yaml); read again likewise. Empty: the built-in table alone."""
    rules: str = ""
    """YAML file of rules that find decisions, handoffs, conflicts and heartbeats (config/enrich.yaml); read again likewise. Empty: the built-in rules alone."""
    settle_s: NotNegative = 6
    """How long a row may wait for its trace's context before it is sealed; 0 seals at once. Batch exporters flush every 5 s, and a trace's root ends it sooner."""
    spans: Literal["all", "llm"] = "all"
    """`llm` leaves out infrastructure spans (HTTP, RPC, database, queue) wherever they stand, and traces without any LLM work; counted `filtered` and `omitted`."""
    max_value_kib: Annotated[float, Meta(ge=0.125)] = 256
    """A longer value is cut: JSON stays JSON and the newest messages stay whole."""
    max_span_kib: Annotated[float, Meta(ge=4)] = 1024
    """All values of a span together; the largest are cut first."""
    environment: Annotated[str, Meta(pattern=r"^(?:(?!langfuse)[a-z0-9_-]{1,40})?$")] = ""
    """Langfuse environment of spans that name none. Also `LANGFUSE_TRACING_ENVIRONMENT`."""
    release: Annotated[str, Meta(max_length=200)] = ""
    """Release of spans that name none. Also `LANGFUSE_RELEASE`."""
    resource: dict[str, str] = field(default_factory=dict)
    """Resource attributes for spans whose resource lacks them; empty values are not added. By default the place, from the variables `POD_NAME`, `POD_NAMESPACE`, `NODE_NAME` and `CONTAINER_NAME` (Kubernetes' Downward API)."""


class Masking(Base, frozen=True, kw_only=True):
    enabled: bool = True
    """Hide secrets, personal and financial data in everything textual, before anything is written to disk or sent."""
    policy: str = ""
    """YAML file of what is hidden, how and where (config/masking.yaml; see docs/masking.md); read again when it changes and on SIGHUP. Empty: every detector, as that file has it."""
    engine: Literal["auto", "hyperscan", "re2", "stdlib"] = "auto"
    """What searches texts; all find the same. `auto` takes the fastest that works here."""
    hmac_key: Secret = Secret("")
    """Key of pseudonyms (action `hmac`), so that the same person is the same pseudonym on all machines; or lines of `id:key`, the first is used."""
    hmac_key_file: str = ""
    """The same, from a file. Without either a key is made beside the buffer, and pseudonyms join only there."""


class Sampling(Base, frozen=True, kw_only=True):
    enabled: bool = True
    """Leave out whole traces when latency, the destination or a budget presses; while nothing does, everything is kept. Needs `enrichment.enabled`."""
    rules: str = ""
    """YAML file of what is kept whatever the pressure, base probabilities and budgets (config/sampling.yaml; see docs/sampling.md); read again when it changes and on SIGHUP. Empty: as that file has it."""
    probability: Annotated[float, Meta(ge=0, le=1)] = 1.0
    """Base probability of traces that no entry of the file gives another one, also without any pressure. Also `LANGFUSE_SAMPLE_RATE`, `LANGFUSE_SAMPLING_RATE`."""
    max_latency_ms: Positive = 100
    """Set-point of the agents' p95 answer time, and of the event loop's lag: what is over it is pressure. Also `LANGFUSE_MAX_LATENCY_MS`."""
    max_delay_s: Positive = 10
    """Set-point of how far delivery may fall behind while the destination is up."""
    max_export_s: Positive = 15
    """Set-point of the destination's p95 answer time."""
    max_in_flight_percent: Annotated[float, Meta(gt=0, le=100)] = 80
    """Set-point of the bytes being processed, of `receivers.in_flight_mib`."""
    max_fill_percent: Annotated[float, Meta(gt=0, le=90)] = 80
    """Set-point of the buffer's fill. An outage is waited out on disk until then."""
    min_probability: Annotated[float, Meta(gt=0, le=1)] = 0.01
    """The keep probability never falls below this by pressure."""
    dwell_s: NotNegative = 10
    """How long pressure must have allowed more before the keep probability rises."""
    growth_per_s: Annotated[float, Meta(gt=1, le=10)] = 1.03
    """By how much it rises then, in a second: 1.03 takes it from 0.01 to 1 in 156 s."""
    limbo_mib: Positive = 16
    """Dropped spans wait in so much memory, in case their trace turns out to matter."""
    limbo_s: NotNegative = 30
    """And for so long."""
    decisions_mib: Positive = 8
    """Memory of decisions, 512 bytes a trace, so that traces are kept or dropped as wholes: 16,384 live traces."""


class BufferSettings(Base, frozen=True, kw_only=True):
    path: str = "./data/buffer.db"
    """SQLite file, or `:memory:` (nothing survives the process then)."""
    max_mib: Positive = 1024
    """Bound of the compressed spans on disk; a full buffer answers 503."""
    max_age_h: Positive = 72
    """Spans older than this are given up, counted `expired`."""
    durability: Literal["normal", "full"] = "normal"
    """`normal` survives the death of the process, `full` a power loss too."""
    reserve_mib: NotNegative = 2
    """Room to drain when the disk is full: a reserve file of this plus 4 MiB for the log is given up then. 0: no reserve."""
    min_free_mib: NotNegative = 64
    """Refuse new spans (503) when the file system has less room than this."""
    cache_mib: Positive = 8
    """Newest compressed spans kept in memory as well, so that a healthy forwarder never reads back."""
    dead_letter_mib: Positive = 64
    """Bound of the dead letters; the oldest give way."""


class Retry(Base, frozen=True, kw_only=True):
    initial_s: Positive = 1
    """First delay; it doubles with each attempt, with full jitter."""
    max_s: Positive = 60
    """Longest delay."""


class Forward(Base, frozen=True, kw_only=True):
    linger_ms: NotNegative = 1000
    """How long a batch waits to fill."""
    concurrency: Annotated[int, Meta(ge=1, le=64)] = 4
    """Requests in flight to one destination."""
    batch_mib: Positive = 3.5
    """Compressed size of a batch. Langfuse Cloud documents 5 MB a request."""
    batch_raw_mib: Positive = 16
    """Uncompressed size of a batch. Langfuse's server warns above 16 MiB."""
    batch_spans: Count = 8192
    """Spans in a batch; a full one is sent before its linger time is over."""
    timeout_s: Positive = 30
    """How long a request may take. Langfuse uploads to object storage before it answers."""
    auth_probe_s: Positive = 310
    """First probe of a destination that refused our keys; Langfuse remembers bad keys for 300 s."""
    retry: Retry = Retry()
    """Delays between attempts. There is no limit but the buffer's age."""


class Shutdown(Base, frozen=True, kw_only=True):
    grace_s: NotNegative = 25
    """Time to deliver what is left after SIGTERM; the rest stays on disk."""


class Logging(Base, frozen=True, kw_only=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is written."""
    format: Literal["json", "text"] = "json"
    """`json`: one object a line, on standard error."""


class Destination(Base, frozen=True, kw_only=True):
    name: Name = "default"
    """Name in routes, metrics and commands: lower case letters, digits, `-` and `_`."""
    type: Literal["langfuse", "local"] = "langfuse"
    """`local` keeps the last delivered spans in the buffer file, for a laptop without Langfuse."""
    base_url: str = "https://cloud.langfuse.com"
    """Langfuse's address; `/api/public/otel/v1/traces` is added."""
    public_key: str = ""
    """Project public key (`pk-lf-...`)."""
    secret_key: Secret = Secret("")
    """Project secret key."""
    secret_key_file: str = ""
    """The same, from a file; read again on SIGHUP and when the file changes."""
    ca_file: str = ""
    """PEM bundle to trust instead of the system's, for a private CA."""
    keep_spans: Count = 10_000
    """For `local`: how many delivered spans are kept."""


class Route(Base, frozen=True, kw_only=True):
    match: dict[str, str]
    """All must match, as globs: `agent`, `public_key`, `service` or `resource.<attribute>`."""
    to: str
    """Name of a destination."""


class Config(Base, frozen=True, kw_only=True):
    """The whole configuration."""

    receivers: Receivers = Receivers()
    admin: Admin = Admin()
    enrichment: Enrichment = Enrichment()
    masking: Masking = Masking()
    sampling: Sampling = Sampling()
    buffer: BufferSettings = BufferSettings()
    forward: Forward = Forward()
    shutdown: Shutdown = Shutdown()
    logging: Logging = Logging()
    destinations: list[Destination] = field(default_factory=lambda: [Destination()])
    """Where spans go. The first one takes what no route claims."""
    routes: list[Route] = field(default_factory=list)
    """First match wins."""
