"""Commands to games, and the programs that start the service and the made-up games."""

import http.server
import json
import os
import socketserver
import stat
import subprocess
import sys
import threading

import pytest

from jimbot.mcp import CommandRefused, ServiceUnreachable, client, send_command, server
from jimbot.mcp.endpoints import service_url


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers as it is told, and remembers what it was asked."""

    status, answer = 200, b"{}"
    asked: list = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((self.path, dict(self.headers), json.loads(body)))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_):
        pass

    def address_string(self):
        return "peer"


@pytest.fixture
def service():
    Answering.status, Answering.answer, Answering.asked = 200, b'{"queued": 1}', []
    with http.server.HTTPServer(("127.0.0.1", 0), Answering) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def test_a_command_is_posted_as_the_contract_says(service):
    assert send_command("select_card", position=3, session=0xAB, url=service, token="secret") == {"queued": 1}
    ((path, headers, body),) = Answering.asked
    assert path == "/api/v1/commands"
    assert headers["Authorization"] == "Bearer secret"
    assert body == {"type": "select_card", "payload": {"position": 3}, "session": "00000000000000ab"}


def test_the_token_may_come_from_the_environment(service, monkeypatch):
    monkeypatch.setenv("JIMBOT_MCP_TOKEN", "from there")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # no proxy between two programs of one host
    send_command("play_hand", url=service)
    assert Answering.asked[0][1]["Authorization"] == "Bearer from there"
    assert Answering.asked[0][2] == {"type": "play_hand", "payload": {}}


def test_a_refusal_says_why(service):
    Answering.status = 409
    Answering.answer = b'{"error": "which game?", "sessions": ["00000000000000ab"]}'
    with pytest.raises(CommandRefused, match="409: which game") as caught:
        send_command("play_hand", url=service)
    assert (caught.value.status, caught.value.answer["sessions"]) == (409, ["00000000000000ab"])
    Answering.answer = b"not JSON"
    with pytest.raises(CommandRefused, match="not JSON"):
        send_command("play_hand", url=service)


def test_nobody_there(tmp_path):
    with pytest.raises(ServiceUnreachable, match="jimbot.mcp.server"):
        send_command("play_hand", url="http://127.0.0.1:1", timeout=1)
    with pytest.raises(ServiceUnreachable):
        send_command("play_hand", url=f"unix:{tmp_path}/none")
    with pytest.raises(ValueError, match="url is like"):
        send_command("play_hand", url="127.0.0.1:8080")


def test_the_service_is_found_through_its_directory(tmp_path):
    assert service_url(tmp_path) == "http://127.0.0.1:8080"
    for listen, url in [
        ("127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("0.0.0.0:9000", "http://127.0.0.1:9000"),
        ("[::]:9000", "http://[::1]:9000"),
        ("unix:/run/x.sock", "unix:/run/x.sock"),
    ]:
        (tmp_path / "endpoints.json").write_text(json.dumps({"pid": 1, "listen": [listen]}))
        assert service_url(tmp_path) == url
    (tmp_path / "endpoints.json").write_text("{")
    assert service_url(tmp_path) == "http://127.0.0.1:8080"


def test_a_unix_socket_will_do(tmp_path):
    class Listening(socketserver.UnixStreamServer):
        def get_request(self):
            request, _ = super().get_request()
            return request, ("unix", 0)

    Answering.status, Answering.answer, Answering.asked = 200, b"", []
    with Listening(str(tmp_path / "s"), Answering) as listening:
        thread = threading.Thread(target=listening.handle_request)
        thread.start()
        (tmp_path / "endpoints.json").write_text(json.dumps({"listen": [f"unix:{tmp_path}/s"]}))
        assert send_command("discard", path=tmp_path) == {}
        thread.join()


def test_arguments_of_the_server():
    assert server.arguments([]) == ["serve"]
    assert server.arguments(["--port", "0", "--cpu", "2"]) == ["serve", "--listen", "127.0.0.1:0", "--cpu", "2"]
    assert server.arguments(["--host", "::1", "--port", "8765"]) == ["serve", "--listen", "[::1]:8765"]
    with pytest.raises(SystemExit):
        server.arguments(["--port", "70000"])


def test_arguments_of_the_client():
    given = ["--mock-events", "--rate", "100", "--duration", "2.5", "--port", "8765", "--json"]
    expected = ["simulate", "--to", "http://127.0.0.1:8765", "--rate", "100", "--seconds", "2.5", "--json"]
    assert client.arguments(given) == expected
    assert client.arguments(["--mock-events"]) == ["simulate"]
    given = ["--mock-events", "--token-file", "token.txt", "--to", "http://trainer:8080"]
    assert client.arguments(given) == ["simulate", "--token-file", "token.txt", "--to", "http://trainer:8080"]
    with pytest.raises(SystemExit):
        client.arguments([])


@pytest.mark.parametrize("module", ["server", "client"])
def test_the_programs_become_the_binary(module, tmp_path):
    """Exit code, arguments and signals are the binary's own, since the process becomes it."""
    binary = tmp_path / "jimbot-mcp"
    binary.write_text('#!/bin/sh\necho "$$ $@"\nexit 7\n')
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    process = subprocess.Popen(
        [sys.executable, "-m", f"jimbot.mcp.{module}", *(["--mock-events"] if module == "client" else []), "--x"],
        env={**os.environ, "JIMBOT_MCP_BINARY": str(binary)},
        stdout=subprocess.PIPE,
        text=True,
    )
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 7
    assert out.split() == [str(process.pid), {"server": "serve", "client": "simulate"}[module], "--x"]


def test_a_missing_binary_is_explained(tmp_path):
    told = subprocess.run(
        [sys.executable, "-m", "jimbot.mcp.server"],
        env={"JIMBOT_MCP_BINARY": str(tmp_path / "none"), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 1
    assert "JIMBOT_MCP_BINARY" in told.stderr and "Traceback" not in told.stderr
