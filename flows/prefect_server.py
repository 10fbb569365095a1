"""Prefect's server, which only answers who asks for it by its own name and shows the login.

Prefect checks no Host header; without that check a page of a foreign name that resolves to loopback could talk to it.
The address and the login are Prefect's own settings (PREFECT_SERVER_API_HOST, _PORT and _AUTH_STRING).
"""

import os

import uvicorn
from prefect.server.api.server import create_app
from prefect.settings import get_current_settings
from starlette.middleware.trustedhost import TrustedHostMiddleware

from ndogo.core.errors import NdogoError

HOSTS = "NDOGO_PREFECT_HOSTS"
"""The environment variable that names the hosts, comma-separated, under which the server may be asked for."""


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
    app = create_app(final=True)
    hosts = os.environ.get(HOSTS, "127.0.0.1,localhost").split(",")
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
    uvicorn.run(
        app,
        host=server.api.host,
        port=server.api.port,
        timeout_keep_alive=server.api.keepalive_timeout,
        ws_ping_interval=server.api.websocket_ping_interval,
        ws_ping_timeout=server.api.websocket_ping_timeout,
        log_level=server.logging_level.lower(),
    )


if __name__ == "__main__":
    main()
