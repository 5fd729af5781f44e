"""A landing is taken back, and a line tells where it comes from: the whole team, real git, real checks."""

from __future__ import annotations

from pathlib import Path

from pushpals.cli.why import _ask_hub, _blame
from pushpals.testing.repos import Repository
from pushpals.testing.town import Town


async def test_a_landing_is_undone_by_a_checked_and_approved_landing_and_why_tells_both(
    tmp_path: Path,
) -> None:
    async with Town.open(tmp_path) as town:
        before = town.main
        words = "apply this\n--- /dev/null\n+++ b/NOTES.md\n@@ -0,0 +1,2 @@\n+one\n+two\n"
        await town.say(words)
        await town.work()
        await town.approve()
        (landed,) = [one for one in await town.land() if one.state == "landed"]
        bare = Repository(town.upstream, bare=True)
        head = bare.git("rev-parse", "main")
        found = await _ask_hub(town.person, await _blame(town.upstream, head, "NOTES.md", 2))
        assert found.landing == landed.id
        assert (found.message, found.kind, found.job) == (words, "patch", landed.job_id)
        assert (found.text, found.asked_by) == ("two", "client:ada")
        assert found.approved_by == "client:ada"
        assert found.landed_as == head
        assert found.trailers["Approved-Head"] == landed.head
        assert "passed" in {one.verdict for one in found.evidence}
        assert "Co-authored-by: ada <ada@pushpals.invalid>" in bare.git("log", "-1", "--format=%B", "main")

        await town.say(f"undo {landed.id}")
        (job,) = await town.work()
        assert (job.kind, job.state) == ("revert", "completed"), job.error
        asked = await town.approve()
        assert asked.action["reverts"] == landed.id
        newest = (await town.land())[0]
        assert (newest.state, newest.reverts, newest.title) == ("landed", landed.id, job.title)
        assert town.main == before
        message = bare.git("log", "-1", "--format=%B", "main")
        assert f"Reverts-Job: {landed.job_id}" in message
        bare.git("merge-base", "--is-ancestor", head, "main")

        await town.say("undo the last landing")
        (again,) = await town.work()
        assert again.kind == "revert"
        assert again.params["landing"] == newest.id


async def test_what_later_landings_build_on_is_not_taken_back_and_they_are_named(tmp_path: Path) -> None:
    checkout, upstream = tmp_path / "checkout", tmp_path / "upstream.git"
    person = Repository.create(
        checkout,
        {"notes.txt": "one\ntwo\nthree\n", "pushpals.toml": '[[checks]]\nname = "yes"\nargv = ["true"]\n'},
    )
    Repository.create(upstream, bare=True)
    person.git("push", "--quiet", str(upstream), "main")
    async with Town.open(tmp_path / "town", repository=(checkout, upstream)) as town:
        for old, new in (("two", "zwei"), ("zwei", "deux")):
            diff = f"--- a/notes.txt\n+++ b/notes.txt\n@@ -1,3 +1,3 @@\n one\n-{old}\n+{new}\n three\n"
            await town.say(f"apply this\n{diff}")
            await town.work()
            await town.approve()
            await town.land()
        assert town.main["notes.txt"].split() == ["one", "deux", "three"]
        first = [one for one in (await town.person.landings()).items if one.state == "landed"][-1]
        await town.say(f"undo {first.id}")
        (job,) = await town.work()
        assert job.state == "failed"
        assert job.error is not None
        assert "notes.txt" in job.error.message
        assert "deux" in town.main["notes.txt"]


async def test_an_unknown_or_unlanded_landing_is_said_to_be_one(tmp_path: Path) -> None:
    async with Town.open(tmp_path) as town:
        await town.say("undo the last landing")
        await town.say("undo landing-nowhere")
        assert (await town.said())[-2:] == [
            "Nothing has landed in this session yet.",
            "There is no landing landing-nowhere; `pushpals landing list` shows them.",
        ]
