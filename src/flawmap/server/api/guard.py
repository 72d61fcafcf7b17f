"""Guards before any route: host, origin, size, rate, and the headers of each answer."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flawmap.server.core.limits import Limits

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_FORM_ROOM = 100_000
"""Bytes of a request beside the image: fields of a form, boundaries."""

_MOST_CALLERS = 10_000
_BURST_S = 10

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class RateLimit:
    """So many requests a second of each caller, on average over some seconds.

    Args:
        rate: requests a second.
        over_s: seconds; so many times the rate may come at once.

    Example:
        >>> limit = RateLimit(0.1)
        >>> limit.allows("a", 0.0), limit.allows("a", 1.0), limit.allows("a", 11.0)
        (True, False, True)
    """

    def __init__(self, rate: float, over_s: float = _BURST_S) -> None:
        self._rate = rate
        self._most = max(1.0, rate * over_s)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, caller: str, now: float) -> bool:
        """Whether a caller may ask now, which counts.

        Args:
            caller: its address.
            now: monotonic time in seconds.
        """
        left, at = self._left.pop(caller, (self._most, now))
        left = min(self._most, left + (now - at) * self._rate)
        is_allowed = left >= 1
        self._left[caller] = (left - 1 if is_allowed else left, now)
        if len(self._left) > _MOST_CALLERS:
            self._left.popitem(last=False)
        return is_allowed


class Guard:
    """Refuses what no route should see; wraps the whole application.

    Args:
        app: the application.
        hosts: names that it may be asked for under.
        limits: of a request.
        is_secure: whether it is reached by TLS alone.
    """

    def __init__(
        self, app: ASGIApp, hosts: tuple[str, ...], limits: Limits, *, is_secure: bool
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._largest = limits.image_bytes + _FORM_ROOM
        self._rate = RateLimit(limits.rate)
        self._is_secure = is_secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    sent.setdefault(name, value)
                sent.setdefault("cache-control", "no-store")
                if self._is_secure:
                    sent["strict-transport-security"] = "max-age=31536000"
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _problem(send_guarded, *refusal)
            return
        await self._app(scope, self._counted(receive), send_guarded)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if host_name(host) not in self._hosts:
            return 421, f"this station is not called {host[:100]!r}; see --allow-host"
        if scope["method"] not in _SAFE and not _is_same_origin(headers, host):
            return 403, "the request comes from a page of another origin"
        caller = (scope.get("client") or ("", 0))[0]
        if not self._rate.allows(caller, time.monotonic()):
            return 429, "too many requests; send fewer a second"
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > self._largest:
            return 413, f"at most {self._largest / 1e6:.1f} MB are taken (--largest-image)"
        return None

    def _counted(self, receive: Receive) -> Receive:
        """What is received, as far as it is not too much."""
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._largest:
                raise TooLarge
            return message

        return receive_counted


class TooLarge(Exception):
    """A request of unknown length has more bytes than may be."""


def host_name(host: str) -> str:
    """The name in a Host header, without the port.

    Args:
        host: of the header.

    Example:
        >>> host_name("[::1]:8080"), host_name("LOCALHOST:8080"), host_name("a")
        ('[::1]', 'localhost', 'a')
    """
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()


def _is_same_origin(headers: Headers, host: str) -> bool:
    """Whether a request that changes something is from our own page, or from no page at all."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower())


async def _problem(send: Send, status: int, detail: str) -> None:
    title = HTTPStatus(status).phrase
    body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail})
    start_headers = [(b"content-type", b"application/problem+json")]
    if status == 429:
        start_headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": start_headers})
    await send({"type": "http.response.body", "body": body.encode()})
