"""Every code a decision can carry, with its meaning. The documentation is tested against this table.

A rule's reason is its id; the ids of the built-in rules are here too. Rules of a repository are shown
as ``repo.<id>``. Codes are stable: they may be added to, not renamed.
"""

from __future__ import annotations

REASONS: dict[str, str] = {
    # why something is allowed, and what it counts as
    "readonly": "every part is on the read-only list",
    "exec.plain": "an ordinary program, run from its argument list",
    "exec.interp": "runs code from the tree: a test runner, a build tool, an interpreter, a script",
    "exec.shell": "needs a shell: expansions, loops, functions, redirections to files",
    "exec.opaque": "starts something that cannot be seen from its argument list",
    "rule.allowed": "an allow rule of the operator covers every part",
    # why something is asked
    "not-readonly": "the preset asks about everything that is not on the read-only list",
    "net": "needs to reach a host",
    "install": "fetches or installs packages",
    "display": "contains characters that hide, reorder or imitate text",
    "land": "changes the target branch",
    "protected": "changes a path that decides how code is run, built or reviewed",
    "capability.missing": "needs a capability that the job was not given",
    "net.not-offered": "network grants need the full sandbox",
    "level.none": "there is no sandbox here, so everything is asked",
    # why something is denied
    "priv": "changes privileges, mounts, services or schedules",
    "containers": "drives a container engine or a cluster",
    "git-out": "moves work out of, or configuration into, git; landing does that",
    "git-opts": "points git at other configuration, programs or directories",
    "loader": "uses the dynamic loader as a launcher",
    "proc-path": "goes round the file system view through /proc, or opens a network device file",
    "env": "assigns a variable that changes which code runs",
    "argv0": "the executable's name is not plain ASCII, or the tree shadows a system program",
    "net.denied-address": "names an address, this machine, a private name or an unreadable host",
    "preset.locked": "the preset allows only the read-only list",
    "cwd.outside": "the working directory is not below the repository",
    "cwd.symlink": "the working directory is reached through a symbolic link",
    "action.too-large": "the action is longer than 64 KiB; nobody can read it",
    "policy.widening-ignored": "the repository's own policy tried to allow this; it may only tighten",
    "sandbox.required": "the policy wants the full sandbox, and there is none here",
    "approval.denied": "a person said no",
    "approval.expired": "nobody answered in time, which means no",
    "approval.stale": "what would run is not what was approved",
    "approval.void": "the question was taken back",
    "approval.nobody": "it has to be asked about, and there is nobody to ask here",
    "parse.empty": "there is nothing to run",
    "parse.nul": "contains a NUL character",
    "parse.cr": "contains a carriage return",
    "parse.encoding": "is not valid text",
    "parse.too-long": "the script is longer than 16 KiB",
    "parse.too-many": "more than 200 commands, or more operators than can be read in time",
    "parse.depth": "nested or wrapped too deeply",
    "parse.error": "bash would not accept it as written, or it cannot be read without doubt",
    "parse.continuation": "a line continuation inside a word",
}
