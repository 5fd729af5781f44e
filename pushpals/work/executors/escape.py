"""The inside of the probes: tries to get out, and prints what happened as one JSON line.

Runs as a program of its own in the sandbox (``python -I -S -c``), on whatever Python is visible there, so
it uses the standard library only and imports nothing of this package. It asks for nothing that would
do harm where there is no sandbox at all: files it was given, sockets of the prober, a descriptor opened and
closed again.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable

CLONE_NEWUSER = 0x10000000
DAEMON_S = 10


def name(problem: OSError) -> str:
    return errno.errorcode.get(problem.errno or 0, str(problem.errno))


def attempt(action: Callable[[], object]) -> str:
    """The symbol of the error that stopped ``action``, or ``done``."""
    try:
        action()
    except OSError as problem:
        return name(problem)
    except Exception as problem:
        return type(problem).__name__
    return "done"


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(65536)


def write(path: str) -> None:
    with open(path, "ab") as file:
        file.write(b"escaped\n")


def connect(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=2) as link:
        link.sendall(b"escaped\n")


def new_user_namespace() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def set_id(tree: str) -> str:
    answers = [attempt(lambda: write(tree + "/mode"))]
    answers += [attempt(lambda: os.chmod(tree + "/mode", 0o4755))]
    flags = os.O_CREAT | os.O_WRONLY
    answers.append(attempt(lambda: os.close(os.open(tree + "/mode-created", flags, 0o4755))))
    return ",".join(answers)


def process_one() -> str:
    """What the environment of process 1 shows: an error, ``empty``, or ``readable``."""
    try:
        return "readable" if read("/proc/1/environ").strip(b"\0") else "empty"
    except OSError as problem:
        return name(problem)


def daemon(path: str) -> str:
    """Leave a process behind that no signal of a terminal or group reaches; it holds a lock as its pulse."""
    ready, tell = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            try:
                fcntl.flock(os.open(path, os.O_CREAT | os.O_RDWR, 0o644), fcntl.LOCK_EX)
            except OSError:
                os._exit(1)
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
            os.write(tell, b"+")
            os.close(tell)
            time.sleep(DAEMON_S)
        os._exit(0)
    os.close(tell)
    # Ends at once when nobody can write any more: the daemon gave up.
    return "started" if os.read(ready, 1) == b"+" else "failed"


def main() -> None:
    given = json.loads(sys.argv[1])
    tree = given["tree"]
    answers = {
        "nonce": given["nonce"],
        "uid": os.getuid(),
        "wrote": attempt(lambda: write(tree + "/wrote")),
        "secret": attempt(lambda: read(given["secret"])),
        "beside": attempt(lambda: write(given["beside"])),
        "loopback": attempt(lambda: connect(given["port"])),
        "core_pattern": attempt(lambda: os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))),
        "environ": process_one(),
        "git_write": attempt(lambda: write(given["git"] + "/config")),
        "git_pointer": attempt(lambda: write(tree + "/.git")),
        "git_replace": attempt(lambda: os.rename(tree + "/wrote", tree + "/.git")),
        "set_id": set_id(tree),
        "user_namespace": attempt(new_user_namespace),
        "daemon": daemon(tree + "/pulse"),
    }
    print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
