"""What one git call may reach: the transport and the credentials of its remote, and nothing else.

Secrets travel through a descriptor that only this call inherits. They stand in no argument, no
environment variable and no file; the program that git asks for them holds only the descriptor's number.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import assert_never

import msgspec

from pushpals.work.git.remotes import Helper, Password, Remote, SshAgent, SshKey

_SSH = "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes -o ConnectTimeout=15"


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Additions to one call: environment, configuration, descriptors to inherit."""

    env: dict[str, str] = {}
    config: tuple[tuple[str, str], ...] = ()
    fds: tuple[int, ...] = ()


@contextlib.contextmanager
def open_access(remote: Remote | None) -> Iterator[Access]:
    """What a call to ``remote`` needs, for as long as the call lasts."""
    if remote is None:
        yield Access()
        return
    with contextlib.ExitStack() as stack:
        env: dict[str, str] = {}
        config = [(f"protocol.{remote.transport}.allow", "always")]
        fds: tuple[int, ...] = ()
        if remote.transport == "ssh":
            env["GIT_SSH_COMMAND"] = _SSH + " -o IdentityAgent=none"
            env["GIT_SSH_VARIANT"] = "ssh"
        if remote.ca_bundle is not None:
            config.append(("http.sslCAInfo", str(remote.ca_bundle)))
        if remote.proxy is not None:
            config.append(("http.proxy", remote.proxy))
        if remote.path is not None:
            env["GIT_CONFIG_GLOBAL"] = _trusting(remote.path, stack)
        match remote.credentials:
            case None:
                pass
            case Password() as login:
                directory = _private_directory(stack)
                username, password = (_sealed(text, stack) for text in (login.username, login.password))
                ask = directory / "ask"
                ask.write_text(
                    f'#!/bin/sh\ncase "$1" in Username*) exec cat /dev/fd/{username};; '
                    f"*) exec cat /dev/fd/{password};; esac\n",
                    encoding="ascii",
                )
                ask.chmod(0o700)
                env["GIT_ASKPASS"] = str(ask)
                fds = (username, password)
            case SshKey(key=key, known_hosts=known_hosts):
                env["GIT_SSH_COMMAND"] = (
                    f"{_SSH} -o IdentityAgent=none -o IdentitiesOnly=yes -i {shlex.quote(str(key))}"
                    f" -o UserKnownHostsFile={shlex.quote(str(known_hosts))}"
                )
            case SshAgent(socket=socket, known_hosts=known_hosts):
                hosts = f" -o UserKnownHostsFile={shlex.quote(str(known_hosts))}" if known_hosts else ""
                env["GIT_SSH_COMMAND"] = f"{_SSH}{hosts}"
                env["SSH_AUTH_SOCK"] = str(socket)
            case Helper(command=command, home=home):
                config.append(("credential.helper", command))
                env["HOME"] = str(home)
            case never:
                assert_never(never)
        yield Access(env=env, config=tuple(config), fds=fds)


def _private_directory(stack: contextlib.ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pushpals-git-")))


def _sealed(text: str, stack: contextlib.ExitStack) -> int:
    """A descriptor that yields ``text`` to every reader. Opening /dev/fd/N starts at the beginning again."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("pushpals-credential", os.MFD_CLOEXEC)
    else:
        fd, name = tempfile.mkstemp(dir=_private_directory(stack))
        stack.callback(lambda: Path(name).unlink(missing_ok=True))
    stack.callback(os.close, fd)
    os.write(fd, f"{text}\n".encode())
    return fd


def _trusting(path: Path, stack: contextlib.ExitStack) -> str:
    """A configuration file that trusts one local repository, whoever owns it.

    The other end of a local transport is a git of its own that takes ``safe.directory`` only from a file.
    The operator named this path; without the file a repository mounted from another account is refused.
    """
    try:
        owned = path.stat().st_uid == os.geteuid() and all(
            (path / part).stat().st_uid == os.geteuid() for part in (".git",) if (path / part).exists()
        )
    except OSError:
        return "/dev/null"
    if owned:
        return "/dev/null"
    escaped = [
        str(p).replace("\\", "\\\\").replace('"', '\\"') for p in (path, path / ".git", path.resolve())
    ]
    trusted = _private_directory(stack) / "config"
    trusted.write_text("[safe]\n" + "".join(f'\tdirectory = "{p}"\n' for p in escaped), encoding="utf-8")
    return str(trusted)
