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
SUBSHELLS = "PUSHPALS_LAB_NO_SUBSHELLS" not in os.environ
SLOW = float(os.environ.get("PUSHPALS_SLOW", "4"))
"""How much slower than promised this machine may be. 1 where nothing else runs."""
BUSY = "import time; time.sleep(6)"
FILLING = "x" * 200
ACTIVE_CELL = "() => window.jupyterapp.shell.currentWidget.content.activeCell.model.sharedModel.source"
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
    await lab.command("pushpals:insert-connect-code")
    assert await lab.page.evaluate(ACTIVE_CELL) == "from pushpals import Console\n\nConsole()"
    await lab.command("pushpals:open")
    panel, page = lab.panel, lab.page
    await panel.live()
    await lab.needs(0)

    # Said here, heard there, answered here. Keys are not commands of the notebook behind.
    cells = await page.locator(".jp-Notebook .jp-Cell").count()
    await panel.go("Chat")
    await panel.root.locator("textarea").first.click()
    await page.keyboard.type("dd aa bb")
    assert await page.locator(".jp-Notebook .jp-Cell").count() == cells
    await panel.say("fix the lint")
    async for event in town.person.follow("dev", types=["message"]):
        assert event.payload.text == "fix the lint"  # type: ignore[attr-defined]
        break
    await town.read()
    await panel.text("fix the lint").first.wait_for()
    await lab.picture(PICTURES, f"{APP}-chat")
    await town.work()
    await panel.go("Work")
    await panel.root.locator(".item").first.click()
    await lab.picture(PICTURES, f"{APP}-work")

    # It asks: in the status bar, as a notification, and in the inbox with the diff beside it. No, with a reason.
    await lab.needs(1)
    if APP == "lab":
        await page.get_by_role("button", name="Look").click()
    else:
        await panel.go("Needs you")
    await panel.root.get_by_text("import os").first.wait_for()
    await lab.picture(PICTURES, f"{APP}-approval-light")
    await panel.button("Deny…").click()
    await page.keyboard.type("we keep that import")
    await page.keyboard.press("Enter")
    await lab.needs(0)
    await town.read()
    await town.land()
    assert "import os" in town.main["parcels/labels.py"]
    (denied,) = await town.events("approval_decided")
    assert denied.payload.reason == "we keep that import"  # type: ignore[attr-defined]

    # Asked again: two steps, then it lands.
    await town.say("fix the lint")
    await town.work()
    await lab.command("pushpals:approve-next")
    await panel.root.get_by_text("import os").first.wait_for()
    await lab.theme(dark=True)
    await lab.picture(PICTURES, f"{APP}-approval-dark")
    await lab.theme(dark=False)
    approval = await town.open_approval()
    await panel.button("Approve…").click()
    await panel.button("Yes: ").click()
    await lab.needs(0)
    landing = (await town.land())[0]
    assert (landing.state, "import os" in town.main["parcels/labels.py"]) == ("landed", False)
    decided = await town.person.approval(approval.id)
    assert (decided.state, decided.decided_by, decided.device) == ("consumed", "client:ada", "JupyterLab")

    # The hub restarts: live again without a reload, nothing lost, nothing twice.
    await panel.say("before the restart")
    service = await restart(town)
    await panel.live()
    await town.person.say("dev", "after the restart")
    await panel.go("Chat")
    log = panel.root.get_by_role("log")
    await expect(log.get_by_text("after the restart", exact=True)).to_have_count(1)
    await expect(log.get_by_text("before the restart", exact=True)).to_have_count(1)

    others = {urlsplit(url).netloc for url in lab.requests if url.startswith("http")}
    assert others == {urlsplit(lab.jupyter.url).netloc}
    assert [error for error in lab.errors if not HARMLESS.search(error)] == []
    await service.stop()


async def test_widgets_beside_the_proxy(lab: LabPage, site: RunningSite) -> None:
    """J3, J5, J8, J14: live while the kernel is busy, one stream for all, nothing saved, nothing polled."""
    await (await site.client()).say("dev", "nobody may read this in git")
    state = "print({name: value for name, value in console.get_state().items() if name != '_esm'})"
    name = lab.jupyter.notebook("widget.ipynb", [CONSOLE, BUSY, state, *["Console()"] * 4])
    await lab.open(name)
    await lab.run_cell(0)
    widget = lab.widget()
    await widget.live()
    await widget.text("nobody may read this in git").first.wait_for()
    await both_ways_while_busy(lab, site)
    await lab.picture(PICTURES, f"{APP}-widget")

    # What Jupyter saves, with a notebook and with the state of its widgets where that is switched on.
    await lab.kernel_is_idle()
    await lab.run_cell(2)
    await lab.page.locator(".jp-Cell").nth(2).locator(".jp-OutputArea-output").wait_for()
    await lab.command("docmanager:save")
    saved = (lab.jupyter.folder / name).read_text()
    assert "Console(session='dev')" in saved  # what is shown where there is no widget
    assert "'session': 'dev'" in saved
    secrets = (*site.secrets.values(), site.url, "nobody may read this")
    assert [secret for secret in secrets if secret in saved] == []
    assert len(saved) < 10_000

    # Five widgets and a panel: one stream for the session and one for the hub.
    await lab.command("pushpals:open")
    for cell in range(3, 7):
        await lab.run_cell(cell)
    await lab.panel.live()
    for cell in range(3, 7):
        await lab.widget(cell).live()
    assert len(site.service.site.streams) == 2
    lab.requests.clear()
    await lab.page.wait_for_timeout(3_000)
    assert [url for url in lab.requests if "/pushpals/" in url] == []


async def test_a_widget_through_the_kernel(lab: LabPage, site: RunningSite) -> None:
    """J3 and J4, where there is no server extension. It decides nothing, and says who can.

    The history has as many events as ``PUSHPALS_LAB_EVENTS`` says; 10,000 are promised.
    """
    count, person = int(os.environ.get("PUSHPALS_LAB_EVENTS", "500")), await site.client()
    for start in range(0, count, 100):
        await asyncio.gather(
            *(person.say("dev", f"message {n} {FILLING}") for n in range(start, start + 100))
        )
    operator = await site.http()
    call = {"toolCallId": "call", "tool": "shell", "args": {}, "requiresApproval": True}
    await operator.post("/sessions/dev/command", json={"type": "tool_call", "payload": call})
    await lab.page.route(re.compile(r"/pushpals/(hub|api)\b"), refuse)
    lab.jupyter.notebook("relay.ipynb", [CONSOLE, BUSY])
    await lab.open("relay.ipynb")
    before = lab.jupyter.log.stat().st_size
    await lab.run_cell(0)
    widget = lab.widget()
    await widget.live()
    await widget.go("Needs you")
    await widget.root.get_by_text("Not decided here").first.wait_for()
    await expect(widget.button("Approve…")).to_have_count(0)
    await lab.picture(PICTURES, f"{APP}-relay")

    if SUBSHELLS:
        await both_ways_while_busy(lab, site)
        said = (await operator.get(f"/sessions/dev/history?types=message&after={count}")).json()["items"]
        assert [(item["envelope"]["payload"]["text"], item["envelope"]["from"]) for item in said] == [
            ("from outside", "client:operator"), ("from the widget", "client:notebook"),
        ]  # fmt: skip
    else:
        await heard_while_busy_and_sent_after(lab, site)
    with lab.jupyter.log.open("rb") as log:
        log.seek(before)
        assert b"rate exceeded" not in log.read()


async def both_ways_while_busy(lab: LabPage, site: RunningSite) -> None:
    """Events within a second while a cell runs, and sending within a second."""
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
    await arrives(site, "from the widget")
    sent = time.monotonic() - began
    assert await lab.is_busy()
    print(f"heard after {heard:.2f} s, sent after {sent:.2f} s")
    assert max(heard, sent) < 1.0 * SLOW, (heard, sent)


async def heard_while_busy_and_sent_after(lab: LabPage, site: RunningSite) -> None:
    """Without subshells: events still come at once; what is sent waits, and the widget says so."""
    widget, person = lab.widget(), await site.client()
    await widget.write("from the widget")
    await lab.run_cell(1)
    await lab.kernel_is_busy()
    await person.say("dev", "from outside")
    await widget.text("from outside").first.wait_for()
    assert await lab.is_busy()
    await widget.button("Send").click()
    await widget.root.get_by_text("The kernel is busy. What you send waits until the cell ends.").wait_for()
    await arrives(site, "from the widget")


async def arrives(site: RunningSite, text: str) -> None:
    async with asyncio.timeout(20):
        async for event in (await site.client()).follow("dev", types=["message"]):
            if event.payload.text == text:  # type: ignore[attr-defined]
                return


async def refuse(route: Route) -> None:
    await route.fulfill(status=404, body="")
