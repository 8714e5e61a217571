"""Several processes: names, forks, and readers that die."""

import os
import signal
import sys

import pytest

from conftest import run_python
from jimbot.mcp import Detached, Overrun, Reader, ReaderNameInUse, WrongProcess

HOLD_A_BATCH = """
import sys, time
from jimbot.mcp import Reader
reader = Reader(sys.argv[1], name="worker", guarantee="reliable", start="earliest")
first = reader.read()
second = reader.read()
view = second.payload
print(second.first_sequence, flush=True)
time.sleep(600)
"""


def test_one_living_reader_a_name(writer, shm_dir):
    with Reader(shm_dir, name="t", guarantee="reliable"):
        with pytest.raises(ReaderNameInUse, match="'t'|\"t\"") as caught:
            Reader(shm_dir, name="t")
        assert (caught.value.name, caught.value.pid) == ("t", os.getpid())
    Reader(shm_dir, name="t").close()


def test_a_reader_killed_inside_a_batch_is_taken_over_at_its_cursor(writer, shm_dir):
    for _ in range(4):
        writer.write(2)
    child = run_python(HOLD_A_BATCH, shm_dir)
    try:
        assert child.stdout.readline() == "3\n"
        with pytest.raises(ReaderNameInUse) as caught:
            Reader(shm_dir, name="worker", guarantee="reliable")
        assert caught.value.pid == child.pid
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    # The batch it died in was not released: it comes again, and nothing after it is lost.
    with Reader(shm_dir, name="worker", guarantee="reliable", timeout=0) as reader:
        assert [batch.index["sequence"].tolist() for batch in reader] == [[3, 4], [5, 6], [7, 8]]
        assert reader.missed == 0


def test_a_stopped_reader_keeps_its_name(writer, shm_dir):
    writer.write(2)
    writer.write(2)
    child = run_python(HOLD_A_BATCH, shm_dir)
    try:
        child.stdout.readline()
        child.send_signal(signal.SIGSTOP)
        writer.check_readers()
        with pytest.raises(ReaderNameInUse):
            Reader(shm_dir, name="worker", guarantee="reliable")
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()


def test_a_dead_reliable_reader_is_detached_after_its_lease(start_writer, shm_dir):
    writer = start_writer(reader_lease_ms=50)
    writer.write(2)
    writer.write(2)
    child = run_python(HOLD_A_BATCH, shm_dir)
    child.stdout.readline()
    child.kill()
    child.communicate()
    writer.check_readers()
    assert writer.readers()["worker"]["state"] == "active"
    writer.check_readers()  # more than its lease later
    assert writer.readers()["worker"]["state"] == "detached"
    for _ in range(60):  # the writer is free to go on: the log is lapped
        writer.write(64, bytes=100)
    with Reader(shm_dir, name="worker", guarantee="reliable", timeout=0) as reader:
        with pytest.raises(Detached) as caught:
            reader.read()
        gap = caught.value
        assert gap.first_sequence == 3
        assert gap.missed == gap.next_sequence - gap.first_sequence > 0
        first = next(reader)
        assert first.first_sequence == gap.next_sequence
        assert reader.missed == gap.missed
        seen = len(first) + sum(map(len, reader))
    assert 2 + gap.missed + seen == writer.next_sequence - 1


def test_a_living_reader_that_fills_the_log_is_held_or_detached_by_option(start_writer, shm_dir):
    writer = start_writer(full_policy="detach")
    with Reader(shm_dir, name="t", guarantee="reliable", start="earliest", timeout=0) as reader:
        writer.write(3)
        batch = next(reader)
        view = batch.payload
        for _ in range(60):
            while writer.append(64, bytes=100)["full"]:
                writer.check_readers()
            writer.commit()
        with pytest.raises(Overrun):  # the view was overwritten
            batch.check()
        with pytest.raises(Detached) as caught:
            reader.read()
        gap = caught.value
        assert (gap.first_sequence, gap.missed) == (4, gap.next_sequence - 4)
        seen = sum(map(len, reader))
        assert 3 + gap.missed + seen == writer.next_sequence - 1
        del view, batch


def test_a_forked_reader_says_so(writer, shm_dir):
    script = """
import os, sys
from jimbot.mcp import Reader, WrongProcess
reader = Reader(sys.argv[1], name="t", guarantee="reliable", start="earliest", timeout=0)
batch = next(reader)
view = batch.payload
seen = bytes(view)
child = os.fork()
if child == 0:
    told = 0
    for use in (lambda: reader.read(0), reader.close, lambda: reader.lag, lambda: batch.payload, batch.check, batch.copy):
        try:
            use()
        except WrongProcess as error:
            assert "opened in another process" in str(error), error
            told += 1
    assert bytes(view) == seen  # what it was given still stands
    del view, batch
    Reader(sys.argv[1], name="child", start="earliest", timeout=0).close()
    os._exit(10 + told)
_, status = os.waitpid(child, 0)
# The child's end has released nothing, and the parent goes on.
assert reader.read(0).first_sequence == 3
print(os.waitstatus_to_exitcode(status))
"""
    writer.write(2)
    writer.write(2)
    child = run_python(script, shm_dir)
    out, _ = child.communicate(timeout=60)
    assert (out, child.returncode) == ("16\n", 0)


def test_a_name_is_free_when_its_process_died_though_its_children_live(writer, shm_dir):
    script = """
import os, sys, time
from jimbot.mcp import Reader
reader = Reader(sys.argv[1], name="t", guarantee="reliable")
if os.fork() == 0:
    # It gives up its copy of the lock as the first thing it does, so it is the one to say that all is ready.
    print(os.getpid(), flush=True)
time.sleep(600)
"""
    parent = run_python(script, shm_dir)
    child = int(parent.stdout.readline())
    try:
        parent.kill()
        parent.wait()
        Reader(shm_dir, name="t", guarantee="reliable").close()
    finally:
        os.kill(child, signal.SIGKILL)
        parent.stdout.close()


def test_the_service_restarts_under_a_reader(start_writer, shm_dir):
    writer = start_writer()
    with Reader(shm_dir, name="t", guarantee="reliable", start="earliest") as reader:
        writer.write(2)
        assert len(reader.read(10)) == 2
        writer.append(3)
        writer.kill()
        assert reader.read(0) is None
        writer = start_writer()
        assert reader.read(10).index["sequence"].tolist() == [3, 4, 5]
        writer.write(1)
        assert reader.read(10).index["sequence"].tolist() == [6]
        assert reader.missed == 0


def test_multiprocessing_spawn_opens_its_own(writer, shm_dir):
    script = """
import multiprocessing, sys
from jimbot.mcp import Reader
def work(directory, own):
    with Reader(directory, name=f"w{own}", guarantee="reliable", start="earliest", timeout=0, shard=(own, 3)) as reader:
        return [sequence for batch in reader for sequence in batch.index["sequence"].tolist()]
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(3) as pool:
        parts = pool.starmap(work, [(sys.argv[1], own) for own in range(3)])
    print(sorted(sum(parts, [])) == list(range(1, 101)), flush=True)
"""
    for _ in range(10):
        writer.write(10, spread=9)
    child = run_python(script, shm_dir)
    out, _ = child.communicate(timeout=60)
    assert (out, child.returncode) == ("True\n", 0)


def test_wrong_process_is_a_reader_error():
    from jimbot.mcp import ReaderError

    assert issubclass(WrongProcess, ReaderError)
    assert sys.modules["jimbot.mcp"].__all__


def test_a_rotated_log_is_finished_and_its_successor_followed(start_writer, shm_dir):
    old = start_writer()
    with Reader(shm_dir, name="t", guarantee="reliable", start="earliest", timeout=5) as reader:
        old.write(3)
        old.stop()
        new = start_writer(rotate=True, max_batch_events=128)
        new.write(2)
        first, second = (next(reader).copy() for _ in range(2))
        assert (first.log_epoch, len(first)) == (old.epoch, 3)
        assert (second.log_epoch, len(second)) == (new.epoch, 2)
        assert old.epoch != new.epoch == reader.epoch
        assert reader.missed == 0
