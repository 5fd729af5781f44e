"""What a page may ask of a hub through somebody else: a Jupyter server, or a notebook's kernel.

Both pass on requests that they did not write, with a token that is theirs. So they pass on the addresses
that the console needs and nothing more. Tokens, policy, and what only workers and pushers do are not among
them.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, unquote, urlencode

BODY_BYTES = 1024 * 1024

_ID = r"[^/]+"
ALLOWED: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (method, re.compile(path))
    for methods, path in (
        ("GET", "healthz|login|system/status"),
        ("GET POST", "sessions"),
        ("GET", f"sessions/{_ID}(/events|/history)?"),
        ("POST", f"sessions/{_ID}/(message|command)"),
        ("GET PUT", f"sessions/{_ID}/marks/{_ID}"),
        ("GET", f"jobs(/{_ID})?"),
        ("POST", f"jobs/enqueue|jobs/{_ID}/(cancel|retry)"),
        ("GET", "workers"),
        ("POST", f"workers/{_ID}/state"),
        ("GET", f"approvals(/{_ID})?"),
        ("POST", f"approvals/{_ID}"),
        ("GET", f"artifacts/{_ID}"),
        ("GET", f"landings(/{_ID})?"),
        ("POST", f"landings|landings/{_ID}/(cancel|retry)"),
        ("GET", "lanes"),
        ("POST", "lanes/mode"),
        ("GET", f"repositories(/{_ID})?"),
    )
    for method in methods.split()
)

ASKED = ("Accept", "Cache-Control", "Content-Type", "Idempotency-Key", "Last-Event-ID", "Range")
ANSWERED = (
    "Accept-Ranges", "Cache-Control", "Content-Disposition", "Content-Length", "Content-Range",
    "Content-Type", "ETag", "Retry-After", "X-Accel-Buffering", "X-Session-Epoch",
)  # fmt: skip
"""Lists of headers that pass: hop-by-hop ones, cookies and CORS never do."""


def allowed(method: str, path: str) -> str | None:
    """The hub's address for a path, or None. Encoded slashes and dots stay what they are."""
    parts = [unquote(part) for part in path.split("/")]
    if any(part in ("", ".", "..") for part in parts):
        return None
    address = "/".join(quote(part, safe="") for part in parts)
    fits = any(method == verb and pattern.fullmatch(address) for verb, pattern in ALLOWED)
    return address if fits else None


def decides(method: str, address: str) -> bool:
    """Whether this request says yes or no for a person."""
    return method == "POST" and address.startswith("approvals/")


def query_of(query: str) -> str:
    """The query without what is Jupyter's own: its tokens, and the number that keeps caches away."""
    pairs = parse_qsl(query, keep_blank_values=True)
    return urlencode([(k, v) for k, v in pairs if k not in ("token", "_xsrf") and not k.isdigit()])
