"""What a client of the bus decides, without a bus: where to go on, what to send again, when to give up."""

from datetime import datetime, timezone

import grpc
import pytest

from jimbot.mcp.bus import BusError, EventsMissed, LogSequence
from jimbot.mcp.bus import _reading, _requests, _sending, errors
from jimbot.mcp.bus._connection import Patience, address
from jimbot.mcp.bus._history import PAGE_EVENTS, Look
from jimbot.proto.base_pb2 import Event, EventBatch, EventType
from jimbot.proto.event_bus_pb2 import (
    AckLevel,
    EventFilter,
    GapReason,
    GetHistoryResponse,
    PublishResponse,
    PublishResult,
    Rejection,
    SubscribeResponse,
)


def event(number, producer="p"):
    return Event(type=EventType.EVENT_TYPE_HEARTBEAT, producer=producer, producer_sequence=number)


class Side:
    """A reading and its bus, which is this test."""

    def __init__(self, *, durable=None, prefetch=0, auto_ack=True, start=None):
        wanted = _requests.event_filter(("game.>",), None, None, None, None)
        nothing = dict.fromkeys(("ack_wait", "max_deliveries", "dead_letter_topic", "max_unacked"))
        begin = _requests.subscribe_start(
            wanted, start=start, durable=durable, reset=False, max_batch_events=None, max_batch_bytes=None, **nothing
        )
        self.reading = _reading.Reading(begin, prefetch=prefetch, auto_ack=auto_ack, settling=self)

    def settle(self, events, positions):
        self.reading.settle(events, positions)

    def refuse(self, positions, delay):
        self.reading.refuse(positions, delay)

    def connect(self, *, start_position=1, last_position=100, resumed=False):
        begin = self.reading.begin().start
        said = SubscribeResponse()
        said.subscribed.start_position = start_position
        said.subscribed.last_position = last_position
        said.subscribed.resumed = resumed
        self.reading.feed(said)
        return begin

    def deliver(self, *positions, attempt=1, producer="p"):
        said = SubscribeResponse()
        said.delivery.batch.events.extend(event(position, producer) for position in positions)
        said.delivery.positions.extend(positions)
        said.delivery.attempt = attempt
        self.reading.feed(said)

    def gap(self, first, last, reason=GapReason.GAP_REASON_UNSPECIFIED):
        said = SubscribeResponse()
        said.gap.first_position, said.gap.last_position = first, last
        said.gap.reason = reason
        self.reading.feed(said)

    def taken(self):
        positions = []
        while (received := self.reading.take()) is not None:
            positions.append(received.position)
        return positions

    def acked(self):
        return [position for said in self.reading.speech() for position in said.ack.positions]


def test_a_subscription_without_a_durable_goes_on_behind_the_last_event_that_came():
    side = Side(start="earliest")
    assert side.connect().start.HasField("earliest")
    side.deliver(1, 2, 3)
    assert side.reading.take().position == 1
    side.reading.disconnected()
    assert side.connect(start_position=3).start.position == 3
    side.deliver(3, 4, 5)
    assert side.taken() == [2, 3, 4, 5] and side.acked() == []


def test_one_that_saw_no_event_goes_on_where_it_began():
    side = Side()
    assert side.connect(start_position=17).start.HasField("latest")
    side.reading.disconnected()
    assert side.connect(start_position=17).start.position == 17


def test_a_bus_on_another_store_is_read_from_its_beginning():
    side = Side(start="earliest")
    side.connect()
    side.deliver(1, 2, 3)
    side.reading.disconnected()
    with pytest.raises(_reading.StoreReplaced):  # it has not got so far
        side.connect(start_position=2)
    side.reading.disconnected()
    assert side.connect().start.HasField("earliest")
    side.deliver(1, 2, 3, 4, producer="other")
    side.reading.disconnected()
    side.connect(start_position=4)
    with pytest.raises(_reading.StoreReplaced):  # it has, with other events
        side.deliver(4, 5)
    side.reading.disconnected()
    assert side.connect().start.HasField("earliest")
    side.deliver(1)
    assert side.taken() == [1, 2, 3, 1, 2, 3, 4, 1]


def test_a_gap_is_told_once_and_reading_goes_on_behind_it():
    side = Side(start="earliest")
    side.connect()
    side.deliver(1, 2)
    side.reading.disconnected()
    side.connect(start_position=2)
    side.gap(2, 9, GapReason.GAP_REASON_DAMAGED)  # 2 had come
    side.deliver(10)
    assert [side.reading.take().position for _ in range(2)] == [1, 2]
    with pytest.raises(EventsMissed) as caught:
        side.reading.take()
    assert (caught.value.first_position, caught.value.last_position, caught.value.reason) == (3, 9, "DAMAGED")
    assert "its messages name the file" in str(caught.value)
    assert side.taken() == [10]


def test_an_event_is_acknowledged_when_the_next_one_is_asked_for():
    side = Side(durable="d")
    assert side.connect().start.HasField("resume")
    side.deliver(1, 2, 3)
    side.reading.take()
    assert side.acked() == []
    side.reading.take()
    assert side.acked() == [1]
    side.reading.take().nack(0.5)
    said = side.reading.speech()
    assert [list(one.ack.positions) for one in said if one.HasField("ack")] == [[2]]
    assert [(list(one.nack.positions), one.nack.delay.ToMilliseconds()) for one in said if one.HasField("nack")] == [([3], 500)]
    assert side.taken() == [] and side.acked() == []


def test_explicit_acknowledgements_come_in_any_order_and_once():
    side = Side(durable="d", auto_ack=False)
    side.connect()
    side.deliver(1, 2, 3)
    received = [side.reading.take() for _ in range(3)]
    assert side.acked() == []
    received[2].ack()
    received[0].ack()
    received[0].ack()
    received[0].nack()
    assert side.acked() == [3, 1] and not side.reading.has_speech


def test_what_a_durable_finished_is_not_handed_out_again_and_acknowledged_again():
    side = Side(durable="d")
    side.connect()
    side.deliver(*range(1, 6))
    hand = side.reading.take_delivery()
    assert len(hand) == 5 and side.reading.take() is None
    assert side.acked() == [1, 2, 3, 4, 5]  # and lost, since the bus died
    side.deliver(6, 7)
    side.reading.take()
    side.reading.disconnected()
    assert side.acked() == []
    begin = side.connect(resumed=True)
    assert begin.start.position == 1 and not begin.reset
    assert side.acked() == [1, 2, 3, 4, 5]
    side.deliver(*range(1, 8), attempt=1)
    assert side.taken() == [7]  # 6 was in hand, and finished by asking for more
    assert sorted(set(side.acked())) == list(range(1, 8))


def test_another_event_at_the_same_position_is_no_copy():
    side = Side(durable="d")
    side.connect()
    side.deliver(1, 2)
    assert side.taken() == [1, 2]
    side.reading.disconnected()
    side.connect(resumed=True)
    side.deliver(1, 2, producer="other")
    assert side.taken() == [1, 2]


def test_a_durable_that_the_bus_lost_begins_where_it_began_or_with_all_of_another_store():
    side = Side(durable="d", start="latest")
    assert side.connect(start_position=40).start.HasField("latest")
    side.deliver(40, 41)
    assert side.taken() == [40, 41]
    side.reading.disconnected()
    assert side.connect(start_position=40).start.position == 40  # as if it had never been
    side.deliver(40, 41, 42)
    assert side.taken() == [42]
    side.reading.disconnected()
    with pytest.raises(_reading.StoreReplaced):
        side.connect(start_position=8, last_position=7)
    side.reading.disconnected()
    begin = side.connect(last_position=7)
    assert begin.start.HasField("earliest") and begin.reset
    side.deliver(1, producer="other")
    assert side.taken() == [1]
    side.reading.disconnected()
    begin = side.connect(resumed=True)
    assert begin.start.position == 1 and not begin.reset


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(_reading, "SETTLED_MAX", 100)
    side = Side(durable="d")
    side.connect()
    for first in range(1, 1001, 50):
        side.deliver(*range(first, first + 50))
        side.taken()
    assert side.acked() == list(range(1, 1001))
    side.reading.disconnected()
    side.connect(resumed=True)
    assert side.acked() == list(range(901, 1001))


def test_credit_is_given_for_what_was_handed_out():
    side = Side(prefetch=8)
    assert side.connect().initial_credit == 8
    side.deliver(*range(1, 9))
    side.reading.take()
    assert not side.reading.has_speech
    side.reading.take()
    assert [said.credit.events for said in side.reading.speech()] == [2]
    side.reading.disconnected()
    assert side.connect(start_position=8).initial_credit == 2  # six wait here


def test_a_publisher_sends_again_what_was_not_answered_in_order():
    sending = _sending.Sending(AckLevel.ACK_LEVEL_UNSPECIFIED)
    for number in range(3):
        sending.add(EventBatch(events=[event(number)]), f"future {number}")
    assert [sending.next().request_id for _ in range(3)] == [1, 2, 3] and not sending.has_unsent
    assert sending.answered(PublishResponse(request_id=1))[0] == "future 0"
    with pytest.raises(ValueError, match="request 3"):
        sending.answered(PublishResponse(request_id=3))
    sending.disconnected()
    with pytest.raises(ValueError, match="request 2"):  # it was not sent yet
        sending.answered(PublishResponse(request_id=2))
    assert [sending.next().request_id for _ in range(2)] == [2, 3]
    assert sending.give_up() == ["future 1", "future 2"] and len(sending) == 0


def test_a_publisher_has_so_many_and_so_much_under_way():
    sending = _sending.Sending(AckLevel.ACK_LEVEL_UNSPECIFIED)
    for number in range(_sending.REQUESTS_MAX):
        assert sending.has_room
        sending.add(EventBatch(events=[event(number)]), None)
    assert not sending.has_room
    sending = _sending.Sending(AckLevel.ACK_LEVEL_UNSPECIFIED)
    for _ in range(3):
        assert sending.has_room
        sending.add(EventBatch(events=[Event(event_id="x" * (3 << 20))]), None)
    assert not sending.has_room


def test_waits_double_are_drawn_and_end():
    now, drawn = [0.0], []

    def draw(low, high):
        drawn.append((low, high))
        return high

    patience = Patience(None, clock=lambda: now[0], draw=draw)
    assert [patience.next_wait() for _ in range(9)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]
    assert all(low == 0 for low, _ in drawn) and patience.left() is None
    patience.renew(1.0)
    assert patience.next_wait() == 0.1
    now[0] = 0.95
    assert patience.next_wait() == pytest.approx(0.05)
    now[0] = 1.0
    assert patience.next_wait() is None


def test_events_without_an_identity_are_numbered_and_yours_is_not_changed():
    numbers = _requests.Numbers("bot")
    mine = [Event(event_id="a"), Event(log_epoch=7, sequence=3), event(5), Event(event_id="b")]
    assert numbers.are_needed(mine) and not numbers.are_needed(mine[1:3])
    numbers.go_on_after(41)
    (batch,) = numbers.batches(mine)
    assert [(one.producer, one.producer_sequence) for one in batch.events] == [("bot", 42), ("", 0), ("p", 5), ("bot", 43)]
    assert not mine[0].producer
    assert not _requests.Numbers(None).are_needed(mine)  # a name made up just now
    for bad in ("", "x" * 65, "a b", "ü"):
        with pytest.raises(ValueError, match="producer"):
            _requests.Numbers(bad)


def test_a_large_list_goes_in_parts_and_has_one_answer():
    numbers = _requests.Numbers(None)
    batches = numbers.batches([Event(event_id="x" * (1 << 20)) for _ in range(10)])
    assert [len(batch.events) for batch in batches] == [3, 3, 3, 1]
    assert all(batch.ByteSize() < 4 << 20 for batch in batches)
    first = PublishResult(ack_level=AckLevel.ACK_LEVEL_FSYNCED, stored=2, first_position=5, last_position=6)
    first.rejections.append(Rejection(index=2))
    second = PublishResult(ack_level=AckLevel.ACK_LEVEL_WRITTEN, stored=1, first_position=9, last_position=9, duplicates=1)
    second.rejections.append(Rejection(index=0))
    whole = _requests.join([first, second], [3, 2])
    assert (whole.ack_level, whole.stored, whole.duplicates) == (AckLevel.ACK_LEVEL_WRITTEN, 3, 1)
    assert (whole.first_position, whole.last_position) == (5, 9)
    assert [rejection.index for rejection in whole.rejections] == [2, 3]


def test_a_look_into_the_past_goes_on_with_the_cursor_and_takes_nothing_twice():
    look = Look(EventFilter(), None, None, 5)

    def page(*positions, cursor=""):
        return GetHistoryResponse(
            batch=EventBatch(events=[event(position) for position in positions]), positions=positions, next_cursor=cursor
        )

    assert look.next_request().limit == 5
    assert [stored.position for stored in look.taken(page(1, 2))] == [1, 2]
    # The connection broke in the middle: the page comes again.
    assert [stored.position for stored in look.taken(page(1, 2, 3))] == [3]
    assert list(look.taken(page(cursor="4"))) == []
    assert (look.next_request().cursor, look.next_request()) == ("4", None)
    everything = Look(EventFilter(), None, None, None)
    assert everything.next_request().limit == PAGE_EVENTS
    list(everything.taken(page(1)))
    assert everything.next_request() is None


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (dict(start="newest"), "'latest', 'earliest', 'resume'"),
        (dict(start=0), "a position from 1"),
        (dict(start=datetime(2026, 1, 1)), "time zone"),
        (dict(start="resume"), "durable="),
        (dict(max_unacked=5, ack_wait=2.0), "ack_wait, max_unacked"),
        (dict(durable="d", ack_wait=0), "ack_wait is a number of seconds"),
    ],
)
def test_what_does_not_go_together_is_told_before_anything_is_sent(ask, told):
    names = ("start", "durable", "ack_wait", "max_deliveries", "dead_letter_topic", "max_unacked")
    defaults = dict.fromkeys((*names, "max_batch_events", "max_batch_bytes"))
    with pytest.raises(ValueError, match=told):
        _requests.subscribe_start(EventFilter(), **{**defaults, "reset": False, **ask})


def test_filters_take_lists_of_what_events_have():
    wanted = _requests.event_filter(("game.>",), [1, 1 << 63], ["BalatroMCP"], [7], ["hand_played", 4])
    assert list(wanted.game_keys) == [1, 1 << 63] and list(wanted.sessions) == [7]
    assert list(wanted.types) == [EventType.EVENT_TYPE_HAND_PLAYED, 4]
    with pytest.raises(TypeError, match=r"sources=\['BalatroMCP'\]"):
        _requests.event_filter((), None, "BalatroMCP", None, None)
    with pytest.raises(ValueError, match="games are keys"):
        _requests.event_filter((), ["7LB2WVPK"], None, None, None)
    with pytest.raises(ValueError, match="HAND_PLAYED"):
        _requests.event_filter((), None, None, None, ["hand_plaid"])


def test_places_to_start_at():
    at = datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert _requests.start_position(at).time.ToDatetime(timezone.utc) == at
    assert _requests.start_position(7).position == 7
    assert _requests.start_position(LogSequence(log_epoch=3, sequence=4)).sequence.sequence == 4


def test_where_a_bus_can_be():
    assert address("https://bus.example:1", None, None, None).target == "dns:///bus.example:1"
    assert address("http://[::1]:50051/", None, None, None).target == "dns:///[::1]:50051"
    assert address("http://x:1", "secret", None, None).metadata == (("authorization", "Bearer secret"),)
    for url, told in [("127.0.0.1:50051", "url is like"), ("http://host", "names a port"), ("nats://x:1", "url is like")]:
        with pytest.raises(ValueError, match=told):
            address(url, None, None, None)
    with pytest.raises(ValueError, match="one line"):
        address("http://x:1", "two\nlines", None, None)
    with pytest.raises(ValueError, match="not both"):
        address("http://x:1", "a", "b", None)
    with pytest.raises(FileNotFoundError):
        address("http://x:1", None, "/nonexistent/token", None)


def test_every_error_is_a_bus_error():
    assert all(issubclass(getattr(errors, name), BusError) for name in errors.__all__)
    assert errors.__all__ == sorted(errors.__all__)


@pytest.mark.parametrize(
    ("code", "details", "transient"),
    [
        ("UNAVAILABLE", "Socket closed", True),
        ("INTERNAL", "Received RST_STREAM with error code 2", True),
        ("INTERNAL", "Internal error from Core", True),
        ("INTERNAL", "Exception deserializing response!", False),
        ("UNKNOWN", "Exception iterating requests!", False),
        ("INVALID_ARGUMENT", "filter: topics", False),
        ("UNAUTHENTICATED", "", False),
    ],
)
def test_what_may_succeed_later(code, details, transient):
    error = grpc.aio.AioRpcError(grpc.StatusCode[code], grpc.aio.Metadata(), grpc.aio.Metadata(), details)
    assert errors.is_transient(error) is transient
    assert errors.translated(error, "http://x:1").code == code
