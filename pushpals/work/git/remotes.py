"""Where a repository is reached, by which transport, with whose credentials.

A remote is parsed once, at the door. Only ``file``, ``ssh`` and ``https`` exist (``http`` when an operator
asks for it); helper transports (``ext::``, ``fd::``) are refused here and again by git. A password inside
an address is taken out of it at once, so that it never stands in an argument list or a message.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec

from pushpals.work.git.names import InvalidName

Transport = Literal["file", "ssh", "https", "http"]


class Password(msgspec.Struct, frozen=True, kw_only=True):
    """A user name and a token for https. Handed to git through a descriptor, never through argv or env."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Password(username={self.username!r})"


class SshKey(msgspec.Struct, frozen=True, kw_only=True):
    """A deploy key. Unknown hosts are refused: ``known_hosts`` must name the host."""

    key: Path
    known_hosts: Path


class SshAgent(msgspec.Struct, frozen=True, kw_only=True):
    """Keys held by an agent that the operator names by its socket."""

    socket: Path
    known_hosts: Path | None = None


class Helper(msgspec.Struct, frozen=True, kw_only=True):
    """A credential helper that the operator names, e.g. ``store`` or ``!gh auth git-credential``."""

    command: str
    home: Path


Credentials = Password | SshKey | SshAgent | Helper


class Remote(msgspec.Struct, frozen=True, kw_only=True):
    """An address that has been looked at. Build it with :func:`parse_remote`."""

    url: str
    transport: Transport
    credentials: Credentials | None = None
    ca_bundle: Path | None = None
    proxy: str | None = None

    @property
    def path(self) -> Path | None:
        """The directory of a ``file`` remote."""
        return Path(self.url) if self.transport == "file" else None


_SCP_LIKE = re.compile(r"(?:[A-Za-z0-9._-]+@)?[A-Za-z0-9][A-Za-z0-9.-]*:(?!/?/)[^\x00-\x20]+")


def parse_remote(
    url: str | Path, credentials: Credentials | None = None, *, allow_http: bool = False
) -> Remote:
    """Read an address. Raises :class:`InvalidName` for anything that is not plainly one of ours.

    Relative paths are refused: whose working directory they would start from depends on the caller.
    """
    text = str(url)
    if (
        not text
        or text.startswith("-")
        or any(ord(c) < 0x20 or ord(c) == 0x7F for c in text)
        or len(text) > 2048
    ):
        raise InvalidName("not usable as a repository address")
    if text.startswith("/"):
        return Remote(url=text, transport="file", credentials=credentials)
    if "::" in text.split("/", 1)[0]:
        raise InvalidName("helper transports are not used")
    if "://" not in text:
        if _SCP_LIKE.fullmatch(text):
            return Remote(url=text, transport="ssh", credentials=credentials)
        raise InvalidName("a repository address is an absolute path, or ssh, https or file")
    parts = urlsplit(text)
    match parts.scheme:
        case "file" if parts.netloc in ("", "localhost") and parts.path.startswith("/"):
            return Remote(url=unquote(parts.path), transport="file", credentials=credentials)
        case "ssh" if parts.hostname and not parts.hostname.startswith("-") and not parts.password:
            return Remote(url=text, transport="ssh", credentials=credentials)
        case "https" | "http" if parts.hostname and (parts.scheme == "https" or allow_http):
            if parts.password is not None and credentials is None:
                credentials = Password(
                    username=unquote(parts.username or ""), password=unquote(parts.password)
                )
            host = parts.hostname if ":" not in parts.hostname else f"[{parts.hostname}]"
            netloc = host if parts.port is None else f"{host}:{parts.port}"
            bare = urlunsplit((parts.scheme, netloc, parts.path, parts.query, ""))
            transport: Transport = "https" if parts.scheme == "https" else "http"
            return Remote(url=bare, transport=transport, credentials=credentials)
        case _:
            raise InvalidName(f"the transport {parts.scheme!r} is not used, or the address is incomplete")
