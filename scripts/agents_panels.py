"""The dashboard of the agents: what they do, what it costs, how long it takes and what fails, by agent, model and provider. Values only."""

from __future__ import annotations

from scripts.panels import SELECT, Panel, Query, Row, counted, percentiles, stat

AGENTS = 'label_values(sidecar_agent_operations_total{job=~"$job"}, agent)'
AGENT = ', agent=~"$agent"'
CALLS = f'{AGENT}, operation=~"generation|embedding"'
COST = "sidecar_agent_cost_dollars_total"
OPERATIONS = "sidecar_agent_operations_total"
ERRORS = "sidecar_agent_errors_total"
SECONDS = "sidecar_agent_operation_seconds"


def of(metric: str, *by: str, where: str = AGENT) -> str:
    """The rate of a counter of the chosen agents."""
    return counted(metric, *by, where=where)


def all_of(metric: str, where: str = AGENT) -> str:
    """The rate of a counter, in one sum."""
    return f"sum(rate({metric}{{{SELECT}{where}}}[$__rate_interval]))"


def spent(unit: str) -> str:
    """The share of each budget that is spent, summed over processes."""
    by = "by (scope, name, period)"
    return f"sum {by} (sidecar_budget_spent_{unit}{{{SELECT}}}) / max {by} (sidecar_budget_limit_{unit}{{{SELECT}}})"


ROWS = (
    Row(
        "At a glance",
        (
            stat("Calls", "reqps", all_of(OPERATIONS, CALLS), "Calls of models, whatever is delivered of them."),
            stat("Failed calls", "percentunit", f"{all_of(ERRORS, CALLS)} / {all_of(OPERATIONS, CALLS)}", "Share of the calls.", 0.02, 0.1),
            stat("Cost an hour", "currencyUSD", f"3600 * {all_of(COST)}", "At the pace of now. Calls without a price are missing."),
            stat("Tokens", "short", all_of("sidecar_agent_tokens_total"), "A second, of all types."),
            stat("Agents", "none", f"count(count by (agent) ({OPERATIONS}{{{SELECT}}}))", "That have done anything since their sidecar started."),
            stat("Most spent budget", "percentunit", f"max({spent('dollars')})", "Share of the limit.", 0.8, 1),
        ),
    ),
    Row(
        "Agents",
        (
            Panel(
                "Operations by agent",
                "ops",
                (Query(of(OPERATIONS, "agent", "operation"), "{{agent}} {{operation}}"),),
                "Calls of models, runs of agents, tools, retrievers, evaluators and guardrails. unknown: nobody named an agent.",
            ),
            Panel(
                "Errors by kind",
                "ops",
                (Query(of(ERRORS, "agent", "operation", "kind"), "{{agent}} {{operation}}: {{kind}}"),),
                "Operations that failed.",
                exemplars=True,
            ),
            Panel(
                "Cost by agent",
                "currencyUSD",
                (Query(f"3600 * {of(COST, 'agent')}", "{{agent}}"),),
                "An hour, at the pace of now.",
            ),
            Panel("Tokens by agent", "short", (Query(of("sidecar_agent_tokens_total", "agent"), "{{agent}}"),), "A second, of all types."),
            Panel(
                "Time of agents and tools",
                "s",
                percentiles(SECONDS, "agent", "operation", of=(0.95,), where=f'{AGENT}, operation!~"generation|embedding"'),
                "The slowest of these is where an agent's time goes.",
                exemplars=True,
            ),
            Panel(
                "Time of calls by agent",
                "s",
                percentiles(SECONDS, "agent", of=(0.95,), where=CALLS),
                "Of models, as the agent saw it.",
                exemplars=True,
            ),
        ),
    ),
    Row(
        "Models and providers",
        (
            Panel(
                "Calls by model",
                "reqps",
                (Query(of(OPERATIONS, "model", "provider", where=CALLS), "{{model}} @ {{provider}}"),),
                "other: no model of the price table.",
            ),
            Panel(
                "Cost by model",
                "currencyUSD",
                (Query(f"3600 * {of(COST, 'model', 'provider')}", "{{model}} @ {{provider}}"),),
                "An hour, at the pace of now.",
            ),
            Panel(
                "Time of calls",
                "s",
                percentiles(SECONDS, "model", "provider", where=CALLS),
                "From the call to its whole answer.",
                exemplars=True,
            ),
            Panel(
                "Time to the first token",
                "s",
                percentiles("sidecar_agent_first_token_seconds", "model", "provider", where=AGENT),
                "Of streamed answers.",
                exemplars=True,
            ),
            Panel(
                "Failed calls",
                "reqps",
                (Query(of(ERRORS, "provider", "kind", where=CALLS), "{{provider}}: {{kind}}"),),
                "By provider.",
                exemplars=True,
            ),
            Panel("Tokens by type", "short", (Query(of("sidecar_agent_tokens_total", "type"), "{{type}}"),), "A second; every token is in one type."),
        ),
    ),
    Row(
        "Budgets",
        (
            Panel(
                "Budgets in dollars",
                "percentunit",
                (Query(spent("dollars"), "{{scope}} {{name}}: {{period}}"),),
                "Share of the limits in agents.yaml, of the running hour, day and month (UTC).",
            ),
            Panel("Budgets in tokens", "percentunit", (Query(spent("tokens"), "{{scope}} {{name}}: {{period}}"),), "Likewise."),
        ),
    ),
    Row(
        "Working together",
        (
            Panel(
                "Signals",
                "ops",
                (Query(of("sidecar_agent_signals_total", "agent", "signal"), "{{agent}}: {{signal}}"),),
                "Decisions, handoffs, conflicts, resolutions, heartbeats.",
            ),
            Panel(
                "Confidence of decisions",
                "none",
                percentiles("sidecar_agent_decision_confidence", "agent", of=(0.1, 0.5), where=AGENT),
                "0 to 1; half of the decisions, or one in ten, are below.",
                exemplars=True,
            ),
            Panel(
                "Bytes of tools",
                "Bps",
                (Query(of("sidecar_agent_tool_bytes_total", "agent", "direction"), "{{agent}} {{direction}}"),),
                "What tools were given and gave back.",
            ),
            Panel(
                "What the bounds of labels hide",
                "cps",
                (
                    Query(counted("sidecar_agent_overflow_total", "label"), "too many {{label}}"),
                    Query(counted("sidecar_enrich_model_drift_calls_total", "agent", where=AGENT), "drift: {{agent}}"),
                ),
                "Operations that count as other, and calls of models that agents.yaml does not expect.",
            ),
        ),
    ),
)
