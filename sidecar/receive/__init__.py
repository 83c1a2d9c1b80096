"""How spans come in: HTTP and gRPC over one Intake."""
