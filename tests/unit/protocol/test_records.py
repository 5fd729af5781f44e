"""Records and bodies: camelCase, defaults left out, and every one goes round."""

import inspect as python
from types import ModuleType

import msgspec
import pytest

from pushpals.protocol import approvals, commands, jobs, landings, records
from pushpals.protocol.jobs import Budget, Job, Wire
from pushpals.protocol.wire import decode, encode
from pushpals.store.base import RECORDS, column
from pushpals.testing.contracts.store import one_of_each

MODULES: list[ModuleType] = [approvals, commands, jobs, landings, records]
KINDS: list[type[Wire]] = [
    kind
    for module in MODULES
    for _, kind in python.getmembers(module, python.isclass)
    if issubclass(kind, Wire) and kind.__module__ == module.__name__
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_names_on_the_wire_are_camel_case(kind: type[Wire]) -> None:
    assert kind.__struct_config__.frozen
    for field in msgspec.structs.fields(kind):
        head, *tail = field.name.rstrip("_").split("_")
        camel = head + "".join(word.title() for word in tail)
        known = {(Job, "state"): "status"}
        assert field.encode_name == known.get((kind, field.name), camel)


@pytest.mark.parametrize("record", one_of_each(), ids=lambda record: type(record).__name__)
def test_every_record_goes_round(record: Wire) -> None:
    assert decode(encode(record), type(record)) == record


def test_every_column_is_a_field_of_its_record() -> None:
    for record in one_of_each():
        for name in RECORDS[type(record)].columns:
            assert isinstance(column(record, name), str | int | None)


def test_defaults_are_left_out() -> None:
    job = Job(id="j", session_id="s", task_id="t", kind="look", params={}, state="pending")
    assert encode(job) == (
        b'{"id":"j","sessionId":"s","taskId":"t","kind":"look","params":{},"status":"pending"}'
    )
    assert encode(Budget(run_s=60.0)) == b'{"runS":60.0}'
