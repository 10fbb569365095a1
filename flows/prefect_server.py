"""Prefect's server, which only answers who asks for it by its own name and shows the login.

Prefect checks no Host header; without that check a page of a foreign name that resolves to loopback could talk to it.
The address and the login are Prefect's own settings (PREFECT_SERVER_API_HOST, _PORT and _AUTH_STRING).
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from prefect.server.api.server import create_app
from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration
from prefect.settings import PREFECT_MESSAGING_BROKER, get_current_settings, temporary_settings
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from ndogo.core.errors import NdogoError

HOSTS = "NDOGO_PREFECT_HOSTS"
"""The environment variable that names the hosts, comma-separated, under which the server may be asked for."""
AT_ONCE = 8
"""Requests that are worked on at a time. SQLite has one writer, and Prefect 15 connections that would all wait for it."""


class FewAtOnce:
    """Lets few requests in at a time; sockets, which stay open for hours, are not counted."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.places = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on once there is a place."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        async with self.places:
            return await self.app(scope, receive, send)


@asynccontextmanager
async def begin_writing(
    self: AioSqliteConfiguration, session: AsyncSession, with_for_update: bool = False
) -> AsyncGenerator[AsyncSessionTransaction, None]:
    """A transaction that is the one writer from its start, and waits to be.

    Prefect's own begins as a reader where nothing asks for more. Such a one cannot become a writer once another has
    written, and SQLite then says "database is locked" at once, however long the timeout.
    """
    inside_another = SQLITE_BEGIN_MODE.get() is not None
    token = SQLITE_BEGIN_MODE.set("IMMEDIATE" if with_for_update or not inside_another else "DEFERRED")
    try:
        async with session.begin() as transaction:
            yield transaction
    finally:
        SQLITE_BEGIN_MODE.reset(token)


def app() -> FastAPI:
    """Prefect's app, with transactions that wait for their turn to write.

    Temporary servers of several runs share one database, and `ndogo serve` has many runs in one.
    """
    AioSqliteConfiguration.begin_transaction = begin_writing  # type: ignore[method-assign]
    return create_app(final=True)


def main() -> None:
    """Serve until a signal.

    :raises NdogoError: no login is set.
    """
    server = get_current_settings().server
    if server.api.auth_string is None:
        raise NdogoError(
            "Prefect's server would answer everybody.",
            where="PREFECT_SERVER_API_AUTH_STRING",
            cure="Set it to `user:password`; `ndogo serve` does that by itself.",
        )
    hosts = os.environ.get(HOSTS, "127.0.0.1,localhost").split(",")
    with temporary_settings({PREFECT_MESSAGING_BROKER: "ndogo.flows.prefect_events"}):
        # Around Prefect's app, not in it: its own services call the app inside this process, by another name.
        guarded = TrustedHostMiddleware(FewAtOnce(app()), allowed_hosts=hosts, www_redirect=False)
        uvicorn.run(
            guarded,
            host=server.api.host,
            port=server.api.port,
            timeout_keep_alive=server.api.keepalive_timeout,
            ws_ping_interval=server.api.websocket_ping_interval,
            ws_ping_timeout=server.api.websocket_ping_timeout,
            log_level=server.logging_level.lower(),
        )


if __name__ == "__main__":
    main()
