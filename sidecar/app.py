"""The whole program: builds every object by name, nests the lifetimes, waits for the signal.

Nesting order is shutdown order, read from the bottom: receivers stop accepting and finish what they
hold, the forwarder delivers what fits the grace period, the buffer closes its file, and the admin
port, opened first, closes last.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import random
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict

import uvloop
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, disable_created_metrics

from sidecar import __version__
from sidecar.buffer.buffer import Buffer, open_buffer
from sidecar.buffer.control import serve_control
from sidecar.buffer.runner import RunnerFactory
from sidecar.clock import Clock, SystemClock
from sidecar.config import Config, Endpoint, GrpcReceiver, HttpReceiver
from sidecar.errors import ConfigError, SidecarError
from sidecar.forward.addresses import own_address_check
from sidecar.forward.forwarder import run_forwarder
from sidecar.forward.router import Router
from sidecar.loader import Loaded, to_yaml
from sidecar.observe.admin import open_admin
from sidecar.observe.health import Health, Phase
from sidecar.observe.logs import configure, error_text
from sidecar.observe.metrics import Metrics
from sidecar.receive.agent_metrics import AgentMetrics
from sidecar.receive.auth import Guard
from sidecar.receive.budget import InFlight
from sidecar.receive.enrichment import EnrichmentRules, new_enrichment
from sidecar.receive.governor import Parts, governed
from sidecar.receive.http import run_http
from sidecar.receive.intake import Intake
from sidecar.receive.masking import Masking, nothing_masked, rules_parser
from sidecar.receive.masking import Rules as MaskingRules
from sidecar.receive.masking_keys import masking_keys
from sidecar.receive.pipeline import Enrichment, Mask, Pipeline
from sidecar.receive.sampling import Sampler, keep_rules_file
from sidecar.receive.spending import Spending, keep_spending
from sidecar.rulefiles import RuleFile, RuleFiles, watched
from sidecar.sample.pressure import Pulse
from sidecar.wire.batch import require_upb

MIB = 1024 * 1024
SWITCH_INTERVAL_S = 0.0005
"""How long one thread may keep the interpreter while another waits: at the default of 5 ms each of a commit's few
calls on SQLite's thread would wait that long behind a busy loop."""

log = logging.getLogger("sidecar")


def serve(loaded: Loaded, env: Mapping[str, str], runner: RunnerFactory | None = None) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code.

    ``env`` is what rule files may refer to. ``runner`` is where SQLite runs; None: the buffer's own choice.
    """
    configure(loaded.config.logging, sys.stderr)
    for warning in loaded.warnings:
        log.warning(warning)
    try:
        require_upb()
        uvloop.run(run(loaded.config, env, runner))
    except ConfigError as error:
        log.error("the configuration is wrong", extra={"problems": error.problems})  # noqa: TRY400  (an operator's mistake needs no stack)
        return 2
    except SidecarError as error:
        log.error("could not run", extra={"error": str(error)})  # noqa: TRY400  (as above)
        return 1
    except BaseExceptionGroup as group:
        known, unknown = group.split(SidecarError)
        for each in leaves(known):
            log.error("stopped", extra={"error": error_text(each)})  # noqa: TRY400  (as above)
        for each in leaves(unknown):
            log.critical("stopped by a defect; everything acknowledged is on disk", exc_info=each)
        return 1
    return 0


def leaves(error: BaseException | None) -> Iterator[BaseException]:
    """The exceptions inside nested groups: a group's own text and stack say nothing."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    elif error is not None:
        yield error


async def run(config: Config, env: Mapping[str, str], runner: RunnerFactory | None) -> None:
    """The program between its first and its last line."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    clock, metrics, health = SystemClock(), new_metrics(), Health()
    instance_id = secrets.token_hex(8)
    router = Router(config.destinations, config.routes)
    guards = new_guards(config)
    shutdown = Shutdown(clock, config.shutdown.grace_s)
    await own_address_check(config.destinations, listeners(config))
    rules, keep_rules = EnrichmentRules(config.enrichment, env), keep_rules_file(config.sampling, env)
    RuleFiles((*rules.files, keep_rules)).load_all()
    spending = Spending(rules.agents.value, clock, log.getChild("budgets"), config.buffer.path)
    agents = AgentMetrics(spending)
    metrics.registry.register(agents)
    enrichment = new_enrichment(config.enrichment, rules, metrics, log.getChild("enrich"), agents) if config.enrichment.enabled else None
    in_flight = InFlight(int(config.receivers.in_flight_mib * MIB))
    sampler = None
    if config.sampling.enabled and enrichment is not None:
        sampler = Sampler(keep_rules, config.sampling, enrichment.enricher.use_find, clock, metrics)
    async with (
        open_admin(config.admin, metrics, health) as admin,
        open_buffer(config.buffer, clock, metrics, log.getChild("buffer"), runner=runner, seal=enrichment.seal if enrichment else None) as buffer,
        keep_spending(spending, clock),
        serve_control(buffer, log.getChild("control")),
        run_forwarder(config, buffer, clock, metrics, random.SystemRandom(), log.getChild("forward"), instance_id, shutdown.deadline) as forwarder,
        sealed_at_the_end(buffer, enrichment),
        run_rules(config, rules, enrichment, sampler, env, clock, metrics) as (mask, reload_rules),
        run_sampling(config, sampler, enrichment, buffer, in_flight, forwarder.pulses, clock, metrics),
        run_receivers(
            config, new_intake(config, buffer, router, Pipeline(mask, enrichment), sampler, clock, metrics), in_flight, guards, metrics, instance_id
        ) as addresses,
    ):
        health.add_check(lambda: refusal(buffer))
        watch_signals(shutdown, lambda: reload((*(guard.reload for guard in guards.values()), forwarder.reload_keys, reload_rules), metrics))
        # What was made until now stays for good. To look at it again would hold up the loop for 40 ms with each full collection.
        gc.collect()
        gc.freeze()
        metrics.start_time.set(clock.wall_ms() / 1000)
        health.phase = Phase.READY
        log.info("ready", extra={"version": __version__, "config": digest(config), "admin": str(admin or ""), **addresses})
        await shutdown.wait()
        health.phase = Phase.DRAINING
        log.info("draining", extra={"grace_s": config.shutdown.grace_s, "pending_spans": buffer.pending_spans})
    destinations = [asdict(status) for status in forwarder.status()]
    log.info("stopped", extra={"ledger": shown(buffer), "pending_spans": buffer.pending_spans, "destinations": destinations})


class Shutdown:
    """That the program should end, and when its grace period does: it begins with the signal, not when the receivers have closed."""

    def __init__(self, clock: Clock, grace_s: float) -> None:
        self._requested = asyncio.Event()
        self._clock = clock
        self._grace_s = grace_s
        self._until_s: float | None = None

    def request(self) -> None:
        """End the program; a second signal does not lengthen the grace period."""
        if self._until_s is None:
            self._until_s = self._clock.monotonic() + self._grace_s
        self._requested.set()

    async def wait(self) -> None:
        """Return once it is requested."""
        await self._requested.wait()

    def deadline(self) -> float:
        """Seconds of the monotonic clock."""
        return self._until_s if self._until_s is not None else self._clock.monotonic() + self._grace_s


def new_metrics() -> Metrics:
    """Every metric of the process, on a registry of its own."""
    # A `_created` series beside every counter would double the scrape; the process's start time says the same.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the package left this one function without types
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    metrics = Metrics(registry)
    metrics.build.labels(__version__).set(1)
    return metrics


def new_guards(config: Config) -> Mapping[str, Guard]:
    """Who may send, by receiver; a disabled receiver's credentials are not read."""
    receivers: dict[str, HttpReceiver | GrpcReceiver] = {"http": config.receivers.http, "grpc": config.receivers.grpc}
    return {name: Guard(each.auth, f"receivers.{name}.auth") for name, each in receivers.items() if each.enabled}


def new_intake(config: Config, buffer: Buffer, router: Router, pipeline: Pipeline, sampler: Sampler | None, clock: Clock, metrics: Metrics) -> Intake:
    """The one receive path."""
    return Intake(buffer, router, pipeline, clock, metrics, log.getChild("receive"), sampler=sampler, discard=config.receivers.discard)


@asynccontextmanager
async def run_rules(
    config: Config,
    rules: EnrichmentRules,
    enrichment: Enrichment | None,
    sampler: Sampler | None,
    env: Mapping[str, str],
    clock: Clock,
    metrics: Metrics,
) -> AsyncIterator[tuple[Mask, Callable[[], None]]]:
    """The mask, with the rule files of masking, enrichment and sampling followed; yields it, and what reads them again at once.

    The buffer must be open: its lock makes sure that one process alone makes the key of pseudonyms.
    """
    files: list[RuleFile[object]] = list(rules.files) if enrichment is not None else []
    if sampler is not None:
        files.append(sampler.file)
    mask: Mask = nothing_masked
    masking: tuple[RuleFile[MaskingRules], Masking] | None = None
    if config.masking.enabled:
        found = masking_keys(config.masking.hmac_key, config.masking.hmac_key_file, config.buffer.path)
        if found.warning:
            log.warning(found.warning)
        policy = RuleFile("masking.policy", config.masking.policy, rules_parser(config.masking, found.keys, config.buffer.path), env)
        policy.load()
        mask = stage = Masking(policy.value, metrics)
        masking = (policy, stage)
        files.append(policy)
        engine = policy.value.engine
        log.info(
            "masking",
            extra={
                "engine": engine.name,
                "passed_over": list(engine.passed_over),
                "detectors": len(engine.detectors),
                "policy": policy.value.policy.digest,
            },
        )

    def renew(file: RuleFile[object]) -> None:
        if masking is not None and file is masking[0]:
            masking[1].use(masking[0].value)
        elif sampler is not None and file is sampler.file:
            sampler.renew()
        elif enrichment is not None:
            rules.renew(enrichment, file)

    async with watched(RuleFiles(files), clock, renew, log.getChild("rules"), metrics) as read_again:
        yield mask, read_again


@asynccontextmanager
async def run_sampling(
    config: Config,
    sampler: Sampler | None,
    enrichment: Enrichment | None,
    buffer: Buffer,
    in_flight: InFlight,
    pulses: Callable[[], Sequence[Pulse]],
    clock: Clock,
    metrics: Metrics,
) -> AsyncIterator[None]:
    """Steer the sampler, if there is one."""
    if sampler is None or enrichment is None:
        metrics.sampling_keep_probability.set(1)
        yield
        return
    parts = Parts(sampler, buffer, in_flight, pulses, enrichment.cut_harder)
    async with governed(parts, config.sampling, clock, metrics, log.getChild("sampling")):
        yield


@asynccontextmanager
async def sealed_at_the_end(buffer: Buffer, enrichment: Enrichment | None) -> AsyncIterator[None]:
    """When no more spans come, rows have nothing left to wait for: what the forwarder can still deliver must not settle on."""
    yield
    await buffer.seal_all(enrichment.seal_early if enrichment else None)


@asynccontextmanager
async def run_receivers(
    config: Config, intake: Intake, budget: InFlight, guards: Mapping[str, Guard], metrics: Metrics, instance_id: str
) -> AsyncIterator[Mapping[str, str]]:
    """Every enabled receiver over one bytes budget; yields where each listens."""
    metrics.receiver_in_flight_bytes.set_function(lambda: budget.bytes)
    addresses: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        if config.receivers.http.enabled:
            http = run_http(config.receivers.http, intake, guards["http"], budget, log.getChild("http"), instance_id=instance_id)
            addresses["http"] = str(await stack.enter_async_context(http))
        if config.receivers.grpc.enabled:
            from sidecar.receive.grpc import run_grpc  # noqa: PLC0415  (grpcio costs 15 MiB, paid only when it is used)

            grpc = run_grpc(config.receivers.grpc, intake, guards["grpc"], budget, log.getChild("grpc"), instance_id=instance_id)
            addresses["grpc"] = str(await stack.enter_async_context(grpc))
        yield addresses


def watch_signals(shutdown: Shutdown, on_reload: Callable[[], None]) -> None:
    """SIGTERM and SIGINT request the shutdown; SIGHUP calls ``on_reload``."""
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, shutdown.request)
    loop.add_signal_handler(signal.SIGHUP, on_reload)


def reload(reads: Iterable[Callable[[], None]], metrics: Metrics) -> None:
    """What SIGHUP does: tokens and keys are read again, paused destinations are probed at once, and rule files begin to be read, which says itself how it ends."""
    failures = []
    for read in reads:
        try:
            read()
        except SidecarError as error:
            failures.append(str(error))
    metrics.config_reloads.labels("failed" if failures else "ok").inc()
    if failures:
        log.error("reload failed, what could not be read stays as it was", extra={"errors": failures})
    else:
        log.info("reloaded keys and tokens, rule files follow; other settings need a restart")


def listeners(config: Config) -> Sequence[Endpoint]:
    """Where this process will accept spans."""
    return [each.endpoint for each in (config.receivers.http, config.receivers.grpc) if each.enabled]


def refusal(buffer: Buffer) -> str | None:
    """Why new spans would be refused right now, for /readyz."""
    if buffer.disk_full:
        return "the disk is full"
    return "the buffer is full" if buffer.pending_bytes >= buffer.limit_bytes else None


def digest(config: Config) -> str:
    """Eight hex digits that tell one configuration from another; secrets don't enter."""
    return hashlib.blake2b(to_yaml(config).encode(), digest_size=4).hexdigest()


def shown(buffer: Buffer) -> dict[str, int]:
    """The ledger for the last log line: ``{"received": 7, "rejected/duplicate": 2, ...}``."""
    return {f"{state}/{reason}" if reason else state: spans for (state, reason), spans in sorted(buffer.ledger.totals.items()) if spans}
