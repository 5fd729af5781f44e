"""The parts of the team as commands of their own: ``hub``, ``buddy``, ``worker``, ``pusher``, ``local``.

Each runs until SIGTERM or SIGINT and then drains. Started by ``up`` or by hand they are the same; only
the place of their data directory and the supervisor differ.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import logging
import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pushpals import config, registry
from pushpals.cli import checkout
from pushpals.cli.app import App, pass_app, run
from pushpals.cli.errors import NEGATIVE, USAGE, Failed
from pushpals.cli.state import Running, State, write_private
from pushpals.cli.supervisor import die_with_parent
from pushpals.client import Backoff
from pushpals.policy.rules import Policy, PolicyError, load_policy
from pushpals.protocol.commands import NewToken
from pushpals.protocol.errors import Unauthenticated
from pushpals.protocol.records import Role
from pushpals.protocol.times import stamp, utc_now
from pushpals.work.environment import BadEnvironment, Environment, build_environment
from pushpals.work.git.names import InvalidName
from pushpals.work.git.remotes import Credentials, Password, Remote, SshAgent, SshKey, parse_remote

if TYPE_CHECKING:
    from pushpals.roles.pusher import SerialPusher
    from pushpals.work.hosts import Host

ROLE_BACKOFF = Backoff(first_s=0.1, most_s=2.0, tries=6)
PUSHER_SLOT = 500
"""The pusher's user id in the sandbox, when it is root, apart from those of workers."""

_ROLES: tuple[Role, ...] = ("operator", "notebook", "buddy", "worker", "pusher")


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
                    tokens.make, NewToken(role=role, label=_label(role)), actor=SYSTEM
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


def _label(role: Role) -> str:
    """Whose token it is: an operator is a person, and their name stands under what they approve."""
    if role not in ("operator", "notebook"):
        return role
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "operator"


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


@click.command()
@pass_app
def buddy(app: App) -> None:
    """Run only the Remote Buddy: it reads the session, plans, asks for jobs and landings, and answers."""
    begin_part()
    run(_buddy(app))


async def _buddy(app: App) -> None:
    from pushpals.roles.base import RoleEnded
    from pushpals.roles.buddy import Buddy

    stop = stop_on_signals()
    async with app.client("buddy", ROLE_BACKOFF) as hub:
        try:
            await Buddy(hub, [app.session], repository=repository_id(app)).run(stop)
        except RoleEnded as error:
            raise Failed(str(error), error.exit_code, "buddy.ended") from None


@click.command()
@pass_app
def local(app: App) -> None:
    """Run only the Local Buddy: it answers questions about this checkout and changes nothing in it.

    Write to it with `pushpals say --to local "status"`.
    """
    begin_part()
    run(_local(app))


async def _local(app: App) -> None:
    from pushpals.roles.base import RoleEnded
    from pushpals.roles.local import run_local
    from pushpals.roles.looking import CannotLook

    stop = stop_on_signals()
    async with app.client("buddy", ROLE_BACKOFF) as hub:
        try:
            await run_local(hub, [app.session], app.repository, stop)
        except RoleEnded as error:
            raise Failed(str(error), error.exit_code, "local.ended") from None
        except CannotLook as error:
            raise Failed(str(error), NEGATIVE, "local.no_checkout") from None


@click.command()
@click.option(
    "--id", "label", metavar="NAME", help="How it is called in the lists; default: this machine's name."
)
@click.option("--kinds", metavar="A,B", help="Only jobs of these kinds.")
@click.option(
    "--slot", type=click.IntRange(0, 999), default=0, help="Tells the workers of one machine apart."
)
@pass_app
def worker(app: App, label: str | None, kinds: str | None, slot: int) -> None:
    """Run only one worker: it claims jobs, does each in a workspace and a sandbox of its own, and reports.

    SIGTERM or Ctrl-C drains: the job at hand is finished or given back. A second one gives it back at once.

    Exit code 78: no sandbox works here, and running without one was not allowed.
    """
    begin_part()
    app.state.make()
    run(_worker(app, label or "", kinds, slot))


async def _worker(app: App, label: str, kinds: str | None, slot: int) -> None:
    from pushpals.roles.base import RoleEnded
    from pushpals.roles.worker import Worker
    from pushpals.roles.worker_options import WorkerOptions
    from pushpals.work.context import AgentCommand, Settings

    settings = app.settings
    upstream = checkout.resolve(app.repository, app.state.upstream, settings)
    agents = {
        name: AgentCommand(
            argv=agent.command,
            env={key: app.env[key] for key in agent.pass_env if key in app.env},
            network=agent.network,
            timeout_s=agent.timeout_s,
        )
        for name, agent in settings.agents.items()
    }
    options = WorkerOptions(
        upstream=remote_of(app, upstream),
        branch=upstream.branch,
        state_dir=app.state.workers,
        kinds=tuple(word.strip() for word in kinds.split(",")) if kinds else None,
        capabilities=tuple(f"agent:{name}" for name in agents),
        policy=policy_of(app),
        allow_unsandboxed=settings.allow_unsandboxed,
        slot=slot,
        label=label,
        settings=Settings(agents=agents),
        environment=environment_of(app),
        secrets=secrets_of(app),
    )
    async with app.client("worker", ROLE_BACKOFF) as hub:
        role = Worker(hub, options)
        for signum in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signum, role.stop)
        try:
            await role.run()
        except RoleEnded as error:
            raise Failed(str(error), error.exit_code, "worker.ended") from None


@click.command()
@pass_app
def pusher(app: App) -> None:
    """Run only the serial-pusher: it lands what was approved, exactly the commit that it has tested.

    SIGTERM or Ctrl-C ends it between two steps; what it had begun is taken up again at the next start.
    """
    begin_part()
    app.state.make()
    run(_pusher(app))


async def _pusher(app: App) -> None:
    from pushpals.protocol.ids import random_id
    from pushpals.roles.pusher import PusherSettings
    from pushpals.roles.pusher.assemble import open_pusher
    from pushpals.roles.pusher.pusher import cores
    from pushpals.work.executors.base import ExecutorUnavailable
    from pushpals.work.executors.choose import EXIT_NO_SANDBOX, choose_executor
    from pushpals.work.git.repo import RepositoryBusy

    stop = stop_on_signals()
    upstream = checkout.resolve(app.repository, app.state.upstream, app.settings)
    home = app.state.pusher
    policy = policy_of(app)
    try:
        executor, _ = await choose_executor(
            allow_unsandboxed=app.settings.allow_unsandboxed and policy.sandbox.required != "full",
            slot=PUSHER_SLOT,
            record_dir=home / "running",
        )
    except ExecutorUnavailable as error:
        raise Failed(str(error), EXIT_NO_SANDBOX, "sandbox.not_full") from None
    own = app.settings
    settings = PusherSettings(
        repository=repository_id(app),
        branch=upstream.branch,
        remote=remote_of(app, upstream),
        data_dir=home,
        slots=own.slots or cores(),
        signing_key=signing_key_of(app),
        reuse_workers_runs=own.reuse_runs,
    )
    host = host_of(app)
    try:
        async with (
            app.client("pusher", ROLE_BACKOFF) as hub,
            open_pusher(
                hub,
                settings,
                executor=executor,
                environment=environment_of(app),
                new_id=random_id,
                host=host,
                policy=policy,
            ) as pusher,
        ):
            await keep_landing(pusher, stop)
    except RepositoryBusy:
        raise Failed(f"another serial-pusher holds {home}", NEGATIVE, "already_runs") from None
    finally:
        await executor.close()


async def keep_landing(pusher: SerialPusher, stop: asyncio.Event) -> None:
    """Step until told to stop. A step that waits or checks is cut; its landings are taken up again."""
    from pushpals.protocol.errors import PushPalsError
    from pushpals.roles.pusher.lane import LaneLost

    ending = asyncio.create_task(stop.wait(), name="stop")
    try:
        while not stop.is_set():
            step = asyncio.create_task(pusher.step(), name="pusher step")
            await asyncio.wait({step, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not step.done():
                step.cancel()
            try:
                await step
            except asyncio.CancelledError:
                if not stop.is_set():
                    raise
            except LaneLost as error:
                logging.getLogger("pushpals.pusher").warning("the queue is held by another pusher: %s", error)
                await _pause(stop, 5.0)
            except PushPalsError as error:
                if not error.retryable:
                    raise
                logging.getLogger("pushpals.pusher").warning("the hub is away: %s", error.message)
                await _pause(stop, error.retry_after or 1.0)
    finally:
        ending.cancel()


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


# --- what several parts need --------------------------------------------------------------------------


def repository_id(app: App) -> str:
    """The name of the repository in records and lanes: that of the checkout's folder."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", app.repository.name) or "repository"


def signing_key_of(app: App) -> Path | None:
    key = app.settings.signing_key
    return Path(key).expanduser() if key else None


def host_of(app: App) -> Host | None:
    """The hosting service that the operator named, if one was."""
    own = app.settings
    if own.host_kind is None:
        return None
    if not (own.host_url and own.host_repository and own.host_token):
        raise Failed(
            "a host needs landing.host_url, landing.host_repository and landing.host_token", USAGE, "host"
        )
    try:
        make = registry.load(registry.HOSTS, own.host_kind)
        return make(own.host_url, own.host_repository, own.host_token)  # type: ignore[no-any-return]
    except (LookupError, RuntimeError, ValueError) as error:
        raise Failed(f"{error}", USAGE, "host") from None


def remote_of(app: App, upstream: checkout.Upstream) -> Remote:
    """The upstream with the operator's credentials for it; a repository has no say in which."""
    settings, url = app.settings, upstream.url
    credentials: Credentials | None = None
    if url.startswith(("https://", "http://")):
        if settings.push_token:
            credentials = Password(username=settings.push_user, password=settings.push_token)
    elif not url.startswith("/"):
        known = Path(settings.known_hosts or "~/.ssh/known_hosts").expanduser()
        if settings.ssh_key:
            credentials = SshKey(key=Path(settings.ssh_key).expanduser(), known_hosts=known)
        elif socket := app.env.get("SSH_AUTH_SOCK"):
            credentials = SshAgent(socket=Path(socket), known_hosts=known if known.exists() else None)
    try:
        return parse_remote(url, credentials)
    except InvalidName as error:
        raise Failed(f"{upstream.shown}: {error}", USAGE, "remote") from None


def environment_of(app: App) -> Environment:
    """The programs that checks and fixers find."""
    try:
        return build_environment(configured=map(Path, app.settings.worker_path), checkout=app.repository)
    except BadEnvironment as error:
        raise Failed(str(error), USAGE, "worker.path") from None


def policy_of(app: App) -> Policy:
    """The operator's policy. One that does not load stops the part: there is nothing to fall back on."""
    person = config.user_config(app.env)
    try:
        return load_policy(config.read_table(person, "policy") if person else None)
    except PolicyError as error:
        raise Failed(f"{person}: policy: {error}; nothing runs without a policy", USAGE, "policy") from None


def secrets_of(app: App) -> dict[str, str]:
    """What must never appear in anything that is told."""
    found = {f"PUSHPALS_{role.upper()}": app.state.token(role) for role in _ROLES}
    found |= {"PUSHPALS_TOKEN": app.settings.token, "PUSHPALS_GIT_TOKEN": app.settings.push_token}
    return {name: value for name, value in found.items() if value}


# --- what every part does first -----------------------------------------------------------------------


def begin_part() -> bool:
    """Die with the supervisor, if there is one, and log to standard error. True when supervised."""
    from pushpals.cli.logs import formatter

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(os.environ.get("PUSHPALS_LOG")))
    logging.basicConfig(handlers=[handler], level=logging.INFO)
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
