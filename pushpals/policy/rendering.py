"""An action in words, for the person who decides: made from the action, never from what an agent says of it.

Every argument stands on its own, in printable ASCII that can be read back (:func:`display.escaped`), and
nothing is ever cut: an action too long to be shown whole cannot be asked about at all.
"""

from __future__ import annotations

import re
import shlex

import msgspec

from pushpals.policy.actions import ExecAction
from pushpals.policy.display import SUSPICIONS, escaped, is_suspicious

SUMMARY_LENGTH = 160
"""Characters of the one-line summary. It is a title; the whole is always beside it."""

MEANING: dict[str, str] = {
    "fs.read": "read the files of the job's tree",
    "fs.write": "change the files of the job's tree",
    "fs.protected": "change files that decide how code is run, built or reviewed",
    "exec.plain": "run a program",
    "exec.interp": "run code from the tree",
    "exec.shell": "run a shell script",
    "exec.opaque": "start something that cannot be seen from its words",
    "pkg.install": "fetch packages and run what they bring",
    "limits.extend": "use more time or memory than the policy allows",
    "host.unsandboxed": "do anything that your own account can do on this machine: there is no sandbox",
}


class Rendering(msgspec.Struct, frozen=True, kw_only=True):
    """What a person looks at before a yes."""

    summary: str
    words: tuple[str, ...]
    """The argument list, one element each, or the script line by line."""
    enables: tuple[str, ...]
    """What a yes gives, one sentence each."""
    suspicious: tuple[str, ...] = ()
    """Why the text may not be what it looks like."""


def render(action: ExecAction) -> Rendering:
    """The whole of a command, safe to show anywhere."""
    if action.argv is not None:
        words = tuple(escaped(word) for word in action.argv)
        line = escaped(shlex.join(action.argv))
    else:
        words = tuple(escaped(line) for line in (action.script or "").split("\n"))
        line = escaped(action.script or "")
    text = "\n".join([*(action.argv or ()), action.script or "", *(value for _, value in action.env)])
    short = line if len(line) <= SUMMARY_LENGTH else f"{line[: SUMMARY_LENGTH - 2]} …"
    where = "" if action.cwd == "/repo" else f" in {escaped(action.cwd)}"
    return Rendering(
        summary=f"Run {short}{where}",
        words=words,
        enables=tuple(meaning(capability) for capability in action.capabilities),
        suspicious=tuple(SUSPICIONS[code] for code in is_suspicious(text)),
    )


def meaning(capability: str) -> str:
    """What a capability allows, in plain words."""
    if match := re.fullmatch(r"net:(.+):(\d+|\*)", capability):
        return f"send data to, and fetch from, {escaped(match[1])} port {match[2]}"
    if capability.startswith("land:"):
        return f"change the branch {escaped(capability[5:])}"
    return MEANING.get(capability, escaped(capability))
