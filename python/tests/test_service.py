"""With the real service: every event that it acknowledged is read once, also when it is killed again and again."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter

import pytest

from jimbot.mcp import CommandRefused, Reader, ServiceUnreachable, send_command
from jimbot.mcp.endpoints import service_url
from jimbot.proto.base_pb2 import EventBatch, EventType

LOG_BYTES = 16 << 20


class Service:
    """The service, started through the Python module as users do."""

    def __init__(self, binary, directory, *arguments):
        self.binary, self.directory, self.arguments = binary, directory, arguments
        self.process = None
        # One port for all its lives, so that those who send find it again.
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jimbot.mcp.server", "--port", str(self.port), "--shm-dir", str(self.directory)]
            + ["--log-bytes", str(LOG_BYTES), "--max-batch-bytes", "262144", "--max-batch-events", "512"]
            + [*self.arguments],
            env={**os.environ, "JIMBOT_MCP_BINARY": self.binary},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 30
        while True:
            assert self.process.poll() is None, self.process.stderr.read()
            assert time.monotonic() < deadline, "the service did not come up"
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5):
                    break
            except OSError:
                time.sleep(0.01)
        # What it has to say is not read, and must not fill the pipe.
        self.drain = threading.Thread(target=self.process.stderr.read, daemon=True)
        self.drain.start()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        self.drain.join(30)
        self.process.stderr.close()

    def stop(self):
        self.process.terminate()
        code = self.process.wait(30)
        self.drain.join(30)
        self.process.stderr.close()
        return code

    def post(self, body, path="/api/v1/events/batch"):
        """Sends until it is acknowledged, as a game that gives nothing up."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "User-Agent": "BalatroMCP/0.1.0"},
        )
        for _ in range(3000):
            try:
                with urllib.request.urlopen(request, timeout=5) as answer:
                    return json.loads(answer.read() or b"{}")
            except OSError:
                time.sleep(0.01)
        raise AssertionError("the service never acknowledged")


    def poll(self):
        """The commands that the game of :meth:`post` gets."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/v1/commands/poll", headers={"User-Agent": "BalatroMCP/0.1.0"}
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.read().decode().splitlines()


@pytest.fixture
def start_service(service_binary, shm_dir):
    shm_dir.chmod(0o700)
    started = []

    def start(*arguments):
        started.append(Service(service_binary, shm_dir, *arguments))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.kill()


@pytest.fixture
def service(start_service):
    return start_service()


def event(number, kind="SCORE_CHANGED", **payload):
    """An event of the mod, with an id of its own."""
    return {
        "type": kind,
        "source": "BalatroMCP",
        "event_id": f"event-{number}",
        "timestamp": 1000.0 + number,
        "payload": payload or {"old_score": number, "new_score": number + 1},
    }


def batch_of(events):
    return {"batch_id": f"batch-{events[0]['event_id']}", "events": events}


def ids(batch):
    return [event.event_id for event in batch.events()]


def test_what_is_sent_is_read(service, shm_dir):
    with Reader(shm_dir, name="t", guarantee="reliable", start="earliest", timeout=1) as reader:
        service.post(batch_of([event(number) for number in range(100)]))
        read = []
        for batch in reader:
            assert len(EventBatch.FromString(bytes(batch.payload)).events) == len(batch)
            for entry, message in zip(batch.copy().index, batch.events()):
                assert entry["sequence"] == message.sequence
                assert entry["event_type"] == message.type
                assert entry["session"] == message.session
                assert entry["game_key"] == message.game_key
                if message.type == EventType.EVENT_TYPE_SCORE_CHANGED:
                    read.append(message.event_id)
    assert read == [f"event-{number}" for number in range(100)]
    assert service.stop() == 0


def test_a_game_is_chosen_by_its_id(service, shm_dir):
    def state(number, game):
        return event(number, "GAME_STATE", in_game=True, game_id=game, ante=1, timestamp=1.0)

    # Two games of one process, one after the other: what follows a state is of its game.
    service.post(batch_of([state(0, "7LB2WVPK"), event(1)]))
    service.post(batch_of([state(2, "OTHER"), event(3)]))
    with Reader(shm_dir, start="earliest", timeout=1, games=["7LB2WVPK"]) as reader:
        assert [one for batch in reader for one in ids(batch) if one] == ["event-0", "event-1"]
    with Reader(shm_dir, start="earliest", timeout=0.1, games=["OTHER"], types=["SCORE_CHANGED"]) as reader:
        assert [one for batch in reader for one in ids(batch)] == ["event-3"]
    with Reader(shm_dir, start="earliest", timeout=0.1, games=["NOBODY"]) as reader:
        assert list(reader) == []


def test_every_acknowledged_event_is_read_once_across_sigkill(service, shm_dir):
    """Senders send again until acknowledged, the service is killed at random, and a reliable reader goes on: the
    multiset of what it read is what was acknowledged."""
    seed = int(os.environ.get("JIMBOT_TEST_SEED", random.randrange(1 << 32)))
    print(f"JIMBOT_TEST_SEED={seed}")
    chance = random.Random(seed)
    acknowledged, read = Counter(), Counter()
    enough, done = threading.Event(), threading.Event()

    def send(first):
        turn = 0
        while not enough.is_set():
            turn += 1
            numbers = range(first + turn * 10, first + turn * 10 + 10)
            service.post(batch_of([event(number) for number in numbers]))
            acknowledged.update(f"event-{number}" for number in numbers)

    def consume():
        with Reader(shm_dir, name="t", guarantee="reliable", start="earliest") as reader:
            expected = None
            while True:
                finished = done.is_set()
                batch = reader.read(0.5)
                if batch is None:
                    if finished:
                        assert reader.missed == 0
                        return
                    continue
                assert expected in (None, batch.first_sequence)
                expected = batch.next_sequence
                for one in batch.events():
                    if one.type == EventType.EVENT_TYPE_SCORE_CHANGED:
                        read[one.event_id] += 1

    senders = [threading.Thread(target=send, args=(first,)) for first in (0, 100_000)]
    consumer = threading.Thread(target=consume)
    consumer.start()
    for sender in senders:
        sender.start()
    for _ in range(6):
        time.sleep(chance.uniform(0.02, 0.3))
        service.kill()
        service.start()
    enough.set()
    for sender in senders:
        sender.join()
    done.set()
    consumer.join(60)
    assert not consumer.is_alive()
    assert read == acknowledged and read


def test_a_command_finds_its_game(service, shm_dir):
    assert service_url(shm_dir) == f"http://127.0.0.1:{service.port}"
    with pytest.raises(CommandRefused) as caught:
        send_command("no_such_thing", path=shm_dir)
    assert 400 <= caught.value.status < 500
    service.post(batch_of([event(1)]))
    with Reader(shm_dir, start="earliest", timeout=1) as reader:
        session = int(next(reader).index["session"][0])
    send_command("select_card", position=3, session=session, path=shm_dir)


def test_a_command_that_comes_through_a_unix_socket_reaches_its_game(start_service, shm_dir):
    url = f"unix:{shm_dir}/jimbot.sock"
    service = start_service("--listen", url)
    with pytest.raises(CommandRefused, match="no game is connected: .+") as caught:
        send_command("play_hand", url=url)
    assert caught.value.status == 404
    service.post(batch_of([event(1)]))
    taken = send_command("select_card", position=3, url=url)
    assert service.poll() == []  # the mod throws away what its first poll gets
    assert service.poll() == [taken["line"]] == ["select_card:3"]
    assert (taken["status"], service.poll()) == ("queued", [])
    assert service.stop() == 0
    with pytest.raises(ServiceUnreachable, match="jimbot.sock"):
        send_command("play_hand", url=url)


def test_made_up_games_are_read_whole(service, shm_dir):
    made = subprocess.run(
        [sys.executable, "-m", "jimbot.mcp.client", "--mock-events", "--rate", "500", "--port", str(service.port)]
        + ["--events", "1000", "--resend", "--json", "--acknowledged", str(shm_dir / "acknowledged")],
        env={**os.environ, "JIMBOT_MCP_BINARY": service.binary},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert made.returncode == 0, made.stderr
    sent = Counter((shm_dir / "acknowledged").read_text().split())
    with Reader(shm_dir, start="earliest", timeout=1) as reader:
        read = Counter(one for batch in reader for one in ids(batch) if one)
        assert reader.missed == 0
    assert sent and not sent - read
    assert all(count == 1 for one, count in read.items() if one in sent)


def test_clients_bring_the_token_that_the_service_asks_for(start_service, tmp_path, monkeypatch):
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    # So that this host's own programs need it.
    service = start_service("--token-file", str(token), "--trusted-peers", "10.0.0.0/8")

    def play(*arguments):
        command = [sys.executable, "-m", "jimbot.mcp.client", "--mock-events", "--port", str(service.port)]
        command += ["--events", "20", "--flat-out", "--duration", "5", *arguments]
        return subprocess.run(
            command, env={**os.environ, "JIMBOT_MCP_BINARY": service.binary}, capture_output=True, text=True, timeout=120
        )

    def command():
        return send_command("play_hand", url=f"http://127.0.0.1:{service.port}")

    refused = play()
    assert refused.returncode == 1 and "401" in refused.stdout, refused.stdout
    with pytest.raises(CommandRefused, match="status 401: Authorization: .*token file"):
        command()
    told = play("--token-file", str(token))
    assert told.returncode == 0, told.stdout
    monkeypatch.setenv("JIMBOT_MCP_TOKEN", "s3cret")
    told = play("--seed", "2")
    assert told.returncode == 0, told.stdout
    assert command()["status"] == "queued"


def test_the_service_names_its_readers(service, shm_dir):
    with Reader(shm_dir, name="trainer-0", guarantee="reliable", start="earliest", timeout=1) as reader:
        service.post(batch_of([event(1)]))
        view = next(reader).payload
        with urllib.request.urlopen(f"http://127.0.0.1:{service.port}/api/v1/readers", timeout=5) as answer:
            (told,) = json.load(answer)["readers"]
        seconds = [told["lag"].pop("seconds"), told.pop("quiet_seconds"), told.pop("pinned_seconds")]
        assert all(one >= 0 for one in seconds)
        size = told["pinned_bytes"]
        assert size > len(view)
        assert told == {
            "name": "trainer-0",
            "guarantee": "reliable",
            "alive": True,
            "detached": False,
            "generation": 1,
            "pid": os.getpid(),
            "lag": {"events": 1, "bytes": size},
            "missed": 0,
            "pinned_bytes": size,
            "pins_too_much": seconds[2] > 5,
        }
        del view
