"""A person at JupyterLab or Notebook: open a notebook, run cells, use the console that is shown there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Locator, Page, async_playwright, expect

from pushpals.testing.jupyter import CHROMIUM, CHROMIUM_ARGS, Jupyter

SIZE = {"width": 1400, "height": 900}
_NOTEBOOK = "[...window.jupyterapp.shell.widgets('main')].find((one) => one.context?.sessionContext)"
_KERNEL = f"{_NOTEBOOK}?.context.sessionContext.session?.kernel?.status"
_IDLE = f"""() => window.jupyterapp?.shell && {_KERNEL} === "idle"
  && window.jupyterapp.commands.hasCommand("pushpals:open")"""
_BUSY = f"() => {_KERNEL} === 'busy'"


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        try:
            yield browser
        finally:
            await browser.close()


class LabPage:
    """One page of a Jupyter server."""

    def __init__(self, jupyter: Jupyter, page: Page, app: str = "lab") -> None:
        self.jupyter = jupyter
        self.page = page
        self.app = app
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(f"{error}\n{error.stack}"))

    @classmethod
    async def new(cls, jupyter: Jupyter, browser: Browser, app: str = "lab", **context: Any) -> LabPage:
        made = await browser.new_context(**{"viewport": SIZE, **context})
        return cls(jupyter, await made.new_page(), app)

    async def open(self, notebook: str) -> None:
        """Open a notebook of the server and wait until its kernel can run something."""
        folder = "lab/tree" if self.app == "lab" else "notebooks"
        query = f"token={self.jupyter.token}" + ("&reset" if self.app == "lab" else "")
        await self.page.goto(f"{self.jupyter.url}/{folder}/{notebook}?{query}")
        await self.page.wait_for_function(_IDLE, timeout=60_000)

    async def command(self, name: str, args: dict[str, Any] | None = None) -> None:
        await self.page.evaluate(
            "([name, args]) => window.jupyterapp.commands.execute(name, args)", [name, args or {}]
        )

    async def run_cell(self, index: int) -> None:
        """Start a cell without waiting for its end."""
        await self.page.evaluate(
            f"""index => {{
              const notebook = {_NOTEBOOK};
              window.jupyterapp.shell.activateById(notebook.id);
              notebook.content.activeCellIndex = index;
              void window.jupyterapp.commands.execute("notebook:run-cell");
            }}""",
            index,
        )

    async def kernel_is_busy(self) -> None:
        await self.page.wait_for_function(_BUSY, timeout=10_000)

    async def kernel_is_idle(self) -> None:
        await self.page.wait_for_function(_IDLE, timeout=30_000)

    @property
    def panel(self) -> Console:
        return Console(self.page.locator(".pushpals-panel"))

    def widget(self, cell: int = 0) -> Console:
        return Console(self.page.locator(".jp-Cell").nth(cell).locator(".jp-Cell-outputArea"))

    async def is_busy(self) -> bool:
        return bool(await self.page.evaluate(_BUSY))

    async def needs(self, count: int) -> None:
        """Wait until so many things need the person: the status bar says it, where there is one."""
        if self.app == "lab":
            says = "nothing needs you" if count == 0 else f"{count} {'needs' if count == 1 else 'need'} you"
            status = self.page.locator("#pushpals-status")
            await expect(status).to_have_attribute("aria-label", f"Push Pals, session dev: {says}")
        elif count == 0:
            await self.panel.go("Needs you")
            await self.panel.text("Nothing needs you.").first.wait_for()

    async def theme(self, *, dark: bool) -> None:
        name = "JupyterLab Dark" if dark else "JupyterLab Light"
        await self.command("apputils:change-theme", {"theme": name})
        says = "false" if dark else "true"
        await self.page.wait_for_function(f"() => document.body.dataset.jpThemeLight === '{says}'")

    async def picture(self, folder: Path | None, name: str) -> None:
        if folder is not None:
            await self.page.screenshot(path=folder / f"{name}.png", animations="disabled")


class Console:
    """The console inside of something."""

    def __init__(self, root: Locator) -> None:
        self.root = root

    async def live(self) -> None:
        await self.root.locator(".state.live").first.wait_for(timeout=20_000)

    async def go(self, place: str) -> None:
        views = self.root.get_by_role("navigation", name="Views")
        await views.get_by_role("button", name=place).click()

    async def say(self, text: str) -> None:
        await self.write(text)
        await self.root.get_by_role("button", name="Send", exact=True).click()

    async def write(self, text: str) -> None:
        await self.go("Chat")
        await self.root.locator("textarea").first.fill(text)

    def text(self, text: str) -> Locator:
        return self.root.get_by_text(text, exact=True)

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name)
