"""What a person does in JupyterLab, over the real team: panel, status bar, widget, busy kernel.

``PUSHPALS_LAB_PYTHON`` names the interpreter of another JupyterLab, ``PUSHPALS_LAB_APP=notebook`` shows the
same in Notebook, ``PUSHPALS_PICTURES`` a folder for pictures.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Route, expect

from pushpals.cli.state import Running, State
from pushpals.hub import tokens
from pushpals.hub.hub import SYSTEM
from pushpals.protocol.commands import NewToken
from pushpals.protocol.records import ROLES
from pushpals.server import Service, start_service
from pushpals.store.sqlite import open_store
from pushpals.testing.jupyter import Jupyter
from pushpals.testing.labpage import LabPage, chromium
from pushpals.testing.site import RunningSite
from pushpals.testing.town import Town

APP = os.environ.get("PUSHPALS_LAB_APP", "lab")
PICTURES = Path(os.environ["PUSHPALS_PICTURES"]) if "PUSHPALS_PICTURES" in os.environ else None
CONSOLE = "from pushpals import Console\nconsole = Console()\nconsole"
HARMLESS = re.compile(
    r"widget model not found|Canceled|No model|Failed to fetch|ResizeObserver", re.IGNORECASE
)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest.fixture
async def lab(jupyter: Jupyter, browser: Browser) -> LabPage:
    return await LabPage.new(jupyter, browser, APP)


@pytest.fixture
async def town(tmp_path: Path, state: State) -> AsyncIterator[Town]:
    async with Town.open(tmp_path) as town:
        for role in ROLES:
            ask = NewToken(role=role, label="ada" if role in ("operator", "notebook") else role)
            state.keep_token(role, (await town.service.hub.run(tokens.make, ask, actor=SYSTEM)).secret)
        state.keep_running(
            Running(
                url=town.service.url,
                started="",
                repository="/repo",
                session_id="dev",
                pids={"up": os.getpid()},
            )
        )
        yield town
        state.forget_running()


async def restart(town: Town) -> Service:
    """The hub ends and comes back at the same address, on the same database."""
    data, port = town.root / "hub", town.service.port
    await town.service.stop()
    town.service = await start_service(open_store, data / "hub.db", data_dir=data, port=port)
    return town.service


async def test_the_panel_from_a_message_to_a_landing(lab: LabPage, town: Town) -> None:
    lab.jupyter.notebook("panel.ipynb", ["1 + 1"])
    await lab.open("panel.ipynb")
    await lab.command("pushpals:open")
    panel, page = lab.panel, lab.page
    await panel.live()
    status = page.locator("#pushpals-status")
    if APP == "lab":
        await expect(status).to_have_attribute("aria-label", "Push Pals, session dev: nothing needs you")

    # Chat: said here, heard there, answered here. Keys are not commands of the notebook behind.
    cells = await page.locator(".jp-Notebook .jp-Cell").count()
    await panel.go("Chat")
    await panel.root.locator("textarea").first.click()
    await page.keyboard.type("dd aa bb")
    assert await page.locator(".jp-Notebook .jp-Cell").count() == cells
    await panel.say("fix the lint")
    await panel.text("fix the lint").first.wait_for()
    async for event in town.person.follow("dev", types=["message"]):
        assert event.payload.text == "fix the lint"  # type: ignore[attr-defined]
        break
    await town.read()
    await lab.picture(PICTURES, f"{APP}-chat")
    await town.work()
    await panel.go("Work")
    await panel.root.locator(".item").first.click()
    await lab.picture(PICTURES, f"{APP}-work")

    # It asks: in the status bar, as a notification, and in the inbox with the diff beside it.
    if APP == "lab":
        await expect(status).to_have_attribute("aria-label", "Push Pals, session dev: 1 needs you")
        await page.get_by_role("button", name="Look").click()
    else:
        await panel.go("Needs you")
    await panel.root.get_by_text("import os", exact=False).first.wait_for()
    await lab.picture(PICTURES, f"{APP}-approval-light")
    if APP == "lab":
        await lab.theme("JupyterLab Dark")
        await lab.picture(PICTURES, f"{APP}-approval-dark")
        await lab.theme("JupyterLab Light")

    # Two steps, then it lands.
    approval = await town.open_approval()
    await panel.button("Approve…").click()
    await panel.button("Yes: ").click()
    await panel.root.get_by_text("Approved.").first.wait_for()
    (landing,) = await town.land()
    assert (landing.state, "import os" in town.main["parcels/labels.py"]) == ("landed", False)
    decided = await town.person.approval(approval.id)
    assert (decided.state, decided.decided_by, decided.device) == ("consumed", "client:ada", "JupyterLab")

    await panel.say("before the restart")

    # The hub restarts: live again without a reload, nothing lost, nothing twice.
    await restart(town)
    await panel.live()
    await town.person.say("dev", "after the restart")
    await panel.go("Chat")
    await panel.text("after the restart").first.wait_for()
    await expect(panel.root.get_by_role("log").get_by_text("before the restart", exact=True)).to_have_count(1)
    await expect(panel.root.get_by_role("log").get_by_text("after the restart", exact=True)).to_have_count(1)

    assert {urlsplit(url).netloc for url in lab.requests if url.startswith("http")} == {
        urlsplit(lab.jupyter.url).netloc
    }
    assert [error for error in lab.errors if not HARMLESS.search(error)] == []
    await town.service.stop()


async def test_a_no_with_its_reason_goes_to_the_hub_and_nothing_lands(lab: LabPage, town: Town) -> None:
    before = town.main
    await town.say("fix the lint")
    await town.work()
    lab.jupyter.notebook("deny.ipynb", ["1"])
    await lab.open("deny.ipynb")
    await lab.command("pushpals:approve-next")
    panel = lab.panel
    await panel.button("Deny…").click()
    await lab.page.keyboard.type("we keep that import")
    await lab.page.keyboard.press("Enter")
    await panel.root.get_by_text("Denied", exact=False).first.wait_for()
    await town.read()
    await town.land()
    assert town.main == before
    assert [event.payload.reason for event in await town.events("approval_decided")] == [
        "we keep that import"
    ]  # type: ignore[attr-defined]


async def test_a_widget_is_live_while_its_kernel_is_busy(lab: LabPage, site: RunningSite) -> None:
    lab.jupyter.notebook("busy.ipynb", [CONSOLE, "import time; time.sleep(6)"])
    await lab.open("busy.ipynb")
    await lab.run_cell(0)
    widget = lab.widget()
    await widget.live()
    await both_ways_while_busy(lab, site)
    await lab.picture(PICTURES, f"{APP}-widget")


async def test_without_the_server_extension_it_goes_through_the_kernel_and_decides_nothing(
    lab: LabPage, site: RunningSite
) -> None:
    operator = await site.http()
    call = {"toolCallId": "call", "tool": "shell", "args": {}, "requiresApproval": True}
    await operator.post("/sessions/dev/command", json={"type": "tool_call", "payload": call})
    await lab.page.route(re.compile(r"/pushpals/(hub|api)\b"), refuse)
    lab.jupyter.notebook("relay.ipynb", [CONSOLE, "import time; time.sleep(6)"])
    await lab.open("relay.ipynb")
    await lab.run_cell(0)
    widget = lab.widget()
    await widget.live()
    await widget.go("Needs you")
    await widget.root.locator("article.ask").wait_for()
    await expect(widget.button("Approve…")).to_have_count(0)
    await lab.picture(PICTURES, f"{APP}-relay")

    await both_ways_while_busy(lab, site)

    said = (await operator.get("/sessions/dev/history?types=message")).json()["items"]
    assert [(item["envelope"]["payload"]["text"], item["envelope"]["from"]) for item in said] == [
        ("from outside", "client:operator"), ("from the widget", "client:notebook"),
    ]  # fmt: skip


async def both_ways_while_busy(lab: LabPage, site: RunningSite) -> None:
    """J3: events within a second while a cell runs, and sending within a second."""
    widget, person = lab.widget(), await site.client()
    await widget.write("from the widget")
    await lab.run_cell(1)
    await lab.kernel_is_busy()
    began = time.monotonic()
    await person.say("dev", "from outside")
    await widget.text("from outside").first.wait_for()
    heard = time.monotonic() - began
    began = time.monotonic()
    await widget.button("Send").click()
    async with asyncio.timeout(10):
        async for event in person.follow("dev", types=["message"]):
            if event.payload.text == "from the widget":  # type: ignore[attr-defined]
                break
    sent = time.monotonic() - began
    await lab.kernel_is_busy()
    assert (heard < 1.0, sent < 1.0) == (True, True), (heard, sent)


async def test_a_long_history_comes_through_the_kernel_within_jupyters_limits(
    lab: LabPage, site: RunningSite
) -> None:
    """J4, with as many events as ``PUSHPALS_LAB_EVENTS`` says; 10,000 is the promise."""
    count = int(os.environ.get("PUSHPALS_LAB_EVENTS", "2000"))
    person = await site.client()
    for start in range(0, count, 100):
        await asyncio.gather(
            *(person.say("dev", f"message {n} " + "x" * 200) for n in range(start, min(start + 100, count)))
        )
    await lab.page.route(re.compile(r"/pushpals/(hub|api)\b"), refuse)
    lab.jupyter.notebook("long.ipynb", [CONSOLE])
    await lab.open("long.ipynb")
    before = lab.jupyter.log.stat().st_size
    await lab.run_cell(0)
    widget = lab.widget()
    await widget.live()
    await person.say("dev", "the last one")
    await widget.go("Chat")
    await widget.text("the last one").first.wait_for(timeout=30_000)
    await widget.go("Timeline")
    with lab.jupyter.log.open("rb") as log:
        log.seek(before)
        assert b"rate exceeded" not in log.read()


async def test_a_saved_notebook_holds_no_event_no_address_and_no_secret(
    lab: LabPage, site: RunningSite
) -> None:
    """J8. The second cell prints the state that Jupyter saves with a notebook where that is switched on."""
    await (await site.client()).say("dev", "nobody may read this in git")
    state = "print({name: value for name, value in console.get_state().items() if name != '_esm'})"
    name = lab.jupyter.notebook("saved.ipynb", [CONSOLE, state])
    await lab.open(name)
    await lab.run_cell(0)
    await lab.widget().text("nobody may read this in git").first.wait_for()
    await lab.run_cell(1)
    await lab.page.locator(".jp-Cell").nth(1).locator(".jp-OutputArea-output").wait_for()
    await lab.command("docmanager:save")
    saved = (lab.jupyter.folder / name).read_text()
    assert "Console(session='dev')" in saved  # what is shown where there is no widget
    assert "'session': 'dev'" in saved
    secrets = (*site.secrets.values(), site.url, "nobody may read this")
    assert [secret for secret in secrets if secret in saved] == []
    assert len(saved) < 10_000


async def test_eight_views_are_two_streams_and_an_idle_one_asks_for_nothing(
    lab: LabPage, site: RunningSite
) -> None:
    """J5 and J14: one stream for each session that is followed, whatever shows it; no polling."""
    lab.jupyter.notebook("many.ipynb", [CONSOLE, *["Console()"] * 5])
    await lab.open("many.ipynb")
    await lab.command("pushpals:open")
    for cell in range(6):
        await lab.run_cell(cell)
    await lab.panel.live()
    for cell in range(6):
        await lab.widget(cell).live()
    person = await site.client()
    await person.say("dev", "to everybody")
    for cell in range(6):
        await lab.widget(cell).text("to everybody").first.wait_for()
    assert len(site.service.site.streams) == 2
    lab.requests.clear()
    await lab.page.wait_for_timeout(3_000)
    assert [url for url in lab.requests if "/pushpals/" in url] == []


async def test_insert_code_to_connect_writes_a_cell(lab: LabPage, site: RunningSite) -> None:
    lab.jupyter.notebook("insert.ipynb", ["1"])
    await lab.open("insert.ipynb")
    await lab.command("pushpals:insert-connect-code")
    code = await lab.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.content.activeCell.model.sharedModel.source"
    )
    assert code == "from pushpals import Console\n\nConsole()"


async def refuse(route: Route) -> None:
    await route.fulfill(status=404, body="")
