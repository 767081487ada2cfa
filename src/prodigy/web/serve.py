"""The server around the dashboard."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

import uvicorn

from prodigy.errors import EnvironmentProblem, UsageError
from prodigy.web.access import Access
from prodigy.web.app import Settings, application

PORT = 7070  # unless another is asked for; any free one when it is taken
GRACE_S = 2  # streams have no end of their own


@dataclass(frozen=True)
class Place:
    """Where the dashboard is served. port: None: PORT, or a free one. names: by which it may be called beside its
    own."""

    host: str = "127.0.0.1"
    port: int | None = None
    names: tuple[str, ...] = ()


def serve(place: Place, page: str, *, read_only: bool, ready: Callable[[str], None]) -> None:
    """Serve until a signal ends it. page: where the link leads; ready: is called with that link once it is served.

    Raises UsageError for a port that is taken or an address that this machine does not have, EnvironmentProblem when
    nothing can be served.
    """
    access = Access()
    bound = _bound(place)
    port = bound.getsockname()[1]
    access.note_port(port)
    settings = Settings(cookie_name(port), frozenset(name.lower() for name in place.names), read_only)
    config = uvicorn.Config(
        application(access, settings), http="h11", ws="none", lifespan="on", log_level="error", access_log=False,
        server_header=False, proxy_headers=False, timeout_graceful_shutdown=GRACE_S, timeout_keep_alive=30,
    )  # fmt: skip
    server = _Server(config, lambda: ready(link(place.host, port, access.new_link(), page)))
    try:
        server.run(sockets=[bound])
    except KeyboardInterrupt:
        return  # the way to end it
    finally:
        bound.close()


class _Server(uvicorn.Server):
    """Tells when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._ready()


def another_link(host: str, port: int | None, page: str) -> str:
    """A link to a server that there is: at this port, by default the one that was started last. Raises UsageError when
    there is none, EnvironmentProblem as `Access` does."""
    access = Access()
    if port is None:
        port = access.last_port()
    try:
        if port is None:
            raise ConnectionRefusedError
        socket.create_connection((_reached(host), port), timeout=2).close()
    except OSError as error:
        where = "" if port is None else f" at port {port}"
        raise UsageError(
            f"no dashboard is served{where}", hint="Start one with `prodigy dashboard`, or say where it is with --port."
        ) from error
    return link(host, port, access.new_link(), page)


def _reached(host: str) -> str:
    """Where this machine reaches what is served at an address."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - what it is asked for


def link(host: str, port: int, token: str, page: str) -> str:
    """The address that opens a page once."""
    reached = _reached(host)
    shown = f"[{reached}]" if ":" in reached else reached
    to = "" if page == "/" else f"?{urlencode({'to': page}, safe='/')}"
    return f"http://{shown}:{port}/enter/{token}{to}"


def cookie_name(port: int) -> str:
    """Browsers send cookies to every port of a machine: each server has its own."""
    return f"prodigy_{port}"


def _bound(place: Place) -> socket.socket:
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    for port in (place.port,) if place.port is not None else (PORT, 0):
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((place.host, port))
        except OSError as error:
            bound.close()
            if error.errno == errno.EADDRINUSE and place.port is None and port:
                continue
            raise _refusal(place, error) from error
        return bound
    raise AssertionError("a free port was asked for")


def _refusal(place: Place, error: OSError) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return UsageError(f"port {place.port} is taken", hint="Give another with --port, or none: a free one is found.")
    if error.errno in (errno.EACCES, errno.EPERM):
        return UsageError(f"port {place.port} may not be used by you", hint="Give one above 1023 with --port.")
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return UsageError(
            f"this machine has no address {place.host}",
            hint="Leave --host out to be reached from this machine only; 0.0.0.0 means all its addresses.",
        )
    return EnvironmentProblem(f"the dashboard can't be served: {error}", hint="Mend that, then start it again.")
