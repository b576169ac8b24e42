"""Our declarations against the published ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from chaukas.spec.common.v1 import events_pb2

from .contract_declarations import OURS, declarations, missing
from .published import Published

COMMON = "chaukas.spec.common.v1"
SERVER = "chaukas.spec.server.v1"
ADDITIONS = {
    f"{COMMON}.Event.server_timestamp": 1000,
    f"{COMMON}.QueryRequest.session_id": 1000,
    f"{COMMON}.QueryRequest.include_total": 1001,
    f"{COMMON}.QueryResponse.total_count": 1000,
    f"{COMMON}.QueryResponse.has_more": 1001,
    f"{COMMON}.Capabilities.supports_batch_ingestion": 1000,
    f"{COMMON}.Capabilities.supports_event_querying": 1001,
    f"{COMMON}.Capabilities.supports_statistics": 1002,
    f"{COMMON}.Capabilities.max_batch_size": 1003,
    f"{SERVER}.IngestEventResponse.worm_proof_id": 1000,
    f"{SERVER}.IngestEventBatchResponse.results": 1000,
}


def test_every_published_declaration_is_ours_too(published: Published) -> None:
    """Programs built from a published release find every file, service, method, message, field and number with us."""
    declared = declarations(published.files)
    assert len(declared) > 200
    assert missing(declared, declarations(OURS)) == []


def test_additions_are_the_agreed_ones(published: Published) -> None:
    """Published clients skip what we add: it has numbers from 1000 up, and there is nothing else."""
    declared = declarations(published.files)
    files = {file.name for file in published.files}
    messages = {name.removeprefix("message ") for name in declared if name.startswith("message ")}
    added = {
        field.full_name: field.number
        for file in OURS
        if file.name in files
        for message in file.message_types_by_name.values()
        if message.full_name in messages
        for field in message.fields
        if f"field {field.full_name}" not in declared
    }
    if published.version == "1.0.1":  # what 1.0.5 brought is no addition of ours
        added = {name: number for name, number in added.items() if number >= 1000}
    package = COMMON if published.name.endswith("client") else ""
    assert added == {name: number for name, number in ADDITIONS.items() if name.startswith(package)}


def test_envelope_numbers_are_all_declared() -> None:
    """The cut between envelope and content is safe: every number from 1 to 23 is declared, none from 24 to 29."""
    numbers = {field.number for field in events_pb2.Event.DESCRIPTOR.fields}
    assert numbers & set(range(1, 30)) == set(range(1, 24))


def _event(file: FileDescriptorProto) -> dict[str, FieldDescriptorProto]:
    return {field.name: field for message in file.message_type if message.name == "Event" for field in message.field}


def _rename(file: FileDescriptorProto) -> None:
    _event(file)["span_id"].name = "span"


def _renumber(file: FileDescriptorProto) -> None:
    _event(file)["span_id"].number = 1234


def _retype(file: FileDescriptorProto) -> None:
    _event(file)["span_id"].type = FieldDescriptorProto.TYPE_BYTES


def _repeat(file: FileDescriptorProto) -> None:
    _event(file)["span_id"].label = FieldDescriptorProto.LABEL_REPEATED


def _leave_oneof(file: FileDescriptorProto) -> None:
    _event(file)["tool_call"].ClearField("oneof_index")


def _rename_value(file: FileDescriptorProto) -> None:
    file.enum_type[0].value[3].name = "EVENT_TYPE_OTHER"


def _renumber_value(file: FileDescriptorProto) -> None:
    file.enum_type[0].value[3].number = 1234


def _drop_message(file: FileDescriptorProto) -> None:
    del file.message_type[next(index for index, message in enumerate(file.message_type) if message.name == "EventBatch")]


@pytest.mark.parametrize(
    "change",
    [_rename, _renumber, _retype, _repeat, _leave_oneof, _rename_value, _renumber_value, _drop_message],
)
def test_comparison_finds_each_kind_of_difference(change: Callable[[FileDescriptorProto], None]) -> None:
    """The comparison above can fail: whatever a declaration loses or changes is reported."""
    changed = FileDescriptorProto.FromString(events_pb2.DESCRIPTOR.serialized_pb)
    change(changed)
    pool = DescriptorPool()
    for imported in events_pb2.DESCRIPTOR.dependencies:
        pool.AddSerializedFile(imported.serialized_pb)
    pool.Add(changed)
    assert missing(declarations([events_pb2.DESCRIPTOR]), declarations([pool.FindFileByName(changed.name)]))
