"""The console's types follow from the Python types."""

from __future__ import annotations

from pathlib import Path

from pushpals.protocol import events
from pushpals.testing.typescript import protocol_ts

EXTENSION = Path(__file__).parents[3] / "extension"
FILE = EXTENSION / "packages" / "core" / "src" / "protocol.gen.ts"


def test_the_console_has_the_types_that_the_hub_has() -> None:
    assert FILE.read_text(encoding="utf-8") == protocol_ts(), "run `make schema`"


def test_every_event_type_is_there() -> None:
    text = protocol_ts()
    for kind in events.PAYLOADS:
        assert f"\n  {kind}: " in text


def test_lock_files_name_no_place_to_download_from() -> None:
    for lock in EXTENSION.rglob("package-lock.json"):
        if "node_modules" not in lock.parts:
            assert '"resolved": "http' not in lock.read_text(encoding="utf-8"), lock
