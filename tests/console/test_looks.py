"""How the console looks: accessible in light and dark, on a phone and a desk; nothing wider than the screen.

``PUSHPALS_SCREENSHOTS=docs/_static`` also writes the pictures of the documentation.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from pushpals.testing.browser import NARROW, PLACES, WIDE, Guest, go
from pushpals.testing.town import Town

AXE = Path(__file__).parents[2] / "extension" / "node_modules" / "axe-core" / "axe.min.js"
PICTURES = os.environ.get("PUSHPALS_SCREENSHOTS")

RUN_AXE = """async () => {
  const found = await axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] });
  return found.violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.target.flat().join(" ")}: ${node.failureSummary}`));
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", [NARROW, WIDE], ids=["phone", "desk"])
async def test_every_view_is_accessible_and_fits(
    town: Town, guest: Guest, scheme: Any, screen: dict[str, int]
) -> None:
    await town.say("fix the lint")
    await town.work()
    await town.say("what is failing?")
    await town.work()
    # The policy forbids code that is not the page's; the checker is let in for the test.
    context = await guest.context(viewport=screen, color_scheme=scheme, bypass_csp=True)
    gate = await guest.open(context)
    await expect(gate.get_by_label("Code or token")).to_be_visible()
    await check(gate, "login")
    await gate.close()

    page = await guest.enter(context)
    narrow = screen is NARROW
    for place in PLACES:
        await go(page, place)
        if place in ("Needs you", "Work", "Changes"):
            if narrow:
                await check(page, place)
            await page.locator(".index .item").first.click()
        if place in ("Needs you", "Changes"):
            await page.locator(".difftable .dl").first.wait_for()
        await check(page, place)
        await picture(page, f"console-{place.split()[0].lower()}-{'phone' if narrow else 'desk'}-{scheme}")
    await go(page, "Needs you")
    if await page.get_by_role("button", name="Approve…").count() == 0:
        await page.locator(".index .item").first.click()
    await page.get_by_role("button", name="Approve…").click()
    await expect(page.get_by_role("button", name="Yes:")).to_be_enabled()
    await check(page, "the second step")


async def check(page: Page, what: str) -> None:
    width = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert width == 0, f"{what} is wider than the screen"
    if not await page.evaluate("'axe' in window"):
        await page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
    assert await page.evaluate(RUN_AXE) == [], what


async def picture(page: Page, name: str) -> None:
    if PICTURES:
        await page.screenshot(path=f"{PICTURES}/{name}.png")
