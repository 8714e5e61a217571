"""Which runs say nothing about a row, and why."""

from pathlib import Path
from typing import Any

import compare
import pytest
import rows
from compare import judged, probe, run_seconds
from measure.process import Cost
from rows import Row, Run


class Played(Row):
    """A row that has run already."""

    def __init__(self, **run: Any) -> None:
        super().__init__("played")
        self.server_pids, self.consumer_pids = [1], [2]
        self.played, self.asked = run, 0

    def run(self, rate: int | None, seconds: float) -> Run:
        self.asked += 1
        return run_of(**self.played)


def run_of(seconds: float = 1.0, sent: int = 1_000, arrived: int = 1_000, client: float = 0.1, consumer: float = 0.1) -> Run:
    return Run(seconds, sent, {"count": arrived}, Cost(), Cost({2: ("python", int(consumer * 1e9), 0)}), client)


@pytest.fixture
def two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Client and consumer on one CPU, as on a machine with two."""
    monkeypatch.setattr(compare, "CLIENT_CPU", 1)
    monkeypatch.setattr(compare, "CONSUMER_CPU", 1)
    monkeypatch.setattr(compare, "CPUS", [0, 1])


@pytest.mark.usefixtures("two_cpus")
def test_a_client_and_a_consumer_that_use_up_their_cpu_need_another() -> None:
    assert judged(Played(), 1_000, run_of(client=0.6, consumer=0.36)) == "n/a (needs 3)"
    assert judged(Played(), 1_000, run_of(client=0.6, consumer=0.34)) is None


def test_a_client_and_a_consumer_on_cpus_of_their_own_starve_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "CLIENT_CPU", 1)
    monkeypatch.setattr(compare, "CONSUMER_CPU", 2)
    assert judged(Played(), 1_000, run_of(client=0.9, consumer=0.9)) is None


@pytest.mark.usefixtures("two_cpus")
def test_a_producer_that_has_the_servers_cpu_starves_nobody() -> None:
    row = Played()
    row.apart = True
    assert judged(row, 1_000, run_of(client=0.9, consumer=0.9)) is None


def test_a_rate_that_is_not_kept_is_where_the_row_ends() -> None:
    assert judged(Played(), 2_000, run_of(sent=1_500, arrived=1_500)) == "ends at 1,500/s"
    assert judged(Played(), 1_000, run_of(sent=971, arrived=971)) is None


def test_events_that_never_arrive_are_told() -> None:
    assert judged(Played(), 1_000, run_of(arrived=900)) == "ends below: 900 of 1000 arrived"


@pytest.mark.usefixtures("two_cpus")
def test_a_row_that_needs_more_cpus_is_not_run_flat_out() -> None:
    row = Played()
    row.cores_flat_out = 3
    assert probe([row], 0.1, (1_000,)) == {"played": {None: "n/a (needs 3)"}}
    assert row.asked == 1, "the rate it keeps takes one try"


@pytest.mark.usefixtures("two_cpus")
def test_a_rate_is_given_up_after_three_tries_and_those_above_it_unseen() -> None:
    row = Played(sent=1_000)
    row.cores_flat_out = 2
    assert probe([row], 0.1, (100_000, 1_000, 20_000)) == {"played": {20_000: "ends at 1,000/s", 100_000: "ends at 1,000/s"}}
    assert row.asked == 1 + 3


def test_slow_rates_are_run_for_longer_but_not_for_ever() -> None:
    row = Played()
    assert run_seconds(row, 100_000, 0.25) == 0.25
    assert run_seconds(row, 1_000, 0.25) == pytest.approx(1.05)
    row.events_per_send = 50
    assert run_seconds(row, 1_000, 0.25) == compare.LONGEST_SECONDS


def test_a_run_in_which_nothing_was_answered_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([None, 0.0, 500.0])
    monkeypatch.setattr(rows, "load", lambda *_, **__: {"events_per_second": next(answers), "client_cpu_seconds": 0.3})
    monkeypatch.setattr(rows, "start_up_seconds", lambda _: 0.1)
    told = rows.Driven("driven").send(1_000, 0.1)
    assert told["events_per_second"] == 500.0
    assert told["client_cpu_seconds"] == pytest.approx(0.2), "its start is no part of the run"

    monkeypatch.setattr(rows, "load", lambda *_, **__: {"events_per_second": None, "client_cpu_seconds": 0.3})
    with pytest.raises(RuntimeError, match="nothing was answered"):
        rows.Driven("driven").send(1_000, 0.1)


def test_events_that_come_late_lengthen_a_run_flat_out(tmp_path: Path) -> None:
    """A queue that takes them at once and hands them over later would look as fast as it takes them."""

    class Late:
        def ask(self, command: str) -> dict[str, Any]:
            return {"count": 10, "last_seen_ns": rows.time.monotonic_ns() + 2_000_000_000} if command.startswith("report") else {}

    class Queue(Row):
        def send(self, rate: int | None, seconds: float) -> dict[str, Any]:
            return {"events_sent": 10, "seconds": 1.0}

    row = Queue("late")
    row.consumer = Late()  # type: ignore[assignment]
    assert row.run(None, 1.0).seconds == pytest.approx(3.0, abs=0.5)
    assert row.run(10, 1.0).seconds == 1.0
