"""Runs the service: where it may listen, and its end on SIGTERM or Ctrl-C with the running requests answered."""

import ipaddress
import socket

import uvicorn

from toolchain.errors import UsageError
from verifiers.connect import Judge
from verifiers.service import ServiceSettings, build_app

_BACKLOG = 128
_MAX_CONNECTIONS = 512
_GRACE_S = 30.0  # for running requests at the end; above `ServiceSettings.wait_s`


def open_listener(bind: str, *, has_token: bool) -> socket.socket:
    """A listening socket at HOST:PORT (port 0: any free one). UsageError for a place other than loopback without a
    token, and for one that cannot be had.
    """
    host, separator, port = bind.rpartition(":")
    host = host.strip("[]")
    if not separator or not port.isascii() or not port.isdigit() or int(port) > 65535 or not host:
        raise UsageError(f"the address to listen on is {bind!r}; give HOST:PORT, for example 127.0.0.1:8765")
    if not has_token and not _is_loopback(host):
        raise UsageError(
            f"{host} can be reached from elsewhere, and there is no token; give --token-file, or 127.0.0.1"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, int(port)), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise UsageError(f"cannot listen on {bind}: {error.strerror or error}; choose another address") from error


def url_of(listener: socket.socket) -> str:
    """The URL under which a listener is reached from its own machine."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_server(judge: Judge, settings: ServiceSettings) -> uvicorn.Server:
    """A server to `run(sockets=[listener])`; it ends on SIGTERM, SIGINT or `should_exit`."""
    config = uvicorn.Config(
        build_app(judge, settings),
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE_S,
    )
    return uvicorn.Server(config)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: who knows where it leads
        return False
