"""What reading costs in Python, beside receiving the same events over ZeroMQ in the same run.

    perf/read [--rounds N]

Each round fills a log with full batches of small events and reads it: sums one index column, and touches every payload
byte. Beside it, in turn, ZeroMQ's Python binding receives as many messages of the same bytes over ipc, looking at
nothing. Told is the median over the rounds, in microseconds an event, with the interval that holds it with 95 %
confidence; their ratio is of pairs. perf/read runs it with a release build of the package; by itself this file takes the
one that is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import zmq

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "python" / "tests"), str(ROOT / "perf")]
from conftest import LogWriter, cargo_binary  # noqa: E402
from measure import machine, stats, turns  # noqa: E402

from jimbot.mcp import Reader  # noqa: E402

BATCH_EVENTS = 4096
BATCHES = 32
PADDING = 75  # makes an event of about 190 bytes, as a small one of a game is


def read_log(directory: Path) -> tuple[float, int, int]:
    """Seconds to read all that the log holds, how many events that was, and a result that depends on every byte."""
    with Reader(directory, start="earliest", timeout=0) as reader:
        events = total = 0
        begin = time.perf_counter()
        for batch in reader:
            index, payload = batch.index, batch.payload
            total += int(index["length"].sum())
            # Every byte is loaded: as words, since NumPy sums bytes one at a time.
            whole = len(payload) & ~7
            total += int(np.bitwise_xor.reduce(np.frombuffer(payload[:whole], dtype=np.uint64)))
            total += sum(payload[whole:])
            events += len(index)
            del index, payload
        return time.perf_counter() - begin, events, total


SENDER = """
import sys, zmq
context = zmq.Context()
socket = context.socket(zmq.PUSH)
socket.setsockopt(zmq.SNDHWM, 0)
socket.connect(sys.argv[1])
message = b"x" * int(sys.argv[3])
for _ in range(int(sys.argv[2])):
    socket.send(message)
socket.close()
context.term()  # which waits until all has been sent
"""


def receive_zmq(directory: Path, events: int, size: int) -> float:
    """Seconds to receive so many messages of this size, once the first is there."""
    address = f"ipc://{directory}/zmq"
    context = zmq.Context()
    socket = context.socket(zmq.PULL)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.bind(address)
    sender = subprocess.Popen([sys.executable, "-c", SENDER, address, str(events), str(size)])
    # The sender is ahead: what is measured is receiving, not its pace.
    time.sleep(1.0)
    receive = socket.recv
    receive()
    begin = time.perf_counter()
    for _ in range(events - 1):
        receive()
    seconds = time.perf_counter() - begin
    sender.wait()
    context.destroy(linger=0)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="perf/read", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="turns of each (15)")
    parser.add_argument("--quick", action="store_true", help="tiny: shows that it runs")
    parser.add_argument("--out", type=Path, default=ROOT / "perf" / "out")
    options = parser.parse_args()
    described = machine.describe()
    batches, rounds = (2, 2) if options.quick else (BATCHES, options.rounds)
    directory = Path(tempfile.mkdtemp(prefix="jimbot-bench-", dir="/dev/shm"))
    frame_bytes = 1 << 20
    built = Path(os.environ.get("JIMBOT_PERF_BIN", "")) / "jimbot-logwriter"
    writer = LogWriter(
        str(built) if built.is_file() else cargo_binary("jimbot-logwriter"),
        directory,
        max_batch_bytes=frame_bytes,
        max_batch_events=BATCH_EVENTS,
        frames=batches + 9,
    )
    try:
        writer.write(BATCH_EVENTS * batches, type=4, spread=64, bytes=PADDING)
        results: set[int] = set()
        ours, theirs = [], []
        for _ in range(rounds):
            seconds, events, total = read_log(directory)
            results.add(total)
            ours.append(seconds / events * 1e6)
            theirs.append(receive_zmq(directory, events, 190) / events * 1e6)
        assert len(results) == 1, "the same bytes gave different results"
    finally:
        writer.stop()
        shutil.rmtree(directory)
    report = {
        "machine": described,
        "events": events,
        "rounds": rounds,
        "reader_us_per_event": turns.interval(ours),
        "zmq_recv_us_per_event": turns.interval(theirs),
        "ratio": turns.interval([own / other for own, other in zip(ours, theirs)]),
        "result": results.pop(),
    }
    lines = [
        *machine.lines(described),
        f"{events} events a round, µs an event: median of {rounds} rounds (95 % interval)",
        *(f"  {name:24} {stats.text(report[name], 4):>28}" for name in ("reader_us_per_event", "zmq_recv_us_per_event", "ratio")),
        f"  result {report['result']:#x}",
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "read.json").write_text(json.dumps(report, indent=1) + "\n")
    (options.out / "read.txt").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
