"""The hub over HTTP: decoding, rights, streams. No business rule lives here."""

from pushpals.server.app import Service, ensure_operator, make_app, make_routes, serve, start_service
from pushpals.server.site import Options, Site

__all__ = [
    "Options",
    "Service",
    "Site",
    "ensure_operator",
    "make_app",
    "make_routes",
    "serve",
    "start_service",
]
