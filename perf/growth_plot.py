"""The plots of perf/growth: a column for each thing that grows, cost above, events a second below."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Points = list[tuple[float, dict[str, Any]]]

US, RATE = "µs of CPU an event, hot thread", "events/s"
COST = {"hot_us": "service", "floor_us": "bare epoll loop"}
RATES = {"events_per_second": "service", "floor_events_per_second": "bare epoll loop"}
# A smaller factor between top and bottom would make a trend of scatter.
LEAST_SPAN = 6.0
STYLES = {"service": "-o", "bare epoll loop": "--o"}


def spread(values: list[dict[str, Any]]) -> tuple[list[float], list[list[float]]]:
    """Medians, and how far the interval reaches below and above each."""
    middle = [value["median"] for value in values]
    return middle, [[value["median"] - value["low"] for value in values], [value["high"] - value["median"] for value in values]]


def readable(axis: Any) -> None:
    """Numbers as people write them, and room around what hardly differs."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    low, high = axis.get_ylim()
    if axis.get_yscale() == "log":
        if high / low < LEAST_SPAN:
            middle = (low * high) ** 0.5
            axis.set_ylim(middle / LEAST_SPAN**0.5, middle * LEAST_SPAN**0.5)
        axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.yaxis.set_minor_formatter(NullFormatter())
    axis.yaxis.set_major_formatter(EngFormatter(sep=""))
    if axis.get_xscale() == "log":
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axis.grid(True, which="both", alpha=0.2)


def rising(axis: Any, points: Points, keys: dict[str, str], **settings: Any) -> None:
    """Lines over what grows; a point that was not measured is left out."""
    for key, label in keys.items():
        there = [(at, row[key]) for at, row in points if isinstance(row.get(key), dict)]
        if there:
            middle, error = spread([value for _, value in there])
            axis.errorbar([at for at, _ in there], middle, yerr=error, fmt=STYLES.get(label, "-o"), label=label, capsize=2)
    axis.set(**settings)
    if axis.get_legend_handles_labels()[0]:
        axis.legend()
    else:
        axis.text(0.5, 0.5, "n/a on this machine", ha="center", va="center", transform=axis.transAxes)


def named(axis: Any, rows: dict[str, Any], key: str, **settings: Any) -> None:
    """A point a workload, told in the legend: their sizes are too close for names beside the points."""
    for name, row in rows.items():
        if row[key] is None:
            continue
        middle, error = spread([row[key]])
        axis.errorbar([row["bytes_per_event"]], middle, yerr=error, fmt="o", label=f"{name}, {row['bytes_per_event']:,.0f} B", capsize=3)
    axis.set(xscale="log", yscale="log", **settings)
    axis.margins(x=0.15, y=0.15)
    axis.legend()


def readers(axes: Any, report: dict[str, Any]) -> None:
    points: Points = [(int(name), row) for name, row in report["readers"].items()]
    ticks = [at for at, _ in points]
    rate = report["reader_rate"]
    rising(
        axes[0], points, {"hot_us": f"WebSocket, {rate:,} events/s", "flat_hot_us": "batches over HTTP, flat out"},
        xscale="symlog", yscale="log", title="readers", ylabel=US,
    )
    rising(axes[1], points, {"flat_events_per_second": "batches over HTTP, flat out"}, xscale="symlog", yscale="log", xlabel="readers", ylabel=RATE)
    for axis in axes:
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.set_xlim(-0.3, max(ticks) * 1.3)


def plot(report: dict[str, Any], out: Path) -> None:
    """Writes growth.png."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 4, figsize=(24, 10))
    points: Points = [(int(name), row) for name, row in report["connections"].items() if "reason" not in row]
    rising(axes[0][0], points, COST, xscale="log", title="connections: HTTP, small events", ylabel=US, ylim=(0, None))
    rising(axes[1][0], points, RATES, xscale="log", yscale="log", xlabel="connections", ylabel=RATE)
    points = [(row["bytes_per_event"], row) for row in report["sizes"].values()]
    rising(axes[0][1], points, COST, xscale="log", yscale="log", title="size: HTTP, 8 connections", ylabel=US)
    rising(axes[1][1], points, RATES, xscale="log", yscale="log", xlabel="bytes an event (JSON)", ylabel=RATE)
    readers([axes[0][2], axes[1][2]], report)
    named(axes[0][3], report["workloads"], "hot_us", title="workload: HTTP, 8 connections", ylabel=US)
    named(axes[1][3], report["workloads"], "events_per_second", xlabel="bytes an event (JSON)", ylabel=RATE)
    for axis in axes.flat:
        readable(axis)
    figure.suptitle(f"medians of {report['rounds']} rounds, bars: 95 % interval; {report['client']} client", fontsize=10)
    figure.tight_layout()
    figure.savefig(out / "growth.png", dpi=90)
    pyplot.close(figure)
