"""The hub's figures as Prometheus text (exposition format 0.0.4), by hand: names, a line each, no client library.

Everything is counted where it happens and only read here. Labels have few values: a job's id is never one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pushpals.protocol.approvals import Approval
from pushpals.protocol.jobs import Job
from pushpals.protocol.landings import Landing
from pushpals.protocol.records import Worker

if TYPE_CHECKING:
    from pushpals.server.site import Site

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)
"""Upper bounds of request times, in seconds."""

Labels = tuple[tuple[str, str], ...]


class Requests:
    """Answered requests, by address and outcome."""

    def __init__(self) -> None:
        self.answered: Counter[tuple[str, str]] = Counter()
        self.took: Counter[float] = Counter()
        self.seconds = 0.0

    def note(self, route: str, status: int, seconds: float) -> None:
        self.answered[route, f"{status // 100}xx"] += 1
        self.took[next((bound for bound in BUCKETS if seconds <= bound), float("inf"))] += 1
        self.seconds += seconds


class Page:
    """The text, metric by metric."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, name: str, kind: str, about: str, values: Mapping[Labels, float] | float) -> None:
        self._lines += [f"# HELP pushpals_{name} {about}", f"# TYPE pushpals_{name} {kind}"]
        for labels, value in values.items() if isinstance(values, Mapping) else [((), values)]:
            self.line(name, labels, value)

    def line(self, name: str, labels: Labels, value: float) -> None:
        inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
        self._lines.append(f"pushpals_{name}{{{inner}}} {value:g}" if inner else f"pushpals_{name} {value:g}")

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"


def by(label: str, counts: Mapping[str, float] | Iterable[tuple[str, float]]) -> dict[Labels, float]:
    """Values by one label."""
    return {((label, name),): value for name, value in dict(counts).items()}


async def text(site: Site) -> str:
    """All metrics of a hub."""
    hub, reader, page = site.hub, site.hub.store.reader, Page()
    health = hub.store.health()
    page.add("info", "gauge", "The version of the hub.", {(("version", hub.version),): 1})
    page.add("events_total", "counter", "Events in all histories.", await reader.total_events())
    page.add("events_published_total", "counter", "Events since the start.", site.feed.published)
    page.add("streams", "gauge", "Open streams.", len(site.streams))
    page.add("streams_dropped_total", "counter", "Streams the hub ended.", by("reason", site.streams.dropped))
    page.add("jobs", "gauge", "Jobs by state.", by("state", await reader.count(Job, "state")))
    page.add("landings", "gauge", "Landings by state.", by("state", await reader.count(Landing, "state")))
    page.add("workers", "gauge", "Workers by state.", by("state", await reader.count(Worker, "state")))
    page.add(
        "approvals", "gauge", "Approvals by state.",
        by("state", await reader.count(Approval, "state", state="open")),
    )  # fmt: skip
    page.add("writes_waiting", "gauge", "Writes that wait for the writer.", health.waiting)
    page.add("writer_stuck_seconds", "gauge", "How long the commit under way has taken.", health.stuck_s)
    page.add("commits_total", "counter", "Commits since the start.", health.commits)
    page.add("writes_total", "counter", "Writes since the start.", health.writes)
    page.add("commit_seconds_total", "counter", "Time spent in commits.", health.commit_s)
    page.add("commit_slowest_seconds", "gauge", "The slowest commit since the start.", health.slowest_s)
    page.add("store_bytes", "gauge", "Size of the database and its log.", health.size_bytes)
    if site.upkeep is not None:
        page.add("upkeep_rounds_total", "counter", "Rounds of upkeep since the start.", site.upkeep.rounds)
        page.add("upkeep_stalled_seconds", "gauge", "Since the last round ended.", site.upkeep.stalled_s())
    requests = site.requests
    page.add(
        "requests_total", "counter", "Answered requests.",
        {(("route", route), ("status", status)): n for (route, status), n in sorted(requests.answered.items())},
    )  # fmt: skip
    page.add("request_seconds", "histogram", "Time to the answer; waits that were asked for included.", {})
    total = 0
    for bound in BUCKETS:
        total += requests.took[bound]
        page.line("request_seconds_bucket", (("le", f"{bound:g}"),), total)
    total += requests.took[float("inf")]
    page.line("request_seconds_bucket", (("le", "+Inf"),), total)
    page.line("request_seconds_sum", (), requests.seconds)
    page.line("request_seconds_count", (), total)
    return str(page)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
