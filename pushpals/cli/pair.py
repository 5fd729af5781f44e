"""``pushpals pair``: a phone or another browser gets a token of its own, by a one-time code."""

from __future__ import annotations

import io
from typing import Literal
from urllib.parse import quote, urlsplit

import click
import segno

from pushpals.cli.app import App, command, json_option, print_json, safe_line
from pushpals.client import HubClient
from pushpals.protocol.commands import PairDevice


@click.command()
@click.argument("label", default="phone")
@click.option(
    "--role", type=click.Choice(["viewer", "operator"]), default="operator", show_default=True,
    help="What the device may do: a viewer only looks.",
)  # fmt: skip
@click.option(
    "--session", "sessions", multiple=True, metavar="ID", help="Only this session; may be repeated."
)
@click.option("--days", type=click.FloatRange(min=0, min_open=True, max=366), default=30.0, show_default=True)
@click.option("--address", metavar="URL", help="How the device reaches the hub; default: the hub's own URL.")
@json_option
@command
async def pair(
    hub: HubClient,
    app: App,
    label: str,
    role: Literal["viewer", "operator"],
    sessions: tuple[str, ...],
    days: float,
    address: str | None,
    as_json: bool,
) -> None:
    """Show a code and a QR code that log one device in: once, within ten minutes.

    The device gets a token of its own under LABEL. End it with: pushpals token revoke.

    \b
    Examples:
      pushpals pair                                     a phone that may approve
      pushpals pair wall --role viewer --days 300       a screen that only looks
      pushpals pair --address https://pals.example.org  through your TLS proxy
    """
    wanted = PairDevice(role=role, label=label, sessions=list(sessions) or None, ttl_s=days * 86_400)
    made = await hub.pair(wanted)
    url = pairing_url(address or hub.url, made.code)
    if as_json:
        print_json({"code": made.code, "url": url, "expiresAt": made.expires_at, "role": made.role})
        return
    click.echo(qr(url), nl=False)
    click.echo(f"open  {safe_line(url, 300)}")
    click.echo(f"code  {click.style(made.code, bold=True)}   {made.role} {safe_line(made.label, 60)!r}, once")
    if _is_loopback(url):
        click.echo(
            "Only this machine reaches that address. For a phone put a TLS proxy in front, start the hub "
            "with --behind-tls-proxy and --host-name, and give its URL with --address."
        )


def pairing_url(address: str, code: str) -> str:
    """The login page with the code behind ``#``: a fragment is sent to no server and stands in no log."""
    return f"{address.rstrip('/')}/#code={quote(code)}"


def qr(text: str) -> str:
    """The text as a QR code for a terminal, two modules to a character."""
    out = io.StringIO()
    segno.make(text, error="m", micro=False).terminal(out, compact=True)
    return out.getvalue()


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host.startswith("127.") or host == "::1"
