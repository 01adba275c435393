"""Who may talk to the app: pages that it served itself, under a host's name that it has.

Streamlit compares the names of hosts, and only for a websocket: a page on another port of this
machine could drive the app, and one whose name an attacker points here (DNS rebinding) could read
it. Here every request is held against two of Streamlit's own options, `server.allowedHosts` and
`server.corsAllowedOrigins`, and a page elsewhere cannot put the app into a frame.
"""

from urllib.parse import urlsplit

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Guard:
    """An ASGI layer in front of Streamlit; what it refuses gets 403, a websocket as well."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.hosts = st.get_option("server.allowedHosts")
        self.origins = st.get_option("server.corsAllowedOrigins")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif not self._allows(Headers(scope=scope)):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await PlainTextResponse("Forbidden", 403)(scope, receive, send)
        else:
            await self.app(scope, receive, self._unframed(send))

    def _allows(self, headers: Headers) -> bool:
        host, origin = headers.get("host", ""), headers.get("origin")
        try:
            if urlsplit(f"//{host}").hostname not in self.hosts:
                return False
            if origin is not None:
                return urlsplit(origin).netloc == host or origin in self.origins
        except ValueError:  # no address at all
            return False
        # A browser sends no origin with a plain GET; it says whose page asks, for what.
        foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        return not foreign or headers.get("sec-fetch-mode") == "navigate"  # as a link does

    def _unframed(self, send: Send) -> Send:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                ancestors = " ".join(["'self'", *self.origins])
                headers["content-security-policy"] = f"frame-ancestors {ancestors}"
            await send(message)

        return with_headers
