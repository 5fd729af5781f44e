"""Landing commits signed with an ssh key, as ``git commit -S`` with ``gpg.format=ssh`` would.

``ssh-keygen`` signs; git verifies with an allowed-signers file. An Ed25519 signature of the same commit is
the same each time, so that a recomposed commit keeps its id; use such a key.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from pathlib import Path

from pushpals.work.landing.compose import Sign

_TIMEOUT_S = 20.0


class CannotSign(Exception):
    """The key cannot be used; the message says why."""


def ssh_signer(key: Path) -> Sign:
    """A signer with the private key in ``key``, which must need no passphrase."""
    cache: dict[bytes, str] = {}

    async def sign(text: bytes) -> str:
        if text not in cache:
            if len(cache) > 1_000:
                cache.clear()
            cache[text] = await _sign(key, text)
        return cache[text]

    return sign


async def _sign(key: Path, text: bytes) -> str:
    with tempfile.TemporaryDirectory(prefix="pushpals-sign-") as folder:
        payload = Path(folder) / "commit"
        payload.write_bytes(text)
        process = await asyncio.create_subprocess_exec(
            "ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", os.fspath(key), os.fspath(payload),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "SSH_ASKPASS": "/bin/false"},
            start_new_session=True,
        )  # fmt: skip
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                _, said = await process.communicate()
        except TimeoutError:
            raise CannotSign(f"ssh-keygen did not answer with {key}") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode != 0:
            raise CannotSign(f"{key}: {said.decode('utf-8', 'replace').strip()[:300]}")
        return (Path(folder) / "commit.sig").read_text(encoding="ascii")
