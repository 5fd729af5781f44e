"""A real run as a notebook: it runs again without its hub, and a changed fact shows."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import nbformat
import pytest

from pushpals.cli.export import gather
from pushpals.notebook.exporting import notebook
from pushpals.notebook.run import Facts, Run, pack
from pushpals.policy.redact import redact_text
from pushpals.testing.town import Town

ROOT = Path(__file__).parents[2]


def nbval(path: Path) -> subprocess.CompletedProcess[str]:
    argv = [
        sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider", "-q", "--color=no",
        "--rootdir", str(path.parent), "-c", os.devnull, str(path),
    ]  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PUSHPALS_")}
    env = {**kept, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        argv, cwd=path.parent, env=env, capture_output=True, text=True, timeout=200, check=False
    )


@pytest.fixture
async def facts(tmp_path: Path) -> Facts:
    """The facts of a lint fix that landed, and of a question beside it."""
    async with Town.open(tmp_path / "town") as town:
        await town.say("run the tests")
        await town.work()
        await town.say("fix the lint")
        await town.work()
        await town.approve()
        await town.land()
        return await gather(town.person, "dev")


@pytest.mark.timeout(240)
async def test_an_exported_run_is_green_without_its_hub_and_red_when_its_words_were_changed(
    facts: Facts, tmp_path: Path
) -> None:
    text = notebook(facts, replay=True)
    book = nbformat.reads(text, as_version=4)
    nbformat.validate(book)
    assert redact_text(text) == text
    path = tmp_path / "run.ipynb"
    path.write_text(text, "utf-8")
    done = await asyncio.to_thread(nbval, path)
    assert done.returncode == 0, done.stdout[-4_000:]

    wrong = text.replace("8 passed", "9 passed")
    assert wrong != text
    path.write_text(wrong, "utf-8")
    done = await asyncio.to_thread(nbval, path)
    assert done.returncode == 1
    assert "Cell outputs differ" in done.stdout


async def test_what_was_shown_is_what_is_verified(facts: Facts) -> None:
    run = Run.decode(pack(facts))
    assert [one.ok for one in run.verify()] == [True] * len(run.verify())
    assert len(run.verify()) == 4
    assert repr(run) == f"Run of session dev: {len(facts.events)} events, 2 jobs, 1 landings"
    assert "landed" in repr(run.timeline())
    (landing,) = facts.landings
    assert "-import os" in repr(run.diff(landing.job_id or ""))
    assert (
        run.sql("SELECT verdict FROM v_checks WHERE landing_id = :id", id=landing.id).column("verdict")
        == ["passed"] * 3
    )
    start = next(event.cursor for event in facts.events if event.type == "approval_required")
    assert "open" in repr(run.at(start))
    assert "landed" not in repr(run.at(start))


@pytest.mark.parametrize("lie", ["head", "receipt", "action", "patch"])
async def test_a_changed_fact_does_not_hold(facts: Facts, lie: str) -> None:
    (landing,), (approval,) = facts.landings, facts.approvals
    replace = msgspec.structs.replace
    wrong: dict[str, dict[str, Any]] = {
        "head": {"landings": [replace(landing, head="f" * 40)]},
        "receipt": {
            "landings": [replace(landing, evidence=[replace(landing.evidence[0], verdict="failed")])]
        },
        "action": {"approvals": [replace(approval, action={**approval.action, "head": "f" * 40})]},
        "patch": {"patches": dict.fromkeys(facts.patches, b"--- a\n+++ b\n")},
    }
    run = Run.decode(pack(replace(facts, **wrong[lie])))
    assert not all(one.ok for one in run.verify())
    assert "NO" in repr(run.verify())


async def test_one_job_is_told_alone(facts: Facts, tmp_path: Path) -> None:
    job = facts.jobs[0]
    alone = msgspec.structs.replace(facts, jobs=[job], approvals=[], landings=[], patches={}, job_id=job.id)
    book = nbformat.reads(notebook(alone), as_version=4)
    assert book.cells[0].source.startswith("# Run the tests")
    assert len(notebook(alone)) < 100_000


def test_what_is_no_run_is_refused() -> None:
    for text in ("", "hello", "~" * 50):
        with pytest.raises(ValueError, match="no packed run"):
            Run.decode(text)
