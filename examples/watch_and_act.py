"""Watches games and acts: when a game asks for a decision, it is told to play its hand.

    python examples/watch_and_act.py [--shm-dir DIR] [--seconds N]
"""

import argparse
import time

from jimbot.mcp import CommandRefused, Reader, ServiceUnreachable, send_command
from jimbot.proto.base_pb2 import EventType

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--shm-dir", default="/dev/shm/jimbot-mcp", help="the service's shared-memory directory")
parser.add_argument("--seconds", type=float, default=float("inf"), help="end after this time (default: Ctrl-C)")
options = parser.parse_args()
end = time.monotonic() + options.seconds

# Reliable: no decision is ever missed, also when this program is started again under its name. The service tells
# games apart by session; a command goes to the session that asked.
wanted = ["GAME_STATE", "SCORE_CHANGED", "DECISION_REQUEST"]
with Reader(options.shm_dir, name="watch-and-act", guarantee="reliable", types=wanted) as reader:
    print(f"watching {options.shm_dir}", flush=True)
    while time.monotonic() < end:
        batch = reader.read(timeout=min(1.0, max(0.0, end - time.monotonic())))
        if batch is None:
            continue
        for event in batch.events():
            if event.type == EventType.EVENT_TYPE_SCORE_CHANGED:
                print(f"#{event.sequence} game {event.game_key:016x}: the score changed", flush=True)
            elif event.type == EventType.EVENT_TYPE_DECISION_REQUEST:
                try:
                    send_command("play_hand", session=event.session, path=options.shm_dir)
                    print(f"#{event.sequence} session {event.session:016x}: play_hand", flush=True)
                except (CommandRefused, ServiceUnreachable) as error:
                    print(f"#{event.sequence} session {event.session:016x}: {error}", flush=True)
