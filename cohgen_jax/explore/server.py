"""The page, served on this machine only.

Listens on 127.0.0.1 and nowhere else. A request must name this host (a page of another site whose
name is made to point here does not), and one that asks for work must come from the page itself
(`Origin`). Answers are plain data; the page puts them in place as text. What is uploaded is kept by
the page, and sent with every question: nothing stays here.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cohgen_jax.errors import InputError
from cohgen_jax.explore.explorer import Explorer
from cohgen_jax.explore.page import page_html, page_js, page_style
from cohgen_jax.explore.upload import one_of, read_upload
from cohgen_jax.explore.view import maps, patients_listed, view
from cohgen_jax.report.page import plotly_js

HOST = "127.0.0.1"
MOST_BYTES = 64 << 20
"""Of a request: an upload of some thousand rows of a transcriptome is smaller."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Refused(Exception):
    """A request that is not answered: (status, why)."""


def application(explorer: Explorer) -> Starlette:
    """The page and what it asks for.

    GET /             the page, with the patients of the run
    GET /maps         where they lie in latent space
    GET /FILE         its style and scripts, plotly.js of the installed package among them
    POST /look        {patient, settings, tables} -> what `view` returns; with tables (modality ->
                      text of a table), of one of their patients, all of whom are named in `ids`
    """

    def static(content: str, media_type: str) -> Callable[[Request], Response]:
        return lambda request: Response(content, media_type=media_type)

    async def look(request: Request) -> Response:
        try:
            asked = _question(await _body(request))
            return JSONResponse(await run_in_threadpool(answer, explorer, **asked))
        except Refused as refused:
            status, why = refused.args
            return JSONResponse({"error": why}, status)
        except InputError as error:
            return JSONResponse({"error": str(error)}, 422)

    return Starlette(
        routes=[
            Route("/", static(page_html(explorer, patients_listed(explorer)), "text/html")),
            Route("/maps", lambda request: JSONResponse(maps(explorer))),
            Route("/look", look, methods=["POST"]),
            Route("/style.css", static(page_style(), "text/css")),
            Route("/page.js", static(page_js(), "text/javascript")),
            Route("/plotly.js", static(plotly_js(), "text/javascript")),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"]),
            Middleware(_Guarded),
        ],
    )


def answer(
    explorer: Explorer,
    patient: str | None = None,
    settings: Mapping[str, str] = {},
    tables: Mapping[str, str] = {},
) -> dict[str, Any]:
    """What POST /look returns; raises InputError for what the user can mend."""
    if tables:
        uploaded = read_upload(explorer.run, tables)
        own = one_of(uploaded.patients, patient)
        ids = [str(i) for i in uploaded.patients.ids]
        return {**view(explorer, own, settings), "ids": ids, "notes": list(uploaded.notes)}
    if patient is None:
        raise InputError("no patient was named")
    return view(explorer, explorer.patient(patient), settings)


def listen(port: int) -> socket.socket:
    """A socket of this machine alone. port: 0 takes any that is free.

    Raises:
      InputError: the port is taken.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except OSError as error:
        listening.close()
        raise InputError(
            f"port {port} cannot be used ({error.strerror}): --port names another"
        ) from error
    return listening


def serve(explorer: Explorer, listening: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM."""
    import uvicorn

    config = uvicorn.Config(
        application(explorer), log_level="warning", access_log=False, server_header=False
    )
    uvicorn.Server(config).run(sockets=[listening])


class _Guarded:
    """Headers of every answer; refuses what would change or ask for work from another origin."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        app: ASGIApp = self.app
        if scope["method"] not in ("GET", "HEAD") and not _same_origin(Request(scope)):
            why = {"error": "only the page itself may ask this"}
            app = JSONResponse(why, 403)
        return await app(scope, receive, with_headers)


def _same_origin(request: Request) -> bool:
    """Browsers send `Origin` with every POST, and no page can choose it."""
    return request.headers.get("origin") == f"http://{request.headers.get('host')}"


async def _body(request: Request) -> bytes:
    """What was sent, up to MOST_BYTES, whatever its length is said to be."""
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        raise Refused(415, "JSON is needed")
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BYTES:
            raise Refused(
                413,
                f"more than {MOST_BYTES >> 20} MiB at once: give fewer rows, or complete them "
                "with cohgen impute",
            )
        parts.append(part)
    return b"".join(parts)


def _question(body: bytes) -> dict[str, Any]:
    """The arguments of `answer`."""
    try:
        asked = json.loads(body)
        patient = asked.get("patient")
        settings, tables = (dict(asked.get(part) or {}) for part in ("settings", "tables"))
        texts = [t for part in (settings, tables) for pair in part.items() for t in pair]
        if not all(isinstance(t, str) for t in (*texts, *([patient] if patient else []))):
            raise TypeError("text")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Refused(400, "not a question that the page asks") from error
    return {"patient": patient, "settings": settings, "tables": tables}
