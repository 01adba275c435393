"""Only the app's own pages reach it: no other host's name, no other port, no other's frame."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
import streamlit as st

from pages.parts.guard import Guard

OWN = {"host": "localhost:8501"}
ALLOWED = [
    OWN,
    {"host": "127.0.0.1:8501", "origin": "http://127.0.0.1:8501"},
    {"host": "[::1]:8501", "origin": "http://[::1]:8501"},
    OWN | {"origin": "https://course.example"},  # by server.corsAllowedOrigins
    OWN | {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"},
    OWN | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},  # a link elsewhere
]
REFUSED = [
    {},
    {"host": "evil.example", "origin": "http://evil.example"},  # DNS rebinding
    {"host": "evil.example"},
    {"host": "localhost.evil.example:8501"},
    {"host": "[", "origin": "http://["},
    OWN | {"origin": "http://evil.example"},
    OWN | {"origin": "http://localhost:9999"},
    OWN | {"origin": "http://127.0.0.1:8501"},
    OWN | {"origin": "null"},
    OWN | {"origin": ""},
    OWN | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},  # an image of a page
    OWN | {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
]


def answer(kind: str, headers: dict[str, str]) -> list[dict]:
    """Send one request through the guard; return what comes back from it, or from behind it."""
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive():
        return {"type": f"{kind}.connect"}

    async def send(message):
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    request = Guard(app)({"type": kind, "method": "GET", "headers": raw}, receive, send)
    with ThreadPoolExecutor(1) as thread:  # this one may have a loop, Playwright's
        thread.submit(asyncio.run, request).result()
    return sent


@pytest.fixture(autouse=True)
def options(monkeypatch):
    known = {
        "server.allowedHosts": ["localhost", "127.0.0.1", "::1"],
        "server.corsAllowedOrigins": ["https://course.example"],
    }
    monkeypatch.setattr(st, "get_option", known.get)


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("headers", ALLOWED, ids=str)
def test_its_own_pages_reach_it_and_no_other_may_frame_it(kind, headers):
    (start,) = answer(kind, headers)
    policy = (b"content-security-policy", b"frame-ancestors 'self' https://course.example")
    assert start["status"] == 200 and policy in start["headers"]


@pytest.mark.parametrize("headers", REFUSED, ids=str)
def test_others_are_refused(headers):
    assert answer("http", headers)[0]["status"] == 403
    assert answer("websocket", headers) == [{"type": "websocket.close", "code": 1008}]
