"""The parts of the team as commands of their own: ``hub``, ``buddy``, ``worker``, ``pusher``, ``local``.

Each runs until SIGTERM or SIGINT and then drains. Started by ``up`` or by hand they are the same; only
the place of their data directory and the supervisor differ.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

import click

from pushpals import registry
from pushpals.cli.app import App, pass_app, run
from pushpals.cli.errors import NEGATIVE, USAGE, Failed
from pushpals.cli.state import Running, State, write_private
from pushpals.cli.supervisor import die_with_parent
from pushpals.protocol.commands import NewToken
from pushpals.protocol.errors import Unauthenticated
from pushpals.protocol.records import Role
from pushpals.protocol.times import stamp, utc_now

_ROLES: tuple[Role, ...] = ("operator", "buddy", "worker", "pusher")


@click.command()
@click.option("--host", metavar="ADDRESS", help="What to bind.  [env: PUSHPALS_HOST; default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65_535), help="The port; 0 takes 3001 or a free one.")
@click.option("--host-name", "host_names", multiple=True, help="A further name by which people reach it.")
@click.option("--behind-tls-proxy", "behind", multiple=True, metavar="ADDRESS", help="A TLS proxy in front.")
@pass_app
def hub(
    app: App, host: str | None, port: int | None, host_names: tuple[str, ...], behind: tuple[str, ...]
) -> None:
    """Run only the hub. It serves until SIGTERM or Ctrl-C, and then finishes what it has begun.

    The first start makes a token for each role, in the data directory, readable by you only.
    """
    supervised = begin_part()
    app.flags |= {"host": host, "port": port}
    app.__dict__.pop("loaded", None)
    app.state.make()
    run(_hub(app, host_names, behind, supervised=supervised))


async def _hub(app: App, host_names: tuple[str, ...], behind: tuple[str, ...], *, supervised: bool) -> None:
    from pushpals.cli.up import USUAL_PORT, free_port
    from pushpals.server import start_service
    from pushpals.server.app import PublicWithoutTls
    from pushpals.store.base import StoreLocked, StoreUnreadable

    settings, state = app.settings, app.state
    stop = stop_on_signals()
    try:
        service = await start_service(
            registry.load(registry.STORES, settings.store),
            state.database,
            data_dir=state.root,
            host=settings.host,
            port=settings.port or free_port(settings.host, USUAL_PORT),
            host_names=host_names,
            behind=behind,
        )
    except (PublicWithoutTls, StoreUnreadable) as error:
        raise Failed(str(error), USAGE, "hub.start") from None
    except (StoreLocked, OSError) as error:
        raise Failed(str(error), NEGATIVE, "hub.start") from None
    try:
        from pushpals.hub import tokens
        from pushpals.hub.hub import SYSTEM

        for role in _ROLES:
            if not await _works(service.site.auth, state.token(role), role):
                made = await service.hub.run(
                    tokens.make, NewToken(role=role, label=f"this machine's {role}"), actor=SYSTEM
                )
                state.keep_token(role, made.secret)

        def new_code() -> None:
            parts = tokens.split(state.token("operator") or "")
            assert parts is not None
            write_private(state.login_file, f"{service.site.codes.new(parts[1])}\n".encode())

        new_code()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, new_code)
        if not supervised:
            _remember(app, state, service.url)
        click.echo(f"hub at {service.url}")
        await stop.wait()
    finally:
        if not supervised:
            state.forget_running()
        state.login_file.unlink(missing_ok=True)
        await service.stop()


async def _works(auth: object, secret: str | None, role: Role) -> bool:
    from pushpals.server.auth import Auth

    assert isinstance(auth, Auth)
    if secret is None:
        return False
    try:
        return (await auth.token(secret)).role == role
    except Unauthenticated:
        return False


def _remember(app: App, state: State, url: str) -> None:
    repository = str(app.repository_if_any or "")
    state.keep_running(
        Running(
            url=url,
            started=stamp(utc_now()),
            repository=repository,
            session_id=app.session,
            pids={"hub": os.getpid()},
        )
    )


# --- what every part does first -----------------------------------------------------------------------


def begin_part() -> bool:
    """Die with the supervisor, if there is one, and log to standard error. True when supervised."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for noisy in ("httpx", "httpcore", "tornado.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return die_with_parent()


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set, instead of ending the process."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    return stop
