"""What ordinary projects do in their tests works inside: a sandbox that breaks builds gets switched off."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pushpals.work.executors.base import Command, Limits, Mount, Place
from pushpals.work.executors.bubblewrap import BubblewrapExecutor
from pushpals.work.executors.choose import own_toolchain

SUITE = """
import asyncio, concurrent.futures, http.server, mmap, multiprocessing, os, pty, pwd, shutil, signal, socket
import sqlite3, ssl, subprocess, sys, tempfile, threading, time, urllib.request
from pathlib import Path


def square(number):
    return number * number


def test_a_web_server_on_the_loopback():
    server = http.server.ThreadingHTTPServer(("localhost", 0), http.server.SimpleHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        port = server.server_address[1]
        with urllib.request.urlopen(f"http://localhost:{port}/test_all.py", timeout=10) as answer:
            assert b"def square" in answer.read()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_asyncio_with_unix_sockets(tmp_path):
    async def talk():
        async def echo(reader, writer):
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()
        path = str(tmp_path / "s")
        async with await asyncio.start_unix_server(echo, path):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"hello\\n")
            assert await reader.readline() == b"hello\\n"
            writer.close()
            await writer.wait_closed()
    asyncio.run(talk())


def test_asyncio_subprocesses():
    async def go():
        child = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
        assert (await child.communicate(b"x"))[0] == b"x"
    asyncio.run(go())


def test_pools_of_processes():
    for method in ("spawn", "forkserver", "fork"):
        context = multiprocessing.get_context(method)
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            assert list(pool.map(square, range(5))) == [0, 1, 4, 9, 16]


def test_shared_memory_and_semaphores():
    from multiprocessing import shared_memory
    block = shared_memory.SharedMemory(create=True, size=4096)
    block.buf[0] = 7
    block.close()
    block.unlink()
    assert multiprocessing.Semaphore(1).acquire()


def test_sqlite_with_a_write_ahead_log(tmp_path):
    for folder in (tmp_path, Path.cwd(), Path.home()):
        with sqlite3.connect(folder / "base.db") as base:
            assert base.execute("pragma journal_mode=wal").fetchone() == ("wal",)
            base.execute("create table t (x)")
            base.execute("insert into t values (1)")
        base.close()


def test_git_in_a_repository_of_its_own(tmp_path):
    def git(*words):
        who = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
        return subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True)
    git("init", "-q", "-b", "main")
    (tmp_path / "f").write_text("1")
    git("add", "-A")
    git("commit", "-qm", "one")
    (tmp_path / "f").write_text("2")
    git("stash")
    git("gc", "-q")
    git("clone", "-q", str(tmp_path), str(tmp_path / "copy"))
    assert git("log", "--format=%s", "main").stdout == "one\\n"


def test_a_pseudo_terminal():
    master, slave = pty.openpty()
    assert os.isatty(slave)
    os.write(slave, b"x")
    assert os.read(master, 1) == b"x"


def test_links_modes_and_times(tmp_path):
    for folder in (tmp_path, Path.cwd()):
        (folder / "a").write_text("a")
        os.link(folder / "a", folder / "b")
        (folder / "c").symlink_to("a")
        (folder / "a").chmod(0o750)
        os.utime(folder / "a", (1, 1))
        assert (folder / "b").stat().st_mode & 0o777 == 0o750
        shutil.copytree(folder, Path(tempfile.mkdtemp()) / "copied", symlinks=True)
        os.mkfifo(folder / "pipe")


def test_who_am_i_and_where():
    assert pwd.getpwuid(os.getuid()).pw_name == "pal"
    assert Path.home() == Path("/home/pal")
    assert tempfile.gettempdir() == "/tmp"
    assert Path.cwd() == Path("/repo")
    assert socket.gethostname() == "pushpals"
    assert socket.gethostbyname("localhost") == "127.0.0.1"
    assert socket.getservbyname("https") == 443


def test_certificates_are_there():
    assert ssl.create_default_context().cert_store_stats()["x509_ca"] > 0


def test_signals_between_processes():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    child.terminate()
    assert child.wait() == -signal.SIGTERM


def test_memory_maps_and_exec_pages():
    import ctypes
    assert ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 3)() == 3
    assert len(mmap.mmap(-1, 4096)) == 4096


def test_a_virtual_environment(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True)
    said = subprocess.run([tmp_path / "env/bin/python", "-c", "print(1)"], check=True, capture_output=True)
    assert said.stdout == b"1\\n"


def test_tar_keeps_modes(tmp_path):
    (tmp_path / "f").write_text("x")
    subprocess.run(["tar", "cf", "t.tar", "f"], cwd=tmp_path, check=True)
    subprocess.run(["tar", "xpf", "t.tar"], cwd=tmp_path, check=True)
"""


async def test_a_project_with_every_habit_passes_its_tests(sandbox: BubblewrapExecutor, place: Place) -> None:
    (place.tree / "test_all.py").write_text(SUITE)
    shown = Place(tree=place.tree, toolchain=own_toolchain())
    outcome = await sandbox.run(
        shown,
        Command(
            argv=("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"),
            env=sandbox.base_env(shown),
            limits=Limits(wall_s=100, processes=256, tmp_bytes=64 * 1024 * 1024),
        ),
    )
    assert outcome.ok, (outcome.stdout + outcome.stderr).decode()
    assert b"15 passed" in outcome.stdout


async def test_a_compiler_builds_and_the_result_runs(sandbox: BubblewrapExecutor, place: Place) -> None:
    (place.tree / "a.sh").write_text("#!/bin/sh\necho built\n")
    (place.tree / "a.sh").chmod(0o755)
    (place.tree / "Makefile").write_text("all: out\nout: a.sh\n\t./a.sh > out\n")
    outcome = await sandbox.run(
        place, Command(argv=("sh", "-c", "make -s && cat out || ./a.sh"), env=sandbox.base_env(place))
    )
    assert outcome.stdout == b"built\n", outcome.stderr


def git(*words: str, cwd: Path) -> str:
    return subprocess.run(["git", *words], cwd=cwd, check=True, capture_output=True, text=True).stdout


@pytest.fixture(params=[None, "gitdir: ../gitdir\n", "gitdir: {real}/.git/worktrees/x\n"])
def lent(tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    """A work tree with a private git directory that borrows the objects of a real repository.

    What lies at its ``.git`` on the host: nothing, a pointer that holds on both sides, the real thing's.
    """
    real = tmp_path / "real"
    real.mkdir()
    git("init", "-q", "-b", "main", cwd=real)
    (real / "f").write_text("1\n")
    git("add", "-A", cwd=real)
    git("-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "-qm", "base", cwd=real)
    head = git("rev-parse", "HEAD", cwd=real).strip()
    tree, private = tmp_path / "tree", tmp_path / "private"
    git("init", "-q", "--bare", "-b", "main", str(private), cwd=tmp_path)
    (private / "config").write_text(
        "[core]\n\trepositoryformatversion = 0\n\tworktree = /repo\n"
        "[user]\n\tname = pal\n\temail = pal@example.com\n"
    )
    (private / "objects/info/alternates").write_text("/gitobjs\n")
    (private / "refs/heads/main").write_text(f"{head}\n")
    tree.mkdir()
    (tree / "f").write_text("1\n")
    if request.param is not None:
        (tree / ".git").write_text(request.param.format(real=real))
    return Place(tree=tree, git_dir=private, objects=real / ".git/objects")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_git_works_in_a_private_directory_and_the_lender_is_unchanged(
    sandbox: BubblewrapExecutor, lent: Place, tmp_path: Path
) -> None:
    before = contents(tmp_path / "real")
    script = (
        "git reset -q && git status --short && echo 2 >> f && git add -A && git commit -qm two && echo 3 >> f"
        " && git stash -q && git gc -q && git log --format=%s && cat .git"
    )
    pointer = (lent.tree / ".git").read_bytes() if (lent.tree / ".git").exists() else None
    outcome = await sandbox.run(lent, Command(argv=("sh", "-c", script), env=sandbox.base_env(lent)))
    assert outcome.stderr == b""
    assert outcome.stdout.splitlines()[:2] == [b"two", b"base"]
    assert outcome.stdout.splitlines()[2] in (b"gitdir: /gitdir", b"gitdir: ../gitdir")
    assert pointer in (None, (lent.tree / ".git").read_bytes())
    assert contents(tmp_path / "real") == before
    assert (lent.tree / "f").read_text() == "1\n2\n"


@pytest.mark.parametrize(
    "script",
    [
        "rm -f .git",
        "mv .git moved",
        "mkdir other && mv other .git",
        "echo 'gitdir: /tmp/evil' > .git",
        "ln -sf /tmp/evil .git",
        "chmod 666 .git",
        "cp /etc/passwd /gitobjs/x",
        "rm -rf /gitobjs/*/* && ls /gitobjs/nothing",
    ],
)
async def test_the_pointer_and_the_lent_objects_cannot_be_changed(
    sandbox: BubblewrapExecutor, lent: Place, script: str, tmp_path: Path
) -> None:
    await sandbox.prepare(lent)
    before, pointer = contents(tmp_path / "real"), (lent.tree / ".git").read_bytes()
    outcome = await sandbox.run(lent, Command(argv=("sh", "-c", script), env=sandbox.base_env(lent)))
    assert not outcome.ok
    assert (lent.tree / ".git").read_bytes() == pointer
    assert contents(tmp_path / "real") == before


async def test_the_git_directory_of_a_plain_clone_is_out_of_sight(
    sandbox: BubblewrapExecutor, place: Place
) -> None:
    git("init", "-q", cwd=place.tree)
    before = contents(place.tree / ".git")
    script = "ls -A .git; touch .git/x; rm -rf .git; git init -q . ; echo done"
    outcome = await sandbox.run(place, Command(argv=("sh", "-c", script), env=sandbox.base_env(place)))
    assert outcome.stdout == b"done\n"
    assert contents(place.tree / ".git") == before


async def test_further_paths_are_seen_where_they_were_asked_for(
    sandbox: BubblewrapExecutor, place: Place, tmp_path: Path
) -> None:
    for name in ("read", "write"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "given").write_text(f"{name}\n")
    shown = Place(
        tree=place.tree,
        mounts=(
            Mount(source=tmp_path / "read", at="/data/deep/read"),
            Mount(source=tmp_path / "write", at="/data/write", writable=True),
        ),
    )
    script = (
        "cat /data/deep/read/given; echo more >> /data/write/given; touch /data/deep/read/x || echo refused"
    )
    outcome = await sandbox.run(shown, Command(argv=("sh", "-c", script), env=sandbox.base_env(place)))
    assert outcome.stdout == b"read\nrefused\n"
    assert (tmp_path / "write" / "given").read_text() == "write\nmore\n"
