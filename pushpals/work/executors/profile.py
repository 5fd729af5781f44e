"""What a sandboxed command sees: bubblewrap's options, as data.

The root is empty and things are added to it; nothing of the host is visible because it was forgotten. The
paths inside are the same for every job, so host paths stay out of logs and prompts.

========================  ==================================================================
``/usr``                  the host's, read-only, with ``/bin``, ``/lib`` and so on as on the host
``/etc``                  generated accounts, hosts and name service order; certificates,
                          alternatives and the loader's cache from the host
``/repo``                 the work tree, writable; ``/repo/.git`` is a pointer that cannot be replaced
``/gitdir``, ``/gitobjs``  the private git directory, writable; the object store, read-only
``/tmp``, HOME, ``/dev/shm``  memory, bounded, gone afterwards
toolchain paths           read-only, at the same path as on the host
========================  ==================================================================

Two modes. An *ordinary* user gets a user namespace. *Root* gets none, because there the kernel would
go on treating the command as uid 0 towards everything that namespaces do not cover; instead the command's
first program drops to a uid of its own with no capabilities left. The order of the options matters: later
mounts cover earlier ones, and the last one makes the root read-only.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from pushpals.work.executors.base import ExecutorUnavailable, Limits, Place

TREE = "/repo"
GIT_DIR = "/gitdir"
OBJECTS = "/gitobjs"
HOME = "/home/pal"
HOST_NAME = "pushpals"
POINTER = b"gitdir: /gitdir\n"

_POINTERS = (POINTER, b"gitdir: ../gitdir\n")
"""Contents of a ``.git`` file that mean the private git directory inside already."""

_SYSTEM_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")

_ETC_FOLDERS = ("/etc/alternatives", "/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted")

_ETC_FILES = (
    "/etc/ld.so.cache",
    "/etc/ssl/openssl.cnf",
    "/etc/localtime",
    "/etc/services",
    "/etc/protocols",
    "/etc/mime.types",
    "/etc/debian_version",
    "/etc/os-release",
)

_TOO_WIDE = frozenset(
    {"/", "/boot", "/dev", "/etc", "/home", "/proc", "/root", "/run", "/sys", "/tmp", "/usr", "/var"}
)
"""Not allowed as toolchain paths: a prefix of tools is never one of these, a slip of the keyboard is."""

_RESERVED = (
    "/",
    "/bin",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/sbin",
    "/sys",
    "/usr",
    GIT_DIR,
    OBJECTS,
)


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Whose the command is. ``drop`` says that bubblewrap runs as root and the command must change uid."""

    uid: int
    gid: int
    drop: bool


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """Stands in the options for the number of a descriptor from which ``content`` can be read."""

    content: bytes


Option = str | Data


def build_profile(place: Place, identity: Identity, limits: Limits, cwd: str) -> list[Option]:
    """The options for one command.

    Raises:
        ExecutorUnavailable: the place names a path that is missing or may not be shown.
    """
    return [
        *_namespaces(identity),
        *_system(),
        *_etc(identity),
        *_memory(limits),
        *_toolchain(place.toolchain),
        *_workspace(place),
        # An ordinary user owns what bubblewrap made, and could fill that memory without bound.
        # To the kernel, bubblewrap's process 1 and an ordinary user's command are the same user: the command
        # could write its memory, and a process 1 that was rewritten need not end with its owner.
        *("--tmpfs", "/proc/1", "--remount-ro", "/proc/1"),
        *("--remount-ro", "/dev", "--remount-ro", "/"),
        *("--chdir", str(PurePosixPath(TREE, cwd))),
    ]


def _namespaces(identity: Identity) -> Iterator[str]:
    if identity.drop:
        yield from ("--cap-drop", "ALL")
        # The last one lets bubblewrap enter a tree of mode 0700 that belongs to the command's uid. All four
        # go when setpriv changes the uid and empties the bounding set.
        for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_DAC_READ_SEARCH"):
            yield from ("--cap-add", capability)
    else:
        yield "--unshare-user"
    yield from ("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
    yield from ("--die-with-parent", "--new-session", "--hostname", HOST_NAME)


def _system() -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in _SYSTEM_LINKS:
        path = Path("/", name)
        if path.is_symlink():
            yield from ("--symlink", os.readlink(path), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))
    yield from ("--proc", "/proc", "--dev", "/dev")


def _etc(identity: Identity) -> Iterator[Option]:
    for folder in filter(os.path.isdir, _ETC_FOLDERS):
        yield from _parents(folder)
        yield from ("--ro-bind", folder, folder)
    uid, gid = identity.uid, identity.gid
    generated = {
        "/etc/passwd": f"root:x:0:0:root:/:/usr/sbin/nologin\npal:x:{uid}:{gid}:pal:{HOME}:/bin/sh\n"
        "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
        "/etc/group": f"root:x:0:\npal:x:{gid}:\nnogroup:x:65534:\n",
        "/etc/hosts": f"127.0.0.1 localhost {HOST_NAME}\n::1 localhost ip6-localhost\n",
        # Inside, files of other owners are files that the sandbox itself brought.
        "/etc/gitconfig": "[safe]\n\tdirectory = *\n",
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    }
    for path, text in generated.items():
        yield from _parents(path)
        yield from ("--perms", "0444", "--file", Data(content=text.encode()), path)
    for path in _ETC_FILES:
        try:
            content = Path(path).read_bytes()
        except OSError:
            continue
        yield from _parents(path)
        yield from ("--perms", "0444", "--file", Data(content=content), path)


def _memory(limits: Limits) -> Iterator[str]:
    for at in ("/tmp", HOME, "/dev/shm"):
        yield from _parents(at)
        yield from ("--perms", "1777")
        if limits.tmp_bytes:
            yield from ("--size", str(limits.tmp_bytes))
        yield from ("--tmpfs", at)


def _toolchain(paths: Sequence[Path]) -> Iterator[str]:
    for path in sorted(set(paths)):
        text = str(path)
        if not path.is_absolute() or ".." in path.parts or text in _TOO_WIDE:
            raise ExecutorUnavailable(
                f"not a toolchain path: {text}; name the prefix of the tools themselves"
            )
        if path.is_relative_to("/usr"):
            continue
        if not path.exists():
            raise ExecutorUnavailable(f"the toolchain path {text} does not exist; correct the configuration")
        yield from _parents(text)
        yield from ("--ro-bind", text, text)


def _workspace(place: Place) -> Iterator[Option]:
    yield from ("--bind", str(place.tree), TREE)
    yield from _git_pointer(place)
    if place.git_dir is not None:
        yield from ("--bind", str(place.git_dir), GIT_DIR)
    if place.objects is not None:
        yield from ("--ro-bind", str(place.objects), OBJECTS)
    for mount in place.mounts:
        at = PurePosixPath(mount.at)
        if not at.is_absolute() or ".." in at.parts or str(at) in _RESERVED or str(at).startswith("/proc/"):
            raise ExecutorUnavailable(f"not a place for a mount: {mount.at}")
        if at == PurePosixPath(TREE) or at.is_relative_to(f"{TREE}/.git") or at.is_relative_to("/usr"):
            raise ExecutorUnavailable(f"not a place for a mount: {mount.at}")
        if not mount.source.exists():
            raise ExecutorUnavailable(f"the mount source {mount.source} does not exist")
        yield from _parents(mount.at)
        yield from ("--bind" if mount.writable else "--ro-bind", str(mount.source), mount.at)


def _git_pointer(place: Place) -> Iterator[Option]:
    """What lies at ``/repo/.git``: never the real thing, and never something that can be replaced."""
    at = f"{TREE}/.git"
    found = place.tree / ".git"
    try:
        kind = stat.S_IFMT(found.lstat().st_mode)
    except FileNotFoundError:
        return
    if kind == stat.S_IFDIR and place.git_dir is not None:
        yield from ("--bind", str(place.git_dir), at)
    elif kind == stat.S_IFDIR:
        yield from ("--perms", "0755", "--tmpfs", at, "--remount-ro", at)
    elif kind == stat.S_IFREG and place.git_dir is not None and found.read_bytes() not in _POINTERS:
        yield from ("--perms", "0444", "--ro-bind-data", Data(content=POINTER), at)
    elif kind == stat.S_IFREG:
        yield from ("--ro-bind", str(found), at)
    else:
        raise ExecutorUnavailable(f"{found} is neither a file nor a directory; make the workspace anew")


def _parents(path: str) -> Iterator[str]:
    """Make the folders above ``path``, each enterable by every uid: root's default would be 0700."""
    for folder in reversed(PurePosixPath(path).parents[:-1]):
        if not folder.is_relative_to(TREE) and str(folder) not in ("/dev", "/proc", "/tmp", "/usr"):
            yield from ("--perms", "0755", "--dir", str(folder))
