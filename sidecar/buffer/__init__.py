"""The durable buffer: the only room that knows SQLite."""
