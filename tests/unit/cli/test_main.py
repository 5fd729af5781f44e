"""The command line itself: help, exit codes, errors, colours. No hub runs here."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from pushpals import __version__
from pushpals.cli.main import COMMANDS, cli


def every_command() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []

    def walk(command: click.Command, path: tuple[str, ...]) -> None:
        found.append(path)
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                assert inner is not None
                walk(inner, (*path, name))

    walk(cli, ())
    return found


@pytest.mark.parametrize("path", every_command(), ids=" ".join)
def test_every_command_explains_itself(terminal, path: tuple[str, ...]) -> None:
    shown = terminal.run(*path, "--help")
    assert shown.exit_code == 0
    assert shown.output.startswith("Usage: ")
    assert max(len(line) for line in shown.output.splitlines()) <= 110


@pytest.mark.parametrize("name", COMMANDS)
def test_the_one_line_help_of_a_command_is_a_sentence(name: str) -> None:
    assert COMMANDS[name].help.endswith(".")
    assert len(COMMANDS[name].help) <= 75


@pytest.mark.parametrize("program", ["pushpals", "pushpals-worker", "serial-pusher"])
def test_every_installed_program_explains_itself(program: str) -> None:
    path = Path(sys.executable).with_name(program)
    done = subprocess.run([path, "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith(f"Usage: {program} ")


def test_a_program_of_its_own_ends_like_the_command(terminal) -> None:
    argv = [Path(sys.executable).with_name("pushpals-worker"), "-C", "/"]
    done = subprocess.run(argv, env=terminal.env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "is not in a git working tree" in done.stderr) == (2, True)


def test_the_version_is_the_packages(terminal) -> None:
    assert terminal.run("--version").output == f"pushpals, version {__version__}\n"


def test_a_mistyped_command_is_answered_with_the_one_that_was_meant(terminal) -> None:
    shown = terminal.run("aprove")
    assert shown.exit_code == 2
    assert "Did you mean 'approve'?" in shown.output


NEEDS_A_HUB = ["status", "jobs", "approvals", "log", "tail", "workers", "open", "down", "approve"]


@pytest.mark.parametrize("command", NEEDS_A_HUB)
def test_without_a_hub_a_command_ends_with_3_and_says_what_to_start(terminal, command: str) -> None:
    shown = terminal.run(command)
    assert shown.exit_code == 3
    assert "pushpals up" in shown.output


def test_a_hub_that_cannot_be_reached_is_3_as_well(terminal) -> None:
    shown = terminal.run("--url", "http://127.0.0.1:9", "status")
    assert shown.exit_code == 3


def test_an_error_is_json_when_json_was_asked_for(terminal) -> None:
    shown = terminal.run("status", "--json")
    assert json.loads(shown.stderr) == {
        "ok": False,
        "error": f"nothing runs for {terminal.repository}; start it with: pushpals up",
        "code": "not_running",
    }


def test_outside_of_a_repository_the_error_says_how_to_get_into_one(terminal, tmp_path: Path) -> None:
    shown = terminal.run("-C", str(tmp_path), "status", env={"PUSHPALS_DATA_DIR": ""})
    assert shown.exit_code == 2
    assert "is not in a git working tree" in shown.output


def test_a_wrong_setting_ends_with_2(terminal) -> None:
    (terminal.repository / "pushpals.toml").write_text("[hub]\nport = 80\n")
    shown = terminal.run("status")
    assert shown.exit_code == 2
    assert "a repository may not set this" in shown.output


@pytest.mark.parametrize(
    ("flags", "env", "coloured"),
    [
        ((), {}, False),
        (("--color",), {}, True),
        (("--color",), {"NO_COLOR": "1"}, True),
        (("--no-color",), {}, False),
        ((), {"NO_COLOR": "1"}, False),
    ],
)
def test_colours_are_for_terminals_and_for_who_asks(
    terminal, flags: tuple[str, ...], env: dict[str, str], coloured: bool
) -> None:
    assert ("\x1b[" in terminal.run(*flags, "init", "--show", env=env).output) is coloured


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(terminal, shell: str) -> None:
    shown = terminal.run("completion", shell)
    assert shown.exit_code == 0
    assert f"_PUSHPALS_COMPLETE={shell}_complete" in shown.output


def test_config_show_tells_where_a_value_comes_from_and_never_a_secret(terminal) -> None:
    shown = terminal.run(
        "config", "show", "--json", env={"PUSHPALS_TOKEN": "pp_secret", "PUSHPALS_WORKERS": "5"}
    )
    settings = json.loads(shown.output)
    assert settings["worker.count"] == {"value": 5, "origin": "env PUSHPALS_WORKERS"}
    assert settings["hub.token"] == {"value": "(set, not shown)", "origin": "env PUSHPALS_TOKEN"}
    assert (
        "pp_secret"
        not in terminal.run("config", "show", "--origin", env={"PUSHPALS_TOKEN": "pp_secret"}).output
    )


def test_init_shows_what_it_found_and_writes_only_after_a_yes(terminal) -> None:
    (terminal.repository / "Makefile").write_text("test:\n\ttrue\n")
    path = terminal.repository / "pushpals.toml"
    refused = terminal.run("init", stdin="n\n")
    assert (refused.exit_code, path.exists()) == (4, False)
    assert "make test" in refused.output
    assert terminal.run("init", stdin="y\n").exit_code == 0
    assert 'argv = ["make", "test"]' in path.read_text()
    again = terminal.run("init")
    assert (again.exit_code, "names the checks already" in again.output) == (0, True)


def test_doctor_gives_a_remedy_for_what_is_missing(terminal) -> None:
    found = {one["about"]: one for one in json.loads(terminal.run("doctor", "--json").output)}
    assert found["sandbox"]["verdict"] == "ok"
    assert found["hub"] == {
        "about": "hub",
        "verdict": "note",
        "says": "does not run",
        "remedy": "pushpals up",
    }
    assert found["checks"]["remedy"] == "name them: pushpals init"


def test_doctor_ends_with_1_when_something_is_wrong(terminal) -> None:
    terminal.state.make()
    terminal.state.root.chmod(0o755)
    shown = terminal.run("doctor")
    assert shown.exit_code == 1
    assert f"chmod 700 {terminal.state.root}" in shown.output


def test_a_command_runs_in_the_sandbox_with_its_own_exit_code(terminal) -> None:
    shown = terminal.run("sandbox", "run", "--", "sh", "-c", "cat /etc/hostname; ls; exit 7")
    assert shown.exit_code == 7


@pytest.mark.parametrize(
    ("words", "decision", "code"), [("ls", "allow", 0), ("pip install x", "ask", 1), ("git push", "deny", 4)]
)
def test_policy_check_says_it_with_the_exit_code(terminal, words: str, decision: str, code: int) -> None:
    shown = terminal.run("policy", "check", "--json", "--", *words.split())
    assert (json.loads(shown.output)["decision"], shown.exit_code) == (decision, code)
