"""Parts as processes: kept, given up, ended, and told when their supervisor dies."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pushpals.cli.supervisor import Part, Restarts

AT_ONCE = Restarts(first_s=0.0, most_s=0.0, times=3)


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], tuple[Part, list[str]]]:
    def make_part(code: str) -> tuple[Part, list[str]]:
        told: list[str] = []
        part = Part(
            "part",
            [sys.executable, "-c", code],
            env=dict(os.environ),
            log=tmp_path / "part.log",
            tell=lambda name, sentence: told.append(f"{name}: {sentence}"),
            restarts=AT_ONCE,
        )
        return part, told

    return make_part


Make = Callable[[str], tuple[Part, list[str]]]


async def lines_in(log: Path, count: int) -> list[str]:
    """The lines of a log, once there are so many."""
    for _ in range(3_000):
        lines = _complete_lines(log)
        if len(lines) >= count:
            return lines
        await asyncio.sleep(0.01)
    raise AssertionError(f"{log} has fewer than {count} lines")


def _complete_lines(log: Path) -> list[str]:
    text = log.read_text() if log.exists() else ""
    return text[: text.rfind("\n") + 1].splitlines()


async def test_a_part_that_crashes_is_started_again_and_in_the_end_given_up(make: Make) -> None:
    part, told = make("import sys; print('no more'); sys.exit(3)")
    await part.run()
    assert part.gave_up.is_set()
    assert part.exit_code == 3
    again = "part: crashed (exit code 3): no more; starts again in 0 s"
    assert told == [again, again, again, f"part: crashed 4 times and stays down; see {part.log}"]
    assert part.log.read_text() == "no more\n" * 4


@pytest.mark.parametrize(("code", "says"), [(78, "cannot run here (exit code 78): no sandbox"), (0, "ended")])
async def test_a_part_that_says_so_is_not_started_again(make: Make, code: int, says: str) -> None:
    part, told = make(f"import sys; print('no sandbox'); sys.exit({code})")
    await part.run()
    assert (part.exit_code, told) == (code, [f"part: {says}"])


async def test_a_part_drains_when_it_is_asked_to(make: Make) -> None:
    part, told = make(
        "import signal, sys, time\n"
        "def end(*_):\n    print('drained'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True); time.sleep(600)"
    )
    keeping = asyncio.create_task(part.run())
    await lines_in(part.log, 1)
    await part.stop(30.0)
    await keeping
    assert part.log.read_text() == "up\ndrained\n"
    assert told == []


async def test_a_part_that_does_not_drain_is_killed_with_its_children(make: Make) -> None:
    part, told = make(
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    keeping = asyncio.create_task(part.run())
    child = int((await lines_in(part.log, 1))[0])
    await part.stop(0.1)
    await keeping
    _, alive = psutil.wait_procs([psutil.Process(child)] if psutil.pid_exists(child) else [], timeout=30)
    assert alive == []
    assert told == ["part: did not end within 0.1 s and was killed"]
    await part.stop(0.1)


async def test_a_crashed_parts_children_do_not_outlive_the_stop(make: Make) -> None:
    part, _ = make(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True); sys.exit(0)"
    )
    await part.run()
    child = int((await lines_in(part.log, 1))[0])
    await part.stop(1.0)
    psutil.wait_procs([psutil.Process(child)] if psutil.pid_exists(child) else [], timeout=30)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_part_ends_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    child = (
        "import time; from pushpals.cli.supervisor import die_with_parent\n"
        "die_with_parent(); print('up', flush=True); time.sleep(600)"
    )
    parent = (
        "import asyncio, os, sys\nfrom pathlib import Path\nfrom pushpals.cli.supervisor import Part\n"
        f"argv = [sys.executable, '-c', {child!r}]\n"
        f"part = Part('p', argv, env=dict(os.environ), log=Path({str(log)!r}), tell=print)\n"
        "async def main():\n"
        "    keeping = asyncio.create_task(part.run())\n"
        "    while not part.log.exists() or not part.log.read_text(): await asyncio.sleep(0.01)\n"
        "    print(part.pid, flush=True); await keeping\n"
        "asyncio.run(main())"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    part = psutil.Process(pid)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    gone, alive = psutil.wait_procs([part], timeout=60)
    assert (gone, alive) == ([part], [])
