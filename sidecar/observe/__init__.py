"""Metrics, health, logs and the admin server."""
