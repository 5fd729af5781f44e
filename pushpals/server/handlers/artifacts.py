"""Blobs in and out. They are data of unknown intent: never shown inline, never sniffed, never run."""

from __future__ import annotations

import asyncio
import re

from tornado.iostream import StreamClosedError

from pushpals.hub import artifacts
from pushpals.hub.of import Of
from pushpals.protocol.errors import BadRequest, NotFound, PushPalsError
from pushpals.protocol.ids import is_sha256
from pushpals.protocol.records import StoredArtifact
from pushpals.server.base import Handler, needs
from pushpals.server.blobs import Upload

PIECE = 256 * 1024
_RANGE = re.compile(r"bytes=(\d{0,16})-(\d{0,16})")


class BadRange(PushPalsError):
    """The range lies outside the blob."""

    status, code = 416, "artifact.bad_range"


class OneArtifact(Handler):
    """``/artifacts/:sha256``"""

    BODY = ("application/octet-stream",)
    _upload: Upload | None = None

    def body_limit(self) -> int:
        return self.site.options.artifact_bytes

    async def begin_body(self) -> None:
        if self.request.method == "PUT":
            name = str(self.path_args[0])
            if not self.text("kind"):
                raise BadRequest("say what kind of artifact it is: ?kind=", code="artifact.no_kind")
            self._upload = await asyncio.to_thread(self.site.blobs.upload, name)

    async def take(self, chunk: bytes) -> None:
        if self._upload is not None:
            await asyncio.to_thread(self._upload.write, chunk)

    @needs("artifact.write")
    async def put(self, sha256: str) -> None:
        assert self._upload is not None
        size = await asyncio.to_thread(self._upload.finish)
        stored = artifacts.Stored(
            size=size,
            kind=self.text("kind") or "file",
            media_type=self.text("mediaType") or "application/octet-stream",
            session_id=self.text("sessionId"),
            job_id=self.text("jobId"),
        )
        ask = Of(id=sha256, body=stored)
        self.reply(await self.hub.run(artifacts.record, ask, actor=self.actor), 201)

    @needs("artifact.read")
    async def get(self, sha256: str) -> None:
        await self._send(sha256, with_body=True)

    @needs("artifact.read")
    async def head(self, sha256: str) -> None:
        await self._send(sha256, with_body=False)

    async def _send(self, sha256: str, *, with_body: bool) -> None:
        if not is_sha256(sha256):
            raise BadRequest("an artifact is named by its lower-case hex SHA-256", code="artifact.bad_name")
        known = await self.hub.store.reader.get(StoredArtifact, sha256)
        if known is None or (known.session_id is not None and not self.sees(known.session_id)):
            raise NotFound(f"there is no artifact {sha256}", code="artifact.unknown")
        size = await asyncio.to_thread(self.site.blobs.size, sha256)
        start, end = self._range(size)
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Disposition", f'attachment; filename="{sha256[:16]}.bin"')
        self.set_header("Accept-Ranges", "bytes")
        self.set_header("ETag", f'"{sha256}"')
        self.set_header("Content-Length", str(end - start))
        if (start, end) != (0, size):
            self.set_status(206)
            self.set_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        if not with_body:
            self.finish()
            return
        file = await asyncio.to_thread(self.site.blobs.open, sha256)
        try:
            file.seek(start)
            left = end - start
            while left > 0 and (piece := await asyncio.to_thread(file.read, min(PIECE, left))):
                left -= len(piece)
                self.write(piece)
                await self.flush()
            self.finish()
        except StreamClosedError:
            return
        finally:
            file.close()

    def _range(self, size: int) -> tuple[int, int]:
        """One range, as RFC 9110 has it; anything we do not understand means the whole."""
        match = _RANGE.fullmatch(self.request.headers.get("Range", "").strip())
        if match is None or match.group(0) == "bytes=-":
            return 0, size
        first, last = match.groups()
        start = int(first) if first else max(0, size - int(last))
        end = min(int(last) + 1, size) if first and last else size
        if start >= size or end <= start:
            raise BadRange(f"this artifact has {size} bytes")
        return start, end

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self._forget()

    def on_finish(self) -> None:
        self._forget()

    def _forget(self) -> None:
        if self._upload is not None:
            self._upload.abandon()
