"""The server of a run's page, metrics and health: a process of its own, which nobody waits for."""

import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from nicegui import ui
from prometheus_client.exposition import choose_encoder

from onlineflows.live.address import Address
from onlineflows.live.guard import LOOPBACK, Guard
from onlineflows.live.health import health_of
from onlineflows.live.metrics import registry_of
from onlineflows.live.page import page_of
from onlineflows.live.watcher import Watcher

GRACE_S = 1
"""How long browsers may take to let go when the server ends."""

MOST_CONNECTIONS = 64
"""Connections at once, WebSockets included: who asks beyond them is answered 503. A browser needs
one while it shows the page, and some more while that loads."""

NICENESS = 5
"""Daemons that need the processor go first."""


class LiveServer:
    """Serves one run: ``/`` for people, ``/metrics`` for Prometheus, ``/healthz`` for supervisors.

    One in each process: the page's library keeps its routes in the module.

    Args:
        path: the run directory; it need not exist yet.
        listening: the socket, closed at the end.
        address: where that listens.
    """

    def __init__(self, path: Path, listening: socket.socket, address: Address) -> None:
        self._watcher = Watcher(path)
        self._socket = listening
        hosts = (*LOOPBACK, address.host) if address.is_local else ()
        config = uvicorn.Config(
            Guard(app_of(self._watcher), hosts),
            log_level="warning",
            access_log=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=GRACE_S,
        )
        self._server = uvicorn.Server(config)

    def run(self) -> None:
        """Serves until SIGTERM or SIGINT comes, or `stop` is called."""
        with contextlib.suppress(OSError):
            os.nice(NICENESS)
        with self._watcher, contextlib.closing(self._socket):
            self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Ends the server; may be called from another thread."""
        self._server.should_exit = True


def app_of(watcher: Watcher) -> FastAPI:
    """Returns the application that serves what a watcher knows; it watches while it runs."""

    @contextlib.asynccontextmanager
    async def watching(_: FastAPI) -> AsyncIterator[None]:
        async with watcher.watching():
            yield

    app = FastAPI(lifespan=watching, docs_url=None, redoc_url=None, openapi_url=None)
    registry = registry_of(watcher.state, watcher.clock)

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), media_type=content_type)

    @app.get("/healthz")
    async def healthz() -> Response:
        healthy, document = health_of(watcher.state, watcher.clock())
        document["viewers"] = watcher.n_viewers
        return JSONResponse(document, status_code=200 if healthy else 503)

    ui.run_with(
        app,
        root=page_of(watcher),
        title="OnlineFlows",
        dark=None,
        tailwind=False,
        message_history_length=0,
        show_welcome_message=False,
    )
    return app
