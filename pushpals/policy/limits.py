"""Bounds that a policy sets besides its rules. The operator sets them; a repository may only lower them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Required = Literal["none", "full"]

_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]


class LimitTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[policy.limits]``: the most that one command may use. Zero means no bound of the policy's own."""

    wall_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 3_600.0
    cpu_s: _Count = 3_600
    nproc: _Count = 256
    """Processes and threads of one worker at a time; not counted without a sandbox."""
    nofile: _Count = 1_024
    fsize_mb: _Count = 512
    mem_mb: _Count = 0
    """Address space. Off by default: node and Java reserve much more than they use."""
    tmp_mb: _Count = 512
    output_kb: _Count = 32 * 1_024
    job_wall_s: Annotated[float, msgspec.Meta(ge=0, le=7 * 86_400)] = 14_400.0
    """One attempt at a job, without the time that it waits for a person."""

    def lowered(self, other: LimitTable) -> LimitTable:
        """The stricter of both, each by each."""
        names = self.__struct_fields__
        stricter = {name: _stricter(getattr(self, name), getattr(other, name)) for name in names}
        return msgspec.structs.replace(self, **stricter)


class ApprovalTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[policy.approvals]``: how long a question about a command waits, and how many one job may have."""

    exec_ttl_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 1_800.0
    max_pending_per_job: Annotated[int, msgspec.Meta(ge=1, le=50)] = 3


class SandboxTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[policy.sandbox]``: with ``required = "full"`` not even the operator's start flag does without."""

    required: Required = "none"


def _stricter(a: float, b: float) -> float:
    return min(a or b, b or a)
