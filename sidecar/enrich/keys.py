"""Names of attributes that Langfuse's server reads, in the order in which it reads them. Values only.

Observed on server 4.16. First come the names that an exporter sets on purpose, then those of other conventions that the
server maps, because a rule here often is: would the server find anything?
"""

from __future__ import annotations

TYPE = "langfuse.observation.type"
INPUT = "langfuse.observation.input"
OUTPUT = "langfuse.observation.output"
LEVEL = "langfuse.observation.level"
STATUS_MESSAGE = "langfuse.observation.status_message"
MODEL = "langfuse.observation.model.name"
MODEL_PARAMETERS = "langfuse.observation.model.parameters"
MODEL_PARAMETERS_MISSPELT = "langfuse.observation.model_parameters"
"""Looks right and is read by nobody."""
USAGE = "langfuse.observation.usage_details"
COST = "langfuse.observation.cost_details"
COMPLETION_START = "langfuse.observation.completion_start_time"
PROMPT_NAME = "langfuse.observation.prompt.name"
PROMPT_VERSION = "langfuse.observation.prompt.version"
PROMPT_ALIASES = (("langfuse.prompt.name", "langfuse.prompt.version"), (PROMPT_NAME, PROMPT_VERSION))

TRACE_NAME = "langfuse.trace.name"
TRACE_TAGS = "langfuse.trace.tags"
TRACE_INPUT = "langfuse.trace.input"
TRACE_OUTPUT = "langfuse.trace.output"
USER_ID = "user.id"
SESSION_ID = "session.id"
ENVIRONMENT = "langfuse.environment"
RELEASE = "langfuse.release"
VERSION = "langfuse.version"

METADATA = "langfuse.observation.metadata"
TRACE_METADATA = "langfuse.trace.metadata"
ANY_METADATA = "langfuse.metadata"
COST_SOURCE = f"{METADATA}.cost_source"
CUT = f"{METADATA}.sidecar_cut"

ALIASES: dict[str, tuple[str, ...]] = {
    USER_ID: ("langfuse.user.id", USER_ID),
    SESSION_ID: ("langfuse.session.id", SESSION_ID),
    TRACE_TAGS: (TRACE_TAGS, "langfuse.tags"),
    ENVIRONMENT: (ENVIRONMENT, "deployment.environment.name", "deployment.environment"),
}
"""Where an attribute was set on purpose under another name, it is set."""

OPERATION = "gen_ai.operation.name"
TOOL_NAME = "gen_ai.tool.name"
NAMES_BEFORE_THE_SPAN = ("genkit:name", "logfire.msg", "ai.toolCall.name", "ai.operationId")
"""Shown as the observation's name instead of the span's, after ``gen_ai.tool.name``."""
MODELS = (MODEL, "gen_ai.response.model", "ai.model.id", "gen_ai.request.model", "llm.response.model", "llm.model_name", "model")
COSTS = ("gen_ai.usage.cost", "llm.cost.total")
USAGE_PREFIXES = ("gen_ai.usage.", "llm.token_count.")
SESSIONS = ("langfuse.session.id", SESSION_ID, "gen_ai.conversation.id")
SPEAKING = frozenset({"langfuse.user.id", USER_ID, *SESSIONS, TRACE_NAME, RELEASE, *ALIASES[ENVIRONMENT], *ALIASES[TRACE_TAGS]})
"""Keys by which a span says something of its whole trace, beside ``langfuse.trace.metadata.*``."""
AGENT_METADATA = f"{METADATA}.agent_"
"""How the keys of what is known of an agent begin."""
SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
ENVIRONMENTS = ALIASES[ENVIRONMENT]
