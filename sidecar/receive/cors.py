"""Which web pages may send spans: cross-origin resource sharing, as browsers ask for it (Fetch Standard, section 3.2).

Owns the headers of preflights and answers. Without settings nothing is ever allowed, and a browser then keeps pages of
other origins from sending. Credentials are never allowed by cookie: a page that must authenticate sets a header.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping

from aiohttp import hdrs

from sidecar.config import Cors

ORIGIN_CHARS_MAX = 512
"""A host name has at most 253 characters."""
_ALWAYS = ("content-type", "content-encoding")


class CorsPolicy:
    """The settings as questions."""

    def __init__(self, settings: Cors | None) -> None:
        self._settings = settings
        origins = settings.allowed_origins if settings else []
        self._origins = [re.compile(re.escape(origin.lower().rstrip("/")).replace(r"\*", ".*")) for origin in origins]
        self._headers = frozenset(header.lower() for header in (*_ALWAYS, *(settings.allowed_headers if settings else ())))

    def is_preflight(self, asked: Mapping[str, str]) -> bool:
        """True when a browser asks for leave ahead of the request itself; without settings nobody is told anything."""
        return self._settings is not None and hdrs.ORIGIN in asked and hdrs.ACCESS_CONTROL_REQUEST_METHOD in asked

    def preflight(self, asked: Mapping[str, str]) -> dict[str, str]:
        """What a preflight is answered; without leave no more than what the answer varies by."""
        answer: dict[str, str] = {hdrs.VARY: "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}
        wanted = [name.strip().lower() for name in asked.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "").split(",") if name.strip()]
        if self._settings is None or not self._allows(asked) or asked.get(hdrs.ACCESS_CONTROL_REQUEST_METHOD) != hdrs.METH_POST:
            return answer
        if "*" not in self._headers and not self._headers.issuperset(wanted):
            return answer
        answer[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = asked[hdrs.ORIGIN]
        answer[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = hdrs.METH_POST
        answer[hdrs.ACCESS_CONTROL_MAX_AGE] = str(int(self._settings.max_age_s))
        if wanted:
            answer[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = ", ".join(wanted)
        return answer

    def allow(self, asked: Mapping[str, str], answer: MutableMapping[str, str]) -> None:
        """Let the page read the answer to its request, errors too; a preflight has its own."""
        if self._settings is None or hdrs.ORIGIN not in asked or hdrs.VARY in answer:
            return
        answer[hdrs.VARY] = hdrs.ORIGIN
        if self._allows(asked):
            answer[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = asked[hdrs.ORIGIN]
            if self._settings.exposed_headers:
                answer[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = ", ".join(self._settings.exposed_headers)

    def _allows(self, asked: Mapping[str, str]) -> bool:
        origin = asked.get(hdrs.ORIGIN, "").lower()
        return len(origin) <= ORIGIN_CHARS_MAX and any(pattern.fullmatch(origin) for pattern in self._origins)
