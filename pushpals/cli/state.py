"""The data directory of one repository: what lies where, who may read it, and who holds it.

::

    hub.db  artifacts/        the hub's
    tokens/<role>             one secret each, 0600
    login-code                the newest one-time code for a browser, 0600
    run.json                  where `up` or `hub` runs: address, process ids; 0600, gone after a clean end
    up.lock                   held by the `up` that runs, for as long as it does
    logs/<part>.log           what each part wrote
    workers/  pusher/         object stores and workspaces
    upstream.git              main, for a repository without a remote

Everything is private to the person (0700). Nothing here is inside a working tree.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """What ``run.json`` says: where a hub of this data directory listens and what belongs to it."""

    url: str
    started: str
    repository: str
    session_id: str
    pids: dict[str, int] = {}
    ready: bool = False
    """Every part was started, and main is known."""


class AlreadyRuns(Exception):
    """Another ``pushpals up`` holds this data directory."""


class State:
    """Paths below one data directory. Making the object touches nothing; :meth:`make` creates it."""

    def __init__(self, root: Path):
        self.root = root

    @property
    def database(self) -> Path:
        return self.root / "hub.db"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def pusher(self) -> Path:
        return self.root / "pusher"

    @property
    def upstream(self) -> Path:
        return self.root / "upstream.git"

    @property
    def workers(self) -> Path:
        """Shared by the workers of this machine."""
        return self.root / "workers"

    def make(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.root.chmod(0o700)
        for folder in (self.artifacts, self.logs, self.root / "tokens"):
            folder.mkdir(exist_ok=True, mode=0o700)

    # -- tokens -----------------------------------------------------------------------------------------

    def token_file(self, role: str) -> Path:
        return self.root / "tokens" / role

    def token(self, role: str) -> str | None:
        """The secret of a role, or None if none was made here."""
        with contextlib.suppress(FileNotFoundError):
            return self.token_file(role).read_text("ascii").strip() or None
        return None

    def keep_token(self, role: str, secret: str) -> None:
        write_private(self.token_file(role), f"{secret}\n".encode())

    # -- one-time login codes ---------------------------------------------------------------------------

    @property
    def login_file(self) -> Path:
        return self.root / "login-code"

    def login_code(self) -> str | None:
        """The hub's newest one-time code. It may have been used already, or be too old."""
        with contextlib.suppress(FileNotFoundError):
            return self.login_file.read_text("ascii").strip() or None
        return None

    # -- run.json ---------------------------------------------------------------------------------------

    def running(self) -> Running | None:
        """What runs here, as far as its main process is still alive."""
        try:
            found = msgspec.json.decode((self.root / "run.json").read_bytes(), type=Running)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        pids = [found.pids[name] for name in ("up", "hub") if name in found.pids]
        return found if any(is_alive(pid) for pid in pids) else None

    def keep_running(self, running: Running) -> None:
        write_private(
            self.root / "run.json", msgspec.json.format(msgspec.json.encode(running), indent=2) + b"\n"
        )

    def forget_running(self) -> None:
        (self.root / "run.json").unlink(missing_ok=True)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the data directory. The kernel drops the lock with the process, however it ends."""
        fd = os.open(self.root / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRuns(str(self.root)) from None
            yield
        finally:
            os.close(fd)


def write_private(path: Path, data: bytes) -> None:
    """Replace a file whole, readable by its owner only, without a moment in which others could read it."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.write(data)
    part.replace(path)


def is_alive(pid: int) -> bool:
    """Whether the process runs. One that has ended and was not yet waited for does not."""
    with contextlib.suppress(ChildProcessError):
        ended, _ = os.waitpid(pid, os.WNOHANG)
        if ended:
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
