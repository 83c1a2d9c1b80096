"""Spans that are no LLM work: HTTP, RPC, databases, queues, and plain spans of hand-made tracers."""

from __future__ import annotations

import re

from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.dialects.semconv import kind_by_name, name_by_span
from sidecar.enrich.facts import Kind
from sidecar.enrich.view import SpanView

_LIBRARIES = re.compile(
    r"go\.opentelemetry\.io/contrib/instrumentation/\S+|"
    r"(?:opentelemetry[./]instrumentation[./]|@opentelemetry/instrumentation-|io\.opentelemetry\.|OpenTelemetry\.Instrumentation\.)?"
    r"(?:httpx|requests|urllib3?|aiohttp[._-]?(?:client|server)?|http|undici|express|fastapi|starlette|asgi|wsgi|flask|django|tornado|grpc\S*|net|dns|fs|"
    r"sqlalchemy|psycopg2?|asyncpg|sqlite3|mysql\S*|pymysql|pg|mongo\S*|pymongo|redis\S*|ioredis|elasticsearch|opensearch\S*|cassandra|memcached?|"
    r"celery|kafka\S*|aiokafka|confluent_kafka|pika|aio_pika|rabbitmq\S*|amqplib|boto(?:core|3sqs)?|aws-sdk|koa|hapi|fastify|nestjs-core|graphql|prisma|knex|mongoose|typeorm|sequelize|tedious|"
    r"(?:nats|tomcat|jetty|netty|okhttp|servlet|spring-web(?:mvc|flux)?|jdbc|hikaricp|lettuce|jedis|apache-httpclient)(?:-\d[\d.]*)?|"
    r"aws_lambda|jinja2|logging|threading|asyncio|system_metrics)"
)


def _is_infra(_: SpanView) -> Kind:
    return Kind.INFRA


PLAIN = Dialect("plain", kind=kind_by_name, refine=name_by_span)
INFRA = Dialect("infra", kind=_is_infra)


def dialect_of(scope: str) -> Dialect:
    """For spans without any key of the GenAI world."""
    return INFRA if _LIBRARIES.fullmatch(scope) else PLAIN
