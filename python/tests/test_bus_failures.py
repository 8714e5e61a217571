"""What a client of the bus does when the bus, the network or its own program fails."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

from conftest import run_python, wait_until
from jimbot.mcp.bus import AsyncEventBusClient, BusError, BusUnreachable, EventBusClient, _connection
from jimbot.proto.base_pb2 import Event, EventType


def events(count, first=0, **fields):
    return [
        Event(type=EventType.EVENT_TYPE_HEARTBEAT, event_id=str(number), **fields) for number in range(first, first + count)
    ]


def names(first, last):
    return [str(number) for number in range(first, last)]


@pytest.fixture
def chance():
    seed = int(os.environ.get("JIMBOT_TEST_SEED", random.randrange(1 << 32)))
    print(f"JIMBOT_TEST_SEED={seed}")
    return random.Random(seed)


def test_a_durable_gets_all_that_was_published_once_across_sigkill(bus, chance):
    """Publishers go on, the bus is killed at random and started again: what a durable's program was handed is what was
    published, each event once."""
    handed, published = Counter(), Counter()
    enough = threading.Event()

    def publish(name, first):
        with EventBusClient(bus.url, producer=name, timeout=60) as client:
            turn = 0
            if name == "stream":
                with client.publisher() as publisher:
                    while not enough.is_set():
                        batch = events(10, first + turn * 10)
                        publisher.send(batch)
                        published.update(event.event_id for event in batch)
                        turn += 1
            while not enough.is_set():
                batch = events(3, first + turn * 3)
                client.publish(batch)
                published.update(event.event_id for event in batch)
                turn += 1

    def consume():
        # Each death of the bus counts as a delivery of what was under way.
        with EventBusClient(bus.url, timeout=60) as client:
            with client.subscribe(durable="worker", max_deliveries=-1, timeout=3) as subscription:
                while True:
                    finished = done.is_set()
                    for received in subscription:
                        handed[received.event.event_id] += 1
                    if finished:
                        return

    done = threading.Event()
    workers = [
        threading.Thread(target=publish, args=("stream", 0)),
        threading.Thread(target=publish, args=("single", 1_000_000)),
    ]
    consumer = threading.Thread(target=consume)
    for thread in (consumer, *workers):
        thread.start()
    for _ in range(6):
        before = sum(handed.values())
        wait_until(lambda: sum(handed.values()) > before + 50, "events between two deaths")
        time.sleep(chance.uniform(0.0, 0.2))
        bus.restart()
    enough.set()
    for worker in workers:
        worker.join(120)
    done.set()
    consumer.join(120)
    assert not consumer.is_alive() and published
    assert handed == published


def test_one_without_a_durable_goes_on_behind_the_last_event_it_saw(bus, caplog):
    with EventBusClient(bus.url, timeout=60) as client, client.subscribe(start="earliest") as subscription:
        client.publish(events(100))
        assert [subscription.read(30).event.event_id for _ in range(60)] == names(0, 60)
        with caplog.at_level(logging.WARNING, "jimbot.mcp.bus"):
            bus.restart()
            client.publish(events(50, 100))
            assert [subscription.read(60).event.event_id for _ in range(90)] == names(60, 150)
        assert any("is back" in record.message for record in caplog.records)
        assert subscription.read(0.1) is None


def test_a_bus_that_forgot_everything_is_read_from_its_beginning(start_bus, caplog):
    bus = start_bus(store="memory")
    with EventBusClient(bus.url, timeout=60) as client, client.subscribe(start="earliest") as plain:
        with client.subscribe(durable="worker") as durable:
            client.publish(events(5))
            for subscription in (plain, durable):
                assert [subscription.read(30).event.event_id for _ in range(5)] == names(0, 5)
            bus.restart()
            # A publisher that numbers its events is not asked for old ones: these are new, at positions that were seen.
            client.publish(events(7, 100))
            for subscription in (plain, durable):
                assert [subscription.read(60).event.event_id for _ in range(7)] == names(100, 107)
    assert any("another store" in record.message for record in caplog.records)


def test_a_durable_that_dies_without_acknowledging_loses_nothing(bus):
    with EventBusClient(bus.url) as client:
        client.publish(events(20))
        program = """
import sys, time
from jimbot.mcp.bus import EventBusClient
subscription = EventBusClient(sys.argv[1]).subscribe(durable="worker", ack="explicit")
for received in subscription:
    if received.position <= 5:
        received.ack()
    print(received.position, flush=True)
    if received.position == 20:
        time.sleep(600)
"""
        dying = run_python(program, bus.url)
        assert [int(dying.stdout.readline()) for _ in range(20)] == list(range(1, 21))
        # What was acknowledged in the last moments may come again; these are noted within 100 ms.
        time.sleep(0.5)
        dying.send_signal(signal.SIGKILL)
        dying.wait(30)
        dying.stdout.close()

        def takes_over():
            try:
                return client.subscribe(durable="worker", timeout=1)
            except BusError:
                return None  # the bus has not noticed yet

        with wait_until(takes_over) as subscription:
            again = [(one.position, one.attempt) for one in subscription]
    assert again == [(position, 2) for position in range(6, 21)]


def test_acknowledgements_made_while_the_bus_is_away_count(bus):
    with EventBusClient(bus.url, timeout=60) as client:
        client.publish(events(10))
        with client.subscribe(durable="worker", ack="explicit") as subscription:
            received = [subscription.read(30) for _ in range(10)]
            bus.end()
            for one in received[:9]:
                one.ack()
            bus.start()
            again = subscription.read(60)
            assert again.event.event_id == "9"
            again.ack()
            assert subscription.read(0.3) is None


def test_a_publisher_waits_for_the_bus_and_nothing_is_stored_twice(bus):
    with EventBusClient(bus.url, producer="bot", timeout=60) as client:
        with client.publisher() as publisher:
            for first in range(0, 2000, 20):
                publisher.send(events(20, first))
                if first == 1000:
                    bus.restart()
        assert [stored.event.event_id for stored in client.history()] == names(0, 2000)


def test_patience_ends(bus):
    with EventBusClient(bus.url, timeout=0.3) as client:
        subscription = client.subscribe(reconnect_timeout=0.3)
        publisher = client.publisher()
        publisher.send(events(1)).result(30)
        assert subscription.read(30).event.event_id == "0"
        bus.end()
        with pytest.raises(BusUnreachable, match="jimbot-mcp bus"):
            subscription.read(60)
        with pytest.raises(BusUnreachable):
            publisher.send(events(1, 1)).result(60)
        with pytest.raises(BusUnreachable):
            publisher.send(events(1, 2))
        subscription.close()
        publisher.close()
        with pytest.raises(BusUnreachable):
            client.publish(events(1, 3))


def test_patience_begins_when_something_fails_and_not_before(bus, monkeypatch):
    """A publisher that had nothing to say for long tries as long as any other."""
    passed = [0.0]
    real = time.monotonic
    monkeypatch.setattr(_connection.Patience.__init__, "__kwdefaults__", {"clock": lambda: real() + passed[0], "draw": random.uniform})

    with EventBusClient(bus.url, timeout=30) as client, client.publisher() as publisher:
        passed[0] += 1000
        publisher.send(events(1)).result(60)
        for number in (1, 2):
            passed[0] += 1000
            bus.restart()
            publisher.send(events(1, number)).result(60)

    async def main():
        async with AsyncEventBusClient(bus.url, timeout=30) as client, client.publisher() as publisher:
            for number in (3, 4):
                passed[0] += 1000
                await asyncio.to_thread(bus.restart)
                await (await publisher.send(events(1, number)))
            return [stored.event.event_id async for stored in client.history()]

    assert asyncio.run(main()) == names(0, 5)


def test_closing_while_the_bus_is_away_takes_no_time(bus):
    with EventBusClient(bus.url) as client:
        subscription, publisher = client.subscribe(durable="worker"), client.publisher()
        publisher.send(events(1)).result(30)
        assert subscription.read(30).event.event_id == "0"
        bus.end()
        answer = publisher.send(events(1, 1))
        publisher.close()
        subscription.close()
        with pytest.raises(BusError, match="may be stored or not"):
            answer.result(0)


def test_a_peer_that_is_no_bus_is_told(chance):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        with EventBusClient(f"http://127.0.0.1:{mute.getsockname()[1]}", timeout=0.5) as client:
            with pytest.raises(BusUnreachable, match="no bus answers"):
                client.subscribe()
            with pytest.raises(BusUnreachable, match="no bus answers"):
                client.publish(events(1))


def test_the_bus_says_goodbye_and_comes_back(bus):
    with EventBusClient(bus.url, timeout=60) as client, client.subscribe(durable="worker") as subscription:
        client.publish(events(3))
        assert subscription.read(30).event.event_id == "0"
        assert bus.end(signal.SIGTERM) == 0
        bus.start()
        client.publish(events(3, 3))
        assert [subscription.read(60).event.event_id for _ in range(5)] == names(1, 6)


def test_asyncio_goes_on_across_sigkill(bus):
    async def main():
        async with AsyncEventBusClient(bus.url, producer="bot", timeout=60) as client:
            durable = client.subscribe(durable="worker", max_deliveries=-1)
            async with durable, client.subscribe(start="earliest") as plain, client.publisher() as publisher:
                handed = {durable: [], plain: []}

                async def consume(subscription):
                    async for received in subscription:
                        handed[subscription].append(received.event.event_id)
                        if len(handed[subscription]) == 3000:
                            return

                consumers = [asyncio.create_task(consume(subscription)) for subscription in handed]
                for first in range(0, 3000, 20):
                    await publisher.send(events(20, first))
                    if first % 1000 == 500:
                        await asyncio.to_thread(bus.restart)
                await publisher.flush()
                await asyncio.wait_for(asyncio.gather(*consumers), 120)
                assert handed[plain] == names(0, 3000)
                assert sorted(handed[durable], key=int) == names(0, 3000)

    asyncio.run(main())


def test_ctrl_c_ends_a_program_that_waits(bus):
    program = """
import sys
from jimbot.mcp.bus import EventBusClient
with EventBusClient(sys.argv[1]) as bus, bus.subscribe("game.>") as subscription:
    print("waiting", flush=True)
    for received in subscription:
        pass
"""
    waiting = run_python(program, bus.url, stderr=subprocess.PIPE)
    assert waiting.stdout.readline() == "waiting\n"
    waiting.send_signal(signal.SIGINT)
    _, told = waiting.communicate(timeout=60)
    assert waiting.returncode == -signal.SIGINT and "KeyboardInterrupt" in told


def test_a_program_that_ends_without_closing_ends(bus):
    program = """
import sys
from jimbot.mcp.bus import EventBusClient
bus = EventBusClient(sys.argv[1])
subscription, publisher = bus.subscribe(), bus.publisher()
"""
    ended = subprocess.run([sys.executable, "-c", program, bus.url], timeout=60, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_a_child_made_by_a_fork_is_told_to_make_its_own(bus):
    program = """
import os, sys
from jimbot.mcp.bus import BusError, EventBusClient
from jimbot.proto.base_pb2 import Event, EventType
bus = EventBusClient(sys.argv[1])
beat = Event(type=EventType.EVENT_TYPE_HEARTBEAT)
subscription, publisher = bus.subscribe(durable="worker"), bus.publisher()
publisher.send(beat).result(30)
child = os.fork()
if child == 0:
    for use in (lambda: subscription.read(0), lambda: publisher.send(beat)):
        try:
            use()
        except BusError as error:
            print(error, flush=True)
    subscription.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert subscription.read(30).position == 1
publisher.send(beat).result(30)
publisher.close()
subscription.close()
bus.close()
"""
    told = subprocess.run([sys.executable, "-c", program, bus.url], timeout=120, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("after a fork, make one in the child") == 2
