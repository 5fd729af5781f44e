import re
from pathlib import Path
from urllib.parse import unquote

import click
import pytest

from pushpals import config
from pushpals.cli.main import COMMANDS, cli
from pushpals.cli.reference import PAGES
from pushpals.protocol.events import PAYLOADS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PROSE = sorted(
    [*DOCS.rglob("*.md"), *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"))]
)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"```.*?```", re.DOTALL)


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_reference_page_says_what_the_code_says(name: str) -> None:
    written = (DOCS / "reference" / name).read_text("utf-8")
    assert written == PAGES[name](), "run: make docs"


def test_every_event_setting_and_command_is_in_the_reference() -> None:
    events, settings, commands = (
        (DOCS / "reference" / f"{name}.md").read_text("utf-8") for name in ("events", "settings", "cli")
    )
    assert [name for name in PAYLOADS if f"### {name}\n" not in events] == []
    assert [field.key for field in config.fields() if f"`{field.key}`" not in settings] == []
    assert [name for name in COMMANDS if f"## pushpals {name}\n" not in commands] == []


@pytest.mark.parametrize("page", PROSE, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(_FENCE.sub("", page.read_text("utf-8"))):
        target, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        path = (page.parent / unquote(target)).resolve() if target else page
        if not path.exists() or (anchor and anchor not in _anchors(path)):
            broken.append(link)
    assert broken == []


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_page_is_reached_from_the_index() -> None:
    index = (DOCS / "index.md").read_text("utf-8")
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in _LINK.findall(index)}
    pages = {
        page for page in DOCS.rglob("*.md") if page.name != "index.md" and page.parent.name != "decisions"
    }
    assert sorted(str(page.relative_to(DOCS)) for page in pages - linked) == []


def test_every_decision_is_in_the_index_and_no_number_is_used_twice() -> None:
    folder = DOCS / "explanation" / "decisions"
    pages = sorted(page.name for page in folder.glob("*.md") if page.name != "index.md")
    assert _LINK.findall((folder / "index.md").read_text("utf-8")) == pages
    numbers = [name[:4] for name in pages]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("page", PROSE, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_a_page_shows_exists_with_its_options(page: Path) -> None:
    wrong = []
    for line in re.findall(r"^\$ (?:\S+=\S+ )*pushpals (.+)$", page.read_text("utf-8"), re.MULTILINE):
        words = line.split("#")[0].split()
        command: click.Command = cli
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            found = command.get_command(click.Context(command), words.pop(0))
            if found is None:
                wrong.append(line)
                break
            command = found
        known = {opt for param in command.params for opt in (*param.opts, *param.secondary_opts)} | {"--help"}
        wrong += [
            f"{line}: {word}" for word in words if word.startswith("--") and word.split("=")[0] not in known
        ]
    assert wrong == []


def test_the_console_scripts_are_the_parts_with_the_options_of_the_whole() -> None:
    from pushpals.cli import parts, pusher, worker

    for program, part in ((worker.program, parts.worker), (pusher.program, parts.pusher)):
        assert [p.name for p in program.params] == [p.name for p in (*cli.params, *part.params)]


def test_the_makefile_lists_what_the_pages_tell_people_to_run() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    told = {
        name
        for page in PROSE
        for name in re.findall(r"\bmake ([a-z]+)\b", "\n".join(_FENCE.findall(page.read_text("utf-8"))))
    }
    assert told - targets == set()
