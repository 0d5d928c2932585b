"""The server: this machine only by default, nothing but what the page needs, and no word to anyone else."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .desk import Desk

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PORT = 7860
LARGEST_UPLOAD = "256mb"
FIXED = ("/", "/config", "/theme.css", "/manifest.json", "/favicon.ico", "/gradio_api/startup-events",
         "/gradio_api/queue/join", "/gradio_api/queue/data", "/gradio_api/cancel", "/gradio_api/upload",
         "/gradio_api/upload_progress", "/gradio_api/reset", "/gradio_api/run/predict")
ASKING = ("/gradio_api/queue/join", "/gradio_api/run/predict")
LARGEST_REQUEST = 2**20
BELOW = ("/assets/", "/static/", "/runs/", "/gradio_api/heartbeat/")
POLICY = ("default-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; style-src 'self' 'unsafe-inline'; "
          "script-src 'self' 'unsafe-inline' 'unsafe-eval'; object-src 'none'; base-uri 'self'; form-action 'self'; "
          "frame-ancestors 'none'")
HEADERS = [(b"content-security-policy", POLICY.encode()), (b"x-content-type-options", b"nosniff"),
           (b"referrer-policy", b"no-referrer"), (b"cross-origin-resource-policy", b"same-origin")]
PRIVATE = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"}
Scope = dict[str, Any]


class Guard:
    """Requests that the page makes, and no others.

    Gradio serves more than this page needs: files by their paths, a proxy, downloads from addresses, descriptions of
    itself. They are not found here. Nor are requests under another host's name, or from a page of another host, let
    through, with which pages of others could reach a server on this machine.
    """

    def __init__(self, app: Callable[..., Any], hosts: tuple[str, ...] | None, uploads: Path) -> None:
        self.app, self.hosts, self.uploads = app, hosts, uploads.resolve()

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        status = self.refusal(scope)
        if not status and scope["path"] in ASKING:
            body = await _body(receive)
            receive = _again(body, receive)
            status = 0 if self.owns_files(body, scope) else 403
        if status:
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return

        async def with_headers(message: Scope) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        await self.app(scope, receive, with_headers)

    def owns_files(self, body: bytes, scope: Scope) -> bool:
        """Whether all files that a request names were uploaded to this server."""
        try:
            waiting = [json.loads(body)]
        except (ValueError, RecursionError):
            return False
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        while waiting:
            part = waiting.pop()
            waiting += part.values() if isinstance(part, dict) else part if isinstance(part, list) else []
            if isinstance(part, dict) and "path" in part:
                path, url = str(part["path"]), str(part.get("url") or "")
                if not Path(path).resolve().is_relative_to(self.uploads) or "\0" in path:
                    return False
                if url and urlsplit(url).netloc not in ("", host):
                    return False
        return True

    def refusal(self, scope: Scope) -> int:
        """The status with which a request is refused; 0 if it is not."""
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get(b"host", ""), headers.get(b"origin", "")
        if self.hosts is not None and urlsplit(f"//{host}").hostname not in self.hosts:
            return 403
        if origin and urlsplit(origin).netloc != host:
            return 403
        path = scope["path"]
        return 0 if path in FIXED or (path.startswith(BELOW) and ".." not in path.split("/")) else 404


async def _body(receive: Any) -> bytes:
    """What a request brings, up to `LARGEST_REQUEST` bytes; nothing if it is more."""
    body, more = b"", True
    while more and len(body) <= LARGEST_REQUEST:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return b"" if more else body


def _again(body: bytes, receive: Any) -> Callable[[], Any]:
    """A `receive` that brings what was read before, and then what comes."""
    read = [{"type": "http.request", "body": body, "more_body": False}]

    async def bring() -> Any:
        return read.pop() if read else await receive()

    return bring


def serve(host: str, port: int | None, ready: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C; `ready` is called with its address.

    Without a port it is 7860, or another one if that is taken. ValueError if gradio is missing, or the address cannot
    be had.
    """
    with _private() as uploads, _listening(host, port) as listening:
        app, desk = application(host in LOOPBACK, uploads)
        try:
            import uvicorn

            server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False,
                                                   timeout_graceful_shutdown=1))
            threading.Thread(target=_warm, daemon=True).start()
            name = f"[{host}]" if ":" in host else host
            ready(f"http://{name}:{listening.getsockname()[1]}/")
            with suppress(KeyboardInterrupt):
                server.run(sockets=[listening])
        finally:
            desk.close()


def application(local: bool, uploads: Path) -> tuple[Guard, Desk]:
    """The page as an application of ASGI, and its desk; where it is local, only under this machine's own names."""
    check_gradio()
    import gradio as gr
    from fastapi import FastAPI, Response

    from .page import TEMPLATES, Page, thumbnails

    desk = Desk()
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    def download(token: str) -> Response:
        packed = desk.archive(token)
        if packed is None:
            return Response(status_code=404)
        return Response(packed, media_type="application/zip",
                        headers={"content-disposition": 'attachment; filename="unfeature.zip"'})

    app.add_api_route("/runs/{token}.zip", download, methods=["GET"])
    fonts = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif")
    theme = gr.themes.Base(font=fonts, font_mono=("ui-monospace", "Menlo", "Consolas", "monospace"))
    gr.mount_gradio_app(app, Page(desk).blocks, "/", footer_links=[], run_history=False, allowed_paths=[],
                        show_error=False, max_file_size=LARGEST_UPLOAD, ssr_mode=False, enable_monitoring=False,
                        pwa=False, mcp_server=False, theme=theme, css=thumbnails(), css_paths=TEMPLATES / "page.css")
    return Guard(app, LOOPBACK if local else None, uploads), desk


def check_gradio() -> None:
    """ValueError if gradio is not installed."""
    from importlib.util import find_spec

    if find_spec("gradio") is None:
        raise ValueError("the app needs gradio: install it with pip install 'unfeature[app]'")


@contextmanager
def _private() -> Iterator[Path]:
    """Uploads go to a folder of this server's own, which is removed in the end, and Gradio tells nobody of itself."""
    with tempfile.TemporaryDirectory(prefix="unfeature-app-") as folder:
        own = {**PRIVATE, "GRADIO_TEMP_DIR": folder}
        before = {name: os.environ.get(name) for name in own}
        os.environ.update(own)
        try:
            yield Path(folder)
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextmanager
def _listening(host: str, port: int | None) -> Iterator[socket.socket]:
    """A socket at an address; ValueError if it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            try:
                found.bind((host, PORT if port is None else port))
            except OSError:
                if port is not None:
                    raise
                found.bind((host, 0))
        except OSError as error:
            raise ValueError(f"cannot serve at {host}, port {port or PORT}: {error.strerror or error}; choose another "
                             "--port, or --host 127.0.0.1") from error
        yield found


def _warm() -> None:
    """Import what the first run needs, and compile it, while the page is read."""
    import numpy as np

    from unfeature.features.gradients.hog import HOG
    from unfeature.inversion.invert import invert

    phi = HOG()
    invert(phi, phi(np.eye(64, dtype=np.float32)), steps=2)
