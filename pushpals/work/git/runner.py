"""One git call: argument list in, typed result out.

Promised for every call, whatever the repository or the remote holds:

- no shell; the environment is built from nothing; no system or personal configuration is read; hooks,
  fsmonitor, external diff, text conversion, credential helpers and background maintenance are off;
- no transport is open except those of the one remote the call names; credentials exist only in that call;
- the call has its own process group, a deadline (SIGTERM, then SIGKILL to the group) and bounded output;
- a failure is a :class:`GitError` with a class to act on; exit codes that the caller expects are values.

Not promised: a filter that the repository's own *attributes and config* name would run. Repositories that
we work in are therefore made by us (``repo.py``) and pin their attributes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from pushpals.work.git.access import Access, open_access
from pushpals.work.git.errors import GitError, classify, printable
from pushpals.work.git.remotes import Remote

MINIMUM = (2, 39)
"""The oldest git supported: ``merge-tree --write-tree`` in its usable form, and Debian 12's own."""

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

_GRACE_S = 2.0
_CHUNK = 64 * 1024
_STDERR_BYTES = 256 * 1024
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_BREAKING = re.compile(r"[\x00-\x1f\x7f<>]")

_CONFIG: tuple[tuple[str, str], ...] = (
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.untrackedCache", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("core.pager", "cat"),
    ("core.editor", "false"),
    ("core.sshCommand", "false"),
    ("core.askPass", "false"),
    ("core.quotePath", "false"),
    ("core.autocrlf", "false"),
    ("core.safecrlf", "false"),
    ("core.fileMode", "true"),
    ("core.ignoreCase", "false"),
    ("core.precomposeUnicode", "false"),
    ("core.protectHFS", "true"),
    ("core.protectNTFS", "true"),
    ("attr.tree", EMPTY_TREE),
    ("diff.external", ""),
    ("diff.ignoreSubmodules", "all"),
    ("credential.helper", ""),
    ("protocol.allow", "never"),
    ("protocol.ext.allow", "never"),
    ("safe.bareRepository", "explicit"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("push.recurseSubmodules", "no"),
    ("push.followTags", "false"),
    ("push.gpgSign", "false"),
    ("push.negotiate", "false"),
    ("fetch.fsckObjects", "true"),
    ("transfer.fsckObjects", "true"),
    ("transfer.credentialsInUrl", "die"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("commit.gpgSign", "false"),
    ("merge.renames", "true"),
    ("merge.directoryRenames", "conflict"),
    ("merge.conflictStyle", "merge"),
    ("http.emptyAuth", "false"),
)


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who wrote or committed, and when. git keeps whole seconds and the offset of ``when``."""

    name: str
    email: str
    when: datetime

    @property
    def words(self) -> tuple[str, str]:
        """Name and address as git takes them: without what would break the line, and never empty."""
        name, email = (_BREAKING.sub("", text).strip(" .,:;\\\"'") for text in (self.name, self.email))
        return name or "unknown", email or "unknown"

    @property
    def date(self) -> str:
        return f"@{int(self.when.timestamp())} {self.when.strftime('%z') or '+0000'}"


class GitResult(msgspec.Struct, frozen=True, kw_only=True):
    """A finished call. ``truncated`` is only ever true where the caller asked for a prefix."""

    code: int
    stdout: bytes
    stderr: bytes
    truncated: bool = False

    @property
    def line(self) -> str:
        """The output as one line of ASCII, for ids and names."""
        return self.stdout.decode("ascii", "replace").strip()


class Git:
    """The installed git. Make one with :meth:`find`; it holds no state besides the program's path."""

    def __init__(self, program: Path) -> None:
        self.program = program
        self._path = f"{program.parent}:{_SYSTEM_PATH}"

    @classmethod
    async def find(cls, program: Path | None = None) -> Git:
        """The git to use, checked to be new enough. Raises :class:`GitError` (``too_old``, ``other``)."""
        found = program or shutil.which("git")
        if not found:
            raise GitError("other", "git is not installed, or not on PATH")
        git = cls(_absolute(found))
        version = await git.version()
        if version < MINIMUM:
            raise GitError(
                "too_old", f"git {version[0]}.{version[1]} is too old: {MINIMUM[0]}.{MINIMUM[1]} is needed"
            )
        return git

    async def version(self) -> tuple[int, int]:
        result = await self.run(["version"])
        seen = re.search(rb"git version (\d+)\.(\d+)", result.stdout)
        if seen is None:
            raise GitError("other", f"this does not look like git: {printable(result.stdout, limit=80)}")
        return int(seen[1]), int(seen[2])

    async def run(
        self,
        args: Sequence[str | bytes],
        *,
        git_dir: Path | None = None,
        work_tree: Path | None = None,
        index_file: Path | None = None,
        object_directory: Path | None = None,
        alternates: Path | None = None,
        stdin: bytes = b"",
        author: Identity | None = None,
        committer: Identity | None = None,
        remote: Remote | None = None,
        config: Sequence[tuple[str, str]] = (),
        ok: Sequence[int] = (0,),
        read_only: bool = False,
        timeout_s: float = 120.0,
        output_bytes: int = 64 * 1024 * 1024,
        prefix: bool = False,
    ) -> GitResult:
        """Run git once.

        ``ok`` are exit codes that are answers. ``prefix`` asks for the first ``output_bytes`` of output and
        marks the result truncated; without it more output is an error of kind ``too_large``. ``remote``
        opens its transport and hands over its credentials, for this call only.
        """
        with open_access(remote) as access:
            env = {**self._environment(read_only), **access.env}
            if work_tree is not None:
                env["GIT_WORK_TREE"] = str(work_tree)
            if index_file is not None:
                env["GIT_INDEX_FILE"] = str(index_file)
            if object_directory is not None:
                env["GIT_OBJECT_DIRECTORY"] = str(object_directory)
            if alternates is not None:
                env["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = str(alternates)
            for role, who in (("AUTHOR", author), ("COMMITTER", committer)):
                if who is not None:
                    env |= {
                        f"GIT_{role}_NAME": who.words[0],
                        f"GIT_{role}_EMAIL": who.words[1],
                        f"GIT_{role}_DATE": who.date,
                    }
            argv: list[str | bytes] = [str(self.program)]
            for key, value in (*_CONFIG, *access.config, *config):
                argv += ["-c", f"{key}={value}"]
            if git_dir is not None:
                argv.append(f"--git-dir={git_dir}")
            return await _run(
                [*argv, *args],
                env=env,
                cwd=work_tree or Path("/"),
                stdin=stdin,
                access=access,
                ok=ok,
                timeout_s=timeout_s,
                output_bytes=output_bytes,
                prefix=prefix,
                name=_name_of(args),
            )

    def _environment(self, read_only: bool) -> dict[str, str]:
        # HOME is a file, so that nobody can ever put configuration below it.
        env = {
            "PATH": self._path,
            "HOME": "/dev/null",
            "LC_ALL": "C",
            "TZ": "UTC",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "/bin/false",
            "SSH_ASKPASS": "/bin/false",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_PAGER": "cat",
            "GIT_EDITOR": "false",
        }
        if read_only:
            env["GIT_OPTIONAL_LOCKS"] = "0"
        return env


async def _run(
    argv: list[str | bytes],
    *,
    env: dict[str, str],
    cwd: Path,
    stdin: bytes,
    access: Access,
    ok: Sequence[int],
    timeout_s: float,
    output_bytes: int,
    prefix: bool,
    name: str,
) -> GitResult:
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=env,
            cwd=cwd,
            start_new_session=True,
            pass_fds=access.fds,
        )
    except OSError as error:
        raise GitError("other", f"git {name} could not start: {error.strerror}") from error
    assert process.stdout is not None
    assert process.stderr is not None
    full = asyncio.Event()

    def stop_writing() -> None:
        full.set()
        _signal(process, signal.SIGTERM)

    out = _Bounded(process.stdout, output_bytes, stop_writing)
    err = _Bounded(process.stderr, _STDERR_BYTES)
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.gather(out.read(), err.read(), _feed(process, stdin))
            code = await process.wait()
    except TimeoutError:
        if not full.is_set():
            raise GitError("timeout", f"git {name} took longer than {timeout_s:g} s") from None
    finally:
        # Also on cancellation: a call never leaves a process behind.
        await asyncio.shield(_end(process))
    if full.is_set():
        if prefix:
            return GitResult(code=0, stdout=bytes(out.kept), stderr=bytes(err.kept), truncated=True)
        raise GitError("too_large", f"git {name} wrote more than {output_bytes} bytes")
    if code not in ok:
        stderr = bytes(err.kept)
        raise GitError(
            classify(stderr), f"git {name} failed ({code}): {printable(stderr) or 'no message'}", code=code
        )
    return GitResult(code=code, stdout=bytes(out.kept), stderr=bytes(err.kept))


class _Bounded:
    """Reads a pipe to its end and keeps the first bytes; says once when there are more."""

    def __init__(
        self, stream: asyncio.StreamReader, limit: int, on_full: Callable[[], None] = lambda: None
    ) -> None:
        self._stream = stream
        self._limit = limit
        self._on_full = on_full
        self._full = False
        self.kept = bytearray()

    async def read(self) -> None:
        while chunk := await self._stream.read(_CHUNK):
            room = self._limit - len(self.kept)
            self.kept += chunk[:room]
            if len(chunk) > room and not self._full:
                self._full = True
                self._on_full()


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    if process.stdin is None:
        return
    # git may answer and leave before it has read everything; its exit code says what it made of that.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for start in range(0, len(data), _CHUNK):
            process.stdin.write(data[start : start + _CHUNK])
            await process.stdin.drain()
    process.stdin.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the whole group and let go of its pipes. Cheap for a process that has ended by itself."""
    # SIGTERM first: git removes its lock files on it, and cannot on SIGKILL.
    for signum in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            break
        _signal(process, signum)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_S):
                # Draining matters: wait() returns only when the pipes are closed as well.
                await asyncio.gather(_drain(process.stdout), _drain(process.stderr), process.wait())
    # A process outside the group may still hold a pipe; there is no public way to stop listening to it.
    process._transport.close()  # type: ignore[attr-defined]


def _signal(process: asyncio.subprocess.Process, signum: signal.Signals) -> None:
    # Until it is reaped the pid cannot be another's, and the group's id is the pid.
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signum)


async def _drain(stream: asyncio.StreamReader | None) -> None:
    while stream is not None and await stream.read(_CHUNK):
        pass


def _name_of(args: Sequence[str | bytes]) -> str:
    first = args[0] if args else "?"
    return first if isinstance(first, str) else printable(first, limit=40)


def _absolute(program: Path | str) -> Path:
    return Path(os.path.abspath(program))
