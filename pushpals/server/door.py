"""Which requests may come in at all, before anybody asks who sends them.

The rules are against pages of other sites in a person's browser: a name that resolves here but is not ours
(DNS rebinding: ``Host``), a page that sends on the person's behalf (``Origin``, ``Sec-Fetch-Site``), and a
token that ends up in a history or a log (query strings).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pushpals.protocol.errors import Forbidden, PushPalsError, Unauthenticated
from pushpals.server.site import Options

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_SECRET = re.compile(r"pp_(?:operator|viewer|notebook|buddy|worker|pusher)_")


class WrongHost(PushPalsError):
    """The request was meant for somebody else."""

    status, code = 421, "host.unknown"


class WrongType(PushPalsError):
    """The body is not what this endpoint takes."""

    status, code = 415, "body.not_json"


def check(
    options: Options, *, scheme: str, host: str, query: str, headers: Mapping[str, str], landing_page: bool
) -> None:
    """Raises what a request is refused for. ``landing_page`` is the page that other sites may link to."""
    if options.hosts is not None and host.lower() not in options.hosts:
        raise WrongHost("this hub does not answer to that host name; start it with --host-name to allow it")
    if _SECRET.search(query) or "access_token=" in query or "token=" in query:
        raise Unauthenticated(
            "a token in a URL ends up in logs; send it in the Authorization header", code="token.in_url"
        )
    origin = headers.get("Origin")
    if origin is not None:
        if origin != f"{scheme}://{host}" and origin not in options.origins:
            raise Forbidden("this origin may not use the hub", code="origin.refused")
    elif headers.get("Sec-Fetch-Site") == "cross-site" and not landing_page:
        raise Forbidden("another site may not send this request", code="origin.cross_site")


def address_of(options: Options, peer: str, headers: Mapping[str, str]) -> str:
    """The caller's address. A forwarded one counts only from a proxy that the operator named."""
    if peer not in options.proxies:
        return peer
    hops = [hop.strip() for hop in headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
    for hop in reversed(hops):
        if hop not in options.proxies:
            return hop[:64]
    return peer


def scheme_of(options: Options, peer: str, headers: Mapping[str, str]) -> str:
    if options.tls:
        return "https"
    if peer in options.proxies and headers.get("X-Forwarded-Proto", "").lower() == "https":
        return "https"
    return "http"
