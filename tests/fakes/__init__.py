"""Stand-ins for what the sidecar talks to: real sockets, simulated behaviour."""
