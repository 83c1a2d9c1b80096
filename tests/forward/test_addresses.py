"""A destination that is the sidecar itself."""

from __future__ import annotations

import pytest

from sidecar.config import Destination, Endpoint
from sidecar.errors import ConfigError
from sidecar.forward.addresses import own_address_check
from tests.forward.rig import run

LOOPBACK = Endpoint("127.0.0.1", 4318)
ANY = Endpoint("0.0.0.0", 4318)


def check(url: str, *listeners: Endpoint) -> None:
    run(own_address_check([Destination(base_url=url)], listeners))


@pytest.mark.parametrize("listener", [LOOPBACK, ANY, Endpoint("localhost", 4318)], ids=str)
@pytest.mark.parametrize("url", ["http://127.0.0.1:4318", "http://localhost:4318/langfuse", "https://127.0.0.1:4318/"])
def test_an_address_of_our_own_listener_is_refused(url: str, listener: Endpoint) -> None:
    with pytest.raises(ConfigError, match=r"destinations\[0\].base_url: .* own listener .*:4318"):
        check(url, listener)


def test_the_default_port_of_the_scheme_counts() -> None:
    with pytest.raises(ConfigError):
        check("http://127.0.0.1", Endpoint("127.0.0.1", 80))


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:3000", "http://127.0.0.2:4318", "http://192.0.2.1:4318", "http://no-such-host.invalid:4318"],
    ids=["another port", "another loopback address", "another machine", "a name that does not resolve"],
)
def test_other_addresses_pass(url: str) -> None:
    check(url, LOOPBACK)


def test_another_machine_passes_beside_a_listener_on_all_addresses() -> None:
    check("http://192.0.2.1:4318", ANY)


def test_unix_sockets_and_local_destinations_are_never_ourselves() -> None:
    run(own_address_check([Destination(type="local", base_url="http://127.0.0.1:4318")], [LOOPBACK, Endpoint(path="/run/otlp.sock")]))


def test_every_problem_is_reported() -> None:
    async def main() -> None:
        both = [Destination(name="a", base_url="http://127.0.0.1:4318"), Destination(name="b", base_url="http://localhost:4318")]
        with pytest.raises(ConfigError) as caught:
            await own_address_check(both, [LOOPBACK])

        assert len(caught.value.problems) == 2

    run(main())
