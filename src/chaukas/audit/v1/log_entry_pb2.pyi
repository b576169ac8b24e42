from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LogEntryKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOG_ENTRY_KIND_UNSPECIFIED: _ClassVar[LogEntryKind]
    LOG_ENTRY_KIND_EVENT: _ClassVar[LogEntryKind]
    LOG_ENTRY_KIND_QUARANTINED: _ClassVar[LogEntryKind]
    LOG_ENTRY_KIND_KEY: _ClassVar[LogEntryKind]
    LOG_ENTRY_KIND_ERASURE: _ClassVar[LogEntryKind]
LOG_ENTRY_KIND_UNSPECIFIED: LogEntryKind
LOG_ENTRY_KIND_EVENT: LogEntryKind
LOG_ENTRY_KIND_QUARANTINED: LogEntryKind
LOG_ENTRY_KIND_KEY: LogEntryKind
LOG_ENTRY_KIND_ERASURE: LogEntryKind

class LogEntry(_message.Message):
    __slots__ = ("version", "kind", "received_at_ns", "envelope_commitment", "content_commitment", "session_commitment", "session_sequence", "principal_key")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    ENVELOPE_COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    CONTENT_COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    SESSION_COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    SESSION_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_KEY_FIELD_NUMBER: _ClassVar[int]
    version: int
    kind: LogEntryKind
    received_at_ns: int
    envelope_commitment: bytes
    content_commitment: bytes
    session_commitment: bytes
    session_sequence: int
    principal_key: int
    def __init__(self, version: _Optional[int] = ..., kind: _Optional[_Union[LogEntryKind, str]] = ..., received_at_ns: _Optional[int] = ..., envelope_commitment: _Optional[bytes] = ..., content_commitment: _Optional[bytes] = ..., session_commitment: _Optional[bytes] = ..., session_sequence: _Optional[int] = ..., principal_key: _Optional[int] = ...) -> None: ...
