"""What a person does in the console, with the real team behind it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.async_api import Page, expect

from pushpals.protocol.commands import Claim, Enqueue, LogLine, PairDevice, Progress, SubmitLanding
from pushpals.protocol.events import AssistantMessage
from pushpals.protocol.jobs import FileChange
from pushpals.server import start_service
from pushpals.store.sqlite import open_store
from pushpals.testing.browser import NARROW, Guest, go, live
from pushpals.testing.town import Town


async def say(page: Page, text: str) -> None:
    await page.get_by_role("textbox", name="Message").fill(text)
    await page.keyboard.press("Enter")


async def spoken(page: Page) -> list[str]:
    return await page.locator(".said .words").all_inner_texts()


async def test_a_person_asks_reads_the_change_says_yes_and_it_lands(town: Town, guest: Guest) -> None:
    page = await guest.enter()
    await say(page, "fix the lint")
    await expect(page.locator(".said.person .words")).to_have_text("fix the lint")
    await town.read()
    await town.work()

    await page.get_by_role("button", name="Needs you 1").click()
    card = page.get_by_role("article")
    await expect(card.get_by_role("heading", level=2)).to_contain_text("Fix")
    await expect(card.locator(".dl.del .c")).to_have_text(["import os"])
    await expect(card).to_contain_text("may become part of main in demo")
    await expect(card).to_contain_text("Risk: low")
    await expect(card).to_contain_text("expires in 24 h")

    approval = await town.open_approval()
    await expect(card).to_contain_text(approval.action_hash)
    await card.get_by_role("button", name="Approve…").click()
    sure = card.get_by_role("button", name=f"Yes: {approval.summary}")
    await expect(sure).to_be_disabled()
    await sure.click()
    await expect(page.get_by_text("Nothing needs you.")).to_be_visible()

    await town.land()
    assert "import os" not in town.main["parcels/labels.py"]
    await go(page, "Queue")
    await expect(page.get_by_text("landed").first).to_be_visible()
    decided = await town.person.approval(approval.id)
    assert (decided.state, decided.decided_by, decided.device) == ("consumed", "client:grace", "web page")


async def test_a_no_with_its_reason_reaches_the_author(town: Town, guest: Guest) -> None:
    await town.say("fix the lint")
    await town.work()
    approval = await town.open_approval()
    page = await guest.enter(viewport=NARROW)
    await page.locator("[data-inbox] button").click()
    await page.get_by_role("button", name="Deny…").click()
    await page.get_by_label("Reason").fill("keep the import, it is re-exported")
    await page.get_by_role("button", name="Deny", exact=True).click()
    await expect(page.get_by_text("denied grace, on phone")).to_be_visible()
    denied = await town.person.approval(approval.id)
    assert (denied.state, denied.reason, denied.device) == (
        "denied",
        "keep the import, it is re-exported",
        "phone",
    )
    await expect(page.get_by_text("keep the import, it is re-exported", exact=True)).to_be_visible()


async def test_the_whole_approval_works_by_keyboard(town: Town, guest: Guest) -> None:
    await town.say("fix the lint")
    await town.work()
    approval = await town.open_approval()
    page = await guest.enter()
    await expect(page.get_by_role("button", name="Approve…")).to_be_enabled()
    await tab_to(page, "Approve…")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Yes:")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Nothing needs you.")).to_be_visible()
    assert (await town.person.approval(approval.id)).state == "approved"


async def tab_to(page: Page, name: str) -> None:
    for _ in range(60):
        await page.keyboard.press("Tab")
        if await page.get_by_role("button", name=name).evaluate(
            "node => node.getRootNode().activeElement === node"
        ):
            return
    raise AssertionError(f"{name!r} cannot be reached with the keyboard")


async def test_a_phone_is_paired_by_its_link_and_the_code_leaves_the_address(
    town: Town, guest: Guest
) -> None:
    made = await town.person.pair(PairDevice(role="viewer", label="wall"))
    page = await (await guest.context(viewport=NARROW)).new_page()
    await page.goto(f"{town.service.url}/#code={made.code}")
    await live(page)
    assert "#" not in page.url


async def test_a_viewer_sees_everything_and_decides_nothing(town: Town, guest: Guest) -> None:
    await town.say("fix the lint")
    await town.work()
    page = await guest.enter(role="viewer")
    await expect(page.get_by_text("An operator decides. You are looking.")).to_be_visible()
    assert await page.get_by_role("button", name="Approve…").count() == 0


async def test_comments_and_rejected_parts_go_out_as_one_instruction(town: Town, guest: Guest) -> None:
    landing = await submit(town, DIFF, protected="Makefile")
    page = await guest.enter()
    await go(page, "Changes")
    # Protected files come first, whatever the order of the diff.
    await expect(page.locator(".fh .path").first).to_have_text("Makefile")
    await expect(page.locator(".fh").first).to_contain_text("protected")
    for text in ("renamed", "from docs/old name.md", "mode 100644 → 100755", "Binary file", "U+202E"):
        await expect(page.get_by_text(text).first).to_be_visible()
    await expect(page.locator(".dl.add .changed").first).to_have_text("two")

    await page.get_by_role("button", name="Comment on line 2").nth(1).click()
    await page.get_by_role("textbox", name="Comment").fill("say why")
    await page.get_by_role("button", name="Add comment").click()
    await page.get_by_role("button", name="Reject @@ -20,2 +20,3 @@").click()
    await expect(page.get_by_text("1 comment, 1 rejected")).to_be_visible()
    await page.reload()
    await live(page)
    await go(page, "Changes")
    await page.get_by_role("button", name="Ask for these changes").click()
    await expect(page.get_by_text("1 comment")).to_have_count(0)

    await town.read()
    [message] = await town.events("message")
    text: str = message.payload.text  # type: ignore[attr-defined]
    assert "- Makefile:2 `two fish`\n  say why" in text
    assert "- src/app.py: take this part back: @@ -20,2 +20,3 @@" in text
    assert (await town.person.landing(landing)).landing.state == "rejected"


async def test_a_comment_follows_its_line_and_says_when_the_line_is_gone(town: Town, guest: Guest) -> None:
    first = await submit(town, one_file("a\nb\nc\nd"))
    page = await guest.enter()
    await go(page, "Changes")
    for line in (2, 4):
        await page.get_by_role("button", name=f"Comment on line {line}").click()
        await page.get_by_role("textbox", name="Comment").fill(f"about {line}")
        await page.get_by_role("button", name="Add comment").click()
    second = await submit(town, one_file("new\na\nb\nc"), head="c" * 40)
    assert first != second
    await expect(page.locator(".index .item")).to_have_count(2)
    await page.locator(".index .item").first.click()
    await expect(page.locator(".cmt", has_text="about 2")).to_contain_text("moved with its line")
    await expect(page.locator(".cmt", has_text="about 4")).to_contain_text("stale: the line is gone")


async def test_output_arrives_live_and_a_flood_of_it_does_not_stall_the_page(
    town: Town, guest: Guest, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = await town.client("worker", "loud")
    enqueued = await town.person.enqueue(
        Enqueue(task_id="t", kind="shout", session_id="dev", title="Shout", needs=[])
    )
    page = await guest.enter()
    job = await worker.claim(Claim(worker_id="loud", kinds=["shout"], lease_s=60))
    assert job is not None
    assert job.id == enqueued.job_id
    await go(page, "Work")
    await page.get_by_role("button", name="Shout").click()
    await worker.progress(job.id, Progress(attempt=1, log=[line("\x1b[31mred\x1b[0m \u202e plain")]))
    await expect(page.locator(".log .ansi-red")).to_have_text("red")
    await expect(page.locator(".log mark.odd")).to_have_text("U+202E")

    await page.evaluate(WATCH_FRAMES)
    started = time.perf_counter()
    for batch in range(10):
        log = [line(f"line {batch * 1_000 + n} of many, with some words in it") for n in range(1_000)]
        await worker.progress(job.id, Progress(attempt=1, log=log))
    await expect(page.get_by_text("10,001 lines")).to_be_visible()
    await expect(page.get_by_text("line 9999 of many")).to_be_visible()
    seconds, longest = time.perf_counter() - started, await page.evaluate("window.longest")
    assert await page.locator(".log .slot").count() < 400
    with capsys.disabled():
        print(f"\n10,000 lines shown {seconds:.2f} s after the first; longest frame {longest:.0f} ms")


WATCH_FRAMES = """() => { window.longest = 0; let before = performance.now();
  const next = (now) => { window.longest = Math.max(window.longest, now - before); before = now; requestAnimationFrame(next); };
  requestAnimationFrame(next); }"""


def line(text: str) -> LogLine:
    return LogLine(stream="stdout", line=text)


async def test_a_diff_of_five_thousand_lines_opens_at_once(
    town: Town, guest: Guest, capsys: pytest.CaptureFixture[str]
) -> None:
    await submit(town, one_file("\n".join(f"line number {n}" for n in range(5_000))))
    page = await guest.enter()
    started = time.perf_counter()
    await go(page, "Changes")
    await expect(page.get_by_text("line number 3", exact=True)).to_be_visible()
    opened = time.perf_counter() - started
    assert await page.locator(".difftable .slot").count() < 120
    await page.locator(".difftable").evaluate("node => { node.scrollTop = node.scrollHeight; }")
    await expect(page.get_by_text("line number 4999")).to_be_visible()
    with capsys.disabled():
        print(f"\na diff of 5,000 lines opened in {opened:.2f} s")


async def test_a_restart_of_the_hub_loses_and_repeats_nothing(town: Town, guest: Guest) -> None:
    page = await guest.enter()
    for n in range(3):
        await town.person.say("dev", f"before {n}")
    await expect(page.get_by_text("before 2")).to_be_visible()

    port, data = town.service.port, town.root / "hub"
    await town.service.stop()
    await page.locator(".state.offline").wait_for()
    await say(page, "written while it was away")
    await expect(page.locator("[data-outgoing=waiting]")).to_contain_text("written while it was away")
    town.service = await start_service(open_store, data / "hub.db", data_dir=data, port=port)
    try:
        await live(page)
        await expect(page.locator("[data-outgoing]")).to_have_count(0)
        for n in range(3):
            await town.person.say("dev", f"after {n}")
        await expect(page.get_by_text("after 2")).to_be_visible()
        expected = [
            *(f"before {n}" for n in range(3)),
            "written while it was away",
            *(f"after {n}" for n in range(3)),
        ]
        assert await spoken(page) == expected
        await page.reload()
        await live(page)
        assert await spoken(page) == expected
    finally:
        # Closed here: the town closes the hub that it opened itself.
        await page.context.close()
        await town.service.stop()


async def test_eight_tabs_at_once_are_all_live_over_one_stream(town: Town, guest: Guest) -> None:
    first = await guest.enter()
    tabs = [first, *[await guest.open(first.context) for _ in range(7)]]
    for tab in tabs:
        await live(tab)
    await town.person.say("dev", "can everybody hear me?")
    for tab in tabs:
        await expect(tab.get_by_text("can everybody hear me?").first).to_be_visible()
    streams = [url for url in guest.visits.requests if "/events?" in url]
    assert len(streams) == 2, "one for the session, one for the hub's own"

    # The tab that holds the stream goes away; the others go on where they were.
    await first.close()
    await town.person.say("dev", "and now?")
    for tab in tabs[1:]:
        await expect(tab.get_by_text("and now?").first).to_be_visible()
        assert len([text for text in await spoken(tab) if text == "can everybody hear me?"]) == 1


async def test_eight_tabs_on_eight_sessions_are_all_live(town: Town, guest: Guest) -> None:
    names = [f"s{n}" for n in range(8)]
    for name in names:
        await town.person.create_session(name)
    first = await guest.enter()
    tabs = {}
    for name in names:
        tab = await first.context.new_page()
        guest.visits.watch(tab)
        await tab.goto(f"{town.service.url}/#{name}")
        await live(tab)
        tabs[name] = tab
    for name, tab in tabs.items():
        await town.person.say(name, f"hello {name}")
        await expect(tab.get_by_text(f"hello {name}").first).to_be_visible()


async def test_an_idle_page_asks_for_nothing(town: Town, guest: Guest) -> None:
    page = await guest.enter()
    await expect(page.get_by_text("Nothing has been said here yet.")).to_be_visible()
    await page.evaluate("() => new Promise((done) => setTimeout(done, 700))")
    before = len(guest.visits.requests)
    await page.evaluate("() => new Promise((done) => setTimeout(done, 3000))")
    assert guest.visits.requests[before:] == []


HOSTILE = """<img src="http://evil.example/x.png"> [click](javascript:alert(1)) ![x](http://evil.example/y.png)
<form action="http://evil.example"><button id="approve">Approve…</button></form><style>*{display:none}</style>
<a href="data:text/html,x">data</a> <svg onload="window.owned=1"></svg>
<div id="gate" name="body" data-commandlinker-command="x" style="position:fixed">over</div> \u202etxt.exe

[safe](https://example.org/a) \u202etxt.exe"""


@pytest.mark.parametrize("markdown", [False, True])
async def test_what_an_agent_writes_is_never_more_than_text(town: Town, guest: Guest, markdown: bool) -> None:
    buddy = await town.client("buddy", "remote")
    await buddy.post("dev", AssistantMessage(text=HOSTILE))
    page = await guest.enter()
    await go(page, "Chat")
    if markdown:
        await page.get_by_label("Markdown").check()
        link = page.locator(".md a")
        await expect(link).to_have_text("safe")
        assert await link.get_attribute("rel") == "noopener noreferrer nofollow"
        await expect(page.locator(".md")).to_contain_text("(example.org) <U+202E>txt.exe")
    else:
        await expect(page.locator(".said.agent .words")).to_contain_text(
            '<img src="http://evil.example/x.png">'
        )
        await expect(page.locator("mark.odd").first).to_have_text("U+202E")
    said = page.locator(".said.agent")
    for tag in ("img", "form", "style", "svg", "iframe", "button", "input", "[id]", "[name]", "[style]"):
        assert await said.locator(tag).count() == 0, tag
    assert await page.evaluate("window.owned") is None


async def test_history_can_be_searched_and_looked_at_as_it_was(town: Town, guest: Guest) -> None:
    await town.say("fix the lint")
    before = (await town.person.snapshot("dev")).cursor
    await town.work()
    page = await guest.enter()
    await go(page, "Timeline")
    await page.get_by_role("searchbox").fill("waits for your ye")
    await expect(page.get_by_text("1 event", exact=True)).to_be_visible()
    await expect(page.get_by_text("The change is ready")).to_be_visible()
    await page.get_by_role("searchbox").fill("")
    await page.get_by_role("button", name="Time machine", exact=True).click()
    machine = page.get_by_role("region", name="Time machine")
    await expect(machine.get_by_text("needs approval")).to_be_visible()
    await machine.get_by_label("Compare with event").fill(str(before))
    await machine.get_by_role("button", name="Look").click()
    await expect(machine.get_by_text("pending → completed")).to_be_visible()


# --- changes made by hand ----------------------------------------------------------------------------------

DIFF = """\
diff --git a/src/app.py b/src/app.py
index 1111111..2222222 100644
--- a/src/app.py
+++ b/src/app.py
@@ -1,2 +1,2 @@ def main():
 kept
-print("one two three")
+print("one \u202e2 three")
@@ -20,2 +20,3 @@
 kept
+added
 kept
diff --git a/Makefile b/Makefile
index 3333333..4444444 100644
--- a/Makefile
+++ b/Makefile
@@ -1,2 +1,2 @@
 one
-one fish
+two fish
diff --git a/docs/old name.md b/docs/new name.md
similarity index 100%
rename from docs/old name.md
rename to docs/new name.md
diff --git a/run.sh b/run.sh
old mode 100644
new mode 100755
diff --git a/logo.png b/logo.png
index 5555555..6666666 100644
Binary files a/logo.png and b/logo.png differ
"""


def one_file(text: str) -> str:
    added = text.split("\n")
    body = "".join(f"+{one}\n" for one in added)
    return f"diff --git a/a.txt b/a.txt\nnew file mode 100644\n--- /dev/null\n+++ b/a.txt\n@@ -0,0 +1,{len(added)} @@\n{body}"


async def submit(town: Town, diff: str, *, protected: str = "", head: str = "b" * 40) -> str:
    """A landing with this diff, as a worker and a buddy would bring it."""
    data = diff.encode()
    worker = await town.client("worker", "by-hand")
    stored = await worker.put_artifact(data, kind="diff", session_id="dev")
    buddy = await town.client("buddy", "by-hand")
    files: list[Any] = [FileChange(path=protected, status="M", protected=True)] if protected else []
    ask = SubmitLanding(
        session_id="dev", repository="demo", target="main", head=head, base="a" * 40,
        branch="agent/by-hand/job-1", title="A change made by hand", patch=stored.sha256, files=files,
    )  # fmt: skip
    return (await buddy.submit_landing(ask)).landing.id
