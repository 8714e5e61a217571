"""What a consumer makes of what came, and when it answers."""

import threading
import time

import numpy as np
from measure.consumer import Samples, written


def body(sent_ns: int) -> bytes:
    return b'{"timestamp":%s,"event_id":"x"}' % written(sent_ns, 18)


def test_bodies_milliseconds_and_nanoseconds_tell_the_same_latency() -> None:
    samples = Samples()
    samples.begin()
    sent = time.monotonic_ns()
    samples.add_bodies([body(sent)])
    samples.add_ms([sent / 1e6])
    samples.add_ms(np.array([sent / 1e6]))
    samples.add(np.array([sent], dtype=np.int64))
    found = samples.all_ns()
    assert len(found) == 4 and (found >= 0).all() and (found < 10_000_000_000).all()
    # Within the hundredth of a microsecond that the digits of a time tell, and what passed between the calls.
    assert (np.diff(found) > -1_000).all()


def test_stragglers_of_the_run_before_are_not_taken_for_events_of_this_one() -> None:
    samples = Samples()
    before = time.monotonic_ns()
    samples.begin()
    samples.add_bodies([body(before - 5_000_000)] * 3)
    answered: list[int] = []
    asked = threading.Thread(target=lambda: answered.append(samples.report(2, 30)["count"]))
    asked.start()
    samples.add_bodies([body(time.monotonic_ns() + 1_000)] * 2)
    asked.join(30)
    assert answered == [2]


def test_a_run_whose_events_never_come_is_reported_short() -> None:
    samples = Samples()
    samples.begin()
    samples.add_bodies([body(time.monotonic_ns() + 1_000)])
    assert samples.report(2, 0.05)["count"] == 1


def test_nothing_that_came_is_a_report_too() -> None:
    samples = Samples()
    samples.begin()
    assert samples.report(1, 0.0) == {"count": 0, "last_seen_ns": 0}
