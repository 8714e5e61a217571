"""The comparison's report: a Markdown page, the figures as JSON, and plots."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import machine, stats


class Table:
    """Figures of all rounds, by row."""

    def __init__(self, report: dict[str, Any]) -> None:
        self.rounds = report["rounds"]
        self.names = [row["name"] for row in report["rows"]]
        self.notes = {row["name"]: row["note"] for row in report["rows"]}
        self.rates = report["rates"]
        self.against = {row["name"]: row["against"] for row in report["rows"]}

    def flat(self, name: str, key: str) -> dict[str, float] | None:
        return stats.interval([each[name]["flat"].get(key) for each in self.rounds if each[name]["flat"].get(key) is not None])

    def reason(self, name: str, rate: int) -> str | None:
        """Why the row has no latency at this rate: when more than half of its runs say so."""
        reasons = [each[name]["rates"][rate]["reason"] for each in self.rounds]
        said = [reason for reason in reasons if reason]
        return said[len(said) // 2] if len(said) * 2 > len(reasons) else None

    def good(self, name: str, rate: int) -> list[dict[str, Any]]:
        runs = [each[name]["rates"][rate] for each in self.rounds]
        return [run for run in runs if not run["reason"] and run["latency"].get("count")]

    def at(self, name: str, rate: int, key: str) -> dict[str, float] | None:
        values = [each[name]["rates"][rate].get(key) for each in self.rounds if not each[name]["rates"][rate]["reason"]]
        return stats.interval([value for value in values if value is not None])

    def latency(self, name: str, rate: int) -> list[float] | None:
        """p50, p99, p99.9 and max of all its runs together."""
        runs = self.good(name, rate)
        if not runs:
            return None
        whole = stats.merged(run["latency"]["histogram_ns"] for run in runs)
        return [stats.quantile_of(whole, quantile) for quantile in (0.5, 0.99, 0.999, 1.0)]

    def ratio(self, name: str, figure: Callable[[dict[str, Any]], float | None]) -> dict[str, float] | None:
        """Round by round against this service's row of the same wire."""
        if self.against[name] not in self.names:
            return None
        pairs = [(figure(each[name]), figure(each[self.against[name]])) for each in self.rounds]
        return stats.interval([own / ours for own, ours in pairs if own is not None and ours])


def cell(found: dict[str, float] | None, digits: int = 2) -> str:
    return "–" if found is None else f"{found['median']:,.{digits}f}"


def summary(table: Table) -> dict[str, Any]:
    """What the page shows, for programs."""
    middle = table.rates[min(1, len(table.rates) - 1)]

    def seen(found: dict[str, Any], rate: int, key: str) -> float | None:
        run = found["rates"][rate]
        return None if run["reason"] or not run["latency"].get("count") else run["latency"][key]

    return {
        name: {
            "flat_events_per_second": table.flat(name, "events_per_second"),
            "flat_hot_us": table.flat(name, "hot_us"),
            "hot_us": table.at(name, middle, "hot_us"),
            "server_us": table.at(name, middle, "server_us"),
            "consumer_us": table.at(name, middle, "consumer_us"),
            "latency_us": {rate: table.latency(name, rate) or table.reason(name, rate) for rate in table.rates},
            "resident_mb": stats.interval([
                each[name]["resident_bytes"] / 1e6 for each in table.rounds if each[name].get("resident_bytes") is not None
            ]),
            "ratios": {
                "events_per_second": table.ratio(name, lambda found: found["flat"].get("events_per_second")),
                "flat_hot_us": table.ratio(name, lambda found: found["flat"].get("hot_us")),
                "server_us": table.ratio(name, lambda found: found["rates"][middle].get("server_us")),
                "p50": table.ratio(name, lambda found: seen(found, table.rates[0], "p50_us")),
                "p99": table.ratio(name, lambda found: seen(found, table.rates[0], "p99_us")),
                f"p50_at_{middle}": table.ratio(name, lambda found: seen(found, middle, "p50_us")),
            },
            "ratios_are_to": table.against[name],
        }
        for name in table.names
    }


def by_size(report: dict[str, Any]) -> dict[str, Any]:
    """CPU in microseconds an event, by row and size."""
    turns = report["sizes"]
    return {
        name: {str(size): stats.interval([turn[name][size] for turn in turns]) for size in sizes}
        for name, sizes in (turns[0] if turns else {}).items()
    }


def page(report: dict[str, Any], table: Table, found: dict[str, Any]) -> str:
    rates, middle = table.rates, table.rates[min(1, len(table.rates) - 1)]
    cpus = report["cpus"]
    lines = [
        "# Floors, peers and this service, measured together",
        "",
        *machine.lines(report["machine"]),
        "",
        f"`perf/compare/run --pairs {report['pairs']} --seconds {report['seconds_a_run']} --rates {','.join(map(str, rates))}`: small events (190 B of JSON; in batches 45 of them and 5 whole states, 57 KB), servers on CPU "
        f"{cpus['server']}, load on CPU {cpus['client']}, consumers on CPU {cpus['consumer']}; the load generator sleeps between sends. "
        "Every row runs once a round; a figure is the median over the rounds. Latency counts from the time at which an event was to be "
        "sent until a Python process has its bytes in hand, all rounds as one histogram.",
        "",
        f"| row | events/s flat out | µs of CPU an event, flat out (hot thread) | at {middle:,}/s: hot thread | all threads | consumer | "
        + " | ".join(f"p50 / p99 / p99.9 / max at {rate:,}/s, µs" for rate in rates)
        + " | MB resident |",
        "|---|--:|--:|--:|--:|--:|" + "--:|" * (len(rates) + 1),
    ]
    for name in table.names:
        row = found[name]
        flat = table.rounds[0][name]["flat"].get("reason") or cell(row["flat_events_per_second"], 0)
        cells = [name, flat, cell(row["flat_hot_us"]), cell(row["hot_us"]), cell(row["server_us"]), cell(row["consumer_us"])]
        for rate in rates:
            latency = row["latency_us"][rate]
            cells.append(
                "–" if latency is None else latency if isinstance(latency, str) else " / ".join(f"{value:,.0f}" for value in latency)
            )
        cells.append(cell(row["resident_mb"], 1))
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "## Ratios to this service's row of the same wire, round by round: median (95 % interval)",
        "",
        f"| row | to | events/s flat out | CPU flat out (hot thread) | CPU of all server threads at {middle:,}/s | p50 at {rates[0]:,}/s | p99 at {rates[0]:,}/s | p50 at {middle:,}/s |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    keys = ("events_per_second", "flat_hot_us", "server_us", "p50", "p99", f"p50_at_{middle}")
    for name in table.names:
        if name != table.against[name]:
            ratios = found[name]["ratios"]
            lines.append("| " + " | ".join([name, table.against[name], *(stats.text(ratios[key]) for key in keys)]) + " |")
    sizes = sorted(next(iter(report["sizes"][0].values()), {})) if report["sizes"] else []
    lines += [
        "",
        f"## CPU of all server threads by the size of an event, µs: median of {len(report['sizes'])} rounds",
        "",
        "At 1,000 events/s, or 30 MB/s where that is less: most of what a small event costs at that rate is the server's waking up for it.",
        "",
        "| row | " + " | ".join(f"{size:,} B" for size in sizes) + " |",
        "|---|" + "--:|" * len(sizes),
    ]
    lines += [
        f"| {name} | " + " | ".join(cell(found_by_size[str(size)], 1) for size in sizes) + " |"
        for name, found_by_size in by_size(report).items()
    ]
    lines += ["", "## Reading it", ""]
    lines += [f"- **{name}**: {note}." for name, note in table.notes.items() if note]
    lines += [
        "- `n/a (needs N)`: with all N busy on the CPUs that are here, one of them would starve and its figures be those of the scheduler: "
        "found out before the rounds, and not run. `ends at N/s`: none of three runs kept the rate before the rounds, or most did not in them, "
        "though client and consumer did not use up their CPU together: the server ends there, or one of them.",
        "- Flat out, rows that keep events are measured taking them; their consumer is away meanwhile. Where there is no server, what arrived counts.",
        "- Memory is without what is shared (of this service: without the log).",
    ]
    if report["missing"]:
        lines += [f"- Not in this run: {name} ({why})." for name, why in report["missing"].items()]
    lines += ["", "![latency against load](latency.png)", "", "![CPU an event](cost.png)", "", "![CPU against the size of an event](size.png)"]
    return "\n".join(lines) + "\n"


def plots(table: Table, found: dict[str, Any], sizes: dict[str, Any], out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(15, 6), sharey=True)
    colours = dict(zip(table.names, pyplot.get_cmap("tab20")(range(len(table.names)))))
    for which, (axis, title) in enumerate(zip(axes, ("p50", "p99"))):
        for name in table.names:
            points = [(rate, found[name]["latency_us"][rate]) for rate in table.rates]
            points = [(rate, latency[which]) for rate, latency in points if isinstance(latency, list)]
            if points:
                style = "-o" if name.startswith("jimbot") else "--."
                axis.plot(*zip(*points), style, label=name, color=colours[name])
        axis.set(xscale="log", yscale="log", xlabel="events/s", title=f"{title}, from sending until Python has the event")
        axis.grid(True, which="both", alpha=0.3)
    axes[0].set_ylabel("µs")
    axes[1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
    figure.tight_layout()
    figure.savefig(out / "latency.png", dpi=110)
    pyplot.close(figure)

    figure, axis = pyplot.subplots(figsize=(9, 5.5))
    for name, figures in sizes.items():
        values = [value["median"] for value in figures.values()]
        error = [[value["median"] - value["low"] for value in figures.values()], [value["high"] - value["median"] for value in figures.values()]]
        axis.errorbar([int(size) for size in figures], values, yerr=error, fmt="-o" if name.startswith("jimbot") else "--.", label=name, capsize=2)
    axis.set(xscale="log", yscale="log", xlabel="bytes of an event (JSON)", ylabel="µs of CPU an event, all server threads")
    axis.grid(True, which="both", alpha=0.3)
    if sizes:
        axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(out / "size.png", dpi=110)
    pyplot.close(figure)

    rows = [(name, found[name]["server_us"]) for name in table.names if found[name]["server_us"]]
    if rows:
        figure, axis = pyplot.subplots(figsize=(9, 0.45 * len(rows) + 1.2))
        names = [name for name, _ in rows][::-1]
        values = [row["median"] for _, row in rows][::-1]
        error = [[row["median"] - row["low"] for _, row in rows][::-1], [row["high"] - row["median"] for _, row in rows][::-1]]
        colours = ["#2a6f97" if name.startswith("jimbot") else "#b0b0b0" for name in names]
        axis.barh(names, values, xerr=error, color=colours, capsize=2)
        axis.set(xlabel=f"µs of CPU an event, all server threads, at {table.rates[min(1, len(table.rates) - 1)]:,} events/s")
        figure.tight_layout()
        figure.savefig(out / "cost.png", dpi=110)
        pyplot.close(figure)


def write(report: dict[str, Any], out: Path) -> str:
    """Writes all of it; gives the page."""
    table = Table(report)
    found = summary(table)
    text = page(report, table, found)
    out.mkdir(parents=True, exist_ok=True)
    (out / "compare.md").write_text(text)
    # Without the histograms of single runs: they are megabytes, and the merged ones are what is shown.
    told = {key: value for key, value in report.items() if key not in ("rounds", "sizes")} | {"figures": found, "server_us_by_size": by_size(report)}
    (out / "compare.json").write_text(json.dumps(told, indent=1) + "\n")
    plots(table, found, by_size(report), out)
    return text
