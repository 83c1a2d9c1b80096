"""The stage that will mask sensitive values. Every batch already passes through it. Pure."""
