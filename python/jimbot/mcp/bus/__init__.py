"""Clients of the Event Bus: publish, subscribe, look back, from any host.

``EventBusClient`` is for threads, ``AsyncEventBusClient`` the same for asyncio. Needs grpcio: ``pip install 'jimbot[bus]'``.
"""

try:
    import grpc as _grpc  # noqa: F401
except ImportError as error:
    raise ImportError("jimbot.mcp.bus needs grpcio: pip install 'jimbot[bus]'") from error

from jimbot.mcp.bus.async_client import AsyncEventBusClient
from jimbot.mcp.bus.async_publisher import AsyncPublisher
from jimbot.mcp.bus.async_subscription import AsyncSubscription
from jimbot.mcp.bus.client import EventBusClient
from jimbot.mcp.bus.errors import (
    BadRequest,
    BusError,
    BusFull,
    BusUnreachable,
    DurableInUse,
    DurableNotFound,
    EventsMissed,
    EventsRejected,
    LevelNotOffered,
    NotAllowed,
)
from jimbot.mcp.bus.events import Delivery, ReceivedEvent, StoredEvent
from jimbot.mcp.bus.publisher import Publisher
from jimbot.mcp.bus.subscription import Subscription
from jimbot.proto.event_bus_pb2 import DurableState, LogSequence, PublishResult

__all__ = [
    "AsyncEventBusClient",
    "AsyncPublisher",
    "AsyncSubscription",
    "BadRequest",
    "BusError",
    "BusFull",
    "BusUnreachable",
    "Delivery",
    "DurableInUse",
    "DurableNotFound",
    "DurableState",
    "EventBusClient",
    "EventsMissed",
    "EventsRejected",
    "LevelNotOffered",
    "LogSequence",
    "NotAllowed",
    "PublishResult",
    "Publisher",
    "ReceivedEvent",
    "StoredEvent",
    "Subscription",
]
