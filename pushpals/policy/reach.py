"""What the words of a command reach for: hosts, package installs, and paths that rules are held against.

Hosts are looked for where a tool would reach for them; a word like an address in another command is
text. What cannot be read is a host nobody named (``net:*``) or a denial, never nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from posixpath import normpath

from pushpals.policy import tools
from pushpals.policy.addresses import Host, host_of, is_address, is_metadata, urls_in
from pushpals.policy.words import Dynamic


def needs_of(
    name: str, argv: tuple[str, ...], sub: tuple[str, ...], hosts: tuple[Host, ...]
) -> tuple[str, ...]:
    needs = [host.capability for host in hosts if host.verdict != "denied"]
    tool = tools.INSTALLER_NAMES.get(name) or ("pip" if re.fullmatch(r"pip[0-9.]+", name) else name)
    installs = tools.INSTALLERS.get(tool)
    if installs is not None:
        flags = {word for word in argv[1:] if word.startswith("-")}
        alone = "" in installs and not sub and not flags & tools.NO_NETWORK_FLAGS
        anything = "*" in installs and len(argv) > 1 and not flags & {"--version", "--help"}
        if alone or anything or installs & {*sub, *flags}:
            needs.append("pkg.install")
    return tuple(dict.fromkeys(needs))


def hosts_of(name: str, argv: tuple[str, ...], sub: tuple[str, ...]) -> tuple[Host, ...]:
    """The hosts a command would reach for, when it is one that reaches for hosts."""
    words = argv[1:]
    if name == "git":
        if not sub or sub[0] not in tools.GIT_NETWORK | {"push", "remote", "submodule"}:
            return ()
        return tuple(host for word in sub[1:] for host in (*urls_in(word), *_scp_host(word)))
    if name not in tools.NETWORK_TOOLS:
        return tuple(host for word in words for host in urls_in(word) if is_metadata(host.host))
    if not words or set(words) & tools.NO_NETWORK_FLAGS:
        return ()
    port = tools.NETWORK_PORTS.get(name, 0)
    found: list[Host] = []
    local = False
    for word in words:
        if word.startswith("file:"):
            local = True
        urls = urls_in(word)
        found += urls
        if not urls:
            found += _bare_hosts(name, word, port)
    if name == "rsync" and not found and not any(":" in word for word in words):
        return ()
    return tuple(dict.fromkeys(found)) or (() if local else (Host(host="", verdict="unknown"),))


def _bare_hosts(name: str, word: str, port: int) -> list[Host]:
    if word.startswith("-"):
        value = word.partition("=")[2]
        return [host_of(value, port)] if _names_machine(value) else []
    if name in ("ssh", "scp", "sftp", "rsync", "mosh"):
        scp = list(_scp_host(word))
        if scp or name in ("scp", "rsync"):
            return scp
        return [host_of(word, port)] if "/" not in word and re.search(r"[.@]|^localhost$", word) else []
    authority = re.split(r"[/?#]", word, maxsplit=1)[0]
    if _names_machine(authority) or re.fullmatch(
        r"(?:[\w-]{1,63}\.)+[A-Za-z]{2,24}\.?(?::\d{1,5})?", authority
    ):
        return [host_of(authority, port, isinstance(word, Dynamic))]
    return []


def _names_machine(authority: str) -> bool:
    """Whether the authority is this machine or a dotted address, leaving plain numbers alone."""
    host = authority.rsplit("@", 1)[-1].lower().rstrip(".")
    bare = host.rsplit(":", 1)[0] if host.count(":") == 1 else host
    if bare in ("localhost", "ip6-localhost") or bare.endswith(".localhost"):
        return True
    return (("." in bare and is_address(bare)) or host.startswith("[") or host.count(":") > 1) and bool(bare)


def _scp_host(word: str) -> tuple[Host, ...]:
    match = re.fullmatch(
        r"(?:[\w.-]{1,64}@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):(?!//|:)(?!\\).*", word, re.DOTALL
    )
    if not match or word.startswith(("-", "/", ".")) or "::" in word:
        return ()
    remote = "@" in word.partition(":")[0] or "." in match[1] or match[1] == "localhost"
    return (host_of(match[1], 22),) if remote else ()


def paths_of(words: Iterable[str]) -> tuple[str, ...]:
    """What a path rule is held against: each word, and what follows a flag, ``=``, ``@`` or ``:`` in it."""
    found: dict[str, None] = {}
    for word in words:
        pieces = [word, *re.split(r"[=@:,]", word)[1:]]
        if re.match(r"-[A-Za-z]/", word):
            pieces.append(word[2:])
        for piece in pieces[:16]:
            for path in _spellings(piece):
                found[path] = None
    return tuple(found)


def _spellings(piece: str) -> list[str]:
    if "/" not in piece or len(piece) > 4096:
        return []
    path = re.sub(r"/(?:\./)+", "/", re.sub(r"/{2,}", "/", piece))
    path = re.sub(r"^(?:\./)+", "", path)
    climbed = re.sub(r"^/?(?:\.\./)+", "/", path)
    spellings = [path, normpath(path)]
    if climbed != path:
        spellings.append(climbed)
    parts = climbed.split("/")
    if set(climbed) & set("*?[{$") and len(parts) > 3 and _could_be(parts[1], "proc"):
        spellings += [
            f"/proc/self/{kind}"
            for kind in ("root", "cwd")
            if any(_could_be(part, kind) for part in parts[3:])
        ]
    if set(climbed) & set("*?[{$") and len(parts) > 2 and _could_be(parts[1], "dev"):
        spellings += [f"/dev/{kind}/" for kind in ("tcp", "udp") if _could_be(parts[2], kind)]
    return spellings


def _could_be(part: str, name: str) -> bool:
    """Whether a shell could turn ``part`` into ``name``; an expansion or brace could be anything."""
    if set(part) & set("${"):
        return True
    if len(part) > 64:
        return True
    pattern = "".join(
        ".*" if char == "*" else "." if char == "?" else re.escape(char)
        for char in re.sub(r"\*+", "*", re.sub(r"\[[^]]*\]", "?", part))
    )
    return re.fullmatch(pattern, name) is not None
