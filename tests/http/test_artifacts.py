"""Artifacts: named by their content, kept whole or not at all, never shown as anything but bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pushpals.protocol.errors import NotFound
from pushpals.testing.raw import connect, request, status
from pushpals.testing.site import RunningSite

Start = Any
OCTETS = {"Content-Type": "application/octet-stream"}


def name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


async def test_a_blob_goes_in_and_comes_out_the_same(site: RunningSite, tmp_path: Path) -> None:
    client, data = await site.client("worker"), bytes(range(256)) * 5_000
    stored = await client.put_artifact(data, kind="diff", media_type="text/x-diff")
    path = tmp_path / "big"
    path.write_bytes(data)
    again = await client.put_artifact(path, kind="other")

    assert stored == again
    assert (stored.sha256, stored.size, stored.kind) == (name(data), len(data), "diff")
    assert await client.get_artifact(stored.sha256) == data
    sha = stored.sha256
    assert files(tmp_path / "data" / "artifacts") == [f"{sha[:2]}/{sha[2:]}"]


async def test_the_empty_blob_is_a_blob(site: RunningSite) -> None:
    client = await site.client("worker")
    stored = await client.put_artifact(b"", kind="file")
    assert await client.get_artifact(stored.sha256) == b""


async def test_a_session_hears_of_its_artifacts(site: RunningSite) -> None:
    client = await site.client()
    stored = await client.put_artifact(b"data", kind="diff", session_id="dev")
    history = await client.history("dev", types=["artifact_stored"])
    assert stored.sha256.encode() in bytes(history.items[0].envelope)


async def test_bytes_with_another_digest_are_refused_and_not_kept(site: RunningSite, tmp_path: Path) -> None:
    http = await site.http("worker")
    answer = await http.put(f"/artifacts/{name(b'a')}?kind=file", content=b"b", headers=OCTETS)
    assert (answer.status_code, answer.json()["code"]) == (400, "artifact.digest_differs")
    assert files(tmp_path / "data" / "artifacts") == []


async def test_a_blob_over_the_limit_is_413_and_not_kept(start: Start, tmp_path: Path) -> None:
    site = await start(artifact_bytes=100_000)
    http = await site.http("worker")
    data = b"x" * 100_001

    async def pieces() -> Any:
        yield data[:50_000]
        yield data[50_000:]

    for content in (data, pieces()):
        answer = await http.put(f"/artifacts/{name(data)}?kind=file", content=content, headers=OCTETS)
        assert answer.status_code == 413
    assert files(tmp_path / "data" / "artifacts") == []


@pytest.mark.parametrize(
    "bad",
    [
        "..%2Fx",
        "%2Fetc%2Fpasswd",
        "a" * 63,
        "A" * 64,
        "g" * 64,
        "%00" * 64,
        "x",
        "",
        "..",
        "a" * 62 + "%0A%0A",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_a_name_that_is_no_digest_is_400(site: RunningSite, bad: str, method: str) -> None:
    host, token = urlsplit(site.url).netloc, site.secrets["worker"]
    extra = "Content-Type: application/octet-stream\r\nContent-Length: 0\r\n" if method == "PUT" else ""
    async with connect(site.url) as wire:
        await wire.send(
            request(
                method,
                f"/artifacts/{bad}?kind=file",
                host=host,
                token=token,
                extra=extra + "Connection: close\r\n",
            )
        )
        answer = await wire.rest()
    assert status(answer) == 400, answer


async def test_an_upload_that_breaks_off_leaves_nothing(site: RunningSite, tmp_path: Path) -> None:
    host, token = urlsplit(site.url).netloc, site.secrets["worker"]
    extra = "Content-Type: application/octet-stream\r\nContent-Length: 1000\r\n"
    async with connect(site.url) as wire:
        await wire.send(
            request("PUT", f"/artifacts/{'0' * 64}?kind=file", host=host, token=token, extra=extra)
            + b"x" * 10
        )
    await site.service.stop()
    assert files(tmp_path / "data" / "artifacts") == []


async def test_what_an_interrupted_hub_left_behind_is_cleared(start: Start, tmp_path: Path) -> None:
    left = tmp_path / "data" / "artifacts" / "tmp" / "left"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    await start()
    assert not left.exists()


@pytest.mark.parametrize(
    ("asked", "code", "expected", "content_range"),
    [
        (None, 200, b"0123456789", None),
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=0-", 200, b"0123456789", None),
        ("bytes=-99", 200, b"0123456789", None),
        ("bytes=1-2,4-5", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
        ("bytes=10-", 416, None, None),
        ("bytes=3-2", 416, None, None),
        ("bytes=-0", 416, None, None),
    ],
)
async def test_a_part_of_a_blob(
    site: RunningSite, asked: str | None, code: int, expected: bytes | None, content_range: str | None
) -> None:
    stored = await (await site.client("worker")).put_artifact(b"0123456789", kind="file")
    http = await site.http("worker")
    answer = await http.get(f"/artifacts/{stored.sha256}", headers={"Range": asked} if asked else {})
    assert answer.status_code == code
    if expected is not None:
        assert answer.content == expected
        assert answer.headers.get("content-range") == content_range


async def test_a_blob_is_an_attachment_whatever_it_claims_to_be(site: RunningSite) -> None:
    client = await site.client("worker")
    stored = await client.put_artifact(b"<script>1</script>", kind="page", media_type="text/html")
    http = await site.http("viewer")
    got = await http.get(f"/artifacts/{stored.sha256}")
    head = await http.head(f"/artifacts/{stored.sha256}")

    for answer in (got, head):
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment")
        assert "sandbox" in answer.headers["content-security-policy"]
        assert answer.headers["content-length"] == "18"
    assert head.content == b""


async def test_an_unknown_blob_is_404(site: RunningSite) -> None:
    client = await site.client("worker")
    with pytest.raises(NotFound):
        await client.get_artifact("0" * 64)


async def test_a_blob_must_say_what_it_is(site: RunningSite) -> None:
    http = await site.http("worker")
    answer = await http.put(f"/artifacts/{name(b'x')}", content=b"x", headers=OCTETS)
    assert (answer.status_code, answer.json()["code"]) == (400, "artifact.no_kind")
    form = await http.put(
        f"/artifacts/{name(b'x')}?kind=a", content=b"x", headers={"Content-Type": "text/html"}
    )
    assert form.status_code == 415
