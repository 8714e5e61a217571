"""Publishing, subscribing and looking back, with a real bus: for threads and for asyncio."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone

import pytest

from conftest import Bus, wait_until
from jimbot.mcp.bus import (
    AsyncEventBusClient,
    BadRequest,
    BusError,
    BusUnreachable,
    DurableInUse,
    DurableNotFound,
    EventBusClient,
    EventsMissed,
    EventsRejected,
    LevelNotOffered,
    LogSequence,
)
from jimbot.proto.base_pb2 import Event, EventType
from jimbot.proto.event_bus_pb2 import AckLevel, RejectReason


def event(name, kind=EventType.EVENT_TYPE_HEARTBEAT, **fields):
    return Event(type=kind, event_id=str(name), **fields)


def events(count, first=0, **fields):
    return [event(number, **fields) for number in range(first, first + count)]


def ids(received, count=None):
    found = []
    if count == 0:
        return found
    for one in received:
        found.append(one.event.event_id)
        if len(found) == count:
            break
    return found


def names(first, last):
    return [str(number) for number in range(first, last)]


@pytest.fixture
def client(bus):
    with EventBusClient(bus.url) as client:
        yield client


def test_what_is_published_is_received_and_yours_stays_as_it_is(client):
    mine = events(3)
    with client.subscribe("system.*", timeout=30) as subscription:
        result = client.publish(mine)
        assert (result.stored, result.duplicates, result.first_position, result.last_position) == (3, 0, 1, 3)
        assert result.ack_level == AckLevel.ACK_LEVEL_WRITTEN
        received = [subscription.read(30) for _ in mine]
        assert subscription.read(0) is None
    assert [(one.event.event_id, one.position, one.attempt) for one in received] == [("0", 1, 1), ("1", 2, 1), ("2", 3, 1)]
    assert [one.event.producer_sequence for one in received] == [1, 2, 3]
    assert received[0].event.producer == client.producer and not mine[0].producer
    assert client.publish(event("lone"), ack="fsynced").ack_level == AckLevel.ACK_LEVEL_FSYNCED
    assert client.last_sequence() == 4 and client.last_sequence(producer="nobody") is None
    assert client.publish([]).stored == 0


def test_a_producer_goes_on_with_its_numbers_and_an_identity_is_stored_once(bus):
    for lives, first in enumerate((1, 6)):
        with EventBusClient(bus.url, producer="bot") as client:
            result = client.publish(events(5))
            assert (result.stored, result.first_position) == (5, first), lives
    with EventBusClient(bus.url) as client:
        again = events(5, producer="bot") + [event("log", log_epoch=7, sequence=9)]
        for number, one in enumerate(again[:5], 8):
            one.producer_sequence = number
        result = client.publish(again)
        assert (result.stored, result.duplicates) == (3, 3)
        assert client.publish(again[5]).duplicates == 1
        assert client.last_sequence(log_epoch=7) == 9


def test_a_stream_has_many_under_way_and_answers_each(client):
    with client.publisher() as publisher:
        answers = [publisher.send(events(50, first * 50)) for first in range(100)]
        lone = publisher.send(event("lone"))
    assert [answer.result(0).first_position for answer in answers] == list(range(1, 5001, 50))
    assert lone.result(0).stored == 1
    assert ids(client.history()) == [*names(0, 5000), "lone"]
    with pytest.raises(ValueError, match="closed"):
        publisher.send(event("late"))
    with pytest.raises(ValueError, match="empty"), client.publisher() as publisher:
        publisher.send([])


def test_threads_share_a_client_and_a_publisher(client):
    with client.publisher() as publisher:

        def work(first):
            for number in range(first, first + 50):
                publisher.send(event(number))
                client.publish(event(number + 1000))

        threads = [threading.Thread(target=work, args=(first * 50,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(ids(client.history()), key=int) == names(0, 200) + names(1000, 1200)
    assert client.last_sequence() == 400


def test_bad_events_are_named_and_the_others_stored(client):
    bad = [event("a"), event("b", kind=9_999), event("c")]
    with pytest.raises(EventsRejected, match="event 1 of the batch.*REJECT_REASON_UNKNOWN_TYPE") as caught:
        client.publish(bad)
    assert caught.value.result.stored == 2
    assert caught.value.result.rejections[0].reason == RejectReason.REJECT_REASON_UNKNOWN_TYPE
    with pytest.raises(EventsRejected), client.publisher() as publisher:
        good, refused = publisher.send(event("d")), publisher.send(bad[1])
    assert good.result(0).stored == 1 and isinstance(refused.exception(0), EventsRejected)
    assert ids(client.history()) == ["a", "c", "d"]
    with pytest.raises(EventsRejected, match="REJECT_REASON_TOO_LARGE"):
        client.publish([event("x" * ((3 << 20) + 1)), event("y")])
    with pytest.raises(ValueError, match="larger than a message"), client.publisher() as publisher:
        publisher.send(event("x" * (4 << 20)))
    with pytest.raises(ValueError, match="parts of it"), client.publisher() as publisher:
        publisher.send([event("x" * (2 << 20)), event("y" * (3 << 20))])
    with pytest.raises(LevelNotOffered, match="REPLICATED|replicated"):
        client.publish(event("e"), ack="replicated")
    with pytest.raises(ValueError, match="memory, written, fsynced, replicated"):
        client.publish(event("e"), ack="carved in stone")
    with pytest.raises(TypeError, match="Event"):
        client.publish([b"bytes"])


@pytest.mark.parametrize(
    ("pattern", "told"),
    [("game..x", "empty"), ("game.>.x", "only at the end"), ("ga*me", "whole word"), ("", "empty"), ("spiel.ü", "letters")],
)
def test_a_malformed_pattern_is_named(client, pattern, told):
    for ask in (lambda: client.subscribe(pattern), lambda: list(client.history("game.>", pattern))):
        with pytest.raises(BadRequest, match=told) as caught:
            ask()
        assert f"`{pattern}`" in str(caught.value) and caught.value.code == "INVALID_ARGUMENT"


def test_filters_select_by_topic_game_source_session_and_type(client):
    sent = [
        event(
            number,
            kind=EventType.EVENT_TYPE_HAND_PLAYED if number % 3 == 0 else EventType.EVENT_TYPE_HEARTBEAT,
            game_key=number % 5,
            session=number % 7,
            source="BalatroMCP" if number % 2 == 0 else "script",
        )
        for number in range(300)
    ]
    client.publish(sent)
    for topics, narrow, keep in [
        (("game.*.played",), {}, lambda n: n % 3 == 0),
        (("game.>", "system.>"), {}, lambda n: True),
        ((), {"games": [2, 4]}, lambda n: n % 5 in (2, 4)),
        (("system.>",), {"sources": ["script"]}, lambda n: n % 2 and n % 3),
        ((), {"sessions": [3], "types": ["HAND_PLAYED"]}, lambda n: n % 7 == 3 and n % 3 == 0),
    ]:
        expected = [str(number) for number in range(300) if keep(number)]
        assert ids(client.history(*topics, **narrow)) == expected
        with client.subscribe(*topics, start="earliest", **narrow) as subscription:
            assert ids(subscription, len(expected)) == expected


def test_reading_starts_where_it_is_told(client):
    client.publish([event(number, log_epoch=5, sequence=number + 1) for number in range(10)])
    middle = datetime.now(timezone.utc)
    wait_until(lambda: datetime.now(timezone.utc) > middle + timedelta(milliseconds=20))
    client.publish([event(number, log_epoch=5, sequence=number + 1) for number in range(10, 20)])

    def first(start):
        with client.subscribe(start=start) as subscription:
            return ids(subscription, 1)

    assert first("earliest") == ["0"]
    assert first(13) == ["12"]
    assert first(LogSequence(log_epoch=5, sequence=8)) == ["7"]
    assert first(middle + timedelta(milliseconds=10)) == ["10"]
    with client.subscribe(start="latest") as subscription:
        client.publish(event("new"))
        assert ids(subscription, 1) == ["new"]


def test_history_ends_and_is_narrowed_by_time_and_number(client):
    client.publish(events(30))
    middle = datetime.now(timezone.utc) + timedelta(milliseconds=10)
    wait_until(lambda: datetime.now(timezone.utc) > middle + timedelta(milliseconds=10))
    client.publish(events(25_000, 30))
    assert ids(client.history(until=middle)) == names(0, 30)
    assert ids(client.history(since=middle)) == names(30, 25_030)
    assert ids(client.history(limit=12_345)) == names(0, 12_345)
    assert ids(client.history(limit=0)) == []
    with pytest.raises(ValueError, match="time zone"):
        client.history(since=datetime(2026, 1, 1))
    stored = next(client.history(since=middle))
    assert (stored.position, stored.event.event_id) == (31, "30")


def test_a_durable_goes_on_behind_what_was_done_with(client):
    client.publish(events(10))
    with client.subscribe(durable="worker") as subscription:
        assert ids(subscription, 3) == names(0, 3)  # the third is in hand when `with` ends
    with pytest.raises(RuntimeError, match="a fault"), client.subscribe(durable="worker") as subscription:
        for received in subscription:
            if received.event.event_id == "5":
                raise RuntimeError("a fault")
    with client.subscribe(durable="worker", timeout=0.5) as subscription:
        again = [(one.event.event_id, one.attempt > 1) for one in subscription]
    # All had been delivered before; 3 and 4 were done with, 5 was not.
    assert sorted(again) == [(name, True) for name in names(5, 10)]
    with client.subscribe(durable="worker", timeout=0) as subscription:
        assert ids(subscription) == []
    with client.subscribe(durable="worker", reset=True, start=5) as subscription:
        assert ids(subscription, 6) == names(4, 10)


def test_explicit_acknowledgements_and_refusals(client):
    client.publish(events(4))
    with client.subscribe(durable="worker", ack="explicit") as subscription:
        first, second, third, fourth = (subscription.read(30) for _ in range(4))
        third.ack()
        first.ack()
        second.nack(delay=0.05)
        fourth.nack()
        again = {}
        while len(again) < 2:
            received = subscription.read(30)
            again[received.event.event_id] = received.attempt
            received.ack()
        assert again == {"1": 2, "3": 2}
    with client.subscribe(durable="worker", timeout=0.3) as subscription:
        assert ids(subscription) == []


def test_what_no_attempt_could_deal_with_becomes_a_dead_letter(client):
    client.publish(events(2))
    with client.subscribe("dead_letter.*") as letters:
        with client.subscribe(durable="picky", max_deliveries=2, ack_wait=30) as subscription:
            attempts = []
            for received in subscription:
                if received.event.event_id == "0":
                    attempts.append(received.attempt)
                    received.nack()
                    if received.attempt == 2:
                        break
        assert attempts == [1, 2] and letters.read(30).event.event_id == "0"


def test_a_missed_acknowledgement_brings_the_event_again(client):
    client.publish(event("slow"))
    with client.subscribe(durable="worker", ack="explicit", ack_wait=0.1) as subscription:
        first = subscription.read(30)
        second = subscription.read(30)
        assert (first.attempt, second.attempt) == (1, 2) and second.event == first.event
        first.ack()  # either does


def test_one_subscriber_holds_a_durable(client):
    with client.subscribe(durable="worker"):
        with pytest.raises(DurableInUse, match="`worker` has a subscriber"):
            client.subscribe(durable="worker")
    client.subscribe(durable="worker").close()
    with pytest.raises(BadRequest, match="durable.name"):
        client.subscribe(durable="no blanks please")


def test_durables_are_listed_and_forgotten(client):
    client.publish(events(10))
    with client.subscribe(durable="a"), client.subscribe(durable="b", ack="explicit") as subscription:
        subscription.read(30).ack()
        wait_until(lambda: client.durables()[1].unacked_events == 9, "the acknowledgement")
        states = {state.name: state for state in client.durables()}
        assert list(states) == ["a", "b"] and states["b"].connected and states["b"].next_position == 11
        with pytest.raises(DurableInUse):
            client.delete_durable("b")
    client.delete_durable("b")
    assert [(state.name, state.connected) for state in client.durables()] == [("a", False)]
    with pytest.raises(DurableNotFound):
        client.delete_durable("b")


def test_what_is_unacknowledged_and_what_waits_here_is_bounded(bus, client):
    client.publish(events(100))
    with client.subscribe(durable="slow", ack="explicit", max_unacked=10) as subscription:
        received = [subscription.read(30) for _ in range(10)]
        assert subscription.read(0.2) is None
        for one in received[:4]:
            one.ack()
        assert [subscription.read(30).event.event_id for _ in range(4)] == names(10, 14)
    with client.subscribe(start="earliest", prefetch=5, timeout=30) as subscription:
        assert ids(subscription, 100) == names(0, 100)
    with client.subscribe(start="earliest", max_batch_events=7) as subscription:
        delivery = subscription.read_delivery(30)
        assert len(delivery) == 7 and list(delivery.positions) == list(range(1, 8))
        assert [one.event.event_id for one in delivery] == names(0, 7)


def test_events_come_together_for_who_wants_less_work(client):
    client.publish(events(5000))
    with client.subscribe(durable="batches", timeout=30) as subscription:
        found = []
        for delivery in subscription.deliveries():
            found += [one.event_id for one in delivery.events]
            if len(found) == 5000:
                break
        assert subscription.caught_up or subscription.read(0.5) is None
    assert found == names(0, 5000)
    with client.subscribe(durable="batches", timeout=0.3) as subscription:
        assert list(subscription.deliveries()) == []


def test_a_subscriber_that_does_not_read_holds_little_and_misses_nothing(client):
    with client.subscribe() as deaf, client.publisher() as publisher:
        for first in range(0, 20_000, 500):
            publisher.send(events(500, first, source="y" * 500))
        publisher.flush()
        assert ids(deaf, 20_000) == names(0, 20_000)


def test_a_gap_is_an_exception_and_reading_goes_on_behind_it(start_bus):
    bus = start_bus("--max-bytes", str(1 << 20), store="memory")
    with EventBusClient(bus.url) as client:
        client.publish(events(10))
        with client.subscribe(start="earliest", max_batch_events=1) as subscription:
            assert ids(subscription, 1) == ["0"]
            with client.publisher() as publisher:
                for first in range(10, 20_010, 500):
                    publisher.send(events(500, first, source="y" * 500))
            before, told = [], None
            while told is None:
                try:
                    before.append(int(subscription.read(30).event.event_id))
                except EventsMissed as missed:
                    told = missed
            assert before == list(range(1, len(before) + 1))
            assert told.first_position == len(before) + 2
            assert told.reason == "RETENTION" and "--max-bytes" in str(told)
            assert int(subscription.read(30).event.event_id) == told.last_position


def test_a_closed_one_says_so(client):
    subscription = client.subscribe()
    subscription.close()
    subscription.close()
    assert subscription.closed
    with pytest.raises(ValueError, match="closed"):
        subscription.read(0)
    subscription = client.subscribe()
    with pytest.warns(ResourceWarning, match="unclosed subscription"):
        del subscription


def test_nobody_there():
    with EventBusClient("http://127.0.0.1:1", timeout=0.3) as client:
        for ask in (lambda: client.publish(event("x")), client.subscribe, lambda: list(client.history())):
            with pytest.raises(BusUnreachable, match="jimbot-mcp bus") as caught:
                ask()
            assert "127.0.0.1:1" in str(caught.value) and caught.value.code == "UNAVAILABLE"
        with pytest.raises(BusUnreachable), client.publisher() as publisher:
            future = publisher.send(event("x", producer="p", producer_sequence=1))
        assert isinstance(future.exception(0), BusUnreachable)


def test_asyncio_does_the_same(bus):
    async def main():
        async with AsyncEventBusClient(bus.url, producer="bot") as client:
            async with client.subscribe("system.>", timeout=30) as subscription:
                result = await client.publish(events(3))
                assert (result.stored, result.last_position) == (3, 3)
                async with client.publisher() as publisher:
                    answers = [await publisher.send(events(50, first)) for first in range(3, 2003, 50)]
                assert sum(answer.result().stored for answer in answers) == 2000
                found = []
                async for received in subscription:
                    found.append(received.event.event_id)
                    if len(found) == 2003:
                        break
                assert found == names(0, 2003)
            assert [stored.event.event_id async for stored in client.history(limit=5)] == names(0, 5)
            assert await client.last_sequence() == 2003
            with pytest.raises(EventsRejected):
                await client.publish(event("x", kind=9_999))
            with pytest.raises(EventsRejected):
                async with client.publisher() as publisher:
                    refused = await publisher.send(event("x", kind=9_999))
            assert isinstance(refused.exception(), EventsRejected)
            with pytest.raises(BadRequest, match="a..b"):
                async with client.subscribe("a..b"):
                    pass
            with pytest.raises(BadRequest, match="a..b"):
                _ = [stored async for stored in client.history("a..b")]

    asyncio.run(main())


def test_asyncio_durables(bus):
    async def main():
        async with AsyncEventBusClient(bus.url) as client:
            await client.publish(events(10))
            async with client.subscribe(durable="worker", max_batch_events=4) as subscription:
                with pytest.raises(DurableInUse):
                    await client.subscribe(durable="worker").open()
                delivery = await subscription.read_delivery(30)
                assert len(delivery) == 4
                received = await subscription.read(30)
                assert received.event.event_id == "4"
                received.nack()
                assert (await subscription.read(30)).event.event_id in ("4", "5")
            async with client.subscribe(durable="worker", ack="explicit", timeout=0.5) as subscription:
                left = set()
                async for received in subscription:
                    left.add(received.event.event_id)
                    received.ack()
            assert left | {"4", "5"} == set(names(4, 10))
            async with client.subscribe(durable="worker", timeout=0.3) as subscription:
                assert [delivery async for delivery in subscription.deliveries()] == []
                with pytest.raises(DurableInUse):
                    await client.delete_durable("worker")
            assert [state.name for state in await client.durables()] == ["worker"]
            await client.delete_durable("worker")
            assert await client.durables() == []

    asyncio.run(main())


def test_cancelling_a_read_loses_nothing(bus):
    async def main():
        async with AsyncEventBusClient(bus.url) as client, client.subscribe() as subscription:
            waiting = asyncio.create_task(subscription.read())
            while not waiting.cancelled():
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.wait([waiting])
            assert await subscription.read(0.01) is None
            await client.publish(events(3))
            assert [(await subscription.read(30)).event.event_id for _ in range(3)] == names(0, 3)
        with pytest.raises(ValueError, match="closed"):
            await subscription.read(0)

    asyncio.run(main())


def test_asyncio_with_nobody_there():
    async def main():
        async with AsyncEventBusClient("http://127.0.0.1:1", timeout=0.3) as client:
            with pytest.raises(BusUnreachable, match="jimbot-mcp bus"):
                await client.publish(event("x"))
            with pytest.raises(BusUnreachable):
                async with client.subscribe():
                    pass
            with pytest.raises(BusUnreachable):
                async with client.publisher() as publisher:
                    await publisher.send(event("x"))

    asyncio.run(main())


def test_without_grpcio_the_package_says_what_to_install(tmp_path):
    (tmp_path / "grpc.py").write_text("raise ImportError('no grpc here')")
    told = subprocess.run(
        [sys.executable, "-c", "import jimbot.mcp; import jimbot.mcp.bus"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert told.returncode != 0 and "pip install 'jimbot[bus]'" in told.stderr


@pytest.fixture
def embedded(service_binary, shm_dir, tmp_path):
    """A service with a bus inside."""
    process = subprocess.Popen(
        [service_binary, "serve", "--bus", "embedded", "--listen", "127.0.0.1:0", "--shm-dir", str(shm_dir)]
        + ["--log-bytes", str(16 << 20), "--max-batch-bytes", "262144", "--max-batch-events", "512"],
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def endpoints():
        assert process.poll() is None, "the service ended"
        try:
            return json.loads((shm_dir / "endpoints.json").read_bytes())
        except (OSError, ValueError):
            return None

    yield wait_until(endpoints, "the service")
    process.kill()
    process.wait(30)


def test_what_games_post_comes_over_the_bus_inside_the_service(embedded, shm_dir):
    import http.client

    with EventBusClient(path=shm_dir) as client, client.subscribe("game.>", durable="trainer") as subscription:
        assert client._at.url == embedded["bus"]
        post = http.client.HTTPConnection(embedded["listen"][0], timeout=30)
        body = [{"type": "HAND_PLAYED", "event_id": f"h-{n}", "timestamp": n, "payload": {"hand_type": "Pair"}} for n in range(20)]
        post.request("POST", "/api/v1/events/batch", json.dumps({"batch_id": "b", "events": body}), {"Content-Type": "application/json"})
        assert post.getresponse().status == 200
        post.close()
        client.publish(event("mine", kind=EventType.EVENT_TYPE_HAND_PLAYED))
        received = [subscription.read(30) for _ in range(21)]
    assert sorted(one.event.event_id for one in received) == sorted([f"h-{n}" for n in range(20)] + ["mine"])
    posted = [one.event for one in received if one.event.event_id != "mine"]
    assert all(one.log_epoch and one.sequence and one.hand_played.hand_type == "Pair" for one in posted)


def test_without_a_service_the_default_address_is_taken(tmp_path):
    from jimbot.mcp.endpoints import bus_url

    assert bus_url(tmp_path) == "http://127.0.0.1:50051"
    (tmp_path / "endpoints.json").write_text(json.dumps({"pid": 1, "listen": [], "bus": None}))
    assert bus_url(tmp_path) == "http://127.0.0.1:50051"


def test_a_client_tells_what_it_is(bus):
    client = EventBusClient(bus.url, producer="bot")
    assert repr(client) == f"<EventBusClient of {bus.url}, producer 'bot'>"
    client.close()
    assert isinstance(bus, Bus) and issubclass(BusUnreachable, BusError)
