"""A client of the server service that we did not write: the published server package's own stub.

    python -I -S published_caller.py PACKAGES DEPENDENCIES ADDRESS

Calls every RPC of the server at the address, and prints each answer as a JSON line.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    packages, dependencies, address = sys.argv[1:]
    sys.path[:0] = [packages, dependencies]

    import grpc
    from google.protobuf.json_format import MessageToDict

    from chaukas.spec.common.v1.events_pb2 import Event, EventBatch, EventType
    from chaukas.spec.common.v1.query_pb2 import QueryFilter, QueryRequest
    from chaukas.spec.server.v1 import server_pb2 as messages
    from chaukas.spec.server.v1.server_pb2_grpc import ChaukasServerServiceStub

    events = [Event(event_id=f"e{number}", tenant_id="acme", type=EventType.EVENT_TYPE_ERROR) for number in range(3)]
    query = QueryRequest(filter=QueryFilter(session_id="s1"))
    requests = {
        "Healthz": messages.HealthzRequest(),
        "GetCapabilities": messages.GetCapabilitiesRequest(),
        "IngestEvent": messages.IngestEventRequest(event=events[0]),
        "IngestEventBatch": messages.IngestEventBatchRequest(event_batch=EventBatch(batch_id="b", events=events)),
        "QueryEvents": messages.QueryEventsRequest(query=query),
        "GetEventStats": messages.GetEventStatsRequest(tenant_id="acme"),
    }
    with grpc.insecure_channel(address) as channel:
        stub = ChaukasServerServiceStub(channel)
        for name, request in requests.items():
            answer = getattr(stub, name)(request, timeout=20)
            print(json.dumps({"rpc": name, "answer": MessageToDict(answer, preserving_proto_field_name=True)}))


if __name__ == "__main__":
    main()
