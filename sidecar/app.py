"""The whole program: builds every object by name, nests the lifetimes, waits for the signal.

Nesting order is shutdown order, read from the bottom: receivers stop accepting and finish what they
hold, the forwarder delivers what fits the grace period, the buffer closes its file, and the admin
port, opened first, closes last.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uvloop
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from sidecar import __version__
from sidecar.buffer.buffer import Buffer, open_buffer
from sidecar.buffer.control import serve_control
from sidecar.buffer.runner import AioSqliteRunner, Runner
from sidecar.clock import SystemClock
from sidecar.config import Config, Endpoint
from sidecar.enrich.stage import enrich
from sidecar.errors import SidecarError
from sidecar.forward.forwarder import Forwarder, own_address_check, run_forwarder
from sidecar.forward.router import Router
from sidecar.loader import Loaded
from sidecar.mask.stage import mask
from sidecar.observe.admin import open_admin
from sidecar.observe.health import Health, Phase
from sidecar.observe.logs import configure, error_text
from sidecar.observe.metrics import Metrics
from sidecar.receive.auth import Guard
from sidecar.receive.http import run_http
from sidecar.receive.intake import Intake
from sidecar.wire.batch import require_upb
