"""``pushpals up``: the whole team for one repository, from one terminal; ``pushpals down`` ends it.

It looks at the checkout, finds or makes the place where main lives, starts the hub and waits until it
answers, then starts the buddy, the workers and the pusher, and shows the session line by line. One ``up``
holds a data directory; a second one says where the first runs. At the end the parts are asked to finish
or release what they hold, the hub last, and whatever does not end in time is killed with its group.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import aclosing
from pathlib import Path

import click
import httpx

from pushpals.cli import checkout
from pushpals.cli.app import App, pass_app, run, safe_line
from pushpals.cli.errors import NEGATIVE, NO_SANDBOX, USAGE, Failed, NotRunning
from pushpals.cli.render import Lines
from pushpals.cli.state import AlreadyRuns, Running, is_alive
from pushpals.cli.supervisor import Part, bound_to_this_process, die_with_parent
from pushpals.client import Backoff, HubClient
from pushpals.protocol.errors import PushPalsError
from pushpals.protocol.times import stamp, utc_now

READY_S = 60.0
MAIN_S = 20.0
DRAIN_S = 30.0
HUB_DRAIN_S = 10.0
USUAL_PORT = 3001

_KEPT_ENVIRONMENT = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "NO_COLOR",
    "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "PYTHONPATH", "VIRTUAL_ENV",
)  # fmt: skip
_GIT_ENVIRONMENT = ("SSH_AUTH_SOCK", "PUSHPALS_GIT_TOKEN")
"""What reaches a remote; only for the parts that do."""


@click.command()
@click.option(
    "--workers", type=click.IntRange(0, 64), metavar="N", help="How many workers.  [env: PUSHPALS_WORKERS]"
)
@click.option("--port", type=click.IntRange(0, 65_535), help="The hub's port; 0 takes 3001 or a free one.")
@click.option("--no-pusher", is_flag=True, help="Without the serial-pusher: nothing lands.")
@click.option("--local", is_flag=True, help="Also the Local Buddy, who reads your checkout.")
@click.option("--detach", is_flag=True, help="Return when everything is up; end it with: pushpals down.")
@click.option("--quiet", "-q", is_flag=True, help="Do not show the session.")
@pass_app
def up(
    app: App, workers: int | None, port: int | None, no_pusher: bool, local: bool, detach: bool, quiet: bool
) -> None:
    """Start the team for this repository: hub, Remote Buddy, workers, serial-pusher.

    Your checkout is only read. State lives outside of it and is used again at the next start. Ctrl-C ends
    everything cleanly: running jobs are finished or given back. Press it twice to end at once.

    \b
    Examples:
      pushpals up
      pushpals up --workers 4 --local
      pushpals up --detach && pushpals say "run the tests" --wait

    Exit codes: 0 ended as asked, 1 a part could not be kept running or another `up` runs here, 78 no sandbox.
    """
    die_with_parent()
    app.flags |= {"workers": workers, "port": port}
    app.__dict__.pop("loaded", None)
    app.state.make()
    if detach:
        running = start_detached(app, pusher=not no_pusher, local=local)
        click.echo(f"{running.url}  (end it with: pushpals down)")
        return
    try:
        with app.state.held():
            code = run(_Team(app, pusher=not no_pusher, local=local, quiet=quiet).run())
    except AlreadyRuns:
        other = app.state.running()
        where = f"at {other.url}" if other else f"and holds {app.state.root}"
        raise Failed(
            f"it runs already, {where}; watch it with: pushpals tail", NEGATIVE, "already_runs"
        ) from None
    if code:
        raise click.exceptions.Exit(code)


@click.command()
@click.option("--timeout", "timeout_s", type=float, default=DRAIN_S + 2 * HUB_DRAIN_S, show_default=True)
@pass_app
def down(app: App, timeout_s: float) -> None:
    """End the team that `pushpals up` started for this repository, cleanly.

    Exit codes: 0 ended, 3 nothing ran here.
    """
    stop_detached(app, timeout_s)
    click.echo("ended")


class _Team:
    """The parts of one ``up`` and their life."""

    def __init__(self, app: App, *, pusher: bool, local: bool, quiet: bool):
        self.app = app
        self.state = app.state
        self.quiet = quiet
        self.stop = asyncio.Event()
        self.hurried = False
        self._ready = False
        self.port = app.settings.port or free_port(app.settings.host, USUAL_PORT)
        if not can_bind(app.settings.host, self.port):
            raise Failed(
                f"port {self.port} of {app.settings.host} is taken; name another, or 0 for a free one",
                USAGE,
                "port",
            )
        host = app.settings.host
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        names = ["buddy", *(f"worker-{n}" for n in range(1, app.settings.workers + 1))]
        names += ["pusher"] if pusher else []
        names += ["local"] if local else []
        self.others: list[Part] = []
        self.hub = self._part("hub")
        self.others = [self._part(name) for name in names]

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(signum, self._signalled)
        upstream = await asyncio.to_thread(
            checkout.prepare, self.app.repository, self.state.upstream, self.app.settings
        )
        keepers: dict[Part, asyncio.Task[None]] = {}
        try:
            keepers[self.hub] = asyncio.create_task(self.hub.run(), name="keep hub")
            await self.ready()
            if self.stop.is_set():
                return 0
            for part in self.others:
                keepers[part] = asyncio.create_task(part.run(), name=f"keep {part.name}")
            await asyncio.gather(*(part.started.wait() for part in self.others))
            await self.main_is_known()
            self._remember(ready=True)
            self.welcome(upstream)
            return await self.watch()
        finally:
            await self.end()
            for task in keepers.values():
                task.cancel()
            await asyncio.gather(*keepers.values(), return_exceptions=True)
            for part in keepers:
                part.kill()  # one that was being started while everything ended
            self.state.forget_running()

    async def ready(self) -> None:
        """Wait until the hub answers and has made the operator's token."""
        async with httpx.AsyncClient(trust_env=False, timeout=2.0) as http:
            try:
                async with asyncio.timeout(READY_S):
                    while not self.stop.is_set():
                        if self.hub.gave_up.is_set():
                            raise Failed(f"the hub does not start: {self.hub.last_words(3)}")
                        with contextlib.suppress(httpx.HTTPError):
                            answer = await http.get(f"{self.url}/healthz")
                            if answer.status_code == 200 and self.state.token("operator"):
                                return
                        await asyncio.sleep(0.05)
            except TimeoutError:
                raise Failed(f"the hub did not answer within {READY_S:g} s; see {self.hub.log}") from None

    async def main_is_known(self) -> None:
        """Wait until the pusher has told the hub of main: before that, the buddy cannot plan on it."""
        pusher = next((part for part in self.others if part.name == "pusher"), None)
        async with self.client() as hub:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(MAIN_S):
                    while pusher is not None and not (self.stop.is_set() or pusher.gave_up.is_set()):
                        if any(one.head for one in (await hub.repositories()).items):
                            return
                        await asyncio.sleep(0.1)

    async def watch(self) -> int:
        """Show the session until somebody ends it or a part stays down."""
        async with self.client() as hub:
            await hub.create_session(self.app.session)
            tasks = [
                asyncio.create_task(self.stop.wait(), name="stop"),
                *(
                    asyncio.create_task(part.gave_up.wait(), name=part.name)
                    for part in (self.hub, *self.others)
                ),
            ]
            show = asyncio.create_task(self._show(hub), name="show")
            try:
                while True:
                    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    if tasks[0] in done:
                        return 0
                    down = [p for p in (self.hub, *self.others) if p.gave_up.is_set()]
                    if any(part.exit_code == NO_SANDBOX for part in down):
                        return NO_SANDBOX
                    if any(part.exit_code != 0 for part in down):
                        return NEGATIVE
                    # A part that ended by itself with 0 was drained by an operator; the others go on.
                    tasks = [task for task in tasks if task not in done]
            finally:
                for task in (*tasks, show):
                    task.cancel()
                await asyncio.gather(*tasks, show, return_exceptions=True)

    async def end(self) -> None:
        """Roles first, so that they can still report; the hub last."""
        live = [part for part in self.others if part.pid is not None]
        if live and not self.hurried:
            self.tell("up", f"ending: {', '.join(part.name for part in live)}")
        await asyncio.gather(*(part.stop(DRAIN_S) for part in self.others))
        await self.hub.stop(HUB_DRAIN_S)

    def client(self) -> HubClient:
        return HubClient(self.url, self.state.token("operator"), backoff=Backoff(most_s=2.0))

    def tell(self, part: str, sentence: str) -> None:
        click.echo(f"{click.style(f'{part:>9}', dim=True)}  {safe_line(sentence, 600)}", err=True)

    def welcome(self, upstream: checkout.Upstream) -> None:
        says = checkout.advice(upstream)
        click.echo(f"{click.style('Push Pals', bold=True)} for {self.app.repository}")
        click.echo(f"  open      {self.url}")
        if code := self.state.login_code():
            click.echo(f"  log in    with the code {click.style(code, bold=True)} (once, within ten minutes)")
        click.echo(f"  main      {safe_line(upstream.branch, 100)} in {safe_line(upstream.shown, 200)}")
        click.echo(f"  session   {self.app.session}   state in {self.state.root}")
        if says:
            click.echo(f"  note      {safe_line(says, 400)}")
        click.echo(
            'Elsewhere: pushpals say "run the tests", pushpals tail, pushpals approve. Here: Ctrl-C ends.'
        )

    async def _show(self, hub: HubClient) -> None:
        if self.quiet:
            return
        lines = Lines(quiet=True)
        start = (await hub.snapshot(self.app.session)).cursor
        with contextlib.suppress(PushPalsError):
            async with aclosing(hub.follow(self.app.session, after=start)) as events:
                async for event in events:
                    if line := lines.line(event):
                        click.echo(line)

    def _signalled(self) -> None:
        if not self.stop.is_set():
            self.stop.set()
            return
        self.hurried = True
        for part in (*self.others, self.hub):
            part.kill()

    def _part(self, name: str) -> Part:
        role = name.partition("-")[0]
        argv = [
            sys.executable,
            "-m",
            "pushpals",
            "-C",
            str(self.app.repository),
            "--data-dir",
            str(self.state.root),
        ]
        argv += ["--session", self.app.session]
        match role:
            case "hub":
                argv += ["hub", "--host", self.app.settings.host, "--port", str(self.port)]
            case "worker":
                number = name.partition("-")[2]
                argv += ["--url", self.url, "worker", "--id", f"w{number}", "--slot", number]
            case _:
                argv += ["--url", self.url, role]
        log = self.state.logs / f"{name}.log"
        return Part(
            name,
            argv,
            env=part_environment(self.app, role),
            log=log,
            tell=self.tell,
            on_start=self._remember,
        )

    def _remember(self, *, ready: bool = False) -> None:
        self._ready = self._ready or ready
        pids = {part.name: part.pid for part in (self.hub, *self.others) if part.pid is not None}
        self.state.keep_running(
            Running(
                url=self.url,
                started=stamp(utc_now()),
                repository=str(self.app.repository),
                session_id=self.app.session,
                pids={"up": os.getpid(), **pids},
                ready=self._ready,
            )
        )


def part_environment(app: App, role: str) -> dict[str, str]:
    """What a part inherits: built from a list, so that no key of the person's reaches it by accident."""
    kept = {name: app.env[name] for name in _KEPT_ENVIRONMENT if name in app.env}
    kept |= {name: value for name, value in app.env.items() if name.startswith("PUSHPALS_")}
    for name in ("PUSHPALS_TOKEN", "PUSHPALS_URL", "PUSHPALS_DATA_DIR", *_GIT_ENVIRONMENT):
        kept.pop(name, None)
    if role == "worker":
        passed = {name for agent in app.settings.agents.values() for name in agent.pass_env}
        kept |= {name: app.env[name] for name in passed if name in app.env}
    if role in ("worker", "pusher"):
        kept |= {name: app.env[name] for name in _GIT_ENVIRONMENT if name in app.env}
    return kept


def free_port(host: str, wanted: int) -> int:
    """``wanted`` if nobody listens there, else any free one."""
    if can_bind(host, wanted):
        return wanted
    with socket.create_server((host, 0), family=_family(host)) as probe:
        return int(probe.getsockname()[1])


def can_bind(host: str, port: int) -> bool:
    """Whether the port can be listened on, as far as a look can tell."""
    try:
        with socket.create_server((host, port), family=_family(host)):
            return True
    except OSError:
        return False


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def start_detached(app: App, *, pusher: bool = True, local: bool = False, bound: bool = False) -> Running:
    """Start ``up`` in the background and wait until all of it is there. ``bound``: it ends when we do."""
    if (known := app.state.running()) is not None:
        raise Failed(f"it runs already, at {known.url}", NEGATIVE, "already_runs")
    settings = app.settings
    argv = [sys.executable, "-m", "pushpals", "-C", str(app.repository), "--data-dir", str(app.state.root)]
    argv += ["--session", app.session, "up", "--workers", str(settings.workers), "--port", str(settings.port)]
    argv += [] if pusher else ["--no-pusher"]
    argv += ["--local"] if local else []
    log = app.state.logs / "up.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            cwd="/",
            env={**app.env, **(bound_to_this_process() if bound else {})},
        )
    until = time.monotonic() + READY_S + MAIN_S
    while time.monotonic() < until:
        running = app.state.running()
        if running is not None and running.ready and running.pids.get("up") == process.pid:
            return running
        if process.poll() is not None:
            code = process.returncode or NEGATIVE
            raise Failed(f"it did not start: {_last_lines(log)}", code, "not_started")
        time.sleep(0.05)
    process.terminate()
    raise Failed(f"it was not ready in time; see {log}", NEGATIVE, "not_started")


def stop_detached(app: App, timeout_s: float = DRAIN_S + 2 * HUB_DRAIN_S) -> None:
    """End the ``up`` that runs here, and wait until it has ended."""
    running = app.running
    pid = running.pids.get("up") if running else None
    if pid is None:
        raise NotRunning("no `pushpals up` runs here")
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + timeout_s
    while is_alive(pid):
        if time.monotonic() > until:
            raise Failed(f"process {pid} did not end within {timeout_s:g} s", NEGATIVE, "still_runs")
        time.sleep(0.05)


def _last_lines(log: Path, lines: int = 5) -> str:
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-lines:])
