"""The stage that will add agent and model metadata. Every batch already passes through it. Pure."""
