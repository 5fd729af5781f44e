"""``pushpals token``: credentials. A secret is shown once, when it is made."""

from __future__ import annotations

import click

from pushpals.cli.app import App, command, json_option, pick, print_json, safe_line, short, table
from pushpals.client import HubClient
from pushpals.protocol.commands import NewToken
from pushpals.protocol.records import ROLES, Role


@click.group()
def token() -> None:
    """Make, list and revoke tokens. The role of a token is all that it may do."""


@token.command("new")
@click.argument("role", type=click.Choice(ROLES))
@click.option("--label", default="", metavar="TEXT", help="Whose or what it is, e.g. 'phone'.")
@click.option(
    "--session", "sessions", multiple=True, metavar="ID", help="Only this session; may be repeated."
)
@click.option("--days", type=click.FloatRange(min=0, min_open=True, max=366), help="How long it is good for.")
@json_option
@command
async def new(
    hub: HubClient,
    app: App,
    role: Role,
    label: str,
    sessions: tuple[str, ...],
    days: float | None,
    as_json: bool,
) -> None:
    """Make a token. Its secret is printed once and kept nowhere.

    \b
    Examples:
      pushpals token new viewer --label dashboard
      pushpals token new operator --label phone --days 30
    """
    wanted = NewToken(
        role=role,
        label=label,
        sessions=list(sessions) or None,
        ttl_s=days * 86_400 if days is not None else None,
    )
    made = await hub.new_token(wanted)
    if as_json:
        print_json(made)
        return
    click.echo(made.secret)
    click.echo(f"{short(made.token.id)}, {role}: keep it now, it is not shown again", err=True)


@token.command("list")
@json_option
@command
async def list_(hub: HubClient, app: App, as_json: bool) -> None:
    """List tokens, without their secrets."""
    page = await hub.tokens()
    if as_json:
        print_json(page)
        return
    rows = [
        [
            short(one.id), one.role, safe_line(one.label, 40), ", ".join(one.sessions or ["all"]),
            "revoked" if one.revoked_at else (one.expires_at or "no end"), one.used_at or "never",
        ]
        for one in page.items
    ]  # fmt: skip
    table(rows, ["id", "role", "label", "sessions", "until", "used"])


@token.command("revoke")
@click.argument("token_id", metavar="TOKEN")
@json_option
@command
async def revoke(hub: HubClient, app: App, token_id: str, as_json: bool) -> None:
    """End a token at once; its open streams close."""
    known = [one.id for one in (await hub.tokens()).items]
    ended = await hub.revoke_token(pick("token", token_id, known))
    if as_json:
        print_json(ended)
    else:
        click.echo(f"{short(ended.id)} revoked")
