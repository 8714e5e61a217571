"""Readers that are too slow: the gap is exact, and nothing torn is ever taken for an event."""

import warnings

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from jimbot.mcp import Overrun, OverrunWarning, Reader


def lap(writer):
    """Writes more than the log holds."""
    written = 0
    while written < writer.capacity * 1.2:
        writer.write(64, bytes=100)
        written += 64 * 200


def test_the_gap_is_exact(writer, shm_dir):
    with Reader(shm_dir, start="earliest", timeout=0) as reader:
        writer.write(3)
        assert len(next(reader)) == 3
        lap(writer)
        batch = next(reader)
        assert batch.missed_before == batch.first_sequence - 4 > 0
        assert reader.missed == batch.missed_before
        seen = len(batch) + sum(map(len, reader))
        assert 3 + reader.missed + seen == writer.next_sequence - 1
        assert reader.missed == batch.missed_before


def test_an_overwritten_batch_says_so_when_asked(writer, shm_dir):
    with Reader(shm_dir, start="earliest", timeout=0) as reader:
        writer.write(3)
        batch = next(reader)
        view = batch.index
        batch.check()
        lap(writer)
        with pytest.raises(Overrun, match="overwritten") as caught:
            batch.check()
        assert (caught.value.missed, caught.value.first_sequence, caught.value.next_sequence) == (3, 1, 4)
        for look in (batch.copy, lambda: next(batch.events()), batch.to_arrow):
            with pytest.raises(Overrun):
                look()
        del view
        next(reader)  # was told: no warning


def test_leaving_a_batch_checks_it(writer, shm_dir):
    with Reader(shm_dir, start="earliest", timeout=0) as reader:
        writer.write(1)
        with pytest.raises(Overrun):
            with next(reader) as batch:
                assert len(batch.payload) > 0
                lap(writer)
        writer.write(1)
        with pytest.raises(ZeroDivisionError):  # an exception on its way is not replaced
            with next(reader) as batch:
                assert len(batch.payload) > 0
                lap(writer)
                1 / 0
        with pytest.raises(Overrun):
            batch.check()


def test_leaving_the_reader_checks_the_batch_in_hand(writer, shm_dir):
    with pytest.raises(Overrun):
        with Reader(shm_dir, start="earliest", timeout=0) as reader:
            writer.write(1)
            assert len(next(reader).index) == 1
            lap(writer)
    assert reader.closed


def test_moving_on_from_overwritten_views_warns(writer, shm_dir):
    with Reader(shm_dir, start="earliest", timeout=0) as reader:
        writer.write(1)
        assert len(next(reader).index) == 1
        lap(writer)
        with pytest.warns(OverrunWarning, match="overwritten"):
            next(reader)


def test_who_copies_is_not_warned(writer, shm_dir):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Reader(shm_dir, start="earliest", timeout=0) as reader:
            writer.write(1)
            copy = next(reader).copy()
            lap(writer)
            assert copy.index["sequence"].tolist() == [1]
            copy.check()
            next(reader)


def test_events_are_all_right_or_none(writer, shm_dir):
    with Reader(shm_dir, start="earliest", timeout=0) as reader:
        writer.write(10)
        batch = next(reader)
        events, late = batch.events(), batch.events()
        assert next(events).sequence == 1
        lap(writer)
        assert [event.sequence for event in events] == list(range(2, 11))  # found intact when the first was asked for
        with pytest.raises(Overrun):
            next(late)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=strategies.lists(
        strategies.tuples(strategies.sampled_from(["write", "lap", "read", "peek"]), strategies.integers(1, 64)),
        max_size=30,
    )
)
def test_read_and_missed_account_for_every_event(steps, logwriter_binary, tmp_path_factory):
    """Whatever the writer and the reader do in turn: what was read and what was missed are all there is, in order,
    and a batch that passes its check is right."""
    import shutil
    import tempfile
    from pathlib import Path

    from conftest import LogWriter

    directory = Path(tempfile.mkdtemp(prefix="jimbot-test-", dir="/dev/shm"))
    writer = LogWriter(logwriter_binary, directory)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OverrunWarning)
            reader = Reader(directory, start="earliest")
            expected = 1
            for step, count in [*steps, *[("read", 1)] * 100]:
                if step == "write":
                    writer.write(count, bytes=count)
                elif step == "lap":
                    lap(writer)
                else:
                    batch = reader.read(0)
                    if batch is None:
                        continue
                    assert batch.first_sequence == expected + batch.missed_before
                    expected = batch.next_sequence
                    copy = batch.copy()
                    assert copy.index["sequence"].tolist() == list(range(batch.first_sequence, expected))
                    assert [event.sequence for event in copy.events()] == copy.index["sequence"].tolist()
            assert expected == writer.next_sequence
            reader.close()
    finally:
        writer.stop()
        shutil.rmtree(directory)


def test_racing_the_writer_gives_events_or_an_overrun_and_never_rubbish(writer, shm_dir):
    """The writer laps the log flat out while a lossy reader looks at it in every way there is."""
    import threading

    writing = threading.Thread(target=lambda: [writer.write(2000, bytes=40) for _ in range(40)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OverrunWarning)
        with Reader(shm_dir, name="racer", start="earliest") as reader:
            expected, seen, torn = 1, 0, 0
            writing.start()
            while (batch := reader.read(0.0 if not writing.is_alive() else 0.5)) is not None or writing.is_alive():
                if batch is None:
                    continue
                assert batch.first_sequence == expected + batch.missed_before
                expected = batch.next_sequence
                numbers = list(range(batch.first_sequence, expected))
                try:
                    assert [event.sequence for event in batch.events()] == numbers
                    looked = batch.index["sequence"].tolist()
                    batch.check()
                    assert looked == numbers
                    seen += len(numbers)
                except Overrun as gap:
                    assert (gap.first_sequence, gap.missed) == (batch.first_sequence, len(numbers))
                    torn += gap.missed
            writing.join()
            assert seen + torn + reader.missed == writer.next_sequence - 1 == 80_000
