"""A person at a browser: Debian's Chromium driven by Playwright, logged in to a :class:`Town`'s hub.

``Visits`` remembers every address that pages asked for and every error that they had, so that a test can say
"nobody else was talked to". Nothing is downloaded: the browser is a system package.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from pushpals.hub import tokens
from pushpals.hub.hub import SYSTEM
from pushpals.protocol.commands import NewToken
from pushpals.protocol.records import Role
from pushpals.testing.town import Town

ARGUMENTS = [
    "--no-sandbox",  # tests may run as root
    *(f"--disable-{name}" for name in ("gpu", "quic", "background-networking", "component-update", "sync")),
    "--no-first-run",
]
NARROW, WIDE = {"width": 390, "height": 844}, {"width": 1400, "height": 900}
PATIENCE_MS = 20_000.0

Place = Literal["Needs you", "Chat", "Work", "Changes", "Queue", "Timeline"]
PLACES: tuple[Place, ...] = ("Needs you", "Chat", "Work", "Changes", "Queue", "Timeline")


@contextlib.asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """Chromium, headless. Raises ``RuntimeError`` when it is not installed."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        raise RuntimeError("chromium is needed: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


class Visits:
    """What pages asked for, and what went wrong in them."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.errors: list[str] = []

    def watch(self, page: Page) -> None:
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._said)

    @property
    def hosts(self) -> set[str]:
        """Whom pages talked to."""
        found = {urlsplit(url) for url in self.requests}
        return {url.netloc for url in found if url.scheme not in ("data", "blob")}

    def _said(self, message: Any) -> None:
        # Chromium reports every refused request; only a refusal by the page's own policy is a fault of ours.
        if message.type == "error" and "Content Security Policy" in message.text:
            self.errors.append(message.text)


class Guest:
    """Somebody who opens pages of a town's hub."""

    def __init__(self, town: Town, browser: Browser) -> None:
        self.town = town
        self.browser = browser
        self.visits = Visits()

    async def context(self, **options: Any) -> BrowserContext:
        """A browser profile. Service workers are off unless asked for: they outlive what a test looks at."""
        return await self.browser.new_context(**{"viewport": WIDE, "service_workers": "block", **options})

    async def open(self, context: BrowserContext) -> Page:
        """Another tab."""
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        self.visits.watch(page)
        await page.goto(self.town.service.url + "/")
        return page

    async def enter(
        self, context: BrowserContext | None = None, role: Role = "operator", **options: Any
    ) -> Page:
        """Log in with a fresh token and wait until the page is live."""
        made = await self.town.service.hub.run(tokens.make, NewToken(role=role, label="grace"), actor=SYSTEM)
        page = await self.open(context or await self.context(**options))
        await page.get_by_label("Code or token").fill(made.secret)
        await page.keyboard.press("Enter")
        await live(page)
        return page


async def live(page: Page) -> None:
    """Wait until the page follows the hub."""
    await page.locator(".state.live").wait_for()


async def go(page: Page, place: Place) -> None:
    await page.get_by_role("navigation", name="Views").get_by_role("button", name=place).click()
