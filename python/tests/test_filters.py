"""Filters by type and game, and shards."""

import numpy as np
import pytest

from jimbot.mcp import Reader
from jimbot.proto.base_pb2 import EventBatch

TYPES = {"GAME_STATE": 2, "SCORE_CHANGED": 4, "JOKER_TRIGGER": 11}


def fill(writer):
    """477 events of three types and 50 games, in batches of odd sizes."""
    kinds = list(TYPES.values())
    for turn in range(9):
        writer.append(50, type=kinds[turn % 3], spread=50)
        writer.append(3, type=kinds[(turn + 1) % 3], spread=5)
        if turn % 4 == 0:
            writer.commit()
    writer.commit()


def read_all(shm_dir, **options):
    """Sequences and entries that a reader with these options gets."""
    with Reader(shm_dir, start="earliest", timeout=0, **options) as reader:
        entries = [batch.index.copy() for batch in reader]
        assert reader.missed == 0
        assert reader.lag == 0
    return np.concatenate(entries) if entries else np.zeros(0)


def test_types(writer, shm_dir):
    fill(writer)
    everything = read_all(shm_dir)
    for given in (["SCORE_CHANGED"], ["EVENT_TYPE_SCORE_CHANGED"], [4], ["score_changed", 4]):
        chosen = read_all(shm_dir, types=given)
        assert np.array_equal(chosen, everything[everything["event_type"] == 4])
    chosen = read_all(shm_dir, types=["GAME_STATE", "JOKER_TRIGGER"])
    assert np.array_equal(chosen, everything[np.isin(everything["event_type"], [2, 11])])


def test_batches_without_a_chosen_event_are_passed_over(writer, shm_dir):
    with Reader(shm_dir, name="t", guarantee="reliable", start="earliest", timeout=0, types=["ERROR"]) as reader:
        for _ in range(100):  # laps the log: what is passed over is released
            writer.write(64, type=4, bytes=100)
            assert reader.read(0) is None
        assert reader.missed == 0
        writer.write(2, type=22)
        assert [len(batch) for batch in reader] == [2]


def test_games_by_key(writer, shm_dir):
    fill(writer)
    everything = read_all(shm_dir)
    keys = np.unique(everything["game_key"])
    wanted = [int(keys[0]), int(keys[3])]
    assert np.array_equal(read_all(shm_dir, games=wanted), everything[np.isin(everything["game_key"], wanted)])
    assert len(read_all(shm_dir, games=[12345])) == 0


@pytest.mark.parametrize("shards", [1, 2, 3, 8])
def test_shards_cover_every_event_exactly_once(writer, shm_dir, shards):
    fill(writer)
    everything = read_all(shm_dir)
    parts = [read_all(shm_dir, shard=(own, shards)) for own in range(shards)]
    parts = [part for part in parts if len(part)]
    assert sorted(np.concatenate(parts)["sequence"].tolist()) == everything["sequence"].tolist()
    games = [set(part["game_key"].tolist()) for part in parts]
    for position, own in enumerate(games):
        for other in games[position + 1 :]:
            assert not own & other  # all of a game in one shard
    assert len(parts) == shards


def test_filters_are_joined(writer, shm_dir):
    fill(writer)
    everything = read_all(shm_dir)
    key = int(everything["game_key"][0])
    chosen = read_all(shm_dir, types=["SCORE_CHANGED"], games=[key])
    expected = everything[(everything["event_type"] == 4) & (everything["game_key"] == key)]
    assert len(expected) > 0
    assert np.array_equal(chosen, expected)


def test_a_filtered_batch_agrees_with_itself(writer, shm_dir):
    fill(writer)
    with Reader(shm_dir, start="earliest", timeout=0, types=["GAME_STATE"]) as reader:
        for batch in reader:
            events = list(batch.events())
            assert len(batch) == len(events) == len(batch.index) > 0
            assert {event.type for event in events} == {2}
            # The payload is the whole frame's, so that the index's offsets hold.
            for entry, event in zip(batch.index, events):
                cut = batch.payload[entry["offset"] : entry["offset"] + entry["length"]]
                assert type(event).FromString(bytes(cut)) == event
            assert len(EventBatch.FromString(bytes(batch.payload)).events) > len(events)
            # A copy keeps only what was chosen, and agrees with itself too.
            copy = batch.copy()
            assert list(EventBatch.FromString(bytes(copy.payload)).events) == events == list(copy.events())
            assert copy.index["sequence"].tolist() == batch.index["sequence"].tolist()
            assert not copy.index.flags.writeable
            for entry, event in zip(copy.index, events):
                cut = copy.payload[entry["offset"] : entry["offset"] + entry["length"]]
                assert type(event).FromString(bytes(cut)) == event
