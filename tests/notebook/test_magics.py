"""The magics as they are typed."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from pushpals.testing.site import RunningSite


@pytest.fixture
def connected(site: RunningSite, monkeypatch: pytest.MonkeyPatch) -> RunningSite:
    monkeypatch.setenv("PUSHPALS_URL", site.url)
    monkeypatch.setenv("PUSHPALS_TOKEN", site.secrets["notebook"])
    monkeypatch.setenv("PUSHPALS_SESSION_ID", "ops")
    return site


def test_a_file_is_asked_by_cell_and_by_line(shell: Any, day: Path) -> None:
    shell.names |= {"state": "failed", "kinds": ["fix", "patch"]}
    cell = shell.type(f"%%ppsql --file {day}\nSELECT id FROM v_jobs WHERE state = :state")
    assert cell.value.rows == [("job-4",)]
    line = shell.type(f"%ppsql --file '{day}' --limit 1 SELECT id FROM v_jobs ORDER BY id")
    assert (line.value.rows, line.value.truncated) == ([("job-1",)], True)
    kept = shell.type(
        f"%%ppsql found << --file {day}\n"
        "SELECT count(*) AS n FROM v_jobs WHERE kind IN (SELECT value FROM json_each(:kinds))"
    )
    assert kept.value is None
    assert shell.names["found"].scalar() == 4
    assert shell.type(f"jobs = %ppsql --file {day} failures").failed is False
    assert shell.names["jobs"].column("id") == ["job-4"]


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("%%ppsql --file {day}\nDELETE FROM jobs", "only SELECT over the views"),
        ("%%ppsql --file {day}\nSELECT * FROM tokens", "tokens.n cannot be read"),
        ("%%ppsql --file {day}\nSELECT id\nFORM v_jobs", "  FORM v_jobs\n       ^^^^^^"),
        ("%%ppsql --file {day}\nSELECT :gone", "no variable 'gone'"),
        ("%%ppsql --file {day} --timeout 0.1\nWITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x FROM c) SELECT count(*) FROM c", "stopped after 0.1 s"),
        ("%%ppsql --file /nowhere/hub.db\nSELECT 1", "there is no file"),
        ("%%ppsql --file {day} --limit many\nSELECT 1", "--limit takes a number"),
        ("%%ppsql --fast\nSELECT 1", "there is no --fast"),
        ("%ppsql --limit", "--limit needs a value"),
        ("%ppsql", "%%ppsql [name <<]"),
        ("%ppsql SELECT 1", "no hub runs here; start one with: pushpals up"),
        ("%pptables tokens", "there is no view 'tokens'"),
        ("%pushpals status", "no hub runs here"),
        ("%pushpals dance", "there is no %pushpals dance"),
        ("%pushpals approve approval-4", "a notebook decides nothing"),
        ("%pushpals diff", "needs a job"),
        ("%%ask\n ", "nothing to ask"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_readable_message_and_fails_the_cell(
    shell: Any, day: Path, cell: str, why: str
) -> None:
    typed = shell.type(cell.format(day=day))
    assert typed.failed
    assert why in typed.err
    assert "Traceback" not in typed.err


def test_a_file_that_is_no_database_is_refused(shell: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello " * 1000)
    assert "cannot be asked" in shell.type("%ppsql --file notes.txt SELECT 1").err


def test_questions_are_saved_and_listed(shell: Any, day: Path) -> None:
    shell.type(f"%%ppsql --file {day} --save mine\nSELECT 7 AS seven")
    assert shell.type(f"%ppsql --file {day} mine").value.rows == [(7,)]
    assert "mine" in shell.type("%ppsql --list").value.column("name")


def test_unloading_takes_everything_back(shell: Any) -> None:
    shell.shell.run_line_magic("unload_ext", "pushpals")
    assert shell.shell.find_line_magic("ppsql") is None
    shell.shell.run_line_magic("load_ext", "pushpals")


async def test_the_hub_is_asked_and_acted_on(shell: Any, connected: RunningSite) -> None:
    def cells() -> None:
        assert shell.type("%ppsql SELECT count(*) AS n FROM v_jobs").value.scalar() == 7
        assert shell.type("%ppsql --session other SELECT 1").failed
        jobs = shell.type("%pushpals jobs failed").value
        assert [job.id for job in jobs] == ["job-4"]
        assert "job-4  failed  command  Run mypy" in repr(jobs)
        assert "mypy could not be started" in repr(shell.type("%pushpals job job-4").value)
        assert repr(shell.type("%pushpals approvals").value).splitlines()[-1].startswith("approval-4  open")
        assert "2 landed" not in repr(shell.type("%pushpals landings landed").value)
        assert "w1 idle" in repr(shell.type("%pushpals status").value)
        assert repr(shell.type("%pushpals tail 1").value).startswith("remote    job-7 waits for a worker")
        assert repr(shell.type("%pushpals say hello").value) == "said, at 96"
        assert repr(shell.type("%pushpals cancel job-7").value) == "job-7 cancelled"
        assert repr(shell.type("%pushpals diff job-4").value) == "job-4 (failed) changed nothing"
        assert "begins no job" in shell.type("%pushpals job nothing").err
        assert shell.type("%pushpals session other").failed is False

    await asyncio.to_thread(cells)
    assert os.environ["PUSHPALS_TOKEN"].startswith("pp_notebook_")
