"""The comparison's report: a Markdown page, the figures as JSON, and plots."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import machine, stats
from plots import plots

TOO_FEW = "n/a (too few)"
# Of one CPU: who uses that much of it is what ends a row.
BOUND_SHARE = 0.9
ROLES = ("server", "producer", "consumer")
QUANTILES = (0.5, 0.99, 0.999, 1.0)


class Table:
    """Figures of all rounds, by row."""

    def __init__(self, report: dict[str, Any]) -> None:
        self.rounds = report["rounds"]
        self.names = [row["name"] for row in report["rows"]]
        self.notes = {row["name"]: row["note"] for row in report["rows"]}
        self.rates = report["rates"]
        self.middle = self.rates[min(1, len(self.rates) - 1)]
        self.against = {row["name"]: row["against"] for row in report["rows"]}
        self.events_per_send = {row["name"]: row["events_per_send"] for row in report["rows"]}
        one_cpu = report["cpus"]["client"] == report["cpus"]["consumer"]
        self.shared = {row["name"]: one_cpu and not row["apart"] for row in report["rows"]}

    def flat(self, name: str, key: str) -> dict[str, float] | None:
        return stats.interval(each[name]["flat"].get(key) for each in self.rounds)

    def bound_by(self, name: str) -> tuple[str, dict[str, float]] | None:
        """What ended the row flat out, and the median share of a CPU that each role used."""
        told = [each[name]["flat"]["shares"] for each in self.rounds if each[name]["flat"].get("shares")]
        if not told:
            return None
        found = {role: stats.interval(shares.get(role) for shares in told) for role in ROLES}
        shares = {role: share["median"] for role, share in found.items() if share is not None}
        busy = [role for role in shares if shares[role] >= BOUND_SHARE]
        if not busy and self.shared[name] and sum(shares.get(role, 0.0) for role in ("producer", "consumer")) >= BOUND_SHARE:
            return "the CPU that producer and consumer share", shares
        return ", ".join(busy) or "none", shares

    def reason(self, name: str, rate: int) -> str | None:
        """Why the row has no latency at this rate: when more than half of its runs say so."""
        reasons = [each[name]["rates"][rate]["reason"] for each in self.rounds]
        said = [reason for reason in reasons if reason]
        return said[len(said) // 2] if len(said) * 2 > len(reasons) else None

    def good(self, name: str, rate: int) -> list[dict[str, Any]]:
        runs = [each[name]["rates"][rate] for each in self.rounds]
        return [run for run in runs if not run["reason"] and run["latency"].get("count")]

    def at(self, name: str, rate: int, key: str) -> dict[str, float] | None:
        runs = [each[name]["rates"][rate] for each in self.rounds]
        return stats.interval(run.get(key) for run in runs if not run["reason"])

    def latency(self, name: str, rate: int) -> list[float | None] | None:
        """p50, p99, p99.9 and max of all its runs together; nothing in the place of one with too few sends beyond it."""
        runs = self.good(name, rate)
        if not runs:
            return None
        whole = stats.merged(run["latency"]["histogram_ns"] for run in runs)
        # The events of one body are late together, and tell no more than one.
        sends = sum(count for _, count in whole) / self.events_per_send[name]
        return [stats.quantile_of(whole, quantile) if stats.enough_for(quantile, sends) else None for quantile in QUANTILES]

    def of_run(self, name: str, found: dict[str, Any], rate: int, key: str) -> float | None:
        """A percentile of one run, where it has the sends for it."""
        run = found["rates"][rate]
        count = 0 if run["reason"] else run["latency"].get("count", 0)
        enough = count and stats.enough_for(stats.QUANTILES[key], count / self.events_per_send[name])
        return run["latency"][key] if enough else None

    def by_round(self, name: str, rate: int, key: str) -> dict[str, float] | None:
        """A percentile, run by run."""
        return stats.interval(self.of_run(name, each[name], rate, key) for each in self.rounds)

    def ratio(self, name: str, figure: Callable[[str, dict[str, Any]], float | None]) -> dict[str, float] | None:
        """Round by round against this service's row of the same wire."""
        ours = self.against[name]
        if ours not in self.names:
            return None
        pairs = [(figure(name, each[name]), figure(ours, each[ours])) for each in self.rounds]
        return stats.interval(own / our for own, our in pairs if own is not None and our)


def summary(table: Table) -> dict[str, Any]:
    """What the page shows, for programs."""
    middle, slow = table.middle, table.rates[0]

    def row(name: str) -> dict[str, Any]:
        bound = table.bound_by(name)
        return {
            "flat_events_per_second": table.flat(name, "events_per_second"),
            "bound_by": bound[0] if bound else None,
            "cpu_shares": bound[1] if bound else None,
            "flat_hot_us": table.flat(name, "hot_us"),
            "flat_server_us": table.flat(name, "server_us"),
            "hot_us": table.at(name, middle, "hot_us"),
            "server_us": table.at(name, middle, "server_us"),
            "producer_us": table.at(name, middle, "producer_us"),
            "consumer_us": table.at(name, middle, "consumer_us"),
            "server_us_by_rate": {rate: table.at(name, rate, "server_us") for rate in table.rates},
            "latency_us": {rate: table.latency(name, rate) or table.reason(name, rate) for rate in table.rates},
            "latency_us_by_round": {
                rate: {key: table.by_round(name, rate, f"{key}_us") for key in ("p50", "p99")} for rate in table.rates
            },
            "resident_mb": stats.interval(
                each[name]["resident_bytes"] / 1e6 for each in table.rounds if each[name].get("resident_bytes") is not None
            ),
            "ratios": {
                "events_per_second": table.ratio(name, lambda _, found: found["flat"].get("events_per_second")),
                "flat_hot_us": table.ratio(name, lambda _, found: found["flat"].get("hot_us")),
                "flat_server_us": table.ratio(name, lambda _, found: found["flat"].get("server_us")),
                "server_us": table.ratio(name, lambda _, found: None if found["rates"][middle]["reason"] else found["rates"][middle].get("server_us")),
                "p50": table.ratio(name, lambda own, found: table.of_run(own, found, slow, "p50_us")),
                "p99": table.ratio(name, lambda own, found: table.of_run(own, found, slow, "p99_us")),
                f"p50_at_{middle}": table.ratio(name, lambda own, found: table.of_run(own, found, middle, "p50_us")),
            },
            "ratios_are_to": table.against[name],
        }

    return {name: row(name) for name in table.names}


def by_size(report: dict[str, Any]) -> dict[str, Any]:
    """CPU in microseconds an event, by row and size."""
    turns = report["sizes"]
    return {
        # What is sent here are single events, also to the floor that can take batches.
        name.removesuffix(", batches of 50"): {str(size): stats.interval(turn[name][size] for turn in turns) for size in sizes}
        for name, sizes in (turns[0] if turns else {}).items()
    }


def per_round(table: Table) -> dict[str, Any]:
    """Every figure of every round, by row; without the histograms, which are megabytes."""

    def figures(runs: list[dict[str, Any]]) -> dict[str, Any]:
        keys = dict.fromkeys(key for run in runs for key in run if key not in ("latency", "answered", "shares"))
        told: dict[str, Any] = {key: [run.get(key) for run in runs] for key in keys}
        for role in ROLES:
            if any(role in (run.get("shares") or {}) for run in runs):
                told[f"{role}_share"] = [(run.get("shares") or {}).get(role) for run in runs]
        if any((run.get("latency") or {}).get("count") for run in runs):
            told |= {key: [(run.get("latency") or {}).get(key) for run in runs] for key in ("count", *stats.QUANTILES)}
        return {key: [round(it, 4) if isinstance(it, float) else it for it in values] for key, values in told.items()}

    return {
        name: {
            "flat": figures([each[name]["flat"] for each in table.rounds]),
            "rates": {rate: figures([each[name]["rates"][rate] for each in table.rounds]) for rate in table.rates},
            "resident_bytes": [each[name].get("resident_bytes") for each in table.rounds],
        }
        for name in table.names
    }


def cell(found: dict[str, float] | None, digits: int = 2) -> str:
    return "–" if found is None else stats.text(found, digits)


def bound_cell(row: dict[str, Any]) -> str:
    if not row["bound_by"]:
        return "–"
    shares = " / ".join(f"{row['cpu_shares'][role]:.2f}" if role in row["cpu_shares"] else "–" for role in ROLES)
    return f"{row['bound_by']} ({shares})"


def latency_cell(latency: list[float | None] | str | None) -> str:
    if latency is None or isinstance(latency, str):
        return latency or "–"
    return " / ".join(TOO_FEW if value is None else f"{value:,.0f}" for value in latency)


def main_table(table: Table, found: dict[str, Any]) -> list[str]:
    middle = table.middle
    lines = [
        "| row | events/s flat out | bound by (CPU used by server / producer / consumer) | µs of CPU an event, flat out: hot thread | all threads "
        f"| at {middle:,}/s: hot thread | all threads | producer | consumer | "
        + " | ".join(f"p50 / p99 / p99.9 / max at {rate:,}/s, µs" for rate in table.rates)
        + " | MB resident |",
        "|---|--:|---|--:|--:|--:|--:|--:|--:|" + "--:|" * (len(table.rates) + 1),
    ]
    for name in table.names:
        row = found[name]
        flat = table.rounds[0][name]["flat"].get("reason") or cell(row["flat_events_per_second"], 0)
        figures = [cell(row[key]) for key in ("flat_hot_us", "flat_server_us", "hot_us", "server_us", "producer_us", "consumer_us")]
        latencies = [latency_cell(row["latency_us"][rate]) for rate in table.rates]
        lines.append("| " + " | ".join([name, flat, bound_cell(row), *figures, *latencies, cell(row["resident_mb"], 1)]) + " |")
    return lines


def latency_table(table: Table, found: dict[str, Any]) -> list[str]:
    lines = [
        "| row | " + " | ".join(f"{key} at {rate:,}/s" for rate in table.rates for key in ("p50", "p99")) + " |",
        "|---|" + "--:|" * (2 * len(table.rates)),
    ]
    for name in table.names:
        cells = []
        for rate in table.rates:
            for key in ("p50", "p99"):
                value = found[name]["latency_us_by_round"][rate][key]
                cells.append(cell(value, 0) if value else TOO_FEW if table.good(name, rate) else "–")
        if any(it != "–" for it in cells):
            lines.append("| " + " | ".join([name, *cells]) + " |")
    return lines


def ratio_table(table: Table, found: dict[str, Any]) -> list[str]:
    middle, slow = table.middle, table.rates[0]
    lines = [
        f"| row | to | events/s flat out | CPU flat out: hot thread | all server threads | CPU of all server threads at {middle:,}/s | p50 at {slow:,}/s | p99 at {slow:,}/s | p50 at {middle:,}/s |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    keys = ("events_per_second", "flat_hot_us", "flat_server_us", "server_us", "p50", "p99", f"p50_at_{middle}")
    for name in table.names:
        if name != table.against[name]:
            ratios = found[name]["ratios"]
            lines.append("| " + " | ".join([name, table.against[name], *(cell(ratios[key]) for key in keys)]) + " |")
    return lines


def size_table(report: dict[str, Any]) -> list[str]:
    sizes = sorted(next(iter(report["sizes"][0].values()), {})) if report["sizes"] else []
    lines = ["| row | " + " | ".join(f"{size:,} B" for size in sizes) + " |", "|---|" + "--:|" * len(sizes)]
    return lines + [
        f"| {name} | " + " | ".join(cell(of_size[str(size)], 1) for size in sizes) + " |" for name, of_size in by_size(report).items()
    ]


def page(report: dict[str, Any], table: Table, found: dict[str, Any]) -> str:
    cpus, rates = report["cpus"], ",".join(map(str, table.rates))
    lines = [
        "# Floors, peers and this service, measured together",
        "",
        *machine.lines(report["machine"]),
        "",
        f"`perf/compare/run --pairs {report['pairs']} --seconds {report['seconds_a_run']} --rates {rates}`: small events (190 B of JSON; in batches "
        f"45 of them and 5 whole states, 57 KB), servers on CPU {cpus['server']}, load on CPU {cpus['client']}, consumers on CPU {cpus['consumer']}; "
        "the load generator sleeps between sends. Every row runs once a round; a figure is the median over the rounds, with the interval that holds "
        "the true median with 95 % confidence in parentheses (or with as much as it says). Latency counts from the intended send time until a Python "
        "process has the event's bytes in hand, here over all rounds as one histogram.",
        "",
        *main_table(table, found),
        "",
        "## Latency, round by round, µs: median of the rounds' own percentiles (95 % interval)",
        "",
        *latency_table(table, found),
        "",
        "## Ratios to this service's row of the same wire, round by round: median (95 % interval)",
        "",
        *ratio_table(table, found),
        "",
        f"## CPU of all server threads by the size of an event, µs: median of {len(report['sizes'])} rounds",
        "",
        "Single events, at 1,000 events/s, or 30 MB/s where that is less: most of what a small event costs at that rate is the server's waking up for it. "
        "Rows without a server of their own have no such cost.",
        "",
        *size_table(report),
        "",
        "## Reading it",
        "",
        *(f"- **{name}**: {note}." for name, note in table.notes.items() if note),
        "- Who sends: `jimbot-load` over HTTP and WebSocket, `jimbot-peer-produce` to brokers and ZeroMQ: the same bodies on the same schedule, put "
        "together before they are due. What begins and ends in Python is fed by Python.",
        f"- Bound by: the role that used {BOUND_SHARE * 100:.0f} % of its CPU or more, flat out. Where it is the producer or the consumer, the server could take more. "
        "`none`: they wait for each other, or other work had their CPU.",
        "- `n/a (needs N)`: with all N busy on the CPUs that are here, one of them would starve and its figures be those of the scheduler: "
        "found out before the rounds, and not run. `ends at N/s`: none of three runs kept the rate before the rounds, or most did not in them, "
        "though client and consumer did not use up their CPU together: the server ends there, or one of them.",
        f"- `{TOO_FEW}`: fewer than {stats.BEYOND} sends lie beyond that percentile; a body of 50 events is one send. The largest of all is told always.",
        "- Flat out, rows that keep events are measured taking them; their consumer is away meanwhile. Where there is no server, what arrived counts.",
        "- Memory is without what is shared (of this service: without the log).",
        *(f"- Not in this run: {name} ({why})." for name, why in report["missing"].items()),
        "",
        "![latency against load](latency.png)",
        "",
        "![CPU an event](cost.png)",
        "",
        "![CPU against the size of an event](size.png)",
    ]
    return "\n".join(lines) + "\n"


def compact(told: dict[str, Any]) -> str:
    """JSON for people too: a list of numbers on one line."""
    text = json.dumps(told, indent=1, ensure_ascii=False)
    return re.sub(r"\[[^][{}]*\]", lambda found: re.sub(r"\s*\n\s*", " ", found[0]), text) + "\n"


def write(report: dict[str, Any], out: Path) -> str:
    """Writes all of it; gives the page."""
    table = Table(report)
    found = summary(table)
    text = page(report, table, found)
    out.mkdir(parents=True, exist_ok=True)
    (out / "compare.md").write_text(text)
    told = {key: value for key, value in report.items() if key not in ("rounds", "sizes")} | {
        "figures": found,
        "server_us_by_size": by_size(report),
        "rounds": per_round(table),
        "size_rounds": report["sizes"],
    }
    (out / "compare.json").write_text(compact(told))
    plots(table, found, by_size(report), out)
    return text
