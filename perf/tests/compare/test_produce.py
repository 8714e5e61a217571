"""Events that Python sends: their times, their ids and their schedule."""

import json
import time

from produce import KINDS, Bodies, Template, drive

BODY = b'{"payload":{"a":1},"timestamp":1194361.288600,"event_id":"00000116-157a-ed6c-0000-000000000001","type":"MONEY_CHANGED"}'


def made() -> Bodies:
    bodies = Bodies()
    bodies.kept = [Template(BODY), Template(BODY.replace(b'"type"', b'"x": "%s", "type"'))] * (KINDS // 2)
    return bodies


def test_no_two_events_have_one_id() -> None:
    bodies = made()
    sent = bodies.on_schedule(1_000_000_000, 50_000.0, 100) + bodies.at_once(2_000_000_000) + bodies.on_schedule(3_000_000_000, 1.0, 5)
    assert len({json.loads(body)["event_id"] for body in sent}) == len(sent)


def test_each_event_carries_the_time_at_which_it_is_due() -> None:
    bodies = made()
    times = [json.loads(body)["timestamp"] for body in bodies.on_schedule(1_194_361_000_000_000, 50_000.0, 4)]
    assert times == [1_194_361_000.0, 1_194_361_000.05, 1_194_361_000.1, 1_194_361_000.15]


def test_nothing_is_sent_before_it_is_due_and_all_of_it_is_sent() -> None:
    sent: list[tuple[int, float]] = []

    def send(chunk: list[bytes]) -> None:
        now = time.monotonic_ns()
        sent.extend((now, json.loads(body)["timestamp"]) for body in chunk)

    bodies = Bodies()
    # As wide as a time of this machine's clock.
    now_ms = b"%.6f" % (time.monotonic_ns() / 1e6)
    bodies.kept = [Template(BODY.replace(b"1194361.288600", now_ms))]
    told = drive(bodies, send, "2000", 0.05)
    assert told["events_sent"] == len(sent) == 100
    assert all(now >= due_ms * 1e6 - 1_000 for now, due_ms in sent)
