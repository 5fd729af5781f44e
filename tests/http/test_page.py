"""The page and the plain page: static, inert to whatever the team writes, and guarded by its policy."""

from __future__ import annotations

import re

import pytest

from pushpals.server.handlers.page import APP_CSP, APP_FILES, FILES, PAGE_CSP, built, read
from pushpals.testing.site import RunningSite


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/?plain", FILES["index.html"]), *((f"/page/{name}", kind) for name, kind in FILES.items())],
)
async def test_the_page_is_open_and_comes_with_its_policy(site: RunningSite, path: str, kind: str) -> None:
    answer = await (await site.http(None)).get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == kind
    assert answer.headers["content-security-policy"] == PAGE_CSP
    assert answer.content


async def test_the_console_is_served_where_it_is_built_and_the_plain_page_elsewhere(
    site: RunningSite,
) -> None:
    client = await site.http(None)
    answer = await client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == (APP_CSP if built() else PAGE_CSP)
    for name, kind in APP_FILES.items():
        answer = await client.get(f"/page/{name}")
        assert answer.status_code == (200 if built() else 404)
        if built():
            assert answer.headers["content-type"] == kind


def test_no_policy_lets_inline_or_foreign_code_run() -> None:
    for policy in (PAGE_CSP, APP_CSP):
        assert "unsafe" not in policy
        assert "://" not in policy
        assert "default-src 'none'" in policy


@pytest.mark.parametrize("name", ["..%2Fpage.js", "routes.py", "%2e%2e", "", "page.js%00"])
async def test_nothing_but_the_page_is_served_as_one(site: RunningSite, name: str) -> None:
    answer = await (await site.http(None)).get(f"/page/{name}")
    assert answer.status_code in (400, 404)


def test_the_page_has_no_inline_code_and_loads_nothing_from_elsewhere() -> None:
    html = read("index.html").decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", html)
    for source in re.findall(r'(?:src|href)="([^"]*)"', html):
        assert source.startswith("page/")
        assert source.removeprefix("page/") in FILES


def test_the_script_never_makes_markup_from_text() -> None:
    script = read("page.js").decode()
    for sink in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "srcdoc",
    ):
        assert sink not in script
