"""The console's types, written from the Python types: ``extension/packages/core/src/protocol.gen.ts``.

``python -m pushpals.testing.typescript FILE`` writes them (``make schema``); a test compares them, so the
two languages cannot drift apart. A field that the hub leaves out when it has its default is optional, one
that it always sends is not; in views a map is a ``ReadonlyMap``, because ids are what people and agents make
them and ``constructor`` is a valid one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec

from pushpals.policy.reasons import REASONS
from pushpals.protocol import approvals, commands, events, jobs, landings, records, views
from pushpals.server.handlers.login import LoggedIn

BODIES: tuple[type[msgspec.Struct], ...] = (
    commands.Approvals, commands.CancelJob, commands.CreateSession, commands.Decide, commands.Decided,
    commands.Enqueue, commands.Enqueued, commands.JobReply, commands.Jobs, commands.LandingReply,
    commands.Landings, commands.Lanes, commands.Ok, commands.PostMessage, commands.Posted,
    commands.Repositories, commands.RetryJob, commands.SessionCreated, commands.Sessions,
    commands.SetLaneMode, commands.SetWorkerState, commands.Snapshot, commands.SystemStatus,
    commands.WorkerReply, commands.Workers, LoggedIn,
)  # fmt: skip
"""Requests and answers that the console uses."""

RENAMED = {"Error": "ErrorPayload"}
"""Names that mean something else in a browser."""

UNIONS: dict[str, Any] = {
    "ApprovalKind": approvals.ApprovalKind,
    "ApprovalState": approvals.ApprovalState,
    "AskState": views.AskState,
    "JobState": jobs.JobState,
    "LandingState": landings.LandingState,
    "LaneMode": landings.LaneMode,
    "Role": records.Role,
    "TaskState": views.TaskState,
    "Verdict": jobs.Verdict,
    "WorkerState": records.WorkerState,
}
SETS: dict[str, tuple[str, Iterable[str]]] = {
    "JOB_ENDS": ("JobState", jobs.TERMINAL),
    "LANDING_ENDS": ("LandingState", landings.ENDS),
    "LANDING_WORKING": ("LandingState", landings.WORKING),
}
NUMBERS = {
    name: getattr(views, name)
    for name in ("KEEP", "KEEP_DIFFS", "KEEP_PROBLEMS", "KEEP_LINES", "KEEP_EVIDENCE")
}


def protocol_ts() -> str:
    """The whole file."""
    return "\n".join(_parts()).rstrip() + "\n"


def _parts() -> Iterator[str]:
    yield "// Written by `make schema` from the Python types; a test compares them. Do not edit.\n"
    yield f'export const PROTOCOL_VERSION = "{events.PROTOCOL_VERSION}";\n'
    for name, value in NUMBERS.items():
        yield f"export const {name} = {value};"
    yield ""
    known: dict[str, str] = {}
    for name, union in UNIONS.items():
        values = get_args(union)
        known[_key(values)] = name
        yield f"export type {name} = {_literals(values)};"
    for name, (union, members) in SETS.items():
        quoted = ", ".join(f'"{member}"' for member in sorted(members))
        yield f"export const {name}: ReadonlySet<{union}> = new Set<{union}>([{quoted}]);"
    yield ""
    yield "/** What the codes of a decision mean. */"
    yield "export const REASONS: Readonly<Record<string, string>> = {"
    for code, meaning in REASONS.items():
        yield f"  {_literals([code])}: {_literals([meaning])},"
    yield "};\n"
    yield _ENVELOPE
    schemas, classes = _schemas()
    for name in sorted(schemas):
        yield _interface(name, schemas[name], classes[name], known)
    yield "/** The payload of every event type. */\nexport interface Payloads {"
    for kind, payload in events.PAYLOADS.items():
        yield f"  {kind}: {_named(payload.__name__)};"
    yield "}\n"
    yield "export type EventType = keyof Payloads;"


_ENVELOPE = """\
/** What travels. An event type that this version does not know has a payload of unknown shape. */
export interface Envelope<T extends string = string> {
  readonly protocolVersion: string;
  readonly id: string;
  readonly ts: string;
  readonly sessionId: string;
  readonly type: T;
  readonly payload: T extends EventType ? Payloads[T] : unknown;
  readonly traceId?: string | null;
  readonly from?: string | null;
  readonly to?: string | null;
  readonly correlationId?: string | null;
  readonly parentId?: string | null;
  readonly turnId?: string | null;
}
"""


def _schemas() -> tuple[dict[str, dict[str, Any]], dict[str, type[msgspec.Struct]]]:
    roots = (*events.PAYLOADS.values(), *BODIES, views.SessionView)
    _, schemas = msgspec.json.schema_components(roots, ref_template="{name}")
    modules = (approvals, commands, events, jobs, landings, records, views)
    classes = {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, msgspec.Struct)
    }
    classes["LoggedIn"] = LoggedIn
    return schemas, classes


def _interface(name: str, schema: dict[str, Any], owner: type[msgspec.Struct], known: dict[str, str]) -> str:
    lines = []
    about = " ".join(schema.get("description", "").split("\n\n")[0].split()).replace("``", "`")
    if about:
        lines.append(f"/** {about.replace('*/', '* /')} */")
    lines.append(f"export interface {_named(name)} {{")
    required = set(schema.get("required", ()))
    is_view = issubclass(owner, views.View)
    complete = not owner.__struct_config__.omit_defaults
    answer = complete or is_view
    for field, kind in schema["properties"].items():
        mark = "" if field in required or answer else "?"
        lines.append(f"  readonly {field}{mark}: {_type(kind, known, maps=is_view)};")
    lines.append("}\n")
    return "\n".join(lines)


def _type(kind: dict[str, Any], known: dict[str, str], *, maps: bool) -> str:
    match kind:
        case {"$ref": ref}:
            return _named(ref)
        case {"anyOf": options}:
            return " | ".join(_type(option, known, maps=maps) for option in options)
        case {"enum": values}:
            return known.get(_key(values)) or _literals(values)
        case {"type": "array", "items": items}:
            inner = _type(items, known, maps=maps)
            return f"readonly {f'({inner})' if ' | ' in inner else inner}[]"
        case {"type": "object", "additionalProperties": dict() as values} if maps:
            return f"ReadonlyMap<string, {_type(values, known, maps=maps)}>"
        case {"type": "object", "additionalProperties": dict() as values}:
            return f"Readonly<Record<string, {_type(values, known, maps=maps)}>>"
        case {"type": "object"}:
            return "Readonly<Record<string, unknown>>"
        case {"type": "string"}:
            return "string"
        case {"type": "integer" | "number"}:
            return "number"
        case {"type": "boolean"}:
            return "boolean"
        case {"type": "null"}:
            return "null"
        case _:
            return "unknown"


def _named(name: str) -> str:
    return RENAMED.get(name, name)


def _literals(values: Iterable[Any]) -> str:
    return " | ".join(msgspec.json.encode(value).decode() for value in values)


def _key(values: Iterable[Any]) -> str:
    return ",".join(sorted(map(str, values)))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(protocol_ts(), encoding="utf-8")
