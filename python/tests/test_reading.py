"""What a reader gets, in which order, and when it stops."""

import sys

import numpy as np
import pytest

from jimbot.mcp import INDEX_DTYPE, Batch, LogFormatError, LogNotFound, Reader
from jimbot.proto.base_pb2 import EventBatch


def sequences(batch):
    return batch.index["sequence"].tolist()


def test_every_event_arrives_once_and_in_order(writer, shm_dir):
    with Reader(shm_dir, name="t", guarantee="reliable", start="earliest", timeout=0) as reader:
        for size in (1, 5, 64):
            writer.write(size)
        read = [sequence for batch in reader for sequence in sequences(batch)]
    assert read == list(range(1, 71))


def test_index_equals_the_parsed_events(writer, shm_dir):
    writer.append(3, type=4, game=7, bytes=50)
    writer.append(2, type=2, game=8, bytes=3000)
    writer.commit()
    with Reader(shm_dir, start="earliest", timeout=0) as reader:
        (batch,) = [batch.copy() for batch in reader]
    events = list(batch.events())
    index = batch.index
    assert index.dtype == INDEX_DTYPE
    assert len(batch) == len(events) == len(index) == 5
    for entry, event in zip(index, events):
        assert entry["sequence"] == event.sequence
        assert entry["event_type"] == event.type
        assert entry["game_key"] == event.game_key
        assert entry["session"] == event.session
        assert entry["producer_time"] == event.producer_time
        assert entry["receive_time_unix_ns"] == event.receive_time_unix_ns
        assert entry["length"] == event.ByteSize()
        cut = batch.payload[entry["offset"] : entry["offset"] + entry["length"]]
        assert type(event).FromString(bytes(cut)) == event
        assert event.log_epoch == writer.epoch
    assert index["event_type"].tolist() == [4, 4, 4, 2, 2]


def test_payload_is_a_whole_event_batch(writer, shm_dir):
    writer.write(10, bytes=20)
    with Reader(shm_dir, start="earliest", timeout=0) as reader:
        batch = next(reader)
        assert list(EventBatch.FromString(bytes(batch.payload)).events) == list(batch.events())
        assert sum(len(event.SerializeToString()) for event in batch.events()) < len(batch.payload)


def test_start_latest_sees_what_comes_after(writer, shm_dir):
    writer.write(5)
    with Reader(shm_dir, timeout=0) as reader:
        assert list(reader) == []
        writer.write(2)
        assert [sequences(batch) for batch in reader] == [[6, 7]]


def test_start_at_a_sequence(writer, shm_dir):
    for _ in range(4):
        writer.write(3)
    with Reader(shm_dir, start=7, timeout=0) as reader:
        assert [sequences(batch) for batch in reader] == [[7, 8, 9], [10, 11, 12]]


def test_a_reliable_reader_goes_on_where_it_was(writer, shm_dir):
    writer.write(2)
    writer.write(2)
    with Reader(shm_dir, name="t", guarantee="reliable", start="earliest") as reader:
        assert sequences(next(reader)) == [1, 2]
        assert reader.read(0) is not None  # moves on from the first, and leaves the second unread but for a look
    with Reader(shm_dir, name="t", guarantee="reliable", start="earliest", timeout=0) as reader:
        assert [sequences(batch) for batch in reader] == []
    writer.write(1)
    with Reader(shm_dir, name="t", guarantee="reliable", start="latest", timeout=0) as reader:
        assert [sequences(batch) for batch in reader] == [[5]]


def test_an_exception_leaves_the_batch_in_hand_unread(writer, shm_dir):
    writer.write(2)
    writer.write(2)
    with pytest.raises(ZeroDivisionError):
        with Reader(shm_dir, name="t", guarantee="reliable", start="earliest") as reader:
            for batch in reader:
                if sequences(batch) == [3, 4]:
                    1 / 0
    with Reader(shm_dir, name="t", guarantee="reliable", timeout=0) as reader:
        assert [sequences(batch) for batch in reader] == [[3, 4]]


def test_iteration_ends_after_its_timeout_and_goes_on(writer, shm_dir):
    with Reader(shm_dir, start="earliest", timeout=0.01) as reader:
        assert list(reader) == []
        writer.write(1)
        assert len(list(map(len, reader))) == 1
        assert reader.read(timeout=0.01) is None


def test_lag_counts_what_was_not_handed_out(writer, shm_dir):
    with Reader(shm_dir, start="earliest", timeout=0) as reader:
        assert reader.lag == 0
        writer.write(3)
        writer.write(4)
        assert reader.lag == 7
        next(reader)
        assert reader.lag == 4
        list(map(len, reader))
        assert (reader.lag, reader.missed) == (0, 0)


def test_copies_are_whole_and_own_their_bytes(writer, shm_dir):
    writer.write(4, type=4, bytes=10)
    with Reader(shm_dir, start="earliest", timeout=0) as reader:
        batch = next(reader)
        copy = batch.copy()
        assert bytes(copy.payload) == bytes(batch.payload)
        assert np.array_equal(copy.index, batch.index)
        assert isinstance(copy, Batch)
    assert [event.sequence for event in copy.events()] == [1, 2, 3, 4]
    copy.check()
    assert copy.copy().index["sequence"].tolist() == [1, 2, 3, 4]


def test_a_batch_travels_as_a_copy(writer, shm_dir):
    import pickle

    writer.write(3, bytes=10)
    with Reader(shm_dir, start="earliest", timeout=0) as reader:
        batch = next(reader)
        there = pickle.loads(pickle.dumps(batch))
        assert list(there.events()) == list(batch.events())
        assert (there.first_sequence, there.next_sequence) == (1, 4)
        assert there.committed_unix_ns == batch.committed_unix_ns


def test_recovered_events_say_so(start_writer, shm_dir):
    writer = start_writer()
    writer.append(3)
    writer.kill()
    writer = start_writer()
    assert (writer.recovered, writer.generation) == (3, 2)
    with Reader(shm_dir, start="earliest", timeout=0) as reader:
        batch = next(reader)
        assert batch.recovered and sequences(batch) == [1, 2, 3]
        writer.write(1)
        assert not next(reader).recovered
        assert reader.epoch == writer.epoch


def test_no_log(tmp_path):
    with pytest.raises(LogNotFound, match="jimbot-mcp serve"):
        Reader(tmp_path / "nowhere")


def test_foreign_and_truncated_files(writer, shm_dir):
    log = shm_dir / "log"
    whole = log.read_bytes()
    writer.kill()
    log.write_bytes(b"x" * len(whole))
    with pytest.raises(LogFormatError):
        Reader(shm_dir)
    log.write_bytes(whole[:8192])
    with pytest.raises(LogFormatError):
        Reader(shm_dir)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"guarantee": "maybe"}, ValueError),
        ({"guarantee": "reliable"}, ValueError),
        ({"start": "yesterday"}, ValueError),
        ({"start": -1}, ValueError),
        ({"start": 1.5}, TypeError),
        ({"timeout": -1}, ValueError),
        ({"timeout": float("nan")}, ValueError),
        ({"types": ["SCORE_CHANGE"]}, ValueError),
        ({"types": "SCORE_CHANGED"}, TypeError),
        ({"types": [70000]}, ValueError),
        ({"games": "7LB2WVPK"}, TypeError),
        ({"shard": (2, 2)}, ValueError),
        ({"shard": (-1, 2)}, ValueError),
        ({"shard": (0, 0)}, ValueError),
        ({"name": "x" * 65}, ValueError),
        ({"name": ""}, ValueError),
    ],
)
def test_options_that_can_not_be_are_refused(writer, shm_dir, wrong, error):
    with pytest.raises(error):
        Reader(shm_dir, **wrong)


def test_a_wrong_type_name_is_told_its_neighbours(writer, shm_dir):
    with pytest.raises(ValueError, match="did you mean SCORE_CHANGED"):
        Reader(shm_dir, types=["score_change"])


def test_a_closed_reader_says_so(writer, shm_dir):
    reader = Reader(shm_dir)
    reader.close()
    reader.close()
    assert reader.closed
    with pytest.raises(ValueError, match="closed"):
        reader.read(0)
    assert "closed" in repr(reader)


def test_a_forgotten_reader_is_warned_about(writer, shm_dir):
    with pytest.warns(ResourceWarning, match="unclosed reader"):
        reader = Reader(shm_dir)
        assert sys.getrefcount(reader) == 2
        del reader


def test_to_arrow(writer, shm_dir):
    writer.write(3, type=4, bytes=10)
    with Reader(shm_dir, start="earliest", timeout=0) as reader:
        batch = next(reader)
        table = batch.to_arrow()
        assert table.num_rows == 3
        assert table.column("sequence").to_pylist() == [1, 2, 3]
        assert table.column("event").to_pylist() == [event.SerializeToString() for event in batch.events()]


def test_to_arrow_without_pyarrow_says_what_to_install(writer, shm_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    writer.write(1)
    with Reader(shm_dir, start="earliest", timeout=0) as reader:
        with pytest.raises(ImportError, match=r"pip install 'jimbot\[arrow\]'"):
            next(reader).to_arrow()
