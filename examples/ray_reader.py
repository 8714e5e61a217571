"""Several Ray actors share the games: each reads its shard of them, and every event is read by exactly one.

    python examples/ray_reader.py [SHM_DIR [ACTORS]]
"""

import sys

import ray
from jimbot.mcp import Reader


@ray.remote(num_cpus=1)
class EventReader:
    """A place in the log that Ray can restart: the name keeps it."""

    def __init__(self, directory: str, own: int, actors: int):
        name = f"trainer-{own}"
        self.reader = Reader(directory, name=name, guarantee="reliable", start="earliest", shard=(own, actors))

    def next_batch(self, timeout: float = 1.0):
        """A copy, since what leaves the actor leaves shared memory; None when nothing came."""
        batch = self.reader.read(timeout)
        return None if batch is None else batch.copy()


if __name__ == "__main__":
    directory, actors = (sys.argv + ["/dev/shm/jimbot-mcp", "2"][len(sys.argv) - 1 :])[1:3]
    ray.init(num_cpus=int(actors), include_dashboard=False, log_to_driver=False)
    readers = [EventReader.remote(directory, own, int(actors)) for own in range(int(actors))]
    while batches := [batch for batch in ray.get([reader.next_batch.remote() for reader in readers]) if batch]:
        for batch in batches:
            print(f"{len(batch)} events, sequences {batch.index['sequence'].tolist()}")
