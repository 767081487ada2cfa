"""What every request passes before a page sees it: from where it comes, who sends it, and what the answer may do.

The rules are those of a server on loopback that any page in the same browser can reach: the name it is called by must
be this machine's (else a foreign name could be made to point here), forms must come from our own pages, and nothing is
answered to who has neither a session nor the key.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prodigy.web.access import Access, Session
from prodigy.web.pages import problem_page

# Nothing is loaded from elsewhere, nothing runs that is not a file of ours, nobody puts us in a frame.
POLICY = "; ".join(
    (
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
        "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'",
    )
)  # fmt: skip
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_OPEN = ("/static/", "/enter/", "/healthz")  # answered to everybody: nothing of a run is in them
_PROGRAMS = ("/api", "/metrics")
_LARGEST_FORM = 1 << 20  # bytes


@dataclass(frozen=True)
class Guard:
    """An ASGI application around the dashboard's. names: other names that this server may be called by. cookie: the
    session's. read_only: nothing can be steered."""

    app: ASGIApp
    access: Access
    cookie: str
    names: frozenset[str]
    read_only: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        request = Request(scope, receive)
        answer = await self._refused(request)
        await (answer or self.app)(scope, request.receive if answer is None else receive, guarded)

    async def _refused(self, request: Request) -> Response | None:
        """Why the request goes no further; None when it may. What is known of the sender is in its state then."""
        path = request.url.path
        if not is_ours(request.headers, self.names):
            return _answer(
                request, 400, "This is not an address of the dashboard.",
                "Open the link that `prodigy dashboard` printed. For another name of this machine, start it with"
                " --allow-host NAME.",
            )  # fmt: skip
        request.state.read_only = self.read_only
        request.state.session = None
        if path.startswith(_OPEN):
            return None
        key = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        by_key = bool(key) and path.startswith(_PROGRAMS) and self.access.is_key(key)
        session = None if by_key else self.access.session(request.cookies.get(self.cookie, ""))
        if session is None and not by_key:
            return self._stranger(request)
        request.state.session = session
        if request.method in ("GET", "HEAD"):
            return None
        if self.read_only:
            return _answer(
                request, 403, "This dashboard only shows.",
                "It was started with --read-only. Steer the run in a terminal: prodigy steer, pause, resume, cancel.",
            )  # fmt: skip
        if session is not None and not await _is_own_form(request, session):
            return _answer(
                request, 403, "This did not come from a page of the dashboard.",
                "Load the page again and repeat what you did.",
            )  # fmt: skip
        return None

    def _stranger(self, request: Request) -> Response:
        if request.url.path.startswith(_PROGRAMS):
            hint = f"Send the key in {self.access.key_file}: Authorization: Bearer KEY"
            headers = {"WWW-Authenticate": "Bearer"}
            return JSONResponse({"error": "who asks is not known", "hint": hint}, 401, headers)
        return _answer(
            request, 401, "The dashboard does not know this browser.",
            "Type `prodigy dashboard --link` in a terminal of this machine and open the link that it prints. Each link"
            " opens once, and a browser is known for a week.",
        )  # fmt: skip


def enter(access: Access, cookie: str, request: Request) -> Response:
    """Turn the token of a link into a session, and go to the page that the link is for."""
    token, to = request.path_params["token"], request.query_params.get("to", "/")
    if not to.startswith("/") or to.startswith(("//", "/\\")):
        to = "/"
    if access.session(request.cookies.get(cookie, "")):
        access.open_with(token)  # whoever reads the address later can't use it
        return RedirectResponse(to, 303)
    secret = access.open_with(token)
    if secret is None:
        return _answer(
            request, 401, "This link was used before, or is too old.",
            "Type `prodigy dashboard --link` in a terminal of this machine: it prints another one.",
        )  # fmt: skip
    response = RedirectResponse(to, 303)
    response.set_cookie(cookie, secret, max_age=7 * 24 * 3600, httponly=True, samesite="lax", path="/")
    return response


def is_ours(headers: Headers, names: frozenset[str]) -> bool:
    """Whether the request calls this machine by an address or a name of its own."""
    host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost") or host in names
    return True


def own_names() -> frozenset[str]:
    """What this machine is called."""
    return frozenset({socket.gethostname().lower(), socket.getfqdn().lower()})


async def _is_own_form(request: Request, session: Session) -> bool:
    """Whether a page of ours sent it: by its origin where the browser tells, and by what we had given to the page."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        return False
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    token = request.headers.get("x-form-token") or (await form_of(request)).get("form_token", "")
    return session.sent_by_it(token)


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form; of several with one name the last, see `values_of`."""
    return dict(await _pairs(request))


async def values_of(request: Request, name: str) -> list[str]:
    """All values of one field."""
    return [value for key, value in await _pairs(request) if key == name]


async def _pairs(request: Request) -> list[tuple[str, str]]:
    if not hasattr(request.state, "pairs"):
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _LARGEST_FORM:
                body = b""
                break
        request.state.body = body
        is_form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        request.state.pairs = parse_qsl(body.decode(errors="replace"), keep_blank_values=True) if is_form else []
    pairs: list[tuple[str, str]] = request.state.pairs
    return pairs


def _answer(request: Request, status: int, what: str, hint: str) -> Response:
    if request.url.path.startswith(_PROGRAMS):
        return JSONResponse({"error": what, "hint": hint}, status)
    return problem_page(request, status, what, hint)
