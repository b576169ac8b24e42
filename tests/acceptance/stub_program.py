"""A client made of the published stubs, and of nothing of ours.

    python -I -S stub_program.py PACKAGES DEPENDENCIES ADDRESS {call TENANT | read TENANT PROJECT | compose TENANT}

``PACKAGES`` holds one published distribution, ``DEPENDENCIES`` protobuf and grpc. Prints JSON lines:
``call`` one per call of every RPC, ``read`` one per event of a whole query, page by page, ``compose`` events in protobuf's JSON.
"""

from __future__ import annotations

import base64
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

INTEGRITY_FIELDS = ("content_hash", "hash_prev", "worm_proof_id")


class Client:
    """The published package's own messages and stub on one channel."""

    def __init__(self, packages: Path, address: str) -> None:
        import grpc

        side = "server" if (packages / "chaukas/spec/server").is_dir() else "client"
        self.service = f"chaukas.spec.{side}.v1.Chaukas{side.title()}Service"
        self.messages = import_module(f"chaukas.spec.{side}.v1.{side}_pb2")
        self.events = import_module("chaukas.spec.common.v1.events_pb2")
        self.query = import_module("chaukas.spec.common.v1.query_pb2")
        for module in (self.messages, self.events, self.query):
            assert Path(module.__file__).is_relative_to(packages), module.__file__
        self.channel = grpc.insecure_channel(address)
        stubs = import_module(f"chaukas.spec.{side}.v1.{side}_pb2_grpc")
        self.stub = getattr(stubs, f"Chaukas{side.title()}ServiceStub")(self.channel)

    def event(self, event_id: str, tenant: str, **fields: Any) -> Any:
        """An event with a content and a Struct."""
        event = self.events.Event(event_id=event_id, tenant_id=tenant, project_id="p", session_id=f"{tenant} s", **fields)
        event.type = self.events.EVENT_TYPE_TOOL_CALL_START
        event.timestamp.FromJsonString("2026-01-31T12:00:00.123456789Z")
        event.tool_call.name = "lookup"
        event.tool_call.arguments.update({"order": 17, "nested": {"list": [1, None, "x"]}})
        return event

    def say(self, call: str, rpc: str, request: Any, **options: Any) -> Any:
        """Call an RPC and print what came back."""
        import grpc
        from google.protobuf.json_format import MessageToDict

        told: dict[str, Any] = {"call": call, "rpc": rpc, "code": "OK", "details": "", "answer": None}
        answer = None
        try:
            answer, ended = getattr(self.stub, rpc).with_call(request, timeout=30, **options)
            # What these stubs do not know reaches them as unknown fields, and no further.
            told["unknown_bytes"] = answer.ByteSize()
            answer.DiscardUnknownFields()
            told["unknown_bytes"] -= answer.ByteSize()
            told["answer"] = MessageToDict(answer, preserving_proto_field_name=True)
        except grpc.RpcError as error:
            ended = error
            told["code"], told["details"] = error.code().name, error.details()
        trailers = dict(ended.trailing_metadata())
        told["trailers"] = {key: value if isinstance(value, str) else encoded(value) for key, value in trailers.items()}
        show(told)
        return answer


def main() -> None:
    packages, dependencies, address, task, *arguments = sys.argv[1:]
    sys.path[:0] = [packages, dependencies]
    client = Client(Path(packages), address)
    {"call": call, "read": read, "compose": compose}[task](client, *arguments)
    client.channel.close()


def call(client: Client, tenant: str) -> None:
    """Every RPC, in each way that has an answer of its own."""
    import grpc

    messages, event = client.messages, client.event
    client.say("health", "Healthz", messages.HealthzRequest())
    client.say("capabilities", "GetCapabilities", messages.GetCapabilitiesRequest())
    for name, sent in (
        ("good", event("1", tenant)),
        ("again", event("1", tenant)),
        ("other content", event("1", tenant, agent_id="other")),
        ("invalid", event("2", "")),
    ):
        client.say(name, "IngestEvent", messages.IngestEventRequest(event=sent))
    batch = client.events.EventBatch(batch_id="b 1", events=[event("3", tenant), event("4", ""), event("5", tenant)])
    client.say("mixed", "IngestEventBatch", messages.IngestEventBatchRequest(event_batch=batch))
    batch = client.events.EventBatch(batch_id="b 2", events=[event(f"many {number}", tenant) for number in range(200)])
    request = messages.IngestEventBatchRequest(event_batch=batch)
    client.say("compressed", "IngestEventBatch", request, compression=grpc.Compression.Gzip)

    question = client.query.QueryRequest(page_size=2, order_by_time=client.query.SORT_ORDER_ASC)
    question.filter.session_id = f"{tenant} s"
    first = client.say("first page", "QueryEvents", messages.QueryEventsRequest(query=question))
    question.page_token = first.response.next_page_token
    client.say("second page", "QueryEvents", messages.QueryEventsRequest(query=question))
    question.page_token = "made up"  # noqa: S105 (a page token)
    client.say("wrong page", "QueryEvents", messages.QueryEventsRequest(query=question))
    client.say("invalid batch", "IngestEventBatch", messages.IngestEventBatchRequest())
    if "Server" in client.service:
        client.say("stats", "GetEventStats", messages.GetEventStatsRequest(tenant_id=tenant))
    surroundings(client)


def surroundings(client: Client) -> None:
    """The standard services, with their own published stubs: health and reflection."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    health = health_pb2_grpc.HealthStub(client.channel)
    states = [health.Check(health_pb2.HealthCheckRequest(service=name), timeout=30).status for name in ("", client.service)]
    names = [health_pb2.HealthCheckResponse.ServingStatus.Name(state) for state in states]
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=client.service),
    ]
    listed, file = reflection_pb2_grpc.ServerReflectionStub(client.channel).ServerReflectionInfo(iter(requests), timeout=30)
    services = [service.name for service in listed.list_services_response.service]
    files = [encoded(proto) for proto in file.file_descriptor_response.file_descriptor_proto]
    show({"call": "surroundings", "health": names, "service": client.service, "services": services, "files": files})


def read(client: Client, tenant: str, project: str) -> None:
    """Every event of the tenant's project, as these stubs know it: without the server's fields it is what was sent."""
    question = client.query.QueryRequest(page_size=50, order_by_time=client.query.SORT_ORDER_ASC)
    question.filter.tenant_id, question.filter.project_id = tenant, project
    for _ in range(1000):
        page = client.stub.QueryEvents(client.messages.QueryEventsRequest(query=question), timeout=30).response
        for event in page.events:
            integrity = {name: getattr(event, name) for name in INTEGRITY_FIELDS}
            for name in INTEGRITY_FIELDS:
                event.ClearField(name)
            event.DiscardUnknownFields()
            show({"event_id": event.event_id, "sent": encoded(event.SerializeToString(deterministic=True)), **integrity})
        question.page_token = page.next_page_token
        if not question.page_token:
            return
    raise AssertionError("the pages do not end")


def compose(client: Client, tenant: str) -> None:
    """Two events in protobuf's JSON form, as every protobuf library writes it and with the contract's own names."""
    from google.protobuf.json_format import MessageToDict

    for event_id, snake_case in (("camel", False), ("snake", True)):
        event = client.event(event_id, tenant, agent_name="Поддержка 支持", tags=["a", "b"])
        written = MessageToDict(event, preserving_proto_field_name=snake_case)
        show({"json": written, "sent": encoded(event.SerializeToString(deterministic=True))})


def encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


def show(item: dict[str, Any]) -> None:
    print(json.dumps(item))


if __name__ == "__main__":
    main()
