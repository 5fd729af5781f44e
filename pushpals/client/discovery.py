"""Finding the hub without being told: what a notebook, a Jupyter server or a script does first.

In this order, and the first that says something wins:

1. what the caller names;
2. on a JupyterHub, ``PUSHPALS_JUPYTERHUB_URL`` with the token that JupyterHub gave the person's server;
3. the settings, i.e. ``PUSHPALS_URL`` and ``PUSHPALS_TOKEN``, or the person's own file;
4. the ``pushpals up`` of the repository that the caller stands in;
5. the only ``pushpals up`` of this person on this machine, wherever it was started.

Only the token of the role asked for is read. A kernel asks for ``notebook``, whose token cannot decide
anything. That is a default and no wall: a process of the same person can read the person's files.

Nothing is kept: every call looks again, so a hub that was started later, or on another port, is found.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from pushpals import config
from pushpals.protocol.records import Role


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A hub and how to talk to it. The token is left out of ``repr``, which ends up in outputs."""

    url: str
    token: str | None
    session_id: str
    origin: str
    """Who said so: ``PUSHPALS_URL``, or ``pushpals up for <repository>``."""

    @property
    def fingerprint(self) -> str:
        """The same for the same address, and nothing that can be read out of a saved notebook."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:12]

    def __repr__(self) -> str:
        return f"Found(url={self.url!r}, session_id={self.session_id!r}, origin={self.origin!r})"


class NothingFound(Exception):
    """There is no hub to speak to; the message says what to do."""


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a data directory's ``run.json`` that says where its hub listens."""

    url: str
    repository: str = ""
    session_id: str = "dev"
    pids: dict[str, int] = {}


def find(
    role: Role,
    *,
    env: Mapping[str, str],
    start: Path,
    url: str | None = None,
    token: str | None = None,
    session_id: str | None = None,
) -> Found:
    """The hub for ``role``. Raises :class:`NothingFound`, or ``ConfigError`` for a setting that is wrong."""
    repository = _repository(start)
    loaded = config.load(repository=repository, env=env)
    settings = loaded.settings
    session = session_id or settings.session_id
    service = env.get("PUSHPALS_JUPYTERHUB_URL")
    if service and url is None and settings.url is None and env.get("JUPYTERHUB_API_TOKEN"):
        return Found(
            url=service.rstrip("/"),
            token=token or env["JUPYTERHUB_API_TOKEN"],
            session_id=session,
            origin="the service of this JupyterHub",
        )
    named = url or settings.url
    data = [_data_dir(settings, repository, env)] if repository is not None or settings.data_dir else []
    if named is not None:
        here = next((root for root, running in _running(data) if running.url == named.rstrip("/")), None)
        return Found(
            url=named.rstrip("/"),
            token=token or settings.token or (_token(here, role) if here else None),
            session_id=session,
            origin="the address that was given" if url else loaded.origin["url"].removeprefix("env "),
        )
    nearby = list(_running(data))
    others = nearby or list(_running(_all_data_dirs(env)))
    if not others:
        raise NothingFound(
            "no hub runs here; start one with: pushpals up (or name one: PUSHPALS_URL and PUSHPALS_TOKEN)"
        )
    if len(others) > 1:
        where = ", ".join(sorted(running.repository for _, running in others))
        raise NothingFound(
            f"several teams run here ({where}); go into one of these folders, or set PUSHPALS_URL"
        )
    root, running = others[0]
    return Found(
        url=running.url,
        token=token or settings.token or _token(root, role),
        session_id=session_id or (settings.session_id if _set(loaded, "session_id") else running.session_id),
        origin=f"pushpals up for {running.repository}" if running.repository else f"the hub of {root}",
    )


def _set(loaded: config.Loaded, name: str) -> bool:
    return loaded.origin[name] != "default"


def _repository(start: Path) -> Path | None:
    """The top of the working tree around ``start``, found without starting git."""
    for folder in (start.absolute(), *start.absolute().parents):
        if (folder / ".git").exists():
            return folder
    return None


def _data_dir(settings: config.Settings, repository: Path | None, env: Mapping[str, str]) -> Path:
    if repository is None:
        assert settings.data_dir is not None
        return Path(settings.data_dir).expanduser().absolute()
    return config.data_dir(settings, repository, env)


def _all_data_dirs(env: Mapping[str, str]) -> list[Path]:
    base = env.get("XDG_STATE_HOME") or f"{env.get('HOME', '/')}/.local/state"
    with contextlib.suppress(OSError):
        return sorted(path.parent for path in Path(base, "pushpals").glob("*/run.json"))
    return []


def _running(roots: list[Path]) -> Iterator[tuple[Path, Running]]:
    for root in roots:
        with contextlib.suppress(OSError, msgspec.DecodeError):
            found = msgspec.json.decode((root / "run.json").read_bytes(), type=Running)
            if any(_is_alive(found.pids[name]) for name in ("up", "hub") if name in found.pids):
                yield root, found


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _token(root: Path, role: Role) -> str | None:
    with contextlib.suppress(OSError):
        return (root / "tokens" / role).read_text("ascii").strip() or None
    return None
