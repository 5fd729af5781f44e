"""The page: the console where it is built, the plain status page everywhere.

The console (``extension/``) is bundled into ``static/app`` by ``make ui`` and comes with wheels; a checkout
without node has none, and then ``/`` is the plain page, which is three files by hand. ``/?plain`` shows the
plain page in any case. Each has a policy that lets nothing else run in it; the console's names the two
makers of trusted values that it has (the sanitiser, and the address of its service worker).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from pushpals.protocol.errors import NotFound
from pushpals.server.base import Handler, needs

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; "
)
PAGE_CSP = _POLICY + "trusted-types 'none'"
APP_CSP = _POLICY + "worker-src 'self'; manifest-src 'self'; trusted-types dompurify pushpals"
FILES = {
    "index.html": "text/html; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
APP_FILES = {
    "app.js": "text/javascript; charset=utf-8",
    "app.css": "text/css; charset=utf-8",
    "sw.js": "text/javascript; charset=utf-8",
    "manifest.webmanifest": "application/manifest+json",
    "icon-192.png": "image/png",
    "icon-512.png": "image/png",
    "licences.txt": "text/plain; charset=utf-8",
}


class Page(Handler):
    """``/``"""

    LANDING_PAGE = True

    @needs("open")
    async def get(self) -> None:
        console = built() and "plain" not in self.request.query_arguments and self.request.query != "plain"
        send(self, "index.html", FILES["index.html"], app=console)


class PageFile(Handler):
    """``/page/:file``"""

    @needs("open")
    async def get(self, name: str) -> None:
        if name in FILES:
            send(self, name, FILES[name], app=False)
        elif name in APP_FILES and built():
            send(self, name, APP_FILES[name], app=True)
        else:
            raise NotFound("there is nothing at this address", code="route.unknown")


def send(handler: Handler, name: str, kind: str, *, app: bool) -> None:
    handler.set_header("Content-Type", kind)
    handler.set_header("Content-Security-Policy", APP_CSP if app else PAGE_CSP)
    handler.set_header("Cache-Control", "no-cache")
    if name == "sw.js":
        # Resolved against the script's own address: one up is where the page is, wherever it is mounted.
        handler.set_header("Service-Worker-Allowed", "../")
    handler.finish(read(name, app=app))


@cache
def built() -> bool:
    """Whether this installation has the console."""
    return (files("pushpals.server") / "static" / "app" / "index.html").is_file()


@cache
def read(name: str, *, app: bool = False) -> bytes:
    static = files("pushpals.server") / "static"
    return ((static / "app" if app else static) / name).read_bytes()
