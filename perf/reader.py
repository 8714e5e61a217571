"""Reads a log and records for each event how long after its sending it was visible: reader.py SHM_DIR [SPIN_SECONDS]

`jimbot-load` writes into every event's `timestamp` when it was meant to be sent, in milliseconds of the monotonic clock;
the log's index carries it as `producer_time`. Obeys `measure.consumer`'s commands.
"""

import sys
import time

from jimbot.mcp import Reader
from measure.consumer import Samples


def main() -> None:
    samples = Samples()
    readers: list[Reader] = []

    def begin() -> None:
        # What came while we were away is not for us.
        readers.append(Reader(sys.argv[1], start="latest", spin=float(sys.argv[2]) if len(sys.argv) > 2 else 0.0))

    def take() -> None:
        batch = readers[0].read(timeout=0.2)
        seen_ns = time.monotonic_ns()
        if batch is not None:
            samples.add_ms(batch.index["producer_time"].copy(), seen_ns)

    samples.run(take, begin=begin, leave=lambda: readers.pop().close())


if __name__ == "__main__":
    main()
