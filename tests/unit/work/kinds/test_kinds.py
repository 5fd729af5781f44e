"""Every built-in kind, done by a real worker on real repositories."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pushpals.protocol.events import (
    CheckFinished,
    Committed,
    DiffReady,
    ScanResult,
    ToolCall,
    ToolResult,
)
from pushpals.testing.workshop import Workshop
from pushpals.work.context import AgentCommand, Settings

PYPROJECT = '[tool.pytest.ini_options]\ntestpaths = ["tests"]\n'
ADD = "def add(a, b):\n    return a + b\n"
TEST_ADD = "from adder import add\n\n\ndef test_adding():\n    assert add(1, 2) == 3\n"
HEAD = "--- a/adder.py\n+++ b/adder.py\n"
PROJECT = {"pyproject.toml": PYPROJECT, "adder.py": ADD, "tests/test_adder.py": TEST_ADD}


async def test_a_check_is_told_with_its_counts_and_bound_to_commit_and_tree(tmp_path: Path) -> None:
    async with Workshop(tmp_path, PROJECT) as shop:
        job = await shop.do("check")
        assert job.result is not None
        base = shop.repo.checkout.sha("HEAD")
        tree = shop.repo.checkout.git("rev-parse", "HEAD^{tree}")
        (evidence,) = job.result.evidence
        assert (job.state, job.base, job.result.head) == ("completed", base, None)
        assert (evidence.verdict, evidence.commit, evidence.tree) == ("passed", base, tree)
        assert evidence.counts is not None
        assert evidence.counts.passed == 1
        assert job.result.summary == "pytest passed (1 passed)."
        assert shop.events(CheckFinished)[0].evidence == evidence


async def test_a_failing_test_is_named_with_its_reason(tmp_path: Path) -> None:
    files = {**PROJECT, "adder.py": "def add(a, b):\n    return a - b\n"}
    async with Workshop(tmp_path, files) as shop:
        job = await shop.do("check", {"names": ["pytest"]})
        assert job.result is not None
        (evidence,) = job.result.evidence
        assert evidence.verdict == "failed"
        assert evidence.failures == ["tests.test_adder::test_adding: assert -1 == 3"]
        assert any("assert -1 == 3" in line for line in shop.lines())


async def test_an_unknown_check_is_answered_with_those_that_exist(tmp_path: Path) -> None:
    async with Workshop(tmp_path, PROJECT) as shop:
        job = await shop.do("check", {"names": ["mypy"]})
        assert job.error is not None
        assert (job.state, job.error.message) == (
            "failed",
            "there is no check named mypy; this repository has: pytest",
        )


async def test_a_repository_without_checks_says_so(tmp_path: Path) -> None:
    async with Workshop(tmp_path, {"README.md": "# Hi\n"}) as shop:
        job = await shop.do("check")
        assert job.result is not None
        assert job.result.summary == (
            "This repository has no checks. "
            "No checks were found; name them in pushpals.toml under [[checks]]."
        )


async def test_the_lint_is_fixed_committed_and_checked(tmp_path: Path) -> None:
    files = {**PROJECT, "adder.py": f"import os\nimport sys\n\n\n{ADD}"}
    async with Workshop(tmp_path, files) as shop:
        job = await shop.do("fix", {"fixer": "ruff"})
        result = job.result
        assert result is not None
        assert (job.state, result.branch) == ("completed", f"agent/w1/{job.id}")
        assert result.summary == (
            "ruff fixed 2 findings (F401 ×2). 1 file changed, 2 deletions(-); pytest passed (1 passed)."
        )
        assert [(one.path, one.status, one.deleted) for one in result.files] == [("adder.py", "M", 2)]
        (evidence,) = result.evidence
        assert (evidence.commit, evidence.tree, evidence.verdict) == (result.head, result.tree, "passed")
        (ready,) = shop.events(DiffReady)
        assert "-import os" in ready.unified_diff
        assert shop.events(Committed)[0].commit_hash == result.head
        assert result.patch is not None
        assert shop.blobs[result.patch].decode() == ready.unified_diff
        assert result.bundle is not None
        assert shop.blobs[result.bundle].startswith(b"# v2 git bundle\n")
        types = [event.type for event in shop.story()]
        assert types.index("diff_ready") < types.index("committed") < types.index("check_finished")


async def test_the_person_s_checkout_is_left_alone(tmp_path: Path) -> None:
    async with Workshop(tmp_path, {**PROJECT, "adder.py": f"import os\n\n\n{ADD}"}) as shop:
        before = (
            shop.repo.checkout.refs(),
            shop.repo.upstream.refs(),
            shop.repo.checkout.git("status", "-s"),
        )
        await shop.do("fix")
        assert before == (
            shop.repo.checkout.refs(),
            shop.repo.upstream.refs(),
            shop.repo.checkout.git("status", "-s"),
        )


async def test_a_clean_repository_has_nothing_to_fix(tmp_path: Path) -> None:
    async with Workshop(tmp_path, PROJECT) as shop:
        job = await shop.do("fix", {"fixer": "ruff"})
        assert job.result is not None
        assert (job.result.summary, job.result.head) == ("ruff finds nothing.", None)


async def test_an_unsafe_fix_is_reported_and_not_made(tmp_path: Path) -> None:
    files = {
        "a.py": "def f():\n    unused = 1\n    return 2\n",
        "ruff.toml": '[lint]\nextend-safe-fixes = ["F841"]\n',
    }
    async with Workshop(tmp_path, files) as shop:
        job = await shop.do("fix", {"fixer": "ruff"})
        assert job.result is not None
        assert job.result.head is None
        assert (
            job.result.summary == "ruff finds nothing that it can fix safely. 1 more finding needs a person."
        )


async def test_code_is_not_made_newer_when_nobody_says_which_python_it_is_for(tmp_path: Path) -> None:
    files = {"a.py": "class Old(object):\n    one = 1\n", "ruff.toml": '[lint]\nselect = ["UP"]\n'}
    async with Workshop(tmp_path, files) as shop:
        job = await shop.do("fix", {"fixer": "ruff"})
        assert job.result is not None
        assert job.result.head is None
        told = {**files, "pyproject.toml": '[project]\nname="a"\nversion="1"\nrequires-python = ">=3.9"\n'}
        shop.repo.checkout.commit("Say so", told)
        shop.repo.push()
        job = await shop.do("fix", {"fixer": "ruff"})
        assert job.result is not None
        assert job.result.head is not None


@pytest.mark.parametrize("setting", ["fix = true", "fix-only = true"])
async def test_looking_mends_nothing_where_the_configuration_says_so(tmp_path: Path, setting: str) -> None:
    files = {"a.py": "import os\n", "ruff.toml": f"{setting}\n"}
    async with Workshop(tmp_path, files) as shop:
        looked = await shop.do("look", {"about": ["lint"]})
        assert looked.result is not None
        assert "F401 ×1" in looked.result.summary
        mended = await shop.do("fix", {"fixer": "ruff"})
        assert mended.result is not None
        assert [change.path for change in mended.result.files] == ["a.py"]


async def test_what_the_repository_excludes_stays_as_it_is(tmp_path: Path) -> None:
    files = {
        "ruff.toml": 'extend-exclude = ["old.py"]\n[lint]\nignore = ["W291"]\n',
        "old.py": "import os\n",
        "new.py": "import os\nx = 1 \n",
    }
    async with Workshop(tmp_path, files) as shop:
        job = await shop.do("fix", {"fixer": "ruff"})
        assert job.result is not None
        assert [change.path for change in job.result.files] == ["new.py"]
        assert job.result.files[0].deleted == 1


async def test_a_fixer_only_looks_at_what_the_job_may_change(tmp_path: Path) -> None:
    async with Workshop(tmp_path, {"a/x.py": "import os\n", "b/y.py": "import os\n"}) as shop:
        job = await shop.do("fix", {"fixer": "ruff"}, paths=["a/**"])
        assert job.result is not None
        assert [change.path for change in job.result.files] == ["a/x.py"]


async def test_an_unformatted_repository_is_not_formatted_unless_it_or_a_person_says_so(
    tmp_path: Path,
) -> None:
    files = {f"m{n}.py": "x = {  'a':1 }\n" for n in range(4)}
    async with Workshop(tmp_path, files) as shop:
        job = await shop.do("fix", {"fixer": "format"})
        assert job.result is not None
        assert job.result.head is None
        assert job.result.summary.startswith("This repository is not formatted: 4 of 4 files would change")
        job = await shop.do("fix", {"fixer": "format", "force": True})
        assert job.result is not None
        assert len(job.result.files) == 4
        shop.repo.checkout.commit(
            "Say so", {"pyproject.toml": '[tool.ruff.format]\nquote-style = "single"\n'}
        )
        shop.repo.push()
        job = await shop.do("fix", {"fixer": "format"})
        assert job.result is not None
        assert "x = {'a': 1}" in shop.events(DiffReady)[-1].unified_diff


async def test_misspellings_are_corrected_in_prose_and_names_in_code_stay(tmp_path: Path) -> None:
    files = {
        "README.md": "It can recieve things, see `recieve` and teh rest.\n\n```\nrecieve teh\n```\n",
        "a.py": 'def recieve(seperator):\n    """Wait for teh answer."""\n    return "recieve"  # occured once',
    }
    async with Workshop(tmp_path, files) as shop:
        job = await shop.do("fix", {"fixer": "typos"})
        assert job.result is not None
        assert job.result.head is not None
        told = shop.events(DiffReady)[0].unified_diff
        added = [line for line in told.splitlines() if line.startswith("+") and not line.startswith("+++")]
        assert added == [
            "+It can receive things, see `recieve` and the rest.",
            '+    """Wait for the answer."""',
            '+    return "recieve"  # occurred once',
        ]


async def test_a_pasted_patch_is_applied_and_checked(tmp_path: Path) -> None:
    diff = (
        "Please apply this:\n\n```diff\n--- a/adder.py\n+++ b/adder.py\n@@ -1,2 +1,3 @@\n"
        ' def add(a, b):\n+    """The sum."""\n     return a + b\n```\nThanks!\n'
    )
    async with Workshop(tmp_path, PROJECT) as shop:
        job = await shop.do("patch", {"diff": diff})
        assert job.result is not None
        assert job.result.summary == (
            "The patch applies. 1 file changed, 1 insertion(+); pytest passed (1 passed)."
        )
        assert shop.events(Committed)[0].message == "Apply a patch to adder.py"


async def test_a_patch_with_wrong_counts_is_recounted(tmp_path: Path) -> None:
    diff = f"{HEAD}@@ -1,9 +1,9 @@\n def add(a, b):\n-    return a + b\n+    return b + a\n"
    async with Workshop(tmp_path, PROJECT) as shop:
        job = await shop.do("patch", {"diff": diff, "title": "Turn it around"})
        assert job.result is not None
        assert job.result.summary.startswith("The patch applies (the line counts in its headers were wrong).")


async def test_a_patch_that_does_not_fit_shows_its_hunk(tmp_path: Path) -> None:
    diff = f"{HEAD}@@ -1,2 +1,2 @@\n def add(a, b):\n-    return a * b\n+    return b * a\n"
    async with Workshop(tmp_path, PROJECT) as shop:
        job = await shop.do("patch", {"diff": diff})
        assert job.error is not None
        assert (job.state, job.error.error_class) == ("failed", "conflict")
        assert job.error.message == "the patch does not apply: adder.py, hunk at line 1"
        assert job.error.detail is not None
        assert "-    return a * b" in job.error.detail


async def test_a_patch_against_an_older_file_is_merged(tmp_path: Path) -> None:
    first = "".join(f"line {n}\n" for n in range(1, 13))
    async with Workshop(tmp_path, {"a.txt": first}) as shop:
        changed = first.replace("line 12\n", "line twelve\n")
        shop.repo.checkout.write({"a.txt": changed})
        diff = shop.repo.checkout.git("diff", "--full-index")
        shop.repo.checkout.git("checkout", "-q", "a.txt")
        shop.repo.checkout.commit("Meanwhile", {"a.txt": first.replace("line 9\n", "line nine\n")})
        shop.repo.push()
        job = await shop.do("patch", {"diff": diff})
        assert job.result is not None
        assert job.result.summary.startswith("The patch applies after a three-way merge")


async def test_words_that_are_no_diff_are_refused(tmp_path: Path) -> None:
    async with Workshop(tmp_path, PROJECT) as shop:
        job = await shop.do("patch", {"diff": "make it better"})
        assert job.error is not None
        assert job.error.message.startswith("there is no unified diff in this text")


async def test_a_patch_cannot_write_through_a_link_or_outside(tmp_path: Path) -> None:
    for path in ("../evil.txt", "/tmp/evil.txt", ".git/config"):
        diff = f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+evil\n"
        async with Workshop(tmp_path / path.replace("/", "_"), PROJECT) as shop:
            job = await shop.do("patch", {"diff": diff})
            assert job.state == "failed"
    assert not (tmp_path / "evil.txt").exists()


async def test_a_command_shows_its_output_and_proposes_what_it_changed(tmp_path: Path) -> None:
    write = [sys.executable, "-c", "print('hello'); open('new.txt', 'w').write('x\\n')"]
    async with Workshop(tmp_path, PROJECT) as shop:
        job = await shop.do("command", {"argv": write})
        assert job.result is not None
        assert [change.path for change in job.result.files] == ["new.txt"]
        assert shop.lines()[0] == "hello"
        call = shop.events(ToolCall)[0]
        assert (call.tool, call.args["argv"], call.args["sandbox"]) == ("run", write, "none")
        assert shop.events(ToolResult)[0].stdout == "hello\n"


async def test_a_command_that_fails_keeps_nothing(tmp_path: Path) -> None:
    script = "import sys; open('adder.py', 'w').write(''); sys.exit(3)"
    async with Workshop(tmp_path, PROJECT) as shop:
        job = await shop.do("command", {"argv": [sys.executable, "-c", script]})
        assert job.result is not None
        assert (job.state, job.result.head) == ("completed", None)
        assert job.result.summary.endswith("exit 3. It had changed 1 files; that was not kept.")
        assert job.result.evidence[0].verdict == "failed"


async def test_a_command_is_no_shell(tmp_path: Path) -> None:
    async with Workshop(tmp_path, PROJECT) as shop:
        job = await shop.do("command", {"argv": ["echo", "a; touch b", "&&", "$HOME"]})
        assert job.result is not None
        assert shop.lines() == ["a; touch b && $HOME"]
        assert job.result.head is None


async def test_a_missing_program_is_said_plainly(tmp_path: Path) -> None:
    async with Workshop(tmp_path, PROJECT) as shop:
        job = await shop.do("command", {"argv": ["no-such-program", "-x"]})
        assert job.error is not None
        assert job.error.message == "`no-such-program -x` could not run: no such program: no-such-program"


async def test_a_secret_in_the_output_of_a_command_never_arrives(tmp_path: Path) -> None:
    token = "ghp_" + "a1B2c3D4e5F6" * 3
    async with Workshop(tmp_path, PROJECT) as shop:
        await shop.do("command", {"argv": ["printf", f"\\033[31m{token[:10]}\\033[0m{token[10:]}\\n"]})
        assert shop.lines()[0].startswith("[REDACTED:")
        assert token.encode() not in b"".join(event.data for event in shop.published[2:])


async def test_a_change_with_a_secret_is_not_sent(tmp_path: Path) -> None:
    token = "ghp_" + "a1B2c3D4e5F6" * 3
    diff = f"--- /dev/null\n+++ b/config.py\n@@ -0,0 +1 @@\n+TOKEN = '{token}'\n"
    async with Workshop(tmp_path, PROJECT) as shop:
        job = await shop.do("patch", {"diff": diff})
        assert job.error is not None
        assert job.error.error_class == "policy"
        assert "seems to hold a secret" in job.error.message
        assert shop.events(DiffReady) == []
        assert not any(token.encode() in blob for blob in shop.blobs.values())


async def test_a_change_outside_its_scope_is_refused(tmp_path: Path) -> None:
    diff = "--- /dev/null\n+++ b/other.txt\n@@ -0,0 +1 @@\n+x\n"
    async with Workshop(tmp_path, PROJECT) as shop:
        job = await shop.do("patch", {"diff": diff}, paths=["docs"])
        assert job.error is not None
        assert (job.error.error_class, job.error.message) == (
            "policy",
            "the change leaves its scope (docs): other.txt",
        )


async def test_a_test_that_was_red_before_is_told_apart_from_one_that_this_breaks(tmp_path: Path) -> None:
    files = {**PROJECT, "tests/test_old.py": "def test_old():\n    assert False\n"}
    breaking = f"{HEAD}@@ -1,2 +1,2 @@\n def add(a, b):\n-    return a + b\n+    return a - b\n"
    harmless = f"{HEAD}@@ -1,2 +1,2 @@\n def add(a, b):\n-    return a + b\n+    return b + a\n"
    async with Workshop(tmp_path, files) as shop:
        job = await shop.do("patch", {"diff": harmless})
        assert job.result is not None
        (evidence,) = job.result.evidence
        assert (evidence.verdict, evidence.detail) == ("failed", "the same fail on the base")
        assert job.result.output["baseline"]["pytest"]["harmless"] is True

        job = await shop.do("patch", {"diff": breaking})
        assert job.result is not None
        (evidence,) = job.result.evidence
        assert evidence.detail == "1 of them passed on the base"
        assert evidence.failures[0].startswith("tests.test_adder::test_adding")
        assert job.result.output["baseline"]["pytest"]["broken"] == ["tests.test_adder::test_adding"]


async def test_a_change_cannot_choose_its_own_checks(tmp_path: Path) -> None:
    files = {**PROJECT, "pushpals.toml": '[[checks]]\nname = "tests"\ncommand = "pytest -q"\n'}
    diff = (
        '--- a/pushpals.toml\n+++ b/pushpals.toml\n@@ -1,3 +1,3 @@\n [[checks]]\n name = "tests"\n'
        '-command = "pytest -q"\n+command = "true"\n'
    )
    async with Workshop(tmp_path, files) as shop:
        job = await shop.do("patch", {"diff": diff})
        assert job.result is not None
        assert job.result.evidence[0].argv[:2] == ["pytest", "-q"]


async def test_a_look_counts_what_is_wrong_and_changes_nothing(tmp_path: Path) -> None:
    files = {**PROJECT, "adder.py": f"import os\n\n\n{ADD}", "README.md": "Teh readme.\n"}
    async with Workshop(tmp_path, files) as shop:
        job = await shop.do("look")
        assert job.result is not None
        assert job.result.head is None
        assert job.result.summary == (
            "1 lint finding (F401 ×1, 1 can be fixed safely); 1 possible misspelling; "
            "pytest passed (1 passed)."
        )
        (scan,) = shop.events(ScanResult)
        assert (scan.summary, scan.files_read) == (job.result.summary, ["pyproject.toml"])


async def test_an_agent_s_words_are_words_and_its_diff_is_the_result(tmp_path: Path) -> None:
    liar = "import sys; brief = open(sys.argv[1]).read(); print('I fixed it, all tests pass:', brief)"
    worker = (
        "import sys; brief = sys.stdin.read(); open('adder.py', 'a').write('\\n\\nONE = 1\\n'); print(brief)"
    )
    agents = {
        "liar": AgentCommand(argv=(sys.executable, "-c", liar, "{brief_file}")),
        "worker": AgentCommand(argv=(sys.executable, "-c", worker)),
    }
    async with Workshop(tmp_path, PROJECT, settings=Settings(agents=agents)) as shop:
        job = await shop.do("agent", {"brief": "Fix the bug.", "agent": "liar"})
        assert job.result is not None
        assert job.result.head is None
        assert job.result.summary == "liar ended (exit 0). Nothing to change."
        assert job.result.output["agentSays"] == "I fixed it, all tests pass: Fix the bug."

        job = await shop.do("agent", {"brief": "Add a constant.", "agent": "worker"})
        assert job.result is not None
        assert [change.path for change in job.result.files] == ["adder.py"]
        assert job.result.evidence[0].verdict == "passed"


async def test_an_agent_s_own_key_is_redacted_and_nobody_else_s_variable_reaches_it(tmp_path: Path) -> None:
    show = "import os, sys; print(sorted(os.environ)); print(os.environ['KEY'])"
    agent = AgentCommand(argv=(sys.executable, "-c", show), env={"KEY": "hunter2-hunter2"})
    async with Workshop(tmp_path, PROJECT, settings=Settings(agents={"a": agent})) as shop:
        await shop.do("agent", {"brief": "Look around."})
        names, key = shop.lines()[:2]
        assert key.startswith("[REDACTED:KEY:")
        assert "PYTEST_CURRENT_TEST" not in names


async def test_without_a_configured_agent_the_answer_says_what_to_do(tmp_path: Path) -> None:
    async with Workshop(tmp_path, PROJECT) as shop:
        job = await shop.do("agent", {"brief": "Do it."})
        assert job.error is not None
        assert job.error.message.startswith("no coding agent is configured on this worker")


async def test_an_unknown_kind_is_answered_with_those_that_exist(tmp_path: Path) -> None:
    async with Workshop(tmp_path, PROJECT) as shop:
        job = await shop.do("fixx")
        assert job.error is not None
        assert job.error.message == (
            "there is no job kind 'fixx'. Did you mean 'fix'? "
            "This worker knows agent, check, command, fix, look, patch, revert"
        )


async def test_wrong_parameters_are_named_before_anything_runs(tmp_path: Path) -> None:
    async with Workshop(tmp_path, PROJECT) as shop:
        job = await shop.do("fix", {"fixer": "rm -rf", "shell": True})
        assert job.error is not None
        assert "it takes fixer?, force?" in job.error.message
        assert shop.events(ToolCall) == []
