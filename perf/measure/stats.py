"""Histograms of latencies, and medians with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

# Buckets of an HDR histogram with three significant digits: 2,048 of equal width, then 1,024 for each doubling.
SUB_BUCKETS = 2048
QUANTILES = {"p50_us": 0.5, "p90_us": 0.9, "p99_us": 0.99, "p999_us": 0.999, "max_us": 1.0}


def hdr_histogram(samples_ns: np.ndarray[Any, Any]) -> list[tuple[int, int]]:
    """(largest value of the bucket in ns, count), as `jimbot-load` writes its histograms."""
    values = np.maximum(np.asarray(samples_ns, dtype=np.int64), 0)
    shift = np.maximum(np.frexp(np.maximum(values, 1).astype(float))[1] - SUB_BUCKETS.bit_length() + 1, 0)
    upper = (((values >> shift) + 1) << shift) - 1
    edges, counts = np.unique(upper, return_counts=True)
    return [(int(edge), int(count)) for edge, count in zip(edges, counts)]


def latency(samples_ns: np.ndarray[Any, Any]) -> dict[str, Any]:
    """The percentiles in microseconds (exact, of the samples) and the histogram."""
    samples = np.asarray(samples_ns, dtype=np.int64)
    if not len(samples):
        return {"count": 0}
    told: dict[str, Any] = {"count": len(samples)}
    ordered = np.sort(samples)
    for name, quantile in QUANTILES.items():
        told[name] = round(float(ordered[min(len(ordered) - 1, math.ceil(quantile * len(ordered)) - 1)]) / 1e3, 2)
    told["mean_us"] = round(float(samples.mean()) / 1e3, 2)
    told["histogram_ns"] = hdr_histogram(samples)
    return told


def merged(histograms: Iterable[Sequence[tuple[int, int]]]) -> list[tuple[int, int]]:
    """One histogram of several."""
    total: dict[int, int] = {}
    for histogram in histograms:
        for edge, count in histogram:
            total[edge] = total.get(edge, 0) + count
    return sorted(total.items())


def quantile_of(histogram: Sequence[tuple[int, int]], quantile: float) -> float:
    """A quantile of a histogram, in microseconds; the upper end of its bucket."""
    wanted = quantile * sum(count for _, count in histogram)
    seen = 0
    for edge, count in histogram:
        seen += count
        if seen >= wanted:
            return edge / 1e3
    return math.nan


# What intervals are to hold the true median with.
CONFIDENCE = 0.95
# Samples that have to lie beyond a percentile before it says anything of the next run.
BEYOND = 10


def enough_for(quantile: float, count: float) -> bool:
    """Whether so many samples tell this percentile; the largest of them (1.0) is always what it is."""
    # A hair less, since 0.999 is not quite 0.999.
    return quantile >= 1.0 or count * (1.0 - quantile) >= BEYOND - 1e-6


def interval(values: Iterable[float | None]) -> dict[str, float] | None:
    """The median, and the interval by ranks (no assumption on the shape) that holds the true one.

    `confidence` is what these ranks give: the narrowest pair with at least 95 %. Below six values there is none, and the
    interval is the whole range, with what that gives: 94 % of five, 88 % of four, 50 % of two, 0 of one.
    """
    ordered = sorted(value for value in values if value is not None and not math.isnan(value))
    if not ordered:
        return None
    count = len(ordered)

    def outside(rank: int) -> float:
        """The chance that the true median lies beyond this rank from either end."""
        return 2 * sum(math.comb(count, below) for below in range(rank + 1)) / 2**count

    rank = 0
    while rank + 1 <= (count - 1) // 2 and outside(rank + 1) <= 1 - CONFIDENCE:
        rank += 1
    return {
        "median": float(np.median(ordered)),
        "low": ordered[rank],
        "high": ordered[count - 1 - rank],
        "count": count,
        "confidence": max(1 - outside(rank), 0.0),
    }


def text(found: dict[str, float] | None, digits: int = 2) -> str:
    """`1.23 (1.20 to 1.29)` with 95 % confidence; with less it says so, and one value alone has no interval."""
    if found is None:
        return "-"
    median = f"{found['median']:,.{digits}f}"
    if found["count"] < 2:
        return median
    confidence = found.get("confidence", CONFIDENCE)
    # Rounded down: 94.9 % is not 95.
    less = "" if confidence >= CONFIDENCE else f"; {math.floor(confidence * 100)} %"
    return f"{median} ({found['low']:,.{digits}f} to {found['high']:,.{digits}f}{less})"


def log_lines(histogram: Sequence[tuple[int, int]], width: int = 50) -> list[str]:
    """The histogram as bars, a line for each doubling."""
    rows: dict[int, int] = {}
    for edge, count in histogram:
        rows[edge.bit_length()] = rows.get(edge.bit_length(), 0) + count
    if not rows:
        return []
    most = max(rows.values())
    return [
        f"  up to {2**bits / 1e3:10.1f} µs {rows.get(bits, 0):9d} {'#' * math.ceil(width * rows.get(bits, 0) / most)}"
        for bits in range(min(rows), max(rows) + 1)
    ]
