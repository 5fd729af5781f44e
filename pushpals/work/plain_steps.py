"""Runs inside the sandbox: a plain script from its parsed form, without a shell.

Started as ``python -I -S -c SOURCE ROOT PLAN``. ``PLAN`` is the JSON of what the policy judged
(:mod:`pushpals.policy.plain`): pipelines with a connector, steps with an argument list and redirections.
Every
program starts from its list; nothing is expanded, looked up or interpreted on the way. ``cd`` is emulated,
and
leads to real directories below ``ROOT`` only.

No import beyond the standard library, since the sandbox shows nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys


def main(root: str, plan: list[dict[str, object]]) -> int:
    status = 0
    for pipeline in plan:
        connector = pipeline["connector"]
        if (connector == "&&" and status) or (connector == "||" and not status):
            continue
        steps: list[dict[str, list[str]]] = pipeline["steps"]  # type: ignore[assignment]
        status = change_directory(root, steps[0]["argv"]) if steps[0]["argv"][0] == "cd" else run(steps)
    return status


def change_directory(root: str, argv: list[str]) -> int:
    wanted = argv[1]
    if wanted == "/repo" or wanted.startswith("/repo/"):
        wanted = root + wanted[5:]
    target = os.path.normpath(os.path.join(os.getcwd(), wanted))
    real = os.path.realpath(target)
    if real != target or not (real == root or real.startswith(root + os.sep)) or not os.path.isdir(real):
        print(f"cd: {argv[1]}: not a directory of the repository", file=sys.stderr, flush=True)
        return 1
    os.chdir(real)
    return 0


def run(steps: list[dict[str, list[str]]]) -> int:
    running: list[subprocess.Popen[bytes]] = []
    status = 0
    source = os.dup(0)
    for place, step in enumerate(steps):
        read_end, sink = (-1, os.dup(1)) if place == len(steps) - 1 else os.pipe()
        errors = os.dup(2)
        for redirect in step.get("redirects", []):
            if redirect == "stdin-null":
                source = replaced(source, os.open(os.devnull, os.O_RDONLY))
            elif redirect == "stdout-null":
                sink = replaced(sink, os.open(os.devnull, os.O_WRONLY))
            elif redirect == "stderr-null":
                errors = replaced(errors, os.open(os.devnull, os.O_WRONLY))
            else:
                errors = replaced(errors, os.dup(sink))
        status = 0
        try:
            running.append(subprocess.Popen(step["argv"], stdin=source, stdout=sink, stderr=errors))
        except OSError as problem:
            status = 127 if isinstance(problem, FileNotFoundError) else 126
            os.write(errors, f"{step['argv'][0]}: {problem.strerror}\n".encode())
        for end in (source, sink, errors):
            os.close(end)
        source = read_end
    last = running[-1] if running and not status else None
    for process in running:
        process.wait()
    if last is None:
        return status
    return 128 - last.returncode if last.returncode < 0 else last.returncode


def replaced(old: int, new: int) -> int:
    os.close(old)
    return new


if __name__ == "__main__":
    sys.exit(main(os.path.realpath(sys.argv[1]), json.loads(sys.argv[2])))
