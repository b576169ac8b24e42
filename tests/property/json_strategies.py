"""Hypothesis strategies for events and for the JSON that strangers send."""

from __future__ import annotations

import math

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue
from hypothesis import strategies as st

from chaukas.spec.common.v1.events_pb2 import Event

TEXT = st.text(max_size=12)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
#: One NaN of the many bit patterns that doubles have for it: JSON has one word.
_DOUBLES = st.floats(allow_nan=False) | st.just(math.nan)
#: The range of google.protobuf.Timestamp.
TIMES = st.builds(Timestamp, seconds=st.integers(-62_135_596_800, 253_402_300_799), nanos=st.integers(0, 999_999_999))
ANY_TIMES = st.builds(Timestamp, seconds=st.integers(-(2**63), 2**63 - 1), nanos=st.integers(-(2**31), 2**31 - 1)) | TIMES


def json_values(numbers: st.SearchStrategy[float] = FINITE) -> st.SearchStrategy[object]:
    leaves = st.none() | st.booleans() | TEXT | numbers | st.integers(-(2**53), 2**53)
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
    )


def values(*, lossy: bool) -> st.SearchStrategy[Value]:
    """`google.protobuf.Value`; lossy ones may hold what JSON has no word for: NaN, infinities, no kind at all."""
    leaves = st.one_of(
        st.builds(Value, null_value=st.just(0)),
        st.builds(Value, bool_value=st.booleans()),
        st.builds(Value, string_value=TEXT),
        st.builds(Value, number_value=st.floats() if lossy else FINITE),
        st.just(Value()) if lossy else st.builds(Value, string_value=TEXT),
    )

    def nested(inner: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
        lists = st.builds(lambda items: Value(list_value=ListValue(values=items)), st.lists(inner, max_size=4))
        return lists | st.builds(
            lambda fields: Value(struct_value=Struct(fields=fields)), st.dictionaries(TEXT, inner, max_size=4)
        )

    return st.recursive(leaves, nested, max_leaves=12)


def structs(*, lossy: bool) -> st.SearchStrategy[Struct]:
    return st.builds(lambda fields: Struct(fields=fields), st.dictionaries(TEXT, values(lossy=lossy), max_size=5))


def _packed(message: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message, deterministic=True)
    return packed


def anys(*, lossy: bool) -> st.SearchStrategy[AnyMessage]:
    known = st.builds(_packed, structs(lossy=lossy) | st.builds(StringValue, value=TEXT) | TIMES)
    if not lossy:
        return known
    return known | st.builds(
        AnyMessage, type_url=TEXT | st.just("type.googleapis.com/google.protobuf.Struct"), value=st.binary(max_size=20)
    )


def events(*, lossy: bool = False) -> st.SearchStrategy[Event]:
    """Events with any of their fields set. Without `lossy`: what protobuf's own JSON can hold, and nothing that JSON loses."""
    return _messages(Event, lossy)


def _messages(kind: type[Message], lossy: bool) -> st.SearchStrategy[Message]:
    singular = {field.name: _field(field, lossy) for field in kind.DESCRIPTOR.fields if field.containing_oneof is None}
    contents = [field for field in kind.DESCRIPTOR.fields if field.containing_oneof is not None]
    plain = st.fixed_dictionaries({}, optional=singular)
    if not contents:
        return st.builds(lambda fields: kind(**fields), plain)
    content = st.none() | st.one_of([st.tuples(st.just(field.name), _field(field, lossy)) for field in contents])
    return st.builds(lambda fields, extra: kind(**fields, **dict([extra] if extra else [])), plain, content)


def _field(field: FieldDescriptor, lossy: bool) -> st.SearchStrategy[object]:
    one = _one(field, lossy)
    return st.lists(one, max_size=3) if field.is_repeated else one


def _one(field: FieldDescriptor, lossy: bool) -> st.SearchStrategy[object]:
    if field.message_type is not None:
        match field.message_type.full_name:
            case "google.protobuf.Struct":
                return structs(lossy=lossy)
            case "google.protobuf.Timestamp":
                return ANY_TIMES if lossy else TIMES
            case "google.protobuf.Any":
                return anys(lossy=lossy)
        return _messages(field.message_type._concrete_class, lossy)
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values]) | st.integers(-(2**31), 2**31 - 1)
    return {
        FieldDescriptor.TYPE_STRING: TEXT,
        FieldDescriptor.TYPE_BOOL: st.booleans(),
        FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
        FieldDescriptor.TYPE_DOUBLE: st.floats() if lossy else _DOUBLES,
    }[field.type]
