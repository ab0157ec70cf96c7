import asyncio
from typing import Any

import pytest

from onlineflows.live.guard import LOOPBACK, Guard


def answer(kind: str = "http", hosts: tuple[str, ...] = LOOPBACK, **headers: str) -> dict[str, Any]:
    """The beginning of what a guarded application answers; it says 200 to all it sees."""
    sent: list[dict[str, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "headers": pairs, "extensions": {"websocket.http.response": {}}}
    asyncio.run(Guard(application, hosts)(scope, None, send))  # type: ignore[arg-type]
    return sent[0]


@pytest.mark.parametrize("host", ["127.0.0.1:9464", "localhost:9464", "[::1]:9464", "LOCALHOST"])
def test_the_servers_own_names_are_let_through(host: str) -> None:
    assert answer(host=host)["status"] == 200


@pytest.mark.parametrize("host", ["evil.example:9464", "127.0.0.1.evil.example", "", "[::", "::1"])
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_name_that_another_site_has_bound_to_loopback_is_refused(host: str, kind: str) -> None:
    assert answer(kind, host=host)["status"] == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1234", "http://[", "http://[x]"]
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_request_of_another_sites_page_is_refused(origin: str, kind: str) -> None:
    assert answer(kind, host="127.0.0.1:9464", origin=origin)["status"] == 403


def test_the_servers_own_page_may_ask() -> None:
    assert answer(host="127.0.0.1:9464", origin="http://127.0.0.1:9464")["status"] == 200


def test_an_exposed_server_may_be_called_anything_but_other_sites_may_not_ask() -> None:
    assert answer(hosts=(), host="learner:9464")["status"] == 200
    refused = answer(hosts=(), host="learner:9464", origin="http://evil.example")
    assert refused["status"] == 403


def test_the_page_may_speak_to_its_server_alone() -> None:
    headers = dict(answer(host="localhost")["headers"])
    policy = headers[b"content-security-policy"].decode()
    assert "default-src 'self'" in policy
    assert "connect-src 'self'" in policy
    assert "http" not in policy
