"""The examples, run as a user runs them."""

import json
import os
import subprocess
import sys
import threading

from test_commands import Answering

from conftest import REPOSITORY

ENVIRONMENT = {**os.environ, "PYTHONUNBUFFERED": "1"}


def test_watch_and_act(writer, shm_dir):
    import http.server

    Answering.status, Answering.answer, Answering.asked = 200, b"{}", []
    with http.server.HTTPServer(("127.0.0.1", 0), Answering) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        (shm_dir / "endpoints.json").write_text(json.dumps({"listen": [f"127.0.0.1:{listening.server_port}"]}))
        example = subprocess.Popen(
            [sys.executable, REPOSITORY / "examples/watch_and_act.py", "--shm-dir", shm_dir, "--seconds", "600"],
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        try:
            assert example.stdout.readline().startswith("watching")
            writer.append(1, type=4, game=5)
            writer.append(1, type=19, game=5)  # a heartbeat: not asked for
            writer.append(1, type=20, game=5)
            writer.commit()
            assert "the score changed" in example.stdout.readline()
            assert example.stdout.readline() == "#3 session 000000000000000f: play_hand\n"
            ((_, _, body),) = Answering.asked
            assert body == {"type": "play_hand", "payload": {}, "session": "000000000000000f"}
        finally:
            example.kill()
            example.communicate()
            listening.shutdown()
            thread.join()


def test_ray_reader(writer, shm_dir):
    for _ in range(5):
        writer.write(10, spread=20)
    told = subprocess.run(
        [sys.executable, REPOSITORY / "examples/ray_reader.py", shm_dir, "2"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=300,
    )
    assert told.returncode == 0, told.stderr
    read = [json.loads(line.partition("sequences ")[2]) for line in told.stdout.splitlines() if "sequences" in line]
    assert sorted(sum(read, [])) == list(range(1, 51))
