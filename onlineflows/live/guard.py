"""What keeps other web sites out of a page on loopback, where nobody is asked who they are.

A browser that shows somebody else's page can be made to speak to loopback: by name (DNS rebinding:
the Host header then names that site) or by a WebSocket (the Origin header names it). Both are
refused. The content policy lets the page itself speak to nobody but its server.
"""

from collections.abc import Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; form-action 'none'; base-uri 'self'"
)
"""The page's scripts are made in place by its library, hence the two words about them."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Guard:
    """Lets through what was asked for by the server's own name, and from its own pages.

    Args:
        app: what is guarded.
        hosts: names by which the server may be called; none for any.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or has it answered."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        problem = self._problem(Headers(scope=scope))
        if problem:
            await PlainTextResponse(problem, status_code=403)(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(message)
            await send(message)

        await self._app(scope, receive, send_guarded)

    def _problem(self, headers: Headers) -> str:
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._hosts and _name_of(host) not in self._hosts:
            return f"expected one of the hosts {', '.join(sorted(self._hosts))}; got {host!r}\n"
        if origin is not None and _place_of(origin) != host:
            return f"expected a request of this server's own page; got one of {origin!r}\n"
        return ""


def _name_of(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _place_of(origin: str) -> str | None:
    """Host and port of an origin, as a Host header has them; None where it isn't one."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _add_headers(message: MutableMapping[str, Any]) -> None:
    headers = MutableHeaders(scope=message)
    headers["content-security-policy"] = POLICY
    headers["x-content-type-options"] = "nosniff"
    headers["referrer-policy"] = "no-referrer"
