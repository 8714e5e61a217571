"""The generated gRPC stubs of both sides speak to each other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "python"))

from jimbot.proto import actions_pb2_grpc, base_pb2, event_bus_pb2, event_bus_pb2_grpc
from jimbot.proto import resource_coordinator_pb2 as coordinator_pb2
from jimbot.proto import resource_coordinator_pb2_grpc as coordinator_pb2_grpc


class Coordinator(coordinator_pb2_grpc.ResourceCoordinatorServicer):
    def RequestResource(self, request: Any, context: Any) -> Any:
        return coordinator_pb2.ResourceResponse(
            request_id=request.request_id,
            status=coordinator_pb2.REQUEST_STATUS_GRANTED,
            granted_quantity=request.quantity,
        )

    def StreamResourceStatus(self, request: Any, context: Any) -> Iterator[Any]:
        for available in (2, 1, 0):
            yield coordinator_pb2.ResourceStatus(resource=request.resource, total_capacity=2, available=available)


class Bus(event_bus_pb2_grpc.EventBusServicer):
    def Publish(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        for request in requests:
            result = event_bus_pb2.PublishResult(stored=len(request.batch.events))
            yield event_bus_pb2.PublishResponse(request_id=request.request_id, result=result)


@pytest.fixture
def channel() -> Iterator[grpc.Channel]:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    coordinator_pb2_grpc.add_ResourceCoordinatorServicer_to_server(Coordinator(), server)
    event_bus_pb2_grpc.add_EventBusServicer_to_server(Bus(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    server.stop(None).wait()


def test_the_coordinator_grants_and_streams(channel: grpc.Channel) -> None:
    stub = coordinator_pb2_grpc.ResourceCoordinatorStub(channel)
    request = coordinator_pb2.ResourceRequest(request_id="r-1", resource=coordinator_pb2.RESOURCE_TYPE_GPU, quantity=2)
    answer = stub.RequestResource(request, timeout=30)
    assert (answer.request_id, answer.granted_quantity) == ("r-1", 2)
    statuses = stub.StreamResourceStatus(coordinator_pb2.ResourceStatusRequest(), timeout=30)
    assert [status.available for status in statuses] == [2, 1, 0]


def test_batches_are_published_in_a_stream(channel: grpc.Channel) -> None:
    stub = event_bus_pb2_grpc.EventBusStub(channel)
    batch = base_pb2.EventBatch(events=[base_pb2.Event(sequence=1), base_pb2.Event(sequence=2)])
    requests = [event_bus_pb2.PublishRequest(batch=batch, request_id=number) for number in (7, 8)]
    answers = list(stub.Publish(iter(requests), timeout=30))
    assert [(answer.request_id, answer.result.stored) for answer in answers] == [(7, 2), (8, 2)]


def test_what_a_server_lacks_is_said(channel: grpc.Channel) -> None:
    stub = coordinator_pb2_grpc.ResourceCoordinatorStub(channel)
    with pytest.raises(grpc.RpcError) as raised:
        stub.HealthCheck(coordinator_pb2.HealthCheckRequest(), timeout=30)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert actions_pb2_grpc.ActionsStub is not None
