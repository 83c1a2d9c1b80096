"""OTLP as bytes: shallow messages, attributes, JSON, answers, splitting into rows and joining. Pure."""
