"""What stands before the service's routes: host name, token and size of a request are checked before it is parsed.

Pure ASGI, since a route's own checks come after its body was read. It does not encrypt: TLS is a proxy's work.
"""

import asyncio
import hmac
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from verifiers.service_errors import ServiceError, too_large

OPEN_PATHS = ("/healthz", "/readyz")  # for probes that hold no token
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
_BODY_S = 30.0  # a sender that is slower is cut off


@dataclass(frozen=True, slots=True)
class Guard:
    """Passes on what is allowed, with the body read whole.

    Without a token only loopback names are served, so that no web page can reach the service under a name of the
    page's own that resolves to this machine.
    """

    app: ASGIApp
    token: str | None
    max_body_bytes: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self._check(scope)
            body = await self._read(receive)
        except ServiceError as error:
            await error.response()(scope, receive, send)
            return
        await self.app(scope, _replay(body, receive), send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if self.token is None:
            name = _without_port(headers.get("host", ""))
            if name not in _LOOPBACK_NAMES:
                message = f"without a token this service answers to the name localhost only, got {name!r:.80}"
                raise ServiceError(421, "wrong_host", message)
        elif scope["path"] not in OPEN_PATHS:
            _check_token(headers.get("authorization", ""), self.token)
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit() and int(length) <= self.max_body_bytes):
            raise too_large(self.max_body_bytes)

    async def _read(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        num_bytes, is_more = 0, True
        try:
            async with asyncio.timeout(_BODY_S):
                while is_more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ServiceError(400, "incomplete", "the body ended before its time; send the request again")
                    chunks.append(message.get("body", b""))
                    num_bytes += len(chunks[-1])
                    is_more = message.get("more_body", False)
                    if num_bytes > self.max_body_bytes:
                        raise too_large(self.max_body_bytes)
        except TimeoutError as error:
            message = f"the body did not come within {_BODY_S:g} s; send it faster or in smaller batches"
            raise ServiceError(408, "too_slow", message) from error
        return b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once, then what else comes (a disconnect)."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def _check_token(authorization: str, token: str) -> None:
    scheme, _, given = authorization.partition(" ")
    is_right = hmac.compare_digest(given.strip().encode(), token.encode())
    if scheme.lower() != "bearer" or not is_right:
        message = "send the service's token in the header `Authorization: Bearer TOKEN`"
        raise ServiceError(401, "unauthorized", message, headers={"WWW-Authenticate": "Bearer"})


def _without_port(host: str) -> str:
    name, separator, port = host.rpartition(":")
    return (name if separator and port.isdigit() else host).lower()
