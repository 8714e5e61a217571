"""Intervals, percentiles and histograms of the measurements."""

import math
import random

import numpy as np
import pytest
from measure import stats


@pytest.mark.parametrize(("count", "confidence"), [(1, 0.0), (2, 0.5), (3, 0.75), (4, 0.875), (5, 0.9375)])
def test_too_few_values_are_not_called_95_percent(count: int, confidence: float) -> None:
    found = stats.interval([float(value) for value in range(count)])
    assert found is not None
    assert (found["low"], found["high"]) == (0.0, count - 1.0)
    assert found["confidence"] == pytest.approx(confidence)


def test_a_range_of_few_values_says_its_confidence() -> None:
    assert stats.text(stats.interval([1.0, 2.0, 3.0, 4.0, 5.0])) == "3.00 (1.00 to 5.00; 93 %)"
    assert stats.text(stats.interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])) == "3.50 (1.00 to 6.00)"


def test_one_value_gets_no_interval() -> None:
    assert stats.text(stats.interval([1_234.5]), 1) == "1,234.5"


def test_nothing_measured_is_no_interval() -> None:
    assert stats.interval([]) is None
    assert stats.interval([None, math.nan]) is None
    assert stats.text(None) == "-"


@pytest.mark.parametrize("count", [6, 7, 9, 15, 16, 30, 101])
def test_an_interval_is_the_narrowest_that_has_its_confidence(count: int) -> None:
    def holds(rank: int) -> float:
        return 1 - 2 * sum(math.comb(count, below) for below in range(rank + 1)) / 2**count

    found = stats.interval([float(value) for value in range(count)])
    assert found is not None
    rank = int(found["low"])
    assert found["high"] == count - 1 - rank
    assert found["confidence"] == pytest.approx(holds(rank)) and holds(rank) >= 0.95 > holds(rank + 1)


def test_an_interval_misses_the_median_no_more_often_than_it_says() -> None:
    chance = random.Random(5)
    missed = 0
    for _ in range(4_000):
        found = stats.interval([chance.expovariate(1.0) for _ in range(15)])
        assert found is not None
        missed += not found["low"] <= math.log(2) <= found["high"]
    assert missed / 4_000 < 0.05


def test_gaps_are_left_out_and_the_order_does_not_matter() -> None:
    assert stats.interval([3.0, None, 1.0, math.nan, 2.0]) == stats.interval([1.0, 2.0, 3.0])


@pytest.mark.parametrize(("quantile", "least"), [(0.5, 20), (0.99, 1_000), (0.999, 10_000)])
def test_a_percentile_needs_ten_samples_beyond_it(quantile: float, least: int) -> None:
    assert stats.enough_for(quantile, least)
    assert not stats.enough_for(quantile, least - 1)
    assert stats.enough_for(1.0, 1)


def test_merged_histograms_tell_the_quantiles_of_all_samples() -> None:
    samples = np.arange(1, 200_001, dtype=np.int64) * 10
    halves = [stats.latency(samples[::2])["histogram_ns"], stats.latency(samples[1::2])["histogram_ns"]]
    whole = stats.merged(halves)
    for quantile in (0.5, 0.99, 0.999, 1.0):
        exact = quantile * len(samples) * 10 / 1e3
        assert stats.quantile_of(whole, quantile) == pytest.approx(exact, rel=1e-3)
