"""An application that uses Langfuse's own SDK and knows nothing of a sidecar. Prints what it recorded as JSON."""

from __future__ import annotations

import json

from langfuse import Langfuse, propagate_attributes
from opentelemetry.sdk.trace import TracerProvider


def main() -> None:
    """Record one trace with three observations; keys and address come from LANGFUSE_* variables, as usual."""
    langfuse = Langfuse(tracer_provider=TracerProvider())
    with (
        langfuse.start_as_current_observation(name="handle ticket", as_type="agent", input={"question": "refund?"}) as root,
        propagate_attributes(user_id="user-1", session_id="session-1", tags=["support"]),
    ):
        with langfuse.start_as_current_observation(name="answer", as_type="generation", model="gpt-4o-mini", input="refund?") as generation:
            generation.update(output="yes", usage_details={"input": 12, "output": 3}, metadata={"tenant": "acme"})
        with langfuse.start_as_current_observation(name="lookup order", as_type="tool") as tool:
            tool.update(level="ERROR", status_message="no such order")
        root.update(output="done")
    langfuse.flush()
    recorded = {"trace": root.trace_id, "handle ticket": root.id, "answer": generation.id, "lookup order": tool.id}
    langfuse.shutdown()
    print(json.dumps(recorded))


if __name__ == "__main__":
    main()
