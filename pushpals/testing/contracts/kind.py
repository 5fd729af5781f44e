"""What every job kind must do. Subclass it and say which kind, on what, with which parameters::

    class TestCount(KindContract):
        kind = KIND
        files = {"a.txt": "one two\\n"}
        params = {"path": "a.txt"}
        wrong_params = {"path": 3}

Each test does the job with a real worker, hub, repository and processes; see
:class:`pushpals.testing.workshop.Workshop`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from pushpals.protocol.events import JobBased, JobCompleted, JobFailed, ToolCall, ToolResult
from pushpals.protocol.jobs import JobResult
from pushpals.protocol.wire import decode, encode
from pushpals.testing.repos import Content
from pushpals.testing.workshop import Workshop
from pushpals.work.context import Settings
from pushpals.work.kind import Args, JobFailure, JobKind, decode_args

MAX_RESULT_BYTES = 1024 * 1024
"""A body that the hub takes."""


class KindContract:
    """The promises of :mod:`pushpals.work.kind`."""

    kind: ClassVar[JobKind]
    files: ClassVar[Mapping[str, Content]] = {"README.md": "# Example\n"}
    params: ClassVar[Mapping[str, Any]] = {}
    wrong_params: ClassVar[Mapping[str, Any]] = {"no-such-parameter": 1}
    settings: ClassVar[Settings] = Settings()

    def shop(self, tmp_path: Path) -> Workshop:
        return Workshop(tmp_path, self.files, settings=self.settings, kinds_added=[self.kind])

    def test_it_is_a_kind_with_a_plain_name_and_a_sentence(self) -> None:
        assert isinstance(self.kind, JobKind)
        assert re.fullmatch(r"[a-z][a-z0-9-]{0,39}", self.kind.name)
        assert issubclass(self.kind.Args, Args)
        assert self.kind.description.endswith(".")
        assert "\n" not in self.kind.description

    def test_its_arguments_survive_the_wire(self) -> None:
        args = decode_args(self.kind, self.params)
        assert decode_args(self.kind, msgspec.to_builtins(args)) == args

    def test_unknown_parameters_are_refused(self) -> None:
        with pytest.raises(JobFailure):
            decode_args(self.kind, {**self.params, "noSuchParameter": 1})

    async def test_wrong_parameters_fail_the_job_before_anything_runs(self, tmp_path: Path) -> None:
        async with self.shop(tmp_path) as shop:
            job = await shop.do(self.kind.name, self.wrong_params)
            assert job.state == "failed"
            assert shop.events(ToolCall) == []

    async def test_a_job_ends_with_a_sentence_and_a_result_that_the_hub_takes(self, tmp_path: Path) -> None:
        async with self.shop(tmp_path) as shop:
            job = await shop.do(self.kind.name, self.params)
            assert job.error is None
            assert job.state == "completed"
            assert job.result is not None
            assert job.result.summary.strip()
            assert job.result.base == job.base
            raw = encode(job.result)
            assert len(raw) < MAX_RESULT_BYTES
            assert decode(raw, JobResult) == job.result
            assert len(shop.events(JobCompleted)) == 1

    async def test_every_command_that_began_is_told_to_its_end(self, tmp_path: Path) -> None:
        async with self.shop(tmp_path) as shop:
            await shop.do(self.kind.name, self.params)
            begun = [call.tool_call_id for call in shop.events(ToolCall)]
            assert [result.tool_call_id for result in shop.events(ToolResult)] == begun
            assert {call.args["sandbox"] for call in shop.events(ToolCall)} <= {"none"}

    async def test_a_kind_that_says_it_changes_nothing_brings_no_commit(self, tmp_path: Path) -> None:
        async with self.shop(tmp_path) as shop:
            job = await shop.do(self.kind.name, self.params)
            assert job.result is not None
            if not self.kind.changes:
                assert (job.result.head, job.result.files) == (None, [])
            elif job.result.head is not None:
                assert job.result.branch == f"agent/w1/{job.id}"
                assert job.result.bundle in shop.blobs
                assert all(one.commit == job.result.head for one in job.result.evidence)

    async def test_the_repository_and_the_person_s_checkout_are_left_alone(self, tmp_path: Path) -> None:
        async with self.shop(tmp_path) as shop:
            before = (shop.repo.upstream.refs(), shop.repo.checkout.git("status", "--porcelain"))
            await shop.do(self.kind.name, self.params)
            assert before == (shop.repo.upstream.refs(), shop.repo.checkout.git("status", "--porcelain"))

    async def test_a_cancelled_job_ends_and_the_worker_goes_on(self, tmp_path: Path) -> None:
        async with self.shop(tmp_path) as shop:
            job_id = await shop.ask(self.kind.name, self.params)
            doing = asyncio.create_task(shop.worker.step())
            await shop.until(JobBased)
            job = await shop.job(job_id)
            if not job.ended:
                await shop.asker.cancel_job(job_id)
            await doing
            # It may have been faster than the wish to stop it.
            assert (await shop.job(job_id)).state in ("cancelled", "completed")
            again = await shop.do(self.kind.name, self.params)
            assert again.state == "completed"
            assert shop.events(JobFailed) == []
