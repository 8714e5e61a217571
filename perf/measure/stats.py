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


def interval(values: Sequence[float]) -> dict[str, float] | None:
    """The median and the interval that holds the true one with 95 % confidence (by ranks: no assumption on the shape).

    Below six values no ranks give 95 %, and the interval is the whole range.
    """
    values = sorted(value for value in values if value is not None and not math.isnan(value))
    if not values:
        return None
    count = len(values)
    below, rank = 0.0, 0
    while rank < count // 2:
        below += math.comb(count, rank) / 2**count
        if below > 0.025:
            break
        rank += 1
    low = max(rank - 1, 0)
    return {
        "median": float(np.median(values)),
        "low": values[low],
        "high": values[count - 1 - low],
        "count": count,
    }


def text(found: dict[str, float] | None, digits: int = 2) -> str:
    """`1.23 (1.20 to 1.29)`."""
    if found is None:
        return "-"
    return f"{found['median']:.{digits}f} ({found['low']:.{digits}f} to {found['high']:.{digits}f})"


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
