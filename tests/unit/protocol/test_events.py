"""Every event type, both ways and strictly."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from pushpals.protocol.errors import BadRequest
from pushpals.protocol.events import ORIGINAL, OURS, PAYLOADS, Envelope, Error, Event, Log, Message, Payload
from pushpals.protocol.wire import decode_payload, encode, envelope_bytes, payload_from, read_event

TYPES = sorted(PAYLOADS)

# Protocol 0.1.0: required fields, then optional ones.
FIELDS: dict[str, tuple[str, str]] = {
    "message": ("text", "intent"),
    "assistant_message": ("text", ""),
    "log": ("level message", ""),
    "error": ("message", "detail"),
    "done": ("ok", ""),
    "task_created": ("taskId title description createdBy", "priority tags"),
    "task_started": ("taskId", ""),
    "task_progress": ("taskId message", "percent"),
    "task_completed": ("taskId summary", "artifacts"),
    "task_failed": ("taskId message", "detail"),
    "tool_call": ("toolCallId tool args", "taskId requiresApproval"),
    "tool_result": ("toolCallId ok", "taskId stdout stderr exitCode artifacts"),
    "job_enqueued": ("jobId taskId kind params", ""),
    "job_claimed": ("jobId workerId", ""),
    "job_completed": ("jobId", "summary artifacts"),
    "job_failed": ("jobId message", "detail"),
    "job_log": ("jobId stream seq line", ""),
    "approval_required": ("approvalId action summary details", ""),
    "approved": ("approvalId", ""),
    "denied": ("approvalId", ""),
    "agent_status": ("agentId status", "message"),
    "status": ("agentId state", "uptimeMs detail"),
    "scan_result": ("summary filesRead gitStatusPorcelain gitDiff", ""),
    "suggestions": ("items", ""),
    "diff_ready": ("unifiedDiff diffStat branch", ""),
    "committed": ("branch commitHash message", ""),
    "delegate_request": ("requestId toAgentId input", ""),
    "delegate_response": ("requestId ok", "output error"),
}

CHOICES: dict[tuple[str, str], list[str]] = {
    ("log", "level"): ["debug", "error", "info", "warn"],
    ("job_log", "stream"): ["stderr", "stdout"],
    ("approval_required", "action"): ["git.commit", "git.push", "other"],
    ("agent_status", "status"): ["busy", "error", "idle"],
    ("status", "state"): ["busy", "error", "idle", "shutting_down"],
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def values(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """JSON values that a field of this type takes."""
    match kind:
        case inspect.StrType():
            return st.text(max_size=10)
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType():
            return st.integers(-(2**53), 2**53)
        case inspect.FloatType():
            return st.floats(-1e9, 1e9, width=32)
        case inspect.NoneType():
            return st.none()
        case inspect.LiteralType(values=choices):
            return st.sampled_from(choices)
        case inspect.ListType(item_type=item):
            return st.lists(values(item), max_size=3)
        case inspect.DictType(key_type=keys, value_type=items):
            return st.dictionaries(values(keys), values(items), max_size=3)
        case inspect.UnionType(types=choices):
            return st.one_of(*(values(choice) for choice in choices))
        case inspect.StructType():
            return objects(kind)
        case inspect.AnyType():
            return JSON
        case _:
            raise AssertionError(f"no values for {kind}")


def objects(kind: inspect.StructType) -> st.SearchStrategy[dict[str, Any]]:
    fields = {field.encode_name: values(field.type) for field in kind.fields}
    required = {field.encode_name for field in kind.fields if field.required}
    return st.fixed_dictionaries(
        {name: value for name, value in fields.items() if name in required},
        optional={name: value for name, value in fields.items() if name not in required},
    )


def struct(kind: type[Payload]) -> inspect.StructType:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return info


PAYLOAD = st.sampled_from(TYPES).flatmap(
    lambda name: st.tuples(st.just(name), objects(struct(PAYLOADS[name])))
)


def test_the_original_types_have_exactly_their_fields() -> None:
    assert {
        kind.TYPE: (
            " ".join(field.encode_name for field in struct(kind).fields if field.required),
            " ".join(field.encode_name for field in struct(kind).fields if not field.required),
        )
        for kind in ORIGINAL
    } == FIELDS


def test_the_original_choices_are_exactly_these() -> None:
    assert {
        (kind.TYPE, field.encode_name): sorted(field.type.values)
        for kind in ORIGINAL
        for field in struct(kind).fields
        if isinstance(field.type, inspect.LiteralType)
    } == CHOICES


def test_no_type_is_named_twice() -> None:
    assert len(PAYLOADS) == len(ORIGINAL) + len(OURS) == 28 + len(OURS)
    assert set(PAYLOADS) - set(FIELDS) == {kind.TYPE for kind in OURS}


def test_the_envelope_has_exactly_its_fields() -> None:
    info = inspect.type_info(Envelope)
    assert isinstance(info, inspect.StructType)
    assert [(field.encode_name, field.required) for field in info.fields] == [
        ("protocolVersion", True), ("id", True), ("ts", True), ("sessionId", True), ("type", True),
        ("payload", True), ("traceId", False), ("from", False), ("to", False), ("correlationId", False),
        ("parentId", False), ("turnId", False),
    ]  # fmt: skip


@given(PAYLOAD)
def test_every_type_goes_round(sample: tuple[str, dict[str, Any]]) -> None:
    name, raw = sample
    payload = payload_from(name, raw)
    assert type(payload) is PAYLOADS[name]
    assert decode_payload(name, encode(payload)) == payload

    event = Event(cursor=7, id="evt-1", ts="2026-01-31T12:00:00.000Z", session_id="s", payload=payload)
    data = envelope_bytes(event)
    assert read_event(data, 7) == event
    assert event.type == name
    assert b"\n" not in data


@given(PAYLOAD, st.text(max_size=5), JSON)
def test_an_unknown_field_is_refused(sample: tuple[str, dict[str, Any]], extra: str, value: Any) -> None:
    name, raw = sample
    known = {field.encode_name for field in struct(PAYLOADS[name]).fields}
    with pytest.raises(BadRequest, match="unknown field"):
        payload_from(name, raw | {f"x{extra}" if extra in known else extra: value})


@pytest.mark.parametrize("name", TYPES)
@given(data=st.data())
def test_a_missing_field_is_refused(name: str, data: st.DataObject) -> None:
    raw = data.draw(objects(struct(PAYLOADS[name])))
    for field in struct(PAYLOADS[name]).fields:
        if field.required:
            less = {key: value for key, value in raw.items() if key != field.encode_name}
            with pytest.raises(BadRequest, match=f"missing required field `{field.encode_name}`"):
                payload_from(name, less)


@pytest.mark.parametrize("name", TYPES)
@given(data=st.data())
def test_a_field_of_another_type_is_refused(name: str, data: st.DataObject) -> None:
    raw = data.draw(objects(struct(PAYLOADS[name])))
    wrong = [object_of_another_type(field.type) for field in struct(PAYLOADS[name]).fields]
    for field, value in zip(struct(PAYLOADS[name]).fields, wrong, strict=True):
        if value is not None:
            with pytest.raises(BadRequest, match=rf"\$\.{field.encode_name}"):
                payload_from(name, raw | {field.encode_name: value})


def object_of_another_type(kind: inspect.Type) -> Any:
    match kind:
        case inspect.AnyType():
            return None
        case inspect.StrType():
            return 5
        case inspect.UnionType(types=choices) if any(isinstance(c, inspect.StrType) for c in choices):
            return 5
        case _:
            return "no such value"


@pytest.mark.parametrize("text", [b"", b"nonsense", b"[]", b"null", b'{"text": "\xff"}', b'{"text": "a"'])
def test_what_is_no_payload_is_refused(text: bytes) -> None:
    with pytest.raises(BadRequest) as refused:
        decode_payload("message", text)
    assert refused.value.code == "event.invalid"


def test_an_unknown_type_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadRequest, match="'nonsense'") as refused:
        payload_from("nonsense", {})
    assert (refused.value.code, refused.value.detail) == ("event.unknown_type", {"known": TYPES})


ENVELOPE = {
    "protocolVersion": "0.1.0", "id": "e", "ts": "t", "sessionId": "s", "type": "message",
    "payload": {"text": "hello"}, "from": "client", "turnId": "turn",
}  # fmt: skip


def test_an_envelope_is_read() -> None:
    assert read_event(encode(ENVELOPE), 3) == Event(
        cursor=3,
        id="e",
        ts="t",
        session_id="s",
        payload=Message(text="hello"),
        from_="client",
        turn_id="turn",
    )


@pytest.mark.parametrize(
    "change",
    [
        {"protocolVersion": "0.2.0"},
        {"cursor": 1},
        {"payload": {"text": 1}},
        {"payload": {"text": "a", "more": 1}},
        {"payload": None},
        {"from": 1},
    ],
)
def test_an_envelope_is_read_strictly(change: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        read_event(encode(ENVELOPE | change), 1)


@pytest.mark.parametrize("missing", ["protocolVersion", "id", "ts", "sessionId", "type", "payload"])
def test_an_envelope_is_read_whole(missing: str) -> None:
    with pytest.raises(BadRequest, match=missing):
        read_event(encode({key: value for key, value in ENVELOPE.items() if key != missing}), 1)


def test_a_type_of_a_newer_version_does_not_stop_a_reader() -> None:
    event = read_event(encode(ENVELOPE | {"type": "from_the_future", "payload": {"x": [1]}}), 1)
    assert event.payload == Error(message="unknown event type from_the_future", detail='{"x":[1]}')


@given(st.text())
def test_an_event_is_one_line_whatever_was_said(text: str) -> None:
    log = Log(level="info", message=text)
    data = envelope_bytes(Event(cursor=1, id="e", ts="t", session_id="s", payload=log))
    assert b"\n" not in data
    assert b"\r" not in data
    assert msgspec.json.decode(data)["payload"]["message"] == text
