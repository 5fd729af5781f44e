"""Settings: one frozen object, read once at the edge of the program, each value with its origin.

Order, strongest first: flags, ``PUSHPALS_*`` variables, the person's own file
(``$XDG_CONFIG_HOME/pushpals/config.toml``), ``pushpals.toml`` in the repository, defaults.

Two kinds of setting exist. What a *repository* may say (its session name, its main branch, its checks)
stands in ``pushpals.toml``, which a landed change can edit. What gives somebody power over the machine
(the agent's argv, running without a sandbox, the bind address, tokens, credentials) is the *operator's*:
in ``pushpals.toml`` it is refused, never ignored, so that nobody believes it is in force.

Errors name the file, the key and what is allowed. Nothing here reads the environment by itself.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import shlex
import stat
import tomllib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from pushpals.protocol.ids import is_session_id

REPOSITORY_FILE: Final = "pushpals.toml"
Scope = Literal["repository", "operator"]

_OTHERS: Final = frozenset({"checks", "policy"})
"""What ``pushpals.work.checks`` and ``pushpals.policy`` read: from a job's base commit."""


class ConfigError(ValueError):
    """A setting is wrong; the message names where it stands, its key and what is allowed."""

    def __init__(self, where: str, key: str, problem: str):
        super().__init__(f"{where}: {key}: {problem}")
        self.where, self.key, self.problem = where, key, problem


def _is(key: str, env: str | None, scope: Scope, says: str, *, secret: bool = False, **bounds: Any) -> Any:
    return msgspec.Meta(
        description=says, extra={"key": key, "env": env, "scope": scope, "secret": secret}, **bounds
    )


class AgentSetting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One coding agent. ``pass_env`` names variables of the operator's that it gets; their values are
    redacted everywhere. ``network`` are the ``host:port`` pairs that it may reach."""

    command: tuple[str, ...]
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 1_500.0
    network: tuple[str, ...] = ()
    pass_env: tuple[str, ...] = ()


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting. The reference page is generated from here."""

    session_id: Annotated[
        str, _is("session.id", "PUSHPALS_SESSION_ID", "repository", "The session that commands speak to.")
    ] = "dev"
    branch: Annotated[
        str | None,
        _is(
            "landing.branch",
            "PUSHPALS_BRANCH",
            "repository",
            "The branch that changes land on. Without it: the remote's HEAD, else the current branch.",
        ),
    ] = None
    remote: Annotated[
        str | None,
        _is(
            "landing.remote",
            "PUSHPALS_REMOTE",
            "repository",
            "The name of the git remote where that branch lives. "
            "Without it: the branch's upstream, else origin, else a bare repository in the data directory.",
        ),
    ] = None
    data_dir: Annotated[
        str | None,
        _is(
            "data_dir",
            "PUSHPALS_DATA_DIR",
            "operator",
            "Where state lives; outside every working tree. "
            "Default: $XDG_STATE_HOME/pushpals/<name>-<hash of the path>.",
        ),
    ] = None
    url: Annotated[
        str | None,
        _is(
            "hub.url",
            "PUSHPALS_URL",
            "operator",
            "The hub to speak to. Default: the one that `pushpals up` started here.",
        ),
    ] = None
    token: Annotated[
        str | None,
        _is(
            "hub.token",
            "PUSHPALS_TOKEN",
            "operator",
            "The token to speak with. Default: the operator's, from the data directory.",
            secret=True,
        ),
    ] = None
    host: Annotated[
        str,
        _is(
            "hub.host",
            "PUSHPALS_HOST",
            "operator",
            "The address the hub binds; loopback unless you know why not.",
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int,
        _is(
            "hub.port",
            "PUSHPALS_PORT",
            "operator",
            "The hub's port. 0: 3001, or a free one if that is taken.",
            ge=0,
            le=65_535,
        ),
    ] = 0
    store: Annotated[
        str, _is("hub.store", "PUSHPALS_STORE", "operator", "Where the hub keeps facts, by entry point name.")
    ] = "sqlite"
    workers: Annotated[
        int, _is("worker.count", "PUSHPALS_WORKERS", "operator", "How many workers `up` starts.", ge=0, le=64)
    ] = 2
    allow_unsandboxed: Annotated[
        bool,
        _is(
            "worker.allow_unsandboxed",
            "PUSHPALS_ALLOW_UNSANDBOXED",
            "operator",
            "Run commands even where no sandbox works. Every command then says so.",
        ),
    ] = False
    worker_path: Annotated[
        tuple[str, ...],
        _is(
            "worker.path",
            "PUSHPALS_WORKER_PATH",
            "operator",
            "Folders of programs that checks find first. The checkout's own .venv is found without it.",
        ),
    ] = ()
    agents: Annotated[
        dict[str, AgentSetting],
        _is(
            "agents",
            "PUSHPALS_AGENT",
            "operator",
            'Coding agents for `agent` jobs, one table each, e.g. [agents.mine] command = ["my-agent"]. '
            "The variable holds one command line, for an agent named `agent`.",
        ),
    ] = {}
    push_token: Annotated[
        str | None,
        _is(
            "landing.token",
            "PUSHPALS_GIT_TOKEN",
            "operator",
            "The password or token for an https remote. "
            "Only the pusher and the fetching side of a worker hold it.",
            secret=True,
        ),
    ] = None
    push_user: Annotated[
        str,
        _is("landing.user", "PUSHPALS_GIT_USER", "operator", "The user name that goes with landing.token."),
    ] = "git"
    ssh_key: Annotated[
        str | None,
        _is(
            "landing.ssh_key",
            "PUSHPALS_SSH_KEY",
            "operator",
            "A deploy key for an ssh remote. Without it: the ssh agent of the person who starts Push Pals.",
        ),
    ] = None
    slots: Annotated[
        int,
        _is(
            "landing.slots",
            "PUSHPALS_SLOTS",
            "operator",
            "How many checks the pusher runs at once. 0: as many as there are cores.",
            ge=0,
            le=64,
        ),
    ] = 0
    signing_key: Annotated[
        str | None,
        _is(
            "landing.signing_key",
            "PUSHPALS_SIGNING_KEY",
            "operator",
            "An ssh key without a passphrase (Ed25519) that signs landing commits. Without it: unsigned.",
        ),
    ] = None
    reuse_runs: Annotated[
        bool,
        _is(
            "landing.reuse_runs",
            "PUSHPALS_REUSE_RUNS",
            "operator",
            "Let a worker's own green run stand for the pusher's, on the very same tree and environment.",
        ),
    ] = False
    host_kind: Annotated[
        str | None,
        _is(
            "landing.host",
            "PUSHPALS_HOST_KIND",
            "operator",
            "The kind of hosting service that shows landings as pull requests, by entry point name: pulls.",
        ),
    ] = None
    host_url: Annotated[
        str | None,
        _is(
            "landing.host_url",
            "PUSHPALS_HOST_URL",
            "operator",
            "The root of the host's interface, e.g. https://api.github.com.",
        ),
    ] = None
    host_repository: Annotated[
        str | None,
        _is("landing.host_repository", "PUSHPALS_HOST_REPOSITORY", "operator", "owner/name on the host."),
    ] = None
    host_token: Annotated[
        str | None,
        _is(
            "landing.host_token",
            "PUSHPALS_HOST_TOKEN",
            "operator",
            "The token that opens pull requests. Only the pusher holds it.",
            secret=True,
        ),
    ] = None
    known_hosts: Annotated[
        str | None,
        _is(
            "landing.known_hosts",
            "PUSHPALS_KNOWN_HOSTS",
            "operator",
            "The known_hosts file for an ssh remote. Default: ~/.ssh/known_hosts.",
        ),
    ] = None


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One setting, described."""

    name: str
    key: str
    env: str | None
    scope: Scope
    help: str
    secret: bool
    default: Any
    type: Any

    @property
    def allowed(self) -> str:
        """What may stand there, in words."""
        return _allowed(self.type)


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """Settings with where each value came from, by field name."""

    settings: Settings
    origin: dict[str, str]


def fields() -> tuple[Field, ...]:
    """Every setting in the order of the reference."""
    hints = get_type_hints(Settings, include_extras=True)
    described = []
    for field in msgspec.structs.fields(Settings):
        meta = next(m for m in get_args(hints[field.name]) if isinstance(m, msgspec.Meta))
        extra = meta.extra or {}
        described.append(
            Field(
                name=field.name,
                key=extra["key"],
                env=extra["env"],
                scope=extra["scope"],
                help=meta.description or "",
                secret=extra["secret"],
                default={} if field.default is msgspec.NODEFAULT else field.default,
                type=hints[field.name],
            )
        )
    return tuple(described)


def load(
    *,
    repository: Path | None,
    env: Mapping[str, str],
    flags: Mapping[str, Any] | None = None,
    user_file: Path | None = None,
) -> Loaded:
    """Read every source. ``flags`` holds field names; ``None`` in it means not given.

    Raises :class:`ConfigError` for the first thing that is wrong.
    """
    values: dict[str, Any] = {}
    origin = {field.name: "default" for field in fields()}
    if repository is not None:
        _take_file(repository / REPOSITORY_FILE, "repository", values, origin)
    person = user_file or user_config(env)
    if person is not None:
        if (
            repository is not None
            and person.exists()
            and person.resolve().is_relative_to(repository.resolve())
        ):
            raise ConfigError(
                str(person), "(file)", "the operator's file must not stand inside the repository"
            )
        _take_file(person, "operator", values, origin)
    _take_env(env, values, origin)
    for name, value in (flags or {}).items():
        if value is not None:
            field = next(field for field in fields() if field.name == name)
            values[name] = _convert(f"--{name.replace('_', '-')}", field, value)
            origin[name] = f"flag --{name.replace('_', '-')}"
    if not is_session_id(values.get("session_id", "dev")):
        raise ConfigError(
            origin["session_id"],
            "session.id",
            "1 to 64 characters out of letters, digits, dot, dash, underscore",
        )
    return Loaded(settings=Settings(**values), origin=origin)


def user_config(env: Mapping[str, str]) -> Path | None:
    """The person's own file, whether or not it exists."""
    base = env.get("XDG_CONFIG_HOME") or (f"{env['HOME']}/.config" if env.get("HOME") else None)
    return Path(base) / "pushpals" / "config.toml" if base else None


def data_dir(settings: Settings, repository: Path, env: Mapping[str, str]) -> Path:
    """Where this repository's state lives. Raises :class:`ConfigError` if that is inside the working tree."""
    if settings.data_dir:
        chosen = Path(settings.data_dir).expanduser().absolute()
    else:
        base = env.get("XDG_STATE_HOME") or f"{env.get('HOME', '/')}/.local/state"
        real = repository.resolve()
        name = re.sub(r"[^A-Za-z0-9._-]", "_", real.name)[:48] or "repository"
        chosen = Path(base) / "pushpals" / f"{name}-{hashlib.sha256(bytes(real)).hexdigest()[:8]}"
    if chosen.resolve().is_relative_to(repository.resolve()):
        raise ConfigError(
            "settings", "data_dir", f"{chosen} is inside the working tree; choose a place outside it"
        )
    return chosen


def read_table(path: Path, name: str) -> dict[str, Any]:
    """One table of a file, for the package that gives it meaning; empty if there is none."""
    try:
        found = tomllib.loads(path.read_text("utf-8")).get(name, {})
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), "(file)", f"cannot be read as TOML: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(str(path), name, "a table is expected")
    return found


def _split(line: str, where: str, key: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise ConfigError(where, key, f"cannot be split into words: {error}") from None


def _take_file(path: Path, scope: Scope, values: dict[str, Any], origin: dict[str, str]) -> None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(str(path), "(file)", f"cannot be read: {error.strerror}") from None
    if scope == "operator" and path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(str(path), "(file)", f"others may write to it; run: chmod 600 {path}")
    try:
        document = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), "(file)", f"not valid TOML: {error}") from None
    known = {field.key: field for field in fields()}
    for key, value in _flatten(document, known):
        field = known.get(key)
        if field is None:
            raise ConfigError(str(path), key, _unknown(key, sorted(known)))
        if field.scope == "operator" and scope == "repository":
            raise ConfigError(
                str(path), key,
                "a repository may not set this; put it into your own ~/.config/pushpals/config.toml"
                + (f" or into {field.env}" if field.env else ""),
            )  # fmt: skip
        values[field.name] = _convert(str(path), field, value)
        origin[field.name] = str(path)


def _take_env(env: Mapping[str, str], values: dict[str, Any], origin: dict[str, str]) -> None:
    for field in fields():
        text = env.get(field.env) if field.env else None
        if text is None or text == "" or field.env is None:
            continue
        raw: Any = text
        if field.name == "agents":
            raw = {"agent": {"command": _split(text, field.env, field.key)}}
        elif _is_list(field.type):
            raw = _split(text, field.env, field.key)
        values[field.name] = _convert(field.env, field, raw, strict=False)
        origin[field.name] = f"env {field.env}"


def _flatten(
    document: Mapping[str, Any], known: Mapping[str, Field], prefix: str = ""
) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in document.items():
        key = f"{prefix}{name}"
        if not prefix and name in _OTHERS:
            continue
        if key not in known and isinstance(value, dict):
            found += _flatten(value, known, f"{key}.")
        else:
            found.append((key, value))
    return found


def _convert(where: str, field: Field, value: Any, *, strict: bool = True) -> Any:
    try:
        return msgspec.convert(value, field.type, strict=strict)
    except msgspec.ValidationError as error:
        if field.name == "agents":
            raise ConfigError(where, field.key, f"{field.allowed} is expected: {error}") from None
        got = "what stands there" if field.secret else repr(value)
        raise ConfigError(where, field.key, f"{field.allowed} is expected, not {got}") from None


def _unknown(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    return f"there is no such setting.{hint} There are: {', '.join(known)}"


def _is_list(kind: Any) -> bool:
    base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return get_origin(base) is tuple


def _allowed(kind: Any) -> str:
    bounds: list[str] = []
    if get_origin(kind) is Annotated:
        kind, *metas = get_args(kind)
        for meta in metas:
            if meta.ge is not None and meta.le is not None:
                bounds.append(f"from {meta.ge} to {meta.le}")
            elif meta.gt is not None:
                bounds.append(f"above {meta.gt}" + (f", at most {meta.le}" if meta.le is not None else ""))
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(arg for arg in get_args(kind) if arg is not type(None))
    words = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}
    if get_origin(kind) is tuple:
        words[kind] = "a list of words"
    if get_origin(kind) is dict:
        words[kind] = "a table for each, with command, timeout_s, network, pass_env"
    return " ".join([words.get(kind, str(kind)), *bounds])
