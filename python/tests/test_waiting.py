"""Waiting: in the kernel, without the interpreter's lock, interruptible, from threads and from asyncio."""

import asyncio
import os
import signal
import subprocess
import threading
import time

import pytest

from conftest import run_python
from jimbot.mcp import Reader

WAIT_AND_TELL = """
import sys
from jimbot.mcp import Reader
with Reader(sys.argv[1], name="child") as reader:
    print("waiting", flush=True)
    try:
        reader.read()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def wait_until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_waiting_reader_is_woken_by_a_commit(writer, shm_dir):
    with Reader(shm_dir) as reader:
        got = []
        thread = threading.Thread(target=lambda: got.append(reader.read().copy()))
        thread.start()
        wait_until(lambda: writer.is_waited_for(reader.name))
        writer.write(3)
        thread.join(30)
        assert [len(batch) for batch in got] == [3]


def test_a_spinning_reader_sees_a_batch_without_sleeping(writer, shm_dir):
    with Reader(shm_dir, spin=0.2) as reader:
        got = []
        thread = threading.Thread(target=lambda: got.append(reader.read().copy()))
        thread.start()
        writer.write(3)
        thread.join(30)
        assert [len(batch) for batch in got] == [3]
        assert reader.read(timeout=0.01) is None  # looks no longer than it may wait
        assert not writer.is_waited_for(reader.name)


@pytest.mark.parametrize("spin", [-1, float("nan"), float("inf")])
def test_a_spin_without_end_is_refused(shm_dir, spin):
    with pytest.raises(ValueError, match="spin"):
        Reader(shm_dir, spin=spin)


def test_other_threads_run_while_one_waits(writer, shm_dir):
    with Reader(shm_dir) as reader:
        thread = threading.Thread(target=reader.read, args=(30,))
        thread.start()
        wait_until(lambda: writer.is_waited_for(reader.name))
        assert (reader.lag, reader.missed) == (0, 0)  # and what is known of the reader can be asked meanwhile
        writer.write(1)
        thread.join(30)
        assert not thread.is_alive()


def test_a_signal_interrupts_a_wait(writer, shm_dir):
    child = run_python(WAIT_AND_TELL, shm_dir)
    assert child.stdout.readline() == "waiting\n"
    wait_until(lambda: writer.is_waited_for("child"))
    child.send_signal(signal.SIGINT)
    assert child.stdout.readline() == "interrupted\n"
    assert child.wait(30) == 0
    child.stdout.close()


def test_a_handled_signal_does_not_end_the_wait(writer, shm_dir):
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append("signal"))
    try:
        with Reader(shm_dir) as reader:

            def disturb():
                wait_until(lambda: writer.is_waited_for(reader.name))
                os.kill(os.getpid(), signal.SIGUSR1)
                wait_until(lambda: seen)
                writer.write(1)

            thread = threading.Thread(target=disturb)
            thread.start()
            batch = reader.read(30)
            thread.join()
            assert seen == ["signal"]
            assert len(batch) == 1
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_waiting_costs_no_cpu(writer, shm_dir):
    child = run_python(WAIT_AND_TELL, shm_dir)
    try:
        child.stdout.readline()
        wait_until(lambda: writer.is_waited_for("child"))
        begin = cpu_ticks(child.pid)
        time.sleep(1.0)
        # Four looks a second and no spinning: less than a tenth of a core even on a slow machine.
        assert cpu_ticks(child.pid) - begin < os.sysconf("SC_CLK_TCK") / 10
    finally:
        child.kill()
        child.communicate()


def test_threads_share_a_reader(writer, shm_dir):
    """Several threads take batches from one reader: every event goes to exactly one of them."""
    got = []
    with Reader(shm_dir, name="t", guarantee="reliable", start="earliest") as reader:
        stop = threading.Event()

        def work():
            while not stop.is_set():
                batch = reader.read(0.05)
                if batch is not None:
                    try:
                        got.extend(batch.copy().index["sequence"].tolist())
                    except ValueError:  # another thread has moved on
                        got.extend(range(batch.first_sequence, batch.next_sequence))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(100):
            writer.write(10)
        wait_until(lambda: len(got) >= 1000)
        stop.set()
        for thread in threads:
            thread.join()
    assert sorted(got) == list(range(1, 1001))


def test_views_may_go_in_other_threads(writer, shm_dir):
    with Reader(shm_dir, name="t", guarantee="reliable", start="earliest", timeout=0) as reader:
        for _ in range(20):
            writer.write(5)
        views = [batch.payload for batch in reader]
        halves = [views[:10], views[10:]]
        del views
        threads = [threading.Thread(target=half.clear) for half in halves]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert writer.readers()["t"]["cursor_sequence"] == 101


def test_async_iteration(writer, shm_dir):
    async def main():
        turns = 0

        async def tick():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        got = []
        async with Reader(shm_dir, start="earliest", timeout=None) as reader:

            async def read():
                async for batch in reader:
                    got.extend(batch.index["sequence"].tolist())
                    if len(got) == 6:
                        return

            reading = asyncio.create_task(read())
            for _ in range(3):
                before = turns
                while turns == before:  # the event loop goes on while the reader waits
                    await asyncio.sleep(0)
                writer.write(2)
            await asyncio.wait_for(reading, 30)
        ticking.cancel()
        return got

    assert asyncio.run(main()) == [1, 2, 3, 4, 5, 6]


def test_async_timeout_ends_the_loop(writer, shm_dir):
    async def main():
        async with Reader(shm_dir, start="earliest", timeout=0.05) as reader:
            writer.write(1)
            first = [len(batch) async for batch in reader]
            assert await reader.read_async(0.01) is None
            return first

    assert asyncio.run(main()) == [1]


def test_a_cancelled_wait_loses_nothing(writer, shm_dir):
    async def main():
        async with Reader(shm_dir, name="t", guarantee="reliable", start="earliest") as reader:
            got = []
            for _ in range(20):
                waiting = asyncio.create_task(reader.read_async())
                await asyncio.sleep(0.002)
                writer.write(1)
                waiting.cancel()
                try:
                    got.append(await waiting)
                except asyncio.CancelledError:
                    pass
            while (batch := await reader.read_async(0)) is not None:
                got.append(batch)
            return sum(map(len, got)), reader.missed

    assert asyncio.run(main()) == (20, 0)


def test_an_ended_program_leaves_no_thread_behind(writer, shm_dir):
    script = """
import asyncio, sys
from jimbot.mcp import Reader
async def main():
    reader = Reader(sys.argv[1])
    try:
        await asyncio.wait_for(reader.read_async(), 0.05)
    except TimeoutError:
        print("timed out")
    reader.close()
asyncio.run(main())
"""
    child = run_python(script, shm_dir)
    try:
        out, _ = child.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        child.kill()
        pytest.fail("the process did not end")
    assert (out, child.returncode) == ("timed out\n", 0)
