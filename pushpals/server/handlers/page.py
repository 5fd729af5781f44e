"""The status page: three static files, and a policy that lets nothing else run in it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from pushpals.protocol.errors import NotFound
from pushpals.server.base import Handler, needs

PAGE_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
FILES = {
    "index.html": "text/html; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


class Page(Handler):
    """``/``"""

    LANDING_PAGE = True

    @needs("open")
    async def get(self) -> None:
        send(self, "index.html")


class PageFile(Handler):
    """``/page/:file``"""

    @needs("open")
    async def get(self, name: str) -> None:
        send(self, name)


def send(handler: Handler, name: str) -> None:
    if name not in FILES:
        raise NotFound("there is nothing at this address", code="route.unknown")
    handler.set_header("Content-Type", FILES[name])
    handler.set_header("Content-Security-Policy", PAGE_CSP)
    handler.set_header("Cache-Control", "no-cache")
    handler.finish(read(name))


@cache
def read(name: str) -> bytes:
    return (files("pushpals.server") / "static" / name).read_bytes()
