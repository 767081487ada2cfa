"""What pages are made of: whole ones, their parts, and what is said when something is in the way."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from prodigy.errors import ProdigyError
from prodigy.web.parts import FORM_TOKEN
from prodigy.web.rendering import render


def page(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """A whole page for who asks."""
    session = request.state.session
    common = {
        "form_token": session.form_token if session else "",
        "read_only": request.state.read_only,
        "path": request.url.path,
    }
    return HTMLResponse(for_session(request, render(template, **common, **values)), status)


def fragment(request: Request, template: str, **values: Any) -> Response:
    """A part of a page that is there already."""
    return HTMLResponse(for_session(request, render(template, **values)))


def for_session(request: Request, html: str) -> str:
    """HTML that is made once for all, for one of them: with the token of its forms, or without the forms' buttons."""
    session = request.state.session
    return html.replace(FORM_TOKEN, session.form_token if session else "")


def partials(request: Request, parts: Mapping[str, str]) -> str:
    """Parts that take the places of those with the same names."""
    return "".join(
        f'<hx-partial hx-target="#{name}" hx-swap="innerMorph">{for_session(request, html)}</hx-partial>'
        for name, html in parts.items()
    )


def streamed(request: Request, parts: Mapping[str, str]) -> bytes:
    """The same as a message of a stream; what is alike for all is made once."""
    session = request.state.session
    token = (session.form_token if session else "").encode()
    return b"".join(_message(name, html).replace(FORM_TOKEN.encode(), token) for name, html in parts.items())


@lru_cache(maxsize=64)
def _message(name: str, html: str) -> bytes:
    text = f'<hx-partial hx-target="#{name}" hx-swap="innerMorph">{html}</hx-partial>'
    return "".join(f"data: {line}\n" for line in text.splitlines()).encode() + b"\n"


def problem_page(request: Request, status: int, what: str, hint: str | None) -> Response:
    """What happened and what to do; for a part of a page, as a notice in it."""
    if request.headers.get("hx-request"):
        return notice(what, hint, tone="bad")
    html = render("problem.html", what=what, hint=hint, status=status, form_token="", read_only=True, path="")
    return HTMLResponse(html, status)


def of_error(request: Request, error: ProdigyError) -> Response:
    """An error of the program as a page, or as a notice."""
    what, hint, status = told(error)
    return problem_page(request, status, what, hint)


def told(error: ProdigyError) -> tuple[str, str | None, int]:
    """(what happened and where, what to do, HTTP status)."""
    status = 404 if error.what.startswith("there is no ") else 500 if error.exit_code == 5 else 400
    return f"{error.where}: {error.what}" if error.where else error.what, error.hint, status


def notice(what: str, hint: str | None = None, *, tone: str = "good") -> Response:
    """Something that is said on the page that is there."""
    html = render("notice.html", what=what, hint=hint, tone=tone)
    return HTMLResponse(f'<hx-partial hx-target="#notices" hx-swap="innerHTML">{html}</hx-partial>')
