"""Views: that they are the log itself, can't write to it, and pin what they show."""

import gc
import time
import warnings

import numpy as np
import pytest

from jimbot.mcp import Reader


def reliable(shm_dir, **options):
    return Reader(shm_dir, name="t", guarantee="reliable", start="earliest", **{"timeout": 0, **options})


def address(view):
    return np.frombuffer(view, dtype=np.uint8).__array_interface__["data"][0]


def mapped_files(address):
    """The file that is mapped at an address of this process."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            span, _, rest = line.partition(" ")
            begin, end = (int(part, 16) for part in span.split("-"))
            if begin <= address < end:
                return rest.split()[0], rest.split(maxsplit=4)[-1].strip()
    raise AssertionError("nothing is mapped there")


def test_views_are_the_log_itself(writer, shm_dir):
    writer.write(3, bytes=100)
    with reliable(shm_dir) as reader:
        batch = next(reader)
        payload, index = batch.payload, batch.index
        for view in (payload, index):
            permissions, path = mapped_files(address(view))
            assert path == str(shm_dir / "log")
            assert permissions.startswith("r--s")
        begin = address(payload)
        assert address(index) == begin - begin % 64 + -(-(begin % 64 + len(payload)) // 64) * 64
        assert address(batch.payload) == begin
        assert address(batch.copy().payload) != begin
        del payload, index, view


def test_views_are_read_only(writer, shm_dir):
    writer.write(1)
    with reliable(shm_dir) as reader:
        batch = next(reader)
        for owner in (batch, batch.copy()):
            with pytest.raises(TypeError, match="read-only"):
                owner.payload[0] = 0
            assert owner.payload.readonly
            assert not owner.index.flags.writeable
            with pytest.raises(ValueError, match="read-only"):
                owner.index["sequence"][0] = 0
            with pytest.raises(ValueError):
                owner.index.flags.writeable = True


def test_a_view_holds_the_writer_until_it_goes(writer, shm_dir):
    with reliable(shm_dir) as reader:
        writer.write(1)
        view = next(reader).payload
        seen = bytes(view)
        assert reader.read(0) is None  # moved on: but for the view, the batch is released
        stored = 0
        while not (answer := writer.append(64, bytes=100))["full"]:
            stored += answer["stored"]
        stored += answer["stored"]
        writer.commit()
        for batch in reader:  # reading on does not help: the view is in the way
            batch.check()
        assert writer.append(1)["full"]
        assert bytes(view) == seen
        del view, batch
        assert not writer.append(1)["full"]
        assert stored > 100


def test_moving_on_releases_without_views(writer, shm_dir):
    with reliable(shm_dir) as reader:
        for _ in range(100):  # laps the log several times
            writer.write(32, bytes=100)
            batch = next(reader)
            assert int(batch.index["sequence"][-1]) == writer.next_sequence - 1
        assert reader.missed == 0


def test_the_cursor_is_the_lowest_unreleased_frame(writer, shm_dir):
    with reliable(shm_dir) as reader:
        for _ in range(4):
            writer.write(1)
        first, second, third, fourth = (next(reader).payload for _ in range(4))
        del second, third
        assert writer.readers()["t"]["cursor_sequence"] == 1
        del first
        assert writer.readers()["t"]["cursor_sequence"] == 4
        del fourth
        assert writer.readers()["t"]["cursor_sequence"] == 4  # in hand: iteration has not moved on
        reader.read(0)
        assert writer.readers()["t"]["cursor_sequence"] == 5


def test_a_released_batch_can_not_be_looked_at(writer, shm_dir):
    writer.write(1)
    with reliable(shm_dir) as reader:
        batch = next(reader)
        copy = batch.copy()
        assert reader.read(0) is None
        for look in (lambda: batch.index, lambda: batch.payload, batch.copy, lambda: list(batch.events())):
            with pytest.raises(ValueError, match=r"released.*copy\(\)"):
                look()
        assert len(copy.index) == 1
        assert "1 events" in repr(batch)


def test_a_view_keeps_its_batch_alive_after_moving_on(writer, shm_dir):
    writer.write(2)
    with reliable(shm_dir) as reader:
        batch = next(reader)
        view = batch.index
        assert reader.read(0) is None
        assert view["sequence"].tolist() == [1, 2]
        assert batch.index["sequence"].tolist() == [1, 2]  # still pinned, so still there
        del view


@pytest.mark.parametrize("guarantee", ["reliable", "lossy"])
def test_closing_with_live_views_is_an_error(writer, shm_dir, guarantee):
    writer.write(1)
    reader = Reader(shm_dir, name="t", guarantee=guarantee, start="earliest", timeout=0)
    view = next(reader).payload
    with pytest.raises(BufferError, match="1 view"):
        reader.close()
    assert not reader.closed
    assert len(bytes(view)) > 0
    del view
    reader.close()
    assert reader.closed


def test_leaving_with_live_views_is_an_error(writer, shm_dir):
    writer.write(1)
    with pytest.raises(BufferError):
        with reliable(shm_dir) as reader:
            view = next(reader).index
    assert view["sequence"][0] == 1
    del view
    reader.close()


def test_an_exception_is_not_hidden_by_the_views_it_keeps_alive(writer, shm_dir):
    writer.write(2)
    with pytest.raises(ZeroDivisionError) as caught:
        with reliable(shm_dir) as reader:
            view = next(reader).index
            1 / 0
    assert reader.closed
    assert view["sequence"].tolist() == [1, 2]
    del view, caught
    gc.collect()
    with reliable(shm_dir) as again:  # the name is free when the last view has gone
        assert len(list(map(len, again))) == 1


def test_copies_outlive_the_reader(writer, shm_dir):
    writer.write(2)
    with reliable(shm_dir) as reader:
        view = next(reader).copy().index
    assert view["sequence"].tolist() == [1, 2]


def test_pins_over_a_quarter_of_the_log_are_warned_about(writer, shm_dir):
    pins = []
    with reliable(shm_dir) as reader:
        with pytest.warns(ResourceWarning, match="% of the log"):
            for _ in range(6):
                writer.write(64, bytes=150)
                pins.append(next(reader).payload)
            reader.read(0)
        pinned = writer.readers()["t"]["pinned_bytes"]
        assert pinned >= sum(map(len, pins)) > writer.capacity // 4
        pins.clear()
        reader.read(0)
        assert writer.readers()["t"]["pinned_bytes"] == 0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            writer.write(1)
            next(reader)


def test_a_long_pin_is_warned_about_once(writer, shm_dir):
    with reliable(shm_dir) as reader:
        writer.write(1)
        view = next(reader).payload
        with pytest.warns(ResourceWarning, match="pinned for more than 5 s") as caught:
            deadline = time.monotonic() + 30
            while not caught.list and time.monotonic() < deadline:
                reader.read(0.5)
            for _ in range(3):
                reader.read(0.3)
        assert len(caught.list) == 1
        del view


def test_a_lossy_view_pins_nothing(writer, shm_dir):
    with Reader(shm_dir, start="earliest", timeout=0) as reader:
        writer.write(1)
        view = next(reader).payload
        for _ in range(40):
            writer.write(64, bytes=100)
        del view
        with pytest.warns(RuntimeWarning):
            reader.read(0)
