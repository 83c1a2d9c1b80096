"""Langfuse Sidecar: a local OTLP sidecar that delivers LLM agents' spans to Langfuse, durably."""

__version__ = "0.1.0"
