"""What the framework needs, and what it copes without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import google.protobuf
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

import chaukas.server
from chaukas.server.errors import InvalidRequestError
from chaukas.server.framework import effective_filter
from chaukas.spec.common.v1 import events_pb2, query_pb2
from chaukas.spec.common.v1.query_pb2 import QueryFilter, QueryRequest

_SOURCE = Path(chaukas.server.__file__).parents[1]
_PLATFORM = (
    "apsw",
    "asyncpg",
    "starlette",
    "structlog",
    "uvicorn",
    "chaukas.server.app",
    "chaukas.server.cli",
    "chaukas.server.config",
    "chaukas.server.ingest",
    "chaukas.server.operations",
    "chaukas.server.query",
    "chaukas.server.storage",
    "chaukas.server.transports",
)


def run(code: str, *paths: Path) -> str:
    """Run code in a process of its own; what it prints."""
    lines = f"import sys; sys.path[:0] = {list(map(str, paths))!r}\n{code}"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_framework_does_not_import_the_platform() -> None:
    """A backend builder's process loads neither the ready server nor what only that needs."""
    code = "from chaukas.server import *; from chaukas.server import ChaukasServicer, StorageError; print(*sys.modules)"
    loaded = set(run(code).split())
    assert "chaukas.server.framework" in loaded
    assert [name for name in _PLATFORM if name in loaded] == []


def test_package_alone_loads_nothing() -> None:
    """A module of the server that is no framework does not load gRPC by way of its package."""
    loaded = set(run("import chaukas.server, chaukas.server.errors; print(*sys.modules)").split())
    assert not {"grpc", "google.protobuf", "chaukas.server.framework"} & loaded


def test_package_offers_what_it_says() -> None:
    """Every public name is there and listed; a wrong one is an AttributeError as everywhere."""
    assert set(chaukas.server.__all__) <= set(dir(chaukas.server))
    assert all(getattr(chaukas.server, name) is not None for name in chaukas.server.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        chaukas.server.no_such_name  # noqa: B018


_WITHOUT_ADDITIONS = """
from concurrent.futures import ThreadPoolExecutor
import grpc
from chaukas.server import ChaukasServicer, effective_filter
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.common.v1.query_pb2 import Capabilities, QueryFilter, QueryRequest, QueryResponse
from chaukas.spec.server.v1 import server_pb2 as messages
from chaukas.spec.server.v1.server_pb2_grpc import ChaukasServerServiceStub, add_ChaukasServerServiceServicer_to_server

assert "server_timestamp" not in Event.DESCRIPTOR.fields_by_name

class Backend(ChaukasServicer):
    batch_events_max = 5
    def store_event(self, event):
        assert event.HasField("timestamp")
        return "duplicate" if event.event_id == "e2" else None
    def query_events(self, query):
        return QueryResponse(events=[Event(session_id=query.filter.session_id)], next_page_token="more")

server = grpc.server(ThreadPoolExecutor(2))
add_ChaukasServerServiceServicer_to_server(Backend(), server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    stub = ChaukasServerServiceStub(channel)
    events = [Event(event_id=f"e{i}", tenant_id="acme", type=1) for i in (1, 2)]
    batch = stub.IngestEventBatch(messages.IngestEventBatchRequest(event_batch={"events": events}))
    query = QueryRequest(filter=QueryFilter(session_id="s1"))
    page = stub.QueryEvents(messages.QueryEventsRequest(query=query)).response
    print([result.status for result in batch.results], stub.IngestEvent(messages.IngestEventRequest(event=events[0])).status,
        page.events[0].session_id, stub.GetCapabilities(messages.GetCapabilitiesRequest()).capabilities == Capabilities())
server.stop(None).wait()
"""


def without_additions(module: ModuleType) -> str:
    """Source of a module with the messages of another one, but without the fields from 1000 up."""
    file = FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
    for message in file.message_type:
        kept = [field for field in message.field if field.number < 1000]
        del message.field[:]
        message.field.extend(kept)
    imports = "".join(
        f"import {name.removesuffix('.proto').replace('/', '.')}_pb2\n" for name in file.dependency if "chaukas" in name
    )
    return (
        f"from google.protobuf import any_pb2, descriptor_pool, struct_pb2, timestamp_pb2\n{imports}"
        "from google.protobuf.internal import builder\n"
        f"DESCRIPTOR = descriptor_pool.Default().AddSerializedFile({file.SerializeToString()!r})\n"
        "builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, globals())\n"
        "builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, __name__, globals())\n"
    )


def test_framework_works_over_published_common_modules(tmp_path: Path) -> None:
    """Where the published client's common modules lie over ours, the framework sets no field that they lack."""
    package = tmp_path / "chaukas"
    (package / "spec" / "common" / "v1").mkdir(parents=True)
    for part in (
        "spec/__init__.py",
        "spec/server",
        "spec/client",
        "spec/common/__init__.py",
        "spec/common/v1/__init__.py",
        "server",
    ):
        (package / part).symlink_to(_SOURCE / part)
    for module in (events_pb2, query_pb2):
        (package / "spec" / "common" / "v1" / f"{module.__name__.rpartition('.')[2]}.py").write_text(without_additions(module))
    lines = (
        f"import sys; sys.path[:0] = {[str(tmp_path), str(Path(google.protobuf.__file__).parents[2])]!r}\n{_WITHOUT_ADDITIONS}"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", lines], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['accepted', 'duplicate'] accepted s1 True"


def test_effective_filter_takes_the_session_from_either_place() -> None:
    """The shorthand and the filter may name a session, both the same one; the query itself stays as it is."""
    for query in (
        QueryRequest(session_id="s1", filter=QueryFilter(agent_id="a")),
        QueryRequest(filter=QueryFilter(session_id="s1", agent_id="a")),
        QueryRequest(session_id="s1", filter=QueryFilter(session_id="s1", agent_id="a")),
    ):
        before = query.SerializeToString(deterministic=True)
        assert effective_filter(query) == QueryFilter(session_id="s1", agent_id="a")
        assert query.SerializeToString(deterministic=True) == before
    assert effective_filter(QueryRequest()) == QueryFilter()


def test_effective_filter_refuses_two_sessions() -> None:
    """Two different sessions in one query are an error that names the field."""
    with pytest.raises(InvalidRequestError, match="session_id") as caught:
        effective_filter(QueryRequest(session_id="s1", filter=QueryFilter(session_id="s2")))
    assert caught.value.field == "session_id"
