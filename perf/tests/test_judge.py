"""What a machine is too small for must not be told as if it had been measured."""

from __future__ import annotations

from measure.judge import Shared, judge, probe, starved


def test_processes_that_use_up_a_cpu_between_them_are_told_as_measured() -> None:
    assert starved(2.0, Shared(busy_seconds=1.95, cpus=1, needs=3)) == "n/a (needs 3)"
    assert starved(2.0, Shared(busy_seconds=1.85, cpus=1, needs=3)) is None
    assert starved(2.0, Shared(busy_seconds=3.7, cpus=2, needs=66)) is None
    assert starved(2.0, Shared(busy_seconds=0.1, cpus=1, needs=3), Shared(busy_seconds=3.9, cpus=2, needs=66)) == "n/a (needs 66)"
    assert starved(2.0) is None


def test_a_rate_that_was_not_kept_is_told_as_kept() -> None:
    assert judge(20_000, kept=16_199, sent=4_000, seen=4_000) == "ends at 16,199/s"
    assert judge(20_000, kept=19_900, sent=4_000, seen=3_900) == "ends below: 3900 of 4000 arrived"
    assert judge(20_000, kept=19_900, sent=4_000, seen=4_000) is None
    assert judge(20_000, kept=19_900, sent=4_000, seen=None) is None


def test_one_run_that_was_disturbed_leaves_a_row_out() -> None:
    runs = iter(["ends at 1/s", None])
    assert probe(lambda: next(runs)) is None
    runs = iter(["cold", "ends at 2/s", "ends at 3/s"])
    assert probe(lambda: next(runs)) == "ends at 2/s"
