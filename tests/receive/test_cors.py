"""Web pages that send spans."""

from __future__ import annotations

import pytest

from sidecar.config import Auth, Cors, Secret
from tests.receive.rig import AS_JSON, JSON, Answer, HttpRig, assert_refused, loopback, on_http

PAGE = "https://app.example.com"
ALLOWED = Cors(allowed_origins=[PAGE, "https://*.example.org"], allowed_headers=["Authorization"], exposed_headers=["Retry-After"], max_age_s=60)


async def preflight(http: HttpRig, origin: str = PAGE, method: str = "POST", headers: str = "content-type", path: str = "/v1/traces") -> Answer:
    return await http.post(
        path,
        method="OPTIONS",
        content_type=None,
        Origin=origin,
        Access_Control_Request_Method=method,
        Access_Control_Request_Headers=headers,
    )


def allowed(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("Access-Control-")}


def test_without_settings_no_page_is_allowed_anything() -> None:
    async def scene(http: HttpRig) -> None:
        assert_refused(await preflight(http), 405, 12, JSON)
        sent = await http.post(body=AS_JSON, content_type=JSON, Origin=PAGE)
        assert (sent.status, allowed(sent)) == (200, {})

    on_http(scene)


@pytest.mark.parametrize("origin", [PAGE, "https://a.example.org", "https://a.b.example.org", PAGE.upper()])
def test_an_allowed_page_may_send_and_read_the_answer(origin: str) -> None:
    async def scene(http: HttpRig) -> None:
        asked = await preflight(http, origin, headers="content-type, authorization")
        assert asked.status == 204
        assert allowed(asked) == {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": "content-type, authorization",
            "Access-Control-Max-Age": "60",
        }
        sent = await http.post(body=AS_JSON, content_type=JSON, Origin=origin)
        assert (sent.status, sent.headers["Vary"]) == (200, "Origin")
        assert allowed(sent) == {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": "Retry-After"}

    on_http(scene, loopback(cors=ALLOWED))


@pytest.mark.parametrize(
    ("origin", "method", "headers"),
    [
        ("https://evil.test", "POST", "content-type"),
        ("https://app.example.com.evil.test", "POST", "content-type"),
        ("http://app.example.com", "POST", "content-type"),
        ("null", "POST", "content-type"),
        ("https://" + "a" * 600 + ".example.org", "POST", "content-type"),
        (PAGE, "PUT", "content-type"),
        (PAGE, "POST", "content-type, x-secret"),
    ],
)
def test_everything_else_is_answered_without_leave(origin: str, method: str, headers: str) -> None:
    async def scene(http: HttpRig) -> None:
        asked = await preflight(http, origin, method, headers)
        assert (asked.status, allowed(asked)) == (204, {})

    on_http(scene, loopback(cors=ALLOWED))


def test_a_star_lets_every_page_and_every_header_in() -> None:
    async def scene(http: HttpRig) -> None:
        asked = await preflight(http, "https://anywhere.test", headers="x-a, x-b")
        assert allowed(asked)["Access-Control-Allow-Origin"] == "https://anywhere.test"
        assert allowed(asked)["Access-Control-Allow-Headers"] == "x-a, x-b"

    on_http(scene, loopback(cors=Cors(allowed_origins=["*"], allowed_headers=["*"])))


def test_a_preflight_needs_no_credentials_but_the_request_does_and_its_error_can_be_read() -> None:
    async def scene(http: HttpRig) -> None:
        assert (await preflight(http)).status == 204
        sent = await http.post(body=AS_JSON, content_type=JSON, Origin=PAGE)
        assert_refused(sent, 401, 16, JSON)
        assert allowed(sent)["Access-Control-Allow-Origin"] == PAGE

    on_http(scene, loopback(cors=ALLOWED), auth=Auth(bearer_token=Secret("token")))


def test_a_request_that_is_from_no_page_gets_no_such_header() -> None:
    async def scene(http: HttpRig) -> None:
        sent = await http.post(body=AS_JSON, content_type=JSON)
        assert (sent.status, allowed(sent), "Vary" in sent.headers) == (200, {}, False)
        assert_refused(await http.post(method="OPTIONS", content_type=None), 405, 12, JSON)

    on_http(scene, loopback(cors=ALLOWED))


def test_a_preflight_of_an_unknown_path_is_404() -> None:
    async def scene(http: HttpRig) -> None:
        assert_refused(await preflight(http, path="/nowhere"), 404, 12, JSON)

    on_http(scene, loopback(cors=ALLOWED))
