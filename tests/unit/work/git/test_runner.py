import asyncio
import base64
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import psutil
import pytest

from pushpals.testing.repos import Cloned
from pushpals.work.git.errors import GitError, classify, printable
from pushpals.work.git.remotes import Password, Remote, parse_remote
from pushpals.work.git.repo import BareRepo
from pushpals.work.git.runner import Git, Identity


def stub(path: Path, script: str) -> Git:
    """A program that stands where git is, to look at what a call hands over."""
    path.write_text(f"#!{sys.executable}\n{script}", encoding="utf-8")
    path.chmod(0o755)
    return Git(path)


def ended(pid: int) -> bool:
    try:
        psutil.Process(pid).wait(timeout=5)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


async def test_a_git_that_is_too_old_or_none_is_refused_with_a_reason(tmp_path: Path) -> None:
    stub(tmp_path / "old", "print('git version 2.38.5')")
    with pytest.raises(GitError, match=r"2\.38 is too old") as old:
        await Git.find(tmp_path / "old")
    assert old.value.kind == "too_old"
    stub(tmp_path / "strange", "print('hello')")
    with pytest.raises(GitError, match="does not look like git"):
        await Git.find(tmp_path / "strange")
    with pytest.raises(GitError, match="could not start"):
        await Git.find(tmp_path / "none")


def test_the_environment_is_built_from_nothing(tmp_path: Path) -> None:
    # The calling process has every dangerous variable set; none of them arrives.
    git = stub(tmp_path / "git", "import os, json; print(json.dumps(sorted(os.environ)))")
    script = (
        "import asyncio, pathlib, sys\n"
        "from pushpals.work.git.runner import Git\n"
        "print(asyncio.run(Git(pathlib.Path(sys.argv[1])).run(['x'])).stdout.decode())\n"
    )
    hostile = {
        "GIT_DIR": "/x",
        "GIT_SSH_COMMAND": "evil",
        "GIT_EXTERNAL_DIFF": "evil",
        "GIT_CONFIG_COUNT": "0",
    }
    hostile |= {
        "SSH_AUTH_SOCK": "/s",
        "AWS_SECRET_ACCESS_KEY": "k",
        "GIT_ALLOW_PROTOCOL": "ext",
        "HOME": "/root",
    }
    seen = subprocess.run(
        [sys.executable, "-c", script, str(git.program)],
        env={**os.environ, **hostile, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
    ).stdout
    names = set(seen.decode().strip().strip("[]").replace('"', "").split(", ")) - {"LC_CTYPE"}
    assert names == {
        "GIT_ASKPASS",
        "GIT_ATTR_NOSYSTEM",
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_NOSYSTEM",
        "GIT_EDITOR",
        "GIT_LFS_SKIP_SMUDGE",
        "GIT_LITERAL_PATHSPECS",
        "GIT_NO_LAZY_FETCH",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_PAGER",
        "GIT_TERMINAL_PROMPT",
        "HOME",
        "LC_ALL",
        "PATH",
        "SSH_ASKPASS",
        "TZ",
    }


async def test_at_the_deadline_the_whole_group_ends_although_a_child_holds_the_pipe(tmp_path: Path) -> None:
    git = stub(
        tmp_path / "git",
        "import subprocess, sys, time, pathlib\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(tmp_path / 'child')!r}).write_text(str(child.pid))\n"
        "time.sleep(60)\n",
    )
    with pytest.raises(GitError) as slow:
        await git.run(["x"], timeout_s=1.0)
    assert slow.value.kind == "timeout"
    assert ended(int((tmp_path / "child").read_text()))


async def test_a_program_that_ignores_the_first_signal_is_killed(tmp_path: Path) -> None:
    git = stub(
        tmp_path / "git",
        "import signal, time, os, pathlib\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n"
        "time.sleep(60)\n",
    )
    with pytest.raises(GitError, match="longer than"):
        await git.run(["x"], timeout_s=1.0)
    assert ended(int((tmp_path / "pid").read_text()))


async def test_a_cancelled_call_leaves_no_process(tmp_path: Path) -> None:
    fifo = tmp_path / "started"
    os.mkfifo(fifo)
    git = stub(
        tmp_path / "git",
        f"import os, time\nopen({str(fifo)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)\n",
    )
    call = asyncio.create_task(git.run(["x"]))
    pid = int(await asyncio.to_thread(fifo.read_text))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert ended(pid)


async def test_output_is_bounded_as_an_error_or_as_a_prefix(tmp_path: Path) -> None:
    git = stub(tmp_path / "git", "import sys\nwhile True: sys.stdout.write('x' * 65536)\n")
    with pytest.raises(GitError) as large:
        await git.run(["x"], output_bytes=1000)
    assert large.value.kind == "too_large"
    result = await git.run(["x"], output_bytes=1000, prefix=True)
    assert (len(result.stdout), result.truncated) == (1000, True)


async def test_an_expected_exit_code_is_a_value_and_another_one_an_error(git: Git, cache: BareRepo) -> None:
    args = ["rev-parse", "--verify", "--quiet", "refs/heads/none"]
    assert (await git.run(args, git_dir=cache.path, ok=(0, 1))).code == 1
    with pytest.raises(GitError) as failed:
        await git.run(args, git_dir=cache.path)
    assert failed.value.code == 1


async def test_no_transport_is_open_unless_the_call_names_a_remote(cache: BareRepo, cloned: Cloned) -> None:
    path = str(cloned.upstream.path)
    for url in (path, f"ext::git %s {path}", "https://example.invalid/r", "ssh://example.invalid/r"):
        with pytest.raises(GitError) as closed:
            await cache.run(["ls-remote", url])
        assert closed.value.kind == "refused_transport", url
    local = parse_remote(path)
    with pytest.raises(GitError) as other:
        await cache.run(["ls-remote", "https://example.invalid/r"], remote=local)
    assert other.value.kind == "refused_transport"


async def test_a_password_goes_through_a_descriptor_and_stands_nowhere_else(tmp_path: Path) -> None:
    git = stub(
        tmp_path / "git",
        "import os, subprocess, sys\n"
        "ask = lambda what: subprocess.run([os.environ['GIT_ASKPASS'], what], capture_output=True, text=True,"
        " close_fds=False).stdout.strip()\n"
        "visible = repr((sys.argv, dict(os.environ), open(os.environ['GIT_ASKPASS']).read()))\n"
        "print(ask('Username for x'), ask('Password for x'), ask('Password for x'), 's3cr3t' in visible)\n",
    )
    remote = parse_remote("https://example.invalid/r", Password(username="bot", password="s3cr3t"))
    result = await git.run(["push"], remote=remote)
    assert result.stdout.decode().split() == ["bot", "s3cr3t", "s3cr3t", "False"]
    # Without the remote, there is nobody to ask.
    alone = stub(tmp_path / "git2", "import os; print(os.environ['GIT_ASKPASS'])")
    assert (await alone.run(["status"])).stdout == b"/bin/false\n"


@contextlib.asynccontextmanager
async def web_server(seen: list[str]) -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            login = [
                line for line in head.decode().split("\r\n") if line.lower().startswith("authorization:")
            ]
            seen.append(login[0].split()[-1] if login else "nobody")
            writer.write(
                b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"
            )
            await writer.drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await answer(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_real_git_asks_with_the_password_of_the_remote_and_says_that_it_was_refused(
    cache: BareRepo,
) -> None:
    seen: list[str] = []
    async with web_server(seen) as port:
        url = f"http://127.0.0.1:{port}/r.git"
        login = Password(username="bot", password="s3cr3t")
        with pytest.raises(GitError) as refused:
            await cache.ls_remote(parse_remote(url, login, allow_http=True))
        with pytest.raises(GitError) as nobody:
            await cache.ls_remote(parse_remote(url, allow_http=True))
    assert refused.value.kind == nobody.value.kind == "auth"
    assert "s3cr3t" not in str(refused.value)
    assert seen == ["nobody", base64.b64encode(b"bot:s3cr3t").decode(), "nobody"]


async def test_a_remote_that_is_not_there_is_a_network_matter(cache: BareRepo, tmp_path: Path) -> None:
    with pytest.raises(GitError) as gone:
        await cache.ls_remote(parse_remote(tmp_path / "nowhere.git"))
    assert (gone.value.kind, gone.value.transient) == ("network", True)


async def test_a_local_repository_of_another_account_is_trusted_because_the_operator_named_it(
    cache: BareRepo, cloned: Cloned, remote: Remote
) -> None:
    if os.geteuid() == 0:
        for path in (cloned.upstream.path, *cloned.upstream.path.rglob("*")):
            os.chown(path, 61001, 61001)
    refs = await cache.ls_remote(remote)
    assert refs == {"refs/heads/main": cloned.checkout.sha("main")}


async def test_dates_keep_their_second_and_offset(cache: BareRepo) -> None:
    when = datetime(2026, 3, 1, 12, 30, 15, 999_000, tzinfo=timezone(timedelta(hours=-3, minutes=-30)))
    who = Identity(name="Ada", email="ada@example.org", when=when)
    tree = (await cache.run(["hash-object", "-w", "-t", "tree", "--stdin"])).line
    commit = await cache.commit(await cache.commit_tree(tree, [], "x", author=who, committer=who))
    assert commit.author.when == when.replace(microsecond=0)
    assert commit.author.when.utcoffset() == when.utcoffset()


async def test_a_name_that_git_cannot_take_is_made_harmless(cache: BareRepo) -> None:
    tree = (await cache.run(["hash-object", "-w", "-t", "tree", "--stdin"])).line
    who = Identity(name="\n<>", email="a\0b>\n", when=datetime(2026, 1, 1, tzinfo=UTC))
    commit = await cache.commit(await cache.commit_tree(tree, [], "x\0y", author=who, committer=who))
    assert (commit.author.name, commit.author.email, commit.message) == ("unknown", "ab", "xy")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"fatal: couldn't find remote ref refs/heads/x", "missing_ref"),
        (
            b"error: Server does not allow request for unadvertised object; upload-pack: not our ref 12",
            "missing_ref",
        ),
        (b"error: file write error: No space left on device\nfatal: the remote end hung up", "disk_full"),
        (b"git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.", "auth"),
        (b"error: open(\"x\"): Permission denied\nerror: unable to index file 'x'", "other"),
        (b"remote: Permission denied to bot.", "auth"),
        (b"fatal: Authentication failed for 'https://x/'", "auth"),
        (b"Host key verification failed.\nfatal: Could not read from remote repository.", "auth"),
        (b"fatal: unable to access 'https://x/': Could not resolve host: x", "network"),
        (b"ssh: connect to host h port 22: Connection refused", "network"),
        (b"fatal: Unable to create '/r/refs/heads/main.lock': File exists.", "locked"),
        (b"fatal: transport 'ext' not allowed", "refused_transport"),
        (b"error: object fsck error in packed object", "invalid_object"),
        (b"something new", "other"),
    ],
)
def test_failures_are_sorted_by_cause_before_symptom(text: bytes, kind: str) -> None:
    assert classify(text) == kind


def test_words_of_a_remote_are_shown_without_control_characters_and_bounded() -> None:
    assert printable(b"\x1b[31mred\x00 \xff\n") == "\ufffd[31mred\ufffd \ufffd"
    assert len(printable(b"x" * 10_000, limit=100)) == 101
