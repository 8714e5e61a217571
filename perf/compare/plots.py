"""The comparison's plots. Rows of this service are bold and have colours of their own; those of others have line styles too."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from report import Table

OURS = "jimbot"
OUR_COLOURS = ("#d00000", "#ff8500", "#c2189a", "#000000", "#e0b000")
# Dark enough on white, and apart from ours and each other: no red, no orange, no black.
THEIR_COLOURS = ("#0b3c5d", "#2a9d8f", "#5e3c99", "#1f78b4", "#4d7c0f", "#0f766e", "#7c3aed", "#64748b", "#0891b2", "#a16207", "#1d4ed8")
MARKERS = "sv^<>DPXphd*"
STYLES = ("--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
FLOOR_COLOUR = "#7a7a7a"


def is_floor(name: str) -> bool:
    return name.startswith("floor")


def looks(names: list[str]) -> dict[str, dict[str, Any]]:
    """How each row is drawn, in every plot alike."""
    ours = [name for name in names if name.startswith(OURS)]
    floors = [name for name in names if is_floor(name)]
    others = [name for name in names if name not in ours and name not in floors]
    found: dict[str, dict[str, Any]] = {}
    for at, name in enumerate(ours):
        found[name] = {"color": OUR_COLOURS[at % len(OUR_COLOURS)], "linewidth": 3, "marker": "o", "markersize": 9, "linestyle": "-", "zorder": 5}
    for group, colours in ((others, THEIR_COLOURS), (floors, (FLOOR_COLOUR,))):
        for at, name in enumerate(group):
            found[name] = {
                "color": colours[at % len(colours)], "linewidth": 1.4, "marker": MARKERS[at % len(MARKERS)], "markersize": 7,
                "linestyle": STYLES[at % len(STYLES)], "zorder": 3,
            }
    return found


def plots(table: Table, found: dict[str, Any], sizes: dict[str, Any], out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawn = looks(table.names)
    latency_plot(pyplot, table, found, drawn, out / "latency.png")
    cost_plot(pyplot, table, found, out / "cost.png")
    size_plot(pyplot, sizes, looks(list(sizes)) | {name: drawn[name] for name in sizes if name in drawn}, out / "size.png")


def latency_plot(pyplot: Any, table: Table, found: dict[str, Any], drawn: dict[str, dict[str, Any]], place: Path) -> None:
    figure, axes = pyplot.subplots(1, 2, figsize=(16, 7), sharey=True)
    handles: dict[str, Any] = {}
    for which, (axis, title) in enumerate(zip(axes, ("p50", "p99"))):
        for at, name in enumerate(table.names):
            points = [(rate, found[name]["latency_us"][rate]) for rate in table.rates]
            points = [(rate, latency[which]) for rate, latency in points if isinstance(latency, list) and latency[which] is not None]
            if points:
                # A little apart, so that points at one rate do not hide each other.
                shift = 1 + 0.012 * (at - len(table.names) / 2)
                handles[name] = axis.plot([rate * shift for rate, _ in points], [value for _, value in points], label=name, **drawn[name])[0]
        axis.set(xscale="log", yscale="log", xlabel="events/s", title=f"{title} from the intended send time until Python has the event")
        axis.set_xticks(table.rates, [f"{rate:,}" for rate in table.rates])
        axis.minorticks_off()
        axis.grid(True, which="major", alpha=0.3)
    axes[0].set_ylabel("µs")
    handles = {name: handles[name] for name in table.names if name in handles}
    axes[1].legend(handles.values(), handles.keys(), fontsize=9, loc="center left", bbox_to_anchor=(1.02, 0.5), handlelength=4)
    figure.suptitle("Latency against load. A row ends where it can't keep the rate, or where the machine has too few CPUs for it", fontsize=11)
    figure.tight_layout()
    figure.savefig(place, dpi=110)
    pyplot.close(figure)


def cost_plot(pyplot: Any, table: Table, found: dict[str, Any], place: Path) -> None:
    """Three columns, flat out and at two rates; single events above, batches of 50 below."""
    columns: list[tuple[str, dict[str, Any]]] = [("flat out", {name: found[name]["flat_server_us"] for name in table.names})]
    for rate in dict.fromkeys((table.middle, table.rates[0])):
        columns.append((f"at {rate:,} events/s", {name: found[name]["server_us_by_rate"][rate] for name in table.names}))
    with_cost = [name for name in table.names if any(values[name] for _, values in columns)]
    groups = [
        ("single events", [name for name in with_cost if table.events_per_send[name] == 1]),
        ("batches of 50", [name for name in with_cost if table.events_per_send[name] > 1]),
    ]
    groups = [(title, names) for title, names in groups if names]
    if not groups:
        return
    from matplotlib.ticker import NullFormatter

    figure, axes = pyplot.subplots(
        len(groups), len(columns), figsize=(5.2 * len(columns) + 2, 0.36 * len(with_cost) + 2.6), squeeze=False, sharey="row",
        height_ratios=[len(names) + 1 for _, names in groups],
    )
    for row, (group, names) in enumerate(groups):
        for column, (title, values) in enumerate(columns):
            axis = axes[row][column]
            bars = [name for name in names if values[name]]
            places = [len(names) - 1 - names.index(name) for name in bars]
            medians = [values[name]["median"] for name in bars]
            error = [[values[name]["median"] - values[name]["low"] for name in bars], [values[name]["high"] - values[name]["median"] for name in bars]]
            colours = [OUR_COLOURS[0] if name.startswith((OURS, "this service")) else FLOOR_COLOUR if is_floor(name) else THEIR_COLOURS[0] for name in bars]
            axis.barh(places, medians, xerr=error, color=colours, capsize=2, ecolor="#222222")
            for at, value, high in zip(places, medians, (values[name]["high"] for name in bars)):
                axis.annotate(f"{value:,.2f}" if value < 10 else f"{value:,.0f}", (high, at), (5, 0), textcoords="offset points", va="center", fontsize=8)
            for name in names:
                if not values[name]:
                    axis.annotate("n/a", (0.01, len(names) - 1 - names.index(name)), xycoords=("axes fraction", "data"), va="center", fontsize=8, color="#777777")
            if bars and column == 0:
                # From a copy to a framework: four decades.
                axis.set_xscale("log")
                axis.set_xlim(10 ** math.floor(math.log10(min(medians) / 2)), max(values[name]["high"] for name in bars) * 4)
                axis.xaxis.set_minor_formatter(NullFormatter())
            elif bars:
                axis.set_xlim(0, max(values[name]["high"] for name in bars) * 1.2)
            axis.set_ylim(-0.6, len(names) - 0.4)
            axis.set_yticks(range(len(names)), names[::-1])
            axis.set_title(f"{group}, {title}", fontsize=10)
            axis.grid(True, axis="x", alpha=0.3)
        axes[row][0].tick_params(axis="y", labelsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("µs of CPU an event, all server threads")
    figure.suptitle("What an event costs the server: median and interval (flat out on a logarithmic scale)", fontsize=11)
    figure.tight_layout()
    figure.savefig(place, dpi=110)
    pyplot.close(figure)


def size_plot(pyplot: Any, sizes: dict[str, Any], drawn: dict[str, dict[str, Any]], place: Path) -> None:
    figure, axis = pyplot.subplots(figsize=(12, 6.5))
    for name, figures in sizes.items():
        values = [value["median"] for value in figures.values()]
        error = [[value["median"] - value["low"] for value in figures.values()], [value["high"] - value["median"] for value in figures.values()]]
        axis.errorbar([int(size) for size in figures], values, yerr=error, label=name, capsize=2, **drawn[name])
    axis.set(
        xscale="log", yscale="log", xlabel="bytes of an event (JSON)", ylabel="µs of CPU an event, all server threads",
        title="What a single event costs the server, by its size, at 1,000 events/s or 30 MB/s",
    )
    axis.grid(True, which="major", alpha=0.3)
    if sizes:
        axis.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.02, 0.5), handlelength=4)
    figure.tight_layout()
    figure.savefig(place, dpi=110)
    pyplot.close(figure)
