"""Spring AI: the conventions as Micrometer writes them (every value a string), its own kinds beside them."""

from __future__ import annotations

from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.facts import Kind
from sidecar.enrich.view import SpanView


def _kind(view: SpanView) -> Kind | None:
    if view.text("spring.ai.kind") != "vector_store":
        return None
    # Adding and deleting documents is the database's work.
    return Kind.RETRIEVER if view.text("db.operation.name") == "query" else Kind.INFRA


DIALECT = Dialect("spring-ai", kind=_kind)
