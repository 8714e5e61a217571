"""What the comparison's page says of rounds that are given."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measure import stats
from report import TOO_FEW, Table, by_size, summary, write

OURS, PEER = "jimbot WebSocket, adaptive", "Redis Streams"
RATES = (1_000, 20_000)


def run(us: float = 100.0, count: int = 1_050, reason: str | None = None) -> dict[str, Any]:
    latency = stats.latency(np.linspace(us * 1e3, 2e3 * us, count).astype(np.int64))
    return {"reason": reason, "latency": latency, "hot_us": us / 10, "server_us": us / 5, "consumer_us": 1.0, "producer_us": 2.0, "sent": count, "refused": 0}


def flat(rate: float, **shares: float) -> dict[str, Any]:
    return {"events_per_second": rate, "hot_us": 1e6 / rate, "server_us": 2e6 / rate, "shares": shares}


def report_of(rounds: int = 15, **changes: Any) -> dict[str, Any]:
    def each(at: int) -> dict[str, Any]:
        return {
            OURS: {"flat": flat(1e6 + at, server=0.97, producer=0.3), "rates": {rate: run() for rate in RATES}, "resident_bytes": 2e7},
            PEER: {
                "flat": flat(5e5 + at, server=0.5, producer=0.99),
                "rates": {1_000: run(300), 20_000: run(reason="n/a (needs 3)")},
                "resident_bytes": 6e7,
            },
        }

    return {
        "machine": {
            "date": "2026-01-01T00:00:00Z", "commit": "0", "cpu": "a CPU", "cpus": 2, "virtual": True, "governor": "none", "kernel": "6", "python": "3",
            "load_before": 0.0,
        },
        "pairs": rounds,
        "seconds_a_run": 0.25,
        "rates": RATES,
        "cpus": {"server": 0, "client": 1, "consumer": 1},
        "rows": [{"name": name, "note": "", "against": OURS, "events_per_send": 1, "apart": False} for name in (OURS, PEER)],
        "missing": {"Ray actor": "n/a: no wheel"},
        "rounds": [each(at) for at in range(rounds)],
        "sizes": [{OURS: {100: 50.0, 1_000: 60.0}, PEER: {100: 55.0, 1_000: 66.0}} for _ in range(5)],
    } | changes


def row_of(page: str, name: str) -> list[str]:
    line = next(line for line in page.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_figure_has_its_interval_and_what_bound_it(tmp_path: Path) -> None:
    page = write(report_of(), tmp_path)
    cells = row_of(page, OURS)
    assert cells[1] == "1,000,007 (1,000,003 to 1,000,011)"
    assert cells[2] == "server (0.97 / 0.30 / –)"
    assert row_of(page, PEER)[2] == "producer (0.50 / 0.99 / –)"
    assert row_of(page, PEER)[10] == "n/a (needs 3)"
    assert "Ray actor (n/a: no wheel)" in page
    for plot in ("latency.png", "cost.png", "size.png"):
        assert (tmp_path / plot).read_bytes().startswith(b"\x89PNG"), plot


def test_a_producer_and_a_consumer_that_use_up_one_cpu_together_are_told_as_that() -> None:
    report = report_of()
    for each in report["rounds"]:
        each[PEER]["flat"]["shares"] = {"server": 0.4, "producer": 0.5, "consumer": 0.45}
        each[OURS]["flat"]["shares"] = {"server": 0.4, "producer": 0.2}
    table = Table(report)
    assert table.bound_by(PEER)[0] == "the CPU that producer and consumer share"  # type: ignore[index]
    assert table.bound_by(OURS)[0] == "none"  # type: ignore[index]
    report["rows"][1]["apart"] = True
    assert Table(report).bound_by(PEER)[0] == "none"  # type: ignore[index]


def test_a_percentile_with_too_few_sends_beyond_it_is_not_printed() -> None:
    table = Table(report_of(rounds=2))
    p50, p99, p999, largest = table.latency(OURS, 1_000) or []
    assert p50 and p99 and largest and p999 is None
    assert Table(report_of(rounds=10)).latency(OURS, 1_000)[2] is not None  # type: ignore[index]


def test_fifty_events_of_a_body_are_one_send() -> None:
    report = report_of(rounds=2)
    report["rows"][0]["events_per_send"] = 50
    p50, p99, _, largest = Table(report).latency(OURS, 1_000) or []
    assert p50 and largest and p99 is None
    assert summary(Table(report))[OURS]["latency_us_by_round"][1_000]["p99"] is None


def test_a_ratio_is_taken_within_a_round() -> None:
    report = report_of()
    for at, each in enumerate(report["rounds"]):
        for name, events in ((OURS, 1e6), (PEER, 2e6)):
            each[name]["flat"]["events_per_second"] = events * (1 + at)
    ratio = summary(Table(report))[PEER]["ratios"]["events_per_second"]
    assert (ratio["low"], ratio["median"], ratio["high"]) == (2.0, 2.0, 2.0)


def test_runs_that_were_refused_are_in_no_ratio() -> None:
    found = summary(Table(report_of()))[PEER]
    assert found["ratios"]["server_us"] is None and found["ratios"]["p50_at_20000"] is None
    assert found["ratios"]["p50"]["median"] == pytest.approx(3.0, rel=1e-3)
    assert found["latency_us"][20_000] == "n/a (needs 3)"


def test_a_row_that_fails_in_a_minority_of_rounds_keeps_its_figures() -> None:
    report = report_of()
    for each in report["rounds"][:7]:
        each[OURS]["rates"][1_000]["reason"] = "ends at 900/s"
    assert Table(report).reason(OURS, 1_000) is None
    report["rounds"][7][OURS]["rates"][1_000]["reason"] = "ends at 900/s"
    assert Table(report).reason(OURS, 1_000) == "ends at 900/s"


def test_the_json_has_the_values_of_every_round(tmp_path: Path) -> None:
    write(report_of(), tmp_path)
    told = json.loads((tmp_path / "compare.json").read_text())
    rounds = told["rounds"][OURS]
    assert rounds["flat"]["events_per_second"] == [1e6 + at for at in range(15)]
    assert rounds["flat"]["server_share"] == [0.97] * 15
    assert len(rounds["rates"]["1000"]["p99_us"]) == 15
    assert told["rounds"][PEER]["rates"]["20000"]["reason"] == ["n/a (needs 3)"] * 15
    assert told["size_rounds"][0][OURS]["100"] == 50.0


def test_single_events_to_the_floor_for_batches_are_not_called_batches() -> None:
    report = report_of(sizes=[{"floor: bare epoll, whole requests, batches of 50": {100: 1.0}}])
    assert list(by_size(report)) == ["floor: bare epoll, whole requests"]


def test_rounds_too_short_for_a_percentile_say_so(tmp_path: Path) -> None:
    report = report_of()
    for each in report["rounds"]:
        each[OURS]["rates"][1_000] = run(count=50)
    page = write(report, tmp_path)
    by_round = page[page.index("## Latency, round by round") :]
    assert row_of(by_round, OURS)[2] == TOO_FEW
